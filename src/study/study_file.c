#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/nearest.h"
#include "src/format/yaml.h"
#include "src/study/study.h"

const char *const uqm_study_role_names[UQM_N_ROLES] = { "held-in", "held-out", "validation" };
const char *const uqm_study_table_names[UQM_N_STUDY_TABLES] = { "f1",  "t1",  "t2",  "t3",  "t4",
                                                                "t5",  "t6",  "t7",  "t8",  "t9",
                                                                "t10", "t11", "t12", "t13", "t14" };

enum { MAX_TEXT = 4000, MAX_NAME = 120 };

struct reader {
    struct uqm_study *s;
    char *dir; /* the file's folder */
    struct uqm_err *err;
};

__attribute__((format(printf, 3, 4))) static int fail_at(struct reader *r, int line,
                                                         const char *fmt, ...)
{
    char what[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return uqm_fail(r->err, UQM_ERR_FORMAT, "%s:%d: %s", r->s->path, line, what);
}

static int no_memory(struct reader *r)
{
    return uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for the study", r->s->path);
}

static int check_keys(struct reader *r, const struct uqm_yaml_node *map, const char *what,
                      const char *const *names, size_t n)
{
    if (map->kind != UQM_YAML_MAPPING)
        return fail_at(r, map->line, "%s: a mapping belongs here", what);
    for (size_t i = 0; i < map->n; i++) {
        const char *key = map->keys[i]->text;
        size_t k = 0;
        while (k < n && strcmp(names[k], key) != 0)
            k++;
        if (k < n)
            continue;
        const char *near = uqm_nearest(key, names, n);
        struct uqm_printable shown;
        return fail_at(r, map->keys[i]->line, "%s: unknown key %s%s%s%s", what,
                       uqm_printable(&shown, key, strlen(key)), near ? "; did you mean " : "",
                       near ? near : "", near ? "?" : "");
    }
    return UQM_OK;
}

/* --- scalars --- */

static int read_text(const char **out, struct reader *r, const struct uqm_yaml_node *node,
                     const char *what)
{
    if (node->kind != UQM_YAML_SCALAR || node->text[0] == '\0')
        return fail_at(r, node->line, "%s: a text belongs here", what);
    if (strlen(node->text) > MAX_TEXT)
        return fail_at(r, node->line, "%s: %zu bytes; %d are the most", what, strlen(node->text),
                       MAX_TEXT);
    *out = uqm_arena_strndup(&r->s->arena, node->text, strlen(node->text));
    return *out ? UQM_OK : no_memory(r);
}

/* A path, from the study's folder. */
static int read_path(const char **out, struct reader *r, const struct uqm_yaml_node *node,
                     const char *what)
{
    int ret = read_text(out, r, node, what);
    if (ret < 0)
        return ret;
    char *path = uqm_path_join(strcmp(r->dir, ".") != 0 ? r->dir : NULL, *out);
    *out = path ? uqm_arena_strndup(&r->s->arena, path, strlen(path)) : NULL;
    free(path);
    return *out ? UQM_OK : no_memory(r);
}

static int read_number(double *out, struct reader *r, const struct uqm_yaml_node *node,
                       const char *what, double least, double most)
{
    if (node->kind != UQM_YAML_SCALAR || !uqm_yaml_double(out, node) || !isfinite(*out))
        return fail_at(r, node->line, "%s: a number belongs here", what);
    if (*out < least || *out > most)
        return fail_at(r, node->line, "%s: %g is not within %g to %g", what, *out, least, most);
    return UQM_OK;
}

/* Whole numbers that a double holds exactly. */
static int read_whole(uint64_t *out, struct reader *r, const struct uqm_yaml_node *node,
                      const char *what, double least, double most)
{
    double v;
    int ret = read_number(&v, r, node, what, least, most);
    if (ret == UQM_OK && v != floor(v))
        ret = fail_at(r, node->line, "%s: %g is no whole number", what, v);
    *out = ret == UQM_OK ? (uint64_t) v : 0;
    return ret;
}

/* "0.2" is a share, "100" a number of records, as --samples has it. */
static int read_sample(struct uqm_study_sample *out, struct reader *r,
                       const struct uqm_yaml_node *node, const char *what)
{
    if (node->kind == UQM_YAML_SCALAR && !strpbrk(node->text, ".eE"))
        return read_whole(&out->count, r, node, what, 1, 1e15);
    int ret = read_number(&out->ratio, r, node, what, 0, 1);
    if (ret == UQM_OK && !(out->ratio > 0))
        ret = fail_at(r, node->line, "%s: nothing is left of 0", what);
    return ret;
}

static int check_list(struct reader *r, const struct uqm_yaml_node *node, const char *what,
                      size_t most)
{
    if (node->kind != UQM_YAML_SEQUENCE || node->n == 0)
        return fail_at(r, node->line, "%s: a list belongs here", what);
    if (node->n > most)
        return fail_at(r, node->line, "%s: %zu entries; %zu are the most", what, node->n, most);
    return UQM_OK;
}

/* --- models and sets --- */

/* Names head columns and stand in messages. */
static int check_name(struct reader *r, const char *name, int line)
{
    struct uqm_printable shown;
    const bool clean =
        !strcmp(uqm_printable(&shown, name, strlen(name)), name) && strlen(name) <= MAX_NAME;
    return clean ? UQM_OK
                 : fail_at(r, line,
                           "name %s: at most %d bytes, without control bytes, quotes and "
                           "backslashes; give it another with `name:`",
                           uqm_printable(&shown, name, strlen(name)), MAX_NAME);
}

/* The last part of a path, without .jsonl and the like where `ending` says so. */
static const char *name_of(struct reader *r, const char *path, bool ending)
{
    char *base = uqm_path_base(path);
    char *dot = base && ending ? strrchr(base, '.') : NULL;
    if (dot && dot != base)
        *dot = '\0';
    const char *name = base ? uqm_arena_strndup(&r->s->arena, base, strlen(base)) : NULL;
    free(base);
    return name;
}

static int read_model(struct uqm_study_model *out, struct reader *r,
                      const struct uqm_yaml_node *node, const char *what)
{
    static const char *const keys[] = { "name", "path" };
    const struct uqm_yaml_node *path = node, *name = NULL;
    int ret = UQM_OK;
    out->line = node->line;
    if (node->kind == UQM_YAML_MAPPING) {
        if ((ret = check_keys(r, node, what, keys, 2)) < 0)
            return ret;
        path = uqm_yaml_get(node, "path");
        name = uqm_yaml_get(node, "name");
        if (!path)
            return fail_at(r, node->line, "%s: key path is missing", what);
    }
    if ((ret = read_path(&out->path, r, path, what)) < 0)
        return ret;
    const char *dot = strrchr(out->path, '.');
    if (dot && (!strcmp(dot, ".yml") || !strcmp(dot, ".yaml")))
        return fail_at(r, path->line,
                       "%s: %s is a recipe, and a study is of checkpoints; write it with `merge` "
                       "first",
                       what, out->path);
    if (name)
        return read_text(&out->name, r, name, "name");
    out->name = name_of(r, out->path, false);
    return out->name ? UQM_OK : no_memory(r);
}

static int read_models(struct reader *r, const struct uqm_yaml_node *node)
{
    struct uqm_study *s = r->s;
    int ret = check_list(r, node, "models", UQM_STUDY_MAX_MODELS);
    for (size_t i = 0; i < node->n && ret == UQM_OK; i++) {
        struct uqm_study_model *m = &s->models[i];
        ret = read_model(m, r, node->items[i], "models");
        if (ret == UQM_OK)
            ret = check_name(r, m->name, m->line);
        for (size_t k = 0; k < i && ret == UQM_OK; k++)
            if (!strcmp(s->models[k].name, m->name))
                ret = fail_at(r, m->line, "models: two are called %s; give one another name",
                              m->name);
            else if (!strcmp(s->models[k].path, m->path))
                ret = fail_at(r, m->line,
                              "models: %s and %s are one folder, and no merge takes "
                              "one twice",
                              s->models[k].name, m->name);
        s->n_models = i + 1;
    }
    return ret;
}

static int read_set(struct uqm_study_set *out, struct reader *r, const struct uqm_yaml_node *node,
                    enum uqm_study_role role)
{
    static const char *const keys[] = { "name", "file", "task" };
    const char *what = uqm_study_role_names[role];
    const struct uqm_yaml_node *path = node, *name = NULL, *task = NULL;
    int ret;
    out->role = role;
    out->line = node->line;
    if (node->kind == UQM_YAML_MAPPING) {
        if ((ret = check_keys(r, node, what, keys, 3)) < 0)
            return ret;
        path = uqm_yaml_get(node, "file");
        name = uqm_yaml_get(node, "name");
        task = uqm_yaml_get(node, "task");
        if (!path)
            return fail_at(r, node->line, "%s: key file is missing", what);
    }
    if ((ret = read_path(&out->path, r, path, what)) < 0 ||
        (task && (ret = read_text(&out->task, r, task, "task")) < 0))
        return ret;
    if (name)
        return read_text(&out->name, r, name, "name");
    out->name = name_of(r, out->path, true);
    return out->name ? UQM_OK : no_memory(r);
}

static bool ends_as_error(const char *name)
{
    const size_t n = strlen(name);
    return !strcmp(name, "sd") || !strcmp(name, "se") ||
           (n > 3 && (!strcmp(name + n - 3, ".sd") || !strcmp(name + n - 3, ".se")));
}

/* Sets are asked for as NAME=FILE; in tables a name with ".sd" is that of its standard deviation.
 */
static int check_set_name(struct reader *r, const char *name, int line)
{
    int ret = check_name(r, name, line);
    if (ret == UQM_OK && strpbrk(name, "=/"))
        ret = fail_at(r, line, "name %s: without = and /; give it another with `name:`", name);
    if (ret == UQM_OK && ends_as_error(name))
        ret = fail_at(r, line,
                      "name %s: in tables it is the column of an error (.sd, .se); give it another "
                      "with `name:`",
                      name);
    return ret;
}

static int read_role(struct reader *r, const struct uqm_yaml_node *node, enum uqm_study_role role)
{
    struct uqm_study *s = r->s;
    int ret = check_list(r, node, uqm_study_role_names[role], UQM_STUDY_MAX_SETS - s->n_sets);
    for (size_t i = 0; i < node->n && ret == UQM_OK; i++) {
        struct uqm_study_set *set = &s->sets[s->n_sets];
        ret = read_set(set, r, node->items[i], role);
        if (ret == UQM_OK)
            ret = check_set_name(r, set->name, set->line);
        for (size_t k = 0; k < s->n_sets && ret == UQM_OK; k++)
            if (!strcmp(s->sets[k].name, set->name))
                ret = fail_at(r, set->line,
                              "%s: two data sets are called %s; random streams are "
                              "named by it",
                              uqm_study_role_names[role], set->name);
        s->n_sets++;
        s->n_of_role[role]++;
    }
    return ret;
}

static int read_data(struct reader *r, const struct uqm_yaml_node *node)
{
    int ret = check_keys(r, node, "data", uqm_study_role_names, UQM_N_ROLES);
    for (int role = 0; role < UQM_N_ROLES && ret == UQM_OK; role++) {
        const struct uqm_yaml_node *list = uqm_yaml_get(node, uqm_study_role_names[role]);
        if (list)
            ret = read_role(r, list, (enum uqm_study_role) role);
    }
    if (ret == UQM_OK && r->s->n_of_role[UQM_HELD_IN] == 0)
        ret = fail_at(r, node->line, "data: key held-in is missing: uncertainty is measured there");
    return ret;
}

/* --- methods --- */

static int set_method(struct uqm_study_method *out, struct reader *r, const char *name, int line)
{
    out->info = uqm_method_find(name);
    if (out->info && out->info->most > 2)
        return UQM_OK;
    if (out->info)
        return fail_at(r, line, "methods: %s merges %zu model%s; a study merges any number", name,
                       out->info->most, out->info->most == 1 ? "" : "s");
    struct uqm_printable shown;
    const char *near = uqm_nearest(name, uqm_method_names, UQM_N_METHODS);
    return fail_at(r, line, "methods: no method is called %s%s%s%s",
                   uqm_printable(&shown, name, strlen(name)), near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
}

static int read_params(struct uqm_study_method *out, struct reader *r,
                       const struct uqm_yaml_node *node)
{
    if (node->kind != UQM_YAML_MAPPING)
        return fail_at(r, node->line, "parameters: a mapping belongs here");
    for (size_t i = 0; i < node->n; i++) {
        const char *key = node->keys[i]->text;
        const struct uqm_yaml_node *v = node->items[i];
        struct uqm_study_param *p = &out->params[out->n_params++];
        struct uqm_printable shown;
        bool yes = false;
        p->info = uqm_method_param(out->info, key);
        if (!p->info)
            return fail_at(r, node->keys[i]->line, "parameters: method %s has no parameter %s",
                           out->info->name, uqm_printable(&shown, key, strlen(key)));
        if (v->kind == UQM_YAML_SCALAR && p->info->type == UQM_PARAM_BOOL) {
            if (!uqm_yaml_bool(&yes, v))
                return fail_at(r, v->line, "%s: true or false belongs here", p->info->name);
            p->value = yes;
        } else if (v->kind != UQM_YAML_SCALAR || !uqm_yaml_double(&p->value, v) ||
                   !isfinite(p->value)) {
            return fail_at(r, v->line, "%s: one number belongs here", p->info->name);
        }
    }
    return UQM_OK;
}

static int read_method(struct uqm_study_method *out, struct reader *r,
                       const struct uqm_yaml_node *node)
{
    static const char *const keys[] = { "name", "method", "parameters" };
    const char *method = NULL;
    int ret;
    if (node->kind != UQM_YAML_MAPPING) {
        if ((ret = read_text(&out->name, r, node, "methods")) < 0)
            return ret;
        return set_method(out, r, out->name, node->line);
    }
    if ((ret = check_keys(r, node, "methods", keys, 3)) < 0)
        return ret;
    const struct uqm_yaml_node *m = uqm_yaml_get(node, "method"),
                               *name = uqm_yaml_get(node, "name"),
                               *params = uqm_yaml_get(node, "parameters");
    if (!m)
        return fail_at(r, node->line, "methods: key method is missing");
    if ((ret = read_text(&method, r, m, "method")) < 0 ||
        (ret = set_method(out, r, method, m->line)) < 0)
        return ret;
    out->name = method;
    if (name && (ret = read_text(&out->name, r, name, "name")) < 0)
        return ret;
    return params ? read_params(out, r, params) : UQM_OK;
}

static int read_methods(struct reader *r, const struct uqm_yaml_node *node)
{
    struct uqm_study *s = r->s;
    int ret = check_list(r, node, "methods", UQM_STUDY_MAX_METHODS);
    for (size_t i = 0; i < node->n && ret == UQM_OK; i++) {
        ret = read_method(&s->methods[i], r, node->items[i]);
        if (ret == UQM_OK)
            ret = check_name(r, s->methods[i].name, node->items[i]->line);
        for (size_t k = 0; k < i && ret == UQM_OK; k++)
            if (!strcmp(s->methods[k].name, s->methods[i].name))
                ret = fail_at(r, node->items[i]->line,
                              "methods: two are called %s; give one another name",
                              s->methods[i].name);
        s->n_methods = i + 1;
    }
    return ret;
}

/* The paper's six, with mergekit's defaults. */
static void default_methods(struct uqm_study *s)
{
    static const enum uqm_method_id ids[] = { UQM_METHOD_DARE_TIES,       UQM_METHOD_DELLA,
                                              UQM_METHOD_LINEAR,          UQM_METHOD_TIES,
                                              UQM_METHOD_TASK_ARITHMETIC, UQM_METHOD_MODEL_STOCK };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const struct uqm_method_info *info = uqm_method_of(ids[i]);
        s->methods[s->n_methods++] = (struct uqm_study_method){ .name = info->name, .info = info };
    }
}

/* --- the rest --- */

static int read_seeds(struct reader *r, const struct uqm_yaml_node *node)
{
    int ret = check_list(r, node, "seeds", UQM_STUDY_MAX_SEEDS);
    r->s->n_seeds = 0;
    for (size_t i = 0; i < node->n && ret == UQM_OK; i++) {
        ret = read_whole(&r->s->seeds[i], r, node->items[i], "seeds", 0, 9007199254740992.0);
        for (size_t k = 0; k < i && ret == UQM_OK; k++)
            if (r->s->seeds[k] == r->s->seeds[i])
                ret = fail_at(r, node->items[i]->line, "seeds: %llu stands there twice",
                              (unsigned long long) r->s->seeds[i]);
        r->s->n_seeds = i + 1;
    }
    return ret;
}

static int read_ratios(struct reader *r, const struct uqm_yaml_node *node)
{
    int ret = check_list(r, node, "ratios", UQM_STUDY_MAX_RATIOS);
    r->s->n_ratios = 0;
    for (size_t i = 0; i < node->n && ret == UQM_OK; i++) {
        double *v = &r->s->ratios[i];
        ret = read_number(v, r, node->items[i], "ratios", 0, 1);
        if (ret == UQM_OK && (!(*v > (i ? v[-1] : 0)) || *v >= 1))
            ret = fail_at(r, node->items[i]->line,
                          "ratios: shares between 0 and 1, rising; all "
                          "records are measured anyway");
        r->s->n_ratios = i + 1;
    }
    return ret;
}

int uqm_study_table_find(const char *name)
{
    for (int i = 0; i < UQM_N_STUDY_TABLES; i++)
        if (!strcmp(name, uqm_study_table_names[i]))
            return i;
    return -1;
}

static int read_tables(struct reader *r, const struct uqm_yaml_node *node)
{
    int ret = check_list(r, node, "tables", UQM_N_STUDY_TABLES);
    r->s->tables = 0;
    r->s->tables_by_name = true;
    for (size_t i = 0; i < node->n && ret == UQM_OK; i++) {
        const char *name = NULL;
        if ((ret = read_text(&name, r, node->items[i], "tables")) < 0)
            return ret;
        const int at = uqm_study_table_find(name);
        struct uqm_printable shown;
        if (at < 0)
            return fail_at(r, node->items[i]->line, "tables: no table is called %s; f1, t1 to t14",
                           uqm_printable(&shown, name, strlen(name)));
        r->s->tables |= (uint64_t) 1 << at;
    }
    return ret;
}

static int read_tokens(struct reader *r, const struct uqm_yaml_node *node)
{
    uint64_t n = 0;
    if (node->kind == UQM_YAML_SCALAR && !strcmp(node->text, "task")) {
        r->s->max_new_tokens = UQM_TASK_TOKENS;
        return UQM_OK;
    }
    int ret = read_whole(&n, r, node, "max_new_tokens", 1, UQM_MOST_TOKENS);
    r->s->max_new_tokens = (int) n;
    return ret;
}

static int read_settings(struct reader *r, const struct uqm_yaml_node *root)
{
    struct uqm_study *s = r->s;
    const struct uqm_yaml_node *v;
    uint64_t whole;
    int ret = UQM_OK;
    if ((v = uqm_yaml_get(root, "name")) && (ret = read_text(&s->name, r, v, "name")) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "vision_tower")) &&
        (ret = read_path(&s->vision_tower, r, v, "vision_tower")) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "seeds")) && (ret = read_seeds(r, v)) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "repeats"))) {
        if ((ret = read_whole(&whole, r, v, "repeats", 1, 1024)) < 0)
            return ret;
        s->repeats = (uint32_t) whole;
    }
    if ((v = uqm_yaml_get(root, "subsets"))) {
        if ((ret = read_whole(&whole, r, v, "subsets", 1, UQM_STUDY_MAX_SUBSETS)) < 0)
            return ret;
        s->n_subsets = (size_t) whole;
    }
    if ((v = uqm_yaml_get(root, "window"))) {
        if ((ret = read_whole(&whole, r, v, "window", 1, UQM_STUDY_MAX_MODELS)) < 0)
            return ret;
        s->window = (size_t) whole;
    }
    if ((v = uqm_yaml_get(root, "dropout")) &&
        (ret = read_number(&s->dropout, r, v, "dropout", 0, 0.999)) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "samples")) &&
        (ret = read_sample(&s->samples, r, v, "samples")) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "eval_samples")) &&
        (ret = read_sample(&s->eval_samples, r, v, "eval_samples")) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "ratios")) && (ret = read_ratios(r, v)) < 0)
        return ret;
    if ((v = uqm_yaml_get(root, "max_new_tokens")) && (ret = read_tokens(r, v)) < 0)
        return ret;
    return (v = uqm_yaml_get(root, "tables")) ? read_tables(r, v) : UQM_OK;
}

