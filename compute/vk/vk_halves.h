/*
 * Rows of x as F16, for products in the mode `fast` and on cooperative matrices.
 *
 * F16 ends at 65504, and a real model's activations go beyond: a row is multiplied by a power of
 * two that brings its largest finite number to [2^14, 2^15) (shaders/row_scale.glsl), and the sum
 * over it by the inverse. Both are exact, so rounding to F16 is all that is lost: half of 2^-10 of
 * each number that is at least 2^-28 of the row's largest, and at most 2^-39 of the largest of
 * those below. NaN and Inf stay what they are, in their row.
 */
#ifndef UQM_COMPUTE_VK_VK_HALVES_H
#define UQM_COMPUTE_VK_VK_HALVES_H

#include "compute/vk/vk.h"

/* Of a row of k numbers, as shaders/halve_rows.comp writes it: eights of F16, and the inverse. */
static inline uint64_t uqm_vk_halves_words(uint64_t k)
{
    return (k + 7) / 8 * 4 + 4;
}

/* Words of scratch that reserve() takes for these needs; 0: the device is not fast. */
uint64_t uqm_vk_halves_scratch(const struct uqm_vk *vk, const struct uqm_device_needs *needs);
/* Rows of k numbers that the scratch holds at a time, at least 1. */
uint64_t uqm_vk_halves_rows(const struct uqm_vk *vk, size_t k);
/* The scratch with m rows of k numbers, as a product reads it. */
struct uqm_vk_binding uqm_vk_halves_read(const struct uqm_vk *vk, size_t m, size_t k);

/* Queue what makes rows [row, row + m) of args->x ready: with `halves` F16 in the scratch, else
 * their powers of two in vk->ops->scales. */
int uqm_vk_halve_rows(struct uqm_vk *vk, const struct uqm_linear *args, size_t row, size_t m,
                      bool halves, struct uqm_err *err);

#endif
