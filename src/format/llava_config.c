#include "src/format/llava_config.h"

#include <string.h>

#include "src/format/json.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The tower of the released models, by the name that LLaVA's code finds it under. */
#define CLIP_L_336 "openai/clip-vit-large-patch14-336"

/* LLaMA's keys that mean the same in both layouts. */
static const char *const llama_keys[] = {
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "attention_bias",
    "attention_dropout",
    "mlp_bias",
    "pretraining_tp",
    "use_cache",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "torch_dtype",
    "dtype",
};

/* --- parts of an object --- */

struct object {
    json_t *json;
    bool failed; /* some member found no memory */
};

static void put(struct object *o, const char *key, json_t *value)
{
    if (json_object_set_new(o->json, key, value) < 0)
        o->failed = true;
}

static void put_default(struct object *o, const char *key, json_t *value)
{
    const json_t *there = json_object_get(o->json, key);
    if (there && !json_is_null(there))
        json_decref(value);
    else
        put(o, key, value);
}

/* The object, or NULL where something is missing in it. */
static json_t *done(struct object *o)
{
    if (o->failed)
        json_decref(o->json);
    return o->failed ? NULL : o->json;
}

static json_t *integer(int64_t n)
{
    return json_integer((json_int_t) n);
}

static void copy_keys(struct object *to, const json_t *from, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (json_object_get(from, keys[i]))
            put(to, keys[i], json_deep_copy(json_object_get(from, keys[i])));
}

/* What a transformer's reader filled in, by one set of names in both networks. */
static void put_shape(struct object *to, uint32_t hidden, uint32_t inner, uint32_t n_layers,
                      uint32_t n_heads)
{
    put_default(to, "hidden_size", integer(hidden));
    put_default(to, "intermediate_size", integer(inner));
    put_default(to, "num_hidden_layers", integer(n_layers));
    put_default(to, "num_attention_heads", integer(n_heads));
}

/* The language model's: the source's keys, then what its reader filled in. `also`: where keys stand
 * that it lacks, or NULL. */
static void put_text(struct object *to, const json_t *from, const json_t *also,
                     const struct uqm_text_config *t, const struct uqm_llava_tokens *tokens)
{
    static const char *const types[] = { "torch_dtype", "dtype" };
    copy_keys(to, also, types, COUNT(types));
    copy_keys(to, from, llama_keys, COUNT(llama_keys));
    put(to, "vocab_size", integer(tokens->n_rows));
    put_shape(to, t->hidden, t->inner, t->n_layers, t->n_heads);
    put_default(to, "num_key_value_heads", integer(t->n_kv_heads));
    put_default(to, "head_dim", integer(t->head_dim));
    put_default(to, "hidden_act", json_string("silu"));
    put_default(to, "max_position_embeddings", integer(t->max_positions));
    put_default(to, "rms_norm_eps", json_real(1e-6)); /* LlamaConfig's, as in the reader */
    put_default(to, "rope_theta", json_real(t->rope_theta));
    put_default(to, "tie_word_embeddings", json_boolean(t->tied_head));
    put_default(to, "bos_token_id", integer(1));
    put_default(to, "eos_token_id", integer(2));
}

static json_t *make_vision(const json_t *from, const struct uqm_vision_config *v)
{
    static const char *const not_its[] = { "architectures", "_name_or_path", "transformers_version",
                                           "torch_dtype", "dtype" };
    struct object vision = { from ? json_deep_copy(from) : json_object(), false };
    struct object *to = &vision;
    for (size_t i = 0; i < COUNT(not_its); i++)
        json_object_del(to->json, not_its[i]);
    put(to, "model_type", json_string("clip_vision_model"));
    put_shape(to, v->hidden, v->inner, v->n_layers, v->n_heads);
    put_default(to, "image_size", integer(v->image_size));
    put_default(to, "patch_size", integer(v->patch_size));
    put_default(to, "hidden_act", json_string("quick_gelu"));
    put_default(to, "layer_norm_eps", json_real(1e-5)); /* CLIPVisionConfig's */
    return done(to);
}

