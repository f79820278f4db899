#include "src/model/machine.h"

#include <stdlib.h>
#include <string.h>

/* Whether a failing GPU is an error: the user has named it. */
static bool is_named(const char *device)
{
    if (!device)
        device = getenv("UQMERGE_DEVICE");
    return device && *device && strcmp(device, "auto") != 0;
}

int uqm_machine_init(struct uqm_machine *out, struct uqm_env *env, const char *device,
                     const char *scratch_dir, struct uqm_err *err)
{
    *out = (struct uqm_machine){ .env = env, .scratch_dir = scratch_dir };
    int ret = uqm_threads_create(&out->threads, env->n_threads, err);
    if (ret == UQM_OK)
        ret = uqm_device_open(&out->device, env, out->threads, device, err);
    if (ret == UQM_OK && uqm_device_may_fail(out->device) && !is_named(device))
        ret = uqm_device_cpu_create(&out->cpu, env, out->threads, err);
    if (ret == UQM_OK)
        uqm_log(env, UQM_LOG_DEBUG, "network layers run on %s: %s", out->device->id,
                out->device->name);
    return ret;
}

int uqm_machine_make_fast(struct uqm_machine *machine, struct uqm_err *err)
{
    struct uqm_device *device = machine->device;
    if (!device->ops->make_fast)
        return uqm_fail(err, UQM_ERR_ARG,
                        "--fast: concerns Vulkan devices, and network layers would run on the CPU, "
                        "which has no such mode; leave it out, or name a device with --device");
    machine->fast = true;
    return device->ops->make_fast(device, err);
}

void uqm_machine_finish(struct uqm_machine *machine)
{
    uqm_device_destroy(&machine->device);
    uqm_device_destroy(&machine->cpu);
    uqm_threads_destroy(&machine->threads);
}

bool uqm_machine_fall_back(struct uqm_machine *machine, const struct uqm_err *why)
{
    if (!machine->cpu)
        return false;
    uqm_log(machine->env, UQM_LOG_WARN, "%.400s; going on on the CPU", why->msg);
    uqm_device_destroy(&machine->device);
    machine->device = machine->cpu;
    machine->cpu = NULL;
    return true;
}
