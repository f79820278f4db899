#include "compute/x86/lanes_avx512.h"

/* 28 accumulators, two vectors of weights and broadcasts: all but one or two of 32 registers. */
enum { ROWS = 14 };
#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13)

static inline vf vf_quads(const float *const row[LANES], size_t first, size_t j)
{
    vf v = _mm512_castps128_ps512(_mm_loadu_ps(row[first] + j));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(row[first + 4] + j), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(row[first + 8] + j), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(row[first + 12] + j), 3);
}
static inline vf vf_unpack_lo(vf a, vf b)
{
    return _mm512_unpacklo_ps(a, b);
}
static inline vf vf_unpack_hi(vf a, vf b)
{
    return _mm512_unpackhi_ps(a, b);
}
static inline vf vf_pairs_lo(vf a, vf b)
{
    return _mm512_shuffle_ps(a, b, 0x44);
}
static inline vf vf_pairs_hi(vf a, vf b)
{
    return _mm512_shuffle_ps(a, b, 0xEE);
}

#include "compute/x86/product_lanes.h"
