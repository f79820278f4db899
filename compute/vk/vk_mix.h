/* Weights that are mixtures of other weights, made where they are used (compute/device.h). */
#ifndef UQM_COMPUTE_VK_VK_MIX_H
#define UQM_COMPUTE_VK_VK_MIX_H

#include "compute/vk/vk.h"

/* Device memory that mixing takes beside slots of slot_bytes, which reserve() allocates. */
uint64_t uqm_vk_mix_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs,
                          uint64_t slot_bytes);
int uqm_vk_mix_reserve(struct uqm_vk *vk, const struct uqm_device_needs *needs, uint64_t slot_bytes,
                       struct uqm_err *err);
void uqm_vk_mix_release(struct uqm_vk *vk);

/* Rows of args->mix that fit a slot and the sums. */
size_t uqm_vk_mix_cols(const struct uqm_vk *vk, const struct uqm_linear *args);
/* Rows [col, col + n) of the mixture, packed, in a slot of that name. */
int uqm_vk_mix(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct uqm_linear *args,
               size_t col, size_t n, struct uqm_err *err);

#endif
