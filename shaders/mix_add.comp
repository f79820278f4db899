#version 450
#extension GL_GOOGLE_include_directive : require

// One model's share in a mixture of weights, in f64: y[i] = sum[i] + (x[i] - base[i]) weight, without
// a base x[i] weight; the first share begins with 0. All of them are packed alike (weights.glsl), so
// that places do not matter but where an element's index does. COUNTS: which elements do, times
// `ratio`; the others' shares are 0 (compute/mix.h). With CONSENSUS there are five sums, each n_elem
// long: of all shares, of those above 0, below 0, and of the weights of the two.
// With IS_BASE: y[i] = f32(x[i]), the base as the others read it.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0; // of x
#ifndef IS_BASE
layout(constant_id = 2) const bool HAS_BASE = false;
layout(constant_id = 3) const uint COUNTS = 0;
layout(constant_id = 4) const bool CONSENSUS = false;
#endif

#ifdef IS_BASE
layout(binding = 0) writeonly buffer Y { uint y[]; };
layout(binding = 1) readonly buffer X { uint x[]; };
#else
layout(binding = 0) writeonly buffer Y { uvec2 y[]; };
layout(binding = 1) readonly buffer X { uint x[]; };
layout(binding = 2) readonly buffer Sum { uvec2 sum[]; };
layout(binding = 3) readonly buffer Base { uint base[]; }; // f32
#endif

layout(push_constant) uniform Push {
    uint n_elem;
    uint x_at; // words
    uint is_first;
    uint weight_lo, weight_hi;
    uint ratio_lo, ratio_hi;
    uint k, n_blocks; // of a row
    uint keep_key, keep_cut, drop_key, drop_cut, is_last;
    uint stream_lo, stream_hi, most, rest;
    uint first_lo, first_hi;
};

#include "double.glsl"
#include "grid.glsl"
#include "philox.glsl"

uint f32_bits_of_x(uint i)
{
    if (DTYPE == DTYPE_F32)
        return x[x_at + i];
    uint half_word = x[x_at + i / 2u] >> (i % 2u * 16u) & 0xFFFFu;
    return DTYPE == DTYPE_BF16 ? half_word << 16 : floatBitsToUint(f32_of_f16_bits(half_word));
}

#ifndef IS_BASE
const uint COUNTS_LIMITS = 1u, COUNTS_DRAWN = 2u;

// Of place i, counted from the first row; padding has the index of some element, and is 0 anyway.
uint index_of(uint i)
{
    uint block = i / 64u;
    uint row = block / n_blocks * 8u + i % 64u / 8u, column = block % n_blocks * 8u + i % 8u;
    return row * k + column;
}

// The magnitude of x - base rounded to f32, as the host's processors subtract: of a NaN the first
// operand's payload, then the second's. d is their difference in f64, whose rounding is the same.
uint key_of(uint x_bits, uint base_bits, double d)
{
    uint a = x_bits & 0x7FFFFFFFu, b = base_bits & 0x7FFFFFFFu;
    if (a > 0x7F800000u)
        return a | 0x00400000u;
    if (b > 0x7F800000u)
        return b | 0x00400000u;
    if (a == 0x7F800000u && x_bits == base_bits)
        return 0x7FC00000u;
    return rounded(d, 24u, -126, 0x7F800000u);
}

bool within(uint key, uint index, uint limit_key, uint limit_cut, bool limit_last)
{
    return key > limit_key || key == limit_key && (index < limit_cut) != limit_last;
}

bool is_drawn(uint index)
{
    uint carry, lo = uaddCarry(first_lo, index, carry), hi = first_hi + carry;
    uvec2 stream = uvec2(stream_lo, stream_hi);
    uvec4 words = philox4x32(uvec4(lo >> 3 | hi << 29, hi >> 3, 0u, 0u), stream);
    uint half_word = words[lo % 8u / 2u] >> (lo % 2u * 16u) & 0xFFFFu;
    if (half_word != most)
        return half_word < most;
    return philox4x32(uvec4(lo, hi, 1u, 0u), stream).x < rest;
}

bool counts(uint i, uint x_bits, uint base_bits, double d)
{
    uint index = index_of(i);
    if (COUNTS == COUNTS_DRAWN)
        return is_drawn(index);
    uint key = key_of(x_bits, base_bits, d);
    return within(key, index, keep_key, keep_cut, (is_last & 1u) == 1u) &&
        !within(key, index, drop_key, drop_cut, (is_last & 2u) == 2u);
}

void add_to(uint at, double v)
{
    precise double before = is_first == 1u ? 0.0lf : packDouble2x32(sum[at]);
    precise double after = before + v;
    y[at] = unpackDouble2x32(after);
}
#endif

void main()
{
    uint i = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (i >= n_elem)
        return;
#ifdef IS_BASE
    y[i] = f32_bits_of_x(i);
#else
    double weight = packDouble2x32(uvec2(weight_lo, weight_hi));
    uint x_bits = f32_bits_of_x(i), base_bits = HAS_BASE ? base[i] : 0u;
    precise double share = double_of_f32_bits(x_bits);
    if (HAS_BASE)
        share = share - double_of_f32_bits(base_bits);
    if (COUNTS != 0u) {
        precise double scaled = share * packDouble2x32(uvec2(ratio_lo, ratio_hi));
        share = counts(i, x_bits, base_bits, share) ? scaled : 0.0lf;
    }
    share = share * weight;
    add_to(i, share);
    if (CONSENSUS) {
        bool above = sign_of(share) > 0, below = sign_of(share) < 0;
        add_to(n_elem + i, above ? share : 0.0lf);
        add_to(2u * n_elem + i, below ? share : 0.0lf);
        add_to(3u * n_elem + i, above ? weight : 0.0lf);
        add_to(4u * n_elem + i, below ? weight : 0.0lf);
    }
#endif
}
