/*
 * exp and erf over the lanes of one tier, written once, so that all tiers agree to the bit.
 * Before it comes a header that says what a lane is: ref/lanes_ref.h (one float),
 * x86/lanes_avx2.h, x86/lanes_avx512.h. Multiply, then add: two roundings everywhere, so that a
 * machine without fma has the same numbers.
 *
 *   vf  lanes of float;  vu  the same lanes as uint32_t
 *   vf_min(a, b) is a < b ? a : b and vf_max(a, b) is a > b ? a : b, so a NaN in b stays
 */
#ifndef UQM_COMPUTE_LANE_MATH_H
#define UQM_COMPUTE_LANE_MATH_H

static inline vf vf_mul_add(vf a, vf b, vf c)
{
    return vf_add(vf_mul(a, b), c);
}

/*
 * exp(x), within 2 ulp; 0 below -104, Inf above 89. x = n ln 2 + r, |r| <= ln 2 / 2, the
 * polynomial is that of Cephes' expf (Moshier); 2^n is multiplied in two halves, as n = 128 and
 * n < -126 are no floats' exponents.
 */
static inline vf vf_exp(vf x)
{
    const vf round = vf_set(0x1.8p23f); /* what is added to it becomes an integer */
    x = vf_max(vf_set(-104.0f), vf_min(vf_set(89.0f), x));

    vf t = vf_mul_add(x, vf_set(0x1.715476p+0f), round);
    vf n = vf_sub(t, round);
    vf r = vf_sub(x, vf_mul(n, vf_set(0.693359375f)));
    r = vf_sub(r, vf_mul(n, vf_set(-2.12194440e-4f)));

    vf p = vf_set(1.9875691500e-4f);
    p = vf_mul_add(p, r, vf_set(1.3981999507e-3f));
    p = vf_mul_add(p, r, vf_set(8.3334519073e-3f));
    p = vf_mul_add(p, r, vf_set(4.1665795894e-2f));
    p = vf_mul_add(p, r, vf_set(1.6666665459e-1f));
    p = vf_mul_add(p, r, vf_set(5.0000001201e-1f));
    p = vf_add(vf_mul_add(p, vf_mul(r, r), r), vf_set(1.0f));

    vu i = vu_sub(vu_of_bits(t), vu_set(0x4B400000)); /* n; minus the bits of `round` */
    vu half = vu_shift_right_1(vu_add(i, vu_set(256)));
    vf s1 = vf_of_bits(vu_shift_left_23(vu_sub(half, vu_set(1))));
    vf s2 = vf_of_bits(vu_shift_left_23(vu_add(vu_sub(i, half), vu_set(255))));
    return vf_mul(vf_mul(p, s1), s2);
}

/* erf(x), absolute error <= 1e-7. The two polynomials are N. Juffa's: up to 475/512 an odd one,
 * beyond 1 - exp(-|x| P(|x|)). */
static inline vf vf_erf(vf x)
{
    vf t = vf_abs(x), s = vf_mul(x, x);

    vf a = vf_mul_add(vf_set(-1.72853470e-5f), t, vf_set(3.83197126e-4f));
    vf b = vf_mul_add(vf_set(-3.88396438e-3f), t, vf_set(2.42546219e-2f));
    a = vf_mul_add(a, s, b);
    a = vf_mul_add(a, t, vf_set(-1.06777877e-1f));
    a = vf_mul_add(a, t, vf_set(-6.34846687e-1f));
    a = vf_mul_add(a, t, vf_set(-1.28717512e-1f));
    a = vf_sub(vf_mul(a, t), t);
    vf far = vf_copysign(vf_sub(vf_set(1.0f), vf_exp(a)), x);

    vf q = vf_set(-5.96761703e-4f);
    q = vf_mul_add(q, s, vf_set(4.99119423e-3f));
    q = vf_mul_add(q, s, vf_set(-2.67681349e-2f));
    q = vf_mul_add(q, s, vf_set(1.12819925e-1f));
    q = vf_mul_add(q, s, vf_set(-3.76125336e-1f));
    q = vf_mul_add(q, s, vf_set(1.28379166e-1f));
    vf near = vf_mul_add(q, x, x);

    return vf_select_greater(t, vf_set(0.927734375f), far, near);
}

static inline vf vf_silu(vf x)
{
    return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_set(0.0f), x))));
}

static inline vf vf_quick_gelu(vf x)
{
    vf e = vf_exp(vf_mul(x, vf_set(-1.702f)));
    return vf_div(x, vf_add(vf_set(1.0f), e));
}

static inline vf vf_gelu(vf x)
{
    vf e = vf_erf(vf_mul(x, vf_set(0x1.6a09e6p-1f)));
    return vf_mul(vf_mul(x, vf_set(0.5f)), vf_add(vf_set(1.0f), e));
}

#endif
