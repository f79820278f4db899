/* Which device --device names, and the end of each. */
#include <stdlib.h>
#include <string.h>

#include "compute/device.h"

#ifdef UQM_VULKAN
#include "compute/vk/vk_open.h"
#else
static int uqm_vk_open(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                       const char *spec, struct uqm_err *err)
{
    (void) env;
    (void) threads;
    *out = NULL;
    if (strcmp(spec, "auto") == 0)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                    "--device %s: this program was built without Vulkan; use cpu or auto", spec);
}
#endif

int uqm_device_open(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                    const char *spec, struct uqm_err *err)
{
    struct uqm_printable p;
    *out = NULL;
    if (!spec)
        spec = getenv("UQMERGE_DEVICE");
    if (!spec || !*spec)
        spec = "auto";
    if (strcmp(spec, "cpu") == 0)
        return uqm_device_cpu_create(out, env, threads, err);
    if (strcmp(spec, "auto") != 0 && strcmp(spec, "vulkan") != 0 &&
        (strncmp(spec, "vulkan:", 7) != 0 || !spec[7]))
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--device %s: give auto, cpu, vulkan, vulkan:N, vulkan:PART-OF-NAME "
                        "or vulkan:UUID",
                        uqm_printable(&p, spec, strlen(spec)));
    int ret = uqm_vk_open(out, env, threads, spec, err);
    if (ret < 0 || *out)
        return ret;
    return uqm_device_cpu_create(out, env, threads, err);
}

void uqm_device_destroy(struct uqm_device **device)
{
    if (*device)
        (*device)->ops->destroy(*device);
    *device = NULL;
}
