/*
 * Products of activations with a weight tile.
 *
 * A row's result depends on that row and the weights alone: not on how many rows there are, where
 * the row stands, how many threads run or how W is cut into tiles.
 *
 * Where the kernels' tier has a product kernel (avx2, avx512) that holds by construction, and is
 * the same to the bit in all such tiers (NaN as NaN): each result is one chain of fma from 0 over k
 * in ascending order, in f32. W is widened and packed once a tile, x once a block by its worker.
 *
 * Elsewhere it is OpenBLAS's sgemm, called single-threaded in blocks of one fixed shape from our
 * own threads: its results differ from the chain's by rounding. There every call multiplies
 * UQM_GEMM_ROWS rows of x, the last block padded, and tiles must begin at multiples of
 * UQM_GEMM_COLS rows of W. Callers do not know the tier, so that for all of them x must have room
 * for, and finite numbers in, m rounded up to UQM_GEMM_ROWS rows.
 */
#ifndef UQM_COMPUTE_GEMM_H
#define UQM_COMPUTE_GEMM_H

#include "compute/kernels.h"
#include "compute/threads.h"
#include "src/base/env.h"

enum { UQM_GEMM_ROWS = 256, UQM_GEMM_COLS = 256, UQM_GEMV_ROWS = UQM_DOTS_ROWS };

enum uqm_epilogue {
    UQM_EPI_STORE,      /* y = v */
    UQM_EPI_ADD,        /* y = y + v: the residual stream */
    UQM_EPI_SILU_MUL,   /* y = silu(y) * v: y holds the gate, v is the up projection */
    UQM_EPI_QUICK_GELU, /* y = quick_gelu(v) */
    UQM_EPI_GELU,       /* y = gelu(v), the erf form */
};

struct uqm_gemm;

/* Scratch for tiles of up to tile_elem weights of rows of up to max_k; from the budget. */
int uqm_gemm_create(struct uqm_gemm **out, struct uqm_env *env, struct uqm_threads *threads,
                    const struct uqm_kernels *kernels, size_t tile_elem, size_t max_k,
                    struct uqm_err *err);
void uqm_gemm_destroy(struct uqm_gemm **gemm);
/* What create would take from the budget. */
uint64_t uqm_gemm_memory(size_t tile_elem, size_t max_k, int n_threads);

/* y[r, i] = epilogue(sum_k x[r, k] W[i, k] + bias[i]) for r < m, i < n. */
struct uqm_product {
    float *y; /* (m, n) stride ldy, already offset to the tile's first column */
    size_t ldy;
    const float *x; /* (m, k) stride ldx */
    size_t ldx, m;
    const void *w; /* (n, k) packed, F16, BF16 or F32 */
    enum uqm_dtype w_dtype;
    size_t n, k;
    const float *bias; /* (n), or NULL */
    enum uqm_epilogue epilogue;
};

/* Rows past m of y are not written. */
void uqm_gemm_run(struct uqm_gemm *gemm, const struct uqm_product *product);

/*
 * The same for m <= UQM_GEMV_ROWS rows, straight from the stored weights: kernels.h's dot products,
 * which fetch and widen each weight once for all rows, instead of packing W. For decoding, one
 * token at a time. x needs no rows past m. A row's result depends on that row and the weights
 * alone; it differs from that of uqm_gemm_run by rounding.
 */
void uqm_gemv_run(struct uqm_gemm *gemm, const struct uqm_product *product);

#endif
