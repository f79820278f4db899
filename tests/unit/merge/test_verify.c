#include "src/uqmerge.h"

#include <jansson.h>

#include "src/format/manifest.h"
#include "tests/unit/merge/merge_test.h"

static float numbers[2048];

/* A merge of two small models in two shards, as dir/out. */
static char *start(void)
{
    char *dir = test_mkdtemp(), *json;
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 2048; i++)
        numbers[i] = (float) i / 64;
    for (int k = 0; k < 2; k++) {
        struct made_tensor t[] = {
            { "model.embed_tokens.weight", UQM_F32, 2, { 32, 16 }, numbers + 64 * k },
            { "model.layers.0.mlp.up_proj.weight", UQM_F16, 2, { 48, 16 }, numbers + 99 },
            { "model.norm.weight", UQM_F32, 1, { 16 }, numbers + 7 },
            { "nothing", UQM_F32, 2, { 0, 4 }, numbers },
        };
        char name[2] = { (char) ('a' + k), 0 };
        make_model(dir, name, "{}", t, 4);
        write_text(in_dir(dir, "%s/tokenizer.model", name), "tokens");
    }
    write_text(in_dir(dir, "r.yml"), "merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
                                     "  - model: a\n  - model: b\n");
    char recipe[512], out[512];
    snprintf(recipe, sizeof recipe, "%s/r.yml", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    struct uqm_merge_params params = {
        .common.memory = 64 << 20, .recipe_path = recipe, .out_dir = out, .out_shard_bytes = 2500
    };
    assert_ok(uqm_merge(&json, &params, &err), err);
    free(json);
    return dir;
}

/* *doc: the result, the caller's; NULL when there is none. */
static int verify(json_t **doc, const char *dir, bool inputs, struct uqm_err *err)
{
    char path[512], *json;
    snprintf(path, sizeof path, "%s/out", dir);
    struct uqm_verify_params params = { .common.memory = 64 << 20, .path = path, .inputs = inputs };
    int ret = uqm_verify(&json, &params, err);
    *doc = json ? json_loads(json, 0, NULL) : NULL;
    free(json);
    return ret;
}

/* Exactly one difference; borrowed from the document. */
static const json_t *the_difference(const json_t *doc)
{
    const json_t *list = json_object_get(doc, "differences");
    assert_true(json_is_false(json_object_get(doc, "ok")));
    assert_int_equal(json_array_size(list), 1);
    return json_array_get(list, 0);
}

static const char *text_of(const json_t *d, const char *key)
{
    return json_string_value(json_object_get(d, key));
}

