/* Study files: what they may say, and messages that name the line. */
#include "src/study/study.h"
#include "tests/unit/test.h"

#define DATA "data:\n  held-in: [d/mmb.jsonl]\n"

static struct uqm_err err;

static int parse(struct uqm_study *s, const char *text)
{
    memset(&err, 0, sizeof err);
    return uqm_study_parse(s, text, strlen(text), "x/study.yml", &err);
}

static void a_short_study_has_the_papers_defaults(void **state)
{
    (void) state;
    struct uqm_study s;
    assert_ok(parse(&s, "models: [a, sub/b]\n" DATA), err);
    assert_string_equal(s.name, "study");
    assert_int_equal(s.n_models, 2);
    assert_string_equal(s.models[1].name, "b");
    assert_string_equal(s.models[1].path, "x/sub/b");
    assert_string_equal(s.sets[0].name, "mmb");
    assert_string_equal(s.sets[0].path, "x/d/mmb.jsonl");
    assert_int_equal(s.n_seeds, 3);
    assert_int_equal(s.repeats, 4);
    assert_float_equal(s.dropout, 0.1, 0);
    assert_int_equal(s.max_new_tokens, 15);
    assert_int_equal(s.n_subsets, 3);
    assert_int_equal(s.n_ratios, 4);
    assert_int_equal(s.n_methods, 6);
    assert_string_equal(s.methods[0].name, "dare_ties");
    assert_int_equal(s.tables, 0x7fff);
    assert_false(s.tables_by_name);
    assert_false(s.has_base);
    uqm_study_finish(&s);
}

static void every_key_is_read(void **state)
{
    (void) state;
    struct uqm_study s;
    assert_ok(parse(&s, "name: mine\n"
                        "base: {name: start, path: /abs/base}\n"
                        "models: [{name: one, path: a}]\n"
                        "vision_tower: clip\n"
                        "data:\n"
                        "  validation: [v.jsonl]\n"
                        "  held-in: [{name: in, file: i.json, task: mmbench}, j.jsonl]\n"
                        "  held-out: [o.jsonl]\n"
                        "seeds: [7, 3]\n"
                        "repeats: 2\n"
                        "dropout: 0.25\n"
                        "samples: 40\n"
                        "eval_samples: 0.5\n"
                        "max_new_tokens: task\n"
                        "methods: [ties, {name: thin, method: dare_linear, parameters: {density: "
                        "0.3, rescale: false}}]\n"
                        "ratios: [0.25, 0.5]\n"
                        "subsets: 5\n"
                        "tables: [t4, f1]\n"),
              err);
    assert_string_equal(s.base.path, "/abs/base");
    assert_string_equal(s.base.name, "start");
    assert_string_equal(s.models[0].name, "one");
    assert_string_equal(s.vision_tower, "x/clip");
    /* By role, whatever the file's order. */
    assert_int_equal(s.n_sets, 4);
    assert_string_equal(s.sets[0].name, "in");
    assert_string_equal(s.sets[0].task, "mmbench");
    assert_string_equal(s.sets[2].name, "o");
    assert_int_equal(s.sets[3].role, UQM_VALIDATION);
    assert_int_equal(s.n_of_role[UQM_HELD_IN], 2);
    assert_int_equal(s.seeds[0], 7);
    assert_int_equal(s.samples.count, 40);
    assert_float_equal(s.eval_samples.ratio, 0.5, 0);
    assert_int_equal(s.max_new_tokens, UQM_TASK_TOKENS);
    assert_int_equal(s.n_methods, 2);
    assert_string_equal(s.methods[1].name, "thin");
    assert_string_equal(s.methods[1].info->name, "dare_linear");
    assert_int_equal(s.methods[1].n_params, 2);
    assert_float_equal(s.methods[1].params[0].value, 0.3, 0);
    assert_float_equal(s.methods[1].params[1].value, 0, 0);
    assert_int_equal(s.tables, 1 | 1 << 4);
    assert_true(s.tables_by_name);
    uqm_study_finish(&s);
}

