#include "src/merge/methods/sparsify.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "compute/merge_kernels.h"

struct uqm_task_kind uqm_task_kind_of(enum uqm_method_id id)
{
    switch (id) {
    case UQM_METHOD_TASK_ARITHMETIC: return (struct uqm_task_kind){ UQM_SPARSE_NONE, false };
    case UQM_METHOD_TIES: return (struct uqm_task_kind){ UQM_SPARSE_MAGNITUDE, true };
    case UQM_METHOD_DARE_TIES: return (struct uqm_task_kind){ UQM_SPARSE_RANDOM, true };
    case UQM_METHOD_DARE_LINEAR: return (struct uqm_task_kind){ UQM_SPARSE_RANDOM, false };
    case UQM_METHOD_BREADCRUMBS: return (struct uqm_task_kind){ UQM_SPARSE_OUTLIERS, false };
    case UQM_METHOD_BREADCRUMBS_TIES: return (struct uqm_task_kind){ UQM_SPARSE_OUTLIERS, true };
    case UQM_METHOD_DELLA: return (struct uqm_task_kind){ UQM_SPARSE_RANKED, true };
    default:
        assert(id == UQM_METHOD_DELLA_LINEAR);
        return (struct uqm_task_kind){ UQM_SPARSE_RANKED, false };
    }
}

static enum uqm_sparsifier sparsifier_of(const struct uqm_job *job)
{
    return uqm_task_kind_of(job->method->id).sparsifier;
}

bool uqm_sparse_is_active(const struct uqm_job *job, size_t input)
{
    return (long) input != job->base && sparsifier_of(job) != UQM_SPARSE_NONE &&
           uqm_job_input_param(job, input, "density") < 1;
}

enum uqm_dtype uqm_sparse_type(const struct uqm_job *job)
{
    enum uqm_sparsifier s = sparsifier_of(job);
    bool random = s == UQM_SPARSE_RANDOM || s == UQM_SPARSE_RANKED;
    return random && job->work != UQM_BF16 ? UQM_F32 : job->work;
}

bool uqm_sparse_rescales(const struct uqm_job *job)
{
    if (sparsifier_of(job) == UQM_SPARSE_NONE || uqm_job_param(job, "rescale") == 0)
        return false;
    for (size_t i = 0; i < job->n_inputs; i++)
        if (uqm_sparse_is_active(job, i))
            return true;
    return false;
}

/* trunc(share * n) within [0, n]. */
static uint64_t share_of(double share, uint64_t n)
{
    double v = share * (double) n;
    return v <= 0 ? 0 : v >= (double) n ? n : (uint64_t) v;
}

void uqm_sparse_counts(uint64_t *keep, uint64_t *drop, const struct uqm_job *job, size_t input)
{
    double density = uqm_job_input_param(job, input, "density");
    uint64_t n = job->n_elem, kept = share_of(density, n);
    *drop = 0;
    if (sparsifier_of(job) == UQM_SPARSE_MAGNITUDE) {
        *keep = density > 0 && kept == 0 ? 1 : kept;
        return;
    }
    /* of the ranks in ascending order, [bottom, bottom + kept) */
    uint64_t top = share_of(uqm_job_input_param(job, input, "gamma"), n);
    uint64_t bottom = top < n - kept ? n - kept - top : 0;
    *keep = n - bottom;
    *drop = n - bottom - kept;
}

struct uqm_rank_rows uqm_rank_rows(const struct uqm_job *job)
{
    struct uqm_rank_rows r = { .m = 1, .stride = 1 };
    if (job->rank > 0)
        r.m = job->shape[job->rank > 1];
    for (unsigned d = 2; d < job->rank; d++)
        r.stride *= job->shape[d];
    return r;
}

/* --- uniform draws --- */

/*
 * The accurate mode's u of element e: 48 bits, of which 16 decide but once in 65536 times.
 * Philox4x32-10 with the input's key: half e % 8, low halves first, of counter (e / 8, 0, 0), and
 * word 0 of counter (e, 1, 0) below it.
 */
static uint32_t lower_bits(struct uqm_rng_key key, uint64_t e)
{
    uint32_t words[4];
    const uint32_t counter[4] = { (uint32_t) e, (uint32_t) (e >> 32), 1, 0 };
    uqm_philox4x32(words, counter, key);
    return words[0];
}

/* Halves [first, first + n). dst: room for 16 more. Returns where they begin in it. */
static const uint16_t *draw_halves(uint16_t *dst, const struct uqm_job *job, struct uqm_rng_key key,
                                   uint64_t first, size_t n)
{
    size_t skip = (size_t) (first % 8);
    job->kernels->merge->philox_halves(dst, key, first / 8, (skip + n + 7) / 8);
    return dst + skip;
}

