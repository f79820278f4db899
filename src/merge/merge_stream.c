/*
 * A recipe as a source of tiles. For each range the same elements of every part are read through
 * one io stream, in the order tile, then part; when all parts of a tile are there they are merged
 * chunk by chunk on all threads into one buffer. A tile that is only copied is handed on where it
 * was read.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compute/threads.h"
#include "io/stream.h"
#include "src/base/checked.h"
#include "src/checkpoint/range_queue.h"
#include "src/merge/linear.h"
#include "src/merge/plan.h"

enum {
    PAGE_BYTES = 4096,
    N_AHEAD = 2,         /* tiles: one in hand, one on its way */
    MOST_AHEAD = 4,      /* more memory than for these ... */
    ENOUGH_BUFFERS = 32, /* ... or for this many reads under way gains nothing */
    FEWEST_PARALLEL = 4, /* chunks: below, waking the threads costs more than it saves */
};

struct merge_stream {
    struct uqm_tile_stream stream; /* first: what the consumer holds */
    struct uqm_recipe_source *rs;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    uqm_next_range_fn next;
    void *ctx;
    struct uqm_stream *pieces;

    struct uqm_range_queue queue; /* ranges whose pieces were asked for */
    struct uqm_range planning;    /* the range whose parts are being asked for */
    size_t planning_part;
    bool has_planning, ended, out_of_memory;

    size_t n_views; /* of the tile in hand */
    struct uqm_view *views;
    struct uqm_linear_input *inputs;
    struct uqm_seen *seen;
    void *out, *scratch;
    size_t out_bytes, scratch_bytes;
};

/* --- memory --- */

static size_t piece_bytes_of(const struct uqm_recipe_source *rs, size_t tile_bytes)
{
    return tile_bytes * rs->widening;
}

/* As io/stream.h rounds its buffers. */
static uint64_t buffer_bytes(const struct uqm_recipe_source *rs, size_t tile_bytes)
{
    return uqm_align_up(piece_bytes_of(rs, tile_bytes), PAGE_BYTES) + PAGE_BYTES;
}

static uint64_t own_bytes(const struct uqm_recipe_source *rs, size_t tile_bytes, size_t n_threads)
{
    (void) rs;
    return uqm_align_up(tile_bytes, PAGE_BYTES) + n_threads * (uint64_t) UQM_LINEAR_SCRATCH_BYTES;
}

uint64_t uqm_merge_stream_min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    const struct uqm_recipe_source *rs = (const struct uqm_recipe_source *) source;
    uint64_t n_parts = rs->max_parts ? rs->max_parts : 1;
    return N_AHEAD * n_parts * buffer_bytes(rs, tile_bytes) +
           own_bytes(rs, tile_bytes, (size_t) source->env->n_threads);
}

/* --- asking ahead --- */

/* Where part p of a range lies. */
static void locate(struct uqm_seen *out, const struct uqm_recipe_source *rs,
                   const struct uqm_plan_part *p, const struct uqm_range *range)
{
    const struct uqm_checkpoint *cp = rs->inputs[p->input].checkpoint;
    const struct uqm_tensor *t = &cp->source.tensors[p->tensor];
    const struct uqm_location *at = &cp->locations[p->tensor];
    *out = (struct uqm_seen){
        .input = p->input,
        .file = at->file,
        .off_bytes = at->off_bytes + uqm_dtype_bytes(t->dtype, range->first_elem),
        .n_bytes = (size_t) uqm_dtype_bytes(t->dtype, range->n_elem),
    };
}

/* Queue the consumer's next range, whose parts are then asked for. false: there is none. */
static bool plan_range(struct merge_stream *s)
{
    if (s->ended || s->out_of_memory)
        return false;
    struct uqm_range range;
    if (!s->next(s->ctx, &range)) {
        s->ended = true;
        return false;
    }
    assert(range.tensor < s->rs->source.n_tensors);
    assert(range.n_elem <= s->rs->source.tensors[range.tensor].n_elem);
    assert(range.first_elem <= s->rs->source.tensors[range.tensor].n_elem - range.n_elem);
    if (!uqm_range_queue_push(&s->queue, &range)) {
        s->out_of_memory = true;
        return false;
    }
    s->planning = range;
    s->planning_part = 0;
    s->has_planning = range.n_elem > 0;
    return true;
}

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct merge_stream *s = ctx;
    while (!s->has_planning) {
        if (!plan_range(s))
            return 0;
    }
    const struct uqm_plan_tensor *pt = &s->rs->plan[s->planning.tensor];
    const struct uqm_plan_part *p = &pt->parts[s->planning_part];
    struct uqm_seen at;
    locate(&at, s->rs, p, &s->planning);
    *piece = (struct uqm_piece){
        .file = s->rs->inputs[p->input].checkpoint->files[at.file],
        .off_bytes = at.off_bytes,
        .n_bytes = at.n_bytes,
    };
    if (++s->planning_part == pt->n_parts)
        s->has_planning = false;
    return 1;
}

