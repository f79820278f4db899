#include "tests/unit/format/zip_maker.h"

struct memory {
    const uint8_t *bytes;
    size_t len;
};

static int read_memory(void *ctx, void *buf, size_t len, uint64_t off_bytes, struct uqm_err *err)
{
    const struct memory *m = ctx;
    (void) err;
    assert_true(off_bytes <= m->len && len <= m->len - off_bytes); /* the reader's promise */
    memcpy(buf, m->bytes + off_bytes, len);
    return UQM_OK;
}

static int open_bytes(struct uqm_torch_zip *zip, const void *bytes, size_t len, struct uqm_err *err)
{
    struct memory m = { bytes, len };
    struct uqm_zip_input in = { .read = read_memory, .ctx = &m, .size_bytes = len };
    return uqm_torch_zip_open(zip, &in, err);
}

static int open_made(struct zip_maker *m, struct uqm_err *err)
{
    struct uqm_torch_zip zip = { 0 };
    int ret = open_bytes(&zip, m->bytes, m->n, err);
    if (ret < 0)
        assert_null(zip.records);
    uqm_torch_zip_finish(&zip);
    return ret;
}

#define assert_refused(m, code, text)                                                              \
    do {                                                                                           \
        struct uqm_err err_ = { 0 };                                                               \
        zip_finish(m);                                                                             \
        assert_fails(open_made(m, &err_), err_, code, text);                                       \
    } while (0)

static void records_are_found_below_the_root(void **state)
{
    (void) state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct zip_maker m = { .with_zip64 = zip64, .no_end64 = !zip64 };
        struct uqm_torch_zip zip = { 0 };
        struct uqm_err err = { 0 };
        zip_add_usual(&m);
        zip_finish(&m);
        struct memory mem = { m.bytes, m.n };
        struct uqm_zip_input in = { .read = read_memory, .ctx = &mem, .size_bytes = m.n };
        assert_ok(uqm_torch_zip_open(&zip, &in, &err), err);
        assert_int_equal(zip.n_records, 4);
        const struct uqm_zip_record *r = uqm_torch_zip_find(&zip, "data/1");
        assert_non_null(r);
        assert_int_equal(r->n_bytes, 3);
        assert_memory_equal(m.bytes + r->begin, "one", 3);
        assert_null(uqm_torch_zip_find(&zip, "data/2"));

        uint8_t *bytes;
        assert_ok(uqm_torch_zip_read(&bytes, r, &in, 3, &err), err);
        assert_memory_equal(bytes, "one", 3);
        free(bytes);
        assert_fails(uqm_torch_zip_read(&bytes, r, &in, 2, &err), err, UQM_ERR_FORMAT, "limit");
        uqm_torch_zip_finish(&zip);
    }
}

static void crc_is_that_of_zip(void **state)
{
    (void) state;
    assert_int_equal(uqm_crc32(0, (const uint8_t *) "123456789", 9), 0xCBF43926);
    assert_int_equal(
        uqm_crc32(uqm_crc32(0, (const uint8_t *) "1234", 4), (const uint8_t *) "56789", 5),
        0xCBF43926);
}

static void a_damaged_record_is_not_read(void **state)
{
    (void) state;
    struct zip_maker m = { .crc_change = 1 };
    struct uqm_torch_zip zip = { 0 };
    struct uqm_err err = { 0 };
    uint8_t *bytes;
    zip_add_usual(&m);
    zip_finish(&m);
    struct memory mem = { m.bytes, m.n };
    struct uqm_zip_input in = { .read = read_memory, .ctx = &mem, .size_bytes = m.n };
    assert_ok(uqm_torch_zip_open(&zip, &in, &err), err);
    assert_fails(uqm_torch_zip_read(&bytes, uqm_torch_zip_find(&zip, "data.pkl"), &in, 99, &err),
                 err, UQM_ERR_FORMAT, "record data.pkl: its CRC-32");
    uqm_torch_zip_finish(&zip);
}

static void entries_torch_would_not_write_are_refused(void **state)
{
    (void) state;
    struct zip_maker m = { .method = 8 };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "record archive/data.pkl: compressed (method 8)");
    m = (struct zip_maker){ .flags = 0x809 };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "encrypted");
    m = (struct zip_maker){ .flags = 0x2808 };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "flags 0x2808");
    m = (struct zip_maker){ .bad_descriptor = true };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "descriptor is not the directory's");
    m = (struct zip_maker){ .no_descriptor = true };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "0 bytes between it and the next record");
    m = (struct zip_maker){ .flags = 0x800 };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "16 bytes between it and the next record");
    m = (struct zip_maker){ .flags = 0x800, .no_descriptor = true };
    zip_add_usual(&m);
    zip_finish(&m);
    struct uqm_err err = { 0 };
    assert_ok(open_made(&m, &err), err);
}

