#include "src/checkpoint/model_file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/archive/archive.h"
#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"

/* A path through an archive: the archive's, and the rest. archive NULL: there is none in it. */
struct split {
    char *archive;
    const char *inside; /* of the path that was split; "" for the archive itself */
};

/* The first of the path's leading parts that ends as an archive does and is a regular file. */
static struct split split(const char *path)
{
    const char *s = path;
    while ((s = strstr(s, UQM_ARCHIVE_SUFFIX))) {
        s += strlen(UQM_ARCHIVE_SUFFIX);
        if (*s != '/' && *s != '\0')
            continue;
        char *archive = strndup(path, (size_t) (s - path));
        if (archive && uqm_is_file(archive)) {
            while (*s == '/')
                s++;
            return (struct split){ archive, s };
        }
        free(archive);
    }
    return (struct split){ 0 };
}

/* An environment of its own, for one file that is read at once. */
static int open_archive(struct uqm_archive **out, struct uqm_env *env, const char *path,
                        bool index_only, struct uqm_err *err)
{
    const struct uqm_common common = { .n_threads = 1 };
    const struct uqm_archive_params params = { .path = path, .index_only = index_only };
    int ret = uqm_env_init(env, &common, err);
    return ret < 0 ? ret : uqm_archive_open(out, env, &params, err);
}

static int no_such_file(const char *path, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_IO, "%s: the archive holds no such file", path);
}

/* 1, 0, or a failure. */
static int find_inside(const char *archive_path, const char *inside, uint64_t *bytes,
                       struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_archive *archive = NULL;
    int ret = open_archive(&archive, &env, archive_path, true, err);
    if (ret == UQM_OK) {
        long i = uqm_archive_index_find(uqm_archive_index(archive), inside);
        ret = i >= 0;
        if (i >= 0 && bytes)
            *bytes = uqm_archive_index(archive)->files[i].n_bytes;
    }
    uqm_archive_close(&archive);
    return ret;
}

int uqm_find_model_file(const char *path, uint64_t *bytes, struct uqm_err *err)
{
    struct stat st;
    struct split s = split(path);
    int ret;
    if (s.archive && *s.inside) {
        ret = find_inside(s.archive, s.inside, bytes, err);
    } else {
        ret = uqm_find_file(path, err);
        if (ret > 0 && bytes)
            *bytes = stat(path, &st) == 0 ? (uint64_t) st.st_size : 0;
    }
    free(s.archive);
    return ret;
}

int uqm_find_own_file(const char *home, const char *name, struct uqm_err *err)
{
    struct stat st;
    char *path = uqm_path_join(home, name);
    if (!path)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s/%s: no memory", home, name);
    int ret = uqm_find_model_file(path, NULL, err);
    if (ret > 0 && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        int bad = uqm_checkpoint_check_link(home, path, err);
        ret = bad < 0 ? bad : ret;
    }
    free(path);
    return ret;
}

int uqm_read_model_file(char **out, size_t *len, const char *path, size_t max_bytes,
                        struct uqm_err *err)
{
    struct split s = split(path);
    struct uqm_env env;
    struct uqm_archive *archive = NULL;
    int ret;
    if (!s.archive || !*s.inside) {
        free(s.archive);
        return uqm_read_file(out, len, path, max_bytes, err);
    }
    ret = open_archive(&archive, &env, s.archive, false, err);
    if (ret == UQM_OK) {
        long i = uqm_archive_index_find(uqm_archive_index(archive), s.inside);
        ret = i < 0 ? no_such_file(path, err)
                    : uqm_archive_read_file(out, len, archive, (size_t) i, max_bytes, err);
    }
    uqm_archive_close(&archive);
    free(s.archive);
    return ret;
}

int uqm_model_file_open(struct uqm_file **out, struct uqm_env *env, const char *path,
                        struct uqm_err *err)
{
    struct split s = split(path);
    struct uqm_archive *archive = NULL;
    int ret;
    if (!s.archive || !*s.inside) {
        free(s.archive);
        return uqm_file_open(out, env, path, err);
    }
    const struct uqm_archive_params params = { .path = s.archive };
    ret = uqm_archive_open(&archive, env, &params, err);
    if (ret == UQM_OK) {
        long i = uqm_archive_index_find(uqm_archive_index(archive), s.inside);
        ret = i < 0 ? no_such_file(path, err) : uqm_archive_file(out, archive, (size_t) i, err);
    }
    uqm_archive_close(&archive); /* the file keeps it */
    free(s.archive);
    return ret;
}

/* --- listing --- */

static int no_memory(const char *home, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to list it", home);
}

static int add(struct uqm_model_files *files, size_t *cap, const char *name)
{
    if (files->n == *cap) {
        size_t more = *cap ? 2 * *cap : 32;
        char **names = realloc(files->names, more * sizeof *names);
        if (!names)
            return -1;
        files->names = names;
        *cap = more;
    }
    files->names[files->n] = strdup(name);
    if (!files->names[files->n])
        return -1;
    files->n++;
    return UQM_OK;
}

static int list_archive(struct uqm_model_files *out, const char *home, struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_archive *archive = NULL;
    size_t cap = 0;
    int ret = open_archive(&archive, &env, home, true, err);
    for (size_t i = 0; ret == UQM_OK && i < uqm_archive_index(archive)->n_files; i++) {
        const char *path = uqm_archive_index(archive)->files[i].path;
        if (!strchr(path, '/') && add(out, &cap, path) < 0)
            ret = no_memory(home, err);
    }
    uqm_archive_close(&archive);
    return ret;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_folder(struct uqm_model_files *out, const char *home, struct uqm_err *err)
{
    struct dirent **entries = NULL;
    size_t cap = 0;
    int n = scandir(home, &entries, NULL, by_name);
    int ret = n < 0 ? uqm_fail_errno(err, "%s", home) : UQM_OK;
    for (int i = 0; i < n; i++) {
        char *path = ret == UQM_OK ? uqm_path_join(home, entries[i]->d_name) : NULL;
        if (ret == UQM_OK &&
            (!path || (uqm_is_file(path) && add(out, &cap, entries[i]->d_name) < 0)))
            ret = no_memory(home, err);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return ret;
}

int uqm_model_files_list(struct uqm_model_files *out, const char *home, struct uqm_err *err)
{
    *out = (struct uqm_model_files){ 0 };
    int ret = uqm_archive_is_name(home) && uqm_is_file(home) ? list_archive(out, home, err)
                                                             : list_folder(out, home, err);
    if (ret < 0)
        uqm_model_files_free(out);
    return ret;
}

void uqm_model_files_free(struct uqm_model_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->names[i]);
    free(files->names);
    *files = (struct uqm_model_files){ 0 };
}
