/* Element types, as safetensors names them, and the scalar conversions between them. */
#ifndef UQM_BASE_DTYPE_H
#define UQM_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* In the reference writer's rank, so that a file's tensors sort by descending value. */
enum uqm_dtype {
    UQM_BOOL,
    UQM_F4,
    UQM_F6_E2M3,
    UQM_F6_E3M2,
    UQM_U8,
    UQM_I8,
    UQM_F8_E5M2,
    UQM_F8_E4M3,
    UQM_F8_E8M0,
    UQM_F8_E4M3FNUZ,
    UQM_F8_E5M2FNUZ,
    UQM_I16,
    UQM_U16,
    UQM_F16,
    UQM_BF16,
    UQM_I32,
    UQM_U32,
    UQM_F32,
    UQM_C64,
    UQM_F64,
    UQM_I64,
    UQM_U64,
    UQM_N_DTYPES
};

/* "BF16" */
const char *uqm_dtype_name(enum uqm_dtype dtype);
/* false if `name` (len bytes, case-sensitive) is no dtype's. */
bool uqm_dtype_parse(enum uqm_dtype *out, const char *name, size_t len);
/* Bits an element: 1 byte for BOOL, 4 and 6 for the sub-byte types. */
unsigned uqm_dtype_bits(enum uqm_dtype dtype);
/* Bytes of n_elem packed elements, of which there are as many as fill whole bytes. */
static inline uint64_t uqm_dtype_bytes(enum uqm_dtype dtype, uint64_t n_elem)
{
    return n_elem * uqm_dtype_bits(dtype) / 8;
}

/* Types that merge arithmetic and the network understand. */
static inline bool uqm_dtype_is_arithmetic(enum uqm_dtype d)
{
    return d == UQM_F16 || d == UQM_BF16 || d == UQM_F32 || d == UQM_F64;
}

static inline float uqm_f32_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline uint32_t uqm_bits_of_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Exact. */
float uqm_f32_of_f16(uint16_t h);
static inline float uqm_f32_of_bf16(uint16_t h)
{
    return uqm_f32_of_bits((uint32_t) h << 16);
}

/* Round to nearest, ties to even; NaN stays NaN (quiet), overflow becomes Inf. */
uint16_t uqm_f16_of_f32(float f);
uint16_t uqm_bf16_of_f32(float f);

#endif
