/*
 * out = sin((1 - t) theta) / sin(theta) base + sin(t theta) / sin(theta) other, theta between the
 * two tensors as one vector each; plain interpolation where they are nearly (anti)parallel. In f32
 * whatever the working type is, and rounded once.
 */
#include <math.h>

#include "compute/merge_kernels.h"
#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"

enum { N_SUMS = 3 }; /* base base, base other, other other */

struct result {
    double sums[N_SUMS];
    double norm_base, norm_other;
    double base, other; /* the coefficients */
};

static struct uqm_arith arith(const struct uqm_job *job, void *scratch)
{
    struct uqm_arith a;
    uqm_arith_init(&a, job, scratch);
    a.round = UQM_F32;
    return a;
}

/* In mergekit's order the dot product is of quotients, so the norms come first. */
static unsigned n_passes(const struct uqm_job *job)
{
    return job->numerics == UQM_NUMERICS_ACCURATE ? 1 : 2;
}

static size_t result_bytes(const struct uqm_job *job)
{
    (void) job;
    return sizeof(struct result);
}

static size_t partial_bytes(const struct uqm_job *job)
{
    (void) job;
    return N_SUMS * sizeof(double);
}

static size_t scratch_bytes(const struct uqm_job *job)
{
    (void) job;
    return uqm_arith_bytes(2);
}

/* All three sums of elements as they are stored; false where there are some that are not. */
static bool add_stored(const struct uqm_job *job, double *sums, const struct uqm_span *span,
                       size_t at, size_t n)
{
    const size_t base = (size_t) job->base, other = 1 - base;
    const struct uqm_stored none = { .x = NULL }, x[2] = {
        { uqm_job_stored(job, span, base, at), job->inputs[base].dtype },
        { uqm_job_stored(job, span, other, at), job->inputs[other].dtype },
    };
    if (job->numerics != UQM_NUMERICS_ACCURATE || !x[0].x || !x[1].x)
        return false;
    job->kernels->merge->gram(sums, x, 2, none, n);
    return true;
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch)
{
    (void) tally;
    const struct result *r = state->result;
    double *sums = partial;
    struct uqm_arith a = arith(job, scratch);
    void *x = uqm_lane(&a, 0), *y = uqm_lane(&a, 1);
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        if (add_stored(job, sums, span, at, n))
            continue;
        uqm_arith_load(&a, x, span, (size_t) job->base, at, n);
        uqm_arith_load(&a, y, span, 1 - (size_t) job->base, at, n);
        if (pass == 0) {
            sums[0] += uqm_arith_dot(&a, x, x, n);
            sums[2] += uqm_arith_dot(&a, y, y, n);
        } else {
            uqm_arith_divide(&a, x, x, r->norm_base, n);
            uqm_arith_divide(&a, y, y, r->norm_other, n);
        }
        if (pass + 1 == job->n_passes)
            sums[1] += uqm_arith_dot(&a, x, y, n);
    }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    (void) job;
    (void) pass;
    (void) block;
    struct result *r = state->result;
    const double *sums = partial;
    for (size_t i = 0; i < N_SUMS; i++)
        r->sums[i] += sums[i];
}

static double norm_of(const struct uqm_arith *a, double squares)
{
    double norm = uqm_arith_f32(a, sqrt(squares));
    return norm <= 1e-8 ? 1 : norm;
}

static void find_coefficients(struct result *r, const struct uqm_arith *a, double dot)
{
    double t = uqm_arith_f32(a, uqm_job_param(a->job, "t"));
    dot = dot < -1 ? -1 : dot > 1 ? 1 : dot;
    r->base = uqm_arith_f32(a, 1 - t);
    r->other = t;
    if (fabs(dot) > uqm_arith_f32(a, 0.9995))
        return;
    double theta = uqm_arith_f32(a, acos(dot)), sine = uqm_arith_f32(a, sin(theta));
    double towards = uqm_arith_f32(a, sin(uqm_arith_f32(a, r->base * theta)));
    double away = uqm_arith_f32(a, sin(uqm_arith_f32(a, r->other * theta)));
    r->base = uqm_arith_f32(a, towards / sine);
    r->other = uqm_arith_f32(a, away / sine);
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    (void) err;
    struct result *r = state->result;
    struct uqm_arith a = { .job = job,
                           .wide = job->numerics == UQM_NUMERICS_ACCURATE || job->work == UQM_F64 };
    if (pass == 0) {
        r->norm_base = norm_of(&a, r->sums[0]);
        r->norm_other = norm_of(&a, r->sums[2]);
    }
    if (job->n_passes == 1)
        find_coefficients(r, &a, r->sums[1] / r->norm_base / r->norm_other);
    else if (pass == 1)
        find_coefficients(r, &a, uqm_arith_f32(&a, r->sums[1]));
    return 0;
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    const struct result *r = state->result;
    struct uqm_arith a = arith(job, scratch);
    void *x = uqm_lane(&a, 0), *y = uqm_lane(&a, 1);
    if (job->numerics == UQM_NUMERICS_ACCURATE) {
        const double coef[2] = { job->base == 0 ? r->base : r->other,
                                 job->base == 0 ? r->other : r->base };
        uqm_combine(&a, dst, coef, span, 0, span->n_elem);
        return;
    }
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        uqm_arith_load(&a, x, span, (size_t) job->base, at, n);
        uqm_arith_load(&a, y, span, 1 - (size_t) job->base, at, n);
        uqm_arith_scale(&a, x, x, r->base, n);
        uqm_arith_scale(&a, y, y, r->other, n);
        uqm_arith_add(&a, x, x, y, n);
        uqm_arith_store(&a, dst, at, x, n);
    }
}

const struct uqm_method_ops uqm_slerp_ops = {
    .n_passes = n_passes,
    .result_bytes = result_bytes,
    .partial_bytes = partial_bytes,
    .scratch_bytes = scratch_bytes,
    .scan = scan,
    .fold = fold,
    .end_pass = end_pass,
    .merge = merge,
    .spreads_specials = uqm_job_spreads_specials,
};
