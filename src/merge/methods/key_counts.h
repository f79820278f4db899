/*
 * The k largest of a tensor's magnitudes, exactly, by counting bit patterns: no sort, memory that
 * does not depend on the tensor. Keys are bits of |x| as f32, so that integers compare as the
 * magnitudes do (a NaN is the largest). Among equal keys the lowest index counts as the larger, so
 * k names one set:
 *
 *     an element is in it when key > limit.key, or key == limit.key and index < limit.cut
 *     (struct uqm_key_limit, compute/mix.h).
 *
 * One or two counting passes give limit.key: the upper 15 bits of the key, then, in the bin that
 * turned out to hold it, the lower 16. Where all keys are those of 16-bit floats (`narrow`) one
 * pass is enough; and where most are, because differences of 16-bit floats mostly have few bits:
 * the pass then counts aside, bin by bin, the keys that have any of their lower 16 (`longer`), and
 * if the one looked for is not among its bin's, which are the largest there, it is the one without.
 * Where the bin was foreseen (key_window.h) its lower 16 bits are counted in the first pass, too.
 * The last pass that counts does so in segments of the tensor; limit.cut then lies in a segment
 * that is known, and a pass over that one alone finds it.
 */
#ifndef UQM_MERGE_KEY_COUNTS_H
#define UQM_MERGE_KEY_COUNTS_H

#include "src/base/dtype.h"
#include "src/merge/method_ops.h"

enum {
    UQM_COARSE_BINS = 1 << 15,
    UQM_FINE_BINS = 1 << 16,
    UQM_MOST_SEGMENTS = 16,
    UQM_MOST_COUNTER_BYTES = 24 << 20, /* of all searches together */
};

/* Which keys of f32 bits stand for which 15-bit patterns. */
enum uqm_key_kind {
    UQM_KEY_WIDE,    /* any f32 */
    UQM_KEY_OF_BF16, /* values of bf16 alone */
    UQM_KEY_OF_F16,
};

/* One search, with 0 < k < n_elem; the caller's k, channel and limit.last, the rest zero. */
struct uqm_key_search {
    uint64_t k;
    size_t channel;             /* whose keys: several searches may share one */
    struct uqm_key_limit limit; /* found */
    /* under way */
    uint32_t coarse;  /* the bin that holds limit.key */
    uint64_t above;   /* keys in higher bins */
    uint64_t wanted;  /* of those equal to limit.key, the first so many */
    unsigned segment; /* of n_segments: holds the last of them ... */
    unsigned n_segments;
    uint64_t before; /* ... behind this many in earlier segments */
    bool needs_cut;
    bool is_settled; /* limit.key is found */
};

/* How many segments, for this many searches: bounded by UQM_MOST_COUNTER_BYTES. */
unsigned uqm_key_segments(uint64_t n_elem, uint64_t n_blocks, size_t n_searches);
/* For a pass whose segments nobody needs: as many as 32 bits count in. */
unsigned uqm_key_segments_least(uint64_t n_elem);

/* bin = uqm_key_bin(): of the coarse pass. */
static inline uint32_t uqm_key_bin(enum uqm_key_kind kind, uint32_t key)
{
    if (kind != UQM_KEY_OF_F16)
        return key >> 16;
    return uqm_f16_of_f32(uqm_f32_of_bits(key)); /* exact */
}

/* After the coarse pass. counts: n_segments rows, `stride` apart, of UQM_COARSE_BINS, the search's
 * channel's; longer: likewise, or NULL. For narrow kinds the key is found, with `longer` mostly;
 * else `coarse` and `above` are. */
void uqm_key_search_coarse(struct uqm_key_search *search, enum uqm_key_kind kind,
                           const uint32_t *counts, const uint32_t *longer, size_t stride,
                           unsigned n_segments);
/* After the fine pass. counts: n_segments rows, `stride` apart, of UQM_FINE_BINS, of the keys in
 * bin `coarse`. */
void uqm_key_search_fine(struct uqm_key_search *search, const uint32_t *counts, size_t stride,
                         unsigned n_segments);

/* Whether elements of one block have key limit.key: bit e % 64 of bits[e / 64]. */
struct uqm_key_ties {
    uint64_t bits[UQM_BLOCK_ELEM / 64];
};
/* The blocks of `segment`, one after the other; first: the block's first element. limit.cut lies
 * behind all of them until it is found. */
void uqm_key_search_cut(struct uqm_key_search *search, uint64_t first,
                        const struct uqm_key_ties *ties);

#endif
