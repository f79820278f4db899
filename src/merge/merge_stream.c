/*
 * A recipe as a source of tiles. The parts of a tensor are read through one io stream in the order
 * that read_steps.h plans; when all parts of a step are there they are scanned, for a pass, or
 * merged on all threads into one buffer. A tile that is only copied is handed on where it was read.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compute/threads.h"
#include "src/base/checked.h"
#include "src/merge/read_steps.h"

enum {
    PAGE_BYTES = 4096,
    MOST_AHEAD = 4,      /* tiles: more memory than for these ... */
    ENOUGH_BUFFERS = 32, /* ... or for this many reads under way gains nothing */
};

struct merge_stream {
    struct uqm_tile_stream stream; /* first: what the consumer holds */
    struct uqm_recipe_source *rs;
    struct uqm_exec *exec;
    struct uqm_cut cut;
    struct uqm_steps steps;
    struct uqm_pieces *pieces;

    size_t tensor;        /* of the last step; n_tensors: none yet */
    struct uqm_pass pass; /* under way */
    struct uqm_pass late; /* where they were left to the ranges of `late_tensor`, n_tensors: none */
    size_t late_tensor;
    uint64_t shown; /* elements of the tensor that were shown to rs->seen */

    /* Steps whose buffers stay filled: chunks of the tensor, in order. The last one is the step's
     * in hand. views[chunk * n_parts + part]; chunks before first_kept are given back. */
    struct uqm_view *views;
    size_t views_cap, n_chunks, first_kept;

    const void **data;     /* [max_parts] of the run in hand */
    struct uqm_seen *seen; /* [max_parts] */
    void *out;
    size_t out_bytes;
    void *notes; /* of the tensor in hand, if it has passes and this is enough for it */
    size_t note_bytes;

    bool defers;              /* mixtures go out as such */
    struct uqm_step deferred; /* the step of the tile in hand, if its mix is not NULL */
    struct uqm_mix mix;
    struct uqm_mix_input *mix_inputs; /* [max_parts] */
    const void **mix_runs;            /* [n_parts][n_runs] of the tile in hand, behind the first */
    size_t mix_runs_cap;
};

static const struct uqm_plan_tensor *plan_of(const struct merge_stream *s, size_t tensor)
{
    return &s->rs->plan[tensor];
}

/* --- memory --- */

/* As io/stream.h rounds its buffers. */
uint64_t uqm_cut_buffer_bytes(const struct uqm_cut *cut)
{
    return uqm_align_up(cut->piece_bytes, PAGE_BYTES) + PAGE_BYTES;
}

static uint64_t own_bytes(const struct uqm_recipe_source *rs, const struct uqm_cut *cut,
                          size_t n_threads)
{
    uint64_t inner = 0;
    for (size_t i = 0; i < rs->n_inner; i++)
        inner += uqm_pieces_inner_memory(rs->inner[i], cut->piece_bytes);
    return uqm_align_up(cut->out_bytes, PAGE_BYTES) + uqm_exec_bytes(&rs->needs, n_threads) +
           (rs->states_once ? rs->most_result_bytes : rs->result_bytes) + inner;
}

uint64_t uqm_merge_stream_own_memory(const struct uqm_recipe_source *rs, size_t tile_bytes)
{
    struct uqm_cut cut;
    uqm_cut_init(&cut, rs, tile_bytes, 0);
    return own_bytes(rs, &cut, (size_t) rs->source.env->n_threads);
}

uint64_t uqm_merge_stream_min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    const struct uqm_recipe_source *rs = (const struct uqm_recipe_source *) source;
    struct uqm_cut cut;
    uqm_cut_init(&cut, rs, tile_bytes, 0);
    return cut.n_buffers * uqm_cut_buffer_bytes(&cut) +
           own_bytes(rs, &cut, (size_t) source->env->n_threads);
}

