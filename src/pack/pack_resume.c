/*
 * The journal of an archive that is being written. Its records (payloads little-endian):
 *
 *     1 blocks    u64 first | u64 n | n times: u64 plain XXH3, u64 stored XXH3, u32 planes[4]
 *     2 digest    u64 file | SHA-256 | root of the tree | leaves
 *
 * Invariants: blocks are noted in order and only when they are on the disk; a file's digest is
 * noted after its last block. A later run reads back every block that is noted and compares its
 * checksum; from the first that is missing or differs, the archive is written anew. The digest of
 * the file in the middle of which that is begins again at its first byte.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/pack/pack_impl.h"

enum {
    NOTE_BLOCKS = 1,
    NOTE_DIGEST = 2,
    BLOCK_BYTES = 8 + 8 + 4 * UQM_ARCHIVE_MAX_PLANES,
    DIGEST_BYTES = 8 + 32 + 32,
};

/* --- noting --- */

bool uqm_pack_is_due(const struct uqm_pack *p)
{
    return p->journal && uqm_pack_pace_is_due(&p->pace, p->env, p->done_bytes);
}

static void put_block(uint8_t *to, const struct uqm_archive_block *b)
{
    uqm_put_u64(to, b->plain_xxh3);
    uqm_put_u64(to + 8, b->stored_xxh3);
    for (unsigned i = 0; i < UQM_ARCHIVE_MAX_PLANES; i++)
        uqm_put_u32(to + 16 + 4 * i, b->planes[i].stored_bytes |
                                         (b->planes[i].packed ? UQM_ARCHIVE_PLANE_PACKED : 0));
}

static int note_blocks(struct uqm_pack *p, uint64_t upto, struct uqm_err *err)
{
    uint64_t n = upto - p->noted_blocks;
    if (n == 0)
        return UQM_OK;
    size_t len = 16 + (size_t) n * BLOCK_BYTES;
    uint8_t *payload = malloc(len);
    if (!payload)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the journal", p->plan->dir);
    uqm_put_u64(payload, p->noted_blocks);
    uqm_put_u64(payload + 8, n);
    for (uint64_t i = 0; i < n; i++)
        put_block(payload + 16 + i * BLOCK_BYTES, &p->plan->index.blocks[p->noted_blocks + i]);
    int ret = uqm_journal_append(p->journal, NOTE_BLOCKS, payload, len, err);
    free(payload);
    if (ret == UQM_OK)
        p->noted_blocks = upto;
    return ret;
}

/* The block behind the file's last. */
static uint64_t end_block(const struct uqm_archive_index *ix, const struct uqm_archive_file *f)
{
    if (f->n_segments == 0)
        return 0;
    const struct uqm_archive_segment *s = &ix->segments[f->first_segment + f->n_segments - 1];
    return s->first_block + s->n_blocks;
}

static int note_digest(struct uqm_pack *p, size_t file, struct uqm_err *err)
{
    const struct uqm_archive_file *f = &p->plan->index.files[file];
    size_t len = DIGEST_BYTES + f->n_leaves * 32;
    uint8_t *payload = malloc(len);
    if (!payload)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the journal", p->plan->dir);
    uqm_put_u64(payload, file);
    memcpy(payload + 8, f->sha256.bytes, 32);
    memcpy(payload + 40, f->root.bytes, 32);
    for (size_t i = 0; i < f->n_leaves; i++)
        memcpy(payload + DIGEST_BYTES + 32 * i, f->leaves[i].bytes, 32);
    int ret = uqm_journal_append(p->journal, NOTE_DIGEST, payload, len, err);
    free(payload);
    return ret;
}

int uqm_pack_note(struct uqm_pack *p, bool all, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = &p->plan->index;
    uint64_t on_disk = 0, upto = p->noted_blocks;
    uqm_pack_pace_set(&p->pace, p->done_bytes);
    if (!p->journal)
        return UQM_OK;
    int ret = uqm_sink_flush(p->sink, all, &on_disk, err);
    if (ret < 0)
        return ret;
    while (upto < p->n_done &&
           ix->blocks[upto].stored_off + ix->blocks[upto].stored_bytes <= on_disk)
        upto++;
    ret = note_blocks(p, upto, err);
    /* a table of leaves that no record holds is made again */
    for (; ret == UQM_OK && p->noted_files < p->hash_file; p->noted_files++) {
        const struct uqm_archive_file *f = &ix->files[p->noted_files];
        if (end_block(ix, f) > p->noted_blocks ||
            f->n_leaves > (UQM_JOURNAL_MAX_PAYLOAD - DIGEST_BYTES) / 32)
            break;
        ret = note_digest(p, p->noted_files, err);
    }
    return ret == UQM_OK ? uqm_journal_sync(p->journal, err) : ret;
}

