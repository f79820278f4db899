/* A checkpoint as a source: ranges of elements to pieces of files. */
#ifndef UQM_CHECKPOINT_CHECKPOINT_STREAM_H
#define UQM_CHECKPOINT_CHECKPOINT_STREAM_H

#include "src/checkpoint/checkpoint.h"

/* uqm_source_ops.open and .min_memory of a checkpoint. */
int uqm_checkpoint_stream_open(struct uqm_tile_stream **out, struct uqm_source *source,
                               struct uqm_threads *threads, size_t tile_bytes,
                               uint64_t memory_bytes, uqm_next_range_fn next, void *ctx,
                               struct uqm_err *err);
uint64_t uqm_checkpoint_stream_min_memory(const struct uqm_source *source, size_t tile_bytes);

/*
 * The ranges of whole tensors, front to back, none larger than tile_bytes and each a whole number
 * of bytes. Set source and tile_bytes (>= 64), then `tensor` to each tensor in turn with first_elem
 * 0.
 */
struct uqm_tensor_walk {
    const struct uqm_source *source;
    size_t tile_bytes;
    size_t tensor;
    uint64_t first_elem;
};
/* 1: *range is the next of the tensor; 0: the tensor is done (an empty one at once). */
int uqm_tensor_walk_next(struct uqm_tensor_walk *walk, struct uqm_range *range);

#endif
