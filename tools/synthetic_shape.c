/* Which tensors a LLaVA checkpoint has, and what its config files say. */
#include <stdlib.h>
#include <string.h>

#include "tools/synthetic.h"

unsigned synthetic_dtype_bytes(int dtype)
{
    return dtype == SYNTHETIC_F32 ? 4 : 2;
}

const char *synthetic_dtype_name(int dtype)
{
    static const char *const names[] = { "F16", "BF16", "F32" };
    return names[dtype];
}

static const char *torch_name(int dtype)
{
    static const char *const names[] = { "float16", "bfloat16", "float32" };
    return names[dtype];
}

/* llava-hf pads the vocabulary by 64 rows, the first two of which are <image> and <pad>. */
uint64_t synthetic_vocab_rows(const struct synthetic_shape *s)
{
    return (uint64_t) s->vocab + (s->layout == SYNTHETIC_LLAVA_HF ? 64 : 0);
}

/* One list being filled: where, under which prefix, from which seed, of which dtype. */
struct fill {
    struct synthetic_list *list;
    const char *prefix;
    uint64_t seed;
    unsigned elem_bytes;
};

static void add(const struct fill *f, bool around_one, const uint64_t *shape, unsigned rank,
                const char *name)
{
    struct synthetic_list *l = f->list;
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        struct synthetic_tensor *v = realloc(l->v, room * sizeof *v);
        if (!v) {
            l->failed = true;
            return;
        }
        l->v = v;
        l->room = room;
    }
    struct synthetic_tensor *t = &l->v[l->n++];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s%s", f->prefix, name);
    t->rank = rank;
    t->n_elem = 1;
    for (unsigned i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        t->n_elem *= shape[i];
    }
    t->n_bytes = t->n_elem * f->elem_bytes;
    t->around_one = around_one;
    t->seed = f->seed;
}

static void matrix(const struct fill *f, const char *name, int rows, int columns)
{
    add(f, false, (uint64_t[]){ (uint64_t) rows, (uint64_t) columns }, 2, name);
}

static void vector(const struct fill *f, const char *name, int n)
{
    add(f, false, (uint64_t[]){ (uint64_t) n }, 1, name);
}

static void norm(const struct fill *f, const char *name, int n)
{
    add(f, true, (uint64_t[]){ (uint64_t) n }, 1, name);
}

/* A linear layer with its bias. */
static void linear(const struct fill *f, const char *name, int out, int in)
{
    char full[SYNTHETIC_NAME_MAX];
    snprintf(full, sizeof full, "%s.weight", name);
    matrix(f, full, out, in);
    snprintf(full, sizeof full, "%s.bias", name);
    vector(f, full, out);
}

static void layer_norm(const struct fill *f, const char *name, int n)
{
    char full[SYNTHETIC_NAME_MAX];
    snprintf(full, sizeof full, "%s.weight", name);
    norm(f, full, n);
    snprintf(full, sizeof full, "%s.bias", name);
    vector(f, full, n);
}

static void language(const struct fill *f, const struct synthetic_shape *s)
{
    int kv = s->hidden / s->heads * s->kv_heads;
    struct fill layer = *f;
    char prefix[64];

    matrix(f, "model.embed_tokens.weight", (int) synthetic_vocab_rows(s), s->hidden);
    norm(f, "model.norm.weight", s->hidden);
    matrix(f, "lm_head.weight", (int) synthetic_vocab_rows(s), s->hidden);
    layer.prefix = prefix;
    for (int i = 0; i < s->layers; i++) {
        snprintf(prefix, sizeof prefix, "%smodel.layers.%d.", f->prefix, i);
        norm(&layer, "input_layernorm.weight", s->hidden);
        norm(&layer, "post_attention_layernorm.weight", s->hidden);
        matrix(&layer, "self_attn.q_proj.weight", s->hidden, s->hidden);
        matrix(&layer, "self_attn.k_proj.weight", kv, s->hidden);
        matrix(&layer, "self_attn.v_proj.weight", kv, s->hidden);
        matrix(&layer, "self_attn.o_proj.weight", s->hidden, s->hidden);
        matrix(&layer, "mlp.gate_proj.weight", s->inner, s->hidden);
        matrix(&layer, "mlp.up_proj.weight", s->inner, s->hidden);
        matrix(&layer, "mlp.down_proj.weight", s->hidden, s->inner);
    }
}

