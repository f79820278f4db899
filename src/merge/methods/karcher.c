/*
 * The Karcher mean of the models' directions on the sphere, all with the same weight, times the
 * mean of their norms. From the mean m of the unit vectors u_i the iteration goes along T = sum of
 * theta_i / sin(theta_i) (u_i - (m u_i) m) / N,  theta_i = acos(m u_i) until T is shorter than tol.
 * Models no longer than tol are left out; one model alone is returned as it is.
 *
 * Accurate: m is a combination of the models at every step, so the iteration runs on coefficients
 * and their Gram matrix alone, after one pass. mergekit: every step's m is rounded, and a step
 * takes three passes (products, length of T, length of the new m). The last leaves m in memory
 * where it is not too large; else whoever needs m computes it again from the models, with the
 * scalars of the steps before.
 */
#include <math.h>
#include <string.h>

#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"

enum { MOST_ITERATIONS = 100000, PASSES_BEFORE = 2, PASSES_A_STEP = 3 };
#ifndef UQM_KARCHER_KEPT_BYTES /* of m; a test has less */
#define UQM_KARCHER_KEPT_BYTES (64U << 20)
#endif

enum step_pass { PRODUCTS, TANGENT, LENGTH };

/* mergekit's scalars; the arrays follow. */
struct result {
    bool all_zero, take_first;
    bool done;       /* the passes that are left are not needed */
    size_t first;    /* input that is not left out */
    size_t n_steps;  /* completed */
    double length_0; /* of the first m */
    double size;     /* of the result */
};
/* Of one step; its products with the inputs and their gains follow. */
struct step {
    double tangent, cosine, sine, length;
};

static struct uqm_vectors vectors(const struct uqm_job *job)
{
    return (struct uqm_vectors){ .job = job, .with_base = true };
}

static bool accurate(const struct uqm_job *job)
{
    return job->numerics == UQM_NUMERICS_ACCURATE;
}

static size_t max_iter(const struct uqm_job *job)
{
    double n = uqm_job_param(job, "max_iter");
    return n > 0 ? (size_t) n : 0;
}

static double tol(const struct uqm_job *job)
{
    return uqm_job_param(job, "tol");
}

static int check(const struct uqm_job *job, struct uqm_err *err)
{
    if (uqm_job_param(job, "max_iter") <= MOST_ITERATIONS)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: karcher: max_iter is above %d", job->where,
                    MOST_ITERATIONS);
}

static unsigned n_passes(const struct uqm_job *job)
{
    if (job->n_inputs == 1)
        return 0;
    return accurate(job) ? 1 : (unsigned) (PASSES_BEFORE + PASSES_A_STEP * max_iter(job));
}

/* --- memory --- */

/* Squares, then norms, of the inputs. */
static double *norms_in(void *result)
{
    return (double *) ((char *) result + sizeof(struct result));
}
/* Their weights in the mean; 0: left out. */
static double *alpha_in(const struct uqm_job *job, void *result)
{
    return norms_in(result) + job->n_inputs;
}
static struct step *step_in(const struct uqm_job *job, void *result, size_t k)
{
    size_t bytes = sizeof(struct step) + 2 * job->n_inputs * sizeof(double);
    return (struct step *) ((char *) (alpha_in(job, result) + job->n_inputs) + k * bytes);
}
static double *products_of(struct step *step)
{
    return (double *) (step + 1);
}
static double *gains_of(const struct uqm_job *job, struct step *step)
{
    return products_of(step) + job->n_inputs;
}

/* Behind the steps: m as the last one left it, in the working type. */
static char *kept_in(const struct uqm_job *job, void *result)
{
    return (char *) step_in(job, result, max_iter(job));
}

static size_t m_elem_bytes(const struct uqm_job *job)
{
    return uqm_dtype_bits(job->work) / 8;
}

static bool keeps_m(const struct uqm_job *job)
{
    return max_iter(job) > 0 && job->n_elem <= UQM_KARCHER_KEPT_BYTES / m_elem_bytes(job);
}

