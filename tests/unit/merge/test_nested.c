/* A recipe as a model of another one: the same bytes as when the inner one is written first. */
#include <jansson.h>

#include "src/format/manifest.h"
#include "tests/unit/merge/merge_test.h"

enum { N_ELEM = 24000 };

static float numbers[3][N_ELEM];

#define INNER                                                                                      \
    "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"                     \
    "  - {model: b, parameters: {weight: 2}}\nout_dtype: bfloat16\n"
#define OUTER(model)                                                                               \
    "merge_method: slerp\nbase_model: c\nparameters: {t: 0.4}\nmodels:\n  - model: c\n"            \
    "  - model: " model "\n"

static char *start(void)
{
    char *dir = test_mkdtemp();
    uint32_t state = 9;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < N_ELEM; i++) {
            state = state * 1664525 + 1013904223;
            numbers[k][i] = (float) (state >> 8) / (float) (1 << 24) - 0.5f;
        }
    for (size_t k = 0; k < 3; k++) {
        const float *d = numbers[k];
        struct made_tensor t[] = {
            { "model.embed_tokens.weight", UQM_F32, 2, { 120, 200 }, d },
            { "model.layers.0.mlp.up_proj.weight", UQM_F32, 2, { 101, 200 }, d + 7 },
            { "model.norm.weight", UQM_F32, 1, { 200 }, d + 300 },
            { "odd", UQM_I64, 1, { 3 }, "the same in every model" },
        };
        make_model(dir, (const char *[]){ "a", "b", "c" }[k],
                   "{\"architectures\":[\"LlamaForCausalLM\"],\"torch_dtype\":\"float32\"}", t, 4);
    }
    write_text(in_dir(dir, "inner.yml"), INNER);
    write_text(in_dir(dir, "two-steps.yml"), OUTER("written"));
    write_text(in_dir(dir, "by-path.yml"), OUTER("inner.yml"));
    write_text(in_dir(dir, "by-name.yml"), OUTER("ab") "---\nname: ab\n" INNER);
    write_text(in_dir(dir, "thrice.yml"),
               OUTER("abc") "---\nname: abc\nmerge_method: linear\nparameters: {weight: 1}\n"
                            "models: [{model: ab}, {model: c}]\n---\nname: ab\n" INNER);
    write_text(in_dir(dir, "middle.yml"), "merge_method: linear\nparameters: {weight: 1}\n"
                                          "models: [{model: written}, {model: c}]\n");
    write_text(in_dir(dir, "thrice-in-steps.yml"), OUTER("middle"));
    return dir;
}

static int merge(const char *dir, const char *recipe, const char *out, struct uqm_err *err)
{
    char from[512], to[512], *json = NULL;
    snprintf(from, sizeof from, "%s/%s.yml", dir, recipe);
    snprintf(to, sizeof to, "%s/%s", dir, out);
    struct uqm_merge_params params = { .common = { .memory = 64 << 20, .n_threads = 2 },
                                       .recipe_path = from,
                                       .out_dir = to };
    int ret = uqm_merge(&json, &params, err);
    free(json);
    return ret;
}

static void merge_ok(const char *dir, const char *recipe, const char *out)
{
    struct uqm_err err = { 0 };
    assert_ok(merge(dir, recipe, out, &err), err);
}

static json_int_t bytes_read(const char *dir, const char *recipe, bool dry_run)
{
    struct uqm_err err = { 0 };
    char from[512], to[512], *json = NULL;
    snprintf(from, sizeof from, "%s/%s.yml", dir, recipe);
    snprintf(to, sizeof to, "%s/read-%s", dir, recipe);
    struct uqm_merge_params params = { .common = { .memory = 64 << 20, .n_threads = 1 },
                                       .recipe_path = from,
                                       .out_dir = to,
                                       .dry_run = dry_run };
    assert_ok(uqm_merge(&json, &params, &err), err);
    json_t *doc = json_loads(json, 0, NULL);
    json_int_t n = json_integer_value(json_object_get(doc, "bytes_read"));
    json_decref(doc);
    free(json);
    return n;
}

static void assert_same_file(const char *dir, const char *a, const char *b, const char *name)
{
    char *x, *y;
    size_t n, m;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&x, &n, in_dir(dir, "%s/%s", a, name), 1 << 26, &err), err);
    assert_ok(uqm_read_file(&y, &m, in_dir(dir, "%s/%s", b, name), 1 << 26, &err), err);
    if (n != m || memcmp(x, y, n) != 0)
        fail_msg("%s differs between %s and %s", name, a, b);
    free(x);
    free(y);
}

