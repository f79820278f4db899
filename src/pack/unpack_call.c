/*
 * uqm_unpack(): every file of an archive is read as a made file, which unpacks and checks blocks on
 * all threads, and written through a sink, which hashes it. A file that is not what was packed is
 * an error, and nothing is published.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/publish.h"
#include "io/sink.h"
#include "io/stream.h"
#include "src/archive/archive.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/format/json.h"
#include "src/pack/pack_call.h"

enum { MOST_STREAM_BYTES = 64 << 20, MOST_SINK_BYTES = 16 << 20 };

struct unpack {
    struct uqm_env *env;
    const struct uqm_unpack_params *params;
    struct uqm_archive *archive;
    struct uqm_publish *publish;
    const char *dir; /* the part folder */
    uint64_t n_bytes, done_bytes;
};

static int no_memory(const struct unpack *u, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to unpack it", u->params->archive);
}

/* The folders of a file's path. */
static int make_folders(const struct unpack *u, const char *path, struct uqm_err *err)
{
    char *full = uqm_path_join(u->dir, path);
    int ret = full ? UQM_OK : no_memory(u, err);
    for (char *s = full ? full + strlen(u->dir) + 1 : NULL; ret == UQM_OK && s;) {
        s = strchr(s, '/');
        if (!s)
            break;
        *s = '\0';
        if (!uqm_is_dir(full) && mkdir(full, 0777) != 0)
            ret = uqm_fail_errno(err, "%s", full);
        *s++ = '/';
    }
    free(full);
    return ret;
}

struct reading {
    struct uqm_file *file;
    size_t piece_bytes;
    uint64_t at;
};

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct reading *r = ctx;
    if (r->at == r->file->size_bytes)
        return 0;
    size_t n = (size_t) uqm_min_u64(r->piece_bytes, r->file->size_bytes - r->at);
    *piece = (struct uqm_piece){ .file = r->file, .off_bytes = r->at, .n_bytes = n };
    r->at += n;
    return 1;
}

static int pour(struct unpack *u, struct uqm_sink *sink, struct uqm_file *file, struct uqm_err *err)
{
    struct reading r = { file, uqm_archive_index(u->archive)->block_bytes, 0 };
    uint64_t memory = uqm_min_u64(uqm_budget_left(u->env) / 2, MOST_STREAM_BYTES);
    struct uqm_stream *stream = NULL;
    struct uqm_view view;
    int ret = uqm_stream_create(&stream, u->env, r.piece_bytes, 2, memory, next_piece, &r, err);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, err)) > 0) {
        ret = uqm_sink_write(sink, view.data, view.n_bytes, err);
        u->done_bytes += view.n_bytes;
        uqm_stream_release(stream, &view);
        uqm_report(u->env, "unpacking", "bytes", u->done_bytes, u->n_bytes);
    }
    uqm_stream_destroy(&stream);
    return ret;
}

static int check_digest(const struct uqm_archive_file *f, const struct uqm_file *made,
                        const struct uqm_file_digest *digest, struct uqm_err *err)
{
    struct uqm_sha256_hex sha256 = uqm_sha256_digest_hex(&f->sha256);
    struct uqm_sha256_hex root = uqm_sha256_digest_hex(&f->root);
    if (strcmp(sha256.text, digest->sha256.text) == 0 && strcmp(root.text, digest->root.text) == 0)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s: its SHA-256 is %s, that of the file which was packed is %s", made->name,
                    digest->sha256.text, sha256.text);
}

