#include "src/format/torch_zip.h"
#include "tests/unit/test.h"

/* A zip file in memory, as torch.save writes it, with one thing at a time made wrong. */
struct maker {
    uint8_t bytes[4096], dir[2048];
    size_t n, n_dir, n_entries;
    /* what to do to the entries added from now on */
    unsigned flags, method;
    uint32_t crc_change;
    const char *local_name; /* NULL: the directory's */
    bool no_descriptor, with_zip64, bad_descriptor;
    size_t gap;
    /* what to do at the end */
    bool no_end64;
    const char *appended;
    unsigned disks;
};

static void put(uint8_t *to, size_t *n, uint64_t v, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[(*n)++] = i < 8 ? (uint8_t) (v >> 8 * i) : 0;
}

static void put_bytes(uint8_t *to, size_t *n, const void *from, size_t len)
{
    memcpy(to + *n, from, len);
    *n += len;
}

static void add(struct maker *m, const char *name, const char *data)
{
    size_t len = strlen(data), at = m->n;
    uint32_t crc = uqm_crc32(0, (const uint8_t *) data, len) + m->crc_change;
    const char *local = m->local_name ? m->local_name : name;
    unsigned flags = m->flags ? m->flags : 0x808;

    put(m->bytes, &m->n, 0x04034B50, 4);
    put(m->bytes, &m->n, 0, 2);
    put(m->bytes, &m->n, flags, 2);
    put(m->bytes, &m->n, m->method, 2);
    put(m->bytes, &m->n, 0, 16); /* time, crc, sizes: the descriptor has them */
    put(m->bytes, &m->n, strlen(local), 2);
    put(m->bytes, &m->n, 8, 2);
    put_bytes(m->bytes, &m->n, local, strlen(local));
    put_bytes(m->bytes, &m->n, "FB\4\0ZZZZ", 8);
    put_bytes(m->bytes, &m->n, data, len);
    if (!m->no_descriptor) {
        put(m->bytes, &m->n, 0x08074B50, 4);
        put(m->bytes, &m->n, crc, 4);
        put(m->bytes, &m->n, len, m->with_zip64 ? 8 : 4);
        put(m->bytes, &m->n, len + m->bad_descriptor, m->with_zip64 ? 8 : 4);
    }
    m->n += m->gap;

    put(m->dir, &m->n_dir, 0x02014B50, 4);
    put(m->dir, &m->n_dir, 0, 4);
    put(m->dir, &m->n_dir, flags, 2);
    put(m->dir, &m->n_dir, m->method, 2);
    put(m->dir, &m->n_dir, 0, 4);
    put(m->dir, &m->n_dir, crc, 4);
    put(m->dir, &m->n_dir, m->with_zip64 ? UINT32_MAX : len, 4);
    put(m->dir, &m->n_dir, m->with_zip64 ? UINT32_MAX : len, 4);
    put(m->dir, &m->n_dir, strlen(name), 2);
    put(m->dir, &m->n_dir, m->with_zip64 ? 28 : 0, 2);
    put(m->dir, &m->n_dir, 0, 8);
    put(m->dir, &m->n_dir, 0, 2);
    put(m->dir, &m->n_dir, m->with_zip64 ? UINT32_MAX : at, 4);
    put_bytes(m->dir, &m->n_dir, name, strlen(name));
    if (m->with_zip64) {
        put(m->dir, &m->n_dir, 1, 2);
        put(m->dir, &m->n_dir, 24, 2);
        put(m->dir, &m->n_dir, len, 8);
        put(m->dir, &m->n_dir, len, 8);
        put(m->dir, &m->n_dir, at, 8);
    }
    m->n_entries++;
}

static void finish(struct maker *m)
{
    size_t dir_at = m->n;
    put_bytes(m->bytes, &m->n, m->dir, m->n_dir);
    size_t end64_at = m->n;
    if (!m->no_end64) {
        put(m->bytes, &m->n, 0x06064B50, 4);
        put(m->bytes, &m->n, 44, 8);
        put(m->bytes, &m->n, 0, 4);
        put(m->bytes, &m->n, m->disks, 8);
        put(m->bytes, &m->n, m->n_entries, 8);
        put(m->bytes, &m->n, m->n_entries, 8);
        put(m->bytes, &m->n, m->n_dir, 8);
        put(m->bytes, &m->n, dir_at, 8);
        put(m->bytes, &m->n, 0x07064B50, 4);
        put(m->bytes, &m->n, 0, 4);
        put(m->bytes, &m->n, end64_at, 8);
        put(m->bytes, &m->n, 1 + m->disks, 4);
    }
    put(m->bytes, &m->n, 0x06054B50, 4);
    put(m->bytes, &m->n, m->disks, 4);
    put(m->bytes, &m->n, m->n_entries, 2);
    put(m->bytes, &m->n, m->n_entries, 2);
    put(m->bytes, &m->n, m->n_dir, 4);
    put(m->bytes, &m->n, dir_at, 4);
    put(m->bytes, &m->n, 0, 2);
    if (m->appended)
        put_bytes(m->bytes, &m->n, m->appended, strlen(m->appended));
}