static size_t result_bytes(const struct uqm_job *job)
{
    if (accurate(job)) /* the coefficients */
        return job->n_inputs * sizeof(double);
    size_t n = 2 * job->n_inputs * sizeof(double);
    size_t m = keeps_m(job) ? (size_t) job->n_elem * m_elem_bytes(job) : 0;
    return sizeof(struct result) + n + max_iter(job) * (sizeof(struct step) + n) + (m + 7) / 8 * 8;
}

static size_t gram_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return uqm_gram_count(&v) * sizeof(double);
}

/* The Gram matrix, then three vectors of coefficients. */
static size_t work_bytes(const struct uqm_job *job)
{
    return accurate(job) ? gram_bytes(job) + 3 * job->n_inputs * sizeof(double) : 0;
}

/* mergekit: at most a product for each input. */
static size_t partial_bytes(const struct uqm_job *job)
{
    return accurate(job) ? gram_bytes(job) : job->n_inputs * sizeof(double);
}

/* After the vectors' lanes: m, a term, the tangent. */
static size_t scratch_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return uqm_arith_bytes(uqm_vectors_lanes(&v) + 3);
}

/* --- mergekit: the chunk in hand --- */

static void *extra_lane(const struct uqm_arith *a, size_t i)
{
    struct uqm_vectors v = vectors(a->job);
    return uqm_lane(a, uqm_vectors_lanes(&v) + i);
}

/* The unit vectors of those that count. */
static void load_units(const struct uqm_arith *a, void *result, const struct uqm_span *span,
                       size_t at, size_t n)
{
    struct uqm_vectors v = vectors(a->job);
    const double *norms = norms_in(result);
    uqm_vectors_load(&v, a, span, at, n);
    for (size_t i = 0; i < a->job->n_inputs; i++)
        if (norms[i] > 0)
            uqm_arith_divide(a, uqm_lane(a, 1 + i), uqm_lane(a, 1 + i), norms[i], n);
}

/* m before the first step, not divided by its length; the units are in their lanes. */
static void *first_mean(const struct uqm_arith *a, void *result, size_t n)
{
    const double *alpha = alpha_in(a->job, result);
    void *m = extra_lane(a, 0), *term = extra_lane(a, 1);
    uqm_arith_zero(a, m, n);
    for (size_t i = 0; i < a->job->n_inputs; i++) {
        if (alpha[i] <= 0)
            continue;
        uqm_arith_scale(a, term, uqm_lane(a, 1 + i), alpha[i], n);
        uqm_arith_add(a, m, m, term, n);
    }
    return m;
}

static void *tangent_of(const struct uqm_arith *a, struct step *step, const void *m, size_t n)
{
    const double *products = products_of(step), *gains = gains_of(a->job, step);
    void *term = extra_lane(a, 1), *tangent = extra_lane(a, 2);
    uqm_arith_zero(a, tangent, n);
    for (size_t i = 0; i < a->job->n_inputs; i++) {
        if (gains[i] <= 0)
            continue;
        uqm_arith_scale(a, term, m, products[i], n);
        uqm_arith_sub(a, term, uqm_lane(a, 1 + i), term, n);
        uqm_arith_scale(a, term, term, gains[i], n);
        uqm_arith_add(a, tangent, tangent, term, n);
    }
    return tangent;
}

/* m along the tangent, not divided by its length. */
static void go(const struct uqm_arith *a, struct step *step, void *m, size_t n)
{
    void *tangent = tangent_of(a, step, m, n);
    uqm_arith_divide(a, tangent, tangent, step->tangent, n);
    uqm_arith_scale(a, tangent, tangent, step->sine, n);
    uqm_arith_scale(a, m, m, step->cosine, n);
    uqm_arith_add(a, m, m, tangent, n);
}

/* Exact: m is of the working type. */
static void keep_m(const struct uqm_arith *a, void *result, const void *m, uint64_t first, size_t n)
{
    char *p = kept_in(a->job, result) + first * m_elem_bytes(a->job);
    if (a->wide)
        memcpy(p, m, n * sizeof(double));
    else
        uqm_narrow(a->job->kernels, p, a->job->work, m, n);
}

