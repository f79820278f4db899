/* Files of an archive: read as made files, which unpack and check blocks on all threads, and
 * written through a sink, which hashes them. A file that is not what was packed is an error. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/stream.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/pack/unpack_impl.h"

enum { MOST_STREAM_BYTES = 64 << 20, MOST_SINK_BYTES = 16 << 20 };

/* The folders of a file's path. */
static int make_folders(const struct uqm_unpack *u, const char *path, struct uqm_err *err)
{
    char *full = uqm_path_join(u->dir, path);
    int ret = full ? UQM_OK : uqm_unpack_no_memory(u, err);
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
    const struct uqm_archive_index *ix;
    size_t file;
    struct uqm_file *made;
    uint64_t at;
};

/* Block by block: a piece that had parts of two would unpack both, and the next one again. */
static int next_block(void *ctx, struct uqm_piece *piece)
{
    struct reading *r = ctx;
    if (r->at == r->made->size_bytes)
        return 0;
    const struct uqm_archive_segment *s =
        &r->ix->segments[uqm_archive_index_segment(r->ix, r->file, r->at)];
    uint64_t k = (r->at - s->begin) / r->ix->block_bytes;
    uint64_t end = s->begin + k * r->ix->block_bytes + uqm_archive_block_bytes(r->ix, s, k);
    *piece = (struct uqm_piece){ .file = r->made,
                                 .off_bytes = r->at,
                                 .n_bytes = (size_t) (end - r->at) };
    r->at = end;
    return 1;
}

/* The file's bytes from `from` on. */
static int pour(struct uqm_unpack *u, struct uqm_sink *sink, size_t file, struct uqm_file *made,
                uint64_t from, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    struct reading r = { ix, file, made, from };
    uint64_t memory = uqm_min_u64(uqm_budget_left(u->env) / 2, MOST_STREAM_BYTES);
    struct uqm_stream *stream = NULL;
    struct uqm_view view;
    int ret = uqm_stream_create(&stream, u->env, ix->block_bytes, 2, memory, next_block, &r, err);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, err)) > 0) {
        ret = uqm_sink_write(sink, view.data, view.n_bytes, err);
        u->done_bytes += view.n_bytes;
        uqm_stream_release(stream, &view);
        uqm_report(u->env, "unpacking", "bytes", u->done_bytes, u->n_bytes);
        if (ret == UQM_OK && uqm_pack_pace_is_due(&u->pace, u->env, u->done_bytes))
            ret = uqm_unpack_note(u, file, sink, false, err);
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

/* *from: what of the file is there already. */
static int open_sink(struct uqm_sink **out, uint64_t *from, struct uqm_unpack *u, size_t file,
                     const char *path, struct uqm_err *err)
{
    uint64_t memory = uqm_min_u64(uqm_budget_left(u->env) / 4, MOST_SINK_BYTES);
    int ret = uqm_unpack_reopen(out, from, u, file, path, memory, err);
    if (ret < 0 || *out)
        return ret;
    if (unlink(path) != 0 && errno != ENOENT)
        return uqm_fail_errno(err, "%s", path);
    return uqm_sink_create(out, u->env, path, uqm_archive_index(u->archive)->files[file].n_bytes,
                           memory, err);
}

/* Interrupted, or the disk is full: what was written is noted, so that the next run goes on. */
static void leave(struct uqm_unpack *u, size_t file, struct uqm_sink *sink)
{
    struct uqm_err ignored = { 0 };
    if (!uqm_sink_is_spoilt(sink))
        uqm_unpack_note(u, file, sink, true, &ignored);
    if (uqm_sink_is_spoilt(sink))
        uqm_journal_spoil(u->journal);
    uqm_sink_keep_file(sink);
}

static int unpack_file(struct uqm_unpack *u, size_t file, struct uqm_err *err)
{
    const struct uqm_archive_file *f = &uqm_archive_index(u->archive)->files[file];
    struct uqm_file_digest digest;
    struct uqm_file *made = NULL;
    struct uqm_sink *sink = NULL;
    uint64_t from = 0;
    char *path = uqm_path_join(u->dir, f->path);
    int ret = path ? make_folders(u, f->path, err) : uqm_unpack_no_memory(u, err);
    if (ret == UQM_OK)
        ret = uqm_archive_file(&made, u->archive, file, err);
    if (ret == UQM_OK)
        ret = open_sink(&sink, &from, u, file, path, err);
    u->done_bytes += from;
    if (ret == UQM_OK)
        ret = pour(u, sink, file, made, from, err);
    /* before the sync, which then holds for the mode too */
    if (ret == UQM_OK && f->executable && chmod(path, 0755) != 0)
        ret = uqm_fail_errno(err, "%s", path);
    if (ret == UQM_OK)
        ret = uqm_sink_finish(sink, &digest, err);
    if (ret == UQM_OK) {
        ret = check_digest(f, made, &digest, err);
        uqm_file_digest_finish(&digest);
    } else if (sink) {
        leave(u, file, sink);
    }
    uqm_sink_destroy(&sink);
    uqm_file_close(&made);
    free(path);
    return ret == UQM_OK ? uqm_unpack_note_whole(u, file + 1, err) : ret;
}

/* Folders below the output, deepest first: their entries are on the disk before they are named. */
static int sync_folders(struct uqm_unpack *u, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    int ret = UQM_OK;
    for (size_t i = 0; i < ix->n_files && ret == UQM_OK; i++) {
        char *path = uqm_path_join(u->dir, ix->files[i].path);
        char *slash = path ? strrchr(path, '/') : NULL;
        if (!path)
            return uqm_unpack_no_memory(u, err);
        while (ret == UQM_OK && slash && (size_t) (slash - path) > strlen(u->dir)) {
            *slash = '\0';
            ret = uqm_fsync_dir(path, err);
            slash = strrchr(path, '/');
        }
        free(path);
    }
    return ret;
}

int uqm_unpack_files(struct uqm_unpack *u, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    int ret = UQM_OK;
    uqm_pack_pace_set(&u->pace, 0);
    for (size_t i = 0; i < ix->n_files && ret == UQM_OK; i++)
        ret = unpack_file(u, i, err);
    return ret == UQM_OK ? sync_folders(u, err) : ret;
}
