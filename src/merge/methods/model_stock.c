/*
 * t = N c / (1 + (N - 1) c), c the mean cosine of all pairs of task vectors;
 * out = t mean(x_i) + (1 - t) base. Of the whole tensor, or (filter_wise) of each row, which is
 * then a unit, so that no pass is needed.
 */
#include <math.h>

#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"

static bool by_rows(const struct uqm_job *job)
{
    return uqm_job_param(job, "filter_wise") != 0 && job->rank > 1;
}

static uint64_t unit_elem(const struct uqm_job *job)
{
    return by_rows(job) ? job->shape[job->rank - 1] : 1;
}

static unsigned n_passes(const struct uqm_job *job)
{
    return !by_rows(job);
}

static struct uqm_vectors vectors(const struct uqm_job *job)
{
    return (struct uqm_vectors){ .job = job };
}

static size_t gram_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return uqm_gram_count(&v) * sizeof(double);
}

/* The lanes of gram_add; uqm_combine()'s coefficients and a row's matrix before them. */
static size_t own_bytes(const struct uqm_job *job)
{
    return (gram_bytes(job) + job->n_inputs * sizeof(double) + 63) / 64 * 64;
}

static size_t scratch_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return own_bytes(job) + uqm_arith_bytes(uqm_vectors_lanes(&v) + 1);
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static double t_of(const struct uqm_vectors *v, const struct uqm_arith *a, const double *g)
{
    size_t n = uqm_vectors_count(v);
    double count = (double) n, sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            double ni = uqm_arith_rd(a, sqrt(uqm_gram_at(v, g, i, i)));
            double nj = uqm_arith_rd(a, sqrt(uqm_gram_at(v, g, j, j)));
            double least = uqm_arith_rd(a, 1e-6), product = uqm_arith_rd(a, ni * nj);
            double dot = uqm_arith_rd(a, uqm_gram_at(v, g, i, j));
            double cosine = uqm_arith_rd(a, dot / (product < least ? least : product));
            sum = uqm_arith_f32(a, sum + clamp(cosine, -1, 1));
        }
    double mean = uqm_arith_rd(a, sum / (count * (count - 1) / 2));
    double den = uqm_arith_rd(a, 1 + uqm_arith_rd(a, (count - 1) * mean));
    if (fabs(den) < uqm_arith_rd(a, 1e-6))
        return 0;
    return uqm_arith_rd(a, uqm_arith_rd(a, count * mean) / den);
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch)
{
    (void) state;
    (void) pass;
    (void) tally;
    struct uqm_vectors v = vectors(job);
    struct uqm_arith a;
    uqm_arith_init(&a, job, (char *) scratch + own_bytes(job));
    uqm_gram_add(&v, &a, partial, span, 0, span->n_elem);
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    (void) pass;
    (void) block;
    struct uqm_vectors v = vectors(job);
    double *sum = state->result;
    const double *g = partial;
    for (size_t i = 0; i < uqm_gram_count(&v); i++)
        sum[i] += g[i];
}

/* Elements [at, at + n) operation by operation. */
static void blend(const struct uqm_vectors *v, const struct uqm_arith *a, void *dst, double t,
                  const struct uqm_span *span, size_t at, size_t n)
{
    void *sum = uqm_lane(a, 0), *x = uqm_lane(a, 1);
    for (size_t done = 0; done < n; done += UQM_CHUNK) {
        size_t now = n - done < UQM_CHUNK ? n - done : UQM_CHUNK;
        uqm_arith_zero(a, sum, now);
        for (size_t i = 0; i < uqm_vectors_count(v); i++) {
            uqm_arith_load(a, x, span, uqm_vectors_input(v, i), at + done, now);
            uqm_arith_add(a, sum, sum, x, now);
        }
        uqm_arith_divide(a, sum, sum, (double) uqm_vectors_count(v), now);
        uqm_arith_scale(a, sum, sum, t, now);
        uqm_arith_load(a, x, span, (size_t) v->job->base, at + done, now);
        uqm_arith_scale(a, x, x, uqm_arith_rd(a, 1 - t), now);
        uqm_arith_add(a, sum, sum, x, now);
        uqm_arith_store(a, dst, at + done, sum, now);
    }
}

static void merge_run(const struct uqm_vectors *v, const struct uqm_arith *a, void *dst, double t,
                      double *coef, const struct uqm_span *span, size_t at, size_t n)
{
    const struct uqm_job *job = v->job;
    if (job->numerics == UQM_NUMERICS_MERGEKIT) {
        blend(v, a, dst, t, span, at, n);
        return;
    }
    for (size_t i = 0; i < job->n_inputs; i++)
        coef[i] = (long) i == job->base ? 1 - t : t / (double) job->n_others;
    uqm_combine(a, dst, coef, span, at, n);
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    struct uqm_vectors v = vectors(job);
    struct uqm_arith a;
    double *coef = scratch, *g = coef + job->n_inputs;
    uqm_arith_init(&a, job, (char *) scratch + own_bytes(job));
    if (!by_rows(job)) {
        merge_run(&v, &a, dst, t_of(&v, &a, state->result), coef, span, 0, span->n_elem);
        return;
    }
    size_t n = (size_t) unit_elem(job);
    for (size_t at = 0; at < span->n_elem; at += n) {
        for (size_t i = 0; i < uqm_gram_count(&v); i++)
            g[i] = 0;
        uqm_gram_add(&v, &a, g, span, at, n);
        merge_run(&v, &a, dst, t_of(&v, &a, g), coef, span, at, n);
    }
}

const struct uqm_method_ops uqm_model_stock_ops = {
    .unit_elem = unit_elem,
    .n_passes = n_passes,
    .result_bytes = gram_bytes,
    .partial_bytes = gram_bytes,
    .scratch_bytes = scratch_bytes,
    .scan = scan,
    .fold = fold,
    .merge = merge,
    .spreads_specials = uqm_job_spreads_specials,
};
