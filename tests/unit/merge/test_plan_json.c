#include "src/merge/plan_json.h"

#include "tests/unit/merge/plan_test.h"

static void make_model_of(const struct plan *p, const char *name)
{
    struct made_tensor t[] = {
        vector("model.embed_tokens.weight", UQM_F32),
        vector("model.layers.0.w", UQM_F32),
        vector("model.layers.1.w", UQM_F32),
        vector("model.norm.weight", UQM_F32),
        vector("x.tail", UQM_F32),
    };
    make_model(p->dir, name, NULL, t, 5);
}

/* Compares with JSON whose quotes are single. */
static void assert_json(const char *want, json_t *got)
{
    char *text = strdup(want);
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    json_error_t error;
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, &error);
    if (!wanted)
        fail_msg("%s", error.text);
    if (!json_equal(wanted, got)) {
        char *dump = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("%s, not %s", dump, text);
    }
    json_decref(wanted);
    json_decref(got);
    free(text);
}

static void every_tensor_says_what_it_is_made_of_and_with_what(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    make_model_of(&p, "a");
    make_model_of(&p, "b");
    plan(&p, "merge_method: linear\nparameters: {normalize: 1.0}\nslices:\n"
             "  - sources: [{model: a, layer_range: [1, 2], parameters: {weight: 3}},\n"
             "              {model: b, layer_range: [0, 1], parameters: {weight: [1, 2]}}]\n"
             "  - sources: [{model: a, layer_range: [1, 2], parameters: {weight: 4}}]\n");
    json_t *list = uqm_plan_tensors_json(p.rs);
    assert_int_equal(json_array_size(list), 5);
    assert_json("{'name': 'model.layers.0.w', 'fate': 'merged', 'dtype': 'F32', 'shape': [4],"
                " 'part': 'language', 'bytes': 16, 'parameters': {'normalize': true}, 'from': ["
                "{'input': 0, 'name': 'model.layers.1.w', 'base': false,"
                " 'parameters': {'weight': 3.0}},"
                "{'input': 1, 'name': 'model.layers.0.w', 'base': false,"
                " 'parameters': {'weight': 2.0}}]}",
                json_incref(json_array_get(list, 1)));
    json_decref(list);
    assert_json("[{'name': 'weight', 'input': 0, 'least': 3.0, 'most': 4.0},"
                " {'name': 'weight', 'input': 1, 'least': 1.0, 'most': 2.0},"
                " {'name': 'normalize', 'least': true, 'most': true}]",
                uqm_plan_parameters_json(p.rs));
    assert_json("[{'name': 'model.layers.0.w', 'why': 'its layer is in no slice'}]",
                uqm_plan_unused_json(p.rs, 0));
    assert_json("[{'name': 'model.layers.1.w', 'why': 'its layer is in no slice'},"
                " {'name': 'model.norm.weight', 'why': 'another slice\\u0027s is taken'},"
                " {'name': 'x.tail', 'why': 'another slice\\u0027s is taken'}]",
                uqm_plan_unused_json(p.rs, 1));
    done(&p);
    test_rm(p.dir);
}

static void what_modules_leave_out_has_its_reason(void **state)
{
    (void) state;
    struct plan p;
    start(&p);
    make_model_of(&p, "a");
    make_model_of(&p, "b");
    plan(&p, "merge_method: linear\nparameters: {weight: 1}\nmodules:\n"
             "  layers: {models: [{model: a}]}\n"
             "  x: {models: [{model: a}, {model: b}]}\n");
    assert_json("[{'name': 'model.embed_tokens.weight', 'why': 'in no module of the recipe'},"
                " {'name': 'model.layers.0.w', 'why': 'not of a model that its module is made of'},"
                " {'name': 'model.layers.1.w', 'why': 'not of a model that its module is made of'},"
                " {'name': 'model.norm.weight', 'why': 'in no module of the recipe'}]",
                uqm_plan_unused_json(p.rs, 1));
    done(&p);
    test_rm(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_says_what_it_is_made_of_and_with_what),
        cmocka_unit_test(what_modules_leave_out_has_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
