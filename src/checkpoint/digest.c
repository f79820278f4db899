#include <endian.h>
#include <stdio.h>

#include "src/base/checked.h"
#include "src/checkpoint/checkpoint_stream.h"

enum { TILE_BYTES = 4 << 20, LEAST_TILE_BYTES = 64 << 10, MOST_MEMORY_BYTES = 64 << 20 };

struct part_walk {
    struct uqm_tensor_walk walk;
    enum uqm_part part;
};

/* Move on to the next tensor of the part, from walk.tensor on. */
static bool skip_to_part(struct part_walk *w)
{
    const struct uqm_source *s = w->walk.source;
    while (w->walk.tensor < s->n_tensors && s->tensors[w->walk.tensor].part != w->part)
        w->walk.tensor++;
    return w->walk.tensor < s->n_tensors;
}

static int next_range(void *ctx, struct uqm_range *range)
{
    struct part_walk *w = ctx;
    while (skip_to_part(w)) {
        if (uqm_tensor_walk_next(&w->walk, range))
            return 1;
        w->walk.tensor++;
        w->walk.first_elem = 0;
    }
    return 0;
}

/* Name, dtype and shape, each so delimited that no two tensors feed the same bytes. */
static void feed_description(struct uqm_xxh3 *h, const struct uqm_tensor *t)
{
    uint64_t rank = htole64(t->rank);
    const char *dtype = uqm_dtype_name(t->dtype);
    uqm_xxh3_update(h, t->canonical, strlen(t->canonical) + 1);
    uqm_xxh3_update(h, dtype, strlen(dtype) + 1);
    uqm_xxh3_update(h, &rank, sizeof rank);
    for (unsigned d = 0; d < t->rank; d++) {
        uint64_t dim = htole64(t->shape[d]);
        uqm_xxh3_update(h, &dim, sizeof dim);
    }
}

/* Descriptions of the part's tensors from *tensor up to and including `upto`. */
static void feed_descriptions(struct uqm_xxh3 *h, const struct uqm_source *s, enum uqm_part part,
                              size_t *tensor, size_t upto)
{
    for (; *tensor <= upto && *tensor < s->n_tensors; ++*tensor)
        if (s->tensors[*tensor].part == part)
            feed_description(h, &s->tensors[*tensor]);
}

static int feed_tiles(struct uqm_xxh3 *h, struct uqm_tile_stream *stream, struct uqm_source *s,
                      enum uqm_part part, struct uqm_err *err)
{
    uint64_t total = 0, done = 0;
    size_t described = 0;
    struct uqm_tile tile;
    char stage[128];
    int ret;

    snprintf(stage, sizeof stage, "digest of %s, %s", s->name, uqm_part_name(part));
    for (size_t i = 0; i < s->n_tensors; i++)
        total += s->tensors[i].part == part ? s->tensors[i].n_bytes : 0;
    while ((ret = uqm_tile_next(stream, &tile, err)) > 0) {
        feed_descriptions(h, s, part, &described, tile.range.tensor);
        uqm_xxh3_update(h, tile.data, tile.n_bytes);
        done += tile.n_bytes;
        uqm_tile_release(stream, &tile);
        uqm_report(s->env, stage, "bytes", done, total);
    }
    if (ret < 0)
        return ret;
    feed_descriptions(h, s, part, &described, s->n_tensors); /* empty tensors at the end */
    return UQM_OK;
}

int uqm_source_part_digest(struct uqm_xxh3_hex *out, struct uqm_source *s, enum uqm_part part,
                           struct uqm_err *err)
{
    uint64_t memory = uqm_min_u64(uqm_budget_left(s->env), MOST_MEMORY_BYTES);
    size_t tile_bytes = TILE_BYTES;
    while (tile_bytes > LEAST_TILE_BYTES && 2 * uqm_source_min_memory(s, tile_bytes) > memory)
        tile_bytes /= 2;

    struct part_walk w = { .walk = { .source = s, .tile_bytes = tile_bytes }, .part = part };
    struct uqm_tile_stream *stream = NULL;
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a digest", s->name);
    int ret = uqm_source_open(&stream, s, NULL, tile_bytes, memory, next_range, &w, err);
    if (ret >= 0)
        ret = feed_tiles(h, stream, s, part, err);
    if (ret >= 0)
        *out = uqm_xxh3_hex(h);
    uqm_tile_stream_destroy(&stream);
    uqm_xxh3_destroy(&h);
    return ret;
}

int uqm_checkpoint_part_digest(struct uqm_xxh3_hex *out, struct uqm_checkpoint *checkpoint,
                               enum uqm_part part, struct uqm_err *err)
{
    return uqm_source_part_digest(out, &checkpoint->source, part, err);
}
