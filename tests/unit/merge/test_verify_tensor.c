/* verify --tensor: through the hash trees, with and without a signature; and SHA256SUMS. */
#include <jansson.h>

#include "src/base/tree.h"
#include "src/format/manifest.h"
#include "tests/unit/merge/large_merge.h"

enum { ROWS = 700, TENSOR_BYTES = ROWS * LARGE_COLS * 4 };

/* Three tensors of 2.7 MiB and a small one. */
static char *start(void)
{
    return large_merge(3, ROWS);
}

static int verify(json_t **doc, const char *dir, const char *tensor, const char *key,
                  struct uqm_err *err)
{
    char path[512], *json;
    snprintf(path, sizeof path, "%s/out", dir);
    struct uqm_verify_params params = {
        .common.memory = 64 << 20,
        .path = path,
        .tensors = { &tensor, tensor ? 1 : 0 },
        .public_key = key,
    };
    int ret = uqm_verify(&json, &params, err);
    *doc = json ? json_loads(json, 0, NULL) : NULL;
    free(json);
    return ret;
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
    assert_int_equal(fclose(f), 0);
}

static void assert_one(const char *dir, const char *tensor, const char *key, const char *file,
                       const char *named, const char *what)
{
    json_t *doc;
    struct uqm_err err = { 0 };
    assert_int_equal(verify(&doc, dir, tensor, key, &err), UQM_ERR_CHECK);
    const json_t *list = json_object_get(doc, "differences"), *d = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(d, "file")), file);
    if (named)
        assert_string_equal(json_string_value(json_object_get(d, "tensor")), named);
    else
        assert_true(json_is_null(json_object_get(d, "tensor")));
    if (!strstr(json_string_value(json_object_get(d, "what")), what))
        fail_msg("\"%s\" lacks \"%s\"", json_string_value(json_object_get(d, "what")), what);
    json_decref(doc);
}

static void assert_good(const char *dir, const char *tensor, const char *key)
{
    json_t *doc;
    struct uqm_err err = { 0 };
    assert_ok(verify(&doc, dir, tensor, key, &err), err);
    json_decref(doc);
}

/* Where a tensor's bytes begin in model.safetensors. */
static long place_of(const char *dir, const char *name)
{
    char *text;
    size_t len;
    bool intact;
    long at = -1;
    struct uqm_err err = { 0 };
    struct uqm_manifest m;
    assert_ok(uqm_read_file(&text, &len, in_dir(dir, "out/" UQM_MANIFEST_NAME), 1 << 20, &err),
              err);
    assert_ok(uqm_manifest_parse(&m, &intact, text, len, "m", &err), err);
    for (size_t i = 0; i < m.n_tensors; i++)
        if (strcmp(m.tensors[i].name, name) == 0)
            at = (long) m.tensors[i].offset;
    uqm_manifest_finish(&m);
    free(text);
    return at;
}

#define MODEL "model.safetensors"

static void a_tensor_is_checked_by_its_chunks_alone(void **state)
{
    (void) state;
    char *dir = start();
    json_t *doc;
    struct uqm_err err = { 0 };
    assert_ok(verify(&doc, dir, "b.weight", NULL, &err), err);
    assert_int_equal(json_integer_value(json_object_get(doc, "tensors_checked")), 1);
    /* 2.7 MiB in four chunks at most, the header's, leaves and manifest; the file has 8.2 MiB */
    json_int_t bytes = json_integer_value(json_object_get(doc, "bytes"));
    assert_true(bytes > TENSOR_BYTES && bytes < 5 * UQM_TREE_CHUNK_BYTES + 100000);
    json_decref(doc);
    assert_good(dir, "d.weight", NULL);

    const char *model = in_dir(dir, "out/" MODEL);
    long a = place_of(dir, "a.weight"), b = place_of(dir, "b.weight"), last = TENSOR_BYTES - 1;
    for (long k = 0; k <= 4; k++) { /* first byte, last byte, and between */
        flip(model, b + last * k / 4);
        assert_one(dir, "b.weight", NULL, MODEL, "b.weight", "the tensor's bytes have changed");
        flip(model, b + last * k / 4);
    }
    flip(model, b - 1); /* a's last byte, in b's first chunk */
    assert_one(dir, "b.weight", NULL, MODEL, NULL, "outside the tensor");
    assert_one(dir, "a.weight", NULL, MODEL, "a.weight", "the tensor's bytes have changed");
    flip(model, b - 1);
    flip(model, a + (3 << 19)); /* a's second chunk: b and d do not read it */
    assert_good(dir, "b.weight", NULL);
    assert_good(dir, "d.weight", NULL);
    flip(model, a + (3 << 19));
    flip(model, 9); /* the header */
    assert_one(dir, "b.weight", NULL, MODEL, NULL, "the header has changed");
    flip(model, 9);
    assert_good(dir, "b.weight", NULL);
    test_rm(dir);
}

