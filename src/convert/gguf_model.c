/* The model that is exported: its configs, its template, what of it GGUF's readers know. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/base/utf8.h"
#include "src/convert/gguf_export.h"
#include "src/format/json.h"
#include "src/merge/relayout.h"
#include "src/model/vocabulary.h"

enum { MOST_NAME = 160 };

struct texts {
    char *preprocessor, *processor, *tokenizer, *generation;
    char *merged, *template, *template_json;
};

static void free_texts(struct texts *t)
{
    free(t->preprocessor);
    free(t->processor);
    free(t->tokenizer);
    free(t->generation);
    free(t->merged);
    free(t->template);
    free(t->template_json);
}

static int read_texts(struct texts *t, const struct uqm_checkpoint *home,
                      struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const char *dir = home->source.home;
    int ret = uqm_relayout_read(&t->preprocessor, dir, "preprocessor_config.json", err);
    if (ret >= 0 && home->vision_tower_path)
        ret = uqm_relayout_read(&t->preprocessor, home->vision_tower_path,
                                "preprocessor_config.json", err);
    if (ret >= 0)
        ret = uqm_relayout_read(&t->processor, dir, "processor_config.json", err);
    if (ret >= 0)
        ret = uqm_relayout_read(&t->tokenizer, dir, "tokenizer_config.json", err);
    if (ret >= 0)
        ret = uqm_relayout_read(&t->generation, dir, "generation_config.json", err);
    if (ret >= 0)
        ret = uqm_relayout_read(&t->template, dir, "chat_template.jinja", err);
    if (ret >= 0)
        ret = uqm_relayout_read(&t->template_json, dir, "chat_template.json", err);
    /* a recipe's merge has a config of its own; a checkpoint's goes over as it is */
    if (ret >= 0 && rs->inputs[0].inner)
        ret = uqm_source_config(&t->merged, rs->inputs[0].inner, err);
    return ret < 0 ? ret : UQM_OK;
}

/* --- what GGUF has no word for --- */

static int refuse(const struct uqm_gguf_export *x, const char *what, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: GGUF's llava has no place for %s", x->in, what);
}

static int check_vision(struct uqm_gguf_export *x, const struct uqm_recipe_source *rs,
                        struct uqm_err *err)
{
    const struct uqm_vision_config *v = &x->config.vision;
    bool has_tower = false;
    for (size_t i = 0; i < rs->source.n_tensors; i++)
        has_tower |= rs->source.tensors[i].part == UQM_PART_VISION;
    if (!has_tower)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: the model looks at pictures, but its vision tower is not there; "
                        "--vision-tower names a folder that has it",
                        x->in);
    int64_t n =
        v->feature_layer < 0 ? (int64_t) v->n_layers + v->feature_layer + 1 : v->feature_layer;
    if (n < 1 || n > v->n_layers)
        return refuse(x, "features of a layer that its tower has not, or of none", err);
    if (v->keep_class_token)
        return refuse(x, "the class token among the features", err);
    x->n_vision_layers = (uint32_t) n;
    return UQM_OK;
}

/* --- small things --- */

/* Of the files: the folder's or the file's name, without an archive's or a recipe's ending. */
static int name_model(struct uqm_gguf_export *x, struct uqm_err *err)
{
    static const char *const endings[] = { ".uqz",         ".yml", ".yaml", ".bin",
                                           ".safetensors", ".pt",  ".pth" };
    char *real = realpath(x->in, NULL), *base = uqm_path_base(real ? real : x->in);
    free(real);
    if (!base)
        return uqm_gguf_no_memory(x, err);
    size_t n = strlen(base);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcmp(base + n - m, endings[i]) == 0) {
            n -= m;
            break;
        }
    }
    for (size_t i = 0; i < n; i++)
        if ((unsigned char) base[i] < 0x20)
            n = 0;
    if (n == 0 || n > MOST_NAME || base[0] == '/' || base[0] == '.' ||
        !uqm_utf8_valid((const uint8_t *) base, n))
        x->name = uqm_arena_strndup(&x->arena, "model", strlen("model"));
    else
        x->name = uqm_arena_strndup(&x->arena, base, n);
    free(base);
    return x->name ? UQM_OK : uqm_gguf_no_memory(x, err);
}

static int parse(json_t **out, const char *text, const char *where, struct uqm_err *err)
{
    *out = NULL;
    if (text && !(*out = uqm_json_parse(text, strlen(text), where, true, err)))
        return err->code;
    return UQM_OK;
}

/* An id of config.json: its own, else its text_config's; -1: neither says. */
static int64_t id_of(const json_t *config, const char *key)
{
    const json_t *id = json_object_get(config, key);
    if (!json_is_integer(id))
        id = json_object_get(json_object_get(config, "text_config"), key);
    return json_is_integer(id) ? (int64_t) json_integer_value(id) : -1;
}

