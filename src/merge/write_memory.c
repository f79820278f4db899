/* How the memory of a run is divided: tiles, the buffers that are read into, the sinks. */
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/read_steps.h"
#include "src/merge/share.h"
#include "src/merge/writer.h"

enum { MIB = 1 << 20, MOST_TILE_BYTES = 4 * MIB, LEAST_TILE_BYTES = 4096 };
enum { LEAST_SINK_BYTES = 128 << 10, MOST_SINK_BYTES = 16 * MIB };

static uint64_t largest_tensor(const struct uqm_recipe_source *rs)
{
    uint64_t most = 0;
    for (size_t i = 0; i < rs->source.n_tensors; i++)
        most = uqm_max_u64(most, rs->source.tensors[i].n_bytes);
    return most;
}

/* --- one merge --- */

/* What tiles of this size need at least, beside the sinks. */
static uint64_t least_memory(struct uqm_write_plan *w, const struct uqm_recipe_source *rs,
                             size_t tile)
{
    w->report_bytes = uqm_merge_report_memory(rs, tile, (size_t) rs->source.env->n_threads);
    w->form_bytes = (uint64_t) w->growth * tile;
    return uqm_source_min_memory(&rs->source, tile) + w->report_bytes + w->form_bytes;
}

static int too_little(size_t n_models, uint64_t needs, uint64_t left, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM,
                    "--memory: merging %zu models needs %.1f MiB at least, %.1f MiB are left; "
                    "give more memory",
                    n_models, (double) needs / MIB, (double) left / MIB);
}

static size_t largest_tile(uint64_t largest)
{
    size_t tile = MOST_TILE_BYTES;
    while (tile > LEAST_TILE_BYTES && tile / 2 >= largest)
        tile /= 2;
    return tile;
}

/* A power of two. */
static size_t least_tile(const struct uqm_write_plan *w)
{
    size_t tile = LEAST_TILE_BYTES;
    while (tile < w->least_tile_bytes)
        tile *= 2;
    return tile;
}

/* The largest tiles of which enough fit; a stream gains nothing from more than a few of each, nor
 * from more than there is to read. */
static int divide_for_one(struct uqm_write_plan *w, struct uqm_recipe_source *rs,
                          struct uqm_err *err)
{
    uint64_t left = uqm_budget_left(rs->source.env);
    w->sink_bytes = uqm_min_u64(uqm_max_u64(left / 8, LEAST_SINK_BYTES), MOST_SINK_BYTES);
    uint64_t rest = left > w->sink_bytes ? left - w->sink_bytes : 0;
    const size_t floor = least_tile(w);
    size_t tile = largest_tile(largest_tensor(rs));
    tile = tile > floor ? tile : floor;
    while (tile > floor && least_memory(w, rs, tile) > rest)
        tile /= 2;
    uint64_t least = least_memory(w, rs, tile);
    if (least > rest)
        return too_little(rs->n_inputs, least + w->sink_bytes, left, err);
    w->tile_bytes = tile;
    w->stream_bytes =
        uqm_merge_stream_useful_memory(rs, tile, rest - w->report_bytes - w->form_bytes);
    return UQM_OK;
}

/* --- several --- */

/* The same files, in two plans. */
static bool same_input(const struct uqm_checkpoint *a, const struct uqm_checkpoint *b)
{
    return a->n_files > 0 && b->n_files > 0 &&
           a->files[0]->stat.st_dev == b->files[0]->stat.st_dev &&
           a->files[0]->stat.st_ino == b->files[0]->stat.st_ino;
}

static bool seen_before(const struct uqm_writer *w, size_t writer, size_t input)
{
    for (size_t j = 0; j < writer; j++)
        for (size_t k = 0; k < w[j].rs->n_inputs; k++)
            if (same_input(w[j].rs->inputs[k].checkpoint, w[writer].rs->inputs[input].checkpoint))
                return true;
    return false;
}

/* Parts that a tensor has in all merges together, those of one input once; or, where merges cut
 * differently, as if no two had one in common. */
static size_t count_parts(const struct uqm_writer *w, size_t n, bool aligned)
{
    size_t distinct = 0, most = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        all += w[i].rs->max_parts;
        most = w[i].rs->max_parts > most ? w[i].rs->max_parts : most;
        for (size_t k = 0; k < w[i].rs->n_inputs; k++)
            distinct += !seen_before(w, i, k);
    }
    return aligned && distinct >= most ? distinct : all;
}

/* Whether pieces of two merges that keep a tensor are the same pieces. */
static bool is_aligned(const struct uqm_writer *a, const struct uqm_writer *b, size_t tile)
{
    struct uqm_cut cut_a, cut_b;
    uqm_cut_init(&cut_a, a->rs, tile, 0);
    uqm_cut_init(&cut_b, b->rs, tile, 0);
    for (size_t i = 0; i < a->rs->source.n_tensors; i++) {
        const struct uqm_job *x = a->rs->plan[i].job;
        long at = uqm_source_find(&b->rs->source, a->rs->source.tensors[i].canonical);
        const struct uqm_job *y = at >= 0 ? b->rs->plan[at].job : NULL;
        if (x && y && x->n_passes + y->n_passes > 0 &&
            uqm_cut_elem(&cut_a, a->rs, i) != uqm_cut_elem(&cut_b, b->rs, (size_t) at))
            return false;
    }
    return true;
}

