#include "src/checkpoint/checkpoint_stream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "io/direct.h"
#include "io/stream.h"
#include "src/base/checked.h"
#include "src/checkpoint/range_queue.h"

/*
 * The io stream asks for pieces ahead of the consumer; each range it took waits in a queue until
 * its tile is handed out. Ranges without bytes have no piece: they only wait their turn.
 */
struct checkpoint_stream {
    struct uqm_tile_stream stream; /* first: what the consumer holds */
    struct uqm_checkpoint *cp;
    size_t tile_bytes;
    uqm_next_range_fn next;
    void *ctx;
    struct uqm_stream *pieces;
    struct uqm_range_queue queue;
    struct uqm_view view; /* the next range's piece, while has_view */
    bool has_view;
    bool out_of_memory; /* the plan was cut short: report it at the end */
};

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct checkpoint_stream *s = ctx;
    struct uqm_range range;

    while (!s->out_of_memory && s->next(s->ctx, &range)) {
        assert(range.tensor < s->cp->source.n_tensors);
        const struct uqm_tensor *t = &s->cp->source.tensors[range.tensor];
        const struct uqm_location *at = &s->cp->locations[range.tensor];
        assert(range.n_elem <= t->n_elem && range.first_elem <= t->n_elem - range.n_elem);
        assert(range.first_elem * uqm_dtype_bits(t->dtype) % 8 == 0);
        assert(range.n_elem * uqm_dtype_bits(t->dtype) % 8 == 0);
        if (!uqm_range_queue_push(&s->queue, &range)) {
            s->out_of_memory = true;
            return 0;
        }
        uint64_t n_bytes = uqm_dtype_bytes(t->dtype, range.n_elem);
        if (n_bytes == 0)
            continue;
        assert(n_bytes <= s->tile_bytes);
        uint64_t begin;
        struct uqm_file *file = uqm_location_file(s->cp, at, &begin);
        *piece = (struct uqm_piece){
            .file = file,
            .off_bytes = begin + uqm_dtype_bytes(t->dtype, range.first_elem),
            .n_bytes = (size_t) n_bytes,
        };
        return 1;
    }
    return 0;
}

static int next_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct checkpoint_stream *s = (struct checkpoint_stream *) stream;
    int ret = 1;

    /* With an empty queue the pieces have to be asked first: asking fills it. */
    const struct uqm_range *first = uqm_range_queue_first(&s->queue);
    if (!s->has_view && (!first || first->n_elem > 0)) {
        ret = uqm_stream_next(s->pieces, &s->view, err);
        if (ret < 0)
            return ret;
        s->has_view = ret > 0;
    }
    if (!uqm_range_queue_first(&s->queue)) {
        if (s->out_of_memory)
            return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to plan reads", s->cp->path);
        return 0;
    }
    *tile = (struct uqm_tile){ .range = uqm_range_queue_pop(&s->queue), .data = "" };
    if (tile->range.n_elem == 0)
        return 1;
    assert(s->has_view);
    tile->data = s->view.data;
    tile->n_bytes = s->view.n_bytes;
    tile->slot = s->view.slot;
    s->has_view = false;
    return 1;
}

static void release_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    struct checkpoint_stream *s = (struct checkpoint_stream *) stream;
    struct uqm_view view = { .data = tile->data, .n_bytes = tile->n_bytes, .slot = tile->slot };
    if (tile->slot)
        uqm_stream_release(s->pieces, &view);
    *tile = (struct uqm_tile){ 0 };
}

static void destroy_stream(struct uqm_tile_stream *stream)
{
    struct checkpoint_stream *s = (struct checkpoint_stream *) stream;
    uqm_stream_destroy(&s->pieces);
    uqm_range_queue_finish(&s->queue);
    free(s);
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = next_tile,
    .release = release_tile,
    .destroy = destroy_stream,
};

uint64_t uqm_checkpoint_stream_min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    (void) source;
    /* as io/stream.h rounds its buffers */
    return 2 * (uqm_align_up(tile_bytes, UQM_DIRECT_MAX_ALIGN) + UQM_DIRECT_MAX_ALIGN);
}

int uqm_checkpoint_stream_open(struct uqm_tile_stream **out, struct uqm_source *source,
                               struct uqm_threads *threads, size_t tile_bytes,
                               uint64_t memory_bytes, uqm_next_range_fn next, void *ctx,
                               struct uqm_err *err)
{
    (void) threads; /* there is no arithmetic in reading */
    struct uqm_checkpoint *cp = (struct uqm_checkpoint *) source;
    uint64_t least = uqm_checkpoint_stream_min_memory(source, tile_bytes);
    if (memory_bytes < least)
        return uqm_fail(err, UQM_ERR_NOMEM,
                        "--memory: reading %s in tiles of %zu bytes needs %" PRIu64
                        " bytes, %" PRIu64 " are left; give more memory",
                        source->name, tile_bytes, least, memory_bytes);
    struct checkpoint_stream *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to read", cp->path);
    s->stream.ops = &stream_ops;
    s->cp = cp;
    s->tile_bytes = tile_bytes;
    s->next = next;
    s->ctx = ctx;
    int ret =
        uqm_stream_create(&s->pieces, source->env, tile_bytes, 2, memory_bytes, next_piece, s, err);
    if (ret < 0)
        destroy_stream(&s->stream);
    else
        *out = &s->stream;
    return ret;
}

int uqm_tensor_walk_next(struct uqm_tensor_walk *walk, struct uqm_range *range)
{
    const struct uqm_tensor *t = &walk->source->tensors[walk->tensor];
    /* a multiple of 8 elements is a whole number of bytes in every type */
    uint64_t most = uqm_max_u64(8, walk->tile_bytes * 8 / uqm_dtype_bits(t->dtype) & ~UINT64_C(7));
    if (walk->first_elem >= t->n_elem)
        return 0;
    *range = (struct uqm_range){
        .tensor = walk->tensor,
        .first_elem = walk->first_elem,
        .n_elem = (size_t) uqm_min_u64(most, t->n_elem - walk->first_elem),
    };
    walk->first_elem += range->n_elem;
    return 1;
}
