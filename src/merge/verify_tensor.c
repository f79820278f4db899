/*
 * Single tensors, checked from the manifest down (docs/formats/manifest.md): the leaves of a file
 * lead to its root, and the chunks of the header and of the tensor to their leaves. And SHA256SUMS.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/stream.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/base/tree.h"
#include "src/format/sha256sums.h"
#include "src/merge/verify_impl.h"

enum { MOST_STREAM_BYTES = 32 << 20, MAX_SUMS_BYTES = 1 << 26 };

struct check {
    struct uqm_verify *v;
    const struct uqm_manifest_tensor *tensor;
    const struct uqm_manifest_file *said;
    struct uqm_file *file;
    struct uqm_sha256_digest *leaves; /* of the whole file */
    size_t n_leaves;
    uint64_t header_end;
};

struct reading {
    const struct uqm_verify_chunks *c;
    uint64_t next; /* chunk to read */
};

/* The first byte that is some tensor's: what lies before is the header. */
static uint64_t header_end(const struct uqm_manifest *m, size_t file)
{
    uint64_t end = m->files[file].bytes;
    for (size_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].file == file && m->tensors[i].bytes > 0)
            end = uqm_min_u64(end, m->tensors[i].offset);
    return end;
}

/* The file's part of the table of leaves, and that it leads to the root. *good: it does. */
static int read_leaves(struct check *c, bool *good)
{
    struct uqm_verify *v = c->v;
    struct uqm_file *file = NULL;
    uint64_t before = 0, n = uqm_tree_n_leaves(c->said->bytes);
    char *path = uqm_path_join(v->path, v->m.leaves_name);
    for (const struct uqm_manifest_file *f = v->m.files; f < c->said; f++)
        if (f->root && before <= UINT64_MAX / 128)
            before += uqm_tree_n_leaves(f->bytes);
    const uint64_t begin = 32 * before, end = begin + 32 * n;
    *good = false;
    int ret = path ? UQM_OK : uqm_verify_no_memory(v);
    if (ret == UQM_OK && (!c->said->root || before > UINT64_MAX / 128)) {
        ret = uqm_fail(v->err, UQM_ERR_FORMAT,
                       "%s: files of sizes that cannot be, or without a tree", v->path);
    } else if (ret == UQM_OK && !uqm_is_file(path)) {
        ret = uqm_verify_differs(v, v->m.leaves_name, NULL, begin, end, "the file is missing");
    } else if (ret == UQM_OK) {
        ret = uqm_file_open(&file, v->env, path, v->err);
        if (ret == UQM_OK && file->size_bytes < end)
            ret = uqm_verify_differs(v, v->m.leaves_name, NULL, file->size_bytes, end,
                                     "the file is shorter than it was");
        else if (ret == UQM_OK && !(c->leaves = reallocarray(NULL, n + 1, sizeof *c->leaves)))
            ret = uqm_verify_no_memory(v);
        else if (ret == UQM_OK)
            ret = uqm_file_read(file, c->leaves, 32 * n, begin, v->err);
    }
    if (ret == UQM_OK && c->leaves) {
        struct uqm_sha256_digest root = uqm_tree_root(v->sha256, c->leaves, n);
        c->n_leaves = n;
        v->n_bytes += 32 * n;
        *good = strcmp(uqm_sha256_digest_hex(&root).text, c->said->root) == 0;
        if (!*good)
            ret = uqm_verify_differs(v, v->m.leaves_name, NULL, begin, end,
                                     "the leaves do not lead to the root in the manifest");
    }
    uqm_file_close(&file);
    free(path);
    return ret;
}

static bool is_wanted(const struct uqm_verify_chunks *c, uint64_t chunk)
{
    const struct uqm_manifest_tensor *t = c->tensor;
    uint64_t begin = chunk * UQM_TREE_CHUNK_BYTES, end = begin + UQM_TREE_CHUNK_BYTES;
    return begin < c->header_end || (begin < t->offset + t->bytes && end > t->offset);
}

