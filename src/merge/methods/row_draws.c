#include "src/merge/methods/row_draws.h"

#include <assert.h>
#include <string.h>

#include "src/merge/methods/draws.h"
#include "src/merge/methods/sparsify.h"

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
    double most = uqm_draw_rounded(c.work, uqm_draw_rounded(c.work, (double) (m - 1)) + 1);
    c.least = uqm_draw_rounded(c.work, 1);
    c.span = uqm_draw_rounded(c.work, most - c.least);
    c.base = uqm_draw_rounded(c.work, c.density - c.epsilon);
    return c;
}

static double chance_of(const struct chances *c, uint64_t r)
{
    if (c->m == 1)
        return c->density;
    if (c->job->numerics == UQM_NUMERICS_ACCURATE)
        return c->density - c->epsilon + 2 * c->epsilon * ((double) r / (double) (c->m - 1));
    enum uqm_dtype w = c->work;
    double rank = uqm_draw_rounded(w, uqm_draw_rounded(w, (double) r) + 1);
    double q = uqm_draw_rounded(w, uqm_draw_rounded(w, rank - c->least) / c->span);
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    return uqm_draw_rounded(
        w, c->base + uqm_draw_rounded(w, uqm_draw_rounded(w, 2 * q) * (double) (float) c->epsilon));
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

/* --- accurate --- */

/*
 * The chance of an element lies between those of its row's first and last rank: where its draw does
 * not, that decides. Of the others, a bin of keys is between two ranks: how many of the row's keys
 * lie in lower bins, and how many up to its end. What that leaves open is doubtful. For doubtful
 * ones the row's keys are ordered by bins, and in a bin by where they stand; where a bin's are all
 * equal, as differences of 16-bit floats often are, the place is the rank, else it is counted.
 */
enum { FEWEST_BINS = 32, MOST_BINS = 1024, OCTAVES = 16, MANTISSA_BITS = 23 };

struct row_bin {
    uint32_t sure, doubtful; /* halves below `sure` are kept; so many from there on are doubtful */
    uint32_t first, n;       /* how many keys lie in lower bins, and here */
    enum { UNKNOWN, ALIKE, MIXED } keys;
};

struct row_scratch {
    /* Of the row's first half, and of its second: keys in a bin, then where those begin. Two, so
     * that neighbours in one bin do not wait for each other. */
    uint32_t begin[2][MOST_BINS];
    struct row_bin table[MOST_BINS];
    /* of one row, m elements each, some with room for 16 more */
    uint32_t *keys; /* where a row's elements do not follow each other; likewise halves, kept */
    uint16_t *halves;
    uint8_t *kept;
    uint16_t *bins;
    uint32_t *open;   /* elements that their draws do not decide */
    uint32_t *place;  /* of an element among those of its bin and half */
    uint32_t *sorted; /* keys */
};

/* Bins of equal width on the scale of keys, from the largest of the row down over 16 octaves. */
static size_t count_bins(size_t m)
{
    size_t n = FEWEST_BINS;
    while (n < MOST_BINS && n < m / 4)
        n *= 2;
    return n;
}

static void find_bins(struct row_scratch *r, const struct uqm_job *job, const uint32_t *keys,
                      size_t n_bins, size_t m)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    uint32_t most = kernels->largest_key(keys, m), shift = MANTISSA_BITS;
    for (size_t n = OCTAVES; n < n_bins; n *= 2)
        shift--;
    uint32_t last = most >> shift, low = last < n_bins ? 0 : last - (uint32_t) n_bins + 1;
    kernels->key_bins(r->bins, keys, shift, low, m);
    memset(r->begin[0], 0, n_bins * sizeof r->begin[0][0]);
    memset(r->begin[1], 0, n_bins * sizeof r->begin[1][0]);
    size_t half = m / 2;
    for (size_t k = 0; k < half; k++) {
        r->place[k] = r->begin[0][r->bins[k]]++;
        r->place[half + k] = r->begin[1][r->bins[half + k]]++;
    }
    if (2 * half < m)
        r->place[m - 1] = r->begin[1][r->bins[m - 1]]++;
}

/* Halves that the chances of ranks [first, first + n) fall into, a little further out than they do
 * so that rounding decides nothing. */
static void bound(uint32_t *least, uint32_t *n_between, const struct chances *c, uint32_t first,
                  uint32_t n)
{
    double at_zero = (c->density - c->epsilon) * 65536;
    double per_rank = 2 * c->epsilon * 65536 / (double) (c->m > 1 ? c->m - 1 : 1);
    double p = at_zero + per_rank * (double) first, q = at_zero + per_rank * (double) (first + n);
    double low = (p < q ? p : q) - 1e-3, high = (p < q ? q : p) + 1e-3;
    low = low < 0 ? 0 : low > 65536 ? 65536 : low;
    high = high < low ? low : high > 65535 ? 65535 : high;
    *least = (uint32_t) low;
    *n_between = (uint32_t) high + 1 - *least;
}

static void fill_table(struct row_scratch *r, const struct chances *c, size_t n_bins)
{
    uint32_t rank = 0;
    for (size_t i = 0; i < n_bins; i++) {
        uint32_t n_before = r->begin[0][i], n = n_before + r->begin[1][i];
        if (n == 0)
            continue;
        struct row_bin *b = &r->table[i];
        *b = (struct row_bin){ .first = rank, .n = n };
        bound(&b->sure, &b->doubtful, c, rank, n);
        r->begin[0][i] = rank;
        r->begin[1][i] = rank + n_before;
        rank += n;
    }
}

static uint32_t position(const struct row_scratch *r, size_t m, size_t k)
{
    return r->begin[k >= m / 2][r->bins[k]] + r->place[k];
}

