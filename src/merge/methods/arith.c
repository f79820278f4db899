#include "src/merge/methods/arith.h"

#include <string.h>

enum { LANE_BYTES = UQM_CHUNK * sizeof(double) };

size_t uqm_arith_bytes(size_t n_lanes)
{
    return UQM_CHUNK * (sizeof(float) + sizeof(uint16_t)) + n_lanes * LANE_BYTES;
}

void uqm_arith_init(struct uqm_arith *a, const struct uqm_job *job, void *scratch)
{
    char *at = scratch;
    *a = (struct uqm_arith){
        .job = job,
        .wide = job->numerics == UQM_NUMERICS_ACCURATE || job->work == UQM_F64,
        .round = job->work,
        .narrow = (void *) at,
        .half = (void *) (at + UQM_CHUNK * sizeof(float)),
        .lanes = at + UQM_CHUNK * (sizeof(float) + sizeof(uint16_t)),
    };
}

/* --- in and out --- */

void uqm_arith_load(const struct uqm_arith *a, void *dst, const struct uqm_span *span, size_t input,
                    size_t at, size_t n)
{
    if (a->wide)
        uqm_job_load_f64(dst, a->job, span, input, at, n, a->narrow, a->half);
    else
        uqm_job_load_f32(dst, a->job, span, input, at, n, a->half);
}

void uqm_arith_offset(const struct uqm_arith *a, void *dst, const void *base,
                      const struct uqm_span *span, size_t input, size_t at, size_t n)
{
    uqm_arith_load(a, dst, span, input, at, n);
    if (base && a->wide)
        a->job->kernels->wide->sub(dst, base, n);
    else if (base)
        uqm_arith_sub(a, dst, dst, base, n);
}

void uqm_arith_store(const struct uqm_arith *a, void *dst, size_t at, void *x, size_t n)
{
    if (a->wide)
        uqm_job_store_f64(dst, a->job, at, x, n, a->narrow, a->half);
    else
        uqm_job_store_f32(dst, a->job, at, x, n, a->half);
}

/* --- element by element --- */

void uqm_arith_round(const struct uqm_arith *a, void *x, size_t n)
{
    if (a->wide || a->round == UQM_F32)
        return;
    uqm_narrow(a->job->kernels, a->half, a->round, x, n);
    uqm_widen(a->job->kernels, x, a->half, a->round, n);
}

void uqm_arith_zero(const struct uqm_arith *a, void *dst, size_t n)
{
    memset(dst, 0, n * (a->wide ? sizeof(double) : sizeof(float)));
}

#define BINARY(name, op)                                                                           \
    void uqm_arith_##name(const struct uqm_arith *a, void *dst, const void *x, const void *y,      \
                          size_t n)                                                                \
    {                                                                                              \
        if (a->wide) {                                                                             \
            double *d = dst;                                                                       \
            const double *p = x, *q = y;                                                           \
            for (size_t e = 0; e < n; e++)                                                         \
                d[e] = p[e] op q[e];                                                               \
            return;                                                                                \
        }                                                                                          \
        float *d = dst;                                                                            \
        const float *p = x, *q = y;                                                                \
        for (size_t e = 0; e < n; e++)                                                             \
            d[e] = p[e] op q[e];                                                                   \
        uqm_arith_round(a, dst, n);                                                                \
    }
BINARY(add, +)
BINARY(sub, -)
BINARY(mul, *)
BINARY(div, /)

#define SCALAR(name, op)                                                                           \
    void uqm_arith_##name(const struct uqm_arith *a, void *dst, const void *x, double c, size_t n) \
    {                                                                                              \
        if (a->wide) {                                                                             \
            double *d = dst;                                                                       \
            const double *p = x;                                                                   \
            for (size_t e = 0; e < n; e++)                                                         \
                d[e] = p[e] op c;                                                                  \
            return;                                                                                \
        }                                                                                          \
        float *d = dst, f = (float) c;                                                             \
        const float *p = x;                                                                        \
        for (size_t e = 0; e < n; e++)                                                             \
            d[e] = p[e] op f;                                                                      \
        uqm_arith_round(a, dst, n);                                                                \
    }
SCALAR(scale, *)
SCALAR(divide, /)

void uqm_arith_rest(const struct uqm_arith *a, void *dst, const void *x, size_t n)
{
    double *d = dst;
    const double *p = x;
    float *df = dst;
    const float *pf = x;
    for (size_t e = 0; a->wide && e < n; e++)
        d[e] = 1 - p[e];
    for (size_t e = 0; !a->wide && e < n; e++)
        df[e] = 1 - pf[e];
    uqm_arith_round(a, dst, n);
}

void uqm_arith_gather(const struct uqm_arith *a, void *sum, const void *x, size_t n)
{
    double *s = sum;
    const double *p = x;
    float *sf = sum;
    const float *pf = x;
    for (size_t e = 0; a->wide && e < n; e++)
        s[e] += p[e];
    for (size_t e = 0; !a->wide && e < n; e++)
        sf[e] += pf[e];
}

/* --- sums --- */

enum { PARTS = 8 };

static double total(const double *part)
{
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

double uqm_arith_sum(const struct uqm_arith *a, const void *x, size_t n)
{
    double part[PARTS] = { 0 };
    const double *p = x;
    const float *pf = x;
    for (size_t e = 0; a->wide && e < n; e++)
        part[e % PARTS] += p[e];
    for (size_t e = 0; !a->wide && e < n; e++)
        part[e % PARTS] += (double) pf[e];
    return total(part);
}

double uqm_arith_dot(const struct uqm_arith *a, const void *x, const void *y, size_t n)
{
    double part[PARTS] = { 0 };
    const float *pf = x, *qf = y;
    if (a->wide)
        return a->job->kernels->wide->dot(x, y, n);
    for (size_t e = 0; e < n; e++)
        part[e % PARTS] += (double) pf[e] * (double) qf[e];
    return total(part);
}

/* --- scalars --- */

double uqm_arith_rd(const struct uqm_arith *a, double v)
{
    float f = (float) v;
    if (a->wide)
        return v;
    if (a->round == UQM_BF16)
        f = uqm_f32_of_bf16(uqm_bf16_of_f32(f));
    else if (a->round == UQM_F16)
        f = uqm_f32_of_f16(uqm_f16_of_f32(f));
    return (double) f;
}

double uqm_arith_f32(const struct uqm_arith *a, double v)
{
    return a->wide ? v : (double) (float) v;
}