static json_int_t number_of(const json_t *d, const char *key)
{
    return json_integer_value(json_object_get(d, key));
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int c = fgetc(f);
    assert_true(c != EOF);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static void a_fresh_merge_is_as_its_manifest_says(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc;
    assert_ok(verify(&doc, dir, true, &err), err);
    assert_true(json_is_true(json_object_get(doc, "ok")));
    assert_int_equal(number_of(doc, "tensors_checked"), 4);
    assert_int_equal(json_array_size(json_object_get(doc, "differences")), 0);
    json_decref(doc);
    test_rm(dir);
}

/* Every byte of every file in turn, in steps for the larger ones. */
static void one_flipped_byte_anywhere_is_found_and_placed(void **state)
{
    (void) state;
    char *dir = start(), *text;
    size_t len;
    bool intact;
    struct uqm_err err = { 0 };
    struct uqm_manifest m;
    assert_ok(uqm_read_file(&text, &len, in_dir(dir, "out/" UQM_MANIFEST_NAME), 1 << 20, &err),
              err);
    assert_ok(uqm_manifest_parse(&m, &intact, text, len, "m", &err), err);
    assert_true(intact);
    assert_int_equal(m.n_tensors, 4);
    for (size_t f = 0; f < m.n_files; f++) {
        char path[512];
        snprintf(path, sizeof path, "%s/out/%s", dir, m.files[f].name);
        for (uint64_t at = 0; at < m.files[f].bytes; at += 97) {
            json_t *doc;
            const char *tensor = NULL;
            uint64_t begin = 0, end = m.files[f].bytes;
            for (size_t t = 0; t < m.n_tensors; t++) {
                const struct uqm_manifest_tensor *mt = &m.tensors[t];
                if (mt->file != f || mt->bytes == 0)
                    continue;
                if (at >= mt->offset && at < mt->offset + mt->bytes) {
                    tensor = mt->name;
                    begin = mt->offset;
                    end = mt->offset + mt->bytes;
                    break;
                }
                if (!tensor && mt->offset < end)
                    end = mt->offset; /* the header */
            }
            flip(path, (long) at);
            assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
            const json_t *d = the_difference(doc);
            assert_string_equal(text_of(d, "file"), m.files[f].name);
            if (tensor)
                assert_string_equal(text_of(d, "tensor"), tensor);
            else
                assert_true(json_is_null(json_object_get(d, "tensor")));
            assert_int_equal(number_of(d, "begin"), begin);
            assert_int_equal(number_of(d, "end"), end);
            assert_non_null(strstr(err.msg, m.files[f].name));
            json_decref(doc);
            flip(path, (long) at);
        }
    }
    uqm_manifest_finish(&m);
    free(text);
    test_rm(dir);
}

static void one_flipped_byte_of_the_manifest_is_found(void **state)
{
    (void) state;
    char *dir = start();
    struct stat st;
    char path[512];
    snprintf(path, sizeof path, "%s/out/" UQM_MANIFEST_NAME, dir);
    assert_int_equal(stat(path, &st), 0);
    for (long at = 0; at < st.st_size; at += 13) {
        struct uqm_err err = { 0 };
        json_t *doc;
        flip(path, at);
        assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
        assert_string_equal(text_of(the_difference(doc), "file"), UQM_MANIFEST_NAME);
        json_decref(doc);
        flip(path, at);
    }
    test_rm(dir);
}

static void missing_extra_cut_and_grown_files_are_told_apart(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc;
    static const char one[] = "out/model-00001-of-00002.safetensors";
    struct stat st;
    stat(in_dir(dir, "%s", one), &st);

    write_text(in_dir(dir, "out/virus.py"), "import os\n");
    assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
    assert_string_equal(text_of(the_difference(doc), "file"), "virus.py");
    assert_string_equal(text_of(the_difference(doc), "what"), "not in the manifest");
    json_decref(doc);
    unlink(in_dir(dir, "out/virus.py"));

    rename(in_dir(dir, "out/tokenizer.model"), in_dir(dir, "kept"));
    assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
    assert_string_equal(text_of(the_difference(doc), "what"), "the file is missing");
    json_decref(doc);
    rename(in_dir(dir, "kept"), in_dir(dir, "out/tokenizer.model"));

    FILE *f = fopen(in_dir(dir, "%s", one), "ab");
    fputc('x', f);
    fclose(f);
    assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
    assert_int_equal(number_of(the_difference(doc), "begin"), st.st_size);
    assert_int_equal(number_of(the_difference(doc), "end"), st.st_size + 1);
    json_decref(doc);

    assert_int_equal(truncate(in_dir(dir, "%s", one), st.st_size - 3), 0);
    assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
    const json_t *list = json_object_get(doc, "differences");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(text_of(json_array_get(list, 0), "what"),
                        "the file is shorter than it was");
    assert_string_equal(text_of(json_array_get(list, 1), "tensor"), "model.embed_tokens.weight");
    assert_int_equal(number_of(json_array_get(list, 1), "begin"), st.st_size - 3);
    assert_int_equal(number_of(json_array_get(list, 1), "end"), st.st_size);
    json_decref(doc);

    /* a link is not what was written */
    unlink(in_dir(dir, "%s", one));
    assert_int_equal(symlink("/dev/zero", in_dir(dir, "%s", one)), 0);
    assert_int_equal(verify(&doc, dir, false, &err), UQM_ERR_CHECK);
    assert_string_equal(text_of(the_difference(doc), "what"), "no regular file");
    json_decref(doc);
    test_rm(dir);
}

static void changed_inputs_are_seen_when_asked(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc;
    flip(in_dir(dir, "b/model.safetensors"), 1000);
    assert_ok(verify(&doc, dir, false, &err), err);
    json_decref(doc);
    assert_int_equal(verify(&doc, dir, true, &err), UQM_ERR_CHECK);
    assert_string_equal(text_of(the_difference(doc), "what"), "the input file has changed");
    assert_non_null(strstr(text_of(the_difference(doc), "file"), "b/model.safetensors"));
    json_decref(doc);
    flip(in_dir(dir, "b/model.safetensors"), 1000);
    unlink(in_dir(dir, "a/config.json"));
    assert_int_equal(verify(&doc, dir, true, &err), UQM_ERR_CHECK);
    assert_string_equal(text_of(the_difference(doc), "what"), "the input file is missing");
    json_decref(doc);
    test_rm(dir);
}

static void what_has_no_manifest_is_an_error_not_a_difference(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc;
    unlink(in_dir(dir, "out/" UQM_MANIFEST_NAME));
    assert_fails(verify(&doc, dir, false, &err), err, UQM_ERR_FORMAT, "holds no");
    assert_null(doc);
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_merge_is_as_its_manifest_says),
        cmocka_unit_test(one_flipped_byte_anywhere_is_found_and_placed),
        cmocka_unit_test(one_flipped_byte_of_the_manifest_is_found),
        cmocka_unit_test(missing_extra_cut_and_grown_files_are_told_apart),
        cmocka_unit_test(changed_inputs_are_seen_when_asked),
        cmocka_unit_test(what_has_no_manifest_is_an_error_not_a_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
