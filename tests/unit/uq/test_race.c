#include <math.h>

#include "src/base/rng.h"
#include "src/uq/race.h"
#include "tests/unit/test.h"

static void looks_double_and_end_with_all(void **state)
{
    (void) state;
    static const size_t sizes[5] = { 63, 125, 250, 500, 1000 };
    for (unsigned look = 0; look < UQM_RACE_LOOKS; look++)
        assert_int_equal(uqm_race_size(1000, look), sizes[look]);
    assert_int_equal(uqm_race_size(100, 0), 16);
    assert_int_equal(uqm_race_size(100, 3), 50);
    assert_int_equal(uqm_race_size(9, 0), 9);
    assert_int_equal(uqm_race_size(0, 2), 0);
    for (size_t n = 1; n < 300; n++)
        assert_int_equal(uqm_race_size(n, UQM_RACE_LOOKS - 1), n);
}

static void quantiles_are_the_tables(void **state)
{
    (void) state;
    assert_true(fabs(uqm_race_quantile(0.05, 1e9) - 1.959964) < 1e-5);
    assert_true(fabs(uqm_race_quantile(0.0125, 1e9) - 2.497705) < 1e-5);
    assert_true(fabs(uqm_race_quantile(0.05, 30) - 2.042272) < 1e-3);
    assert_true(fabs(uqm_race_quantile(0.01, 15) - 2.946713) < 5e-3);
}

/* One set of 320 records; places are the records' numbers. */
enum { N = 320 };
static struct uqm_record records[N];
static struct uqm_dataset set = { .name = "s", .path = "s", .n_records = N, .records = records };
static struct uqm_task task;
static size_t first_record[2] = { 0, N };
static const struct uqm_survey survey = {
    .sets = &set, .tasks = &task, .first_record = first_record, .n_sets = 1, .n_passes = 1
};
static size_t place[N], *places[1] = { place };

/* a - b of `mean`, give or take one. */
static void fill(struct uqm_measure *a, struct uqm_measure *b, double mean)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_measure_init(a, &survey, &err), err);
    assert_ok(uqm_measure_init(b, &survey, &err), err);
    for (size_t i = 0; i < N; i++) {
        place[i] = i;
        b->values[0][i] = 5;
        a->values[0][i] = 5 + mean + (i % 2 ? 1 : -1);
    }
}

static void a_clear_difference_is_decided_early_and_a_small_one_late(void **state)
{
    (void) state;
    struct uqm_measure a, b;
    struct uqm_mean diff;
    fill(&a, &b, -2);
    assert_true(uqm_race_decided(&diff, &a, &b, &survey, places, 0, 0, 0.05));
    assert_true(fabs(diff.mean + 2) < 1e-12);
    assert_int_equal(diff.n, 20);
    /* Twenty of 320: the standard error of a sample without replacement. */
    const double se = sqrt(20.0 / 19 / 20 * (1 - 20.0 / 320));
    assert_true(fabs(diff.se - se) < 1e-12);
    assert_false(uqm_race_decided(&diff, &a, &b, &survey, places, 0, -2.1, 0.05));
    uqm_measure_finish(&a);
    uqm_measure_finish(&b);

    fill(&a, &b, 0.01);
    for (unsigned look = 0; look + 1 < UQM_RACE_LOOKS; look++)
        assert_false(uqm_race_decided(&diff, &a, &b, &survey, places, look, 0, 0.05));
    assert_true(uqm_race_decided(&diff, &a, &b, &survey, places, UQM_RACE_LOOKS - 1, 0, 0.05));
    assert_true(diff.se == 0); /* all there are: nothing is left to chance */
    uqm_measure_finish(&a);
    uqm_measure_finish(&b);
}

static void a_look_sees_its_own_records_alone(void **state)
{
    (void) state;
    struct uqm_measure a, b;
    struct uqm_mean diff;
    fill(&a, &b, -2);
    for (size_t i = 40; i < N; i++)
        a.values[0][i] = 1000; /* what another race has asked since */
    assert_true(uqm_race_decided(&diff, &a, &b, &survey, places, 1, 0, 0.05));
    assert_true(fabs(diff.mean + 2) < 1e-12);
    a.values[0][3] = (double) NAN; /* a picture that does not decode */
    uqm_race_decided(&diff, &a, &b, &survey, places, 1, 0, 0.05);
    assert_int_equal(diff.n, 39);
    uqm_measure_finish(&a);
    uqm_measure_finish(&b);
}

/* The promise: among many races of samples from populations with next to no difference, at most
 * ALPHA end on the other side than all records would. */
static void wrong_decisions_are_as_rare_as_alpha_says(void **state)
{
    (void) state;
    enum { RACES = 2000 };
    struct uqm_rng rng;
    struct uqm_measure a, b;
    struct uqm_mean diff, whole;
    size_t n_wrong = 0;
    uqm_rng_init(&rng, uqm_rng_stream(5, UQM_RNG_SAMPLE, "race", "", 0, 0));
    fill(&a, &b, 0);
    for (int r = 0; r < RACES; r++) {
        for (size_t i = 0; i < N; i++)
            a.values[0][i] = 5.05 + uqm_rng_exponential(&rng) - uqm_rng_exponential(&rng);
        uqm_race_decided(&whole, &a, &b, &survey, places, UQM_RACE_LOOKS - 1, 0, 0.05);
        for (unsigned look = 0; look < UQM_RACE_LOOKS; look++)
            if (uqm_race_decided(&diff, &a, &b, &survey, places, look, 0, 0.05))
                break;
        n_wrong += (diff.mean < 0) != (whole.mean < 0);
    }
    assert_true(n_wrong <= RACES / 20);
    uqm_measure_finish(&a);
    uqm_measure_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_double_and_end_with_all),
        cmocka_unit_test(quantiles_are_the_tables),
        cmocka_unit_test(a_clear_difference_is_decided_early_and_a_small_one_late),
        cmocka_unit_test(a_look_sees_its_own_records_alone),
        cmocka_unit_test(wrong_decisions_are_as_rare_as_alpha_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
