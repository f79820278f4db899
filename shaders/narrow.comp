#version 450
#extension GL_GOOGLE_include_directive : require

// f32 to f16, nearest even: an invocation makes a word of two elements. n_elem is even.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Dst { uint dst[]; };
layout(binding = 1) readonly buffer Src { float src[]; };

layout(push_constant) uniform Push {
    uint n_elem;
    uint dst_at, src_at; // words
};

#include "grid.glsl"
#include "numbers.glsl"

void main()
{
    uint pair = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x, i = pair * 2u;
    if (i < n_elem)
        dst[dst_at + pair] = f16_bits_of_pair(vec2(src[src_at + i], src[src_at + i + 1u]));
}
