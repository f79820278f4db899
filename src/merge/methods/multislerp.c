/*
 * The weighted mean of N directions on the sphere: the unit vectors' mean m, a step from it in the
 * tangent space, and the mean of the norms for a length. Of models, or of task vectors, base +
 * that. One model alone is returned as it is.
 *
 * In exact arithmetic the step vanishes (the weighted mean of u_i - (u_i m) m is m less its own
 * part along m), so in accurate numerics the result is m cos(eps) times the mean norm: a
 * combination of the vectors with coefficients from their Gram matrix. Its square alone cannot tell
 * a short m from none, so where it is small the length is measured in a pass of its own.
 */
#include <math.h>
#include <string.h>

#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"

/* What the passes find; the arrays follow it in this order. */
struct result {
    double length; /* of m */
    bool vanishes; /* m: the plain sum of two is taken */
    bool done;     /* the passes that are left are not needed */
    double cosine, sine, size;
};

enum { NORMS, LENGTH, DOTS, STEP }; /* passes; accurate numerics have the first two */

static struct uqm_vectors vectors(const struct uqm_job *job)
{
    return (struct uqm_vectors){ .job = job };
}

static bool accurate(const struct uqm_job *job)
{
    return job->numerics == UQM_NUMERICS_ACCURATE;
}

/* --- memory --- */

static double *weights_in(const struct uqm_job *job, void *result)
{
    (void) job;
    return (double *) ((char *) result + sizeof(struct result));
}
/* Norms of the vectors, or their Gram matrix. */
static double *sums_in(const struct uqm_job *job, void *result)
{
    return weights_in(job, result) + job->n_others;
}
/* mergekit: the vectors' products with m; accurate: the inputs' coefficients. */
static double *factors_in(const struct uqm_job *job, void *result)
{
    struct uqm_vectors v = vectors(job);
    return sums_in(job, result) + uqm_gram_count(&v);
}

static size_t result_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return sizeof(struct result) +
           (job->n_others + uqm_gram_count(&v) + job->n_inputs) * sizeof(double);
}

static size_t partial_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return uqm_gram_count(&v) * sizeof(double);
}

/* After the vectors' lanes: m, a term, the step. */
static size_t scratch_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return uqm_arith_bytes(uqm_vectors_lanes(&v) + 3);
}

static unsigned n_passes(const struct uqm_job *job)
{
    if (job->n_others == 1)
        return 0;
    return accurate(job) ? 2 : 4;
}

/* R6: a list of weights becomes a tensor of the working type. */
static void find_weights(double *w, const struct uqm_arith *a)
{
    struct uqm_vectors v = vectors(a->job);
    double sum = 0;
    for (size_t i = 0; i < a->job->n_others; i++) {
        w[i] = uqm_arith_rd(a, uqm_job_input_param(a->job, uqm_vectors_input(&v, i), "weight"));
        sum += w[i];
    }
    if (uqm_job_param(a->job, "normalize_weights") != 0)
        for (size_t i = 0; i < a->job->n_others; i++)
            w[i] = uqm_arith_rd(a, w[i] / uqm_arith_rd(a, sum));
}

static double eps_of(const struct uqm_arith *a)
{
    return uqm_arith_rd(a, uqm_job_param(a->job, "eps"));
}

/* --- the chunk in hand --- */

static void *lane_of_m(const struct uqm_arith *a)
{
    struct uqm_vectors v = vectors(a->job);
    return uqm_lane(a, uqm_vectors_lanes(&v));
}

/* The vectors as unit vectors, and the sum of them with weights. */
static void load_mean(const struct uqm_arith *a, void *result, const struct uqm_span *span,
                      size_t at, size_t n)
{
    struct uqm_vectors v = vectors(a->job);
    const double *w = weights_in(a->job, result), *norms = sums_in(a->job, result);
    void *m = lane_of_m(a), *term = (char *) m + UQM_CHUNK * sizeof(double);
    uqm_vectors_load(&v, a, span, at, n);
    uqm_arith_zero(a, m, n);
    for (size_t i = 0; i < a->job->n_others; i++) {
        void *u = uqm_lane(a, 1 + i);
        uqm_arith_divide(a, u, u, uqm_arith_rd(a, norms[i] + eps_of(a)), n);
        uqm_arith_scale(a, term, u, w[i], n);
        uqm_arith_gather(a, m, term, n);
    }
    uqm_arith_round(a, m, n);
}

/* The step's lane, from the unit vectors (which become their tangents) and m, of length 1. */
static void *find_step(const struct uqm_arith *a, void *result, size_t n)
{
    const double *w = weights_in(a->job, result), *dots = factors_in(a->job, result);
    void *m = lane_of_m(a), *term = (char *) m + UQM_CHUNK * sizeof(double);
    void *step = (char *) term + UQM_CHUNK * sizeof(double);
    uqm_arith_zero(a, step, n);
    for (size_t i = 0; i < a->job->n_others; i++) {
        void *u = uqm_lane(a, 1 + i);
        uqm_arith_scale(a, term, m, dots[i], n);
        uqm_arith_sub(a, u, u, term, n);
        uqm_arith_scale(a, term, u, w[i], n);
        uqm_arith_gather(a, step, term, n);
    }
    uqm_arith_round(a, step, n);
    return step;
}