/* Buffers that this much memory pays for, and no more than are of use. */
static size_t count_buffers(const struct uqm_recipe_source *rs, const struct uqm_cut *cut,
                            size_t n_threads, uint64_t memory_bytes)
{
    uint64_t own = own_bytes(rs, cut, n_threads), n_parts = rs->max_parts ? rs->max_parts : 1;
    uint64_t rest = memory_bytes > own ? (memory_bytes - own) / uqm_cut_buffer_bytes(cut) : 0;
    uint64_t useful = uqm_max_u64(MOST_AHEAD * n_parts, ENOUGH_BUFFERS), keep = 0;
    for (size_t i = 0; i < rs->source.n_tensors; i++)
        if (rs->plan[i].job && rs->plan[i].job->n_passes > 0) {
            uint64_t n = uqm_cut_buffers(cut, rs, i);
            if (n + UQM_TILES_AHEAD * n_parts <= rest)
                keep = uqm_max_u64(keep, n);
        }
    /* behind a tensor that is kept: as its buffers come free others are read into them */
    return (size_t) uqm_min_u64(rest, uqm_max_u64(useful, keep + MOST_AHEAD * n_parts));
}

/* For what methods may note of a tensor: of what is left when the buffers have theirs, and only
 * where the tensors follow each other. */
static uint64_t count_notes(const struct uqm_recipe_source *rs, const struct uqm_cut *cut,
                            size_t n_threads, uint64_t memory_bytes)
{
    uint64_t taken = count_buffers(rs, cut, n_threads, memory_bytes) * uqm_cut_buffer_bytes(cut);
    taken += own_bytes(rs, cut, n_threads);
    uint64_t rest = memory_bytes > taken ? memory_bytes - taken : 0, most = 0;
    for (size_t i = 0; i < rs->source.n_tensors && rs->states_once && !rs->share_parts; i++) {
        const struct uqm_job *job = rs->plan[i].job;
        uint64_t n =
            job && job->n_passes > 0 && job->ops->note_bytes ? job->ops->note_bytes(job) : 0;
        n = uqm_align_up(n, PAGE_BYTES);
        most = n <= rest ? uqm_max_u64(most, n) : most;
    }
    return most;
}

uint64_t uqm_merge_stream_useful_memory(const struct uqm_recipe_source *rs, size_t tile_bytes,
                                        uint64_t memory_bytes)
{
    struct uqm_cut cut;
    size_t n_threads = (size_t) rs->source.env->n_threads;
    uqm_cut_init(&cut, rs, tile_bytes, 0);
    uint64_t n = count_buffers(rs, &cut, n_threads, memory_bytes);
    return uqm_max_u64(n, cut.n_buffers) * uqm_cut_buffer_bytes(&cut) +
           own_bytes(rs, &cut, n_threads) + count_notes(rs, &cut, n_threads, memory_bytes);
}

void uqm_merge_stream_cut(struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                          size_t tile_bytes, uint64_t memory_bytes)
{
    size_t n_threads = (size_t) rs->source.env->n_threads;
    uqm_cut_init(cut, rs, tile_bytes, 0);
    cut->n_buffers =
        (size_t) uqm_max_u64(cut->n_buffers, count_buffers(rs, cut, n_threads, memory_bytes));
}

/* --- what is in hand --- */

static void release_chunks(struct merge_stream *s, size_t end)
{
    size_t n_parts = s->tensor < s->rs->source.n_tensors ? plan_of(s, s->tensor)->n_parts : 0;
    for (; s->first_kept < end; s->first_kept++)
        for (size_t i = 0; i < n_parts; i++) {
            struct uqm_view *v = &s->views[s->first_kept * n_parts + i];
            if (v->slot)
                uqm_pieces_release(s->pieces, v);
        }
    if (s->first_kept == s->n_chunks)
        s->first_kept = s->n_chunks = 0;
}

