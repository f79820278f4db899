/* Which device a name means. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "compute/vk/vk_info.h"

const char *uqm_vk_type_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return "software";
    default: return "other";
    }
}

static int type_score(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return 0;
    default: return 1;
    }
}

/* Of two drivers for one GPU: Mesa's before AMD's own, native ones before the layer over D3D12. */
static int driver_score(VkDriverId id)
{
    switch (id) {
    case VK_DRIVER_ID_MESA_DOZEN: return 0;
    case VK_DRIVER_ID_AMD_PROPRIETARY:
    case VK_DRIVER_ID_AMD_OPEN_SOURCE: return 1;
    default: return 2;
    }
}

/* MoltenVK gives different GPUs one UUID; one of zeros is none. */
static bool one_gpu(const struct uqm_vk_info *a, const struct uqm_vk_info *b)
{
    static const uint8_t none[VK_UUID_SIZE];
    if (a->driver_id == VK_DRIVER_ID_MOLTENVK || b->driver_id == VK_DRIVER_ID_MOLTENVK)
        return false;
    return (memcmp(a->uuid, b->uuid, sizeof none) == 0 &&
            memcmp(a->uuid, none, sizeof none) != 0) ||
           (a->has_luid && b->has_luid && memcmp(a->luid, b->luid, sizeof a->luid) == 0);
}

/* Whether a is to be preferred; the earlier in the loader's order when nothing else decides. */
static bool better(const struct uqm_vk_info *a, const struct uqm_vk_info *b)
{
    if (!a->unusable[0] != !b->unusable[0])
        return !a->unusable[0];
    if (type_score(a->type) != type_score(b->type))
        return type_score(a->type) > type_score(b->type);
    if (one_gpu(a, b) && driver_score(a->driver_id) != driver_score(b->driver_id))
        return driver_score(a->driver_id) > driver_score(b->driver_id);
    if (a->free_bytes != b->free_bytes)
        return a->free_bytes > b->free_bytes;
    return a->n < b->n;
}

void uqm_vk_info_rank(struct uqm_vk_info *infos, size_t n_infos)
{
    for (size_t i = 0; i < n_infos; i++) {
        struct uqm_vk_info *info = &infos[i];
        info->passed_over[0] = 0;
        if (info->type == VK_PHYSICAL_DEVICE_TYPE_CPU)
            snprintf(info->passed_over, sizeof info->passed_over,
                     "it is software, slower than the CPU itself");
        for (size_t k = 0; k < n_infos && !info->passed_over[0]; k++)
            if (k != i && one_gpu(info, &infos[k]) && better(&infos[k], info))
                snprintf(info->passed_over, sizeof info->passed_over,
                         "it is the same GPU as vulkan:%u, under another driver", infos[k].n);
    }
}

/* "6d657361-3232-2e33-2e36-000000000000", with or without its dashes. */
static bool is_uuid(const char *s, const uint8_t uuid[VK_UUID_SIZE])
{
    char hex[2 * VK_UUID_SIZE + 1];
    size_t n = 0;
    for (; *s; s++) {
        if (*s == '-')
            continue;
        if (n == 2 * VK_UUID_SIZE)
            return false;
        hex[n++] = *s;
    }
    hex[n] = 0;
    if (n != 2 * VK_UUID_SIZE)
        return false;
    for (size_t i = 0; i < VK_UUID_SIZE; i++) {
        char byte[3];
        snprintf(byte, sizeof byte, "%02x", uuid[i]);
        if (strncasecmp(byte, hex + 2 * i, 2) != 0)
            return false;
    }
    return true;
}

static bool is_duplicate(const struct uqm_vk_info *info)
{
    return info->passed_over[0] && info->type != VK_PHYSICAL_DEVICE_TYPE_CPU;
}

