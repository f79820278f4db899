#include "src/model/rows.h"

#include <math.h>

enum { BLOCK = 32 }; /* rows of one task */

struct task {
    const struct uqm_kernels *kernels;
    float *y;
    const float *x, *w, *b;
    float eps;
    size_t n_rows, width;
    const struct uqm_rope *rope;
    const uint32_t *positions;
    size_t n_heads;
};

static size_t block_end(const struct task *t, size_t item)
{
    const size_t end = (item + 1) * BLOCK;
    return end < t->n_rows ? end : t->n_rows;
}

static void rmsnorm_block(void *ctx, size_t item, int worker)
{
    const struct task *t = ctx;
    (void) worker;
    for (size_t r = item * BLOCK; r < block_end(t, item); r++)
        t->kernels->rmsnorm_f32(t->y + r * t->width, t->x + r * t->width, t->w, t->eps, t->width);
}

static void layernorm_block(void *ctx, size_t item, int worker)
{
    const struct task *t = ctx;
    (void) worker;
    for (size_t r = item * BLOCK; r < block_end(t, item); r++)
        t->kernels->layernorm_f32(t->y + r * t->width, t->x + r * t->width, t->w, t->b, t->eps,
                                  t->width);
}

static void rope_block(void *ctx, size_t item, int worker)
{
    const struct task *t = ctx;
    const size_t dim = t->rope->head_dim;
    (void) worker;
    for (size_t r = item * BLOCK; r < block_end(t, item); r++) {
        const size_t at = t->positions[r] * (dim / 2);
        for (size_t h = 0; h < t->n_heads; h++)
            t->kernels->rope_f32(t->y + r * t->width + h * dim, t->rope->cos + at,
                                 t->rope->sin + at, dim);
    }
}

static size_t n_blocks(size_t n_rows)
{
    return (n_rows + BLOCK - 1) / BLOCK;
}

void uqm_rows_rmsnorm(struct uqm_threads *threads, const struct uqm_kernels *kernels, float *y,
                      const float *x, const float *w, float eps, size_t n_rows, size_t width)
{
    struct task t = {
        .kernels = kernels, .y = y, .x = x, .w = w, .eps = eps, .n_rows = n_rows, .width = width
    };
    uqm_parallel(threads, n_blocks(n_rows), rmsnorm_block, &t);
}

void uqm_rows_layernorm(struct uqm_threads *threads, const struct uqm_kernels *kernels, float *y,
                        const float *x, const float *w, const float *b, float eps, size_t n_rows,
                        size_t width)
{
    struct task t = { .kernels = kernels,
                      .y = y,
                      .x = x,
                      .w = w,
                      .b = b,
                      .eps = eps,
                      .n_rows = n_rows,
                      .width = width };
    uqm_parallel(threads, n_blocks(n_rows), layernorm_block, &t);
}

void uqm_rows_rope(struct uqm_threads *threads, const struct uqm_kernels *kernels, float *x,
                   const struct uqm_rope *rope, const uint32_t *positions, size_t n_rows,
                   size_t n_heads)
{
    struct task t = { .kernels = kernels,
                      .y = x,
                      .n_rows = n_rows,
                      .width = n_heads * rope->head_dim,
                      .rope = rope,
                      .positions = positions,
                      .n_heads = n_heads };
    uqm_parallel(threads, n_blocks(n_rows), rope_block, &t);
}

/* In double, rounded once to float. The half-precision reference rounds further, to fp16; our
 * activations are f32 and so are the tables. */
void uqm_rope_fill(float *cos_table, float *sin_table, double theta, size_t head_dim,
                   size_t n_positions)
{
    const size_t half = head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        const double f = pow(theta, -2.0 * (double) i / (double) head_dim);
        for (size_t p = 0; p < n_positions; p++) {
            cos_table[p * half + i] = (float) cos((double) p * f);
            sin_table[p * half + i] = (float) sin((double) p * f);
        }
    }
}
