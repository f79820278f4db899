#version 450
#pragma use_vulkan_memory_model
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

// linear.glsl by cooperative matrices, W in F16: fragments of CM x CN x CK, f16 times f16 into f32.
// x is f32. A row times the power of two of row_scale.comp is cut into two f16, hi + lo, 22 bits in
// all, and each is multiplied; the power of two is taken back at the end. So a result is nearly
// what f32 gives, without f16's range. An infinite weight gives NaN where lo is 0. With HALVES x is
// f16 already (halve_rows.comp), and there is one product.
//
// A workgroup of 4 subgroups computes a tile of 64 x 64, a subgroup 32 x 32 of it. BK columns of x
// and W pass at a time; the next ones are on their way to registers meanwhile. The order of the
// products depends on k alone. X_UNITS and W_UNITS: quads of x, 64 BK / 4 / invocations, with HALVES
// eights, and eights of W, 64 BK / 8 / invocations, that an invocation fetches. Shared memory: 15360
// bytes, with HALVES 10240.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint DTYPE = 0;
layout(constant_id = 2) const bool INTEGER_HALVES = false;
layout(constant_id = 3) const uint EPILOGUE = 0;
layout(constant_id = 4) const bool X_QUADS = false;
layout(constant_id = 5) const uint X_UNITS = 4;
layout(constant_id = 6) const uint W_UNITS = 2;
layout(constant_id = 7) const uint CM = 16;
layout(constant_id = 8) const uint CN = 16;
layout(constant_id = 9) const uint CK = 16;

#include "linear.glsl"
#if defined(HALVES)
#elif defined(HAS_Y) && defined(HAS_BIAS)
layout(binding = 5) readonly buffer Scales { float scales[]; }; // (m)
#elif defined(HAS_Y) || defined(HAS_BIAS)
layout(binding = 4) readonly buffer Scales { float scales[]; };
#else
layout(binding = 3) readonly buffer Scales { float scales[]; };
#endif

// Rows of 8 uvec2, four f16 each, and 2 more against bank conflicts: x's hi, its lo, W. At the end
// a fragment of f32 a subgroup.
const uint BM = 64u, BN = 64u, BK = 32u, STRIDE = BK / 4u + 2u;
#ifdef HALVES
const uint HI = 0u, W_FROM = BM * STRIDE;
uvec4 x_next[X_UNITS];
#else
const uint HI = 0u, LO = BM * STRIDE, W_FROM = 2u * BM * STRIDE;
vec4 x_next[X_UNITS];
float my_scales[X_UNITS];
#endif
shared uvec2 tile[W_FROM + BN * STRIDE];

uvec4 w_next[W_UNITS];
uint me, first_row, first_col;

#define Sums coopmat<float, gl_ScopeSubgroup, CM, CN, gl_MatrixUseAccumulator>

void fetch(uint k0)
{
    uint n_panels = (n + 7u) / 8u, n_blocks = (k + 7u) / 8u;
    [[unroll]] for (uint u = 0u; u < X_UNITS; u++) {
#ifdef HALVES
        uint unit = u * gl_WorkGroupSize.x + me, row = first_row + unit / (BK / 8u);
        uint block = k0 / 8u + unit % (BK / 8u);
        x_next[u] = uvec4(0u);
        if (row < m && block < n_blocks)
            x_next[u] = X_AT(x_at + row * ldx + block);
#else
        uint unit = u * gl_WorkGroupSize.x + me, row = first_row + unit / (BK / 4u);
        uint j = k0 + unit % (BK / 4u) * 4u;
        x_next[u] = vec4(0.0);
        if (row < m && j < k)
            x_next[u] = load_x(x_at + row * ldx, j);
#endif
    }
    [[unroll]] for (uint u = 0u; u < W_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me;
        uint block = k0 / 8u + unit / 8u % (BK / 8u);
        uint panel = first_col / 8u + unit / 8u / (BK / 8u);
        w_next[u] = uvec4(0u);
        if (panel < n_panels && block < n_blocks)
            w_next[u] = W_AT(w_at + (panel * n_blocks + block) * 8u + unit % 8u);
    }
}

