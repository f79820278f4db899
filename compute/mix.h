/* Weights that are mixtures of other weights: merges that have not been made yet. */
#ifndef UQM_COMPUTE_MIX_H
#define UQM_COMPUTE_MIX_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/dtype.h"

/*
 * A weight that is made of others, element by element, in f64 and rounded once to nearest even:
 * sum of weight_i w_i, in order, each product and each sum rounded; over `divisor`; with a base
 * base + lambda (sum of weight_i (w_i - base)) / divisor. To the bit what compute/merge_kernels.h
 * gives (linear_mix, task_mix), but for which NaN. uqm_mix_is_safe() says whether it can be asked.
 */
struct uqm_mix_input {
    const void *w;        /* (n, k) packed in the host's memory, borrowed for the call */
    enum uqm_dtype dtype; /* F16, BF16 or F32 */
    double weight;
};
struct uqm_mix {
    const struct uqm_mix_input *base; /* NULL: a weighted sum; its weight is not read */
    size_t n_inputs;                  /* >= 1 */
    const struct uqm_mix_input *inputs;
    double divisor; /* 1: none */
    double lambda;  /* with a base */
};
/* Whether no step leaves the range of f64: factors are 0 or of ordinary size. */
bool uqm_mix_is_safe(const struct uqm_mix *mix);
/* Element i of the mixture, rounded to F16, BF16 or F32, as f32. The plain reference. */
float uqm_mix_element(const struct uqm_mix *mix, enum uqm_dtype dtype, size_t i);

#endif