static void sort_by_bins(struct row_scratch *r, const uint32_t *keys, size_t m)
{
    size_t half = m / 2;
    for (size_t k = 0; k < half; k++)
        r->sorted[r->begin[0][r->bins[k]] + r->place[k]] = keys[k];
    for (size_t k = half; k < m; k++)
        r->sorted[r->begin[1][r->bins[k]] + r->place[k]] = keys[k];
}

/* The rank of row element k; of equal keys the lowest index counts as the larger. */
static size_t rank_in_row(struct row_scratch *r, const struct uqm_job *job, size_t m, size_t k)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    struct row_bin *b = &r->table[r->bins[k]];
    const uint32_t *first = r->sorted + b->first;
    uint32_t before = position(r, m, k) - b->first, behind = b->n - 1 - before;
    uint32_t key = first[before];
    if (b->keys == UNKNOWN) {
        bool alike = kernels->keys_below(first, key, b->n) == 0 &&
                     kernels->keys_below(first, key + 1, b->n) == b->n;
        b->keys = alike ? ALIKE : MIXED;
    }
    if (b->keys == ALIKE)
        return b->first + behind;
    return b->first + kernels->keys_below(first, key, before) +
           kernels->keys_below(first + before + 1, key + 1, behind);
}

/* index: of the row's first element in the tensor; the others follow `stride` apart. */
static void draw_row_binned(uint8_t *keep, const struct chances *c, uint64_t index, size_t input,
                            const uint32_t *keys, const uint16_t *halves, size_t stride,
                            struct row_scratch *r)
{
    const struct uqm_job *job = c->job;
    size_t m = (size_t) c->m, n_bins = count_bins(m), n_open, n_doubts = 0;
    uint32_t low, between;
    bound(&low, &between, c, 0, (uint32_t) m);
    n_open = job->kernels->merge->halves_between(keep, r->open, halves, low, low + between, m);
    if (n_open == 0)
        return;
    find_bins(r, job, keys, n_bins, m);
    fill_table(r, c, n_bins);
    for (size_t i = 0; i < n_open; i++) {
        uint32_t k = r->open[i], half = halves[k];
        const struct row_bin *b = &r->table[r->bins[k]];
        keep[k] = half < b->sure;
        r->open[n_doubts] = k;
        n_doubts += half - b->sure < b->doubtful; /* wraps where half is smaller */
    }
    if (n_doubts > 0)
        sort_by_bins(r, keys, m);
    for (size_t i = 0; i < n_doubts; i++) {
        size_t k = r->open[i];
        double p = chance_of(c, rank_in_row(r, job, m, k));
        keep[k] = uqm_draw_is_below(halves[k], job->inputs[input].key, index + k * stride, p);
    }
}

/* A row whose elements are not neighbours. */
static void draw_row_apart(uint8_t *keep, const struct chances *c, uint64_t index, size_t input,
                           const uint32_t *keys, const uint16_t *halves, size_t stride,
                           struct row_scratch *r)
{
    for (size_t k = 0; k < c->m; k++) {
        r->keys[k] = keys[k * stride];
        r->halves[k] = halves[k * stride];
    }
    draw_row_binned(r->kept, c, index, input, r->keys, r->halves, stride, r);
    for (size_t k = 0; k < c->m; k++)
        keep[k * stride] = r->kept[k];
}

/* --- scratch --- */

static size_t aligned(size_t n_bytes)
{
    return (n_bytes + 63) / 64 * 64;
}

static size_t words_bytes(const struct uqm_job *job)
{
    return aligned(((size_t) uqm_rank_rows(job).m + 16) * sizeof(uint32_t));
}

static size_t halves_bytes(const struct uqm_job *job)
{
    return aligned((size_t) (job->block_elem + 16) * sizeof(uint16_t));
}

size_t uqm_row_draw_bytes(const struct uqm_job *job)
{
    if (job->numerics == UQM_NUMERICS_MERGEKIT)
        return 2 * (size_t) uqm_rank_rows(job).m * sizeof(struct ranked);
    return aligned(sizeof(struct row_scratch)) + halves_bytes(job) + 7 * words_bytes(job);
}

/* drawn: for the halves of a whole span. */
static struct row_scratch *cut(uint16_t **drawn, const struct uqm_job *job, void *scratch)
{
    struct row_scratch *r = scratch;
    char *p = (char *) scratch + aligned(sizeof *r);
    size_t n = words_bytes(job);
    *drawn = (uint16_t *) (void *) p;
    p += halves_bytes(job);
    r->keys = (uint32_t *) (void *) p;
    r->open = (uint32_t *) (void *) (p + n);
    r->sorted = (uint32_t *) (void *) (p + 2 * n);
    r->place = (uint32_t *) (void *) (p + 3 * n);
    r->halves = (uint16_t *) (void *) (p + 4 * n);
    r->bins = (uint16_t *) (void *) (p + 5 * n);
    r->kept = (uint8_t *) (p + 6 * n);
    return r;
}

/* --- both --- */

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
    size_t unit = (size_t) c->m * stride;
    uint16_t *drawn;
    struct row_scratch *r = cut(&drawn, job, scratch);
    const uint16_t *halves =
        uqm_draw_halves(drawn, job, job->inputs[input].key, span->first, span->n_elem);
    for (size_t at = 0; at < span->n_elem; at += unit)
        for (size_t k = at; k < at + stride; k++)
            (stride > 1 ? draw_row_apart : draw_row_binned)(keep + k, c, span->first + k, input,
                                                            keys + k, halves + k, stride, r);
}

void uqm_row_draw(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
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