/* u < p, exactly. */
static bool is_below(uint16_t half, struct uqm_rng_key key, uint64_t e, double p)
{
    double t = p * 65536, whole = floor(t);
    if ((double) half != whole)
        return (double) half < whole;
    return (double) lower_bits(key, e) < (t - whole) * 0x1p32;
}

/* --- random --- */

static double rounded(enum uqm_dtype dtype, double v)
{
    float f = (float) v;
    if (dtype == UQM_BF16)
        f = uqm_f32_of_bf16(uqm_bf16_of_f32(f));
    else if (dtype == UQM_F16)
        f = uqm_f32_of_f16(uqm_f16_of_f32(f));
    return dtype == UQM_F64 ? v : (double) f;
}

enum { SOME = 512 };

static void draw_uniform(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                         size_t input)
{
    double density = uqm_job_input_param(job, input, "density");
    struct uqm_rng_key key = job->inputs[input].key;
    uint16_t drawn[SOME + 16];
    if (job->numerics == UQM_NUMERICS_MERGEKIT) {
        double p = rounded(uqm_sparse_type(job), density);
        for (size_t e = 0; e < span->n_elem; e++)
            keep[e] = (double) span->draws[input][e] * 0x1p-24 < p;
        return;
    }
    double whole = floor(density * 65536);
    uint16_t most = (uint16_t) whole; /* 0 <= density < 1 */
    for (size_t at = 0; at < span->n_elem; at += SOME) {
        size_t n = span->n_elem - at < SOME ? span->n_elem - at : SOME;
        const uint16_t *halves = draw_halves(drawn, job, key, span->first + at, n);
        size_t left = job->kernels->merge->halves_below(keep + at, halves, most, n);
        for (size_t e = 0; e < n && left > 0; e++)
            if (halves[e] == most)
                keep[at + e] = is_below(halves[e], key, span->first + at + e, density);
    }
}

/* --- by rank --- */

/* The probability of rank r, 0 the smallest, of m (merge.md 2, della_magprune). */
struct chances {
    const struct uqm_job *job;
    enum uqm_dtype work;
    uint64_t m;
    double density, epsilon, least, span, base;
};

static struct chances chances_of(const struct uqm_job *job, size_t input, uint64_t m)
{
    struct chances c = {
        .job = job,
        .work = uqm_sparse_type(job),
        .m = m,
        .density = uqm_job_input_param(job, input, "density"),
        .epsilon = uqm_job_input_param(job, input, "epsilon"),
    };
    double most = rounded(c.work, rounded(c.work, (double) (m - 1)) + 1);
    c.least = rounded(c.work, 1);
    c.span = rounded(c.work, most - c.least);
    c.base = rounded(c.work, c.density - c.epsilon);
    return c;
}

static double chance_of(const struct chances *c, uint64_t r)
{
    if (c->m == 1)
        return c->density;
    if (c->job->numerics == UQM_NUMERICS_ACCURATE)
        return c->density - c->epsilon + 2 * c->epsilon * ((double) r / (double) (c->m - 1));
    enum uqm_dtype w = c->work;
    double rank = rounded(w, rounded(w, (double) r) + 1);
    double q = rounded(w, rounded(w, rank - c->least) / c->span);
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    return rounded(w, c->base + rounded(w, rounded(w, 2 * q) * (double) (float) c->epsilon));
}

/* A row's keys with where they stand, to be sorted. */
struct ranked {
    uint32_t key, at;
};

/* Ascending by key, stable: three rounds of eleven bits. The result is in v. */
static void sort_keys(struct ranked *v, struct ranked *tmp, size_t n)
{
    enum { BITS = 11, ROUNDS = 3 };
    struct ranked *from = v, *to = tmp;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned shift = round * BITS;
        uint32_t begin[1 << BITS] = { 0 }, sum = 0;
        for (size_t i = 0; i < n; i++)
            begin[from[i].key >> shift & ((1 << BITS) - 1)]++;
        for (size_t b = 0; b < 1 << BITS; b++) {
            uint32_t count = begin[b];
            begin[b] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            to[begin[from[i].key >> shift & ((1 << BITS) - 1)]++] = from[i];
        struct ranked *swap = from;
        from = to;
        to = swap;
    }
    memcpy(v, tmp, n * sizeof *v); /* an odd number of rounds */
}

