#include "src/format/model_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/format/json.h"

/* Sizes past these are no model we could meet, and products of two stay far below 2^64. */
enum {
    MAX_WIDTH = 1 << 17,
    MAX_LAYERS = 4096,
    MAX_HEADS = 4096,
    MAX_VOCAB = 1 << 24,
    MAX_POSITIONS = 1 << 24,
    MAX_SIDE = 8192,
};

/* One JSON file while it is read: the object and what errors call it. */
struct doc {
    json_t *object;
    char where[512];
    struct uqm_err *err;
};

/* text NULL: no such file, and no object. */
static int open_doc(struct doc *d, const char *folder, const char *file, const char *text,
                    struct uqm_err *err)
{
    *d = (struct doc){ .err = err };
    snprintf(d->where, sizeof d->where, "%s/%s", folder, file);
    if (!text)
        return UQM_OK;
    d->object = uqm_json_parse(text, strlen(text), d->where, true, err);
    if (!d->object)
        return err && err->code ? (int) err->code : UQM_ERR_FORMAT;
    if (!json_is_object(d->object))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: not an object", d->where);
    return UQM_OK;
}

/* A document inside another: its object borrowed, its keys spelled OUTER.INNER in errors. */
static struct doc inner_doc(const struct doc *outer, const char *key)
{
    struct doc d = { .object = json_object_get(outer->object, key), .err = outer->err };
    if (!json_is_object(d.object))
        d.object = NULL;
    snprintf(d.where, sizeof d.where, "%.400s: %.60s", outer->where, key);
    return d;
}

/* An integer in [min, max]; absent leaves *out, unless required. */
static int number(uint32_t *out, const struct doc *d, const char *key, bool required, uint32_t min,
                  uint32_t max)
{
    int ret = uqm_json_u32(out, d->object, key, required, d->where, d->err);
    if (ret < 0)
        return ret;
    if (*out < min || *out > max)
        return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: %u is outside [%u, %u]", d->where, key,
                        *out, min, max);
    return UQM_OK;
}

static int positive(double *out, const struct doc *d, const char *key, double max)
{
    int ret = uqm_json_double(out, d->object, key, false, d->where, d->err);
    if (ret < 0)
        return ret;
    if (!(*out > 0.0 && *out <= max))
        return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: %g is outside (0, %g]", d->where, key,
                        *out, max);
    return UQM_OK;
}

/* A string that must be `want` (or the other one), where absent means `absent`. */
static int one_of(const struct doc *d, const char *key, const char *absent, const char *want,
                  const char *other)
{
    const char *s = absent;
    int ret = uqm_json_string(&s, d->object, key, false, d->where, d->err);
    if (ret < 0)
        return ret;
    if (strcmp(s, want) == 0 || (other && strcmp(s, other) == 0))
        return UQM_OK;
    struct uqm_printable shown;
    return uqm_fail(d->err, UQM_ERR_UNSUPPORTED, "%s: key %s: \"%s\" is not supported, only \"%s\"",
                    d->where, key, uqm_printable(&shown, s, strlen(s)), want);
}

/* A switch that changes the arithmetic in a way we do not compute. */
static int must_be(const struct doc *d, const char *key, bool want)
{
    bool v = want;
    int ret = uqm_json_bool(&v, d->object, key, false, d->where, d->err);
    if (ret < 0)
        return ret;
    if (v != want)
        return uqm_fail(d->err, UQM_ERR_UNSUPPORTED, "%s: key %s: %s is not supported", d->where,
                        key, v ? "true" : "false");
    return UQM_OK;
}

