/*
 * The self-test: the operations against plain C on small odd shapes, at the first use of a device
 * with a driver version. What differs while a feature is in use, and not without it, is switched
 * off by zeroing its limit; a device that differs without any cannot be used.
 */
#ifndef UQM_COMPUTE_VK_VK_SELFTEST_H
#define UQM_COMPUTE_VK_VK_SELFTEST_H

#include "compute/vk/vk.h"

/* Bits of what can be switched off, in the order in which it is tried. */
enum {
    UQM_VK_OFF_UNPACK_HALF = 1,
    UQM_VK_OFF_COOP = 2,
    UQM_VK_OFF_TEXELS = 4,
    UQM_VK_OFF_SUBGROUPS = 8,
    UQM_VK_OFF_F64 = 16,
    UQM_VK_OFF_ALL = 31,
};
void uqm_vk_switch_off(struct uqm_vk_limits *limits, uint32_t off);

/*
 * Run it (well under a second on a GPU) and leave what must be off in *off, switched off in
 * vk->limits. vk->ops must be initialised again after a call that switched something off.
 * UQM_ERR_UNSUPPORTED: the device computes wrongly; the error names operation, index and values.
 */
int uqm_vk_selftest(uint32_t *off, struct uqm_vk *vk, struct uqm_err *err);

/* Of the products of the mode `fast`, which vk->device.fast says is on. Nothing may be reserved.
 * UQM_ERR_UNSUPPORTED: as above. */
int uqm_vk_selftest_fast(struct uqm_vk *vk, struct uqm_err *err);

#endif
