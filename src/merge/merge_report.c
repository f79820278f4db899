#include "src/merge/merge_report.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/merge_report_impl.h"

enum { BLOCK_BYTES = 4096 }; /* of the output: what tiles are multiples of */
enum { N_BUFFERS = 7 };      /* of floats, for one worker */
enum { SCRATCH_BYTES = N_BUFFERS * UQM_COMPARE_BLOCK * sizeof(float) };
enum { FEWEST_PARALLEL = 8 }; /* blocks */
enum { CARRY_BYTES = UQM_COMPARE_BLOCK * 8 };

static enum uqm_dtype part_dtype(const struct uqm_recipe_source *rs, const struct uqm_plan_part *p)
{
    return uqm_plan_part_tensor(rs, p)->dtype;
}

/* --- memory --- */

static uint64_t records_bytes(const struct uqm_recipe_source *rs, size_t tile_bytes)
{
    uint64_t n_blocks = tile_bytes / BLOCK_BYTES + 1;
    return n_blocks * (rs->max_parts + 1) * sizeof(struct uqm_report_sums);
}

uint64_t uqm_merge_report_memory(const struct uqm_recipe_source *rs, size_t tile_bytes,
                                 size_t n_threads)
{
    return records_bytes(rs, tile_bytes) + n_threads * (uint64_t) SCRATCH_BYTES +
           (rs->max_parts + 1) * (uint64_t) CARRY_BYTES;
}

/* --- the sample --- */

enum { SAMPLE_BITS = 6, LEAST_SAMPLED_ELEM = 1 << 20 };

static size_t block_elem(const struct uqm_merge_report *r, size_t tensor)
{
    return (size_t) BLOCK_BYTES * 8 / uqm_dtype_bits(r->rs->source.tensors[tensor].dtype);
}

static bool is_sampled(const struct uqm_merge_report *r, size_t tensor)
{
    return r->kind == UQM_REPORT_SAMPLED &&
           r->rs->source.tensors[tensor].n_elem >= LEAST_SAMPLED_ELEM;
}

/* One of every 64 blocks; its place among them goes by multiples of the golden ratio, so that no
 * period of rows or heads falls in with it. */
static bool is_compared(const struct uqm_merge_report *r, size_t tensor, uint64_t block)
{
    if (r->kind == UQM_REPORT_OFF || !is_sampled(r, tensor))
        return r->kind != UQM_REPORT_OFF;
    uint64_t group = block >> SAMPLE_BITS;
    uint64_t place = group * UINT64_C(0x9E3779B97F4A7C15) >> (64 - SAMPLE_BITS);
    return (block & ((1 << SAMPLE_BITS) - 1)) == place;
}

unsigned uqm_report_weight(const struct uqm_merge_report *r, size_t tensor)
{
    return is_sampled(r, tensor) ? 1 << SAMPLE_BITS : 1;
}

uint64_t uqm_report_compared(const struct uqm_merge_report *r, size_t tensor)
{
    uint64_t n_elem = r->rs->source.tensors[tensor].n_elem, each = block_elem(r, tensor), n = 0;
    if (!is_sampled(r, tensor))
        return n_elem;
    for (uint64_t block = 0; block * each < n_elem; block++)
        if (is_compared(r, tensor, block))
            n += uqm_min_u64(each, n_elem - block * each);
    return n;
}

/* --- a block --- */

/* A tile being looked at, cut into blocks. */
struct look {
    struct uqm_merge_report *report;
    const struct uqm_range *range;
    const struct uqm_plan_tensor *pt;
    const struct uqm_seen *parts;
    const void *out;
    enum uqm_dtype out_dtype;
    size_t block_elem;
    long base;
    bool spreads; /* what is not finite in a part is not finite in the output */
    bool finite;  /* all elements of all parts are, it is known */
};

/* Elements as they are, and as floats, if that was asked for and they are not F64. */
struct run {
    const void *data;
    enum uqm_dtype dtype;
    const float *wide;
};

static struct run take(const void *data, enum uqm_dtype dtype, size_t first)
{
    return (struct run){ (const char *) data + first * (uqm_dtype_bits(dtype) / 8), dtype, NULL };
}

