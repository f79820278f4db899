/*
 * The operations of compute/device.h on Vulkan: each chooses kernels by the device's limits, fills
 * their push constants and queues dispatches (vk.h). Arguments and errors are the table's.
 */
#ifndef UQM_COMPUTE_VK_VK_OPS_H
#define UQM_COMPUTE_VK_VK_OPS_H

#include "compute/vk/vk.h"

/* Once a device, before anything else; leaves vk->ops. finish takes what init left, half-built or
 * none at all. The self-test runs between the two. */
int uqm_vk_ops_init(struct uqm_vk *vk, struct uqm_err *err);
void uqm_vk_ops_finish(struct uqm_vk *vk);

/* Of one weight slot, as weights are laid out in it (packed, padded). */
uint64_t uqm_vk_ops_slot_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs);
/* Device memory that reserve takes besides the slots (partial sums, scores). */
uint64_t uqm_vk_ops_reserve_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs);
int uqm_vk_ops_reserve(struct uqm_vk *vk, const struct uqm_device_needs *needs,
                       struct uqm_err *err);
void uqm_vk_ops_release(struct uqm_vk *vk);

int uqm_vk_linear(struct uqm_vk *vk, const struct uqm_linear *args, struct uqm_err *err);
int uqm_vk_norm(struct uqm_vk *vk, const struct uqm_norm *args, struct uqm_err *err);
int uqm_vk_rotate(struct uqm_vk *vk, const struct uqm_rotate *args, struct uqm_err *err);
int uqm_vk_attend(struct uqm_vk *vk, const struct uqm_attend *prompts, size_t n_prompts,
                  struct uqm_err *err);
int uqm_vk_gather(struct uqm_vk *vk, const struct uqm_gather *args, struct uqm_err *err);
int uqm_vk_narrow(struct uqm_vk *vk, struct uqm_place dst, struct uqm_place src, size_t n_elem,
                  struct uqm_err *err);

#endif
