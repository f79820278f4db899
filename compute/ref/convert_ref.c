#include "compute/tiers.h"
#include "compute/unaligned.h"

/* F16C makes a NaN quiet on the way up as well, and so do we. */
static float quiet_f32_of_f16(uint16_t h)
{
    bool nan = (h & 0x7FFF) > 0x7C00;
    return uqm_f32_of_f16((uint16_t) (nan ? h | 0x200 : h));
}

void uqm_f32_of_f16_ref(float *restrict dst, const uint16_t *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(dst, i, quiet_f32_of_f16(uqm_get_u16(src, i)));
}

void uqm_f32_of_bf16_ref(float *restrict dst, const uint16_t *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(dst, i, uqm_f32_of_bf16(uqm_get_u16(src, i)));
}

void uqm_f16_of_f32_ref(uint16_t *restrict dst, const float *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_u16(dst, i, uqm_f16_of_f32(uqm_get_f32(src, i)));
}

void uqm_bf16_of_f32_ref(uint16_t *restrict dst, const float *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_u16(dst, i, uqm_bf16_of_f32(uqm_get_f32(src, i)));
}