static void take_m(const struct uqm_arith *a, void *result, void *m, uint64_t first, size_t n)
{
    const char *p = kept_in(a->job, result) + first * m_elem_bytes(a->job);
    if (a->wide)
        memcpy(m, p, n * sizeof(double));
    else
        uqm_widen(a->job->kernels, m, p, a->job->work, n);
}

/* m after n_steps steps; the units are in their lanes. */
static void *mean_after(const struct uqm_arith *a, void *result, size_t n_steps,
                        const struct uqm_span *span, size_t at, size_t n)
{
    const struct result *r = result;
    void *m = extra_lane(a, 0);
    load_units(a, result, span, at, n);
    if (n_steps > 0 && keeps_m(a->job)) {
        take_m(a, result, m, span->first + at, n);
        uqm_arith_divide(a, m, m, step_in(a->job, result, n_steps - 1)->length, n);
        return m;
    }
    first_mean(a, result, n);
    if (r->take_first)
        memcpy(m, uqm_lane(a, 1 + r->first), n * (a->wide ? sizeof(double) : sizeof(float)));
    else
        uqm_arith_divide(a, m, m, r->length_0, n);
    for (size_t k = 0; k < n_steps; k++) {
        struct step *step = step_in(a->job, result, k);
        go(a, step, m, n);
        uqm_arith_divide(a, m, m, step->length, n);
    }
    return m;
}

/* --- mergekit: passes --- */

static void scan_chunk(const struct uqm_arith *a, void *result, unsigned pass,
                       const struct uqm_span *span, double *partial, size_t at, size_t n)
{
    struct uqm_vectors v = vectors(a->job);
    const struct result *r = result;
    if (pass == 0) {
        uqm_vectors_load(&v, a, span, at, n);
        for (size_t i = 0; i < a->job->n_inputs; i++)
            partial[i] += uqm_arith_dot(a, uqm_lane(a, 1 + i), uqm_lane(a, 1 + i), n);
        return;
    }
    if (pass == 1) {
        load_units(a, result, span, at, n);
        void *m = first_mean(a, result, n);
        partial[0] += uqm_arith_dot(a, m, m, n);
        return;
    }
    struct step *step = step_in(a->job, result, r->n_steps);
    void *m = mean_after(a, result, r->n_steps, span, at, n);
    switch ((enum step_pass)((pass - PASSES_BEFORE) % PASSES_A_STEP)) {
    case PRODUCTS:
        for (size_t i = 0; i < a->job->n_inputs; i++)
            partial[i] += uqm_arith_dot(a, m, uqm_lane(a, 1 + i), n);
        return;
    case TANGENT: m = tangent_of(a, step, m, n); break;
    case LENGTH:
        go(a, step, m, n);
        if (keeps_m(a->job))
            keep_m(a, result, m, span->first + at, n);
        break;
    }
    partial[0] += uqm_arith_dot(a, m, m, n);
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *scratch)
{
    (void) tally;
    struct uqm_vectors v = vectors(job);
    struct uqm_arith a;
    uqm_arith_init(&a, job, scratch);
    if (accurate(job)) {
        uqm_gram_add(&v, &a, partial, span, 0, span->n_elem);
        return;
    }
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        scan_chunk(&a, state->result, pass, span, partial, at, n);
    }
}

/* Where a pass's sums go. */
static double *sums_of_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                            size_t *n)
{
    struct uqm_vectors v = vectors(job);
    struct result *r = state->result;
    *n = 1;
    if (accurate(job)) {
        *n = uqm_gram_count(&v);
        return state->work;
    }
    if (pass == 0) {
        *n = job->n_inputs;
        return norms_in(r);
    }
    if (pass == 1)
        return &r->length_0;
    struct step *step = step_in(job, r, r->n_steps);
    switch ((enum step_pass)((pass - PASSES_BEFORE) % PASSES_A_STEP)) {
    case PRODUCTS: *n = job->n_inputs; return products_of(step);
    case TANGENT: return &step->tangent;
    default: return &step->length;
    }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    (void) block;
    const double *p = partial;
    size_t n;
    double *sums = sums_of_pass(job, state, pass, &n);
    for (size_t i = 0; i < n; i++)
        sums[i] += p[i];
}

