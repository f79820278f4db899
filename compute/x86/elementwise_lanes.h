/* Bodies of the element-wise kernels; included after a lanes_*.h. */
#include "compute/lane_math.h"
#include "compute/tiers.h"

static inline vf fma_into(vf acc, vf x, vf w)
{
    return vf_keep_nan(acc, vf_fma(x, w, acc));
}

void TIER(fma_f16)(float *restrict acc, const uint16_t *restrict src, float w, size_t n_elem)
{
    const vf ww = vf_set(w);
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(acc, i, fma_into(vf_load(acc, i), vf_of_f16(vh_load(src, i)), ww));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf x = vf_of_f16(vh_load_n(src, i, n));
        vf_store_n(acc, i, n, fma_into(vf_load_n(acc, i, n, 0), x, ww));
    }
}

void TIER(fma_bf16)(float *restrict acc, const uint16_t *restrict src, float w, size_t n_elem)
{
    const vf ww = vf_set(w);
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(acc, i, fma_into(vf_load(acc, i), vf_of_bf16(vh_load(src, i)), ww));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf x = vf_of_bf16(vh_load_n(src, i, n));
        vf_store_n(acc, i, n, fma_into(vf_load_n(acc, i, n, 0), x, ww));
    }
}

void TIER(fma_f32)(float *restrict acc, const float *restrict src, float w, size_t n_elem)
{
    const vf ww = vf_set(w);
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(acc, i, fma_into(vf_load(acc, i), vf_load(src, i), ww));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf x = vf_load_n(src, i, n, 0);
        vf_store_n(acc, i, n, fma_into(vf_load_n(acc, i, n, 0), x, ww));
    }
}

void TIER(div_f32)(float *x, float d, size_t n_elem)
{
    const vf dd = vf_set(d);
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(x, i, vf_div(vf_load(x, i), dd));
    if (i < n_elem)
        vf_store_n(x, i, n_elem - i, vf_div(vf_load_n(x, i, n_elem - i, 1), dd));
}

void TIER(add_f32)(float *restrict y, const float *restrict x, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(y, i, vf_add(vf_load(y, i), vf_load(x, i)));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf_store_n(y, i, n, vf_add(vf_load_n(y, i, n, 0), vf_load_n(x, i, n, 0)));
    }
}

void TIER(silu_mul_f32)(float *restrict y, const float *restrict x, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(y, i, vf_mul(vf_silu(vf_load(y, i)), vf_load(x, i)));
    if (i < n_elem) {
        size_t n = n_elem - i;
        vf_store_n(y, i, n, vf_mul(vf_silu(vf_load_n(y, i, n, 0)), vf_load_n(x, i, n, 0)));
    }
}

void TIER(quick_gelu_f32)(float *x, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(x, i, vf_quick_gelu(vf_load(x, i)));
    if (i < n_elem)
        vf_store_n(x, i, n_elem - i, vf_quick_gelu(vf_load_n(x, i, n_elem - i, 0)));
}

void TIER(gelu_f32)(float *x, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(x, i, vf_gelu(vf_load(x, i)));
    if (i < n_elem)
        vf_store_n(x, i, n_elem - i, vf_gelu(vf_load_n(x, i, n_elem - i, 0)));
}

void TIER(rope_f32)(float *x, const float *cos, const float *sin, size_t head_dim)
{
    const size_t h = head_dim / 2;
    for (size_t i = 0; i < h; i += LANES) {
        size_t n = h - i < LANES ? h - i : LANES;
        vf c = vf_load_n(cos, i, n, 0), s = vf_load_n(sin, i, n, 0);
        vf a = vf_load_n(x, i, n, 0), b = vf_load_n(x, i + h, n, 0);
        vf_store_n(x, i, n, vf_sub(vf_mul(a, c), vf_mul(b, s)));
        vf_store_n(x, i + h, n, vf_add(vf_mul(b, c), vf_mul(a, s)));
    }
}