static int finish(char **out, json_t *doc, const struct uqm_config_texts *texts,
                  struct uqm_err *err)
{
    *out = doc ? uqm_json_dump(doc) : NULL;
    json_decref(doc);
    return *out ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a config", texts->where);
}

static int parse(json_t **out, const char *text, const struct uqm_config_texts *texts,
                 struct uqm_err *err)
{
    *out = text ? uqm_json_parse(text, strlen(text), texts->where, true, err) : NULL;
    return *out || !text ? UQM_OK : UQM_ERR_FORMAT;
}

/* --- to Hugging Face's --- */

static json_t *hf_config(const json_t *flat, const json_t *tower, const struct uqm_model_config *c,
                         const struct uqm_llava_tokens *tokens)
{
    static const char *const outer[] = { "torch_dtype", "dtype", "tokenizer_model_max_length",
                                         "transformers_version" };
    uint32_t side = c->vision.image_size / c->vision.patch_size;
    const json_t *vision = json_object_get(tower ? tower : flat, "vision_config");
    struct object doc = { json_object(), false }, text = { json_object(), false };
    put(&doc, "architectures", json_pack("[s]", "LlavaForConditionalGeneration"));
    put(&doc, "model_type", json_string("llava"));
    put(&doc, "ignore_index", integer(-100));
    put(&doc, "image_token_index", integer(tokens->image));
    put(&doc, "image_seq_length", integer((int64_t) side * side + c->vision.keep_class_token));
    put(&doc, "pad_token_id", integer(tokens->pad));
    put(&doc, "projector_hidden_act", json_string("gelu"));
    put(&doc, "multimodal_projector_bias", json_true());
    put(&doc, "vision_feature_layer", integer(c->vision.feature_layer));
    put(&doc, "vision_feature_select_strategy",
        json_string(c->vision.keep_class_token ? "full" : "default"));
    put(&doc, "tie_word_embeddings", json_boolean(c->text.tied_head));
    put(&doc, "vocab_size", integer(tokens->n_rows));
    copy_keys(&doc, flat, outer, COUNT(outer));

    put(&text, "architectures", json_pack("[s]", "LlamaForCausalLM"));
    put(&text, "model_type", json_string("llama"));
    put_text(&text, flat, NULL, &c->text, tokens);
    put(&text, "pad_token_id", integer(tokens->pad));
    put(&doc, "text_config", done(&text));
    put(&doc, "vision_config", make_vision(vision ? vision : tower, &c->vision));
    return done(&doc);
}

int uqm_llava_config_to_hf(char **out, const struct uqm_config_texts *texts,
                           const struct uqm_model_config *parsed,
                           const struct uqm_llava_tokens *tokens, struct uqm_err *err)
{
    json_t *flat = NULL, *tower = NULL;
    *out = NULL;
    int ret = parse(&flat, texts->config, texts, err);
    if (ret == UQM_OK)
        ret = parse(&tower, texts->vision_config, texts, err);
    if (ret == UQM_OK)
        ret = finish(out, hf_config(flat, tower, parsed, tokens), texts, err);
    json_decref(flat);
    json_decref(tower);
    return ret;
}

/* --- to LLaVA's --- */

static bool is_clip_l_336(const struct uqm_vision_config *v)
{
    return v->hidden == 1024 && v->inner == 4096 && v->n_layers == 24 && v->n_heads == 16 &&
           v->image_size == 336 && v->patch_size == 14;
}

/* LLaVA's code builds the tower at once, and so loads it from the checkpoint, where it is said to
 * have been unfrozen. */