/* Norms, who counts, and the size of the result. */
static bool end_of_norms(const struct uqm_arith *a, struct result *r)
{
    const struct uqm_job *job = a->job;
    double *norms = norms_in(r), *alpha = alpha_in(job, r), total = 0;
    double each = 1 / (double) job->n_inputs;
    r->first = job->n_inputs;
    for (size_t i = 0; i < job->n_inputs; i++) {
        norms[i] = uqm_arith_f32(a, sqrt(norms[i]));
        r->size = uqm_arith_f32(a, r->size + uqm_arith_f32(a, uqm_arith_f32(a, each) * norms[i]));
        if (!(norms[i] > tol(job)))
            continue;
        r->first = r->first < i ? r->first : i;
        total += each;
    }
    r->size = uqm_arith_rd(a, r->size);
    r->all_zero = r->first == job->n_inputs;
    for (size_t i = 0; i < job->n_inputs; i++)
        alpha[i] = norms[i] > tol(job) ? uqm_arith_f32(a, each / total) : 0;
    return r->all_zero;
}

static void end_of_products(const struct uqm_arith *a, void *result, struct step *step)
{
    const double *alpha = alpha_in(a->job, result);
    double *products = products_of(step), *gains = gains_of(a->job, step);
    for (size_t i = 0; i < a->job->n_inputs; i++) {
        double c = uqm_arith_rd(a, products[i]);
        products[i] = c < -1 ? -1 : c > 1 ? 1 : c;
        double theta = uqm_arith_rd(a, acos(products[i]));
        double ratio = uqm_arith_rd(a, theta / uqm_arith_rd(a, sin(theta)));
        gains[i] = alpha[i] > 0 && theta >= tol(a->job) ? uqm_arith_rd(a, alpha[i] * ratio) : 0;
    }
}

/* true: the passes that are left are not needed. */
static bool end_of_mergekit(const struct uqm_arith *a, struct result *r, unsigned pass)
{
    if (pass == 0)
        return end_of_norms(a, r);
    if (pass == 1) {
        r->length_0 = uqm_arith_f32(a, sqrt(r->length_0));
        r->take_first = r->length_0 < tol(a->job);
        return false;
    }
    struct step *step = step_in(a->job, r, r->n_steps);
    switch ((enum step_pass)((pass - PASSES_BEFORE) % PASSES_A_STEP)) {
    case PRODUCTS: end_of_products(a, r, step); return false;
    case TANGENT:
        step->tangent = uqm_arith_f32(a, sqrt(step->tangent));
        step->cosine = uqm_arith_rd(a, cos(step->tangent));
        step->sine = uqm_arith_rd(a, sin(step->tangent));
        return step->tangent < tol(a->job);
    default:
        step->length = uqm_arith_f32(a, sqrt(step->length));
        if (!(step->length > tol(a->job)))
            step->length = 1;
        r->n_steps++;
        return false;
    }
}

/* --- accurate: on coefficients --- */

struct solver {
    const struct uqm_job *job;
    struct uqm_vectors v;
    const double *gram;
    double *norms, *m, *tangent; /* [n_inputs]; m and tangent in terms of the units */
    size_t n_used;
};

static bool counts(const struct solver *s, size_t i)
{
    return s->norms[i] > tol(s->job);
}

/* The product of unit i with a combination of the units. */
static double product(const struct solver *s, size_t i, const double *coef)
{
    double sum = 0;
    for (size_t j = 0; j < s->job->n_inputs; j++)
        if (counts(s, j))
            sum += coef[j] * uqm_gram_at(&s->v, s->gram, i, j) / (s->norms[i] * s->norms[j]);
    return sum;
}

static double length(const struct solver *s, const double *coef)
{
    double sum = 0;
    for (size_t i = 0; i < s->job->n_inputs; i++)
        if (counts(s, i))
            sum += coef[i] * product(s, i, coef);
    return sqrt(fmax(sum, 0));
}

static void start(struct solver *s)
{
    size_t n = s->job->n_inputs, first = n;
    for (size_t i = n; i-- > 0;) {
        s->n_used += counts(s, i);
        first = counts(s, i) ? i : first;
    }
    for (size_t i = 0; i < n; i++)
        s->m[i] = counts(s, i) ? 1 / (double) s->n_used : 0;
    double l = length(s, s->m);
    for (size_t i = 0; i < n; i++)
        s->m[i] = l < tol(s->job) ? (double) (i == first) : s->m[i] / l;
}

