/* Folders to pack, archives of them, and weights with a known distribution. */
#ifndef UQM_TESTS_ARCHIVE_TEST_H
#define UQM_TESTS_ARCHIVE_TEST_H

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/dtype.h"
#include "src/base/fs.h"
#include "src/base/rng.h"
#include "src/format/json.h"
#include "tests/unit/test.h"

static char archive_dir[] = "/tmp/uqm-archive-XXXXXX";

static inline int make_archive_dir(void **state)
{
    (void) state;
    return mkdtemp(archive_dir) ? 0 : -1;
}

static inline int drop_archive_dir(void **state)
{
    (void) state;
    return uqm_remove_tree(archive_dir, NULL);
}

/* In a ring of static buffers, good for a few calls. */
__attribute__((format(printf, 1, 2))) static inline const char *in_dir(const char *fmt, ...)
{
    static char ring[16][1024];
    static unsigned next;
    char *buf = ring[next++ % 16];
    int n = snprintf(buf, sizeof ring[0], "%s/", archive_dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf + n, sizeof ring[0] - (size_t) n, fmt, ap);
    va_end(ap);
    return buf;
}

/* Without the fsync of uqm_write_file(). */
static inline void put_file(const char *path, const void *data, size_t len)
{
    unlink(path);
    FILE *f = fopen(path, "wbx");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline uint8_t *get_file(const char *path, size_t *len)
{
    struct uqm_err err = { 0 };
    char *data = NULL;
    assert_ok(uqm_read_file(&data, len, path, 1 << 30, &err), err);
    return (uint8_t *) data;
}

static inline void assert_same_file(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = get_file(a, &n), *y = get_file(b, &m);
    if (n != m || memcmp(x, y, n) != 0)
        fail_msg("%s (%zu bytes) and %s (%zu) differ", a, n, b, m);
    free(x);
    free(y);
}

/* A counter's random bits: the same on every machine. */
static inline uint64_t bits_at(uint64_t i)
{
    uint64_t x = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* N(0, sigma), number i of a stream. */
static inline double gauss_at(uint64_t stream, uint64_t i, double sigma)
{
    double u = ((double) (bits_at(stream << 40 | i << 1) >> 11) + 0.5) / 9007199254740992.0;
    double v = (double) (bits_at(stream << 40 | i << 1 | 1) >> 11) / 9007199254740992.0;
    return sigma * sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* n words of weights: 2 bytes each for F16 and BF16, 4 for F32. malloc'ed. */
static inline uint8_t *make_weights(enum uqm_dtype dtype, size_t n, uint64_t stream, double sigma)
{
    size_t size = dtype == UQM_F32 ? 4 : 2;
    uint8_t *out = malloc(n * size + 1);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        float f = (float) gauss_at(stream, i, sigma);
        uint16_t h = dtype == UQM_F16 ? uqm_f16_of_f32(f) : uqm_bf16_of_f32(f);
        memcpy(out + i * size, dtype == UQM_F32 ? (const void *) &f : (const void *) &h, size);
    }
    return out;
}

/*
 * The least that n words can take when each byte of the word, rotated left by one bit, is coded by
 * itself: the exponents' order-0 entropy, and the rest as it is (spec formats.md 6).
 */
static inline double entropy_bound(const uint8_t *words, size_t n, size_t size)
{
    double counts[256] = { 0 }, bits = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *w = words + i * size;
        counts[(w[size - 1] << 1 | w[size - 2] >> 7) & 255]++;
    }
    for (int v = 0; v < 256; v++)
        if (counts[v] > 0)
            bits -= counts[v] * log2(counts[v] / (double) n);
    return bits / 8 + (double) (n * (size - 1));
}

/* Packs and unpacks through the public calls; the result's JSON, the caller's to json_decref(). */
struct pack_options {
    uint64_t memory;
    int n_threads;
    enum uqm_io_kind io;
    const char *base;
    bool overwrite;
};

static inline json_t *parse_result(char *text)
{
    json_t *v = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return v;
}

static inline int try_pack(json_t **out, const char *dir, const char *archive,
                           const struct pack_options *o, struct uqm_err *err)
{
    char *text = NULL;
    const struct uqm_pack_params params = {
        .common = { .memory = o->memory, .n_threads = o->n_threads, .io = o->io },
        .dir = dir,
        .archive = archive,
        .delta_from = o->base,
        .overwrite = o->overwrite,
    };
    int ret = uqm_pack(&text, &params, err);
    json_t *v = parse_result(text);
    if (out)
        *out = v;
    else
        json_decref(v);
    return ret;
}

static inline int try_unpack(const char *archive, const char *dir, const struct pack_options *o,
                             struct uqm_err *err)
{
    char *text = NULL;
    const struct uqm_unpack_params params = {
        .common = { .memory = o->memory, .n_threads = o->n_threads, .io = o->io },
        .archive = archive,
        .out_dir = dir,
        .base = o->base,
    };
    int ret = uqm_unpack(&text, &params, err);
    free(text);
    return ret;
}

#endif
