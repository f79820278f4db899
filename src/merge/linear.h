/*
 * The arithmetic of `linear` (spec merge.md 3.2):
 *     acc = 0; in recipe order acc = fma(x_i, w_i, acc); acc /= sum of weights; round once.
 * f32 inside, f64 where the working type is F64; both numerics are the same. And the plain change
 * of type, for tensors that are copied.
 */
#ifndef UQM_MERGE_LINEAR_H
#define UQM_MERGE_LINEAR_H

#include "src/merge/method_ops.h"

extern const struct uqm_method_ops uqm_linear_ops;
/* out(work(x)) of the one input; reads no parameter. */
extern const struct uqm_method_ops uqm_convert_ops;

#endif
