#include "tools/commands.h"

struct options {
    struct cli_common common;
    const char *delta_from;
    bool overwrite;
};

static const struct cli_option table[] = {
    { .name = "delta-from",
      .value = "BASE",
      .set = cli_set_text,
      .field = offsetof(struct options, delta_from),
      .help = "store what differs from a base, a model folder or an archive: smaller by as much as "
              "the two are alike, and of use only together with it" },
    { .name = "overwrite",
      .set = cli_set_true,
      .field = offsetof(struct options, overwrite),
      .help = "replace OUT.uqz, atomically" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    session_init(&s, common);
    struct uqm_pack_params params = { .common = common->uqm,
                                      .dir = args->v[0],
                                      .archive = args->v[1],
                                      .delta_from = o->delta_from,
                                      .overwrite = o->overwrite };
    int ret = uqm_pack(&json, &params, &err);
    return session_finish(&s, ret, &json, print_pack, 0, &err);
}

const struct cli_command cmd_pack = {
    .name = "pack",
    .args = "DIR OUT.uqz",
    .summary = "Pack a model folder into one archive, about two thirds of its size.",
    .details =
        "Keeps every byte of every file. Weights in bf16, f16 and f32 are taken apart into "
        "exponents, which compress, and mantissas, which do not; any part of the archive can "
        "be read without unpacking the rest, so every command that reads a model folder "
        "reads the archive too. The same folder gives the same archive.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
