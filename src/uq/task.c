#include "src/uq/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/json.h"

enum { MAX_TASKS_BYTES = 4 << 20 };

static int copy_text(struct uqm_task *task, const char **out, const char *text, const char *where,
                     struct uqm_err *err)
{
    *out = uqm_arena_strndup(&task->arena, text, strlen(text));
    return *out ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", where);
}

/* An optional text member replaces *out. */
static int read_text(struct uqm_task *task, const char **out, const json_t *object, const char *key,
                     const char *where, struct uqm_err *err)
{
    const char *text = NULL;
    int ret = uqm_json_string(&text, object, key, false, where, err);
    return ret < 0 || !text ? ret : copy_text(task, out, text, where, err);
}

static int read_choice_group(struct uqm_task *task, const json_t *group, const char *where,
                             struct uqm_err *err)
{
    uqm_task_choice(task);
    int ret = read_text(task, &task->suffix, group, "suffix", where, err);
    if (ret < 0)
        return ret;
    const json_t *extra = json_object_get(group, "extra_choices");
    if (!extra || json_is_null(extra))
        return UQM_OK;
    if (!json_is_array(extra) || json_array_size(extra) > UQM_MAX_EXTRA_CHOICES)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: \"extra_choices\" is no list of at most %d texts",
                        where, UQM_MAX_EXTRA_CHOICES);
    task->n_extra = 0;
    for (size_t i = 0; i < json_array_size(extra); i++) {
        const char *text = json_string_value(json_array_get(extra, i));
        if (!text)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: \"extra_choices\" holds something that is no "
                            "text",
                            where);
        if ((ret = copy_text(task, &task->extra[task->n_extra++], text, where, err)) < 0)
            return ret;
    }
    return UQM_OK;
}

static bool lists(const json_t *group, const char *name)
{
    const json_t *sets = json_object_get(group, "sets");
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const char *text = json_string_value(json_array_get(sets, i));
        if (text && !strcmp(text, name))
            return true;
    }
    return false;
}

/* "\nX | Y when choices is null": X stays the suffix, "\nY" is that of records without choices. */
static int part_suffix(struct uqm_task *task, const char *where, struct uqm_err *err)
{
    static const char or [] = " | ", when[] = " when choices is null";
    const char *bar = strstr(task->suffix, or);
    const size_t len = strlen(task->suffix), tail = strlen(when);
    task->open_suffix = task->suffix;
    if (!bar || len < tail || strcmp(task->suffix + len - tail, when) != 0 ||
        bar + strlen(or) > task->suffix + len - tail)
        return UQM_OK;
    const char *open = bar + strlen(or);
    task->open_suffix =
        uqm_arena_printf(&task->arena, "\n%.*s", (int) (task->suffix + len - tail - open), open);
    task->suffix = uqm_arena_strndup(&task->arena, task->suffix, (size_t) (bar - task->suffix));
    return task->suffix && task->open_suffix ? UQM_OK
                                             : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", where);
}

static int read_generation(struct uqm_task *task, const json_t *entry, const char *where,
                           struct uqm_err *err)
{
    task->kind = UQM_TASK_GENERATION;
    task->metric = "exact_match";
    task->suffix = "";
    int ret = read_text(task, &task->metric, entry, "metric", where, err);
    if (ret == UQM_OK)
        ret = read_text(task, &task->suffix, entry, "suffix", where, err);
    if (ret == UQM_OK)
        ret = uqm_json_u32(&task->max_new_tokens, entry, "max_new_tokens", false, where, err);
    if (ret < 0)
        return ret;
    task->score = uqm_metric_find(task->metric);
    struct uqm_printable p;
    if (task->score == UQM_N_METRICS)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: metric %s: no such metric; docs/metrics.md lists them", where,
                        uqm_printable(&p, task->metric, strlen(task->metric)));
    return part_suffix(task, where, err);
}

