#include "compute/mix.h"

#include "compute/kernels.h"
#include "compute/merge_scalar.h"
#include "compute/wide.h"

/* What is added up is a multiple of at least 2^-149 2^-53 times the smallest factors; the terms of
 * a product's rounding error (shaders/double.glsl) stay above 2^-1022 so. Sums of weights, which a
 * consensus divides by, are multiples of 2^-116. */
static bool is_ordinary(double factor)
{
    const double size = fabs(factor);
    return factor == 0 || (size >= 0x1p-64 && size <= 0x1p64);
}

bool uqm_mix_is_safe(const struct uqm_mix *mix)
{
    bool safe = is_ordinary(mix->divisor) && mix->divisor != 0;
    for (size_t i = 0; safe && i < mix->n_inputs; i++) {
        const struct uqm_mix_input *in = &mix->inputs[i];
        safe = is_ordinary(in->weight) &&
               (in->sieve.counts == UQM_MIX_ALL || is_ordinary(in->sieve.ratio));
    }
    return safe && (!mix->base || is_ordinary(mix->lambda));
}

const void *uqm_mix_locate(size_t *n_elem, const struct uqm_mix *mix,
                           const struct uqm_mix_input *input, size_t i)
{
    const size_t bytes = uqm_dtype_bits(input->dtype) / 8;
    if (mix->run_elem == 0 || i < mix->run_first) {
        *n_elem = mix->run_elem == 0 ? SIZE_MAX : mix->run_first - i;
        return (const char *) input->w + i * bytes;
    }
    const size_t at = (i - mix->run_first) % mix->run_elem;
    *n_elem = mix->run_elem - at;
    return (const char *) input->later[(i - mix->run_first) / mix->run_elem] + at * bytes;
}

struct uqm_mix_draw_bound uqm_mix_draw_bound(double density)
{
    const double t = density * 65536, whole = floor(t), rest = ceil((t - whole) * 0x1p32);
    if (rest >= 0x1p32)
        return (struct uqm_mix_draw_bound){ (uint32_t) whole + 1, 0 };
    return (struct uqm_mix_draw_bound){ (uint32_t) whole, (uint32_t) rest };
}

bool uqm_mix_draw_keeps(const struct uqm_mix_draw_bound *bound, struct uqm_rng_key key,
                        uint64_t index)
{
    uint32_t words[4];
    const uint64_t block = index / 8;
    const uint32_t upper[4] = { (uint32_t) block, (uint32_t) (block >> 32), 0, 0 };
    uqm_philox4x32(words, upper, key);
    const uint32_t half = words[index % 8 / 2] >> 16 * (index % 2) & 0xFFFF;
    if (half != bound->most)
        return half < bound->most;
    const uint32_t lower[4] = { (uint32_t) index, (uint32_t) (index >> 32), 1, 0 };
    uqm_philox4x32(words, lower, key);
    return words[0] < bound->rest;
}

static float stored(const struct uqm_mix *mix, const struct uqm_mix_input *input, size_t i)
{
    size_t n;
    const struct uqm_stored in = { uqm_mix_locate(&n, mix, input, i), input->dtype };
    return uqm_stored_1(in, 0);
}

static bool counts(const struct uqm_mix_sieve *s, float x, float base, uint64_t index)
{
    if (s->counts == UQM_MIX_ALL)
        return true;
    if (s->counts == UQM_MIX_DRAWN) {
        const struct uqm_mix_draw_bound bound = uqm_mix_draw_bound(s->density);
        return uqm_mix_draw_keeps(&bound, s->key, index);
    }
    const uint32_t key = uqm_delta_key_1(x, base);
    return uqm_key_within(&s->keep, key, index) && !uqm_key_within(&s->drop, key, index);
}

/* Before the sum is divided: of all shares, or of those whose sign has the consensus, with the
 * divisor that goes with them. */
static double sum_of_shares(double *divisor, const struct uqm_mix *mix, size_t i)
{
    const float base = mix->base ? stored(mix, mix->base, i) : 0;
    double sum = 0, side[2] = { 0, 0 }, weights[2] = { 0, 0 };
    for (size_t k = 0; k < mix->n_inputs; k++) {
        const struct uqm_mix_input *in = &mix->inputs[k];
        const float x = stored(mix, in, i);
        double share = (double) x - (double) base;
        if (in->sieve.counts != UQM_MIX_ALL)
            share = counts(&in->sieve, x, base, mix->first_elem + i) ? share * in->sieve.ratio : 0;
        share *= in->weight;
        sum += share;
        if (share > 0 || share < 0) {
            side[share < 0] += share;
            weights[share < 0] += in->weight;
        }
    }
    *divisor = mix->divisor;
    if (!mix->consensus || isnan(sum))
        return sum;
    *divisor = mix->normalize && weights[sum < 0] != 0 ? weights[sum < 0] : 1;
    return side[sum < 0];
}

float uqm_mix_element(const struct uqm_mix *mix, enum uqm_dtype dtype, size_t i)
{
    double divisor, sum = sum_of_shares(&divisor, mix, i);
    sum = sum / divisor;
    if (mix->base)
        sum = (double) stored(mix, mix->base, i) + sum * mix->lambda;
    if (mix->base && isnan(sum))
        sum = (double) NAN;

    struct uqm_kernels kernels;
    float odd, out;
    uint16_t half;
    uqm_kernels_init(&kernels, 0);
    if (dtype == UQM_F32) {
        kernels.wide->to_f32(&out, &sum, 1);
        return out;
    }
    kernels.wide->to_odd_f32(&odd, &sum, 1);
    uqm_narrow(&kernels, &half, dtype, &odd, 1);
    uqm_widen(&kernels, &out, &half, dtype, 1);
    return out;
}
