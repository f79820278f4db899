#version 450
#extension GL_GOOGLE_include_directive : require

// y[r, i] = y[r, i] + bias[i]: for devices with too few bindings to do it in the product's
// epilogue.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Y { float y[]; };       // (m, ldy)
layout(binding = 1) readonly buffer YIn { float y_in[]; };   // the same slice
layout(binding = 2) readonly buffer Bias { float bias[]; };  // (n)

layout(push_constant) uniform Push {
    uint m, n, ldy;
    uint y_at, bias_at;
};

#include "grid.glsl"

void main()
{
    uint elem = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    uint row = elem / n, col = elem % n, at = y_at + row * ldy + col;
    if (row < m)
        y[at] = y_in[at] + bias[bias_at + col];
}
