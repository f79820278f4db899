/* uqm_archive_index_parse(): the index of an archive from a stranger. */
#include <inttypes.h>
#include <stdlib.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/base/tree.h"
#include "src/format/archive_index.h"
#include "src/format/safetensors.h"

/* The least bytes that a record takes in the index. */
enum {
    LEAST_BASE_FILE = 4 + 8 + 32,
    LEAST_FILE = 4 + 8 + 4 + 4 + 4 + 32 + 32,
    LEAST_SEGMENT = 24,
    LEAST_TENSOR = 4 + 4 + 8 + 8 + 4,
    LEAST_BLOCK = UQM_ARCHIVE_BLOCK_ENTRY + 4,
    LEAF = 32,
};

struct cursor {
    const uint8_t *at;
    size_t left;
    bool cut; /* something was asked for that is not there: everything read since is zero */
};

static const uint8_t *take(struct cursor *c, size_t n)
{
    static const uint8_t zeros[64];
    assert(n <= sizeof zeros);
    if (n > c->left) {
        c->cut = true;
        return zeros;
    }
    c->at += n;
    c->left -= n;
    return c->at - n;
}

static uint32_t take_u32(struct cursor *c)
{
    return uqm_get_u32(take(c, 4));
}

static uint64_t take_u64(struct cursor *c)
{
    return uqm_get_u64(take(c, 8));
}

static struct uqm_sha256_digest take_digest(struct cursor *c)
{
    struct uqm_sha256_digest d;
    memcpy(d.bytes, take(c, sizeof d.bytes), sizeof d.bytes);
    return d;
}

/* A length and so many bytes, as a string; NULL: cut off, a NUL inside, too long or no memory. */
static const char *take_text(struct cursor *c, struct uqm_arena *arena, size_t most)
{
    size_t n = take_u32(c);
    if (c->cut || n > c->left || n > most || memchr(c->at, '\0', n))
        return NULL;
    const char *s = uqm_arena_strndup(arena, (const char *) c->at, n);
    c->at += n;
    c->left -= n;
    return s;
}

struct parsing {
    struct uqm_archive_index ix;
    struct cursor c;
    uint64_t n_leaves;
    uint64_t end_off; /* where the blocks must end */
    struct uqm_err *err;
};

static int cut_off(struct parsing *p, const char *what)
{
    return uqm_fail(p->err, UQM_ERR_FORMAT, "the archive's index: %s: cut off or malformed", what);
}

static int no_memory(struct parsing *p)
{
    return uqm_fail(p->err, UQM_ERR_NOMEM, "the archive's index: no memory");
}

/* Counts first, each against the bytes that are there, so that nothing larger is allocated. */
static int take_counts(struct parsing *p)
{
    struct uqm_archive_index *ix = &p->ix;
    struct cursor *c = &p->c;
    ix->block_bytes = take_u32(c);
    ix->n_base_files = take_u32(c);
    ix->n_files = take_u32(c);
    ix->n_segments = take_u32(c);
    ix->n_tensors = take_u32(c);
    uint32_t reserved = take_u32(c);
    uint64_t n_blocks = take_u64(c);
    p->n_leaves = take_u64(c);
    if (c->cut || reserved != 0)
        return cut_off(p, "its beginning");
    if (ix->block_bytes < UQM_ARCHIVE_LEAST_BLOCK || ix->block_bytes > UQM_ARCHIVE_MOST_BLOCK ||
        (ix->block_bytes & (ix->block_bytes - 1)) != 0)
        return uqm_fail(p->err, UQM_ERR_FORMAT, "the archive's index: blocks of %" PRIu32 " bytes",
                        ix->block_bytes);
    if (ix->n_base_files > c->left / LEAST_BASE_FILE || ix->n_files > c->left / LEAST_FILE ||
        ix->n_segments > c->left / LEAST_SEGMENT || ix->n_tensors > c->left / LEAST_TENSOR ||
        n_blocks > c->left / LEAST_BLOCK || p->n_leaves > c->left / LEAF)
        return uqm_fail(p->err, UQM_ERR_FORMAT,
                        "the archive's index: more records than it has bytes for");
    ix->n_blocks = (size_t) n_blocks;
    struct uqm_arena *a = &ix->arena;
    ix->base_files = uqm_arena_alloc(a, ix->n_base_files + 1, sizeof *ix->base_files);
    ix->files = uqm_arena_alloc(a, ix->n_files + 1, sizeof *ix->files);
    ix->segments = uqm_arena_alloc(a, ix->n_segments + 1, sizeof *ix->segments);
    ix->tensors = uqm_arena_alloc(a, ix->n_tensors + 1, sizeof *ix->tensors);
    ix->blocks = uqm_arena_alloc(a, ix->n_blocks + 1, sizeof *ix->blocks);
    return ix->base_files && ix->files && ix->segments && ix->tensors && ix->blocks ? UQM_OK
                                                                                    : no_memory(p);
}

