/* What models and data sets are, by content: paths and times only tell whether a digest that is
 * known still holds. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/checkpoint/inspect.h"
#include "src/format/json.h"
#include "src/study/study_digest.h"
#include "src/uq/task.h"

enum { CHUNK = 1 << 18, SMALL_FILE = 1 << 26 };

static void add_text(struct uqm_xxh3 *h, const char *text)
{
    uqm_xxh3_update(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static int add_file(struct uqm_xxh3 *h, const char *path, struct uqm_err *err)
{
    static _Thread_local _Alignas(64) uint8_t buf[CHUNK];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return uqm_fail_errno(err, "%s", path);
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        uqm_xxh3_update(h, buf, (size_t) n);
    int ret = n < 0 ? uqm_fail_errno(err, "%s", path) : UQM_OK;
    close(fd);
    return ret;
}

/* --- models --- */

static bool has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && !strcmp(name + n - m, ending);
}

/* Configs, tokenizer, chat template; weights are digested by what their tensors hold. */
static bool is_small(const char *name)
{
    static const char *const endings[] = { ".json", ".model", ".txt", ".jinja" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (has_ending(name, endings[i]))
            return !has_ending(name, ".index.json") && strncmp(name, "uqmerge.", 8) != 0;
    return false;
}

/* {"kind": "files", "path", "files": [[name, size, inode, time of the contents, of the inode]...]},
 * times in seconds and nanoseconds: as long as these hold, nothing is read again. Times of contents
 * alone can be set back, and are by whatever copies a file with them. */
static json_t *files_key(const char *real, struct dirent **names, int n)
{
    json_t *files = json_array();
    for (int i = 0; files && i < n; i++) {
        struct stat st;
        char *path = uqm_path_join(real, names[i]->d_name);
        if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode))
            json_array_append_new(
                files, json_pack("[o, I, I, I, I, I, I]", uqm_inspect_text(names[i]->d_name),
                                 (json_int_t) st.st_size, (json_int_t) st.st_ino,
                                 (json_int_t) st.st_mtim.tv_sec, (json_int_t) st.st_mtim.tv_nsec,
                                 (json_int_t) st.st_ctim.tv_sec, (json_int_t) st.st_ctim.tv_nsec));
        free(path);
    }
    return json_pack("{s:s, s:o, s:o}", "kind", "files", "path", uqm_inspect_text(real), "files",
                     files);
}

static int add_parts(struct uqm_xxh3 *h, const struct uqm_common *common, const char *path,
                     struct uqm_err *err)
{
    static const char *const parts[] = { "vision", "adapter", "language", "other" };
    const struct uqm_inspect_params params = { .common = *common, .path = path };
    char *text = NULL;
    int ret = uqm_inspect(&text, &params, err);
    if (ret < 0)
        return ret;
    json_t *root = uqm_json_parse(text, strlen(text), path, false, err);
    free(text);
    if (!root)
        return (int) err->code;
    add_text(h, json_string_value(json_object_get(root, "layout")));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_text(h, json_string_value(json_object_get(
                        json_object_get(json_object_get(root, "parts"), parts[i]), "digest")));
    json_decref(root);
    return UQM_OK;
}

static int digest_folder(struct uqm_xxh3_hex *out, const struct uqm_common *common,
                         const char *real, struct dirent **names, int n, struct uqm_err *err)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    int ret = h ? add_parts(h, common, real, err) : uqm_fail(err, UQM_ERR_NOMEM, "%s", real);
    for (int i = 0; i < n && ret == UQM_OK; i++) {
        char *path = uqm_path_join(real, names[i]->d_name);
        if (path && is_small(names[i]->d_name) && uqm_is_file(path)) {
            add_text(h, names[i]->d_name);
            ret = add_file(h, path, err);
        } else if (!path) {
            ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", real);
        }
        free(path);
    }
    if (ret == UQM_OK)
        *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return ret;
}

int uqm_study_model_digest(struct uqm_xxh3_hex *out, const struct uqm_common *common,
                           struct uqm_study_cache *cache, bool keep, const char *path,
                           struct uqm_err *err)
{
    struct dirent **names = NULL;
    char *real = realpath(path, NULL);
    if (!real)
        return uqm_fail_errno(err, "%s", path);
    int n = scandir(real, &names, NULL, alphasort), ret = UQM_OK;
    if (n < 0) {
        ret = uqm_fail_errno(err, "%s: a study's models are checkpoint folders", path);
        free(real);
        return ret;
    }
    json_t *key = files_key(real, names, n);
    const char *known = json_string_value(key ? uqm_study_cache_get(cache, key) : NULL);
    if (!key) {
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    } else if (known && strlen(known) == sizeof out->text - 1) {
        memcpy(out->text, known, sizeof out->text);
    } else {
        ret = digest_folder(out, common, real, names, n, err);
        json_t *value = ret == UQM_OK ? json_string(out->text) : NULL;
        if (value && keep)
            ret = uqm_study_cache_put(cache, key, value, err);
        json_decref(value);
    }
    json_decref(key);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(real);
    return ret;
}

/* --- data --- */

static void add_task(struct uqm_xxh3 *h, const struct uqm_task *task)
{
    char numbers[96];
    snprintf(numbers, sizeof numbers, "%d %d %u", (int) task->kind, (int) task->form,
             (unsigned) task->max_new_tokens);
    add_text(h, numbers);
    add_text(h, task->metric);
    add_text(h, task->suffix);
    add_text(h, task->open_suffix);
    add_text(h, task->hint_label);
    if (task->picture_choices)
        add_text(h, "picture choices");
    for (size_t i = 0; i < task->n_extra; i++)
        add_text(h, task->extra[i]);
    add_text(h, task->system);
}

/* Ids name random streams; pictures count by their bytes. A picture that cannot be read is skipped
 * by the measurement too. */
static void add_records(struct uqm_xxh3 *h, const struct uqm_dataset *set)
{
    const char *last = "";
    for (size_t i = 0; i < set->n_records; i++) {
        const struct uqm_record *r = &set->records[i];
        struct uqm_err ignored = { 0 };
        add_text(h, r->id);
        for (size_t k = 0; k < uqm_record_n_images(r); k++) {
            const char *image = uqm_record_image(r, k);
            if (!strcmp(image, last))
                continue;
            if (add_file(h, image, &ignored) < 0)
                add_text(h, "unreadable");
            last = image;
        }
    }
}

int uqm_study_set_digest(struct uqm_study_set_info *out, struct uqm_env *env,
                         const struct uqm_study_set *set, struct uqm_err *err)
{
    struct uqm_dataset data = { 0 };
    struct uqm_task task = { 0 };
    struct uqm_xxh3 *h = uqm_xxh3_create();
    char *arg = NULL;
    int ret = h && asprintf(&arg, "%s=%s", set->name, set->path) >= 0
                  ? UQM_OK
                  : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", set->path);
    if (ret == UQM_OK)
        ret = uqm_dataset_load(&data, env, arg, err);
    if (ret == UQM_OK)
        ret = uqm_task_find(&task, &data, set->task, err);
    if (ret == UQM_OK) {
        add_text(h, set->name);
        add_text(h, data.digest.text);
        add_task(h, &task);
        add_records(h, &data);
        *out = (struct uqm_study_set_info){ .digest = uqm_xxh3_hex(h),
                                            .n_records = data.n_records,
                                            .choice = task.kind == UQM_TASK_CHOICE };
    }
    uqm_task_finish(&task);
    uqm_dataset_finish(&data);
    uqm_xxh3_destroy(&h);
    free(arg);
    return ret;
}
