/* Eight doubles, as two AVX2 registers, and the eight floats or integers beside them. Included once
 * by merge_avx2.c, before the kernels' bodies. */
#ifndef UQM_COMPUTE_EIGHTS_AVX2_H
#define UQM_COMPUTE_EIGHTS_AVX2_H

#include <immintrin.h>

typedef struct {
    __m256d lo, hi;
} wd;
typedef wd wm; /* lanes of all ones or zeros */

#define EACH(expr_lo, expr_hi) ((wd){ (expr_lo), (expr_hi) })

static inline wd wd_set(double x)
{
    return EACH(_mm256_set1_pd(x), _mm256_set1_pd(x));
}
static inline wd wd_load(const double *p)
{
    return EACH(_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4));
}
static inline void wd_store(double *p, wd x)
{
    _mm256_storeu_pd(p, x.lo);
    _mm256_storeu_pd(p + 4, x.hi);
}
#define WD2(op, a, b) EACH(_mm256_##op((a).lo, (b).lo), _mm256_##op((a).hi, (b).hi))
#define WD3(op, a, b, c)                                                                           \
    EACH(_mm256_##op((a).lo, (b).lo, (c).lo), _mm256_##op((a).hi, (b).hi, (c).hi))
#define WD_COMPARE(a, b, how)                                                                      \
    EACH(_mm256_cmp_pd((a).lo, (b).lo, how), _mm256_cmp_pd((a).hi, (b).hi, how))
#include "compute/x86/eights.h"

static inline wd wd_of_f32(__m256 f)
{
    return EACH(_mm256_cvtps_pd(_mm256_castps256_ps128(f)),
                _mm256_cvtps_pd(_mm256_extractf128_ps(f, 1)));
}

static inline __m256 f32_of_wd(wd x)
{
    return _mm256_set_m128(_mm256_cvtpd_ps(x.hi), _mm256_cvtpd_ps(x.lo));
}
/* x where the mask is set, else 0 */
static inline wd wd_where(wm m, wd x)
{
    return EACH(_mm256_and_pd(m.lo, x.lo), _mm256_and_pd(m.hi, x.hi));
}
static inline wd wd_select(wm m, wd yes, wd no)
{
    return EACH(_mm256_blendv_pd(no.lo, yes.lo, m.lo), _mm256_blendv_pd(no.hi, yes.hi, m.hi));
}
/* From lanes of 32 bits. */
static inline wm wm_of_i32(__m256i m)
{
    return EACH(_mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(m))),
                _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm256_extracti128_si256(m, 1))));
}
/* least <= key <= most, and bit `lane` of *keep is set */
static inline wm wm_of_keys(__m256i keys, __m256i least, __m256i most, const uint8_t *keep)
{
    __m256i out = _mm256_or_si256(_mm256_cmpgt_epi32(least, keys), _mm256_cmpgt_epi32(keys, most));
    if (keep) {
        const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        __m256i k = _mm256_and_si256(_mm256_set1_epi32(*keep), bits);
        out = _mm256_or_si256(out, _mm256_cmpeq_epi32(k, _mm256_setzero_si256()));
    }
    return wm_of_i32(_mm256_xor_si256(out, _mm256_set1_epi32(-1)));
}
/* The lanes whose bit is set. */
static inline wm wm_of_bits(uint8_t bits)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return wm_of_i32(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), each), each));
}
/* The sign bits of eight lanes. */
static inline unsigned mask_of_i32(__m256i v)
{
    return (unsigned) _mm256_movemask_ps(_mm256_castsi256_ps(v));
}
/* How many of n keys are at most `most`, as signed numbers; n is a multiple of 32. */
static inline size_t count_at_most(const uint32_t *keys, int32_t most, size_t n)
{
    const __m256i bound = _mm256_set1_epi32(most);
    __m256i over[4] = { 0 };
    for (size_t e = 0; e < n; e += 32)
        for (size_t i = 0; i < 4; i++) {
            __m256i v = _mm256_loadu_si256((const __m256i *) (const void *) (keys + e + 8 * i));
            over[i] = _mm256_sub_epi32(over[i], _mm256_cmpgt_epi32(v, bound));
        }
    uint32_t lanes[8];
    over[0] =
        _mm256_add_epi32(_mm256_add_epi32(over[0], over[1]), _mm256_add_epi32(over[2], over[3]));
    _mm256_storeu_si256((__m256i *) (void *) lanes, over[0]);
    for (size_t i = 0; i < 8; i++)
        n -= lanes[i];
    return n;
}
/* How many of n bins are this one; n is a multiple of 64. */
static inline size_t count_equal(const uint16_t *bins, uint16_t bin, size_t n)
{
    const __m256i wanted = _mm256_set1_epi16((short) bin);
    size_t same = 0;
    for (size_t e = 0; e < n; e += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *) (const void *) (bins + e));
        __m256i w = _mm256_loadu_si256((const __m256i *) (const void *) (bins + e + 16));
        v = _mm256_packs_epi16(_mm256_cmpeq_epi16(v, wanted), _mm256_cmpeq_epi16(w, wanted));
        same += (size_t) __builtin_popcount((unsigned) _mm256_movemask_epi8(v));
    }
    return same;
}
/* The lanes whose bit is set, in order, to out, which has room for eight; how many. */
static inline size_t pick_lanes(uint32_t *out, __m256i v, unsigned mask)
{
    uint32_t lanes[8];
    size_t n = 0;
    _mm256_storeu_si256((__m256i *) (void *) lanes, v);
    for (; mask; mask &= mask - 1)
        out[n++] = lanes[__builtin_ctz(mask)];
    return n;
}

#undef EACH
#endif
