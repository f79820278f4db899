/* A reader of GGUF files after the format's description alone: it shares no code with the program's
 * and trusts the file. */
#ifndef UQM_TESTS_GGUF_READER_H
#define UQM_TESTS_GGUF_READER_H

#include <math.h>

#include "tests/unit/test.h"

struct read_pair {
    char key[128];
    uint32_t type, elem;
    uint64_t n; /* of an array; bytes of a string */
    const uint8_t *at;
};

struct read_tensor {
    char name[64];
    uint32_t n_dims, type;
    uint64_t dims[4], n_elem;
    const uint8_t *data;
};

struct read_gguf {
    uint8_t *bytes;
    size_t n_bytes, n_pairs, n_tensors;
    struct read_pair pairs[64];
    struct read_tensor tensors[128];
};

static inline uint64_t read_int(const uint8_t **p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t) * (*p)++ << 8 * i;
    return x;
}

static inline void read_name(char *out, size_t room, const uint8_t **p)
{
    uint64_t n = read_int(p, 8);
    assert_true(n > 0 && n < room);
    memcpy(out, *p, n);
    out[n] = '\0';
    *p += n;
}

static inline size_t read_size(uint32_t type)
{
    static const size_t sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    assert_true(type < 13 && sizes[type] > 0);
    return sizes[type];
}

static inline void skip_elements(const uint8_t **p, uint32_t type, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (type == 8) {
            uint64_t len = read_int(p, 8);
            *p += len;
        } else {
            *p += read_size(type);
        }
}

static inline void read_one_pair(struct read_pair *pair, const uint8_t **p)
{
    read_name(pair->key, sizeof pair->key, p);
    pair->type = (uint32_t) read_int(p, 4);
    if (pair->type == 9) {
        pair->elem = (uint32_t) read_int(p, 4);
        pair->n = read_int(p, 8);
        pair->at = *p;
        skip_elements(p, pair->elem, pair->n);
    } else if (pair->type == 8) {
        pair->n = read_int(p, 8);
        pair->at = *p;
        *p += pair->n;
    } else {
        pair->at = *p;
        *p += read_size(pair->type);
    }
}

static inline size_t bytes_of_type(uint32_t type, uint64_t n)
{
    switch (type) {
    case 0: return 4 * n;
    case 1:
    case 30: return 2 * n;
    case 8: assert_int_equal(n % 32, 0); return n / 32 * 34;
    case 12:
    case 14: assert_int_equal(n % 256, 0); return n / 256 * (type == 12 ? 144 : 210);
    default: fail_msg("type %u", type); return 0;
    }
}

/* Offsets by ggml's rule: the sum of the earlier tensors' sizes, each rounded up to 32. */
static inline void read_gguf(struct read_gguf *g, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is not there", path);
    *g = (struct read_gguf){ 0 };
    g->bytes = malloc(64 << 20);
    assert_non_null(g->bytes);
    g->n_bytes = fread(g->bytes, 1, 64 << 20, f);
    fclose(f);
    const uint8_t *p = g->bytes + 4;
    assert_memory_equal(g->bytes, "GGUF", 4);
    assert_int_equal(read_int(&p, 4), 3);
    g->n_tensors = (size_t) read_int(&p, 8);
    g->n_pairs = (size_t) read_int(&p, 8);
    assert_true(g->n_tensors <= 128 && g->n_pairs <= 64);
    for (size_t i = 0; i < g->n_pairs; i++)
        read_one_pair(&g->pairs[i], &p);
    uint64_t expected = 0, offsets[128];
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct read_tensor *t = &g->tensors[i];
        read_name(t->name, sizeof t->name, &p);
        t->n_dims = (uint32_t) read_int(&p, 4);
        t->n_elem = 1;
        assert_true(t->n_dims >= 1 && t->n_dims <= 4);
        for (uint32_t d = 0; d < t->n_dims; d++)
            t->n_elem *= t->dims[d] = read_int(&p, 8);
        t->type = (uint32_t) read_int(&p, 4);
        offsets[i] = read_int(&p, 8);
        assert_int_equal(offsets[i], expected);
        expected += (bytes_of_type(t->type, t->n_elem) + 31) / 32 * 32;
    }
    uint64_t start = ((uint64_t) (p - g->bytes) + 31) / 32 * 32;
    assert_int_equal(start + expected, g->n_bytes);
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct read_tensor *t = &g->tensors[i];
        t->data = g->bytes + start + offsets[i];
        size_t n = bytes_of_type(t->type, t->n_elem);
        for (; (start + offsets[i] + n) % 32 != 0; n++)
            assert_int_equal(t->data[n], 0);
    }
}

static inline void free_gguf(struct read_gguf *g)
{
    free(g->bytes);
}

static inline const struct read_pair *key_of(const struct read_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        if (strcmp(g->pairs[i].key, key) == 0)
            return &g->pairs[i];
    return NULL;
}

static inline uint64_t u32_of(const struct read_gguf *g, const char *key)
{
    const struct read_pair *p = key_of(g, key);
    if (!p || p->type != 4)
        fail_msg("no u32 %s", key);
    const uint8_t *at = p->at;
    return read_int(&at, 4);
}

static inline float f32_at(const uint8_t *at)
{
    float x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline const struct read_tensor *tensor_of(const struct read_gguf *g, const char *name)
{
    for (size_t i = 0; i < g->n_tensors; i++)
        if (strcmp(g->tensors[i].name, name) == 0)
            return &g->tensors[i];
    return NULL;
}

static inline float half_at(const uint8_t *p)
{
    unsigned h = p[0] | (unsigned) p[1] << 8, e = h >> 10 & 31, m = h & 1023;
    float x = e == 0    ? ldexpf((float) m, -24)
              : e == 31 ? (m ? NAN : INFINITY)
                        : ldexpf((float) (m + 1024), (int) e - 25);
    return h & 0x8000 ? -x : x;
}

static inline float decode_q4_k(const uint8_t *b, size_t i)
{
    const uint8_t *s = b + 4;
    size_t j = i / 32;
    int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int m = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    uint8_t byte = b[16 + i / 64 * 32 + i % 32];
    int q = j % 2 == 0 ? byte & 15 : byte >> 4;
    return half_at(b) * (float) sc * (float) q - half_at(b + 2) * (float) m;
}

static inline float decode_q6_k(const uint8_t *b, size_t i)
{
    size_t half = i / 128, in = i % 128, group = in / 32, l = in % 32;
    uint8_t low = b[half * 64 + l + group % 2 * 32], high = b[128 + half * 32 + l];
    int q = (group < 2 ? low & 15 : low >> 4) | (high >> 2 * group & 3) << 4;
    return half_at(b + 208) * (float) (int8_t) b[192 + i / 16] * (float) (q - 32);
}

static inline float element(const struct read_tensor *t, uint64_t i)
{
    switch (t->type) {
    case 0: return f32_at(t->data + 4 * i);
    case 1: return half_at(t->data + 2 * i);
    case 30: {
        uint32_t bits = (uint32_t) t->data[2 * i] << 16 | (uint32_t) t->data[2 * i + 1] << 24;
        float x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    case 8: {
        const uint8_t *b = t->data + i / 32 * 34;
        return half_at(b) * (float) (int8_t) b[2 + i % 32];
    }
    case 12: return decode_q4_k(t->data + i / 256 * 144, i % 256);
    default: return decode_q6_k(t->data + i / 256 * 210, i % 256);
    }
}

#endif