/* --- passes --- */

static void scan_chunk(const struct uqm_arith *a, void *result, unsigned pass,
                       const struct uqm_span *span, double *partial, size_t at, size_t n)
{
    const struct result *r = result;
    struct uqm_vectors v = vectors(a->job);
    void *m = lane_of_m(a), *term = (char *) m + UQM_CHUNK * sizeof(double);
    if (pass == NORMS) {
        uqm_vectors_load(&v, a, span, at, n);
        for (size_t i = 0; i < a->job->n_others; i++)
            partial[i] += uqm_arith_dot(a, uqm_lane(a, 1 + i), uqm_lane(a, 1 + i), n);
        return;
    }
    load_mean(a, result, span, at, n);
    if (pass == LENGTH) {
        partial[0] += uqm_arith_dot(a, m, m, n);
        return;
    }
    uqm_arith_divide(a, m, m, r->length, n);
    if (pass == STEP) {
        void *step = find_step(a, result, n);
        partial[0] += uqm_arith_dot(a, step, step, n);
        return;
    }
    for (size_t i = 0; i < a->job->n_others; i++) {
        uqm_arith_mul(a, term, uqm_lane(a, 1 + i), m, n);
        partial[i] += uqm_arith_sum(a, term, n);
    }
}

/* m as it stands in the coefficients, where the Gram matrix does not tell its length. */
static void scan_length(const struct uqm_arith *a, void *result, const struct uqm_span *span,
                        double *partial, size_t at, size_t n)
{
    struct uqm_vectors v = vectors(a->job);
    const double *coef = factors_in(a->job, result);
    double *m = lane_of_m(a);
    uqm_vectors_load(&v, a, span, at, n);
    uqm_arith_zero(a, m, n);
    for (size_t i = 0; i < a->job->n_others; i++)
        a->job->kernels->wide->add_scaled(m, uqm_lane(a, 1 + i), coef[i], n);
    partial[0] += uqm_arith_dot(a, m, m, n);
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch)
{
    (void) tally;
    struct uqm_vectors v = vectors(job);
    struct uqm_arith a;
    uqm_arith_init(&a, job, scratch);
    if (accurate(job) && pass == NORMS) {
        uqm_gram_add(&v, &a, partial, span, 0, span->n_elem);
        return;
    }
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        if (accurate(job))
            scan_length(&a, state->result, span, partial, at, n);
        else
            scan_chunk(&a, state->result, pass, span, partial, at, n);
    }
}

/* Where a pass's sums go. */
static double *sums_of_pass(const struct uqm_job *job, void *result, unsigned pass, size_t *n)
{
    struct result *r = result;
    struct uqm_vectors v = vectors(job);
    switch (pass) {
    case NORMS:
        *n = accurate(job) ? uqm_gram_count(&v) : job->n_others;
        return sums_in(job, result);
    case LENGTH: *n = 1; return &r->length;
    case DOTS: *n = job->n_others; return factors_in(job, result);
    default: *n = 1; return &r->sine;
    }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    (void) block;
    const double *p = partial;
    size_t n;
    double *sums = sums_of_pass(job, state->result, pass, &n);
    for (size_t i = 0; i < n; i++)
        sums[i] += p[i];
}

static int no_mean(const struct uqm_job *job, struct uqm_err *err)
{
    struct uqm_printable name;
    return uqm_fail(
        err, UQM_ERR_FORMAT,
        "%s: tensor %s: multislerp: the weighted sum of the models' directions is zero, "
        "so they have no mean; give them other weights",
        job->where, uqm_printable(&name, job->name, strlen(job->name)));
}

/* --- accurate --- */

/* The inputs' coefficients from those of m, whose length is known. */
static int finish_coefficients(const struct uqm_arith *a, void *result, struct uqm_err *err)
{
    const struct uqm_job *job = a->job;
    struct uqm_vectors v = vectors(job);
    struct result *r = result;
    double *coef = factors_in(job, result), *w = weights_in(job, result), size = 0;
    double *of_vectors = sums_in(job, result); /* has done its duty */
    for (size_t i = 0; i < job->n_others; i++)
        size += sqrt(uqm_gram_at(&v, of_vectors, i, i)) * w[i];
    r->vanishes = r->length < eps_of(a);
    if (r->vanishes && job->n_others > 2)
        return no_mean(job, err);
    for (size_t i = 0; i < job->n_others; i++)
        of_vectors[i] = r->vanishes ? w[i] : coef[i] / r->length * cos(eps_of(a)) * size;
    uqm_vectors_coef(&v, coef, of_vectors);
    return 1;
}

