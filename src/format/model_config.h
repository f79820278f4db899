/*
 * What config.json (and preprocessor_config.json or processor_config.json, tokenizer_config.json,
 * generation_config.json) say of a LLaVA model, in either layout: llava-hf (text_config,
 * vision_config) or LLaVA's own (one flat object; the vision tower's config in a folder of its own,
 * or, where a conversion put the tower into the checkpoint, in a vision_config). Pure: text in,
 * struct out.
 */
#ifndef UQM_FORMAT_MODEL_CONFIG_H
#define UQM_FORMAT_MODEL_CONFIG_H

#include "src/base/err.h"

enum { UQM_MAX_EOS = 8 };

struct uqm_text_config {
    uint32_t vocab_size, hidden, inner, n_layers, n_heads, n_kv_heads, head_dim, max_positions;
    float rms_eps;
    double rope_theta;
    bool tied_head; /* tie_word_embeddings; networks have a stored head all the same */
};

struct uqm_vision_config {
    uint32_t hidden, inner, n_layers, n_heads, image_size, patch_size;
    float layer_norm_eps;
    int feature_layer; /* hidden state index, e.g. -2 */
    /* vision_feature_select_strategy "full", or mm_vision_select_feature "cls_patch" */
    bool keep_class_token;
};

struct uqm_preprocess_config {
    uint32_t image_size; /* square side, e.g. 336 */
    bool pad_to_square;  /* image_aspect_ratio "pad", or do_pad true */
    double mean[3], std[3], rescale;
};

struct uqm_model_config {
    bool has_vision; /* false: a plain language model */
    struct uqm_text_config text;
    struct uqm_vision_config vision;
    struct uqm_preprocess_config preprocess;
    int32_t image_token; /* id that a layout uses for <image>, or -1 */
    int32_t bos_id, eos_ids[UQM_MAX_EOS];
    uint32_t n_eos;
    /* tokenizer_model_max_length or model_max_length: embedded sequences are cut there */
    uint32_t max_length;
    uint32_t n_real_tokens; /* ids >= this (image token, padding rows) never win an argmax, unless
                               they end an answer */
};

/* The files' texts, each NULL when its file is absent. */
struct uqm_config_texts {
    const char *where; /* the folder, for errors */
    const char *config, *vision_config, *preprocessor, *tokenizer_config, *generation;
    /* processor_config.json: transformers 5 writes what preprocessor_config.json held into its
     * image_processor, which is read in that file's place where it is there. */
    const char *processor;
};

/*
 * UQM_ERR_FORMAT names file and key: missing, of the wrong type, out of range, or contradictory.
 * UQM_ERR_UNSUPPORTED: an activation, rope scaling, projector type or architecture we do not
 * compute, by name.
 */
int uqm_model_config_parse(struct uqm_model_config *out, const struct uqm_config_texts *texts,
                           struct uqm_err *err);

/* Whether the id ends an answer, and whether it can be a next token at all. */
static inline bool uqm_model_config_is_eos(const struct uqm_model_config *config, uint32_t id)
{
    for (uint32_t i = 0; i < config->n_eos; i++)
        if ((uint32_t) config->eos_ids[i] == id)
            return true;
    return false;
}
static inline bool uqm_model_config_says(const struct uqm_model_config *config, uint32_t id)
{
    return id < config->n_real_tokens || uqm_model_config_is_eos(config, id);
}

#endif
