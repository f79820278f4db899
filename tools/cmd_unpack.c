#include "tools/commands.h"

struct options {
    struct cli_common common;
    const char *base;
};

static const struct cli_option table[] = {
    { .name = "base",
      .value = "BASE",
      .set = cli_set_text,
      .field = offsetof(struct options, base),
      .help = "where the base of an archive made with --delta-from is now; default: where it was, "
              "else beside the archive" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    session_init(&s, common);
    struct uqm_unpack_params params = {
        .common = common->uqm, .archive = args->v[0], .out_dir = args->v[1], .base = o->base
    };
    int ret = uqm_unpack(&json, &params, &err);
    return session_finish(&s, ret, &json, print_unpack, 0, &err);
}

const struct cli_command cmd_unpack = {
    .name = "unpack",
    .args = "IN.uqz DIR",
    .summary = "Restore the folder that an archive was packed from, to the byte.",
    .details = "Each file is compared with the SHA-256 that was taken when it was packed; DIR "
               "appears when all of them agree. It must not exist. The same command goes on from "
               "what an interrupted one has unpacked.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 2,
    .max_args = 2,
    .run = run,
};
