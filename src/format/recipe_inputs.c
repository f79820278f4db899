/* What is merged: `models`, `slices` or `modules`, and base_model (spec merge.md 5). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/recipe_parse.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

#define MOST_LAYERS 1000000

/* --- one input --- */

static int read_layer(uint64_t *out, struct uqm_recipe_parse *p, const struct uqm_yaml_node *node)
{
    double v;
    bool is_int = node->kind == UQM_YAML_SCALAR && uqm_yaml_type_of(node) == UQM_YAML_INT &&
                  uqm_yaml_double(&v, node) && v >= 0 && v <= MOST_LAYERS;
    if (!is_int)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "layer_range: a layer is a whole number from 0 to %d", MOST_LAYERS);
    *out = (uint64_t) v;
    return UQM_OK;
}

static int read_range(struct uqm_recipe_input *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *entry)
{
    const struct uqm_yaml_node *node = uqm_yaml_get(entry, "layer_range");
    if (!node)
        return uqm_recipe_fail(p, entry->line, UQM_ERR_FORMAT,
                               "this source has no layer_range: [FIRST, END]");
    if (node->kind != UQM_YAML_SEQUENCE || node->n != 2)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "layer_range: two whole numbers are wanted: [FIRST, END]");
    int ret = read_layer(&out->first, p, node->items[0]);
    if (ret == UQM_OK)
        ret = read_layer(&out->end, p, node->items[1]);
    if (ret == UQM_OK && out->end < out->first)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "layer_range: it ends at %" PRIu64 ", before it begins at %" PRIu64,
                               out->end, out->first);
    return ret;
}

/* An entry of `models`, or of `sources` where layers have to be said. */
static int read_input(struct uqm_recipe_input *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node, bool whole)
{
    static const char *const keys[] = { "model", "parameters", "layer_range" };
    struct uqm_recipe_model model = { 0 };
    if (++p->n_inputs > UQM_RECIPE_MAX_INPUTS)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "more than %d inputs",
                               UQM_RECIPE_MAX_INPUTS);
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "%s: each entry is a mapping with a model",
                               whole ? "models" : "sources");
    int ret = uqm_recipe_check_keys(p, node, keys, whole ? 2 : COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *name = uqm_yaml_get(node, "model");
    if (!name)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "this entry has no model");
    out->line = name->line;
    ret = uqm_recipe_read_model(&model, p, name, "model");
    if (ret == UQM_OK)
        ret = uqm_recipe_intern_model(&out->model, p, &model);
    if (ret == UQM_OK && !whole)
        ret = read_range(out, p, node);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_settings(&out->settings, p, uqm_yaml_get(node, "parameters"), true);
    return ret;
}

/* --- slices --- */

/* seen[model]: 1 + the place of the model in this list. A model stands in a list once. */
static int check_list(struct uqm_recipe_parse *p, const struct uqm_recipe_slice *s)
{
    size_t seen[UQM_RECIPE_MAX_MODELS] = { 0 };
    for (size_t i = 0; i < s->n_inputs; i++) {
        const struct uqm_recipe_input *in = &s->inputs[i], *first = &s->inputs[0];
        if (seen[in->model]) {
            const char *path = p->recipe->models[in->model].path;
            struct uqm_printable shown;
            return uqm_recipe_fail(
                p, in->line, UQM_ERR_FORMAT, "model %s stands here twice (first in line %d)",
                uqm_printable(&shown, path, strlen(path)), s->inputs[seen[in->model] - 1].line);
        }
        seen[in->model] = i + 1;
        if (in->end - in->first != first->end - first->first)
            return uqm_recipe_fail(p, in->line, UQM_ERR_FORMAT,
                                   "layer_range: all sources of a slice have equally many layers, "
                                   "but here are %" PRIu64 ", and %" PRIu64 " in line %d",
                                   in->end - in->first, first->end - first->first, first->line);
    }
    return UQM_OK;
}

/* The list that `models` or `sources` is, with room for a base. */
static int read_list(struct uqm_recipe_slice *out, struct uqm_recipe_parse *p,
                     const struct uqm_yaml_node *list, const char *what)
{
    if (list->kind != UQM_YAML_SEQUENCE || list->n == 0)
        return uqm_recipe_fail(p, list->line, UQM_ERR_FORMAT,
                               "%s: a list of at least one model is wanted", what);
    out->inputs = uqm_arena_alloc(&p->recipe->arena, list->n + 1, sizeof *out->inputs);
    if (!out->inputs)
        return uqm_recipe_no_memory(p);
    for (size_t i = 0; i < list->n; i++) {
        int ret = read_input(&out->inputs[i], p, list->items[i], out->whole);
        if (ret < 0)
            return ret;
        out->n_inputs++;
    }
    return check_list(p, out);
}