static bool all_aligned(const struct uqm_writer *w, size_t n, size_t tile)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (!is_aligned(&w[j], &w[i], tile))
                return false;
    return true;
}

struct division {
    size_t tile, piece_bytes, least_buffers;
    uint64_t buffer_bytes, fixed; /* what the merges take for themselves */
};

static void divide_at(struct division *d, struct uqm_writer *w, size_t n, size_t tile)
{
    struct uqm_cut cut;
    *d = (struct division){ .tile = tile };
    for (size_t i = 0; i < n; i++) {
        w[i].rs->share_piece_bytes = d->piece_bytes;
        uqm_cut_init(&cut, w[i].rs, tile, 0);
        d->piece_bytes = cut.piece_bytes;
        d->least_buffers += cut.n_buffers;
    }
    for (size_t i = 0; i < n; i++) {
        w[i].rs->share_piece_bytes = d->piece_bytes;
        w[i].plan.report_bytes =
            uqm_merge_report_memory(w[i].rs, tile, (size_t) w[i].env->n_threads);
        d->fixed += uqm_merge_stream_own_memory(w[i].rs, tile) + w[i].plan.report_bytes;
    }
    uqm_cut_init(&cut, w[0].rs, tile, 0);
    d->buffer_bytes = uqm_cut_buffer_bytes(&cut);
}

/* Every merge may count on the buffers it cannot do without, and on what all can keep together. */
static void hand_out(struct uqm_writer *w, size_t n, const struct division *d, uint64_t rest)
{
    uint64_t useful = 0;
    size_t n_parts = count_parts(w, n, all_aligned(w, n, d->tile));
    for (size_t i = 0; i < n; i++) {
        uint64_t own = uqm_merge_stream_own_memory(w[i].rs, d->tile);
        w[i].rs->share_parts = n_parts;
        useful += uqm_merge_stream_useful_memory(w[i].rs, d->tile, rest - d->fixed + own) - own;
    }
    uint64_t bytes = uqm_max_u64(useful, d->least_buffers * d->buffer_bytes);
    bytes = uqm_min_u64(bytes, rest - d->fixed);
    size_t spare = (size_t) (bytes / d->buffer_bytes) - d->least_buffers;
    w[0].plan.share_bytes = bytes;
    for (size_t i = 0; i < n; i++) {
        struct uqm_cut cut;
        uqm_cut_init(&cut, w[i].rs, d->tile, 0);
        w[i].rs->share_buffers = cut.n_buffers + spare;
        w[i].plan.tile_bytes = d->tile;
        w[i].plan.stream_bytes = uqm_merge_stream_own_memory(w[i].rs, d->tile) +
                                 w[i].rs->share_buffers * d->buffer_bytes;
    }
}

static int find_widest(struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct uqm_source *s = &w[i].rs->source;
        w[i].widest = uqm_arena_alloc(&w[i].arena, s->n_tensors + 1, sizeof *w[i].widest);
        if (!w[i].widest)
            return uqm_writer_no_memory(&w[i], err);
        for (size_t t = 0; t < s->n_tensors; t++)
            for (size_t j = 0; j < n; j++) {
                long at = uqm_source_find(&w[j].rs->source, s->tensors[t].canonical);
                unsigned bits = at >= 0 ? uqm_dtype_bits(w[j].rs->source.tensors[at].dtype) : 0;
                if (bits > w[i].widest[t])
                    w[i].widest[t] = bits;
            }
    }
    return UQM_OK;
}

static int divide_for_many(struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    struct division d;
    uint64_t left = uqm_budget_left(w[0].env), largest = 0;
    uint64_t sink = uqm_max_u64(left / 8 / n, LEAST_SINK_BYTES);
    sink = uqm_min_u64(sink, MOST_SINK_BYTES);
    uint64_t rest = left > n * sink ? left - n * sink : 0;
    size_t n_inputs = 0;
    for (size_t i = 0; i < n; i++) {
        w[i].plan.sink_bytes = sink;
        largest = uqm_max_u64(largest, largest_tensor(w[i].rs));
        n_inputs += w[i].rs->n_inputs;
    }
    size_t tile = largest_tile(largest);
    divide_at(&d, w, n, tile);
    while (tile > LEAST_TILE_BYTES && d.fixed + d.least_buffers * d.buffer_bytes > rest) {
        tile /= 2;
        divide_at(&d, w, n, tile);
    }
    uint64_t least = d.fixed + d.least_buffers * d.buffer_bytes;
    if (least > rest)
        return too_little(n_inputs, least + n * sink, left, err);
    hand_out(w, n, &d, rest);
    return find_widest(w, n, err);
}

int uqm_writers_divide_memory(struct uqm_writer *writers, size_t n, struct uqm_err *err)
{
    int ret = n == 1 ? divide_for_one(&writers[0].plan, writers[0].rs, err)
                     : divide_for_many(writers, n, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        uqm_write_plan_count_reads(&writers[i].plan, writers[i].rs);
    return ret;
}

int uqm_writers_share(struct uqm_share **share, struct uqm_writer *writers, size_t n,
                      struct uqm_err *err)
{
    int ret = uqm_share_create(share, writers[0].env, writers[0].rs->share_piece_bytes, 1,
                               writers[0].plan.share_bytes, true, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        writers[i].rs->share = *share;
    return ret;
}
