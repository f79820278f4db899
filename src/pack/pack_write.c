#include "src/pack/pack_write.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/pack/pack_impl.h"

enum {
    BATCH_PER_THREAD = 8,
    MOST_SINK_BYTES = 16 << 20,
    LEAST_SINK_BYTES = 512 << 10,
    LEAST_BATCH = 2,
};

uint64_t uqm_pack_most_bytes(const struct uqm_pack_plan *plan)
{
    const struct uqm_archive_index *ix = &plan->index;
    uint64_t n = UQM_ARCHIVE_HEADER_BYTES + UQM_ARCHIVE_FOOTER_BYTES + plan->n_bytes + 4096;
    n += strlen(ix->base_path) + ix->n_blocks * UINT64_C(32) + ix->n_segments * UINT64_C(24);
    for (size_t i = 0; i < ix->n_base_files; i++)
        n += 64 + strlen(ix->base_files[i].path);
    for (size_t i = 0; i < ix->n_files; i++)
        n += 128 + strlen(ix->files[i].path) + 32 * uqm_tree_n_leaves(ix->files[i].n_bytes);
    for (size_t i = 0; i < ix->n_tensors; i++)
        n += 64 + strlen(ix->tensors[i].name) + 8 * ix->tensors[i].rank;
    return n;
}

/* --- memory --- */

/*
 * In blocks: a batch's views, as many again being read ahead, what is stored of them, two a thread
 * for its codec; beside them the sink's buffers. With a base there are twice the views.
 */
static int divide_memory(struct uqm_pack *p, uint64_t *stream_bytes, uint64_t *sink_bytes,
                         struct uqm_err *err)
{
    bool delta = p->plan->n_delta_bytes > 0;
    uint64_t block = p->plan->index.block_bytes, left = uqm_budget_left(p->env);
    uint64_t view = block + 2 * 4096, views = delta ? 4 : 2;
    uint64_t codecs = (uint64_t) p->env->n_threads * 2 * block;
    *sink_bytes = uqm_max_u64(uqm_min_u64(left / 8, MOST_SINK_BYTES), LEAST_SINK_BYTES);
    uint64_t each = views * view + block, fixed = codecs + *sink_bytes + view;
    uint64_t n = left > fixed ? (left - fixed) / each : 0;
    n = uqm_min_u64(n, (uint64_t) BATCH_PER_THREAD * (uint64_t) p->env->n_threads);
    n = uqm_min_u64(n, uqm_max_u64(p->plan->index.n_blocks, LEAST_BATCH));
    if (n < LEAST_BATCH)
        return uqm_fail(err, UQM_ERR_NOMEM,
                        "--memory: packing on %d threads needs %llu bytes, %llu are left; give "
                        "more memory or fewer --threads",
                        p->env->n_threads, (unsigned long long) (fixed + LEAST_BATCH * each),
                        (unsigned long long) left);
    p->most_batch = (size_t) n;
    p->stored_bytes = (size_t) (n * block);
    *stream_bytes = n * views * view + view;
    return UQM_OK;
}

static int get_ready(struct uqm_pack *p, uint64_t stream_bytes, struct uqm_err *err)
{
    const struct uqm_archive_index *ix = &p->plan->index;
    size_t n_threads = (size_t) p->env->n_threads;
    void *stored = NULL;
    p->open = calloc(ix->n_files, sizeof(struct uqm_file *));
    p->batch = calloc(p->most_batch, sizeof *p->batch);
    p->codecs = calloc(n_threads, sizeof(struct uqm_block_codec *));
    if (!p->open || !p->batch || !p->codecs)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to pack it", p->plan->dir);
    int ret = uqm_budget_alloc(&stored, p->env, p->stored_bytes, 4096, "the packed blocks", err);
    p->stored = stored;
    for (size_t i = 0; i < n_threads && ret == UQM_OK; i++)
        ret = uqm_block_codec_create(&p->codecs[i], p->env, ix->block_bytes, err);
    if (ret < 0)
        return ret;
    size_t n_held = p->most_batch * (p->plan->n_delta_bytes > 0 ? 2 : 1);
    return uqm_stream_create(&p->stream, p->env, ix->block_bytes, n_held, stream_bytes,
                             uqm_pack_next_piece, p, err);
}

static void let_go(struct uqm_pack *p)
{
    void *stored = p->stored;
    uqm_stream_destroy(&p->stream);
    uqm_file_hash_destroy(&p->hash);
    for (int i = 0; p->codecs && i < p->env->n_threads; i++)
        uqm_block_codec_destroy(&p->codecs[i]);
    for (size_t i = 0; p->open && i < p->plan->index.n_files; i++)
        uqm_file_close(&p->open[i]);
    uqm_budget_free(&stored, p->env, p->stored_bytes);
    uqm_sink_destroy(&p->sink);
    free(p->codecs);
    free(p->batch);
    free(p->open);
}

/* --- writing --- */

