#include "compute/gemm.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "compute/blas.h"
#include "src/base/checked.h"

enum {
    WIDEN_ELEM = 1 << 16, /* one item of widening */
    GEMV_COLS = 16,       /* one item of a product with few rows */
    BLOCK_ELEM = UQM_GEMM_ROWS * UQM_GEMM_COLS,
    /* Of packed products: */
    PACK_ELEM = 1 << 15, /* one item of packing W, at least */
    PACK_K = 128,        /* what is widened at a time */
    MAX_ROWS = 14,       /* no tier's product kernel has more */
    MAX_COLS = 32,
    MAX_LANES = 16,
    LINE_ELEM = 16,    /* of a cache line */
    BLOCK_K = 384,     /* so long a panel of W stays in the L1 cache, or close to it, while ... */
    BLOCK_PANELS = 16, /* ... so many panels of x, of as many elements of k, pass from L2 */
    BLOCK_COLS = 1024,
    MIN_SCRATCH_COLS = 128,
    MAX_SCRATCH_COLS = 512,
};

struct uqm_gemm {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    size_t tile_elem, max_k;
    size_t bytes;
    void *memory;
    /* The tile's weights as f32: as they lie, or packed, and then with columns to MAX_COLS. */
    float *wide;
    float *blocks; /* (n_threads, worker_elem) */
};

static size_t wide_bytes(size_t tile_elem, size_t max_k)
{
    assert(tile_elem < SIZE_MAX / 16 && max_k < SIZE_MAX / 16 / MAX_COLS);
    return uqm_align_up((tile_elem + (MAX_COLS - 1) * max_k) * sizeof(float), 64);
}

/* Columns of a block whose products wait in scratch: as many as the tiles are likely to have. */
static size_t scratch_cols(size_t tile_elem, size_t max_k)
{
    size_t cols = max_k ? tile_elem / max_k / MAX_COLS * MAX_COLS : 0;
    cols = cols < MIN_SCRATCH_COLS ? MIN_SCRATCH_COLS : cols;
    return uqm_min_u64(cols, MAX_SCRATCH_COLS);
}

static size_t packed_x_elem(size_t max_k)
{
    return BLOCK_PANELS * MAX_LANES * uqm_align_up(uqm_min_u64(max_k, BLOCK_K), 4);
}

/* A worker's: packed rows of x and products before their epilogue, or a block of OpenBLAS's. */
static size_t worker_elem(size_t tile_elem, size_t max_k)
{
    size_t product = BLOCK_PANELS * MAX_ROWS * scratch_cols(tile_elem, max_k);
    size_t packed = packed_x_elem(max_k) + product;
    return packed < BLOCK_ELEM ? BLOCK_ELEM : packed;
}

uint64_t uqm_gemm_memory(size_t tile_elem, size_t max_k, int n_threads)
{
    return wide_bytes(tile_elem, max_k) +
           (uint64_t) n_threads * worker_elem(tile_elem, max_k) * sizeof(float);
}

int uqm_gemm_create(struct uqm_gemm **out, struct uqm_env *env, struct uqm_threads *threads,
                    const struct uqm_kernels *kernels, size_t tile_elem, size_t max_k,
                    struct uqm_err *err)
{
    struct uqm_gemm *g = calloc(1, sizeof *g);
    if (!g)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for matrix products");
    g->env = env;
    g->threads = threads;
    g->kernels = *kernels;
    g->tile_elem = tile_elem;
    g->max_k = max_k;
    g->bytes = uqm_gemm_memory(tile_elem, max_k, uqm_threads_count(threads));

    int ret = uqm_budget_alloc(&g->memory, env, g->bytes, 64, "the matrix products' tiles", err);
    if (ret < 0) {
        uqm_gemm_destroy(&g);
        return ret;
    }
    g->wide = g->memory;
    g->blocks = g->wide + wide_bytes(tile_elem, max_k) / sizeof(float);
    uqm_blas_setup();
    *out = g;
    return UQM_OK;
}

