// exp and erf by the polynomials of compute/lane_math.h. Compilers are free to fuse a multiply and
// an add here, and nothing rests on their not simplifying sums.
#ifndef LANE_MATH_GLSL
#define LANE_MATH_GLSL

// Within 2 ulp; 0 below -104, Inf above 89, NaN stays.
float exp_f32(float x)
{
    x = 89.0 < x ? 89.0 : x;
    x = -104.0 > x ? -104.0 : x;

    float n = roundEven(x * 1.44269502);
    float r = x - n * 0.693359375;
    r = r - n * -2.12194440e-4;

    float p = 1.9875691500e-4;
    p = p * r + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 5.0000001201e-1;
    p = (p * (r * r) + r) + 1.0;

    int i = int(n), half_n = i >> 1; // 2^n in two halves: n = 128 and n < -126 are no exponents
    float s1 = uintBitsToFloat(uint(half_n + 127) << 23);
    float s2 = uintBitsToFloat(uint(i - half_n + 127) << 23);
    return p * s1 * s2;
}

// Absolute error <= 1e-7.
float erf_f32(float x)
{
    float t = abs(x), s = x * x;

    float a = -1.72853470e-5 * t + 3.83197126e-4;
    float b = -3.88396438e-3 * t + 2.42546219e-2;
    a = a * s + b;
    a = a * t + -1.06777877e-1;
    a = a * t + -6.34846687e-1;
    a = a * t + -1.28717512e-1;
    a = a * t - t;
    float far = 1.0 - exp_f32(a);
    far = x < 0.0 ? -far : far;

    float q = -5.96761703e-4;
    q = q * s + 4.99119423e-3;
    q = q * s + -2.67681349e-2;
    q = q * s + 1.12819925e-1;
    q = q * s + -3.76125336e-1;
    q = q * s + 1.28379166e-1;
    float near = q * x + x;

    return t > 0.927734375 ? far : near;
}

float silu_f32(float x)
{
    return x / (1.0 + exp_f32(-x));
}

float quick_gelu_f32(float x)
{
    return x / (1.0 + exp_f32(x * -1.702));
}

float gelu_f32(float x)
{
    float e = erf_f32(x * 0.707106769);
    return (x * 0.5) * (1.0 + e);
}

#endif
