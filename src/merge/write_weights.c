/* The weights of one merge, or of several side by side. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "io/sink.h"
#include "src/base/checked.h"
#include "src/merge/share.h"
#include "src/merge/write_form.h"
#include "src/merge/writer.h"

/* A place in the output: tiles go in the order of its bytes, shard by shard, tensor by tensor. */
struct place {
    size_t shard, tensor; /* the tensor's place in the shard */
    uint64_t elem;
};

struct run {
    struct uqm_writer *w;
    size_t n_ended; /* shards that are finished: the sink's, if there is one, is the next */
    struct uqm_tile_stream *tiles;
    struct place asking; /* ahead of ... */
    struct place at;     /* ... what is written */
    struct uqm_sink *sink;
    struct uqm_xxh3 *xxh3;
    void *encoded; /* plan.form_bytes, of a form */
};

/* The tensor there, or NULL at the end; steps over the end of a shard. */
static const struct uqm_tensor *tensor_at(const struct uqm_writer *w, struct place *at,
                                          size_t *index)
{
    const struct uqm_write_plan *p = &w->plan;
    while (at->shard < p->n_shards && at->tensor == p->shards[at->shard].n_tensors) {
        at->shard++;
        at->tensor = 0;
    }
    if (at->shard == p->n_shards)
        return NULL;
    *index = p->shards[at->shard].tensors[at->tensor];
    return &w->rs->source.tensors[*index];
}

static void move_on(struct place *at, const struct uqm_tensor *t, size_t n_elem)
{
    at->elem += n_elem;
    if (at->elem == t->n_elem) {
        at->tensor++;
        at->elem = 0;
    }
}

static int next_range(void *ctx, struct uqm_range *range)
{
    struct run *r = ctx;
    size_t index;
    const struct uqm_tensor *t = tensor_at(r->w, &r->asking, &index);
    if (!t)
        return 0;
    unsigned bits = r->w->widest ? r->w->widest[index] : uqm_dtype_bits(t->dtype);
    /* a multiple of 8 elements is a whole number of bytes in every type */
    const struct uqm_shard_plan *shard = &r->w->plan.shards[r->asking.shard];
    uint64_t unit = shard->units ? shard->units[r->asking.tensor] : 8;
    uint64_t most = (uint64_t) r->w->plan.tile_bytes * 8 / bits / unit * unit;
    *range = (struct uqm_range){
        .tensor = index,
        .first_elem = r->asking.elem,
        .n_elem = (size_t) uqm_min_u64(most, t->n_elem - r->asking.elem),
    };
    move_on(&r->asking, t, range->n_elem);
    return 1;
}

/* Bytes of input that n_elem elements of an output tensor are made of. */
static uint64_t input_bytes(const struct uqm_recipe_source *rs, size_t tensor, uint64_t n_elem)
{
    const struct uqm_plan_tensor *pt = &rs->plan[tensor];
    uint64_t n = 0;
    for (size_t p = 0; p < pt->n_parts; p++)
        n += uqm_write_plan_part_bytes(rs, &pt->parts[p], n_elem);
    return n;
}

static int begin_shard(struct run *r, struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    const struct uqm_shard_plan *shard = &w->plan.shards[r->at.shard];
    const char *path = uqm_arena_printf(&w->arena, "%s/%s", w->dir, shard->name);
    if (!path)
        return uqm_writer_no_memory(w, err);
    int ret = uqm_sink_create(&r->sink, w->env, path, shard->n_bytes, w->plan.sink_bytes, err);
    w->dir_changed = true;
    if (ret == UQM_OK)
        ret = uqm_sink_write(r->sink, shard->header.bytes, shard->header.n_bytes, err);
    return ret;
}

static int end_shard(struct run *r, const struct uqm_shard_plan *shard, struct uqm_err *err)
{
    struct uqm_file_digest digest = { .n_leaves = 0 };
    int ret = uqm_sink_finish(r->sink, &digest, err);
    if (ret == UQM_OK)
        ret = uqm_writer_note(r->w, shard->name, shard->n_bytes, &digest, err);
    uqm_file_digest_finish(&digest);
    if (ret < 0)
        return ret; /* the sink is looked at once more */
    uqm_sink_destroy(&r->sink);
    r->n_ended++;
    return ret;
}

/*
 * Tell the journal how far this run has come: what the sink has synced of the shard in hand, and
 * all of the shards before it.
 */
static int tell(struct run *r, bool all, struct uqm_err *err)
{
    uint64_t n_bytes = 0;
    int ret = r->sink ? uqm_sink_flush(r->sink, all, &n_bytes, err) : UQM_OK;
    return ret == UQM_OK ? uqm_writer_say(r->w, r->n_ended, n_bytes, err) : ret;
}

