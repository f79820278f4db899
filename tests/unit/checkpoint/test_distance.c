#include "src/checkpoint/distance.h"

#include <math.h>

#include "tests/unit/test.h"

static bool is_finite(double x)
{
    return isfinite(x) != 0;
}

static void distances_are_those_of_their_formulas(void **state)
{
    (void) state;
    static const float a[] = { 3, 4, 0 }, b[] = { 3, 0, 12 };
    struct uqm_distance d;
    uqm_distance_init(&d, UQM_F32, UQM_F32);
    uqm_distance_add(&d, a, b, 2); /* in two pieces */
    uqm_distance_add(&d, a + 2, b + 2, 1);
    assert_false(d.same_bytes);
    assert_true(d.known);
    assert_true(fabs(uqm_distance_rel_l2(&d) - sqrt(160) / 5) < 1e-15);
    assert_true(uqm_distance_max_abs(&d) == 12);
    assert_true(fabs(uqm_distance_cosine(&d) - 9 / (5 * sqrt(153))) < 1e-15);
}

static void types_are_widened_exactly(void **state)
{
    (void) state;
    static const uint16_t f16[] = { 0x3C00, 0xC000, 0x0001 }, bf16[] = { 0x3F80, 0xC000, 0x3380 };
    struct uqm_distance d;
    uqm_distance_init(&d, UQM_F16, UQM_BF16); /* 1, -2, 2^-24 in both */
    uqm_distance_add(&d, f16, bf16, 3);
    assert_false(d.same_bytes);
    assert_true(uqm_distance_rel_l2(&d) == 0 && uqm_distance_max_abs(&d) == 0);

    static const int8_t i8[] = { -1, 5 };
    static const int64_t i64[] = { -1, 7 };
    uqm_distance_init(&d, UQM_I8, UQM_I64);
    uqm_distance_add(&d, i8, i64, 2);
    assert_true(uqm_distance_max_abs(&d) == 2);

    static const uint8_t u8[] = { 1, 255 };
    static const double f64[] = { 1, 255.5 };
    uqm_distance_init(&d, UQM_U8, UQM_F64);
    uqm_distance_add(&d, u8, f64, 2);
    assert_true(uqm_distance_max_abs(&d) == 0.5);
}

static void more_than_a_chunk_is_summed(void **state)
{
    (void) state;
    static float a[5000], b[5000];
    struct uqm_distance d;
    double d2 = 0, a2 = 0;
    for (int i = 0; i < 5000; i++) {
        a[i] = (float) i;
        b[i] = (float) (i + i % 3);
        d2 += (i % 3) * (i % 3);
        a2 += (double) i * i;
    }
    uqm_distance_init(&d, UQM_F32, UQM_F32);
    uqm_distance_add(&d, a, b, 5000);
    assert_true(fabs(uqm_distance_rel_l2(&d) - sqrt(d2 / a2)) < 1e-12);
}

static void what_has_no_distance_is_not_finite(void **state)
{
    (void) state;
    static const float nan_and_1[] = { NAN, 1 }, zeros[] = { 0, 0 }, ones[] = { 1, 1 };
    static const float inf[] = { INFINITY, 1 };
    struct uqm_distance d;
    uqm_distance_init(&d, UQM_F32, UQM_F32);
    uqm_distance_add(&d, nan_and_1, ones, 2);
    assert_false(is_finite(uqm_distance_rel_l2(&d)));
    assert_false(is_finite(uqm_distance_max_abs(&d)));
    assert_false(is_finite(uqm_distance_cosine(&d)));

    uqm_distance_init(&d, UQM_F32, UQM_F32);
    uqm_distance_add(&d, zeros, ones, 2);
    assert_false(is_finite(uqm_distance_rel_l2(&d)));
    assert_true(uqm_distance_max_abs(&d) == 1);
    assert_false(is_finite(uqm_distance_cosine(&d)));

    uqm_distance_init(&d, UQM_F32, UQM_F32);
    uqm_distance_add(&d, inf, inf, 2);
    assert_true(d.same_bytes && uqm_distance_max_abs(&d) == 0);

    uqm_distance_init(&d, UQM_C64, UQM_C64); /* bytes alone are compared */
    uqm_distance_add(&d, ones, ones, 1);
    assert_true(d.same_bytes && !d.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_those_of_their_formulas),
        cmocka_unit_test(types_are_widened_exactly),
        cmocka_unit_test(more_than_a_chunk_is_summed),
        cmocka_unit_test(what_has_no_distance_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
