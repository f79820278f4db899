/* Views, and every kind of file that torch has written: the same tensors as torch.load
 * (golden/make_torch_kinds.py). And files of those kinds with one thing wrong. */
#include "tests/unit/checkpoint/checkpoint_test.h"

#define GOLDEN(name) data_path("unit/checkpoint/golden/" name)

static size_t from_hex(uint8_t *out, const char *hex)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t) byte;
    }
    return n;
}

static void assert_shape(const struct uqm_tensor *t, const char *shape)
{
    char text[64] = "scalar";
    size_t at = 0;
    for (unsigned d = 0; d < t->rank; d++)
        at += (size_t) snprintf(text + at, sizeof text - at, "%s%llu", d ? "x" : "",
                                (unsigned long long) t->shape[d]);
    assert_string_equal(text, shape);
}

/* Every line of kinds.expected that is about this file. */
static void assert_as_torch_loads(const char *file, size_t n_expected)
{
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    char path[600], *text, *lines, *line;
    size_t len, n = 0;
    snprintf(path, sizeof path, "%s/%s", data_path("unit/checkpoint/golden"), file);
    assert_ok(open_path(&cp, path, &err), err);
    assert_ok(uqm_read_file(&text, &len, GOLDEN("kinds.expected"), 1 << 20, &err), err);
    for (lines = text; (line = strsep(&lines, "\n")) && *line;) {
        const char *of = strsep(&line, "\t"), *name = strsep(&line, "\t");
        const char *dtype = strsep(&line, "\t"), *shape = strsep(&line, "\t");
        uint8_t want[1024];
        size_t n_bytes, n_want = from_hex(want, line);
        if (strcmp(of, file) != 0)
            continue;
        long i = uqm_source_find(&cp->source, name);
        if (i < 0)
            fail_msg("%s: no tensor %s", file, name);
        assert_string_equal(uqm_dtype_name(cp->source.tensors[i].dtype), dtype);
        assert_shape(&cp->source.tensors[i], shape);
        uint8_t *data = tensor_bytes(cp, name, &n_bytes);
        assert_int_equal(n_bytes, n_want);
        if (memcmp(data, want, n_want) != 0)
            fail_msg("%s: tensor %s has other values", file, name);
        free(data);
        n++;
    }
    assert_int_equal(n, n_expected);
    assert_int_equal(cp->source.n_tensors, n);
    free(text);
    uqm_checkpoint_close(&cp);
}

static void every_kind_of_file_has_the_tensors_that_torch_loads(void **state)
{
    (void) state;
    assert_as_torch_loads("new.bin", 18);
    assert_as_torch_loads("old.bin", 18);
    assert_as_torch_loads("big.bin", 18);
    assert_as_torch_loads("before.bin", 18);
    assert_as_torch_loads("parts.bin", 4);
}

static void a_legacy_file_cut_anywhere_is_refused(void **state)
{
    struct folder *f = *state;
    struct uqm_err err = { 0 };
    char *whole;
    size_t len;
    assert_ok(uqm_read_file(&whole, &len, GOLDEN("parts.bin"), 1 << 20, &err), err);
    for (size_t n = 0; n < len; n++) {
        put_file(below(f, "x.bin"), whole, n);
        assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "x.bin: ");
    }
    free(whole);
}

/* Put `new` in the place of `old`, which stands in the file once or more: its `nth`. */
static void change(const struct folder *f, const char *old, size_t n_old, const char *new,
                   size_t n_new, int nth)
{
    struct uqm_err err = { 0 };
    char *whole, changed[4096];
    size_t len;
    assert_ok(uqm_read_file(&whole, &len, GOLDEN("parts.bin"), 1 << 20, &err), err);
    char *at = whole;
    for (int i = 0; i <= nth; i++) {
        at = memmem(at + (i > 0), len - (size_t) (at + (i > 0) - whole), old, n_old);
        assert_non_null(at);
    }
    size_t before = (size_t) (at - whole);
    memcpy(changed, whole, before);
    memcpy(changed + before, new, n_new);
    memcpy(changed + before + n_new, at + n_old, len - before - n_old);
    put_file(below(f, "x.bin"), changed, len - n_old + n_new);
    free(whole);
}
#define CHANGE(old, new, nth) change(f, old, sizeof old - 1, new, sizeof new - 1, nth)

static void contradictions_of_legacy_files_are_named(void **state)
{
    struct folder *f = *state;
    CHANGE("\xe9\x03.", "\xea\x03.", 0);
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "version 1001");
    CHANGE("K\x04K\x06\x87", "K\x07K\x06\x87", 0); /* the view (4, 6) of 12 */
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "a view beyond the 12 elements");
    CHANGE("K\x04K\x06\x87", "K\x04J\xff\xff\xff\xff\x87", 0);
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "the view's size is negative");
    CHANGE("K\x04K\x06\x87", "K\x04K\x04\x87", 0); /* the tensor wants five */
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "reach beyond the 4 elements");
    CHANGE("\x0c\0\0\0\0\0\0\0", "\x0b\0\0\0\0\0\0\0", 0);
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "has 11 elements, the pickle says 12");
    CHANGE("\x0c\0\0\0\0\0\0\0", "\xff\xff\xff\xff\xff\xff\xff\xff", 0);
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "the pickle says 12");
    CHANGE("(X\x01\0\0\0"
           "0q\x01X\x02\0\0\0"
           "94",
           "(X\x01\0\0\0"
           "0q\x01X\x02\0\0\0"
           "95",
           0);
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "key 95: no storage");
    CHANGE("(X\x01\0\0\0"
           "0q\x01X\x02\0\0\0"
           "94",
           "(X\x01\0\0\0"
           "0q\x01X\x01\0\0\0"
           "0",
           0);
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "key 0: no storage, or a second time");
    CHANGE("\0\0\0\0\0\x01\0\0", "\0\0\0\0\0\x01\0\0!", 0); /* 2^40, the last element */
    assert_open_fails(below(f, "x.bin"), UQM_ERR_FORMAT, "1 bytes after the last storage");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_has_the_tensors_that_torch_loads),
        cmocka_unit_test_setup_teardown(a_legacy_file_cut_anywhere_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(contradictions_of_legacy_files_are_named, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
