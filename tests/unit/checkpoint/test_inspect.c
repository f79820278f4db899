#include "src/format/gguf.h"
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
    struct uqm_inspect_params params = { .path = below(f, "m.onnx") };
    struct uqm_err err = { 0 };
    char *json;
    put_file(below(f, "m.onnx"), "GGUF", 4);
    assert_fails(uqm_inspect(&json, &params, &err), err, UQM_ERR_UNSUPPORTED, "ONNX");
    assert_null(json);
}

/* --- GGUF --- */

/* A part of two: part `no`, with a tensor of four F32 of this name. */
static void put_part(const char *path, uint32_t no, const char *tensor)
{
    struct uqm_gguf_header h;
    struct uqm_err err = { 0 };
    uint64_t offset, n_bytes, four = 4;
    static const int32_t list[] = {
        -7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
    };
    static const char *const texts[] = { "a", "b" };
    uint8_t file[4096] = { 0 };
    uqm_gguf_begin(&h);
    uqm_gguf_put_text(&h, "general.architecture", "llama");
    uqm_gguf_put_u32(&h, "split.no", no);
    uqm_gguf_put_u32(&h, "split.count", 2);
    uqm_gguf_put_numbers(&h, "list", UQM_GGUF_I32, list, 17);
    uqm_gguf_put_texts(&h, "texts", texts, 2);
    uqm_gguf_put_f32(&h, "f", 0.5f);
    uqm_gguf_put_bool(&h, "b", true);
    assert_ok(uqm_gguf_put_tensor(&h, &offset, &n_bytes, tensor, 1, &four, UQM_GGML_F32, &err),
              err);
    assert_ok(uqm_gguf_end(&h, &err), err);
    assert_true(h.n_bytes + 32 <= sizeof file);
    memcpy(file, h.bytes, h.n_bytes);
    memset(file + h.n_bytes, 'x', 16);
    put_file(path, file, h.n_bytes + 32);
    free(h.bytes);
}

static void a_gguf_file_in_parts_is_shown_as_one(void **state)
{
    struct folder *f = *state;
    struct uqm_err err = { 0 };
    char *json;
    put_part(below(f, "m-00001-of-00002.gguf"), 0, "token_embd.weight");
    struct uqm_inspect_params params = { .path = below(f, "m-00001-of-00002.gguf") };
    assert_fails(uqm_inspect(&json, &params, &err), err, UQM_ERR_IO, "m-00002-of-00002.gguf");
    put_part(below(f, "m-00002-of-00002.gguf"), 1, "mm.0.weight");
    json_t *v = inspect(below(f, "m-00002-of-00002.gguf"));
    assert_string_equal(text(v, "format"), "gguf");
    assert_string_equal(text(v, "layout"), "llama");
    assert_string_equal(text(v, "architecture"), "llama");
    assert_int_equal(json_integer_value(json_object_get(v, "bytes")), 32);
    assert_int_equal(json_integer_value(json_object_get(v, "parameters")), 8);
    assert_int_equal(json_array_size(json_object_get(v, "files")), 2);
    const json_t *t = json_array_get(json_object_get(v, "tensors"), 1);
    assert_string_equal(text(t, "name"), "token_embd.weight");
    assert_string_equal(text(t, "dtype"), "F32");
    assert_string_equal(text(t, "file"), "m-00001-of-00002.gguf");
    const json_t *keys = json_object_get(v, "keys"), *list = json_object_get(keys, "list");
    assert_int_equal(json_integer_value(json_object_get(list, "length")), 17);
    assert_int_equal(json_array_size(json_object_get(list, "first")), 16);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(list, "first"), 0)), -7);
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(json_object_get(keys, "texts"), "first"), 1)),
                        "b");
    assert_true(json_real_value(json_object_get(keys, "f")) == 0.5);
    assert_true(json_is_true(json_object_get(keys, "b")));
    json_decref(v);

    put_part(below(f, "m-00002-of-00002.gguf"), 0, "mm.0.weight");
    assert_fails(uqm_inspect(&json, &params, &err), err, UQM_ERR_FORMAT,
                 "key split.no: 0, where the name says 1");
    put_part(below(f, "m-00002-of-00002.gguf"), 1, "token_embd.weight");
    assert_fails(uqm_inspect(&json, &params, &err), err, UQM_ERR_FORMAT, "in two parts");
    assert_null(json);
}

static void a_gguf_files_digests_are_of_its_names_types_shapes_and_bytes(void **state)
{
    struct folder *f = *state;
    uint8_t file[4096];
    char digests[3][40];
    for (int i = 0; i < 3; i++) {
        put_part(below(f, "m-00001-of-00002.gguf"), 0, "token_embd.weight");
        put_part(below(f, "m-00002-of-00002.gguf"), 1, i == 1 ? "blk.1.x" : "blk.0.x");
        if (i == 2) {
            FILE *in = fopen(below(f, "m-00002-of-00002.gguf"), "rb");
            assert_non_null(in);
            size_t n = fread(file, 1, sizeof file, in);
            fclose(in);
            file[n - 32] ^= 1;
            put_file(below(f, "m-00002-of-00002.gguf"), file, n);
        }
        json_t *v = inspect(below(f, "m-00001-of-00002.gguf"));
        const json_t *part = json_object_get(json_object_get(v, "parts"), "language");
        assert_int_equal(json_integer_value(json_object_get(part, "tensors")), 2);
        snprintf(digests[i], sizeof digests[i], "%s", text(part, "digest"));
        json_decref(v);
    }
    assert_string_not_equal(digests[0], digests[1]);
    assert_string_not_equal(digests[0], digests[2]);
}

static void a_damaged_gguf_file_is_named(void **state)
{
    struct folder *f = *state;
    struct uqm_inspect_params params = { .path = below(f, "m.gguf") };
    struct uqm_err err = { 0 };
    char *json;
    put_file(below(f, "m.gguf"), "GGUF", 4);
    assert_fails(uqm_inspect(&json, &params, &err), err, UQM_ERR_FORMAT,
                 "m.gguf: the version: 4 bytes, where the file has 0 left");
    assert_null(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_contract_is_there),
        cmocka_unit_test_setup_teardown(tensors_lie_where_it_says, make_folder, remove_folder),
        cmocka_unit_test(a_tower_beside_the_model_is_shown_with_its_path),
        cmocka_unit_test_setup_teardown(other_files_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_gguf_file_in_parts_is_shown_as_one, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(
            a_gguf_files_digests_are_of_its_names_types_shapes_and_bytes, make_folder,
            remove_folder),
        cmocka_unit_test_setup_teardown(a_damaged_gguf_file_is_named, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
