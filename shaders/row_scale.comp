#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// The power of two of each row of x (row_scale.glsl). A workgroup takes a row.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Scales { float scales[]; }; // (m)
layout(binding = 1) readonly buffer X { float x[]; };            // (m, ldx)

layout(push_constant) uniform Push {
    uint m, k, ldx;
    uint x_at;
};

#include "grid.glsl"
#include "row_scale.glsl"

void main()
{
    uint row = group_number();
    if (row >= m) // the whole workgroup
        return;
    float scale = row_scale(x_at + row * ldx);
    if (gl_LocalInvocationID.x == 0u)
        scales[row] = scale;
}
