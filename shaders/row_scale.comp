#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// The power of two that brings a row's largest number, of those that are finite, to [2^14, 2^15):
// an f16 holds it, and what it cannot hold of the others is 2^-39 of it and less. Between 2^-126
// and 2^126, so that its inverse is exact too. A workgroup takes a row.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Scales { float scales[]; }; // (m)
layout(binding = 1) readonly buffer X { float x[]; };            // (m, ldx)

layout(push_constant) uniform Push {
    uint m, k, ldx;
    uint x_at;
};

#include "grid.glsl"
#include "reduce.glsl"

void main()
{
    uint row = group_number();
    if (row >= m) // the whole workgroup
        return;
    float most = 0.0;
    for (uint j = gl_LocalInvocationID.x; j < k; j += gl_WorkGroupSize.x) {
        float v = abs(x[x_at + row * ldx + j]);
        most = floatBitsToUint(v) < 0x7F800000u ? max(most, v) : most;
    }
    most = workgroup_max(most);
    int exponent = clamp(127 + 14 + 127 - int(floatBitsToUint(most) >> 23), 1, 253);
    if (gl_LocalInvocationID.x == 0u)
        scales[row] = most > 0.0 ? uintBitsToFloat(uint(exponent) << 23) : 1.0;
}
