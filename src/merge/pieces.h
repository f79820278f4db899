/*
 * The parts of tensors that a merge is made of, in the order it asks for them: bytes of files, read
 * ahead through a share; or elements that another source makes (a merge inside a merge, a
 * vocabulary rebuilt), copied from its tiles.
 */
#ifndef UQM_MERGE_PIECES_H
#define UQM_MERGE_PIECES_H

#include "src/checkpoint/source.h"
#include "src/merge/share.h"

struct uqm_part_piece {
    struct uqm_piece piece;    /* of a file; or ... */
    struct uqm_source *source; /* not NULL: ... this range of it, piece.n_bytes long */
    struct uqm_range range;
};

/* As uqm_next_piece_fn: 1, 0 at the end, UQM_PIECE_LATER. */
typedef int (*uqm_next_part_piece_fn)(void *ctx, struct uqm_part_piece *piece);

struct uqm_pieces;

struct uqm_pieces_params {
    struct uqm_share *share;     /* NULL: one of its own ... */
    size_t piece_bytes;          /* the largest piece */
    size_t min_pieces;           /* ... of at least so many buffers ... */
    uint64_t memory_bytes;       /* ... or as many as this pays for */
    struct uqm_threads *threads; /* for the other sources */
    uqm_next_part_piece_fn next;
    void *ctx;
};

/* Memory of the other sources' streams is taken beside memory_bytes: uqm_pieces_inner_memory(). */
int uqm_pieces_create(struct uqm_pieces **out, struct uqm_env *env,
                      const struct uqm_pieces_params *params, struct uqm_err *err);
void uqm_pieces_destroy(struct uqm_pieces **pieces);
/* What the stream of one other source takes. */
uint64_t uqm_pieces_inner_memory(const struct uqm_source *source, size_t piece_bytes);

/* As those of io/stream.h. */
int uqm_pieces_next(struct uqm_pieces *pieces, struct uqm_view *view, struct uqm_err *err);
void uqm_pieces_release(struct uqm_pieces *pieces, struct uqm_view *view);
void uqm_pieces_read_ahead(struct uqm_pieces *pieces);
size_t uqm_pieces_n_buffers(const struct uqm_pieces *pieces);

#endif
