#version 450
#extension GL_GOOGLE_include_directive : require

// y[i] = x[index[i]], or y[i] + x[index[i]], rows of `width`; a row whose index is 2^32 - 1 stays.
// Only rows [first_x, first_x + n_x) of x are bound: those of y that want others stay too.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool ADD = false;

layout(binding = 0) writeonly buffer Y { float y[]; };     // (n_rows, ldy)
layout(binding = 1) readonly buffer X { float x[]; };      // (any, ldx)
layout(binding = 2) readonly buffer Index { uint index[]; }; // (n_rows)
layout(binding = 3) readonly buffer YIn { float y_in[]; }; // y's slice where ADD, else anything

layout(push_constant) uniform Push {
    uint n_rows, width;
    uint ldy, ldx;
    uint y_at, x_at, index_at;
    uint first_x, n_x;
};

#include "grid.glsl"

void main()
{
    uint elem = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    uint row = elem / width, col = elem % width;
    if (row >= n_rows)
        return;
    uint from = index[index_at + row] - first_x; // wraps where it is smaller
    if (from >= n_x)
        return;
    uint at = y_at + row * ldy + col;
    float v = x[x_at + from * ldx + col];
    y[at] = ADD ? y_in[at] + v : v;
}
