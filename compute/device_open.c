/* Which device --device names, and the end of each. */
#include <string.h>

#include "compute/device.h"

int uqm_device_open(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                    const char *spec, struct uqm_err *err)
{
    if (spec && strcmp(spec, "auto") != 0 && strcmp(spec, "cpu") != 0)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "--device %s: this version runs networks on the CPU only; use cpu or auto",
                        spec);
    return uqm_device_cpu_create(out, env, threads, err);
}

void uqm_device_destroy(struct uqm_device **device)
{
    if (*device)
        (*device)->ops->destroy(*device);
    *device = NULL;
}
