/*
 * Inside the network: what its blocks share. network.h is the way in.
 *
 * A call of the network is a run: the device's scratch, one arena of activations in its memory, and
 * passes over the weights (schedule.h), one a batch. In the arena lie, a row a token, T rows
 * rounded up to UQM_GEMM_ROWS:
 *     hidden  the residual stream
 *     normed  the normalised rows, then the attention's output
 *     region  q, k, v side by side; then the MLP's inner rows; before the first layer the pictures
 *     index   numbers of rows and positions
 * Blocks touch activations through the device alone (compute/device.h); what the host looks at or
 * makes goes through the run's stage.
 */
#ifndef UQM_MODEL_BLOCKS_H
#define UQM_MODEL_BLOCKS_H

#include "src/model/network.h"
#include "src/model/schedule.h"

struct uqm_network {
    struct uqm_env *env;
    struct uqm_machine *machine;
    struct uqm_source *source;
    struct uqm_model_config config;
    struct uqm_kernels kernels; /* for what the host widens */
    uint64_t memory_bytes;
    struct uqm_load embed, head; /* whole; one tensor when the head is tied */
};

/* What a run will need besides the arena. */
struct uqm_run_needs {
    size_t max_kv;        /* the longest sequence */
    size_t n_positions;   /* rows of the rope tables, 0 for none */
    size_t stage_elem;    /* floats of the stage, a row of the weights at least */
    uint64_t other_bytes; /* of the budget, taken by the caller */
};

struct uqm_run {
    struct uqm_network *net;
    struct uqm_device *device; /* the machine's */
    struct uqm_device_needs device_needs;
    bool reserved;
    size_t tile_bytes;
    uint64_t stream_bytes;
    uint64_t fixed_bytes;     /* of the budget: the stream and everything below but the arena */
    uint64_t device_bytes;    /* of the device's memory: the same; 0 where that is the budget */
    uint64_t table_bytes;     /* norms, biases and rotary tables, part of one of them */
    struct uqm_memory *small; /* norm_w, norm_b, bias: max_row words each */
    struct uqm_place norm_w, norm_b, bias;
    struct uqm_memory *rope; /* tables of n_positions rows */
    struct uqm_place cos, sin;
    float *stage; /* the host's; nobody's between two calls */
    size_t stage_elem;
    struct uqm_memory *arena;
    uint64_t arena_bytes;
};

/* Size the tiles for the weights that `schedule` lists and take everything but the arena. */
int uqm_run_init(struct uqm_run *run, struct uqm_network *net, const struct uqm_schedule *schedule,
                 const struct uqm_run_needs *needs, struct uqm_err *err);
/* Bytes that memory_bytes leaves beside what is fixed, and that the device has for the arena: one
 * and the same where the device's memory is the host's. */
uint64_t uqm_run_host_room(const struct uqm_run *run);
uint64_t uqm_run_device_room(const struct uqm_run *run);
/* The same, of one allocation. */
uint64_t uqm_run_arena_room(const struct uqm_run *run);
/* Take the arena, or go on with one that is large enough. `what`, e.g. "a prompt of 80 tokens",
 * names what does not fit. */
int uqm_run_take_arena(struct uqm_run *run, uint64_t bytes, const char *what, struct uqm_err *err);
void uqm_run_give_arena(struct uqm_run *run);
int uqm_run_no_room(const struct uqm_run *run, uint64_t bytes, const char *what,
                    struct uqm_err *err);
/* How a pass over these weights is opened; uqm_run_open() does. */
struct uqm_weights_params uqm_run_weights(const struct uqm_run *run,
                                          const struct uqm_schedule *schedule);
int uqm_run_open(struct uqm_run *run, struct uqm_weights *weights,
                 const struct uqm_schedule *schedule, struct uqm_err *err);
/* The same with so much memory for weights on their way, in place of stream_bytes. */
int uqm_run_open_ahead(struct uqm_run *run, struct uqm_weights *weights,
                       const struct uqm_schedule *schedule, uint64_t memory_bytes,
                       struct uqm_err *err);
/* How much that should be beside an arena of arena_bytes, taken or not, for a pass over
 * weights_bytes whose every tile is waited for: stream_bytes at least. */
uint64_t uqm_run_ahead_bytes(const struct uqm_run *run, uint64_t arena_bytes,
                             uint64_t weights_bytes);
/* Takes a zeroed or half-built one. */
void uqm_run_finish(struct uqm_run *run);

/* A place in the arena. */
static inline struct uqm_place uqm_run_place(const struct uqm_run *run, uint64_t at)
{
    return (struct uqm_place){ .memory = run->arena, .at = at };
}

