/* A model in a recipe: PATH[@REVISION][+LORA[@REVISION]], or the same as a mapping. */
#include <string.h>

#include "src/format/recipe_parse.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Whether len bytes of s hold more than one @. */
static bool has_two(const char *s, size_t len)
{
    const char *at = memchr(s, '@', len);
    return at && memchr(at + 1, '@', len - (size_t) (at + 1 - s));
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
    if (has_two(s, plus ? (size_t) (plus - s) : strlen(s)) ||
        (plus && has_two(plus + 1, strlen(plus + 1))))
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "model %s: a second @", shown.text);
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
        ret = uqm_recipe_word(&out->architecture, p, arch, "override_architecture");
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

int uqm_recipe_read_model(struct uqm_recipe_model *out, struct uqm_recipe_parse *p,
                          const struct uqm_yaml_node *node, const char *what)
{
    out->line = node->line;
    if (node->kind == UQM_YAML_SEQUENCE)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: a path is wanted", what);
    return node->kind == UQM_YAML_SCALAR ? read_model_string(out, p, node)
                                         : read_model_map(out, p, node);
}

long uqm_recipe_find_model(const struct uqm_recipe *recipe, const char *path)
{
    for (size_t i = 0; i < recipe->n_models; i++)
        if (strcmp(recipe->models[i].path, path) == 0)
            return (long) i;
    return -1;
}

static int grow_models(struct uqm_recipe_parse *p, int line)
{
    struct uqm_recipe *r = p->recipe;
    if (r->n_models == UQM_RECIPE_MAX_MODELS)
        return uqm_recipe_fail(p, line, UQM_ERR_FORMAT, "more than %d models",
                               UQM_RECIPE_MAX_MODELS);
    if (r->n_models < p->models_cap)
        return UQM_OK;
    size_t cap = p->models_cap ? 2 * p->models_cap : 8;
    struct uqm_recipe_model *grown = uqm_arena_alloc(&r->arena, cap, sizeof *grown);
    if (!grown)
        return uqm_recipe_no_memory(p);
    if (r->n_models)
        memcpy(grown, r->models, r->n_models * sizeof *grown);
    r->models = grown;
    p->models_cap = cap;
    return UQM_OK;
}

int uqm_recipe_intern_model(size_t *out, struct uqm_recipe_parse *p,
                            const struct uqm_recipe_model *model)
{
    struct uqm_recipe *r = p->recipe;
    long at = uqm_recipe_find_model(r, model->path);
    if (at < 0) {
        int ret = grow_models(p, model->line);
        if (ret < 0)
            return ret;
        at = (long) r->n_models;
        r->models[r->n_models++] = *model;
    }
    struct uqm_recipe_model *known = &r->models[at];
    struct uqm_printable path, here, there;
    const char *a = model->architecture, *b = known->architecture;
    if (!b)
        known->architecture = a;
    else if (a && strcmp(a, b) != 0)
        return uqm_recipe_fail(p, model->line, UQM_ERR_FORMAT,
                               "model %s: override_architecture is %s here, but %s in line %d",
                               uqm_printable(&path, model->path, strlen(model->path)),
                               uqm_printable(&here, a, strlen(a)),
                               uqm_printable(&there, b, strlen(b)), known->line);
    *out = (size_t) at;
    return UQM_OK;
}
