#version 450
#extension GL_GOOGLE_include_directive : require

// Element-wise, in place or not: y = epilogue(v = x, y) of epilogue.glsl.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint EPILOGUE = 0;

layout(binding = 0) writeonly buffer Y { float y[]; };
layout(binding = 1) readonly buffer X { float x[]; };
layout(binding = 2) readonly buffer YIn { float y_in[]; }; // y's slice for ADD and SILU_MUL

layout(push_constant) uniform Push {
    uint n_elem;
    uint y_at, x_at;
};

#include "epilogue.glsl"
#include "grid.glsl"

void main()
{
    uint i = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (i < n_elem)
        y[y_at + i] = epilogue(x[x_at + i], y_in[y_at + i]);
}
