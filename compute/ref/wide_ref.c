#include "compute/wide.h"

#include <math.h>

#include "compute/unaligned.h"
#include "src/base/dtype.h"

static void of_f32(double *restrict dst, const float *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        dst[i] = (double) uqm_get_f32(src, i);
}

static void of_bf16(double *restrict dst, const uint16_t *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        dst[i] = (double) uqm_f32_of_bf16(uqm_get_u16(src, i));
}

static void to_f32(float *restrict dst, const double *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(dst, i, (float) src[i]);
}

static float to_odd(double x)
{
    float f = (float) x;
    if ((double) f == x || isnan(x))
        return f;
    uint32_t u = uqm_bits_of_f32(f);
    if (fabs((double) f) > fabs(x))
        u--; /* towards zero: the bits of a magnitude ascend */
    return uqm_f32_of_bits(u | 1);
}

static void to_odd_f32(float *restrict dst, const double *restrict src, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        uqm_put_f32(dst, i, to_odd(src[i]));
}

static void sub(double *restrict y, const double *restrict x, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        y[i] -= x[i];
}

static void add_scaled(double *restrict y, const double *restrict x, double c, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        y[i] += c * x[i];
}

static void divide(double *y, double c, size_t n_elem)
{
    for (size_t i = 0; i < n_elem; i++)
        y[i] /= c;
}

static double dot(const double *x, const double *y, size_t n_elem)
{
    double p[UQM_WIDE_PARTS] = { 0 };
    for (size_t i = 0; i < n_elem; i++)
        p[i % UQM_WIDE_PARTS] += x[i] * y[i];
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

const struct uqm_wide_kernels uqm_wide_ref = {
    .of_f32 = of_f32,
    .of_bf16 = of_bf16,
    .to_f32 = to_f32,
    .to_odd_f32 = to_odd_f32,
    .sub = sub,
    .add_scaled = add_scaled,
    .divide = divide,
    .dot = dot,
};
