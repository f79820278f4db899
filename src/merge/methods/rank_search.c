#include "src/merge/methods/rank_search.h"

#include <assert.h>

#include "src/base/dtype.h"

enum { UPPER_SHIFT = 16, LOWER_MASK = UQM_RANK_BINS - 1 };

float uqm_rank_value(uint32_t key)
{
    return uqm_f32_of_bits(key & 0x80000000 ? key & 0x7FFFFFFF : ~key);
}

void uqm_rank_count_upper(uint64_t *bins, const float *x, size_t n)
{
    for (size_t e = 0; e < n; e++)
        bins[uqm_rank_key(x[e]) >> UPPER_SHIFT]++;
}

void uqm_rank_count_lower(uint64_t *bins, uint32_t upper, const float *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        uint32_t key = uqm_rank_key(x[e]);
        if (key >> UPPER_SHIFT == upper) /* few: the bins of the others stay out of the cache */
            bins[key & LOWER_MASK]++;
    }
}

/* The bin that holds the rank; *below += what lies in the bins before it. */
static uint32_t find(const uint64_t *bins, uint64_t rank, uint64_t *below)
{
    for (uint32_t b = 0; b < UQM_RANK_BINS; b++) {
        if (rank - *below < bins[b])
            return b;
        *below += bins[b];
    }
    assert(false); /* the rank is one of the elements counted */
    return 0;
}

void uqm_rank_upper(struct uqm_rank *rank, const uint64_t *bins)
{
    rank->below = 0;
    rank->upper = find(bins, rank->rank, &rank->below);
}

void uqm_rank_lower(struct uqm_rank *rank, const uint64_t *bins)
{
    uint32_t lower = find(bins, rank->rank, &rank->below);
    rank->key = rank->upper << UPPER_SHIFT | lower;
    rank->equal = bins[lower];
}