/* rope_theta stands by itself, or (newer) with the kind of scaling in rope_parameters. */
static int parse_rope(struct uqm_text_config *t, const struct doc *d)
{
    static const char *const keys[] = { "rope_scaling", "rope_parameters" };
    int ret = positive(&t->rope_theta, d, "rope_theta", 1e12);
    for (size_t i = 0; ret == UQM_OK && i < 2; i++) {
        const json_t *v = json_object_get(d->object, keys[i]);
        if (!v || json_is_null(v))
            continue;
        if (!json_is_object(v))
            return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: not an object", d->where, keys[i]);
        const struct doc rope = inner_doc(d, keys[i]);
        ret = one_of(&rope, "type", "default", "default", NULL);
        if (ret == UQM_OK)
            ret = one_of(&rope, "rope_type", "default", "default", NULL);
        if (ret == UQM_OK)
            ret = positive(&t->rope_theta, &rope, "rope_theta", 1e12);
    }
    double partial = 1.0;
    if (ret == UQM_OK)
        ret = positive(&partial, d, "partial_rotary_factor", 1.0);
    if (ret == UQM_OK && partial < 1.0)
        ret = uqm_fail(d->err, UQM_ERR_UNSUPPORTED,
                       "%s: key partial_rotary_factor: %g is not supported", d->where, partial);
    return ret;
}

static int check_heads(const struct doc *d, uint32_t hidden, uint32_t n_heads)
{
    if (hidden % n_heads == 0)
        return UQM_OK;
    return uqm_fail(d->err, UQM_ERR_FORMAT,
                    "%s: hidden_size %u is no multiple of num_attention_heads %u", d->where, hidden,
                    n_heads);
}

static int parse_heads(struct uqm_text_config *t, const struct doc *d, bool required)
{
    int ret = number(&t->n_heads, d, "num_attention_heads", required, 1, MAX_HEADS);
    if (ret < 0)
        return ret;
    t->n_kv_heads = t->n_heads;
    ret = number(&t->n_kv_heads, d, "num_key_value_heads", false, 1, MAX_HEADS);
    if (ret < 0)
        return ret;
    if (t->n_heads % t->n_kv_heads != 0)
        return uqm_fail(d->err, UQM_ERR_FORMAT,
                        "%s: num_attention_heads %u is no multiple of num_key_value_heads %u",
                        d->where, t->n_heads, t->n_kv_heads);

    const json_t *dim = json_object_get(d->object, "head_dim");
    if (!dim || json_is_null(dim)) {
        ret = check_heads(d, t->hidden, t->n_heads);
        t->head_dim = t->hidden / t->n_heads;
    } else {
        ret = number(&t->head_dim, d, "head_dim", true, 1, MAX_WIDTH);
    }
    if (ret < 0)
        return ret;
    if (t->head_dim % 2 != 0 || (uint64_t) t->head_dim * t->n_heads > MAX_WIDTH)
        return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: %u heads of %u dimensions: odd or too wide",
                        d->where, t->n_heads, t->head_dim);
    return UQM_OK;
}

/* LLaMA's numbers; what a file leaves out is what transformers' LlamaConfig would fill in. A flat
 * file has to give the sizes itself. */
static int parse_text(struct uqm_text_config *t, const struct doc *d, bool flat)
{
    *t = (struct uqm_text_config){
        .vocab_size = 32000,
        .hidden = 4096,
        .inner = 11008,
        .n_layers = 32,
        .n_heads = 32,
        .max_positions = 2048,
        .rope_theta = 10000.0,
    };
    double eps = 1e-6;
    int ret = one_of(d, "hidden_act", "silu", "silu", NULL);
    if (ret == UQM_OK)
        ret = must_be(d, "attention_bias", false);
    if (ret == UQM_OK)
        ret = must_be(d, "mlp_bias", false);
    if (ret == UQM_OK)
        ret = number(&t->vocab_size, d, "vocab_size", flat, 1, MAX_VOCAB);
    if (ret == UQM_OK)
        ret = number(&t->hidden, d, "hidden_size", flat, 1, MAX_WIDTH);
    if (ret == UQM_OK)
        ret = number(&t->inner, d, "intermediate_size", flat, 1, MAX_WIDTH);
    if (ret == UQM_OK)
        ret = number(&t->n_layers, d, "num_hidden_layers", flat, 1, MAX_LAYERS);
    if (ret == UQM_OK)
        ret = parse_heads(t, d, flat);
    if (ret == UQM_OK)
        ret = number(&t->max_positions, d, "max_position_embeddings", false, 1, MAX_POSITIONS);
    if (ret == UQM_OK)
        ret = positive(&eps, d, "rms_norm_eps", 1.0);
    if (ret == UQM_OK)
        ret = parse_rope(t, d);
    if (ret == UQM_OK)
        ret =
            uqm_json_bool(&t->tied_head, d->object, "tie_word_embeddings", false, d->where, d->err);
    t->rms_eps = (float) eps;
    return ret;
}

