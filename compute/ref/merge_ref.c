#include <string.h>

#include "compute/merge_scalar.h"

static void delta_keys(uint32_t *restrict keys, struct uqm_stored x, struct uqm_stored base,
                       size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        keys[e] = uqm_delta_key_1(uqm_stored_1(x, e), uqm_stored_1(base, e));
}

static size_t keys_with_bits(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t bits,
                             size_t n_elem)
{
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e++)
        if (keys[e] & bits)
            out[n++] = keys[e];
    return n;
}

static size_t keys_within(uint32_t *restrict out, const uint32_t *restrict keys, uint32_t low,
                          uint32_t n_keys, size_t n_elem)
{
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e++)
        if (keys[e] - low < n_keys)
            out[n++] = keys[e];
    return n;
}

static size_t split_deltas(struct uqm_key_split *split, uint32_t *restrict out, struct uqm_stored x,
                           struct uqm_stored base, size_t n_elem)
{
    struct uqm_key_split s = { split->low, split->n_keys, split->likely, 0, 0, 0 };
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e++)
        uqm_split_delta_1(&s, out, &n, uqm_delta_key_1(uqm_stored_1(x, e), uqm_stored_1(base, e)));
    *split = s;
    return n;
}

static void key_bins(uint16_t *restrict bins, const uint32_t *restrict keys, unsigned shift,
                     uint32_t low, size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        bins[e] = uqm_key_bin_1(keys[e], shift, low);
}

static uint32_t largest_key(const uint32_t *keys, size_t n_elem)
{
    uint32_t most = 0;
    for (size_t e = 0; e < n_elem; e++)
        most = keys[e] > most ? keys[e] : most;
    return most;
}

static size_t keys_below(const uint32_t *keys, uint32_t bound, size_t n_elem)
{
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e++)
        n += keys[e] < bound;
    return n;
}

static size_t bins_equal(const uint16_t *bins, uint16_t bin, size_t n_elem)
{
    size_t n = 0;
    for (size_t e = 0; e < n_elem; e++)
        n += bins[e] == bin;
    return n;
}

static void philox_halves(uint16_t *restrict dst, struct uqm_rng_key key, uint64_t first,
                          size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++) {
        uint32_t words[4];
        const uint32_t at[4] = { (uint32_t) (first + b), (uint32_t) ((first + b) >> 32), 0, 0 };
        uqm_philox4x32(words, at, key);
        for (size_t i = 0; i < 8; i++)
            dst[8 * b + i] = (uint16_t) (words[i / 2] >> 16 * (i % 2));
    }
}

static size_t halves_below(uint8_t *restrict keep, const uint16_t *restrict halves, uint16_t limit,
                           size_t n_elem)
{
    size_t n = 0;
    memset(keep, 0, (n_elem + 7) / 8);
    for (size_t e = 0; e < n_elem; e++) {
        keep[e / 8] |= (uint8_t) ((halves[e] < limit) << e % 8);
        n += halves[e] == limit;
    }
    return n;
}

static size_t halves_by_bin(uint8_t *restrict keep, uint32_t *restrict at,
                            const uint16_t *restrict halves, const uint16_t *restrict bins,
                            const uint32_t *restrict limits, size_t n_elem)
{
    size_t n = 0;
    memset(keep, 0, (n_elem + 7) / 8);
    for (size_t e = 0; e < n_elem; e++) {
        uint32_t limit = limits[bins[e]], half = halves[e];
        bool below = half < (limit & 0xFFFF);
        keep[e / 8] |= (uint8_t) (below << e % 8);
        at[n] = (uint32_t) e;
        n += !below && half <= limit >> 16;
    }
    return n;
}

static void linear_mix(double *restrict out, const struct uqm_linear_mix *mix, size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        out[e] = uqm_linear_mix_1(mix, e);
}

static void task_mix(double *restrict out, const struct uqm_task_mix *mix, size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        out[e] = uqm_task_mix_1(mix, e);
}

static void task_sums(double before[UQM_SUM_PARTS], double after[UQM_SUM_PARTS],
                      const struct uqm_task_input *input, struct uqm_stored base, size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        uqm_task_sums_1(&before[e % UQM_SUM_PARTS], &after[e % UQM_SUM_PARTS], input, base, e);
}

static void gram(double *g, const struct uqm_stored *x, size_t n, struct uqm_stored base,
                 size_t n_elem)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double part[UQM_SUM_PARTS] = { 0 };
            for (size_t e = 0; e < n_elem; e++)
                part[e % UQM_SUM_PARTS] += uqm_gram_1(x[i], base, e) * uqm_gram_1(x[j], base, e);
            *g++ += uqm_add_parts(part);
        }
}

static void spread_keys(uint32_t *restrict keys, const struct uqm_offsets *v, size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        keys[e] = uqm_spread_key_1(v, e);
}

static void keys_at_least(uint8_t *restrict keep, const uint32_t *restrict keys, uint32_t least,
                          size_t n_elem)
{
    memset(keep, 0, (n_elem + 7) / 8);
    for (size_t e = 0; e < n_elem; e++)
        keep[e / 8] |= (uint8_t) ((keys[e] >= least) << e % 8);
}

static void offset_squares(double *sums, const struct uqm_offsets *v, size_t n_elem)
{
    for (size_t i = 0; i < v->n_inputs; i++) {
        double part[UQM_SUM_PARTS] = { 0 };
        for (size_t e = 0; e < n_elem; e++) {
            double d = uqm_offset_1(v, i, e);
            part[e % UQM_SUM_PARTS] += d * d;
        }
        sums[i] += uqm_add_parts(part);
    }
}

static void agreeing_mix(double *restrict out, const struct uqm_offsets *v, const double *q,
                         double least, size_t n_elem)
{
    for (size_t e = 0; e < n_elem; e++)
        out[e] = uqm_agreeing_mix_1(v, q, least, e);
}

const struct uqm_merge_kernels uqm_merge_kernels_ref = {
    .delta_keys = delta_keys,
    .keys_with_bits = keys_with_bits,
    .keys_within = keys_within,
    .split_deltas = split_deltas,
    .key_bins = key_bins,
    .largest_key = largest_key,
    .keys_below = keys_below,
    .bins_equal = bins_equal,
    .philox_halves = philox_halves,
    .halves_below = halves_below,
    .halves_by_bin = halves_by_bin,
    .linear_mix = linear_mix,
    .task_mix = task_mix,
    .task_sums = task_sums,
    .gram = gram,
    .spread_keys = spread_keys,
    .keys_at_least = keys_at_least,
    .offset_squares = offset_squares,
    .agreeing_mix = agreeing_mix,
};
