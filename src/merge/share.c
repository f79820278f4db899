#include "src/merge/share.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

/*
 * A block: unused -> wanted, its read in the queue or under way -> read -> unused. It is pinned
 * while someone wants or holds it. Read and unpinned, it is remembered until its buffer is needed.
 */
struct block {
    bool used, is_read, borrowed;
    struct uqm_piece piece;
    struct uqm_view view; /* the stream's, when read or borrowed */
    size_t n_wanted, n_held;
    uint32_t generation;
    uint64_t range; /* of the last time it was asked for */
    uint64_t stamp; /* the same, among all */
};

struct uqm_share {
    struct uqm_env *env;
    struct uqm_stream *stream;
    size_t piece_bytes, n_blocks;
    struct block *blocks;
    bool remembers;
    uint32_t *queue; /* [n_blocks] ring: reads that the stream has not taken yet */
    size_t queue_head, queue_n;
    size_t n_coming; /* reads that have not come back, those in the queue included */
    uint64_t range, stamp;
};

static bool is_pinned(const struct block *b)
{
    return b->n_wanted + b->n_held > 0;
}

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct uqm_share *s = ctx;
    if (s->queue_n == 0)
        return UQM_PIECE_LATER;
    struct block *b = &s->blocks[s->queue[s->queue_head]];
    s->queue_head = (s->queue_head + 1) % s->n_blocks;
    s->queue_n--;
    *piece = b->piece;
    piece->user = b;
    return 1;
}

int uqm_share_create(struct uqm_share **out, struct uqm_env *env, size_t piece_bytes,
                     size_t n_buffers, uint64_t memory_bytes, bool remembers, struct uqm_err *err)
{
    struct uqm_share *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "the reading buffers: no memory");
    s->env = env;
    s->piece_bytes = piece_bytes;
    s->remembers = remembers;
    s->range = 1;
    int ret = uqm_stream_create(&s->stream, env, piece_bytes, n_buffers, memory_bytes, next_piece,
                                s, err);
    if (ret == UQM_OK) {
        s->n_blocks = uqm_stream_n_buffers(s->stream);
        s->blocks = calloc(s->n_blocks, sizeof *s->blocks);
        s->queue = calloc(s->n_blocks, sizeof *s->queue);
        if (!s->blocks || !s->queue)
            ret = uqm_fail(err, UQM_ERR_NOMEM, "the reading buffers: no memory");
    }
    if (ret < 0)
        uqm_share_destroy(&s);
    else
        *out = s;
    return ret;
}

void uqm_share_destroy(struct uqm_share **share)
{
    struct uqm_share *s = *share;
    if (!s)
        return;
    uqm_stream_destroy(&s->stream);
    free(s->blocks);
    free(s->queue);
    free(s);
    *share = NULL;
}

size_t uqm_share_n_buffers(const struct uqm_share *share)
{
    return share->n_blocks;
}

void uqm_share_next_range(struct uqm_share *share)
{
    share->range++;
}

/* --- finding room --- */

/* Two plans have opened it each for itself. */
static bool same_file(const struct uqm_file *a, const struct uqm_file *b)
{
    return a == b || (a->stat.st_dev == b->stat.st_dev && a->stat.st_ino == b->stat.st_ino);
}

static struct block *find(const struct uqm_share *s, const struct uqm_piece *piece)
{
    for (size_t i = 0; i < s->n_blocks; i++) {
        struct block *b = &s->blocks[i];
        if (b->used && !b->borrowed && b->piece.off_bytes == piece->off_bytes &&
            b->piece.n_bytes == piece->n_bytes && same_file(b->piece.file, piece->file))
            return b;
    }
    return NULL;
}

static void vacate(struct uqm_share *s, struct block *b)
{
    assert(!is_pinned(b) && (b->is_read || b->borrowed));
    uqm_stream_release(s->stream, &b->view);
    b->used = b->is_read = b->borrowed = false;
    b->generation++;
}

/* A block without use: one that never had any, or the one asked for longest ago of those that
 * nobody pins; before_range: and none has asked for since that range began. NULL: there is none. */
static struct block *find_room(struct uqm_share *s, uint64_t before_range)
{
    struct block *oldest = NULL;
    for (size_t i = 0; i < s->n_blocks; i++) {
        struct block *b = &s->blocks[i];
        if (!b->used)
            return b;
        if (!is_pinned(b) && b->is_read && b->range < before_range &&
            (!oldest || b->stamp < oldest->stamp))
            oldest = b;
    }
    if (oldest)
        vacate(s, oldest);
    return oldest;
}

/* One more read has come back. */
static int take_back(struct uqm_share *s, struct uqm_err *err)
{
    struct uqm_view view;
    int ret = uqm_stream_next(s->stream, &view, err);
    if (ret < 0)
        return ret;
    assert(ret == 1);
    struct block *b = view.user;
    b->view = view;
    b->is_read = true;
    s->n_coming--;
    if (!is_pinned(b) && !s->remembers)
        vacate(s, b);
    return UQM_OK;
}

