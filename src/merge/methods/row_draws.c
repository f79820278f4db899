#include "src/merge/methods/row_draws.h"

#include <assert.h>
#include <string.h>

#include "compute/merge_scalar.h"
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
        uqm_draw_put(keep, v[r].at,
                     (double) span->draws[input][v[r].at] * 0x1p-24 < chance_of(c, r));
}

/* --- accurate --- */

/*
 * The chance of an element lies between those of the lowest and the highest rank of its bin of
 * keys, and where its draw does not lie there too, that decides: counting the row's keys by bins is
 * enough. What is left is doubtful. Of few doubtful elements the rank is counted in the whole row;
 * for more the row's keys are ordered by bins, and in a bin by where they stand: where a bin's are
 * all equal, as differences of 16-bit floats often are, the place is the rank, else it is counted.
 * Zeros, the most frequent of them all, have bin 0 for themselves.
 *
 * The difference of two bf16 values of like size is one, too, and many are equal, so that many are
 * doubtful. Bins of long rows of those are as wide as bf16's steps: one that has no longer key, and
 * is not the lowest, has equal keys alone, and who comes behind in it can be counted among bins.
 */
enum {
    FEWEST_BINS = 32,
    MOST_BINS = 1024,
    OCTAVES = 16,
    MANTISSA_BITS = 23,
    BF16_BITS = 16,        /* of a key, which no bf16 has */
    FEWEST_OF_BF16 = 2048, /* elements of a row for which bf16's bins pay */
    MOST_COUNTED = 32,     /* doubtful elements: about what ordering a row takes */
    MOST_BEHIND = 256,     /* the same, where bins are counted */
    LANES = 4, /* counters of a bin, so that neighbours in one do not wait for each other */
};

struct row_scratch {
    uint32_t counts[LANES][MOST_BINS]; /* the first: where the bin's next key goes, when ordering */
    uint32_t begin[MOST_BINS + 1];     /* how many of the row's keys lie in lower bins */
    uint32_t limits[MOST_BINS];        /* of halves, as halves_by_bin() has them */
    enum { UNKNOWN, ALIKE, MIXED } keys[MOST_BINS]; /* of a bin, when ordered or fine */
    /* of one row, m elements each, some with room for 16 more */
    uint32_t *row_keys; /* where a row's elements do not follow each other; likewise halves, kept */
    uint16_t *halves;
    uint8_t *kept;
    uint16_t *bins;
    uint32_t *open;   /* doubtful elements */
    uint32_t *place;  /* of an element in `sorted` */
    uint32_t *sorted; /* keys */
};

/* Bins of equal width on the scale of keys, from the largest of the row down over 16 octaves. */
static size_t count_bins(size_t m)
{
    size_t n = FEWEST_BINS;
    while (n < MOST_BINS && n < m / 8)
        n *= 2;
    return n;
}

/* Whether the bins of this input's rows are as wide as the steps of bf16. */
static bool has_fine_bins(const struct uqm_job *job, size_t input, size_t m)
{
    return m >= FEWEST_OF_BF16 && job->inputs[input].dtype == UQM_BF16 &&
           job->inputs[job->base].dtype == UQM_BF16;
}

/* Of fine bins, those whose keys may differ. */
static void mark_mixed(struct row_scratch *r, const struct uqm_merge_kernels *kernels,
                       const uint32_t *keys, uint32_t low, size_t n_bins, size_t m)
{
    size_t n = kernels->keys_with_bits(r->sorted, keys, (1U << BF16_BITS) - 1, m);
    for (size_t i = 0; i < n_bins; i++)
        r->keys[i] = ALIKE;
    r->keys[1] = MIXED; /* and all that is smaller */
    for (size_t i = 0; i < n; i++)
        r->keys[uqm_key_bin_1(r->sorted[i], BF16_BITS, low)] = MIXED;
}

