#include "io/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "io/engine_impl.h"
#include "io/fetch.h"
#include "io/maker.h"
#include "io/pool.h"
#include "src/base/checked.h"

/* More reads than this under way gain nothing on any disk we know; a consumer that keeps what it
 * has read has use for more buffers. The first use of a buffer costs page faults, so that the many
 * of a deep stream come into use a few with each piece that is taken. */
enum { MAX_BUFFERS = 4096, MAX_UNDER_WAY = 256, MORE_A_PIECE = 4 };

/*
 * One buffer and what is in it. free -> reading -> read -> held by the consumer -> free, and only
 * the thread that calls the stream moves it.
 */
struct slot {
    struct uqm_fetch fetch;
    struct uqm_make make; /* in place of fetch, for a piece of a made file */
    struct uqm_piece piece;
    bool is_read; /* or has failed */
    struct uqm_err failure;
    struct slot *next; /* in the order of the plan */
};

struct uqm_stream {
    struct uqm_env *env;
    struct uqm_pool pool;
    struct uqm_io *io;
    const struct uqm_io_faults *faults;
    struct uqm_maker *maker;   /* from the first piece of a made file on */
    struct slot *slots;        /* one a buffer */
    struct slot *first, *last; /* asked for and not yet handed out */
    size_t piece_bytes;
    uqm_next_piece_fn next;
    void *ctx;
    bool planned_all;
    size_t n_under_way, most_under_way;
    uint64_t n_submitted;
    struct uqm_err failure; /* once set, all there is to say */
};

/* min_pieces, or as many more as the memory asked for and the budget allow. */
static size_t count_buffers(const struct uqm_env *env, size_t buf_bytes, size_t min_pieces,
                            uint64_t memory_bytes)
{
    uint64_t n = uqm_min_u64(memory_bytes, uqm_budget_left(env)) / buf_bytes;
    n = uqm_min_u64(n, MAX_BUFFERS);
    return (size_t) uqm_max_u64(n, uqm_max_u64(min_pieces, 1));
}

int uqm_stream_create_with(struct uqm_stream **out, struct uqm_env *env, size_t piece_bytes,
                           size_t min_pieces, uint64_t memory_bytes, uqm_next_piece_fn next,
                           void *ctx, const struct uqm_io_faults *faults, struct uqm_err *err)
{
    int ret;
    assert(piece_bytes > 0 && piece_bytes <= SIZE_MAX / 4);
    struct uqm_stream *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "the reading stream: no memory");
    s->env = env;
    s->piece_bytes = piece_bytes;
    s->next = next;
    s->ctx = ctx;
    s->faults = faults;

    size_t buf_bytes = uqm_fetch_room(piece_bytes);
    size_t n = count_buffers(env, buf_bytes, min_pieces, memory_bytes);
    ret = uqm_pool_init(&s->pool, env, buf_bytes, n, "the reading buffers", err);
    if (ret < 0)
        goto fail;
    s->slots = calloc(n, sizeof *s->slots);
    if (!s->slots) {
        ret = uqm_fail(err, UQM_ERR_NOMEM, "the reading stream: no memory");
        goto fail;
    }
    s->most_under_way = n < MAX_UNDER_WAY ? n : MAX_UNDER_WAY;
    ret = uqm_io_create_with(&s->io, env, (unsigned) s->most_under_way, faults, err);
    if (ret < 0)
        goto fail;
    *out = s;
    return UQM_OK;

fail:
    uqm_stream_destroy(&s);
    return ret;
}

int uqm_stream_create(struct uqm_stream **out, struct uqm_env *env, size_t piece_bytes,
                      size_t min_pieces, uint64_t memory_bytes, uqm_next_piece_fn next, void *ctx,
                      struct uqm_err *err)
{
    return uqm_stream_create_with(out, env, piece_bytes, min_pieces, memory_bytes, next, ctx, NULL,
                                  err);
}