static int read_root(struct reader *r, const struct uqm_yaml_node *root)
{
    static const char *const keys[] = { "name",    "base",         "models",         "vision_tower",
                                        "data",    "seeds",        "repeats",        "dropout",
                                        "samples", "eval_samples", "max_new_tokens", "methods",
                                        "ratios",  "subsets",      "window",         "tables" };
    static const char *const needed[] = { "models", "data" };
    struct uqm_study *s = r->s;
    const struct uqm_yaml_node *base, *methods;
    int ret = check_keys(r, root, "study", keys, sizeof keys / sizeof *keys);
    for (size_t i = 0; i < 2 && ret == UQM_OK; i++)
        if (!uqm_yaml_get(root, needed[i]))
            ret = fail_at(r, root->line, "study: key %s is missing", needed[i]);
    if (ret < 0 || (ret = read_models(r, uqm_yaml_get(root, "models"))) < 0 ||
        (ret = read_data(r, uqm_yaml_get(root, "data"))) < 0)
        return ret;
    if ((base = uqm_yaml_get(root, "base"))) {
        s->has_base = true;
        if ((ret = read_model(&s->base, r, base, "base")) < 0)
            return ret;
    }
    if ((methods = uqm_yaml_get(root, "methods")))
        ret = read_methods(r, methods);
    else
        default_methods(s);
    return ret < 0 ? ret : read_settings(r, root);
}

