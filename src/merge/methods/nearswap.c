/* w = clamp(t / max(|a - b|, 1e-6), 0, 1), out = w b + (1 - w) a; a is the base. The quotient as
 * mergekit has it: the reciprocal, times t (R3). */
#include "src/merge/methods/arith.h"
#include "src/merge/methods/methods.h"

static size_t scratch_bytes(const struct uqm_job *job)
{
    (void) job;
    return uqm_arith_bytes(4);
}

/* x = max(|x|, least); a NaN stays. */
static void gap(const struct uqm_arith *a, void *x, size_t n)
{
    double *d = x, least = uqm_arith_rd(a, 1e-6);
    float *f = x, least_f = (float) least;
    for (size_t e = 0; a->wide && e < n; e++) {
        double v = d[e] < 0 ? -d[e] : d[e];
        d[e] = v < least ? least : v;
    }
    for (size_t e = 0; !a->wide && e < n; e++) {
        float v = f[e] < 0 ? -f[e] : f[e];
        f[e] = v < least_f ? least_f : v;
    }
}

static void clamp_to_one(const struct uqm_arith *a, void *x, size_t n)
{
    double *d = x;
    float *f = x;
    for (size_t e = 0; a->wide && e < n; e++)
        d[e] = d[e] < 0 ? 0 : d[e] > 1 ? 1 : d[e];
    for (size_t e = 0; !a->wide && e < n; e++)
        f[e] = f[e] < 0 ? 0 : f[e] > 1 ? 1 : f[e];
}

static void fill_with_ones(const struct uqm_arith *a, void *x, size_t n)
{
    uqm_arith_zero(a, x, n);
    uqm_arith_rest(a, x, x, n);
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *scratch)
{
    (void) state;
    struct uqm_arith a;
    size_t base = (size_t) job->base, other = 1 - base;
    double t = uqm_job_param(job, "t");
    uqm_arith_init(&a, job, scratch);
    void *x = uqm_lane(&a, 0), *y = uqm_lane(&a, 1), *w = uqm_lane(&a, 2), *v = uqm_lane(&a, 3);
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        uqm_arith_load(&a, x, span, base, at, n);
        uqm_arith_load(&a, y, span, other, at, n);
        uqm_arith_sub(&a, v, x, y, n);
        gap(&a, v, n);
        fill_with_ones(&a, w, n);
        uqm_arith_div(&a, w, w, v, n);
        uqm_arith_scale(&a, w, w, t, n);
        clamp_to_one(&a, w, n);
        uqm_arith_mul(&a, y, w, y, n);
        uqm_arith_rest(&a, w, w, n);
        uqm_arith_mul(&a, x, w, x, n);
        uqm_arith_add(&a, x, y, x, n);
        uqm_arith_store(&a, dst, at, x, n);
    }
}

const struct uqm_method_ops uqm_nearswap_ops = {
    .scratch_bytes = scratch_bytes,
    .merge = merge,
};
