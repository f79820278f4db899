#include "src/format/archive_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/base/sorted.h"

/* unpacked to stored bytes of an index; ours are below 10 */
enum { MOST_RATIO = 64, INDEX_PACKED = 1 };

static const uint8_t header_magic[8] = { 0x89, 'U', 'Q', 'Z', '\r', '\n', 0x1A, '\n' };
static const uint8_t footer_magic[8] = { 'U', 'Q', 'Z', 'I', 'N', 'D', 'E', 'X' };

/* --- header and footer --- */

void uqm_archive_header_put(uint8_t out[UQM_ARCHIVE_HEADER_BYTES])
{
    memset(out, 0, UQM_ARCHIVE_HEADER_BYTES);
    memcpy(out, header_magic, sizeof header_magic);
    uqm_put_u32(out + 8, UQM_ARCHIVE_VERSION);
    uqm_put_u64(out + 56, uqm_xxh3_64(out, 56, 0));
}

int uqm_archive_header_check(const uint8_t header[UQM_ARCHIVE_HEADER_BYTES], struct uqm_err *err)
{
    uint8_t ours[UQM_ARCHIVE_HEADER_BYTES];
    if (memcmp(header, header_magic, sizeof header_magic) != 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "not an archive: it does not begin as one");
    if (uqm_get_u64(header + 56) != uqm_xxh3_64(header, 56, 0))
        return uqm_fail(err, UQM_ERR_FORMAT, "the archive's header is damaged");
    if (uqm_get_u32(header + 8) != UQM_ARCHIVE_VERSION)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "an archive of version %" PRIu32 ", this program reads version %d",
                        uqm_get_u32(header + 8), UQM_ARCHIVE_VERSION);
    uqm_archive_header_put(ours);
    if (memcmp(header, ours, sizeof ours) != 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "the archive's header has reserved bytes set");
    return UQM_OK;
}

void uqm_archive_footer_put(uint8_t out[UQM_ARCHIVE_FOOTER_BYTES],
                            const struct uqm_archive_footer *footer)
{
    uqm_put_u64(out, footer->index_off);
    uqm_put_u64(out + 8, footer->index_stored_bytes);
    uqm_put_u64(out + 16, footer->index_bytes);
    uqm_put_u64(out + 24, footer->index_xxh3);
    uqm_put_u64(out + 32,
                footer->index_off + footer->index_stored_bytes + UQM_ARCHIVE_FOOTER_BYTES);
    uqm_put_u32(out + 40, UQM_ARCHIVE_VERSION);
    uqm_put_u32(out + 44, footer->index_packed ? INDEX_PACKED : 0);
    uqm_put_u64(out + 48, uqm_xxh3_64(out, 48, 0));
    memcpy(out + 56, footer_magic, sizeof footer_magic);
}

int uqm_archive_footer_parse(struct uqm_archive_footer *out,
                             const uint8_t footer[UQM_ARCHIVE_FOOTER_BYTES], uint64_t archive_bytes,
                             struct uqm_err *err)
{
    struct uqm_archive_footer f = {
        .index_off = uqm_get_u64(footer),
        .index_stored_bytes = uqm_get_u64(footer + 8),
        .index_bytes = uqm_get_u64(footer + 16),
        .index_xxh3 = uqm_get_u64(footer + 24),
        .index_packed = uqm_get_u32(footer + 44) == INDEX_PACKED,
    };
    uint64_t end;
    if (memcmp(footer + 56, footer_magic, sizeof footer_magic) != 0)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "the archive has no end: it is cut off, or something was appended");
    if (uqm_get_u64(footer + 48) != uqm_xxh3_64(footer, 48, 0))
        return uqm_fail(err, UQM_ERR_FORMAT, "the archive's footer is damaged");
    if (uqm_get_u32(footer + 40) != UQM_ARCHIVE_VERSION || uqm_get_u32(footer + 44) > INDEX_PACKED)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "the archive's footer is of another version");
    if (uqm_get_u64(footer + 32) != archive_bytes)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "the archive has %" PRIu64 " bytes, its footer says %" PRIu64,
                        archive_bytes, uqm_get_u64(footer + 32));
    if (f.index_off < UQM_ARCHIVE_HEADER_BYTES ||
        !uqm_add_u64(&end, f.index_off, f.index_stored_bytes) ||
        !uqm_add_u64(&end, end, UQM_ARCHIVE_FOOTER_BYTES) || end != archive_bytes)
        return uqm_fail(err, UQM_ERR_FORMAT, "the archive's index does not end at its footer");
    if (f.index_bytes > UQM_ARCHIVE_MOST_INDEX ||
        f.index_bytes / MOST_RATIO > f.index_stored_bytes ||
        (!f.index_packed && f.index_bytes != f.index_stored_bytes))
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "the archive's index cannot unpack from %" PRIu64 " to %" PRIu64 " bytes",
                        f.index_stored_bytes, f.index_bytes);
    *out = f;
    return UQM_OK;
}