static int bad_path(struct parsing *p, const char *path, const char *what)
{
    struct uqm_printable shown;
    return uqm_fail(p->err, UQM_ERR_FORMAT, "the archive's index: file %s: %s",
                    uqm_printable(&shown, path, strlen(path)), what);
}

static int take_base(struct parsing *p)
{
    struct uqm_archive_index *ix = &p->ix;
    ix->base_path = take_text(&p->c, &ix->arena, UQM_ARCHIVE_MOST_PATH);
    if (!ix->base_path || (ix->n_base_files > 0 && !*ix->base_path))
        return cut_off(p, "the base");
    for (size_t i = 0; i < ix->n_base_files; i++) {
        struct uqm_archive_base_file *b = &ix->base_files[i];
        b->path = take_text(&p->c, &ix->arena, UQM_ARCHIVE_MOST_PATH);
        b->n_bytes = take_u64(&p->c);
        b->sha256 = take_digest(&p->c);
        if (!b->path || p->c.cut)
            return cut_off(p, "the base's files");
        if (!uqm_archive_path_is_valid(b->path, strlen(b->path)))
            return bad_path(p, b->path, "no path inside the base's folder");
    }
    return UQM_OK;
}

/* "a" and "a/b" cannot both be files. The paths are sorted. */
static int check_folders(struct parsing *p)
{
    char folder[UQM_ARCHIVE_MOST_PATH + 1];
    for (size_t i = 0; i < p->ix.n_files; i++) {
        const char *path = p->ix.files[i].path;
        for (const char *s = strchr(path, '/'); s; s = strchr(s + 1, '/')) {
            memcpy(folder, path, (size_t) (s - path));
            folder[s - path] = '\0';
            if (uqm_archive_index_find(&p->ix, folder) >= 0)
                return bad_path(p, path, "its folder is a file too");
        }
    }
    return UQM_OK;
}

static int take_files(struct parsing *p)
{
    struct uqm_archive_index *ix = &p->ix;
    uint64_t n_segments = 0, n_tensors = 0, n_leaves = 0;
    for (size_t i = 0; i < ix->n_files; i++) {
        struct uqm_archive_file *f = &ix->files[i];
        f->path = take_text(&p->c, &ix->arena, UQM_ARCHIVE_MOST_PATH);
        if (!f->path)
            return cut_off(p, "the files");
        f->n_bytes = take_u64(&p->c);
        uint32_t flags = take_u32(&p->c);
        f->executable = flags == UQM_ARCHIVE_FILE_EXECUTABLE;
        f->n_segments = take_u32(&p->c);
        f->n_tensors = take_u32(&p->c);
        f->sha256 = take_digest(&p->c);
        f->root = take_digest(&p->c);
        if (p->c.cut || flags > UQM_ARCHIVE_FILE_EXECUTABLE)
            return cut_off(p, "the files");
        if (!uqm_archive_path_is_valid(f->path, strlen(f->path)))
            return bad_path(p, f->path, "no path inside a folder");
        if (i > 0 && strcmp(ix->files[i - 1].path, f->path) >= 0)
            return bad_path(p, f->path, "out of order, or there twice");
        uint64_t leaves = uqm_tree_n_leaves(f->n_bytes);
        f->first_segment = (size_t) n_segments;
        f->first_tensor = (size_t) n_tensors;
        f->n_leaves = (size_t) leaves;
        n_segments += f->n_segments;
        n_tensors += f->n_tensors;
        if (n_segments > ix->n_segments || n_tensors > ix->n_tensors ||
            leaves > p->n_leaves - n_leaves)
            return bad_path(p, f->path, "more segments, tensors or hashes than there are");
        n_leaves += leaves;
    }
    if (n_segments != ix->n_segments || n_tensors != ix->n_tensors || n_leaves != p->n_leaves)
        return uqm_fail(p->err, UQM_ERR_FORMAT,
                        "the archive's index: segments, tensors or hashes that are no file's");
    return check_folders(p);
}

