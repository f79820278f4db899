/*
 * Decoding: one new token for each of many prompts at a time. Every tile of the weights is read
 * once for all of them; K and V of what came before lie in a cache.
 *
 * The cache holds F16: half a MiB a token of a 7B model, where f32 would take a whole one and half
 * the prompts we should serve would not fit. The prefill itself attends to the unrounded values, so
 * that the first token's logits are those of uqm_network_logits() to the bit. A row's result
 * depends on its own prompt alone, to the bit.
 */
#ifndef UQM_MODEL_DECODE_H
#define UQM_MODEL_DECODE_H

#include "src/model/blocks.h"

/* K and V of a group of prompts, one allocation a layer: (K, then V) x (position, kv width), the
 * prompts one after the other. */
struct uqm_kv_cache {
    struct uqm_device *device;
    struct uqm_memory **layers; /* [n_layers] */
    uint32_t n_layers;
    size_t width;
    size_t n_slots;
    size_t *first_row; /* [n_slots + 1] */
};

/* Words of all layers for so many positions, and of one. */
uint64_t uqm_kv_cache_words(const struct uqm_text_config *config, uint64_t n_positions);
uint64_t uqm_kv_layer_words(const struct uqm_text_config *config, uint64_t n_positions);
/* n_positions[i]: of slot i. To be finished, whatever is returned. */
int uqm_kv_cache_init(struct uqm_kv_cache *cache, struct uqm_device *device,
                      const struct uqm_text_config *config, const size_t *n_positions,
                      size_t n_slots, struct uqm_err *err);
void uqm_kv_cache_finish(struct uqm_kv_cache *cache);
/* Where a slot's K (or V) of a layer begins. */
struct uqm_place uqm_kv_keys(const struct uqm_kv_cache *cache, uint32_t layer, size_t slot);
struct uqm_place uqm_kv_values(const struct uqm_kv_cache *cache, uint32_t layer, size_t slot);
/* uqm_kv_store() is declared in blocks.h. */

/* A token that has been chosen and shall be read: by which prompt, and where it stands. */
struct uqm_decode_token {
    size_t slot, position;
    int32_t id;
};

struct uqm_decoder {
    struct uqm_run *run;
    struct uqm_kv_cache *cache;
    struct uqm_head *head; /* the whole vocabulary's */
    size_t max_rows;
    struct uqm_parts parts; /* normed, and index with positions behind it; region is not used */
    struct uqm_place q, k, v, inner, positions;
    struct uqm_place logits; /* (max_rows, vocab) after a step */
    /* [max_rows] each */
    struct uqm_attend *attention;
    struct uqm_sequence *seqs;
    struct uqm_llm_prompt *words;
    uint32_t *position_of;
};

/* Words of the arena, from its start, for so many rows. */
uint64_t uqm_decoder_words(const struct uqm_text_config *config, size_t max_rows);
/* run, cache and head are borrowed; the arena has been taken. To be finished, whatever is
 * returned. */
int uqm_decoder_init(struct uqm_decoder *decoder, struct uqm_run *run, struct uqm_kv_cache *cache,
                     struct uqm_head *head, size_t max_rows, struct uqm_err *err);
void uqm_decoder_finish(struct uqm_decoder *decoder);
/* Read n tokens of n prompts; row i of `logits` belongs to tokens[i]. */
int uqm_decoder_step(struct uqm_decoder *decoder, const struct uqm_decode_token *tokens, size_t n,
                     struct uqm_err *err);

#endif
