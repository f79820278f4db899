/* Random numbers of sparsifiers in accurate numerics, and what is compared with them. */
#ifndef UQM_MERGE_DRAWS_H
#define UQM_MERGE_DRAWS_H

#include <math.h>

#include "compute/merge_kernels.h"
#include "src/merge/method_ops.h"

/*
 * The accurate mode's u of element e: 48 bits, of which 16 decide but once in 65536 times.
 * Philox4x32-10 with the input's key: half e % 8, low halves first, of counter (e / 8, 0, 0), and
 * word 0 of counter (e, 1, 0) below it.
 */
static inline uint32_t uqm_draw_lower_bits(struct uqm_rng_key key, uint64_t e)
{
    uint32_t words[4];
    const uint32_t counter[4] = { (uint32_t) e, (uint32_t) (e >> 32), 1, 0 };
    uqm_philox4x32(words, counter, key);
    return words[0];
}

/* Halves [first, first + n). dst: room for 16 more. Returns where they begin in it. */
static inline const uint16_t *uqm_draw_halves(uint16_t *dst, const struct uqm_job *job,
                                              struct uqm_rng_key key, uint64_t first, size_t n)
{
    size_t skip = (size_t) (first % 8);
    job->kernels->merge->philox_halves(dst, key, first / 8, (skip + n + 7) / 8);
    return dst + skip;
}

/* Of element e, whose half that is: u < p, exactly. */
static inline bool uqm_draw_is_below(uint16_t half, struct uqm_rng_key key, uint64_t e, double p)
{
    double t = p * 65536, whole = floor(t);
    if ((double) half != whole)
        return (double) half < whole;
    return (double) uqm_draw_lower_bits(key, e) < (t - whole) * 0x1p32;
}

/* What is kept, a bit an element: bit e % 8 of keep[e / 8]. */
static inline bool uqm_draw_bit(const uint8_t *keep, size_t e)
{
    return keep[e / 8] >> e % 8 & 1;
}

static inline void uqm_draw_put(uint8_t *keep, size_t e, bool kept)
{
    keep[e / 8] = (uint8_t) ((keep[e / 8] & ~(1U << e % 8)) | (unsigned) kept << e % 8);
}

/* v as a value of this type. */
static inline double uqm_draw_rounded(enum uqm_dtype dtype, double v)
{
    float f = (float) v;
    if (dtype == UQM_BF16)
        f = uqm_f32_of_bf16(uqm_bf16_of_f32(f));
    else if (dtype == UQM_F16)
        f = uqm_f32_of_f16(uqm_f16_of_f32(f));
    return dtype == UQM_F64 ? v : (double) f;
}

#endif