static void widen(struct run *r, float *wide, const struct look *l, size_t n)
{
    if (r->dtype == UQM_F64)
        return;
    uqm_widen(&l->report->kernels, wide, r->data, r->dtype, n);
    r->wide = wide;
}

/* Whether sums in float lost nothing: no overflow, no element that is no number, and no squares
 * so small that they were rounded away. */
static bool is_sound(const struct uqm_compared *c)
{
    const double least = 1e-30;
    return isfinite(c->sum_d2) && isfinite(c->sum_x2) && c->sum_x2 >= least &&
           (c->sum_d2 >= least || c->max_abs == 0);
}

static void measure(struct uqm_report_sums *out, const struct look *l, const struct run *x,
                    const struct run *y, size_t n)
{
    const struct uqm_compare_kernels *k = &l->report->compare;
    struct uqm_compared c = { .sum_d2 = (double) NAN };
    if (y->wide && x->dtype == UQM_F16)
        k->compare_f16(&c, x->data, y->wide, n);
    else if (y->wide && x->dtype == UQM_BF16)
        k->compare_bf16(&c, x->data, y->wide, n);
    else if (y->wide && x->dtype == UQM_F32)
        k->compare_f32(&c, x->data, y->wide, n);
    if (is_sound(&c)) {
        out->d2 = c.sum_d2;
        out->x2 = c.sum_x2;
        out->max_abs = c.max_abs;
        return;
    }
    uqm_report_measure(out, x->data, x->dtype, y->data, y->dtype, n);
}

/* NaN and infinite elements alone, the rest of *out stays as it is. */
static void count_specials(struct uqm_report_sums *out, const struct look *l, const struct run *x,
                           size_t n)
{
    const struct uqm_compare_kernels *k = &l->report->compare;
    const uint32_t f16_infinity = 0x7C00, bf16_infinity = 0x7F80, f32_infinity = 0x7F800000;
    if ((x->dtype == UQM_F16 && k->largest_half(x->data, n) < f16_infinity) ||
        (x->dtype == UQM_BF16 && k->largest_half(x->data, n) < bf16_infinity) ||
        (x->dtype == UQM_F32 && k->largest_f32(x->data, n) < f32_infinity))
        return;
    for (size_t i = 0; i < n; i++) {
        double v = uqm_report_element(x->data, x->dtype, i);
        out->n_nan += isnan(v) ? 1 : 0;
        out->n_inf += isinf(v) ? 1 : 0;
    }
}

static void find_signs(float *s, const struct look *l, const struct run *x, const struct run *b,
                       size_t n)
{
    if (!x->wide || !b->wide)
        uqm_report_signs(s, x->data, x->dtype, b->data, b->dtype, n);
    else
        l->report->compare.sign_f32(s, x->wide, b->wide, n);
}

/* The task vectors' signs, the result's and the sum of the inputs'. */
struct ballot {
    struct run b;
    float *way, *s, *sum, *count;
};

static void open_ballot(struct ballot *v, const struct look *l, const struct run *y, float *buffers,
                        size_t first, size_t n)
{
    enum uqm_dtype dtype = part_dtype(l->report->rs, &l->pt->parts[l->base]);
    v->b = take(l->parts[l->base].data, dtype, first);
    widen(&v->b, buffers, l, n);
    v->way = buffers + UQM_COMPARE_BLOCK;
    v->s = buffers + 2 * UQM_COMPARE_BLOCK;
    v->sum = buffers + 3 * UQM_COMPARE_BLOCK;
    v->count = buffers + 4 * UQM_COMPARE_BLOCK;
    find_signs(v->way, l, y, &v->b, n);
    memset(v->sum, 0, n * sizeof *v->sum);
    memset(v->count, 0, n * sizeof *v->count);
}

static void cast_vote(struct uqm_report_sums *out, const struct look *l, const struct ballot *v,
                      const struct run *x, size_t n)
{
    struct uqm_votes votes;
    find_signs(v->s, l, x, &v->b, n);
    l->report->compare.vote_f32(&votes, v->sum, v->count, v->s, v->way, n);
    out->n_moved = votes.n_moved;
    out->n_same = votes.n_same;
}

