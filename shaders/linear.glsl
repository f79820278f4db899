// What the shaders of linear share: bindings, push constants and how a result is stored.
//     y[r, i] = epilogue(sum_k x[r, k] W[i, k] + bias[i]), r < m, i < n
//
//   TEXELS   x and W are read as uniform texel buffers, x in quads: k, ldx and x_at divide by 4
//   HALVES   x is F16 as halve_rows.comp leaves it: ldx and x_at count uvec4, W is F16
//   HAS_Y    the epilogue reads y: y_in is bound to the same slice as y
//   HAS_BIAS
//
// Before it: DTYPE, INTEGER_HALVES, EPILOGUE and, without TEXELS, X_QUADS (as TEXELS demands it).
#ifndef LINEAR_GLSL
#define LINEAR_GLSL

layout(binding = 0) writeonly buffer Y { float y[]; };                          // (m, ldy)
#ifdef TEXELS
#ifdef HALVES
layout(binding = 1) uniform usamplerBuffer x_eights;                            // (m, ldx)
#define X_AT(i) texelFetch(x_eights, int(i))
#else
layout(binding = 1) uniform samplerBuffer x_quads;                              // (m, ldx)
#endif
layout(binding = 2) uniform usamplerBuffer w;                                   // weights.glsl
#define W_AT(i) texelFetch(w, int(i))
#else
#ifdef HALVES
layout(binding = 1) readonly restrict buffer XEights { uvec4 x_eights[]; };
#define X_AT(i) x_eights[i]
#else
layout(binding = 1) readonly restrict buffer X { float x[]; };
layout(binding = 1) readonly restrict buffer XQuads { vec4 x_quads[]; };
#endif
layout(binding = 2) readonly restrict buffer W { uvec4 w[]; };
#define W_AT(i) w[i]
#endif
#ifdef HAS_BIAS
layout(binding = 3) readonly restrict buffer Bias { float bias[]; };            // (n)
#endif
#if defined(HAS_Y) && defined(HAS_BIAS)
layout(binding = 4) readonly buffer YIn { float y_in[]; };
#elif defined(HAS_Y)
layout(binding = 3) readonly buffer YIn { float y_in[]; };
#endif

layout(push_constant) uniform Push {
    uint m, n, k;
    uint ldy, ldx;                  // words from row to row; ldx of HALVES uvec4
    uint y_at, x_at, w_at, bias_at; // words from the slices' beginnings; w_at, x_at of HALVES uvec4
};

#include "epilogue.glsl"
#include "grid.glsl"
#include "weights.glsl"

#ifdef HALVES

// Eight numbers of the row that begins at `row_at`, from column j, a multiple of 8; zeros from k on.
void load_eight(out vec4 lo, out vec4 hi, uint row_at, uint j, bool half_block)
{
    uvec4 v = X_AT(row_at + j / 8u);
    lo = vec4(unpack_pair(v.x), unpack_pair(v.y));
    hi = vec4(unpack_pair(v.z), unpack_pair(v.w));
}

// A sum over row `row` of x without the power of two that is in its numbers.
float unscaled(float v, uint row)
{
    return v * uintBitsToFloat(X_AT(x_at + min(row, m - 1u) * ldx + (k + 7u) / 8u).x);
}

#else

// Four numbers of the row that begins at `row_at`, from column j; zeros from k on.
vec4 load_x(uint row_at, uint j)
{
#ifdef TEXELS
    return texelFetch(x_quads, int((row_at + j) / 4u));
#else
    if (X_QUADS)
        return x_quads[(row_at + j) / 4u];
    vec4 v = vec4(0.0);
    if (j < k)
        v.x = x[row_at + j];
    if (j + 1u < k)
        v.y = x[row_at + j + 1u];
    if (j + 2u < k)
        v.z = x[row_at + j + 2u];
    if (j + 3u < k)
        v.w = x[row_at + j + 3u];
    return v;
#endif
}

// As above; half_block: all of them from j + 4 on lie past k.
void load_eight(out vec4 lo, out vec4 hi, uint row_at, uint j, bool half_block)
{
    lo = load_x(row_at, j);
    hi = half_block ? vec4(0.0) : load_x(row_at, j + 4u);
}

float unscaled(float v, uint row)
{
    return v;
}

#endif

// v = fma over eight products in ascending order.
float multiply_eight(vec4 xlo, vec4 xhi, vec4 wlo, vec4 whi, float v)
{
    v = fma(xlo.x, wlo.x, v);
    v = fma(xlo.y, wlo.y, v);
    v = fma(xlo.z, wlo.z, v);
    v = fma(xlo.w, wlo.w, v);
    v = fma(xhi.x, whi.x, v);
    v = fma(xhi.y, whi.y, v);
    v = fma(xhi.z, whi.z, v);
    return fma(xhi.w, whi.w, v);
}

void store_y(uint row, uint col, float v)
{
    if (row >= m || col >= n)
        return;
    uint at = y_at + row * ldy + col;
#ifdef HAS_BIAS
    v += bias[bias_at + col];
#endif
#ifdef HAS_Y
    y[at] = epilogue(v, y_in[at]);
#else
    y[at] = epilogue(v, 0.0);
#endif
}

#endif
