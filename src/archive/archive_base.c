#include "src/archive/archive_base.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"

static int no_memory(const char *path, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its base", path);
}

static bool exists(const char *path)
{
    return uqm_is_dir(path) || uqm_is_file(path);
}

/* Where the base is: named by the user, or as it was recorded. */
static int find(char **out, const struct uqm_archive_params *params, const char *recorded,
                struct uqm_err *err)
{
    char *dir = uqm_path_dir(params->path), *name = uqm_path_base(recorded);
    char *tries[3] = { strdup(params->base ? params->base : recorded) };
    size_t n = 1;
    if (!params->base) {
        tries[1] = dir ? uqm_path_join(dir, recorded) : NULL;
        tries[2] = dir && name ? uqm_path_join(dir, name) : NULL;
        n = 3;
    }
    *out = NULL;
    bool whole = true;
    for (size_t i = 0; i < n; i++) {
        whole = whole && tries[i];
        if (whole && !*out && exists(tries[i]))
            *out = tries[i];
        else
            free(tries[i]);
    }
    free(dir);
    free(name);
    struct uqm_printable shown;
    if (!whole) {
        free(*out);
        return no_memory(params->path, err);
    }
    if (*out)
        return UQM_OK;
    if (params->base)
        return uqm_fail(err, UQM_ERR_IO, "%s: the base of %s: no such folder or file", params->base,
                        params->path);
    return uqm_fail(err, UQM_ERR_IO,
                    "%s: packed from the base %s, which is neither there nor beside the archive; "
                    "put it there, or unpack with --base",
                    params->path, uqm_printable(&shown, recorded, strlen(recorded)));
}

static int open_file(struct uqm_file **out, struct uqm_env *env, struct uqm_archive *archive,
                     const char *base, const char *path, struct uqm_err *err)
{
    struct uqm_printable shown;
    if (archive) {
        long file = uqm_archive_index_find(uqm_archive_index(archive), path);
        if (file < 0)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: holds no file %s", base,
                            uqm_printable(&shown, path, strlen(path)));
        return uqm_archive_file(out, archive, (size_t) file, err);
    }
    char *full = uqm_path_join(base, path);
    int ret = full ? uqm_file_open(out, env, full, err) : no_memory(base, err);
    free(full);
    return ret;
}

static int open_files(struct uqm_archive_base *b, struct uqm_env *env, struct uqm_archive *archive,
                      const char *owner, const struct uqm_archive_index *index, struct uqm_err *err)
{
    for (; b->n_files < index->n_base_files; b->n_files++) {
        const struct uqm_archive_base_file *want = &index->base_files[b->n_files];
        struct uqm_file **f = &b->files[b->n_files];
        int ret = open_file(f, env, archive, b->path, want->path, err);
        if (ret < 0)
            return ret;
        if ((*f)->size_bytes != want->n_bytes) {
            ret = uqm_fail(err, UQM_ERR_FORMAT,
                           "%s: %" PRIu64 " bytes, but %s was packed from one of %" PRIu64
                           ": not the same base",
                           (*f)->name, (*f)->size_bytes, owner, want->n_bytes);
            uqm_file_close(f);
            return ret;
        }
    }
    return UQM_OK;
}

int uqm_archive_base_open(struct uqm_archive_base **out, struct uqm_env *env,
                          const struct uqm_archive_params *params,
                          const struct uqm_archive_index *index, int depth, struct uqm_err *err)
{
    struct uqm_archive *archive = NULL;
    struct uqm_archive_base *b = calloc(1, sizeof *b);
    if (!b || !(b->files = calloc(index->n_base_files, sizeof(struct uqm_file *)))) {
        free(b);
        return no_memory(params->path, err);
    }
    int ret = find(&b->path, params, index->base_path, err);
    if (ret == UQM_OK && !uqm_is_dir(b->path))
        ret = uqm_archive_open_base(&archive, env, b->path, depth, err);
    if (ret == UQM_OK)
        ret = open_files(b, env, archive, params->path, index, err);
    uqm_archive_close(&archive);
    if (ret < 0)
        uqm_archive_base_close(&b);
    else
        *out = b;
    return ret;
}

void uqm_archive_base_close(struct uqm_archive_base **base)
{
    struct uqm_archive_base *b = *base;
    if (!b)
        return;
    for (size_t i = 0; i < b->n_files; i++)
        uqm_file_close(&b->files[i]);
    free(b->files);
    free(b->path);
    free(b);
    *base = NULL;
}
