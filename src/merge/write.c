#include "src/merge/write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "io/sink.h"
#include "src/base/checked.h"
#include "src/merge/writer.h"

int uqm_writer_no_memory(const struct uqm_writer *w, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to write the merge", w->params->out_dir);
}

int uqm_writer_note(struct uqm_writer *w, const char *name, uint64_t bytes,
                    const struct uqm_sha256_hex *sha256, struct uqm_err *err)
{
    if (w->n_files == w->files_cap) {
        size_t cap = w->files_cap ? 2 * w->files_cap : 32;
        struct uqm_manifest_file *grown = realloc(w->files, cap * sizeof *grown);
        if (!grown)
            return uqm_writer_no_memory(w, err);
        w->files = grown;
        w->files_cap = cap;
    }
    struct uqm_manifest_file *f = &w->files[w->n_files];
    f->name = uqm_arena_strndup(&w->arena, name, strlen(name));
    f->bytes = bytes;
    f->digest = uqm_arena_strndup(&w->arena, sha256->text, strlen(sha256->text));
    if (!f->name || !f->digest)
        return uqm_writer_no_memory(w, err);
    w->n_files++;
    return UQM_OK;
}

/* --- the weights --- */

/* Tiles in the order of the output's bytes: shard by shard, tensor by tensor. */
struct cursor {
    const struct uqm_writer *w;
    size_t shard, tensor; /* place in the shard */
    uint64_t elem;
};

static int next_range(void *ctx, struct uqm_range *range)
{
    struct cursor *c = ctx;
    const struct uqm_write_plan *p = &c->w->plan;
    while (c->shard < p->n_shards && c->tensor == p->shards[c->shard].n_tensors) {
        c->shard++;
        c->tensor = 0;
    }
    if (c->shard == p->n_shards)
        return 0;
    size_t index = p->shards[c->shard].tensors[c->tensor];
    const struct uqm_tensor *t = &c->w->rs->source.tensors[index];
    /* a multiple of 8 elements is a whole number of bytes in every type */
    uint64_t most = (uint64_t) p->tile_bytes * 8 / uqm_dtype_bits(t->dtype) & ~UINT64_C(7);
    const struct uqm_job *job = c->w->rs->plan[index].job;
    if (job && job->unit_elem > 1 && most > job->unit_elem)
        most = most / job->unit_elem * job->unit_elem; /* nothing is merged twice */
    *range = (struct uqm_range){
        .tensor = index,
        .first_elem = c->elem,
        .n_elem = (size_t) uqm_min_u64(most, t->n_elem - c->elem),
    };
    c->elem += range->n_elem;
    if (c->elem == t->n_elem) {
        c->tensor++;
        c->elem = 0;
    }
    return 1;
}

struct run {
    struct uqm_writer *w;
    struct uqm_tile_stream *tiles;
    struct uqm_xxh3 *xxh3;
    uint64_t n_read; /* bytes of the inputs */
};

/* Bytes of input that n_elem elements of an output tensor are made of. */
static uint64_t input_bytes(const struct uqm_recipe_source *rs, size_t tensor, uint64_t n_elem)
{
    const struct uqm_plan_tensor *pt = &rs->plan[tensor];
    uint64_t n = 0;
    for (size_t p = 0; p < pt->n_parts; p++) {
        const struct uqm_source *s = &rs->inputs[pt->parts[p].input].checkpoint->source;
        n += uqm_dtype_bytes(s->tensors[pt->parts[p].tensor].dtype, n_elem);
    }
    return n;
}

