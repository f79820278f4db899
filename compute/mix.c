#include "compute/mix.h"

#include "compute/kernels.h"
#include "compute/merge_scalar.h"
#include "compute/wide.h"

/* What is added up is a multiple of at least 2^-149 2^-53 times the smallest factor; the terms of a
 * product's rounding error (shaders/double.glsl) stay above 2^-1022 so. */
static bool is_ordinary(double factor)
{
    const double size = fabs(factor);
    return factor == 0 || (size >= 0x1p-64 && size <= 0x1p64);
}

bool uqm_mix_is_safe(const struct uqm_mix *mix)
{
    bool safe = is_ordinary(mix->divisor) && mix->divisor != 0;
    for (size_t i = 0; safe && i < mix->n_inputs; i++)
        safe = is_ordinary(mix->inputs[i].weight);
    return safe && (!mix->base || is_ordinary(mix->lambda));
}

static double stored(const struct uqm_mix_input *input, size_t i)
{
    const struct uqm_stored in = { input->w, input->dtype };
    return (double) uqm_stored_1(in, i);
}

float uqm_mix_element(const struct uqm_mix *mix, enum uqm_dtype dtype, size_t i)
{
    const double base = mix->base ? stored(mix->base, i) : 0;
    double sum = 0;
    for (size_t k = 0; k < mix->n_inputs; k++)
        sum += (stored(&mix->inputs[k], i) - base) * mix->inputs[k].weight;
    sum = sum / mix->divisor;
    if (mix->base)
        sum = base + sum * mix->lambda;

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
