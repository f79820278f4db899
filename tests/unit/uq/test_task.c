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
    assert_int_equal(t.score, UQM_METRIC_VQA_SOFT);
    assert_int_equal(t.max_new_tokens, 12);
    assert_string_equal(t.suffix, "\nAnswer the question using a single word or phrase.");
    assert_string_equal(t.open_suffix, t.suffix);
    uqm_task_finish(&t);

    /* It has choices, but its task says otherwise. */
    assert_ok(find(&t, zoo_path("data/heldout/mmmu.jsonl"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_GENERATION);
    assert_string_equal(t.suffix,
                        "\nAnswer with the option's letter from the given choices directly.");
    assert_string_equal(t.open_suffix, "\nAnswer the question using a single word or phrase.");
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
    assert_fails(find(&t, path, "chess", &err), err, UQM_ERR_USAGE, "--task chess");
    uqm_task_finish(&t);
    assert_ok(find(&t, path, "short-answer", &err), err);
    assert_string_equal(t.metric, "exact_match");
    assert_int_equal(t.max_new_tokens, 0);
    uqm_task_finish(&t);

    assert_ok(find(&t, put_file("lone/open.jsonl", "{\"question\":\"q\"}"), NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_GENERATION);
    assert_string_equal(t.metric, "exact_match");
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
        { "{\"g\":{\"set\":{\"suffix\":[]}}}", "suffix" },
        { "{\"g\":{\"set\":{\"max_new_tokens\":-1}}}", "max_new_tokens" },
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
    struct uqm_task unknown;
    struct uqm_err why = { 0 };
    put_file("strict/tasks.json", "{\"g\":{\"set\":{\"metric\":\"bleu\"}}}");
    assert_fails(find(&unknown, path, NULL, &why), why, UQM_ERR_UNSUPPORTED, "metric bleu");
    uqm_task_finish(&unknown);

    /* Somebody else's file of that name, and one that does not name the set, say nothing. */
    struct uqm_task t;
    struct uqm_err err = { 0 };
    put_file("strict/tasks.json", "{\"version\":\"2.0.0\",\"tasks\":[],\"g\":{\"sets\":[\"z\"]}}");
    assert_ok(find(&t, path, NULL, &err), err);
    assert_int_equal(t.kind, UQM_TASK_CHOICE);
    uqm_task_finish(&t);
}

static void one_suffix_may_stand_for_two(void **state)
{
    (void) state;
    static const struct {
        const char *text, *with, *without;
    } cases[] = {
        { "x | y when choices is null", "x", "\ny" },
        { "x | when choices is null", "x | when choices is null", "x | when choices is null" },
        { "x when choices is null", "x when choices is null", "x when choices is null" },
        { "x | y", "x | y", "x | y" },
        { "", "", "" },
    };
    const char *path = put_file("suffix/set.jsonl", choices);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_task t;
        struct uqm_err err = { 0 };
        char text[256];
        snprintf(text, sizeof text, "{\"g\":{\"set\":{\"suffix\":\"%s\"}}}", cases[i].text);
        put_file("suffix/tasks.json", text);
        assert_ok(find(&t, path, NULL, &err), err);
        assert_string_equal(t.suffix, cases[i].with);
        assert_string_equal(t.open_suffix, cases[i].without);
        uqm_task_finish(&t);
    }
}

/* Spec uq.md 6, the table. */
static void the_benchmarks_are_asked_as_lmms_eval_asks_them(void **state)
{
    (void) state;
#define S "\nAnswer the question using a single word or phrase."
#define L "\nAnswer with the option's letter from the given choices directly."
#define U "\nWhen the provided information is insufficient, respond with 'Unanswerable'." S
    static const struct {
        const char *name, *metric, *suffix;
        uint32_t limit;
        enum uqm_question_form form;
    } tasks[] = {
        { "okvqa", "lmms_vqa", U, 0, UQM_QUESTION_AS_IS },
        { "textvqa", "lmms_vqa", S, 0, UQM_QUESTION_CAPITALIZED },
        { "vizwiz", "lmms_vqa", U, 0, UQM_QUESTION_CAPITALIZED },
        { "vqav2", "lmms_vqav2", S, 16, UQM_QUESTION_AS_IS },
        { "gqa", "lmms_exact_match", S, 16, UQM_QUESTION_AS_IS },
        { "pope", "lmms_pope", S, 128, UQM_QUESTION_STRIPPED },
        { "mmmu", "lmms_mmmu", "\n" L, 128, UQM_QUESTION_AS_IS },
        { "realworldqa", "lmms_realworldqa", "", 16, UQM_QUESTION_STRIPPED },
        { "seedbench-2-plus", "lmms_seed", L, 16, UQM_QUESTION_AS_IS },
        { "ocrbench", "lmms_ocrbench", "", 128, UQM_QUESTION_STRIPPED },
        { "ai2d-gen", "lmms_ai2d", L, 16, UQM_QUESTION_AS_IS },
        { "scienceqa-gen", "lmms_scienceqa", L, 16, UQM_QUESTION_AS_IS },
        { "seedbench-gen", "lmms_seed", L, 0, UQM_QUESTION_AS_IS },
    };
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        struct uqm_task t = { 0 };
        assert_true(uqm_task_known(&t, tasks[i].name));
        assert_int_equal(t.kind, UQM_TASK_GENERATION);
        assert_string_equal(t.metric, tasks[i].metric);
        assert_string_equal(t.suffix, tasks[i].suffix);
        assert_int_equal(t.max_new_tokens, tasks[i].limit);
        assert_int_equal(t.form, tasks[i].form);
        uqm_task_finish(&t);
    }
    struct uqm_task t = { 0 };
    assert_true(uqm_task_known(&t, "mmmu"));
    assert_string_equal(t.open_suffix, "\n" S);
    assert_true(uqm_task_known(&t, "scienceqa-gen"));
    assert_string_equal(t.hint_label, "Context: ");
#undef S
#undef L
#undef U
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
        cmocka_unit_test(one_suffix_may_stand_for_two),
        cmocka_unit_test(the_benchmarks_are_asked_as_lmms_eval_asks_them),
        cmocka_unit_test(records_that_do_not_fit_six_letters_are_refused),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
