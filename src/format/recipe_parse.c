#include "src/format/recipe_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/format/nearest.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

int uqm_recipe_fail(struct uqm_recipe_parse *p, int line, enum uqm_status code, const char *fmt,
                    ...)
{
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return uqm_fail(p->err, code, "%s:%d: %s", p->recipe->where, line, what);
}

int uqm_recipe_warn(struct uqm_recipe_parse *p, int line, const char *fmt, ...)
{
    char what[400], text[512];
    va_list ap;
    if (!p->warn)
        return UQM_OK;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(text, sizeof text, "%s:%d: %s", p->recipe->where, line, what);
    int ret = p->warn(p->warn_ctx, text);
    if (ret == 0)
        return UQM_OK;
    return uqm_fail(p->err, (enum uqm_status) ret, "%s", text);
}

int uqm_recipe_no_memory(struct uqm_recipe_parse *p)
{
    return uqm_fail(p->err, UQM_ERR_NOMEM, "%s: no memory for the recipe", p->recipe->where);
}

int uqm_recipe_string(const char **out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node, const char *what)
{
    if (node->kind != UQM_YAML_SCALAR)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: a string is wanted", what);
    *out = uqm_arena_strndup(&p->recipe->arena, node->text, strlen(node->text));
    return *out ? UQM_OK : uqm_recipe_no_memory(p);
}

int uqm_recipe_word(const char **out, struct uqm_recipe_parse *p, const struct uqm_yaml_node *node,
                    const char *what)
{
    for (const char *c = node->kind == UQM_YAML_SCALAR ? node->text : ""; *c; c++)
        if ((unsigned char) *c < ' ' || *c == '\x7f') {
            struct uqm_printable shown;
            return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                                   "%s %s: a control character in it", what,
                                   uqm_printable(&shown, node->text, strlen(node->text)));
        }
    return uqm_recipe_string(out, p, node, what);
}

int uqm_recipe_scalar(const struct uqm_yaml_node **out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *mapping, const char *key)
{
    *out = uqm_yaml_get(mapping, key);
    if (*out && (*out)->kind != UQM_YAML_SCALAR)
        return uqm_recipe_fail(p, (*out)->line, UQM_ERR_FORMAT, "%s: a single value is wanted",
                               key);
    return UQM_OK;
}

int uqm_recipe_check_keys(struct uqm_recipe_parse *p, const struct uqm_yaml_node *mapping,
                          const char *const *names, size_t n_names)
{
    for (size_t i = 0; i < mapping->n; i++) {
        const struct uqm_yaml_node *key = mapping->keys[i];
        bool known = false;
        for (size_t j = 0; j < n_names && !known; j++)
            known = strcmp(key->text, names[j]) == 0;
        if (known)
            continue;
        struct uqm_printable shown;
        const char *near = uqm_nearest(key->text, names, n_names);
        if (key->text[0])
            uqm_printable(&shown, key->text, strlen(key->text));
        else
            memcpy(shown.text, "\"\"", sizeof "\"\"");
        int ret = near
                      ? uqm_recipe_warn(p, key->line, "unknown key %s is ignored; did you mean %s?",
                                        shown.text, near)
                      : uqm_recipe_warn(p, key->line, "unknown key %s is ignored", shown.text);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int read_method(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    const struct uqm_yaml_node *node = uqm_yaml_get(root, "merge_method");
    if (!node)
        return uqm_recipe_fail(p, root->line, UQM_ERR_FORMAT, "merge_method is missing");
    if (node->kind != UQM_YAML_SCALAR)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "merge_method: a name is wanted");
    p->recipe->method = uqm_method_find(node->text);
    if (!p->recipe->method) {
        struct uqm_printable shown;
        const char *near = uqm_nearest(node->text, uqm_method_names, UQM_N_METHODS);
        uqm_printable(&shown, node->text, strlen(node->text));
        return near ? uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                                      "Unimplemented merge method %s; did you mean %s?", shown.text,
                                      near)
                    : uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                                      "Unimplemented merge method %s", shown.text);
    }
    return UQM_OK;
}

