#include "tests/unit/checkpoint/checkpoint_test.h"

#define T(name, begin, end)                                                                        \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" #end "],\"data_offsets\":[" #begin "," #end "]}"

static const char *const zoo_models[] = { "base",  "reason",  "know",     "knowmc", "chat",   "ocr",
                                          "dense", "general", "textonly", "region", "textcap" };
enum { N_ZOO = sizeof zoo_models / sizeof *zoo_models };

static struct uqm_xxh3_hex vision_digest(const char *path, enum uqm_layout layout,
                                         enum uqm_format format)
{
    struct uqm_checkpoint *cp = NULL;
    struct uqm_xxh3_hex digest;
    struct uqm_err err = { 0 };
    assert_ok(open_path(&cp, path, &err), err);
    assert_int_equal(cp->layout, layout);
    assert_int_equal(cp->format, format);
    assert_ok(uqm_checkpoint_part_digest(&digest, cp, UQM_PART_VISION, &err), err);
    uqm_checkpoint_close(&cp);
    assert_null(cp);
    return digest;
}

static void one_frozen_tower_has_one_digest_in_every_layout(void **state)
{
    (void) state;
    struct uqm_xxh3_hex first =
        vision_digest(zoo_path("models/base"), UQM_LAYOUT_LLAVA_HF, UQM_FORMAT_SAFETENSORS);
    for (size_t i = 0; i < N_ZOO; i++) {
        char name[64];
        snprintf(name, sizeof name, "models/%s", zoo_models[i]);
        bool torch = strcmp(zoo_models[i], "chat") == 0 || strcmp(zoo_models[i], "textonly") == 0;
        assert_string_equal(vision_digest(zoo_path(name), UQM_LAYOUT_LLAVA_HF,
                                          torch ? UQM_FORMAT_PYTORCH : UQM_FORMAT_SAFETENSORS)
                                .text,
                            first.text);
    }
    assert_string_equal(
        vision_digest(zoo_path("models-original/clip-mini"), UQM_LAYOUT_OTHER, UQM_FORMAT_PYTORCH)
            .text,
        first.text);
    assert_string_equal(vision_digest(zoo_path("models-original/llava-mini-know"), UQM_LAYOUT_LLAVA,
                                      UQM_FORMAT_PYTORCH)
                            .text,
                        first.text);
}

static void digests_of_parts_differ_where_the_weights_do(void **state)
{
    (void) state;
    struct uqm_checkpoint *a = NULL, *b = NULL;
    struct uqm_xxh3_hex x, y;
    struct uqm_err err = { 0 };
    assert_ok(open_path(&a, zoo_path("models/know"), &err), err);
    assert_ok(open_path(&b, zoo_path("models/chat"), &err), err);
    assert_ok(uqm_checkpoint_part_digest(&x, a, UQM_PART_LANGUAGE, &err), err);
    assert_ok(uqm_checkpoint_part_digest(&y, b, UQM_PART_LANGUAGE, &err), err);
    assert_string_not_equal(x.text, y.text);
    assert_ok(uqm_checkpoint_part_digest(&x, a, UQM_PART_ADAPTER, &err), err);
    assert_ok(uqm_checkpoint_part_digest(&y, b, UQM_PART_ADAPTER, &err), err);
    assert_string_not_equal(x.text, y.text);
    uqm_checkpoint_close(&a);
    uqm_checkpoint_close(&b);
}

