/*
 * How the prompts of a job go through the network, chosen before anything is read.
 *
 * tiles: all prompts of a pass at once, each tile of the weights applied to all of their rows as it
 * comes in. Little memory for weights, all activations of the pass at the same time.
 * layers: a layer's weights (or those of its attention, then of its MLP) stay in memory while the
 * prompts go through it in batches; besides one batch's activations only the hidden states of all
 * prompts are kept. Many more prompts a pass, against memory for a layer.
 *
 * What is chosen takes the least time by the rates that were measured (rates.h), and among what
 * takes hardly longer than that, or without rates, moves the fewest bytes: weights read again with
 * every pass, and hidden states that are spilled with every layer. The same rates give the same
 * plan. No result depends on it.
 */
#ifndef UQM_MODEL_PASS_PLAN_H
#define UQM_MODEL_PASS_PLAN_H

#include "src/model/rates.h"
#include "src/model/states.h"

enum uqm_plan_kind { UQM_PLAN_ANY, UQM_PLAN_TILES, UQM_PLAN_LAYERS };

/* For tests: what to take instead of the best. Zero: as is best. */
struct uqm_plan_wish {
    enum uqm_plan_kind kind;
    unsigned groups_a_layer; /* 1 or 2 */
    unsigned n_slots;        /* neighbouring groups in memory at a time */
    size_t batch_rows;
    bool has_states;
    enum uqm_states_kind states;
    size_t most_prompts; /* of a pass in layers */
    uint32_t save_every; /* layers (saved.h) */
};

struct uqm_plan_job {
    const struct uqm_model_config *config;
    const struct uqm_sequence *seqs;
    size_t n_seqs;
    size_t n_logits; /* of each prompt */
    bool on_host;    /* the device's memory is the host's: device_room is for both */
    uint64_t device_room, host_room, largest_bytes;
    uint64_t weights_bytes;    /* of one pass */
    uint64_t ring_bytes[2][3]; /* uqm_held_ring_bytes() by groups a layer and slots, each - 1 */
    size_t n_tile_passes;      /* in tiles; 0: a prompt does not fit */
    struct uqm_rates rates;
    double flop_a_row;                /* of one pass, for the rates */
    const struct uqm_plan_wish *wish; /* or NULL */
};

struct uqm_plan {
    enum uqm_plan_kind kind;
    unsigned groups_a_layer, n_slots;
    uint64_t ring_bytes;
    enum uqm_states_kind states;
    size_t batch_rows; /* a batch ends before it has more, but has one prompt at least */
    size_t n_passes;
    uint64_t cost_bytes; /* moved in all */
    double seconds;      /* by the rates; 0 without */
};

/* For the prompts from `first` on. False: nothing fits. */
bool uqm_plan_choose(struct uqm_plan *plan, const struct uqm_plan_job *job, size_t first);

/* A pass in layers over prompts [first, first + n_seqs), and the words it takes. */
struct uqm_pass_shape {
    size_t n_seqs, n_batches, n_rows, most_rows;
    uint64_t work; /* normed, region and index of the largest batch */
    uint64_t tail; /* last rows, the same normalised, logits */
};
/* As many prompts as fit, or such a share of them that the passes that are left are of like size.
 * False: not one fits. */
bool uqm_plan_pass(struct uqm_pass_shape *shape, const struct uqm_plan *plan,
                   const struct uqm_plan_job *job, size_t first);

/* The batch that begins at prompt `first` of a pass that ends before `end`. */
struct uqm_batch_shape {
    size_t n_seqs;
    struct uqm_llama_plan plan;
};
void uqm_plan_batch(struct uqm_batch_shape *batch, const struct uqm_plan *plan,
                    const struct uqm_plan_job *job, size_t first, size_t end);

/* Words of the tail's parts for n prompts. */
static inline uint64_t uqm_plan_last_words(const struct uqm_plan_job *job, size_t n_seqs)
{
    return uqm_part_words((uint64_t) uqm_padded_rows(n_seqs) * job->config->text.hidden);
}

#endif
