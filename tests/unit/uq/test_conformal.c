/* Conformal sets against the vector of spec uq.md 5.4, and by their definition at other sizes. */
#include <math.h>

#include "src/uq/conformal_json.h"
#include "src/uq/score.h"
#include "tests/unit/test.h"

/* Ten records that calibrate, then two that are tested. */
static const float vector[12][6] = {
    { 2, 1 },       { 1, 2 },          { 2, 1 },
    { 0, 0, 3 },    { 0, 0, 0, 1 },    { 1, 1, 0, 0, 0, .5F },
    { 3 },          { 0, 2, 1 },       { 0, 0, 2, 1 },
    { 1, 0, 0, 3 }, { 0, 0, 0, 0, 2 }, { 2, 2 },
};
static const int truths[12] = { 0, 1, 0, 2, 3, 1, 0, 1, 2, 3, 4, 1 };

static void the_vector_of_the_definition_holds(void **state)
{
    (void) state;
    /* The split is half and half: tested records are repeated, so that ten calibrate twelve. */
    enum { N = 20 };
    double p[N][6], size[N];
    int truth[N];
    size_t part[N];
    for (size_t i = 0; i < N; i++) {
        const size_t from = i < 10 ? 10 + i % 2 : i - 10;
        uqm_option_softmax(p[i], vector[from]);
        truth[i] = truths[from];
        part[i] = i;
    }
    struct uqm_conformal c;
    struct uqm_err err = { 0 };
    assert_ok(uqm_conformal(&c, size, (const double(*)[6]) p, truth, part, N, 0.1, &err), err);
    assert_int_equal(c.n_calibration, 10);
    assert_int_equal(c.n_test, 10);
    assert_false(c.level_cut);
    assert_true(fabs(c.lac.qhat - 0.7304704976) < 5e-10);
    assert_true(fabs(c.aps.qhat - 0.8006819621) < 5e-10);
    assert_true(size[0] == (1 + 3) / 2.0);
    assert_true(size[1] == (2 + 2) / 2.0);
    assert_true(isnan(size[10]));
    assert_true(fabs(c.lac.mean_size - 1.5) < 1e-12);
    assert_true(fabs(c.aps.mean_size - 2.5) < 1e-12);
    /* E is said and right; of A and B, as probable, the first is said, and B is right. */
    assert_true(fabs(c.accuracy - 0.5) < 1e-12);
    assert_true(fabs(c.e_rate - 0.5) < 1e-12);
    assert_true(c.f_rate == 0);
    assert_true(fabs(c.lac.coverage - 1) < 1e-12);
}

static void the_split_is_the_parts_order(void **state)
{
    (void) state;
    const double p[5][6] = { { .9, .1 }, { .2, .8 }, { .6, .4 }, { .3, .7 }, { .5, .5 } };
    const int truth[5] = { 0, 0, 0, 1, 1 };
    const size_t part[5] = { 3, 0, 4, 2, 1 }; /* 2 and 1 calibrate */
    double size[5];
    struct uqm_conformal c;
    struct uqm_err err = { 0 };
    assert_ok(uqm_conformal(&c, size, p, truth, part, 5, 0.1, &err), err);
    assert_int_equal(c.n_calibration, 2);
    assert_true(c.level_cut); /* two cannot promise nine in ten */
    assert_true(fabs(c.lac.qhat - 0.8) < 1e-12);
    assert_true(isnan(size[1]) && isnan(size[2]) && !isnan(size[0]));
    assert_true(c.accuracy > 0.6 && c.accuracy < 0.7);
}

static void a_set_is_never_empty_and_equals_keep_their_order(void **state)
{
    (void) state;
    /* Calibration is sure and right: qhat is tiny, and no tested option reaches 1 - qhat. */
    double p[4][6] = { { .5, .5 }, { .25, .25, .25, .25 }, { 1 }, { 1 } };
    const int truth[4] = { 1, 0, 0, 0 };
    const size_t part[4] = { 0, 1, 2, 3 };
    double size[4];
    struct uqm_conformal c;
    struct uqm_err err = { 0 };
    assert_ok(uqm_conformal(&c, size, (const double(*)[6]) p, truth, part, 4, 0.5, &err), err);
    assert_true(c.lac.qhat == 0);
    assert_true(fabs(c.lac.mean_size - 1) < 1e-15);
    assert_true(fabs(c.lac.coverage - 0.5) < 1e-15); /* A is taken of A and B; B is right */
}