/* The arena's parts begin where every device can bind them. */
static inline uint64_t uqm_part_words(uint64_t n_words)
{
    return (n_words + 63) / 64 * 64;
}

/* Stored rows to consecutive rows of the device's memory, widened, through the stage. */
struct uqm_row_writer {
    struct uqm_run *run;
    struct uqm_place to; /* the next row */
    size_t width;
    size_t n_staged;
};
int uqm_row_writer_put(struct uqm_row_writer *writer, const void *row, enum uqm_dtype dtype,
                       struct uqm_err *err);
/* After the last one. */
int uqm_row_writer_flush(struct uqm_row_writer *writer, struct uqm_err *err);

/* Rows rounded up to whole blocks of the products. */
static inline size_t uqm_padded_rows(size_t n_rows)
{
    return (n_rows + UQM_GEMM_ROWS - 1) / UQM_GEMM_ROWS * UQM_GEMM_ROWS;
}

/* ---- vision tower (clip.c) ---- */

/* Class token and patches, whether or not the class token is kept. */
size_t uqm_clip_rows(const struct uqm_vision_config *config);
int uqm_clip_schedule(struct uqm_schedule *schedule, const struct uqm_vision_config *config,
                      struct uqm_err *err);

/* ---- projector (projector.c) ---- */

int uqm_projector_schedule(struct uqm_schedule *schedule, const struct uqm_model_config *config,
                           struct uqm_err *err);
/* out (n_rows, text hidden) from features (n_rows, vision hidden) by way of mid; out may be where
 * the features are. All three with rows to UQM_GEMM_ROWS. */
int uqm_projector_run(struct uqm_run *run, struct uqm_weights *weights, struct uqm_place out,
                      struct uqm_place mid, struct uqm_place features, size_t n_rows,
                      struct uqm_err *err);

/* ---- prompts as rows (splice.c) ---- */

/*
 * Rows of one matrix that are wanted, gathered with as few reads as make sense: neighbours, and
 * rows on the same page, in one. refs: ascending by id. Whoever takes the rows skips those in
 * between.
 */
struct uqm_row_ref {
    int32_t id;
    size_t at; /* what the row is for */
};
int uqm_row_ref_compare(const void *a, const void *b); /* for qsort */
int uqm_schedule_gather(struct uqm_schedule *schedule, const struct uqm_load *matrix,
                        const struct uqm_row_ref *refs, size_t n_refs, struct uqm_err *err);

struct uqm_sequence {
    const struct uqm_llm_prompt *prompt;
    size_t number;     /* of the prompt in the job */
    size_t n_rows;     /* after the cut at max_length */
    size_t n_pictures; /* that have a row left */
    size_t row;        /* where it begins in the batch */
};

/* Check the ids and count the rows. */
int uqm_sequence_init(struct uqm_sequence *seq, const struct uqm_network *net,
                      const struct uqm_llm_prompt *prompt, size_t number, struct uqm_err *err);

struct uqm_splice;
typedef int (*uqm_features_fn)(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err);
/* Which embedding rows the sequences need; adds the projector (if there are pictures) and those
 * rows to the schedule. */
int uqm_splice_create(struct uqm_splice **out, struct uqm_schedule *schedule,
                      const struct uqm_network *net, const struct uqm_sequence *seqs, size_t n_seqs,
                      struct uqm_err *err);
/* At most so many rows of the embedding are read for these sequences. */
uint64_t uqm_splice_most_rows(const struct uqm_network *net, const struct uqm_sequence *seqs,
                              size_t n_seqs);
/* Of some sequences of a whole that has been scheduled. */
int uqm_splice_create_part(struct uqm_splice **out, const struct uqm_splice *whole,
                           const struct uqm_network *net, const struct uqm_sequence *seqs,
                           size_t n_seqs, struct uqm_err *err);
void uqm_splice_destroy(struct uqm_splice **splice);
/* Where a block finds its parts of the arena. */
struct uqm_parts {
    struct uqm_place hidden, normed, region, index;
};

/* Fill hidden: embeddings, and the projected pictures in the placeholders' place. The other parts
 * are scratch; the stage has room for a picture's features. */
int uqm_splice_run(struct uqm_splice *splice, struct uqm_run *run, struct uqm_weights *weights,
                   const struct uqm_parts *parts, uqm_features_fn features, void *ctx,
                   struct uqm_err *err);

/* ---- language model (llama.c) ---- */

struct uqm_kv_cache;

