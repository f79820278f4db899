/*
 * Runs of f64: what sums over models in double are made of. Element by element, multiply then add,
 * so that every tier gives the same bits (but for which NaN); the sum too, whose order is fixed:
 * element i goes to part i mod UQM_WIDE_PARTS, and the parts are added as a tree.
 *
 * Stored elements, f32 and bf16, may lie at any address; f64 is aligned to its size.
 */
#ifndef UQM_COMPUTE_WIDE_H
#define UQM_COMPUTE_WIDE_H

#include <stddef.h>
#include <stdint.h>

enum { UQM_WIDE_PARTS = 8 };

struct uqm_wide_kernels {
    void (*of_f32)(double *restrict dst, const float *restrict src, size_t n_elem);
    void (*of_bf16)(double *restrict dst, const uint16_t *restrict src, size_t n_elem);
    /* Rounded to nearest even. */
    void (*to_f32)(float *restrict dst, const double *restrict src, size_t n_elem);
    /* Rounded to odd: where f32 cannot hold the value, the neighbour whose last bit is one. A
     * rounding of that to 16 bits is then the one that the f64 itself would have had. */
    void (*to_odd_f32)(float *restrict dst, const double *restrict src, size_t n_elem);
    /* y -= x */
    void (*sub)(double *restrict y, const double *restrict x, size_t n_elem);
    /* y += c x */
    void (*add_scaled)(double *restrict y, const double *restrict x, double c, size_t n_elem);
    /* y /= c */
    void (*divide)(double *y, double c, size_t n_elem);
    /* sum of x y; x may be y */
    double (*dot)(const double *x, const double *y, size_t n_elem);
};

extern const struct uqm_wide_kernels uqm_wide_ref, uqm_wide_avx2, uqm_wide_avx512;

#endif