static void mistakes_are_told_with_their_line(void **state)
{
    (void) state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "models: [a]\n", "x/study.yml:1: study: key data is missing" },
        { DATA, "study: key models is missing" },
        { "models: [a]\nmodel: b\n" DATA, "x/study.yml:2: study: unknown key model; did you mean "
                                          "models?" },
        { "models: []\n" DATA, "x/study.yml:1: models: a list belongs here" },
        { "models:\n  - a\n  - b/a\n" DATA, "x/study.yml:3: models: two are called a" },
        { "models:\n  - a\n  - {name: b, path: a}\n" DATA,
          "x/study.yml:3: models: a and b are one folder" },
        { "models: [m.yml]\n" DATA, "x/study.yml:1: models: x/m.yml is a recipe" },
        { "models: [{name: a}]\n" DATA, "models: key path is missing" },
        { "models: [{path: a, pth: b}]\n" DATA, "unknown key pth; did you mean path?" },
        { "models: [a]\ndata:\n  heldin: [b]\n", "x/study.yml:3: data: unknown key heldin; did you "
                                                 "mean held-in?" },
        { "models: [a]\ndata:\n  held-out: [b]\n", "key held-in is missing" },
        { "models: [a]\ndata:\n  held-in: [b.jsonl]\n  held-out:\n    - c/b.json\n",
          "x/study.yml:5: held-out: two data sets are called b" },
        { "models: [a]\n" DATA "seeds: [1, 1]\n", "x/study.yml:4: seeds: 1 stands there twice" },
        { "models: [a]\n" DATA "seeds: [-1]\n", "seeds: -1 is not within" },
        { "models: [a]\n" DATA "seeds: [0.5]\n", "0.5 is no whole number" },
        { "models: [a]\n" DATA "repeats: many\n", "x/study.yml:4: repeats: a number belongs here" },
        { "models: [a]\n" DATA "repeats: 0\n", "repeats: 0 is not within 1 to 1024" },
        { "models: [a]\n" DATA "dropout: 1\n", "dropout: 1 is not within 0 to 0.999" },
        { "models: [a]\n" DATA "samples: 0.0\n", "samples: nothing is left of 0" },
        { "models: [a]\n" DATA "samples: 0\n", "samples: 0 is not within" },
        { "models: [a]\n" DATA "ratios: [0.5, 0.2]\n", "ratios: shares between 0 and 1, rising" },
        { "models: [a]\n" DATA "ratios: [1]\n", "ratios: shares between 0 and 1, rising" },
        { "models: [a]\n" DATA "tables: [t15]\n", "no table is called t15" },
        { "models: [a]\n" DATA "methods: [tie]\n", "no method is called tie; did you mean ties?" },
        { "models: [a]\n" DATA "methods: [slerp]\n", "slerp merges 1 model" },
        { "models: [a]\n" DATA "methods: [ties, ties]\n", "two are called ties" },
        { "models: [a]\n" DATA "methods: [{method: linear, parameters: {density: 1}}]\n",
          "x/study.yml:4: parameters: method linear has no parameter density" },
        { "models: [a]\n" DATA "methods: [{method: ties, parameters: {density: x}}]\n",
          "density: one number belongs here" },
        { "models: [a]\n" DATA "max_new_tokens: 0\n", "max_new_tokens: 0 is not within" },
        { "models: [\"a\\x01\"]\n" DATA, "without control bytes" },
        { "models: [a]\ndata:\n  held-in:\n    - b=c.jsonl\n",
          "x/study.yml:4: name b=c: without = and /" },
        { "models: [a]\ndata:\n  held-in: [{name: b/c, file: d}]\n", "name b/c: without = and /" },
        { "models: [a]\ndata:\n  held-in: [b, b.sd.jsonl]\n", "name b.sd: in tables it is" },
        { "models: [a]\ndata:\n  held-in: [se.jsonl]\n", "name se: in tables it is" },
        { "models: [a\n", "not YAML" },
        { "", "x/study.yml" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_study s;
        const int ret = parse(&s, cases[i].text);
        if (ret != UQM_ERR_FORMAT || !strstr(err.msg, cases[i].message))
            fail_msg("case %zu: %d, \"%s\" lacks \"%s\"", i, ret, err.msg, cases[i].message);
        uqm_study_finish(&s);
    }
}

static void more_models_than_a_subset_holds_are_refused(void **state)
{
    (void) state;
    char text[4096] = "models: [m0";
    for (int i = 1; i <= UQM_STUDY_MAX_MODELS; i++)
        sprintf(text + strlen(text), ", m%d", i);
    strcat(text, "]\n" DATA);
    struct uqm_study s;
    assert_fails(parse(&s, text), err, UQM_ERR_FORMAT, "65 entries; 64 are the most");
    uqm_study_finish(&s);
}

static void the_zoos_study_is_read(void **state)
{
    (void) state;
    struct uqm_study s;
    assert_ok(uqm_study_read(&s, zoo_path("study.yml"), &err), err);
    assert_int_equal(s.n_models, 10);
    assert_int_equal(s.n_sets, 15);
    assert_true(s.has_base);
    uqm_study_finish(&s);
    assert_fails(uqm_study_read(&s, "absent.yml", &err), err, UQM_ERR_IO, "absent.yml");
    uqm_study_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_study_has_the_papers_defaults),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(mistakes_are_told_with_their_line),
        cmocka_unit_test(more_models_than_a_subset_holds_are_refused),
        cmocka_unit_test(the_zoos_study_is_read),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
