/*
 * Select, calculate, erase: of the task vectors keep the k positions where they vary most (of equal
 * variance the first), weight each model by its mean square, leave out what disagrees with the sign
 * of the sum:
 *     out = base + sum of delta_i q_i m_i / max(sum of q_i m_i, 1e-6)
 *
 * The k largest are found exactly, by counting: the least variance that is kept, then, where not
 * all of that variance are, the block and the element where the k run out.
 */
#include <math.h>
#include <string.h>

#include "compute/merge_kernels.h"
#include "src/merge/methods/gram.h"
#include "src/merge/methods/methods.h"
#include "src/merge/methods/rank_search.h"

/* Passes; without a selection the last alone. */
enum phase { UPPER, LOWER, BLOCK, ELEMENT, SQUARES, N_PHASES };

/* What is kept: keys above `key`, and those equal to it before the element `end`. The models'
 * weights follow. */
struct result {
    bool selects; /* else everything is kept, or ... */
    bool none;    /* ... nothing */
    uint32_t key;
    uint64_t end;
};

struct work {
    struct uqm_rank rank; /* of the least that is kept */
    uint64_t quota;       /* kept of those equal to it; in the block where they run out */
    bool found;
    uint64_t block;
    uint64_t bins[UQM_RANK_BINS + 1]; /* the last: variances of zero */
};

static struct uqm_vectors vectors(const struct uqm_job *job)
{
    return (struct uqm_vectors){ .job = job };
}

static bool selects(const struct uqm_job *job)
{
    return uqm_job_param(job, "select_topk") < 1;
}

static unsigned n_passes(const struct uqm_job *job)
{
    return job->n_others == 0 ? 0 : selects(job) ? N_PHASES : 1;
}

static enum phase phase_of(const struct uqm_job *job, unsigned pass)
{
    return selects(job) ? (enum phase) pass : SQUARES;
}

static double *weights_in(void *result)
{
    return (double *) ((char *) result + sizeof(struct result));
}

static size_t result_bytes(const struct uqm_job *job)
{
    return sizeof(struct result) + job->n_others * sizeof(double);
}

static size_t work_bytes(const struct uqm_job *job)
{
    return selects(job) ? sizeof(struct work) : 0;
}

static size_t tally_bytes(const struct uqm_job *job)
{
    return selects(job) ? (UQM_RANK_BINS + 1) * sizeof(uint64_t) : 0;
}

/* A sum of squares for each model, or one number. */
static size_t partial_bytes(const struct uqm_job *job)
{
    return (job->n_others + 1) * sizeof(double);
}

/* From elements as they are stored by the kernels of compute/merge_kernels.h; else lane by lane. */
static bool is_direct(const struct uqm_job *job)
{
    return job->numerics == UQM_NUMERICS_ACCURATE && job->work != UQM_F64 && job->base >= 0;
}

static uint64_t note_bytes(const struct uqm_job *job)
{
    return selects(job) ? job->n_elem * sizeof(uint32_t) : 0;
}

/* One worker's, of a chunk. */
struct scratch {
    struct uqm_vectors v;
    uint32_t *keys;       /* room for them */
    uint32_t *found;      /* [UQM_CHUNK + 16] */
    uint8_t *keep;        /* a bit an element */
    struct uqm_stored *x; /* [n_others] */
    struct uqm_offsets offsets;
    struct uqm_arith a; /* after the vectors' lanes: a sum, two more, a term */
};

enum { KEY_BYTES = UQM_CHUNK * sizeof(uint32_t), KEEP_BYTES = UQM_CHUNK / 8 };

static size_t list_bytes(const struct uqm_job *job)
{
    return (job->n_others * sizeof(struct uqm_stored) + 63) / 64 * 64;
}

static size_t scratch_bytes(const struct uqm_job *job)
{
    struct uqm_vectors v = vectors(job);
    return 2 * KEY_BYTES + 64 + KEEP_BYTES + list_bytes(job) +
           uqm_arith_bytes(uqm_vectors_lanes(&v) + 4);
}

