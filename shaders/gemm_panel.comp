#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require
#ifdef SHUFFLES
#extension GL_KHR_shader_subgroup_shuffle : require
#endif

// linear.glsl without shared memory and barriers: an invocation holds TM rows of x against TN rows
// of W (4, or a panel's 8) in registers; those of a workgroup take neighbouring rows of W and the
// same rows of x. For devices whose shared memory is no faster than a cache. Each result is one
// chain over k in ascending order, from 0, whatever TM, TN and the workgroup's size.
//
// SHUFFLES: a workgroup is a subgroup of at least 8; each of its first 8 invocations fetches a row
// of x, or every eighth one, and all pass them round. TM is a multiple of 8.
//
// Tiles are numbered with rows of x fastest, so that a panel of W stays in the cache.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0;
layout(constant_id = 2) const bool INTEGER_HALVES = false;
layout(constant_id = 3) const uint EPILOGUE = 0;
layout(constant_id = 4) const bool X_QUADS = false;
layout(constant_id = 5) const uint TM = 8;
layout(constant_id = 6) const uint TN = 8;

#include "linear.glsl"

float acc[TM][TN];
uint row_at[TM]; // SHUFFLES: those that this invocation fetches

void load_rows(out vec4 lo[TM], out vec4 hi[TM], uint j, bool half_block)
{
#ifdef SHUFFLES
    [[unroll]] for (uint r = 0u; r < TM; r += 8u) {
        vec4 my_lo, my_hi;
        load_eight(my_lo, my_hi, row_at[r / 8u], j, half_block);
        [[unroll]] for (uint l = 0u; l < 8u; l++) {
            lo[r + l] = subgroupShuffle(my_lo, l);
            hi[r + l] = subgroupShuffle(my_hi, l);
        }
    }
#else
    [[unroll]] for (uint r = 0u; r < TM; r++)
        load_eight(lo[r], hi[r], row_at[r], j, half_block);
#endif
}

void multiply_block(uint block, uint first, uint j, bool half_block)
{
    vec4 lo[TM], hi[TM];
    load_rows(lo, hi, j, half_block);
    [[unroll]] for (uint i = 0u; i < TN; i++) {
        vec4 wlo, whi;
        load_weights(wlo, whi, w_at, block, first + i);
        [[unroll]] for (uint r = 0u; r < TM; r++)
            acc[r][i] = multiply_eight(lo[r], hi[r], wlo, whi, acc[r][i]);
    }
}

void main()
{
    uint n_panels = (n + 7u) / 8u, n_blocks = (k + 7u) / 8u;
    uint n_row_tiles = (m + TM - 1u) / TM;
    uint row = group_number() % n_row_tiles * TM;
    uint col = (group_number() / n_row_tiles * gl_WorkGroupSize.x + gl_LocalInvocationID.x) * TN;
    uint block = min(col / 8u, n_panels - 1u) * n_blocks, first = col % 8u;

#ifdef SHUFFLES
    [[unroll]] for (uint r = 0u; r < TM; r += 8u)
        row_at[r / 8u] = x_at + min(row + r + gl_LocalInvocationID.x % 8u, m - 1u) * ldx;
#else
    [[unroll]] for (uint r = 0u; r < TM; r++)
        row_at[r] = x_at + min(row + r, m - 1u) * ldx;
#endif
    [[unroll]] for (uint r = 0u; r < TM; r++)
        [[unroll]] for (uint i = 0u; i < TN; i++)
            acc[r][i] = 0.0;

    for (uint b = 0u; b < k / 8u; b++)
        multiply_block(block + b, first, b * 8u, false);
    if (k % 8u != 0u)
        multiply_block(block + k / 8u, first, k / 8u * 8u, k % 8u <= 4u);

    [[unroll]] for (uint r = 0u; r < TM; r++)
        [[unroll]] for (uint i = 0u; i < TN; i++)
            store_y(row + r, col + i, unscaled(acc[r][i], row + r));
}