/* --- the tile in hand --- */

static void release_views(struct merge_stream *s, size_t keep)
{
    for (size_t i = keep; i < s->n_views; i++)
        uqm_stream_release(s->pieces, &s->views[i]);
    s->n_views = keep < s->n_views ? keep : s->n_views;
}

/* All parts of one range. */
static int take_views(struct merge_stream *s, const struct uqm_range *range, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = &s->rs->plan[range->tensor];
    for (size_t i = 0; i < pt->n_parts; i++) {
        int ret = uqm_stream_next(s->pieces, &s->views[i], err);
        if (ret < 0)
            return ret;
        assert(ret == 1);
        s->n_views = i + 1;
        const struct uqm_plan_part *p = &pt->parts[i];
        locate(&s->seen[i], s->rs, p, range);
        assert(s->seen[i].n_bytes == s->views[i].n_bytes);
        s->seen[i].data = s->views[i].data;
        s->inputs[i] = (struct uqm_linear_input){
            .data = s->views[i].data,
            .dtype = s->rs->inputs[p->input].checkpoint->source.tensors[p->tensor].dtype,
            .weight = p->weight,
        };
    }
    if (s->rs->seen)
        s->rs->seen(s->rs->seen_ctx, s->seen, pt->n_parts);
    return UQM_OK;
}

static int compare_parts(struct merge_stream *s, const struct uqm_range *range, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = &s->rs->plan[range->tensor];
    const uint8_t *a = s->views[0].data;
    for (size_t i = 1; i < pt->n_parts; i++) {
        const uint8_t *b = s->views[i].data;
        if (memcmp(a, b, s->views[0].n_bytes) == 0)
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

struct chunks {
    struct merge_stream *s;
    const struct uqm_linear_job *job;
    size_t n_elem;
    bool merge;
};

static void do_chunk(void *ctx, size_t item, int worker)
{
    struct chunks *c = ctx;
    size_t first = item * UQM_LINEAR_CHUNK;
    size_t n = c->n_elem - first < UQM_LINEAR_CHUNK ? c->n_elem - first : UQM_LINEAR_CHUNK;
    char *dst = (char *) c->s->out + first * (uqm_dtype_bits(c->job->out) / 8);
    char *scratch = (char *) c->s->scratch + (size_t) worker * UQM_LINEAR_SCRATCH_BYTES;
    if (c->merge)
        uqm_linear_merge(dst, c->job, first, n, scratch);
    else
        uqm_linear_convert(dst, c->job, first, n, scratch);
}

static void compute(struct merge_stream *s, const struct uqm_range *range)
{
    const struct uqm_plan_tensor *pt = &s->rs->plan[range->tensor];
    const struct uqm_linear_job job = {
        .kernels = &s->kernels,
        .n_inputs = pt->n_parts,
        .inputs = s->inputs,
        .work = pt->work,
        .out = s->rs->source.tensors[range->tensor].dtype,
        .normalize = pt->normalize,
        .sum = pt->sum,
    };
    struct chunks c = {
        .s = s, .job = &job, .n_elem = range->n_elem, .merge = pt->fate == UQM_FATE_MERGED
    };
    size_t n_chunks = (range->n_elem + UQM_LINEAR_CHUNK - 1) / UQM_LINEAR_CHUNK;
    uqm_parallel(n_chunks < FEWEST_PARALLEL ? NULL : s->threads, n_chunks, do_chunk, &c);
}

/* The range whose turn it is. 0: the end. The io stream queues ranges as it asks for pieces; while
 * it has not been asked yet, or there are only ranges without bytes, the queue is filled here. */
static int take_range(struct merge_stream *s, struct uqm_range *range, struct uqm_err *err)
{
    if (!uqm_range_queue_first(&s->queue) && !plan_range(s))
        return s->out_of_memory ? uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to plan reads",
                                           s->rs->recipe->where)
                                : 0;
    *range = uqm_range_queue_pop(&s->queue);
    return 1;
}

static int next_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct merge_stream *s = (struct merge_stream *) stream;
    struct uqm_range range;
    int ret = take_range(s, &range, err);
    if (ret <= 0)
        return ret;
    const struct uqm_plan_tensor *pt = &s->rs->plan[range.tensor];
    const struct uqm_tensor *t = &s->rs->source.tensors[range.tensor];
    *tile = (struct uqm_tile){ .range = range, .data = "" };
    if (range.n_elem == 0)
        return 1;
    ret = take_views(s, &range, err);
    if (ret == UQM_OK && pt->fate == UQM_FATE_EQUAL)
        ret = compare_parts(s, &range, err);
    if (ret < 0)
        return ret;
    tile->n_bytes = (size_t) uqm_dtype_bytes(t->dtype, range.n_elem);
    assert(tile->n_bytes <= s->out_bytes);
    bool as_it_is =
        pt->fate == UQM_FATE_EQUAL ||
        (pt->fate == UQM_FATE_COPIED && s->inputs[0].dtype == pt->work && pt->work == t->dtype);
    if (as_it_is) {
        release_views(s, 1);
        tile->data = s->views[0].data;
    } else {
        compute(s, &range);
        if (s->rs->merged && pt->fate == UQM_FATE_MERGED)
            s->rs->merged(s->rs->merged_ctx, &range, s->seen, s->out);
        release_views(s, 0);
        tile->data = s->out;
    }
    return 1;
}