void uqm_gemm_destroy(struct uqm_gemm **gemm)
{
    struct uqm_gemm *g = *gemm;
    if (!g)
        return;
    uqm_budget_free(&g->memory, g->env, g->bytes);
    free(g);
    *gemm = NULL;
}

/* A product under way. */
struct product {
    struct uqm_gemm *gemm;
    const struct uqm_product *of;
    const float *wide; /* the weights as f32: (n, k), or packed */
    size_t n_col_blocks;
    /* Of packed products: */
    size_t block_rows, block_cols, block_k;
    size_t panels_per_item;
};

static size_t blocks_in(size_t n, size_t block)
{
    return n / block + (n % block != 0);
}

static bool reads_y(const struct product *p)
{
    return p->of->epilogue == UQM_EPI_ADD || p->of->epilogue == UQM_EPI_SILU_MUL;
}

/* y = epilogue(v + bias) for one row of n; v is used up and may be y where y is only written. */
static void finish_row(const struct product *p, float *y, float *v, const float *bias, size_t n)
{
    const struct uqm_kernels *k = &p->gemm->kernels;

    if (bias)
        k->add_f32(v, bias, n);
    switch (p->of->epilogue) {
    case UQM_EPI_STORE: break;
    case UQM_EPI_ADD: k->add_f32(y, v, n); return;
    case UQM_EPI_SILU_MUL: k->silu_mul_f32(y, v, n); return;
    case UQM_EPI_QUICK_GELU: k->quick_gelu_f32(v, n); break;
    case UQM_EPI_GELU: k->gelu_f32(v, n); break;
    }
    if (y != v)
        memcpy(y, v, n * sizeof *y);
}

static const void *weights_at(const void *w, enum uqm_dtype dtype, size_t elem)
{
    return (const unsigned char *) w + elem * (uqm_dtype_bits(dtype) / 8);
}

static void widen_item(void *ctx, size_t item, int worker)
{
    const struct product *p = ctx;
    (void) worker;
    size_t begin = item * WIDEN_ELEM, total = p->of->n * p->of->k;
    size_t n_elem = uqm_min_u64(WIDEN_ELEM, total - begin);
    uqm_widen(&p->gemm->kernels, p->gemm->wide + begin, weights_at(p->of->w, p->of->w_dtype, begin),
              p->of->w_dtype, n_elem);
}

static void widen(struct product *p)
{
    if (p->of->w_dtype == UQM_F32 && (uintptr_t) p->of->w % _Alignof(float) == 0) {
        p->wide = p->of->w;
        return;
    }
    assert(p->of->k == 0 || p->of->n <= p->gemm->tile_elem / p->of->k);
    uqm_parallel(p->gemm->threads, blocks_in(p->of->n * p->of->k, WIDEN_ELEM), widen_item, p);
    p->wide = p->gemm->wide;
}

static float *worker_block(const struct uqm_gemm *g, int worker)
{
    return g->blocks + (size_t) worker * worker_elem(g->tile_elem, g->max_k);
}

/*
 * Column blocks run fastest: threads at work at the same time share rows of x. A block that is
 * whole and whose y is only written needs no scratch.
 */
static void block_item(void *ctx, size_t item, int worker)
{
    const struct product *p = ctx;
    size_t row = item / p->n_col_blocks * UQM_GEMM_ROWS;
    size_t col = item % p->n_col_blocks * UQM_GEMM_COLS;
    size_t rows = uqm_min_u64(UQM_GEMM_ROWS, p->of->m - row);
    size_t cols = uqm_min_u64(UQM_GEMM_COLS, p->of->n - col);

    float *y = p->of->y + row * p->of->ldy + col;
    float *v = y;
    size_t ldv = p->of->ldy;
    if (reads_y(p) || rows < UQM_GEMM_ROWS) {
        v = worker_block(p->gemm, worker);
        ldv = UQM_GEMM_COLS;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, UQM_GEMM_ROWS, (int) cols, (int) p->of->k,
                1.0f, p->of->x + row * p->of->ldx, (int) p->of->ldx, p->wide + col * p->of->k,
                (int) p->of->k, 0.0f, v, (int) ldv);
    for (size_t r = 0; r < rows; r++)
        finish_row(p, y + r * p->of->ldy, v + r * ldv, p->of->bias ? p->of->bias + col : NULL,
                   cols);
}

