#include "src/format/shard_index.h"
#include "tests/unit/test.h"

static int parse(struct uqm_shard_index *ix, const char *text, struct uqm_err *err)
{
    return uqm_shard_index_parse(ix, text, strlen(text), "i.json", ".safetensors", err);
}

static void tensors_and_files_are_found(void **state)
{
    (void) state;
    struct uqm_shard_index ix = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(parse(&ix,
                    "{\"metadata\":{\"total_size\":12,\"total_parameters\":3},\"weight_map\":{"
                    "\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\",\"c\":\"m-1.safetensors\""
                    "}}",
                    &err),
              err);
    assert_int_equal(ix.n_files, 2);
    assert_string_equal(ix.files[0], "m-1.safetensors");
    assert_int_equal(ix.n_entries, 3);
    assert_string_equal(ix.entries[0].tensor, "a");
    assert_int_equal(uqm_shard_index_find(&ix, "b")->file, 1);
    assert_null(uqm_shard_index_find(&ix, "d"));
    assert_true(ix.has_total);
    assert_int_equal(ix.total_bytes, 12);
    uqm_shard_index_finish(&ix);
}

static void a_total_may_be_absent_or_a_float(void **state)
{
    (void) state;
    struct uqm_shard_index ix = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(parse(&ix, "{\"weight_map\":{\"a\":\"m.safetensors\"}}", &err), err);
    assert_false(ix.has_total);
    uqm_shard_index_finish(&ix);
    assert_ok(parse(&ix,
                    "{\"metadata\":{\"total_size\":1.3e10},\"weight_map\":{\"a\":\"m.safetensors\""
                    "}}",
                    &err),
              err);
    assert_true(ix.has_total && ix.total_bytes == UINT64_C(13000000000));
    uqm_shard_index_finish(&ix);
}

static void what_is_no_index_is_refused(void **state)
{
    (void) state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "", "i.json:1:" },
        { "[]", "weight_map: is missing" },
        { "{}", "weight_map: is missing" },
        { "{\"weight_map\":[]}", "weight_map: is not an object" },
        { "{\"weight_map\":{}}", "names no tensor" },
        { "{\"weight_map\":{\"a\":1}}", "tensor a: no file name" },
        { "{\"weight_map\":{\"a\":null}}", "tensor a: no file name" },
        { "{\"weight_map\":{\"a\":\"\"}}", "is empty" },
        { "{\"weight_map\":{\"a\":\"..\"}}", "is a folder" },
        { "{\"weight_map\":{\"a\":\".\"}}", "is a folder" },
        { "{\"weight_map\":{\"a\":\"../m.safetensors\"}}", "is not a bare file name" },
        { "{\"weight_map\":{\"a\":\"/etc/m.safetensors\"}}", "is not a bare file name" },
        { "{\"weight_map\":{\"a\":\"x\\\\m.safetensors\"}}", "is not a bare file name" },
        { "{\"weight_map\":{\"a\":\"x\\nm.safetensors\"}}", "is not a bare file name" },
        { "{\"weight_map\":{\"a\":\"m\\u0000.safetensors\"}}", "i.json:1:" },
        { "{\"weight_map\":{\"a\":\"m.bin\"}}", "has the wrong ending" },
        { "{\"weight_map\":{\"a\":\".safetensors\"}}", "has the wrong ending" },
        { "{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"n.safetensors\"}}", "duplicate" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_shard_index ix = { 0 };
        struct uqm_err err = { 0 };
        assert_fails(parse(&ix, cases[i].text, &err), err, UQM_ERR_FORMAT, cases[i].message);
        assert_null(ix.entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_and_files_are_found),
        cmocka_unit_test(a_total_may_be_absent_or_a_float),
        cmocka_unit_test(what_is_no_index_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