/* The block that was wanted last and that nobody holds: whoever wants it will ask again. */
static bool take_away_one(struct uqm_share *s)
{
    struct block *last = NULL;
    for (size_t i = 0; i < s->n_blocks; i++) {
        struct block *b = &s->blocks[i];
        if (b->used && b->n_held == 0 && b->n_wanted > 0 && (!last || b->stamp > last->stamp))
            last = b;
    }
    if (!last)
        return false;
    last->n_wanted = 0;
    last->generation++;
    return true;
}

static int make_room(struct block **out, struct uqm_share *s, struct uqm_err *err)
{
    for (;;) {
        *out = find_room(s, UINT64_MAX);
        if (*out)
            return UQM_OK;
        bool any_unpinned = false;
        for (size_t i = 0; i < s->n_blocks; i++)
            any_unpinned |= !is_pinned(&s->blocks[i]);
        if (any_unpinned) { /* its read is under way: let it come */
            int ret = take_back(s, err);
            if (ret < 0)
                return ret;
        } else if (!take_away_one(s)) {
            return uqm_fail(err, UQM_ERR_NOMEM,
                            "--memory: the merges of this pass hold all %zu reading buffers; give "
                            "more memory",
                            s->n_blocks);
        }
    }
}

static void begin(struct uqm_share *s, struct block *b, const struct uqm_piece *piece)
{
    b->used = true;
    b->is_read = b->borrowed = false;
    b->piece = *piece;
    size_t at = (s->queue_head + s->queue_n++) % s->n_blocks;
    s->queue[at] = (uint32_t) (b - s->blocks);
    s->n_coming++;
}

static void touch(struct uqm_share *s, struct block *b)
{
    b->range = s->range;
    b->stamp = ++s->stamp;
}

/* --- wanting and holding --- */

void uqm_share_want(struct uqm_share_name *name, struct uqm_share *share,
                    const struct uqm_piece *piece)
{
    *name = (struct uqm_share_name){ 0 };
    struct block *b = share->remembers ? find(share, piece) : NULL;
    if (!b) {
        b = find_room(share, share->range);
        if (!b)
            return;
        begin(share, b, piece);
    }
    b->n_wanted++;
    touch(share, b);
    *name = (struct uqm_share_name){ (uint32_t) (b - share->blocks) + 1, b->generation };
}

void uqm_share_read_ahead(struct uqm_share *share)
{
    uqm_stream_read_ahead(share->stream);
}

static struct block *block_of(const struct uqm_share *s, struct uqm_share_name name)
{
    if (name.block == 0)
        return NULL;
    struct block *b = &s->blocks[name.block - 1];
    return b->used && b->generation == name.generation ? b : NULL;
}

int uqm_share_hold(struct uqm_view *view, struct uqm_share *share, struct uqm_share_name name,
                   const struct uqm_piece *piece, struct uqm_err *err)
{
    struct block *b = block_of(share, name);
    if (b) {
        b->n_wanted--;
    } else {
        b = share->remembers ? find(share, piece) : NULL;
        if (!b) {
            int ret = make_room(&b, share, err);
            if (ret < 0)
                return ret;
            begin(share, b, piece);
        }
    }
    b->n_held++;
    touch(share, b);
    while (!b->is_read) {
        int ret = take_back(share, err);
        if (ret < 0) {
            b->n_held--;
            return ret;
        }
    }
    *view = (struct uqm_view){ .data = b->view.data, .n_bytes = b->view.n_bytes, .slot = b };
    return UQM_OK;
}

int uqm_share_hold_empty(struct uqm_view *view, void **data, struct uqm_share *share,
                         struct uqm_err *err)
{
    struct block *b;
    int ret = make_room(&b, share, err);
    if (ret < 0)
        return ret;
    uqm_stream_lend(share->stream, &b->view, data);
    b->used = b->borrowed = true;
    b->is_read = false;
    b->n_held++;
    touch(share, b);
    *view = (struct uqm_view){ .data = *data, .n_bytes = share->piece_bytes, .slot = b };
    return UQM_OK;
}

static void unpin(struct uqm_share *s, struct block *b)
{
    if (!is_pinned(b) && (b->borrowed || (b->is_read && !s->remembers)))
        vacate(s, b);
}

void uqm_share_release(struct uqm_share *share, struct uqm_view *view)
{
    struct block *b = view->slot;
    assert(b && b->n_held > 0);
    b->n_held--;
    unpin(share, b);
    *view = (struct uqm_view){ 0 };
}

void uqm_share_forget(struct uqm_share *share, struct uqm_share_name name)
{
    struct block *b = block_of(share, name);
    if (!b)
        return;
    b->n_wanted--;
    unpin(share, b);
}
