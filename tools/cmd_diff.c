#include "tools/commands.h"

#include <stdlib.h>

struct options {
    struct cli_common common;
    bool exit_code, all;
};

static const struct cli_option table[] = {
    { .name = "exit-code",
      .set = cli_set_true,
      .field = offsetof(struct options, exit_code),
      .help = "exit with 3 when anything differs" },
    { .name = "all",
      .set = cli_set_true,
      .field = offsetof(struct options, all),
      .help = "list the identical tensors too" },
    { 0 },
};

static bool differs(const char *json)
{
    json_t *result = json_loads(json, JSON_ALLOW_NUL, NULL);
    bool any = get_count(result, "changed") > 0 ||
               json_array_size(json_object_get(result, "only_a")) > 0 ||
               json_array_size(json_object_get(result, "only_b")) > 0;
    json_decref(result);
    return any;
}

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    session_init(&s, common);
    struct uqm_diff_params params = { .common = common->uqm,
                                      .path_a = args->v[0],
                                      .path_b = args->v[1] };
    int ret = uqm_diff(&json, &params, &err);
    bool found = ret == UQM_OK && o->exit_code && differs(json);
    int code = session_finish(&s, ret, &json, print_diff, o->all ? PRINT_ALL : 0, &err);
    return code == EXIT_DONE && found ? EXIT_DIFFERS : code;
}

const struct cli_command cmd_diff = {
    .name = "diff",
    .args = "A B",
    .summary = "Compare two checkpoints tensor by tensor.",
    .details = "Which tensors are only in A or in B, which changed their dtype or shape, which "
               "are identical, and how far apart the others are: relative L2 distance, largest "
               "absolute difference, cosine.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