static struct scratch cut(const struct uqm_job *job, void *block)
{
    char *p = block;
    struct scratch s = { .v = vectors(job) };
    s.keys = (uint32_t *) (void *) p;
    p += KEY_BYTES;
    s.found = (uint32_t *) (void *) p;
    p += KEY_BYTES + 64;
    s.keep = (uint8_t *) p;
    p += KEEP_BYTES;
    s.x = (struct uqm_stored *) (void *) p;
    uqm_arith_init(&s.a, job, p + list_bytes(job));
    return s;
}

static void *extra_lane(const struct uqm_arith *a, size_t i)
{
    struct uqm_vectors v = vectors(a->job);
    return uqm_lane(a, uqm_vectors_lanes(&v) + i);
}

static uint64_t most_blocks(const struct uqm_job *job, unsigned pass)
{
    return phase_of(job, pass) == ELEMENT ? 1 : job->n_blocks;
}

static void pass_blocks(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                        uint64_t *first, uint64_t *n)
{
    const struct result *r = state->result;
    const struct work *w = state->work;
    enum phase phase = phase_of(job, pass);
    bool undecided = !r->none && r->end == 0;
    *first = 0;
    *n = job->n_blocks;
    if (phase == LOWER && r->none)
        *n = 0;
    if (phase == BLOCK && !undecided)
        *n = 0;
    if (phase == ELEMENT) {
        *first = undecided ? w->block : 0;
        *n = undecided;
    }
}

/* --- selection --- */

/* x in f64, whatever the lanes are. */
static const double *in_f64(const struct uqm_arith *a, const void *x, double *room, size_t n)
{
    const float *f = x;
    if (a->wide)
        return x;
    for (size_t e = 0; e < n; e++)
        room[e] = (double) f[e];
    return room;
}

/* key = the bits of f32(population variance) of the vectors in their lanes, rounded as they are. */
static void find_variances(const struct uqm_arith *a, uint32_t *key, size_t n)
{
    size_t count = a->job->n_others;
    double *mean = extra_lane(a, 0), *square = extra_lane(a, 1), *room = extra_lane(a, 2);
    float *variance = extra_lane(a, 3);
    memset(mean, 0, n * sizeof *mean);
    memset(square, 0, n * sizeof *square);
    for (size_t i = 0; i < count; i++) {
        const double *x = in_f64(a, uqm_lane(a, 1 + i), room, n);
        for (size_t e = 0; e < n; e++)
            mean[e] += x[e];
    }
    for (size_t e = 0; e < n; e++)
        mean[e] /= (double) count;
    for (size_t i = 0; i < count; i++) {
        const double *x = in_f64(a, uqm_lane(a, 1 + i), room, n);
        for (size_t e = 0; e < n; e++)
            square[e] += (x[e] - mean[e]) * (x[e] - mean[e]);
    }
    for (size_t e = 0; e < n; e++)
        variance[e] = (float) (square[e] / (double) count);
    uqm_arith_round(a, variance, n);
    for (size_t e = 0; e < n; e++)
        key[e] = isnan(variance[e]) ? INT32_MAX : uqm_bits_of_f32(variance[e]);
}

/* Elements [at, at + n) of the span, as operands or in their lanes. */
static void load(struct scratch *s, const struct uqm_span *span, size_t at, size_t n)
{
    const struct uqm_job *job = s->a.job;
    if (!is_direct(job)) {
        uqm_vectors_load(&s->v, &s->a, span, at, n);
        return;
    }
    for (size_t k = 0; k <= job->n_others; k++) {
        size_t i = k == 0 ? (size_t) job->base : uqm_vectors_input(&s->v, k - 1);
        struct uqm_stored *to = k == 0 ? &s->offsets.base : &s->x[k - 1];
        const void *stored = uqm_job_stored(job, span, i, at);
        *to = (struct uqm_stored){ stored, job->inputs[i].dtype };
        if (stored)
            continue;
        uqm_job_load_f32(uqm_lane(&s->a, k), job, span, i, at, n, s->a.half);
        *to = (struct uqm_stored){ uqm_lane(&s->a, k), UQM_F32 };
    }
    s->offsets.n_inputs = job->n_others;
    s->offsets.x = s->x;
    s->offsets.keep = NULL;
}

