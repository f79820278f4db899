/*
 * The arithmetic of `linear` (spec merge.md 3.2) on a run of elements of all inputs at once:
 *     acc = 0; in recipe order acc = fma(x_i, w_i, acc); acc /= sum of weights; round once.
 * x_i is the input cast to the working type. f32 inside, f64 where the working type is F64.
 * Also the plain change of type. Results depend on the elements alone, not on how they are cut.
 */
#ifndef UQM_MERGE_LINEAR_H
#define UQM_MERGE_LINEAR_H

#include "compute/kernels.h"

enum {
    UQM_LINEAR_CHUNK = 4096, /* elements at a time: the accumulators stay in the nearest cache */
    UQM_LINEAR_SCRATCH_BYTES = UQM_LINEAR_CHUNK * (8 + 8 + 4 + 2), /* for one worker */
};

struct uqm_linear_input {
    const void *data; /* any alignment */
    enum uqm_dtype dtype;
    double weight;
};

struct uqm_linear_job {
    const struct uqm_kernels *kernels;
    size_t n_inputs;
    const struct uqm_linear_input *inputs;
    enum uqm_dtype work, out;
    bool normalize;
    double sum;
};

/* dst = merge of elements [first, first + n_elem) of every input, n_elem <= UQM_LINEAR_CHUNK.
 * scratch: UQM_LINEAR_SCRATCH_BYTES, 64-byte aligned. */
void uqm_linear_merge(void *dst, const struct uqm_linear_job *job, size_t first, size_t n_elem,
                      void *scratch);
/* dst = out(work(x)) of the one input, its weight unread. */
void uqm_linear_convert(void *dst, const struct uqm_linear_job *job, size_t first, size_t n_elem,
                        void *scratch);

#endif