static void calibration_error_is_the_gap_of_sure_and_right(void **state)
{
    (void) state;
    const double p[4][6] = { { .8, .2 }, { .8, .2 }, { 1 }, { 1 } };
    const int truth[4] = { 0, 1, 0, 0 };
    const size_t part[4] = { 0, 1, 2, 3 };
    double size[4];
    struct uqm_conformal c;
    struct uqm_err err = { 0 };
    assert_ok(uqm_conformal(&c, size, p, truth, part, 4, 0.5, &err), err);
    assert_true(fabs(c.ece - 0.3) < 1e-12); /* 0.8 sure, 0.5 right */
    assert_true(fabs(c.mce - 0.3) < 1e-12);
}

static double member(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void a_models_numbers_are_the_plain_means_of_its_sets(void **state)
{
    (void) state;
    const struct uqm_conformal c[2] = {
        { .n_calibration = 7, .lac = { 0.5, 2, 0.75 }, .aps = { 0.25, 4, 1 }, .accuracy = 0.5 },
        { .n_calibration = 9, .lac = { 0.5, 1, 0.25 }, .aps = { 0.25, 1, 1 }, .ece = 0.5 },
    };
    json_t *model = json_pack("{s:[{}, {}]}", "datasets"),
           *sets = json_object_get(model, "datasets");
    for (size_t k = 0; k < 2; k++)
        uqm_conformal_add(json_array_get(sets, k), &c[k]);
    assert_true(fabs(member(json_array_get(sets, 0), "uacc") - 0.5 * sqrt(6) / 3) < 1e-12);
    uqm_conformal_add_means(model);
    assert_true(fabs(member(model, "uacc") - 0.25 * sqrt(6) / 3) < 1e-12);
    assert_true(fabs(member(model, "accuracy") - 0.25) < 1e-12);
    assert_true(fabs(member(model, "ece") - 0.25) < 1e-12);
    assert_true(fabs(member(json_object_get(model, "lac"), "set_size") - 1.5) < 1e-12);
    assert_true(fabs(member(json_object_get(model, "aps"), "set_size") - 2.5) < 1e-12);
    assert_true(fabs(member(json_object_get(model, "lac"), "coverage") - 0.5) < 1e-12);
    assert_null(json_object_get(json_object_get(model, "lac"), "qhat"));

    /* A set that does not say leaves no mean. */
    json_array_append_new(sets, json_object());
    uqm_conformal_add_means(model);
    assert_true(json_is_null(json_object_get(model, "accuracy")));
    json_decref(model);
}

/* 43 of 75 is the double nearest to it, not what 43 shares of a 75th add up to. */
static void rates_are_counts_over_the_records(void **state)
{
    (void) state;
    enum { N_TEST = 75, N = 2 * N_TEST - 1 };
    double p[N][6] = { { 0 } }, size[N];
    int truth[N];
    size_t part[N];
    for (size_t i = 0; i < N; i++) {
        part[i] = i;
        p[i][i < 7 ? 4 : i < 18 ? 5 : 0] = 1;
        truth[i] = i < 32 && i >= 18 ? 1 : i < 18 ? 2 : 0;
    }
    struct uqm_conformal c;
    struct uqm_err err = { 0 };
    assert_ok(uqm_conformal(&c, size, (const double(*)[6]) p, truth, part, N, 0.1, &err), err);
    assert_int_equal(c.n_test, N_TEST);
    const struct {
        double value;
        int count;
    } rates[] = { { c.accuracy, 43 },      { c.e_rate, 7 },
                  { c.f_rate, 11 },        { c.lac.coverage, 43 },
                  { c.aps.coverage, 75 },  { c.ece, 32 },
                  { c.lac.mean_size, 75 }, { c.aps.mean_size, 75 * 6 } };
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        if (rates[i].value < rates[i].count / 75.0 || rates[i].value > rates[i].count / 75.0)
            fail_msg("rate %zu: %.17g is not %d / 75", i, rates[i].value, rates[i].count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_the_definition_holds),
        cmocka_unit_test(the_split_is_the_parts_order),
        cmocka_unit_test(a_set_is_never_empty_and_equals_keep_their_order),
        cmocka_unit_test(calibration_error_is_the_gap_of_sure_and_right),
        cmocka_unit_test(a_models_numbers_are_the_plain_means_of_its_sets),
        cmocka_unit_test(rates_are_counts_over_the_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
