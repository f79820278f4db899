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
        uqm_printable(&shown, key->text, strlen(key->text));
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
                                      "unknown merge method %s; did you mean %s?", shown.text, near)
                    : uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "unknown merge method %s",
                                      shown.text);
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

/* PATH[@REVISION][+LORA[@REVISION]] */
static int read_model_string(struct uqm_recipe_model *out, struct uqm_recipe_parse *p,
                             const struct uqm_yaml_node *node)
{
    const char *s = node->text, *plus = strchr(s, '+'), *at = strchr(s, '@');
    struct uqm_printable shown;
    uqm_printable(&shown, s, strlen(s));
    if (*s == '\0')
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "model: the path is empty");
    if (plus && strchr(plus + 1, '+'))
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "model %s: a second +", shown.text);
    if (at && (!plus || at < plus)) {
        const char *second = strchr(at + 1, '@');
        if (second && (!plus || second < plus))
            return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "model %s: a second @",
                                   shown.text);
    }
    if (plus)
        return uqm_recipe_fail(p, node->line, UQM_ERR_UNSUPPORTED,
                               "model %s: LoRA adapters (+) are not in this version; a folder with "
                               "+ in its name is written {model: {path: NAME}}",
                               shown.text);
    if (at)
        return uqm_recipe_fail(p, node->line, UQM_ERR_UNSUPPORTED,
                               "model %s: models are local folders, which have no revisions (@); a "
                               "folder with @ in its name is written {model: {path: NAME}}",
                               shown.text);
    return uqm_recipe_string(&out->path, p, node, "model");
}

/* {model: PATH or {path, revision}, lora, override_architecture} */
static int read_model_map(struct uqm_recipe_model *out, struct uqm_recipe_parse *p,
                          const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "model", "lora", "override_architecture" };
    static const char *const path_keys[] = { "path", "revision" };
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *lora = uqm_yaml_get(node, "lora");
    if (lora)
        return uqm_recipe_fail(p, lora->line, UQM_ERR_UNSUPPORTED,
                               "lora: LoRA adapters are not in this version");
    const struct uqm_yaml_node *arch = uqm_yaml_get(node, "override_architecture");
    if (arch) {
        ret = uqm_recipe_string(&out->architecture, p, arch, "override_architecture");
        if (ret < 0)
            return ret;
    }
    const struct uqm_yaml_node *model = uqm_yaml_get(node, "model");
    if (!model)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "model: its path is missing");
    if (model->kind == UQM_YAML_SCALAR)
        return read_model_string(out, p, model);
    if (model->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, model->line, UQM_ERR_FORMAT, "model: a path is wanted");
    ret = uqm_recipe_check_keys(p, model, path_keys, COUNT(path_keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *revision = uqm_yaml_get(model, "revision");
    if (revision)
        return uqm_recipe_fail(p, revision->line, UQM_ERR_UNSUPPORTED,
                               "revision: models are local folders, which have no revisions");
    const struct uqm_yaml_node *path = uqm_yaml_get(model, "path");
    if (!path || path->kind != UQM_YAML_SCALAR || path->text[0] == '\0')
        return uqm_recipe_fail(p, model->line, UQM_ERR_FORMAT, "model: its path is missing");
    return uqm_recipe_string(&out->path, p, path, "path");
}

static int read_model(struct uqm_recipe_model *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node, const char *what)
{
    out->line = node->line;
    if (node->kind == UQM_YAML_SEQUENCE)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: a path is wanted", what);
    return node->kind == UQM_YAML_SCALAR ? read_model_string(out, p, node)
                                         : read_model_map(out, p, node);
}

static int read_entry(struct uqm_recipe_model *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "model", "parameters" };
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "models: each entry is a mapping with a model");
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *model = uqm_yaml_get(node, "model");
    if (!model)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "this entry has no model");
    ret = read_model(out, p, model, "model");
    if (ret < 0)
        return ret;
    return uqm_recipe_read_settings(&out->settings, p, uqm_yaml_get(node, "parameters"), true);
}

/* A base that is not among the models becomes the last input. */
static int read_base(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    struct uqm_recipe *r = p->recipe;
    const struct uqm_yaml_node *node = uqm_yaml_get(root, "base_model");
    r->base = -1;
    if (!node)
        return UQM_OK;
    struct uqm_recipe_model base = { 0 };
    int ret = read_model(&base, p, node, "base_model");
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < r->n_models; i++)
        if (strcmp(r->models[i].path, base.path) == 0) {
            r->base = (long) i;
            return UQM_OK;
        }
    r->base = (long) r->n_models;
    r->models[r->n_models++] = base;
    return UQM_OK;
}

static int read_models(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    struct uqm_recipe *r = p->recipe;
    const struct uqm_yaml_node *models = uqm_yaml_get(root, "models");
    const struct uqm_yaml_node *slices = uqm_yaml_get(root, "slices");
    const struct uqm_yaml_node *modules = uqm_yaml_get(root, "modules");
    const struct uqm_yaml_node *other = slices ? slices : modules;

    if (!models && !other)
        return uqm_recipe_fail(p, root->line, UQM_ERR_FORMAT,
                               "one of models, slices, modules must be there");
    if ((models && other) || (slices && modules))
        return uqm_recipe_fail(p, other->line, UQM_ERR_FORMAT,
                               "only one of models, slices, modules can be there");
    if (other)
        return uqm_recipe_fail(p, other->line, UQM_ERR_UNSUPPORTED,
                               "%s are not in this version; models (whole ones) are",
                               slices ? "slices" : "modules");
    if (models->kind != UQM_YAML_SEQUENCE || models->n == 0)
        return uqm_recipe_fail(p, models->line, UQM_ERR_FORMAT,
                               "models: a list of at least one model is wanted");

    r->models = uqm_arena_alloc(&r->arena, models->n + 1, sizeof *r->models);
    if (!r->models)
        return uqm_recipe_no_memory(p);
    for (size_t i = 0; i < models->n; i++) {
        int ret = read_entry(&r->models[i], p, models->items[i]);
        if (ret < 0)
            return ret;
        for (size_t j = 0; j < i; j++)
            if (strcmp(r->models[j].path, r->models[i].path) == 0)
                return uqm_recipe_fail(p, r->models[i].line, UQM_ERR_FORMAT,
                                       "model %s stands here twice (first in line %d)",
                                       r->models[i].path, r->models[j].line);
        r->n_models++;
    }
    return UQM_OK;
}

static int refuse_tokenizer_keys(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    static const char *const keys[] = { "tokenizer_source", "tokenizer", "chat_template" };
    if (uqm_yaml_get(root, keys[0]) && uqm_yaml_get(root, keys[1]))
        return uqm_recipe_fail(p, uqm_yaml_get(root, keys[1])->line, UQM_ERR_FORMAT,
                               "only one of tokenizer_source, tokenizer can be there");
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct uqm_yaml_node *node = uqm_yaml_get(root, keys[i]);
        if (node)
            return uqm_recipe_fail(p, node->line, UQM_ERR_UNSUPPORTED,
                                   "%s is not in this version; without it the tokenizer's files "
                                   "are copied",
                                   keys[i]);
    }
    return UQM_OK;
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
        ret = refuse_tokenizer_keys(p, root);
    if (ret == UQM_OK)
        ret = read_extension(p, root);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_settings(&r->settings, p, uqm_yaml_get(root, "parameters"), false);
    if (ret == UQM_OK)
        ret = read_models(p, root);
    if (ret == UQM_OK)
        ret = read_base(p, root);
    return ret;
}