/* mergekit: one row, elements first + k * stride of the span; every rank by sorting. */
static void draw_row_sorted(uint8_t *keep, const struct chances *c, const struct uqm_span *span,
                            size_t input, const uint32_t *keys, size_t first, size_t stride,
                            struct ranked *v)
{
    size_t m = (size_t) c->m;
    /* of equal keys the last comes first: the lowest index counts as the larger */
    for (size_t k = 0; k < m; k++) {
        size_t at = first + (m - 1 - k) * stride;
        v[k] = (struct ranked){ keys[at], (uint32_t) at };
    }
    sort_keys(v, v + m, m);
    for (size_t r = 0; r < m; r++)
        keep[v[r].at] = (double) span->draws[input][v[r].at] * 0x1p-24 < chance_of(c, r);
}

/*
 * accurate: a rank matters only where the draw lies between the chances of the least and the
 * greatest, and there its bin mostly decides: how many of the row's keys lie below the bin, and up
 * to its end. For the few elements that are left the row's keys are ordered by bins, and their rank
 * counted in their own bin.
 */
enum { BIN_SHIFT = 18, MOST_BINS = (INT32_MAX >> BIN_SHIFT) + 1 };

struct row_bins {
    uint32_t least, most; /* the bins in use; of keys but 0, which count to the least */
    struct row_bin {
        /* The halves below which its elements are kept for sure, and how many from there on have
         * to be looked at: what is beyond is dropped. */
        uint32_t sure, doubtful;
    } bins[MOST_BINS];
    uint32_t begin[MOST_BINS + 1]; /* keys in it; then in lower ones */
    uint32_t *place;               /* [m] of an element among those of its bin, by index */
    uint32_t *sorted;              /* [m] the row's keys, by bins and then by index */
    uint32_t *doubts;              /* [m] elements whose rank must be known */
};

static inline uint32_t bin_of(const struct row_bins *b, uint32_t key)
{
    uint32_t bin = key >> BIN_SHIFT;
    return bin > b->least ? bin : b->least;
}

static void count_bins(struct row_bins *b, const uint32_t *keys, size_t m)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (size_t k = 0; k < m; k++) {
        uint32_t before = keys[k] - 1; /* a zero becomes the largest */
        least = before < least ? before : least;
        most = keys[k] > most ? keys[k] : most;
    }
    if (most == 0)
        least = 0;
    b->least = least >> BIN_SHIFT;
    b->most = most >> BIN_SHIFT;
    memset(&b->begin[b->least], 0, (b->most - b->least + 2) * sizeof b->begin[0]);
    for (size_t k = 0; k < m; k++)
        b->place[k] = b->begin[bin_of(b, keys[k])]++;
}

/* From counts to where bins begin, and to bounds of what the draws decide: the chances of a bin's
 * first and last rank, a little further out than they are, so that rounding decides nothing. */
static void bound_bins(struct row_bins *b, const struct chances *c)
{
    double low = (c->density - c->epsilon) * 65536;
    double per_rank = 2 * c->epsilon * 65536 / (double) (c->m > 1 ? c->m - 1 : 1);
    uint32_t rank = 0;
    for (uint32_t i = b->least; i <= b->most; i++) {
        uint32_t n = b->begin[i];
        b->begin[i] = rank;
        if (n == 0)
            continue;
        double first = low + per_rank * (double) rank;
        rank += n;
        double last = low + per_rank * (double) rank;
        double least = floor((first < last ? first : last) - 1e-3);
        double most = ceil((first < last ? last : first) + 1e-3);
        least = least < 0 ? 0 : least > 65536 ? 65536 : least;
        most = most < least ? least : most > 65536 ? 65536 : most;
        b->bins[i].sure = (uint32_t) least;
        b->bins[i].doubtful = (uint32_t) (most - least);
    }
    b->begin[b->most + 1] = rank;
}

static void sort_by_bins(struct row_bins *b, const uint32_t *keys, size_t m)
{
    for (size_t k = 0; k < m; k++)
        b->sorted[b->begin[bin_of(b, keys[k])] + b->place[k]] = keys[k];
}

/* The rank of row element k; of equal keys the lowest index counts as the larger. */
static size_t rank_in_row(const struct uqm_job *job, const struct row_bins *b, const uint32_t *keys,
                          size_t k)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    uint32_t key = keys[k], bin = bin_of(b, key);
    const uint32_t *first = b->sorted + b->begin[bin], *self = first + b->place[k];
    const uint32_t *end = b->sorted + b->begin[bin + 1];
    return b->begin[bin] + kernels->keys_below(first, key, (size_t) (self - first)) +
           kernels->keys_below(self + 1, key + 1, (size_t) (end - self - 1));
}