static void projector(const struct fill *f, const struct synthetic_shape *s)
{
    bool hf = s->layout == SYNTHETIC_LLAVA_HF;
    linear(f, hf ? "linear_1" : "0", s->hidden, s->vision_hidden);
    linear(f, hf ? "linear_2" : "2", s->hidden, s->hidden);
}

static void vision(const struct fill *f, const struct synthetic_shape *s)
{
    int side = s->image_size / s->patch_size, width = s->vision_hidden;
    struct fill layer = *f;
    char prefix[96];

    vector(f, "embeddings.class_embedding", width);
    add(f, false,
        (uint64_t[]){ (uint64_t) width, 3, (uint64_t) s->patch_size, (uint64_t) s->patch_size }, 4,
        "embeddings.patch_embedding.weight");
    matrix(f, "embeddings.position_embedding.weight", side * side + 1, width);
    layer_norm(f, "pre_layrnorm", width);
    layer_norm(f, "post_layernorm", width);
    layer.prefix = prefix;
    for (int i = 0; i < s->vision_layers; i++) {
        snprintf(prefix, sizeof prefix, "%sencoder.layers.%d.", f->prefix, i);
        layer_norm(&layer, "layer_norm1", width);
        layer_norm(&layer, "layer_norm2", width);
        linear(&layer, "self_attn.q_proj", width, width);
        linear(&layer, "self_attn.k_proj", width, width);
        linear(&layer, "self_attn.v_proj", width, width);
        linear(&layer, "self_attn.out_proj", width, width);
        linear(&layer, "mlp.fc1", s->vision_inner, width);
        linear(&layer, "mlp.fc2", width, s->vision_inner);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct synthetic_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

bool synthetic_tensors(struct synthetic_list *model, struct synthetic_list *tower,
                       const struct synthetic_shape *s)
{
    bool hf = s->layout == SYNTHETIC_LLAVA_HF;
    struct fill f = { model, hf ? "language_model." : "", s->seed,
                      synthetic_dtype_bytes(s->dtype) };

    memset(model, 0, sizeof *model);
    memset(tower, 0, sizeof *tower);
    language(&f, s);
    if (s->layout != SYNTHETIC_LLAMA) {
        f.prefix = hf ? "multi_modal_projector." : "model.mm_projector.";
        projector(&f, s);
        f.seed = s->vision_seed;
        f.prefix = hf ? "vision_tower.vision_model." : "vision_model.";
        f.list = hf ? model : tower;
        vision(&f, s);
    }
    if (model->failed || tower->failed)
        return false;
    qsort(model->v, model->n, sizeof *model->v, by_name);
    if (tower->n)
        qsort(tower->v, tower->n, sizeof *tower->v, by_name);
    return true;
}

static json_t *text_config(const struct synthetic_shape *s)
{
    return json_pack("{s:[s], s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:f, s:f, s:b, s:i, s:i,"
                     " s:s}",
                     "architectures", "LlamaForCausalLM", "model_type", "llama", "vocab_size",
                     (json_int_t) synthetic_vocab_rows(s), "hidden_size", s->hidden,
                     "intermediate_size", s->inner, "num_hidden_layers", s->layers,
                     "num_attention_heads", s->heads, "num_key_value_heads", s->kv_heads,
                     "hidden_act", "silu", "max_position_embeddings", s->max_positions,
                     "rms_norm_eps", 1e-5, "rope_theta", 10000.0, "tie_word_embeddings", 0,
                     "bos_token_id", 1, "eos_token_id", 2, "torch_dtype", torch_name(s->dtype));
}

static json_t *vision_config(const struct synthetic_shape *s)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:i, s:i}", "model_type",
                     "clip_vision_model", "hidden_size", s->vision_hidden, "intermediate_size",
                     s->vision_inner, "num_hidden_layers", s->vision_layers, "num_attention_heads",
                     s->vision_heads, "image_size", s->image_size, "patch_size", s->patch_size,
                     "hidden_act", "quick_gelu", "layer_norm_eps", 1e-5, "num_channels", 3,
                     "projection_dim", 768);
}

