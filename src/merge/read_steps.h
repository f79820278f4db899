/*
 * In which order a merge reads. The consumer asks for ranges of output tensors; where the method
 * has passes (method_ops.h), those of a tensor come before its first range. The planner turns that
 * into steps, each the same elements of every part of a tensor, ahead of what is computed; the
 * stream takes the steps in the same order.
 *
 * A tensor whose parts fit the buffers is read once: the steps of its first pass leave their
 * buffers filled, and whatever comes after, passes and ranges in ascending order, is computed from
 * them. Others are read once a pass and once more for the ranges; of some a sample is read before,
 * which spares a pass, and late passes (method_ops.h) go along with what is read anyway.
 */
#ifndef UQM_MERGE_READ_STEPS_H
#define UQM_MERGE_READ_STEPS_H

#include "src/merge/exec.h"
#include "src/merge/pieces.h"
#include "src/merge/plan.h"

struct uqm_step {
    size_t tensor;
    bool is_pass;   /* else of a range */
    bool is_sample; /* ahead of the passes */
    bool begins;    /* the first of its passes' */
    bool reads; /* all parts of [first, first + n_elem); else they are kept, or there are none */
    bool keeps; /* the buffers stay filled */
    bool last;  /* of its pass, or of its range */
    struct uqm_pass pass;
    struct uqm_range range; /* the consumer's; of a pass, the one that is waiting for it */
    uint64_t first;         /* whole units; of whole blocks in a pass */
    size_t n_elem;
};

/* How a stream cuts tensors, by the tile and its memory alone. */
struct uqm_cut {
    size_t tile_bytes;
    size_t piece_bytes; /* the most of one part that a step reads */
    size_t out_bytes;   /* the most that the merge of a step's range takes */
    size_t n_buffers;   /* for pieces */
};

enum { UQM_TILES_AHEAD = 2 }; /* one in hand, one on its way */

/* n_buffers: 0, the least there must be, as for planning. */
void uqm_cut_init(struct uqm_cut *cut, const struct uqm_recipe_source *rs, size_t tile_bytes,
                  size_t n_buffers);
/* Elements that a step of this tensor has at most: whole blocks. */
uint64_t uqm_cut_elem(const struct uqm_cut *cut, const struct uqm_recipe_source *rs, size_t tensor);
/* Whether the tensor is read once and kept. */
bool uqm_cut_keeps(const struct uqm_cut *cut, const struct uqm_recipe_source *rs, size_t tensor);
/* Buffers to keep it, for all merges of the pass, those that read ahead not counted. */
uint64_t uqm_cut_buffers(const struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                         size_t tensor);
/* The samples that are read of it before. */
uint64_t uqm_cut_samples(const struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                         size_t tensor);
/* Elements of each part that are read for a tensor whose ranges are asked for once, in order: at
 * most, or unless a sample misleads; and in how many readings of the tensor, whole or not. */
struct uqm_cut_reads {
    uint64_t most, likely;
    unsigned passes;
};
struct uqm_cut_reads uqm_cut_reads(const struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                                   size_t tensor);

/* merge_stream.c: a buffer for one piece; and what a stream takes beside its buffers. */
uint64_t uqm_cut_buffer_bytes(const struct uqm_cut *cut);
uint64_t uqm_merge_stream_own_memory(const struct uqm_recipe_source *rs, size_t tile_bytes);
/* The cut that a stream with this memory has; for planning. */
void uqm_merge_stream_cut(struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                          size_t tile_bytes, uint64_t memory_bytes);
/* ... and how much of the memory is of use to it. */
uint64_t uqm_merge_stream_useful_memory(const struct uqm_recipe_source *rs, size_t tile_bytes,
                                        uint64_t memory_bytes);

struct uqm_step_queue { /* zero: empty */
    struct uqm_step *ring;
    size_t head, n, cap;
};

struct uqm_steps {
    struct uqm_recipe_source *rs;
    const struct uqm_cut *cut;
    uqm_next_range_fn next;
    void *ctx;
    struct uqm_step_queue queue; /* planned and not yet taken */
    bool ended, out_of_memory;
    bool waiting; /* for the end of a pass that decides what the next reads */

    bool has_range; /* the consumer's range that is being planned */
    struct uqm_range range;
    bool in_passes;             /* of its tensor */
    uint64_t n_samples, sample; /* ahead of them, and how many of those are planned */
    struct uqm_pass pass;
    uint64_t at;        /* the element the next step begins with */
    bool *ready;        /* [n_tensors] the passes are planned, or over */
    size_t kept;        /* the tensor whose buffers will be filled; n_tensors: none */
    uint64_t kept_from; /* ... from this element on */

    struct uqm_step asking; /* the step whose parts are being asked for */
    size_t asking_part;
    bool is_asking;
};

/* Zeroed but for rs, cut, next, ctx. */
int uqm_steps_init(struct uqm_steps *steps, struct uqm_err *err);
void uqm_steps_finish(struct uqm_steps *steps);

/* For uqm_pieces_create(). ctx: the struct uqm_steps. */
int uqm_steps_next_piece(void *ctx, struct uqm_part_piece *piece);
/* The next step, in the order of the pieces. 0: the end. */
int uqm_steps_take(struct uqm_steps *steps, struct uqm_step *step, struct uqm_err *err);
/* A pass has ended that `waiting` is for: *pass is the next one. */
void uqm_steps_go_on(struct uqm_steps *steps, const struct uqm_pass *pass);

/* Where elements [first, first + n_elem) of a part lie. */
void uqm_part_locate(struct uqm_seen *out, const struct uqm_recipe_source *rs,
                     const struct uqm_plan_part *part, uint64_t first, size_t n_elem);

#endif