/* The keys of what is loaded, whose first element is `first` of the tensor. */
static const uint32_t *keys_of(struct scratch *s, const struct uqm_job_state *state, bool noted,
                               uint64_t first, size_t n)
{
    const struct uqm_job *job = s->a.job;
    uint32_t *keys = state->notes ? (uint32_t *) state->notes + first : s->keys;
    if (state->notes && noted)
        return keys;
    if (is_direct(job))
        job->kernels->merge->spread_keys(keys, &s->offsets, n);
    else
        find_variances(&s->a, keys, n);
    return keys;
}

/* Which elements are kept, as bits. */
static void find_kept(uint8_t *keep, const struct uqm_job *job, const struct result *r,
                      const uint32_t *keys, uint64_t first, size_t n)
{
    uint32_t key = r->key & INT32_MAX;
    bool all = first + n <= r->end, ties = all || first < r->end;
    memset(keep, 0, KEEP_BYTES);
    if (r->none || (!ties && key == INT32_MAX))
        return;
    job->kernels->merge->keys_at_least(keep, keys, key + !ties, n);
    for (size_t e = ties && !all ? (size_t) (r->end - first) : n; e < n; e++)
        if (keys[e] == key) /* the k have run out */
            keep[e / 8] &= (uint8_t) ~(1U << e % 8);
}

/* Leave out what is not kept of what is loaded. */
static void select_chunk(struct scratch *s, const struct uqm_job_state *state, uint64_t first,
                         size_t n)
{
    const struct uqm_arith *a = &s->a;
    const struct result *r = state->result;
    if (!r->selects)
        return;
    find_kept(s->keep, a->job, r, keys_of(s, state, true, first, n), first, n);
    s->offsets.keep = s->keep;
    for (size_t i = 0; i < a->job->n_others && !is_direct(a->job); i++) {
        double *x = uqm_lane(a, 1 + i);
        float *f = uqm_lane(a, 1 + i);
        for (size_t e = 0; a->wide && e < n; e++)
            x[e] = s->keep[e / 8] >> e % 8 & 1 ? x[e] : 0;
        for (size_t e = 0; !a->wide && e < n; e++)
            f[e] = s->keep[e / 8] >> e % 8 & 1 ? f[e] : 0;
    }
}

/* Of a chunk in the passes that look for equal keys: how many there are, and where the last of the
 * quota lies. */
static void count_equal(const struct work *w, const struct result *r, enum phase phase,
                        uint64_t *partial, const uint32_t *key, uint64_t first, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        if (key[e] != (r->key & INT32_MAX))
            continue;
        partial[0]++;
        if (phase == ELEMENT && partial[0] == w->quota)
            partial[1] = first + e + 1;
    }
}

static void count_upper(uint64_t *bins, const uint32_t *key, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        bins[UQM_RANK_BINS / 2 + (key[e] >> 16)]++;
        bins[UQM_RANK_BINS] += key[e] == 0;
    }
}

static void count_lower(uint64_t *bins, struct scratch *s, uint32_t upper, const uint32_t *key,
                        size_t n)
{
    uint32_t low = (upper & INT16_MAX) << 16;
    size_t n_found = s->a.job->kernels->merge->keys_within(s->found, key, low, 1 << 16, n);
    for (size_t e = 0; e < n_found; e++)
        bins[s->found[e] & 0xFFFF]++;
}

static void add_squares(const struct scratch *s, double *partial, size_t n)
{
    const struct uqm_arith *a = &s->a;
    if (is_direct(a->job)) {
        a->job->kernels->merge->offset_squares(partial, &s->offsets, n);
        return;
    }
    void *square = extra_lane(a, 0);
    for (size_t i = 0; i < a->job->n_others; i++) {
        uqm_arith_mul(a, square, uqm_lane(a, 1 + i), uqm_lane(a, 1 + i), n);
        partial[i] += uqm_arith_sum(a, square, n);
    }
}

