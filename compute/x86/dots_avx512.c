#include "compute/x86/lanes_avx512.h"

enum { WIDTH = 8 };
typedef vf chains;

static inline chains chains_zero(void)
{
    return vf_set(0);
}
static inline chains chains_fma(chains a, chains b, chains c)
{
    return vf_fma(a, b, c);
}
static inline chains chains_load(const float *p, size_t i)
{
    return vf_load(p, i);
}
static inline chains chains_load_n(const float *p, size_t i, size_t n)
{
    return vf_load_n(p, i, n, 0);
}
static inline chains chains_of_f16(const uint16_t *p, size_t i)
{
    return vf_of_f16(vh_load(p, i));
}
static inline chains chains_of_f16_n(const uint16_t *p, size_t i, size_t n)
{
    return vf_of_f16(vh_load_n(p, i, n));
}
static inline chains chains_of_bf16(const uint16_t *p, size_t i)
{
    return vf_of_bf16(vh_load(p, i));
}
static inline chains chains_of_bf16_n(const uint16_t *p, size_t i, size_t n)
{
    return vf_of_bf16(vh_load_n(p, i, n));
}
static inline float chains_sum(chains a)
{
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#include "compute/x86/dots_lanes.h"