/* The tower's projection is not computed; the key is required all the same. */
static uint32_t projection_dim(const json_t *config, const json_t *vision)
{
    const json_t *dim = json_object_get(json_object_get(config, "vision_config"), "projection_dim");
    if (!json_is_integer(dim))
        dim = json_object_get(vision, "projection_dim");
    if (!json_is_integer(dim))
        dim = json_object_get(json_object_get(vision, "vision_config"), "projection_dim");
    json_int_t n = json_is_integer(dim) ? json_integer_value(dim) : 0;
    return n > 0 && n <= UINT32_MAX ? (uint32_t) n : 768; /* CLIP's default */
}

static int keep_template(struct uqm_gguf_export *x, const struct texts *t, const json_t *tokenizer,
                         const char *where, struct uqm_err *err)
{
    json_t *file = NULL;
    int ret = parse(&file, t->template_json, where, err);
    const json_t *text = json_object_get(tokenizer, "chat_template");
    if (!json_is_string(text))
        text = json_object_get(file, "chat_template");
    /* one that stands in a file of its own is the newer way */
    const char *chosen = t->template ? t->template : json_string_value(text);
    if (ret == UQM_OK && chosen) {
        x->chat_template = uqm_arena_strndup(&x->arena, chosen, strlen(chosen));
        ret = !x->chat_template ? uqm_gguf_no_memory(x, err) : UQM_OK;
    }
    if (ret == UQM_OK && chosen && !uqm_utf8_valid((const uint8_t *) chosen, strlen(chosen)))
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the chat template is not UTF-8", x->in);
    json_decref(file);
    return ret;
}

/* Rows of the embedding; and whether it is the head. */
static int find_rows(struct uqm_gguf_export *x, const struct uqm_recipe_source *rs,
                     struct uqm_err *err)
{
    long embed = uqm_source_find(&rs->source, "language_model.model.embed_tokens.weight");
    long head = uqm_source_find(&rs->source, "language_model.lm_head.weight");
    if (embed < 0 || rs->source.tensors[embed].rank != 2)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: no embedding of tokens of two dimensions", x->in);
    const struct uqm_tensor *t = &rs->source.tensors[embed];
    if (t->shape[0] == 0 || t->shape[0] > UQM_VOCABULARY_MOST_ID)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: an embedding of %" PRIu64 " rows", x->in,
                        t->shape[0]);
    x->n_rows = (uint32_t) t->shape[0];
    x->tied = head < 0; /* a stored head is the head, whatever config.json says */
    if (!x->has_kind)
        x->kind = t->dtype == UQM_F16    ? UQM_GGUF_ALL_F16
                  : t->dtype == UQM_BF16 ? UQM_GGUF_ALL_BF16
                                         : UQM_GGUF_ALL_F32;
    return UQM_OK;
}

/* --- the whole --- */

static int take_texts(struct uqm_gguf_export *x, struct uqm_recipe_source *rs,
                      const struct uqm_checkpoint *home, const struct texts *t, struct uqm_err *err)
{
    json_t *config = NULL, *vision = NULL, *tokenizer = NULL;
    const struct uqm_config_texts texts = {
        .where = home->path,
        .config = t->merged ? t->merged : home->config_text,
        .vision_config = home->vision_config_text,
        .preprocessor = t->preprocessor,
        .processor = t->processor,
        .tokenizer_config = t->tokenizer,
        .generation = t->generation,
    };
    int ret = uqm_model_config_parse(&x->config, &texts, err);
    if (ret == UQM_OK && x->config.has_vision)
        ret = check_vision(x, rs, err);
    if (ret == UQM_OK)
        ret = find_rows(x, rs, err);
    if (ret == UQM_OK)
        ret = parse(&config, texts.config, home->path, err);
    if (ret == UQM_OK)
        ret = parse(&vision, texts.vision_config, home->path, err);
    if (ret == UQM_OK)
        ret = parse(&tokenizer, t->tokenizer, home->path, err);
    if (ret == UQM_OK) {
        x->projection_dim = projection_dim(config, vision);
        ret = keep_template(x, t, tokenizer, home->path, err);
    }
    if (ret == UQM_OK)
        ret = uqm_gguf_read_vocab(x, home->source.home, tokenizer, id_of(config, "pad_token_id"),
                                  err);
    json_decref(config);
    json_decref(vision);
    json_decref(tokenizer);
    return ret;
}

int uqm_gguf_read_model(struct uqm_gguf_export *x, struct uqm_recipe_source *rs,
                        struct uqm_err *err)
{
    struct uqm_checkpoint *home = NULL;
    struct texts t = { 0 };
    const struct uqm_checkpoint_params params = {
        .path = rs->source.home,
        .vision_tower = x->vision_tower,
    };
    int ret = name_model(x, err);
    if (ret == UQM_OK)
        ret = uqm_checkpoint_open(&home, x->env, &params, err);
    if (ret == UQM_OK)
        ret = read_texts(&t, home, rs, err);
    if (ret == UQM_OK)
        ret = take_texts(x, rs, home, &t, err);
    free_texts(&t);
    uqm_checkpoint_close(&home);
    return ret;
}
