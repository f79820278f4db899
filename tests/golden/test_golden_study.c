/*
 * A small study of the zoo through the public calls: all tables from two models and a few records;
 * interrupted and continued to the same bytes; the same numbers as uq, select and eval give.
 */
#include <math.h>

#include "tests/golden/golden.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_err err;
static volatile int cancel;
static int answers_left; /* until the run is interrupted; -1: never */

/* An answer is announced by one line each. */
static void count_answers(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    if (level == UQM_LOG_INFO &&
        (!strncmp(line, "uncertainty of ", 15) || !strncmp(line, "score of ", 9)) &&
        answers_left >= 0 && answers_left-- == 0)
        cancel = 1;
}

static const char *write_study(void)
{
    char text[4096];
    snprintf(text, sizeof text,
             "name: small\n"
             "base: %s\n"
             "models: [%s, %s]\n"
             "data: {held-in: [%s], held-out: [%s], validation: [%s]}\n"
             "seeds: [3]\n"
             "repeats: 2\n"
             "samples: 2\n"
             "eval_samples: 2\n"
             "max_new_tokens: 3\n"
             "methods: [linear, ties]\n"
             "subsets: 1\n"
             "ratios: [0.5]\n",
             zoo_path("models/base"), zoo_path("models/reason"), zoo_path("models/textonly"),
             zoo_path("data/heldin/mmb.jsonl"), zoo_path("data/heldout/gqa.jsonl"),
             zoo_path("data/val/val_diag.jsonl"));
    return put_file("study.yml", text);
}

static int study(char **json, const char *out, int answers)
{
    struct uqm_experiment_params p = { .common = { .log = count_answers, .cancel = &cancel },
                                       .study_path = in_workdir("study.yml"),
                                       .out_dir = in_workdir(out) };
    cancel = 0;
    answers_left = answers;
    return uqm_experiment(json, &p, &err);
}

static char *read_out(const char *dir, const char *name)
{
    char path[128], *text;
    size_t len;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_ok(uqm_read_file(&text, &len, in_workdir(path), 1 << 24, &err), err);
    return text;
}

/* The page up to its last section, which has times. */
static char *page(const char *dir)
{
    char *text = read_out(dir, "index.html"), *work = strstr(text, "<section id=\"work\">");
    assert_non_null(work);
    *work = '\0';
    return text;
}

static const char *const tables[] = { "f1", "t1", "t2",  "t3",  "t4",  "t5",  "t6", "t7",
                                      "t8", "t9", "t10", "t11", "t12", "t13", "t14" };
enum { N_TABLES = sizeof tables / sizeof *tables };

static void every_table_is_made_and_an_interrupted_run_ends_in_the_same_bytes(void **state)
{
    (void) state;
    char *json = NULL;
    write_study();
    assert_ok(study(&json, "whole", -1), err);
    json_t *result = json_loads(json, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(result, "tables")), N_TABLES);
    assert_int_equal(json_array_size(json_object_get(result, "left_out")), 0);
    json_decref(result);
    free(json);

    int interrupted = 0, ret = UQM_OK;
    for (int round = 0; round < 20; round++) {
        ret = study(&json, "pieces", 4 + 3 * round);
        if (ret == UQM_OK)
            break;
        assert_int_equal(ret, UQM_ERR_INTERRUPTED);
        interrupted++;
    }
    assert_ok(ret, err);
    assert_true(interrupted >= 3);
    free(json);

    for (size_t i = 0; i < N_TABLES; i++)
        for (int csv = 0; csv < 2; csv++) {
            char name[32];
            snprintf(name, sizeof name, "%s.%s", tables[i], csv ? "csv" : "json");
            char *a = read_out("whole", name), *b = read_out("pieces", name);
            assert_string_equal(a, b);
            free(a);
            free(b);
        }
    char *a = read_out("whole", "experiment.json"), *b = read_out("pieces", "experiment.json");
    assert_string_equal(a, b);
    free(a);
    free(b);
    a = page("whole");
    b = page("pieces");
    assert_string_equal(a, b);
    free(a);
    free(b);
}

