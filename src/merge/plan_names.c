#include "src/merge/plan_names.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a)    (sizeof(a) / sizeof *(a))
#define MOST_LAYERS 1000000

/* --- layers --- */

/* A word with a number and a dot behind it, at p. */
static bool read_number(struct uqm_layer_name *out, const char *name, const char *p,
                        const char *word)
{
    size_t n = strlen(word);
    if (strncmp(p, word, n) != 0 || p[n] < '0' || p[n] > '9')
        return false;
    char *end;
    unsigned long layer = strtoul(p + n, &end, 10);
    if (*end != '.' || layer > MOST_LAYERS)
        return false;
    *out = (struct uqm_layer_name){ (size_t) (p - name) + n, layer, end };
    return true;
}

static bool find_word(struct uqm_layer_name *out, const char *name, const char *const *words,
                      size_t n_words, bool last)
{
    bool found = false;
    for (const char *p = name; *p && (last || !found); p++) {
        if (p != name && p[-1] != '.')
            continue;
        for (size_t w = 0; w < n_words; w++)
            if (read_number(out, name, p, words[w]))
                found = true;
    }
    return found;
}

bool uqm_name_layer(struct uqm_layer_name *out, const char *name)
{
    static const char *const common[] = { "layers.", "blocks." };
    static const char *const older[] = { "h.", "layer.", "block." };
    return find_word(out, name, common, COUNT(common), true) ||
           find_word(out, name, older, COUNT(older), false);
}

/* --- outside the layers --- */

bool uqm_name_is_before(const char *name)
{
    static const char *const words[] = {
        "embed", "wte.",        "wpe.",   "shared.",       "patch",        "position", "conv1",
        "conv2", "class_token", "ln_pre", "layernorm_pre", "pre_layrnorm", "rotary",   "relative_pe"
    };
    if (strstr(name, "embed_out"))
        return false;
    for (size_t i = 0; i < COUNT(words); i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

/* `suffix` is the whole name, or its end behind a dot. */
static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0 && (n == m || name[n - m - 1] == '.');
}

enum uqm_vocabulary_role uqm_name_vocabulary(const char *name, enum uqm_part part)
{
    static const struct {
        const char *suffix;
        enum uqm_vocabulary_role role;
    } known[] = {
        { "embed_tokens.weight", UQM_EMBEDDING },
        { "wte.weight", UQM_EMBEDDING },
        { "word_embeddings.weight", UQM_EMBEDDING },
        { "embed_in.weight", UQM_EMBEDDING },
        { "tok_embeddings.weight", UQM_EMBEDDING },
        { "backbone.embeddings.weight", UQM_EMBEDDING },
        { "shared.weight", UQM_EMBEDDING },
        { "lm_head.weight", UQM_HEAD },
        { "embed_out.weight", UQM_HEAD },
        { "output.weight", UQM_HEAD },
        { "output_layer.weight", UQM_HEAD },
        { "lm_head.bias", UQM_HEAD_BIAS },
        { "embed_out.bias", UQM_HEAD_BIAS },
    };
    struct uqm_layer_name layer;
    if (part == UQM_PART_VISION || part == UQM_PART_ADAPTER || uqm_name_layer(&layer, name))
        return UQM_NO_VOCABULARY;
    for (size_t i = 0; i < COUNT(known); i++)
        if (ends_with(name, known[i].suffix))
            return known[i].role;
    return UQM_NO_VOCABULARY;
}

bool uqm_name_is_required(const struct uqm_tensor *tensor)
{
    static const char *const outside[] = { "embed_tokens.weight", "norm.weight" };
    static const char *const inside[] = {
        ".input_layernorm.weight",  ".post_attention_layernorm.weight",
        ".self_attn.q_proj.weight", ".self_attn.k_proj.weight",
        ".self_attn.v_proj.weight", ".self_attn.o_proj.weight",
        ".mlp.gate_proj.weight",    ".mlp.up_proj.weight",
        ".mlp.down_proj.weight",
    };
    static const char model[] = "language_model.model.";
    struct uqm_layer_name layer;
    if (tensor->part == UQM_PART_ADAPTER)
        return true;
    if (tensor->part != UQM_PART_LANGUAGE || strncmp(tensor->canonical, model, strlen(model)) != 0)
        return false;
    bool in_layer = uqm_name_layer(&layer, tensor->canonical);
    const char *rest = in_layer ? layer.rest : tensor->canonical + strlen(model);
    for (size_t i = 0; i < (in_layer ? COUNT(inside) : COUNT(outside)); i++)
        if (strcmp(rest, in_layer ? inside[i] : outside[i]) == 0)
            return true;
    return false;
}

/* --- modules --- */

static bool has_prefix(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && name[n] == '.';
}

size_t uqm_name_in_module(const struct uqm_tensor *tensor, const char *module)
{
    static const struct {
        const char *name;
        enum uqm_part part;
    } parts[] = {
        { "text_decoder", UQM_PART_LANGUAGE }, { "language_model", UQM_PART_LANGUAGE },
        { "language", UQM_PART_LANGUAGE },     { "vision_tower", UQM_PART_VISION },
        { "vision_model", UQM_PART_VISION },   { "vision", UQM_PART_VISION },
        { "adapter", UQM_PART_ADAPTER },       { "multi_modal_projector", UQM_PART_ADAPTER },
    };
    const char *inner = strncmp(tensor->name, "model.", 6) == 0 ? tensor->name + 6 : tensor->name;
    if (strcmp(module, "default") == 0)
        return 1;
    if (has_prefix(tensor->name, module) || has_prefix(inner, module))
        return 2 + strlen(module);
    for (size_t i = 0; i < COUNT(parts); i++)
        if (strcmp(module, parts[i].name) == 0 && tensor->part == parts[i].part)
            return 2;
    return 0;
}