/* transformers' CLIPVisionConfig, and its defaults. */
static int parse_vision(struct uqm_vision_config *v, const struct doc *d)
{
    *v = (struct uqm_vision_config){
        .hidden = 768,
        .inner = 3072,
        .n_layers = 12,
        .n_heads = 12,
        .image_size = 224,
        .patch_size = 32,
    };
    double eps = 1e-5;
    uint32_t channels = 3;
    int ret = one_of(d, "model_type", "clip_vision_model", "clip_vision_model", NULL);
    if (ret == UQM_OK)
        ret = one_of(d, "hidden_act", "quick_gelu", "quick_gelu", NULL);
    if (ret == UQM_OK)
        ret = number(&v->hidden, d, "hidden_size", false, 1, MAX_WIDTH);
    if (ret == UQM_OK)
        ret = number(&v->inner, d, "intermediate_size", false, 1, MAX_WIDTH);
    if (ret == UQM_OK)
        ret = number(&v->n_layers, d, "num_hidden_layers", false, 1, MAX_LAYERS);
    if (ret == UQM_OK)
        ret = number(&v->n_heads, d, "num_attention_heads", false, 1, MAX_HEADS);
    if (ret == UQM_OK)
        ret = check_heads(d, v->hidden, v->n_heads);
    if (ret == UQM_OK)
        ret = number(&v->image_size, d, "image_size", false, 1, MAX_SIDE);
    if (ret == UQM_OK)
        ret = number(&v->patch_size, d, "patch_size", false, 1, MAX_SIDE);
    if (ret == UQM_OK)
        ret = number(&channels, d, "num_channels", false, 1, MAX_WIDTH);
    if (ret == UQM_OK)
        ret = positive(&eps, d, "layer_norm_eps", 1.0);
    if (ret < 0)
        return ret;
    v->layer_norm_eps = (float) eps;
    if (channels != 3)
        return uqm_fail(d->err, UQM_ERR_UNSUPPORTED,
                        "%s: key num_channels: %u, only 3 are supported", d->where, channels);
    if (v->image_size % v->patch_size != 0 || 3 * v->patch_size * v->patch_size > MAX_WIDTH)
        return uqm_fail(d->err, UQM_ERR_FORMAT,
                        "%s: image_size %u cannot be cut in patches of patch_size %u", d->where,
                        v->image_size, v->patch_size);
    return UQM_OK;
}

/* A hidden state's index: an integer, or (newer) a list of them of which we take one only. */
static int parse_feature_layer(struct uqm_vision_config *v, const struct doc *d, const char *key)
{
    const json_t *value = json_object_get(d->object, key);
    if (json_is_array(value)) {
        if (json_array_size(value) != 1)
            return uqm_fail(d->err, UQM_ERR_UNSUPPORTED,
                            "%s: key %s: features of several layers are not supported", d->where,
                            key);
        value = json_array_get(value, 0);
    }
    json_int_t layer = -2;
    if (value && !json_is_null(value)) {
        if (!json_is_integer(value))
            return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: not an integer", d->where, key);
        layer = json_integer_value(value);
    }
    const json_int_t n = (json_int_t) v->n_layers;
    if (layer < -n - 1 || layer > n)
        return uqm_fail(d->err, UQM_ERR_FORMAT,
                        "%s: key %s: %lld, but the vision tower has %u layers", d->where, key,
                        (long long) layer, v->n_layers);
    v->feature_layer = (int) layer;
    return UQM_OK;
}