static void add_usual(struct maker *m)
{
    add(m, "archive/data.pkl", "pickle");
    add(m, "archive/data/0", "zero");
    add(m, "archive/data/1", "one");
    add(m, "archive/version", "3\n");
}

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
    struct uqm_zip_input in = { read_memory, &m, len };
    return uqm_torch_zip_open(zip, &in, err);
}

static int open_made(struct maker *m, struct uqm_err *err)
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
        finish(m);                                                                                 \
        assert_fails(open_made(m, &err_), err_, code, text);                                       \
    } while (0)

static void records_are_found_below_the_root(void **state)
{
    (void) state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct maker m = { .with_zip64 = zip64, .no_end64 = !zip64 };
        struct uqm_torch_zip zip = { 0 };
        struct uqm_err err = { 0 };
        add_usual(&m);
        finish(&m);
        struct memory mem = { m.bytes, m.n };
        struct uqm_zip_input in = { read_memory, &mem, m.n };
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
    struct maker m = { .crc_change = 1 };
    struct uqm_torch_zip zip = { 0 };
    struct uqm_err err = { 0 };
    uint8_t *bytes;
    add_usual(&m);
    finish(&m);
    struct memory mem = { m.bytes, m.n };
    struct uqm_zip_input in = { read_memory, &mem, m.n };
    assert_ok(uqm_torch_zip_open(&zip, &in, &err), err);
    assert_fails(uqm_torch_zip_read(&bytes, uqm_torch_zip_find(&zip, "data.pkl"), &in, 99, &err),
                 err, UQM_ERR_FORMAT, "record data.pkl: its CRC-32");
    uqm_torch_zip_finish(&zip);
}

static void entries_torch_would_not_write_are_refused(void **state)
{
    (void) state;
    struct maker m = { .method = 8 };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "record archive/data.pkl: compressed (method 8)");
    m = (struct maker){ .flags = 0x809 };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "encrypted");
    m = (struct maker){ .flags = 0x2808 };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "flags 0x2808");
    m = (struct maker){ .bad_descriptor = true };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "descriptor is not the directory's");
    m = (struct maker){ .no_descriptor = true };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "0 bytes between it and the next record");
    m = (struct maker){ .flags = 0x800 };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "16 bytes between it and the next record");
    m = (struct maker){ .flags = 0x800, .no_descriptor = true };
    add_usual(&m);
    finish(&m);
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
        struct maker m = { 0 };
        add_usual(&m);
        m.local_name = cases[i].local;
        add(&m, cases[i].name, "x");
        assert_refused(&m, UQM_ERR_FORMAT, cases[i].text);
    }
}

static void other_kinds_of_file_are_refused_by_name(void **state)
{
    (void) state;
    struct maker m = { 0 };
    add_usual(&m);
    add(&m, "archive/constants.pkl", "x");
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "TorchScript");
    m = (struct maker){ 0 };
    add_usual(&m);
    add(&m, "archive/code/__torch__.py", "x");
    assert_refused(&m, UQM_ERR_UNSUPPORTED, "TorchScript");
    m = (struct maker){ 0 };
    add(&m, "archive/data/0", "x");
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
    struct maker m = { .appended = "x" };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "something was appended");
    m = (struct maker){ .gap = 1 };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "17 bytes between it and the next record");
    m = (struct maker){ .disks = 1 };
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "several disks");

    /* a record before the first one that the directory names */
    m = (struct maker){ 0 };
    add(&m, "archive/hidden", "x");
    m.n_dir = m.n_entries = 0;
    add_usual(&m);
    assert_refused(&m, UQM_ERR_FORMAT, "bytes before the first record");
    /* two directory entries for one place */
    m = (struct maker){ 0 };
    add_usual(&m);
    m.n = 0;
    add(&m, "archive/data.pkl", "pickle");
    assert_refused(&m, UQM_ERR_FORMAT, "");
}

static void archive_cut_or_changed_anywhere_does_no_harm(void **state)
{
    (void) state;
    struct maker m = { .with_zip64 = true };
    struct uqm_err err = { 0 };
    add_usual(&m);
    finish(&m);
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
