#version 450
#extension GL_GOOGLE_include_directive : require

// One model's share in a mixture of weights, in f64: y[i] = sum[i] + (x[i] - base[i]) weight, without
// a base x[i] weight; the first share begins with 0. All of them are packed alike (weights.glsl), so
// that places do not matter. With IS_BASE: y[i] = f32(x[i]), the base as the others read it.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0; // of x
layout(constant_id = 2) const bool HAS_BASE = false;

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
};

#include "double.glsl"
#include "grid.glsl"

uint f32_bits_of_x(uint i)
{
    if (DTYPE == DTYPE_F32)
        return x[x_at + i];
    uint half_word = x[x_at + i / 2u] >> (i % 2u * 16u) & 0xFFFFu;
    return DTYPE == DTYPE_BF16 ? half_word << 16 : floatBitsToUint(f32_of_f16_bits(half_word));
}

void main()
{
    uint i = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (i >= n_elem)
        return;
#ifdef IS_BASE
    y[i] = f32_bits_of_x(i);
#else
    precise double v = double_of_f32_bits(f32_bits_of_x(i));
    if (HAS_BASE)
        v = v - double_of_f32_bits(base[i]);
    precise double share = v * packDouble2x32(uvec2(weight_lo, weight_hi));
    precise double before = is_first == 1u ? 0.0lf : packDouble2x32(sum[i]);
    precise double after = before + share;
    y[i] = unpackDouble2x32(after);
#endif
}
