// The power of two that brings a row's largest number, of those that are finite, to [2^14, 2^15):
// an f16 holds it, and what it cannot hold of the others is 2^-39 of it and less. Between 2^-126
// and 2^126, so that its inverse is exact too. A workgroup takes a row; each invocation gets it.
//
// Before it: x, and k, the numbers of a row.
#ifndef ROW_SCALE_GLSL
#define ROW_SCALE_GLSL

#include "reduce.glsl"

float row_scale(uint row_at)
{
    float most = 0.0;
    for (uint j = gl_LocalInvocationID.x; j < k; j += gl_WorkGroupSize.x) {
        float v = abs(x[row_at + j]);
        most = floatBitsToUint(v) < 0x7F800000u ? max(most, v) : most;
    }
    most = workgroup_max(most);
    int exponent = clamp(127 + 14 + 127 - int(floatBitsToUint(most) >> 23), 1, 253);
    return most > 0.0 ? uintBitsToFloat(uint(exponent) << 23) : 1.0;
}

float inverse_of_scale(float scale)
{
    return uintBitsToFloat(0x7F000000u - floatBitsToUint(scale));
}

#endif
