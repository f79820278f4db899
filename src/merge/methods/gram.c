#include "src/merge/methods/gram.h"

#include <string.h>

#include "compute/merge_kernels.h"

size_t uqm_vectors_count(const struct uqm_vectors *v)
{
    return v->with_base ? v->job->n_inputs : v->job->n_others;
}

size_t uqm_vectors_input(const struct uqm_vectors *v, size_t i)
{
    bool past = !v->with_base && v->job->base >= 0 && i >= (size_t) v->job->base;
    return i + past;
}

static bool takes_off(const struct uqm_vectors *v)
{
    return !v->with_base && v->job->base >= 0;
}

size_t uqm_vectors_lanes(const struct uqm_vectors *v)
{
    return 1 + uqm_vectors_count(v);
}

void uqm_vectors_load(const struct uqm_vectors *v, const struct uqm_arith *a,
                      const struct uqm_span *span, size_t at, size_t n)
{
    void *base = takes_off(v) ? uqm_lane(a, 0) : NULL;
    if (base)
        uqm_arith_load(a, base, span, (size_t) v->job->base, at, n);
    for (size_t i = 0; i < uqm_vectors_count(v); i++)
        uqm_arith_offset(a, uqm_lane(a, 1 + i), base, span, uqm_vectors_input(v, i), at, n);
}

size_t uqm_gram_count(const struct uqm_vectors *v)
{
    size_t n = uqm_vectors_count(v);
    return n * (n + 1) / 2;
}

double uqm_gram_at(const struct uqm_vectors *v, const double *g, size_t i, size_t j)
{
    size_t n = uqm_vectors_count(v), row = i < j ? i : j, col = i < j ? j : i;
    return g[row * n - row * (row + 1) / 2 + col];
}

/* As the lanes of a chunk are added, from elements as they are stored; false where there are some
 * that are not, or too many for the list that takes the place of lane 1. */
static bool add_stored(const struct uqm_vectors *v, const struct uqm_arith *a, double *g,
                       const struct uqm_span *span, size_t at, size_t n)
{
    const struct uqm_job *job = v->job;
    struct uqm_stored *x = uqm_lane(a, 1), base = { .x = NULL };
    size_t count = uqm_vectors_count(v);
    if (!a->wide || count > UQM_CHUNK * sizeof(double) / sizeof *x)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t input = uqm_vectors_input(v, i);
        x[i] =
            (struct uqm_stored){ uqm_job_stored(job, span, input, at), job->inputs[input].dtype };
        if (!x[i].x)
            return false;
    }
    if (takes_off(v)) {
        base = (struct uqm_stored){ uqm_job_stored(job, span, (size_t) job->base, at),
                                    job->inputs[job->base].dtype };
        if (!base.x)
            return false;
    }
    job->kernels->merge->gram(g, x, count, base, n);
    return true;
}

static void add_chunk(const struct uqm_vectors *v, const struct uqm_arith *a, double *g, size_t n)
{
    size_t count = uqm_vectors_count(v), at = 0;
    void *product = uqm_lane(a, uqm_vectors_lanes(v));
    for (size_t i = 0; i < count; i++)
        for (size_t j = i; j < count; j++, at++) {
            const void *x = uqm_lane(a, 1 + i), *y = uqm_lane(a, 1 + j);
            if (a->wide || i == j) {
                g[at] += uqm_arith_dot(a, x, y, n);
            } else {
                uqm_arith_mul(a, product, x, y, n);
                g[at] += uqm_arith_sum(a, product, n);
            }
        }
}

void uqm_gram_add(const struct uqm_vectors *v, const struct uqm_arith *a, double *g,
                  const struct uqm_span *span, size_t at, size_t n)
{
    for (size_t done = 0; done < n; done += UQM_CHUNK) {
        size_t now = n - done < UQM_CHUNK ? n - done : UQM_CHUNK;
        if (add_stored(v, a, g, span, at + done, now))
            continue;
        uqm_vectors_load(v, a, span, at + done, now);
        add_chunk(v, a, g, now);
    }
}

/* From inputs as they are stored, whose list takes the place of lane 1; false where there are some
 * that are not, or too many. */
static bool combine_stored(const struct uqm_arith *a, void *dst, const double *coef,
                           const struct uqm_span *span, size_t at, size_t n)
{
    const struct uqm_job *job = a->job;
    struct uqm_linear_input *inputs = uqm_lane(a, 1);
    const struct uqm_linear_mix mix = { .n_inputs = job->n_inputs, .inputs = inputs, .divisor = 1 };
    double *sum = uqm_lane(a, 0);
    if (job->n_inputs > UQM_CHUNK * sizeof(double) / sizeof *inputs)
        return false;
    for (size_t i = 0; i < job->n_inputs; i++) {
        if (!uqm_job_stored(job, span, i, at))
            return false;
        inputs[i].x.dtype = job->inputs[i].dtype;
        inputs[i].weight = coef[i];
    }
    for (size_t done = 0; done < n; done += UQM_CHUNK) {
        size_t now = n - done < UQM_CHUNK ? n - done : UQM_CHUNK;
        for (size_t i = 0; i < job->n_inputs; i++)
            inputs[i].x.x = uqm_job_stored(job, span, i, at + done);
        job->kernels->merge->linear_mix(sum, &mix, now);
        uqm_arith_store(a, dst, at + done, sum, now);
    }
    return true;
}

void uqm_combine(const struct uqm_arith *a, void *dst, const double *coef,
                 const struct uqm_span *span, size_t at, size_t n)
{
    double *sum = uqm_lane(a, 0), *x = uqm_lane(a, 1);
    if (combine_stored(a, dst, coef, span, at, n))
        return;
    for (size_t done = 0; done < n; done += UQM_CHUNK) {
        size_t now = n - done < UQM_CHUNK ? n - done : UQM_CHUNK;
        uqm_arith_zero(a, sum, now);
        for (size_t i = 0; i < a->job->n_inputs; i++) {
            uqm_arith_load(a, x, span, i, at + done, now);
            a->job->kernels->wide->add_scaled(sum, x, coef[i], now);
        }
        uqm_arith_store(a, dst, at + done, sum, now);
    }
}

void uqm_vectors_coef(const struct uqm_vectors *v, double *coef, const double *of_vectors)
{
    memset(coef, 0, v->job->n_inputs * sizeof *coef);
    double rest = 1;
    for (size_t i = 0; i < uqm_vectors_count(v); i++) {
        coef[uqm_vectors_input(v, i)] = of_vectors[i];
        rest -= of_vectors[i];
    }
    if (takes_off(v))
        coef[v->job->base] = rest;
}