static int grow_views(struct merge_stream *s, size_t n, struct uqm_err *err)
{
    if (n <= s->views_cap)
        return UQM_OK;
    size_t cap = 2 * n;
    struct uqm_view *grown = realloc(s->views, cap * sizeof *grown);
    if (!grown)
        return uqm_plan_no_memory(s->rs, err);
    s->views = grown;
    s->views_cap = cap;
    return UQM_OK;
}

/* What of the step nobody has seen yet goes to the listener, who wants every byte once. */
static void show(struct merge_stream *s, const struct uqm_step *step)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    const struct uqm_view *views = &s->views[(s->n_chunks - 1) * pt->n_parts];
    uint64_t end = step->first + step->n_elem, from = uqm_max_u64(step->first, s->shown);
    if (from >= end)
        return;
    for (size_t i = 0; i < pt->n_parts; i++) {
        uqm_part_locate(&s->seen[i], s->rs, &pt->parts[i], from, (size_t) (end - from));
        s->seen[i].data = views[i].data + views[i].n_bytes - s->seen[i].n_bytes;
    }
    s->shown = end;
    s->rs->seen(s->rs->seen_ctx, s->seen, pt->n_parts);
}

/* All parts of one step, as one more chunk. */
static int take_chunk(struct merge_stream *s, const struct uqm_step *step, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    int ret = grow_views(s, (s->n_chunks + 1) * pt->n_parts, err);
    if (ret < 0)
        return ret;
    struct uqm_view *views = &s->views[s->n_chunks * pt->n_parts];
    memset(views, 0, pt->n_parts * sizeof *views);
    s->n_chunks++;
    for (size_t i = 0; i < pt->n_parts; i++) {
        ret = uqm_pieces_next(s->pieces, &views[i], err);
        if (ret < 0)
            return ret;
        assert(ret == 1);
    }
    if (s->rs->seen && !step->is_sample)
        show(s, step);
    return UQM_OK;
}

/* Elements [first, first + n) of all parts, which lie in this chunk; it begins with `begin`. */
static struct uqm_span span_of(struct merge_stream *s, size_t chunk, uint64_t begin, uint64_t first,
                               size_t n)
{
    const struct uqm_plan_tensor *pt = plan_of(s, s->tensor);
    for (size_t i = 0; i < pt->n_parts; i++) {
        enum uqm_dtype dtype = pt->job->inputs[i].dtype;
        s->data[i] = s->views[chunk * pt->n_parts + i].data + uqm_dtype_bytes(dtype, first - begin);
    }
    return (struct uqm_span){ .first = first, .n_elem = n, .data = s->data };
}

/* --- passes --- */

static void drop_state(struct merge_stream *s, size_t tensor)
{
    struct uqm_plan_tensor *pt = &s->rs->plan[tensor];
    if (pt->state.result)
        uqm_budget_free(&pt->state.result, s->rs->source.env, pt->job->ops->result_bytes(pt->job));
    pt->state.notes = NULL;
    pt->ready = false;
}

static int begin_passes(struct merge_stream *s, size_t tensor, bool keeps, struct uqm_err *err)
{
    struct uqm_plan_tensor *pt = &s->rs->plan[tensor];
    const struct uqm_job *job = pt->job;
    size_t n = job->ops->result_bytes ? job->ops->result_bytes(job) : 0;
    drop_state(s, tensor); /* what an earlier stream left unfinished */
    if (n > 0) {
        int ret = uqm_budget_alloc(&pt->state.result, s->rs->source.env, n, 64,
                                   "the statistics of a tensor", err);
        if (ret < 0)
            return ret;
    }
    n = job->ops->note_bytes ? (size_t) job->ops->note_bytes(job) : 0;
    pt->state.notes = n > 0 && n <= s->note_bytes ? s->notes : NULL;
    pt->state.kept = keeps;
    uqm_exec_begin(s->exec, job, &pt->state, &s->pass);
    assert(s->pass.number == 0 && s->pass.n_blocks == job->n_blocks);
    return UQM_OK;
}

