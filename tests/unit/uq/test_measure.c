#include <math.h>

#include "src/uq/measure.h"
#include "tests/unit/test.h"

/* Two sets of two and one records, two passes. */
static struct uqm_record records[3] = { { .id = "a", .answer = 1 },
                                        { .id = "b", .answer = -1 },
                                        { .id = "c", .answer = 0 } };
static struct uqm_dataset sets[2] = {
    { .name = "first", .path = "first.jsonl", .n_records = 2, .records = records },
    { .name = "second", .path = "second.jsonl", .n_records = 1, .records = records + 2 },
};
static size_t first_record[3] = { 0, 2, 3 };
static struct uqm_env env;
static struct uqm_task tasks[2];
static const struct uqm_survey survey = {
    .env = &env,
    .sets = sets,
    .tasks = tasks,
    .first_record = first_record,
    .n_sets = 2,
    .n_passes = 2,
};

static struct uqm_measure fresh(void)
{
    struct uqm_measure m;
    struct uqm_err err = { 0 };
    assert_ok(uqm_measure_init(&m, &survey, &err), err);
    return m;
}

static const float logits[3][2][6] = {
    { { 0, 9, 0, 0, 0, 0 }, { 0, 0, 9, 0, 0, 0 } },
    { { NAN, NAN, NAN, NAN, NAN, NAN }, { NAN, NAN, NAN, NAN, NAN, NAN } },
    { { 1, 0, 2, 0, 0, 0 }, { 1, 0, 2, 0, 0, 0 } },
};

static void values_go_to_their_set_and_record(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_measure m = fresh();
    uqm_measure_uncertainty(&m, &survey, logits[0][0]);
    assert_true(m.values[0][0] > 0.6 && m.values[0][0] < log(2));
    assert_true(isnan(m.values[0][1]));
    assert_true(fabs(m.values[1][0]) < 1e-15);
    assert_ok(uqm_measure_summarize(&m, &survey, "m", &err), err);
    assert_int_equal(m.sets[0].n, 1);
    assert_int_equal(m.sets[0].n_skipped, 1);
    assert_true(m.model.mean == (m.sets[0].mean + m.sets[1].mean) / 2);
    uqm_measure_finish(&m);
}

static void accuracy_counts_the_first_pass_of_labelled_records(void **state)
{
    (void) state;
    struct uqm_measure m = fresh();
    uqm_measure_accuracy(&m, &survey, logits[0][0]);
    assert_true(m.values[0][0] == 1);
    assert_true(isnan(m.values[0][1]));
    assert_true(m.values[1][0] == 0); /* said C, where A is right */
    uqm_measure_finish(&m);
}

static void answers_are_scored_in_generation_sets_and_letters_in_the_others(void **state)
{
    (void) state;
    static const char *const golds[] = { "two", "dog" };
    char two[] = "The 2.";
    char *answers[3] = { two, NULL, NULL };
    struct uqm_err err = { 0 };
    struct uqm_measure m = fresh();
    for (size_t i = 0; i < 2; i++) {
        records[i].question = "q";
        records[i].answers = &golds[i];
        records[i].n_answers = 1;
    }
    assert_true(uqm_task_known(&tasks[0], "short-answer"));
    uqm_measure_accuracy(&m, &survey, logits[0][0]);
    assert_ok(uqm_measure_answers(&m, &survey, answers, &err), err);
    tasks[0] = (struct uqm_task){ 0 };
    assert_true(m.values[0][0] == 1);
    assert_true(isnan(m.values[0][1])); /* no answer */
    assert_true(m.values[1][0] == 0);   /* by letter, as before */
    uqm_measure_finish(&m);
}

static void a_set_without_a_value_is_an_error_that_names_it(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_measure m = fresh();
    assert_fails(uqm_measure_summarize(&m, &survey, "m", &err), err, UQM_ERR_FORMAT,
                 "first.jsonl: none of its 2 records gives model m a value");
    uqm_measure_finish(&m);
    uqm_measure_finish(&m);
}

static void a_difference_is_paired_and_sets_count_alike(void **state)
{
    (void) state;
    struct uqm_measure a = fresh(), b = fresh();
    a.values[0][0] = 5;
    a.values[0][1] = 7;
    a.values[1][0] = 1;
    b.values[0][0] = 4;
    b.values[0][1] = 4;
    b.values[1][0] = 3;
    struct uqm_mean d = uqm_measure_difference(&a, &b, &survey);
    assert_true(d.mean == (2.0 - 2.0) / 2);
    assert_int_equal(d.n, 3);
    uqm_measure_finish(&a);
    uqm_measure_finish(&b);
}

static void what_is_no_number_is_null_in_json(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_measure m = fresh();
    uqm_measure_uncertainty(&m, &survey, logits[0][0]);
    assert_ok(uqm_measure_summarize(&m, &survey, "m", &err), err);
    json_t *json = uqm_measure_json(&m, &survey, "m");
    assert_string_equal(json_string_value(json_object_get(json, "model")), "m");
    assert_true(json_is_real(json_object_get(json, "uq")));
    assert_true(json_is_null(json_object_get(json, "stderr")));
    const json_t *set = json_array_get(json_object_get(json, "datasets"), 0);
    assert_int_equal(json_integer_value(json_object_get(set, "samples")), 1);
    assert_int_equal(json_integer_value(json_object_get(set, "skipped")), 1);
    json_decref(json);
    uqm_measure_finish(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_go_to_their_set_and_record),
        cmocka_unit_test(accuracy_counts_the_first_pass_of_labelled_records),
        cmocka_unit_test(answers_are_scored_in_generation_sets_and_letters_in_the_others),
        cmocka_unit_test(a_set_without_a_value_is_an_error_that_names_it),
        cmocka_unit_test(a_difference_is_paired_and_sets_count_alike),
        cmocka_unit_test(what_is_no_number_is_null_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