static int write_bytes(struct run *r, const struct uqm_tile *tile, struct uqm_err *err)
{
    const struct uqm_writer *w = r->w;
    struct uqm_write_form *form = w->params->form;
    const void *data = form ? r->encoded : tile->data;
    size_t n_bytes = tile->n_bytes;
    int ret = form ? form->encode(form, r->encoded, &n_bytes, &w->plan.shards[r->at.shard],
                                  r->at.tensor, tile, w->threads, err)
                   : UQM_OK;
    if (ret < 0)
        return ret;
    uqm_xxh3_update(r->xxh3, data, n_bytes);
    return uqm_sink_write(r->sink, data, n_bytes, err);
}

/* What lies between a tensor's end and the next one's begin, or the file's end. */
static int write_gap(struct run *r, const struct uqm_shard_plan *shard, size_t place,
                     struct uqm_err *err)
{
    static const uint8_t zeros[256];
    uint64_t at = shard->offsets[place] + uqm_shard_tensor_bytes(shard, place, &r->w->rs->source);
    uint64_t end = place + 1 < shard->n_tensors ? shard->offsets[place + 1] : shard->n_bytes;
    int ret = UQM_OK;
    for (; at < end && ret == UQM_OK; at += sizeof zeros)
        ret = uqm_sink_write(r->sink, zeros, (size_t) uqm_min_u64(sizeof zeros, end - at), err);
    return ret;
}

static int write_tile(struct run *r, size_t index, size_t *n_elem, struct uqm_err *err)
{
    struct uqm_tile tile;
    int ret = uqm_tile_next(r->tiles, &tile, err);
    if (ret > 0 && !r->w->params->allow_nan && uqm_merge_report_check(r->w->report, err) < 0)
        ret = err->code;
    if (ret < 0)
        return ret;
    assert(ret == 1 && tile.range.tensor == index && tile.range.first_elem == r->at.elem);
    (void) index;
    ret = write_bytes(r, &tile, err);
    *n_elem = tile.range.n_elem;
    uqm_tile_release(r->tiles, &tile);
    return ret;
}

/* The next tile, with all that begins before it and ends behind it. */
static int step(struct run *r, uint64_t *n_read, struct uqm_err *err)
{
    size_t index = 0, n_elem = 0;
    const struct uqm_tensor *t = tensor_at(r->w, &r->at, &index);
    assert(t);
    const struct uqm_shard_plan *shard = &r->w->plan.shards[r->at.shard];
    const size_t k = r->at.tensor;
    int ret = uqm_check_cancel(r->w->env, err);
    if (ret == UQM_OK && !r->sink)
        ret = begin_shard(r, err);
    if (ret == UQM_OK && r->at.elem == 0)
        uqm_xxh3_reset(r->xxh3);
    if (ret == UQM_OK)
        ret = write_tile(r, index, &n_elem, err);
    if (ret < 0)
        return ret;
    *n_read += input_bytes(r->w->rs, index, n_elem);
    move_on(&r->at, t, n_elem);
    if (r->at.tensor == k)
        return UQM_OK;
    ret = uqm_writer_note_tensor(r->w, uqm_xxh3_hex(r->xxh3).text, err);
    r->w->unsaid_bytes += uqm_shard_tensor_bytes(shard, k, &r->w->rs->source);
    if (ret == UQM_OK && shard->sizes)
        ret = write_gap(r, shard, k, err);
    if (ret == UQM_OK && r->at.tensor == shard->n_tensors)
        ret = end_shard(r, shard, err);
    return ret == UQM_OK && uqm_writer_is_due(r->w) ? tell(r, false, err) : ret;
}

/* --- side by side --- */

/*
 * The tensor, by its canonical name, that is next: the one begun, else the first in the order of
 * writing. Merges of one family write theirs in one order; where they do not, what an earlier one
 * has passed is read again.
 */
static const char *next_tensor(struct run *runs, size_t n, const char *begun)
{
    const char *least = NULL, *name = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t index;
        const struct uqm_tensor *t = tensor_at(runs[i].w, &runs[i].at, &index);
        if (t && runs[i].at.elem > 0 && begun && strcmp(t->canonical, begun) == 0)
            return t->canonical;
        const char *sort = t ? runs[i].w->rs->plan[index].sort_name : NULL;
        if (t && (!least || strcmp(sort, least) < 0)) {
            least = sort;
            name = t->canonical;
        }
    }
    return name;
}

/* Of the inputs, that an interrupted run has read. */
static uint64_t bytes_before(const struct run *r)
{
    uint64_t n = 0;
    for (size_t s = 0, left = r->w->n_tensors; left > 0; s++) {
        const struct uqm_shard_plan *shard = &r->w->plan.shards[s];
        for (size_t k = 0; k < shard->n_tensors && left > 0; k++, left--)
            n += input_bytes(r->w->rs, shard->tensors[k],
                             r->w->rs->source.tensors[shard->tensors[k]].n_elem);
    }
    return n;
}

