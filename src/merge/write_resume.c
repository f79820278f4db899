/* A shard that an interrupted run has begun: its bytes are held against the journal. */
#include <string.h>

#include "io/sink.h"
#include "src/base/checked.h"
#include "src/merge/writer.h"

struct reading {
    const struct uqm_writer *w;
    const struct uqm_shard_plan *shard;
    const struct uqm_manifest_tensor *noted; /* of the shard's first tensor */
    size_t tensor, n_tensors;
    uint64_t at; /* in the file */
    struct uqm_xxh3 *xxh3;
};

static int differs(const struct reading *r, const char *what, struct uqm_err *err)
{
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_CHECK, "%s: %s is not what the journal says", r->shard->name,
                    uqm_printable(&name, what, strlen(what)));
}

/* Tensors that end here, of which some may be empty. */
static int end_tensors(struct reading *r, struct uqm_err *err)
{
    while (r->tensor < r->n_tensors) {
        const struct uqm_manifest_tensor *m = &r->noted[r->tensor];
        if (r->at < m->offset + m->bytes)
            return UQM_OK;
        if (strcmp(uqm_xxh3_hex(r->xxh3).text, m->digest) != 0)
            return differs(r, m->name, err);
        uqm_xxh3_reset(r->xxh3);
        r->tensor++;
    }
    return UQM_OK;
}

static bool is_zeros(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static int check(void *ctx, const void *data, size_t n_bytes, struct uqm_err *err)
{
    struct reading *r = ctx;
    const uint8_t *p = data;
    const uint64_t header = r->shard->header.n_bytes;
    while (n_bytes > 0) {
        const struct uqm_manifest_tensor *m = &r->noted[r->tensor];
        bool in_header = r->at < header, in_gap = !in_header && r->at < m->offset;
        uint64_t end = in_header ? header : in_gap ? m->offset : m->offset + m->bytes;
        size_t n = (size_t) uqm_min_u64(n_bytes, end - r->at);
        if (in_gap && !is_zeros(p, n))
            return differs(r, "what lies between two tensors", err);
        if (!in_header && !in_gap)
            uqm_xxh3_update(r->xxh3, p, n);
        if (in_header && memcmp(p, (const char *) r->shard->header.bytes + r->at, n) != 0)
            return differs(r, "the header", err);
        p += n;
        n_bytes -= n;
        r->at += n;
        int ret = r->at >= header ? end_tensors(r, err) : UQM_OK;
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

int uqm_writer_reopen(struct uqm_sink **out, struct uqm_writer *w, size_t shard, size_t n_tensors,
                      struct uqm_err *err)
{
    struct reading r = { .w = w, .shard = &w->plan.shards[shard], .n_tensors = n_tensors };
    r.noted = w->tensors;
    for (size_t s = 0; s < shard; s++)
        r.noted += w->plan.shards[s].n_tensors;
    const struct uqm_manifest_tensor *last = &r.noted[n_tensors - 1];
    const char *path = uqm_arena_printf(&w->arena, "%s/%s", w->dir, r.shard->name);
    r.xxh3 = uqm_xxh3_create();
    int ret = path && r.xxh3
                  ? uqm_sink_reopen(out, w->env, path, r.shard->n_bytes, w->plan.sink_bytes,
                                    last->offset + last->bytes, check, &r, err)
                  : uqm_writer_no_memory(w, err);
    uqm_xxh3_destroy(&r.xxh3);
    return ret;
}
