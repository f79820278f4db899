/*
 * The other model's elements where they matter: where |x - base| kl >= q2 + 1.5 (q3 - q1), kl the
 * divergence of the two softmaxes of the element's row, q the quartiles of that score over the
 * tensor. Above a million elements mergekit takes the quartiles of a random sample; here they are
 * exact. The result is F32 whatever the working type is. Scores are counted as their ranks' keys,
 * which the first pass notes for the second, where there is room.
 */
#include <math.h>
#include <string.h>

#include "compute/merge_kernels.h"
#include "src/merge/methods/arith.h"
#include "src/merge/methods/methods.h"
#include "src/merge/methods/rank_search.h"

enum { N_QUARTILES = 3 };
enum { BASE, OTHER, SCORE, N_LANES };
enum { UPPER, LOWER, N_PASSES };

/* The divergence of every row follows. */
struct result {
    double threshold;
};

struct work {
    struct uqm_rank quartiles[N_QUARTILES];
    uint64_t bins[N_QUARTILES][UQM_RANK_BINS]; /* the first alone in the first pass */
};

static uint64_t unit_elem(const struct uqm_job *job)
{
    return job->rank < 2 ? job->n_elem : job->shape[job->rank - 1];
}

static unsigned n_passes(const struct uqm_job *job)
{
    (void) job;
    return N_PASSES;
}

static double *divergences_in(void *result)
{
    return (double *) ((char *) result + sizeof(struct result));
}

static size_t result_bytes(const struct uqm_job *job)
{
    return sizeof(struct result) + (size_t) (job->n_elem / unit_elem(job)) * sizeof(double);
}

static size_t work_bytes(const struct uqm_job *job)
{
    (void) job;
    return sizeof(struct work);
}

static size_t tally_bytes(const struct uqm_job *job)
{
    (void) job;
    return N_QUARTILES * UQM_RANK_BINS * sizeof(uint64_t);
}

static size_t partial_bytes(const struct uqm_job *job)
{
    return (size_t) (job->block_elem / job->unit_elem) * sizeof(double);
}

static uint64_t note_bytes(const struct uqm_job *job)
{
    return job->n_elem * sizeof(uint32_t);
}

/* A row of each model's probabilities, before the lanes; then the keys of a chunk, and those found
 * among them. */
static size_t scratch_bytes(const struct uqm_job *job)
{
    return uqm_arith_bytes(N_LANES) + 2 * (size_t) unit_elem(job) * sizeof(double) +
           (2 * UQM_CHUNK + 16) * sizeof(uint32_t);
}

struct scratch {
    struct uqm_arith a;
    double *rows;
    uint32_t *keys, *found;
};

