/*
 * A batch of blocks: pieces of files come from the stream in the order of the plan, are packed on
 * all threads, and go into the files' digests at the same time, in order, on one of them.
 */
#include <stdlib.h>
#include <string.h>

#include "src/pack/pack_impl.h"

static const struct uqm_archive_segment *segment_of(const struct uqm_pack_plan *plan,
                                                    const struct uqm_pack_at *at)
{
    return &plan->index.segments[at->segment];
}

bool uqm_pack_settle(const struct uqm_pack_plan *plan, struct uqm_pack_at *at)
{
    const struct uqm_archive_index *ix = &plan->index;
    for (; at->file < ix->n_files; at->file++) {
        const struct uqm_archive_file *f = &ix->files[at->file];
        if (at->segment < f->first_segment + f->n_segments)
            return true;
    }
    return false;
}

void uqm_pack_step(const struct uqm_pack_plan *plan, struct uqm_pack_at *at)
{
    if (++at->k < segment_of(plan, at)->n_blocks)
        return;
    at->k = 0;
    at->segment++;
    uqm_pack_settle(plan, at);
}

/* A file of the plan, which must be as it was then. */
static int open_file(struct uqm_pack *p, size_t file)
{
    const struct stat *was = &p->plan->stats[file];
    char *path = uqm_pack_plan_path(p->plan, file);
    int ret = path ? uqm_file_open(&p->open[file], p->env, path, &p->plan_failure)
                   : uqm_fail(&p->plan_failure, UQM_ERR_NOMEM, "%s: no memory", p->plan->dir);
    if (ret == UQM_OK) {
        const struct stat *is = &p->open[file]->stat;
        if (is->st_dev != was->st_dev || is->st_ino != was->st_ino || is->st_size != was->st_size ||
            is->st_mtim.tv_sec != was->st_mtim.tv_sec ||
            is->st_mtim.tv_nsec != was->st_mtim.tv_nsec)
            ret = uqm_fail(&p->plan_failure, UQM_ERR_IO, "%s: changed while it was packed", path);
    }
    free(path);
    return ret;
}

int uqm_pack_next_piece(void *ctx, struct uqm_piece *piece)
{
    struct uqm_pack *p = ctx;
    const struct uqm_archive_index *ix = &p->plan->index;
    if (!uqm_pack_settle(p->plan, &p->planned))
        return 0;
    const struct uqm_archive_segment *s = segment_of(p->plan, &p->planned);
    uint64_t off = p->planned.k * ix->block_bytes;
    piece->n_bytes = uqm_archive_block_bytes(ix, s, p->planned.k);
    if (p->base_is_next) {
        piece->file = p->plan->base_files[s->base_file];
        piece->off_bytes = s->base_off + off;
    } else {
        size_t file = p->planned.file;
        if (!p->open[file] && open_file(p, file) < 0)
            return 0; /* told when the consumer comes to the end */
        piece->file = p->open[file];
        piece->off_bytes = s->begin + off;
    }
    p->base_is_next = s->is_delta && !p->base_is_next;
    if (!p->base_is_next)
        uqm_pack_step(p->plan, &p->planned);
    return 1;
}

static int take_view(struct uqm_pack *p, struct uqm_view *view, struct uqm_err *err)
{
    int ret = uqm_stream_next(p->stream, view, err);
    if (ret == 0) { /* the plan has more: it was cut short */
        *err = p->plan_failure;
        return err->code;
    }
    return ret < 0 ? ret : UQM_OK;
}

/* The views of the blocks from *at on, as many as a batch holds. */
int uqm_pack_gather(struct uqm_pack *p, struct uqm_err *err)
{
    struct uqm_pack_at at = { 0 };
    if (p->n_batch > 0) {
        at = p->batch[p->n_batch - 1].at;
        uqm_pack_step(p->plan, &at);
    } else {
        at = p->planned;
    }
    p->n_batch = 0;
    while (p->n_batch < p->most_batch && uqm_pack_settle(p->plan, &at)) {
        struct uqm_pack_block *b = &p->batch[p->n_batch];
        *b = (struct uqm_pack_block){ .at = at,
                                      .stored =
                                          p->stored + p->n_batch * p->plan->index.block_bytes };
        int ret = take_view(p, &b->plain, err);
        if (ret < 0)
            return ret;
        p->n_batch++;
        if (segment_of(p->plan, &at)->is_delta) {
            ret = take_view(p, &b->base, err);
            if (ret < 0)
                return ret;
        }
        uqm_pack_step(p->plan, &at);
    }
    uqm_stream_read_ahead(p->stream);
    return UQM_OK;
}

