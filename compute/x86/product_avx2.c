#include "compute/x86/lanes_avx2.h"

/* Twelve accumulators, two vectors of weights and a broadcast: fifteen of sixteen registers. */
enum { ROWS = 6 };
#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5)

static inline vf vf_quads(const float *const row[LANES], size_t first, size_t j)
{
    vf low = _mm256_castps128_ps256(_mm_loadu_ps(row[first] + j));
    return _mm256_insertf128_ps(low, _mm_loadu_ps(row[first + 4] + j), 1);
}
static inline vf vf_unpack_lo(vf a, vf b)
{
    return _mm256_unpacklo_ps(a, b);
}
static inline vf vf_unpack_hi(vf a, vf b)
{
    return _mm256_unpackhi_ps(a, b);
}
static inline vf vf_pairs_lo(vf a, vf b)
{
    return _mm256_shuffle_ps(a, b, 0x44);
}
static inline vf vf_pairs_hi(vf a, vf b)
{
    return _mm256_shuffle_ps(a, b, 0xEE);
}

#include "compute/x86/product_lanes.h"
