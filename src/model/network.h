/*
 * The network: vision tower, projector, language model. Weights stream in from a source, tile by
 * tile, each tile once for the whole batch; activations stay, f32.
 */
#ifndef UQM_MODEL_NETWORK_H
#define UQM_MODEL_NETWORK_H

#include "src/base/rng.h"
#include "src/checkpoint/source.h"
#include "src/format/model_config.h"
#include "src/model/machine.h"

struct uqm_network;

/*
 * Check that the source has every tensor the config asks for, in the right shape, and no other in
 * the language model or the projector (an error names the tensor), and hold both. The network uses
 * at most memory_bytes of the budget while one of the calls below runs, and next to nothing between
 * them. Machine and source are borrowed; the machine's device may change (uqm_machine_fall_back()).
 */
int uqm_network_create(struct uqm_network **out, struct uqm_machine *machine,
                       struct uqm_source *source, const struct uqm_model_config *config,
                       uint64_t memory_bytes, struct uqm_err *err);
void uqm_network_destroy(struct uqm_network **network);
const struct uqm_model_config *uqm_network_config(const struct uqm_network *network);

/* Rows of one picture's features: its patches, and the class token if kept. They are as wide as the
 * vision tower. 0 without one. */
size_t uqm_network_feature_rows(const struct uqm_model_config *config);

/*
 * Vision features of n pictures. pixels(ctx, i, dst): fill (3, side, side) f32; called once per
 * picture, possibly from several threads at once. store(ctx, i, features): take (rows, hidden) f32;
 * from one thread. Works in batches that fit, one pass over the tower's weights each.
 */
struct uqm_vision_job {
    size_t n_images;
    int (*pixels)(void *ctx, size_t image, float *dst, struct uqm_err *err);
    int (*store)(void *ctx, size_t image, const float *features, struct uqm_err *err);
    void *ctx;
    const char *stage; /* for progress */
};
int uqm_network_vision(struct uqm_network *network, const struct uqm_vision_job *job,
                       struct uqm_err *err);

struct uqm_llm_prompt {
    const int32_t *ids; /* UQM_IMAGE_PLACEHOLDER stands for a picture's rows */
    size_t n_ids;
    /* Dropout on attention probabilities, rate p (0: none); the stream of (dataset, sample, j). */
    double dropout;
    const char *dataset, *sample;
    uint32_t j;
};

/* Rows that a prompt has, a picture's being its features; those past config max_length are cut. */
uint64_t uqm_network_prompt_rows(const struct uqm_model_config *config,
                                 const struct uqm_llm_prompt *prompt);

struct uqm_plan_wish;

struct uqm_llm_job {
    size_t n_prompts;
    const struct uqm_llm_prompt *prompts;
    /* Fill in the features of the k-th picture of a prompt; from one thread. */
    int (*features)(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err);
    /* Called for each prompt, in order, as soon as its batch is done, with the n_tokens logits. */
    int (*logits)(void *ctx, size_t prompt, const float *logits, struct uqm_err *err);
    /* Tests look into hidden states: layer 0 is the embedding, n_layers the last layer's output,
     * before the final norm and of the last position alone (n_rows 1). NULL otherwise. */
    void (*observe)(void *ctx, size_t prompt, uint32_t layer, const float *hidden, size_t n_rows);
    void *ctx;
    const int32_t *tokens; /* ids whose logits are wanted; NULL: the whole vocabulary */
    size_t n_tokens;
    const char *stage;
    uint64_t seed;
    const struct uqm_plan_wish *wish; /* for tests (pass_plan.h); NULL: what is best */
};

/*
 * First-token logits of every prompt: one prefill each, the head at the last position only. Batches
 * of whole prompts that fit the memory, one pass over the weights a batch. Sequences longer than
 * config max_length are cut at the end. A logit depends on its prompt alone, to the bit.
 */
int uqm_network_logits(struct uqm_network *network, const struct uqm_llm_job *job,
                       struct uqm_err *err);

struct uqm_generate_job {
    size_t n_prompts;
    const struct uqm_llm_prompt *prompts;
    const uint32_t *max_tokens; /* (n_prompts): how long each answer may become; at least 1 */
    /* As in struct uqm_llm_job. */
    int (*features)(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err);
    /* Called for each prompt, in order, as soon as the answers of its group are complete. */
    int (*answer)(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids, struct uqm_err *err);
    /* NULL, or called for each prompt with the (vocab_size) logits of its first new token. */
    int (*first_logits)(void *ctx, size_t prompt, const float *logits, struct uqm_err *err);
    void *ctx;
    const char *stage;
    uint64_t seed;
    uint32_t save_every; /* for tests: tokens between two savings of answers; 0: as is best */
};

/*
 * Greedy: argmax (lowest id on ties, ids >= n_real_tokens that are no EOS never), stop at an EOS
 * id (not included) or max_tokens or the model's last position. Prompts go in groups whose K and V
 * of all layers, in F16, fit the memory; one pass over the weights reads them, one more each adds
 * a token to all answers of the group that are not complete. Where the model fits beside them its
 * weights stay in memory. An answer depends on its prompt alone.
 */
int uqm_network_generate(struct uqm_network *network, const struct uqm_generate_job *job,
                         struct uqm_err *err);

#endif