static void digest_covers_name_dtype_shape_and_bytes(void **state)
{
    struct folder *f = *state;
    static const struct {
        const char *header;
        int first;
    } files[] = {
        { "{\"model.norm.weight\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 0 },
        { "{\"model.norm.weight\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 1 },
        { "{\"model.norm.weight\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 0 },
        { "{\"model.norm.weight\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]}}", 0 },
        { "{\"model.norm.bias\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 0 },
        /* an empty tensor more */
        { "{\"model.norm.weight\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
          "\"model.norm.z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}}",
          0 },
    };
    enum { N = sizeof files / sizeof *files };
    struct uqm_xxh3_hex digests[N];
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < N; i++) {
        struct uqm_checkpoint *cp = NULL;
        put_safetensors(below(f, "x.safetensors"), files[i].header, 4, files[i].first);
        assert_ok(open_path(&cp, below(f, "x.safetensors"), &err), err);
        assert_ok(uqm_checkpoint_part_digest(&digests[i], cp, UQM_PART_LANGUAGE, &err), err);
        uqm_checkpoint_close(&cp);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(digests[i].text, digests[k].text);
    }
}

static void original_layout_holds_the_values_of_the_converted_one(void **state)
{
    (void) state;
    struct uqm_checkpoint *hf = NULL, *original = NULL;
    struct uqm_err err = { 0 };
    size_t n_equal = 0;
    assert_ok(open_path(&hf, zoo_path("models/know"), &err), err);
    assert_ok(open_path(&original, zoo_path("models-original/llava-mini-know"), &err), err);
    assert_string_equal(hf->source.name, "know");
    assert_string_equal(original->architecture, "LlavaLlamaForCausalLM");
    assert_non_null(original->vision_config_text);
    assert_int_equal(original->n_own_files, 1);
    assert_int_equal(original->n_files, 2);

    for (size_t i = 0; i < hf->source.n_tensors; i++) {
        const char *name = hf->source.tensors[i].canonical;
        size_t n, m;
        uint8_t *a = tensor_bytes(hf, name, &n), *b = tensor_bytes(original, name, &m);
        /* the original has no rows for <image> and <pad> */
        bool vocabulary = strstr(name, "embed_tokens") || strstr(name, "lm_head");
        if (vocabulary)
            assert_true(m < n);
        else
            assert_int_equal(m, n);
        assert_memory_equal(a, b, m);
        n_equal++;
        free(a);
        free(b);
    }
    assert_int_equal(n_equal, 132);
    uqm_checkpoint_close(&hf);
    uqm_checkpoint_close(&original);
}

static void tensors_ascend_and_are_found_by_canonical_name(void **state)
{
    (void) state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    assert_ok(open_path(&cp, zoo_path("models/dense"), &err), err);
    const struct uqm_source *s = &cp->source;
    for (size_t i = 0; i < s->n_tensors; i++) {
        assert_int_equal(uqm_source_find(s, s->tensors[i].canonical), (long) i);
        if (i > 0)
            assert_true(strcmp(s->tensors[i - 1].canonical, s->tensors[i].canonical) < 0);
    }
    assert_int_equal(uqm_source_find(s, "absent"), -1);
    long i = uqm_source_find(s, "language_model.model.layers.5.mlp.down_proj.weight");
    assert_true(i >= 0);
    assert_string_equal(s->tensors[i].name, "model.language_model.layers.5.mlp.down_proj.weight");
    assert_int_equal(s->tensors[i].layer, 5);
    assert_int_equal(s->tensors[i].shape[0], 128);
    assert_int_equal(s->tensors[i].shape[1], 352);
    uqm_checkpoint_close(&cp);
}

static void two_spellings_of_one_name_are_refused(void **state)
{
    struct folder *f = *state;
    put_safetensors(below(f, "x.safetensors"),
                    "{\"lm_head.weight\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                    "\"language_model.lm_head.weight\":{\"dtype\":\"U8\",\"shape\":[4],"
                    "\"data_offsets\":[4,8]}}",
                    8, 0);
    assert_open_fails(below(f, "x.safetensors"), UQM_ERR_FORMAT, "lm_head.weight and ");
}

static void what_is_no_checkpoint_is_refused(void **state)
{
    struct folder *f = *state;
    assert_open_fails(below(f, "absent"), UQM_ERR_IO, "absent: No such file");
    assert_open_fails(f->path, UQM_ERR_FORMAT, "no weights: neither model.safetensors");
    put_file(below(f, "m.gguf"), "GGUF", 4);
    assert_open_fails(below(f, "m.gguf"), UQM_ERR_UNSUPPORTED, "does not read GGUF files");
    put_file(below(f, "m.uqz"), "x", 1);
    assert_open_fails(below(f, "m.uqz"), UQM_ERR_FORMAT, "m.uqz: 1 bytes are no archive");
    put_file(below(f, "m.txt"), "x", 1);
    assert_open_fails(below(f, "m.txt"), UQM_ERR_UNSUPPORTED, "neither weight file nor archive");
    put_file(below(f, "m.safetensors"), "x", 1);
    assert_open_fails(below(f, "m.safetensors"), UQM_ERR_FORMAT, "m.safetensors: 1 bytes are too");
    /* the ending decides, not the first bytes */
    put_safetensors(below(f, "m.bin"), "{}", 0, 0);
    assert_open_fails(below(f, "m.bin"), UQM_ERR_FORMAT, "m.bin: not a zip archive");
    put_safetensors(below(f, "model.safetensors"), "{}", 0, 0);
    put_file(below(f, "config.json"), "{", 1);
    assert_open_fails(f->path, UQM_ERR_FORMAT, "config.json:1:");
}

static void file_cut_anywhere_is_refused(void **state)
{
    struct folder *f = *state;
    static const char header[] = "{" T("w", 0, 4) "}";
    struct uqm_err err = { 0 };
    char *whole;
    size_t len;
    put_safetensors(below(f, "x.safetensors"), header, 4, 0);
    assert_ok(uqm_read_file(&whole, &len, below(f, "x.safetensors"), 1 << 20, &err), err);
    for (size_t n = 0; n < len; n++) {
        put_file(below(f, "x.safetensors"), whole, n);
        assert_open_fails(below(f, "x.safetensors"), UQM_ERR_FORMAT, "x.safetensors: ");
    }
    free(whole);
}

static void unknown_fields_and_long_headers_are_told(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(TEST_MEMORY, 1);
    struct uqm_checkpoint_params params = { .path = below(f, "x.safetensors") };
    put_safetensors(below(f, "x.safetensors"),
                    "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":1}}", 4,
                    0);
    assert_ok(uqm_checkpoint_open(&cp, env, &params, &err), err);
    uqm_checkpoint_close(&cp);
    env->strict = true;
    assert_fails(uqm_checkpoint_open(&cp, env, &params, &err), err, UQM_ERR_FORMAT,
                 "tensor w: x: unknown field");
    env->strict = false;
    params.header_cap = 8;
    assert_fails(uqm_checkpoint_open(&cp, env, &params, &err), err, UQM_ERR_FORMAT,
                 "above the limit of 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_frozen_tower_has_one_digest_in_every_layout),
        cmocka_unit_test(digests_of_parts_differ_where_the_weights_do),
        cmocka_unit_test_setup_teardown(digest_covers_name_dtype_shape_and_bytes, make_folder,
                                        remove_folder),
        cmocka_unit_test(original_layout_holds_the_values_of_the_converted_one),
        cmocka_unit_test(tensors_ascend_and_are_found_by_canonical_name),
        cmocka_unit_test_setup_teardown(two_spellings_of_one_name_are_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_is_no_checkpoint_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(file_cut_anywhere_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(unknown_fields_and_long_headers_are_told, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