static int write_out(struct uqm_pack *p, const void *data, size_t n, struct uqm_err *err)
{
    p->out_bytes += n;
    return uqm_sink_write(p->sink, data, n, err);
}

/* Files whose last block has been packed: unchanged, or nothing is published. */
static int close_files(struct uqm_pack *p, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t i = 0; i < p->hash_file && ret == UQM_OK; i++)
        if (p->open[i]) {
            ret = uqm_file_check_unchanged(p->open[i], err);
            uqm_file_close(&p->open[i]);
        }
    return ret;
}

static int write_batch(struct uqm_pack *p, struct uqm_err *err)
{
    struct uqm_archive_index *ix = &p->plan->index;
    int ret = UQM_OK;
    for (size_t i = 0; i < p->n_batch && ret == UQM_OK; i++) {
        const struct uqm_pack_block *b = &p->batch[i];
        struct uqm_archive_block *block =
            &ix->blocks[ix->segments[b->at.segment].first_block + b->at.k];
        block->stored_off = p->out_bytes;
        p->done_bytes += b->plain.n_bytes;
        ret = write_out(p, b->stored, block->stored_bytes, err);
        p->n_done++;
    }
    uqm_report(p->env, "packing", "bytes", p->done_bytes, p->plan->n_bytes);
    return ret;
}

static int write_blocks(struct uqm_pack *p, struct uqm_err *err)
{
    int ret = UQM_OK;
    while (ret == UQM_OK && p->n_done < p->plan->index.n_blocks) {
        ret = uqm_pack_gather(p, err);
        if (ret == UQM_OK)
            ret = uqm_pack_encode(p, err);
        if (ret == UQM_OK)
            ret = write_batch(p, err);
        uqm_pack_release(p);
        if (ret == UQM_OK)
            ret = close_files(p, err);
        if (ret == UQM_OK && uqm_pack_is_due(p))
            ret = uqm_pack_note(p, false, err);
    }
    return ret == UQM_OK ? uqm_pack_pass_empty(p, err) : ret;
}

static int write_index(struct uqm_pack *p, struct uqm_err *err)
{
    size_t n = 0, n_stored = 0;
    struct uqm_archive_footer footer = { .index_off = p->out_bytes };
    uint8_t *plain = uqm_archive_index_dump(&n, &p->plan->index), end[UQM_ARCHIVE_FOOTER_BYTES];
    uint8_t *stored = plain ? uqm_frame_pack(&n_stored, &footer.index_packed, plain, n) : NULL;
    int ret = UQM_OK;
    if (!stored)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the archive's index", p->plan->dir);
    else if (n > UQM_ARCHIVE_MOST_INDEX)
        ret = uqm_fail(err, UQM_ERR_UNSUPPORTED,
                       "%s: its archive's index would have %zu bytes, the most is %d", p->plan->dir,
                       n, UQM_ARCHIVE_MOST_INDEX);
    if (ret == UQM_OK) {
        footer.index_bytes = n;
        footer.index_stored_bytes = n_stored;
        footer.index_xxh3 = uqm_xxh3_64(stored, n_stored, 0);
        uqm_archive_footer_put(end, &footer);
        ret = write_out(p, stored, n_stored, err);
    }
    if (ret == UQM_OK)
        ret = write_out(p, end, sizeof end, err);
    free(stored);
    free(plain);
    return ret;
}

/* Interrupted, or the disk is full: what was written is noted, so that the next run goes on. */
static void leave(struct uqm_pack *p)
{
    struct uqm_err ignored = { 0 };
    if (!p->sink || !p->journal)
        return;
    if (!uqm_sink_is_spoilt(p->sink))
        uqm_pack_note(p, true, &ignored);
    if (uqm_sink_is_spoilt(p->sink))
        uqm_journal_spoil(p->journal);
    uqm_sink_keep_file(p->sink);
}

int uqm_pack_write(struct uqm_pack_result *result, struct uqm_pack_plan *plan,
                   struct uqm_publish *publish, struct uqm_threads *threads, struct uqm_err *err)
{
    struct uqm_pack p = {
        .env = plan->env, .plan = plan, .threads = threads, .journal = uqm_publish_journal(publish)
    };
    uint64_t stream_bytes = 0, sink_bytes = 0;
    int ret = divide_memory(&p, &stream_bytes, &sink_bytes, err);
    if (ret == UQM_OK)
        ret = get_ready(&p, stream_bytes, err);
    if (ret == UQM_OK)
        ret = uqm_pack_resume(&p, uqm_publish_path(publish), sink_bytes, err);
    result->resumed_bytes = p.resumed_bytes;
    if (ret == UQM_OK)
        ret = write_blocks(&p, err);
    if (ret == UQM_OK)
        ret = write_index(&p, err);
    if (ret == UQM_OK)
        ret = uqm_sink_finish(p.sink, NULL, err);
    if (ret < 0)
        leave(&p);
    result->archive_bytes = p.out_bytes;
    let_go(&p);
    return ret;
}