static void leaves_sizes_and_names_must_fit_the_manifest(void **state)
{
    (void) state;
    char *dir = start();
    json_t *doc;
    struct uqm_err err = { 0 };
    for (long at = 0; at < 9 * 32; at += 31) {
        flip(in_dir(dir, "out/" UQM_LEAVES_NAME), at);
        assert_one(dir, "c.weight", NULL, UQM_LEAVES_NAME, NULL, "do not lead to the root");
        flip(in_dir(dir, "out/" UQM_LEAVES_NAME), at);
    }
    assert_fails(verify(&doc, dir, "e.weight", NULL, &err), err, UQM_ERR_ARG,
                 "has no tensor e.weight");
    assert_int_equal(truncate(in_dir(dir, "out/" UQM_LEAVES_NAME), 100), 0);
    assert_one(dir, "c.weight", NULL, UQM_LEAVES_NAME, NULL, "shorter");
    assert_int_equal(truncate(in_dir(dir, "out/" MODEL), 1 << 20), 0);
    assert_one(dir, "c.weight", NULL, MODEL, NULL, "another size");
    assert_int_equal(unlink(in_dir(dir, "out/" MODEL)), 0);
    assert_one(dir, "c.weight", NULL, MODEL, "c.weight", "the file is missing");
    test_rm(dir);
}

static void a_signature_vouches_for_the_manifest_and_it_for_the_tensor(void **state)
{
    (void) state;
    char *dir = start(), *json, out[512], *text;
    size_t len;
    const char *key = data_path("data/signature/keys/p256.pub.pem");
    struct uqm_err err = { 0 };
    snprintf(out, sizeof out, "%s/out", dir);
    struct uqm_sign_params params = { .common.memory = 64 << 20,
                                      .path = out,
                                      .key = data_path("data/signature/keys/p256.pem") };
    assert_ok(uqm_sign(&json, &params, &err), err);
    free(json);
    assert_good(dir, NULL, key);
    assert_good(dir, "b.weight", key);
    assert_good(dir, NULL, NULL); /* the signature is no surprise to the manifest */
    flip(in_dir(dir, "out/" MODEL), place_of(dir, "b.weight"));
    assert_one(dir, "b.weight", key, MODEL, "b.weight", "the tensor's bytes have changed");
    assert_one(dir, NULL, key, MODEL, NULL, "changed since it was signed");
    flip(in_dir(dir, "out/" MODEL), place_of(dir, "b.weight"));

    /* a manifest that is sound in itself, but another one */
    struct uqm_manifest m;
    bool intact;
    const char *path = in_dir(dir, "out/" UQM_MANIFEST_NAME);
    assert_ok(uqm_read_file(&text, &len, path, 1 << 20, &err), err);
    assert_ok(uqm_manifest_parse(&m, &intact, text, len, "m", &err), err);
    m.seed = 1234;
    char *other = uqm_manifest_dump(&m);
    assert_ok(uqm_replace_file(path, other, strlen(other), &err), err);
    assert_one(dir, "b.weight", key, UQM_MANIFEST_NAME, NULL, "not the one that was signed");
    assert_good(dir, "b.weight", NULL);
    free(other);
    free(text);
    uqm_manifest_finish(&m);
    test_rm(dir);
}

static void sums_must_say_what_the_manifest_says(void **state)
{
    (void) state;
    char *dir = start(), command[700];
    if (system("sha256sum --version >/dev/null 2>&1") == 0) {
        snprintf(command, sizeof command, "cd %s/out && sha256sum --quiet --strict -c SHA256SUMS",
                 dir);
        assert_int_equal(system(command), 0);
    }
    assert_good(dir, NULL, NULL);
    flip(in_dir(dir, "out/" UQM_SUMS_NAME), 3);
    assert_one(dir, NULL, NULL, UQM_SUMS_NAME, NULL, "does not say of the files");
    assert_int_equal(unlink(in_dir(dir, "out/" UQM_SUMS_NAME)), 0);
    assert_one(dir, NULL, NULL, UQM_SUMS_NAME, NULL, "missing");
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_is_checked_by_its_chunks_alone),
        cmocka_unit_test(leaves_sizes_and_names_must_fit_the_manifest),
        cmocka_unit_test(a_signature_vouches_for_the_manifest_and_it_for_the_tensor),
        cmocka_unit_test(sums_must_say_what_the_manifest_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
