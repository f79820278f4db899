/* Bodies of the packed product; included after a lanes_*.h, vf_quads and EACH_ROW. */
#include "compute/tiers.h"

enum { COLS = 2 * LANES };

/*
 * Four columns at a time: lane group l of v[i] holds four elements of row 4 l + i, so that
 * transposing 4 x 4 within the groups leaves the rows in order.
 */
static inline void pack_quads(float *dst, size_t ld_dst, const float *const row[LANES], size_t j)
{
    vf v0 = vf_quads(row, 0, j), v1 = vf_quads(row, 1, j);
    vf v2 = vf_quads(row, 2, j), v3 = vf_quads(row, 3, j);
    vf lo01 = vf_unpack_lo(v0, v1), hi01 = vf_unpack_hi(v0, v1);
    vf lo23 = vf_unpack_lo(v2, v3), hi23 = vf_unpack_hi(v2, v3);
    vf_store(dst, 0, vf_pairs_lo(lo01, lo23));
    vf_store(dst, ld_dst, vf_pairs_hi(lo01, lo23));
    vf_store(dst, 2 * ld_dst, vf_pairs_lo(hi01, hi23));
    vf_store(dst, 3 * ld_dst, vf_pairs_hi(hi01, hi23));
}

static void TIER(pack)(float *restrict dst, size_t ld_dst, const float *restrict src, size_t ld_src,
                       size_t n_rows, size_t k)
{
    const float *row[LANES];
    size_t j = 0;

    for (size_t r = 0; r < LANES; r++)
        row[r] = src + (r < n_rows ? r : n_rows - 1) * ld_src;
    for (; j + 4 <= k; j += 4)
        pack_quads(dst + j * ld_dst, ld_dst, row, j);
    for (; j < k; j++)
        for (size_t r = 0; r < LANES; r++)
            dst[j * ld_dst + r] = row[r][j];
}

/* Rows by name and not in an array: each accumulator is to live in a register. */
#define ZERO(r) vf a##r = vf_set(0), b##r = vf_set(0);
#define LOAD(r) a##r = vf_load(y + r * ldy, 0), b##r = vf_load(y + r * ldy, LANES);
#define STEP(r)                                                                                    \
    {                                                                                              \
        vf v = vf_set(x[r]);                                                                       \
        a##r = vf_fma(v, w0, a##r);                                                                \
        b##r = vf_fma(v, w1, b##r);                                                                \
    }
#define STORE(r) vf_store(y + r * ldy, 0, a##r), vf_store(y + r * ldy, LANES, b##r);

static void TIER(product_tile)(float *restrict y, size_t ldy, const float *restrict x,
                               const float *restrict w, size_t k, bool carry)
{
    EACH_ROW(ZERO)
    if (carry) {
        EACH_ROW(LOAD)
    }
    for (size_t j = 0; j < k; j++, x += LANES, w += COLS) {
        vf w0 = vf_load(w, 0), w1 = vf_load(w, LANES);
        EACH_ROW(STEP)
    }
    EACH_ROW(STORE)
}

const struct uqm_product_kernel TIER(product) = {
    .n_rows = ROWS,
    .n_cols = COLS,
    .n_lanes = LANES,
    .pack = TIER(pack),
    .tile = TIER(product_tile),
};