static int unpack_file(struct unpack *u, size_t file, struct uqm_err *err)
{
    const struct uqm_archive_file *f = &uqm_archive_index(u->archive)->files[file];
    struct uqm_file_digest digest;
    struct uqm_file *made = NULL;
    struct uqm_sink *sink = NULL;
    char *path = uqm_path_join(u->dir, f->path);
    int ret = path ? make_folders(u, f->path, err) : no_memory(u, err);
    if (ret == UQM_OK)
        ret = uqm_archive_file(&made, u->archive, file, err);
    if (ret == UQM_OK)
        ret = uqm_sink_create(&sink, u->env, path, f->n_bytes,
                              uqm_min_u64(uqm_budget_left(u->env) / 4, MOST_SINK_BYTES), err);
    if (ret == UQM_OK)
        ret = pour(u, sink, made, err);
    if (ret == UQM_OK)
        ret = uqm_sink_finish(sink, &digest, err);
    if (ret == UQM_OK) {
        ret = check_digest(f, made, &digest, err);
        uqm_file_digest_finish(&digest);
    }
    if (ret == UQM_OK && f->executable && chmod(path, 0755) != 0)
        ret = uqm_fail_errno(err, "%s", path);
    uqm_sink_destroy(&sink);
    uqm_file_close(&made);
    free(path);
    return ret;
}

/* Folders below the output, deepest first: their entries are on the disk before they are named. */
static int sync_folders(struct unpack *u, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    int ret = UQM_OK;
    for (size_t i = 0; i < ix->n_files && ret == UQM_OK; i++) {
        char *path = uqm_path_join(u->dir, ix->files[i].path);
        char *slash = path ? strrchr(path, '/') : NULL;
        if (!path)
            return no_memory(u, err);
        while (ret == UQM_OK && slash && (size_t) (slash - path) > strlen(u->dir)) {
            *slash = '\0';
            ret = uqm_fsync_dir(path, err);
            slash = strrchr(path, '/');
        }
        free(path);
    }
    return ret;
}

static int unpack_all(struct unpack *u, struct uqm_err *err)
{
    const struct uqm_archive_params open = { .path = u->params->archive, .base = u->params->base };
    const struct uqm_publish_params target = { .target = u->params->out_dir };
    int ret = uqm_archive_open(&u->archive, u->env, &open, err);
    if (ret == UQM_OK)
        ret = uqm_publish_begin(&u->publish, u->env, &target, err);
    if (ret < 0)
        return ret;
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    u->dir = uqm_publish_path(u->publish);
    for (size_t i = 0; i < ix->n_files; i++)
        u->n_bytes += ix->files[i].n_bytes;
    for (size_t i = 0; i < ix->n_files && ret == UQM_OK; i++)
        ret = unpack_file(u, i, err);
    if (ret == UQM_OK)
        ret = sync_folders(u, err);
    if (ret == UQM_OK)
        ret = uqm_file_check_unchanged(uqm_archive_stored(u->archive), err);
    return ret == UQM_OK ? uqm_publish_commit(u->publish, err) : ret;
}

static json_t *describe(const struct unpack *u, const struct timespec *start)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    struct uqm_env *env = u->env;
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:s?, s:I, s:I, s:f, s:I, s:s, s:b}", "out", u->params->out_dir,
        "files", (json_int_t) ix->n_files, "bytes", (json_int_t) u->n_bytes, "archive_bytes",
        (json_int_t) uqm_archive_stored(u->archive)->size_bytes, "base",
        uqm_archive_base(u->archive), "bytes_read", (json_int_t) atomic_load(&env->bytes_read),
        "bytes_written", (json_int_t) atomic_load(&env->bytes_written), "seconds",
        uqm_pack_seconds_since(start), "peak_memory", (json_int_t) uqm_pack_peak_memory(), "io",
        atomic_load(&env->io_used) == UQM_IO_URING ? "uring" : "pread", "direct",
        atomic_load(&env->direct_used) != 0);
}

UQM_API int uqm_unpack(char **json, const struct uqm_unpack_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct unpack u = { .env = &env, .params = params };
    struct timespec start;
    *json = NULL;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int ret = uqm_env_init(&env, &params->common, err);
    if (ret == UQM_OK)
        ret = unpack_all(&u, err);
    if (ret == UQM_OK) {
        json_t *doc = describe(&u, &start);
        *json = doc ? uqm_json_dump(doc) : NULL;
        json_decref(doc);
        ret = *json ? UQM_OK : no_memory(&u, err);
    }
    uqm_publish_end(&u.publish);
    uqm_archive_close(&u.archive);
    return ret;
}
