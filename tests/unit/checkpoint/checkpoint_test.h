/* Folders of small checkpoints to open, and what is in a tensor. */
#ifndef UQM_TESTS_CHECKPOINT_TEST_H
#define UQM_TESTS_CHECKPOINT_TEST_H

#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"
#include "tests/unit/test.h"

enum { TEST_MEMORY = 64 << 20 };

struct folder {
    char path[256];
};

static inline int make_folder(void **state)
{
    static struct folder f;
    const char *tmp = getenv("TMPDIR");
    snprintf(f.path, sizeof f.path, "%s/uqm-checkpoint-XXXXXX", tmp ? tmp : "/tmp");
    *state = &f;
    return mkdtemp(f.path) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    struct uqm_err err = { 0 };
    return uqm_remove_tree(((struct folder *) *state)->path, &err);
}

/* A path below the folder; in a ring of static buffers. */
static inline const char *below(const struct folder *f, const char *name)
{
    static char ring[8][1024];
    static unsigned next;
    char *buf = ring[next++ % 8];
    snprintf(buf, sizeof ring[0], "%s/%s", f->path, name);
    return buf;
}

/* Without the fsync of uqm_write_file(): some tests write thousands. */
static inline void put_file(const char *path, const void *data, size_t len)
{
    unlink(path);
    FILE *f = fopen(path, "wbx");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* A safetensors file: the header's text, then n_data bytes counting up from `first`. */
static inline void put_safetensors(const char *path, const char *header, size_t n_data, int first)
{
    uint8_t file[4096] = { 0 };
    size_t n = strlen(header);
    assert_true(8 + n + n_data <= sizeof file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t) (n >> 8 * i);
    memcpy(file + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        file[8 + n + i] = (uint8_t) ((size_t) first + i);
    put_file(path, file, 8 + n + n_data);
}

static inline void copy_file(const char *to, const char *from)
{
    struct uqm_err err = { 0 };
    char *data;
    size_t len;
    assert_ok(uqm_read_file(&data, &len, from, 64 << 20, &err), err);
    put_file(to, data, len);
    free(data);
}

static inline int open_path(struct uqm_checkpoint **cp, const char *path, struct uqm_err *err)
{
    struct uqm_checkpoint_params params = { .path = path };
    return uqm_checkpoint_open(cp, test_env(TEST_MEMORY, 1), &params, err);
}

/* The path opens to this error. */
#define assert_open_fails(path, code, text)                                                        \
    do {                                                                                           \
        struct uqm_checkpoint *cp_ = NULL;                                                         \
        struct uqm_err err_ = { 0 };                                                               \
        assert_fails(open_path(&cp_, path, &err_), err_, code, text);                              \
        assert_null(cp_);                                                                          \
    } while (0)

/* One whole tensor, read from its file; the caller frees it. */
static inline uint8_t *tensor_bytes(struct uqm_checkpoint *cp, const char *canonical, size_t *len)
{
    struct uqm_err err = { 0 };
    long i = uqm_source_find(&cp->source, canonical);
    if (i < 0)
        fail_msg("no tensor %s", canonical);
    const struct uqm_location *at = &cp->locations[i];
    *len = (size_t) cp->source.tensors[i].n_bytes;
    uint8_t *bytes = malloc(*len + 1);
    assert_non_null(bytes);
    uint64_t begin;
    struct uqm_file *file = uqm_location_file(cp, at, &begin);
    assert_ok(uqm_file_read(file, bytes, *len, begin, &err), err);
    return bytes;
}

#endif
