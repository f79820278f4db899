#include "src/model/resident.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

struct uqm_resident {
    struct uqm_source source; /* first: the streams find us by it */
    struct uqm_source *original;
    unsigned char *block;
    size_t bytes;
    uint64_t *place; /* [n_tensors]: where a tensor begins, ABSENT if it was not listed */
};

#define ABSENT UINT64_MAX

static size_t elem_bytes(const struct uqm_source *source, size_t tensor)
{
    return uqm_dtype_bits(source->tensors[tensor].dtype) / 8;
}

static uint64_t load_bytes(const struct uqm_source *source, const struct uqm_load *load)
{
    return load->n_rows * load->row_elem * elem_bytes(source, load->tensor);
}

static bool listed_before(const struct uqm_schedule *schedule, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (schedule->loads[k].tensor == schedule->loads[i].tensor)
            return true; /* the head that is the embedding */
    return false;
}

uint64_t uqm_resident_bytes(const struct uqm_schedule *schedule)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < schedule->n; i++)
        if (!listed_before(schedule, i))
            bytes += uqm_align_up(load_bytes(schedule->source, &schedule->loads[i]), 64);
    return bytes;
}

/* ---- filling ---- */

struct filling {
    const struct uqm_schedule *schedule;
    size_t tile_bytes;
    size_t load;
    uint64_t elem; /* of it that have been asked for */
};

static int next_range(void *ctx, struct uqm_range *range)
{
    struct filling *f = ctx;
    while (f->load < f->schedule->n && listed_before(f->schedule, f->load))
        f->load++;
    if (f->load == f->schedule->n)
        return 0;
    const struct uqm_load *load = &f->schedule->loads[f->load];
    const uint64_t all = load->n_rows * load->row_elem;
    const uint64_t fit = f->tile_bytes / elem_bytes(f->schedule->source, load->tensor);
    const uint64_t n = uqm_min_u64(fit, all - f->elem);
    *range =
        (struct uqm_range){ .tensor = load->tensor, .first_elem = f->elem, .n_elem = (size_t) n };
    f->elem += n;
    if (f->elem == all) {
        f->load++;
        f->elem = 0;
    }
    return 1;
}

static unsigned char *at(const struct uqm_resident *r, const struct uqm_range *range)
{
    assert(r->place[range->tensor] != ABSENT);
    return r->block + r->place[range->tensor] +
           range->first_elem * elem_bytes(&r->source, range->tensor);
}

static int fill(struct uqm_resident *r, struct filling *f, struct uqm_threads *threads,
                uint64_t stream_bytes, struct uqm_err *err)
{
    struct uqm_tile_stream *stream = NULL;
    uint64_t done = 0;
    int ret = uqm_source_open(&stream, r->original, threads, f->tile_bytes, stream_bytes,
                              next_range, f, err);
    while (ret >= 0) {
        struct uqm_tile tile = { 0 };
        uqm_report(r->source.env, "reading the model", "bytes", done, r->bytes);
        ret = uqm_check_cancel(r->source.env, err);
        if (ret == UQM_OK)
            ret = uqm_tile_next(stream, &tile, err);
        if (ret <= 0)
            break;
        const size_t n = tile.range.n_elem * elem_bytes(&r->source, tile.range.tensor);
        memcpy(at(r, &tile.range), tile.data, n);
        uqm_tile_release(stream, &tile);
        done += n;
    }
    uqm_tile_stream_destroy(&stream);
    return ret;
}

/* ---- handing out ---- */

struct stream {
    struct uqm_tile_stream base;
    const struct uqm_resident *resident;
    uqm_next_range_fn next;
    void *ctx;
};

static int stream_next(struct uqm_tile_stream *base, struct uqm_tile *tile, struct uqm_err *err)
{
    const struct stream *s = (const struct stream *) (const void *) base;
    (void) err;
    *tile = (struct uqm_tile){ 0 };
    if (!s->next(s->ctx, &tile->range))
        return 0;
    tile->data = at(s->resident, &tile->range);
    tile->n_bytes = tile->range.n_elem * elem_bytes(&s->resident->source, tile->range.tensor);
    return 1;
}

static void stream_release(struct uqm_tile_stream *base, struct uqm_tile *tile)
{
    (void) base;
    *tile = (struct uqm_tile){ 0 };
}

static void stream_destroy(struct uqm_tile_stream *base)
{
    free(base);
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = stream_next,
    .release = stream_release,
    .destroy = stream_destroy,
};

static int open_stream(struct uqm_tile_stream **out, struct uqm_source *source,
                       struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                       uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    (void) threads;
    (void) tile_bytes;
    (void) memory_bytes;
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", source->name);
    *s = (struct stream){
        .base = { &stream_ops },
        .resident = (const struct uqm_resident *) (const void *) source,
        .next = next,
        .ctx = ctx,
    };
    *out = &s->base;
    return UQM_OK;
}

static uint64_t min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    (void) source;
    (void) tile_bytes;
    return 0;
}

static const struct uqm_source_ops source_ops = { .open = open_stream, .min_memory = min_memory };

/* ---- */

static void place_tensors(struct uqm_resident *r, const struct uqm_schedule *schedule)
{
    uint64_t end = 0;
    for (size_t i = 0; i < r->source.n_tensors; i++)
        r->place[i] = ABSENT;
    for (size_t i = 0; i < schedule->n; i++) {
        const struct uqm_load *load = &schedule->loads[i];
        if (r->place[load->tensor] != ABSENT)
            continue;
        r->place[load->tensor] = end;
        end += uqm_align_up(load_bytes(schedule->source, load), 64);
    }
}

int uqm_resident_create(struct uqm_resident **out, struct uqm_source *source,
                        const struct uqm_schedule *schedule, struct uqm_threads *threads,
                        size_t tile_bytes, uint64_t stream_bytes, struct uqm_err *err)
{
    struct filling f = { .schedule = schedule, .tile_bytes = tile_bytes };
    struct uqm_resident *r = calloc(1, sizeof *r);
    if (!r)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", source->name);
    r->source = *source;
    r->source.ops = &source_ops;
    r->original = source;
    r->bytes = (size_t) uqm_resident_bytes(schedule);
    r->place = malloc((r->source.n_tensors + 1) * sizeof *r->place);
    void *block = NULL;
    int ret =
        r->place ? uqm_budget_alloc(&block, r->source.env, r->bytes, 64, "the model's weights", err)
                 : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", r->source.name);
    r->block = block;
    if (ret == UQM_OK) {
        place_tensors(r, schedule);
        ret = fill(r, &f, threads, stream_bytes, err);
    }
    if (ret < 0)
        uqm_resident_destroy(&r);
    else
        *out = r;
    return ret < 0 ? ret : UQM_OK;
}

void uqm_resident_destroy(struct uqm_resident **resident)
{
    struct uqm_resident *r = *resident;
    if (!r)
        return;
    void *block = r->block;
    uqm_budget_free(&block, r->source.env, r->bytes);
    free(r->place);
    free(r);
    *resident = NULL;
}

struct uqm_source *uqm_resident_source(struct uqm_resident *resident)
{
    return &resident->source;
}
