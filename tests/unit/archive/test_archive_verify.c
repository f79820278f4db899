/* verify on archives: single tensors through the hash trees, inputs, and signatures. */
#include <jansson.h>

#include "src/archive/archive.h"
#include "src/base/tree.h"
#include "tests/unit/merge/large_merge.h"

static const char *key_path(void)
{
    return data_path("data/signature/keys/p256.pub.pem");
}

/* A merge of a model with two tensors of 2 MB and a small one, signed and packed: DIR/out.uqz. */
static char *start(void)
{
    char *dir = large_merge(2, 500), *json, *out = strdup(in_dir(dir, "out"));
    char *archive = strdup(in_dir(dir, "out.uqz"));
    struct uqm_err err = { 0 };
    const struct uqm_sign_params sign = { .common.memory = 64 << 20,
                                          .path = out,
                                          .key = data_path("data/signature/keys/p256.pem") };
    const struct uqm_pack_params pack = { .common.memory = 64 << 20,
                                          .dir = out,
                                          .archive = archive };
    assert_ok(uqm_sign(&json, &sign, &err), err);
    free(json);
    assert_ok(uqm_pack(&json, &pack, &err), err);
    free(json);
    free(out);
    free(archive);
    return dir;
}

struct asked {
    const char *tensor, *key, *signature;
    bool inputs;
};

static int verify(const char *dir, const struct asked *asked, json_int_t *n_bytes,
                  struct uqm_err *err)
{
    char *json = NULL, *path = strdup(in_dir(dir, "out.uqz")), *tensor = NULL;
    if (asked->tensor)
        tensor = strdup(asked->tensor);
    const struct uqm_verify_params params = {
        .common.memory = 64 << 20,
        .path = path,
        .tensors = { (const char *const *) &tensor, tensor ? 1 : 0 },
        .public_key = asked->key,
        .signature = asked->signature,
        .inputs = asked->inputs,
    };
    int ret = uqm_verify(&json, &params, err);
    json_t *doc = json ? json_loads(json, 0, NULL) : NULL;
    if (n_bytes)
        *n_bytes = json_integer_value(json_object_get(doc, "bytes"));
    json_decref(doc);
    free(json);
    free(path);
    free(tensor);
    return ret;
}

static void assert_good(const char *dir, struct asked asked)
{
    struct uqm_err err = { 0 };
    assert_ok(verify(dir, &asked, NULL, &err), err);
}

static void assert_differs(const char *dir, struct asked asked, const char *what)
{
    struct uqm_err err = { 0 };
    assert_fails(verify(dir, &asked, NULL, &err), err, UQM_ERR_CHECK, what);
}

/* Where what is stored of the middle of a tensor lies. */
static uint64_t stored_middle(const char *dir, const char *tensor, size_t *leaf)
{
    struct uqm_err err = { 0 };
    struct uqm_archive *a = NULL;
    char *path = strdup(in_dir(dir, "out.uqz"));
    const struct uqm_archive_params params = { .path = path, .index_only = true };
    assert_ok(uqm_archive_open(&a, test_env(64 << 20, 1), &params, &err), err);
    const struct uqm_archive_index *ix = uqm_archive_index(a);
    size_t file = (size_t) uqm_archive_index_find(ix, "model.safetensors"), t = 0;
    while (strcmp(ix->tensors[t].name, tensor) != 0)
        t++;
    uint64_t at = ix->tensors[t].off_bytes + ix->tensors[t].n_bytes / 2;
    const struct uqm_archive_segment *s = &ix->segments[uqm_archive_index_segment(ix, file, at)];
    uint64_t stored = ix->blocks[s->first_block + (at - s->begin) / ix->block_bytes].stored_off;
    *leaf = (size_t) (at / UQM_TREE_CHUNK_BYTES);
    uqm_archive_close(&a);
    free(path);
    return stored + 1000;
}

static void tensors_inputs_and_signatures_of_an_archive_are_checked(void **state)
{
    (void) state;
    char *dir = start();
    const char *key = key_path();
    struct uqm_err err = { 0 };
    json_int_t n_bytes = 0;
    assert_good(dir, (struct asked){ 0 });
    assert_good(dir, (struct asked){ .tensor = "a.weight" });
    assert_good(dir, (struct asked){ .tensor = "c.weight", .inputs = true });
    assert_good(dir, (struct asked){ .inputs = true });
    assert_good(dir, (struct asked){ .key = key });
    assert_good(dir, (struct asked){ .key = key, .inputs = true });
    assert_ok(verify(dir, &(struct asked){ .tensor = "a.weight", .key = key }, &n_bytes, &err),
              err);
    assert_true(n_bytes < (2 << 20) + 70000); /* of 4.1 MB: two chunks, manifest and signature */

    char *lone = strdup(in_dir(dir, "out/model.sig"));
    assert_good(dir, (struct asked){ .key = key, .signature = lone });
    free(lone);
    assert_differs(dir, (struct asked){ .key = data_path("data/signature/keys/p384.pub.pem") },
                   "another key");
    assert_fails(verify(dir, &(struct asked){ .tensor = "d.weight" }, NULL, &err), err, UQM_ERR_ARG,
                 "no tensor d.weight");
    write_text(in_dir(dir, "m/config.json"), "{\"x\": 1}");
    assert_differs(dir, (struct asked){ .tensor = "a.weight", .inputs = true }, "config.json");
    test_rm(dir);
}

