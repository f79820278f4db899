#version 450
#extension GL_GOOGLE_include_directive : require

// Changes of type: to F16 or BF16 nearest even, two elements to a word; from them exact. An
// invocation takes two elements; an odd last one leaves the upper half of its word 0.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint KIND = 0;

const uint F16_OF_F32 = 0u, BF16_OF_F32 = 1u, F32_OF_F16 = 2u, F32_OF_BF16 = 3u;

layout(binding = 0) writeonly buffer Dst { uint dst[]; };
layout(binding = 1) readonly buffer Src { uint src[]; };

layout(push_constant) uniform Push {
    uint n_elem;
    uint dst_at, src_at; // words
};

#include "grid.glsl"
#include "numbers.glsl"

uint narrow(uint i)
{
    if (i >= n_elem)
        return 0u;
    float v = uintBitsToFloat(src[src_at + i]);
    return KIND == F16_OF_F32 ? f16_bits_of_f32(v) : bf16_bits_of_f32(v);
}

uint widen(uint half_word)
{
    return KIND == F32_OF_F16 ? floatBitsToUint(f32_of_f16_bits(half_word)) : half_word << 16;
}

void main()
{
    uint pair = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x, i = pair * 2u;
    if (i >= n_elem)
        return;
    if (KIND <= BF16_OF_F32) {
        dst[dst_at + pair] = narrow(i) | narrow(i + 1u) << 16;
        return;
    }
    uint word = src[src_at + pair];
    dst[dst_at + i] = widen(word & 0xFFFFu);
    if (i + 1u < n_elem)
        dst[dst_at + i + 1u] = widen(word >> 16);
}