static void scan(const struct uqm_job *job, const struct uqm_job_state *state, unsigned pass,
                 const struct uqm_span *span, void *partial, void *tally, void *block)
{
    struct scratch s = cut(job, block);
    const struct result *r = state->result;
    const struct work *w = state->work;
    enum phase phase = phase_of(job, pass);
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        uint64_t first = span->first + at;
        if (phase == SQUARES || phase == UPPER || !state->notes)
            load(&s, span, at, n);
        if (phase == SQUARES) {
            select_chunk(&s, state, first, n);
            add_squares(&s, partial, n);
            continue;
        }
        const uint32_t *key = keys_of(&s, state, phase != UPPER, first, n);
        if (phase == UPPER)
            count_upper(tally, key, n);
        else if (phase == LOWER)
            count_lower(tally, &s, w->rank.upper, key, n);
        else
            count_equal(w, r, phase, partial, key, first, n);
    }
}

static void fold(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                 uint64_t block, const void *partial)
{
    const double *sums = partial;
    const uint64_t *counts = partial;
    struct result *r = state->result;
    struct work *w = state->work;
    enum phase phase = phase_of(job, pass);
    if (phase == SQUARES) {
        for (size_t i = 0; i < job->n_others; i++)
            weights_in(r)[i] += sums[i];
    } else if (phase == ELEMENT) {
        r->end = counts[1];
    } else if (phase == BLOCK) {
        w->block = w->found ? w->block : block;
        w->found = w->found || w->quota <= counts[0];
        w->quota -= w->found ? 0 : counts[0];
    }
}

static void gather(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                   unsigned segment, void *tally)
{
    (void) segment;
    struct work *w = state->work;
    uint64_t *bins = tally;
    for (size_t b = 0; phase_of(job, pass) <= LOWER && b <= UQM_RANK_BINS; b++) {
        w->bins[b] += bins[b];
        bins[b] = 0;
    }
}

/* --- between the passes --- */

/* k = trunc(f32(how many variances are not zero) f32(topk)) */
static void end_of_upper(const struct uqm_job *job, struct result *r, struct work *w)
{
    float n_nonzero = (float) (job->n_elem - w->bins[UQM_RANK_BINS]);
    float k = n_nonzero * (float) uqm_job_param(job, "select_topk");
    r->selects = true;
    r->none = !(k >= 1);
    if (r->none)
        return;
    w->quota = k < (float) job->n_elem ? (uint64_t) k : job->n_elem;
    w->rank.rank = job->n_elem - w->quota;
    uqm_rank_upper(&w->rank, w->bins);
    memset(w->bins, 0, sizeof w->bins);
}

static void end_of_lower(const struct uqm_job *job, struct result *r, struct work *w)
{
    uqm_rank_lower(&w->rank, w->bins);
    r->key = w->rank.key;
    w->quota -= job->n_elem - w->rank.below - w->rank.equal;
    r->end = w->quota == w->rank.equal ? UINT64_MAX : 0;
}

static void end_of_squares(const struct uqm_arith *a, double *q)
{
    size_t count = a->job->n_others;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        q[i] = uqm_arith_rd(a, q[i] / (double) a->job->n_elem);
        sum += q[i];
    }
    sum = uqm_arith_rd(a, sum);
    for (size_t i = 0; i < count; i++)
        q[i] = uqm_arith_rd(a, fabs(sum) < 1e-6 ? 1 / (double) count : q[i] / sum);
}

static int end_pass(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                    struct uqm_err *err)
{
    (void) err;
    struct uqm_arith a = { .job = job,
                           .round = job->work,
                           .wide = job->numerics == UQM_NUMERICS_ACCURATE || job->work == UQM_F64 };
    struct result *r = state->result;
    enum phase phase = phase_of(job, pass);
    if (phase == UPPER)
        end_of_upper(job, r, state->work);
    else if (phase == LOWER)
        end_of_lower(job, r, state->work);
    else if (phase == SQUARES)
        end_of_squares(&a, weights_in(r));
    return 0;
}

/* --- merging --- */

