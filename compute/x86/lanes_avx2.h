/* Eight lanes in AVX2 registers. Included once by each *_avx2.c, before the kernels' bodies. */
#ifndef UQM_COMPUTE_LANES_AVX2_H
#define UQM_COMPUTE_LANES_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TIER(name) uqm_##name##_avx2

enum { LANES = 8 };
typedef __m256 vf;
typedef __m256i vu;
typedef __m128i vh; /* LANES 16-bit elements */

static inline vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
/* a b + c, one rounding */
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
static inline vf vf_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf vf_copysign(vf a, vf sign)
{
    vf bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}
static inline vf vf_select_greater(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
/* a where it is NaN, else b */
static inline vf vf_keep_nan(vf a, vf b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

static inline vu vu_set(uint32_t x)
{
    return _mm256_set1_epi32((int) x);
}
static inline vu vu_iota(void)
{
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
static inline vu vu_add(vu a, vu b)
{
    return _mm256_add_epi32(a, b);
}
static inline vu vu_sub(vu a, vu b)
{
    return _mm256_sub_epi32(a, b);
}
static inline vu vu_xor(vu a, vu b)
{
    return _mm256_xor_si256(a, b);
}
static inline vu vu_shift_left_23(vu a)
{
    return _mm256_slli_epi32(a, 23);
}
static inline vu vu_shift_right_1(vu a)
{
    return _mm256_srli_epi32(a, 1);
}
static inline vu vu_of_bits(vf a)
{
    return _mm256_castps_si256(a);
}
static inline vf vf_of_bits(vu a)
{
    return _mm256_castsi256_ps(a);
}
/* The 64-bit products' upper and lower halves. */
static inline void vu_mul_wide(vu *hi, vu *lo, vu a, vu b)
{
    vu even = _mm256_mul_epu32(a, b);
    vu odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    *lo = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    *hi = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}
/* word >= threshold ? x : 0 */
static inline vf vf_where_at_least(vu word, vu threshold, vf x)
{
    vu keep = _mm256_cmpeq_epi32(_mm256_max_epu32(word, threshold), word);
    return _mm256_and_ps(_mm256_castsi256_ps(keep), x);
}
/* out[LANES/4 i .. ] : a[0] b[0] c[0] d[0] a[1] b[1] ... over four vectors */
static inline void vu_interleave(vu out[4], vu a, vu b, vu c, vu d)
{
    vu ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    vu cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
    vu w04 = _mm256_unpacklo_epi64(ab0, cd0), w15 = _mm256_unpackhi_epi64(ab0, cd0);
    vu w26 = _mm256_unpacklo_epi64(ab1, cd1), w37 = _mm256_unpackhi_epi64(ab1, cd1);
    out[0] = _mm256_permute2x128_si256(w04, w15, 0x20);
    out[1] = _mm256_permute2x128_si256(w26, w37, 0x20);
    out[2] = _mm256_permute2x128_si256(w04, w15, 0x31);
    out[3] = _mm256_permute2x128_si256(w26, w37, 0x31);
}

/* Loads and stores of the first n <= LANES elements at p + i; those past n come as `fill`. */
static inline vu first_lanes(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int) n), vu_iota());
}
static inline vf vf_load(const float *p, size_t i)
{
    return _mm256_loadu_ps(p + i);
}
static inline vf vf_load_n(const float *p, size_t i, size_t n, float fill)
{
    vu mask = first_lanes(n);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p + i, mask),
                            _mm256_castsi256_ps(mask));
}
static inline void vf_store(float *p, size_t i, vf v)
{
    _mm256_storeu_ps(p + i, v);
}
static inline void vf_store_n(float *p, size_t i, size_t n, vf v)
{
    _mm256_maskstore_ps(p + i, first_lanes(n), v);
}
static inline vh vh_load(const uint16_t *p, size_t i)
{
    return _mm_loadu_si128((const __m128i *) (const void *) (p + i));
}
static inline vh vh_load_n(const uint16_t *p, size_t i, size_t n)
{
    uint16_t lanes[LANES] = { 0 };
    memcpy(lanes, (const unsigned char *) p + 2 * i, 2 * n);
    return vh_load(lanes, 0);
}
static inline void vh_store(uint16_t *p, size_t i, vh v)
{
    _mm_storeu_si128((__m128i *) (void *) (p + i), v);
}
static inline void vh_store_n(uint16_t *p, size_t i, size_t n, vh v)
{
    uint16_t lanes[LANES];
    vh_store(lanes, 0, v);
    memcpy((unsigned char *) p + 2 * i, lanes, 2 * n);
}

static inline vf vf_of_f16(vh h)
{
    return _mm256_cvtph_ps(h);
}
static inline vf vf_of_bf16(vh h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline vh vf_to_f16(vf v)
{
    return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
}
static inline vh vf_to_bf16(vf v)
{
    vu u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16);
    vu odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    vu up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7FFF)), odd);
    vu nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    vu quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    vu r = _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), quiet, nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}

/* Sums in double, each lane its own. */
typedef struct {
    __m256d lo, hi;
} vd;

static inline vd vd_zero(void)
{
    return (vd){ _mm256_setzero_pd(), _mm256_setzero_pd() };
}
static inline vd vd_of(vf x)
{
    return (vd){ _mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                 _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)) };
}
static inline vd vd_add(vd a, vd b)
{
    return (vd){ _mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi) };
}
/* sum + (x - shift)^2 */
static inline vd vd_add_square(vd sum, vd x, double shift)
{
    const __m256d s = _mm256_set1_pd(shift);
    __m256d lo = _mm256_sub_pd(x.lo, s), hi = _mm256_sub_pd(x.hi, s);
    return (vd){ _mm256_fmadd_pd(lo, lo, sum.lo), _mm256_fmadd_pd(hi, hi, sum.hi) };
}
static inline double vd_sum(vd a)
{
    __m256d s = _mm256_add_pd(a.lo, a.hi);
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

static inline float vf_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float vf_max_of_lanes(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#endif
