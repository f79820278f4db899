/* Sixteen lanes in AVX-512 registers. Included once by each *_avx512.c, before the kernels'
 * bodies. What the functions do is said in lanes_avx2.h. */
#ifndef UQM_COMPUTE_LANES_AVX512_H
#define UQM_COMPUTE_LANES_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TIER(name) uqm_##name##_avx512

enum { LANES = 16 };
typedef __m512 vf;
typedef __m512i vu;
typedef __m256i vh;

static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf vf_abs(vf a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}
static inline vf vf_copysign(vf a, vf sign)
{
    vf bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, a), _mm512_and_ps(bit, sign));
}
static inline vf vf_select_greater(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}
static inline vf vf_keep_nan(vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), b, a);
}

static inline vu vu_set(uint32_t x)
{
    return _mm512_set1_epi32((int) x);
}
static inline vu vu_iota(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
static inline vu vu_add(vu a, vu b)
{
    return _mm512_add_epi32(a, b);
}
static inline vu vu_sub(vu a, vu b)
{
    return _mm512_sub_epi32(a, b);
}
static inline vu vu_xor(vu a, vu b)
{
    return _mm512_xor_si512(a, b);
}
static inline vu vu_shift_left_23(vu a)
{
    return _mm512_slli_epi32(a, 23);
}
static inline vu vu_shift_right_1(vu a)
{
    return _mm512_srli_epi32(a, 1);
}
static inline vu vu_of_bits(vf a)
{
    return _mm512_castps_si512(a);
}
static inline vf vf_of_bits(vu a)
{
    return _mm512_castsi512_ps(a);
}
static inline void vu_mul_wide(vu *hi, vu *lo, vu a, vu b)
{
    vu even = _mm512_mul_epu32(a, b);
    vu odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    *lo = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    *hi = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
}
static inline vf vf_where_at_least(vu word, vu threshold, vf x)
{
    return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(word, threshold), x);
}
static inline void vu_interleave(vu out[4], vu a, vu b, vu c, vu d)
{
    vu ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
    vu cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);
    /* counters 0 4 8 12, 1 5 9 13, ... : four words each */
    vu w0 = _mm512_unpacklo_epi64(ab0, cd0), w1 = _mm512_unpackhi_epi64(ab0, cd0);
    vu w2 = _mm512_unpacklo_epi64(ab1, cd1), w3 = _mm512_unpackhi_epi64(ab1, cd1);
    vu low01 = _mm512_shuffle_i32x4(w0, w1, 0x44), low23 = _mm512_shuffle_i32x4(w2, w3, 0x44);
    vu high01 = _mm512_shuffle_i32x4(w0, w1, 0xEE), high23 = _mm512_shuffle_i32x4(w2, w3, 0xEE);
    out[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    out[1] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
    out[2] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    out[3] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
}

static inline __mmask16 first_lanes(size_t n)
{
    return (__mmask16) ((1u << n) - 1);
}
static inline vf vf_load(const float *p, size_t i)
{
    return _mm512_loadu_ps(p + i);
}
static inline vf vf_load_n(const float *p, size_t i, size_t n, float fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(n), p + i);
}
static inline void vf_store(float *p, size_t i, vf v)
{
    _mm512_storeu_ps(p + i, v);
}
static inline void vf_store_n(float *p, size_t i, size_t n, vf v)
{
    _mm512_mask_storeu_ps(p + i, first_lanes(n), v);
}
static inline vh vh_load(const uint16_t *p, size_t i)
{
    return _mm256_loadu_si256((const __m256i *) (const void *) (p + i));
}
static inline vh vh_load_n(const uint16_t *p, size_t i, size_t n)
{
    return _mm256_maskz_loadu_epi16(first_lanes(n), p + i);
}
static inline void vh_store(uint16_t *p, size_t i, vh v)
{
    _mm256_storeu_si256((__m256i *) (void *) (p + i), v);
}
static inline void vh_store_n(uint16_t *p, size_t i, size_t n, vh v)
{
    _mm256_mask_storeu_epi16(p + i, first_lanes(n), v);
}

static inline vf vf_of_f16(vh h)
{
    return _mm512_cvtph_ps(h);
}
static inline vf vf_of_bf16(vh h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
static inline vh vf_to_f16(vf v)
{
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
}
static inline vh vf_to_bf16(vf v)
{
    vu u = _mm512_castps_si512(v), high = _mm512_srli_epi32(u, 16);
    vu odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    vu up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7FFF)), odd);
    vu quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, _mm512_srli_epi32(up, 16), quiet));
}

typedef struct {
    __m512d lo, hi;
} vd;

static inline vd vd_zero(void)
{
    return (vd){ _mm512_setzero_pd(), _mm512_setzero_pd() };
}
static inline vd vd_of(vf x)
{
    return (vd){ _mm512_cvtps_pd(_mm512_castps512_ps256(x)),
                 _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)) };
}
static inline vd vd_add(vd a, vd b)
{
    return (vd){ _mm512_add_pd(a.lo, b.lo), _mm512_add_pd(a.hi, b.hi) };
}
static inline vd vd_add_square(vd sum, vd x, double shift)
{
    const __m512d s = _mm512_set1_pd(shift);
    __m512d lo = _mm512_sub_pd(x.lo, s), hi = _mm512_sub_pd(x.hi, s);
    return (vd){ _mm512_fmadd_pd(lo, lo, sum.lo), _mm512_fmadd_pd(hi, hi, sum.hi) };
}
static inline double vd_sum(vd a)
{
    return _mm512_reduce_add_pd(_mm512_add_pd(a.lo, a.hi));
}

static inline float vf_sum(vf a)
{
    return _mm512_reduce_add_ps(a);
}
static inline float vf_max_of_lanes(vf a)
{
    return _mm512_reduce_max_ps(a);
}

#endif