/* --- going on --- */

static bool get_block(struct uqm_archive_block *b, const uint8_t *from, uint32_t n_bytes,
                      unsigned n_planes)
{
    *b = (struct uqm_archive_block){ .plain_xxh3 = uqm_get_u64(from),
                                     .stored_xxh3 = uqm_get_u64(from + 8) };
    for (unsigned i = 0; i < n_planes; i++) {
        uint32_t v = uqm_get_u32(from + 16 + 4 * i), n = v & ~UQM_ARCHIVE_PLANE_PACKED;
        b->planes[i] = (struct uqm_archive_plane){ n, (v & UQM_ARCHIVE_PLANE_PACKED) != 0 };
        if (n == 0 || n > n_bytes / n_planes)
            return false;
        b->stored_bytes += n;
    }
    return true;
}

/* The blocks of a record, each against what lies in the file; false: leave none of them. */
static bool take_blocks(struct uqm_pack *p, struct uqm_pack_at *at, struct uqm_file *file,
                        const struct uqm_record *r)
{
    struct uqm_archive_index *ix = &p->plan->index;
    if (r->n_bytes < 16)
        return false;
    uint64_t first = uqm_get_u64(r->payload), n = uqm_get_u64(r->payload + 8);
    if (first != p->n_done || n == 0 || n > ix->n_blocks - first ||
        r->n_bytes != 16 + n * BLOCK_BYTES)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        const struct uqm_archive_segment *s = &ix->segments[at->segment];
        struct uqm_archive_block b;
        uint32_t n_bytes = uqm_archive_block_bytes(ix, s, at->k);
        if (!get_block(&b, r->payload + 16 + i * BLOCK_BYTES, n_bytes, s->words))
            return false;
        b.stored_off = p->out_bytes;
        if (uqm_file_read(file, p->stored, b.stored_bytes, b.stored_off, NULL) < 0 ||
            uqm_xxh3_64(p->stored, b.stored_bytes, 0) != b.stored_xxh3)
            return false;
        ix->blocks[first + i] = b;
        p->out_bytes += b.stored_bytes;
        p->done_bytes += n_bytes;
        p->n_done++;
        uqm_pack_step(p->plan, at);
        uqm_report(p->env, "reading back", "bytes", p->done_bytes, p->plan->n_bytes);
    }
    return true;
}

static bool take_digest(struct uqm_pack *p, const struct uqm_record *r)
{
    struct uqm_archive_index *ix = &p->plan->index;
    struct uqm_archive_file *f = &ix->files[p->noted_files];
    if (r->n_bytes < DIGEST_BYTES || p->noted_files == ix->n_files ||
        uqm_get_u64(r->payload) != p->noted_files || end_block(ix, f) > p->n_done)
        return false;
    size_t n = (size_t) uqm_tree_n_leaves(f->n_bytes);
    if (r->n_bytes != DIGEST_BYTES + 32 * n)
        return false;
    struct uqm_sha256_digest *leaves = uqm_arena_alloc(&ix->arena, n + 1, sizeof *leaves);
    if (!leaves)
        return false;
    memcpy(f->sha256.bytes, r->payload + 8, 32);
    memcpy(f->root.bytes, r->payload + 40, 32);
    for (size_t i = 0; i < n; i++)
        memcpy(leaves[i].bytes, r->payload + DIGEST_BYTES + 32 * i, 32);
    f->leaves = leaves;
    f->n_leaves = n;
    p->noted_files++;
    return true;
}

struct reached {
    struct uqm_pack_at at; /* the block behind it */
    uint64_t out_bytes, done_bytes, n_done;
};

