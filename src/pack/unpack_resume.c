/*
 * The journal of an archive that is being unpacked. Its one kind of record (little-endian):
 *
 *     1 reached   u64 file | u64 bytes
 *
 * Files before that one, in the archive's order, are whole and on the disk, and so are so many
 * bytes of it. The last record holds. There is no checksum in it, because the archive has better
 * ones: a later run reads back what is claimed and holds each MiB against the archive's table of
 * leaves. A file that is not what it should be is unpacked anew, after a record that takes it back.
 */
#include <inttypes.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/pack/unpack_impl.h"

enum { NOTE_REACHED = 1, REACHED_BYTES = 16 };

/* --- noting --- */

static int note(struct uqm_unpack *u, uint64_t file, uint64_t n_bytes, bool sync,
                struct uqm_err *err)
{
    uint8_t payload[REACHED_BYTES];
    u->reached = (struct uqm_unpack_reached){ file, n_bytes };
    uqm_put_u64(payload, file);
    uqm_put_u64(payload + 8, n_bytes);
    int ret = uqm_journal_append(u->journal, NOTE_REACHED, payload, sizeof payload, err);
    if (ret < 0 || !sync)
        return ret;
    uqm_pack_pace_set(&u->pace, u->done_bytes);
    return uqm_journal_sync(u->journal, err);
}

/* What earlier runs had and this one has not come to yet still holds. */
static bool is_known(const struct uqm_unpack *u, uint64_t file, uint64_t n_bytes)
{
    return file < u->reached.file || (file == u->reached.file && n_bytes <= u->reached.n_bytes);
}

int uqm_unpack_note(struct uqm_unpack *u, size_t file, struct uqm_sink *sink, bool all,
                    struct uqm_err *err)
{
    uint64_t on_disk = 0;
    int ret = uqm_sink_flush(sink, all, &on_disk, err);
    if (ret < 0 || is_known(u, file, on_disk))
        return ret;
    return note(u, file, on_disk, true, err);
}

int uqm_unpack_note_whole(struct uqm_unpack *u, size_t file, struct uqm_err *err)
{
    if (is_known(u, file, 0))
        return UQM_OK;
    return note(u, file, 0, uqm_pack_pace_is_due(&u->pace, u->env, u->done_bytes), err);
}

/* --- going on --- */

void uqm_unpack_read_journal(struct uqm_unpack *u)
{
    const struct uqm_archive_index *ix = uqm_archive_index(u->archive);
    struct uqm_record r;
    if (uqm_journal_is_new(u->journal))
        return;
    while (uqm_journal_read(u->journal, &r)) {
        struct uqm_unpack_reached at = { 0 };
        bool good = r.kind == NOTE_REACHED && r.n_bytes == REACHED_BYTES;
        if (good) {
            at.file = uqm_get_u64(r.payload);
            at.n_bytes = uqm_get_u64(r.payload + 8);
            good = at.file < ix->n_files ? at.n_bytes <= ix->files[at.file].n_bytes
                                         : at.file == ix->n_files && at.n_bytes == 0;
        }
        if (!good) {
            uqm_journal_cut(u->journal);
            return;
        }
        u->reached = at;
    }
}

/* Bytes read back, against the leaves of the file in the archive. */
struct reading_back {
    struct uqm_unpack *u;
    const struct uqm_archive_file *file;
    struct uqm_sha256 *sha;
    uint64_t at, end;
};

static int check_leaves(void *ctx, const void *data, size_t n_bytes, struct uqm_err *err)
{
    struct reading_back *r = ctx;
    const uint8_t *p = data;
    int ret = uqm_check_cancel(r->u->env, err);
    while (n_bytes > 0 && ret == UQM_OK) {
        static const uint8_t leaf_prefix = 0;
        uint64_t in_chunk = r->at % UQM_TREE_CHUNK_BYTES;
        size_t n = (size_t) uqm_min_u64(n_bytes, UQM_TREE_CHUNK_BYTES - in_chunk);
        if (in_chunk == 0) {
            uqm_sha256_reset(r->sha);
            uqm_sha256_update(r->sha, &leaf_prefix, 1);
        }
        uqm_sha256_update(r->sha, p, n);
        p += n;
        n_bytes -= n;
        r->at += n;
        if (r->at % UQM_TREE_CHUNK_BYTES != 0 && r->at != r->end)
            continue;
        const size_t leaf = (size_t) ((r->at - 1) / UQM_TREE_CHUNK_BYTES);
        const struct uqm_sha256_digest d = uqm_sha256_digest(r->sha);
        if (memcmp(d.bytes, r->file->leaves[leaf].bytes, sizeof d.bytes) != 0)
            ret = uqm_fail(err, UQM_ERR_CHECK, "%s: not what the archive holds", r->file->path);
    }
    uqm_report(r->u->env, "reading back", "bytes", r->u->done_bytes + r->at, r->u->n_bytes);
    return ret;
}

/* How much of the file is worth reading back: all of it, or whole leaves. */
static uint64_t claimed_bytes(const struct uqm_unpack *u, size_t file)
{
    const struct uqm_archive_file *f = &uqm_archive_index(u->archive)->files[file];
    if (file < u->reached.file || u->reached.n_bytes == f->n_bytes)
        return file <= u->reached.file ? f->n_bytes : 0;
    return file == u->reached.file ? u->reached.n_bytes & ~(uint64_t) (UQM_TREE_CHUNK_BYTES - 1)
                                   : 0;
}

int uqm_unpack_reopen(struct uqm_sink **out, uint64_t *n_bytes, struct uqm_unpack *u, size_t file,
                      const char *path, uint64_t sink_bytes, struct uqm_err *err)
{
    struct uqm_err why = { 0 };
    struct reading_back r = { .u = u,
                              .file = &uqm_archive_index(u->archive)->files[file],
                              .end = claimed_bytes(u, file) };
    *n_bytes = 0;
    if (r.end == 0)
        return UQM_OK;
    r.sha = uqm_sha256_create();
    if (!r.sha)
        return uqm_unpack_no_memory(u, err);
    int ret = uqm_sink_reopen(out, u->env, path, r.file->n_bytes, sink_bytes, r.end, check_leaves,
                              &r, &why);
    uqm_sha256_destroy(&r.sha);
    if (ret == UQM_OK) {
        *n_bytes = r.end;
        u->resumed_bytes += r.end;
        return UQM_OK;
    }
    if (ret != UQM_ERR_CHECK) {
        *err = why;
        return ret;
    }
    struct uqm_printable shown;
    uqm_log(u->env, UQM_LOG_INFO, "%s: not what the journal says, unpacked anew",
            uqm_printable(&shown, r.file->path, strlen(r.file->path)));
    return note(u, file, 0, true, err);
}
