#include "src/checkpoint/source.h"

#include <assert.h>

#include "src/base/sorted.h"

const char *uqm_part_name(enum uqm_part part)
{
    static const char *const names[UQM_N_PARTS] = { "vision", "adapter", "language", "other" };
    return names[part];
}

long uqm_source_find(const struct uqm_source *source, const char *canonical)
{
    return uqm_find_name(source->tensors, source->n_tensors, sizeof *source->tensors,
                         offsetof(struct uqm_tensor, canonical), canonical);
}

int uqm_source_open(struct uqm_tile_stream **out, struct uqm_source *source,
                    struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                    uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    assert(tile_bytes > 0);
    return source->ops->open(out, source, threads, tile_bytes, memory_bytes, next, ctx, err);
}

uint64_t uqm_source_min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    return source->ops->min_memory(source, tile_bytes);
}

void uqm_source_destroy(struct uqm_source **source)
{
    if (*source)
        (*source)->ops->destroy(*source);
    *source = NULL;
}

int uqm_tile_next(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    return stream->ops->next(stream, tile, err);
}

void uqm_tile_release(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    stream->ops->release(stream, tile);
}

void uqm_tile_stream_destroy(struct uqm_tile_stream **stream)
{
    if (*stream)
        (*stream)->ops->destroy(*stream);
    *stream = NULL;
}

void uqm_tile_defer(struct uqm_tile_stream *stream)
{
    if (stream->ops->defer)
        stream->ops->defer(stream);
}

void uqm_tile_settle(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    if (tile->mix)
        stream->ops->settle(stream, tile);
}