/* --- writing --- */

struct growing {
    uint8_t *v;
    size_t n, cap;
    bool failed;
};

static uint8_t *grow(struct growing *g, size_t n)
{
    if (g->cap - g->n < n && !g->failed) {
        size_t cap = (g->n + n) * 2;
        uint8_t *more = realloc(g->v, cap);
        g->failed = !more;
        if (more) {
            g->v = more;
            g->cap = cap;
        }
    }
    if (g->failed)
        return NULL;
    g->n += n;
    return g->v + g->n - n;
}

static void add_u32(struct growing *g, uint64_t v)
{
    uint8_t *p = grow(g, 4);
    if (p)
        uqm_put_u32(p, (uint32_t) v);
}

static void add_u64(struct growing *g, uint64_t v)
{
    uint8_t *p = grow(g, 8);
    if (p)
        uqm_put_u64(p, v);
}

static void add_bytes(struct growing *g, const void *data, size_t n)
{
    uint8_t *p = grow(g, n);
    if (p && n > 0)
        memcpy(p, data, n);
}

static void add_text(struct growing *g, const char *s)
{
    add_u32(g, strlen(s));
    add_bytes(g, s, strlen(s));
}

static uint64_t count_leaves(const struct uqm_archive_index *ix)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ix->n_files; i++)
        n += ix->files[i].n_leaves;
    return n;
}

static void add_names(struct growing *g, const struct uqm_archive_index *ix)
{
    add_text(g, ix->base_path);
    for (size_t i = 0; i < ix->n_base_files; i++) {
        const struct uqm_archive_base_file *b = &ix->base_files[i];
        add_text(g, b->path);
        add_u64(g, b->n_bytes);
        add_bytes(g, b->sha256.bytes, sizeof b->sha256.bytes);
    }
    for (size_t i = 0; i < ix->n_files; i++) {
        const struct uqm_archive_file *f = &ix->files[i];
        add_text(g, f->path);
        add_u64(g, f->n_bytes);
        add_u32(g, f->executable ? UQM_ARCHIVE_FILE_EXECUTABLE : 0);
        add_u32(g, f->n_segments);
        add_u32(g, f->n_tensors);
        add_bytes(g, f->sha256.bytes, sizeof f->sha256.bytes);
        add_bytes(g, f->root.bytes, sizeof f->root.bytes);
    }
}

static void add_segment(struct growing *g, const struct uqm_archive_segment *s)
{
    add_u32(g, s->words | (s->is_delta ? UQM_ARCHIVE_SEGMENT_DELTA << 8 : 0));
    add_u32(g, s->is_delta ? s->base_file : 0);
    add_u64(g, s->n_bytes);
    add_u64(g, s->is_delta ? s->base_off : 0);
}

static void add_tensor(struct growing *g, const struct uqm_archive_tensor *t)
{
    add_text(g, t->name);
    add_text(g, uqm_dtype_name(t->dtype));
    add_u64(g, t->off_bytes);
    add_u64(g, t->n_bytes);
    add_u32(g, t->rank);
    for (unsigned d = 0; d < t->rank; d++)
        add_u64(g, t->shape[d]);
}