/* false: m stands still. */
static bool advance(struct solver *s)
{
    size_t n = s->job->n_inputs;
    double along = 0;
    for (size_t i = 0; i < n; i++) {
        double c = counts(s, i) ? product(s, i, s->m) : 1;
        c = c < -1 ? -1 : c > 1 ? 1 : c;
        double theta = acos(c), gain = theta / sin(theta) / (double) s->n_used;
        bool opposite = c < -1 + 1e-14; /* to m: no direction leads there, u - c m is nothing */
        s->tangent[i] = counts(s, i) && theta >= tol(s->job) && !opposite ? gain : 0;
        along += s->tangent[i] * c;
    }
    for (size_t i = 0; i < n; i++)
        s->tangent[i] -= along * s->m[i];
    double step = length(s, s->tangent);
    if (step < tol(s->job))
        return false;
    for (size_t i = 0; i < n; i++)
        s->m[i] = s->m[i] * cos(step) + s->tangent[i] / step * sin(step);
    double l = length(s, s->m);
    for (size_t i = 0; i < n && l > tol(s->job); i++)
        s->m[i] /= l;
    return true;
}

static void solve(const struct uqm_job *job, struct uqm_job_state *state)
{
    struct solver s = { .job = job, .v = vectors(job), .gram = state->work };
    double *coef = state->result, size = 0;
    s.norms = (double *) state->work + uqm_gram_count(&s.v);
    s.m = s.norms + job->n_inputs;
    s.tangent = s.m + job->n_inputs;
    for (size_t i = 0; i < job->n_inputs; i++) {
        s.norms[i] = sqrt(uqm_gram_at(&s.v, s.gram, i, i));
        size += s.norms[i] / (double) job->n_inputs;
    }
    start(&s);
    if (s.n_used == 0)
        return; /* the coefficients are zero */
    for (size_t it = 0; it < max_iter(job); it++)
        if (!advance(&s))
            break;
    for (size_t i = 0; i < job->n_inputs; i++)
        coef[i] = counts(&s, i) ? s.m[i] / s.norms[i] * size : 0;
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    (void) err;
    if (accurate(job)) {
        solve(job, state);
        return 0;
    }
    struct uqm_arith a = { .job = job, .round = job->work, .wide = job->work == UQM_F64 };
    struct result *r = state->result;
    r->done = end_of_mergekit(&a, r, pass);
    return r->done;
}

static void pass_blocks(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                        uint64_t *first, uint64_t *n)
{
    const struct result *r = state->result;
    (void) pass;
    *first = 0;
    *n = accurate(job) || !r->done ? job->n_blocks : 0;
}

/* --- merging --- */

static void merge_chunk(const struct uqm_arith *a, void *result, void *dst,
                        const struct uqm_span *span, size_t at, size_t n)
{
    const struct result *r = result;
    void *m = extra_lane(a, 0);
    if (a->job->n_inputs == 1) {
        uqm_arith_load(a, m, span, 0, at, n);
    } else if (r->all_zero) {
        uqm_arith_zero(a, m, n);
    } else {
        mean_after(a, result, r->n_steps, span, at, n);
        uqm_arith_scale(a, m, m, r->size, n);
    }
    uqm_arith_store(a, dst, at, m, n);
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    struct uqm_arith a;
    uqm_arith_init(&a, job, scratch);
    if (job->n_inputs > 1 && accurate(job)) {
        uqm_combine(&a, dst, state->result, span, 0, span->n_elem);
        return;
    }
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        merge_chunk(&a, state->result, dst, span, at, n);
    }
}

const struct uqm_method_ops uqm_karcher_ops = {
    .check = check,
    .n_passes = n_passes,
    .result_bytes = result_bytes,
    .work_bytes = work_bytes,
    .partial_bytes = partial_bytes,
    .scratch_bytes = scratch_bytes,
    .pass_blocks = pass_blocks,
    .scan = scan,
    .fold = fold,
    .end_pass = end_pass,
    .merge = merge,
};