static int parse_select(struct uqm_vision_config *v, const struct doc *d, const char *key,
                        const char *patches, const char *all)
{
    const char *s = patches;
    int ret = one_of(d, key, patches, patches, all);
    if (ret == UQM_OK)
        ret = uqm_json_string(&s, d->object, key, false, d->where, d->err);
    v->keep_class_token = ret == UQM_OK && strcmp(s, all) == 0;
    return ret;
}

/* llava-hf: both halves and the projector in one file. */
static int parse_llava_hf(struct uqm_model_config *out, const struct doc *d)
{
    const struct doc text = inner_doc(d, "text_config"), vision = inner_doc(d, "vision_config");

    int ret = one_of(d, "model_type", "llava", "llava", NULL);
    if (ret == UQM_OK && !text.object)
        ret = uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key text_config: not an object", d->where);
    if (ret == UQM_OK)
        ret = one_of(&text, "model_type", "llama", "llama", NULL);
    if (ret == UQM_OK)
        ret = parse_text(&out->text, &text, false);
    bool tied = out->text.tied_head; /* said inside text_config, beside it, or in both */
    if (ret == UQM_OK)
        ret = uqm_json_bool(&tied, d->object, "tie_word_embeddings", false, d->where, d->err);
    out->text.tied_head |= tied;
    if (ret == UQM_OK && !json_object_get(text.object, "vocab_size"))
        ret = number(&out->text.vocab_size, d, "vocab_size", false, 1, MAX_VOCAB);
    if (ret == UQM_OK)
        ret = one_of(d, "projector_hidden_act", "gelu", "gelu", NULL);
    if (ret == UQM_OK)
        ret = must_be(d, "multimodal_projector_bias", true);
    if (ret < 0)
        return ret;

    out->has_vision = true;
    if (vision.object)
        ret = parse_vision(&out->vision, &vision);
    else /* LlavaConfig's own default: CLIP ViT-L/14-336 */
        out->vision = (struct uqm_vision_config){
            .hidden = 1024,
            .inner = 4096,
            .n_layers = 24,
            .n_heads = 16,
            .image_size = 336,
            .patch_size = 14,
            .layer_norm_eps = 1e-5f,
        };
    if (ret == UQM_OK)
        ret = parse_feature_layer(&out->vision, d, "vision_feature_layer");
    if (ret == UQM_OK)
        ret = parse_select(&out->vision, d, "vision_feature_select_strategy", "default", "full");

    uint32_t image_token = 32000;
    if (ret == UQM_OK)
        ret = number(&image_token, d, "image_token_index", false, 0, INT32_MAX);
    if (ret == UQM_OK)
        ret = number(&image_token, d, "image_token_id", false, 0, INT32_MAX);
    out->image_token = (int32_t) image_token;
    return ret;
}

/* The tower's own config: CLIPVisionModel's, or CLIPModel's with the vision half inside. Without
 * one, the model's own vision_config. */
static int parse_tower(struct uqm_vision_config *v, const struct doc *own,
                       const struct uqm_config_texts *texts, struct uqm_err *err)
{
    struct doc tower;
    if (!texts->vision_config)
        return parse_vision(v, own);
    int ret =
        open_doc(&tower, texts->where, "(vision tower)/config.json", texts->vision_config, err);
    if (ret == UQM_OK) {
        const struct doc nested = inner_doc(&tower, "vision_config");
        if (nested.object)
            ret = one_of(&tower, "model_type", "clip", "clip", NULL);
        if (ret == UQM_OK)
            ret = parse_vision(v, nested.object ? &nested : &tower);
    }
    json_decref(tower.object);
    return ret;
}

