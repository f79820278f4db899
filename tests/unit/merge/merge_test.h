/* Small models, made and read back, for the tests of merging. */
#ifndef UQM_TESTS_MERGE_TEST_H
#define UQM_TESTS_MERGE_TEST_H

#include <sys/stat.h>
#include <unistd.h>

#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"
#include "src/format/safetensors.h"
#include "src/merge/open.h"
#include "tests/unit/test.h"

/* A fresh folder under $TMPDIR; test_rm() removes it. */
static inline char *test_mkdtemp(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/uqm-merge-XXXXXX", tmp && *tmp ? tmp : "/tmp") < 0 || !mkdtemp(path))
        fail_msg("no temporary folder");
    return path;
}

static inline void test_rm(char *dir)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_remove_tree(dir, &err), err);
    free(dir);
}

/* dir/fmt..., in a ring of static buffers. */
__attribute__((format(printf, 2, 3))) static inline const char *in_dir(const char *dir,
                                                                       const char *fmt, ...)
{
    static char ring[8][1024];
    static unsigned next;
    char *buf = ring[next++ % 8];
    int n = snprintf(buf, sizeof ring[0], "%s/", dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf + n, sizeof ring[0] - (size_t) n, fmt, ap);
    va_end(ap);
    return buf;
}

static inline void write_text(const char *path, const char *text)
{
    struct uqm_err err = { 0 };
    unlink(path);
    assert_ok(uqm_write_file(path, text, strlen(text), &err), err);
}

struct made_tensor {
    const char *name;
    enum uqm_dtype dtype;
    unsigned rank;
    uint64_t shape[4];
    const void *data;
};

/* dir/name/model.safetensors, and a config.json unless config is NULL. */
static inline void make_model(const char *dir, const char *name, const char *config,
                              const struct made_tensor *tensors, size_t n)
{
    struct uqm_st_tensor st[64] = { 0 };
    struct uqm_st_pair meta = { "format", "pt" };
    struct uqm_st_header h = { 0 };
    struct uqm_err err = { 0 };
    char *folder = strdup(in_dir(dir, "%s", name));

    assert_true(n <= 64);
    mkdir(folder, 0755);
    for (size_t i = 0; i < n; i++)
        st[i] = (struct uqm_st_tensor){ .name = tensors[i].name,
                                        .name_len = strlen(tensors[i].name),
                                        .dtype = tensors[i].dtype,
                                        .rank = tensors[i].rank,
                                        .shape = tensors[i].shape };
    assert_ok(uqm_st_header_init(&h, st, n, &meta, 1, 0, &err), err);
    unlink(in_dir(folder, "model.safetensors"));
    FILE *f = fopen(in_dir(folder, "model.safetensors"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(h.bytes, 1, h.n_bytes, f), h.n_bytes);
    for (size_t i = 0; i < n; i++) {
        const struct uqm_st_tensor *t = &st[h.order[i]];
        size_t len = (size_t) (t->end - t->begin);
        assert_int_equal(fwrite(tensors[h.order[i]].data, 1, len, f), len);
    }
    assert_int_equal(fclose(f), 0);
    uqm_st_header_finish(&h);
    if (config)
        write_text(in_dir(folder, "config.json"), config);
    free(folder);
}

static inline struct uqm_recipe *make_recipe(const char *where, const char *text)
{
    struct uqm_recipe *r = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_recipe_parse(&r, text, strlen(text), where, NULL, NULL, &err), err);
    return r;
}

/* All tensors of a source, in one pass with tiles of this many bytes. [n_tensors], free with
 * free_all(). */
struct walk_all {
    const struct uqm_source *source;
    size_t tensor, tile_bytes;
    uint64_t elem;
};

static inline int walk_next(void *ctx, struct uqm_range *range)
{
    struct walk_all *w = ctx;
    while (w->tensor < w->source->n_tensors) {
        const struct uqm_tensor *t = &w->source->tensors[w->tensor];
        uint64_t most = w->tile_bytes / (uqm_dtype_bits(t->dtype) / 8);
        if (w->elem == t->n_elem && w->elem > 0) {
            w->tensor++;
            w->elem = 0;
            continue;
        }
        uint64_t n = uqm_min_u64(most, t->n_elem - w->elem);
        *range = (struct uqm_range){ w->tensor, w->elem, (size_t) n };
        w->elem += n;
        if (t->n_elem == 0)
            w->tensor++;
        return 1;
    }
    return 0;
}

static inline void free_all(uint8_t **all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(all[i]);
    free(all);
}

static inline int try_read_all_in(uint8_t ***out, struct uqm_source *s, struct uqm_threads *threads,
                                  size_t tile_bytes, uint64_t memory, struct uqm_err *err)
{
    struct walk_all w = { .source = s, .tile_bytes = tile_bytes };
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    uint8_t **all = calloc(s->n_tensors + 1, sizeof *all);

    for (size_t i = 0; i < s->n_tensors; i++)
        all[i] = malloc(s->tensors[i].n_bytes + 1);
    int ret = uqm_source_open(&stream, s, threads, tile_bytes, memory, walk_next, &w, err);
    while (ret >= 0 && (ret = uqm_tile_next(stream, &tile, err)) > 0) {
        const struct uqm_tensor *t = &s->tensors[tile.range.tensor];
        size_t size = uqm_dtype_bits(t->dtype) / 8;
        assert_int_equal(tile.n_bytes, tile.range.n_elem * size);
        memcpy(all[tile.range.tensor] + tile.range.first_elem * size, tile.data, tile.n_bytes);
        uqm_tile_release(stream, &tile);
    }
    uqm_tile_stream_destroy(&stream);
    if (ret < 0)
        free_all(all, s->n_tensors);
    else
        *out = all;
    return ret;
}

/* In the least memory that will do: methods with passes read twice. */
static inline int try_read_all(uint8_t ***out, struct uqm_source *s, struct uqm_threads *threads,
                               size_t tile_bytes, struct uqm_err *err)
{
    return try_read_all_in(out, s, threads, tile_bytes, uqm_source_min_memory(s, tile_bytes), err);
}

static inline uint8_t **read_all(struct uqm_source *s, size_t tile_bytes)
{
    struct uqm_err err = { 0 };
    uint8_t **all = NULL;
    assert_ok(try_read_all(&all, s, NULL, tile_bytes, &err), err);
    return all;
}

#endif
