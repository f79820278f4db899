/*
 * Kernels of the task vectors, beside those of kernels.h: magnitudes as integers, random numbers,
 * the inner loop, sums in eight interleaved parts. All of them agree to the bit over all tiers,
 * sums included: the order of additions is part of what they compute. Operands in place are allowed
 * where the types are equal; any n_elem. Arrays are aligned to their elements, stored ones to none.
 */
#ifndef UQM_COMPUTE_MERGE_KERNELS_H
#define UQM_COMPUTE_MERGE_KERNELS_H

#include "src/base/dtype.h"
#include "src/base/rng.h"

/* Elements as they are stored, F32, F16 or BF16, at any address. */
struct uqm_stored {
    const void *x;
    enum uqm_dtype dtype;
};

/* One model's share in a run of elements (spec merge.md 3.1). */
struct uqm_task_input {
    struct uqm_stored x;
    /* Kept where least <= bits(|x - base|) <= most, as f32, and where bit e % 8 of keep[e / 8] is
     * set (NULL: all are). */
    int32_t least, most;
    const uint8_t *keep;
    double ratio, weight;
};

struct uqm_task_mix {
    struct uqm_stored base;
    size_t n_inputs;
    const struct uqm_task_input *inputs;
    bool consensus; /* those alone whose sign is the sum's */
    bool normalize; /* by the weights of those that count, 1 where they add up to 0 */
    double divisor; /* without consensus */
    double lambda;
};

/* One model's share in a weighted sum. */
struct uqm_linear_input {
    struct uqm_stored x;
    double weight;
};

struct uqm_linear_mix {
    size_t n_inputs;
    const struct uqm_linear_input *inputs;
    double divisor;    /* of the sum; 1 to leave it as it is */
    double reciprocal; /* uqm_quick_reciprocal() of the divisor */
};

enum { UQM_SUM_PARTS = 8 };

/* The vectors d_i = f64(x_i) - f64(base) of several models, 0 where bit e % 8 of keep[e / 8] is not
 * set (NULL: all are). */
struct uqm_offsets {
    struct uqm_stored base;
    size_t n_inputs; /* > 0 */
    const struct uqm_stored *x;
    const uint8_t *keep;
};

/* Keys about a threshold: what to tell apart, and how many there are. */
struct uqm_key_split {
    uint32_t low, n_keys; /* a range, n_keys > 0, that ends at 2^31 at most */
    uint32_t likely;      /* a key of it */
    /* filled in */
    uint32_t largest;
    size_t n_below, n_likely; /* those below the range; those equal to `likely` */
};

struct uqm_merge_kernels {
    /* keys = bits of |x - base| as f32 */
    void (*delta_keys)(uint32_t *restrict keys, struct uqm_stored x, struct uqm_stored base,
                       size_t n_elem);
    /* The keys that have any of these bits, in order; how many. out: room for n_elem + 16. */
    size_t (*keys_with_bits)(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t bits,
                             size_t n_elem);
    /* The keys, any of 32 bits, in [low, low + n_keys), in order; how many. n_keys > 0; the range
     * ends at 2^32 at most. out: room for n_elem + 16. */
    size_t (*keys_within)(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t low,
                          uint32_t n_keys, size_t n_elem);
    /* The keys of delta_keys() that are in the range and not the likely one, in order; how many.
     * The rest is counted. out: room for n_elem + 16. */
    size_t (*split_deltas)(struct uqm_key_split *split, uint32_t *restrict out, struct uqm_stored x,
                           struct uqm_stored base, size_t n_elem);
    /* bins = keys >> shift, less `low`, at least 1, but 0 for key 0 alone; keys are below 2^31,
     * bins below 2^15. */
    void (*key_bins)(uint16_t *restrict bins, const uint32_t *restrict keys, unsigned shift,
                     uint32_t low, size_t n_elem);
    /* The largest key, 0 without any. Keys are below 2^31. */
    uint32_t (*largest_key)(const uint32_t *keys, size_t n_elem);
    /* How many keys are below `bound`, which is at most 2^31. */
    size_t (*keys_below)(const uint32_t *keys, uint32_t bound, size_t n_elem);
    /* How many bins are this one. */
    size_t (*bins_equal)(const uint16_t *bins, uint16_t bin, size_t n_elem);
    /* Halves 0 .. 8 n_blocks - 1 behind counter `first` of a Philox stream: words 0..3 of counters
     * (first + b, 0, 0), low halves first. */
    void (*philox_halves)(uint16_t *restrict dst, struct uqm_rng_key key, uint64_t first,
                          size_t n_blocks);