/* LLaVA's own layout, or a plain LLaMA. */
static int parse_flat(struct uqm_model_config *out, const struct doc *d,
                      const struct uqm_config_texts *texts)
{
    const char *tower = NULL, *model_type = "llama";
    const struct doc own = inner_doc(d, "vision_config");
    uint32_t mm_hidden = 0;

    int ret = uqm_json_string(&model_type, d->object, "model_type", false, d->where, d->err);
    if (ret == UQM_OK && strcmp(model_type, "llava_llama") != 0)
        ret = one_of(d, "model_type", "llama", "llama", "llava");
    if (ret == UQM_OK)
        ret = parse_text(&out->text, d, true);
    if (ret == UQM_OK)
        ret = uqm_json_string(&tower, d->object, "mm_vision_tower", false, d->where, d->err);
    if (ret < 0 || !tower || (!texts->vision_config && !own.object))
        return ret; /* no tower at hand: the language model alone */

    out->has_vision = true;
    ret = parse_tower(&out->vision, &own, texts, d->err);
    if (ret == UQM_OK)
        ret = one_of(d, "mm_projector_type", "linear", "mlp2x_gelu", NULL);
    if (ret == UQM_OK)
        ret = must_be(d, "mm_use_im_start_end", false);
    if (ret == UQM_OK)
        ret = parse_feature_layer(&out->vision, d, "mm_vision_select_layer");
    if (ret == UQM_OK)
        ret = parse_select(&out->vision, d, "mm_vision_select_feature", "patch", "cls_patch");
    mm_hidden = out->vision.hidden;
    if (ret == UQM_OK)
        ret = number(&mm_hidden, d, "mm_hidden_size", false, 1, MAX_WIDTH);
    if (ret == UQM_OK && mm_hidden != out->vision.hidden)
        ret = uqm_fail(d->err, UQM_ERR_FORMAT,
                       "%s: key mm_hidden_size: %u, but the vision tower's hidden_size is %u",
                       d->where, mm_hidden, out->vision.hidden);
    return ret;
}

/* ---- what stands beside config.json ---- */

static int parse_triple(double out[3], const struct doc *d, const char *key, bool above_zero)
{
    const json_t *v = json_object_get(d->object, key);
    if (!v || json_is_null(v))
        return UQM_OK;
    bool good = json_is_array(v) && json_array_size(v) == 3;
    for (size_t i = 0; good && i < 3; i++) {
        const json_t *e = json_array_get(v, i);
        good = json_is_number(e) && isfinite(json_number_value(e)) &&
               (!above_zero || json_number_value(e) > 0.0);
        if (good)
            out[i] = json_number_value(e);
    }
    if (!good)
        return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: not a list of three%s numbers",
                        d->where, key, above_zero ? " positive" : "");
    return UQM_OK;
}

/* A size: an integer, or an object that gives it under one of these names. */
static int parse_side(const struct doc *d, const char *key, uint32_t side)
{
    static const char *const names[] = { "shortest_edge", "height", "width" };
    const json_t *v = json_object_get(d->object, key);
    const struct doc inner = inner_doc(d, key);
    uint32_t given = side;
    int ret = UQM_OK;

    if (json_is_integer(v))
        ret = number(&given, d, key, true, 1, MAX_SIDE);
    for (size_t i = 0; ret == UQM_OK && inner.object && given == side && i < 3; i++)
        ret = number(&given, &inner, names[i], false, 1, MAX_SIDE);
    if (ret == UQM_OK && given != side)
        ret = uqm_fail(d->err, UQM_ERR_UNSUPPORTED,
                       "%s: key %s: %u differs from the vision tower's image_size %u", d->where,
                       key, given, side);
    return ret;
}