int uqm_next_piece_of_file(void *file_pass, struct uqm_piece *piece)
{
    struct uqm_file_pass *p = file_pass;
    if (p->at == p->file->size_bytes)
        return 0;
    size_t n = (size_t) uqm_min_u64(p->piece_bytes, p->file->size_bytes - p->at);
    *piece = (struct uqm_piece){ .file = p->file, .off_bytes = p->at, .n_bytes = n };
    p->at += n;
    return 1;
}

void uqm_stream_destroy(struct uqm_stream **stream)
{
    struct uqm_stream *s = *stream;
    if (!s)
        return;
    uqm_io_destroy(&s->io); /* waits: the kernel may be writing into the buffers */
    uqm_maker_destroy(&s->maker);
    uqm_pool_finish(&s->pool);
    free(s->slots);
    free(s);
    *stream = NULL;
}

static int submit(struct uqm_stream *s, struct slot *slot, struct uqm_err *err)
{
    const struct uqm_piece *p = &slot->piece;
    int index = (int) (slot - s->slots);
    slot->is_read = false;
    slot->fetch = (struct uqm_fetch){
        .file = p->file, .off_bytes = p->off_bytes, .n_bytes = p->n_bytes, .user = slot
    };
    if (s->n_submitted++ == UQM_ROUNDS_BEFORE_REGISTERING * s->pool.n_bufs)
        uqm_io_register(s->io, s->pool.bufs, s->pool.buf_bytes, s->pool.n_bufs);
    int ret = uqm_fetch_begin(&slot->fetch, s->io, s->pool.bufs[index], index, err);
    s->n_under_way += ret == UQM_OK;
    return ret;
}

/* A piece of a made file does not count as under way: the disk is its maker's business. */
static int submit_make(struct uqm_stream *s, struct slot *slot, struct uqm_err *err)
{
    const struct uqm_piece *p = &slot->piece;
    void *buf = s->pool.bufs[slot - s->slots];
    if (!s->maker) {
        int ret = uqm_maker_create(&s->maker, s->env, s->faults, err);
        if (ret < 0)
            return ret;
    }
    slot->is_read = false;
    slot->fetch = (struct uqm_fetch){ .op = { .buf = buf } };
    slot->make.file = p->file;
    slot->make.buf = buf;
    slot->make.n_bytes = p->n_bytes;
    slot->make.off_bytes = p->off_bytes;
    uqm_maker_submit(s->maker, &slot->make);
    return UQM_OK;
}

static void wait_for_make(struct uqm_stream *s, struct slot *slot)
{
    uqm_maker_wait(s->maker, &slot->make);
    slot->is_read = true;
    slot->failure = slot->make.failure;
    if (slot->failure.code != UQM_OK)
        s->planned_all = true;
}

size_t uqm_stream_n_buffers(const struct uqm_stream *stream)
{
    return stream->pool.n_bufs;
}

static void append(struct uqm_stream *s, struct slot *slot)
{
    slot->next = NULL;
    if (s->last)
        s->last->next = slot;
    else
        s->first = slot;
    s->last = slot;
}

/*
 * Ask for the plan's next piece. Whether there was one, and a buffer for it. What goes wrong is
 * kept with the piece until its turn comes: the error reported is the first in plan order,
 * whatever came back first. There is no reading ahead of an error.
 */
static bool read_ahead(struct uqm_stream *s)
{
    struct uqm_piece piece = { 0 };
    if (s->planned_all || s->pool.n_free == 0 || s->n_under_way == s->most_under_way)
        return false;
    int ret = s->next(s->ctx, &piece);
    if (ret != 1) {
        s->planned_all = ret == 0;
        return false;
    }
    assert(piece.n_bytes > 0 && piece.n_bytes <= s->piece_bytes);
    struct slot *slot = &s->slots[uqm_pool_take(&s->pool)];
    slot->piece = piece;
    slot->failure.code = UQM_OK;
    append(s, slot);

    uint64_t end, size = piece.file->size_bytes;
    if (!uqm_add_u64(&end, piece.off_bytes, piece.n_bytes) || end > size)
        uqm_file_ends_early(piece.file, piece.off_bytes, piece.off_bytes + piece.n_bytes, size,
                            &slot->failure);
    else if (piece.file->ops)
        submit_make(s, slot, &slot->failure);
    else
        submit(s, slot, &slot->failure);
    if (slot->failure.code != UQM_OK) {
        slot->is_read = true;
        s->planned_all = true;
    }
    return true;
}

