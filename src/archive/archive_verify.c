/*
 * The archive is read once, front to back, block by block. A block whose stored bytes have changed
 * is a difference whatever it unpacks to; so is one that does not unpack to its checksum. The
 * files' digests are computed on the way, and compared where all of a file's blocks are good.
 */
#include "src/archive/archive_verify.h"

#include <stdlib.h>
#include <string.h>

#include "io/file_hash.h"
#include "io/stream.h"
#include "src/archive/archive.h"
#include "src/archive/block_codec.h"
#include "src/base/checked.h"
#include "src/base/fs.h"

enum { MOST_STREAM_BYTES = 32 << 20 };

struct checking {
    struct uqm_archive_check *c;
    struct uqm_archive *archive;
    const struct uqm_archive_index *ix;
    size_t planned; /* the next block to be read */
    struct uqm_block_codec *codec;
    struct uqm_stream *stream;
    uint8_t *plain, *base; /* a block each */
    size_t memory_bytes;
    uint64_t n_total;
    struct uqm_err *err;
};

static int no_memory(const struct checking *v)
{
    return uqm_fail(v->err, UQM_ERR_NOMEM, "%s: no memory to verify it", v->c->path);
}

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct checking *v = ctx;
    if (v->planned == v->ix->n_blocks)
        return 0;
    const struct uqm_archive_block *b = &v->ix->blocks[v->planned++];
    *piece = (struct uqm_piece){ .file = uqm_archive_stored(v->archive),
                                 .off_bytes = b->stored_off,
                                 .n_bytes = b->stored_bytes };
    return 1;
}

/* --- one block --- */

/* The tensor that a damaged range lies in, or begins in. */
static const char *tensor_at(const struct checking *v, size_t file, uint64_t begin, uint64_t end)
{
    const struct uqm_archive_tensor *t = uqm_archive_index_tensor(v->ix, file, begin);
    if (!t)
        t = uqm_archive_index_tensor(v->ix, file, end - 1);
    return t ? t->name : NULL;
}

static int block_differs(struct checking *v, size_t file, uint64_t begin, uint64_t end,
                         const char *what)
{
    const struct uqm_archive_file *f = &v->ix->files[file];
    struct uqm_printable shown;
    return v->c->differs(v->c->ctx, uqm_printable(&shown, f->path, strlen(f->path)),
                         tensor_at(v, file, begin, end), begin, end, what);
}

/* *good: `plain` holds the block. */
static int check_block(struct checking *v, bool *good, size_t file,
                       const struct uqm_archive_segment *s, uint64_t k, const uint8_t *stored)
{
    const struct uqm_archive_block *b = &v->ix->blocks[s->first_block + k];
    uint64_t begin = s->begin + k * v->ix->block_bytes;
    size_t n = uqm_archive_block_bytes(v->ix, s, k);
    struct uqm_err why = { 0 };
    int ret = UQM_OK;
    bool same = uqm_xxh3_64(stored, b->stored_bytes, 0) == b->stored_xxh3;
    if (s->is_delta)
        ret = uqm_file_read(uqm_archive_base_file(v->archive, s->base_file), v->base, n,
                            s->base_off + k * v->ix->block_bytes, v->err);
    if (ret < 0)
        return ret;
    ret = uqm_block_decode(v->codec, v->plain, n, s->words, b, stored, s->is_delta ? v->base : NULL,
                           &why);
    *good = ret == UQM_OK;
    if (ret < 0 && ret != UQM_ERR_FORMAT) {
        *v->err = why;
        return ret;
    }
    if (!*good)
        return block_differs(v, file, begin, begin + n,
                             same ? "the bytes do not unpack to what was packed: the base is not "
                                    "the one, or has changed"
                                  : "what is stored of these bytes has changed");
    if (!same)
        return block_differs(
            v, file, begin, begin + n,
            "what is stored of these bytes has changed, though it unpacks to them");
    return UQM_OK;
}

/* --- one file --- */

static int check_digest(struct checking *v, size_t file, struct uqm_file_hash *hash)
{
    const struct uqm_archive_file *f = &v->ix->files[file];
    struct uqm_file_digest d;
    int ret = uqm_file_hash_finish(hash, &d, v->err);
    if (ret < 0)
        return ret;
    bool same =
        strcmp(d.sha256.text, uqm_sha256_digest_hex(&f->sha256).text) == 0 &&
        strcmp(d.root.text, uqm_sha256_digest_hex(&f->root).text) == 0 &&
        d.n_leaves == f->n_leaves &&
        (d.n_leaves == 0 || memcmp(d.leaves, f->leaves, d.n_leaves * sizeof *d.leaves) == 0);
    uqm_file_digest_finish(&d);
    if (same)
        return UQM_OK;
    struct uqm_printable shown;
    return v->c->differs(v->c->ctx, uqm_printable(&shown, f->path, strlen(f->path)), NULL, 0,
                         f->n_bytes, "the file's digests are not those that the archive has");
}