static int take_segment(struct parsing *p, struct uqm_archive_segment *s, uint64_t file_bytes,
                        uint64_t begin, uint64_t *n_blocks)
{
    uint32_t kind = take_u32(&p->c);
    s->base_file = take_u32(&p->c);
    s->n_bytes = take_u64(&p->c);
    s->base_off = take_u64(&p->c);
    s->begin = begin;
    s->is_delta = kind >> 8 == UQM_ARCHIVE_SEGMENT_DELTA;
    kind &= kind >> 8 <= UQM_ARCHIVE_SEGMENT_DELTA ? 0xFFu : 0u;
    if (p->c.cut ||
        (kind != UQM_ARCHIVE_BYTES && kind != UQM_ARCHIVE_WORDS16 && kind != UQM_ARCHIVE_WORDS32))
        return -1;
    s->words = (enum uqm_archive_words) kind;
    if (s->n_bytes == 0 || s->n_bytes > file_bytes - begin || s->n_bytes % kind != 0)
        return -1;
    if (s->is_delta) {
        const struct uqm_archive_index *ix = &p->ix;
        if (s->base_file >= ix->n_base_files || s->n_bytes > ix->base_files[s->base_file].n_bytes ||
            s->base_off > ix->base_files[s->base_file].n_bytes - s->n_bytes)
            return -1;
    } else if (s->base_file != 0 || s->base_off != 0) {
        return -1;
    }
    s->first_block = *n_blocks;
    s->n_blocks = (s->n_bytes - 1) / p->ix.block_bytes + 1;
    if (s->n_blocks > p->ix.n_blocks - *n_blocks)
        return -1;
    *n_blocks += s->n_blocks;
    return UQM_OK;
}

static int take_segments(struct parsing *p)
{
    uint64_t n_blocks = 0;
    for (size_t i = 0; i < p->ix.n_files; i++) {
        const struct uqm_archive_file *f = &p->ix.files[i];
        uint64_t at = 0;
        for (size_t k = 0; k < f->n_segments; k++) {
            struct uqm_archive_segment *s = &p->ix.segments[f->first_segment + k];
            if (take_segment(p, s, f->n_bytes, at, &n_blocks) < 0)
                return bad_path(p, f->path, "a segment that cannot be");
            at += s->n_bytes;
        }
        if (at != f->n_bytes)
            return bad_path(p, f->path, "its segments do not cover it");
    }
    if (n_blocks != p->ix.n_blocks)
        return uqm_fail(p->err, UQM_ERR_FORMAT,
                        "the archive's index: blocks that are no segment's");
    return UQM_OK;
}

static int take_tensor(struct parsing *p, struct uqm_archive_tensor *t, uint64_t file_bytes,
                       uint64_t *last_off)
{
    struct uqm_arena *arena = &p->ix.arena;
    t->name = take_text(&p->c, arena, p->c.left);
    const char *dtype = t->name ? take_text(&p->c, arena, 32) : NULL;
    if (!dtype || !uqm_dtype_parse(&t->dtype, dtype, strlen(dtype)))
        return -1;
    t->off_bytes = take_u64(&p->c);
    t->n_bytes = take_u64(&p->c);
    t->rank = take_u32(&p->c);
    if (p->c.cut || t->rank > UQM_ST_MAX_RANK || t->rank > p->c.left / 8)
        return -1;
    uint64_t *shape = uqm_arena_alloc(arena, t->rank, sizeof *shape), n_elem = 1, n_bytes;
    if (!shape)
        return -1;
    for (unsigned d = 0; d < t->rank; d++) {
        shape[d] = take_u64(&p->c);
        if (!uqm_mul_u64(&n_elem, n_elem, shape[d]))
            return -1;
    }
    t->shape = shape;
    if (!uqm_st_packed_bytes(&n_bytes, t->dtype, n_elem) || n_bytes != t->n_bytes ||
        t->n_bytes > file_bytes || t->off_bytes > file_bytes - t->n_bytes ||
        t->off_bytes < *last_off)
        return -1;
    *last_off = t->off_bytes;
    return UQM_OK;
}