/* What we do not compute, but need not either where image_aspect_ratio pads pictures before. */
struct preprocessor_quirks {
    bool stretches; /* the resize gives a square, whatever the picture's sides */
    bool clip_pads; /* do_pad, of a CLIPImageProcessor, which does not know that key */
    char where[512];
};

static int parse_quirks(struct preprocessor_quirks *q, const struct doc *d)
{
    static const char *const known[] = { "LlavaImageProcessor",    "LlavaImageProcessorFast",
                                         "LlavaImageProcessorPil", "CLIPImageProcessor",
                                         "CLIPImageProcessorFast", "CLIPImageProcessorPil",
                                         "CLIPFeatureExtractor" };
    const char *type = known[0];
    const json_t *size = json_object_get(d->object, "size");
    size_t i = 0, n = sizeof known / sizeof *known;
    int ret = uqm_json_string(&type, d->object, "image_processor_type", false, d->where, d->err);
    if (ret == UQM_OK)
        ret = uqm_json_bool(&q->clip_pads, d->object, "do_pad", false, d->where, d->err);
    if (ret == UQM_OK && json_is_integer(size))
        ret = uqm_json_bool(&q->stretches, d->object, "default_to_square", false, d->where, d->err);
    if (ret < 0)
        return ret;
    while (i < n && strcmp(type, known[i]) != 0)
        i++;
    if (i == n)
        return one_of(d, "image_processor_type", known[0], known[0], known[3]);
    if (json_is_integer(json_object_get(size, "longest_edge")))
        return uqm_fail(d->err, UQM_ERR_UNSUPPORTED,
                        "%s: key size: a longest_edge is not supported, only a shortest_edge",
                        d->where);
    q->clip_pads &= type[0] == 'C';
    q->stretches |= json_is_integer(json_object_get(size, "height")) &&
                    !json_is_integer(json_object_get(size, "shortest_edge"));
    snprintf(q->where, sizeof q->where, "%s", d->where);
    return UQM_OK;
}

static int refuse_quirks(const struct preprocessor_quirks *q, struct uqm_err *err)
{
    if (q->clip_pads)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: key do_pad: true is not supported for a CLIPImageProcessor, which "
                        "does not pad",
                        q->where);
    if (q->stretches)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: key size: pictures stretched to a square are not supported, only a "
                        "shortest_edge",
                        q->where);
    return UQM_OK;
}

static int parse_preprocessor(struct uqm_preprocess_config *p, struct preprocessor_quirks *q,
                              const struct doc *d)
{
    static const char *const steps[] = { "do_resize", "do_center_crop", "do_rescale",
                                         "do_normalize" };
    uint32_t resample = 3; /* Pillow's BICUBIC */
    int ret = parse_quirks(q, d);

    for (size_t i = 0; ret == UQM_OK && i < sizeof steps / sizeof *steps; i++)
        ret = must_be(d, steps[i], true);
    if (ret == UQM_OK)
        ret = uqm_json_u32(&resample, d->object, "resample", false, d->where, d->err);
    if (ret == UQM_OK && resample != 3)
        ret =
            uqm_fail(d->err, UQM_ERR_UNSUPPORTED,
                     "%s: key resample: %u is not supported, only 3 (bicubic)", d->where, resample);
    if (ret == UQM_OK)
        ret = uqm_json_bool(&p->pad_to_square, d->object, "do_pad", false, d->where, d->err);
    if (ret == UQM_OK)
        ret = parse_side(d, "size", p->image_size);
    if (ret == UQM_OK)
        ret = parse_side(d, "crop_size", p->image_size);
    if (ret == UQM_OK)
        ret = positive(&p->rescale, d, "rescale_factor", 1.0);
    if (ret == UQM_OK)
        ret = parse_triple(p->mean, d, "image_mean", false);
    if (ret == UQM_OK)
        ret = parse_triple(p->std, d, "image_std", true);
    return ret;
}

