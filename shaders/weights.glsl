// Weights in a slot: W (n, k) cut into panels of 8 rows and blocks of 8 columns,
// [ceil(n / 8)][ceil(k / 8)][8 rows][8 k], zeros past n and k. Eight numbers of F16 or BF16 are one
// uvec4, of F32 two. A shader that includes this declares DTYPE and INTEGER_HALVES (whether the
// driver's unpackHalf2x16 flushes subnormals) and defines W_AT(i), the i-th uvec4.
#ifndef WEIGHTS_GLSL
#define WEIGHTS_GLSL

#include "numbers.glsl"

const uint DTYPE_F16 = 0u, DTYPE_BF16 = 1u, DTYPE_F32 = 2u;

vec2 unpack_pair(uint word)
{
    if (DTYPE == DTYPE_BF16)
        return vec2(uintBitsToFloat(word << 16), uintBitsToFloat(word & 0xFFFF0000u));
    if (INTEGER_HALVES)
        return vec2(f32_of_f16_bits(word & 0xFFFFu), f32_of_f16_bits(word >> 16));
    return unpackHalf2x16(word);
}

// Eight numbers of one row: element `row` of block `block`, blocks counted over all panels.
void load_weights(out vec4 lo, out vec4 hi, uint at, uint block, uint row)
{
    if (DTYPE == DTYPE_F32) {
        lo = uintBitsToFloat(W_AT(at + (block * 8u + row) * 2u));
        hi = uintBitsToFloat(W_AT(at + (block * 8u + row) * 2u + 1u));
    } else {
        uvec4 w = W_AT(at + block * 8u + row);
        lo = vec4(unpack_pair(w.x), unpack_pair(w.y));
        hi = vec4(unpack_pair(w.z), unpack_pair(w.w));
    }
}

#endif
