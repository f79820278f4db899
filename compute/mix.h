/* Weights that are mixtures of other weights: merges that have not been made yet. */
#ifndef UQM_COMPUTE_MIX_H
#define UQM_COMPUTE_MIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/rng.h"

/* Elements with keys above `key`; of those with this very key the ones before element `cut`, or
 * with `last` the ones from it on. Keys are bits of |x| as f32 (src/merge/methods/key_counts.h). */
struct uqm_key_limit {
    uint32_t key;
    bool last;
    uint64_t cut;
};
/* Everything, and nothing. */
static inline struct uqm_key_limit uqm_key_limit_all(void)
{
    return (struct uqm_key_limit){ .key = 0, .cut = UINT64_MAX };
}
static inline struct uqm_key_limit uqm_key_limit_none(void)
{
    return (struct uqm_key_limit){ .key = UINT32_MAX, .cut = 0 };
}
static inline bool uqm_key_within(const struct uqm_key_limit *limit, uint32_t key, uint64_t index)
{
    return key > limit->key || (key == limit->key && (index < limit->cut) != limit->last);
}

/*
 * Which elements of a model's difference to the base count, times what; the others are 0. By
 * limits: those whose |w - base|, as f32, is within `keep` and not within `drop`. Drawn: those
 * whose number of the stream `key` is below `density` (uqm_mix_draw_keeps()).
 */
enum uqm_mix_counts { UQM_MIX_ALL, UQM_MIX_LIMITS, UQM_MIX_DRAWN };
struct uqm_mix_sieve {
    enum uqm_mix_counts counts;
    double ratio; /* not read with UQM_MIX_ALL */
    struct uqm_key_limit keep, drop;
    struct uqm_rng_key key;
    double density; /* 0 <= density < 1 */
};

/*
 * A weight that is made of others, element by element, in f64 and rounded once to nearest even:
 * sum of weight_i w_i, in order, each product and each sum rounded; over `divisor`; with a base
 * base + lambda (sum of weight_i (w_i - base)) / divisor. There, a sieve may leave elements of a
 * model out, and those which it leaves are ratio_i weight_i (w_i - base); with a consensus those
 * shares alone are added up that are > 0 where the sum of all is >= 0, < 0 where it is < 0, and the
 * divisor is the sum of their weights, where that is 0 or nothing normalizes 1.
 * To the bit what compute/merge_kernels.h gives (linear_mix, task_mix), without a base but for
 * which NaN. uqm_mix_is_safe() says whether it can be asked.
 */
struct uqm_mix_input {
    const void *w;        /* (n, k) packed in the host's memory, borrowed for the call */
    enum uqm_dtype dtype; /* F16, BF16 or F32 */
    double weight;
    const void *const *later; /* where the runs behind the first lie, if there are any */
    struct uqm_mix_sieve sieve;
};
struct uqm_mix {
    const struct uqm_mix_input *base; /* NULL: a weighted sum; its weight is not read */
    size_t n_inputs;                  /* >= 1 */
    const struct uqm_mix_input *inputs;
    double divisor; /* 1: none, as with a consensus */
    double lambda;  /* with a base */
    /* With a base alone. */
    bool consensus, normalize;
    uint64_t first_elem; /* element 0's index in its tensor, as limits and draws count */
    /* Where inputs do not lie in one piece: elements [0, run_first) do, at w, and those behind in
     * runs of run_elem at later[0], later[1], ... run_elem is 0 where they do. */
    size_t run_first, run_elem;
};

/* What takes most room of a source's mixtures. */
enum uqm_mixes { UQM_MIXES_NONE, UQM_MIXES_SUMS, UQM_MIXES_ELECTIONS };

/* Whether no step leaves the range of f64: factors are 0 or of ordinary size. */
bool uqm_mix_is_safe(const struct uqm_mix *mix);
/* Where element i of an input lies; *n_elem: how many do from there on in one piece. */
const void *uqm_mix_locate(size_t *n_elem, const struct uqm_mix *mix,
                           const struct uqm_mix_input *input, size_t i);

/* A draw as two integers: kept are halves below `most`, and of those equal to it the ones whose
 * lower 32 bits are below `rest`. */
struct uqm_mix_draw_bound {
    uint32_t most, rest;
};
struct uqm_mix_draw_bound uqm_mix_draw_bound(double density);
/*
 * Whether element `index` is kept: 48 bits of Philox4x32-10, of which 16 decide but once in 65536
 * times: half index % 8, low halves first, of counter (index / 8, 0, 0), and word 0 of counter
 * (index, 1, 0) below it.
 */
bool uqm_mix_draw_keeps(const struct uqm_mix_draw_bound *bound, struct uqm_rng_key key,
                        uint64_t index);

/* Element i of the mixture, rounded to F16, BF16 or F32, as f32. The plain reference. */
float uqm_mix_element(const struct uqm_mix *mix, enum uqm_dtype dtype, size_t i);

#endif