/* processor_config.json's image_processor, else preprocessor_config.json. */
static int read_preprocessor(struct uqm_preprocess_config *p, struct preprocessor_quirks *q,
                             const struct uqm_config_texts *texts, struct uqm_err *err)
{
    struct doc old = { 0 }, d;
    int ret = open_doc(&d, texts->where, "processor_config.json", texts->processor, err);
    const json_t *nested = json_object_get(d.object, "image_processor");
    if (ret == UQM_OK && nested && !json_is_null(nested)) {
        const struct doc inner = inner_doc(&d, "image_processor");
        ret = inner.object ? parse_preprocessor(p, q, &inner)
                           : uqm_fail(err, UQM_ERR_FORMAT, "%s: key image_processor: not an object",
                                      d.where);
    } else if (ret == UQM_OK) {
        ret = open_doc(&old, texts->where, "preprocessor_config.json", texts->preprocessor, err);
        if (ret == UQM_OK && old.object)
            ret = parse_preprocessor(p, q, &old);
    }
    json_decref(old.object);
    json_decref(d.object);
    return ret;
}

static int parse_preprocess(struct uqm_preprocess_config *p, const struct doc *config,
                            const struct uqm_config_texts *texts, uint32_t side)
{
    *p = (struct uqm_preprocess_config){
        .image_size = side,
        .mean = { 0.48145466, 0.4578275, 0.40821073 },
        .std = { 0.26862954, 0.26130258, 0.27577711 },
        .rescale = 1.0 / 255.0,
    };
    struct preprocessor_quirks quirks = { 0 };
    int ret = read_preprocessor(p, &quirks, texts, config->err);
    if (ret < 0)
        return ret;

    const char *aspect = "";
    ret = uqm_json_string(&aspect, config->object, "image_aspect_ratio", false, config->where,
                          config->err);
    if (ret == UQM_OK && strncmp(aspect, "anyres", 6) == 0)
        ret = one_of(config, "image_aspect_ratio", "", "pad", NULL);
    if (ret < 0)
        return ret;
    if (strcmp(aspect, "pad") == 0) { /* before the processor sees the picture */
        p->pad_to_square = true;
        quirks.clip_pads = false;
    }
    quirks.stretches &= !p->pad_to_square;
    return refuse_quirks(&quirks, config->err);
}

/* tokenizer_config.json by itself: 10^30 is no integer that jansson reads, so its numbers all
 * become fractions. */
static int open_tokenizer_doc(struct doc *d, const struct uqm_config_texts *texts,
                              struct uqm_err *err)
{
    *d = (struct doc){ .err = err };
    snprintf(d->where, sizeof d->where, "%s/tokenizer_config.json", texts->where);
    if (!texts->tokenizer_config)
        return UQM_OK;
    json_error_t why;
    d->object =
        json_loads(texts->tokenizer_config, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
    if (!d->object)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: %s", d->where, why.line > 0 ? why.line : 1,
                        why.text);
    if (!json_is_object(d->object))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: not an object", d->where);
    return UQM_OK;
}

/* tokenizer_model_max_length beats the tokenizer's model_max_length; 10^30 means
 * "no limit". The position embeddings are a limit of their own. */
static int parse_max_length(struct uqm_model_config *out, const struct doc *config,
                            const struct uqm_config_texts *texts)
{
    double length = (double) out->text.max_positions;
    struct doc d;
    int ret = open_tokenizer_doc(&d, texts, config->err);
    if (ret == UQM_OK && d.object)
        ret = positive(&length, &d, "model_max_length", 1e300);
    json_decref(d.object);
    if (ret == UQM_OK)
        ret = positive(&length, config, "tokenizer_model_max_length", 1e300);
    if (ret < 0)
        return ret;
    if (length < 1.0)
        return uqm_fail(config->err, UQM_ERR_FORMAT, "%s: a sequence of at most %g tokens",
                        config->where, length);
    const double limit = (double) out->text.max_positions;
    out->max_length = (uint32_t) (length < limit ? length : limit);
    return UQM_OK;
}

