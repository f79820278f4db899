#include "src/uq/task.h"
#include "tests/unit/uq/workdir.h"

static const char choices[] = "{\"id\":\"a\",\"question\":\"q\",\"choices\":[\"x\",\"y\"]}";

static int find(struct uqm_task *task, const char *path, const char *name, struct uqm_err *err)
{
    struct uqm_dataset set;
    assert_ok(uqm_dataset_load(&set, test_env(64 << 20, 1), path, err), *err);
    int ret = uqm_task_find(task, &set, name, err);
    uqm_dataset_finish(&set);
    return ret;
}

static void the_zoos_tasks_are_found_in_a_parent_folder(void **state)
{
    (void) state;
    struct uqm_task t;
    struct uqm_err err = { 0 };
    assert_ok(find(&t, zoo_path("data/heldin/seed.jsonl"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_CHOICE);
    assert_string_equal(t.metric, "accuracy");
    assert_int_equal(t.n_extra, 2);
    assert_string_equal(t.extra[0], "I don't know");
    assert_string_equal(t.suffix,
                        "\nAnswer with the option's letter from the given choices directly.");
    assert_non_null(t.system);
    uqm_task_finish(&t);

    assert_ok(find(&t, zoo_path("data/heldout/vqav2.jsonl"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_GENERATION);
    assert_string_equal(t.metric, "vqa_soft");
    uqm_task_finish(&t);

    /* It has choices, but its task says otherwise. */
    assert_ok(find(&t, zoo_path("data/heldout/mmmu.jsonl"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_GENERATION);
    uqm_task_finish(&t);

    assert_ok(find(&t, zoo_path("data/val/val_diag.jsonl"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_CHOICE);
    assert_int_equal(t.n_extra, 2);
    uqm_task_finish(&t);
}

static void without_a_file_the_option_decides_and_then_the_shape(void **state)
{
    (void) state;
    struct uqm_task t;
    struct uqm_err err = { 0 };
    const char *path = put_file("lone/set.jsonl", choices);
    assert_ok(find(&t, path, NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_CHOICE);
    uqm_task_finish(&t);
    assert_ok(find(&t, path, "mmmu", &err), err);
    assert_int_equal(t.kind, UQM_TASK_GENERATION);
    uqm_task_finish(&t);
    assert_fails(find(&t, path, "chess", &err), err, UQM_ERR_ARG, "--task chess");
    uqm_task_finish(&t);

    assert_ok(find(&t, put_file("lone/open.jsonl", "{\"question\":\"q\"}"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_GENERATION);
    uqm_task_finish(&t);
}

static void a_tasks_file_is_read_strictly(void **state)
{
    (void) state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "{", "tasks.json" },
        { "{\"g\":{\"sets\":[\"set\"],\"suffix\":7}}", "suffix" },
        { "{\"g\":{\"sets\":[\"set\"],\"extra_choices\":\"x\"}}", "extra_choices" },
        { "{\"g\":{\"sets\":[\"set\"],\"extra_choices\":[1]}}", "extra_choices" },
        { "{\"g\":{\"set\":\"essay\"}}", "multiple choice" },
        { "{\"g\":{\"set\":{\"metric\":1}}}", "metric" },
        { "{\"g\":{\"sets\":[\"set\"],\"extra_choices\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}}",
          "at most 4" },
    };
    const char *path = put_file("strict/set.jsonl", choices);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_task t;
        struct uqm_err err = { 0 };
        put_file("strict/tasks.json", cases[i].text);
        assert_fails(find(&t, path, NULL, &err), err, UQM_ERR_FORMAT, cases[i].why);
        uqm_task_finish(&t);
    }
    /* Somebody else's file of that name, and one that does not name the set, say nothing. */
    struct uqm_task t;
    struct uqm_err err = { 0 };
    put_file("strict/tasks.json", "{\"version\":\"2.0.0\",\"tasks\":[],\"g\":{\"sets\":[\"z\"]}}");
    assert_ok(find(&t, path, NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_CHOICE);
    uqm_task_finish(&t);
}

static void records_that_do_not_fit_six_letters_are_refused(void **state)
{
    (void) state;
    struct uqm_task t;
    struct uqm_err err = { 0 };
    assert_fails(find(&t,
                      put_file("lone/five.jsonl", "{\"id\":\"v\",\"question\":\"q\","
                                                  "\"choices\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}"),
                      NULL, &err),
                 err, UQM_ERR_FORMAT, "record v: 5 choices");
    uqm_task_finish(&t);

    char two[256];
    snprintf(two, sizeof two, "%s\n{\"id\":\"b\",\"question\":\"q\"}", choices);
    assert_fails(find(&t, put_file("lone/mixed.jsonl", two), NULL, &err), err, UQM_ERR_FORMAT,
                 "record b: it has no choices");
    uqm_task_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_zoos_tasks_are_found_in_a_parent_folder),
        cmocka_unit_test(without_a_file_the_option_decides_and_then_the_shape),
        cmocka_unit_test(a_tasks_file_is_read_strictly),
        cmocka_unit_test(records_that_do_not_fit_six_letters_are_refused),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
