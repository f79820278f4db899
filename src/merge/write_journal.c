/*
 * What a merge journals (io/journal.h), integers and doubles little-endian:
 *
 *     1  a tensor that is on the disk
 *        u32 shard | u32 place in it | u64 begin | u64 end in the file | 32 hex digits of XXH3-128
 *        | u32 n | u32 0 | n times the report's sums: f64 d2, x2, max_abs, u64 nan, inf, moved,
 * same 2  how far an input file has been hashed u32 file | u32 0 | u64 bytes | a stream's state
 * (uqm_xxh3_save())
 *
 * Tensors come in the order they lie on the disk, none left out.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/merge/merge_report_sums.h"
#include "src/merge/writer.h"

enum { RECORD_TENSOR = 1, RECORD_INPUT = 2 };
enum { DIGEST_CHARS = 32, TENSOR_BYTES = 24 + DIGEST_CHARS + 8, SUM_BYTES = 56, INPUT_BYTES = 16 };
enum { NS_A_SECOND = 1000000000, MOST_SECONDS = 5 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * NS_A_SECOND + (uint64_t) t.tv_nsec;
}

/* --- sums --- */

static void put_f64(uint8_t *p, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uqm_put_u64(p, bits);
}

static double get_f64(const uint8_t *p)
{
    uint64_t bits = uqm_get_u64(p);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void put_sums(uint8_t *p, const struct uqm_report_sums *s)
{
    put_f64(p, s->d2);
    put_f64(p + 8, s->x2);
    put_f64(p + 16, s->max_abs);
    uqm_put_u64(p + 24, s->n_nan);
    uqm_put_u64(p + 32, s->n_inf);
    uqm_put_u64(p + 40, s->n_moved);
    uqm_put_u64(p + 48, s->n_same);
}

static struct uqm_report_sums get_sums(const uint8_t *p)
{
    return (struct uqm_report_sums){
        .d2 = get_f64(p),
        .x2 = get_f64(p + 8),
        .max_abs = get_f64(p + 16),
        .n_nan = uqm_get_u64(p + 24),
        .n_inf = uqm_get_u64(p + 32),
        .n_moved = uqm_get_u64(p + 40),
        .n_same = uqm_get_u64(p + 48),
    };
}

/* --- what was said --- */

/* Which tensor number n is, in the order of the disk. */
static size_t tensor_number(const struct uqm_writer *w, size_t n, uint32_t *shard, uint32_t *place)
{
    *shard = 0;
    while (n >= w->plan.shards[*shard].n_tensors)
        n -= w->plan.shards[(*shard)++].n_tensors;
    *place = (uint32_t) n;
    return w->plan.shards[*shard].tensors[n];
}

int uqm_writer_note_tensor(struct uqm_writer *w, const char *digest, struct uqm_err *err)
{
    uint32_t shard, place;
    const struct uqm_tensor *t =
        &w->rs->source.tensors[tensor_number(w, w->n_tensors, &shard, &place)];
    const struct uqm_shard_plan *s = &w->plan.shards[shard];
    struct uqm_manifest_tensor *m = &w->tensors[w->n_tensors];
    *m = (struct uqm_manifest_tensor){
        .name = s->names ? s->names[place] : t->name,
        .file = shard,
        .offset = s->offsets[place],
        .bytes = uqm_shard_tensor_bytes(s, place, &w->rs->source),
        .digest = uqm_arena_strndup(&w->arena, digest, DIGEST_CHARS),
    };
    if (!m->digest)
        return uqm_writer_no_memory(w, err);
    w->n_tensors++;
    return UQM_OK;
}

/* 1; 0: not what this merge would have said. */
static int take_tensor(struct uqm_writer *w, const struct uqm_record *r, struct uqm_err *err)
{
    uint32_t shard, place;
    if (w->n_tensors == w->plan.n_order || r->n_bytes < TENSOR_BYTES)
        return 0;
    size_t index = tensor_number(w, w->n_tensors, &shard, &place), n_sums = 0;
    struct uqm_report_sums *sums = uqm_merge_report_sums(w->report, index, &n_sums);
    const struct uqm_shard_plan *s = &w->plan.shards[shard];
    uint64_t begin = s->offsets[place];
    const uint8_t *p = r->payload;
    if (uqm_get_u32(p) != shard || uqm_get_u32(p + 4) != place || uqm_get_u64(p + 8) != begin ||
        uqm_get_u64(p + 16) != begin + uqm_shard_tensor_bytes(s, place, &w->rs->source) ||
        uqm_get_u32(p + 24 + DIGEST_CHARS) != n_sums ||
        r->n_bytes != TENSOR_BYTES + n_sums * SUM_BYTES)
        return 0;
    for (size_t i = 0; i < n_sums; i++)
        sums[i] = get_sums(p + TENSOR_BYTES + i * SUM_BYTES);
    int ret = uqm_writer_note_tensor(w, (const char *) p + 24, err);
    return ret < 0 ? ret : 1;
}

static bool take_input(struct uqm_writer *w, const struct uqm_record *r)
{
    return r->n_bytes == INPUT_BYTES + UQM_XXH3_STATE_BYTES &&
           uqm_input_hash_load(w->hash, uqm_get_u32(r->payload), uqm_get_u64(r->payload + 8),
                               r->payload + INPUT_BYTES);
}

/* Whatever lies in the part folder and is no shard that the journal speaks of. */
static int remove_others(const struct uqm_writer *w, struct uqm_err *err)
{
    DIR *d = opendir(w->dir);
    struct dirent *e;
    int ret = d ? UQM_OK : uqm_fail_errno(err, "%s", w->dir);
    size_t n_shards = 0;
    for (size_t n = w->n_tensors; n > 0 && n_shards < w->plan.n_shards; n_shards++)
        n -= uqm_min_u64(n, w->plan.shards[n_shards].n_tensors);
    while (ret == UQM_OK && (e = readdir(d))) {
        bool ours = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        for (size_t s = 0; s < n_shards && !ours; s++)
            ours = strcmp(e->d_name, w->plan.shards[s].name) == 0;
        char *path = ours ? NULL : uqm_path_join(w->dir, e->d_name);
        if (!ours)
            ret = path ? uqm_remove_tree(path, err) : uqm_writer_no_memory(w, err);
        free(path);
    }
    if (d)
        closedir(d);
    return ret;
}

int uqm_writer_replay(struct uqm_writer *w, struct uqm_err *err)
{
    struct uqm_journal *j = uqm_publish_journal(w->publish);
    struct uqm_record record;
    w->said_ns = now_ns();
    while (uqm_journal_read(j, &record)) {
        int ret = record.kind == RECORD_TENSOR  ? take_tensor(w, &record, err)
                  : record.kind == RECORD_INPUT ? take_input(w, &record)
                                                : 0;
        if (ret < 0)
            return ret;
        if (ret == 0)
            uqm_journal_cut(j);
    }
    w->n_said = w->n_resumed = w->n_tensors;
    return uqm_publish_is_done(w->publish) ? UQM_OK : remove_others(w, err);
}

int uqm_writer_forget(struct uqm_writer *w, struct uqm_err *err)
{
    uqm_merge_report_forget(w->report);
    w->n_tensors = w->n_said = w->n_resumed = w->n_files = w->n_leaves = 0;
    return uqm_publish_restart(w->publish, err);
}

/* --- what is to be said --- */

bool uqm_writer_is_due(const struct uqm_writer *w)
{
    return w->unsaid_bytes >= w->env->sync_bytes ||
           now_ns() - w->said_ns >= (uint64_t) MOST_SECONDS * NS_A_SECOND;
}

static int say_tensor(struct uqm_writer *w, size_t n, struct uqm_err *err)
{
    uint32_t shard, place;
    size_t index = tensor_number(w, n, &shard, &place), n_sums = 0;
    const struct uqm_report_sums *sums = uqm_merge_report_sums(w->report, index, &n_sums);
    const struct uqm_manifest_tensor *m = &w->tensors[n];
    size_t n_bytes = TENSOR_BYTES + n_sums * SUM_BYTES;
    uint8_t *p = calloc(1, n_bytes);
    if (!p)
        return uqm_writer_no_memory(w, err);
    uqm_put_u32(p, shard);
    uqm_put_u32(p + 4, place);
    uqm_put_u64(p + 8, m->offset);
    uqm_put_u64(p + 16, m->offset + m->bytes);
    memcpy(p + 24, m->digest, DIGEST_CHARS);
    uqm_put_u32(p + 24 + DIGEST_CHARS, (uint32_t) n_sums);
    for (size_t i = 0; i < n_sums; i++)
        put_sums(p + TENSOR_BYTES + i * SUM_BYTES, &sums[i]);
    int ret = uqm_journal_append(uqm_publish_journal(w->publish), RECORD_TENSOR, p, n_bytes, err);
    free(p);
    return ret;
}

static int say_input(void *ctx, size_t file, uint64_t n_bytes, const uint8_t *state,
                     struct uqm_err *err)
{
    struct uqm_writer *w = ctx;
    uint8_t p[INPUT_BYTES + UQM_XXH3_STATE_BYTES] = { 0 };
    uqm_put_u32(p, (uint32_t) file);
    uqm_put_u64(p + 8, n_bytes);
    memcpy(p + INPUT_BYTES, state, UQM_XXH3_STATE_BYTES);
    return uqm_journal_append(uqm_publish_journal(w->publish), RECORD_INPUT, p, sizeof p, err);
}

int uqm_writer_say(struct uqm_writer *w, size_t n_whole, uint64_t n_bytes, struct uqm_err *err)
{
    int ret = UQM_OK;
    w->unsaid_bytes = 0;
    w->said_ns = now_ns();
    if (w->dir_changed) {
        ret = uqm_fsync_dir(w->dir, err);
        w->dir_changed = false;
        if (ret < 0)
            uqm_journal_spoil(uqm_publish_journal(w->publish));
    }
    for (; ret == UQM_OK && w->n_said < w->n_tensors; w->n_said++) {
        const struct uqm_manifest_tensor *m = &w->tensors[w->n_said];
        if (m->file > n_whole || (m->file == n_whole && m->offset + m->bytes > n_bytes))
            break;
        ret = say_tensor(w, w->n_said, err);
        if (ret < 0)
            return ret;
    }
    if (ret == UQM_OK)
        ret = uqm_input_hash_save(w->hash, say_input, w, err);
    return ret == UQM_OK ? uqm_journal_sync(uqm_publish_journal(w->publish), err) : ret;
}
