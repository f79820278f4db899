#include "tools/commands.h"

struct options {
    struct cli_common common;
    struct question_options questions;
};

static const struct cli_option table[] = {
    QUESTION_OPTIONS(struct options),
    ABSENT("max-new-tokens", "N|task"),
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;
    struct uqm_eval_params params = { 0 };

    int ret = fill_questions(&params.questions, &o->questions, args, "eval", &err);
    if (ret < 0)
        return session_refuse(ret, &err);

    session_init(&s, common);
    params.common = common->uqm;
    ret = uqm_eval(&json, &params, &err);
    return session_finish(&s, ret, &json, print_eval, 0, &err);
}

const struct cli_command cmd_eval = {
    .name = "eval",
    .args = "MODEL... --data FILE...",
    .summary = "The accuracy of each model on multiple-choice sets, without perturbation.",
    .details = "The answer is the largest of the six option letters' logits. Records without a "
               "label are left out. MODEL is a checkpoint folder or a recipe (.yml).",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = CLI_MANY,
    .run = run,
};
