#version 450
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// RMSNorm    y = w * x / sqrt(mean(x^2) + eps)
// LayerNorm  y = w * (x - mean) / sqrt(mean((x - mean)^2) + eps) + b, in two passes
//
// A workgroup takes a row. y may be x: an invocation writes what it alone has read.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool LAYER_NORM = false;

layout(binding = 0) writeonly buffer Y { float y[]; };          // (n_rows, width)
layout(binding = 1) readonly buffer X { float x[]; };           // (n_rows, width)
layout(binding = 2) readonly buffer Weight { float weight[]; }; // (width)
layout(binding = 3) readonly buffer Bias { float bias[]; };     // (width); RMSNorm: anything

layout(push_constant) uniform Push {
    uint n_rows, width;
    uint y_at, x_at, weight_at, bias_at;
    float eps;
};

#include "grid.glsl"
#include "reduce.glsl"

void main()
{
    uint row = group_number();
    if (row >= n_rows) // the whole workgroup
        return;
    uint from = x_at + row * width, to = y_at + row * width;
    uint me = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;

    float mean = 0.0;
    if (LAYER_NORM) {
        float sum = 0.0;
        for (uint i = me; i < width; i += step)
            sum += x[from + i];
        mean = workgroup_sum(sum) / float(width);
    }
    float squares = 0.0;
    for (uint i = me; i < width; i += step) {
        float v = x[from + i] - mean;
        squares += v * v;
    }
    float scale = 1.0 / sqrt(workgroup_sum(squares) / float(width) + eps);

    for (uint i = me; i < width; i += step) {
        float v = (x[from + i] - mean) * scale * weight[weight_at + i];
        if (LAYER_NORM)
            v += bias[bias_at + i];
        y[to + i] = v;
    }
}
