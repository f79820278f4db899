#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

// linear.glsl for few rows against much weight: a workgroup takes one panel of 8 rows of W, read
// once, and TM rows of x; its invocations share out the blocks of k and add up at the end. A row's
// result does not depend on TM: it is a sum over invocations of chains, in the order of
// reduce.glsl.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0;
layout(constant_id = 2) const bool INTEGER_HALVES = false;
layout(constant_id = 3) const uint EPILOGUE = 0;
layout(constant_id = 4) const bool X_QUADS = false;
layout(constant_id = 5) const uint TM = 8;

#include "linear.glsl"
#include "reduce.glsl"

void main()
{
    uint n_panels = (n + 7u) / 8u, n_blocks = (k + 7u) / 8u;
    uint n_row_tiles = (m + TM - 1u) / TM;
    uint row = group_number() % n_row_tiles * TM, panel = group_number() / n_row_tiles;
    if (panel >= n_panels) // the whole workgroup
        return;

    float acc[TM][8];
    [[unroll]] for (uint r = 0u; r < TM; r++)
        [[unroll]] for (uint i = 0u; i < 8u; i++)
            acc[r][i] = 0.0;
    for (uint b = gl_LocalInvocationID.x; b < n_blocks; b += gl_WorkGroupSize.x) {
        uint j = b * 8u;
        vec4 lo[TM], hi[TM];
        [[unroll]] for (uint r = 0u; r < TM; r++) {
            uint row_at = x_at + min(row + r, m - 1u) * ldx;
            lo[r] = load_x(row_at, j);
            hi[r] = j + 4u < k ? load_x(row_at, j + 4u) : vec4(0.0);
        }
        [[unroll]] for (uint i = 0u; i < 8u; i++) {
            vec4 wlo, whi;
            load_weights(wlo, whi, w_at, panel * n_blocks + b, i);
            [[unroll]] for (uint r = 0u; r < TM; r++)
                acc[r][i] = multiply_eight(lo[r], hi[r], wlo, whi, acc[r][i]);
        }
    }
    [[unroll]] for (uint r = 0u; r < TM; r++) {
        [[unroll]] for (uint i = 0u; i < 8u; i++) {
            float v = workgroup_sum(acc[r][i]);
            if (gl_LocalInvocationID.x == (r * 8u + i) % gl_WorkGroupSize.x)
                store_y(row + r, panel * 8u + i, v);
        }
    }
}
