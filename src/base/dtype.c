#include "src/base/dtype.h"

static const struct {
    const char *name;
    unsigned bits;
} dtypes[UQM_N_DTYPES] = {
    [UQM_BOOL] = { "BOOL", 8 },
    [UQM_F4] = { "F4", 4 },
    [UQM_F6_E2M3] = { "F6_E2M3", 6 },
    [UQM_F6_E3M2] = { "F6_E3M2", 6 },
    [UQM_U8] = { "U8", 8 },
    [UQM_I8] = { "I8", 8 },
    [UQM_F8_E5M2] = { "F8_E5M2", 8 },
    [UQM_F8_E4M3] = { "F8_E4M3", 8 },
    [UQM_F8_E8M0] = { "F8_E8M0", 8 },
    [UQM_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8 },
    [UQM_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8 },
    [UQM_I16] = { "I16", 16 },
    [UQM_U16] = { "U16", 16 },
    [UQM_F16] = { "F16", 16 },
    [UQM_BF16] = { "BF16", 16 },
    [UQM_I32] = { "I32", 32 },
    [UQM_U32] = { "U32", 32 },
    [UQM_F32] = { "F32", 32 },
    [UQM_C64] = { "C64", 64 },
    [UQM_F64] = { "F64", 64 },
    [UQM_I64] = { "I64", 64 },
    [UQM_U64] = { "U64", 64 },
};

const char *uqm_dtype_name(enum uqm_dtype dtype)
{
    return dtypes[dtype].name;
}

bool uqm_dtype_parse(enum uqm_dtype *out, const char *name, size_t len)
{
    for (int d = 0; d < UQM_N_DTYPES; d++) {
        if (strlen(dtypes[d].name) == len && memcmp(dtypes[d].name, name, len) == 0) {
            *out = (enum uqm_dtype) d;
            return true;
        }
    }
    return false;
}

unsigned uqm_dtype_bits(enum uqm_dtype dtype)
{
    return dtypes[dtype].bits;
}

float uqm_f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t) (h & 0x8000) << 16;
    uint32_t exp = (h >> 10) & 0x1F, man = h & 0x3FF;

    if (exp == 0x1F) /* Inf, NaN: the payload moves up */
        return uqm_f32_of_bits(sign | 0x7F800000 | man << 13);
    if (exp == 0) { /* zero and subnormals: man * 2^-24, exact in f32 */
        float f = (float) man * 0x1p-24f;
        return uqm_f32_of_bits(sign | uqm_bits_of_f32(f));
    }
    return uqm_f32_of_bits(sign | (exp + 112) << 23 | man << 13);
}

uint16_t uqm_f16_of_f32(float f)
{
    uint32_t u = uqm_bits_of_f32(f);
    uint16_t sign = (uint16_t) (u >> 16 & 0x8000);
    u &= 0x7FFFFFFF;

    if (u > 0x7F800000) /* NaN: quiet, upper payload kept */
        return (uint16_t) (sign | 0x7E00 | (u >> 13 & 0x1FF));
    if (u >= 0x477FF000) /* 65520 and above round to Inf */
        return (uint16_t) (sign | 0x7C00);
    if (u < 0x38800000) { /* below 2^-14: a multiple of 2^-24, rounded by the addition */
        float r = uqm_f32_of_bits(u) + 0.5f;
        return (uint16_t) (sign | (uqm_bits_of_f32(r) - uqm_bits_of_f32(0.5f)));
    }
    uint32_t odd = u >> 13 & 1;
    return (uint16_t) (sign | ((u - 0x38000000 + 0xFFF + odd) >> 13));
}

uint16_t uqm_bf16_of_f32(float f)
{
    uint32_t u = uqm_bits_of_f32(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t) (u >> 16 | 0x40);
    return (uint16_t) ((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}
