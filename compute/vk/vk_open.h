/* Vulkan's side of uqm_device_open. */
#ifndef UQM_COMPUTE_VK_VK_OPEN_H
#define UQM_COMPUTE_VK_VK_OPEN_H

#include "compute/device.h"
#include "compute/device_list.h"

/*
 * The device that `spec` names: "auto", "vulkan", "vulkan:N", "vulkan:PART-OF-NAME",
 * "vulkan:UUID". For "auto" *out may be NULL: there is none to be taken, for a reason that was
 * logged (UQM_LOG_DEBUG). Errors as uqm_device_open.
 */
int uqm_vk_open(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                const char *spec, struct uqm_err *err);

/* Append every Vulkan device to the list, or leave why there is none in list->no_vulkan. */
int uqm_vk_list(struct uqm_device_list *list, struct uqm_err *err);

#endif
