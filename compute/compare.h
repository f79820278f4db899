/*
 * How far runs of floats lie apart and whether they moved the same way: the sums behind the report
 * of a merge. Every tier gives the same bits: sums run in UQM_COMPARE_LANES chains of float,
 * element i in chain i mod that, multiply then add, and are folded in double in a fixed order. Over
 * a block of UQM_COMPARE_BLOCK elements a sum's relative error is below 2^-17.
 */
#ifndef UQM_COMPUTE_COMPARE_H
#define UQM_COMPUTE_COMPARE_H

#include <stddef.h>
#include <stdint.h>

enum { UQM_COMPARE_LANES = 32, UQM_COMPARE_BLOCK = 2048 };

struct uqm_compared {
    double sum_d2;  /* of (x_i - y_i)^2; not finite where an element, or a square, is not */
    double sum_x2;  /* of x_i^2 */
    double max_abs; /* of |x_i - y_i|; elements that are NaN are passed over */
};

struct uqm_votes {
    uint32_t n_moved; /* s_i is not 0 */
    uint32_t n_same;  /* s_i is what way_i is, and not 0 */
};

struct uqm_vote_tally {
    uint32_t n_moved;     /* elements that any vote moved */
    uint32_t n_unanimous; /* of those: that all votes moved the same way */
};

/* Arrays at any address; n_elem <= UQM_COMPARE_BLOCK. */
struct uqm_compare_kernels {
    void (*compare_f32)(struct uqm_compared *out, const float *x, const float *y, size_t n_elem);
    void (*compare_f16)(struct uqm_compared *out, const uint16_t *x, const float *y, size_t n_elem);
    void (*compare_bf16)(struct uqm_compared *out, const uint16_t *x, const float *y,
                         size_t n_elem);
    /* s_i = -1, 0 or 1: the sign of x_i - b_i; 0 for NaN */
    void (*sign_f32)(float *s, const float *x, const float *b, size_t n_elem);
    /* Count s's votes: sum_i += s_i, count_i += |s_i|. */
    void (*vote_f32)(struct uqm_votes *out, float *sum, float *count, const float *s,
                     const float *way, size_t n_elem);
    void (*tally_f32)(struct uqm_vote_tally *out, const float *sum, const float *count,
                      size_t n_elem);
    /* The bits of the largest magnitude, 0 of none: of 16-bit floats of either kind, of f32. An
     * infinity's are above all numbers', a NaN's above those. Any n_elem. */
    uint32_t (*largest_half)(const uint16_t *x, size_t n_elem);
    uint32_t (*largest_f32)(const float *x, size_t n_elem);
};

/* cpu_flags: an argument, so that a test can pick any tier. */
void uqm_compare_kernels_init(struct uqm_compare_kernels *kernels, uint32_t cpu_flags);

/* The end of the comparisons in every tier: chain i and chain i + 16 are added, or their maximum
 * taken, and the 16 of them given here. */
enum { UQM_COMPARE_FOLDED = UQM_COMPARE_LANES / 2 };
void uqm_compare_fold(struct uqm_compared *out, const float d2[UQM_COMPARE_FOLDED],
                      const float x2[UQM_COMPARE_FOLDED], const float max[UQM_COMPARE_FOLDED]);

#define UQM_DECLARE_COMPARE_TIER(t)                                                                \
    void uqm_compare_f32_##t(struct uqm_compared *out, const float *x, const float *y,             \
                             size_t n_elem);                                                       \
    void uqm_compare_f16_##t(struct uqm_compared *out, const uint16_t *x, const float *y,          \
                             size_t n_elem);                                                       \
    void uqm_compare_bf16_##t(struct uqm_compared *out, const uint16_t *x, const float *y,         \
                              size_t n_elem);                                                      \
    void uqm_sign_f32_##t(float *s, const float *x, const float *b, size_t n_elem);                \
    void uqm_vote_f32_##t(struct uqm_votes *out, float *sum, float *count, const float *s,         \
                          const float *way, size_t n_elem);                                        \
    void uqm_tally_f32_##t(struct uqm_vote_tally *out, const float *sum, const float *count,       \
                           size_t n_elem);                                                         \
    uint32_t uqm_largest_half_##t(const uint16_t *x, size_t n_elem);                               \
    uint32_t uqm_largest_f32_##t(const float *x, size_t n_elem)

UQM_DECLARE_COMPARE_TIER(ref);
UQM_DECLARE_COMPARE_TIER(avx2);
UQM_DECLARE_COMPARE_TIER(avx512);

#endif
