#include "tools/commands.h"

struct options {
    struct cli_common common;
    bool inputs;
};

static const struct cli_option table[] = {
    { .name = "inputs",
      .set = cli_set_true,
      .field = offsetof(struct options, inputs),
      .help = "check too that the merge's inputs are still those of the manifest" },
    ABSENT("public-key", "PUB.pem"),
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    session_init(&s, common);
    struct uqm_verify_params params = { .common = common->uqm,
                                        .path = args->v[0],
                                        .inputs = o->inputs };
    int ret = uqm_verify(&json, &params, &err);
    return session_finish(&s, ret, &json, print_verify, 0, &err);
}

const struct cli_command cmd_verify = {
    .name = "verify",
    .args = "PATH",
    .summary = "Re-read a merge and check every byte against its manifest.",
    .details = "PATH is a folder with uqmerge.manifest.json. Prints each file or tensor that "
               "differs, by name and byte range, and exits with 3 if there is one.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
