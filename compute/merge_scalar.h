/* One element of what merge_kernels.h says, plainly: the whole of the reference, and the ends that
 * no vector fills of the others. */
#ifndef UQM_COMPUTE_MERGE_SCALAR_H
#define UQM_COMPUTE_MERGE_SCALAR_H

#include <math.h>

#include "compute/merge_kernels.h"

static inline uint32_t uqm_delta_key_1(float x, float base)
{
    return uqm_bits_of_f32(x - base) & 0x7FFFFFFF;
}

static inline bool uqm_task_keeps_1(const struct uqm_task_input *in, const float *base, size_t e)
{
    int32_t key = (int32_t) uqm_delta_key_1(in->x[e], base[e]);
    return in->least <= key && key <= in->most && (!in->keep || in->keep[e]);
}

static inline double uqm_task_mix_1(const struct uqm_task_mix *m, size_t e)
{
    double base = (double) m->base[e], sum = 0, up = 0, down = 0, up_weights = 0, down_weights = 0;
    for (size_t i = 0; i < m->n_inputs; i++) {
        const struct uqm_task_input *in = &m->inputs[i];
        double d = uqm_task_keeps_1(in, m->base, e) ? (double) in->x[e] - base : 0;
        d = d * in->ratio * in->weight;
        sum += d;
        up += d > 0 ? d : 0;
        down += d < 0 ? d : 0;
        up_weights += d > 0 ? in->weight : 0;
        down_weights += d < 0 ? in->weight : 0;
    }
    double mix = sum, divisor = m->divisor;
    if (m->consensus) {
        mix = isnan(sum) ? sum : sum >= 0 ? up : down;
        divisor = sum >= 0 ? up_weights : down_weights;
        divisor = divisor == 0 ? 1 : divisor;
    }
    if (m->normalize)
        mix = mix / divisor;
    double out = base + mix * m->lambda;
    return isnan(out) ? (double) NAN : out;
}

static inline void uqm_task_sums_1(double *before, double *after, const struct uqm_task_input *in,
                                   const float *base, size_t e)
{
    double d = fabs((double) in->x[e] - (double) base[e]);
    *before += d;
    *after += uqm_task_keeps_1(in, base, e) ? d : 0;
}

#endif