static void names_that_two_readers_would_take_differently_are_refused(void **state)
{
    (void) state;
    static const struct {
        const char *name, *local, *text;
    } cases[] = {
        { "archive/data/2", "archive/data/3", "the header's name is not the directory's" },
        { "archive/data/2", "archive/data/22", "the header's name is not the directory's" },
        { "archive/data/0", NULL, "the archive has two of this name" },
        { "archive/data.pkl", NULL, "the archive has two of this name" },
        { "other/data.pkl", NULL, "a second root" },
        { "archive2/data/2", NULL, "a second root" },
        { "archiv/data/2", NULL, "a second root" },
        { "data.pkl", NULL, "no root folder" },
        { "/archive/data/2", NULL, "leaves the archive" },
        { "archive/../x", NULL, "leaves the archive" },
        { "archive//x", NULL, "leaves the archive" },
        { "archive/./x", NULL, "leaves the archive" },
        { "archive/x/", NULL, "leaves the archive" },
        { "..", NULL, "leaves the archive" },
        { "archive\\x", NULL, "a character no record's has" },
        { "archive/\n", NULL, "a character no record's has" },
        { "archive/\xff", NULL, "not UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct zip_maker m = { 0 };
        zip_add_usual(&m);
        m.local_name = cases[i].local;
        zip_add(&m, cases[i].name, "x", 1);
        assert_refused(&m, UQM_ERR_FORMAT, cases[i].text);
    }
}

static void other_kinds_of_file_are_refused_by_name(void **state)
{
    (void) state;
    struct zip_maker m = { 0 };
    zip_add_usual(&m);
    zip_add(&m, "archive/constants.pkl", "x", 1);
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "TorchScript");
    m = (struct zip_maker){ 0 };
    zip_add_usual(&m);
    zip_add(&m, "archive/code/__torch__.py", "x", 1);
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "TorchScript");
    m = (struct zip_maker){ 0 };
    zip_add(&m, "archive/data/0", "x", 1);
    assert_refused(&m, UQM_ERR_FORMAT, "no record data.pkl");

    struct uqm_torch_zip zip = { 0 };
    struct uqm_err err = { 0 };
    static const char legacy[64] = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.";
    assert_fails(open_bytes(&zip, legacy, sizeof legacy, &err), err, UQM_ERR_UNSUPPORTED,
                 "legacy format");
    char tar[600] = "data";
    memcpy(tar + 257, "ustar", 5);
    assert_fails(open_bytes(&zip, tar, sizeof tar, &err), err, UQM_ERR_UNSUPPORTED,
                 "a tar archive");
    static const char safetensors[] = "\x08\0\0\0\0\0\0\0{}      ";
    assert_fails(open_bytes(&zip, safetensors, 16, &err), err, UQM_ERR_FORMAT, "not a zip archive");
    assert_fails(open_bytes(&zip, "", 0, &err), err, UQM_ERR_FORMAT, "not a zip archive");
}

static void bytes_that_belong_to_no_record_are_refused(void **state)
{
    (void) state;
    struct zip_maker m = { .appended = "x" };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "something was appended");
    m = (struct zip_maker){ .gap = 1 };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "17 bytes between it and the next record");
    m = (struct zip_maker){ .disks = 1 };
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "several disks");

    /* a record before the first one that the directory names */
    m = (struct zip_maker){ 0 };
    zip_add(&m, "archive/hidden", "x", 1);
    m.n_dir = m.n_entries = 0;
    zip_add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "bytes before the first record");
    /* two directory entries for one place */
    m = (struct zip_maker){ 0 };
    zip_add_usual(&m);
    m.n = 0;
    zip_add(&m, "archive/data.pkl", "pickle", 6);
    assert_refused(&m, UQM_ERR_FORMAT, "");
}

static void archive_cut_or_changed_anywhere_does_no_harm(void **state)
{
    (void) state;
    struct zip_maker m = { .with_zip64 = true };
    struct uqm_err err = { 0 };
    zip_add_usual(&m);
    zip_finish(&m);
    for (size_t len = 0; len < m.n; len++) {
        struct uqm_torch_zip zip = { 0 };
        uint8_t *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, m.bytes, len);
        assert_int_equal(open_bytes(&zip, copy, len, &err), UQM_ERR_FORMAT);
        free(copy);
    }
    size_t n_refused = 0;
    for (size_t i = 0; i < m.n; i++) {
        for (int change = 1; change < 256; change = change * 3 + 1) {
            m.bytes[i] ^= (uint8_t) change;
            n_refused += open_made(&m, &err) < 0;
            m.bytes[i] ^= (uint8_t) change;
        }
    }
    assert_true(n_refused > m.n); /* most bytes are structure */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_found_below_the_root),
        cmocka_unit_test(crc_is_that_of_zip),
        cmocka_unit_test(a_damaged_record_is_not_read),
        cmocka_unit_test(entries_torch_would_not_write_are_refused),
        cmocka_unit_test(names_that_two_readers_would_take_differently_are_refused),
        cmocka_unit_test(other_kinds_of_file_are_refused_by_name),
        cmocka_unit_test(bytes_that_belong_to_no_record_are_refused),
        cmocka_unit_test(archive_cut_or_changed_anywhere_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
