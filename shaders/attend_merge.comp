#version 450
#extension GL_GOOGLE_include_directive : require

// The parts of attend_decode.comp, added in the order of the keys: with M the greatest maximum,
//     out = sum_s exp(m_s - M) v_s / sum_s exp(m_s - M) l_s
// An invocation takes a column of a head of a query.
layout(local_size_x_id = 0) in;

layout(binding = 0) writeonly buffer Out { float attended[]; };  // (n_q, ldo)
layout(binding = 1) readonly buffer Parts { float parts[]; };    // (n_q, n_heads, n_splits, 2 + d)

layout(push_constant) uniform Push {
    uint n_q, n_heads, head_dim;
    uint ldo, out_at, parts_at;
    uint n_splits;
    float keep_scale; // 1 without dropout
};

#include "grid.glsl"
#include "lane_math.glsl"

void main()
{
    uint elem = group_number() * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    uint col = elem % head_dim, head = elem / head_dim % n_heads, query = elem / head_dim / n_heads;
    if (query >= n_q)
        return;
    uint stride = 2u + head_dim;
    uint from = parts_at + (query * n_heads + head) * n_splits * stride;

    float greatest = parts[from];
    for (uint s = 1u; s < n_splits; s++) {
        float m = parts[from + s * stride];
        greatest = greatest > m ? greatest : m;
    }
    float sum = 0.0, v = 0.0;
    for (uint s = 0u; s < n_splits; s++) {
        float shrink = exp_f32(parts[from + s * stride] - greatest);
        sum = fma(shrink, parts[from + s * stride + 1u], sum);
        v = fma(shrink, parts[from + s * stride + 2u + col], v);
    }
    attended[out_at + query * ldo + head * head_dim + col] = v * (keep_scale / sum);
}