/* Words of the arena's parts for a batch. */
struct uqm_llama_plan {
    size_t n_rows, n_seqs;
    uint64_t hidden, normed, region, index;
    size_t mlp_rows; /* the MLP goes over so many rows at a time, reading its weights each time */
};
/* picture_rows: of all pictures of the batch. tight: the smallest region, whatever it costs. */
void uqm_llama_plan(struct uqm_llama_plan *plan, const struct uqm_model_config *config,
                    size_t n_rows, size_t n_seqs, size_t picture_rows, bool tight);
static inline uint64_t uqm_llama_plan_words(const struct uqm_llama_plan *plan)
{
    return plan->hidden + plan->normed + plan->region + plan->index;
}

struct uqm_llama {
    struct uqm_run *run;
    struct uqm_weights *weights;
    struct uqm_llama_plan plan;
    const struct uqm_sequence *seqs;
    struct uqm_parts parts;
    struct uqm_attend *attention; /* n_seqs */
    uint64_t seed;
    struct uqm_kv_cache *cache; /* NULL, or where K and V are kept (decode.h); ... */
    size_t first_slot;          /* ... the i-th sequence's in slot first_slot + i */
};
/* Where the parts lie when they follow each other from the arena's start. */
struct uqm_parts uqm_llama_parts(const struct uqm_run *run, const struct uqm_llama_plan *plan);
/* parts: NULL: uqm_llama_parts(). */
int uqm_llama_init(struct uqm_llama *llama, struct uqm_run *run, const struct uqm_llama_plan *plan,
                   const struct uqm_parts *parts, const struct uqm_sequence *seqs, uint64_t seed,
                   struct uqm_err *err);
void uqm_llama_finish(struct uqm_llama *llama);

/* One layer's weights: the MLP's n_chunks times. */
int uqm_llama_schedule_layer(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                             uint32_t layer, size_t n_chunks, struct uqm_err *err);
/* Its two halves, one after the other the same. */
int uqm_llama_schedule_attention(struct uqm_schedule *schedule,
                                 const struct uqm_text_config *config, uint32_t layer,
                                 struct uqm_err *err);
int uqm_llama_schedule_mlp(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                           uint32_t layer, size_t n_chunks, struct uqm_err *err);
/* All layers of a batch from `first` on. */
int uqm_llama_schedule(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                       const struct uqm_llama_plan *plan, uint32_t first, struct uqm_err *err);
/* hidden through one layer. The last one leaves the sequences' last rows alone, packed. */
int uqm_llama_layer(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err);
/* Its two halves. */
int uqm_llama_attention(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err);
int uqm_llama_mlp(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err);

/* Keep n_rows rows of a slot's K and V in a layer, from `position` on, rounded to F16
 * (kv_cache.c). */
int uqm_kv_store(struct uqm_kv_cache *cache, uint32_t layer, size_t slot, size_t position,
                 struct uqm_place k, struct uqm_place v, size_t n_rows, struct uqm_err *err);

/* Threshold and scale of spec 2; UQM_ERR_ARG unless 0 <= p < 1. */
int uqm_dropout_init(uint32_t *threshold, float *keep_scale, double p, struct uqm_err *err);

/* ---- head (head.c) ---- */

/* Which tokens' logits are wanted, and their rows of the head once they are read. */
struct uqm_head {
    struct uqm_env *env;
    size_t n_tokens, width;
    struct uqm_row_ref *refs; /* ascending, and which column is theirs; NULL: the vocabulary */
    size_t n_loads, next;
    void *rows; /* (n_tokens, width), of the head's type; from the budget */
    size_t rows_bytes;
    enum uqm_dtype dtype;
};
/* tokens NULL: the whole vocabulary. */
int uqm_head_init(struct uqm_head *head, const struct uqm_network *net, const int32_t *tokens,
                  size_t n_tokens, struct uqm_err *err);
void uqm_head_finish(struct uqm_head *head);
int uqm_head_schedule(struct uqm_schedule *schedule, const struct uqm_network *net,
                      struct uqm_head *head, struct uqm_err *err);
/* logits (n_rows, n_tokens) of hidden (n_rows, width); normed is scratch. */
int uqm_head_run(struct uqm_head *head, struct uqm_run *run, struct uqm_weights *weights,
                 struct uqm_place logits, struct uqm_place normed, struct uqm_place hidden,
                 size_t n_rows, struct uqm_err *err);

/* All that the language model (and the projector) may read, for checks and sizes. */
int uqm_network_schedule_text(struct uqm_schedule *schedule, const struct uqm_network *net,
                              struct uqm_err *err);

#endif