static const struct uqm_vk_info *best(const struct uqm_vk_info *infos, size_t n, bool automatic)
{
    const struct uqm_vk_info *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (infos[i].unusable[0] || is_duplicate(&infos[i]) ||
            (automatic && infos[i].passed_over[0]))
            continue;
        if (!found || better(&infos[i], found))
            found = &infos[i];
    }
    return found;
}

/* "vulkan:0 (NAME), vulkan:1 (NAME)": those that match `part`, or all. */
static void name_candidates(char *buf, size_t size, const struct uqm_vk_info *infos, size_t n,
                            const char *part)
{
    size_t used = 0;
    buf[0] = 0;
    for (size_t i = 0; i < n && used + 1 < size; i++)
        if (!part || strcasestr(infos[i].name, part))
            used += (size_t) snprintf(buf + used, size - used, "%svulkan:%u (%s)", used ? ", " : "",
                                      infos[i].n, infos[i].name);
}

static int refuse(const struct uqm_vk_info *info, const char *spec, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "--device %s: vulkan:%u (%s) cannot be used: %s",
                    spec, info->n, info->name, info->unusable);
}

static int unknown(const struct uqm_vk_info *infos, size_t n, const char *spec, struct uqm_err *err)
{
    struct uqm_printable p;
    char list[300];
    name_candidates(list, sizeof list, infos, n, NULL);
    return uqm_fail(err, UQM_ERR_ARG, "--device %s: no such device; there is %s",
                    uqm_printable(&p, spec, strlen(spec)), n ? list : "none");
}

/* By N, else UUID, else a part of the name; a GPU's second driver only when nothing else fits. */
static int find(const struct uqm_vk_info **out, const struct uqm_vk_info *infos, size_t n,
                const char *spec, const char *part, struct uqm_err *err)
{
    const struct uqm_vk_info *found = NULL, *duplicate = NULL;
    size_t n_found = 0;
    /* A number is N; of three digits and more it may be a model's, as in "6800". */
    bool digits = strspn(part, "0123456789") == strlen(part) && strlen(part) < 10;
    if (digits && strlen(part) < 3 && strtoul(part, NULL, 10) >= n)
        return unknown(infos, n, spec, err);
    if (digits && strtoul(part, NULL, 10) < n) {
        *out = &infos[strtoul(part, NULL, 10)];
        return UQM_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (is_uuid(part, infos[i].uuid) && (!found || better(&infos[i], found)))
            found = &infos[i];
    for (size_t i = 0; i < n && (!found || n_found); i++) {
        if (!strcasestr(infos[i].name, part))
            continue;
        if (is_duplicate(&infos[i])) {
            duplicate = &infos[i];
            continue;
        }
        found = &infos[i];
        n_found++;
    }
    *out = found ? found : duplicate;
    if (!*out)
        return unknown(infos, n, spec, err);
    if (n_found > 1) {
        struct uqm_printable p;
        char list[300];
        name_candidates(list, sizeof list, infos, n, part);
        *out = NULL;
        return uqm_fail(err, UQM_ERR_ARG, "--device %s: several devices match: %s",
                        uqm_printable(&p, spec, strlen(spec)), list);
    }
    return UQM_OK;
}

int uqm_vk_info_choose(const struct uqm_vk_info **out, const struct uqm_vk_info *infos,
                       size_t n_infos, const char *spec, struct uqm_err *err)
{
    bool automatic = strcmp(spec, "auto") == 0;
    *out = NULL;
    if (automatic || strcmp(spec, "vulkan") == 0) {
        *out = best(infos, n_infos, automatic);
        if (*out || automatic)
            return UQM_OK;
        if (n_infos)
            return refuse(&infos[0], spec, err);
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "--device %s: Vulkan lists no device", spec);
    }
    if (strncmp(spec, "vulkan:", 7) != 0 || !spec[7])
        return unknown(infos, n_infos, spec, err);
    int ret = find(out, infos, n_infos, spec, spec + 7, err);
    if (ret == UQM_OK && (*out)->unusable[0]) {
        ret = refuse(*out, spec, err);
        *out = NULL;
    }
    return ret;
}
