#version 450
#extension GL_GOOGLE_include_directive : require

// The end of a mixture of weights: out[i] = base[i] + sum[i] / divisor * lambda, without a base
// sum[i] / divisor, rounded once to nearest even; with a base every NaN is the same. With CONSENSUS
// (mix_add.comp) the sum is that of the shares whose sign the sum of all has, and with NORMALIZE the
// divisor that of their weights, where that is not 0. An invocation makes a word, two elements of
// F16 or BF16.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0; // of out
layout(constant_id = 2) const bool HAS_BASE = false;
layout(constant_id = 3) const bool DIVIDES = false;
layout(constant_id = 4) const bool CONSENSUS = false;
layout(constant_id = 5) const bool NORMALIZE = false;

layout(binding = 0) writeonly buffer Out { uint result[]; };
layout(binding = 1) readonly buffer Sum { uvec2 sum[]; };
layout(binding = 2) readonly buffer Base { uint base[]; }; // f32

layout(push_constant) uniform Push {
    uint n_words;
    uint out_at; // words
    uint divisor_lo, divisor_hi;
    uint reciprocal_lo, reciprocal_hi;
    uint lambda_lo, lambda_hi;
    uint n_elem;
};

#include "double.glsl"
#include "grid.glsl"

// Of the shares that have the sum's sign, 0 counting as above; a NaN remains one.
double elected(uint i, double all)
{
    if (is_nan(all))
        return all;
    bool below = sign_of(all) < 0;
    double mix = packDouble2x32(sum[(below ? 2u : 1u) * n_elem + i]);
    if (!NORMALIZE)
        return mix;
    double weights = packDouble2x32(sum[(below ? 4u : 3u) * n_elem + i]);
    return sign_of(weights) == 0 ? mix : divided(mix, weights, reciprocal_of(weights));
}

uint element(uint i)
{
    precise double v = packDouble2x32(sum[i]);
    if (CONSENSUS)
        v = elected(i, v);
    if (DIVIDES)
        v = divided(v, packDouble2x32(uvec2(divisor_lo, divisor_hi)),
                    packDouble2x32(uvec2(reciprocal_lo, reciprocal_hi)));
    if (HAS_BASE) {
        precise double change = v * packDouble2x32(uvec2(lambda_lo, lambda_hi));
        v = double_of_f32_bits(base[i]) + change;
        if (is_nan(v))
            v = packDouble2x32(uvec2(0u, 0x7FF80000u));
    }
    return bits_of_double(v, DTYPE);
}

void main()
{
    uint i = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (i >= n_words)
        return;
    if (DTYPE == DTYPE_F32)
        result[out_at + i] = element(i);
    else
        result[out_at + i] = element(2u * i) | element(2u * i + 1u) << 16;
}