static void the_bytes_are_those_of_two_steps(void **state)
{
    (void) state;
    char *dir = start();
    merge_ok(dir, "inner", "written");
    merge_ok(dir, "two-steps", "want");
    merge_ok(dir, "by-path", "path");
    merge_ok(dir, "by-name", "name");
    for (size_t i = 0; i < 2; i++) {
        assert_same_file(dir, i ? "path" : "name", "want", "model.safetensors");
        assert_same_file(dir, i ? "path" : "name", "want", "config.json");
    }
    assert_false(uqm_is_dir(in_dir(dir, "ab")));
    merge_ok(dir, "middle", "middle");
    merge_ok(dir, "thrice-in-steps", "want3");
    merge_ok(dir, "thrice", "got3");
    assert_same_file(dir, "got3", "want3", "model.safetensors");
    test_rm(dir);
}

static void tiles_and_passes_change_no_byte(void **state)
{
    (void) state;
    static const size_t tiles[] = { 4096, 8192, 40000, 1 << 20 };
    char *dir = start();
    struct uqm_err err = { 0 };
    struct uqm_open_params none = { 0 };
    uint8_t **first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        struct uqm_source *s = NULL;
        assert_ok(uqm_model_open(&s, test_env(64 << 20, 1), in_dir(dir, "thrice.yml"), &none, &err),
                  err);
        uint8_t **all = read_all(s, tiles[i]);
        for (size_t t = 0; t < s->n_tensors && first; t++)
            assert_memory_equal(all[t], first[t], s->tensors[t].n_bytes);
        n = s->n_tensors;
        if (first)
            free_all(all, n);
        else
            first = all;
        uqm_source_destroy(&s);
    }
    free_all(first, n);
    test_rm(dir);
}

/* But for headers, gaps and small tensors. */
static void a_dry_run_knows_what_recipes_as_models_read(void **state)
{
    (void) state;
    char *dir = start();
    static const char *const names[] = { "by-path", "thrice" };
    for (size_t i = 0; i < 2; i++) {
        json_int_t planned = bytes_read(dir, names[i], true);
        assert_in_range(bytes_read(dir, names[i], false), planned - 4096, planned + 4096);
    }
    test_rm(dir);
}

static void the_manifest_lists_the_models_on_the_disk(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct uqm_err err = { 0 };
    merge_ok(dir, "thrice", "out");
    struct uqm_verify_params verify = { .path = in_dir(dir, "out"), .inputs = true };
    assert_ok(uqm_verify(&json, &verify, &err), err);
    free(json);
    json_t *doc = json_load_file(in_dir(dir, "out/%s", UQM_MANIFEST_NAME), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(doc, "inputs")), 3);
    json_decref(doc);
    write_text(in_dir(dir, "b/config.json"), "{}");
    assert_int_equal(uqm_verify(&json, &verify, &err), UQM_ERR_CHECK);
    free(json);
    test_rm(dir);
}

static void several_outputs_may_be_nested_too(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct uqm_err err = { 0 };
    char paths[2][512], out[512];
    snprintf(paths[0], 512, "%s/by-name.yml", dir);
    snprintf(paths[1], 512, "%s/thrice.yml", dir);
    snprintf(out, 512, "%s/many", dir);
    const char *v[] = { paths[0], paths[1] };
    struct uqm_merge_params params = { .common = { .memory = 64 << 20, .n_threads = 2 },
                                       .recipe_path = v[0],
                                       .recipes = { v, 2 },
                                       .out_dir = out };
    assert_ok(uqm_merge(&json, &params, &err), err);
    free(json);
    merge_ok(dir, "by-name", "alone");
    merge_ok(dir, "thrice", "alone3");
    assert_same_file(dir, "many/by-name", "alone", "model.safetensors");
    assert_same_file(dir, "many/thrice", "alone3", "model.safetensors");
    test_rm(dir);
}

static void a_file_made_of_itself_is_refused(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    write_text(in_dir(dir, "x.yml"), OUTER("y.yml"));
    write_text(in_dir(dir, "y.yml"), OUTER("x.yml"));
    assert_fails(merge(dir, "x", "out", &err), err, UQM_ERR_FORMAT,
                 "x.yml: the recipe is made of itself");
    test_rm(dir);
}

static void an_output_over_an_inner_input_is_refused(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    assert_fails(merge(dir, "by-name", "b", &err), err, UQM_ERR_ARG, "lies there");
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_two_steps),
        cmocka_unit_test(tiles_and_passes_change_no_byte),
        cmocka_unit_test(a_dry_run_knows_what_recipes_as_models_read),
        cmocka_unit_test(the_manifest_lists_the_models_on_the_disk),
        cmocka_unit_test(several_outputs_may_be_nested_too),
        cmocka_unit_test(a_file_made_of_itself_is_refused),
        cmocka_unit_test(an_output_over_an_inner_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