int uqm_study_parse(struct uqm_study *out, const char *text, size_t len, const char *path,
                    struct uqm_err *err)
{
    static const double ratios[] = { 0.05, 0.1, 0.2, 0.3 };
    struct reader r = { .s = out, .err = err };
    struct uqm_xxh3 *h = uqm_xxh3_create();
    const struct uqm_yaml_node *root = NULL;

    *out = (struct uqm_study){ .n_seeds = 3,
                               .seeds = { 0, 1, 2 },
                               .repeats = 4,
                               .dropout = 0.1,
                               .n_subsets = 3,
                               .window = 1,
                               .n_ratios = 4,
                               .max_new_tokens = 15,
                               .tables = ((uint64_t) 1 << UQM_N_STUDY_TABLES) - 1 };
    memcpy(out->ratios, ratios, sizeof ratios);
    out->path = uqm_arena_strndup(&out->arena, path, strlen(path));
    r.dir = uqm_path_dir(path);
    if (h && out->path && r.dir)
        out->name = name_of(&r, path, true);
    int ret = out->name ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    if (ret == UQM_OK) {
        uqm_xxh3_update(h, text, len);
        out->digest = uqm_xxh3_hex(h);
        ret = uqm_yaml_parse(&root, &out->arena, text, len, path, err);
    }
    if (ret == UQM_OK)
        ret = read_root(&r, root);
    uqm_xxh3_destroy(&h);
    free(r.dir);
    return ret;
}

int uqm_study_read(struct uqm_study *out, const char *path, struct uqm_err *err)
{
    char *text = NULL;
    size_t len;
    *out = (struct uqm_study){ 0 };
    int ret = uqm_read_file(&text, &len, path, UQM_YAML_MAX_BYTES, err);
    if (ret == UQM_OK)
        ret = uqm_study_parse(out, text, len, path, err);
    free(text);
    return ret;
}

void uqm_study_finish(struct uqm_study *study)
{
    uqm_arena_finish(&study->arena);
    *study = (struct uqm_study){ 0 };
}
