/* What drivers do wrong, and the limit that each fault takes away. */
#include <stdio.h>
#include <string.h>

#include "compute/vk/vk_info.h"

struct quirk {
    const char *name;
    uint32_t vendor;        /* 0: any */
    VkDriverId driver_id;   /* 0: any */
    uint32_t below_version; /* of the driver; 0: all */
    void (*apply)(struct uqm_vk_info *info);
    const char *why;
};

static void no_host_import(struct uqm_vk_info *info)
{
    info->host_import_align = 0;
}

static void no_subgroup_arithmetic(struct uqm_vk_info *info)
{
    info->limits.subgroup_arithmetic = false;
}

static void one_queue(struct uqm_vk_info *info)
{
    info->own_transfer = false;
    info->transfer_family = info->compute_family;
    info->transfer_queue = 0;
}

static void software_loads(struct uqm_vk_info *info)
{
    info->limits.vector_texel_loads = info->limits.max_texels > 0;
    info->limits.slow_shared = true;
    info->limits.slow_buffer_loads = true;
}

static const struct quirk quirks[] = {
    { "moltenvk-import", 0, VK_DRIVER_ID_MOLTENVK, 0, no_host_import,
      "imported host pointers are copied, not shared" },
    { "moltenvk-amd-subgroups", 0x1002, VK_DRIVER_ID_MOLTENVK, 0, no_subgroup_arithmetic,
      "subgroup arithmetic gives wrong sums on AMD under Metal" },
    { "nvidia-one-queue", 0x10de, VK_DRIVER_ID_NVIDIA_PROPRIETARY, 0, one_queue,
      "copies on a queue of their own gain nothing" },
    { "llvmpipe-loads", 0, VK_DRIVER_ID_MESA_LLVMPIPE, 0, software_loads,
      "storage and shared memory are loaded lane by lane, texels as vectors" },
};

/* "-name" or "none" switches an entry off, "+name" on for any device. 0: nothing is said of it. */
static int switched(const char *switches, const char *name)
{
    size_t n_name = strlen(name);
    int said = 0;
    while (switches && *switches) {
        size_t n = strcspn(switches, ",");
        if (n == 4 && strncmp(switches, "none", 4) == 0)
            said = -1;
        else if (n == n_name + 1 && strncmp(switches + 1, name, n_name) == 0)
            said = *switches == '+' ? 1 : *switches == '-' ? -1 : said;
        switches += n + (switches[n] == ',');
    }
    return said;
}

void uqm_vk_quirks_apply(struct uqm_vk_info *info, const char *switches)
{
    info->quirks[0] = 0;
    for (size_t i = 0; i < sizeof quirks / sizeof quirks[0]; i++) {
        const struct quirk *q = &quirks[i];
        bool applies = (!q->vendor || q->vendor == info->vendor) &&
                       (!q->driver_id || q->driver_id == info->driver_id) &&
                       (!q->below_version || info->driver_version < q->below_version);
        int said = switched(switches, q->name);
        if (said < 0 || (said == 0 && !applies))
            continue;
        q->apply(info);
        size_t used = strlen(info->quirks);
        snprintf(info->quirks + used, sizeof info->quirks - used, "%s%s (%s)", used ? "; " : "",
                 q->name, q->why);
    }
}