static int write_tensor(struct run *r, struct uqm_sink *sink, size_t index, struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    const struct uqm_tensor *t = &w->rs->source.tensors[index];
    uint64_t elem = 0;
    uqm_xxh3_reset(r->xxh3);
    do {
        struct uqm_tile tile;
        int ret = uqm_check_cancel(w->env, err);
        if (ret == UQM_OK)
            ret = uqm_tile_next(r->tiles, &tile, err);
        if (ret > 0 && !w->params->allow_nan && uqm_merge_report_check(w->report, err) < 0)
            ret = err->code;
        if (ret < 0)
            return ret;
        assert(ret == 1 && tile.range.tensor == index && tile.range.first_elem == elem);
        uqm_xxh3_update(r->xxh3, tile.data, tile.n_bytes);
        ret = uqm_sink_write(sink, tile.data, tile.n_bytes, err);
        elem += tile.range.n_elem;
        r->n_read += input_bytes(w->rs, index, tile.range.n_elem);
        uqm_tile_release(r->tiles, &tile);
        if (ret < 0)
            return ret;
        uqm_report(w->env, "merging", "bytes", r->n_read, w->plan.read_bytes);
    } while (elem < t->n_elem);
    return UQM_OK;
}

static int note_tensor(struct run *r, const struct uqm_shard_plan *shard, size_t k,
                       struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    const struct uqm_tensor *t = &w->rs->source.tensors[shard->tensors[k]];
    struct uqm_xxh3_hex hex = uqm_xxh3_hex(r->xxh3);
    struct uqm_manifest_tensor *m = &w->tensors[w->n_tensors++];
    *m = (struct uqm_manifest_tensor){
        .name = t->name,
        .file = w->n_files, /* noted when the shard is finished */
        .offset = shard->offsets[k],
        .bytes = t->n_bytes,
        .digest = uqm_arena_strndup(&w->arena, hex.text, strlen(hex.text)),
    };
    return m->digest ? UQM_OK : uqm_writer_no_memory(w, err);
}

static int write_shard(struct run *r, const struct uqm_shard_plan *shard, struct uqm_err *err)
{
    struct uqm_writer *w = r->w;
    struct uqm_sink *sink = NULL;
    struct uqm_sha256_hex sha256;
    const char *path = uqm_arena_printf(&w->arena, "%s/%s", w->dir, shard->name);
    if (!path)
        return uqm_writer_no_memory(w, err);
    int ret = uqm_sink_create(&sink, w->env, path, shard->n_bytes, w->plan.sink_bytes, err);
    if (ret == UQM_OK)
        ret = uqm_sink_write(sink, shard->header.bytes, shard->header.n_bytes, err);
    for (size_t k = 0; k < shard->n_tensors && ret == UQM_OK; k++) {
        ret = write_tensor(r, sink, shard->tensors[k], err);
        if (ret == UQM_OK)
            ret = note_tensor(r, shard, k, err);
    }
    if (ret == UQM_OK)
        ret = uqm_sink_finish(sink, &sha256, err);
    if (ret == UQM_OK)
        ret = uqm_writer_note(w, shard->name, shard->n_bytes, &sha256, err);
    uqm_sink_destroy(&sink);
    return ret;
}

static int write_weights(struct uqm_writer *w, struct uqm_err *err)
{
    struct cursor cursor = { .w = w };
    struct run r = { .w = w, .xxh3 = uqm_xxh3_create() };
    w->tensors = uqm_arena_alloc(&w->arena, w->plan.n_order, sizeof *w->tensors);
    int ret = r.xxh3 && w->tensors ? UQM_OK : uqm_writer_no_memory(w, err);
    if (ret == UQM_OK)
        ret = uqm_source_open(&r.tiles, &w->rs->source, w->threads, w->plan.tile_bytes,
                              w->plan.stream_bytes, next_range, &cursor, err);
    for (size_t s = 0; s < w->plan.n_shards && ret == UQM_OK; s++)
        ret = write_shard(&r, &w->plan.shards[s], err);
    uqm_tile_stream_destroy(&r.tiles);
    uqm_xxh3_destroy(&r.xxh3);
    return ret;
}

/* --- the whole --- */

static int check_disk(const struct uqm_writer *w, struct uqm_err *err)
{
    uint64_t needed, available;
    int ret = uqm_writer_disk(&needed, &available, w, err);
    if (ret < 0 || needed <= available)
        return ret;
    return uqm_fail(err, UQM_ERR_IO, "%s: needs %.1f MB on the disk, %.1f MB are free",
                    w->params->out_dir, (double) needed / 1e6, (double) available / 1e6);
}