/* mergekit reads it too, and uses it as little. */
static int read_residual(struct uqm_recipe_parse *p, const struct uqm_yaml_node *slice)
{
    const struct uqm_yaml_node *node;
    double v;
    int ret = uqm_recipe_scalar(&node, p, slice, "residual_weight");
    if (ret < 0 || !node)
        return ret;
    if (!uqm_yaml_double(&v, node))
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "residual_weight: a number is wanted");
    return uqm_recipe_warn(p, node->line, "residual_weight changes nothing, so it is ignored");
}

/* A `base_model` of the recipe or of a slice. *out stays -1 without one. */
static int read_base(long *out, struct uqm_recipe_parse *p, const struct uqm_yaml_node *mapping)
{
    const struct uqm_yaml_node *node = uqm_yaml_get(mapping, "base_model");
    struct uqm_recipe_model base = { 0 };
    size_t at;
    *out = -1;
    if (!node)
        return UQM_OK;
    int ret = uqm_recipe_read_model(&base, p, node, "base_model");
    if (ret == UQM_OK)
        ret = uqm_recipe_intern_model(&at, p, &base);
    if (ret == UQM_OK)
        *out = (long) at;
    return ret;
}

static int read_slice(struct uqm_recipe_slice *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "sources", "base_model", "parameters", "residual_weight" };
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "slices: each entry is a mapping with sources");
    out->line = node->line;
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *sources = uqm_yaml_get(node, "sources");
    if (!sources)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "this slice has no sources");
    ret = read_list(out, p, sources, "sources");
    if (ret == UQM_OK)
        ret = read_base(&out->base, p, node);
    if (ret == UQM_OK)
        ret = read_residual(p, node);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_settings(&out->settings, p, uqm_yaml_get(node, "parameters"), false);
    return ret;
}

static int read_slices(struct uqm_recipe_module *out, struct uqm_recipe_parse *p,
                       const struct uqm_yaml_node *list)
{
    if (list->kind != UQM_YAML_SEQUENCE || list->n == 0)
        return uqm_recipe_fail(p, list->line, UQM_ERR_FORMAT,
                               "slices: a list of at least one slice is wanted");
    p->n_slices += list->n;
    if (p->n_slices > UQM_RECIPE_MAX_INPUTS)
        return uqm_recipe_fail(p, list->line, UQM_ERR_FORMAT, "more than %d slices",
                               UQM_RECIPE_MAX_INPUTS);
    out->slices = uqm_arena_alloc(&p->recipe->arena, list->n, sizeof *out->slices);
    if (!out->slices)
        return uqm_recipe_no_memory(p);
    for (size_t i = 0; i < list->n; i++) {
        int ret = read_slice(&out->slices[i], p, list->items[i]);
        if (ret < 0)
            return ret;
        out->n_slices++;
    }
    return UQM_OK;
}

static int read_whole(struct uqm_recipe_module *out, struct uqm_recipe_parse *p,
                      const struct uqm_yaml_node *list)
{
    out->slices = uqm_arena_alloc(&p->recipe->arena, 1, sizeof *out->slices);
    if (!out->slices)
        return uqm_recipe_no_memory(p);
    out->n_slices = 1;
    out->slices[0] = (struct uqm_recipe_slice){ .line = list->line, .whole = true, .base = -1 };
    return read_list(&out->slices[0], p, list, "models");
}

/* --- modules --- */

/* What may be merged: a recipe has one of the three, a module one of the first two. */
static const char *const one_of[] = { "models", "slices", "modules" };

/* What stands under one_of[which]; NULL too if that is empty and another of the first n is there.
 */
static const struct uqm_yaml_node *filled(const struct uqm_yaml_node *mapping, size_t which,
                                          size_t n)
{
    const struct uqm_yaml_node *node = uqm_yaml_get(mapping, one_of[which]);
    bool empty = node && node->kind != UQM_YAML_SCALAR && node->n == 0;
    for (size_t i = 0; empty && i < n; i++)
        if (i != which && uqm_yaml_get(mapping, one_of[i]))
            return NULL;
    return node;
}

