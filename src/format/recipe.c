#include "src/format/recipe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/recipe_parse.h"

void uqm_recipe_free(struct uqm_recipe **recipe)
{
    if (!*recipe)
        return;
    uqm_arena_finish(&(*recipe)->arena);
    free(*recipe);
    *recipe = NULL;
}

char *uqm_recipe_name_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t n = strlen(base);
    if (dot && dot != base && (strcmp(dot, ".yml") == 0 || strcmp(dot, ".yaml") == 0))
        n = (size_t) (dot - base);
    return strndup(base, n);
}

static int set_names(struct uqm_recipe *r, const char *text, size_t len, const char *where)
{
    char *name = uqm_recipe_name_of(where);
    r->where = uqm_arena_strndup(&r->arena, where, strlen(where));
    r->name = name ? uqm_arena_strndup(&r->arena, name, strlen(name)) : NULL;
    free(name);
    r->text = uqm_arena_strndup(&r->arena, text, len);
    r->text_len = len;
    return r->where && r->name && r->text ? UQM_OK : UQM_ERR_NOMEM;
}

int uqm_recipe_parse(struct uqm_recipe **out, const char *text, size_t len, const char *where,
                     uqm_recipe_warn_fn warn, void *warn_ctx, struct uqm_err *err)
{
    struct uqm_arena nodes = { 0 };
    const struct uqm_yaml_node *root;
    struct uqm_recipe *r = calloc(1, sizeof *r);
    int ret;

    if (!r)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", where);
    if (len > UQM_YAML_MAX_BYTES) {
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: %zu bytes, more than the %d allowed", where, len,
                       UQM_YAML_MAX_BYTES);
        goto done;
    }
    if (set_names(r, text, len, where) < 0) {
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", where);
        goto done;
    }
    ret = uqm_yaml_parse(&root, &nodes, r->text, len, where, err);
    if (ret < 0)
        goto done;

    r->line = root->line;
    struct uqm_recipe_parse p = { .recipe = r, .warn = warn, .warn_ctx = warn_ctx, .err = err };
    ret = uqm_recipe_read(&p, root);
    if (ret < 0)
        goto done;
    *out = r;
    r = NULL;

done:
    uqm_arena_finish(&nodes);
    uqm_recipe_free(&r);
    return ret;
}

int uqm_recipe_load(struct uqm_recipe **out, const char *path, uqm_recipe_warn_fn warn,
                    void *warn_ctx, struct uqm_err *err)
{
    char *text;
    size_t len;
    int ret = uqm_read_file(&text, &len, path, UQM_YAML_MAX_BYTES, err);
    if (ret < 0)
        return ret;
    ret = uqm_recipe_parse(out, text, len, path, warn, warn_ctx, err);
    free(text);
    return ret;
}

static const struct uqm_setting *find_setting(const struct uqm_settings *settings,
                                              const struct uqm_param_info *param)
{
    for (size_t i = 0; i < settings->n; i++)
        if (settings->v[i].param == param)
            return &settings->v[i];
    return NULL;
}

/* Linear between the ramp's values; a bool takes the one before. In double, as the spec says. */
static double at_position(const struct uqm_setting_entry *e, enum uqm_param_type type, double t)
{
    if (e->n == 1)
        return e->values[0].number;
    double x = t * (double) (e->n - 1);
    size_t i = (size_t) x;
    if (i > e->n - 1)
        i = e->n - 1;
    if (type == UQM_PARAM_BOOL)
        return e->values[i].number;
    size_t j = i + 1 < e->n ? i + 1 : e->n - 1;
    double frac = x - (double) i;
    return (1 - frac) * e->values[i].number + frac * e->values[j].number;
}

/* The first entry whose filter lets the tensor through; false: none does, or it has no value. */
static bool evaluate(double *out, const struct uqm_setting *s, const struct uqm_recipe_place *place)
{
    for (size_t i = 0; s && i < s->n_entries; i++) {
        const struct uqm_setting_entry *e = &s->entries[i];
        if (e->filter && strcmp(e->filter, "*") != 0 && !strstr(place->tensor, e->filter))
            continue;
        if (e->n > 0)
            *out = at_position(e, s->param->type, place->t);
        return e->n > 0;
    }
    return false;
}

static int missing(const struct uqm_recipe *r, const struct uqm_param_info *param,
                   const struct uqm_recipe_place *place, struct uqm_err *err)
{
    struct uqm_printable p, q;
    const struct uqm_recipe_input *in = place->input;
    const char *whose = in ? r->models[in->model].path : r->name;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: Missing required parameter %s for %s, tensor %s",
                    r->where, in ? in->line : place->slice->line, param->name,
                    uqm_printable(&q, whose, strlen(whose)),
                    uqm_printable(&p, place->tensor, strlen(place->tensor)));
}

int uqm_recipe_resolve(double *out, const struct uqm_recipe *recipe,
                       const struct uqm_param_info *param, const struct uqm_recipe_place *place,
                       struct uqm_err *err)
{
    const struct uqm_settings *const levels[] = {
        place->input ? &place->input->settings : NULL,
        &place->slice->settings,
        &place->module->settings,
        &recipe->settings,
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const struct uqm_setting *s = levels[i] ? find_setting(levels[i], param) : NULL;
        if (!evaluate(out, s, place))
            continue;
        if (param->type != UQM_PARAM_INT || *out == floor(*out))
            return UQM_OK;
        struct uqm_printable p;
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s:%d: %s: %g is no whole number (layers in between the list's values, "
                        "tensor %s)",
                        recipe->where, s->line, param->name, *out,
                        uqm_printable(&p, place->tensor, strlen(place->tensor)));
    }
    if (param->required)
        return missing(recipe, param, place, err);
    *out = param->def;
    return UQM_OK;
}
