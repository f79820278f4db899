/*
 * Bodies of wide.h for a tier: eight lanes of the compiler's own vectors, which it splits as the
 * tier's registers are wide. Included once by each wide_*.c, which names WIDE_TABLE.
 */
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "compute/wide.h"

enum { WIDE_LANES = UQM_WIDE_PARTS };
typedef double vd __attribute__((vector_size(64)));
typedef int64_t vl __attribute__((vector_size(64)));
typedef float wf __attribute__((vector_size(32)));
typedef int32_t wi __attribute__((vector_size(32)));
typedef uint32_t wu __attribute__((vector_size(32)));
typedef uint16_t wh __attribute__((vector_size(16)));

/* v = lanes at p, which may lie anywhere; the first n of them, then zeros. */
#define LOAD(v, p)  memcpy(&(v), (p), sizeof(v))
#define STORE(p, v) memcpy((p), &(v), sizeof(v))
#define LOAD_N(v, p, n)                                                                            \
    do {                                                                                           \
        memset(&(v), 0, sizeof(v));                                                                \
        memcpy(&(v), (p), (n) * sizeof((v)[0]));                                                   \
    } while (0)
#define STORE_N(p, v, n) memcpy((p), &(v), (n) * sizeof((v)[0]))

/* A loop over whole lanes, then over what is left, through LOAD_N and STORE_N. */
#define EACH(i, n_elem, whole, rest)                                                               \
    size_t i = 0;                                                                                  \
    for (; i + WIDE_LANES <= (n_elem); i += WIDE_LANES) {                                          \
        whole                                                                                      \
    }                                                                                              \
    if (i < (n_elem)) {                                                                            \
        size_t n = (n_elem) -i;                                                                    \
        rest                                                                                       \
    }

static const char *at16(const uint16_t *p, size_t i)
{
    return (const char *) p + 2 * i;
}

static const char *at32(const float *p, size_t i)
{
    return (const char *) p + 4 * i;
}

#define WIDEN_F32 d = __builtin_convertvector(f, vd);
#define WIDEN_BF16                                                                                 \
    wu u = __builtin_convertvector(h, wu) << 16;                                                   \
    wf f;                                                                                          \
    memcpy(&f, &u, sizeof f);                                                                      \
    d = __builtin_convertvector(f, vd);

static void of_f32(double *restrict dst, const float *restrict src, size_t n_elem)
{
    wf f;
    vd d;
    EACH(i, n_elem, LOAD(f, at32(src, i)); WIDEN_F32 STORE(dst + i, d);, LOAD_N(f, at32(src, i), n);
         WIDEN_F32 STORE_N(dst + i, d, n);)
}

static void of_bf16(double *restrict dst, const uint16_t *restrict src, size_t n_elem)
{
    wh h;
    vd d;
    EACH(i, n_elem, LOAD(h, at16(src, i)); WIDEN_BF16 STORE(dst + i, d);
         , LOAD_N(h, at16(src, i), n); WIDEN_BF16 STORE_N(dst + i, d, n);)
}

static void to_f32(float *restrict dst, const double *restrict src, size_t n_elem)
{
    wf f;
    vd d;
    EACH(i, n_elem, LOAD(d, src + i); f = __builtin_convertvector(d, wf); STORE(dst + i, f);
         , LOAD_N(d, src + i, n); f = __builtin_convertvector(d, wf); STORE_N(dst + i, f, n);)
}

#ifdef __AVX512F__
/* f = d to odd: towards zero, then the last bit. */
#define ROUND_TO_ODD                                                                               \
    {                                                                                              \
        __m256 to_zero =                                                                           \
            _mm512_cvt_roundpd_ps((__m512d) d, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);            \
        __mmask8 inexact = _mm512_cmp_pd_mask(_mm512_cvtps_pd(to_zero), (__m512d) d, _CMP_NEQ_OQ); \
        __m256i bits = _mm256_castps_si256(to_zero);                                               \
        bits = _mm256_mask_or_epi32(bits, inexact, bits, _mm256_set1_epi32(1));                    \
        memcpy(&f, &bits, sizeof f);                                                               \
    }

static void to_odd_f32(float *restrict dst, const double *restrict src, size_t n_elem)
{
    vd d;
    wf f;
    EACH(i, n_elem, LOAD(d, src + i); ROUND_TO_ODD STORE(dst + i, f);, LOAD_N(d, src + i, n);
         ROUND_TO_ODD STORE_N(dst + i, f, n);)
}
#else
/* f = d to odd: a step back where the rounding went away from zero, then the last bit. */
#define ROUND_TO_ODD                                                                               \
    f = __builtin_convertvector(d, wf);                                                            \
    back = __builtin_convertvector(f, vd);                                                         \
    memcpy(&a, &back, sizeof a);                                                                   \
    memcpy(&b, &d, sizeof b);                                                                      \
    away = __builtin_convertvector((a & magnitude) > (b & magnitude), wi);                         \
    inexact = __builtin_convertvector((back != d) & (d == d), wi);                                 \
    memcpy(&u, &f, sizeof u);                                                                      \
    u = (u + (away & inexact)) | (inexact & 1);                                                    \
    memcpy(&f, &u, sizeof f);

static void to_odd_f32(float *restrict dst, const double *restrict src, size_t n_elem)
{
    const vl magnitude = (vl){ 0 } + INT64_MAX;
    vd d, back;
    vl a, b;
    wi away, inexact, u;
    wf f;
    EACH(i, n_elem, LOAD(d, src + i); ROUND_TO_ODD STORE(dst + i, f);, LOAD_N(d, src + i, n);
         ROUND_TO_ODD STORE_N(dst + i, f, n);)
}
#endif

static void sub(double *restrict y, const double *restrict x, size_t n_elem)
{
    vd a, b;
    EACH(i, n_elem, LOAD(a, y + i); LOAD(b, x + i); a -= b; STORE(y + i, a);, LOAD_N(a, y + i, n);
         LOAD_N(b, x + i, n); a -= b; STORE_N(y + i, a, n);)
}

static void add_scaled(double *restrict y, const double *restrict x, double c, size_t n_elem)
{
    vd a, b;
    EACH(i, n_elem, LOAD(a, y + i); LOAD(b, x + i); a += c * b; STORE(y + i, a);
         , LOAD_N(a, y + i, n); LOAD_N(b, x + i, n); a += c * b; STORE_N(y + i, a, n);)
}

static void divide(double *y, double c, size_t n_elem)
{
    vd a;
    EACH(i, n_elem, LOAD(a, y + i); a /= c; STORE(y + i, a);, LOAD_N(a, y + i, n); a /= c;
         STORE_N(y + i, a, n);)
}

static double dot(const double *x, const double *y, size_t n_elem)
{
    vd a, b, p = { 0 };
    EACH(i, n_elem, LOAD(a, x + i); LOAD(b, y + i); p += a * b;, LOAD_N(a, x + i, n);
         LOAD_N(b, y + i, n); p += a * b;)
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

const struct uqm_wide_kernels WIDE_TABLE = {
    .of_f32 = of_f32,
    .of_bf16 = of_bf16,
    .to_f32 = to_f32,
    .to_odd_f32 = to_odd_f32,
    .sub = sub,
    .add_scaled = add_scaled,
    .divide = divide,
    .dot = dot,
};