static void find_bins(struct row_scratch *r, const struct uqm_job *job, const uint32_t *keys,
                      size_t n_bins, bool fine, size_t m)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    uint32_t most = kernels->largest_key(keys, m), shift = MANTISSA_BITS;
    for (size_t n = OCTAVES; n < n_bins; n *= 2)
        shift--;
    if (fine)
        shift = BF16_BITS;
    uint32_t last = most >> shift, low = last < n_bins ? 0 : last - (uint32_t) n_bins + 1;
    kernels->key_bins(r->bins, keys, shift, low, m);
    for (size_t lane = 0; lane < LANES; lane++)
        memset(r->counts[lane], 0, n_bins * sizeof r->counts[0][0]);
    size_t k = 0;
    for (; k + LANES <= m; k += LANES) {
        r->counts[0][r->bins[k]]++;
        r->counts[1][r->bins[k + 1]]++;
        r->counts[2][r->bins[k + 2]]++;
        r->counts[3][r->bins[k + 3]]++;
    }
    for (; k < m; k++)
        r->counts[0][r->bins[k]]++;
    if (fine)
        mark_mixed(r, kernels, keys, low, n_bins, m);
}

/*
 * Halves that the chances of a bin's ranks fall into, a little further out than they do so that
 * rounding decides nothing: a chance times 65536 is below 2^16, in float right to 2^-5.
 */
static void fill_limits(struct row_scratch *r, const struct chances *c, size_t n_bins)
{
    const double width = c->m > 1 ? c->epsilon : 0; /* of one element it is the density */
    const float slack = 0.0625F, at_zero = (float) ((c->density - width) * 65536);
    const float per_rank = (float) (2 * width * 65536 / (double) (c->m > 1 ? c->m - 1 : 1));
    for (size_t i = 0; i < n_bins; i++)
        r->begin[i + 1] = r->counts[0][i] + r->counts[1][i] + r->counts[2][i] + r->counts[3][i];
    r->begin[0] = 0;
    for (size_t i = 0; i < n_bins; i++)
        r->begin[i + 1] += r->begin[i];
    /* of a bin's ranks the first and the one before the next bin's, whichever has less; an empty
     * bin's limits are of no use */
    const bool falls = per_rank < 0;
    const uint32_t *at_low = r->begin + falls, *at_high = r->begin + !falls;
    const float low_zero = at_zero - slack - (falls ? per_rank : 0);
    const float high_zero = at_zero + slack - (falls ? 0 : per_rank);
    for (size_t i = 0; i < n_bins; i++) {
        int32_t low = (int32_t) (low_zero + per_rank * (float) (int32_t) at_low[i]);
        int32_t high = (int32_t) (high_zero + per_rank * (float) (int32_t) at_high[i]);
        high = high > UINT16_MAX ? UINT16_MAX : high;
        r->limits[i] = (uint32_t) low | (uint32_t) high << 16;
    }
}

static void order_keys(struct row_scratch *r, const uint32_t *keys, size_t n_bins, size_t m)
{
    uint32_t *next = r->counts[0];
    memcpy(next, r->begin, n_bins * sizeof *next);
    memset(r->keys, 0, n_bins * sizeof *r->keys);
    for (size_t k = 0; k < m; k++) {
        r->place[k] = next[r->bins[k]]++;
        r->sorted[r->place[k]] = keys[k];
    }
}

/* The rank of row element k; of equal keys the lowest index counts as the larger. */
static size_t rank_in_row(const struct uqm_job *job, const uint32_t *keys, size_t m, size_t k)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    return kernels->keys_below(keys, keys[k], k) +
           kernels->keys_below(keys + k + 1, keys[k] + 1, m - 1 - k);
}

/* The same when the keys are ordered. */
static size_t rank_in_bin(struct row_scratch *r, const struct uqm_job *job, size_t k)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    size_t bin = r->bins[k], begin = r->begin[bin], n = r->begin[bin + 1] - begin;
    const uint32_t *first = r->sorted + begin;
    size_t before = r->place[k] - begin, behind = n - 1 - before;
    uint32_t key = first[before];
    if (r->keys[bin] == UNKNOWN) {
        bool alike =
            kernels->keys_below(first, key, n) == 0 && kernels->keys_below(first, key + 1, n) == n;
        r->keys[bin] = alike ? ALIKE : MIXED;
    }
    if (r->keys[bin] == ALIKE)
        return begin + behind;
    return begin + kernels->keys_below(first, key, before) +
           kernels->keys_below(first + before + 1, key + 1, behind);
}