static void a_damaged_block_is_its_tensor_s_difference(void **state)
{
    (void) state;
    char *dir = start(), *path = strdup(in_dir(dir, "out.uqz"));
    size_t leaf;
    uint64_t at = stored_middle(dir, "b.weight", &leaf);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long) at, SEEK_SET), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, (long) at, SEEK_SET), 0);
    fputc(byte ^ 4, f);
    fclose(f);
    assert_good(dir, (struct asked){ .tensor = "a.weight" });
    assert_differs(dir, (struct asked){ .tensor = "b.weight" }, "tensor b.weight");
    assert_differs(dir, (struct asked){ .key = key_path() }, "damaged");
    assert_differs(dir, (struct asked){ .inputs = true }, "b.weight");
    free(path);
    test_rm(dir);
}

/* The archive again, with another leaf; with_root: and the root that it leads to. */
static void put_other_leaf(const char *dir, size_t leaf, bool with_root)
{
    struct uqm_err err = { 0 };
    struct uqm_archive *a = NULL;
    struct uqm_sha256 *sha = uqm_sha256_create();
    char *path = strdup(in_dir(dir, "out.uqz")), *bytes = NULL;
    size_t len = 0, n_index = 0;
    const struct uqm_archive_params params = { .path = path, .index_only = true };
    assert_ok(uqm_read_file(&bytes, &len, path, 1 << 28, &err), err);
    assert_ok(uqm_archive_open(&a, test_env(64 << 20, 1), &params, &err), err);
    struct uqm_archive_index ix = *uqm_archive_index(a);
    struct uqm_archive_file *f = &ix.files[uqm_archive_index_find(&ix, "model.safetensors")];
    struct uqm_sha256_digest *leaves = calloc(f->n_leaves, sizeof *leaves);
    memcpy(leaves, f->leaves, f->n_leaves * sizeof *leaves);
    leaves[leaf].bytes[7] ^= 1;
    f->leaves = leaves;
    if (with_root)
        f->root = uqm_tree_root(sha, leaves, f->n_leaves);
    struct uqm_archive_footer footer;
    uint8_t end[UQM_ARCHIVE_FOOTER_BYTES];
    memcpy(end, bytes + len - sizeof end, sizeof end);
    assert_ok(uqm_archive_footer_parse(&footer, end, len, &err), err);
    uint8_t *index = uqm_archive_index_dump(&n_index, &ix);
    footer.index_packed = false;
    footer.index_bytes = footer.index_stored_bytes = n_index;
    footer.index_xxh3 = uqm_xxh3_64(index, n_index, 0);
    uqm_archive_footer_put(end, &footer);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, footer.index_off, out), footer.index_off);
    assert_int_equal(fwrite(index, 1, n_index, out), n_index);
    assert_int_equal(fwrite(end, 1, sizeof end, out), sizeof end);
    fclose(out);
    uqm_archive_close(&a);
    uqm_sha256_destroy(&sha);
    free(leaves);
    free(index);
    free(bytes);
    free(path);
}

static void the_index_is_believed_only_as_far_as_its_root_and_the_signature_go(void **state)
{
    (void) state;
    char *dir = start();
    size_t leaf;
    stored_middle(dir, "b.weight", &leaf);
    put_other_leaf(dir, leaf, false);
    assert_differs(dir, (struct asked){ .tensor = "b.weight" }, "do not lead to the file's root");
    assert_differs(dir, (struct asked){ 0 }, "digests");
    put_other_leaf(dir, leaf, true); /* two wrongs: the leaf is right again, and so is the root */
    assert_good(dir, (struct asked){ .tensor = "b.weight", .key = key_path() });
    put_other_leaf(dir, leaf, true);
    assert_differs(dir, (struct asked){ .tensor = "b.weight" }, "tensor b.weight");
    assert_good(dir, (struct asked){ .tensor = "c.weight" });
    assert_differs(dir, (struct asked){ .tensor = "c.weight", .key = key_path() },
                   "not the one in the manifest that was signed");
    test_rm(dir);
}

static void an_archive_is_signed_beside_itself(void **state)
{
    (void) state;
    char *dir = start(), *json = NULL, *path = strdup(in_dir(dir, "out.uqz"));
    char *signature = strdup(in_dir(dir, "other.sig")),
         *beside = strdup(in_dir(dir, "out.uqz.sig"));
    struct uqm_err err = { 0 };
    struct uqm_sign_params params = { .common.memory = 64 << 20,
                                      .path = path,
                                      .key = data_path("data/signature/keys/p256.pem") };
    assert_good(dir, (struct asked){ .key = key_path() }); /* the folder's, packed */
    assert_ok(uqm_sign(&json, &params, &err), err);
    free(json);
    assert_true(uqm_is_file(beside));
    assert_good(dir, (struct asked){ .key = key_path() });
    assert_good(dir, (struct asked){ .tensor = "a.weight", .key = key_path() });
    write_text(beside, "{}"); /* it is the one that counts */
    assert_fails(verify(dir, &(struct asked){ .key = key_path() }, NULL, &err), err, UQM_ERR_FORMAT,
                 "out.uqz.sig");
    assert_int_equal(unlink(beside), 0);

    params.signature = signature;
    assert_ok(uqm_sign(&json, &params, &err), err);
    assert_good(dir, (struct asked){ .key = key_path(), .signature = signature });
    free(json);
    free(signature);
    free(beside);
    free(path);
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_inputs_and_signatures_of_an_archive_are_checked),
        cmocka_unit_test(a_damaged_block_is_its_tensor_s_difference),
        cmocka_unit_test(the_index_is_believed_only_as_far_as_its_root_and_the_signature_go),
        cmocka_unit_test(an_archive_is_signed_beside_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