/* The output's block, and of what is reported the parts', unless the output's, or the passes over
 * the tensor, tell that they have none. */
static void count_block(struct uqm_report_sums *out, const struct look *l, size_t first, size_t n)
{
    struct uqm_merge_report *r = l->report;
    struct run x = take(l->out, l->out_dtype, first);
    count_specials(&out[0], l, &x, n);
    if (l->finite || (l->spreads && out[0].n_nan + out[0].n_inf == 0))
        return;
    for (size_t p = 0; p < l->pt->n_parts && r->kind != UQM_REPORT_OFF; p++) {
        x = take(l->parts[p].data, part_dtype(r->rs, &l->pt->parts[p]), first);
        count_specials(&out[p + 1], l, &x, n);
    }
}

static void do_block(void *ctx, size_t item, int worker)
{
    const struct look *l = ctx;
    struct uqm_merge_report *r = l->report;
    size_t first = item * l->block_elem, n_parts = l->pt->n_parts;
    size_t n = (size_t) uqm_min_u64(l->block_elem, l->range->n_elem - first);
    float *buffers = (float *) r->scratch + (size_t) worker * N_BUFFERS * UQM_COMPARE_BLOCK;
    struct uqm_report_sums *out = (struct uqm_report_sums *) r->records + item * (n_parts + 1);
    struct ballot ballot;

    memset(out, 0, (n_parts + 1) * sizeof *out);
    if (!is_compared(r, l->range->tensor, l->range->first_elem / l->block_elem + item)) {
        count_block(out, l, first, n);
        return;
    }
    struct run y = take(l->out, l->out_dtype, first);
    widen(&y, buffers, l, n);
    measure(&out[0], l, &y, &y, n);
    if (l->base >= 0)
        open_ballot(&ballot, l, &y, buffers + 2 * UQM_COMPARE_BLOCK, first, n);
    for (size_t p = 0; p < n_parts; p++) {
        struct run x = take(l->parts[p].data, part_dtype(r->rs, &l->pt->parts[p]), first);
        measure(&out[p + 1], l, &x, &y, n);
        if (l->base < 0 || (long) p == l->base)
            continue;
        widen(&x, buffers + UQM_COMPARE_BLOCK, l, n);
        cast_vote(&out[p + 1], l, &ballot, &x, n);
    }
    if (l->base >= 0) {
        struct uqm_vote_tally tally;
        r->compare.tally_f32(&tally, ballot.sum, ballot.count, n);
        out[0].n_moved = tally.n_moved;
        out[0].n_same = tally.n_unanimous;
    }
}

/* --- a tile --- */

/* The first element of the block that is NaN while no part is. */
static void find_made_nan(struct uqm_merge_report *r, const struct look *l, size_t item)
{
    size_t first = item * l->block_elem;
    size_t end = (size_t) uqm_min_u64(first + l->block_elem, l->range->n_elem);
    for (size_t i = first; i < end && !r->made_nan; i++) {
        bool has = !isnan(uqm_report_element(l->out, l->out_dtype, i));
        for (size_t p = 0; p < l->pt->n_parts && !has; p++)
            has =
                isnan(uqm_report_element(l->parts[p].data, part_dtype(r->rs, &l->pt->parts[p]), i));
        if (has)
            continue;
        r->made_nan = true;
        r->nan_tensor = l->range->tensor;
        r->nan_elem = l->range->first_elem + i;
    }
}

/* Whole blocks, and what the tensor ends with. */
static void look_at_blocks(struct uqm_merge_report *r, const struct uqm_range *range,
                           const struct uqm_seen *parts, const void *out)
{
    struct look l = {
        .report = r,
        .range = range,
        .pt = &r->rs->plan[range->tensor],
        .parts = parts,
        .out = out,
        .out_dtype = r->rs->source.tensors[range->tensor].dtype,
        .block_elem = block_elem(r, range->tensor),
    };
    l.base = uqm_report_base_part(l.pt);
    const struct uqm_job *job = l.pt->job;
    l.spreads = job && job->ops->spreads_specials && job->ops->spreads_specials(job);
    l.finite = job && l.pt->ready && job->ops->found_finite && l.pt->state.result &&
               job->ops->found_finite(job, &l.pt->state);
    size_t n_blocks = (range->n_elem + l.block_elem - 1) / l.block_elem;
    size_t n_records = l.pt->n_parts + 1;
    struct uqm_report_sums *sums = r->tensors[range->tensor];
    assert(n_blocks * n_records * sizeof *sums <= r->records_bytes);
    uqm_parallel(n_blocks < FEWEST_PARALLEL ? NULL : r->threads, n_blocks, do_block, &l);
    const struct uqm_report_sums *block = r->records;
    for (size_t b = 0; b < n_blocks; b++, block += n_records) {
        for (size_t k = 0; k < n_records && sums; k++)
            uqm_report_add(&sums[k], &block[k], 1);
        if (block[0].n_nan && !r->made_nan)
            find_made_nan(r, &l, b);
    }
}