static int next_chunk(void *ctx, struct uqm_piece *piece)
{
    struct reading *r = ctx;
    const struct uqm_verify_chunks *c = r->c;
    const struct uqm_manifest_tensor *t = c->tensor;
    while (r->next < c->n_leaves && !is_wanted(c, r->next))
        r->next = r->next * UQM_TREE_CHUNK_BYTES < t->offset
                      ? uqm_max_u64(r->next + 1, t->offset / UQM_TREE_CHUNK_BYTES)
                      : c->n_leaves;
    if (r->next >= c->n_leaves)
        return 0;
    uint64_t at = r->next * UQM_TREE_CHUNK_BYTES;
    *piece = (struct uqm_piece){
        .file = c->file,
        .off_bytes = at,
        .n_bytes = (size_t) uqm_min_u64(UQM_TREE_CHUNK_BYTES, c->said->bytes - at),
        .user = (void *) (uintptr_t) r->next++,
    };
    return 1;
}

struct findings {
    bool tensor, header;
    uint64_t begin, end; /* from the first chunk that is wrong to the last one's end */
};

static int read_chunks(struct uqm_verify *v, const struct uqm_verify_chunks *c,
                       struct findings *bad)
{
    struct reading reading = { .c = c };
    const struct uqm_manifest_tensor *t = c->tensor;
    struct uqm_stream *stream = NULL;
    struct uqm_view view;
    uint64_t memory = uqm_min_u64(uqm_budget_left(v->env), MOST_STREAM_BYTES);
    uqm_xxh3_reset(v->xxh3);
    int ret = uqm_stream_create(&stream, v->env, UQM_TREE_CHUNK_BYTES, 1, memory, next_chunk,
                                &reading, v->err);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, v->err)) > 0) {
        const uint64_t chunk = (uintptr_t) view.user;
        const struct uqm_sha256_digest *leaf = &c->leaves[chunk];
        struct uqm_sha256_digest is = uqm_tree_leaf(v->sha256, view.data, view.n_bytes);
        uint64_t begin = chunk * UQM_TREE_CHUNK_BYTES;
        uint64_t end = begin + view.n_bytes;
        uint64_t from = uqm_max_u64(begin, t->offset);
        uint64_t to = uqm_min_u64(end, t->offset + t->bytes);
        if (to > from)
            uqm_xxh3_update(v->xxh3, view.data + (from - begin), (size_t) (to - from));
        if (memcmp(is.bytes, leaf->bytes, sizeof is.bytes) != 0) {
            bad->tensor |= to > from;
            bad->header |= begin < c->header_end;
            bad->begin = bad->end ? bad->begin : begin;
            bad->end = end;
        }
        v->n_bytes += view.n_bytes;
        uqm_stream_release(stream, &view);
        ret = uqm_check_cancel(v->env, v->err);
    }
    uqm_stream_destroy(&stream);
    return ret;
}

/* XXH3 tells a tensor that has changed from its neighbours in the chunks that it shares. */
static int tell(struct uqm_verify *v, const struct uqm_verify_chunks *c, const struct findings *bad)
{
    const struct uqm_manifest_tensor *t = c->tensor;
    struct uqm_xxh3_hex hex = uqm_xxh3_hex(v->xxh3);
    bool same = t->digest ? strcmp(hex.text, t->digest) == 0 : !bad->tensor;
    if (bad->end == 0 && same)
        return UQM_OK;
    if (!same)
        return uqm_verify_differs(v, c->said->name, t->name, t->offset, t->offset + t->bytes,
                                  "the tensor's bytes have changed");
    return uqm_verify_differs(v, c->said->name, NULL, bad->begin, bad->end,
                              bad->header ? "the header has changed, or the chunk that it ends in"
                                          : "a chunk has changed, outside the tensor");
}

int uqm_verify_chunks(struct uqm_verify *v, const struct uqm_verify_chunks *chunks)
{
    struct findings bad = { .end = 0 };
    int ret = read_chunks(v, chunks, &bad);
    return ret == UQM_OK ? tell(v, chunks, &bad) : ret;
}

