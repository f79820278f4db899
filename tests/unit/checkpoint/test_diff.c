#include <math.h>

#include "src/format/json.h"
#include "tests/unit/checkpoint/checkpoint_test.h"

static json_t *diff(const char *a, const char *b)
{
    struct uqm_diff_params params = { .path_a = a, .path_b = b };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_diff(&text, &params, &err), err);
    json_t *v = uqm_json_parse(text, strlen(text), "diff", false, &err);
    free(text);
    assert_non_null(v);
    return v;
}

static json_int_t count(const json_t *v, const char *key)
{
    return json_integer_value(json_object_get(v, key));
}

static const json_t *tensor(const json_t *v, const char *name)
{
    size_t i;
    json_t *t;
    json_array_foreach (json_object_get(v, "tensors"), i, t)
        if (strcmp(json_string_value(json_object_get(t, "name")), name) == 0)
            return t;
    fail_msg("no tensor %s", name);
    return NULL;
}

static const char *status(const json_t *v, const char *name)
{
    return json_string_value(json_object_get(tensor(v, name), "status"));
}

static void models_of_one_tower_differ_in_the_rest(void **state)
{
    (void) state;
    json_t *v = diff(zoo_path("models/know"), zoo_path("models/chat"));
    assert_int_equal(count(v, "identical") + count(v, "changed"), 132);
    assert_int_equal(json_array_size(json_object_get(v, "tensors")), 132);
    assert_string_equal(status(v, "vision_tower.vision_model.pre_layrnorm.bias"), "identical");
    assert_string_equal(status(v, "language_model.lm_head.weight"), "changed");
    const json_t *t = tensor(v, "language_model.lm_head.weight");
    double rel = json_real_value(json_object_get(t, "rel_l2"));
    double cosine = json_real_value(json_object_get(t, "cosine"));
    assert_true(rel > 0 && rel < 1 && cosine > 0.9 && cosine < 1);
    json_decref(v);
}

static void a_layout_is_no_difference(void **state)
{
    (void) state;
    json_t *v = diff(zoo_path("models/know"), zoo_path("models-original/llava-mini-know"));
    assert_int_equal(count(v, "identical"), 130);
    assert_int_equal(count(v, "changed"), 2); /* the vocabulary has fewer rows there */
    const json_t *t = tensor(v, "language_model.lm_head.weight");
    assert_true(json_is_null(json_object_get(t, "rel_l2")));
    assert_true(json_is_null(json_object_get(t, "cosine")));
    assert_int_equal(json_array_size(json_object_get(v, "only_a")), 0);
    assert_int_equal(json_array_size(json_object_get(v, "only_b")), 6); /* inv_freq */
    json_decref(v);
}

#define F32_2(name, begin, end)                                                                    \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #begin "," #end "]}"

static void each_kind_of_difference_is_told(void **state)
{
    struct folder *f = *state;
    put_safetensors(
        below(f, "a.safetensors"),
        "{" F32_2("same", 0, 8) "," F32_2("value", 8, 16) "," F32_2(
            "lone", 16, 24) ",\"empty\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[24,24]}"
                            ",\"type\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[24,26]}"
                            ",\"shape\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[26,28]}"
                            ",\"zz\":{\"dtype\":\"U8\",\"shape\":[0,2],\"data_offsets\":[28,28]}}",
        28, 0);
    put_safetensors(
        below(f, "b.safetensors"),
        "{" F32_2("same", 0, 8) "," F32_2("value", 16, 24) "," F32_2(
            "other", 8, 16) ",\"empty\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[24,24]}"
                            ",\"type\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[24,26]}"
                            ",\"shape\":{\"dtype\":\"U8\",\"shape\":[1,2],\"data_offsets\":[26,28]}"
                            ",\"zz\":{\"dtype\":\"U8\",\"shape\":[2,0],\"data_offsets\":[28,28]}}",
        28, 0);
    json_t *v = diff(below(f, "a.safetensors"), below(f, "b.safetensors"));
    assert_string_equal(status(v, "same"), "identical");
    assert_string_equal(status(v, "empty"), "identical");
    assert_string_equal(status(v, "value"), "changed");
    assert_string_equal(status(v, "type"), "changed");
    assert_string_equal(status(v, "shape"), "changed");
    assert_string_equal(status(v, "zz"), "changed");
    assert_int_equal(count(v, "identical"), 2);
    assert_int_equal(count(v, "changed"), 4);
    assert_true(json_real_value(json_object_get(tensor(v, "same"), "cosine")) == 1);
    assert_true(json_real_value(json_object_get(tensor(v, "type"), "max_abs")) == 0);
    assert_true(json_is_null(json_object_get(tensor(v, "shape"), "max_abs")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(v, "only_a"), 0)), "lone");
    assert_string_equal(json_string_value(json_array_get(json_object_get(v, "only_b"), 0)),
                        "other");
    json_decref(v);
}

static void weights_larger_than_the_buffers_are_compared(void **state)
{
    struct folder *f = *state;
    enum { N = 20 << 20 }; /* bytes: several tiles */
    static const char header[] =
        "{\"w\":{\"dtype\":\"F16\",\"shape\":[10485760],\"data_offsets\":[0,20971520]}}   ";
    uint8_t *file = calloc(1, 8 + sizeof header - 1 + N);
    assert_non_null(file);
    file[0] = sizeof header - 1;
    memcpy(file + 8, header, sizeof header - 1);
    file[8 + sizeof header - 1 + 1] = 0x3C; /* w[0] = 1 */
    put_file(below(f, "a.safetensors"), file, 8 + sizeof header - 1 + N);
    file[8 + sizeof header - 1 + N - 1] = 0x3C; /* w[last] = 1 */
    put_file(below(f, "b.safetensors"), file, 8 + sizeof header - 1 + N);
    free(file);

    struct uqm_diff_params params = { .common = { .memory = 64 << 20 },
                                      .path_a = below(f, "a.safetensors"),
                                      .path_b = below(f, "b.safetensors") };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_diff(&text, &params, &err), err);
    json_t *v = uqm_json_parse(text, strlen(text), "diff", false, &err);
    const json_t *t = tensor(v, "w");
    assert_true(json_real_value(json_object_get(t, "rel_l2")) == 1);
    assert_true(fabs(json_real_value(json_object_get(t, "cosine")) - sqrt(0.5)) < 1e-15);
    json_decref(v);
    free(text);
}

static void a_missing_side_is_an_error(void **state)
{
    struct folder *f = *state;
    struct uqm_diff_params params = { .path_a = zoo_path("models/know"),
                                      .path_b = below(f, "absent") };
    struct uqm_err err = { 0 };
    char *text;
    assert_fails(uqm_diff(&text, &params, &err), err, UQM_ERR_IO, "absent");
    assert_null(text);
}

static void the_callers_flag_stops_it(void **state)
{
    (void) state;
    static const volatile int cancel = 1;
    struct uqm_diff_params params = { .common = { .cancel = &cancel },
                                      .path_a = zoo_path("models/know"),
                                      .path_b = zoo_path("models/chat") };
    struct uqm_err err = { 0 };
    char *text;
    assert_fails(uqm_diff(&text, &params, &err), err, UQM_ERR_INTERRUPTED, "interrupted");
    assert_null(text);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_of_one_tower_differ_in_the_rest),
        cmocka_unit_test(a_layout_is_no_difference),
        in_folder(each_kind_of_difference_is_told),
        in_folder(weights_larger_than_the_buffers_are_compared),
        in_folder(a_missing_side_is_an_error),
        cmocka_unit_test(the_callers_flag_stops_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