static int end_pass(struct merge_stream *s, size_t tensor, struct uqm_err *err)
{
    struct uqm_plan_tensor *pt = &s->rs->plan[tensor];
    int ret = uqm_exec_end_pass(s->exec, pt->job, &pt->state, &s->pass, err);
    pt->ready = ret == UQM_OK && s->pass.number == pt->job->n_passes;
    return ret;
}

/* The passes behind the first, over a tensor that is kept whole. */
static int pass_over_kept(struct merge_stream *s, size_t tensor, struct uqm_err *err)
{
    const struct uqm_job *job = plan_of(s, tensor)->job;
    uint64_t cut = uqm_cut_elem(&s->cut, s->rs, tensor);
    while (s->pass.number < job->n_passes) {
        uint64_t at = s->pass.first_block * job->block_elem;
        uint64_t end = at + s->pass.n_blocks * job->block_elem;
        end = uqm_min_u64(end, job->n_elem);
        int ret = uqm_check_cancel(s->rs->source.env, err);
        if (ret < 0)
            return ret;
        while (at < end) {
            uint64_t chunk = at / cut, n = uqm_min_u64((chunk + 1) * cut, end) - at;
            struct uqm_span span = span_of(s, (size_t) chunk, chunk * cut, at, (size_t) n);
            uqm_pieces_read_ahead(s->pieces);
            uqm_exec_scan(s->exec, job, &s->rs->plan[tensor].state, &s->pass, &span);
            at += n;
        }
        ret = end_pass(s, tensor, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* Passes that can go along with others, or with the ranges, do. */
static void leave_late(struct merge_stream *s, const struct uqm_step *step)
{
    struct uqm_plan_tensor *pt = &s->rs->plan[step->tensor];
    unsigned first, end;
    if (!pt->job->ops->late_passes)
        return;
    pt->job->ops->late_passes(pt->job, &first, &end);
    if (end == pt->job->n_passes && !(s->rs->ranges_in_order && step->range.first_elem == 0))
        return;
    s->late = uqm_exec_leave_late(s->exec, pt->job, &pt->state, &s->pass);
    if (s->late.number == 0)
        return;
    s->late_tensor = step->tensor;
    pt->ready = s->pass.number == pt->job->n_passes;
}

/* Before the elements of a step are scanned or merged: the late passes of them. */
static int settle(struct merge_stream *s, const struct uqm_step *step, const struct uqm_span *span,
                  struct uqm_err *err)
{
    struct uqm_plan_tensor *pt = &s->rs->plan[step->tensor];
    if (s->late_tensor != step->tensor)
        return UQM_OK;
    return uqm_exec_settle(s->exec, pt->job, &pt->state, &s->late, span, err);
}

static int do_pass(struct merge_stream *s, const struct uqm_step *step, struct uqm_err *err)
{
    struct uqm_plan_tensor *pt = &s->rs->plan[step->tensor];
    int ret = UQM_OK;
    if (step->begins)
        ret = begin_passes(s, step->tensor, step->keeps, err);
    if (ret == UQM_OK)
        ret = take_chunk(s, step, err);
    if (ret < 0)
        return ret;
    struct uqm_span span = span_of(s, s->n_chunks - 1, step->first, step->first, step->n_elem);
    if (step->is_sample) {
        uqm_exec_sample(s->exec, pt->job, &pt->state, &span);
        if (step->last)
            pt->job->ops->end_sample(pt->job, &pt->state);
        release_chunks(s, s->n_chunks);
        return UQM_OK;
    }
    ret = settle(s, step, &span, err);
    if (ret < 0)
        return ret;
    uqm_exec_scan(s->exec, pt->job, &pt->state, &s->pass, &span);
    if (!step->keeps)
        release_chunks(s, s->n_chunks);
    if (!step->last)
        return UQM_OK;
    ret = end_pass(s, step->tensor, err);
    s->late_tensor = s->rs->source.n_tensors;
    if (ret == UQM_OK && step->keeps)
        return pass_over_kept(s, step->tensor, err);
    if (ret == UQM_OK)
        leave_late(s, step);
    bool waited_for = s->steps.waiting && s->steps.range.tensor == step->tensor;
    if (ret == UQM_OK && waited_for) /* else the planner is ahead, at the next tensor's passes */
        uqm_steps_go_on(&s->steps, &s->pass);
    return ret;
}

/* --- ranges --- */

static int compare_parts(struct merge_stream *s, const struct uqm_range *range, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = plan_of(s, range->tensor);
    const struct uqm_view *views = s->views; /* the one chunk there is */
    for (size_t i = 1; i < pt->n_parts; i++) {
        const uint8_t *a = views[0].data, *b = views[i].data;
        if (memcmp(a, b, views[0].n_bytes) == 0)
            continue;
        const struct uqm_tensor *t = &s->rs->source.tensors[range->tensor];
        size_t at = 0;
        while (a[at] == b[at])
            at++;
        struct uqm_printable name;
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "tensor %s: %s and %s differ from byte %" PRIu64 " on; it is not averaged, "
                        "so all inputs must hold the same",
                        uqm_printable(&name, t->name, strlen(t->name)),
                        s->rs->inputs[pt->parts[0].input].model->path,
                        s->rs->inputs[pt->parts[i].input].model->path,
                        uqm_dtype_bytes(t->dtype, range->first_elem) + at);
    }
    return UQM_OK;
}

/* Tell the listener of a run of merged elements, as far as they are the consumer's. */
static void tell_merged(struct merge_stream *s, const struct uqm_step *step,
                        const struct uqm_span *span, const void *out)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    uint64_t from = uqm_max_u64(span->first, step->range.first_elem);
    uint64_t end =
        uqm_min_u64(span->first + span->n_elem, step->range.first_elem + step->range.n_elem);
    if (!s->rs->merged || pt->fate != UQM_FATE_MERGED || from >= end)
        return;
    const struct uqm_range range = { step->tensor, from, (size_t) (end - from) };
    for (size_t i = 0; i < pt->n_parts; i++) {
        uqm_part_locate(&s->seen[i], s->rs, &pt->parts[i], from, range.n_elem);
        s->seen[i].data = (const char *) span->data[i] +
                          uqm_dtype_bytes(pt->job->inputs[i].dtype, from - span->first);
    }
    s->rs->merged(s->rs->merged_ctx, &range, s->seen,
                  (const char *) out + uqm_dtype_bytes(pt->job->out, from - span->first));
}

/* Merge elements that lie in one chunk, to their place in the buffer of the whole range. */
static void merge_run(struct merge_stream *s, const struct uqm_step *step,
                      const struct uqm_span *span)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    uint64_t origin = step->range.first_elem / pt->job->unit_elem * pt->job->unit_elem;
    char *dst = (char *) s->out + uqm_dtype_bytes(pt->job->out, span->first - origin);
    assert((size_t) (dst - (char *) s->out) + uqm_dtype_bytes(pt->job->out, span->n_elem) <=
           s->out_bytes);
    uqm_exec_merge(s->exec, pt->job, &pt->state, dst, span);
    tell_merged(s, step, span, dst);
}

