#include "src/merge/pieces.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

/* A piece that was asked for and has not been handed out. */
struct want {
    struct uqm_part_piece piece;
    struct uqm_share_name name; /* of a file's piece */
    bool given;                 /* to the other source's stream, as a range to come */
};

/* A source that is no file, and its stream while there is one. */
struct inner {
    struct uqm_pieces *pieces;
    struct uqm_source *source;
    struct uqm_tile_stream *tiles;
    size_t n_left; /* ranges given to the stream that have not come back */
    bool ended;    /* it was told that there are no more */
};

struct uqm_pieces {
    struct uqm_env *env;
    struct uqm_pieces_params params;
    struct uqm_share *share, *own;
    struct want *ring; /* oldest first */
    size_t head, n, cap;
    bool planned_all, out_of_memory;
    struct inner **inner;
    size_t n_inner;
};

static struct want *want_at(struct uqm_pieces *p, size_t i)
{
    return &p->ring[(p->head + i) % p->cap];
}

static bool grow(struct uqm_pieces *p)
{
    if (p->n < p->cap)
        return true;
    size_t cap = p->cap ? 2 * p->cap : 64;
    struct want *ring = malloc(cap * sizeof *ring);
    if (!ring)
        return false;
    for (size_t i = 0; i < p->n; i++)
        ring[i] = *want_at(p, i);
    free(p->ring);
    p->ring = ring;
    p->head = 0;
    p->cap = cap;
    return true;
}

/* One more want is in the queue. false: not now, or never. */
static bool plan(struct uqm_pieces *p)
{
    struct want want = { 0 };
    if (p->planned_all || p->out_of_memory)
        return false;
    if (!grow(p)) {
        p->out_of_memory = true;
        return false;
    }
    int ret = p->params.next(p->params.ctx, &want.piece);
    p->planned_all = ret == 0;
    if (ret != 1)
        return false;
    assert(want.piece.piece.n_bytes > 0 && want.piece.piece.n_bytes <= p->params.piece_bytes);
    p->ring[(p->head + p->n++) % p->cap] = want;
    return true;
}

int uqm_pieces_create(struct uqm_pieces **out, struct uqm_env *env,
                      const struct uqm_pieces_params *params, struct uqm_err *err)
{
    struct uqm_pieces *p = calloc(1, sizeof *p);
    if (!p)
        return uqm_fail(err, UQM_ERR_NOMEM, "the reading of parts: no memory");
    p->env = env;
    p->params = *params;
    p->share = params->share;
    int ret = UQM_OK;
    if (!p->share)
        ret = uqm_share_create(&p->own, env, params->piece_bytes, params->min_pieces,
                               params->memory_bytes, false, err);
    if (ret < 0) {
        uqm_pieces_destroy(&p);
        return ret;
    }
    if (!p->share)
        p->share = p->own;
    *out = p;
    return UQM_OK;
}

void uqm_pieces_destroy(struct uqm_pieces **pieces)
{
    struct uqm_pieces *p = *pieces;
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        if (!p->own)
            uqm_share_forget(p->share, want_at(p, i)->name);
    for (size_t i = 0; i < p->n_inner; i++) {
        uqm_tile_stream_destroy(&p->inner[i]->tiles);
        free(p->inner[i]);
    }
    uqm_share_destroy(&p->own);
    free(p->inner);
    free(p->ring);
    free(p);
    *pieces = NULL;
}

size_t uqm_pieces_n_buffers(const struct uqm_pieces *pieces)
{
    return uqm_share_n_buffers(pieces->share);
}

/* --- files --- */

void uqm_pieces_read_ahead(struct uqm_pieces *pieces)
{
    size_t most = 2 * uqm_share_n_buffers(pieces->share);
    for (size_t i = 0; i < most && (i < pieces->n || plan(pieces)); i++) {
        struct want *w = want_at(pieces, i);
        if (w->piece.source || w->name.block)
            continue;
        uqm_share_want(&w->name, pieces->share, &w->piece.piece);
        if (!w->name.block)
            break;
    }
    uqm_share_read_ahead(pieces->share);
}

/* --- other sources --- */

