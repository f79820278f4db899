/* Buffers at any alignment between canaries, and numbers to fill them with. */
#ifndef UQM_TESTS_KERNELS_BUFFERS_H
#define UQM_TESTS_KERNELS_BUFFERS_H

#include <math.h>

#include "src/base/dtype.h"
#include "tests/unit/test.h"

enum { CANARY = 0xA5, CANARY_BYTES = 64 };

struct buffer {
    unsigned char *block;
    size_t n_bytes, shift;
    void *p; /* n_bytes, `shift` bytes past an alignment of 64, canaries on both sides */
};

static inline struct buffer buffer_make(size_t n_bytes, size_t shift)
{
    struct buffer b = { .n_bytes = n_bytes, .shift = shift };
    size_t total = (CANARY_BYTES + shift + n_bytes + CANARY_BYTES + 63) / 64 * 64;
    b.block = aligned_alloc(64, total);
    assert_non_null(b.block);
    memset(b.block, CANARY, total);
    b.p = b.block + CANARY_BYTES + shift;
    return b;
}

static inline void buffer_check_and_free(struct buffer *b)
{
    const unsigned char *after = (const unsigned char *) b->p + b->n_bytes;
    for (size_t i = 0; i < CANARY_BYTES + b->shift; i++)
        assert_int_equal(b->block[i], CANARY);
    for (size_t i = 0; i < CANARY_BYTES; i++)
        assert_int_equal(after[i], CANARY);
    free(b->block);
    b->block = NULL;
}

struct random {
    uint64_t state;
};

static inline uint32_t random_u32(struct random *r)
{
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t) (r->state >> 32);
}

/* About normal, variance `scale` squared. */
static inline float random_f32(struct random *r, float scale)
{
    double s = 0;
    for (int i = 0; i < 4; i++)
        s += (double) random_u32(r) * 0x1p-32 - 0.5;
    return (float) (s * 1.7320508) * scale;
}

static inline void random_fill(struct random *r, float *p, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        p[i] = random_f32(r, scale);
}

/* The same number, or both NaN. */
static inline bool same_or_nan(float a, float b)
{
    return (isnan(a) && isnan(b)) || uqm_bits_of_f32(a) == uqm_bits_of_f32(b);
}

#endif