/* Chunks of a kept tensor that are done with once the elements below `end` are. */
static void release_kept(struct merge_stream *s, size_t tensor, uint64_t end)
{
    const uint64_t cut = uqm_cut_elem(&s->cut, s->rs, tensor);
    release_chunks(s, end == s->rs->source.tensors[tensor].n_elem ? s->n_chunks
                                                                  : (size_t) (end / cut));
}

/* A range of a tensor that is kept; chunks are given back as they are done with. */
static void merge_kept(struct merge_stream *s, const struct uqm_step *step)
{
    uint64_t cut = uqm_cut_elem(&s->cut, s->rs, step->tensor), at = step->first;
    uint64_t end = at + step->n_elem;
    while (at < end) {
        uint64_t chunk = at / cut, n = uqm_min_u64((chunk + 1) * cut, end) - at;
        struct uqm_span span = span_of(s, (size_t) chunk, chunk * cut, at, (size_t) n);
        merge_run(s, step, &span);
        at += n;
        release_kept(s, step->tensor, at);
        uqm_pieces_read_ahead(s->pieces);
    }
}

/* Where the tile lies when all of its steps are done. */
static void fill_tile(struct merge_stream *s, const struct uqm_step *step, struct uqm_tile *tile)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    const struct uqm_tensor *t = &s->rs->source.tensors[step->tensor];
    *tile = (struct uqm_tile){ .range = step->range, .data = "" };
    tile->n_bytes = (size_t) uqm_dtype_bytes(t->dtype, step->range.n_elem);
    if (step->range.n_elem == 0)
        return;
    if (!pt->job) {
        tile->data = s->views[0].data; /* released with the tile */
        return;
    }
    uint64_t skip = step->range.first_elem % pt->job->unit_elem;
    tile->data = (const char *) s->out + uqm_dtype_bytes(t->dtype, skip);
}