static void add_block(struct growing *g, const struct uqm_archive_block *b, unsigned n_planes)
{
    add_u64(g, b->plain_xxh3);
    add_u64(g, b->stored_xxh3);
    for (unsigned p = 0; p < n_planes; p++)
        add_u32(g,
                b->planes[p].stored_bytes | (b->planes[p].packed ? UQM_ARCHIVE_PLANE_PACKED : 0));
}

uint8_t *uqm_archive_index_dump(size_t *len, const struct uqm_archive_index *ix)
{
    struct growing g = { 0 };
    add_u32(&g, ix->block_bytes);
    add_u32(&g, ix->n_base_files);
    add_u32(&g, ix->n_files);
    add_u32(&g, ix->n_segments);
    add_u32(&g, ix->n_tensors);
    add_u32(&g, 0);
    add_u64(&g, ix->n_blocks);
    add_u64(&g, count_leaves(ix));
    add_names(&g, ix);
    for (size_t i = 0; i < ix->n_segments; i++)
        add_segment(&g, &ix->segments[i]);
    for (size_t i = 0; i < ix->n_tensors; i++)
        add_tensor(&g, &ix->tensors[i]);
    for (size_t i = 0, b = 0; i < ix->n_segments; i++)
        for (uint64_t k = 0; k < ix->segments[i].n_blocks; k++)
            add_block(&g, &ix->blocks[b++], ix->segments[i].words);
    for (size_t i = 0; i < ix->n_files; i++)
        add_bytes(&g, ix->files[i].leaves, ix->files[i].n_leaves * sizeof *ix->files[i].leaves);
    if (g.failed) {
        free(g.v);
        return NULL;
    }
    *len = g.n;
    return g.v;
}

/* --- looking up --- */

long uqm_archive_index_find(const struct uqm_archive_index *index, const char *path)
{
    return uqm_find_name(index->files, index->n_files, sizeof *index->files,
                         offsetof(struct uqm_archive_file, path), path);
}

size_t uqm_archive_index_segment(const struct uqm_archive_index *index, size_t file,
                                 uint64_t off_bytes)
{
    const struct uqm_archive_file *f = &index->files[file];
    size_t low = f->first_segment, high = low + f->n_segments;
    assert(off_bytes < f->n_bytes);
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (index->segments[mid].begin <= off_bytes)
            low = mid;
        else
            high = mid;
    }
    return low;
}

uint32_t uqm_archive_block_bytes(const struct uqm_archive_index *index,
                                 const struct uqm_archive_segment *segment, uint64_t block)
{
    uint64_t left = segment->n_bytes - block * index->block_bytes;
    return (uint32_t) uqm_min_u64(left, index->block_bytes);
}

const struct uqm_archive_tensor *uqm_archive_index_tensor(const struct uqm_archive_index *index,
                                                          size_t file, uint64_t off_bytes)
{
    const struct uqm_archive_file *f = &index->files[file];
    for (size_t i = f->first_tensor; i < f->first_tensor + f->n_tensors; i++) {
        const struct uqm_archive_tensor *t = &index->tensors[i];
        if (off_bytes >= t->off_bytes && off_bytes - t->off_bytes < t->n_bytes)
            return t;
    }
    return NULL;
}

bool uqm_archive_path_is_valid(const char *path, size_t len)
{
    size_t begin = 0, n_parts = 0;
    if (len == 0 || len > UQM_ARCHIVE_MOST_PATH || memchr(path, '\0', len))
        return false;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && path[i] != '/')
            continue;
        size_t n = i - begin;
        if (n == 0 || n > 255 || (n == 1 && path[begin] == '.') ||
            (n == 2 && path[begin] == '.' && path[begin + 1] == '.') ||
            ++n_parts > UQM_ARCHIVE_MOST_FOLDERS + 1)
            return false;
        begin = i + 1;
    }
    return true;
}