/* A read that has come back: good, or an error, or to be waited for once more. */
static void take_back(struct uqm_stream *s, struct uqm_op *op)
{
    struct uqm_fetch *fetch = op->user;
    struct slot *slot = fetch->user;
    if (!uqm_fetch_end(fetch, s->io, s->env, &slot->failure))
        return;
    s->n_under_way--;
    slot->is_read = true;
    if (slot->failure.code != UQM_OK)
        s->planned_all = true;
}

void uqm_stream_read_ahead(struct uqm_stream *stream)
{
    while (read_ahead(stream))
        ;
}

static void hand_out(struct uqm_stream *s, struct uqm_view *view)
{
    struct slot *head = s->first;
    s->first = head->next;
    if (!s->first)
        s->last = NULL;
    *view = (struct uqm_view){
        .data = uqm_fetch_data(&head->fetch),
        .n_bytes = head->piece.n_bytes,
        .user = head->piece.user,
        .slot = head,
    };
}

static int check_record(const struct slot *slot, struct uqm_err *err)
{
    const struct uqm_piece *p = &slot->piece;
    if (!p->file->records)
        return UQM_OK;
    return uqm_record_check_feed(p->file->records, p->file->name, uqm_fetch_data(&slot->fetch),
                                 p->n_bytes, p->off_bytes, err);
}

static int next_view(struct uqm_stream *s, struct uqm_view *view, struct uqm_err *err)
{
    for (int more = MORE_A_PIECE;;) {
        int ret = uqm_check_cancel(s->env, err);
        if (ret < 0)
            return ret;
        while ((more > 0 || !s->first) && read_ahead(s))
            more--;
        struct slot *head = s->first;
        if (!head) {
            assert(s->planned_all); /* else the consumer holds every buffer and waits for one */
            return 0;
        }
        if (!head->is_read && head->piece.file->ops) {
            wait_for_make(s, head);
            continue;
        }
        if (!head->is_read) {
            take_back(s, uqm_io_wait(s->io));
            continue;
        }
        if (head->failure.code != UQM_OK) {
            *err = head->failure;
            return err->code;
        }
        ret = check_record(head, err);
        if (ret < 0)
            return ret;
        hand_out(s, view);
        return 1;
    }
}

int uqm_stream_next(struct uqm_stream *stream, struct uqm_view *view, struct uqm_err *err)
{
    struct uqm_err local = { 0 };
    if (stream->failure.code == UQM_OK) {
        int ret = next_view(stream, view, &local);
        if (ret >= 0)
            return ret;
        stream->failure = local;
    }
    if (err)
        *err = stream->failure;
    return stream->failure.code;
}

void uqm_stream_lend(struct uqm_stream *stream, struct uqm_view *view, void **data)
{
    assert(stream->pool.n_free > 0);
    int index = uqm_pool_take(&stream->pool);
    *data = stream->pool.bufs[index];
    *view = (struct uqm_view){
        .data = stream->pool.bufs[index],
        .n_bytes = stream->piece_bytes,
        .slot = &stream->slots[index],
    };
}

void uqm_stream_release(struct uqm_stream *stream, struct uqm_view *view)
{
    struct slot *slot = view->slot;
    assert(slot);
    uqm_pool_give(&stream->pool, (int) (slot - stream->slots));
    *view = (struct uqm_view){ 0 };
}
