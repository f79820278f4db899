#include <string.h>

#include "tools/commands.h"

struct options {
    struct cli_common common;
    struct question_options questions;
    int max_new_tokens;
    const char *trace;
    int window;
    bool fast;
};

static int set_tokens(void *field, const char *value, const struct cli_option *option,
                      struct uqm_err *err)
{
    if (strcmp(value, "task") != 0)
        return cli_set_int(field, value, option, err);
    *(int *) field = UQM_TASK_TOKENS;
    return UQM_OK;
}

static const struct cli_option table[] = {
    QUESTION_OPTIONS(struct options),
    { .name = "max-new-tokens",
      .value = "N|task",
      .set = set_tokens,
      .min = 1,
      .max = UQM_MOST_TOKENS,
      .field = offsetof(struct options, max_new_tokens),
      .help = "how long an answer in words may be; task: as long as its task says; default 15" },
    { .name = "trace",
      .value = "FILE",
      .set = cli_set_text,
      .field = offsetof(struct options, trace),
      .help = "JSON lines of every answer and its score, and of the options' probabilities" },
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
    struct uqm_eval_params params = { 0 };

    int ret = fill_questions(&params.questions, &o->questions, args, "eval", &err);
    if (ret == UQM_OK)
        ret = check_fast(o->fast, o->window, common, &err);
    if (ret < 0)
        return session_refuse(ret, &err);

    session_init(&s, common);
    params.common = common->uqm;
    params.max_new_tokens = o->max_new_tokens;
    params.trace_path = o->trace;
    params.window = o->window;
    params.questions.fast = o->fast;
    ret = uqm_eval(&json, &params, &err);
    return session_finish(&s, ret, &json, o->questions.dry_run ? print_questions_plan : print_eval,
                          0, &err);
}

const struct cli_command cmd_eval = {
    .name = "eval",
    .args = "MODEL... --data FILE...",
    .summary = "The score of each model on each data set, without perturbation.",
    .details = "Multiple choice: the answer is the largest of the six option letters' logits, the "
               "score accuracy. Generation: greedy answers, scored by the set's own metric. "
               "Records without a label or an answer are left out. MODEL is a checkpoint folder "
               "or a recipe (.yml).",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = CLI_MANY,
    .run = run,
};