static json_t *llava_hf_config(const struct synthetic_shape *s)
{
    int side = s->image_size / s->patch_size;
    return json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:s, s:b, s:i, s:s, s:b, s:s, s:I, s:o, s:o}",
        "architectures", "LlavaForConditionalGeneration", "model_type", "llava", "ignore_index",
        -100, "image_token_index", s->vocab, "image_seq_length", side * side, "pad_token_id",
        s->vocab + 1, "projector_hidden_act", "gelu", "multimodal_projector_bias", 1,
        "vision_feature_layer", -2, "vision_feature_select_strategy", "default",
        "tie_word_embeddings", 0, "torch_dtype", torch_name(s->dtype), "vocab_size",
        (json_int_t) synthetic_vocab_rows(s), "text_config", text_config(s), "vision_config",
        vision_config(s));
}

/* LLaVA's own: the language model's config, and mm_* beside its keys. */
static json_t *llava_config(const struct synthetic_shape *s)
{
    json_t *text = text_config(s);
    json_t *more =
        json_pack("{s:[s], s:s, s:s, s:i, s:s, s:b, s:b, s:s, s:i, s:s}", "architectures",
                  "LlavaLlamaForCausalLM", "model_type", "llava", "image_aspect_ratio", "pad",
                  "mm_hidden_size", s->vision_hidden, "mm_projector_type", "mlp2x_gelu",
                  "mm_use_im_patch_token", 0, "mm_use_im_start_end", 0, "mm_vision_select_feature",
                  "patch", "mm_vision_select_layer", -2, "mm_vision_tower", "vision-tower");
    if (text && more)
        json_object_update(text, more);
    json_decref(more);
    return text;
}

json_t *synthetic_config(const struct synthetic_shape *s)
{
    switch (s->layout) {
    case SYNTHETIC_LLAVA_HF: return llava_hf_config(s);
    case SYNTHETIC_LLAVA: return llava_config(s);
    default: return text_config(s);
    }
}

json_t *synthetic_tower_config(const struct synthetic_shape *s)
{
    return json_pack("{s:[s], s:s, s:i, s:s, s:o}", "architectures", "CLIPModel", "model_type",
                     "clip", "projection_dim", 768, "torch_dtype", torch_name(s->dtype),
                     "vision_config", vision_config(s));
}

json_t *synthetic_preprocessor(const struct synthetic_shape *s)
{
    bool hf = s->layout == SYNTHETIC_LLAVA_HF;
    return json_pack("{s:s, s:b, s:b, s:{s:i}, s:i, s:b, s:{s:i, s:i}, s:b, s:f, s:b, s:[f,f,f],"
                     " s:[f,f,f], s:b}",
                     "image_processor_type", hf ? "LlavaImageProcessor" : "CLIPImageProcessor",
                     "do_convert_rgb", 1, "do_resize", 1, "size", "shortest_edge", s->image_size,
                     "resample", 3, "do_center_crop", 1, "crop_size", "height", s->image_size,
                     "width", s->image_size, "do_rescale", 1, "rescale_factor", 1.0 / 255.0,
                     "do_normalize", 1, "image_mean", 0.48145466, 0.4578275, 0.40821073,
                     "image_std", 0.26862954, 0.26130258, 0.27577711, "do_pad", hf);
}

json_t *synthetic_generation(const struct synthetic_shape *s)
{
    return json_pack("{s:i, s:i, s:b, s:i}", "bos_token_id", 1, "eos_token_id", 2, "do_sample", 0,
                     "max_length", s->max_positions);
}
