// f64 as merges compute in it, made of and rounded to other types by integers alone. Additions and
// products of double are rounded to nearest even; what this file divides by is a host's finite,
// normal number, and no product here leaves the range of double (compute/vk/vk_mix.c sees to it).
#ifndef DOUBLE_GLSL
#define DOUBLE_GLSL

#include "numbers.glsl"

const uint DTYPE_F16 = 0u, DTYPE_BF16 = 1u, DTYPE_F32 = 2u;

bool is_nan(double v)
{
    uvec2 bits = unpackDouble2x32(v);
    uint size = bits.y & 0x7FFFFFFFu;
    return size > 0x7FF00000u || size == 0x7FF00000u && bits.x != 0u;
}

// -1, 0, 1; 0 of a NaN.
int sign_of(double v)
{
    uvec2 bits = unpackDouble2x32(v);
    if (is_nan(v) || (bits.y & 0x7FFFFFFFu | bits.x) == 0u)
        return 0;
    return bits.y >> 31 == 1u ? -1 : 1;
}

// Exact; u: bits of an f32.
double double_of_f32_bits(uint u)
{
    uint sign = u & 0x80000000u, e = u >> 23 & 0xFFu, m = u & 0x007FFFFFu;
    if (e == 0u) { // a multiple of 2^-149
        precise double small = double(m) * packDouble2x32(uvec2(0u, 0x36A00000u));
        return packDouble2x32(unpackDouble2x32(small) | uvec2(0u, sign));
    }
    uint exponent = e == 0xFFu ? 0x7FFu : e + 896u;
    return packDouble2x32(uvec2(m << 29, sign | exponent << 20 | m >> 3));
}

// Bits [0, 53) of hi:lo, shifted right by 29 to 53 and rounded to nearest even.
uint rounded_shift(uint hi, uint lo, uint shift)
{
    uint kept, guard, sticky;
    if (shift < 32u) {
        kept = hi << 32u - shift | lo >> shift;
        guard = lo >> shift - 1u & 1u;
        sticky = lo & (1u << shift - 1u) - 1u;
    } else if (shift == 32u) {
        kept = hi;
        guard = lo >> 31;
        sticky = lo & 0x7FFFFFFFu;
    } else {
        kept = hi >> shift - 32u;
        guard = hi >> shift - 33u & 1u;
        sticky = lo | hi & (1u << shift - 33u) - 1u;
    }
    return kept + (guard & uint(sticky != 0u || (kept & 1u) == 1u));
}

// The bits of v in a type whose significands have `digits` bits, normal from 2^least on, infinite
// as `infinity`: one rounding, overflow to Inf, NaN quiet.
uint rounded(double v, uint digits, int least, uint infinity)
{
    uvec2 bits = unpackDouble2x32(v);
    uint e = bits.y >> 20 & 0x7FFu, hi = bits.y & 0x000FFFFFu;
    if (e == 0x7FFu)
        return (hi | bits.x) == 0u ? infinity : infinity | 1u << digits - 2u;
    if (e == 0u)
        return 0u;
    int above = int(e) - 1023 - least;
    uint shift = 53u - digits + uint(max(-above, 0));
    if (shift > 53u)
        return 0u;
    uint kept = rounded_shift(hi | 0x00100000u, bits.x, shift);
    return min((uint(max(above, 0)) << digits - 1u) + kept, infinity);
}

uint bits_of_double(double v, uint dtype)
{
    uint sign = unpackDouble2x32(v).y & 0x80000000u;
    if (dtype == DTYPE_F32)
        return sign | rounded(v, 24u, -126, 0x7F800000u);
    return sign >> 16 | (dtype == DTYPE_F16 ? rounded(v, 11u, -14, 0x7C00u)
                                            : rounded(v, 8u, -126, 0x7F80u));
}

// s - q d, which a double holds where q is s / d but for some units of its last place. The product's
// rounding error after Dekker 1971.
double remainder_of(double s, double q, double d)
{
    const double splitter = 134217729.0lf; // 2^27 + 1
    precise double qs = q * splitter, ds = d * splitter;
    precise double q_hi = qs - (qs - q), d_hi = ds - (ds - d);
    precise double q_lo = q - q_hi, d_lo = d - d_hi;
    precise double p = q * d;
    precise double e = q_hi * d_hi - p;
    e = e + q_hi * d_lo;
    e = e + q_lo * d_hi;
    e = e + q_lo * d_lo;
    precise double r = s - p;
    r = r - e;
    return r;
}

double next_to(double v, bool larger)
{
    uvec2 bits = unpackDouble2x32(v);
    if (larger != (bits.y >> 31 == 1u)) { // away from 0
        bits.x++;
        bits.y += uint(bits.x == 0u);
    } else {
        bits.y -= uint(bits.x == 0u);
        bits.x--;
    }
    return packDouble2x32(bits);
}

// s / d to nearest even. d is a normal number, r = 1 / d rounded. A quotient of doubles is never
// half way between two, so a remainder that is nearer to a neighbour decides.
double divided(double s, double d, double r)
{
    precise double q = s * r;
    uint e = unpackDouble2x32(q).y >> 20 & 0x7FFu;
    if (e == 0u || e == 0x7FFu)
        return q; // 0, Inf, NaN
    precise double q1 = q + remainder_of(s, q, d) * r;
    double left = remainder_of(s, q1, d);
    if (left == 0.0lf)
        return q1;
    double next = next_to(q1, left > 0.0lf == d > 0.0lf);
    precise double gap = abs(next - q1);
    precise double half_way = abs(d) * gap, twice = 2.0lf * abs(left);
    return twice > half_way ? next : q1;
}

// 1 / d but for some units of its last place, d a normal number: a device's own quotient may be no
// better than one of f32, each step doubles what is right of it.
double reciprocal_of(double d)
{
    precise double r = 1.0lf / d;
    for (uint step = 0u; step < 2u; step++) {
        precise double miss = 1.0lf - d * r;
        r = r + r * miss;
    }
    return r;
}

#endif
