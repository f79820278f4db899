#include <math.h>

#include "src/base/dtype.h"
#include "tests/unit/test.h"

static void every_f16_survives_a_round_trip(void **state)
{
    (void) state;
    for (uint32_t h = 0; h <= 0xFFFF; h++) {
        float f = uqm_f32_of_f16((uint16_t) h);
        if (isnan(f)) {
            assert_true((h & 0x7C00) == 0x7C00 && (h & 0x3FF));
            assert_true(isnan(uqm_f32_of_f16(uqm_f16_of_f32(f))));
            continue;
        }
        assert_int_equal(uqm_f16_of_f32(f), h);
    }
}

/* The nearest f16 by brute force: the two neighbours of x, ties to the even mantissa. */
static uint16_t nearest_f16(double x)
{
    uint16_t best = 0;
    double best_dist = HUGE_VAL;
    for (uint32_t h = 0; h < 0x7C00; h++) {
        double d = fabs((double) uqm_f32_of_f16((uint16_t) h) - x);
        if (d < best_dist || (d == best_dist && h % 2 == 0)) {
            best_dist = d;
            best = (uint16_t) h;
        }
    }
    return best;
}

static void f16_rounds_to_nearest_even(void **state)
{
    (void) state;
    /* midpoints, their neighbours, subnormals, the smallest and largest */
    const float cases[] = { 0x1p-25f,     0x1.000002p-25f, 0x1.8p-24f, 0x1.4p-24f,
                            0x1.ffcp-15f, 0x1.ffep-15f,    1.0f,       1.00048828125f,
                            1.00048840f,  1.00146484375f,  65504.0f,   65519.0f,
                            0.3f,         1e-6f,           3.14159265f };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(uqm_f16_of_f32(cases[i]), nearest_f16((double) cases[i]));
    assert_int_equal(uqm_f16_of_f32(65520.0f), 0x7C00);
    assert_int_equal(uqm_f16_of_f32(-INFINITY), 0xFC00);
    assert_int_equal(uqm_f16_of_f32(-0.0f), 0x8000);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void) state;
    assert_int_equal(uqm_bf16_of_f32(0.3f), 0x3E9A); /* 0.30078125, spec merge.md R6 */
    assert_int_equal(uqm_bf16_of_f32(uqm_f32_of_bits(0x3F808000)), 0x3F80);
    assert_int_equal(uqm_bf16_of_f32(uqm_f32_of_bits(0x3F818000)), 0x3F82);
    assert_int_equal(uqm_bf16_of_f32(uqm_f32_of_bits(0x3F808001)), 0x3F81);
    assert_int_equal(uqm_bf16_of_f32(uqm_f32_of_bits(0x7F7FFFFF)), 0x7F80);
    assert_true(isnan(uqm_f32_of_bf16(uqm_bf16_of_f32(uqm_f32_of_bits(0x7F800001)))));
}

static void dtype_names_are_exact(void **state)
{
    (void) state;
    for (int d = 0; d < UQM_N_DTYPES; d++) {
        enum uqm_dtype out;
        const char *name = uqm_dtype_name((enum uqm_dtype) d);
        assert_true(uqm_dtype_parse(&out, name, strlen(name)));
        assert_int_equal(out, d);
    }
    enum uqm_dtype out;
    assert_false(uqm_dtype_parse(&out, "bf16", 4));
    assert_false(uqm_dtype_parse(&out, "C128", 4));
    assert_false(uqm_dtype_parse(&out, "F8_E4M3FN", 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_survives_a_round_trip),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(dtype_names_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
