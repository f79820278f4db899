#include <math.h>

#include "compute/tiers.h"
#include "compute/unaligned.h"

#include "compute/ref/lanes_ref.h"

#include "compute/lane_math.h"

/* Which of two NaNs a sum keeps is the compiler's choice of instruction: we keep the older one,
 * so that the bytes of a merge do not depend on it. */
static float fma_into(float acc, float x, float w)
{
    return isnan(acc) ? acc : fmaf(x, w, acc);
}

void uqm_fma_f16_ref(float *restrict acc, const uint16_t *restrict src, float w, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++) {
        float x = uqm_f32_of_f16(uqm_get_u16(src, i));
        uqm_put_f32(acc, i, fma_into(uqm_get_f32(acc, i), x, w));
    }
}

void uqm_fma_bf16_ref(float *restrict acc, const uint16_t *restrict src, float w, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++) {
        float x = uqm_f32_of_bf16(uqm_get_u16(src, i));
        uqm_put_f32(acc, i, fma_into(uqm_get_f32(acc, i), x, w));
    }
}

void uqm_fma_f32_ref(float *restrict acc, const float *restrict src, float w, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(acc, i, fma_into(uqm_get_f32(acc, i), uqm_get_f32(src, i), w));
}

void uqm_div_f32_ref(float *x, float d, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(x, i, uqm_get_f32(x, i) / d);
}

void uqm_add_f32_ref(float *restrict y, const float *restrict x, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(y, i, uqm_get_f32(y, i) + uqm_get_f32(x, i));
}

void uqm_silu_mul_f32_ref(float *restrict y, const float *restrict x, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(y, i, vf_silu(uqm_get_f32(y, i)) * uqm_get_f32(x, i));
}

void uqm_quick_gelu_f32_ref(float *x, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(x, i, vf_quick_gelu(uqm_get_f32(x, i)));
}

void uqm_gelu_f32_ref(float *x, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(x, i, vf_gelu(uqm_get_f32(x, i)));
}

void uqm_rope_f32_ref(float *x, const float *cos, const float *sin, size_t head_dim)
{
    const size_t h = head_dim / 2;
    for (size_t i = 0; i < h; i++) {
        float c = uqm_get_f32(cos, i), s = uqm_get_f32(sin, i);
        float a = uqm_get_f32(x, i), b = uqm_get_f32(x, i + h);
        uqm_put_f32(x, i, a * c - b * s);
        uqm_put_f32(x, i + h, b * c + a * s);
    }
}

void uqm_dropout_f32_ref(float *x, struct uqm_rng_key key, uint32_t head, uint32_t query,
                         uint32_t threshold, float scale, size_t n_elem)
{
    uint32_t words[4] = { 0 };
    for (size_t i = 0; i < n_elem; i++) {
        if (i % 4 == 0) {
            const uint32_t counter[4] = { (uint32_t) (i / 4), query, head, 0 };
            uqm_philox4x32(words, counter, key);
        }
        uqm_put_f32(x, i, words[i % 4] >= threshold ? uqm_get_f32(x, i) * scale : 0.0f);
    }
}
