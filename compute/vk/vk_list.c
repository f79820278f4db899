/* What `devices` says of each Vulkan device. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"
#include "compute/vk/vk_open.h"

static void add(struct uqm_device_entry *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct uqm_device_entry *e, const char *fmt, ...)
{
    va_list ap;
    if (e->n_features == UQM_MAX_FEATURES)
        return;
    va_start(ap, fmt);
    vsnprintf(e->features[e->n_features++], sizeof e->features[0], fmt, ap);
    va_end(ap);
}

static void list_features(struct uqm_device_entry *e, const struct uqm_vk_info *info)
{
    const struct uqm_vk_limits *l = &info->limits;
    add(e, "Vulkan %u.%u", VK_API_VERSION_MAJOR(info->api_version),
        VK_API_VERSION_MINOR(info->api_version));
    if (l->subgroup_min && l->subgroup_min != l->subgroup_max)
        add(e, "subgroups of %u (%u to %u)", l->subgroup_size, l->subgroup_min, l->subgroup_max);
    else if (l->subgroup_size)
        add(e, "subgroups of %u", l->subgroup_size);
    if (l->subgroup_arithmetic)
        add(e, "subgroup arithmetic");
    if (l->shader_f16)
        add(e, "fp16");
    if (info->bfloat16)
        add(e, "bf16");
    if (l->coop_f16)
        add(e, "cooperative matrix");
    if (info->integer_dot)
        add(e, "integer dot product");
    add(e, "%u KiB shared memory", l->shared_bytes >> 10);
    add(e, "%llu MiB storage range", (unsigned long long) ((l->max_range + 1) >> 20));
    if (l->max_texels)
        add(e, "%s", l->vector_texel_loads ? "texel buffers (preferred)" : "texel buffers");
    if (l->unified)
        add(e, "unified memory");
    if (info->host_import_align)
        add(e, "host import");
    if (info->memory_budget)
        add(e, "memory budget");
    if (info->own_transfer)
        add(e, "transfer queue");
    if (info->timestamp_bits)
        add(e, "timestamps");
}

static void describe(struct uqm_device_entry *e, const struct uqm_vk_info *info)
{
    size_t used = 0;
    snprintf(e->id, sizeof e->id, "vulkan:%u", info->n);
    memcpy(e->name, info->name, sizeof e->name);
    memcpy(e->driver, info->driver, sizeof e->driver);
    snprintf(e->type, sizeof e->type, "%s", uqm_vk_type_name(info->type));
    for (size_t i = 0; i < VK_UUID_SIZE; i++)
        used += (size_t) snprintf(e->uuid + used, sizeof e->uuid - used, "%s%02x",
                                  i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", info->uuid[i]);
    e->memory_bytes = info->local_bytes;
    e->usable = !info->unusable[0];
    memcpy(e->reason, e->usable ? info->passed_over : info->unusable, sizeof e->reason);
    list_features(e, info);
}

int uqm_vk_list(struct uqm_device_list *list, struct uqm_err *err)
{
    struct uqm_vk_instance *instance;
    struct uqm_err why = { 0 };
    int ret = uqm_vk_instance_create(&instance, NULL, NULL, &why);
    if (ret == UQM_ERR_NOMEM)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s", why.msg);
    if (ret < 0 || instance->n_infos == 0) {
        snprintf(list->no_vulkan, sizeof list->no_vulkan, "%.255s",
                 ret < 0 ? why.msg + (strncmp(why.msg, "Vulkan: ", 8) == 0 ? 8 : 0)
                         : "there are drivers, but no device");
    } else {
        list->entries = calloc(instance->n_infos, sizeof *list->entries);
        list->n = list->entries ? instance->n_infos : 0;
        for (size_t i = 0; i < list->n; i++)
            describe(&list->entries[i], &instance->infos[i]);
        const struct uqm_vk_info *best = NULL;
        uqm_vk_info_choose(&best, instance->infos, instance->n_infos, "auto", NULL);
        if (best && list->n)
            list->entries[best->n].automatic = true;
        if (!list->entries)
            ret = UQM_ERR_NOMEM;
    }
    if (ret < 0 && !list->no_vulkan[0])
        ret = uqm_fail(err, UQM_ERR_NOMEM, "the list of devices: no memory");
    else
        ret = UQM_OK;
    uqm_vk_instance_destroy(&instance);
    return ret;
}