/* Chunks of a kept tensor that a step's elements lie in: first_chunk and how many more. */
static size_t more_chunks(size_t *first_chunk, const struct merge_stream *s,
                          const struct uqm_step *step)
{
    *first_chunk = 0;
    if (step->reads)
        return 0;
    const uint64_t cut = uqm_cut_elem(&s->cut, s->rs, step->tensor);
    *first_chunk = (size_t) (step->first / cut);
    return (size_t) ((step->first + step->n_elem - 1) / cut) - *first_chunk;
}

static int grow_runs(struct merge_stream *s, size_t n, struct uqm_err *err)
{
    if (n <= s->mix_runs_cap)
        return UQM_OK;
    const void **grown = realloc(s->mix_runs, n * sizeof *grown);
    if (!grown)
        return uqm_plan_no_memory(s->rs, err);
    s->mix_runs = grown;
    s->mix_runs_cap = n;
    return UQM_OK;
}

/* The mixture's inputs stand in the order of the parts, the base last. */
static int aim_runs(struct merge_stream *s, const struct uqm_step *step, size_t first_chunk,
                    size_t n_more, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    const uint64_t cut = uqm_cut_elem(&s->cut, s->rs, step->tensor);
    const int ret = grow_runs(s, n_more * pt->n_parts, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0, at = 0; i < pt->n_parts; i++) {
        const bool is_base = (long) i == pt->job->base;
        const void **runs = &s->mix_runs[i * n_more];
        for (size_t c = 0; c < n_more; c++)
            runs[c] = s->views[(first_chunk + 1 + c) * pt->n_parts + i].data;
        s->mix_inputs[is_base ? pt->n_parts - 1 : at++].later = runs;
    }
    s->mix.run_first = (size_t) ((first_chunk + 1) * cut - step->first);
    s->mix.run_elem = (size_t) cut;
    return UQM_OK;
}

/* 1: a range in one step whose merge the consumer can make; 0: it is none. Listeners want to see it
 * made. */
static int defer_range(struct merge_stream *s, const struct uqm_step *step, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = plan_of(s, step->tensor);
    const struct uqm_job *job = pt->job;
    size_t chunk, n_more;
    s->deferred = (struct uqm_step){ 0 };
    if (!s->defers || !job || !job->ops->mixes || s->rs->merged || step->n_elem == 0 ||
        step->first != step->range.first_elem || step->n_elem != step->range.n_elem)
        return 0;
    n_more = more_chunks(&chunk, s, step);
    const uint64_t begin =
        step->reads ? step->first : chunk * uqm_cut_elem(&s->cut, s->rs, step->tensor);
    const struct uqm_span span = span_of(s, chunk, begin, step->first, step->n_elem);
    if (!job->ops->as_mix(job, &pt->state, &span, &s->mix, s->mix_inputs))
        return 0;
    const int ret = n_more > 0 ? aim_runs(s, step, chunk, n_more, err) : UQM_OK;
    if (ret < 0)
        return ret;
    s->deferred = *step;
    return 1;
}

