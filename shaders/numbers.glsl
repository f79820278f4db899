// Conversions by integers alone, so that no driver's rounding or flushing shows in them. They agree
// to the bit with src/base/dtype.h.
#ifndef NUMBERS_GLSL
#define NUMBERS_GLSL

// The f16 in the low half of h. Subnormals by an exact product, NaN quiet.
float f32_of_f16_bits(uint h)
{
    uint sign = (h & 0x8000u) << 16, u = (h & 0x7FFFu) << 13;
    uint normal = u + 0x38000000u;
    uint special = u | 0x7F800000u | ((h & 0x7FFFu) > 0x7C00u ? 0x00400000u : 0u);
    uint small = floatBitsToUint(float(h & 0x7FFFu) * uintBitsToFloat(0x33800000u)); // 2^-24
    uint bits = u < 0x00800000u ? small : u < 0x0F800000u ? normal : special;
    return uintBitsToFloat(sign | bits);
}

// Nearest, ties to even; overflow becomes Inf, NaN quiet with its upper payload.
uint f16_bits_of_f32(float f)
{
    uint u = floatBitsToUint(f), sign = u >> 16 & 0x8000u;
    u &= 0x7FFFFFFFu;
    if (u > 0x7F800000u)
        return sign | 0x7E00u | (u >> 13 & 0x1FFu);
    if (u >= 0x477FF000u)
        return sign | 0x7C00u;
    if (u < 0x38800000u) { // a multiple of 2^-24: shift the significand, round what falls off
        uint e = u >> 23;
        if (e < 102u)
            return sign;
        uint significand = u & 0x007FFFFFu | 0x00800000u, shift = 126u - e;
        uint kept = significand >> shift, rest = significand & (1u << shift) - 1u;
        uint half_way = 1u << shift - 1u;
        return sign | kept + uint(rest > half_way || rest == half_way && (kept & 1u) == 1u);
    }
    return sign | (u - 0x38000000u + 0xFFFu + (u >> 13 & 1u)) >> 13;
}

uint f16_bits_of_pair(vec2 v)
{
    return f16_bits_of_f32(v.x) | f16_bits_of_f32(v.y) << 16;
}

#endif