static struct scratch cut(const struct uqm_job *job, void *block)
{
    struct scratch s = { .keys = block, .found = (uint32_t *) block + UQM_CHUNK };
    s.rows = (double *) (void *) (s.found + UQM_CHUNK + 16);
    uqm_arith_init(&s.a, job, s.rows + 2 * (size_t) job->unit_elem);
    return s;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t other_of(const struct uqm_job *job)
{
    return 1 - (size_t) job->base;
}

/* --- the divergence of a row --- */

/* The largest of x; -HUGE_VAL without any, NaNs are none. */
static double largest(const double *x, size_t n)
{
    enum { PARTS = 8 };
    double part[PARTS];
    for (size_t i = 0; i < PARTS; i++)
        part[i] = -HUGE_VAL;
    size_t e = 0;
    for (; e + PARTS <= n; e += PARTS)
        for (size_t i = 0; i < PARTS; i++)
            part[i] = x[e + i] > part[i] ? x[e + i] : part[i];
    for (size_t i = 0; e < n; e++, i++)
        part[i] = x[e] > part[i] ? x[e] : part[i];
    for (size_t i = 1; i < PARTS; i++)
        part[0] = part[i] > part[0] ? part[i] : part[0];
    return part[0];
}

/* p: [n] room for a row; its softmax, each + 1e-8. */
static void softmax(const struct uqm_arith *a, double *p, const struct uqm_span *span, size_t input,
                    size_t at, size_t n)
{
    double sum = 0, floor = uqm_arith_rd(a, 1e-8);
    for (size_t done = 0; done < n; done += UQM_CHUNK) {
        size_t now = least(n - done, UQM_CHUNK);
        const float *f = uqm_lane(a, BASE);
        uqm_arith_load(a, a->wide ? p + done : uqm_lane(a, BASE), span, input, at + done, now);
        for (size_t e = 0; e < now && !a->wide; e++)
            p[done + e] = (double) f[e];
    }
    double most = largest(p, n);
    for (size_t e = 0; e < n; e++) {
        p[e] = exp(p[e] - most);
        sum += p[e];
    }
    for (size_t e = 0; e < n && a->wide; e++)
        p[e] = p[e] / sum + floor;
    for (size_t e = 0; e < n && !a->wide; e++)
        p[e] = uqm_arith_rd(a, uqm_arith_rd(a, p[e] / sum) + floor);
}

static double divergence(const struct uqm_arith *a, double *room, const struct uqm_span *span,
                         size_t at, size_t n)
{
    double *p = room, *q = room + n, sum = 0;
    softmax(a, p, span, other_of(a->job), at, n);
    softmax(a, q, span, (size_t) a->job->base, at, n);
    for (size_t e = 0; e < n; e++)
        q[e] = p[e] / q[e];
    for (size_t e = 0; e < n && a->wide; e++)
        sum += p[e] * log(q[e]);
    for (size_t e = 0; e < n && !a->wide; e++) {
        double ratio = uqm_arith_rd(a, log(uqm_arith_rd(a, q[e])));
        sum += uqm_arith_rd(a, p[e] * ratio);
    }
    return uqm_arith_rd(a, sum);
}

/* --- scores --- */

/* Leaves base and x - base in their lanes, f32(score) in its own. */
static const float *score(const struct uqm_arith *a, const struct uqm_span *span, size_t at,
                          size_t n, double divergence_of_row)
{
    double *d = uqm_lane(a, SCORE);
    float *f = uqm_lane(a, SCORE);
    const double *x = uqm_lane(a, OTHER);
    const float *xf = uqm_lane(a, OTHER);
    uqm_arith_load(a, uqm_lane(a, BASE), span, (size_t) a->job->base, at, n);
    uqm_arith_offset(a, uqm_lane(a, OTHER), uqm_lane(a, BASE), span, other_of(a->job), at, n);
    for (size_t e = 0; a->wide && e < n; e++)
        d[e] = fabs(x[e]);
    for (size_t e = 0; !a->wide && e < n; e++)
        f[e] = fabsf(xf[e]);
    uqm_arith_scale(a, d, d, divergence_of_row, n);
    if (!a->wide)
        return f;
    for (size_t e = 0; e < n; e++)
        a->narrow[e] = (float) d[e];
    return a->narrow;
}

/* The keys of a chunk's scores, whose first element is `first` of the tensor. */
static const uint32_t *keys_of(struct scratch *s, const struct uqm_job_state *state, unsigned pass,
                               const struct uqm_span *span, size_t at, size_t n,
                               double divergence_of_row)
{
    uint32_t *keys = state->notes ? (uint32_t *) state->notes + span->first + at : s->keys;
    if (state->notes && pass != UPPER)
        return keys;
    const float *scores = score(&s->a, span, at, n, divergence_of_row);
    for (size_t e = 0; e < n; e++)
        keys[e] = uqm_rank_key(scores[e]);
    return keys;
}

static void count(struct scratch *s, const struct work *w, unsigned pass, uint64_t *bins,
                  const uint32_t *keys, size_t n)
{
    const struct uqm_merge_kernels *kernels = s->a.job->kernels->merge;
    for (size_t e = 0; e < n && pass == UPPER; e++)
        bins[keys[e] >> 16]++;
    for (size_t i = 0; i < N_QUARTILES && pass != UPPER; i++) {
        uint32_t low = w->quartiles[i].upper << 16;
        size_t n_found = kernels->keys_within(s->found, keys, low, UQM_RANK_BINS, n);
        for (size_t e = 0; e < n_found; e++)
            bins[i * UQM_RANK_BINS + (s->found[e] & 0xFFFF)]++;
    }
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *block)
{
    struct scratch s = cut(job, block);
    size_t row = (size_t) job->unit_elem;
    double *found = partial;
    const double *known = divergences_in(state->result);
    for (size_t at = 0, r = 0; at < span->n_elem; at += row, r++) {
        if (pass == UPPER)
            found[r] = divergence(&s.a, s.rows, span, at, row);
        double d = pass == UPPER ? found[r] : known[(span->first + at) / row];
        for (size_t done = 0; done < row; done += UQM_CHUNK) {
            size_t n = least(row - done, UQM_CHUNK);
            const uint32_t *keys = keys_of(&s, state, pass, span, at + done, n, d);
            count(&s, state->work, pass, tally, keys, n);
        }
    }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    uint64_t rows = job->block_elem / job->unit_elem, first = block * rows;
    uint64_t n_rows = job->n_elem / job->unit_elem;
    const double *found = partial;
    double *all = divergences_in(state->result);
    for (uint64_t r = 0; pass == UPPER && r < rows && first + r < n_rows; r++)
        all[first + r] = found[r];
}

static void gather(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                   unsigned segment, void *tally)
{
    (void) job;
    (void) segment;
    struct work *w = state->work;
    uint64_t *bins = tally;
    size_t n = pass == UPPER ? 1 : N_QUARTILES;
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < UQM_RANK_BINS; b++)
            w->bins[i][b] += bins[i * UQM_RANK_BINS + b];
    memset(bins, 0, n * UQM_RANK_BINS * sizeof *bins);
}