static void settle_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    struct merge_stream *s = (struct merge_stream *) stream;
    const struct uqm_step *step = &s->deferred;
    assert(tile->mix == &s->mix);
    if (step->reads) {
        const struct uqm_span span = span_of(s, 0, step->first, step->first, step->n_elem);
        merge_run(s, step, &span);
    } else {
        merge_kept(s, step);
    }
    fill_tile(s, step, tile);
}

static int read_range(struct merge_stream *s, const struct uqm_step *step, struct uqm_err *err)
{
    release_chunks(s, s->n_chunks);
    int ret = take_chunk(s, step, err);
    if (ret < 0)
        return ret;
    if (plan_of(s, step->tensor)->fate == UQM_FATE_EQUAL)
        return compare_parts(s, &step->range, err);
    if (!plan_of(s, step->tensor)->job)
        return UQM_OK;
    const struct uqm_span span = span_of(s, 0, step->first, step->first, step->n_elem);
    return settle(s, step, &span, err);
}

/* All of the step's elements are there: merge them. */
static void merge_step(struct merge_stream *s, const struct uqm_step *step)
{
    if (!step->reads) {
        merge_kept(s, step);
    } else if (plan_of(s, step->tensor)->job) {
        struct uqm_span span = span_of(s, 0, step->first, step->first, step->n_elem);
        merge_run(s, step, &span);
        release_chunks(s, s->n_chunks);
    }
}

static int do_range(struct merge_stream *s, const struct uqm_step *step, struct uqm_tile *tile,
                    struct uqm_err *err)
{
    int ret = step->reads ? read_range(s, step, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = defer_range(s, step, err);
    if (ret < 0)
        return ret;
    if (ret == 1) {
        fill_tile(s, step, tile);
        tile->data = NULL;
        tile->mix = &s->mix;
        return UQM_OK;
    }
    if (step->n_elem > 0)
        merge_step(s, step);
    if (step->last)
        fill_tile(s, step, tile);
    return UQM_OK;
}

/* --- the stream --- */

static void enter_tensor(struct merge_stream *s, size_t tensor)
{
    if (s->tensor == tensor)
        return;
    release_chunks(s, s->n_chunks);
    if (s->tensor < s->rs->source.n_tensors && s->rs->states_once)
        drop_state(s, s->tensor);
    s->tensor = tensor;
    s->shown = 0;
}

static int next_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct merge_stream *s = (struct merge_stream *) stream;
    struct uqm_step step;
    do {
        int ret = uqm_steps_take(&s->steps, &step, err);
        if (ret <= 0)
            return ret;
        enter_tensor(s, step.tensor);
        ret = step.is_pass ? do_pass(s, &step, err) : do_range(s, &step, tile, err);
        if (ret < 0)
            return ret;
    } while (step.is_pass || !step.last);
    return 1;
}

static void release_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    struct merge_stream *s = (struct merge_stream *) stream;
    const struct uqm_step *deferred = &s->deferred;
    const uint64_t end = deferred->first + deferred->n_elem;
    if (!plan_of(s, s->tensor)->job || deferred->reads)
        release_chunks(s, s->n_chunks);
    else if (deferred->n_elem > 0)
        release_kept(s, deferred->tensor, end);
    s->deferred = (struct uqm_step){ 0 };
    *tile = (struct uqm_tile){ 0 };
}

static void destroy_stream(struct uqm_tile_stream *stream)
{
    struct merge_stream *s = (struct merge_stream *) stream;
    struct uqm_env *env = s->rs->source.env;
    if (s->tensor < s->rs->source.n_tensors &&
        (s->rs->states_once || !s->rs->plan[s->tensor].ready))
        drop_state(s, s->tensor);
    uqm_pieces_destroy(&s->pieces);
    uqm_exec_destroy(&s->exec);
    uqm_steps_finish(&s->steps);
    uqm_budget_free(&s->out, env, s->out_bytes);
    uqm_budget_free(&s->notes, env, s->note_bytes);
    free(s->views);
    free(s->data);
    free(s->seen);
    free(s->mix_inputs);
    free(s->mix_runs);
    free(s);
}