/* What the journal says and the file bears out. */
static void read_journal(struct uqm_pack *p, struct uqm_pack_at *at, const char *path)
{
    struct uqm_record r;
    struct uqm_file *file = NULL;
    if (!p->journal || uqm_journal_is_new(p->journal) ||
        uqm_file_open(&file, p->env, path, NULL) < 0)
        return;
    p->out_bytes = UQM_ARCHIVE_HEADER_BYTES;
    while (uqm_journal_read(p->journal, &r)) {
        const struct reached before = { *at, p->out_bytes, p->done_bytes, p->n_done };
        if (r.kind == NOTE_BLOCKS ? take_blocks(p, at, file, &r)
                                  : r.kind == NOTE_DIGEST && take_digest(p, &r))
            continue;
        *at = before.at;
        p->out_bytes = before.out_bytes;
        p->done_bytes = before.done_bytes;
        p->n_done = before.n_done;
        uqm_journal_cut(p->journal);
        break;
    }
    uqm_file_close(&file);
}

/* The digest of the file in which packing goes on, up to there; and of files before it whose digest
 * was not noted. */
static int rehash(struct uqm_pack *p, const struct uqm_pack_at *at, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = &p->plan->index;
    for (size_t i = p->noted_files; i <= at->file && i < ix->n_files; i++) {
        uint64_t end = ix->files[i].n_bytes;
        if (i == at->file)
            end = ix->segments[at->segment].begin + at->k * ix->block_bytes;
        struct uqm_file *file = NULL;
        char *path = uqm_pack_plan_path(p->plan, i);
        int ret = uqm_pack_pass_empty(p, err);
        if (ret == UQM_OK && end > 0)
            ret = path ? uqm_file_open(&file, p->env, path, err)
                       : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", p->plan->dir);
        for (uint64_t done = 0; ret == UQM_OK && done < end;) {
            size_t n = (size_t) uqm_min_u64(p->stored_bytes, end - done);
            ret = uqm_check_cancel(p->env, err);
            if (ret == UQM_OK)
                ret = uqm_file_read(file, p->stored, n, done, err);
            if (ret == UQM_OK)
                ret = uqm_pack_hash_bytes(p, i, p->stored, n, err);
            done += n;
        }
        uqm_file_close(&file);
        free(path);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int nothing_to_check(void *ctx, const void *data, size_t n_bytes, struct uqm_err *err)
{
    (void) ctx, (void) data, (void) n_bytes, (void) err; /* read_journal() has */
    return UQM_OK;
}

/* A part that cannot be used any more: the archive is begun anew in its place. */
static int begin(struct uqm_pack *p, const char *path, uint64_t sink_bytes, struct uqm_err *err)
{
    uint8_t header[UQM_ARCHIVE_HEADER_BYTES];
    if (unlink(path) != 0 && errno != ENOENT)
        return uqm_fail_errno(err, "%s", path);
    int ret = uqm_sink_create_at_most(&p->sink, p->env, path, uqm_pack_most_bytes(p->plan),
                                      sink_bytes, err);
    if (ret < 0)
        return ret;
    uqm_archive_header_put(header);
    p->out_bytes = sizeof header;
    return uqm_sink_write(p->sink, header, sizeof header, err);
}

int uqm_pack_resume(struct uqm_pack *p, const char *path, uint64_t sink_bytes, struct uqm_err *err)
{
    struct uqm_pack_at at = { 0 };
    uqm_pack_settle(p->plan, &at);
    read_journal(p, &at, path);
    if (p->n_done == 0)
        return begin(p, path, sink_bytes, err);
    p->resumed_bytes = p->done_bytes;
    p->noted_blocks = p->n_done;
    uqm_pack_pace_set(&p->pace, p->done_bytes);
    p->hash_file = p->noted_files;
    p->planned = at;
    uqm_log(p->env, UQM_LOG_INFO, "%s: going on after %" PRIu64 " of %" PRIu64 " bytes", path,
            p->done_bytes, p->plan->n_bytes);
    /* cut already, if that run came as far as finishing it */
    if (truncate(path, (off_t) uqm_pack_most_bytes(p->plan)) != 0)
        return uqm_fail_errno(err, "%s", path);
    int ret = uqm_sink_reopen_at_most(&p->sink, p->env, path, uqm_pack_most_bytes(p->plan),
                                      sink_bytes, p->out_bytes, nothing_to_check, NULL, err);
    return ret == UQM_OK ? rehash(p, &at, err) : ret;
}