static int run_all(struct run *runs, size_t n, struct uqm_err *err)
{
    uint64_t n_read = 0, total = 0;
    const char *name = NULL;
    for (size_t i = 0; i < n; i++) {
        total += runs[i].w->plan.read_bytes;
        n_read += bytes_before(&runs[i]);
    }
    while ((name = next_tensor(runs, n, name))) {
        for (size_t i = 0; i < n; i++) {
            size_t index;
            const struct uqm_tensor *t = tensor_at(runs[i].w, &runs[i].at, &index);
            if (!t || strcmp(t->canonical, name) != 0)
                continue;
            int ret = step(&runs[i], &n_read, err);
            if (ret < 0)
                return ret;
        }
        if (runs[0].w->rs->share)
            uqm_share_next_range(runs[0].w->rs->share);
        uqm_report(runs[0].w->env, "merging", "bytes", n_read, total);
    }
    return UQM_OK;
}

/* --- from where an interrupted run was --- */

/* The shards whose tensors are noted already: they are read back, which gives their digests. */
static int reopen_shards(struct run *r, struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    size_t left = w->n_tensors;
    int ret = UQM_OK;
    for (size_t s = 0; left > 0 && ret == UQM_OK; s++) {
        const struct uqm_shard_plan *shard = &w->plan.shards[s];
        size_t n = (size_t) uqm_min_u64(left, shard->n_tensors);
        r->at = (struct place){ .shard = s, .tensor = n };
        left -= n;
        if (n > 0)
            ret = uqm_writer_reopen(&r->sink, w, s, n, err);
        if (ret == UQM_OK && n > 0 && shard->sizes)
            ret = write_gap(r, shard, n - 1, err);
        if (ret == UQM_OK && n > 0 && n == shard->n_tensors)
            ret = end_shard(r, shard, err);
    }
    return ret;
}

static int go_on(struct run *r, struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    if (uqm_publish_is_done(w->publish)) {
        r->at.shard = r->n_ended = w->plan.n_shards;
        return UQM_OK;
    }
    int ret = reopen_shards(r, err);
    if (ret == UQM_ERR_CHECK) {
        uqm_log(w->env, UQM_LOG_WARN, "what an interrupted run left is begun anew: %s", err->msg);
        uqm_sink_destroy(&r->sink);
        r->at = (struct place){ .shard = 0 };
        r->n_ended = 0;
        ret = uqm_writer_forget(w, err);
    }
    return ret;
}

static int begin(struct run *r, struct uqm_writer *w, struct uqm_err *err)
{
    r->w = w;
    r->xxh3 = uqm_xxh3_create();
    int ret = r->xxh3 ? go_on(r, err) : uqm_writer_no_memory(w, err);
    r->asking = r->at;
    if (ret == UQM_OK && w->params->form)
        ret = uqm_budget_alloc(&r->encoded, w->env, (size_t) w->plan.form_bytes, 64,
                               "the encoded tiles", err);
    if (ret < 0)
        return ret;
    return uqm_source_open(&r->tiles, &w->rs->source, w->threads, w->plan.tile_bytes,
                           w->plan.stream_bytes, next_range, r, err);
}

/* All that can be told before the end, which `why` is the reason of, or before what follows. */
static int end(struct run *r, int why, struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    struct uqm_err aside = { 0 };
    uqm_tile_stream_destroy(&r->tiles);
    if (!w || uqm_publish_is_done(w->publish))
        return why;
    struct uqm_journal *j = uqm_publish_journal(w->publish);
    int ret = tell(r, true, why < 0 ? &aside : err);
    if (r->sink && uqm_sink_is_spoilt(r->sink))
        uqm_journal_spoil(j);
    if (r->sink)
        uqm_sink_keep_file(r->sink); /* the part folder decides */
    return why < 0 ? why : ret;
}

int uqm_writers_weights(struct uqm_writer *writers, size_t n, struct uqm_err *err)
{
    struct run *runs = calloc(n, sizeof *runs);
    int ret = runs ? UQM_OK : uqm_writer_no_memory(&writers[0], err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = begin(&runs[i], &writers[i], err);
    if (ret == UQM_OK)
        ret = run_all(runs, n, err);
    for (size_t i = 0; i < n && runs; i++) {
        ret = end(&runs[i], ret, err);
        uqm_sink_destroy(&runs[i].sink);
        if (runs[i].w)
            uqm_budget_free(&runs[i].encoded, runs[i].w->env, (size_t) runs[i].w->plan.form_bytes);
        uqm_xxh3_destroy(&runs[i].xxh3);
    }
    free(runs);
    return ret;
}
