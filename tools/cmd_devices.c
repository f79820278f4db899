#include "tools/commands.h"

static int run(struct cli_common *common, const struct uqm_strings *args)
{
    struct session s;
    struct uqm_err err = { 0 };
    char *json = NULL;

    (void) args;
    session_init(&s, common);
    int ret = uqm_devices(&json, &err);
    return session_finish(&s, ret, &json, print_devices, 0, &err);
}

const struct cli_command cmd_devices = {
    .name = "devices",
    .args = "",
    .summary = "Show what this machine can run network layers on.",
    .details =
        "The CPU, with its kernels, the BLAS it uses and its memory; and every Vulkan device, "
        "with its driver, what was found usable, and why --device auto does not take it.",
    .options_bytes = sizeof(struct cli_common),
    .run = run,
};