static int take_tensors(struct parsing *p)
{
    for (size_t i = 0; i < p->ix.n_files; i++) {
        const struct uqm_archive_file *f = &p->ix.files[i];
        uint64_t last_off = 0;
        for (size_t k = 0; k < f->n_tensors; k++)
            if (take_tensor(p, &p->ix.tensors[f->first_tensor + k], f->n_bytes, &last_off) < 0)
                return bad_path(p, f->path, "a tensor that cannot be");
    }
    return UQM_OK;
}

static int take_block(struct parsing *p, const struct uqm_archive_segment *s, uint64_t k,
                      uint64_t *off)
{
    struct uqm_archive_block *b = &p->ix.blocks[s->first_block + k];
    uint32_t plane_bytes = uqm_archive_block_bytes(&p->ix, s, k) / s->words;
    b->plain_xxh3 = take_u64(&p->c);
    b->stored_xxh3 = take_u64(&p->c);
    b->stored_off = *off;
    for (unsigned i = 0; i < s->words; i++) {
        uint32_t v = take_u32(&p->c), n = v & ~UQM_ARCHIVE_PLANE_PACKED;
        bool packed = (v & UQM_ARCHIVE_PLANE_PACKED) != 0;
        if (p->c.cut || n == 0 || (packed ? n >= plane_bytes : n != plane_bytes))
            return -1;
        b->planes[i] = (struct uqm_archive_plane){ n, packed };
        b->stored_bytes += n;
    }
    *off += b->stored_bytes;
    return *off <= p->end_off ? UQM_OK : -1;
}

static int take_blocks(struct parsing *p)
{
    uint64_t off = UQM_ARCHIVE_HEADER_BYTES;
    for (size_t i = 0; i < p->ix.n_segments; i++)
        for (uint64_t k = 0; k < p->ix.segments[i].n_blocks; k++)
            if (take_block(p, &p->ix.segments[i], k, &off) < 0)
                return uqm_fail(p->err, UQM_ERR_FORMAT,
                                "the archive's index: block %" PRIu64 ": a length that cannot be",
                                p->ix.segments[i].first_block + k);
    if (off != p->end_off)
        return uqm_fail(p->err, UQM_ERR_FORMAT,
                        "the archive's index: its blocks end at %" PRIu64 ", it begins at %" PRIu64,
                        off, p->end_off);
    return UQM_OK;
}

static int take_leaves(struct parsing *p)
{
    struct uqm_sha256_digest *leaves =
        uqm_arena_alloc(&p->ix.arena, (size_t) p->n_leaves + 1, sizeof *leaves);
    size_t at = 0;
    if (!leaves)
        return no_memory(p);
    for (size_t i = 0; i < p->ix.n_files; i++) {
        p->ix.files[i].leaves = leaves + at;
        for (size_t k = 0; k < p->ix.files[i].n_leaves; k++)
            leaves[at++] = take_digest(&p->c);
    }
    if (p->c.cut || p->c.left > 0)
        return cut_off(p, "its end");
    return UQM_OK;
}

int uqm_archive_index_parse(struct uqm_archive_index *out, const uint8_t *bytes, size_t len,
                            uint64_t index_off, struct uqm_err *err)
{
    static int (*const steps[])(struct parsing *) = {
        take_counts, take_base, take_files, take_segments, take_tensors, take_blocks, take_leaves,
    };
    struct parsing p = { .c = { bytes, len, false }, .end_off = index_off, .err = err };
    int ret = UQM_OK;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && ret == UQM_OK; i++)
        ret = steps[i](&p);
    if (ret < 0)
        uqm_archive_index_finish(&p.ix);
    else
        *out = p.ix;
    return ret;
}

void uqm_archive_index_finish(struct uqm_archive_index *index)
{
    uqm_arena_finish(&index->arena);
    *index = (struct uqm_archive_index){ 0 };
}
