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
    GEMV_COLS = 32,       /* one item of a product with few rows */
    BLOCK_ELEM = UQM_GEMM_ROWS * UQM_GEMM_COLS,
};

struct uqm_gemm {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    size_t tile_elem, max_k;
    size_t bytes;
    void *memory;
    float *wide;   /* (tile_elem) the tile's weights as f32 */
    float *blocks; /* (n_threads, BLOCK_ELEM) products before their epilogue */
};

static size_t wide_bytes(size_t tile_elem)
{
    assert(tile_elem < SIZE_MAX / 8);
    return uqm_align_up(tile_elem * sizeof(float), 64);
}

uint64_t uqm_gemm_memory(size_t tile_elem, size_t max_k, int n_threads)
{
    (void) max_k;
    return wide_bytes(tile_elem) + (uint64_t) n_threads * BLOCK_ELEM * sizeof(float);
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
    g->blocks = g->wide + wide_bytes(tile_elem) / sizeof(float);
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
struct job {
    struct uqm_gemm *gemm;
    const struct uqm_product *p;
    const float *wide; /* (n, k) */
    size_t n_col_blocks;
};

/* y = epilogue(v + bias) for one row of n; v is used up and may be y where y is only written. */
static void finish_row(const struct job *job, float *y, float *v, const float *bias, size_t n)
{
    const struct uqm_kernels *k = &job->gemm->kernels;

    if (bias)
        k->add_f32(v, bias, n);
    switch (job->p->epilogue) {
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
    const struct job *job = ctx;
    const struct uqm_product *p = job->p;
    (void) worker;
    size_t begin = item * WIDEN_ELEM, total = p->n * p->k;
    size_t n_elem = uqm_min_u64(WIDEN_ELEM, total - begin);
    uqm_widen(&job->gemm->kernels, job->gemm->wide + begin, weights_at(p->w, p->w_dtype, begin),
              p->w_dtype, n_elem);
}

static void widen(struct job *job)
{
    const struct uqm_product *p = job->p;
    if (p->w_dtype == UQM_F32 && (uintptr_t) p->w % _Alignof(float) == 0) {
        job->wide = p->w;
        return;
    }
    assert(p->k == 0 || p->n <= job->gemm->tile_elem / p->k);
    size_t n_items = (p->n * p->k + WIDEN_ELEM - 1) / WIDEN_ELEM;
    uqm_parallel(job->gemm->threads, n_items, widen_item, job);
    job->wide = job->gemm->wide;
}

/*
 * Column blocks run fastest: threads at work at the same time share rows of x. A block that is
 * whole and whose y is only written needs no scratch.
 */
static void block_item(void *ctx, size_t item, int worker)
{
    const struct job *job = ctx;
    const struct uqm_product *p = job->p;
    size_t row = item / job->n_col_blocks * UQM_GEMM_ROWS;
    size_t col = item % job->n_col_blocks * UQM_GEMM_COLS;
    size_t rows = uqm_min_u64(UQM_GEMM_ROWS, p->m - row);
    size_t cols = uqm_min_u64(UQM_GEMM_COLS, p->n - col);
    bool reads_y = p->epilogue == UQM_EPI_ADD || p->epilogue == UQM_EPI_SILU_MUL;

    float *y = p->y + row * p->ldy + col;
    float *v = y;
    size_t ldv = p->ldy;
    if (reads_y || rows < UQM_GEMM_ROWS) {
        v = job->gemm->blocks + (size_t) worker * BLOCK_ELEM;
        ldv = UQM_GEMM_COLS;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, UQM_GEMM_ROWS, (int) cols, (int) p->k,
                1.0f, p->x + row * p->ldx, (int) p->ldx, job->wide + col * p->k, (int) p->k, 0.0f,
                v, (int) ldv);
    for (size_t r = 0; r < rows; r++)
        finish_row(job, y + r * p->ldy, v + r * ldv, p->bias ? p->bias + col : NULL, cols);
}

static bool shape_is_sane(const struct uqm_gemm *gemm, const struct uqm_product *p)
{
    return p->k > 0 && p->k <= gemm->max_k && p->ldx >= p->k && p->ldx <= INT_MAX &&
           p->ldy >= p->n && p->ldy <= INT_MAX;
}

void uqm_gemm_run(struct uqm_gemm *gemm, const struct uqm_product *p)
{
    struct job job = {
        .gemm = gemm,
        .p = p,
        .n_col_blocks = (p->n + UQM_GEMM_COLS - 1) / UQM_GEMM_COLS,
    };
    if (p->m == 0 || p->n == 0)
        return;
    assert(shape_is_sane(gemm, p));
    widen(&job);
    size_t n_row_blocks = (p->m + UQM_GEMM_ROWS - 1) / UQM_GEMM_ROWS;
    uqm_parallel(gemm->threads, n_row_blocks * job.n_col_blocks, block_item, &job);
}

static float dot(const struct job *job, size_t i, const float *x)
{
    const struct uqm_kernels *k = &job->gemm->kernels;
    const struct uqm_product *p = job->p;
    const void *w = weights_at(p->w, p->w_dtype, i * p->k);
    switch (p->w_dtype) {
    case UQM_F16: return k->dot_f16(w, x, p->k);
    case UQM_BF16: return k->dot_bf16(w, x, p->k);
    default: assert(p->w_dtype == UQM_F32); return k->dot_f32(w, x, p->k);
    }
}

/* All rows of x meet a row of W while it is in the cache. */
static void gemv_item(void *ctx, size_t item, int worker)
{
    const struct job *job = ctx;
    const struct uqm_product *p = job->p;
    (void) worker;
    size_t col = item * GEMV_COLS, cols = uqm_min_u64(GEMV_COLS, p->n - col);
    float v[UQM_GEMV_ROWS][GEMV_COLS];

    for (size_t i = 0; i < cols; i++)
        for (size_t r = 0; r < p->m; r++)
            v[r][i] = dot(job, col + i, p->x + r * p->ldx);
    for (size_t r = 0; r < p->m; r++)
        finish_row(job, p->y + r * p->ldy + col, v[r], p->bias ? p->bias + col : NULL, cols);
}

void uqm_gemv_run(struct uqm_gemm *gemm, const struct uqm_product *p)
{
    struct job job = { .gemm = gemm, .p = p };
    if (p->m == 0 || p->n == 0)
        return;
    assert(p->m <= UQM_GEMV_ROWS && shape_is_sane(gemm, p));
    uqm_parallel(gemm->threads, (p->n + GEMV_COLS - 1) / GEMV_COLS, gemv_item, &job);
}
