#include "src/uq/merge_rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/nearest.h"
#include "src/format/yaml.h"
#include "src/merge/open.h"

/* ---- what was asked for ---- */

const char *uqm_method_name(size_t i)
{
    return i < UQM_N_METHODS ? uqm_method_names[i] : NULL;
}

static int unknown_method(const char *name, struct uqm_err *err)
{
    const char *near = uqm_nearest(name, uqm_method_names, UQM_N_METHODS);
    return uqm_fail(err, UQM_ERR_USAGE, "--merge %.80s: no such method, and no recipe (.yml)%s%s%s",
                    name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static int check_template(struct uqm_merge_rule *rule, const struct uqm_yaml_node *root,
                          struct uqm_err *err)
{
    static const char *const ours[] = { "models", "slices", "modules" };
    if (root->kind != UQM_YAML_MAPPING)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: a template is a mapping", rule->path,
                        root->line);
    if (rule->text[strspn(rule->text, " \t\r\n")] == '{')
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s:%d: a template is written in block style, a key a line", rule->path,
                        root->line);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        const struct uqm_yaml_node *node = uqm_yaml_get(root, ours[i]);
        if (node)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s:%d: %s: select puts the models in; leave the key out", rule->path,
                            node->line, ours[i]);
    }
    const struct uqm_yaml_node *method = uqm_yaml_get(root, "merge_method");
    if (!method || method->kind != UQM_YAML_SCALAR)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: it names no merge_method", rule->path);
    rule->method = uqm_method_find(method->text);
    rule->has_dtype = uqm_yaml_get(root, "dtype") != NULL;
    rule->has_base = uqm_yaml_get(root, "base_model") != NULL;
    return rule->method ? UQM_OK
                        : uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: merge_method %.80s: no such method",
                                   rule->path, method->line, method->text);
}

static int load_template(struct uqm_merge_rule *rule, struct uqm_err *err)
{
    struct uqm_arena arena = { 0 };
    const struct uqm_yaml_node *root;
    size_t len;
    int ret = uqm_read_file(&rule->text, &len, rule->path, UQM_YAML_MAX_BYTES, err);
    if (ret == UQM_OK)
        ret = uqm_yaml_parse(&root, &arena, rule->text, len, rule->path, err);
    if (ret == UQM_OK)
        ret = check_template(rule, root, err);
    uqm_arena_finish(&arena);
    return ret;
}

static int check_method(const struct uqm_merge_rule *rule, size_t n_models, struct uqm_err *err)
{
    const struct uqm_method_info *m = rule->method;
    if (m->base == UQM_BASE_ORDINARY && rule->base)
        return uqm_fail(err, UQM_ERR_USAGE, "--base %s: %s merges have no base", rule->base,
                        m->name);
    if (rule->base && rule->has_base)
        return uqm_fail(err, UQM_ERR_USAGE, "--base %s: %s names a base_model itself", rule->base,
                        rule->path);
    if (m->base == UQM_BASE_REQUIRED && !rule->base && !rule->has_base)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--merge %s: it takes differences to a base; give --base", m->name);
    if (n_models > m->most)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--merge %s: it merges %zu model%s%s, and the last step would have %zu",
                        m->name, m->most, m->most == 1 ? "" : "s",
                        m->base == UQM_BASE_ORDINARY ? "" : " beside its base", n_models);
    for (size_t i = 0; i < m->n_params; i++)
        if (!rule->path && m->params[i].required && strcmp(m->params[i].name, "weight") != 0)
            return uqm_fail(err, UQM_ERR_USAGE,
                            "--merge %s: its parameter %s has no default; give a recipe (.yml) "
                            "that names it",
                            m->name, m->params[i].name);
    return UQM_OK;
}

int uqm_merge_rule_init(struct uqm_merge_rule *out, const char *merge, const char *base,
                        size_t n_models, struct uqm_err *err)
{
    *out = (struct uqm_merge_rule){ .base = base };
    int ret = UQM_OK;
    if (merge && uqm_is_recipe_path(merge)) {
        out->path = merge;
        ret = load_template(out, err);
    } else {
        out->method = uqm_method_find(merge ? merge : "linear");
        ret = out->method ? UQM_OK : unknown_method(merge, err);
    }
    return ret < 0 ? ret : check_method(out, n_models, err);
}

void uqm_merge_rule_finish(struct uqm_merge_rule *rule)
{
    free(rule->text);
    *rule = (struct uqm_merge_rule){ 0 };
}

/* ---- the recipe ---- */

static void put_models(FILE *f, const char *const *models, size_t n, bool with_weights)
{
    fputs("models:\n", f);
    for (size_t i = 0; i < n; i++) {
        fputs("  - model: ", f);
        uqm_yaml_put_quoted(f, models[i]);
        fputs(with_weights ? "\n    parameters:\n      weight: 1.0\n" : "\n", f);
    }
}

static void put_recipe(FILE *f, const struct uqm_merge_rule *rule, const char *const *models,
                       size_t n)
{
    const struct uqm_method_info *linear = uqm_method_of(UQM_METHOD_LINEAR);
    const struct uqm_method_info *m = rule->method && n > 1 ? rule->method : linear;
    if (rule->text && n > 1) {
        const size_t len = strlen(rule->text);
        fprintf(f, "%s%s", rule->text, len > 0 && rule->text[len - 1] != '\n' ? "\n" : "");
        put_models(f, models, n, false);
    } else {
        fprintf(f, "merge_method: %s\n", m->name);
        put_models(f, models, n, uqm_method_param(m, "weight") != NULL);
        if (m == linear)
            fputs("parameters:\n  normalize: true\n", f);
    }
    if (rule->base && m != linear) {
        fputs("base_model: ", f);
        uqm_yaml_put_quoted(f, rule->base);
        fputc('\n', f);
    }
}

char *uqm_merge_rule_recipe(const struct uqm_merge_rule *rule, const char *const *models, size_t n,
                            const char *dtype)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    put_recipe(f, rule, models, n);
    if (dtype && !(rule->has_dtype && n > 1))
        fprintf(f, "dtype: %s\n", dtype);
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad) {
        free(text);
        return NULL;
    }
    return text;
}

const char *uqm_merge_rule_where(const struct uqm_merge_rule *rule)
{
    return rule->path ? rule->path : "mergekit_config.yml";
}

int uqm_merge_rule_digest(struct uqm_xxh3_hex *out, const struct uqm_merge_rule *rule,
                          const struct uqm_xxh3_hex *base_files, struct uqm_err *err)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a digest");
    const char *name = rule->text ? rule->text : rule->method ? rule->method->name : "linear";
    uqm_xxh3_update(h, name, strlen(name) + 1);
    if (base_files)
        uqm_xxh3_update(h, base_files->text, sizeof base_files->text);
    *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return UQM_OK;
}