static void multiply_by_blas(struct product *p)
{
    size_t n_row_blocks = blocks_in(p->of->m, UQM_GEMM_ROWS);
    p->n_col_blocks = blocks_in(p->of->n, UQM_GEMM_COLS);
    widen(p);
    uqm_parallel(p->gemm->threads, n_row_blocks * p->n_col_blocks, block_item, p);
}

/* A panel of W: n_cols of its rows, widened piece by piece, to [k][n_cols]. */
static void pack_panel(const struct product *p, size_t panel)
{
    const struct uqm_product_kernel *kernel = p->gemm->kernels.product;
    float piece[MAX_COLS * PACK_K];
    size_t col = panel * kernel->n_cols;
    size_t cols = uqm_min_u64(kernel->n_cols, p->of->n - col);

    for (size_t k0 = 0; k0 < p->of->k; k0 += PACK_K) {
        size_t n_k = uqm_min_u64(PACK_K, p->of->k - k0);
        for (size_t c = 0; c < kernel->n_cols; c++) {
            size_t row = col + (c < cols ? c : cols - 1);
            uqm_widen(&p->gemm->kernels, piece + c * PACK_K,
                      weights_at(p->of->w, p->of->w_dtype, row * p->of->k + k0), p->of->w_dtype,
                      n_k);
        }
        float *dst = p->gemm->wide + (panel * p->of->k + k0) * kernel->n_cols;
        for (size_t c = 0; c < kernel->n_cols; c += kernel->n_lanes)
            kernel->pack(dst + c, kernel->n_cols, piece + c * PACK_K, PACK_K, kernel->n_lanes, n_k);
    }
}

static void pack_item(void *ctx, size_t item, int worker)
{
    const struct product *p = ctx;
    (void) worker;
    size_t n_panels = blocks_in(p->of->n, p->gemm->kernels.product->n_cols);
    size_t begin = item * p->panels_per_item;
    size_t end = uqm_min_u64(begin + p->panels_per_item, n_panels);
    for (size_t panel = begin; panel < end; panel++)
        pack_panel(p, panel);
}

/* Rows of x from k0 on, panel after panel, to [n_k][n_lanes]. */
static void pack_x(const struct product *p, float *dst, const float *x, size_t rows, size_t n_k)
{
    const struct uqm_product_kernel *kernel = p->gemm->kernels.product;
    for (size_t r = 0; r < rows; r += kernel->n_rows) {
        size_t n = uqm_min_u64(kernel->n_rows, rows - r);
        kernel->pack(dst, kernel->n_lanes, x + r * p->of->ldx, p->of->ldx, n, n_k);
        dst += n_k * kernel->n_lanes;
    }
}

/* One tile of the kernel's, of which only rows x cols are anyone's. */
static void multiply_tile(const struct uqm_product_kernel *kernel, float *v, size_t ldv,
                          size_t rows, size_t cols, const float *x, const float *w, size_t n_k,
                          bool carry)
{
    if (rows == kernel->n_rows && cols == kernel->n_cols) {
        kernel->tile(v, ldv, x, w, n_k, carry);
        return;
    }
    float whole[MAX_ROWS * MAX_COLS] = { 0 };
    for (size_t r = 0; carry && r < rows; r++)
        memcpy(whole + r * kernel->n_cols, v + r * ldv, cols * sizeof *v);
    kernel->tile(whole, kernel->n_cols, x, w, n_k, carry);
    for (size_t r = 0; r < rows; r++)
        memcpy(v + r * ldv, whole + r * kernel->n_cols, cols * sizeof *v);
}

