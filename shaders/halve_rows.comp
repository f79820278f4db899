#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// x in f16 for products in the mode `fast`: a row times its power of two (row_scale.glsl), so that
// no finite number overflows, rounded to nearest even, eight numbers to a uvec4, zeros past k.
// Behind a row one uvec4 more, whose first word is the f32 that takes the power of two back. A
// workgroup takes a row.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Halves { uvec4 halves[]; }; // (m, ceil(k / 8) + 1)
layout(binding = 1) readonly buffer X { float x[]; };            // (m, ldx)

layout(push_constant) uniform Push {
    uint m, k, ldx;
    uint x_at;
};

#include "grid.glsl"
#include "numbers.glsl"
#include "row_scale.glsl"

// Numbers j and j + 1 of the row that begins at `row_at`.
uint pair_from(uint row_at, uint j, float scale)
{
    float a = j < k ? x[row_at + j] : 0.0, b = j + 1u < k ? x[row_at + j + 1u] : 0.0;
    return f16_bits_of_pair(vec2(a, b) * scale);
}

void main()
{
    uint row = group_number();
    if (row >= m) // the whole workgroup
        return;
    uint row_at = x_at + row * ldx, n_blocks = (k + 7u) / 8u, to = row * (n_blocks + 1u);
    float scale = row_scale(row_at);
    for (uint b = gl_LocalInvocationID.x; b < n_blocks; b += gl_WorkGroupSize.x) {
        uint j = b * 8u;
        halves[to + b] = uvec4(pair_from(row_at, j, scale), pair_from(row_at, j + 2u, scale),
                               pair_from(row_at, j + 4u, scale), pair_from(row_at, j + 6u, scale));
    }
    if (gl_LocalInvocationID.x == 0u)
        halves[to + n_blocks] = uvec4(floatBitsToUint(inverse_of_scale(scale)), 0u, 0u, 0u);
}
