/*
 * Order statistics of f32 keys that do not lie in memory, exactly: their bit patterns are counted
 * in two passes, upper halves first, then the lower halves of those that share a wanted upper half.
 * Counts are integers, so the order in which elements are seen is no matter.
 */
#ifndef UQM_MERGE_RANK_SEARCH_H
#define UQM_MERGE_RANK_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"

enum { UQM_RANK_BINS = 65536 };

/* One of the ranks looked for. */
struct uqm_rank {
    uint64_t rank;  /* ascending, from 0; the caller's */
    uint32_t upper; /* of the key there; after uqm_rank_upper() */
    uint64_t below; /* keys whose upper half is smaller; in the end, keys that are smaller */
    uint32_t key;   /* after uqm_rank_lower() ... */
    uint64_t equal; /* ... and how many keys are the same */
};

/* A pattern that ascends with the value; -0 counts as 0, NaN is above all. */
static inline uint32_t uqm_rank_key(float value)
{
    uint32_t u = uqm_bits_of_f32(value + 0.0F); /* -0 becomes 0 */
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return UINT32_MAX;
    return u & 0x80000000 ? ~u : u | 0x80000000;
}
float uqm_rank_value(uint32_t key);

/* First pass. bins: [UQM_RANK_BINS]. */
void uqm_rank_count_upper(uint64_t *bins, const float *x, size_t n);
void uqm_rank_upper(struct uqm_rank *rank, const uint64_t *bins);
/* Second pass, of one rank; ranks with the same upper half may share the bins. */
void uqm_rank_count_lower(uint64_t *bins, uint32_t upper, const float *x, size_t n);
void uqm_rank_lower(struct uqm_rank *rank, const uint64_t *bins);

#endif