/* Lines of p to L2, and of rows of y to L1: hints, good at any address. */
static void prefetch(const float *p, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i += LINE_ELEM)
        __builtin_prefetch(p + i, 0, 2);
}

static void prefetch_rows(const float *v, size_t ldv, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c += LINE_ELEM)
            __builtin_prefetch(v + r * ldv + c, 1, 3);
}

/*
 * v += x W over one block of k. Each panel of W meets all rows while it is in the cache, and the
 * next one is fetched meanwhile, a share beside each tile.
 */
static void multiply_block(const struct product *p, float *v, size_t ldv, size_t rows, size_t col,
                           size_t cols, const float *x, size_t k0, size_t n_k)
{
    const struct uqm_product_kernel *kernel = p->gemm->kernels.product;
    const size_t mr = kernel->n_rows, nr = kernel->n_cols;
    const size_t share = uqm_align_up(n_k * nr / blocks_in(rows, mr), LINE_ELEM);

    for (size_t c = 0; c < cols; c += nr) {
        const float *w = p->gemm->wide + (col + c) * p->of->k + k0 * nr;
        const float *next = w + p->of->k * nr;
        size_t n_cols = uqm_min_u64(nr, cols - c);
        for (size_t r = 0; r < rows; r += mr) {
            if (c + nr < cols)
                prefetch(next + r / mr * share, share);
            if (r + mr < rows)
                prefetch_rows(v + (r + mr) * ldv + c, ldv, uqm_min_u64(mr, rows - r - mr), n_cols);
            multiply_tile(kernel, v + r * ldv + c, ldv, uqm_min_u64(mr, rows - r), n_cols,
                          x + r / mr * n_k * kernel->n_lanes, w, n_k, k0 > 0);
        }
    }
}

static void packed_item(void *ctx, size_t item, int worker)
{
    const struct product *p = ctx;
    size_t row = item / p->n_col_blocks * p->block_rows;
    size_t col = item % p->n_col_blocks * p->block_cols;
    size_t rows = uqm_min_u64(p->block_rows, p->of->m - row);
    size_t cols = uqm_min_u64(p->block_cols, p->of->n - col);
    float *x = worker_block(p->gemm, worker);
    float *y = p->of->y + row * p->of->ldy + col;
    float *v = reads_y(p) ? x + packed_x_elem(p->gemm->max_k) : y;
    size_t ldv = reads_y(p) ? p->block_cols : p->of->ldy;

    for (size_t k0 = 0; k0 < p->of->k; k0 += p->block_k) {
        size_t n_k = uqm_min_u64(p->block_k, p->of->k - k0);
        pack_x(p, x, p->of->x + row * p->of->ldx + k0, rows, n_k);
        multiply_block(p, v, ldv, rows, col, cols, x, k0, n_k);
    }
    for (size_t r = 0; r < rows; r++)
        finish_row(p, y + r * p->of->ldy, v + r * ldv, p->of->bias ? p->of->bias + col : NULL,
                   cols);
}

/* n cut into the fewest parts of at most `most`, as even as multiples of `unit` allow. */
static size_t even_part(size_t n, size_t most, size_t unit)
{
    size_t part = blocks_in(n, blocks_in(n, most));
    return blocks_in(part, unit) * unit;
}

