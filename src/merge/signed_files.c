#include "src/merge/signed_files.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compute/threads.h"
#include "io/stream.h"
#include "src/archive/archive.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/base/utf8.h"
#include "src/checkpoint/model_file.h"

const char *const uqm_unsigned_paths[4] = { ".git", ".gitattributes", ".github", ".gitignore" };

enum {
    PIECE_BYTES = 1 << 20,
    MOST_STREAM_BYTES = 32 << 20,
    MAX_FILES = 1 << 20,
    MAX_DEPTH = 64,
};

/* --- which files --- */

struct walk {
    struct uqm_signed_files *out;
    size_t cap;
    const char *dir;
    const char *const *ignored;
    size_t n_ignored;
    struct uqm_err *err;
};

static int no_memory(const char *dir, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to list its files", dir);
}

static bool is_ignored(const struct walk *w, const char *path)
{
    for (size_t i = 0; i < w->n_ignored; i++) {
        size_t n = strlen(w->ignored[i]);
        if (strncmp(path, w->ignored[i], n) == 0 && (path[n] == '\0' || path[n] == '/'))
            return true;
    }
    return false;
}

static int add(struct walk *w, const char *name)
{
    struct uqm_signed_files *out = w->out;
    if (out->n == MAX_FILES)
        return uqm_fail(w->err, UQM_ERR_UNSUPPORTED, "%s: holds more than %d files", w->dir,
                        MAX_FILES);
    if (out->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 64;
        struct uqm_statement_file *grown = reallocarray(out->v, cap, sizeof *grown);
        if (!grown)
            return no_memory(w->dir, w->err);
        out->v = grown;
        w->cap = cap;
    }
    out->v[out->n] = (struct uqm_statement_file){ .name = name };
    out->n++;
    return UQM_OK;
}

static int walk(struct walk *w, const char *below, int depth);

static int visit(struct walk *w, const char *below, const char *name, int depth)
{
    struct uqm_printable shown;
    struct stat st;
    char *relative = below ? uqm_arena_printf(&w->out->arena, "%s/%s", below, name)
                           : uqm_arena_strndup(&w->out->arena, name, strlen(name));
    if (!relative)
        return no_memory(w->dir, w->err);
    if (is_ignored(w, relative))
        return UQM_OK;
    uqm_printable(&shown, relative, strlen(relative));
    char *path = uqm_path_join(w->dir, relative);
    if (!path)
        return no_memory(w->dir, w->err);
    int gone = lstat(path, &st);
    free(path);
    if (gone != 0)
        return uqm_fail_errno(w->err, "%s/%s", w->dir, shown.text);
    if (S_ISDIR(st.st_mode))
        return walk(w, relative, depth + 1);
    if (!S_ISREG(st.st_mode))
        return uqm_fail(w->err, UQM_ERR_UNSUPPORTED, "%s/%s: %s, which a signature cannot cover",
                        w->dir, shown.text,
                        S_ISLNK(st.st_mode) ? "a symbolic link" : "no regular file");
    if (!uqm_utf8_valid((const uint8_t *) relative, strlen(relative)))
        return uqm_fail(w->err, UQM_ERR_UNSUPPORTED, "%s/%s: a name that is not UTF-8", w->dir,
                        shown.text);
    return add(w, relative);
}

static int walk(struct walk *w, const char *below, int depth)
{
    struct dirent **names = NULL;
    char *path = below ? uqm_path_join(w->dir, below) : strdup(w->dir);
    if (!path)
        return no_memory(w->dir, w->err);
    int n = depth <= MAX_DEPTH ? scandir(path, &names, NULL, NULL) : 0;
    int ret = UQM_OK;
    if (depth > MAX_DEPTH)
        ret = uqm_fail(w->err, UQM_ERR_UNSUPPORTED, "%s: folders in folders, more than %d deep",
                       w->dir, MAX_DEPTH);
    else if (n < 0)
        ret = uqm_fail_errno(w->err, "%s", path);
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (ret == UQM_OK && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            ret = visit(w, below, name, depth);
        free(names[i]);
    }
    free(names);
    free(path);
    return ret;
}

