/*
 * The arithmetic of `linear` (spec merge.md 3.2):
 *     acc = 0; in recipe order acc = acc + x_i w_i; acc /= sum of weights; round once.
 * mergekit: fused, in f32, or f64 where the working type is F64. Accurate: in f64. And the plain
 * change of type, for tensors that are copied.
 */
#ifndef UQM_MERGE_LINEAR_H
#define UQM_MERGE_LINEAR_H

#include "src/merge/method_ops.h"

extern const struct uqm_method_ops uqm_linear_ops;
/* out(work(x)) of the one input; reads no parameter. */
extern const struct uqm_method_ops uqm_convert_ops;

#endif
