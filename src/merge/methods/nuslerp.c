/*
 * Interpolation along the great circle between two models, or between their task vectors, base +
 * that: of the whole tensor, of each line of the last dimension, or of dimension 0. The three
 * differ in where the sums of squares and products come from:
 *
 *     whole tensor    passes over all of it
 *     last dimension  the row is a unit and has them at hand
 *     dimension 0     passes that keep sums for every column
 *
 * In all of them out = (s0 v0 + s1 v1) / s, without the division where the two are collinear; then
 * + base. With mergekit's roundings the dot product is of quotients, so the norms take a pass of
 * their own.
 */
#include <math.h>
#include <string.h>

#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"

/* Of two lines. First sums (norms, once they are known), in the end coefficients. */
struct pair {
    double v0, v1; /* squares, norms, s0 and s1 */
    double both;   /* dot product, s; 1 where there is nothing to divide by */
};

enum lines { WHOLE, ROWS, COLUMNS };
enum { PRODUCT = 3, N_LANES = 4 }; /* 0 to 2 are the vectors' */

static enum lines lines_of(const struct uqm_job *job)
{
    if (uqm_job_param(job, "nuslerp_flatten") != 0 || job->rank < 2)
        return WHOLE;
    if (uqm_job_param(job, "nuslerp_row_wise") == 0)
        return job->shape[job->rank - 1] == job->n_elem ? WHOLE : ROWS;
    return job->shape[0] == job->n_elem ? WHOLE : COLUMNS;
}

/* A row of the last dimension, or all that lies between two neighbours along dimension 0. */
static uint64_t unit_elem(const struct uqm_job *job)
{
    switch (lines_of(job)) {
    case ROWS: return job->shape[job->rank - 1];
    case COLUMNS: return job->n_elem / job->shape[0];
    default: return 1;
    }
}

static size_t n_pairs(const struct uqm_job *job)
{
    return lines_of(job) == COLUMNS ? (size_t) unit_elem(job) : 1;
}

static unsigned n_passes(const struct uqm_job *job)
{
    if (lines_of(job) == ROWS)
        return 0;
    return job->numerics == UQM_NUMERICS_ACCURATE ? 1 : 2;
}

static size_t pairs_bytes(const struct uqm_job *job)
{
    return lines_of(job) == ROWS ? 0 : n_pairs(job) * sizeof(struct pair);
}

static size_t scratch_bytes(const struct uqm_job *job)
{
    (void) job;
    return uqm_arith_bytes(N_LANES);
}

/* --- sums --- */

static void add_squares(struct pair *sum, const struct uqm_arith *a, size_t n)
{
    const void *v0 = uqm_lane(a, 1), *v1 = uqm_lane(a, 2);
    sum->v0 += uqm_arith_dot(a, v0, v0, n);
    sum->v1 += uqm_arith_dot(a, v1, v1, n);
}

/* The dot product; of rounded quotients, rounded, where there are norms. */
static void add_products(struct pair *sum, const struct uqm_arith *a, const struct pair *norms,
                         size_t n)
{
    void *v0 = uqm_lane(a, 1), *v1 = uqm_lane(a, 2), *p = uqm_lane(a, PRODUCT);
    if (norms) {
        uqm_arith_divide(a, v0, v0, norms->v0, n);
        uqm_arith_divide(a, v1, v1, norms->v1, n);
    }
    uqm_arith_mul(a, p, v0, v1, n);
    sum->both += uqm_arith_sum(a, p, n);
}

static double norm_of(const struct uqm_arith *a, double squares)
{
    return fmax(uqm_arith_rd(a, sqrt(squares)), uqm_arith_rd(a, 1e-7));
}

static double t_of(const struct uqm_job *job)
{
    size_t first = job->base == 0 ? 1 : 0, second = job->base == 1 || first == 1 ? 2 : 1;
    double w0 = uqm_job_input_param(job, first, "weight");
    double w1 = uqm_job_input_param(job, second, "weight");
    return fabs(w0 + w1) < 1e-6 ? 0.5 : w1 / (w0 + w1);
}