static void draw_row_binned(uint8_t *keep, const struct chances *c, uint64_t index, size_t input,
                            const uint32_t *keys, const uint16_t *halves, size_t stride,
                            struct row_bins *b)
{
    const struct uqm_job *job = c->job;
    size_t m = (size_t) c->m, n_doubts = 0;
    count_bins(b, keys, m);
    bound_bins(b, c);
    for (size_t k = 0; k < m; k++) {
        uint32_t half = halves[k * stride];
        struct row_bin at = b->bins[bin_of(b, keys[k])];
        keep[k * stride] = half < at.sure;
        b->doubts[n_doubts] = (uint32_t) k;
        n_doubts += half - at.sure < at.doubtful; /* wraps where half is smaller */
    }
    if (n_doubts > 0)
        sort_by_bins(b, keys, m);
    for (size_t i = 0; i < n_doubts; i++) {
        size_t k = b->doubts[i];
        double p = chance_of(c, rank_in_row(job, b, keys, k));
        keep[k * stride] =
            is_below(halves[k * stride], job->inputs[input].key, index + k * stride, p);
    }
}

static size_t halves_bytes(const struct uqm_job *job)
{
    return (size_t) ((job->block_elem + 16) * sizeof(uint16_t) + 63) / 64 * 64;
}

static size_t row_bytes(const struct uqm_job *job)
{
    return (size_t) (uqm_rank_rows(job).m * sizeof(uint32_t) + 63) / 64 * 64;
}

size_t uqm_sparse_draw_bytes(const struct uqm_job *job)
{
    if (sparsifier_of(job) != UQM_SPARSE_RANKED)
        return 0;
    if (job->numerics == UQM_NUMERICS_MERGEKIT)
        return 2 * (size_t) uqm_rank_rows(job).m * sizeof(struct ranked);
    return halves_bytes(job) + 4 * row_bytes(job) + sizeof(struct row_bins);
}

static void draw_sorted(uint8_t *keep, const struct chances *c, const struct uqm_span *span,
                        size_t input, const uint32_t *keys, size_t stride, void *scratch)
{
    size_t unit = (size_t) c->m * stride;
    for (size_t at = 0; at < span->n_elem; at += unit)
        for (size_t k = 0; k < stride; k++)
            draw_row_sorted(keep, c, span, input, keys, at + k, stride, scratch);
}

static void draw_binned(uint8_t *keep, const struct chances *c, const struct uqm_span *span,
                        size_t input, const uint32_t *keys, size_t stride, void *scratch)
{
    const struct uqm_job *job = c->job;
    size_t m = (size_t) c->m, unit = m * stride;
    char *p = (char *) scratch + halves_bytes(job);
    uint32_t *row = (uint32_t *) (void *) p;
    struct row_bins *bins = (struct row_bins *) (void *) (p + 4 * row_bytes(job));
    const uint16_t *halves =
        draw_halves(scratch, job, job->inputs[input].key, span->first, span->n_elem);
    bins->doubts = (uint32_t *) (void *) (p + row_bytes(job));
    bins->place = (uint32_t *) (void *) (p + 2 * row_bytes(job));
    bins->sorted = (uint32_t *) (void *) (p + 3 * row_bytes(job));
    for (size_t at = 0; at < span->n_elem; at += unit)
        for (size_t k = 0; k < stride; k++) {
            const uint32_t *of_row = keys + at;
            for (size_t i = 0; i < m && stride > 1; i++)
                row[i] = keys[at + k + i * stride];
            if (stride > 1)
                of_row = row;
            draw_row_binned(keep + at + k, c, span->first + at + k, input, of_row, halves + at + k,
                            stride, bins);
        }
}

static void draw_ranked(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                        size_t input, const uint32_t *keys, void *scratch)
{
    struct uqm_rank_rows rows = uqm_rank_rows(job);
    struct chances c = chances_of(job, input, rows.m);
    assert(span->n_elem <= job->block_elem && span->n_elem % (rows.m * rows.stride) == 0);
    if (c.density <= 0)
        memset(keep, 0, span->n_elem);
    else if (job->numerics == UQM_NUMERICS_MERGEKIT)
        draw_sorted(keep, &c, span, input, keys, (size_t) rows.stride, scratch);
    else
        draw_binned(keep, &c, span, input, keys, (size_t) rows.stride, scratch);
}

void uqm_sparse_draw(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                     size_t input, const uint32_t *keys, void *scratch)
{
    if (sparsifier_of(job) == UQM_SPARSE_RANDOM)
        draw_uniform(keep, job, span, input);
    else
        draw_ranked(keep, job, span, input, keys, scratch);
}