/* --- runs that begin or end within a block --- */

static void carry(struct uqm_merge_report *r, const struct look *run, size_t n)
{
    char *to = r->carry;
    size_t at = r->carried.n_elem, bytes = uqm_dtype_bits(run->out_dtype) / 8;
    memcpy(to + at * bytes, run->out, n * bytes);
    for (size_t p = 0; p < run->pt->n_parts; p++) {
        to += CARRY_BYTES;
        bytes = uqm_dtype_bits(part_dtype(r->rs, &run->pt->parts[p])) / 8;
        memcpy(to + at * bytes, run->parts[p].data, n * bytes);
        r->carry_seen[p].data = to;
    }
    r->carried.n_elem += n;
}

/* Leave the first n elements of the run behind. */
static void skip(struct uqm_range *range, struct uqm_seen *parts, const void **out,
                 const struct look *run, size_t n)
{
    *out = (const char *) *out + n * (uqm_dtype_bits(run->out_dtype) / 8);
    for (size_t p = 0; p < run->pt->n_parts; p++)
        parts[p].data = (const char *) parts[p].data +
                        n * (uqm_dtype_bits(part_dtype(run->report->rs, &run->pt->parts[p])) / 8);
    range->first_elem += n;
    range->n_elem -= n;
}

static void look_at_run(void *ctx, const struct uqm_range *whole, const struct uqm_seen *seen,
                        const void *out)
{
    struct uqm_merge_report *r = ctx;
    struct uqm_range range = *whole;
    size_t n_parts = r->rs->plan[range.tensor].n_parts, block = block_elem(r, range.tensor);
    uint64_t n_elem = r->rs->source.tensors[range.tensor].n_elem;
    struct uqm_seen *parts = r->run_seen;
    struct look run = {
        .report = r,
        .pt = &r->rs->plan[range.tensor],
        .parts = parts,
        .out_dtype = r->rs->source.tensors[range.tensor].dtype,
    };
    memcpy(parts, seen, n_parts * sizeof *parts);
    if (range.first_elem == 0)
        r->carried = (struct uqm_range){ .tensor = range.tensor };
    if (r->carried.n_elem > 0) {
        assert(r->carried.first_elem + r->carried.n_elem == range.first_elem);
        size_t n = (size_t) uqm_min_u64(block - r->carried.n_elem, range.n_elem);
        run.out = out;
        carry(r, &run, n);
        skip(&range, parts, &out, &run, n);
        if (r->carried.n_elem < block && range.first_elem < n_elem)
            return;
        look_at_blocks(r, &r->carried, r->carry_seen, r->carry);
    }
    size_t rest = range.first_elem + range.n_elem < n_elem ? range.n_elem % block : 0;
    r->carried = (struct uqm_range){ range.tensor, range.first_elem + range.n_elem - rest, 0 };
    range.n_elem -= rest;
    if (range.n_elem > 0)
        look_at_blocks(r, &range, parts, out);
    if (rest > 0) {
        size_t done = range.n_elem;
        range.n_elem += rest;
        skip(&range, parts, &out, &run, done);
        run.out = out;
        carry(r, &run, rest);
    }
}

int uqm_merge_report_check(const struct uqm_merge_report *report, struct uqm_err *err)
{
    if (!report->made_nan)
        return UQM_OK;
    const struct uqm_tensor *t = &report->rs->source.tensors[report->nan_tensor];
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "tensor %s: element %" PRIu64 " became NaN, and no input is NaN there; "
                    "--allow-nan writes it all the same",
                    uqm_printable(&name, t->name, strlen(t->name)), report->nan_elem);
}

