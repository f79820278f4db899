/* `parameters`: name -> scalar, ramp, or {value, filter} entries. */
#include <math.h>
#include <string.h>

#include "src/format/nearest.h"
#include "src/format/recipe_parse.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { MAX_VALUES = 1 << 18, MOST_INT = 1 << 30 };

static int read_value(struct uqm_scalar_value *out, struct uqm_recipe_parse *p,
                      const struct uqm_param_info *param, const struct uqm_yaml_node *node)
{
    if (++p->n_values > MAX_VALUES)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "more than %d parameter values",
                               MAX_VALUES);
    out->line = node->line;
    if (node->kind != UQM_YAML_SCALAR)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: a single value is wanted here",
                               param->name);
    struct uqm_printable shown;
    if (param->type == UQM_PARAM_BOOL) {
        bool b;
        if (!uqm_yaml_bool(&b, node))
            return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                                   "%s: \"%s\" is neither true nor false", param->name,
                                   uqm_printable(&shown, node->text, strlen(node->text)));
        out->number = b ? 1 : 0;
        return UQM_OK;
    }
    if (!uqm_yaml_double(&out->number, node))
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: \"%s\" is not a number",
                               param->name, uqm_printable(&shown, node->text, strlen(node->text)));
    if (param->type == UQM_PARAM_INT &&
        (out->number != floor(out->number) || fabs(out->number) > MOST_INT))
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "%s: %s is not a whole number up to %d", param->name,
                               uqm_printable(&shown, node->text, strlen(node->text)), MOST_INT);
    if (!isfinite(out->number))
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: %s is not a finite number",
                               param->name, uqm_printable(&shown, node->text, strlen(node->text)));
    return UQM_OK;
}

/* One value, or a list of them: a ramp. An empty list settles nothing. */
static int read_values(struct uqm_setting_entry *out, struct uqm_recipe_parse *p,
                       const struct uqm_param_info *param, const struct uqm_yaml_node *node)
{
    size_t n = node->kind == UQM_YAML_SEQUENCE ? node->n : 1;
    struct uqm_scalar_value *v = uqm_arena_alloc(&p->recipe->arena, n ? n : 1, sizeof *v);
    if (!v)
        return uqm_recipe_no_memory(p);
    for (size_t i = 0; i < n; i++) {
        int ret =
            read_value(&v[i], p, param, node->kind == UQM_YAML_SEQUENCE ? node->items[i] : node);
        if (ret < 0)
            return ret;
    }
    out->n = n;
    out->values = v;
    return UQM_OK;
}

/* {value: ..., filter: NAME} */
static int read_filtered(struct uqm_setting_entry *out, struct uqm_recipe_parse *p,
                         const struct uqm_param_info *param, const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "value", "filter" };
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "%s: the list mixes values and {value, filter}", param->name);
    int ret = uqm_recipe_check_keys(p, node, keys, COUNT(keys));
    if (ret < 0)
        return ret;
    const struct uqm_yaml_node *value = uqm_yaml_get(node, "value");
    const struct uqm_yaml_node *filter = uqm_yaml_get(node, "filter");
    if (!value)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT, "%s: this entry has no value",
                               param->name);
    if (filter) {
        ret = uqm_recipe_word(&out->filter, p, filter, "filter");
        if (ret < 0)
            return ret;
    }
    return read_values(out, p, param, value);
}

static int read_setting(struct uqm_setting *out, struct uqm_recipe_parse *p,
                        const struct uqm_param_info *param, const struct uqm_yaml_node *node)
{
    bool list = node->kind == UQM_YAML_SEQUENCE;
    bool filtered = node->kind == UQM_YAML_MAPPING ||
                    (list && node->n > 0 && node->items[0]->kind == UQM_YAML_MAPPING);
    size_t n = filtered && list ? node->n : 1;
    struct uqm_setting_entry *e = uqm_arena_alloc(&p->recipe->arena, n, sizeof *e);
    if (!e)
        return uqm_recipe_no_memory(p);

    *out = (struct uqm_setting){ .param = param, .line = node->line, .n_entries = n, .entries = e };
    if (list && node->n == 0) { /* an empty list settles nothing: the next level is asked */
        out->n_entries = 0;
        return UQM_OK;
    }
    int ret = UQM_OK;
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = filtered ? read_filtered(&e[i], p, param, list ? node->items[i] : node)
                       : read_values(&e[i], p, param, node);
    return ret;
}

static int warn_unknown(struct uqm_recipe_parse *p, const struct uqm_yaml_node *key)
{
    const struct uqm_method_info *m = p->recipe->method;
    const char *names[UQM_MOST_PARAMS];
    for (size_t i = 0; i < m->n_params; i++)
        names[i] = m->params[i].name;
    const char *near = uqm_nearest(key->text, names, m->n_params);
    struct uqm_printable shown;
    uqm_printable(&shown, key->text, strlen(key->text));
    if (near)
        return uqm_recipe_warn(p, key->line,
                               "method %s has no parameter %s, so it is ignored; did you mean %s?",
                               m->name, shown.text, near);
    return uqm_recipe_warn(p, key->line, "method %s has no parameter %s, so it is ignored", m->name,
                           shown.text);
}

int uqm_recipe_read_settings(struct uqm_settings *out, struct uqm_recipe_parse *p,
                             const struct uqm_yaml_node *node, bool of_input)
{
    const struct uqm_method_info *m = p->recipe->method;
    if (!node)
        return UQM_OK;
    if (node->kind != UQM_YAML_MAPPING)
        return uqm_recipe_fail(p, node->line, UQM_ERR_FORMAT,
                               "parameters: a mapping of names to values is wanted");
    struct uqm_setting *v = uqm_arena_alloc(&p->recipe->arena, node->n ? node->n : 1, sizeof *v);
    if (!v)
        return uqm_recipe_no_memory(p);

    size_t n = 0;
    for (size_t i = 0; i < node->n; i++) {
        const struct uqm_yaml_node *key = node->keys[i], *value = node->items[i];
        const struct uqm_param_info *param = uqm_method_param(m, key->text);
        int ret = UQM_OK;
        if (!param)
            ret = warn_unknown(p, key);
        else if (of_input && param->scope == UQM_PER_OUTPUT)
            ret = uqm_recipe_warn(p, key->line,
                                  "%s belongs to the whole merge: under a model it is ignored; "
                                  "write it under the recipe's parameters",
                                  param->name);
        else if (value->kind != UQM_YAML_SCALAR || uqm_yaml_type_of(value) != UQM_YAML_NULL)
            ret = read_setting(&v[n++], p, param, value);
        if (ret < 0)
            return ret;
    }
    *out = (struct uqm_settings){ n, v };
    return UQM_OK;
}