static void put_multimodal(struct object *doc, const struct uqm_model_config *c)
{
    const struct uqm_vision_config *v = &c->vision;
    put(doc, "mm_vision_tower", json_string(is_clip_l_336(v) ? CLIP_L_336 : "vision_tower"));
    put(doc, "unfreeze_mm_vision_tower", json_true());
    put(doc, "mm_hidden_size", integer(v->hidden));
    put(doc, "mm_projector_type", json_string("mlp2x_gelu"));
    put(doc, "mm_vision_select_layer", integer(v->feature_layer));
    put(doc, "mm_vision_select_feature", json_string(v->keep_class_token ? "cls_patch" : "patch"));
    put(doc, "mm_use_im_start_end", json_false());
    put(doc, "mm_use_im_patch_token", json_false());
    put(doc, "use_mm_proj", json_true());
    put(doc, "tune_mm_mlp_adapter", json_false());
    put(doc, "freeze_mm_mlp_adapter", json_false());
    put(doc, "image_aspect_ratio", json_string(c->preprocess.pad_to_square ? "pad" : "square"));
    put(doc, "image_grid_pinpoints", json_null());
}

static json_t *llava_config(const json_t *hf, const struct uqm_model_config *c,
                            const struct uqm_llava_tokens *tokens)
{
    static const char *const outer[] = { "tokenizer_model_max_length", "transformers_version" };
    struct object doc = { json_object(), false };
    put(&doc, "architectures", json_pack("[s]", "LlavaLlamaForCausalLM"));
    put(&doc, "model_type", json_string("llava_llama"));
    put_text(&doc, json_object_get(hf, "text_config"), hf, &c->text, tokens);
    const json_t *pad = json_object_get(doc.json, "pad_token_id");
    if (!json_is_integer(pad) || json_integer_value(pad) < 0 ||
        json_integer_value(pad) >= (json_int_t) tokens->n_rows)
        put(&doc, "pad_token_id", integer(0));
    copy_keys(&doc, hf, outer, COUNT(outer));
    put_multimodal(&doc, c);
    put(&doc, "vision_config", make_vision(json_object_get(hf, "vision_config"), &c->vision));
    return done(&doc);
}

int uqm_llava_config_to_llava(char **out, const struct uqm_config_texts *texts,
                              const struct uqm_model_config *parsed,
                              const struct uqm_llava_tokens *tokens, struct uqm_err *err)
{
    json_t *hf = NULL;
    *out = NULL;
    int ret = parse(&hf, texts->config, texts, err);
    if (ret == UQM_OK)
        ret = finish(out, llava_config(hf, parsed, tokens), texts, err);
    json_decref(hf);
    return ret;
}

/* --- pictures --- */

char *uqm_llava_preprocessor(const struct uqm_model_config *parsed, bool hf)
{
    const struct uqm_preprocess_config *p = &parsed->preprocess;
    bool pads = hf && p->pad_to_square;
    int side = (int) p->image_size;
    struct object doc = { .failed = false };
    doc.json = json_pack(
        "{s:s, s:b, s:b, s:{s:i}, s:i, s:b, s:{s:i, s:i}, s:b, s:f, s:b, s:[fff], s:[fff]}",
        "image_processor_type", pads ? "LlavaImageProcessor" : "CLIPImageProcessor",
        "do_convert_rgb", 1, "do_resize", 1, "size", "shortest_edge", side, "resample", 3,
        "do_center_crop", 1, "crop_size", "height", side, "width", side, "do_rescale", 1,
        "rescale_factor", p->rescale, "do_normalize", 1, "image_mean", p->mean[0], p->mean[1],
        p->mean[2], "image_std", p->std[0], p->std[1], p->std[2]);
    if (pads)
        put(&doc, "do_pad", json_true());
    if (hf)
        put(&doc, "processor_class", json_string("LlavaProcessor"));
    json_t *made = done(&doc);
    char *text = made ? uqm_json_dump(made) : NULL;
    json_decref(made);
    return text;
}

char *uqm_llava_processor(const struct uqm_model_config *parsed)
{
    const struct uqm_vision_config *v = &parsed->vision;
    json_t *doc = json_pack("{s:s, s:i, s:s, s:i, s:s}", "processor_class", "LlavaProcessor",
                            "patch_size", (int) v->patch_size, "vision_feature_select_strategy",
                            v->keep_class_token ? "full" : "default", "num_additional_image_tokens",
                            1, "image_token", "<image>");
    char *text = doc ? uqm_json_dump(doc) : NULL;
    json_decref(doc);
    return text;
}