uint64_t uqm_pieces_inner_memory(const struct uqm_source *source, size_t piece_bytes)
{
    return uqm_source_min_memory(source, piece_bytes);
}

/* The ranges of one source, in the order of the wants; as far ahead as its stream likes. */
static int next_inner_range(void *ctx, struct uqm_range *range)
{
    struct inner *in = ctx;
    struct uqm_pieces *p = in->pieces;
    for (size_t i = 0; i < p->n || plan(p); i++) {
        struct want *w = want_at(p, i);
        if (w->piece.source != in->source || w->given)
            continue;
        w->given = true;
        *range = w->piece.range;
        in->n_left++;
        return 1;
    }
    in->ended = true; /* if more are wanted later, another stream is opened */
    return 0;
}

static struct inner *find_inner(struct uqm_pieces *p, struct uqm_source *source)
{
    for (size_t i = 0; i < p->n_inner; i++)
        if (p->inner[i]->source == source)
            return p->inner[i];
    struct inner **grown = realloc(p->inner, (p->n_inner + 1) * sizeof(struct inner *));
    if (!grown)
        return NULL;
    p->inner = grown;
    struct inner *in = calloc(1, sizeof *in);
    if (!in)
        return NULL;
    in->pieces = p;
    in->source = source;
    p->inner[p->n_inner++] = in;
    return in;
}

static int fill(struct inner *in, const struct want *w, void *data, struct uqm_err *err)
{
    struct uqm_tile tile;
    if (in->ended && in->n_left == 0) {
        uqm_tile_stream_destroy(&in->tiles);
        in->ended = false;
    }
    int ret = UQM_OK;
    if (!in->tiles)
        ret = uqm_source_open(&in->tiles, in->source, in->pieces->params.threads,
                              in->pieces->params.piece_bytes,
                              uqm_pieces_inner_memory(in->source, in->pieces->params.piece_bytes),
                              next_inner_range, in, err);
    if (ret == UQM_OK)
        ret = uqm_tile_next(in->tiles, &tile, err);
    if (ret < 0)
        return ret;
    assert(ret == 1 && tile.range.tensor == w->piece.range.tensor &&
           tile.range.first_elem == w->piece.range.first_elem &&
           tile.n_bytes == w->piece.piece.n_bytes);
    memcpy(data, tile.data, tile.n_bytes);
    uqm_tile_release(in->tiles, &tile);
    in->n_left--;
    return UQM_OK;
}

/* The want stands at the head of the queue until its range was taken from there. */
static int make(struct uqm_pieces *p, struct uqm_view *view, struct uqm_err *err)
{
    void *data;
    struct uqm_source *source = want_at(p, 0)->piece.source;
    struct inner *in = find_inner(p, source);
    if (!in)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to read it", source->name);
    int ret = uqm_share_hold_empty(view, &data, p->share, err);
    if (ret < 0)
        return ret;
    struct want w = *want_at(p, 0);
    ret = fill(in, &w, data, err);
    if (ret < 0)
        uqm_share_release(p->share, view);
    view->n_bytes = w.piece.piece.n_bytes;
    return ret;
}

/* --- in order --- */

int uqm_pieces_next(struct uqm_pieces *pieces, struct uqm_view *view, struct uqm_err *err)
{
    int ret = uqm_check_cancel(pieces->env, err);
    if (ret < 0)
        return ret;
    uqm_pieces_read_ahead(pieces);
    if (pieces->n == 0 && !plan(pieces))
        return pieces->out_of_memory ? uqm_fail(err, UQM_ERR_NOMEM, "no memory to plan reads") : 0;
    const struct want *w = want_at(pieces, 0);
    if (w->piece.source)
        ret = make(pieces, view, err);
    else
        ret = uqm_share_hold(view, pieces->share, w->name, &w->piece.piece, err);
    if (ret < 0)
        return ret;
    pieces->head = (pieces->head + 1) % pieces->cap;
    pieces->n--;
    uqm_share_read_ahead(pieces->share);
    return 1;
}

void uqm_pieces_release(struct uqm_pieces *pieces, struct uqm_view *view)
{
    uqm_share_release(pieces->share, view);
}
