/* One element of what merge_kernels.h says, plainly: the whole of the reference, and the ends that
 * no vector fills of the others. */
#ifndef UQM_COMPUTE_MERGE_SCALAR_H
#define UQM_COMPUTE_MERGE_SCALAR_H

#include <math.h>

#include "compute/merge_kernels.h"
#include "compute/unaligned.h"

static inline float uqm_stored_1(struct uqm_stored s, size_t e)
{
    switch (s.dtype) {
    case UQM_F16: return uqm_f32_of_f16(uqm_get_u16(s.x, e));
    case UQM_BF16: return uqm_f32_of_bf16(uqm_get_u16(s.x, e));
    default: return uqm_get_f32(s.x, e);
    }
}

static inline double uqm_divided_1(double sum, const struct uqm_linear_mix *m)
{
    if (m->divisor == 1)
        return sum;
    if (m->reciprocal == 0)
        return sum / m->divisor;
    double q = sum * m->reciprocal, more = fma(fma(-q, m->divisor, sum), m->reciprocal, q);
    return isnan(more) ? q : more;
}

static inline double uqm_linear_mix_1(const struct uqm_linear_mix *m, size_t e)
{
    double sum = 0;
    for (size_t i = 0; i < m->n_inputs; i++)
        sum += (double) uqm_stored_1(m->inputs[i].x, e) * m->inputs[i].weight;
    return uqm_divided_1(sum, m);
}

static inline uint32_t uqm_delta_key_1(float x, float base)
{
    return uqm_bits_of_f32(x - base) & 0x7FFFFFFF;
}

static inline void uqm_split_delta_1(struct uqm_key_split *s, uint32_t *out, size_t *n,
                                     uint32_t key)
{
    s->largest = key > s->largest ? key : s->largest;
    s->n_below += key < s->low;
    s->n_likely += key == s->likely;
    if (key - s->low < s->n_keys && key != s->likely)
        out[(*n)++] = key;
}

static inline bool uqm_task_keeps_1(const struct uqm_task_input *in, float x, float base, size_t e)
{
    int32_t key = (int32_t) uqm_delta_key_1(x, base);
    return in->least <= key && key <= in->most && (!in->keep || (in->keep[e / 8] >> e % 8 & 1));
}

static inline double uqm_task_mix_1(const struct uqm_task_mix *m, size_t e)
{
    float base_f32 = uqm_stored_1(m->base, e);
    double base = (double) base_f32, sum = 0, up = 0, down = 0, up_weights = 0, down_weights = 0;
    for (size_t i = 0; i < m->n_inputs; i++) {
        const struct uqm_task_input *in = &m->inputs[i];
        float x = uqm_stored_1(in->x, e);
        double d = uqm_task_keeps_1(in, x, base_f32, e) ? (double) x - base : 0;
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
                                   struct uqm_stored base, size_t e)
{
    float x = uqm_stored_1(in->x, e), b = uqm_stored_1(base, e);
    double d = fabs((double) x - (double) b);
    *before += d;
    *after += uqm_task_keeps_1(in, x, b, e) ? d : 0;
}

static inline double uqm_gram_1(struct uqm_stored x, struct uqm_stored base, size_t e)
{
    double v = (double) uqm_stored_1(x, e);
    return base.x ? v - (double) uqm_stored_1(base, e) : v;
}

static inline double uqm_offset_1(const struct uqm_offsets *v, size_t i, size_t e)
{
    bool is_kept = !v->keep || (v->keep[e / 8] >> e % 8 & 1);
    return is_kept ? (double) uqm_stored_1(v->x[i], e) - (double) uqm_stored_1(v->base, e) : 0;
}

static inline uint32_t uqm_spread_key_1(const struct uqm_offsets *v, size_t e)
{
    const struct uqm_offsets all = { v->base, v->n_inputs, v->x, NULL };
    double mean = 0, squares = 0, n = (double) v->n_inputs;
    for (size_t i = 0; i < v->n_inputs; i++)
        mean += uqm_offset_1(&all, i, e);
    mean /= n;
    for (size_t i = 0; i < v->n_inputs; i++) {
        double d = uqm_offset_1(&all, i, e) - mean;
        squares += d * d;
    }
    float variance = (float) (squares / n);
    return isnan(variance) ? INT32_MAX : uqm_bits_of_f32(variance);
}

static inline double uqm_agreeing_mix_1(const struct uqm_offsets *v, const double *q, double least,
                                        size_t e)
{
    double sum = 0, up = 0, down = 0, up_weights = 0, down_weights = 0;
    for (size_t i = 0; i < v->n_inputs; i++) {
        double d = uqm_offset_1(v, i, e);
        sum += d;
        up += d > 0 ? d * q[i] : 0;
        down += d < 0 ? d * q[i] : 0;
        up_weights += d > 0 ? q[i] : 0;
        down_weights += d < 0 ? q[i] : 0;
    }
    double mix = sum >= 0 ? up : down, divisor = sum >= 0 ? up_weights : down_weights;
    double out = (double) uqm_stored_1(v->base, e) + mix / (divisor < least ? least : divisor);
    return isnan(out) ? (double) NAN : out;
}

static inline uint16_t uqm_key_bin_1(uint32_t key, unsigned shift, uint32_t low)
{
    uint32_t bin = key >> shift, least = key > 0;
    return (uint16_t) (bin > low + least ? bin - low : least);
}

#endif
