/*
 * ram: task vectors where they exceed epsilon in magnitude, divided by how many do at the same
 * place. ramplus_tl: those that stand alone there are strengthened by
 *     1 + r clamp(shared / max(alone, epsilon), 0, alpha)
 * from the counts of each model over the tensor; from there on in f32, and so is the result.
 */
#include <math.h>

#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"

/* After those of the vectors: how many exceed, and the sum. */
static size_t scratch_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = { .job = job };
    return uqm_arith_bytes(uqm_vectors_lanes(&v) + 2);
}

/* z = x where |x| > epsilon, else 0; count += 1 there. */
static void keep_above(const struct uqm_arith *a, void *x, void *count, double epsilon, size_t n)
{
    double *d = x, *c = count;
    float *f = x, *cf = count, least = (float) epsilon;
    for (size_t e = 0; a->wide && e < n; e++) {
        bool above = fabs(d[e]) > epsilon;
        d[e] = above ? d[e] : 0;
        c[e] += above;
    }
    for (size_t e = 0; !a->wide && e < n; e++) {
        bool above = fabsf(f[e]) > least;
        f[e] = above ? f[e] : 0;
        cf[e] += (float) above;
    }
}

/* The vectors of one chunk, cut, into their lanes, and how many stand at each place. */
static void load(const struct uqm_vectors *v, const struct uqm_arith *a,
                 const struct uqm_span *span, size_t at, size_t n)
{
    void *count = uqm_lane(a, uqm_vectors_lanes(v));
    double epsilon = uqm_arith_rd(a, uqm_job_param(v->job, "epsilon"));
    uqm_vectors_load(v, a, span, at, n);
    uqm_arith_zero(a, count, n);
    for (size_t i = 0; i < uqm_vectors_count(v); i++)
        keep_above(a, uqm_lane(a, 1 + i), count, epsilon, n);
}

/* x = x / count, or x gain (f32) where count is 1. */
static void share(const struct uqm_arith *a, void *x, const void *count, double gain, size_t n)
{
    double *d = x;
    const double *c = count;
    for (size_t e = 0; a->wide && e < n; e++)
        d[e] = c[e] > 1 ? d[e] / c[e] : d[e] * gain;
    if (a->wide)
        return;
    float *f = x, g = (float) gain;
    const float *cf = count;
    for (size_t e = 0; e < n; e++)
        f[e] = cf[e] > 1 ? f[e] / cf[e] : f[e];
    uqm_arith_round(a, x, n);
    for (size_t e = 0; e < n; e++)
        f[e] = cf[e] > 1 ? f[e] : f[e] * g;
}

/* gain: of each vector, or NULL: 1, and the sum and the result in the working type. */
static void merge_with(const struct uqm_job *job, const double *gain, void *dst,
                       const struct uqm_span *span, void *scratch)
{
    struct uqm_arith a;
    struct uqm_vectors v = { .job = job };
    uqm_arith_init(&a, job, scratch);
    void *base = uqm_lane(&a, 0), *count = uqm_lane(&a, uqm_vectors_lanes(&v));
    void *sum = uqm_lane(&a, uqm_vectors_lanes(&v) + 1);
    struct uqm_arith last = a;
    if (gain)
        last.round = UQM_F32;
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        load(&v, &a, span, at, n);
        uqm_arith_zero(&a, sum, n);
        for (size_t i = 0; i < uqm_vectors_count(&v); i++) {
            share(&a, uqm_lane(&a, 1 + i), count, gain ? gain[i] : 1, n);
            uqm_arith_gather(&a, sum, uqm_lane(&a, 1 + i), n);
        }
        uqm_arith_round(&last, sum, n);
        if (job->n_others > 0) /* else the base as it is, -0 and all */
            uqm_arith_add(&last, base, base, sum, n);
        uqm_arith_store(&last, dst, at, base, n);
    }
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    (void) state;
    merge_with(job, NULL, dst, span, scratch);
}

const struct uqm_method_ops uqm_ram_ops = {
    .scratch_bytes = scratch_bytes,
    .merge = merge,
};

/* --- ramplus_tl --- */

/* Of each vector: at how many places it stands with others, and alone. */
struct counts {
    uint64_t shared, alone;
};

static unsigned n_passes(const struct uqm_job *job)
{
    return job->n_others > 0;
}

static size_t gains_bytes(const struct uqm_job *job)
{
    return job->n_others * sizeof(double);
}

static size_t counts_bytes(const struct uqm_job *job)
{
    return job->n_others * sizeof(struct counts);
}

static void add_counts(struct counts *counts, const struct uqm_arith *a, const void *x,
                       const void *count, size_t n)
{
    const double *d = x, *c = count;
    const float *f = x, *cf = count;
    for (size_t e = 0; e < n; e++) {
        bool stands = a->wide ? d[e] != 0 : f[e] != 0;
        bool shares = a->wide ? c[e] > 1 : cf[e] > 1;
        counts->shared += stands && shares;
        counts->alone += stands && !shares;
    }
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch)
{
    (void) state;
    (void) pass;
    (void) partial;
    struct counts *counts = tally;
    struct uqm_arith a;
    struct uqm_vectors v = { .job = job };
    uqm_arith_init(&a, job, scratch);
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        load(&v, &a, span, at, n);
        for (size_t i = 0; i < job->n_others; i++)
            add_counts(&counts[i], &a, uqm_lane(&a, 1 + i), uqm_lane(&a, uqm_vectors_lanes(&v)), n);
    }
}

static void gather(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                   unsigned segment, void *tally)
{
    (void) pass;
    (void) segment;
    struct counts *sum = state->work;
    struct counts *counts = tally;
    for (size_t i = 0; i < job->n_others; i++) {
        sum[i].shared += counts[i].shared;
        sum[i].alone += counts[i].alone;
        counts[i] = (struct counts){ 0 };
    }
}

/* mergekit computes the gain in f32, whatever the working type. */
static double gain_of(const struct uqm_job *job, const struct counts *c)
{
    double r = uqm_job_param(job, "r"), alpha = uqm_job_param(job, "alpha");
    double epsilon = uqm_job_param(job, "epsilon");
    if (job->numerics == UQM_NUMERICS_ACCURATE)
        return 1 + r * fmin(fmax((double) c->shared / fmax((double) c->alone, epsilon), 0), alpha);
    float rho = (float) c->shared / fmaxf((float) c->alone, (float) epsilon);
    return (double) (1 + (float) r * fminf(fmaxf(rho, 0), (float) alpha));
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    (void) pass;
    (void) err;
    const struct counts *counts = state->work;
    double *gain = state->result;
    for (size_t i = 0; i < job->n_others; i++)
        gain[i] = gain_of(job, &counts[i]);
    return 0;
}

static void merge_plus(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                       const struct uqm_span *span, void *scratch)
{
    merge_with(job, state->result, dst, span, scratch);
}

const struct uqm_method_ops uqm_ramplus_tl_ops = {
    .result_is_f32 = true,
    .n_passes = n_passes,
    .result_bytes = gains_bytes,
    .work_bytes = counts_bytes,
    .tally_bytes = counts_bytes,
    .scratch_bytes = scratch_bytes,
    .scan = scan,
    .gather = gather,
    .end_pass = end_pass,
    .merge = merge_plus,
};
