/* One lane: plain floats, for lane_math.h. */
#ifndef UQM_COMPUTE_LANES_REF_H
#define UQM_COMPUTE_LANES_REF_H

#include <math.h>

#include "src/base/dtype.h"

typedef float vf;
typedef uint32_t vu;

static inline vf vf_set(float x)
{
    return x;
}
static inline vf vf_add(vf a, vf b)
{
    return a + b;
}
static inline vf vf_sub(vf a, vf b)
{
    return a - b;
}
static inline vf vf_mul(vf a, vf b)
{
    return a * b;
}
static inline vf vf_div(vf a, vf b)
{
    return a / b;
}
static inline vf vf_min(vf a, vf b)
{
    return a < b ? a : b;
}
static inline vf vf_max(vf a, vf b)
{
    return a > b ? a : b;
}
static inline vf vf_abs(vf a)
{
    return fabsf(a);
}
static inline vf vf_copysign(vf a, vf sign)
{
    return copysignf(a, sign);
}
/* a > b ? yes : no */
static inline vf vf_select_greater(vf a, vf b, vf yes, vf no)
{
    return a > b ? yes : no;
}

static inline vu vu_set(uint32_t x)
{
    return x;
}
static inline vu vu_add(vu a, vu b)
{
    return a + b;
}
static inline vu vu_sub(vu a, vu b)
{
    return a - b;
}
static inline vu vu_shift_left_23(vu a)
{
    return a << 23;
}
static inline vu vu_shift_right_1(vu a)
{
    return a >> 1;
}
static inline vu vu_of_bits(vf a)
{
    return uqm_bits_of_f32(a);
}
static inline vf vf_of_bits(vu a)
{
    return uqm_f32_of_bits(a);
}

#endif
