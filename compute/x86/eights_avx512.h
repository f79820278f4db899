/* Eight doubles in an AVX-512 register. Included once by merge_avx512.c, before the kernels'
 * bodies. What the functions do is said in eights_avx2.h. */
#ifndef UQM_COMPUTE_EIGHTS_AVX512_H
#define UQM_COMPUTE_EIGHTS_AVX512_H

#include <immintrin.h>

typedef __m512d wd;
typedef __mmask8 wm;

static inline wd wd_set(double x)
{
    return _mm512_set1_pd(x);
}
static inline wd wd_load(const double *p)
{
    return _mm512_loadu_pd(p);
}
static inline void wd_store(double *p, wd x)
{
    _mm512_storeu_pd(p, x);
}
#define WD2(op, a, b)         _mm512_##op(a, b)
#define WD3(op, a, b, c)      _mm512_##op(a, b, c)
#define WD_COMPARE(a, b, how) _mm512_cmp_pd_mask(a, b, how)
#include "compute/x86/eights.h"

static inline wd wd_of_f32(__m256 f)
{
    return _mm512_cvtps_pd(f);
}
static inline __m256 f32_of_wd(wd x)
{
    return _mm512_cvtpd_ps(x);
}
static inline wd wd_where(wm m, wd x)
{
    return _mm512_maskz_mov_pd(m, x);
}
static inline wd wd_select(wm m, wd yes, wd no)
{
    return _mm512_mask_blend_pd(m, no, yes);
}
static inline wm wm_of_keys(__m256i keys, __m256i least, __m256i most, const uint8_t *keep)
{
    wm m = _mm256_cmple_epi32_mask(least, keys) & _mm256_cmple_epi32_mask(keys, most);
    return keep ? m & (wm) *keep : m;
}
static inline wm wm_of_bits(uint8_t bits)
{
    return (wm) bits;
}
/* This tier alone: lanes by masks, without a register for them. */
#define HAS_MASKED_LANES
static inline unsigned mask_of_i32(__m256i v)
{
    return _mm256_movepi32_mask(v);
}
static inline size_t count_at_most(const uint32_t *keys, int32_t most, size_t n)
{
    const __m512i bound = _mm512_set1_epi32(most), one = _mm512_set1_epi32(1);
    __m512i a = _mm512_setzero_si512(), b = a;
    for (size_t e = 0; e < n; e += 32) {
        __mmask16 x = _mm512_cmple_epi32_mask(_mm512_loadu_si512(keys + e), bound);
        __mmask16 y = _mm512_cmple_epi32_mask(_mm512_loadu_si512(keys + e + 16), bound);
        a = _mm512_mask_add_epi32(a, x, a, one);
        b = _mm512_mask_add_epi32(b, y, b, one);
    }
    return (size_t) _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}
static inline size_t count_equal(const uint16_t *bins, uint16_t bin, size_t n)
{
    const __m512i wanted = _mm512_set1_epi16((short) bin);
    size_t same = 0;
    for (size_t e = 0; e < n; e += 64) {
        __mmask32 x = _mm512_cmpeq_epi16_mask(_mm512_loadu_si512(bins + e), wanted);
        __mmask32 y = _mm512_cmpeq_epi16_mask(_mm512_loadu_si512(bins + e + 32), wanted);
        same += (size_t) __builtin_popcountll((uint64_t) y << 32 | x);
    }
    return same;
}
static inline size_t pick_lanes(uint32_t *out, __m256i v, unsigned mask)
{
    _mm256_storeu_si256((__m256i *) (void *) out, _mm256_maskz_compress_epi32((__mmask8) mask, v));
    return (size_t) __builtin_popcount(mask);
}

#endif