static int check_blocks(struct checking *v, size_t file, struct uqm_file_hash *hash, bool *all_good)
{
    const struct uqm_archive_file *f = &v->ix->files[file];
    for (size_t i = f->first_segment; i < f->first_segment + f->n_segments; i++) {
        const struct uqm_archive_segment *s = &v->ix->segments[i];
        for (uint64_t k = 0; k < s->n_blocks; k++) {
            struct uqm_view view;
            bool good = false;
            int ret = uqm_stream_next(v->stream, &view, v->err);
            if (ret <= 0)
                return ret < 0 ? ret : no_memory(v);
            ret = check_block(v, &good, file, s, k, view.data);
            uqm_stream_release(v->stream, &view);
            if (ret < 0)
                return ret;
            size_t n = uqm_archive_block_bytes(v->ix, s, k);
            if (good && *all_good)
                uqm_file_hash_update(hash, v->plain, n);
            *all_good = *all_good && good;
            v->c->n_bytes += n;
            uqm_report(v->c->env, "verifying", "bytes", v->c->n_bytes, v->n_total);
        }
    }
    return UQM_OK;
}

static int check_file(struct checking *v, size_t file)
{
    struct uqm_file_hash *hash = NULL;
    bool all_good = true;
    int ret = uqm_file_hash_create(&hash, v->ix->files[file].path, v->err);
    if (ret == UQM_OK)
        ret = check_blocks(v, file, hash, &all_good);
    if (ret == UQM_OK && all_good)
        ret = check_digest(v, file, hash);
    uqm_file_hash_destroy(&hash);
    v->c->n_files++;
    v->c->n_tensors += v->ix->files[file].n_tensors;
    return ret;
}

/* --- the archive --- */

static int check_all(struct checking *v)
{
    size_t block = v->ix->block_bytes;
    void *memory = NULL;
    uint64_t for_stream = uqm_min_u64(uqm_budget_left(v->c->env) / 2, MOST_STREAM_BYTES);
    v->memory_bytes = 2 * block;
    int ret =
        uqm_budget_alloc(&memory, v->c->env, v->memory_bytes, 4096, "an archive's blocks", v->err);
    v->plain = memory;
    v->base = ret == UQM_OK ? v->plain + block : NULL;
    if (ret == UQM_OK)
        ret = uqm_block_codec_create(&v->codec, v->c->env, block, v->err);
    if (ret == UQM_OK)
        ret = uqm_stream_create(&v->stream, v->c->env, block, 1, for_stream, next_piece, v, v->err);
    for (size_t i = 0; i < v->ix->n_files; i++)
        v->n_total += v->ix->files[i].n_bytes;
    for (size_t i = 0; i < v->ix->n_files && ret == UQM_OK; i++)
        ret = check_file(v, i);
    uqm_stream_destroy(&v->stream);
    uqm_block_codec_destroy(&v->codec);
    uqm_budget_free(&memory, v->c->env, v->memory_bytes);
    return ret;
}

/* A header, footer or index that cannot be is the archive's own difference. */
static int ends_differ(struct uqm_archive_check *check, const struct uqm_err *why,
                       struct uqm_err *err)
{
    char *name = uqm_path_base(check->path);
    const char *what = strstr(why->msg, ": ");
    int ret = name ? check->differs(check->ctx, name, NULL, 0, 0, what ? what + 2 : why->msg)
                   : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to verify it", check->path);
    free(name);
    return ret;
}

int uqm_archive_verify(struct uqm_archive_check *check, struct uqm_err *err)
{
    struct checking v = { .c = check, .err = err };
    struct uqm_archive_params params = { .path = check->path, .index_only = true };
    struct uqm_err why = { 0 };
    int ret = uqm_archive_open(&v.archive, check->env, &params, &why);
    if (ret == UQM_ERR_FORMAT)
        return ends_differ(check, &why, err);
    if (ret < 0) {
        *err = why;
        return ret;
    }
    if (uqm_archive_index(v.archive)->n_base_files > 0) {
        uqm_archive_close(&v.archive);
        params = (struct uqm_archive_params){ .path = check->path, .base = check->base };
        ret = uqm_archive_open(&v.archive, check->env, &params, err);
    }
    if (ret == UQM_OK) {
        v.ix = uqm_archive_index(v.archive);
        ret = check_all(&v);
    }
    if (ret == UQM_OK)
        ret = uqm_file_check_unchanged(uqm_archive_stored(v.archive), err);
    uqm_archive_close(&v.archive);
    return ret;
}
