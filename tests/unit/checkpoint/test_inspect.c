#include "src/format/json.h"
#include "tests/unit/checkpoint/checkpoint_test.h"

static json_t *inspect(const char *path)
{
    struct uqm_inspect_params params = { .path = path };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_inspect(&text, &params, &err), err);
    json_t *v = uqm_json_parse(text, strlen(text), "inspect", false, &err);
    free(text);
    assert_non_null(v);
    return v;
}

static const char *text(const json_t *v, const char *key)
{
    return json_string_value(json_object_get(v, key));
}

static json_int_t count(const json_t *v, const char *key)
{
    return json_integer_value(json_object_get(v, key));
}

static void every_key_of_the_contract_is_there(void **state)
{
    (void) state;
    json_t *v = inspect(zoo_path("models/knowmc"));
    assert_string_equal(text(v, "format"), "safetensors");
    assert_string_equal(text(v, "layout"), "llava-hf");
    assert_string_equal(text(v, "architecture"), "LlavaForConditionalGeneration");
    assert_int_equal(count(v, "parameters"), 2002880);
    assert_int_equal(count(v, "bytes"), 4005760);
    const json_t *parts = json_object_get(v, "parts"), *vision = json_object_get(parts, "vision");
    assert_int_equal(count(vision, "tensors"), 71);
    assert_int_equal(count(vision, "bytes"), 2 * count(vision, "parameters"));
    assert_int_equal(strlen(text(vision, "digest")), 32);
    assert_int_equal(count(json_object_get(parts, "adapter"), "tensors"), 4);
    assert_int_equal(count(json_object_get(parts, "language"), "tensors"), 57);
    assert_true(json_is_null(json_object_get(json_object_get(parts, "other"), "digest")));

    const json_t *files = json_object_get(v, "files");
    assert_int_equal(json_array_size(files), 3);
    assert_string_equal(text(json_array_get(files, 0), "name"), "model-00001-of-00003.safetensors");
    assert_int_equal(count(json_array_get(files, 0), "bytes"), 1374216);
    assert_int_equal(json_array_size(json_object_get(v, "tensors")), 132);
    json_decref(v);
}

static void tensors_lie_where_it_says(void **state)
{
    struct folder *f = *state;
    put_safetensors(below(f, "x.safetensors"),
                    "{\"w\":{\"dtype\":\"U8\",\"shape\":[2,3],\"data_offsets\":[0,6]},"
                    "\"e\":{\"dtype\":\"F32\",\"shape\":[0,18446744073709551615],"
                    "\"data_offsets\":[6,6]}}",
                    6, 65);
    json_t *v = inspect(below(f, "x.safetensors"));
    assert_true(json_is_null(json_object_get(v, "architecture")));
    const json_t *w = json_array_get(json_object_get(v, "tensors"), 1);
    assert_string_equal(text(w, "name"), "w");
    assert_string_equal(text(w, "dtype"), "U8");
    assert_string_equal(text(w, "file"), "x.safetensors");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(w, "shape"), 1)), 3);

    struct uqm_err err = { 0 };
    char *file;
    size_t len;
    assert_ok(uqm_read_file(&file, &len, below(f, "x.safetensors"), 4096, &err), err);
    assert_memory_equal(file + count(w, "offset"), "ABCDEF", 6);
    assert_int_equal(count(w, "bytes"), 6);
    free(file);
    json_decref(v);
}

static void a_tower_beside_the_model_is_shown_with_its_path(void **state)
{
    (void) state;
    json_t *v = inspect(zoo_path("models-original/llava-mini-know"));
    json_t *hf = inspect(zoo_path("models/know"));
    assert_string_equal(text(v, "format"), "pytorch");
    assert_string_equal(text(v, "layout"), "llava");
    const json_t *files = json_object_get(v, "files");
    assert_int_equal(json_array_size(files), 2);
    assert_string_equal(text(json_array_get(files, 0), "name"), "pytorch_model.bin");
    assert_non_null(strstr(text(json_array_get(files, 1), "name"), "clip-mini/pytorch_model.bin"));
    assert_string_equal(text(json_object_get(json_object_get(v, "parts"), "vision"), "digest"),
                        text(json_object_get(json_object_get(hf, "parts"), "vision"), "digest"));
    json_decref(hf);
    json_decref(v);
}

static void other_files_are_refused(void **state)
{
    struct folder *f = *state;
    struct uqm_inspect_params params = { .path = below(f, "m.gguf") };
    struct uqm_err err = { 0 };
    char *json;
    put_file(below(f, "m.gguf"), "GGUF", 4);
    assert_fails(uqm_inspect(&json, &params, &err), err, UQM_ERR_UNSUPPORTED, "GGUF");
    assert_null(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_contract_is_there),
        cmocka_unit_test_setup_teardown(tensors_lie_where_it_says, make_folder, remove_folder),
        cmocka_unit_test(a_tower_beside_the_model_is_shown_with_its_path),
        cmocka_unit_test_setup_teardown(other_files_are_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