static int read_module(struct uqm_recipe_module *out, struct uqm_recipe_parse *p,
                       const struct uqm_yaml_node *key, const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "models", "slices", "parameters" };
    struct uqm_printable shown;
    uqm_printable(&shown, key->text, strlen(key->text));
    if (key->text[0] == '\0')
        return uqm_recipe_fail(p, key->line, UQM_ERR_FORMAT, "modules: a module's name is empty");
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "module %s: a mapping with models or slices is wanted", shown.text);
    out->line = key->line;
    out->name = uqm_arena_strndup(&p->recipe->arena, key->text, strlen(key->text));
    if (!out->name)
        return uqm_recipe_no_memory(p);
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *models = filled(node, 0, 2);
    const struct uqm_yaml_node *slices = filled(node, 1, 2);
    if (!models == !slices)
        return uqm_recipe_fail(p, slices ? slices->line : key->line, UQM_ERR_FORMAT,
                               "module %s: exactly one of models, slices must be there",
                               shown.text);
    ret = models ? read_whole(out, p, models) : read_slices(out, p, slices);
    if (ret == UQM_OK)
        ret = uqm_recipe_read_settings(&out->settings, p, uqm_yaml_get(node, "parameters"), false);
    return ret;
}

static int read_modules(struct uqm_recipe_parse *p, const struct uqm_yaml_node *node)
{
    struct uqm_recipe *r = p->recipe;
    if (node->kind != UQM_YAML_MAPPING || node->n == 0)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "modules: a mapping of at least one module is wanted");
    if (node->n > UQM_RECIPE_MAX_MODULES)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "more than %d modules",
                               UQM_RECIPE_MAX_MODULES);
    r->by_module = true;
    r->modules = uqm_arena_alloc(&r->arena, node->n, sizeof *r->modules);
    if (!r->modules)
        return uqm_recipe_no_memory(p);
    for (size_t i = 0; i < node->n; i++) {
        int ret = read_module(&r->modules[i], p, node->keys[i], node->items[i]);
        if (ret < 0)
            return ret;
        r->n_modules++;
    }
    return UQM_OK;
}

/* --- the document --- */

static int read_one_of_three(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    const struct uqm_yaml_node *found = NULL;
    size_t which = 0;
    for (size_t i = 0; i < COUNT(one_of); i++) {
        const struct uqm_yaml_node *node = filled(root, i, COUNT(one_of));
        if (node && found)
            return uqm_recipe_fail(p, node->line > found->line ? node->line : found->line,
                                   UQM_ERR_FORMAT,
                                   "exactly one of models, slices, modules must be there, but "
                                   "here are %s and %s",
                                   one_of[which], one_of[i]);
        if (node) {
            found = node;
            which = i;
        }
    }
    if (!found)
        return uqm_recipe_fail(p, root->line, UQM_ERR_FORMAT,
                               "exactly one of models, slices, modules must be there");
    if (which == 2)
        return read_modules(p, found);
    p->recipe->modules = uqm_arena_alloc(&p->recipe->arena, 1, sizeof *p->recipe->modules);
    if (!p->recipe->modules)
        return uqm_recipe_no_memory(p);
    p->recipe->n_modules = 1;
    p->recipe->modules[0].line = found->line;
    return which == 0 ? read_whole(&p->recipe->modules[0], p, found)
                      : read_slices(&p->recipe->modules[0], p, found);
}

/* A base that is not among `models` is their last input. */
static void add_base(struct uqm_recipe *r, struct uqm_recipe_slice *s)
{
    for (size_t i = 0; i < s->n_inputs; i++)
        if (r->base == (long) s->inputs[i].model)
            return;
    s->inputs[s->n_inputs++] = (struct uqm_recipe_input){ .model = (size_t) r->base,
                                                          .line = r->models[r->base].line,
                                                          .added = true };
}

int uqm_recipe_read_inputs(struct uqm_recipe_parse *p, const struct uqm_yaml_node *root)
{
    struct uqm_recipe *r = p->recipe;
    int ret = read_one_of_three(p, root);
    if (ret == UQM_OK)
        ret = read_base(&r->base, p, root);
    for (size_t m = 0; m < r->n_modules && ret == UQM_OK; m++)
        for (size_t i = 0; i < r->modules[m].n_slices; i++) {
            struct uqm_recipe_slice *s = &r->modules[m].slices[i];
            if (s->whole && r->base >= 0)
                add_base(r, s);
            if (s->base < 0)
                s->base = r->base;
        }
    return ret;
}