    /* Bit e % 8 of keep[e / 8] = half[e] < limit, the last byte's others 0; how many are equal to
     * it. */
    size_t (*halves_below)(uint8_t *restrict keep, const uint16_t *restrict halves, uint16_t limit,
                           size_t n_elem);
    /* The same with a limit for each bin, the lower 16 bits of limits[bins[e]]; and the places of
     * the others whose half is not above its upper 16, in order; how many. at: room for 8 more. */
    size_t (*halves_by_bin)(uint8_t *restrict keep, uint32_t *restrict at,
                            const uint16_t *restrict halves, const uint16_t *restrict bins,
                            const uint32_t *restrict limits, size_t n_elem);

    /* out = sum of x_i weight_i, in the order of the inputs, multiply then add in f64, divided. */
    void (*linear_mix)(double *restrict out, const struct uqm_linear_mix *mix, size_t n_elem);
    /*
     * out = base + lambda mix. e_i = (f64(x_i) - f64(base)) ratio_i weight_i where kept, else 0; s
     * = sum e_i; mix = s, or with consensus the sum of those e_i that are > 0 where s >= 0, < 0
     * where s < 0; divided as asked for. In the order of the inputs, f64, one rounding an
     * operation. Every NaN is the same one.
     */
    void (*task_mix)(double *restrict out, const struct uqm_task_mix *mix, size_t n_elem);
    /* before += |f64(x) - f64(base)|, after += the same where kept; in eight parts. */
    void (*task_sums)(double before[UQM_SUM_PARTS], double after[UQM_SUM_PARTS],
                      const struct uqm_task_input *input, struct uqm_stored base, size_t n_elem);
    /*
     * Inner products of v_i = f64(x_i), or f64(x_i) - f64(base) where base.x is not NULL:
     * g += sum of v_i v_j for all i <= j, in the order (0, 0), (0, 1) ... (1, 1) ..., each in eight
     * parts that are added as uqm_add_parts() does. Every product and sum is rounded.
     */
    void (*gram)(double *g, const struct uqm_stored *x, size_t n, struct uqm_stored base,
                 size_t n_elem);

    /*
     * For sce (spec merge.md 3), in the order of the inputs, f64, one rounding an operation; sums
     * begin with 0.
     * keys = bits of f32(sum of (d_i - mean)^2 / n), mean = sum of d_i / n: the variances, which
     * are not negative; 2^31 - 1 for every NaN. Nothing is left out: keep is not looked at.
     */
    void (*spread_keys)(uint32_t *restrict keys, const struct uqm_offsets *v, size_t n_elem);
    /* Bit e % 8 of keep[e / 8]: keys[e] >= least; keys are below 2^31, as is least. */
    void (*keys_at_least)(uint8_t *restrict keep, const uint32_t *restrict keys, uint32_t least,
                          size_t n_elem);
    /* sums[i] += sum of d_i d_i, in eight parts that are added as uqm_add_parts() does. */
    void (*offset_squares)(double *sums, const struct uqm_offsets *v, size_t n_elem);
    /* out = base + sum of d_i q_i / max(sum of q_i, least), over those i with d_i > 0 where the sum
     * of all d_i is >= 0, else with d_i < 0. Every NaN is the same one. */
    void (*agreeing_mix)(double *restrict out, const struct uqm_offsets *v, const double *q,
                         double least, size_t n_elem);
};

/*
 * What a division by `divisor` may be done with, or 0: with r = 1 / divisor and q = s r the
 * quotient is q + (s - q divisor) r, both steps one fused multiply-add, which is s / divisor
 * correctly rounded (Markstein 1990); q itself where that is no number. Divisors are kept away from
 * where a step overflows, or loses bits below the normal numbers, for sums of what f32 can hold.
 */
static inline double uqm_quick_reciprocal(double divisor)
{
    double size = divisor < 0 ? -divisor : divisor;
    return size > 0x1p-100 && size < 0x1p100 ? 1 / divisor : 0;
}

/* The parts of sums, added as said. */
static inline double uqm_add_parts(const double part[UQM_SUM_PARTS])
{
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

extern const struct uqm_merge_kernels uqm_merge_kernels_ref, uqm_merge_kernels_avx2,
    uqm_merge_kernels_avx512;

#endif
