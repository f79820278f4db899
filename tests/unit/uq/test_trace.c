#include <math.h>

#include "src/format/json.h"
#include "src/uq/trace.h"
#include "tests/unit/json_faults.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_record records[2] = { { .id = "a" }, { .id = "b\"c" } };
static struct uqm_dataset set = { .name = "set", .n_records = 2, .records = records };
static size_t first_record[2] = { 0, 2 };
static struct uqm_task task;
static const struct uqm_survey survey = {
    .sets = &set, .tasks = &task, .first_record = first_record, .n_sets = 1, .n_passes = 2
};

static void a_line_stands_for_every_record_and_pass(void **state)
{
    (void) state;
    float logits[2][2][6] = { { { 1, 2, 3, 4, 5, 6 } } };
    struct uqm_trace *t = NULL;
    struct uqm_err err = { 0 };
    logits[1][1][0] = NAN;
    assert_ok(uqm_trace_create(&t, in_workdir("t.jsonl"), &err), err);
    assert_ok(uqm_trace_add(t, &survey, "m", NULL, logits[0][0], &err), err);
    assert_false(uqm_is_file(in_workdir("t.jsonl")));
    assert_ok(uqm_trace_commit(t, &err), err);
    uqm_trace_destroy(&t);

    char *text;
    size_t len, n_lines = 0;
    assert_ok(uqm_read_file(&text, &len, in_workdir("t.jsonl"), 1 << 20, &err), err);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), n_lines++) {
        json_t *object = uqm_json_parse(line, strlen(line), "line", false, &err);
        assert_non_null(object);
        assert_int_equal(json_array_size(json_object_get(object, "p")), 6);
        assert_int_equal(json_integer_value(json_object_get(object, "j")), n_lines % 2);
        const json_t *p = json_array_get(json_object_get(object, "p"), 0);
        assert_true(n_lines == 3 ? json_is_null(p) : json_is_real(p));
        assert_string_equal(json_string_value(json_object_get(object, "id")),
                            records[n_lines / 2].id);
        json_decref(object);
    }
    assert_int_equal(n_lines, 4);
    free(text);
}

static void a_line_stands_for_every_answer(void **state)
{
    (void) state;
    float logits[2][2][6] = { 0 };
    char said[] = "a \"b\"";
    char *answers[2] = { said, NULL };
    double values[2] = { 0.3, (double) NAN }, *of_sets = values;
    const struct uqm_measure m = { .n_sets = 1, .values = &of_sets };
    struct uqm_trace *t = NULL;
    struct uqm_err err = { 0 };
    task.kind = UQM_TASK_GENERATION;
    assert_ok(uqm_trace_create(&t, in_workdir("w.jsonl"), &err), err);
    assert_ok(uqm_trace_add(t, &survey, "m", NULL, logits[0][0], &err), err); /* nothing */
    assert_ok(uqm_trace_add_answers(t, &survey, "m", answers, &m, &err), err);
    assert_ok(uqm_trace_commit(t, &err), err);
    uqm_trace_destroy(&t);
    task.kind = UQM_TASK_CHOICE;

    char *text;
    size_t len;
    assert_ok(uqm_read_file(&text, &len, in_workdir("w.jsonl"), 1 << 20, &err), err);
    assert_string_equal(text,
                        "{\"model\":\"m\",\"data\":\"set\",\"id\":\"a\",\"answer\":\"a \\\"b\\\"\","
                        "\"score\":0.29999999999999999}\n"
                        "{\"model\":\"m\",\"data\":\"set\",\"id\":\"b\\\"c\",\"answer\":null,"
                        "\"score\":null}\n");
    free(text);
}

static void an_unfinished_trace_leaves_nothing(void **state)
{
    (void) state;
    struct uqm_trace *t = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_trace_create(&t, in_workdir("u.jsonl"), &err), err);
    uqm_trace_destroy(&t);
    assert_false(uqm_is_file(in_workdir("u.jsonl")));
    assert_false(uqm_is_file(in_workdir("u.jsonl.part")));
    assert_fails(uqm_trace_create(&t, in_workdir("no/u.jsonl"), &err), err, UQM_ERR_IO, "u.jsonl");
}

static void two_runs_do_not_write_one_trace(void **state)
{
    (void) state;
    struct uqm_trace *t = NULL, *other = NULL;
    struct uqm_err err = { 0 };
    float logits[2][2][6] = { 0 };
    assert_ok(uqm_trace_create(&t, in_workdir("two.jsonl"), &err), err);
    assert_fails(uqm_trace_create(&other, in_workdir("two.jsonl"), &err), err, UQM_ERR_IO,
                 "two.jsonl: another run is writing it");
    assert_null(other);
    assert_ok(uqm_trace_add(t, &survey, "m", NULL, logits[0][0], &err), err);
    assert_ok(uqm_trace_commit(t, &err), err);
    uqm_trace_destroy(&t);
    assert_true(uqm_is_file(in_workdir("two.jsonl")));
    assert_ok(uqm_trace_create(&other, in_workdir("two.jsonl"), &err), err);
    uqm_trace_destroy(&other);
}

