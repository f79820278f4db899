/* Row-wise steps of the network over a whole batch, blocks of rows in parallel. A row's result
 * depends on that row alone. */
#ifndef UQM_MODEL_ROWS_H
#define UQM_MODEL_ROWS_H

#include "compute/kernels.h"
#include "compute/threads.h"

/* y (n_rows, width) from x, packed both; y may be x. */
void uqm_rows_rmsnorm(struct uqm_threads *threads, const struct uqm_kernels *kernels, float *y,
                      const float *x, const float *w, float eps, size_t n_rows, size_t width);
void uqm_rows_layernorm(struct uqm_threads *threads, const struct uqm_kernels *kernels, float *y,
                        const float *x, const float *w, const float *b, float eps, size_t n_rows,
                        size_t width);

/*
 * Rotate the heads of x (n_rows, n_heads * head_dim) by their positions. cos, sin: tables of
 * (n_positions, head_dim / 2).
 */
struct uqm_rope {
    const float *cos, *sin;
    size_t head_dim;
};
void uqm_rows_rope(struct uqm_threads *threads, const struct uqm_kernels *kernels, float *x,
                   const struct uqm_rope *rope, const uint32_t *positions, size_t n_rows,
                   size_t n_heads);

/* Fill the tables: angle = position * theta^(-2i / head_dim). */
void uqm_rope_fill(float *cos_table, float *sin_table, double theta, size_t head_dim,
                   size_t n_positions);

#endif