/* --- the whole --- */

static int make_sums(struct uqm_merge_report *r, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = r->rs;
    r->tensors = uqm_arena_alloc(&r->arena, rs->source.n_tensors + 1, sizeof *r->tensors);
    r->run_seen = uqm_arena_alloc(&r->arena, rs->max_parts + 1, sizeof *r->run_seen);
    r->carry_seen = uqm_arena_alloc(&r->arena, rs->max_parts + 1, sizeof *r->carry_seen);
    if (!r->run_seen || !r->carry_seen)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; r->tensors && i < rs->source.n_tensors; i++) {
        if (rs->plan[i].fate != UQM_FATE_MERGED || rs->plan[i].outside || r->kind == UQM_REPORT_OFF)
            continue;
        r->tensors[i] = uqm_arena_alloc(&r->arena, rs->plan[i].n_parts + 1, sizeof **r->tensors);
        if (!r->tensors[i])
            return uqm_plan_no_memory(rs, err);
    }
    return r->tensors ? UQM_OK : uqm_plan_no_memory(rs, err);
}

int uqm_merge_report_create(struct uqm_merge_report **out, struct uqm_recipe_source *rs,
                            struct uqm_threads *threads, size_t tile_bytes,
                            enum uqm_report_kind kind, struct uqm_err *err)
{
    struct uqm_merge_report *r = calloc(1, sizeof *r);
    if (!r)
        return uqm_plan_no_memory(rs, err);
    size_t n_threads = threads ? (size_t) uqm_threads_count(threads) : 1;
    r->rs = rs;
    r->kind = kind;
    r->threads = threads;
    r->records_bytes = (size_t) records_bytes(rs, tile_bytes);
    r->scratch_bytes = n_threads * SCRATCH_BYTES;
    r->carry_bytes = (rs->max_parts + 1) * CARRY_BYTES;
    uqm_kernels_init(&r->kernels, uqm_cpu_flags());
    uqm_compare_kernels_init(&r->compare, uqm_cpu_flags());
    int ret = make_sums(r, err);
    if (ret == UQM_OK)
        ret =
            uqm_budget_alloc(&r->records, rs->source.env, r->records_bytes, 64, "the report", err);
    if (ret == UQM_OK)
        ret =
            uqm_budget_alloc(&r->scratch, rs->source.env, r->scratch_bytes, 64, "the report", err);
    if (ret == UQM_OK)
        ret = uqm_budget_alloc(&r->carry, rs->source.env, r->carry_bytes, 64, "the report", err);
    if (ret < 0) {
        uqm_merge_report_destroy(&r);
        return ret;
    }
    rs->merged = look_at_run;
    rs->merged_ctx = r;
    *out = r;
    return UQM_OK;
}

struct uqm_report_sums *uqm_merge_report_sums(struct uqm_merge_report *report, size_t tensor,
                                              size_t *n)
{
    *n = report->tensors[tensor] ? report->rs->plan[tensor].n_parts + 1 : 0;
    return report->tensors[tensor];
}

void uqm_merge_report_forget(struct uqm_merge_report *report)
{
    for (size_t i = 0; i < report->rs->source.n_tensors; i++) {
        size_t n;
        struct uqm_report_sums *sums = uqm_merge_report_sums(report, i, &n);
        if (n > 0)
            memset(sums, 0, n * sizeof *sums);
    }
}

void uqm_merge_report_destroy(struct uqm_merge_report **report)
{
    struct uqm_merge_report *r = *report;
    if (!r)
        return;
    if (r->rs->merged_ctx == r) {
        r->rs->merged = NULL;
        r->rs->merged_ctx = NULL;
    }
    uqm_budget_free(&r->records, r->rs->source.env, r->records_bytes);
    uqm_budget_free(&r->scratch, r->rs->source.env, r->scratch_bytes);
    uqm_budget_free(&r->carry, r->rs->source.env, r->carry_bytes);
    uqm_arena_finish(&r->arena);
    free(r);
    *report = NULL;
}
