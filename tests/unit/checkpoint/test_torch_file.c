#include "tests/unit/checkpoint/checkpoint_test.h"
#include "tests/unit/format/zip_maker.h"

/* golden/make_torch.py made these with torch. */
#define GOLDEN(name) data_path("unit/checkpoint/golden/" name)

static void assert_tensor(struct uqm_checkpoint *cp, const char *name, enum uqm_dtype dtype,
                          const void *bytes, size_t len)
{
    size_t n;
    uint8_t *data = tensor_bytes(cp, name, &n);
    assert_int_equal(cp->source.tensors[uqm_source_find(&cp->source, name)].dtype, dtype);
    assert_int_equal(n, len);
    assert_memory_equal(data, bytes, len);
    free(data);
}

static void tensors_have_the_values_that_torch_saved(void **state)
{
    (void) state;
    static const float f32[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }, ones[] = { 1, 1 };
    static const uint16_t f16[] = { 0, 0x3C00, 0x4000, 0x4200 }, bf16[] = { 0, 0x3F80, 0x4000 };
    static const double f64[] = { 2.5 };
    static const int64_t i64[] = { -1, 2 };
    static const float seven[] = { 7 };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    assert_ok(open_path(&cp, GOLDEN("plain.bin"), &err), err);
    assert_int_equal(cp->source.n_tensors, 14);
    assert_tensor(cp, "f32", UQM_F32, f32, 48);
    assert_tensor(cp, "f16", UQM_F16, f16, 8);
    assert_tensor(cp, "bf16", UQM_BF16, bf16, 6);
    assert_tensor(cp, "f64", UQM_F64, f64, 8);
    assert_tensor(cp, "i64", UQM_I64, i64, 16);
    assert_tensor(cp, "u8", UQM_U8, "\1\2\3", 3);
    assert_tensor(cp, "bool", UQM_BOOL, "\1\0", 2);
    assert_tensor(cp, "fp8", UQM_F8_E4M3, "\x00\x38\x40\x44", 4);
    assert_tensor(cp, "empty", UQM_F32, "", 0);
    assert_tensor(cp, "tied", UQM_F32, f32, 48);
    assert_tensor(cp, "view", UQM_F32, f32 + 4, 16);
    assert_tensor(cp, "whole", UQM_F32, f32, 48);
    assert_tensor(cp, "parameter", UQM_F32, ones, 8);
    assert_tensor(cp, "h\xc3\xa9", UQM_F32, seven, 4);
    uqm_checkpoint_close(&cp);

    assert_ok(open_path(&cp, GOLDEN("nested.pt"), &err), err);
    assert_int_equal(cp->source.n_tensors, 1);
    assert_tensor(cp, "w", UQM_F32, ones, 8);
    uqm_checkpoint_close(&cp);
}

static void kinds_we_do_not_read_say_what_to_do(void **state)
{
    (void) state;
    assert_open_fails(GOLDEN("sparse.bin"), UQM_ERR_UNSUPPORTED, "sparse tensors are not read");
    assert_open_fails(GOLDEN("script.pt"), UQM_ERR_UNSUPPORTED, "TorchScript");
    assert_open_fails(GOLDEN("protocol4.bin"), UQM_ERR_FORMAT, "pickle protocol 4");
}

static void file_cut_anywhere_is_refused(void **state)
{
    struct folder *f = *state;
    struct uqm_err err = { 0 };
    char *whole;
    size_t len;
    assert_ok(uqm_read_file(&whole, &len, GOLDEN("nested.pt"), 1 << 20, &err), err);
    for (size_t n = 0; n < len; n++) {
        put_file(below(f, "x.pt"), whole, n);
        assert_open_fails(below(f, "x.pt"), UQM_ERR_FORMAT, "x.pt: ");
    }
    free(whole);
}

/* {"w": HalfStorage "0" of two elements} */
static const char pickle[] =
    "\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nHalfStorage\n"
    "U\x01"
    "0U\x03"
    "cpuK\x02tQK\x00K\x02\x85K\x01\x85\x89NtRs.";

static void assert_made_fails(const struct folder *f, const char *storage, const char *order,
                              bool damaged, enum uqm_status code, const char *text)
{
    struct zip_maker m = { .crc_change = damaged };
    zip_add(&m, "x/data.pkl", pickle, sizeof pickle - 1);
    if (storage)
        zip_add(&m, "x/data/0", storage, strlen(storage));
    if (order)
        zip_add(&m, "x/byteorder", order, strlen(order));
    zip_finish(&m);
    put_file(below(f, "x.bin"), m.bytes, m.n);
    if (code == UQM_OK) {
        struct uqm_checkpoint *cp = NULL;
        struct uqm_err err = { 0 };
        assert_ok(open_path(&cp, below(f, "x.bin"), &err), err);
        assert_tensor(cp, "w", UQM_F16, storage, 4);
        uqm_checkpoint_close(&cp);
    } else {
        assert_open_fails(below(f, "x.bin"), code, text);
    }
}

static void records_must_be_what_the_pickle_says(void **state)
{
    struct folder *f = *state;
    assert_made_fails(f, "abcd", NULL, false, UQM_OK, NULL);
    assert_made_fails(f, "abcd", "little", false, UQM_OK, NULL);
    assert_made_fails(f, "abcd", "", false, UQM_ERR_FORMAT, "neither little nor big");
    assert_made_fails(f, "abc", NULL, false, UQM_ERR_FORMAT,
                      "tensor w: record data/0 has 3 bytes, the pickle says 4");
    assert_made_fails(f, "abcde", NULL, false, UQM_ERR_FORMAT, "has 5 bytes");
    assert_made_fails(f, "", NULL, false, UQM_ERR_FORMAT, "has 0 bytes");
    assert_made_fails(f, NULL, NULL, false, UQM_ERR_FORMAT, "tensor w: no record data/0");
    assert_made_fails(f, "abcd", NULL, true, UQM_ERR_FORMAT,
                      "x.bin: record data.pkl: its CRC-32 is not");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_the_values_that_torch_saved),
        cmocka_unit_test(kinds_we_do_not_read_say_what_to_do),
        cmocka_unit_test_setup_teardown(file_cut_anywhere_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(records_must_be_what_the_pickle_says, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