/* Coefficients from a cosine. */
static void solve(struct pair *p, const struct uqm_arith *a, double cosine)
{
    double t = t_of(a->job);
    double left = uqm_arith_f32(a, 1 - t), right = uqm_arith_f32(a, t);
    cosine = cosine < -1 ? -1 : cosine > 1 ? 1 : cosine;
    *p = (struct pair){ left, right, 1 };
    if (uqm_arith_rd(a, 1 - uqm_arith_rd(a, cosine * cosine)) <= uqm_arith_rd(a, 1e-16))
        return;
    double theta = uqm_arith_rd(a, acos(cosine));
    p->v0 = uqm_arith_rd(a, sin(uqm_arith_rd(a, left * theta)));
    p->v1 = uqm_arith_rd(a, sin(uqm_arith_rd(a, right * theta)));
    p->both = uqm_arith_rd(a, sin(theta));
    if (a->job->numerics == UQM_NUMERICS_ACCURATE)
        *p = (struct pair){ p->v0 / p->both, p->v1 / p->both, 1 };
}

static void take_norms(struct pair *p, const struct uqm_arith *a)
{
    p->v0 = norm_of(a, p->v0);
    p->v1 = norm_of(a, p->v1);
}

/* --- passes --- */

static void scan_whole(const struct uqm_arith *a, const struct pair *norms, unsigned pass,
                       const struct uqm_span *span, struct pair *sum)
{
    struct uqm_vectors v = { .job = a->job };
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        uqm_vectors_load(&v, a, span, at, n);
        if (pass == 0)
            add_squares(sum, a, n);
        if (pass + 1 == a->job->n_passes)
            add_products(sum, a, pass > 0 ? norms : NULL, n);
    }
}

static double lane_value(const struct uqm_arith *a, const void *lane, size_t e)
{
    const double *d = lane;
    const float *f = lane;
    return a->wide ? d[e] : (double) f[e];
}

/* One lane of the pairs' member: the norms or coefficients of n columns. */
static void spread(const struct uqm_arith *a, void *lane, const double *member, size_t n)
{
    const size_t step = sizeof(struct pair) / sizeof(double);
    double *d = lane;
    float *f = lane;
    for (size_t e = 0; a->wide && e < n; e++)
        d[e] = member[e * step];
    for (size_t e = 0; !a->wide && e < n; e++)
        f[e] = (float) member[e * step];
}

/* The sums of the columns of one chunk of a row. */
static void scan_columns(const struct uqm_arith *a, const struct pair *norms, unsigned pass,
                         struct pair *sums, size_t n)
{
    void *v0 = uqm_lane(a, 1), *v1 = uqm_lane(a, 2), *p = uqm_lane(a, PRODUCT);
    for (size_t e = 0; pass == 0 && e < n; e++) {
        sums[e].v0 += lane_value(a, v0, e) * lane_value(a, v0, e);
        sums[e].v1 += lane_value(a, v1, e) * lane_value(a, v1, e);
    }
    if (pass + 1 != a->job->n_passes)
        return;
    if (pass > 0) {
        spread(a, p, &norms->v0, n);
        uqm_arith_div(a, v0, v0, p, n);
        spread(a, p, &norms->v1, n);
        uqm_arith_div(a, v1, v1, p, n);
    }
    uqm_arith_mul(a, p, v0, v1, n);
    for (size_t e = 0; e < n; e++)
        sums[e].both += lane_value(a, p, e);
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch)
{
    (void) tally;
    struct uqm_arith a;
    struct uqm_vectors v = { .job = job };
    const struct pair *norms = state->result;
    struct pair *sums = partial;
    uqm_arith_init(&a, job, scratch);
    if (lines_of(job) == WHOLE) {
        scan_whole(&a, norms, pass, span, sums);
        return;
    }
    size_t row = (size_t) job->unit_elem;
    for (size_t at = 0; at < span->n_elem; at += row)
        for (size_t col = 0; col < row; col += UQM_CHUNK) {
            size_t n = row - col < UQM_CHUNK ? row - col : UQM_CHUNK;
            uqm_vectors_load(&v, &a, span, at + col, n);
            scan_columns(&a, norms + col, pass, sums + col, n);
        }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    (void) block;
    struct pair *sum = state->result;
    const struct pair *p = partial;
    for (size_t i = 0; i < n_pairs(job); i++) {
        if (pass == 0) {
            sum[i].v0 += p[i].v0;
            sum[i].v1 += p[i].v1;
        }
        sum[i].both += p[i].both;
    }
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    (void) err;
    struct uqm_arith a = { .job = job,
                           .round = job->work,
                           .wide = job->numerics == UQM_NUMERICS_ACCURATE || job->work == UQM_F64 };
    struct pair *p = state->result;
    for (size_t i = 0; i < n_pairs(job); i++) {
        if (pass == 0)
            take_norms(&p[i], &a);
        if (job->n_passes == 1)
            solve(&p[i], &a, p[i].both / (p[i].v0 * p[i].v1));
        else if (pass == 1)
            solve(&p[i], &a, uqm_arith_rd(&a, p[i].both));
    }
    return 0;
}

