/*
 * Where a model's weights come from: a checkpoint on disk, or a recipe whose tensors are merged
 * while they are loaded. The network and the writer of merges ask for tiles in an order of their
 * own and cannot tell the two apart.
 */
#ifndef UQM_CHECKPOINT_SOURCE_H
#define UQM_CHECKPOINT_SOURCE_H

#include "compute/mix.h"
#include "src/base/dtype.h"
#include "src/base/env.h"

enum { UQM_MAX_RANK = 64 };

enum uqm_part { UQM_PART_VISION, UQM_PART_ADAPTER, UQM_PART_LANGUAGE, UQM_PART_OTHER, UQM_N_PARTS };
const char *uqm_part_name(enum uqm_part part); /* "vision" */

struct uqm_tensor {
    const char *name;      /* as the files spell it; NUL-terminated, no NUL inside */
    const char *canonical; /* layout.h: one spelling for every layout; equals name for "other" */
    enum uqm_part part;
    int layer; /* N of ".layers.N.", or -1 */
    enum uqm_dtype dtype;
    unsigned rank;
    const uint64_t *shape; /* [rank], row-major */
    uint64_t n_elem;
    uint64_t n_bytes; /* n_elem elements, packed */
};

/* A run of consecutive elements of one tensor. */
struct uqm_range {
    size_t tensor; /* index into the source's tensors */
    uint64_t first_elem;
    size_t n_elem;
};

/* Fill in the next range: 1, or 0 at the end. Called ahead of the consumer, in order. */
typedef int (*uqm_next_range_fn)(void *ctx, struct uqm_range *range);

struct uqm_tile {
    struct uqm_range range;
    const void *data; /* range.n_elem elements in the tensor's dtype, 64-byte aligned or not */
    size_t n_bytes;
    const struct uqm_mix *mix; /* after uqm_tile_defer() alone: what the data would be made of; data
                                  is NULL until uqm_tile_settle() */
    void *slot;                /* the stream's */
};

struct uqm_tile_stream;
struct uqm_source;
struct uqm_threads;

struct uqm_source_ops {
    int (*open)(struct uqm_tile_stream **out, struct uqm_source *source,
                struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                uqm_next_range_fn next, void *ctx, struct uqm_err *err);
    uint64_t (*min_memory)(const struct uqm_source *source, size_t tile_bytes);
    void (*destroy)(struct uqm_source *source);
};

struct uqm_source {
    const struct uqm_source_ops *ops;
    struct uqm_env *env;
    const char *name;           /* folder's or recipe's name, for results and messages */
    const char *home;           /* the folder or archive that holds config.json and the tokenizer:
                                 * model_file.h reads them */
    bool is_merge;              /* made while it is read */
    enum uqm_mixes gives_mixes; /* what uqm_tile_defer() may have come */
    size_t n_tensors;
    const struct uqm_tensor *tensors; /* ascending by canonical name */
};

/* Index of the tensor with this canonical name, or -1. */
long uqm_source_find(const struct uqm_source *source, const char *canonical);

/*
 * Read the ranges that `next` gives, ahead of the consumer as far as memory_bytes (from the
 * budget) allows. A range holds at most tile_bytes of the tensor's dtype. Needs memory for at
 * least two tiles per input, else UQM_ERR_NOMEM. `threads` may be NULL: the calling thread does
 * all the arithmetic.
 */
int uqm_source_open(struct uqm_tile_stream **out, struct uqm_source *source,
                    struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                    uqm_next_range_fn next, void *ctx, struct uqm_err *err);
/* The least memory_bytes that uqm_source_open() accepts for tiles of this size. For planning. */
uint64_t uqm_source_min_memory(const struct uqm_source *source, size_t tile_bytes);
void uqm_source_destroy(struct uqm_source **source);

struct uqm_tile_stream_ops {
    int (*next)(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err);
    void (*release)(struct uqm_tile_stream *stream, struct uqm_tile *tile);
    void (*destroy)(struct uqm_tile_stream *stream);
    /* Both or neither; NULL: every tile has its data. */
    void (*defer)(struct uqm_tile_stream *stream);
    void (*settle)(struct uqm_tile_stream *stream, struct uqm_tile *tile);
};
struct uqm_tile_stream {
    const struct uqm_tile_stream_ops *ops;
};

/* 1: *tile is the next range; 0: the end; < 0: error. The consumer holds one tile at a time:
 * it releases it before it asks for the next. */
int uqm_tile_next(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err);
void uqm_tile_release(struct uqm_tile_stream *stream, struct uqm_tile *tile);
/*
 * From now on tiles that are mixtures (compute/mix.h), and safe ones, may come as such, for
 * somebody who makes them elsewhere. Whoever wants the data of one after all has it made: the same
 * bits.
 */
void uqm_tile_defer(struct uqm_tile_stream *stream);
void uqm_tile_settle(struct uqm_tile_stream *stream, struct uqm_tile *tile);
void uqm_tile_stream_destroy(struct uqm_tile_stream **stream);

#endif
