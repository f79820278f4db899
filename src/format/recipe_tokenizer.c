/* tokenizer_source, tokenizer, chat_template (spec merge.md 5 and 9): read and checked. */
#include <string.h>

#include "src/format/recipe_parse.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { LEAST_TEMPLATE_BYTES = 20, MOST_PADDING = 1 << 20, MOST_TOKEN_ID = 1 << 30 };

/* "union", "base" or a model. */
static int read_source(struct uqm_recipe_parse *p, const struct uqm_yaml_node *node,
                       const char *what)
{
    struct uqm_recipe_tokenizer *t = &p->recipe->tokenizer;
    const char *word = node->kind == UQM_YAML_SCALAR ? node->text : "";
    struct uqm_recipe_model model = { 0 };
    t->vocabulary = UQM_VOCABULARY_UNION;
    if (strcmp(word, "union") == 0)
        return UQM_OK;
    t->vocabulary = UQM_VOCABULARY_BASE;
    if (strcmp(word, "base") == 0)
        return UQM_OK;
    t->vocabulary = UQM_VOCABULARY_MODEL;
    int ret = uqm_recipe_read_model(&model, p, node, what);
    t->model = model.path;
    t->model_index = ret == UQM_OK ? uqm_recipe_find_model(p->recipe, model.path) : -1;
    return ret;
}

/* --- tokens --- */

/* The rows of a token can come from the models that are merged, and from no other. */
static int read_token_model(struct uqm_recipe_token *out, struct uqm_recipe_parse *p,
                            const struct uqm_yaml_node *node)
{
    struct uqm_recipe_model model = { 0 };
    int ret = uqm_recipe_read_model(&model, p, node, "model");
    if (ret < 0)
        return ret;
    long at = uqm_recipe_find_model(p->recipe, model.path);
    struct uqm_printable shown;
    if (at < 0)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "model %s is none of those that are merged",
                               uqm_printable(&shown, model.path, strlen(model.path)));
    out->model = (size_t) at;
    return UQM_OK;
}

static int read_whole_number(uint64_t *out, struct uqm_recipe_parse *p,
                             const struct uqm_yaml_node *node, const char *what, double most)
{
    double v;
    bool ok = node->kind == UQM_YAML_SCALAR && uqm_yaml_type_of(node) == UQM_YAML_INT &&
              uqm_yaml_double(&v, node) && v >= 0 && v <= most;
    if (!ok)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "%s: a whole number from 0 to %.0f is wanted", what, most);
    *out = (uint64_t) v;
    return UQM_OK;
}

/* {kind: model_token, model, token or token_id} */
static int read_model_token(struct uqm_recipe_token *out, struct uqm_recipe_parse *p,
                            const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "kind", "model", "token", "token_id" };
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *model = uqm_yaml_get(node, "model");
    const struct uqm_yaml_node *token = uqm_yaml_get(node, "token");
    const struct uqm_yaml_node *id = uqm_yaml_get(node, "token_id");
    if (!model)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "model_token: its model is missing");
    if (!token == !id)
        return uqm_recipe_fail(p, id ? id->line : node->line, UQM_ERR_FORMAT,
                               "model_token: exactly one of token, token_id must be there");
    ret = read_token_model(out, p, model);
    if (ret < 0)
        return ret;
    out->rule = token ? UQM_TOKEN_OF_TOKEN : UQM_TOKEN_OF_ID;
    return token ? uqm_recipe_string(&out->token, p, token, "token")
                 : read_whole_number(&out->id, p, id, "token_id", MOST_TOKEN_ID);
}

static int read_token_source(struct uqm_recipe_token *out, struct uqm_recipe_parse *p,
                             const struct uqm_yaml_node *node)
{
    static const char *const zero_keys[] = { "kind" };
    const struct uqm_yaml_node *kind = NULL;
    if (node->kind == UQM_YAML_MAPPING) {
        int ret = uqm_recipe_scalar(&kind, p, node, "kind");
        if (ret < 0)
            return ret;
    }
    if (!kind) {
        out->rule = UQM_TOKEN_OF_MODEL;
        return read_token_model(out, p, node);
    }
    if (strcmp(kind->text, "model_token") == 0)
        return read_model_token(out, p, node);
    if (strcmp(kind->text, "zero") == 0) {
        out->rule = UQM_TOKEN_ZERO;
        return uqm_recipe_check_keys(p, node, zero_keys, COUNT(zero_keys));
    }
    struct uqm_printable shown;
    return uqm_recipe_fail(p, kind->line, UQM_ERR_FORMAT,
                           "kind: \"%s\" is neither model_token nor zero",
                           uqm_printable(&shown, kind->text, strlen(kind->text)));
}