static int check_inputs_unchanged(const struct uqm_writer *w, struct uqm_err *err)
{
    for (size_t k = 0; k < w->rs->n_inputs; k++) {
        const struct uqm_checkpoint *cp = w->rs->inputs[k].checkpoint;
        for (size_t f = 0; f < cp->n_own_files; f++) {
            int ret = uqm_file_check_unchanged(cp->files[f], err);
            if (ret < 0)
                return ret;
        }
    }
    return UQM_OK;
}

static int write_all(struct uqm_writer *w, struct uqm_err *err)
{
    int ret = uqm_write_plan_init(&w->plan, w->rs, w->params, err);
    if (ret == UQM_OK)
        ret = uqm_writer_check_target(w->rs, w->params->out_dir, err);
    if (ret == UQM_OK)
        ret = uqm_publish_begin(&w->publish, w->env, w->params->out_dir, w->params->overwrite, err);
    if (ret < 0)
        return ret;
    w->dir = uqm_publish_dir(w->publish);
    ret = check_disk(w, err);
    if (ret == UQM_OK)
        ret = uqm_input_hash_create(&w->hash, w->rs, &w->plan, w->threads, err);
    if (ret == UQM_OK)
        ret = uqm_merge_report_create(&w->report, w->rs, w->threads, w->plan.tile_bytes, err);
    if (ret == UQM_OK)
        ret = write_weights(w, err);
    if (ret == UQM_OK)
        ret = uqm_input_hash_finish(w->hash, err);
    if (ret == UQM_OK)
        ret = uqm_writer_small_files(w, err);
    if (ret == UQM_OK)
        ret = check_inputs_unchanged(w, err);
    if (ret == UQM_OK)
        ret = uqm_writer_manifest(w, err);
    if (ret == UQM_OK)
        ret = uqm_check_cancel(w->env, err);
    return ret == UQM_OK ? uqm_publish_commit(w->publish, err) : ret;
}

static uint64_t peak_resident_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t) usage.ru_maxrss * 1024 : 0;
}

static double seconds_since(const struct timespec *t0)
{
    struct timespec t1;
    clock_gettime(CLOCK_MONOTONIC, &t1);
    return (double) (t1.tv_sec - t0->tv_sec) + (double) (t1.tv_nsec - t0->tv_nsec) * 1e-9;
}

static json_t *describe(struct uqm_writer *w, const struct timespec *t0)
{
    struct uqm_env *env = w->env;
    bool uring = atomic_load(&env->io_used) == UQM_IO_URING;
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:I, s:s, s:b, s:b, s:o}", "out",
                     w->params->out_dir, "method", w->recipe->method->name, "tensors",
                     (json_int_t) w->n_tensors, "bytes_read",
                     (json_int_t) atomic_load(&env->bytes_read), "bytes_written",
                     (json_int_t) atomic_load(&env->bytes_written), "seconds", seconds_since(t0),
                     "peak_memory", (json_int_t) peak_resident_bytes(), "io",
                     uring ? "uring" : "pread", "direct", atomic_load(&env->direct_used), "resumed",
                     0, "report", uqm_merge_report_summary(w->report));
}

int uqm_merge_write(json_t **result, struct uqm_env *env, struct uqm_threads *threads,
                    struct uqm_source *source, const struct uqm_recipe *recipe,
                    const struct uqm_write_params *params, struct uqm_err *err)
{
    struct timespec t0;
    struct uqm_writer w = {
        .env = env,
        .threads = threads,
        .rs = uqm_recipe_source_of(source),
        .recipe = recipe,
        .params = params,
    };
    assert(w.rs && w.rs->recipe == recipe);
    w.rs->states_once = true;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    int ret = write_all(&w, err);
    if (ret == UQM_OK && !(*result = describe(&w, &t0)))
        ret = uqm_writer_no_memory(&w, err);
    uqm_merge_report_destroy(&w.report);
    uqm_input_hash_destroy(&w.hash);
    uqm_publish_end(&w.publish);
    uqm_write_plan_finish(&w.plan);
    uqm_arena_finish(&w.arena);
    free(w.files);
    return ret;
}
