#include <math.h>

#include "compute/tiers.h"
#include "compute/unaligned.h"

#include "compute/ref/lanes_ref.h"

#include "compute/lane_math.h"

/* Sums are taken in double: their error is then far below that of one float rounding. */

void uqm_rmsnorm_f32_ref(float *y, const float *x, const float *w, float eps, size_t n_elem)
{
    double sum = 0;
    for (size_t i = 0; i < n_elem; i++) {
        double v = (double) uqm_get_f32(x, i);
        sum += v * v;
    }
    float inv = (float) (1.0 / sqrt(sum / (double) n_elem + (double) eps));
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(y, i, uqm_get_f32(x, i) * inv * uqm_get_f32(w, i));
}

void uqm_layernorm_f32_ref(float *y, const float *x, const float *w, const float *b, float eps,
                           size_t n_elem)
{
    double sum = 0, sum2 = 0;
    for (size_t i = 0; i < n_elem; i++)
        sum += (double) uqm_get_f32(x, i);
    double mean = sum / (double) n_elem;
    for (size_t i = 0; i < n_elem; i++) {
        double v = (double) uqm_get_f32(x, i) - mean;
        sum2 += v * v;
    }
    float inv = (float) (1.0 / sqrt(sum2 / (double) n_elem + (double) eps));
    float shift = (float) mean;
    for (size_t i = 0; i < n_elem; i++) {
        float v = (uqm_get_f32(x, i) - shift) * inv;
        uqm_put_f32(y, i, v * uqm_get_f32(w, i) + uqm_get_f32(b, i));
    }
}

void uqm_softmax_f32_ref(float *x, float scale, size_t n_elem)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n_elem; i++)
        max = vf_max(uqm_get_f32(x, i) * scale, max);

    double sum = 0;
    for (size_t i = 0; i < n_elem; i++) {
        float e = vf_exp(uqm_get_f32(x, i) * scale - max);
        sum += (double) e;
        uqm_put_f32(x, i, e);
    }
    float inv = (float) (1.0 / sum);
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(x, i, uqm_get_f32(x, i) * inv);
}

float uqm_dot_f32_ref(const float *a, const float *b, size_t n_elem)
{
    double sum = 0;
    for (size_t i = 0; i < n_elem; i++)
        sum += (double) uqm_get_f32(a, i) * (double) uqm_get_f32(b, i);
    return (float) sum;
}

float uqm_dot_f16_ref(const uint16_t *a, const float *b, size_t n_elem)
{
    double sum = 0;
    for (size_t i = 0; i < n_elem; i++)
        sum += (double) uqm_f32_of_f16(uqm_get_u16(a, i)) * (double) uqm_get_f32(b, i);
    return (float) sum;
}
