#include "src/merge/merge_report_sums.h"

#include <assert.h>
#include <math.h>
#include <string.h>

double uqm_report_element(const void *data, enum uqm_dtype dtype, size_t i)
{
    const unsigned char *p = (const unsigned char *) data + i * (uqm_dtype_bits(dtype) / 8);
    double d;
    float f;
    uint16_t h;
    switch (dtype) {
    case UQM_F64: memcpy(&d, p, sizeof d); return d;
    case UQM_F32: memcpy(&f, p, sizeof f); return (double) f;
    case UQM_F16: memcpy(&h, p, sizeof h); return (double) uqm_f32_of_f16(h);
    case UQM_BF16: memcpy(&h, p, sizeof h); return (double) uqm_f32_of_bf16(h);
    default: assert(0 && "not a dtype of weights"); return 0;
    }
}

void uqm_report_measure(struct uqm_report_sums *out, const void *x, enum uqm_dtype x_dtype,
                        const void *y, enum uqm_dtype y_dtype, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++) {
        double a = uqm_report_element(x, x_dtype, i), b = uqm_report_element(y, y_dtype, i);
        out->n_nan += isnan(a) ? 1 : 0;
        out->n_inf += isinf(a) ? 1 : 0;
        if (!isfinite(a) || !isfinite(b))
            continue;
        double d = fabs(a - b);
        out->d2 += d * d;
        out->x2 += a * a;
        out->max_abs = d > out->max_abs ? d : out->max_abs;
    }
}

void uqm_report_signs(float *s, const void *x, enum uqm_dtype x_dtype, const void *b,
                      enum uqm_dtype b_dtype, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++) {
        double d = uqm_report_element(x, x_dtype, i) - uqm_report_element(b, b_dtype, i);
        s[i] = d > 0 ? 1.0f : d < 0 ? -1.0f : 0.0f;
    }
}

void uqm_report_add(struct uqm_report_sums *sum, const struct uqm_report_sums *more,
                    unsigned weight)
{
    sum->d2 += weight * more->d2;
    sum->x2 += weight * more->x2;
    sum->max_abs = more->max_abs > sum->max_abs ? more->max_abs : sum->max_abs;
    sum->n_nan += more->n_nan;
    sum->n_inf += more->n_inf;
    sum->n_moved += weight * more->n_moved;
    sum->n_same += weight * more->n_same;
}

static bool is_finite(const struct uqm_report_sums *s)
{
    return s->n_nan == 0 && s->n_inf == 0 && isfinite(s->d2) && isfinite(s->x2);
}

double uqm_report_rel_l2(const struct uqm_report_sums *x, const struct uqm_report_sums *y)
{
    if (!is_finite(x) || !is_finite(y))
        return (double) NAN;
    return x->d2 == 0 ? 0 : sqrt(x->d2) / sqrt(y->x2);
}

double uqm_report_max_abs(const struct uqm_report_sums *x, const struct uqm_report_sums *y)
{
    return is_finite(x) && is_finite(y) ? x->max_abs : (double) NAN;
}

/* 1 - (|x - y|^2 - (|x| - |y|)^2) / (2 |x| |y|): the law of cosines, which keeps the digits where
 * the two hardly differ. */
double uqm_report_cosine(const struct uqm_report_sums *x, const struct uqm_report_sums *y)
{
    if (!is_finite(x) || !is_finite(y))
        return (double) NAN;
    double a = sqrt(x->x2), b = sqrt(y->x2);
    double sides = (x->x2 - y->x2) / (a + b);
    double cosine = 1 - (x->d2 - sides * sides) / (2 * a * b);
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

double uqm_report_agreement(const struct uqm_report_sums *x)
{
    return x->n_moved ? (double) x->n_same / (double) x->n_moved : (double) NAN;
}
