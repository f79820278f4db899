/*
 * What is known of each Vulkan device before it is opened, and which one a name means.
 */
#ifndef UQM_COMPUTE_VK_VK_INFO_H
#define UQM_COMPUTE_VK_VK_INFO_H

#include "compute/vk/vk.h"
#include "compute/vk/vk_api.h"

enum { UQM_VK_NO_FAMILY = UINT32_MAX };

/* A physical device. `n`, the N of vulkan:N, is its place in the loader's order. */
struct uqm_vk_info {
    VkPhysicalDevice handle;
    uint32_t n;
    char name[256], driver[256]; /* printable */
    VkPhysicalDeviceType type;
    VkDriverId driver_id;
    uint32_t vendor, device, api_version, driver_version;
    uint8_t uuid[VK_UUID_SIZE], driver_uuid[VK_UUID_SIZE], luid[VK_LUID_SIZE];
    bool has_luid;

    struct uqm_vk_limits limits;
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t local_bytes;                     /* of the largest device-local heap */
    uint64_t free_bytes;                      /* what may be had of it now, where that is known */
    uint64_t max_allocation;                  /* bytes: memory and buffer alike */
    uint64_t non_coherent_atom;               /* bytes */
    bool device_fault;                        /* it can say why it was lost */
    uint64_t host_import_align;               /* bytes; 0: host memory cannot be imported */
    uint32_t compute_family, transfer_family; /* transfer may be compute's, then with queue 1 */
    uint32_t transfer_queue;                  /* index in its family */
    bool own_transfer;                        /* a queue of its own for copies */
    uint32_t timestamp_bits;
    float timestamp_ns;
    bool on_host;               /* its memory is the system's */
    bool memory_budget;         /* VK_EXT_memory_budget */
    bool portability;           /* VK_KHR_portability_subset: must be enabled */
    bool size_control;          /* subgroup sizes can be pinned */
    bool bfloat16, integer_dot; /* listed only */
    bool robust;                /* robustBufferAccess can be asked for */
    bool faked;                 /* a test's profile: nothing is kept of it */
    uint64_t budget_bytes;      /* a test's; 0: as the driver says */
    char unusable[160];         /* why it cannot be used at all; "": it can */
    char passed_over[160];      /* why auto would not take it; "": it would */
    char quirks[256];           /* names of the quirks that were applied */
};

/* Fill *info from the driver's answers, quirks applied. Never fails: what is missing is said in
 * info->unusable. */
void uqm_vk_info_query(struct uqm_vk_info *info, const struct uqm_vk_api *api,
                       VkPhysicalDevice handle, uint32_t n);

/* Two entries of one GPU: the worse is passed over. Also passes over software devices. */
void uqm_vk_info_rank(struct uqm_vk_info *infos, size_t n_infos);

/*
 * The device that `spec` names: "vulkan" or "auto" (the best that is not passed over; for "vulkan"
 * a software device if there is no other), "vulkan:N", "vulkan:UUID", "vulkan:PART-OF-NAME" (any
 * case). UQM_ERR_ARG: unknown or ambiguous, with the candidates; UQM_ERR_UNSUPPORTED: it cannot be
 * used, with the reason. For "auto" *out may be NULL: there is none.
 */
int uqm_vk_info_choose(const struct uqm_vk_info **out, const struct uqm_vk_info *infos,
                       size_t n_infos, const char *spec, struct uqm_err *err);

/* "discrete", "integrated", "virtual", "software", "other" */
const char *uqm_vk_type_name(VkPhysicalDeviceType type);

/*
 * Faults of drivers, by vendor, driver and version: each zeroes limits. `env` looks a variable up
 * (getenv): UQMERGE_VK_QUIRKS="-name,+name" switches entries off and on; "none" all off.
 */
void uqm_vk_quirks_apply(struct uqm_vk_info *info, const char *switches);

#endif