static int read_dtype(bool *has, enum uqm_dtype *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *root, const char *key)
{
    static const char *const names[] = { "float32", "float16", "bfloat16", "float64", "int64" };
    static const enum uqm_dtype dtypes[] = { UQM_F32, UQM_F16, UQM_BF16, UQM_F64, UQM_I64 };
    const struct uqm_yaml_node *node = uqm_yaml_get(root, key);
    if (!node)
        return UQM_OK;
    if (node->kind != UQM_YAML_SCALAR)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: a name is wanted", key);
    const char *name = node->text;
    if (strncmp(name, "torch.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        if (dtypes[i] == UQM_I64)
            return uqm_recipe_fail(p, node->line, UQM_ERR_UNSUPPORTED,
                                   "%s: weights are not merged as int64; give a float type", key);
        *has = true;
        *out = dtypes[i];
        return UQM_OK;
    }
    struct uqm_printable shown;
    const char *near = uqm_nearest(name, names, COUNT(names) - 1);
    return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                           "%s: unknown type %s; %s%s float32, float16, bfloat16, float64", key,
                           uqm_printable(&shown, node->text, strlen(node->text)), near ? near : "",
                           near ? "? there are" : "there are");
}

/* `name`: what other documents of the same file call this one. */
static int read_title(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    const struct uqm_yaml_node *node = uqm_yaml_get(root, "name");
    if (!node)
        return UQM_OK;
    int ret = uqm_recipe_word(&p->recipe->title, p, node, "name");
    p->recipe->title_line = node->line;
    if (ret == UQM_OK && p->recipe->title[0] == '\0')
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "name: it is empty");
    return ret;
}

/* Our own keys, under one name that mergekit ignores. */
static int read_extension(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    static const char *const keys[] = { "vision" };
    const struct uqm_yaml_node *node = uqm_yaml_get(root, "uqmerge");
    if (!node)
        return UQM_OK;
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "uqmerge: a mapping is wanted");
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *vision = uqm_yaml_get(node, "vision");
    if (!vision)
        return UQM_OK;
    const char *word = vision->kind == UQM_YAML_SCALAR ? vision->text : "";
    if (strcmp(word, "merge") == 0)
        p->recipe->vision = UQM_VISION_MERGE;
    else if (strcmp(word, "copy") == 0)
        p->recipe->vision = UQM_VISION_COPY;
    else
        return uqm_recipe_fail(p, vision->line, UQM_ERR_FORMAT,
                               "uqmerge vision: merge or copy is wanted");
    return UQM_OK;
}

int uqm_recipe_read(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    static const char *const keys[] = {
        "merge_method", "models",    "slices",           "modules",   "base_model",
        "dtype",        "out_dtype", "tokenizer_source", "tokenizer", "chat_template",
        "parameters",   "name",      "uqmerge",
    };
    struct uqm_recipe *r = p->recipe;
    if (root->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, root->line, UQM_ERR_FORMAT,
                               "a recipe is a mapping with a merge_method");
    int ret = uqm_recipe_check_keys(p, root, keys, COUNT(keys));
    if (ret == UQM_OK)
        ret = read_method(p, root);
    if (ret == UQM_OK)
        ret = read_dtype(&r->has_dtype, &r->dtype, p, root, "dtype");
    if (ret == UQM_OK)
        ret = read_dtype(&r->has_out_dtype, &r->out_dtype, p, root, "out_dtype");
    if (ret == UQM_OK)
        ret = read_title(p, root);
    if (ret == UQM_OK)
        ret = read_extension(p, root);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_settings(&r->settings, p, uqm_yaml_get(root, "parameters"), false);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_inputs(p, root);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_tokenizer(p, root);
    return ret;
}
