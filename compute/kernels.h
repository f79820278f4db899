/*
 * The table of vector kernels. The plain C reference fills it first and stays for ever; faster
 * tiers overwrite entries. Element-wise kernels agree to the bit over all tiers; reductions
 * state their error budget. Any n_elem, any alignment, unless said.
 */
#ifndef UQM_COMPUTE_KERNELS_H
#define UQM_COMPUTE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/wide.h"
#include "src/base/dtype.h"
#include "src/base/rng.h"

enum {
    UQM_CPU_AVX2 = 1,   /* AVX2, FMA, F16C */
    UQM_CPU_AVX512 = 2, /* F, BW, VL, DQ */
};
/* What this CPU and system can run. */
uint32_t uqm_cpu_detect(void);
/* As /proc/cpuinfo has it, else "CPU". */
void uqm_cpu_name(char *name, size_t size);
/* What the program shall run: the same, or less: UQMERGE_CPU=ref|avx2|avx512 lowers it. */
uint32_t uqm_cpu_flags(void);

/*
 * The innermost part of compute/gemm.h: a tile of n_rows x n_cols results from operands packed so
 * that each step of k reads them in order.
 */
struct uqm_product_kernel {
    size_t n_rows, n_cols; /* n_cols is a multiple of n_lanes, n_rows at most n_lanes */
    size_t n_lanes;
    /* dst[j * ld_dst + r] = src[r * ld_src + j] for r < n_lanes, j < k. There are n_rows >= 1 rows;
     * the last one stands in for those missing. */
    void (*pack)(float *restrict dst, size_t ld_dst, const float *restrict src, size_t ld_src,
                 size_t n_rows, size_t k);
    /* v = fma(x[j * n_lanes + r], w[j * n_cols + c], v) for j = 0, 1 ... k - 1, one chain from
     * y[r * ldy + c] where `carry`, else from 0; left in y[r * ldy + c]. */
    void (*tile)(float *restrict y, size_t ldy, const float *restrict x, const float *restrict w,
                 size_t k, bool carry);
};

/* Products of a few rows of x (n_rows, k) with W (n_cols, k): y[r, c] = sum of x[r, j] w[c, j]. */
enum { UQM_DOTS_ROWS = 8, UQM_DOTS_CHAINS = 16 };
struct uqm_dots {
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx, n_rows; /* n_rows at most UQM_DOTS_ROWS */
    const void *w;      /* packed, at any address */
    size_t n_cols, k;
};

struct uqm_merge_kernels;

struct uqm_kernels {
    const char *tier;                         /* "ref", "avx2", "avx512" */
    const struct uqm_product_kernel *product; /* NULL in "ref": products are OpenBLAS's */
    const struct uqm_wide_kernels *wide;      /* of f64 */
    const struct uqm_merge_kernels *merge;    /* merge_kernels.h */

    /* Exact; a NaN of F16 comes out quiet. */
    void (*f32_of_f16)(float *restrict dst, const uint16_t *restrict src, size_t n_elem);
    void (*f32_of_bf16)(float *restrict dst, const uint16_t *restrict src, size_t n_elem);
    /* Round to nearest even; NaN stays NaN (quiet, sign and upper payload kept). */
    void (*f16_of_f32)(uint16_t *restrict dst, const float *restrict src, size_t n_elem);
    void (*bf16_of_f32)(uint16_t *restrict dst, const float *restrict src, size_t n_elem);

    /* Linear merge: acc[i] = fma(f32(src[i]), w, acc[i]), one rounding (spec merge.md 3.2). A NaN
     * that acc[i] holds already stays as it is. */
    void (*fma_f16)(float *restrict acc, const uint16_t *restrict src, float w, size_t n_elem);
    void (*fma_bf16)(float *restrict acc, const uint16_t *restrict src, float w, size_t n_elem);
    void (*fma_f32)(float *restrict acc, const float *restrict src, float w, size_t n_elem);
    /* x[i] = x[i] / d, correctly rounded. */
    void (*div_f32)(float *x, float d, size_t n_elem);

    /* y[i] = y[i] + x[i] */
    void (*add_f32)(float *restrict y, const float *restrict x, size_t n_elem);
    /* y[i] = silu(y[i]) * x[i], silu(v) = v / (1 + exp(-v)) */
    void (*silu_mul_f32)(float *restrict y, const float *restrict x, size_t n_elem);
    /* x[i] = x[i] * sigmoid(1.702 x[i]) */
    void (*quick_gelu_f32)(float *x, size_t n_elem);
    /* x[i] = x[i]/2 * (1 + erf(x[i]/sqrt 2)); absolute error of erf <= 1e-7 */
    void (*gelu_f32)(float *x, size_t n_elem);

    /* y = w * (x / sqrt(mean(x^2) + eps)). Relative error <= 2^-20. x may be y. */
    void (*rmsnorm_f32)(float *y, const float *x, const float *w, float eps, size_t n_elem);
    /* y = w * (x - mean) / sqrt(var + eps) + b, two passes. x may be y. */
    void (*layernorm_f32)(float *y, const float *x, const float *w, const float *b, float eps,
                          size_t n_elem);
    /* Half-split pairs of one head: (x_i, x_{i+h}) -> (x_i c_i - x_{i+h} s_i, x_{i+h} c_i + x_i
     * s_i), i < h = head_dim / 2. */
    void (*rope_f32)(float *x, const float *cos, const float *sin, size_t head_dim);
    /* x = softmax(x * scale) over n_elem >= 1 entries, the maximum subtracted first. */
    void (*softmax_f32)(float *x, float scale, size_t n_elem);
    /*
     * Dropout on one row of attention probabilities: x[k] = keep(k) ? x[k] * scale : 0.
     * keep(k) = word(k) >= threshold; word(k) = Philox4x32-10 with `key` at counter
     * (k / 4, query, head, 0), word k % 4. Integers decide, so the mask is the same to the bit
     * on every device and for any tiling. threshold = p * 2^32.
     */
    void (*dropout_f32)(float *x, struct uqm_rng_key key, uint32_t head, uint32_t query,
                        uint32_t threshold, float scale, size_t n_elem);
    /* sum of a[i] b[i]; |error| <= (1 + sqrt(n)) 2^-24 sum |a_i b_i| */
    float (*dot_f32)(const float *a, const float *b, size_t n_elem);
    float (*dot_f16)(const uint16_t *a, const float *b, size_t n_elem);
    /*
     * W of F32, F16 or BF16; each weight is fetched once for all rows. A result depends on its row
     * and its column alone and is the same to the bit in all tiers (NaN as NaN): chain l of
     * UQM_DOTS_CHAINS starts at 0 and takes fma(w[c, j], x[r, j], chain) for j = l, l + 16, ...,
     * the last round filled up with zeros; then chain l is added to chain l + 8, 4, 2, 1.
     */
    void (*dots_f32)(const struct uqm_dots *d);
    void (*dots_f16)(const struct uqm_dots *d);
    void (*dots_bf16)(const struct uqm_dots *d);
};

/* cpu_flags: an argument, so that a test can pick any tier. */
void uqm_kernels_init(struct uqm_kernels *kernels, uint32_t cpu_flags);

/* Widen n_elem of F16, BF16 or F32 to f32. */
void uqm_widen(const struct uqm_kernels *k, float *dst, const void *src, enum uqm_dtype dtype,
               size_t n_elem);
/* Round f32 to F16, BF16 or F32. */
void uqm_narrow(const struct uqm_kernels *k, void *dst, enum uqm_dtype dtype, const float *src,
                size_t n_elem);

#endif
