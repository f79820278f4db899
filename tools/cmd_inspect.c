#include "tools/commands.h"

struct options {
    struct cli_common common;
    bool tensors;
};

static const struct cli_option table[] = {
    { .name = "tensors",
      .set = cli_set_true,
      .field = offsetof(struct options, tensors),
      .help = "list every tensor" },
    { 0 },
};

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    const struct options *o = (const struct options *) common;
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    session_init(&s, common);
    struct uqm_inspect_params params = { .common = common->uqm, .path = args->v[0] };
    int ret = uqm_inspect(&json, &params, &err);
    return session_finish(&s, ret, &json, print_inspect, o->tensors ? PRINT_TENSORS : 0, &err);
}

const struct cli_command cmd_inspect = {
    .name = "inspect",
    .args = "PATH",
    .summary = "Show what a checkpoint holds: format, layout, parts, tensors.",
    .details =
        "PATH is a checkpoint folder, an archive (.uqz), a .safetensors file, a PyTorch .bin, "
        ".pt or .pth file, or a .gguf file, of all parts of which one is named. A part's "
        "digest depends on its names, dtypes, shapes and bytes only: two checkpoints with "
        "one frozen vision tower show one digest.",
    .options = table,
    .runs = true,
    .options_bytes = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
