/*
 * The inner products of a job's inputs, and sums of inputs with coefficients: all that a method on
 * a sphere needs to know of a tensor in accurate numerics, whatever its size, is the Gram matrix of
 * its vectors; what it makes of them is a combination of the inputs.
 *
 * The vectors are all inputs as they are (with_base), or those beside the base, less the base where
 * there is one.
 */
#ifndef UQM_MERGE_GRAM_H
#define UQM_MERGE_GRAM_H

#include "src/merge/methods/arith.h"

struct uqm_vectors {
    const struct uqm_job *job;
    bool with_base;
};

size_t uqm_vectors_count(const struct uqm_vectors *v);
/* The input that vector i is made of. */
size_t uqm_vectors_input(const struct uqm_vectors *v, size_t i);
/* Load elements [at, at + n) of all vectors into lanes 1 ...; the base's into lane 0 when it is
 * taken off. Lanes needed: */
size_t uqm_vectors_lanes(const struct uqm_vectors *v);
void uqm_vectors_load(const struct uqm_vectors *v, const struct uqm_arith *a,
                      const struct uqm_span *span, size_t at, size_t n);

/* g: the upper triangle row by row, [uqm_gram_count()]. */
size_t uqm_gram_count(const struct uqm_vectors *v);
double uqm_gram_at(const struct uqm_vectors *v, const double *g, size_t i, size_t j);
/*
 * g += inner products over elements [at, at + n) of the span. Where a is not wide, products of two
 * different vectors are rounded before they are added, squares are not (model_stock's rules).
 * One lane more than uqm_vectors_lanes().
 */
void uqm_gram_add(const struct uqm_vectors *v, const struct uqm_arith *a, double *g,
                  const struct uqm_span *span, size_t at, size_t n);

/* dst[at, at + n) = sum of coef[i] x_i over the inputs, in f64, rounded once. Two lanes. */
void uqm_combine(const struct uqm_arith *a, void *dst, const double *coef,
                 const struct uqm_span *span, size_t at, size_t n);
/* coef [n_inputs] of the inputs from those of the vectors (plus the base when it was taken off). */
void uqm_vectors_coef(const struct uqm_vectors *v, double *coef, const double *of_vectors);

#endif