/* TOKEN: {source, force} */
static int read_token(struct uqm_recipe_token *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *key, const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "source", "force" };
    struct uqm_printable shown;
    const struct uqm_yaml_node *force;
    uqm_printable(&shown, key->text, strlen(key->text));
    out->line = key->line;
    out->text = uqm_arena_strndup(&p->recipe->arena, key->text, strlen(key->text));
    if (!out->text)
        return uqm_recipe_no_memory(p);
    if (key->text[0] == '\0')
        return uqm_recipe_fail(p, key->line, UQM_ERR_FORMAT, "tokens: a token is empty");
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "token %s: a mapping with a source is wanted", shown.text);
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret == UQM_OK)
        ret = uqm_recipe_scalar(&force, p, node, "force");
    if (ret < 0)
        return ret;
    if (force && !uqm_yaml_bool(&out->force, force))
        return uqm_recipe_fail(p, force->line, UQM_ERR_FORMAT,
                               "force: \"%s\" is neither true nor false",
                               uqm_printable(&shown, force->text, strlen(force->text)));
    const struct uqm_yaml_node *source = uqm_yaml_get(node, "source");
    return source ? read_token_source(out, p, source) : UQM_OK;
}

static int read_tokens(struct uqm_recipe_parse *p, const struct uqm_yaml_node *node)
{
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "tokens: a mapping of tokens to their sources is wanted");
    struct uqm_recipe_token *v = uqm_arena_alloc(&p->recipe->arena, node->n + 1, sizeof *v);
    if (!v)
        return uqm_recipe_no_memory(p);
    for (size_t i = 0; i < node->n; i++) {
        int ret = read_token(&v[i], p, node->keys[i], node->items[i]);
        if (ret < 0)
            return ret;
    }
    p->recipe->tokenizer.tokens = v;
    p->recipe->tokenizer.n_tokens = node->n;
    return UQM_OK;
}

/* --- the three keys --- */

/* A model may be written model:NAME, as mergekit before 0.0.5 wanted it. */
static int read_tokenizer_source(struct uqm_recipe_parse *p, const struct uqm_yaml_node *node)
{
    static const char prefix[] = "model:";
    struct uqm_yaml_node name = *node;
    if (node->kind == UQM_YAML_SCALAR && strncmp(node->text, prefix, strlen(prefix)) == 0)
        name.text += strlen(prefix);
    return read_source(p, &name, "tokenizer_source");
}

static int read_tokenizer(struct uqm_recipe_parse *p, const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "source", "tokens", "pad_to_multiple_of" };
    struct uqm_recipe_tokenizer *t = &p->recipe->tokenizer;
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "tokenizer: a mapping with a source is wanted; a name alone is "
                               "written tokenizer_source: NAME");
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *source = uqm_yaml_get(node, "source");
    const struct uqm_yaml_node *tokens = uqm_yaml_get(node, "tokens");
    const struct uqm_yaml_node *pad = uqm_yaml_get(node, "pad_to_multiple_of");
    t->vocabulary = UQM_VOCABULARY_UNION;
    if (source)
        ret = read_source(p, source, "source");
    if (ret == UQM_OK && tokens)
        ret = read_tokens(p, tokens);
    if (ret == UQM_OK && pad)
        ret = read_whole_number(&t->pad_to_multiple_of, p, pad, "pad_to_multiple_of", MOST_PADDING);
    return ret;
}

/* "auto", the name of a built-in one, or Jinja, which is told by its length and its braces. */
static int read_chat_template(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    static const char *const names[] = {
        "auto", "alpaca", "chatml", "exaone", "llama3", "mistral"
    };
    const struct uqm_yaml_node *node;
    int ret = uqm_recipe_scalar(&node, p, root, "chat_template");
    if (ret < 0 || !node)
        return ret;
    bool known = strlen(node->text) >= LEAST_TEMPLATE_BYTES && strchr(node->text, '{');
    for (size_t i = 0; i < COUNT(names) && !known; i++)
        known = strcmp(node->text, names[i]) == 0;
    if (!known) {
        struct uqm_printable shown;
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "chat_template: \"%s\" is neither auto, alpaca, chatml, exaone, "
                               "llama3, mistral nor a Jinja template",
                               uqm_printable(&shown, node->text, strlen(node->text)));
    }
    p->recipe->chat_template_line = node->line;
    return uqm_recipe_string(&p->recipe->chat_template, p, node, "chat_template");
}

int uqm_recipe_read_tokenizer(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    const struct uqm_yaml_node *source = uqm_yaml_get(root, "tokenizer_source");
    const struct uqm_yaml_node *tokenizer = uqm_yaml_get(root, "tokenizer");
    const struct uqm_yaml_node *node = tokenizer ? tokenizer : source;
    int ret = UQM_OK;
    p->recipe->tokenizer.model_index = -1;
    if (source && tokenizer)
        return uqm_recipe_fail(p, tokenizer->line, UQM_ERR_FORMAT,
                               "only one of tokenizer_source, tokenizer can be there");
    if (node) {
        p->recipe->tokenizer.line = node->line;
        ret = tokenizer ? read_tokenizer(p, tokenizer) : read_tokenizer_source(p, source);
    }
    return ret == UQM_OK ? read_chat_template(p, root) : ret;
}