void uqm_pack_release(struct uqm_pack *p)
{
    for (size_t i = 0; i < p->n_batch; i++) {
        struct uqm_pack_block *b = &p->batch[i];
        if (b->plain.slot)
            uqm_stream_release(p->stream, &b->plain);
        if (b->base.slot)
            uqm_stream_release(p->stream, &b->base);
    }
}

/* --- digests --- */

int uqm_pack_take_digest(struct uqm_pack_plan *plan, size_t file,
                         const struct uqm_file_digest *digest, struct uqm_err *err)
{
    struct uqm_archive_file *f = &plan->index.files[file];
    struct uqm_sha256_digest *leaves =
        uqm_arena_alloc(&plan->index.arena, digest->n_leaves + 1, sizeof *leaves);
    if (!leaves)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its digest", f->path);
    if (digest->n_leaves > 0)
        memcpy(leaves, digest->leaves, digest->n_leaves * sizeof *leaves);
    uqm_sha256_digest_parse(&f->sha256, digest->sha256.text, strlen(digest->sha256.text));
    uqm_sha256_digest_parse(&f->root, digest->root.text, strlen(digest->root.text));
    f->leaves = leaves;
    f->n_leaves = digest->n_leaves;
    return UQM_OK;
}

static int end_file(struct uqm_pack *p, struct uqm_err *err)
{
    struct uqm_file_digest digest;
    size_t file = p->hash_file;
    int ret = uqm_file_hash_finish(p->hash, &digest, err);
    uqm_file_hash_destroy(&p->hash);
    if (ret < 0)
        return ret;
    ret = uqm_pack_take_digest(p->plan, file, &digest, err);
    uqm_file_digest_finish(&digest);
    p->hash_file++;
    p->hash_at = 0;
    return ret;
}

int uqm_pack_pass_empty(struct uqm_pack *p, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = &p->plan->index;
    while (p->hash_file < ix->n_files && ix->files[p->hash_file].n_bytes == 0) {
        struct uqm_file_digest digest;
        int ret = uqm_file_hash_bytes(&digest, "", 0, ix->files[p->hash_file].path, err);
        if (ret == UQM_OK) {
            ret = uqm_pack_take_digest(p->plan, p->hash_file, &digest, err);
            uqm_file_digest_finish(&digest);
        }
        if (ret < 0)
            return ret;
        p->hash_file++;
    }
    return UQM_OK;
}

int uqm_pack_hash_bytes(struct uqm_pack *p, size_t file, const void *data, size_t n,
                        struct uqm_err *err)
{
    const struct uqm_archive_index *ix = &p->plan->index;
    int ret = uqm_pack_pass_empty(p, err);
    assert(ret < 0 || p->hash_file == file);
    if (ret == UQM_OK && !p->hash)
        ret = uqm_file_hash_create(&p->hash, ix->files[file].path, err);
    if (ret < 0)
        return ret;
    uqm_file_hash_update(p->hash, data, n);
    p->hash_at += n;
    return p->hash_at == ix->files[file].n_bytes ? end_file(p, err) : UQM_OK;
}

static void hash_batch(struct uqm_pack *p)
{
    for (size_t i = 0; i < p->n_batch && p->hash_failure.code == UQM_OK; i++) {
        const struct uqm_pack_block *b = &p->batch[i];
        uqm_pack_hash_bytes(p, b->at.file, b->plain.data, b->plain.n_bytes, &p->hash_failure);
    }
}

/* --- packing --- */

/* Item 0 is the digest, which takes longest and goes first. */
static void encode_item(void *ctx, size_t item, int worker)
{
    struct uqm_pack *p = ctx;
    if (item == 0) {
        hash_batch(p);
        return;
    }
    struct uqm_pack_block *b = &p->batch[item - 1];
    const struct uqm_archive_segment *s = segment_of(p->plan, &b->at);
    uqm_block_encode(p->codecs[worker], &p->plan->index.blocks[s->first_block + b->at.k], b->stored,
                     s->words, b->plain.data, b->plain.n_bytes, s->is_delta ? b->base.data : NULL,
                     &b->failure);
}

int uqm_pack_encode(struct uqm_pack *p, struct uqm_err *err)
{
    uqm_parallel(p->threads, p->n_batch + 1, encode_item, p);
    for (size_t i = 0; i < p->n_batch; i++)
        if (p->batch[i].failure.code != UQM_OK) {
            *err = p->batch[i].failure;
            return err->code;
        }
    if (p->hash_failure.code != UQM_OK) {
        *err = p->hash_failure;
        return err->code;
    }
    return UQM_OK;
}
