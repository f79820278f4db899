/* Bodies of the conversions; included after a lanes_*.h. */
#include "compute/tiers.h"

void TIER(f32_of_f16)(float *restrict dst, const uint16_t *restrict src, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(dst, i, vf_of_f16(vh_load(src, i)));
    if (i < n_elem)
        vf_store_n(dst, i, n_elem - i, vf_of_f16(vh_load_n(src, i, n_elem - i)));
}

void TIER(f32_of_bf16)(float *restrict dst, const uint16_t *restrict src, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vf_store(dst, i, vf_of_bf16(vh_load(src, i)));
    if (i < n_elem)
        vf_store_n(dst, i, n_elem - i, vf_of_bf16(vh_load_n(src, i, n_elem - i)));
}

void TIER(f16_of_f32)(uint16_t *restrict dst, const float *restrict src, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vh_store(dst, i, vf_to_f16(vf_load(src, i)));
    if (i < n_elem)
        vh_store_n(dst, i, n_elem - i, vf_to_f16(vf_load_n(src, i, n_elem - i, 0)));
}

void TIER(bf16_of_f32)(uint16_t *restrict dst, const float *restrict src, size_t n_elem)
{
    size_t i = 0;
    for (; i + LANES <= n_elem; i += LANES)
        vh_store(dst, i, vf_to_bf16(vf_load(src, i)));
    if (i < n_elem)
        vh_store_n(dst, i, n_elem - i, vf_to_bf16(vf_load_n(src, i, n_elem - i, 0)));
}
