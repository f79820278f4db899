/*
 * A stream of reads in a planned order. The consumer pulls: it asks for the next piece and the
 * stream keeps as many later pieces under way as there are free buffers in its pool (the first few
 * pieces that are taken bring the buffers into use). No free buffer means wait; that is all the
 * flow control.
 */
#ifndef UQM_IO_STREAM_H
#define UQM_IO_STREAM_H

#include "io/file.h"

struct uqm_piece {
    struct uqm_file *file;
    uint64_t off_bytes;
    size_t n_bytes; /* > 0, at most the stream's piece_bytes */
    void *user;     /* comes back in the view */
};

/*
 * Fill in the next piece: 1, or 0 at the end. Called ahead of the consumer, in order.
 * UQM_PIECE_LATER: what comes next depends on pieces that are still on their way; it is asked again
 * with each uqm_stream_next(), and a consumer that has taken all it planned calls that no more
 * until it knows.
 */
enum { UQM_PIECE_LATER = 2 };
typedef int (*uqm_next_piece_fn)(void *ctx, struct uqm_piece *piece);

/* The plan of whoever reads one file to its end, from `at` on. */
struct uqm_file_pass {
    struct uqm_file *file;
    size_t piece_bytes;
    uint64_t at;
};
int uqm_next_piece_of_file(void *file_pass, struct uqm_piece *piece);

struct uqm_view {
    const uint8_t *data; /* n_bytes of the file; any alignment */
    size_t n_bytes;
    void *user;
    void *slot; /* the stream's */
};

struct uqm_stream;

/*
 * piece_bytes: the largest piece. memory_bytes: what the stream's buffers may use, taken from the
 * environment's budget (at least min_pieces buffers are made or it is UQM_ERR_NOMEM). min_pieces:
 * how many views the consumer holds at once, the one it is waiting for included: to hold more is a
 * programming error. Read-ahead takes more buffers than that. `next` is not called before
 * uqm_stream_next().
 */
int uqm_stream_create(struct uqm_stream **out, struct uqm_env *env, size_t piece_bytes,
                      size_t min_pieces, uint64_t memory_bytes, uqm_next_piece_fn next, void *ctx,
                      struct uqm_err *err);
/* Ask for all that there are free buffers for, which uqm_stream_next() does little by little: for a
 * consumer that has given some back and will not call that soon. */
void uqm_stream_read_ahead(struct uqm_stream *stream);
/* How many buffers there are. */
size_t uqm_stream_n_buffers(const struct uqm_stream *stream);
/* Safe with reads under way and views held. Takes NULL. */
void uqm_stream_destroy(struct uqm_stream **stream);

/* 1: *view holds the next piece. 0: the end. < 0: an error that names the file and range. */
int uqm_stream_next(struct uqm_stream *stream, struct uqm_view *view, struct uqm_err *err);
/* One of the free buffers, for bytes that come from elsewhere: *data, piece_bytes long, is the
 * caller's to fill until the view is released. There must be a free one: the caller counts. */
void uqm_stream_lend(struct uqm_stream *stream, struct uqm_view *view, void **data);
/* Give the buffer back; views may be released in any order. */
void uqm_stream_release(struct uqm_stream *stream, struct uqm_view *view);

#endif