static int end_of_gram(const struct uqm_arith *a, void *result, struct uqm_err *err)
{
    const struct uqm_job *job = a->job;
    struct uqm_vectors v = vectors(job);
    struct result *r = result;
    double *g = sums_in(job, result), *coef = factors_in(job, result);
    double *w = weights_in(job, result), square = 0, mass = 0;
    find_weights(w, a);
    for (size_t i = 0; i < job->n_others; i++)
        coef[i] = w[i] / (sqrt(uqm_gram_at(&v, g, i, i)) + eps_of(a));
    for (size_t i = 0; i < job->n_others; i++)
        for (size_t j = 0; j < job->n_others; j++) {
            double term = coef[i] * coef[j] * uqm_gram_at(&v, g, i, j);
            square += term;
            mass += fabs(term);
        }
    if (square < 1e-6 * mass)
        return 0; /* the pass that measures it is next */
    r->length = sqrt(square);
    return finish_coefficients(a, result, err);
}

/* --- mergekit --- */

static int end_of_mergekit(const struct uqm_arith *a, void *result, unsigned pass,
                           struct uqm_err *err)
{
    const struct uqm_job *job = a->job;
    struct result *r = result;
    size_t n;
    double *sums = sums_of_pass(job, result, pass, &n), size = 0;
    if (pass == NORMS)
        find_weights(weights_in(job, result), a);
    for (size_t i = 0; i < n; i++)
        sums[i] = uqm_arith_rd(a, pass == DOTS ? sums[i] : sqrt(sums[i]));
    if (pass == LENGTH) {
        r->vanishes = r->length < eps_of(a);
        return !r->vanishes ? 0 : job->n_others > 2 ? no_mean(job, err) : 1;
    }
    if (pass != STEP)
        return 0;
    double h = uqm_arith_rd(a, r->sine + eps_of(a));
    r->cosine = uqm_arith_rd(a, cos(h));
    r->sine = uqm_arith_rd(a, uqm_arith_rd(a, sin(h)) / h);
    for (size_t i = 0; i < job->n_others; i++)
        size += uqm_arith_rd(a, sums_in(job, result)[i] * weights_in(job, result)[i]);
    r->size = uqm_arith_rd(a, size);
    return 0;
}

static int end_of(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                  struct uqm_err *err)
{
    struct result *r = state->result;
    struct uqm_arith a = { .job = job,
                           .round = job->work,
                           .wide = accurate(job) || job->work == UQM_F64 };
    if (!accurate(job))
        return end_of_mergekit(&a, state->result, pass, err);
    if (pass == NORMS)
        return end_of_gram(&a, state->result, err);
    r->length = sqrt(r->length);
    return finish_coefficients(&a, state->result, err);
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    struct result *r = state->result;
    int ret = end_of(job, state, pass, err);
    r->done = ret == 1;
    return ret;
}

static void pass_blocks(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                        uint64_t *first, uint64_t *n)
{
    const struct result *r = state->result;
    (void) pass;
    *first = 0;
    *n = r->done ? 0 : job->n_blocks;
}

/* --- merging --- */

/* The result's lane, less the base. */
static void *merge_chunk(const struct uqm_arith *a, void *result, const struct uqm_span *span,
                         size_t at, size_t n)
{
    const struct result *r = result;
    const double *w = weights_in(a->job, result);
    struct uqm_vectors v = vectors(a->job);
    if (r->vanishes) {
        void *x = uqm_lane(a, 1), *y = uqm_lane(a, 2);
        uqm_vectors_load(&v, a, span, at, n);
        uqm_arith_scale(a, x, x, w[0], n);
        uqm_arith_scale(a, y, y, w[1], n);
        uqm_arith_add(a, x, x, y, n);
        return x;
    }
    load_mean(a, result, span, at, n);
    void *m = lane_of_m(a);
    uqm_arith_divide(a, m, m, r->length, n);
    void *step = find_step(a, result, n);
    uqm_arith_scale(a, m, m, r->cosine, n);
    uqm_arith_scale(a, step, step, r->sine, n);
    uqm_arith_add(a, m, m, step, n);
    uqm_arith_scale(a, m, m, r->size, n);
    return m;
}

/* The one model that there is. */
static void copy(const struct uqm_arith *a, void *dst, const struct uqm_span *span, size_t at,
                 size_t n)
{
    struct uqm_vectors v = vectors(a->job);
    uqm_arith_load(a, uqm_lane(a, 0), span, uqm_vectors_input(&v, 0), at, n);
    uqm_arith_store(a, dst, at, uqm_lane(a, 0), n);
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    struct uqm_arith a;
    uqm_arith_init(&a, job, scratch);
    if (job->n_others > 1 && accurate(job)) {
        uqm_combine(&a, dst, factors_in(job, state->result), span, 0, span->n_elem);
        return;
    }
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        if (job->n_others == 1) {
            copy(&a, dst, span, at, n);
            continue;
        }
        void *x = merge_chunk(&a, state->result, span, at, n);
        if (job->base >= 0)
            uqm_arith_add(&a, x, x, uqm_lane(&a, 0), n);
        uqm_arith_store(&a, dst, at, x, n);
    }
}

const struct uqm_method_ops uqm_multislerp_ops = {
    .n_passes = n_passes,
    .result_bytes = result_bytes,
    .partial_bytes = partial_bytes,
    .scratch_bytes = scratch_bytes,
    .pass_blocks = pass_blocks,
    .scan = scan,
    .fold = fold,
    .end_pass = end_pass,
    .merge = merge,
};
