/*
 * Tensors to segments. A tensor of floats is words; what lies between tensors is bytes. A large
 * tensor begins a segment, and so blocks of its own; small ones join what is before them, because
 * a block has a price (docs/archive.md).
 */
#include <stdlib.h>
#include <string.h>

#include "src/archive/block_codec.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/pack/pack_plan.h"

enum { SMALL_BYTES = 128 << 10, SAMPLE_BYTES = 16 << 10, N_SAMPLES = 3 };

static int no_memory(const char *name, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to plan its packing", name);
}

static bool may_hold_tensors(const char *path)
{
    static const char *const endings[] = { ".safetensors", ".bin", ".pt", ".pth", ".ckpt" };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static enum uqm_archive_words words_of(enum uqm_dtype dtype)
{
    switch (dtype) {
    case UQM_F16:
    case UQM_BF16: return UQM_ARCHIVE_WORDS16;
    case UQM_F32:
    case UQM_C64: /* two of them */ return UQM_ARCHIVE_WORDS32;
    default: return UQM_ARCHIVE_BYTES;
    }
}

/* --- the base's tensor --- */

struct counterpart {
    bool found;
    size_t file; /* of the base */
    uint64_t off_bytes;
};

static struct counterpart find_in_base(const struct uqm_pack_plan *plan, const struct uqm_tensor *t)
{
    const struct uqm_checkpoint *base = plan->base;
    struct counterpart c = { 0 };
    long i = base ? uqm_source_find(&base->source, t->canonical) : -1;
    if (i < 0)
        return c;
    const struct uqm_tensor *b = &base->source.tensors[i];
    const struct uqm_location *at = &base->locations[i];
    uint64_t end;
    if (b->dtype != t->dtype || b->rank != t->rank || at->file >= base->n_own_files ||
        memcmp(b->shape, t->shape, t->rank * sizeof *t->shape) != 0 ||
        !uqm_add_u64(&end, at->off_bytes, t->n_bytes) || end > base->files[at->file]->size_bytes)
        return c;
    return (struct counterpart){ true, at->file, at->off_bytes };
}

/* Whether the XOR packs better, by samples from the tensor's beginning, middle and end. */
static int is_worth_it(bool *worth, const struct uqm_pack_plan *plan, struct uqm_block_codec *codec,
                       struct uqm_file *file, uint64_t off, const struct uqm_tensor *t,
                       const struct counterpart *c, struct uqm_err *err)
{
    uint8_t own[SAMPLE_BYTES], base[SAMPLE_BYTES], stored[SAMPLE_BYTES];
    enum uqm_archive_words words = words_of(t->dtype);
    uint64_t alone = 0, delta = 0;
    size_t n = (size_t) uqm_min_u64(t->n_bytes, SAMPLE_BYTES);
    for (unsigned i = 0; i < N_SAMPLES; i++) {
        uint64_t at = (t->n_bytes - n) / (N_SAMPLES - 1) * i / words * words;
        struct uqm_archive_block b;
        int ret = uqm_file_read(file, own, n, off + at, err);
        if (ret == UQM_OK)
            ret = uqm_file_read(plan->base->files[c->file], base, n, c->off_bytes + at, err);
        if (ret == UQM_OK)
            ret = uqm_block_encode(codec, &b, stored, words, own, n, NULL, err);
        alone += b.stored_bytes;
        if (ret == UQM_OK)
            ret = uqm_block_encode(codec, &b, stored, words, own, n, base, err);
        delta += b.stored_bytes;
        if (ret < 0)
            return ret;
    }
    *worth = delta < alone;
    return UQM_OK;
}

/* The base's file among those that the archive names. */
static int name_base_file(struct uqm_pack_plan *plan, uint32_t *out, size_t file,
                          struct uqm_err *err)
{
    struct uqm_archive_index *ix = &plan->index;
    struct uqm_file *f = plan->base->files[file];
    for (uint32_t i = 0; i < ix->n_base_files; i++)
        if (plan->base_files[i] == f) {
            *out = i;
            return UQM_OK;
        }
    char *name = uqm_path_base(f->name);
    const char *kept = name ? uqm_arena_strndup(&ix->arena, name, strlen(name)) : NULL;
    free(name);
    if (!kept)
        return no_memory(plan->dir, err);
    *out = (uint32_t) ix->n_base_files;
    plan->base_files[ix->n_base_files] = f;
    ix->base_files[ix->n_base_files++] =
        (struct uqm_archive_base_file){ .path = kept, .n_bytes = f->size_bytes };
    return UQM_OK;
}

/* --- one file --- */

struct cutting {
    struct uqm_pack_plan *plan;
    struct uqm_archive_file *file;
    struct uqm_file *open;
    struct uqm_block_codec *codec; /* to try deltas; NULL without a base */
    uint64_t at;                   /* the file is cut up to here */
    struct uqm_err *err;
};

/* The last segment, if the next n bytes may join it. */
static struct uqm_archive_segment *joined(const struct cutting *c,
                                          const struct uqm_archive_segment *next)
{
    const struct uqm_archive_index *ix = &c->plan->index;
    if (ix->n_segments == c->file->first_segment || next->n_bytes >= SMALL_BYTES)
        return NULL;
    struct uqm_archive_segment *s = &ix->segments[ix->n_segments - 1];
    bool ok = s->words == next->words && s->is_delta == next->is_delta &&
              (!s->is_delta ||
               (s->base_file == next->base_file && s->base_off + s->n_bytes == next->base_off));
    return ok ? s : NULL;
}

static int append(struct cutting *c, const struct uqm_archive_segment *next)
{
    struct uqm_archive_segment *s = joined(c, next);
    if (s) {
        s->n_bytes += next->n_bytes;
    } else {
        s = uqm_pack_add_segment(c->plan);
        if (!s)
            return no_memory(c->file->path, c->err);
        *s = *next;
        s->begin = c->at;
    }
    c->at += next->n_bytes;
    if (next->is_delta)
        c->plan->n_delta_bytes += next->n_bytes;
    return UQM_OK;
}

static int append_bytes(struct cutting *c, uint64_t upto)
{
    struct uqm_archive_segment s = { .words = UQM_ARCHIVE_BYTES, .n_bytes = upto - c->at };
    return upto > c->at ? append(c, &s) : UQM_OK;
}

static int append_tensor(struct cutting *c, const struct uqm_tensor *t, uint64_t off)
{
    struct uqm_archive_segment s = { .words = words_of(t->dtype), .n_bytes = t->n_bytes };
    struct counterpart in_base = find_in_base(c->plan, t);
    int ret = append_bytes(c, off);
    if (ret == UQM_OK && in_base.found) {
        ret = is_worth_it(&s.is_delta, c->plan, c->codec, c->open, off, t, &in_base, c->err);
        if (ret == UQM_OK && s.is_delta)
            ret = name_base_file(c->plan, &s.base_file, in_base.file, c->err);
        s.base_off = in_base.off_bytes;
    }
    if (!s.is_delta)
        s.base_off = 0;
    return ret == UQM_OK ? append(c, &s) : ret;
}

static int describe(struct cutting *c, const struct uqm_tensor *t, uint64_t off)
{
    struct uqm_arena *arena = &c->plan->index.arena;
    struct uqm_archive_tensor *out = uqm_pack_add_tensor(c->plan);
    uint64_t *shape = uqm_arena_alloc(arena, t->rank + 1, sizeof *shape);
    const char *name = uqm_arena_strndup(arena, t->name, strlen(t->name));
    if (!out || !shape || !name)
        return no_memory(c->file->path, c->err);
    memcpy(shape, t->shape, t->rank * sizeof *shape);
    *out = (struct uqm_archive_tensor){ name, t->dtype, t->rank, shape, off, t->n_bytes };
    return UQM_OK;
}

struct ordered {
    size_t tensor;
    uint64_t off_bytes, n_bytes;
};

static int by_place(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    if (x->off_bytes != y->off_bytes)
        return x->off_bytes < y->off_bytes ? -1 : 1;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* Tensors may share bytes (views, tied weights): the first of them cuts the file. Their
 * bytes may lie apart (strides), or be no whole words of it: then they do not. */
static int cut(struct cutting *c, const struct uqm_checkpoint *cp)
{
    size_t n = cp->source.n_tensors;
    struct ordered *order = calloc(n + 1, sizeof *order);
    int ret = order ? UQM_OK : no_memory(c->file->path, c->err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        order[i] = (struct ordered){ i, cp->locations[i].off_bytes, cp->source.tensors[i].n_bytes };
    if (n > 1 && ret == UQM_OK)
        qsort(order, n, sizeof *order, by_place);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        const struct uqm_tensor *t = &cp->source.tensors[order[i].tensor];
        uint64_t off = order[i].off_bytes, end;
        if (!uqm_add_u64(&end, off, t->n_bytes) || end > c->file->n_bytes)
            continue;
        ret = describe(c, t, off);
        if (ret == UQM_OK && t->n_bytes > 0 && off >= c->at)
            ret = append_tensor(c, t, off);
    }
    free(order);
    return ret;
}

static int cut_weights(struct cutting *c, const char *path)
{
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err why = { 0 };
    const struct uqm_checkpoint_params params = { .path = path };
    int ret = uqm_checkpoint_open(&cp, c->plan->env, &params, &why);
    if (ret == UQM_ERR_FORMAT || ret == UQM_ERR_UNSUPPORTED) {
        uqm_log(c->plan->env, UQM_LOG_INFO, "packed as bytes, not as tensors: %s", why.msg);
        return UQM_OK;
    }
    if (ret < 0) {
        *c->err = why;
        return ret;
    }
    c->open = cp->files[0];
    ret = cut(c, cp);
    c->open = NULL;
    uqm_checkpoint_close(&cp);
    return ret;
}

int uqm_pack_segments(struct uqm_pack_plan *plan, size_t file, struct uqm_err *err)
{
    struct uqm_archive_index *ix = &plan->index;
    struct cutting c = { .plan = plan, .file = &ix->files[file], .err = err };
    c.file->first_segment = ix->n_segments;
    c.file->first_tensor = ix->n_tensors;
    char *path = uqm_pack_plan_path(plan, file);
    int ret = path ? UQM_OK : no_memory(c.file->path, err);
    if (ret == UQM_OK && plan->base)
        ret = uqm_block_codec_create(&c.codec, plan->env, SAMPLE_BYTES, err);
    if (ret == UQM_OK && may_hold_tensors(c.file->path))
        ret = cut_weights(&c, path);
    if (ret == UQM_OK)
        ret = append_bytes(&c, c.file->n_bytes);
    uqm_block_codec_destroy(&c.codec);
    free(path);
    c.file->n_segments = ix->n_segments - c.file->first_segment;
    c.file->n_tensors = ix->n_tensors - c.file->first_tensor;
    return ret;
}
