/*
 * Buffers of input bytes that several merges of one pass have in common: a piece of a file that two
 * of them ask for is read once, if the second asks before its buffer is needed for something else.
 * A lone merge has a share of its own and forgets a piece as soon as it is given back.
 *
 * The merges go side by side, range by range; the one that drives them says when all are done with
 * a range. Not thread-safe: one thread pulls them all.
 */
#ifndef UQM_MERGE_SHARE_H
#define UQM_MERGE_SHARE_H

#include "io/stream.h"

struct uqm_share;

/* What a block of the share is called while one wants it; zero: nothing. A block that is wanted but
 * not held may be taken away for a more urgent need: its name is then out of date, and the piece is
 * to be asked for again. */
struct uqm_share_name {
    uint32_t block; /* 1 and up */
    uint32_t generation;
};

/* n_buffers of piece_bytes each, or as many more as memory_bytes pays for. remembers: pieces that
 * were given back stay until their buffer is needed. */
int uqm_share_create(struct uqm_share **out, struct uqm_env *env, size_t piece_bytes,
                     size_t n_buffers, uint64_t memory_bytes, bool remembers, struct uqm_err *err);
/* Takes NULL; safe with reads under way. */
void uqm_share_destroy(struct uqm_share **share);
size_t uqm_share_n_buffers(const struct uqm_share *share);
/* All merges are done with the range that they were at. */
void uqm_share_next_range(struct uqm_share *share);

/* Want a piece ahead of need: *name is set, or zero where no buffer is to spare. */
void uqm_share_want(struct uqm_share_name *name, struct uqm_share *share,
                    const struct uqm_piece *piece);
/* Get the reads that are wanted under way. */
void uqm_share_read_ahead(struct uqm_share *share);
/* Hold the piece; `name` is what want() said, or zero. Waits for its bytes. */
int uqm_share_hold(struct uqm_view *view, struct uqm_share *share, struct uqm_share_name name,
                   const struct uqm_piece *piece, struct uqm_err *err);
/* Hold a buffer of piece_bytes for bytes that come from elsewhere. */
int uqm_share_hold_empty(struct uqm_view *view, void **data, struct uqm_share *share,
                         struct uqm_err *err);
/* Give back what was held, or is wanted and will not be held. */
void uqm_share_release(struct uqm_share *share, struct uqm_view *view);
void uqm_share_forget(struct uqm_share *share, struct uqm_share_name name);

#endif