// What is not finite is its own hi, and 0 its lo.
void keep()
{
    [[unroll]] for (uint u = 0u; u < X_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me;
#ifdef HALVES
        uint to = unit / (BK / 8u) * STRIDE + unit % (BK / 8u) * 2u;
        tile[HI + to] = x_next[u].xy;
        tile[HI + to + 1u] = x_next[u].zw;
#else
        uint to = unit / (BK / 4u) * STRIDE + unit % (BK / 4u);
        vec4 v = x_next[u] * my_scales[u];
        uvec2 hi = uvec2(packHalf2x16(v.xy), packHalf2x16(v.zw));
        vec4 rest = v - vec4(unpackHalf2x16(hi.x), unpackHalf2x16(hi.y));
        rest = mix(vec4(0.0), rest, lessThanEqual(abs(v), vec4(65504.0)));
        tile[HI + to] = hi;
        tile[LO + to] = uvec2(packHalf2x16(rest.xy), packHalf2x16(rest.zw));
#endif
    }
    [[unroll]] for (uint u = 0u; u < W_UNITS; u++) {
        uint unit = u * gl_WorkGroupSize.x + me;
        uint col = unit / 8u / (BK / 8u) * 8u + unit % 8u;
        uint to = W_FROM + col * STRIDE + unit / 8u % (BK / 8u) * 2u;
        tile[to] = w_next[u].xy;
        tile[to + 1u] = w_next[u].zw;
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
    uint my_row = gl_SubgroupID / 2u * 32u, my_col = gl_SubgroupID % 2u * 32u;
#ifndef HALVES
    [[unroll]] for (uint u = 0u; u < X_UNITS; u++)
        my_scales[u] =
            scales[min(first_row + (u * gl_WorkGroupSize.x + me) / (BK / 4u), m - 1u)];
#endif

    Sums acc[32u / CM][32u / CN];
    [[unroll]] for (uint r = 0u; r < 32u / CM; r++)
        [[unroll]] for (uint i = 0u; i < 32u / CN; i++)
            acc[r][i] = Sums(0.0);

    fetch(0u);
    for (uint k0 = 0u; k0 < k; k0 += BK) {
        barrier();
        keep();
        barrier();
        if (k0 + BK < k)
            fetch(k0 + BK);
        [[unroll]] for (uint j = 0u; j < BK / 4u; j += CK / 4u) {
            coopmat<float16_t, gl_ScopeSubgroup, CK, CN, gl_MatrixUseB> b[32u / CN];
            [[unroll]] for (uint i = 0u; i < 32u / CN; i++)
                coopMatLoad(b[i], tile, W_FROM + (my_col + i * CN) * STRIDE + j, STRIDE,
                            gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint r = 0u; r < 32u / CM; r++) {
                coopmat<float16_t, gl_ScopeSubgroup, CM, CK, gl_MatrixUseA> a;
                uint from = (my_row + r * CM) * STRIDE + j;
#ifndef HALVES
                coopMatLoad(a, tile, LO + from, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint i = 0u; i < 32u / CN; i++)
                    acc[r][i] = coopMatMulAdd(a, b[i], acc[r][i]);
#endif
                coopMatLoad(a, tile, HI + from, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint i = 0u; i < 32u / CN; i++)
                    acc[r][i] = coopMatMulAdd(a, b[i], acc[r][i]);
            }
        }
    }
    const uint mine = gl_SubgroupID * (CM * CN / 2u);
    [[unroll]] for (uint r = 0u; r < 32u / CM; r++) {
        [[unroll]] for (uint i = 0u; i < 32u / CN; i++) {
            barrier();
            coopMatStore(acc[r][i], tile, mine, CN / 2u, gl_CooperativeMatrixLayoutRowMajor);
            barrier();
            for (uint e = gl_SubgroupInvocationID; e < CM * CN; e += gl_SubgroupSize) {
                uint row = first_row + my_row + r * CM + e / CN;
                uvec2 pair = tile[mine + e / 2u];
                float v = uintBitsToFloat(e % 2u == 0u ? pair.x : pair.y);
#ifdef HALVES
                v = unscaled(v, row);
#else
                v *= uintBitsToFloat(0x7F000000u - floatBitsToUint(scales[min(row, m - 1u)]));
#endif
                store_y(row, first_col + my_col + i * CN + e % CN, v);
            }
        }
    }
}
