/* The sums behind merge_report.h, of one block, one tensor or one input; and how they are taken
 * element by element in double, where floats lose something. */
#ifndef UQM_MERGE_MERGE_REPORT_SUMS_H
#define UQM_MERGE_MERGE_REPORT_SUMS_H

#include "src/base/dtype.h"

/* Of an input x beside the result y; of the result alone: x is y, n_moved and n_same are the
 * tally's. Sums and max_abs mean nothing once n_nan or n_inf is not 0, of x or of y. */
struct uqm_report_sums {
    double d2, x2, max_abs; /* of (x - y)^2, of x^2, of |x - y| */
    uint64_t n_nan, n_inf;  /* of x */
    uint64_t n_moved;       /* x differs from the base */
    uint64_t n_same;        /* ... in the direction of y */
};

/* Element i of F64, F32, F16 or BF16, at any address. */
double uqm_report_element(const void *data, enum uqm_dtype dtype, size_t i);
/* d2, x2, max_abs, n_nan and n_inf of n elements; the rest of *out is left. */
void uqm_report_measure(struct uqm_report_sums *out, const void *x, enum uqm_dtype x_dtype,
                        const void *y, enum uqm_dtype y_dtype, size_t n_elem);
/* s_i = -1, 0, 1: the sign of x_i - b_i; 0 for NaN. */
void uqm_report_signs(float *s, const void *x, enum uqm_dtype x_dtype, const void *b,
                      enum uqm_dtype b_dtype, size_t n_elem);
/* Fold one more run of elements into *sum; all but max_abs, n_nan and n_inf `weight` times. */
void uqm_report_add(struct uqm_report_sums *sum, const struct uqm_report_sums *more,
                    unsigned weight);

/* How far x lies from y: |x - y| / |y|, max |x_i - y_i|, x.y / (|x| |y|). NaN where an element is
 * no number, or the quotient has no meaning. */
double uqm_report_rel_l2(const struct uqm_report_sums *x, const struct uqm_report_sums *y);
double uqm_report_max_abs(const struct uqm_report_sums *x, const struct uqm_report_sums *y);
double uqm_report_cosine(const struct uqm_report_sums *x, const struct uqm_report_sums *y);
/* n_same / n_moved, NaN where nothing moved. */
double uqm_report_agreement(const struct uqm_report_sums *x);

#endif
