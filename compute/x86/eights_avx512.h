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
static inline wd wd_add(wd a, wd b)
{
    return _mm512_add_pd(a, b);
}
static inline wd wd_sub(wd a, wd b)
{
    return _mm512_sub_pd(a, b);
}
static inline wd wd_mul(wd a, wd b)
{
    return _mm512_mul_pd(a, b);
}
static inline wd wd_div(wd a, wd b)
{
    return _mm512_div_pd(a, b);
}
static inline wd wd_fma(wd a, wd b, wd c)
{
    return _mm512_fmadd_pd(a, b, c);
}
static inline wd wd_fnma(wd a, wd b, wd c)
{
    return _mm512_fnmadd_pd(a, b, c);
}
static inline wd wd_abs(wd a)
{
    return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a);
}
static inline wd wd_of_f32(__m256 f)
{
    return _mm512_cvtps_pd(f);
}
static inline wm wd_greater(wd a, wd b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
}
static inline wm wd_less(wd a, wd b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
}
static inline wm wd_at_least(wd a, wd b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ);
}
static inline wm wd_equal(wd a, wd b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ);
}
static inline wm wd_is_nan(wd a)
{
    return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q);
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
    if (keep)
        m &= (wm) _mm_test_epi8_mask(_mm_loadl_epi64((const __m128i *) (const void *) keep),
                                     _mm_set1_epi8(-1));
    return m;
}
static inline unsigned mask_of_i32(__m256i v)
{
    return _mm256_movepi32_mask(v);
}
static inline size_t pick_lanes(uint32_t *out, __m256i v, unsigned mask)
{
    _mm256_storeu_si256((__m256i *) (void *) out, _mm256_maskz_compress_epi32((__mmask8) mask, v));
    return (size_t) __builtin_popcount(mask);
}

#endif