/* mix += term and divisor += q where x has the sign that the sum has. */
static void add_agreeing(const struct uqm_arith *a, const void *sum, const void *x,
                         const void *term, double q, size_t n)
{
    const double *s = sum, *d = x, *t = term;
    double *mix = extra_lane(a, 1), *divisor = extra_lane(a, 2);
    for (size_t e = 0; a->wide && e < n; e++) {
        bool agrees = s[e] >= 0 ? d[e] > 0 : d[e] < 0;
        mix[e] += agrees ? t[e] : 0;
        divisor[e] += agrees ? q : 0;
    }
    if (a->wide)
        return;
    const float *sf = sum, *df = x, *tf = term;
    float *mix_f = extra_lane(a, 1), *divisor_f = extra_lane(a, 2), qf = (float) q;
    for (size_t e = 0; e < n; e++) {
        bool agrees = sf[e] >= 0 ? df[e] > 0 : df[e] < 0;
        mix_f[e] += agrees ? tf[e] : 0;
        divisor_f[e] += agrees ? qf : 0;
    }
}

static void at_least(const struct uqm_arith *a, void *x, double least, size_t n)
{
    double *d = x;
    float *f = x, least_f = (float) least;
    for (size_t e = 0; a->wide && e < n; e++)
        d[e] = d[e] < least ? least : d[e];
    for (size_t e = 0; !a->wide && e < n; e++)
        f[e] = f[e] < least_f ? least_f : f[e];
}

/* What is added to the base, in the lane that is returned. */
static void *merge_chunk(const struct uqm_arith *a, const double *q, size_t n)
{
    void *sum = extra_lane(a, 0), *mix = extra_lane(a, 1), *divisor = extra_lane(a, 2);
    void *term = extra_lane(a, 3);
    uqm_arith_zero(a, sum, n);
    uqm_arith_zero(a, mix, n);
    uqm_arith_zero(a, divisor, n);
    for (size_t i = 0; i < a->job->n_others; i++)
        uqm_arith_gather(a, sum, uqm_lane(a, 1 + i), n);
    uqm_arith_round(a, sum, n);
    for (size_t i = 0; i < a->job->n_others; i++) {
        uqm_arith_scale(a, term, uqm_lane(a, 1 + i), q[i], n);
        add_agreeing(a, sum, uqm_lane(a, 1 + i), term, q[i], n);
    }
    uqm_arith_round(a, mix, n);
    uqm_arith_round(a, divisor, n);
    at_least(a, divisor, uqm_arith_rd(a, 1e-6), n);
    uqm_arith_div(a, mix, mix, divisor, n);
    return mix;
}

static void merge(const struct uqm_job *job, const struct uqm_job_state *state, void *dst,
                  const struct uqm_span *span, void *block)
{
    struct scratch s = cut(job, block);
    const struct uqm_arith *a = &s.a;
    for (size_t at = 0; at < span->n_elem; at += UQM_CHUNK) {
        size_t n = span->n_elem - at < UQM_CHUNK ? span->n_elem - at : UQM_CHUNK;
        void *out = uqm_lane(a, 0);
        if (job->n_others == 0) {
            uqm_vectors_load(&s.v, a, span, at, n);
            uqm_arith_store(a, dst, at, out, n);
            continue;
        }
        load(&s, span, at, n);
        select_chunk(&s, state, span->first + at, n);
        const double *q = weights_in(state->result);
        if (is_direct(job)) {
            out = extra_lane(a, 0);
            job->kernels->merge->agreeing_mix(out, &s.offsets, q, 1e-6, n);
        } else {
            uqm_arith_add(a, out, out, merge_chunk(a, q, n), n);
        }
        uqm_arith_store(a, dst, at, out, n);
    }
}

const struct uqm_method_ops uqm_sce_ops = {
    .n_passes = n_passes,
    .result_bytes = result_bytes,
    .work_bytes = work_bytes,
    .partial_bytes = partial_bytes,
    .tally_bytes = tally_bytes,
    .scratch_bytes = scratch_bytes,
    .note_bytes = note_bytes,
    .pass_blocks = pass_blocks,
    .most_blocks = most_blocks,
    .scan = scan,
    .fold = fold,
    .gather = gather,
    .end_pass = end_pass,
    .merge = merge,
};
