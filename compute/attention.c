#include "compute/attention.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "compute/blas.h"
#include "src/base/checked.h"

enum {
    BLOCK_Q = 64, /* queries of one item */
    FEW_Q = 8,    /* with fewer queries a prompt's keys are met by dot products */
};

struct uqm_attention_scratch {
    struct uqm_env *env;
    struct uqm_threads *threads;
    size_t max_kv;
    size_t bytes;
    void *memory; /* (n_threads, BLOCK_Q, max_kv) probabilities */
};

static uint64_t worker_bytes(size_t max_kv)
{
    assert(max_kv < SIZE_MAX / 1024);
    return uqm_align_up((uint64_t) BLOCK_Q * max_kv * sizeof(float), 64);
}

uint64_t uqm_attention_memory(size_t max_kv, int n_threads)
{
    return (uint64_t) n_threads * worker_bytes(max_kv);
}

int uqm_attention_scratch_create(struct uqm_attention_scratch **out, struct uqm_env *env,
                                 struct uqm_threads *threads, size_t max_kv, struct uqm_err *err)
{
    struct uqm_attention_scratch *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for attention");
    s->env = env;
    s->threads = threads;
    s->max_kv = max_kv;
    s->bytes = uqm_attention_memory(max_kv, uqm_threads_count(threads));

    int ret = uqm_budget_alloc(&s->memory, env, s->bytes, 64, "attention's probabilities", err);
    if (ret < 0) {
        uqm_attention_scratch_destroy(&s);
        return ret;
    }
    uqm_blas_setup();
    *out = s;
    return UQM_OK;
}

void uqm_attention_scratch_destroy(struct uqm_attention_scratch **scratch)
{
    struct uqm_attention_scratch *s = *scratch;
    if (!s)
        return;
    uqm_budget_free(&s->memory, s->env, s->bytes);
    free(s);
    *scratch = NULL;
}

struct batch {
    struct uqm_attention_scratch *scratch;
    const struct uqm_kernels *kernels;
    const struct uqm_attention *prompts;
    size_t max_blocks, max_heads;
};

/* One head of one prompt: queries [begin, begin + rows), and the keys the last of them sees. */
struct block {
    const struct uqm_attention *a;
    size_t head, begin, rows, n_keys, kv_at;
    const float *q;
    float *out;
};

static size_t n_blocks(const struct uqm_attention *a)
{
    return (a->n_q + BLOCK_Q - 1) / BLOCK_Q;
}

static size_t position(const struct uqm_attention *a, size_t query)
{
    return a->n_kv - a->n_q + query;
}

static size_t n_seen(const struct uqm_attention *a, size_t query)
{
    return a->causal ? position(a, query) + 1 : a->n_kv;
}

static struct block make_block(const struct uqm_attention *a, size_t head, size_t begin)
{
    size_t rows = uqm_min_u64(BLOCK_Q, a->n_q - begin);
    size_t kv_head = head / (a->n_heads / a->n_kv_heads);
    return (struct block){
        .a = a,
        .head = head,
        .begin = begin,
        .rows = rows,
        .n_keys = n_seen(a, begin + rows - 1),
        .q = a->q + begin * a->ldq + head * a->head_dim,
        .kv_at = kv_head * a->head_dim,
        .out = a->out + begin * a->ldo + head * a->head_dim,
    };
}

/* Scores of one query to probabilities; keys after it get none. */
static void finish_row(const struct uqm_kernels *kernels, const struct block *b, size_t row,
                       float *p)
{
    const struct uqm_attention *a = b->a;
    size_t query = b->begin + row, seen = n_seen(a, query);

    kernels->softmax_f32(p, a->scale, seen);
    if (a->dropout)
        kernels->dropout_f32(p, a->drop_key, (uint32_t) b->head, (uint32_t) position(a, query),
                             a->drop_threshold, a->keep_scale, seen);
    memset(p + seen, 0, (b->n_keys - seen) * sizeof *p);
}

