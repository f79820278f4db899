#include "tools/commands.h"

struct options {
    struct cli_common common;
    struct question_options questions;
    struct uq_options uq;
    int window;
    bool fast;
};

static const struct cli_option table[] = {
    QUESTION_OPTIONS(struct options),
    UQ_OPTIONS(struct options),
    WINDOW_OPTION(struct options),
    FAST_OPTION(struct options),
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;
    struct uqm_uq_params params = { 0 };

    int ret = fill_questions(&params.questions, &o->questions, args, "uq", &err);
    if (ret == UQM_OK)
        ret = fill_uq(&params, &o->uq, "uq", &err);
    if (ret == UQM_OK)
        ret = check_fast(o->fast, o->window, common, &err);
    if (ret < 0)
        return session_refuse(ret, &err);

    session_init(&s, common);
    params.common = common->uqm;
    params.window = o->window;
    params.questions.fast = o->fast;
    ret = uqm_uq(&json, &params, &err);
    return session_finish(&s, ret, &json, o->questions.dry_run ? print_questions_plan : print_uq, 0,
                          &err);
}

const struct cli_command cmd_uq = {
    .name = "uq",
    .args = "MODEL... --data FILE...",
    .summary = "The uncertainty of each model on each data set.",
    .details = "Each record is asked J times with a perturbed picture, prompt and network; the "
               "uncertainty is the mutual information between answer and perturbation, in nats, "
               "averaged over records, then over data sets; labels are never used. With --method "
               "cp it is the mean size of conformal prediction sets, which are calibrated on half "
               "of the labelled records. MODEL is a checkpoint folder or a recipe (.yml).",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = CLI_MANY,
    .run = run,
};
