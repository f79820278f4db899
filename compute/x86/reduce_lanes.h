/* Bodies of the reductions; included after a lanes_*.h. Sums run in double, lane by lane, except
 * for dot products: four float chains of LANES lanes. */
#include <math.h>

#include "compute/lane_math.h"
#include "compute/tiers.h"
#include "compute/unaligned.h"

void TIER(rmsnorm_f32)(float *y, const float *x, const float *w, float eps, size_t n_elem)
{
    vd sum = vd_zero();
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        sum = vd_add_square(sum, vd_of(vf_load(x, i)), 0);
    if (i < n_elem)
        sum = vd_add_square(sum, vd_of(vf_load_n(x, i, n_elem - i, 0)), 0);

    const vf inv = vf_set((float) (1.0 / sqrt(vd_sum(sum) / (double) n_elem + (double) eps)));
    for (i = 0; i + LANES <= n_elem; i += LANES)
        vf_store(y, i, vf_mul(vf_mul(vf_load(x, i), inv), vf_load(w, i)));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf v = vf_mul(vf_load_n(x, i, n, 0), inv);
        vf_store_n(y, i, n, vf_mul(v, vf_load_n(w, i, n, 0)));
    }
}

static double variance(const float *x, double mean, size_t n_elem)
{
    vd sum = vd_zero();
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        sum = vd_add_square(sum, vd_of(vf_load(x, i)), mean);
    double tail = 0;
    for (; i < n_elem; i++) {
        double v = (double) uqm_get_f32(x, i) - mean;
        tail += v * v;
    }
    return (vd_sum(sum) + tail) / (double) n_elem;
}

void TIER(layernorm_f32)(float *y, const float *x, const float *w, const float *b, float eps,
                         size_t n_elem)
{
    vd sum = vd_zero();
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        sum = vd_add(sum, vd_of(vf_load(x, i)));
    if (i < n_elem)
        sum = vd_add(sum, vd_of(vf_load_n(x, i, n_elem - i, 0)));

    const double mean = vd_sum(sum) / (double) n_elem;
    const vf inv = vf_set((float) (1.0 / sqrt(variance(x, mean, n_elem) + (double) eps)));
    const vf shift = vf_set((float) mean);
    for (i = 0; i < n_elem; i += LANES) {
        size_t n = n_elem - i < LANES ? n_elem - i : LANES;
        vf v = vf_mul(vf_sub(vf_load_n(x, i, n, 0), shift), inv);
        v = vf_mul(v, vf_load_n(w, i, n, 0));
        vf_store_n(y, i, n, vf_add(v, vf_load_n(b, i, n, 0)));
    }
}

static float scaled_max(const float *x, float scale, size_t n_elem)
{
    const vf s = vf_set(scale);
    vf max = vf_set(-INFINITY);
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        max = vf_max(vf_mul(vf_load(x, i), s), max);
    if (i < n_elem) {
        /* the first element stands in for those past the end */
        vf v = vf_load_n(x, i, n_elem - i, uqm_get_f32(x, i));
        max = vf_max(vf_mul(v, s), max);
    }
    return vf_max_of_lanes(max);
}

void TIER(softmax_f32)(float *x, float scale, size_t n_elem)
{
    const vf s = vf_set(scale), max = vf_set(scaled_max(x, scale, n_elem));
    vd sum = vd_zero();
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES) {
        vf e = vf_exp(vf_sub(vf_mul(vf_load(x, i), s), max));
        sum = vd_add(sum, vd_of(e));
        vf_store(x, i, e);
    }
    double total = 0;
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf e = vf_exp(vf_sub(vf_mul(vf_load_n(x, i, n, 0), s), max));
        vf_store_n(x, i, n, e);
        total = vd_sum(vd_of(vf_load_n(x, i, n, 0)));
    }
    total += vd_sum(sum);

    const vf inv = vf_set((float) (1.0 / total));
    for (i = 0; i < n_elem; i += LANES) {
        size_t n = n_elem - i < LANES ? n_elem - i : LANES;
        vf_store_n(x, i, n, vf_mul(vf_load_n(x, i, n, 0), inv));
    }
}

/* One name, two ways to fetch LANES elements. */
#define DEFINE_DOT(name, type, load, load_n)                                                       \
    float TIER(name)(const type *a, const float *b, size_t n_elem)                                 \
    {                                                                                              \
        vf s[4] = { vf_set(0), vf_set(0), vf_set(0), vf_set(0) };                                  \
        size_t i = 0;                                                                              \
        for (; i + 4 * LANES <= n_elem; i += 4 * LANES)                                            \
            for (size_t c = 0; c < 4; c++)                                                         \
                s[c] = vf_fma(load(a, i + c * LANES), vf_load(b, i + c * LANES), s[c]);            \
        for (; i + LANES <= n_elem; i += LANES)                                                    \
            s[0] = vf_fma(load(a, i), vf_load(b, i), s[0]);                                        \
        if (i < n_elem)                                                                            \
            s[1] = vf_fma(load_n(a, i, n_elem - i), vf_load_n(b, i, n_elem - i, 0), s[1]);         \
        return vf_sum(vf_add(vf_add(s[0], s[1]), vf_add(s[2], s[3])));                             \
    }

static inline vf load_f16(const uint16_t *p, size_t i)
{
    return vf_of_f16(vh_load(p, i));
}
static inline vf load_f16_n(const uint16_t *p, size_t i, size_t n)
{
    return vf_of_f16(vh_load_n(p, i, n));
}
static inline vf load_f32_n(const float *p, size_t i, size_t n)
{
    return vf_load_n(p, i, n, 0);
}

DEFINE_DOT(dot_f32, float, vf_load, load_f32_n)
DEFINE_DOT(dot_f16, uint16_t, load_f16, load_f16_n)
