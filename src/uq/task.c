#include "src/uq/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/json.h"

enum { MAX_TASKS_BYTES = 4 << 20 };

static const char choice_suffix[] =
    "\nAnswer with the option's letter from the given choices directly.";

/* --task: the names of spec uq.md 5 and 6. */
static const struct {
    const char *name;
    enum uqm_task_kind kind;
} known_tasks[] = {
    { "multiple-choice", UQM_TASK_CHOICE },
    { "mmbench", UQM_TASK_CHOICE },
    { "oodcv", UQM_TASK_CHOICE },
    { "scienceqa", UQM_TASK_CHOICE },
    { "seedbench", UQM_TASK_CHOICE },
    { "ai2d", UQM_TASK_CHOICE },
    { "okvqa", UQM_TASK_GENERATION },
    { "textvqa", UQM_TASK_GENERATION },
    { "vizwiz", UQM_TASK_GENERATION },
    { "vqav2", UQM_TASK_GENERATION },
    { "gqa", UQM_TASK_GENERATION },
    { "pope", UQM_TASK_GENERATION },
    { "mmmu", UQM_TASK_GENERATION },
    { "realworldqa", UQM_TASK_GENERATION },
    { "seedbench-2-plus", UQM_TASK_GENERATION },
    { "ocrbench", UQM_TASK_GENERATION },
};

static void set_choice_defaults(struct uqm_task *task)
{
    task->kind = UQM_TASK_CHOICE;
    task->metric = "accuracy";
    task->suffix = choice_suffix;
    task->extra[0] = "I don't know";
    task->extra[1] = "None of the above";
    task->n_extra = 2;
}

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
    set_choice_defaults(task);
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

static int read_named(struct uqm_task *task, json_t *root, const json_t *entry, const char *set,
                      const char *where, struct uqm_err *err)
{
    if (json_is_object(entry)) {
        task->kind = UQM_TASK_GENERATION;
        task->metric = "exact_match";
        return read_text(task, &task->metric, entry, "metric", where, err);
    }
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
    set_choice_defaults(task);
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
    for (size_t i = 0; i < sizeof known_tasks / sizeof *known_tasks; i++) {
        if (strcmp(known_tasks[i].name, name) != 0)
            continue;
        if (known_tasks[i].kind == UQM_TASK_CHOICE) {
            set_choice_defaults(task);
        } else {
            task->kind = UQM_TASK_GENERATION;
            task->metric = known_tasks[i].name;
        }
        return UQM_OK;
    }
    struct uqm_printable p;
    return uqm_fail(err, UQM_ERR_ARG,
                    "--task %s: no such task; multiple-choice asks any set with "
                    "choices",
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
    *out = (struct uqm_task){ 0 };
    int ret = search_tasks(out, set, err);
    if (ret < 0)
        return ret;
    if (ret == 0 && name) {
        if ((ret = read_name(out, name, err)) < 0)
            return ret;
    } else if (ret == 0 && set->records[0].n_choices > 0) {
        set_choice_defaults(out);
    } else if (ret == 0) {
        out->kind = UQM_TASK_GENERATION;
        out->metric = "exact_match";
    }
    return out->kind == UQM_TASK_CHOICE ? check_records(out, set, err) : UQM_OK;
}

void uqm_task_finish(struct uqm_task *task)
{
    uqm_arena_finish(&task->arena);
    *task = (struct uqm_task){ 0 };
}
