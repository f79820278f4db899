#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require

// linear.glsl with shared memory: a workgroup computes a tile of BM x BN results, an invocation TM
// x TN of them, rows and columns of the tile dealt out in turn, so that neighbours read and write
// neighbouring words. BK columns of x and W pass at a time; the next ones are on their way to
// registers meanwhile. Each result is one chain over k in ascending order, from 0, whatever the
// tile.
//
// The workgroup has (BM / TM) (BN / TN) invocations; BK is a multiple of 8. X_UNITS and W_UNITS:
// quads of x, ceil(BM BK / 4 / invocations), with HALVES eights, and eights of W, ceil(BN BK / 8 /
// invocations), that an invocation fetches. Shared memory: BK (BM + BN + 2) floats.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0;
layout(constant_id = 2) const bool INTEGER_HALVES = false;
layout(constant_id = 3) const uint EPILOGUE = 0;
layout(constant_id = 4) const bool X_QUADS = false;
layout(constant_id = 5) const uint BM = 64;
layout(constant_id = 6) const uint BN = 64;
layout(constant_id = 7) const uint BK = 16;
layout(constant_id = 8) const uint TM = 8;
layout(constant_id = 9) const uint TN = 4;
layout(constant_id = 10) const uint X_UNITS = 2;
layout(constant_id = 11) const uint W_UNITS = 1;

#include "linear.glsl"

shared float x_tile[BK * (BM + 1u)];
shared float w_tile[BK * (BN + 1u)];

#ifdef HALVES
uvec4 x_next[X_UNITS]; // packed until they are kept
const uint X_UNIT = 8u;
#else
vec4 x_next[X_UNITS];
const uint X_UNIT = 4u;
#endif
vec4 w_next_lo[W_UNITS], w_next_hi[W_UNITS];
uint me, first_row, first_col;

void fetch(uint k0)
{
    uint n_panels = (n + 7u) / 8u, n_blocks = (k + 7u) / 8u;
    [[unroll]] for (uint u = 0u; u < X_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me, row = unit / (BK / X_UNIT);
        uint j = k0 + unit % (BK / X_UNIT) * X_UNIT;
        bool is_there = row < BM && first_row + row < m && j < k;
#ifdef HALVES
        x_next[u] = uvec4(0u);
        if (is_there)
            x_next[u] = X_AT(x_at + (first_row + row) * ldx + j / 8u);
#else
        x_next[u] = vec4(0.0);
        if (is_there)
            x_next[u] = load_x(x_at + (first_row + row) * ldx, j);
#endif
    }
    [[unroll]] for (uint u = 0u; u < W_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me, row = unit % 8u;
        uint block = k0 / 8u + unit / 8u % (BK / 8u);
        uint panel = first_col / 8u + unit / 8u / (BK / 8u);
        w_next_lo[u] = w_next_hi[u] = vec4(0.0);
        if (unit < BN * BK / 8u && panel < n_panels && block < n_blocks)
            load_weights(w_next_lo[u], w_next_hi[u], w_at, panel * n_blocks + block, row);
    }
}

void keep()
{
    [[unroll]] for (uint u = 0u; u < X_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me, row = unit / (BK / X_UNIT);
        uint j = unit % (BK / X_UNIT) * X_UNIT;
        if (row < BM) {
#ifdef HALVES
            [[unroll]] for (uint c = 0u; c < 8u; c += 2u) {
                vec2 pair = unpack_pair(x_next[u][c / 2u]);
                x_tile[(j + c) * (BM + 1u) + row] = pair.x;
                x_tile[(j + c + 1u) * (BM + 1u) + row] = pair.y;
            }
#else
            [[unroll]] for (uint c = 0u; c < 4u; c++)
                x_tile[(j + c) * (BM + 1u) + row] = x_next[u][c];
#endif
        }
    }
    [[unroll]] for (uint u = 0u; u < W_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me;
        uint j = unit / 8u % (BK / 8u) * 8u, col = unit / 8u / (BK / 8u) * 8u + unit % 8u;
        if (unit < BN * BK / 8u) {
            [[unroll]] for (uint c = 0u; c < 4u; c++) {
                w_tile[(j + c) * (BN + 1u) + col] = w_next_lo[u][c];
                w_tile[(j + 4u + c) * (BN + 1u) + col] = w_next_hi[u][c];
            }
        }
    }
}

void main()
{
    uint n_row_tiles = (m + BM - 1u) / BM, n_col_tiles = (n + BN - 1u) / BN;
    if (group_number() >= n_row_tiles * n_col_tiles) // the whole workgroup
        return;
    me = gl_LocalInvocationID.x;
    first_row = group_number() % n_row_tiles * BM;
    first_col = group_number() / n_row_tiles * BN;
    const uint n_down = BM / TM, n_across = BN / TN;
    uint my_row = me / n_across, my_col = me % n_across;

    float acc[TM][TN];
    [[unroll]] for (uint r = 0u; r < TM; r++)
        [[unroll]] for (uint i = 0u; i < TN; i++)
            acc[r][i] = 0.0;

    fetch(0u);
    for (uint k0 = 0u; k0 < k; k0 += BK) {
        barrier();
        keep();
        barrier();
        if (k0 + BK < k)
            fetch(k0 + BK);
        for (uint j = 0u; j < BK; j++) {
            float xs[TM], ws[TN];
            [[unroll]] for (uint r = 0u; r < TM; r++)
                xs[r] = x_tile[j * (BM + 1u) + my_row + r * n_down];
            [[unroll]] for (uint i = 0u; i < TN; i++)
                ws[i] = w_tile[j * (BN + 1u) + my_col + i * n_across];
            [[unroll]] for (uint r = 0u; r < TM; r++)
                [[unroll]] for (uint i = 0u; i < TN; i++)
                    acc[r][i] = fma(xs[r], ws[i], acc[r][i]);
        }
    }
    [[unroll]] for (uint r = 0u; r < TM; r++) {
        uint row = first_row + my_row + r * n_down;
        [[unroll]] for (uint i = 0u; i < TN; i++)
            store_y(row, first_col + my_col + i * n_across, unscaled(acc[r][i], row));
    }
}
