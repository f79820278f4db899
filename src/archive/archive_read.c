/*
 * Bytes of an archive's file: the blocks that hold them are read, unpacked, checked and copied. A
 * reader is what one thread needs for that; there are a few, and who finds none idle waits. Each
 * keeps the last block that it unpacked for a part of it, because whoever reads in small pieces
 * asks for the rest of it next.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/archive/archive_base.h"
#include "src/archive/archive_impl.h"
#include "src/base/checked.h"

enum { MOST_READERS = 16, BUDGET_SHARE = 16 };

struct uqm_archive_reader {
    struct uqm_archive_reader *next;
    struct uqm_block_codec *codec;
    uint8_t *stored, *plain, *base; /* a block each; base: only in an archive that has one */
    size_t n_bytes;                 /* of all three */
    uint64_t kept;                  /* the block in `plain`; UINT64_MAX: none */
};

/* --- readers --- */

static void free_reader(struct uqm_archive *a, struct uqm_archive_reader **reader)
{
    struct uqm_archive_reader *r = *reader;
    if (!r)
        return;
    void *memory = r->stored;
    uqm_budget_free(&memory, a->env, r->n_bytes);
    uqm_block_codec_destroy(&r->codec);
    free(r);
    *reader = NULL;
}

static int make_reader(struct uqm_archive_reader **out, struct uqm_archive *a, struct uqm_err *err)
{
    void *memory = NULL;
    size_t block = a->index.block_bytes;
    struct uqm_archive_reader *r = calloc(1, sizeof *r);
    if (!r)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to read it", a->stored->name);
    r->n_bytes = (a->base ? 3 : 2) * block;
    r->kept = UINT64_MAX;
    int ret = uqm_budget_alloc(&memory, a->env, r->n_bytes, 4096, "an archive's blocks", err);
    r->stored = memory;
    if (ret == UQM_OK)
        ret = uqm_block_codec_create(&r->codec, a->env, block, err);
    if (ret < 0) {
        free_reader(a, &r);
        return ret;
    }
    r->plain = r->stored + block;
    r->base = a->base ? r->plain + block : NULL;
    *out = r;
    return UQM_OK;
}

/* As many as there are threads, from a small share of the memory; one in any case. */
static bool may_have_more(const struct uqm_archive *a)
{
    uint64_t each = UINT64_C(5) * a->index.block_bytes;
    size_t most = (size_t) uqm_min_u64((uint64_t) a->env->n_threads, MOST_READERS);
    return a->n_readers == 0 ||
           (a->n_readers < most &&
            (a->n_readers + 1) * each <= a->env->budget.limit_bytes / BUDGET_SHARE &&
            uqm_budget_left(a->env) >= each);
}

/* An idle one, best the one that keeps `block`; a new one; else the first that is given back. */
static int take_reader(struct uqm_archive_reader **out, struct uqm_archive *a, uint64_t block,
                       struct uqm_err *err)
{
    int ret = UQM_OK;
    *out = NULL;
    pthread_mutex_lock(&a->lock);
    while (!*out && ret == UQM_OK) {
        struct uqm_archive_reader **at = &a->idle, **best = at;
        for (; *at; at = &(*at)->next)
            if ((*at)->kept == block)
                best = at;
        if (*best) {
            *out = *best;
            *best = (*best)->next;
        } else if (may_have_more(a)) {
            struct uqm_err why = { 0 };
            ret = make_reader(out, a, &why);
            if (ret == UQM_OK)
                a->n_readers++;
            else if (a->n_readers > 0)
                ret = UQM_OK; /* somebody else took the memory: wait for one of ours */
            else if (err)
                *err = why;
            if (ret == UQM_OK && !*out)
                pthread_cond_wait(&a->given_back, &a->lock);
        } else {
            pthread_cond_wait(&a->given_back, &a->lock);
        }
    }
    pthread_mutex_unlock(&a->lock);
    return ret;
}

static void give_reader(struct uqm_archive *a, struct uqm_archive_reader *reader)
{
    pthread_mutex_lock(&a->lock);
    reader->next = a->idle;
    a->idle = reader;
    pthread_cond_signal(&a->given_back);
    pthread_mutex_unlock(&a->lock);
}

void uqm_archive_drop_readers(struct uqm_archive *a)
{
    while (a->idle) {
        struct uqm_archive_reader *r = a->idle;
        a->idle = r->next;
        free_reader(a, &r);
    }
}

/* --- blocks --- */

/* Where a byte of a file lies. */
struct place {
    const struct uqm_archive_segment *segment;
    uint64_t k;          /* the block, counted from the segment's first */
    uint64_t begin, end; /* of the block in the file */
};

static struct place place_of(const struct uqm_archive_index *ix, size_t file, uint64_t off_bytes)
{
    struct place p = { .segment = &ix->segments[uqm_archive_index_segment(ix, file, off_bytes)] };
    p.k = (off_bytes - p.segment->begin) / ix->block_bytes;
    p.begin = p.segment->begin + p.k * ix->block_bytes;
    p.end = p.begin + uqm_archive_block_bytes(ix, p.segment, p.k);
    return p;
}

