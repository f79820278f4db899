#include "src/base/fs.h"
#include "src/format/safetensors.h"
#include "tests/unit/test.h"

/* golden/make_writer.py wrote these with the reference, in another order. */
static const uint64_t shape_1[] = { 1 }, shape_2[] = { 2 }, shape_3[] = { 3 }, shape_4[] = { 4 },
                      shape_2x3[] = { 2, 3 }, shape_0x3[] = { 0, 3 };
static struct uqm_st_tensor golden[] = {
    { .name = "h\xc3\xa9\xf0\x9f\x98\x80", .dtype = UQM_BOOL, .rank = 1, .shape = shape_3 },
    { .name = "a", .dtype = UQM_I8, .rank = 1, .shape = shape_3 },
    { .name = "model.layers.2.w", .dtype = UQM_F16, .rank = 1, .shape = shape_4 },
    { .name = "model.layers.10.w", .dtype = UQM_F16, .rank = 2, .shape = shape_2x3 },
    { .name = "u64", .dtype = UQM_U64, .rank = 1, .shape = shape_1 },
    { .name = "b/with/slashes", .dtype = UQM_F32, .rank = 1, .shape = shape_2 },
    { .name = "quote\" back\\slash", .dtype = UQM_F64 },
    { .name = "tab\tnewline\nbell\areturn\rform\fback\b",
      .dtype = UQM_I64,
      .rank = 2,
      .shape = shape_0x3 },
    { .name = "Z", .dtype = UQM_U8, .rank = 1, .shape = shape_3 },
    { .name = "del\x7f", .dtype = UQM_U16, .rank = 1, .shape = shape_2 },
    { .name = "i16", .dtype = UQM_I16, .rank = 1, .shape = shape_2 },
    { .name = "u32", .dtype = UQM_U32, .rank = 1, .shape = shape_2 },
    { .name = "i32", .dtype = UQM_I32, .rank = 1, .shape = shape_2 },
    { .name = "", .dtype = UQM_F32, .rank = 1, .shape = shape_1 },
};
enum { N_GOLDEN = sizeof golden / sizeof *golden };
static const struct uqm_st_pair format_pt[] = { { "format", "pt" } };

static void header_has_the_bytes_of_the_reference_writer(void **state)
{
    (void) state;
    struct uqm_st_header h = { 0 };
    struct uqm_err err = { 0 };
    char *file;
    size_t len;
    assert_ok(uqm_read_file(&file, &len, data_path("unit/format/golden/writer.safetensors"),
                            1 << 20, &err),
              err);
    assert_ok(uqm_st_header_init(&h, golden, N_GOLDEN, format_pt, 1, 0, &err), err);
    assert_true(h.n_bytes < len);
    assert_memory_equal(h.bytes, file, h.n_bytes);
    assert_int_equal(h.n_bytes + h.data_bytes, len);
    free(file);
    uqm_st_header_finish(&h);
    assert_null(h.bytes);
}

static void what_is_written_is_read_back(void **state)
{
    (void) state;
    struct uqm_st_header h = { 0 };
    struct uqm_st_index ix = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(uqm_st_header_init(&h, golden, N_GOLDEN, format_pt, 1, 4096, &err), err);
    assert_int_equal(h.n_bytes % 4096, 0);
    assert_ok(uqm_st_parse(&ix, h.bytes + 8, h.n_bytes - 8, h.data_bytes, &err), err);
    assert_int_equal(ix.n_tensors, N_GOLDEN);
    for (size_t i = 0; i < N_GOLDEN; i++) {
        const struct uqm_st_tensor *was = &golden[h.order[i]];
        size_t k = 0; /* empty tensors share a place, so that order is not unique there */
        while (k < N_GOLDEN && strcmp(ix.tensors[k].name, was->name) != 0)
            k++;
        assert_true(k < N_GOLDEN);
        assert_int_equal(ix.tensors[k].begin, was->begin);
        assert_int_equal(ix.tensors[k].end, was->end);
        assert_int_equal(ix.tensors[k].dtype, was->dtype);
    }
    uqm_st_index_finish(&ix);
    uqm_st_header_finish(&h);
}

static void metadata_keys_are_sorted_and_may_be_absent(void **state)
{
    (void) state;
    static const struct uqm_st_pair pairs[] = { { "b", "2" }, { "a", "\x01" } };
    struct uqm_st_header h = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(uqm_st_header_init(&h, NULL, 0, pairs, 2, 0, &err), err);
    assert_memory_equal(h.bytes + 8, "{\"__metadata__\":{\"a\":\"\\u0001\",\"b\":\"2\"}}  ", 40);
    assert_int_equal(h.n_bytes, 48);
    uqm_st_header_finish(&h);

    assert_ok(uqm_st_header_init(&h, NULL, 0, NULL, 0, 0, &err), err);
    assert_memory_equal(h.bytes, "\x08\0\0\0\0\0\0\0{}      ", 16);
    uqm_st_header_finish(&h);
}

static void what_cannot_be_read_back_is_not_written(void **state)
{
    (void) state;
    static const uint64_t huge[] = { UINT64_C(1) << 63, 2 }, odd[] = { 3 };
    struct uqm_st_tensor twice[] = { { .name = "w" }, { .name = "w" } };
    struct uqm_st_tensor bad[] = { { .name = "\xff" } };
    struct uqm_st_tensor reserved[] = { { .name = "__metadata__" } };
    struct uqm_st_tensor large[] = { { .name = "w", .dtype = UQM_U8, .rank = 2, .shape = huge } };
    struct uqm_st_tensor half[] = { { .name = "w", .dtype = UQM_F4, .rank = 1, .shape = odd } };
    struct uqm_st_header h = { 0 };
    struct uqm_err err = { 0 };
    assert_fails(uqm_st_header_init(&h, twice, 2, NULL, 0, 0, &err), err, UQM_ERR_ARG,
                 "tensor w: the name would be written twice");
    assert_fails(uqm_st_header_init(&h, bad, 1, NULL, 0, 0, &err), err, UQM_ERR_ARG, "UTF-8");
    assert_fails(uqm_st_header_init(&h, reserved, 1, NULL, 0, 0, &err), err, UQM_ERR_ARG,
                 "reserved");
    assert_fails(uqm_st_header_init(&h, large, 1, NULL, 0, 0, &err), err, UQM_ERR_ARG, "2^64");
    assert_fails(uqm_st_header_init(&h, half, 1, NULL, 0, 0, &err), err, UQM_ERR_ARG, "whole");
    assert_null(h.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_has_the_bytes_of_the_reference_writer),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(metadata_keys_are_sorted_and_may_be_absent),
        cmocka_unit_test(what_cannot_be_read_back_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
