#include <math.h>

#include "src/uq/score.h"
#include "tests/unit/test.h"

static void near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.17g is not %.17g", a, b);
}

static void the_specs_vector_is_met(void **state)
{
    (void) state;
    static const float z[4][6] = {
        { 2, 1, 0, 0, 0, 0 }, { 1, 2, 0, 0, 0, 0 }, { 2, 1, 0, 0, 0, 0 }, { 0, 0, 3, 0, 0, 0 }
    };
    double p[4][6];
    for (int j = 0; j < 4; j++)
        uqm_option_softmax(p[j], z[j]);
    struct uqm_score s = uqm_score_sample(p[0], 4);
    near(s.total, 1.5769799739, 5e-11);
    near(s.data, 1.2599075305, 5e-11);
    near(s.u, 0.3170724434, 5e-11);
}

static void equal_passes_have_no_uncertainty(void **state)
{
    (void) state;
    static const float z[6] = { 3.25f, -1, 0.5f, 17, -40, 2 };
    for (size_t n = 1; n <= 7; n++) {
        double p[7][6];
        for (size_t j = 0; j < n; j++)
            uqm_option_softmax(p[j], z);
        near(uqm_score_sample(p[0], n).u, 0, 1e-14);
    }
}

static void certain_and_different_answers_have_ln_j(void **state)
{
    (void) state;
    double p[4][6] = { { 1 }, { 0, 1 }, { 0, 0, 1 }, { 0, 0, 0, 1 } };
    near(uqm_score_sample(p[0], 4).u, log(4), 1e-8);
}

static void logits_that_are_no_numbers_give_no_value(void **state)
{
    (void) state;
    const float bad[3][6] = { { NAN, 1, 1, 1, 1, 1 },
                              { 1, 1, 1, 1, 1, INFINITY },
                              { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                                -INFINITY } };
    for (int i = 0; i < 3; i++) {
        double p[2][6] = { { 1 } };
        uqm_option_softmax(p[1], bad[i]);
        assert_true(isnan(p[1][0]) && isnan(p[1][5]));
        assert_true(isnan(uqm_score_sample(p[0], 2).u));
    }
    const float large[6] = { 1e30f, 0, 0, 0, 0, -1e30f };
    double p[6];
    uqm_option_softmax(p, large);
    assert_true(p[0] == 1 && p[5] == 0);
    assert_int_equal(uqm_option_argmax(bad[0]), -1);
}

static void the_first_of_equal_logits_is_the_answer(void **state)
{
    (void) state;
    const float z[6] = { 1, 3, 2, 3, 3, 0 };
    assert_int_equal(uqm_option_argmax(z), 1);
}

static void samples_without_a_value_are_counted_not_averaged(void **state)
{
    (void) state;
    const double u[5] = { 1, (double) NAN, 2, (double) INFINITY, 6 };
    struct uqm_mean m = uqm_score_set(u, 5);
    near(m.mean, 3, 0);
    near(m.se, sqrt((4.0 + 1 + 9) / 2 / 3), 1e-15);
    assert_int_equal(m.n, 3);
    assert_int_equal(m.n_skipped, 2);

    assert_true(isnan(uqm_score_set(u + 1, 1).mean));
    assert_true(isnan(uqm_score_set(u, 1).se));
    near(uqm_score_set(u, 1).mean, 1, 0);
}

static void sets_count_alike_whatever_their_size(void **state)
{
    (void) state;
    const struct uqm_mean sets[2] = { { .mean = 1, .se = 0.3, .n = 1000 },
                                      { .mean = 2, .se = 0.4, .n = 10, .n_skipped = 3 } };
    struct uqm_mean m = uqm_score_model(sets, 2);
    near(m.mean, 1.5, 0);
    near(m.se, 0.25, 1e-15);
    assert_int_equal(m.n, 1010);
    assert_int_equal(m.n_skipped, 3);
}

static void a_paired_difference_drops_what_both_share(void **state)
{
    (void) state;
    const double a[4] = { 10, 20, (double) NAN, 31 }, b[4] = { 9, 19, 5, 30 };
    struct uqm_mean m = uqm_score_paired(a, b, 4);
    near(m.mean, 1, 0);
    near(m.se, 0, 0);
    assert_int_equal(m.n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_specs_vector_is_met),
        cmocka_unit_test(equal_passes_have_no_uncertainty),
        cmocka_unit_test(certain_and_different_answers_have_ln_j),
        cmocka_unit_test(logits_that_are_no_numbers_give_no_value),
        cmocka_unit_test(the_first_of_equal_logits_is_the_answer),
        cmocka_unit_test(samples_without_a_value_are_counted_not_averaged),
        cmocka_unit_test(sets_count_alike_whatever_their_size),
        cmocka_unit_test(a_paired_difference_drops_what_both_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