static int check_file(struct check *c, const char *path)
{
    struct uqm_verify *v = c->v;
    bool good = false;
    int ret = uqm_file_open(&c->file, v->env, path, v->err);
    if (ret == UQM_OK && c->file->size_bytes != c->said->bytes)
        return uqm_verify_differs(
            v, c->said->name, NULL, uqm_min_u64(c->file->size_bytes, c->said->bytes),
            uqm_max_u64(c->file->size_bytes, c->said->bytes), "the file has another size");
    if (ret == UQM_OK)
        ret = read_leaves(c, &good);
    if (ret < 0 || !good)
        return ret;
    const struct uqm_verify_chunks chunks = {
        .tensor = c->tensor,
        .said = c->said,
        .file = c->file,
        .leaves = c->leaves,
        .n_leaves = c->n_leaves,
        .header_end = c->header_end,
    };
    return uqm_verify_chunks(v, &chunks);
}

static int check_tensor(struct uqm_verify *v, const struct uqm_manifest_tensor *t)
{
    struct check c = {
        .v = v,
        .tensor = t,
        .said = &v->m.files[t->file],
        .header_end = header_end(&v->m, t->file),
    };
    struct stat st;
    char *path = uqm_path_join(v->path, c.said->name);
    int ret;
    if (!path)
        ret = uqm_verify_no_memory(v);
    else if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        ret = uqm_verify_differs(v, c.said->name, t->name, t->offset, t->offset + t->bytes,
                                 "the file is missing");
    else
        ret = check_file(&c, path);
    v->n_files++;
    v->n_tensors++;
    uqm_file_close(&c.file);
    free(c.leaves);
    free(path);
    return ret;
}

int uqm_verify_tensors(struct uqm_verify *v)
{
    if (!v->m.leaves_name)
        return uqm_fail(v->err, UQM_ERR_UNSUPPORTED,
                        "%s: the manifest has no hash trees, so only the whole can be verified",
                        v->path);
    for (size_t k = 0; k < v->params->tensors.n; k++) {
        const char *name = v->params->tensors.v[k];
        const struct uqm_manifest_tensor *t = v->m.tensors, *end = t + v->m.n_tensors;
        while (t < end && strcmp(t->name, name) != 0)
            t++;
        struct uqm_printable shown;
        int ret = t < end ? check_tensor(v, t)
                          : uqm_fail(v->err, UQM_ERR_ARG, "%s: the manifest has no tensor %s",
                                     v->path, uqm_printable(&shown, name, strlen(name)));
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* --- SHA256SUMS --- */

static char *expected_sums(struct uqm_verify *v)
{
    struct uqm_sum *sums = calloc(v->m.n_files + 1, sizeof *sums);
    if (!sums)
        return NULL;
    for (size_t i = 0; i < v->m.n_files; i++)
        sums[i] = (struct uqm_sum){ v->m.files[i].name, v->m.files[i].digest };
    sums[v->m.n_files] = (struct uqm_sum){ UQM_MANIFEST_NAME, v->manifest_sha256.text };
    char *text = uqm_sha256sums_dump(sums, v->m.n_files + 1);
    free(sums);
    return text;
}

int uqm_verify_sums(struct uqm_verify *v)
{
    char *path = uqm_path_join(v->path, UQM_SUMS_NAME), *text = NULL;
    char *want = path ? expected_sums(v) : NULL;
    size_t len = 0;
    int there = want ? uqm_find_file(path, v->err) : uqm_verify_no_memory(v);
    int ret = there < 0 ? there : UQM_OK;
    if (there == 0 && v->m.leaves_name) { /* whoever writes trees writes it too */
        ret = uqm_verify_differs(v, UQM_SUMS_NAME, NULL, 0, strlen(want), "the file is missing");
    } else if (there > 0) {
        ret = uqm_read_file(&text, &len, path, MAX_SUMS_BYTES, v->err);
        v->n_bytes += len;
        if (ret == UQM_OK && (len != strlen(want) || memcmp(text, want, len) != 0))
            ret = uqm_verify_differs(v, UQM_SUMS_NAME, NULL, 0, len,
                                     "it does not say of the files what the manifest says");
    }
    free(text);
    free(want);
    free(path);
    return ret;
}