/* --- merging --- */

/* One chunk, whose vectors are in their lanes, with one pair of coefficients. */
static void blend(const struct uqm_arith *a, const struct pair *p, size_t n)
{
    void *v0 = uqm_lane(a, 1), *v1 = uqm_lane(a, 2);
    uqm_arith_scale(a, v0, v0, p->v0, n);
    uqm_arith_scale(a, v1, v1, p->v1, n);
    uqm_arith_add(a, v0, v0, v1, n);
    if (p->both < 1)
        uqm_arith_divide(a, v0, v0, p->both, n);
}

/* The same with a pair for each element. */
static void blend_columns(const struct uqm_arith *a, const struct pair *p, size_t n)
{
    void *v0 = uqm_lane(a, 1), *v1 = uqm_lane(a, 2), *c = uqm_lane(a, PRODUCT);
    spread(a, c, &p->v0, n);
    uqm_arith_mul(a, v0, v0, c, n);
    spread(a, c, &p->v1, n);
    uqm_arith_mul(a, v1, v1, c, n);
    uqm_arith_add(a, v0, v0, v1, n);
    spread(a, c, &p->both, n);
    uqm_arith_div(a, v0, v0, c, n);
}

static void finish(const struct uqm_arith *a, void *dst, size_t at, size_t n)
{
    void *v0 = uqm_lane(a, 1);
    if (a->job->base >= 0)
        uqm_arith_add(a, v0, uqm_lane(a, 0), v0, n);
    uqm_arith_store(a, dst, at, v0, n);
}

static void merge_run(const struct uqm_arith *a, const struct pair *p, void *dst,
                      const struct uqm_span *span, size_t at, size_t n)
{
    struct uqm_vectors v = { .job = a->job };
    for (size_t done = 0; done < n; done += UQM_CHUNK) {
        size_t now = n - done < UQM_CHUNK ? n - done : UQM_CHUNK;
        uqm_vectors_load(&v, a, span, at + done, now);
        blend(a, p, now);
        finish(a, dst, at + done, now);
    }
}

static void merge_rows(const struct uqm_arith *a, void *dst, const struct uqm_span *span)
{
    struct uqm_vectors v = { .job = a->job };
    bool accurate = a->job->numerics == UQM_NUMERICS_ACCURATE;
    size_t row = (size_t) a->job->unit_elem;
    for (size_t at = 0; at < span->n_elem; at += row) {
        struct pair p = { 0 };
        for (size_t pass = 0; pass < 2; pass++)
            for (size_t col = 0; col < row; col += UQM_CHUNK) {
                size_t n = row - col < UQM_CHUNK ? row - col : UQM_CHUNK;
                uqm_vectors_load(&v, a, span, at + col, n);
                if (pass == 0)
                    add_squares(&p, a, n);
                else
                    add_products(&p, a, accurate ? NULL : &p, n);
                if (pass == 0 && col + n == row)
                    take_norms(&p, a);
            }
        solve(&p, a, accurate ? p.both / (p.v0 * p.v1) : uqm_arith_rd(a, p.both));
        merge_run(a, &p, dst, span, at, row);
    }
}

static void merge_columns(const struct uqm_arith *a, const struct pair *p, void *dst,
                          const struct uqm_span *span)
{
    struct uqm_vectors v = { .job = a->job };
    size_t row = (size_t) a->job->unit_elem;
    for (size_t at = 0; at < span->n_elem; at += row)
        for (size_t col = 0; col < row; col += UQM_CHUNK) {
            size_t n = row - col < UQM_CHUNK ? row - col : UQM_CHUNK;
            uqm_vectors_load(&v, a, span, at + col, n);
            blend_columns(a, p + col, n);
            finish(a, dst, at + col, n);
        }
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    struct uqm_arith a;
    uqm_arith_init(&a, job, scratch);
    switch (lines_of(job)) {
    case WHOLE: merge_run(&a, state->result, dst, span, 0, span->n_elem); break;
    case ROWS: merge_rows(&a, dst, span); break;
    case COLUMNS: merge_columns(&a, state->result, dst, span); break;
    }
}

const struct uqm_method_ops uqm_nuslerp_ops = {
    .unit_elem = unit_elem,
    .n_passes = n_passes,
    .result_bytes = pairs_bytes,
    .partial_bytes = pairs_bytes,
    .scratch_bytes = scratch_bytes,
    .scan = scan,
    .fold = fold,
    .end_pass = end_pass,
    .merge = merge,
};
