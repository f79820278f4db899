#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require

// linear.glsl without shared memory and barriers: an invocation holds TM rows of x against one panel
// of 8 rows of W in registers; those of a workgroup take neighbouring panels and the same rows of x.
// For devices whose shared memory is no faster than a cache. Each result is one chain over k in
// ascending order, from 0, whatever TM and the workgroup's size.
//
// Tiles are numbered with rows fastest, so that a panel of W stays in the cache.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0;
layout(constant_id = 2) const bool INTEGER_HALVES = false;
layout(constant_id = 3) const uint EPILOGUE = 0;
layout(constant_id = 4) const bool X_QUADS = false;
layout(constant_id = 5) const uint TM = 8;

#include "linear.glsl"

float acc[TM][8];

void multiply_block(uint row_at[TM], uint block, uint j, bool half_block)
{
    vec4 lo[TM], hi[TM];
    [[unroll]] for (uint r = 0u; r < TM; r++) {
        lo[r] = load_x(row_at[r], j);
        hi[r] = half_block ? vec4(0.0) : load_x(row_at[r], j + 4u);
    }
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        vec4 wlo, whi;
        load_weights(wlo, whi, w_at, block, i);
        [[unroll]] for (uint r = 0u; r < TM; r++)
            acc[r][i] = multiply_eight(lo[r], hi[r], wlo, whi, acc[r][i]);
    }
}

void main()
{
    uint n_panels = (n + 7u) / 8u, n_blocks = (k + 7u) / 8u;
    uint n_row_tiles = (m + TM - 1u) / TM;
    uint row = group_number() % n_row_tiles * TM;
    uint panel = group_number() / n_row_tiles * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    uint block = min(panel, n_panels - 1u) * n_blocks;

    uint row_at[TM];
    [[unroll]] for (uint r = 0u; r < TM; r++)
        row_at[r] = x_at + min(row + r, m - 1u) * ldx;
    [[unroll]] for (uint r = 0u; r < TM; r++)
        [[unroll]] for (uint i = 0u; i < 8u; i++)
            acc[r][i] = 0.0;

    for (uint b = 0u; b < k / 8u; b++)
        multiply_block(row_at, block + b, b * 8u, false);
    if (k % 8u != 0u)
        multiply_block(row_at, block + k / 8u, k / 8u * 8u, k % 8u <= 4u);

    [[unroll]] for (uint r = 0u; r < TM; r++)
        [[unroll]] for (uint i = 0u; i < 8u; i++)
            store_y(row + r, panel * 8u + i, acc[r][i]);
}