static void run_block(const struct uqm_kernels *kernels, const struct block *b, float *p)
{
    const struct uqm_attention *a = b->a;
    const int rows = (int) b->rows, n_keys = (int) b->n_keys, d = (int) a->head_dim;

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, n_keys, d, 1.0f, b->q, (int) a->ldq,
                a->k + b->kv_at, (int) a->ldk, 0.0f, p, n_keys);
    for (size_t r = 0; r < b->rows; r++)
        finish_row(kernels, b, r, p + r * b->n_keys);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, d, n_keys, 1.0f, p, n_keys,
                a->v + b->kv_at, (int) a->ldv, 0.0f, b->out, (int) a->ldo);
}

/* The same to the bit from F16 as from its values as f32. */
static float score(const struct uqm_kernels *kernels, const struct block *b, const float *q,
                   size_t key)
{
    const struct uqm_attention *a = b->a;
    const size_t at = key * a->ldk + b->kv_at;
    return a->k_half ? kernels->dot_f16(a->k_half + at, q, a->head_dim)
                     : kernels->dot_f32(q, a->k + at, a->head_dim);
}

static void add_value(const struct uqm_kernels *kernels, const struct block *b, float *out,
                      size_t key, float p)
{
    const struct uqm_attention *a = b->a;
    const size_t at = key * a->ldv + b->kv_at;
    if (a->v_half)
        kernels->fma_f16(out, a->v_half + at, p, a->head_dim);
    else
        kernels->fma_f32(out, a->v + at, p, a->head_dim);
}

static void run_few(const struct uqm_kernels *kernels, const struct block *b, float *p)
{
    const struct uqm_attention *a = b->a;
    for (size_t r = 0; r < b->rows; r++) {
        const float *q = b->q + r * a->ldq;
        float *out = b->out + r * a->ldo;
        size_t seen = n_seen(a, b->begin + r);

        for (size_t j = 0; j < seen; j++)
            p[j] = score(kernels, b, q, j);
        finish_row(kernels, b, r, p);
        memset(out, 0, a->head_dim * sizeof *out);
        for (size_t j = 0; j < seen; j++)
            add_value(kernels, b, out, j, p[j]);
    }
}

/* A causal prompt's last blocks are its longest: they go first. */
static void block_item(void *ctx, size_t item, int worker)
{
    const struct batch *batch = ctx;
    struct uqm_attention_scratch *s = batch->scratch;
    size_t head = item % batch->max_heads;
    size_t block = item / batch->max_heads % batch->max_blocks;
    const struct uqm_attention *a = &batch->prompts[item / batch->max_heads / batch->max_blocks];
    float *p = (float *) s->memory + (size_t) worker * (worker_bytes(s->max_kv) / sizeof *p);

    if (head >= a->n_heads || block >= n_blocks(a))
        return;
    struct block b = make_block(a, head, (n_blocks(a) - 1 - block) * BLOCK_Q);
    if (a->n_q < FEW_Q || a->k_half)
        run_few(batch->kernels, &b, p);
    else
        run_block(batch->kernels, &b, p);
}

static bool shape_is_sane(const struct uqm_attention *a, size_t max_kv)
{
    return a->n_kv > 0 && a->n_kv <= max_kv && a->n_kv <= INT_MAX &&
           (!a->causal || a->n_q <= a->n_kv) && a->n_kv_heads > 0 &&
           a->n_heads % a->n_kv_heads == 0 && a->ldq <= INT_MAX && a->ldk <= INT_MAX &&
           a->ldv <= INT_MAX && a->ldo <= INT_MAX;
}

void uqm_attention_run(struct uqm_attention_scratch *scratch, const struct uqm_kernels *kernels,
                       const struct uqm_attention *prompts, size_t n_prompts)
{
    struct batch batch = { .scratch = scratch, .kernels = kernels, .prompts = prompts };
    for (size_t i = 0; i < n_prompts; i++) {
        const struct uqm_attention *a = &prompts[i];
        assert(shape_is_sane(a, scratch->max_kv));
        batch.max_blocks = uqm_max_u64(batch.max_blocks, n_blocks(a));
        batch.max_heads = uqm_max_u64(batch.max_heads, a->n_heads);
    }
    uqm_parallel(scratch->threads, n_prompts * batch.max_blocks * batch.max_heads, block_item,
                 &batch);
}