static json_t *table(const char *name)
{
    char file[32];
    snprintf(file, sizeof file, "%s.json", name);
    char *text = read_out("whole", file);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static void each_table_says_what_was_run(void **state)
{
    (void) state;
    json_t *index = table("experiment");
    const char *digest = golden_string(index, "run");
    assert_int_equal(strlen(digest), 32);
    for (size_t i = 0; i < N_TABLES; i++) {
        char file[32], ending[64];
        json_t *t = table(tables[i]), *run = json_object_get(t, "run");
        assert_string_equal(golden_string(run, "digest"), digest);
        assert_true(json_equal(json_object_get(run, "models"), json_object_get(index, "models")));
        assert_true(json_equal(json_object_get(run, "data"), json_object_get(index, "data")));
        assert_true(json_equal(json_object_get(run, "seeds"), json_object_get(index, "seeds")));
        assert_string_equal(golden_string(run, "device"), golden_string(index, "device"));
        assert_string_equal(golden_string(run, "program"), golden_string(index, "program"));
        assert_int_equal(golden_number(run, "repeats"), 2);

        snprintf(file, sizeof file, "%s.csv", tables[i]);
        snprintf(ending, sizeof ending, ",%s\n", digest);
        char *csv = read_out("whole", file);
        if (json_array_size(json_object_get(t, "rows")) > 0)
            assert_string_equal(csv + strlen(csv) - strlen(ending), ending);
        free(csv);
        json_decref(t);
    }
    json_decref(index);
}

static double cell(const json_t *t, size_t row, const char *key)
{
    return golden_number(json_array_get(json_object_get(t, "rows"), row), key);
}

static void steps_are_those_of_select(void **state)
{
    (void) state;
    const char *models[] = { zoo_path("models/reason"), zoo_path("models/textonly") };
    const char *data[] = { zoo_path("data/heldin/mmb.jsonl") };
    const struct uqm_select_params p = {
        .uq = { .common = { .seed = 3 },
                .questions = { .models = { models, 2 }, .data = { data, 1 }, .sample_count = 2 },
                .repeats = 2 },
        .no_write = true,
        .all_steps = true,
    };
    char *json = NULL;
    assert_ok(uqm_select(&json, &p, &err), err);
    json_t *root = json_loads(json, 0, NULL), *t4 = table("t4");
    const json_t *steps = json_object_get(root, "steps");
    assert_int_equal(json_array_size(steps), 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(fabs(golden_number(json_array_get(steps, i), "uq") - cell(t4, i, "uq")) < 1e-6);
    json_decref(t4);
    json_decref(root);
    free(json);
}

static void single_models_are_those_of_uq_and_eval(void **state)
{
    (void) state;
    const char *models[] = { zoo_path("models/reason") };
    const char *data[] = { zoo_path("data/heldin/mmb.jsonl") };
    const struct uqm_uq_params p = {
        .common = { .seed = 3 },
        .questions = { .models = { models, 1 }, .data = { data, 1 }, .sample_count = 2 },
        .repeats = 2
    };
    const struct uqm_eval_params q = { .common = { .seed = 3 }, .questions = p.questions };
    char *uq = NULL, *eval = NULL;
    assert_ok(uqm_uq(&uq, &p, &err), err);
    assert_ok(uqm_eval(&eval, &q, &err), err);
    json_t *a = json_loads(uq, 0, NULL), *b = json_loads(eval, 0, NULL), *t9 = table("t9"),
           *t4 = table("t4");
    assert_true(cell(t9, 0, "held_in") ==
                golden_number(json_array_get(json_object_get(a, "models"), 0), "uq"));
    /* Step 1 is the model of the highest uncertainty, here reason. */
    assert_true(cell(t4, 0, "held_in") ==
                golden_number(json_array_get(json_object_get(b, "models"), 0), "average"));
    json_decref(a);
    json_decref(b);
    json_decref(t9);
    json_decref(t4);
    free(uq);
    free(eval);
}

static void a_damaged_answer_is_found_again(void **state)
{
    (void) state;
    char *before = read_out("whole", "t9.json"), *json = NULL;
    char command[1200];
    snprintf(command, sizeof command, "for f in '%s'/cache/*.json; do printf x >> \"$f\"; done",
             in_workdir("whole"));
    assert_int_equal(system(command), 0);
    const char *only[] = { "t9" };
    const struct uqm_experiment_params p = { .study_path = in_workdir("study.yml"),
                                             .out_dir = in_workdir("whole"),
                                             .only = { only, 1 } };
    assert_ok(uqm_experiment(&json, &p, &err), err);
    json_t *result = json_loads(json, 0, NULL);
    assert_true(golden_number(json_object_get(result, "n_jobs"), "cached") == 0);
    assert_true(golden_number(json_object_get(result, "n_jobs"), "done") == 2);
    json_decref(result);
    free(json);
    char *after = read_out("whole", "t9.json");
    assert_string_equal(before, after);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_is_made_and_an_interrupted_run_ends_in_the_same_bytes),
        cmocka_unit_test(each_table_says_what_was_run),
        cmocka_unit_test(steps_are_those_of_select),
        cmocka_unit_test(single_models_are_those_of_uq_and_eval),
        cmocka_unit_test(a_damaged_answer_is_found_again),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