static int read_named(struct uqm_task *task, json_t *root, const json_t *entry, const char *set,
                      const char *where, struct uqm_err *err)
{
    if (json_is_object(entry))
        return read_generation(task, entry, where, err);
    const char *text = json_string_value(entry);
    if (!text || strncmp(text, "multiple choice", strlen("multiple choice")) != 0)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: \"%.64s\" is neither an object nor "
                        "\"multiple choice ...\"",
                        where, set);
    const char *key;
    json_t *group;
    json_object_foreach (root, key, group)
        if (json_is_array(json_object_get(group, "sets")))
            return read_choice_group(task, group, where, err);
    uqm_task_choice(task);
    return UQM_OK;
}

/* 1: the file names the set; 0: it does not. */
static int read_tasks(struct uqm_task *task, json_t *root, const char *set, const char *where,
                      struct uqm_err *err)
{
    const char *key;
    json_t *group;
    int ret = 0;
    json_object_foreach (root, key, group) {
        const json_t *entry = json_object_get(group, set);
        if (lists(group, set))
            ret = read_choice_group(task, group, where, err);
        else if (!json_object_get(group, "sets") && entry)
            ret = read_named(task, root, entry, set, where, err);
        else
            continue;
        if (ret == UQM_OK)
            ret = read_text(task, &task->system, root, "system", where, err);
        return ret < 0 ? ret : 1;
    }
    return 0;
}

/* As read_tasks(), for the nearest tasks.json; 0 where there is none. */
static int search_tasks(struct uqm_task *task, const struct uqm_dataset *set, struct uqm_err *err)
{
    char *dir = uqm_path_dir(set->path);
    char *real = dir ? realpath(dir, NULL) : NULL;
    free(dir);
    int ret = 0;
    bool found = false;
    while (real && !found) {
        char *path = uqm_path_join(real, "tasks.json");
        char *up = strcmp(real, "/") != 0 ? uqm_path_dir(real) : NULL;
        free(real);
        real = up;
        found = path && uqm_is_file(path);
        if (found) {
            json_t *root = uqm_json_load(path, MAX_TASKS_BYTES, err);
            ret = root ? read_tasks(task, root, set->name, path, err) : (int) err->code;
            json_decref(root);
        }
        free(path);
    }
    free(real);
    return ret;
}

static int read_name(struct uqm_task *task, const char *name, struct uqm_err *err)
{
    if (uqm_task_known(task, name))
        return UQM_OK;
    struct uqm_printable p;
    return uqm_fail(err, UQM_ERR_USAGE,
                    "--task %s: no such task; multiple-choice asks any set with choices, "
                    "short-answer any other",
                    uqm_printable(&p, name, strlen(name)));
}

static int check_records(const struct uqm_task *task, const struct uqm_dataset *set,
                         struct uqm_err *err)
{
    for (size_t i = 0; i < set->n_records; i++) {
        const struct uqm_record *r = &set->records[i];
        struct uqm_record_where where;
        if (r->n_choices == 0)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: it has no choices, but the set is multiple "
                            "choice",
                            uqm_record_where(&where, set, r));
        if (r->n_choices + task->n_extra > UQM_N_OPTIONS)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: %zu choices and %zu that every question gets "
                            "are more than the letters A to F",
                            uqm_record_where(&where, set, r), r->n_choices, task->n_extra);
    }
    return UQM_OK;
}

int uqm_task_find(struct uqm_task *out, const struct uqm_dataset *set, const char *name,
                  struct uqm_err *err)
{
    struct uqm_task named = { 0 };
    *out = (struct uqm_task){ 0 };
    /* A name that nobody knows is an error, too, where tasks.json decides. */
    int ret = name ? read_name(&named, name, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = search_tasks(out, set, err);
    if (ret < 0)
        return ret;
    if (ret == 0 && name) {
        uqm_task_known(out, name);
    } else if (ret == 0 && set->records[0].n_choices > 0) {
        uqm_task_choice(out);
    } else if (ret == 0) {
        uqm_task_known(out, "short-answer");
    }
    return out->kind == UQM_TASK_CHOICE ? check_records(out, set, err) : UQM_OK;
}

void uqm_task_finish(struct uqm_task *task)
{
    uqm_arena_finish(&task->arena);
    *task = (struct uqm_task){ 0 };
}
