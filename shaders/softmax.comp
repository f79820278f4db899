#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// y = softmax(scale x) over rows of `width`, the maximum subtracted first; or, with ARGMAX, the
// index of each row's greatest number, the lowest one on ties; NaN are passed over (a row of
// nothing else has index 0). A workgroup takes a row. y may be x.
layout(local_size_x_id = 0) in;

#ifdef ARGMAX
layout(binding = 0) writeonly buffer Y { uint y[]; };  // (n_rows)
#else
layout(binding = 0) writeonly buffer Y { float y[]; }; // (n_rows, ldx)
#endif
layout(binding = 1) readonly buffer X { float x[]; };  // (n_rows, ldx)

layout(push_constant) uniform Push {
    uint n_rows, width, ldx;
    uint y_at, x_at;
    float scale;
};

#include "grid.glsl"
#include "lane_math.glsl"
#include "reduce.glsl"

void main()
{
    uint row = group_number();
    if (row >= n_rows) // the whole workgroup
        return;
    uint from = x_at + row * ldx, to = y_at + row * ldx;
    uint me = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;

    float greatest = uintBitsToFloat(0xFF800000u);
    for (uint i = me; i < width; i += step) {
        float v = x[from + i] * scale;
        greatest = v > greatest ? v : greatest;
    }
    greatest = workgroup_max(greatest);
#ifdef ARGMAX
    float first = float(width); // indices below 2^24 are exact; the smallest is the negated maximum
    for (uint i = me; i < width; i += step)
        if (x[from + i] * scale == greatest)
            first = min(first, float(i));
    first = -workgroup_max(-first);
    if (me == 0u)
        y[y_at + row] = uint(first) < width ? uint(first) : 0u;
#else
    float sum = 0.0;
    for (uint i = me; i < width; i += step)
        sum += exp_f32(x[from + i] * scale - greatest);
    sum = 1.0 / workgroup_sum(sum);
    for (uint i = me; i < width; i += step)
        y[to + i] = exp_f32(x[from + i] * scale - greatest) * sum;
#endif
}
