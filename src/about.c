/* What the program is and what it can run on. */
#include <cblas.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "compute/blas.h"
#include "compute/device_list.h"
#include "compute/kernels.h"
#include "src/format/json.h"

UQM_API const char *uqm_version(void)
{
    return UQM_VERSION;
}

/* Every tier of kernels that this machine runs, the one in use last. */
static json_t *list_tiers(void)
{
    static const uint32_t steps[] = { 0, UQM_CPU_AVX2, UQM_CPU_AVX2 | UQM_CPU_AVX512 };
    uint32_t flags = uqm_cpu_flags();
    json_t *tiers = json_array();
    const char *last = "";
    for (size_t i = 0; tiers && i < sizeof steps / sizeof steps[0]; i++) {
        struct uqm_kernels kernels;
        uqm_kernels_init(&kernels, flags & steps[i]);
        if (strcmp(kernels.tier, last) != 0)
            json_array_append_new(tiers, json_sprintf("kernels %s", kernels.tier));
        last = kernels.tier;
    }
    return tiers;
}

static json_t *describe_cpu(bool automatic)
{
    char name[256];
    struct sysinfo info;
    cpu_set_t cpus;
    struct uqm_kernels kernels;

    uqm_cpu_name(name, sizeof name);
    if (sysinfo(&info) < 0)
        memset(&info, 0, sizeof info);
    int n_threads = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    uqm_kernels_init(&kernels, uqm_cpu_flags());
    uqm_blas_setup(); /* the driver's line then names the kernels that networks run on */
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:s, s:o, s:b, s:b}", "id", "cpu", "name",
                     name, "type", "cpu", "driver", openblas_get_config(), "memory",
                     (json_int_t) ((uint64_t) info.totalram * info.mem_unit), "threads", n_threads,
                     "kernels", kernels.tier, "features", list_tiers(), "usable", 1, "auto",
                     automatic);
}

static json_t *describe_vulkan(const struct uqm_device_entry *e)
{
    json_t *features = json_array();
    for (size_t i = 0; features && i < e->n_features; i++)
        json_array_append_new(features, json_string(e->features[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:b, s:b, s:s*}", "id", e->id, "name",
                     e->name, "type", e->type, "driver", e->driver, "uuid", e->uuid, "memory",
                     (json_int_t) e->memory_bytes, "features", features, "usable", e->usable,
                     "auto", e->automatic, "reason", e->reason[0] ? e->reason : NULL);
}

static json_t *describe_all(const struct uqm_device_list *list)
{
    bool automatic = true;
    json_t *devices = json_array(), *result;
    for (size_t i = 0; i < list->n; i++)
        automatic &= !list->entries[i].automatic;
    json_array_append_new(devices, describe_cpu(automatic));
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(devices, describe_vulkan(&list->entries[i]));
    if (json_array_size(devices) != list->n + 1) {
        json_decref(devices);
        return NULL;
    }
    result = json_pack("{s:o, s:s*}", "devices", devices, "no_vulkan",
                       list->no_vulkan[0] ? list->no_vulkan : NULL);
    return result;
}

UQM_API int uqm_devices(char **json, struct uqm_err *err)
{
    struct uqm_device_list list;
    *json = NULL;
    int ret = uqm_device_list_init(&list, err);
    if (ret < 0)
        return ret;
    json_t *result = describe_all(&list);
    uqm_device_list_finish(&list);
    *json = result ? uqm_json_dump(result) : NULL;
    json_decref(result);
    return *json ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "the list of devices: no memory");
}