static void defer(struct uqm_tile_stream *stream)
{
    ((struct merge_stream *) stream)->defers = true;
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = next_tile,
    .release = release_tile,
    .destroy = destroy_stream,
    .defer = defer,
    .settle = settle_tile,
};

static int allocate(struct merge_stream *s, struct uqm_threads *threads, uint64_t memory_bytes,
                    struct uqm_err *err)
{
    struct uqm_recipe_source *rs = s->rs;
    struct uqm_env *env = rs->source.env;
    size_t n_parts = rs->max_parts ? rs->max_parts : 1, least = s->cut.n_buffers;
    size_t n_threads = (size_t) uqm_threads_count(threads);
    size_t n_buffers = count_buffers(rs, &s->cut, n_threads, memory_bytes);
    s->out_bytes = (size_t) uqm_align_up(s->cut.out_bytes, PAGE_BYTES);
    s->data = calloc(n_parts, sizeof *s->data);
    s->seen = calloc(n_parts, sizeof *s->seen);
    s->mix_inputs = calloc(n_parts, sizeof *s->mix_inputs);
    if (!s->data || !s->seen || !s->mix_inputs)
        return uqm_plan_no_memory(rs, err);
    s->note_bytes = (size_t) count_notes(rs, &s->cut, n_threads, memory_bytes);
    int ret = uqm_budget_alloc(&s->out, env, s->out_bytes, 64, "the merged tile", err);
    if (ret == UQM_OK && s->note_bytes > 0)
        ret = uqm_budget_alloc(&s->notes, env, s->note_bytes, 64, "the draws of a tensor", err);
    if (ret == UQM_OK)
        ret = uqm_exec_create(&s->exec, env, threads, &rs->needs, env->seed, err);
    const struct uqm_pieces_params pieces = {
        .share = rs->share,
        .piece_bytes = s->cut.piece_bytes,
        .min_pieces = least,
        .memory_bytes = n_buffers * uqm_cut_buffer_bytes(&s->cut),
        .threads = threads,
        .next = uqm_steps_next_piece,
        .ctx = &s->steps,
    };
    if (ret == UQM_OK)
        ret = uqm_pieces_create(&s->pieces, env, &pieces, err);
    if (ret == UQM_OK)
        s->cut.n_buffers = rs->share ? rs->share_buffers : uqm_pieces_n_buffers(s->pieces);
    return ret;
}

int uqm_merge_stream_open(struct uqm_tile_stream **out, struct uqm_source *source,
                          struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                          uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = (struct uqm_recipe_source *) source;
    uint64_t least = rs->share ? uqm_merge_stream_own_memory(rs, tile_bytes)
                               : uqm_merge_stream_min_memory(source, tile_bytes);
    if (memory_bytes < least)
        return uqm_fail(err, UQM_ERR_NOMEM,
                        "--memory: merging %zu models in tiles of %zu bytes needs %" PRIu64
                        " bytes, %" PRIu64 " are left; give more memory",
                        rs->n_inputs, tile_bytes, least, memory_bytes);
    struct merge_stream *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_plan_no_memory(rs, err);
    s->stream.ops = &stream_ops;
    s->rs = rs;
    s->tensor = s->late_tensor = rs->source.n_tensors;
    uqm_cut_init(&s->cut, rs, tile_bytes, 0);
    s->steps = (struct uqm_steps){ .rs = rs, .cut = &s->cut, .next = next, .ctx = ctx };
    int ret = uqm_steps_init(&s->steps, err);
    if (ret == UQM_OK)
        ret = allocate(s, threads, memory_bytes, err);
    if (ret < 0)
        destroy_stream(&s->stream);
    else
        *out = &s->stream;
    return ret;
}
