/* Arithmetic on sizes that came from a file: false instead of a wrapped result. */
#ifndef UQM_BASE_CHECKED_H
#define UQM_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool uqm_add_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool uqm_mul_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* x up to the next multiple of a power of two; the caller knows it cannot wrap. */
static inline uint64_t uqm_align_up(uint64_t x, uint64_t pow2)
{
    return (x + pow2 - 1) & ~(pow2 - 1);
}

static inline uint64_t uqm_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t uqm_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
