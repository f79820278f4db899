/* What a GGUF file says of its model. */
#include <stdio.h>
#include <string.h>

#include "src/convert/gguf_export.h"

static void put_general(struct uqm_gguf_header *h, const struct uqm_gguf_export *x,
                        enum uqm_gguf_file file)
{
    const bool is_mmproj = file == UQM_GGUF_MMPROJ;
    const enum uqm_gguf_kind kind = uqm_gguf_kind_of(x, file);
    uqm_gguf_put_text(h, "general.architecture", is_mmproj ? "clip" : "llama");
    uqm_gguf_put_text(h, "general.type", is_mmproj ? "mmproj" : "model");
    uqm_gguf_put_text(h, "general.name", x->name);
    uqm_gguf_put_u32(h, "general.file_type", (uint32_t) kind);
    if (kind == UQM_GGUF_ALL_Q8_0 || kind == UQM_GGUF_Q4_K_M)
        uqm_gguf_put_u32(h, "general.quantization_version", 2);
}

static void put_llama(struct uqm_gguf_header *h, const struct uqm_gguf_export *x)
{
    const struct uqm_text_config *c = &x->config.text;
    uqm_gguf_put_u32(h, "llama.block_count", c->n_layers);
    uqm_gguf_put_u32(h, "llama.context_length", c->max_positions);
    uqm_gguf_put_u32(h, "llama.embedding_length", c->hidden);
    uqm_gguf_put_u32(h, "llama.feed_forward_length", c->inner);
    uqm_gguf_put_u32(h, "llama.attention.head_count", c->n_heads);
    uqm_gguf_put_u32(h, "llama.attention.head_count_kv", c->n_kv_heads);
    uqm_gguf_put_u32(h, "llama.rope.dimension_count", c->head_dim);
    if ((uint64_t) c->head_dim * c->n_heads != c->hidden) {
        uqm_gguf_put_u32(h, "llama.attention.key_length", c->head_dim);
        uqm_gguf_put_u32(h, "llama.attention.value_length", c->head_dim);
    }
    uqm_gguf_put_u32(h, "llama.vocab_size", x->n_rows);
    uqm_gguf_put_f32(h, "llama.attention.layer_norm_rms_epsilon", c->rms_eps);
    uqm_gguf_put_f32(h, "llama.rope.freq_base", (float) c->rope_theta);
}

static void put_id(struct uqm_gguf_header *h, const struct uqm_gguf_export *x, const char *key,
                   int64_t id)
{
    if (id >= 0 && id < x->n_rows)
        uqm_gguf_put_u32(h, key, (uint32_t) id);
}

static void put_tokenizer(struct uqm_gguf_header *h, const struct uqm_gguf_export *x)
{
    const struct uqm_gguf_vocab *v = &x->vocab;
    uqm_gguf_put_text(h, "tokenizer.ggml.model", "llama");
    uqm_gguf_put_text(h, "tokenizer.ggml.pre", "default");
    uqm_gguf_put_texts(h, "tokenizer.ggml.tokens", v->texts, v->n);
    uqm_gguf_put_numbers(h, "tokenizer.ggml.scores", UQM_GGUF_F32, v->scores, v->n);
    uqm_gguf_put_numbers(h, "tokenizer.ggml.token_type", UQM_GGUF_I32, v->types, v->n);
    put_id(h, x, "tokenizer.ggml.bos_token_id", x->config.bos_id);
    put_id(h, x, "tokenizer.ggml.eos_token_id", x->config.n_eos > 0 ? x->config.eos_ids[0] : -1);
    put_id(h, x, "tokenizer.ggml.unknown_token_id", v->unknown);
    put_id(h, x, "tokenizer.ggml.padding_token_id", v->pad);
    uqm_gguf_put_bool(h, "tokenizer.ggml.add_bos_token", v->add_bos);
    uqm_gguf_put_bool(h, "tokenizer.ggml.add_eos_token", v->add_eos);
    uqm_gguf_put_bool(h, "tokenizer.ggml.add_space_prefix", v->space_prefix);
    if (x->chat_template)
        uqm_gguf_put_text(h, "tokenizer.chat_template", x->chat_template);
}

static void put_clip(struct uqm_gguf_header *h, const struct uqm_gguf_export *x)
{
    const struct uqm_vision_config *v = &x->config.vision;
    const struct uqm_preprocess_config *p = &x->config.preprocess;
    const int32_t feature_layer = (int32_t) x->n_vision_layers;
    float mean[3], std[3];
    for (int i = 0; i < 3; i++) {
        mean[i] = (float) p->mean[i];
        std[i] = (float) p->std[i];
    }
    uqm_gguf_put_bool(h, "clip.has_vision_encoder", true);
    uqm_gguf_put_bool(h, "clip.has_text_encoder", false);
    uqm_gguf_put_bool(h, "clip.has_llava_projector", true);
    uqm_gguf_put_text(h, "clip.projector_type", "mlp");
    uqm_gguf_put_bool(h, "clip.use_gelu", false); /* quick gelu, then */
    uqm_gguf_put_u32(h, "clip.vision.image_size", v->image_size);
    uqm_gguf_put_u32(h, "clip.vision.patch_size", v->patch_size);
    uqm_gguf_put_u32(h, "clip.vision.embedding_length", v->hidden);
    uqm_gguf_put_u32(h, "clip.vision.feed_forward_length", v->inner);
    uqm_gguf_put_u32(h, "clip.vision.projection_dim", x->projection_dim);
    uqm_gguf_put_u32(h, "clip.vision.attention.head_count", v->n_heads);
    uqm_gguf_put_f32(h, "clip.vision.attention.layer_norm_epsilon", v->layer_norm_eps);
    uqm_gguf_put_u32(h, "clip.vision.block_count", x->n_vision_layers);
    uqm_gguf_put_numbers(h, "clip.vision.feature_layer", UQM_GGUF_I32, &feature_layer, 1);
    uqm_gguf_put_numbers(h, "clip.vision.image_mean", UQM_GGUF_F32, mean, 3);
    uqm_gguf_put_numbers(h, "clip.vision.image_std", UQM_GGUF_F32, std, 3);
}

void uqm_gguf_put_keys(struct uqm_gguf_header *header, const struct uqm_gguf_export *x,
                       enum uqm_gguf_file file)
{
    put_general(header, x, file);
    if (file == UQM_GGUF_MMPROJ) {
        put_clip(header, x);
        return;
    }
    put_llama(header, x);
    put_tokenizer(header, x);
}
