/*
 * The tuner: which of the kernels that give a product the same bits is the fastest here. Each is
 * timed once on a piece of the first product of its shape and the winner is kept with the pipeline
 * cache, for this device, driver version and set of shaders.
 *
 * Only speed depends on it: a kernel whose results are not the table's, bit for bit, is not
 * eligible. UQMERGE_VK_TUNE=0: the table alone. =1: software devices too, whose table was measured.
 */
#ifndef UQM_COMPUTE_VK_VK_TUNE_H
#define UQM_COMPUTE_VK_VK_TUNE_H

#include "compute/vk/vk_gemm.h"

/* *gemm is the table's choice, and afterwards the tuner's. Errors are those of the device; being
 * out of memory for the piece is none. */
int uqm_vk_tune(struct uqm_vk_gemm *gemm, struct uqm_vk *vk, const struct uqm_linear *args,
                const struct uqm_vk_gemm_shape *shape, struct uqm_err *err);

#endif