/* Lines of both kinds; UQM_OK leaves NAME. */
static int write_both(const char *name, struct uqm_err *err)
{
    static float logits[2][2][6] = { { { 1, 2, 3, 4, 5, 6 } } };
    char said[] = "a \"b\"";
    char *answers[2] = { said, NULL };
    double values[2] = { 0.3, 0.7 }, *of_sets = values;
    const struct uqm_measure m = { .n_sets = 1, .values = &of_sets };
    struct uqm_trace *t = NULL;
    int ret = uqm_trace_create(&t, in_workdir(name), err);
    task.kind = UQM_TASK_CHOICE;
    if (ret == UQM_OK)
        ret = uqm_trace_add(t, &survey, "m", NULL, logits[0][0], err);
    task.kind = UQM_TASK_GENERATION;
    if (ret == UQM_OK)
        ret = uqm_trace_add_answers(t, &survey, "m", answers, &m, err);
    task.kind = UQM_TASK_CHOICE;
    if (ret == UQM_OK)
        ret = uqm_trace_commit(t, err);
    uqm_trace_destroy(&t);
    return ret;
}

static char *text_of(const char *name)
{
    char *text;
    size_t len;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&text, &len, in_workdir(name), 1 << 20, &err), err);
    return text;
}

static void a_data_set_is_not_taken_for_a_trace(void **state)
{
    (void) state;
    struct uqm_trace *t = NULL;
    struct uqm_err err = { 0 };
    const char line[] = "{\"id\":\"a\",\"question\":\"?\",\"choices\":[],\"answer\":0}\n";
    assert_ok(uqm_write_file(in_workdir("set.jsonl"), line, strlen(line), &err), err);
    assert_fails(uqm_trace_create(&t, in_workdir("set.jsonl"), &err), err, UQM_ERR_ARG,
                 "set.jsonl: not a trace, so it is not replaced");
    assert_null(t);
    assert_false(uqm_is_file(in_workdir("set.jsonl.part")));
    /* but an earlier one is */
    float logits[2][2][6] = { 0 };
    for (int round = 0; round < 2; round++) {
        assert_ok(uqm_trace_create(&t, in_workdir("again.jsonl"), &err), err);
        assert_ok(uqm_trace_add(t, &survey, "m", NULL, logits[0][0], &err), err);
        assert_ok(uqm_trace_commit(t, &err), err);
        uqm_trace_destroy(&t);
    }
}

static void every_allocation_of_json_may_fail_once(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_ok(write_both("whole.jsonl", &err), err);
    char *whole = text_of("whole.jsonl");
    long n = 0, n_refused = 0;
    for (bool failed = true; failed; n++) {
        json_fail_at(n);
        int ret = write_both("cut.jsonl", &err);
        failed = json_has_failed();
        if (ret == UQM_OK) {
            char *text = text_of("cut.jsonl");
            assert_string_equal(text, whole);
            free(text);
            unlink(in_workdir("cut.jsonl"));
            continue;
        }
        assert_true(failed);
        assert_fails(ret, err, UQM_ERR_NOMEM, "cut.jsonl: no memory");
        assert_false(uqm_is_file(in_workdir("cut.jsonl")));
        assert_false(uqm_is_file(in_workdir("cut.jsonl.part")));
        n_refused++;
    }
    assert_true(n_refused > 50);
    print_message("# %ld allocations failed, %ld traces were refused\n", n - 1, n_refused);
    free(whole);
}

static void no_trace_takes_every_call(void **state)
{
    (void) state;
    struct uqm_trace *t;
    struct uqm_err err = { 0 };
    assert_ok(uqm_trace_create(&t, NULL, &err), err);
    assert_ok(uqm_trace_add(t, &survey, "m", NULL, NULL, &err), err);
    assert_ok(uqm_trace_commit(t, &err), err);
    uqm_trace_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_stands_for_every_record_and_pass),
        cmocka_unit_test(a_line_stands_for_every_answer),
        cmocka_unit_test(an_unfinished_trace_leaves_nothing),
        cmocka_unit_test(two_runs_do_not_write_one_trace),
        cmocka_unit_test(a_data_set_is_not_taken_for_a_trace),
        cmocka_unit_test(every_allocation_of_json_may_fail_once),
        cmocka_unit_test(no_trace_takes_every_call),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