/* What is stored of a block, and what of the base it is XORed with. */
static void sources_of(struct uqm_file_source sources[UQM_FILE_MAX_SOURCES],
                       const struct uqm_archive *a, const struct place *p)
{
    const struct uqm_archive_segment *s = p->segment;
    const struct uqm_archive_block *b = &a->index.blocks[s->first_block + p->k];
    sources[0] = (struct uqm_file_source){ a->stored, b->stored_off, b->stored_bytes };
    if (s->is_delta)
        sources[1] = (struct uqm_file_source){ a->base->files[s->base_file],
                                               s->base_off + (p->begin - s->begin),
                                               (size_t) (p->end - p->begin) };
}

/* *bytes, unless they are there already: read into buf. */
static int get_source(const uint8_t **bytes, struct uqm_archive *a, uint8_t *buf,
                      const struct uqm_file_source *from, struct uqm_err *err)
{
    if (*bytes)
        return UQM_OK;
    *bytes = buf;
    int ret = uqm_file_read(from->file, buf, from->n_bytes, from->off_bytes, err);
    if (ret == UQM_OK && !from->file->ops) /* a made one has counted its own */
        atomic_fetch_add(&a->env->bytes_read, from->n_bytes);
    return ret;
}

static int unpack_block(struct uqm_archive *a, struct uqm_archive_reader *r, const struct place *p,
                        const char *name, const uint8_t *const given[UQM_FILE_MAX_SOURCES],
                        uint8_t *plain, struct uqm_err *err)
{
    const struct uqm_archive_segment *s = p->segment;
    const struct uqm_archive_block *b = &a->index.blocks[s->first_block + p->k];
    const uint8_t *stored = given[0], *base = given[1];
    struct uqm_file_source from[UQM_FILE_MAX_SOURCES] = { 0 };
    struct uqm_err inner = { 0 };
    sources_of(from, a, p);
    int ret = get_source(&stored, a, r->stored, &from[0], err);
    if (ret == UQM_OK && s->is_delta)
        ret = get_source(&base, a, r->base, &from[1], err);
    if (ret < 0)
        return ret;
    ret = uqm_block_decode(r->codec, plain, (size_t) (p->end - p->begin), s->words, b, stored,
                           s->is_delta ? base : NULL, &inner);
    if (ret < 0)
        return uqm_fail(err, inner.code,
                        "%s: bytes [%" PRIu64 ", %" PRIu64 "), block %" PRIu64
                        " of the archive: %s",
                        name, p->begin, p->end, s->first_block + p->k, inner.msg);
    return UQM_OK;
}

/* What [from, to) has of one block. */
static int read_from_block(struct uqm_archive *a, struct uqm_archive_reader *r,
                           const struct place *p, const char *name,
                           const uint8_t *const given[UQM_FILE_MAX_SOURCES], uint8_t *out,
                           uint64_t from, uint64_t to, struct uqm_err *err)
{
    uint64_t number = p->segment->first_block + p->k;
    if (from == p->begin && to == p->end && r->kept != number)
        return unpack_block(a, r, p, name, given, out, err);
    if (r->kept != number) {
        r->kept = UINT64_MAX;
        int ret = unpack_block(a, r, p, name, given, r->plain, err);
        if (ret < 0)
            return ret;
        r->kept = number;
    }
    memcpy(out, r->plain + (from - p->begin), (size_t) (to - from));
    return UQM_OK;
}

/* given: of the one block that the bytes are of; else NULL. */
static int read_blocks(struct uqm_archive *a, size_t file, const char *name, uint8_t *out,
                       size_t len, uint64_t off_bytes,
                       const uint8_t *const given[UQM_FILE_MAX_SOURCES], struct uqm_err *err)
{
    struct uqm_archive_reader *r;
    uint64_t at = off_bytes, end = off_bytes + len;
    if (len == 0)
        return UQM_OK;
    struct place p = place_of(&a->index, file, at);
    int ret = take_reader(&r, a, p.segment->first_block + p.k, err);
    if (ret < 0)
        return ret;
    while (at < end && ret == UQM_OK) {
        p = place_of(&a->index, file, at);
        uint64_t to = uqm_min_u64(p.end, end);
        ret = read_from_block(a, r, &p, name, given, out + (at - off_bytes), at, to, err);
        at = to;
    }
    give_reader(a, r);
    return ret;
}

int uqm_archive_read(struct uqm_archive *a, size_t file, const char *name, void *buf, size_t len,
                     uint64_t off_bytes, struct uqm_err *err)
{
    const uint8_t *const none[UQM_FILE_MAX_SOURCES] = { NULL };
    return read_blocks(a, file, name, buf, len, off_bytes, none, err);
}

int uqm_archive_make(struct uqm_archive *a, size_t file, const char *name, void *buf, size_t len,
                     uint64_t off_bytes, const uint8_t *const sources[UQM_FILE_MAX_SOURCES],
                     struct uqm_err *err)
{
    return read_blocks(a, file, name, buf, len, off_bytes, sources, err);
}

size_t uqm_archive_part(struct uqm_file_source sources[UQM_FILE_MAX_SOURCES], size_t *n_sources,
                        struct uqm_archive *a, size_t file, uint64_t off_bytes, size_t len)
{
    const struct place p = place_of(&a->index, file, off_bytes);
    sources_of(sources, a, &p);
    /* a base that is an archive is made itself */
    *n_sources = p.segment->is_delta && !sources[1].file->ops ? 2 : 1;
    return (size_t) (uqm_min_u64(p.end, off_bytes + len) - off_bytes);
}
