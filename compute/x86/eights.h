/* Arithmetic and comparisons of eight doubles, the same text for both tiers: included by an
 * eights_*.h, which has defined the types, and WD2, WD3 and WD_COMPARE as what an instruction
 * does to all eight. */
#ifndef UQM_COMPUTE_EIGHTS_H
#define UQM_COMPUTE_EIGHTS_H

static inline wd wd_add(wd a, wd b)
{
    return WD2(add_pd, a, b);
}
static inline wd wd_sub(wd a, wd b)
{
    return WD2(sub_pd, a, b);
}
static inline wd wd_mul(wd a, wd b)
{
    return WD2(mul_pd, a, b);
}
static inline wd wd_div(wd a, wd b)
{
    return WD2(div_pd, a, b);
}
/* a b + c, and c - a b, in one rounding */
static inline wd wd_fma(wd a, wd b, wd c)
{
    return WD3(fmadd_pd, a, b, c);
}
static inline wd wd_fnma(wd a, wd b, wd c)
{
    return WD3(fnmadd_pd, a, b, c);
}
static inline wd wd_abs(wd a)
{
    return WD2(andnot_pd, wd_set(-0.0), a);
}

static inline wm wd_greater(wd a, wd b)
{
    return WD_COMPARE(a, b, _CMP_GT_OQ);
}
static inline wm wd_less(wd a, wd b)
{
    return WD_COMPARE(a, b, _CMP_LT_OQ);
}
static inline wm wd_at_least(wd a, wd b)
{
    return WD_COMPARE(a, b, _CMP_GE_OQ);
}
static inline wm wd_equal(wd a, wd b)
{
    return WD_COMPARE(a, b, _CMP_EQ_OQ);
}
static inline wm wd_is_nan(wd a)
{
    return WD_COMPARE(a, a, _CMP_UNORD_Q);
}

#undef WD2
#undef WD3
#undef WD_COMPARE
#endif