/* The same where its fine bin's keys are all equal: those behind it there are smaller. */
static size_t rank_among_alike(const struct row_scratch *r, const struct uqm_job *job, size_t m,
                               size_t k)
{
    const struct uqm_merge_kernels *kernels = job->kernels->merge;
    uint16_t bin = r->bins[k];
    size_t begin = r->begin[bin], n = r->begin[bin + 1] - begin;
    if (k < m / 2)
        return begin + n - 1 - kernels->bins_equal(r->bins, bin, k);
    return begin + kernels->bins_equal(r->bins + k + 1, bin, m - 1 - k);
}

/* Whether ordering the row takes less than counting for each of its open elements. */
static bool is_worth_ordering(const struct row_scratch *r, bool fine, size_t n_open)
{
    size_t n_mixed = 0;
    if (!fine || n_open <= MOST_COUNTED || n_open > MOST_BEHIND)
        return n_open > MOST_COUNTED;
    for (size_t i = 0; i < n_open; i++)
        n_mixed += r->keys[r->bins[r->open[i]]] == MIXED;
    return n_mixed > MOST_COUNTED;
}

/* Bits of keep, from bit 0. index: of the row's first element in the tensor; the others follow
 * `stride` apart. */
static void draw_row_binned(uint8_t *keep, const struct chances *c, uint64_t index, size_t input,
                            const uint32_t *keys, const uint16_t *halves, size_t stride,
                            struct row_scratch *r)
{
    const struct uqm_job *job = c->job;
    size_t m = (size_t) c->m;
    bool fine = has_fine_bins(job, input, m);
    size_t n_bins = fine ? MOST_BINS : count_bins(m);
    find_bins(r, job, keys, n_bins, fine, m);
    fill_limits(r, c, n_bins);
    size_t n_open =
        job->kernels->merge->halves_by_bin(keep, r->open, halves, r->bins, r->limits, m);
    bool ordered = is_worth_ordering(r, fine, n_open);
    if (ordered)
        order_keys(r, keys, n_bins, m);
    for (size_t i = 0; i < n_open; i++) {
        size_t k = r->open[i];
        size_t rank = ordered                                ? rank_in_bin(r, job, k)
                      : fine && r->keys[r->bins[k]] == ALIKE ? rank_among_alike(r, job, m, k)
                                                             : rank_in_row(job, keys, m, k);
        uqm_draw_put(keep, k,
                     uqm_draw_is_below(halves[k], job->inputs[input].key, index + k * stride,
                                       chance_of(c, rank)));
    }
}

/* A row whose elements are not neighbours, or do not begin with a byte of keep. */
static void draw_row_apart(uint8_t *keep, const struct chances *c, const struct uqm_span *span,
                           size_t first, size_t input, const uint32_t *keys, const uint16_t *halves,
                           size_t stride, struct row_scratch *r)
{
    for (size_t k = 0; k < c->m; k++) {
        r->row_keys[k] = keys[first + k * stride];
        r->halves[k] = halves[first + k * stride];
    }
    draw_row_binned(r->kept, c, span->first + first, input, r->row_keys, r->halves, stride, r);
    for (size_t k = 0; k < c->m; k++)
        uqm_draw_put(keep, first + k * stride, uqm_draw_bit(r->kept, k));
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
    r->row_keys = (uint32_t *) (void *) p;
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
            if (stride > 1 || k % 8 != 0)
                draw_row_apart(keep, c, span, k, input, keys, halves, stride, r);
            else
                draw_row_binned(keep + k / 8, c, span->first + k, input, keys + k, halves + k, 1,
                                r);
}

void uqm_row_draw(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                  size_t input, const uint32_t *keys, void *scratch)
{
    struct uqm_rank_rows rows = uqm_rank_rows(job);
    struct chances c = chances_of(job, input, rows.m);
    assert(span->n_elem <= job->block_elem && span->n_elem % (rows.m * rows.stride) == 0);
    if (c.density <= 0)
        memset(keep, 0, (span->n_elem + 7) / 8);
    else if (job->numerics == UQM_NUMERICS_MERGEKIT)
        draw_sorted(keep, &c, span, input, keys, (size_t) rows.stride, scratch);
    else
        draw_binned(keep, &c, span, input, keys, (size_t) rows.stride, scratch);
}