static void release_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    release_views((struct merge_stream *) stream, 0);
    *tile = (struct uqm_tile){ 0 };
}

static void destroy_stream(struct uqm_tile_stream *stream)
{
    struct merge_stream *s = (struct merge_stream *) stream;
    struct uqm_env *env = s->rs->source.env;
    uqm_stream_destroy(&s->pieces);
    uqm_budget_free(&s->out, env, s->out_bytes);
    uqm_budget_free(&s->scratch, env, s->scratch_bytes);
    uqm_range_queue_finish(&s->queue);
    free(s->views);
    free(s->inputs);
    free(s->seen);
    free(s);
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = next_tile,
    .release = release_tile,
    .destroy = destroy_stream,
};

static int allocate(struct merge_stream *s, size_t tile_bytes, uint64_t memory_bytes,
                    struct uqm_err *err)
{
    struct uqm_env *env = s->rs->source.env;
    size_t n_parts = s->rs->max_parts ? s->rs->max_parts : 1;
    size_t n_threads = s->threads ? (size_t) uqm_threads_count(s->threads) : 1;
    s->out_bytes = (size_t) uqm_align_up(tile_bytes, PAGE_BYTES);
    s->scratch_bytes = n_threads * UQM_LINEAR_SCRATCH_BYTES;
    s->views = calloc(n_parts, sizeof *s->views);
    s->inputs = calloc(n_parts, sizeof *s->inputs);
    s->seen = calloc(n_parts, sizeof *s->seen);
    if (!s->views || !s->inputs || !s->seen)
        return uqm_plan_no_memory(s->rs, err);
    uint64_t most =
        uqm_max_u64(MOST_AHEAD * n_parts, ENOUGH_BUFFERS) * buffer_bytes(s->rs, tile_bytes);
    uint64_t rest = memory_bytes - own_bytes(s->rs, tile_bytes, n_threads);
    int ret = uqm_budget_alloc(&s->out, env, s->out_bytes, 64, "the merged tile", err);
    if (ret == UQM_OK)
        ret = uqm_budget_alloc(&s->scratch, env, s->scratch_bytes, 64, "the accumulators", err);
    if (ret == UQM_OK)
        ret = uqm_stream_create(&s->pieces, env, piece_bytes_of(s->rs, tile_bytes),
                                N_AHEAD * n_parts, uqm_min_u64(rest, most), next_piece, s, err);
    return ret;
}

int uqm_merge_stream_open(struct uqm_tile_stream **out, struct uqm_source *source,
                          struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                          uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = (struct uqm_recipe_source *) source;
    uint64_t least = uqm_merge_stream_min_memory(source, tile_bytes);
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
    s->threads = threads;
    s->next = next;
    s->ctx = ctx;
    uqm_kernels_init(&s->kernels, uqm_cpu_flags());
    int ret = allocate(s, tile_bytes, memory_bytes, err);
    if (ret < 0)
        destroy_stream(&s->stream);
    else
        *out = &s->stream;
    return ret;
}