/* How it is cut changes no bit: narrower blocks pack x more often, but share out more evenly. */
static void cut_blocks(struct product *p)
{
    const struct uqm_product_kernel *kernel = p->gemm->kernels.product;
    size_t n_threads = (size_t) uqm_threads_count(p->gemm->threads);
    size_t most_cols = reads_y(p) ? scratch_cols(p->gemm->tile_elem, p->gemm->max_k) : BLOCK_COLS;

    p->block_rows = even_part(p->of->m, BLOCK_PANELS * kernel->n_rows, kernel->n_rows);
    p->block_k = even_part(p->of->k, BLOCK_K, 4);
    size_t n_row_blocks = blocks_in(p->of->m, p->block_rows);
    while (n_threads > 1 && most_cols >= 4 * MAX_COLS &&
           n_row_blocks * blocks_in(p->of->n, most_cols) < 8 * n_threads)
        most_cols /= 2;
    p->block_cols = even_part(p->of->n, most_cols, kernel->n_cols);
    p->n_col_blocks = blocks_in(p->of->n, p->block_cols);
    p->panels_per_item = blocks_in(PACK_ELEM, kernel->n_cols * p->of->k);
}

static void multiply_packed(struct product *p)
{
    const struct uqm_product_kernel *kernel = p->gemm->kernels.product;
    size_t n_panels = blocks_in(p->of->n, kernel->n_cols);

    assert(kernel->n_rows <= MAX_ROWS && kernel->n_cols <= MAX_COLS);
    assert(kernel->n_lanes <= MAX_LANES && p->of->n <= p->gemm->tile_elem / p->of->k);
    cut_blocks(p);
    uqm_parallel(p->gemm->threads, blocks_in(n_panels, p->panels_per_item), pack_item, p);
    uqm_parallel(p->gemm->threads, blocks_in(p->of->m, p->block_rows) * p->n_col_blocks,
                 packed_item, p);
}

static bool shape_is_sane(const struct product *p)
{
    return p->of->k > 0 && p->of->k <= p->gemm->max_k && p->of->ldx >= p->of->k &&
           p->of->ldx <= INT_MAX && p->of->ldy >= p->of->n && p->of->ldy <= INT_MAX;
}

void uqm_gemm_run(struct uqm_gemm *gemm, const struct uqm_product *product)
{
    struct product p = { .gemm = gemm, .of = product };
    if (product->m == 0 || product->n == 0)
        return;
    assert(shape_is_sane(&p));
    if (gemm->kernels.product)
        multiply_packed(&p);
    else
        multiply_by_blas(&p);
}

/* A few rows of W, straight from where they are stored. */
static void gemv_item(void *ctx, size_t item, int worker)
{
    const struct product *p = ctx;
    const struct uqm_kernels *kernels = &p->gemm->kernels;
    const size_t col = item * GEMV_COLS, cols = uqm_min_u64(GEMV_COLS, p->of->n - col);
    float v[UQM_GEMV_ROWS][GEMV_COLS];
    const struct uqm_dots dots = {
        .y = v[0],
        .ldy = GEMV_COLS,
        .x = p->of->x,
        .ldx = p->of->ldx,
        .n_rows = p->of->m,
        .w = weights_at(p->of->w, p->of->w_dtype, col * p->of->k),
        .n_cols = cols,
        .k = p->of->k,
    };
    (void) worker;
    switch (p->of->w_dtype) {
    case UQM_F16: kernels->dots_f16(&dots); break;
    case UQM_BF16: kernels->dots_bf16(&dots); break;
    default: assert(p->of->w_dtype == UQM_F32); kernels->dots_f32(&dots);
    }
    for (size_t r = 0; r < p->of->m; r++)
        finish_row(p, p->of->y + r * p->of->ldy + col, v[r], p->of->bias ? p->of->bias + col : NULL,
                   cols);
}

void uqm_gemv_run(struct uqm_gemm *gemm, const struct uqm_product *product)
{
    struct product p = { .gemm = gemm, .of = product };
    if (product->m == 0 || product->n == 0)
        return;
    assert(product->m <= UQM_GEMV_ROWS && shape_is_sane(&p));
    uqm_parallel(gemm->threads, (product->n + GEMV_COLS - 1) / GEMV_COLS, gemv_item, &p);
}