static void find_upper(const struct uqm_job *job, struct work *w)
{
    for (size_t i = 0; i < N_QUARTILES; i++) {
        w->quartiles[i].rank = (uint64_t) (0.25 * (double) (i + 1) * (double) (job->n_elem - 1));
        uqm_rank_upper(&w->quartiles[i], w->bins[0]);
    }
    for (size_t b = 0; b < UQM_RANK_BINS; b++)
        w->bins[0][b] = 0;
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    (void) err;
    struct uqm_arith a = { .job = job,
                           .round = job->work,
                           .wide = job->numerics == UQM_NUMERICS_ACCURATE || job->work == UQM_F64 };
    struct result *r = state->result;
    struct work *w = state->work;
    double q[N_QUARTILES];
    if (pass == UPPER) {
        find_upper(job, w);
        return 0;
    }
    for (size_t i = 0; i < N_QUARTILES; i++) {
        uqm_rank_lower(&w->quartiles[i], w->bins[i]);
        q[i] = (double) uqm_rank_value(w->quartiles[i].key);
    }
    double spread = uqm_arith_rd(&a, 1.5 * uqm_arith_rd(&a, q[2] - q[0]));
    r->threshold = uqm_arith_rd(&a, q[1] + spread);
    return 0;
}

/* --- merging --- */

/* The base's lane += x - base where the score reaches the threshold. */
static void fuse(const struct uqm_arith *a, const float *scores, double threshold, size_t n)
{
    double *b = uqm_lane(a, BASE);
    float *bf = uqm_lane(a, BASE);
    const double *x = uqm_lane(a, OTHER);
    const float *xf = uqm_lane(a, OTHER);
    for (size_t e = 0; a->wide && e < n; e++)
        b[e] = (double) scores[e] >= threshold ? b[e] + x[e] : b[e];
    for (size_t e = 0; !a->wide && e < n; e++)
        bf[e] = (double) scores[e] >= threshold ? bf[e] + xf[e] : bf[e];
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *block)
{
    const struct scratch s = cut(job, block);
    size_t row = (size_t) job->unit_elem;
    const struct result *r = state->result;
    const double *known = divergences_in(state->result);
    for (size_t at = 0; at < span->n_elem; at += row) {
        double d = known[(span->first + at) / row];
        for (size_t done = 0; done < row; done += UQM_CHUNK) {
            size_t n = least(row - done, UQM_CHUNK);
            fuse(&s.a, score(&s.a, span, at + done, n, d), r->threshold, n);
            uqm_arith_store(&s.a, dst, at + done, uqm_lane(&s.a, BASE), n);
        }
    }
}

const struct uqm_method_ops uqm_arcee_fusion_ops = {
    .result_is_f32 = true,
    .unit_elem = unit_elem,
    .n_passes = n_passes,
    .result_bytes = result_bytes,
    .work_bytes = work_bytes,
    .partial_bytes = partial_bytes,
    .tally_bytes = tally_bytes,
    .scratch_bytes = scratch_bytes,
    .note_bytes = note_bytes,
    .scan = scan,
    .fold = fold,
    .gather = gather,
    .end_pass = end_pass,
    .merge = merge,
};