static int compare(const void *a, const void *b)
{
    const struct uqm_statement_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* An archive's files are regular, and their names checked but for UTF-8. */
static int list_archive(struct walk *w)
{
    const struct uqm_archive_params params = { .path = w->dir, .index_only = true };
    struct uqm_archive *archive = NULL;
    struct uqm_env env;
    const struct uqm_common common = { .io = UQM_IO_PREAD };
    int ret = uqm_env_init(&env, &common, w->err);
    if (ret == UQM_OK)
        ret = uqm_archive_open(&archive, &env, &params, w->err);
    const struct uqm_archive_index *ix = ret == UQM_OK ? uqm_archive_index(archive) : NULL;
    for (size_t i = 0; ix && i < ix->n_files && ret == UQM_OK; i++) {
        const char *path = ix->files[i].path;
        if (is_ignored(w, path))
            continue;
        const char *name = uqm_arena_strndup(&w->out->arena, path, strlen(path));
        ret = name ? add(w, name) : no_memory(w->dir, w->err);
    }
    uqm_archive_close(&archive);
    return ret;
}

int uqm_signed_files_list(struct uqm_signed_files *out, const char *dir, const char *const *ignored,
                          size_t n_ignored, struct uqm_err *err)
{
    struct walk w = {
        .out = out, .dir = dir, .ignored = ignored, .n_ignored = n_ignored, .err = err
    };
    *out = (struct uqm_signed_files){ .n = 0 };
    int ret = uqm_archive_is_name(dir) && !uqm_is_dir(dir) ? list_archive(&w) : walk(&w, NULL, 0);
    if (ret == UQM_OK && out->n > 1)
        qsort(out->v, out->n, sizeof *out->v, compare);
    return ret;
}

void uqm_signed_files_finish(struct uqm_signed_files *files)
{
    free(files->v);
    uqm_arena_finish(&files->arena);
    *files = (struct uqm_signed_files){ .n = 0 };
}

/* --- their digests --- */

struct work {
    struct uqm_env *env;
    const char *dir, *stage;
    struct uqm_statement_file *files;
    struct uqm_err *errs; /* [n] */
    uint64_t stream_bytes;
    pthread_mutex_t reporting;
    uint64_t n_done, total; /* under the lock */
};

static void tell(struct work *w, size_t n_bytes)
{
    pthread_mutex_lock(&w->reporting);
    w->n_done += n_bytes;
    uqm_report(w->env, w->stage, "bytes", w->n_done, w->total);
    pthread_mutex_unlock(&w->reporting);
}

static int hash_open(struct work *w, struct uqm_file *file, struct uqm_sha256_digest *digest,
                     struct uqm_err *err)
{
    struct uqm_file_pass pass = { file, PIECE_BYTES, 0 };
    struct uqm_stream *stream = NULL;
    struct uqm_sha256 *sha = uqm_sha256_create();
    struct uqm_view view;
    int ret = sha ? uqm_stream_create(&stream, w->env, PIECE_BYTES, 1, w->stream_bytes,
                                      uqm_next_piece_of_file, &pass, err)
                  : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to hash it", file->name);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, err)) > 0) {
        uqm_sha256_update(sha, view.data, view.n_bytes);
        tell(w, view.n_bytes);
        uqm_stream_release(stream, &view);
        ret = uqm_check_cancel(w->env, err);
    }
    if (ret == UQM_OK)
        ret = uqm_file_check_unchanged(file, err);
    if (ret == UQM_OK)
        *digest = uqm_sha256_digest(sha);
    uqm_stream_destroy(&stream);
    uqm_sha256_destroy(&sha);
    return ret;
}

static void hash_one(void *ctx, size_t item, int worker)
{
    struct work *w = ctx;
    struct uqm_file *file = NULL;
    struct uqm_err *err = &w->errs[item];
    char *path = uqm_path_join(w->dir, w->files[item].name);
    (void) worker;
    int ret = path ? uqm_model_file_open(&file, w->env, path, err) : no_memory(w->dir, err);
    if (ret == UQM_OK)
        hash_open(w, file, &w->files[item].digest, err);
    uqm_file_close(&file);
    free(path);
}

static uint64_t sum_of_sizes(const char *dir, const struct uqm_statement_file *files, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t n_bytes = 0;
        char *path = uqm_path_join(dir, files[i].name);
        if (path && uqm_find_model_file(path, &n_bytes, NULL) > 0)
            sum += n_bytes;
        free(path);
    }
    return sum;
}

int uqm_signed_files_hash(struct uqm_statement_file *files, size_t n, struct uqm_env *env,
                          const char *dir, const char *stage, uint64_t *n_bytes,
                          struct uqm_err *err)
{
    struct uqm_threads *threads = NULL;
    int n_threads = (int) uqm_min_u64((uint64_t) env->n_threads, uqm_max_u64(n, 1));
    uint64_t share = uqm_budget_left(env) / 2 / (uint64_t) n_threads;
    struct work w = {
        .env = env,
        .dir = dir,
        .stage = stage,
        .files = files,
        .errs = calloc(n + 1, sizeof *w.errs),
        .stream_bytes = uqm_min_u64(share, MOST_STREAM_BYTES),
        .total = sum_of_sizes(dir, files, n),
    };
    pthread_mutex_init(&w.reporting, NULL);
    int ret = w.errs ? uqm_threads_create(&threads, n_threads, err) : no_memory(dir, err);
    if (ret == UQM_OK)
        uqm_parallel(threads, n, hash_one, &w);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        if (w.errs[i].code != UQM_OK) {
            *err = w.errs[i];
            ret = err->code;
        }
    *n_bytes += w.n_done;
    uqm_threads_destroy(&threads);
    pthread_mutex_destroy(&w.reporting);
    free(w.errs);
    return ret;
}