/* An id or a list of ids. Absent: *n is left as it is. */
static int parse_ids(int32_t *ids, uint32_t *n, uint32_t room, const struct doc *d, const char *key,
                     uint32_t vocab)
{
    const json_t *v = json_object_get(d->object, key);
    if (!v || json_is_null(v))
        return UQM_OK;
    const size_t count = json_is_array(v) ? json_array_size(v) : 1;
    if (count == 0 || count > room)
        return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: %zu ids, expected 1 to %u", d->where,
                        key, count, room);
    for (size_t i = 0; i < count; i++) {
        const json_t *e = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(e) || json_integer_value(e) < 0 ||
            json_integer_value(e) >= (json_int_t) vocab)
            return uqm_fail(d->err, UQM_ERR_FORMAT, "%s: key %s: no token id below vocab_size %u",
                            d->where, key, vocab);
        ids[i] = (int32_t) json_integer_value(e);
    }
    *n = (uint32_t) count;
    return UQM_OK;
}

/* generation_config.json before the language model's config before LLaMA's 1 and 2. */
static int parse_special_ids(struct uqm_model_config *out, const struct doc *config,
                             const struct uqm_config_texts *texts)
{
    const struct doc text = inner_doc(config, "text_config");
    struct doc generation;
    int ret = open_doc(&generation, texts->where, "generation_config.json", texts->generation,
                       config->err);
    const struct doc *const docs[] = { config, &text, &generation }; /* later ones win */
    uint32_t n_bos = 1;
    out->bos_id = 1;
    out->eos_ids[0] = 2;
    out->n_eos = 1;
    for (size_t i = 0; ret == UQM_OK && i < 3; i++) {
        if (!docs[i]->object)
            continue;
        ret = parse_ids(&out->bos_id, &n_bos, 1, docs[i], "bos_token_id", out->text.vocab_size);
        if (ret == UQM_OK)
            ret = parse_ids(out->eos_ids, &out->n_eos, UQM_MAX_EOS, docs[i], "eos_token_id",
                            out->text.vocab_size);
    }
    json_decref(generation.object);
    return ret;
}

static int parse_all(struct uqm_model_config *c, const struct doc *config,
                     const struct uqm_config_texts *texts)
{
    const json_t *quantised = json_object_get(config->object, "quantization_config");
    if (quantised && !json_is_null(quantised))
        return uqm_fail(config->err, UQM_ERR_UNSUPPORTED,
                        "%s: key quantization_config: quantised weights are not supported",
                        config->where);
    c->image_token = -1;
    int ret = json_object_get(config->object, "text_config") ? parse_llava_hf(c, config)
                                                             : parse_flat(c, config, texts);
    if (ret == UQM_OK && c->has_vision)
        ret = parse_preprocess(&c->preprocess, config, texts, c->vision.image_size);
    if (ret == UQM_OK)
        ret = parse_max_length(c, config, texts);
    if (ret == UQM_OK)
        ret = parse_special_ids(c, config, texts);

    /* The image token and the padding rows behind it are no words. */
    c->n_real_tokens = c->text.vocab_size;
    if (c->image_token > 0 && (uint32_t) c->image_token < c->n_real_tokens)
        c->n_real_tokens = (uint32_t) c->image_token;
    return ret;
}

int uqm_model_config_parse(struct uqm_model_config *out, const struct uqm_config_texts *texts,
                           struct uqm_err *err)
{
    struct uqm_model_config c = { 0 };
    struct doc config;

    if (!texts->config)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: config.json is missing", texts->where);
    int ret = open_doc(&config, texts->where, "config.json", texts->config, err);
    if (ret == UQM_OK)
        ret = parse_all(&c, &config, texts);
    json_decref(config.object);
    if (ret == UQM_OK)
        *out = c;
    return ret;
}
