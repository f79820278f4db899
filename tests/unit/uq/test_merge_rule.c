#include "src/format/recipe.h"
#include "src/uq/merge_rule.h"
#include "tests/unit/uq/workdir.h"

static const char *const two[] = { "models/a", "b \"c\"\\\n" };

/* The rule's recipe, which must be one. */
static char *recipe_of(const struct uqm_merge_rule *rule, size_t n, const char *dtype)
{
    char *text = uqm_merge_rule_recipe(rule, two, n, dtype);
    struct uqm_recipe *recipe = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_recipe_parse(&recipe, text, strlen(text), "r.yml", NULL, NULL, &err), err);
    uqm_recipe_free(&recipe);
    return text;
}

static void without_a_rule_it_is_an_equal_weight_linear_merge(void **state)
{
    (void) state;
    const struct uqm_merge_rule none = { 0 };
    char *text = recipe_of(&none, 2, "float16");
    assert_string_equal(text, "merge_method: linear\n"
                              "models:\n"
                              "  - model: \"models/a\"\n"
                              "    parameters:\n"
                              "      weight: 1.0\n"
                              "  - model: \"b \\\"c\\\"\\\\\\x0a\"\n"
                              "    parameters:\n"
                              "      weight: 1.0\n"
                              "parameters:\n"
                              "  normalize: true\n"
                              "dtype: float16\n");
    free(text);
    text = recipe_of(&none, 1, NULL);
    assert_null(strstr(text, "dtype"));
    free(text);
}

static void a_methods_name_gives_its_recipe_and_one_model_is_itself(void **state)
{
    (void) state;
    struct uqm_merge_rule rule;
    struct uqm_err err = { 0 };
    assert_ok(uqm_merge_rule_init(&rule, "ties", "the/base", 9, &err), err);
    char *text = recipe_of(&rule, 2, "bfloat16");
    assert_non_null(strstr(text, "merge_method: ties\n"));
    assert_non_null(strstr(text, "base_model: \"the/base\"\n"));
    assert_non_null(strstr(text, "weight: 1.0\n"));
    assert_non_null(strstr(text, "dtype: bfloat16\n"));
    free(text);
    text = recipe_of(&rule, 1, NULL);
    assert_non_null(strstr(text, "merge_method: linear\n"));
    assert_null(strstr(text, "base_model"));
    free(text);
    uqm_merge_rule_finish(&rule);

    assert_ok(uqm_merge_rule_init(&rule, "karcher", NULL, 9, &err), err);
    text = recipe_of(&rule, 2, NULL);
    assert_null(strstr(text, "weight"));
    free(text);
    uqm_merge_rule_finish(&rule);
}

static void a_template_gets_the_models_put_in(void **state)
{
    (void) state;
    const char *path = put_file("t.yml", "merge_method: dare_ties\n"
                                         "parameters: {weight: 0.5, density: 0.4}\n"
                                         "dtype: float32 # kept");
    struct uqm_merge_rule rule;
    struct uqm_err err = { 0 };
    assert_ok(uqm_merge_rule_init(&rule, path, "base", 4, &err), err);
    char *text = recipe_of(&rule, 2, "float16");
    assert_string_equal(text, "merge_method: dare_ties\n"
                              "parameters: {weight: 0.5, density: 0.4}\n"
                              "dtype: float32 # kept\n"
                              "models:\n"
                              "  - model: \"models/a\"\n"
                              "  - model: \"b \\\"c\\\"\\\\\\x0a\"\n"
                              "base_model: \"base\"\n");
    free(text);
    text = recipe_of(&rule, 1, "float16"); /* the model itself, in its own type */
    assert_non_null(strstr(text, "dtype: float16\n"));
    free(text);
    uqm_merge_rule_finish(&rule);
}

static void refused(const char *merge, const char *base, size_t n, int code, const char *says)
{
    struct uqm_merge_rule rule;
    struct uqm_err err = { 0 };
    assert_fails(uqm_merge_rule_init(&rule, merge, base, n, &err), err, code, says);
    uqm_merge_rule_finish(&rule);
}

static void what_cannot_merge_the_models_is_refused(void **state)
{
    (void) state;
    refused("tiez", NULL, 3, UQM_ERR_USAGE, "did you mean ties?");
    refused("ties", NULL, 3, UQM_ERR_USAGE, "--base");
    refused("linear", "b", 3, UQM_ERR_USAGE, "no base");
    refused("slerp", "b", 3, UQM_ERR_USAGE, "merges 1 model beside its base");
    refused("nuslerp", NULL, 3, UQM_ERR_USAGE, "merges 2 models");
    refused("slerp", "b", 1, UQM_ERR_USAGE, "parameter t");
    refused(in_workdir("gone.yml"), NULL, 3, UQM_ERR_IO, "gone.yml");
    refused(put_file("a.yml", "merge_method: ties\nmodels: []\n"), "b", 3, UQM_ERR_FORMAT,
            "a.yml:2: models");
    refused(put_file("a.yml", "{merge_method: linear}"), NULL, 3, UQM_ERR_FORMAT, "block style");
    refused(put_file("a.yml", "- 1"), NULL, 3, UQM_ERR_FORMAT, "a mapping");
    refused(put_file("a.yml", "dtype: float16"), NULL, 3, UQM_ERR_FORMAT, "merge_method");
    refused(put_file("a.yml", "merge_method: glue"), NULL, 3, UQM_ERR_FORMAT, "glue");
    refused(put_file("a.yml", "merge_method: ties\nbase_model: x\n"), "b", 3, UQM_ERR_USAGE,
            "base_model");
}

static void rules_that_merge_differently_have_different_digests(void **state)
{
    (void) state;
    struct uqm_merge_rule rules[3];
    struct uqm_xxh3_hex digests[4];
    const struct uqm_xxh3_hex base = { "0123456789abcdef0123456789abcdef" };
    struct uqm_err err = { 0 };
    assert_ok(uqm_merge_rule_init(&rules[0], NULL, NULL, 3, &err), err);
    assert_ok(uqm_merge_rule_init(&rules[1], "ties", "b", 3, &err), err);
    assert_ok(uqm_merge_rule_init(&rules[2],
                                  put_file("d.yml", "merge_method: ties\nparameters: {weight: 2}"),
                                  "b", 3, &err),
              err);
    for (size_t i = 0; i < 3; i++)
        assert_ok(uqm_merge_rule_digest(&digests[i], &rules[i], NULL, &err), err);
    assert_ok(uqm_merge_rule_digest(&digests[3], &rules[1], &base, &err), err);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(digests[i].text, digests[k].text);
    for (size_t i = 0; i < 3; i++)
        uqm_merge_rule_finish(&rules[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_it_is_an_equal_weight_linear_merge),
        cmocka_unit_test(a_methods_name_gives_its_recipe_and_one_model_is_itself),
        cmocka_unit_test(a_template_gets_the_models_put_in),
        cmocka_unit_test(what_cannot_merge_the_models_is_refused),
        cmocka_unit_test(rules_that_merge_differently_have_different_digests),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
