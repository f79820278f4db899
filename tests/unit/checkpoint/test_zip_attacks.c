/*
 * Archives that two readers would take differently, and files of other kinds under torch's names
 * (spec formats.md 2): each put on the disk and opened as any checkpoint is.
 */
#include "tests/unit/checkpoint/checkpoint_test.h"
#include "tests/unit/format/pickle_maker.h"
#include "tests/unit/format/zip_maker.h"

/* Where the fields of a directory's entry, a local header and the two end records are. */
enum {
    CENTRAL_FLAGS = 8,
    CENTRAL_METHOD = 10,
    CENTRAL_CRC = 16,
    CENTRAL_PACKED = 20,
    CENTRAL_BYTES = 24,
    CENTRAL_COMMENT = 32,
    CENTRAL_DISK = 34,
    CENTRAL_HEADER_AT = 42,
    LOCAL_FLAGS = 6,
    LOCAL_METHOD = 8,
    LOCAL_BYTES = 22,
    END = 22,
    END_ENTRIES = 8,
    END_DIR_BYTES = 12,
    END64 = END + 20 + 56,
    END64_ENTRIES = 24,
    END64_DIR_AT = 48,
};

static struct folder folder;
static const char pickle[] = DICT(GOOD);

static void add_pickle(struct zip_maker *m, const char *name)
{
    zip_add(m, name, pickle, sizeof pickle - 1);
}

/* In the directory the second entry, the storage, begins at `second`. */
static size_t make_good(struct zip_maker *m, size_t *second)
{
    add_pickle(m, "x/data.pkl");
    *second = m->n_dir;
    size_t at = m->n;
    zip_add(m, "x/data/0", "0123456789ab", 12);
    return at;
}

static void set(uint8_t *at, uint64_t v, size_t size)
{
    size_t n = 0;
    zip_put(at, &n, v, size);
}

enum place { DIRECTORY, LOCAL, TAIL };

/* A good archive in which one number is another. */
struct change {
    const char *name;
    enum place place; /* of the storage's entry or header, or back from the file's end */
    size_t at, size;
    uint64_t value;
    const char *text;
};

static const struct change changes[] = {
    { "method 8 in the directory", DIRECTORY, CENTRAL_METHOD, 2, 8, "compressed (method 8)" },
    { "method 8 in the header", LOCAL, LOCAL_METHOD, 2, 8, "flags or method are not the dir" },
    { "encryption", DIRECTORY, CENTRAL_FLAGS, 2, 0x809, "record x/data/0: encrypted" },
    { "encryption in the header", LOCAL, LOCAL_FLAGS, 2, 0x809, "are not the directory's" },
    { "a hidden name", DIRECTORY, CENTRAL_FLAGS, 2, 0x2808, "zip flags 0x2808" },
    { "patched data", DIRECTORY, CENTRAL_FLAGS, 2, 0x828, "zip flags 0x0828" },
    { "another CRC than the descriptor's", DIRECTORY, CENTRAL_CRC, 4, 1, "its descriptor is not" },
    { "another size packed than plain", DIRECTORY, CENTRAL_PACKED, 4, 11, "11 bytes become 12" },
    { "another size in the header", LOCAL, LOCAL_BYTES, 4, 13, "size or CRC is not" },
    { "a comment", DIRECTORY, CENTRAL_COMMENT, 2, 1, "a comment or another disk" },
    { "an entry on another disk", DIRECTORY, CENTRAL_DISK, 2, 1, "a comment or another disk" },
    { "a header elsewhere than the directory says", DIRECTORY, CENTRAL_HEADER_AT, 4, 60,
      "record " },
    { "a header outside the file", DIRECTORY, CENTRAL_HEADER_AT, 4, 0x7FFFFFFF, "record " },
    { "a header that needs ZIP64", DIRECTORY, CENTRAL_HEADER_AT, 4, 0xFFFFFFFF, "record " },
    { "a number of disks", TAIL, END64 - 16, 4, 1, "several disks" },
    { "a directory elsewhere", TAIL, END64 - END64_DIR_AT, 8, 0, "end record" },
    { "a directory beyond 2^64", TAIL, END64 - END64_DIR_AT, 8, UINT64_MAX, "end record" },
    { "another directory in the old end record", TAIL, END - END_DIR_BYTES, 4, 46,
      "the two end records contradict each other" },
    { "a comment at the end", TAIL, 2, 2, 1, "no end record in the last 22 bytes" },
};

static void a_changed_archive_is_refused(void **state)
{
    const struct change *c = *state;
    struct zip_maker m = { 0 };
    size_t entry, header = make_good(&m, &entry);
    if (c->place == DIRECTORY)
        set(m.dir + entry + c->at, c->value, c->size);
    zip_finish(&m);
    if (c->place != DIRECTORY)
        set(m.bytes + (c->place == LOCAL ? header + c->at : m.n - c->at), c->value, c->size);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "x.bin: ");
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, c->text);
}

/* A good archive and one more entry. */
struct extra {
    const char *name, *entry, *local, *text;
    enum uqm_status code;
};

static const struct extra extras[] = {
    { "a header of another name", "x/data/1", "x/data/2", "name is not", UQM_ERR_FORMAT },
    { "a name twice", "x/data/0", NULL, "two of this name", UQM_ERR_FORMAT },
    { "data.pkl twice", "x/data.pkl", NULL, "two of this name", UQM_ERR_FORMAT },
    { "data.pkl below a second root", "y/data.pkl", NULL, "a second root", UQM_ERR_FORMAT },
    { "a second root", "y/data/1", NULL, "a second root", UQM_ERR_FORMAT },
    { "a root that is longer", "xx/data/1", NULL, "a second root", UQM_ERR_FORMAT },
    { "a path upwards", "x/../../y", NULL, "leaves the archive", UQM_ERR_FORMAT },
    { "an absolute path", "/x/data/1", NULL, "leaves the archive", UQM_ERR_FORMAT },
    { "a path of Windows", "x\\data\\1", NULL, "a character no record's", UQM_ERR_FORMAT },
    { "a drive of Windows", "c:/data/1", NULL, "a character no record's", UQM_ERR_FORMAT },
    { "a name that is no UTF-8", "x/\xc3\x28", NULL, "not UTF-8", UQM_ERR_FORMAT },
    { "a folder as an entry", "x/data/", NULL, "leaves the archive", UQM_ERR_FORMAT },
    { "TorchScript's constants", "x/constants.pkl", NULL, "TorchScript", UQM_ERR_UNSUPPORTED },
    { "TorchScript's code", "x/code/a.py", NULL, "TorchScript", UQM_ERR_UNSUPPORTED },
};

static void an_archive_with_this_entry_is_refused(void **state)
{
    const struct extra *x = *state;
    struct zip_maker m = { 0 };
    size_t entry;
    make_good(&m, &entry);
    m.local_name = x->local;
    zip_add(&m, x->entry, "1", 1);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), x->code, x->text);
}

static void a_good_archive_is_read(void **state)
{
    struct zip_maker m = { 0 };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    size_t entry, n;
    (void) state;
    make_good(&m, &entry);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_ok(open_path(&cp, below(&folder, "x.bin"), &err), err);
    uint8_t *data = tensor_bytes(cp, "w", &n);
    assert_int_equal(n, 12);
    assert_memory_equal(data, "0123456789ab", 12);
    free(data);
    uqm_checkpoint_close(&cp);
}

static void an_archive_without_data_pkl_is_refused(void **state)
{
    struct zip_maker m = { 0 };
    (void) state;
    zip_add(&m, "x/data/0", "0123456789ab", 12);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "no record data.pkl");
}

static void entries_that_overlap_are_refused(void **state)
{
    struct zip_maker m = { 0 };
    size_t entry;
    (void) state;
    make_good(&m, &entry);
    set(m.dir + CENTRAL_PACKED, sizeof pickle + 60, 4);
    set(m.dir + CENTRAL_BYTES, sizeof pickle + 60, 4);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT,
                      "record x/data.pkl: overlaps what follows it");
}

static void an_entry_that_overlaps_the_directory_is_refused(void **state)
{
    static const uint64_t sizes[] = { 100, UINT32_MAX - 1 };
    (void) state;
    for (size_t i = 0; i < 2; i++) {
        struct zip_maker m = { 0 };
        size_t entry;
        make_good(&m, &entry);
        set(m.dir + entry + CENTRAL_PACKED, sizes[i], 4);
        set(m.dir + entry + CENTRAL_BYTES, sizes[i], 4);
        zip_finish(&m);
        put_file(below(&folder, "x.bin"), m.bytes, m.n);
        assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT,
                          "record x/data/0: overlaps what follows it");
    }
}

static void junk_before_between_and_after_is_refused(void **state)
{
    struct zip_maker m = { 0 };
    size_t entry;
    uint8_t file[8192] = "#!/bin/sh\n";
    (void) state;
    make_good(&m, &entry);
    zip_finish(&m);
    memcpy(file + 10, m.bytes, m.n);
    put_file(below(&folder, "x.bin"), file, m.n + 10);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "not a zip archive");
    memcpy(file, m.bytes, m.n);
    memset(file + m.n, 0, 10);
    put_file(below(&folder, "x.bin"), file, m.n + 10);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "something was appended to it");

    m = (struct zip_maker){ 0 };
    zip_add(&m, "x/hidden", "1", 1);
    m.n_dir = m.n_entries = 0;
    make_good(&m, &entry);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "bytes before the first record");

    m = (struct zip_maker){ 0 };
    add_pickle(&m, "x/data.pkl");
    zip_put(m.bytes, &m.n, 0, 7);
    zip_add(&m, "x/data/0", "0123456789ab", 12);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT,
                      "record x/data.pkl: 23 bytes between it and the next record");
}

static void a_second_archive_behind_the_first_is_refused(void **state)
{
    struct zip_maker first = { 0 }, second = { 0 };
    size_t entry;
    uint8_t file[2 * sizeof first.bytes];
    (void) state;
    make_good(&first, &entry);
    make_good(&second, &entry);
    zip_finish(&first);
    zip_finish(&second);
    memcpy(file, first.bytes, first.n);
    memcpy(file + first.n, second.bytes, second.n);
    put_file(below(&folder, "x.bin"), file, first.n + second.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "x.bin: ");
}

static void more_entries_than_a_checkpoint_has_are_refused(void **state)
{
    static const uint64_t counts[] = { (1 << 20) + 1, UINT64_MAX };
    (void) state;
    for (size_t i = 0; i < 2; i++) {
        struct zip_maker m = { 0 };
        size_t entry;
        make_good(&m, &entry);
        zip_finish(&m);
        set(m.bytes + m.n - END + END_ENTRIES, UINT32_MAX, 4);
        set(m.bytes + m.n - END64 + END64_ENTRIES, counts[i], 8);
        set(m.bytes + m.n - END64 + END64_ENTRIES + 8, counts[i], 8);
        put_file(below(&folder, "x.bin"), m.bytes, m.n);
        assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "entries, above 1048576");
    }
}

static void a_pickle_that_fails_its_crc_is_refused(void **state)
{
    struct zip_maker m = { .crc_change = 1 };
    size_t entry;
    (void) state;
    make_good(&m, &entry);
    zip_finish(&m);
    put_file(below(&folder, "x.bin"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "record data.pkl: its CRC-32");
}

/* The digest reads the one tensor front to back, in tiles. */
static int read_all(const struct zip_maker *m, bool ignore_crc, struct uqm_err *err)
{
    struct uqm_checkpoint_params params = { .path = below(&folder, "x.bin") };
    struct uqm_env *env = test_env(TEST_MEMORY, 1);
    struct uqm_checkpoint *cp = NULL;
    struct uqm_xxh3_hex digest;
    env->ignore_crc = ignore_crc;
    put_file(params.path, m->bytes, m->n);
    int ret = uqm_checkpoint_open(&cp, env, &params, err);
    if (ret == UQM_OK)
        ret = uqm_checkpoint_part_digest(&digest, cp, cp->source.tensors[0].part, err);
    uqm_checkpoint_close(&cp);
    return ret;
}

static void weights_that_fail_their_crc_are_refused_unless_told_otherwise(void **state)
{
    struct zip_maker bad_weights = { 0 }, bad_both = { .crc_change = 1 }, good = { 0 };
    struct uqm_err err = { 0 };
    size_t entry;
    (void) state;
    add_pickle(&bad_weights, "x/data.pkl");
    bad_weights.crc_change = 1;
    zip_add(&bad_weights, "x/data/0", "0123456789ab", 12);
    zip_finish(&bad_weights);
    make_good(&bad_both, &entry);
    zip_finish(&bad_both);
    make_good(&good, &entry);
    zip_finish(&good);
    assert_ok(read_all(&good, false, &err), err);
    assert_fails(read_all(&bad_weights, false, &err), err, UQM_ERR_FORMAT,
                 "x.bin: record data/0: its CRC-32 is not the one the archive gives");
    assert_fails(read_all(&bad_both, false, &err), err, UQM_ERR_FORMAT, "x.bin: record data.pkl");
    assert_ok(read_all(&bad_weights, true, &err), err);
    assert_ok(read_all(&bad_both, true, &err), err);
}

static void a_file_under_another_kinds_name_is_refused(void **state)
{
    static const char tensors[] = "\x3a\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"U8\",\"shape\":[4],"
                                  "\"data_offsets\":[0,4]}}       abcd";
    struct zip_maker m = { 0 };
    size_t entry;
    char tar[1024] = "x/data.pkl";
    (void) state;
    make_good(&m, &entry);
    zip_finish(&m);
    put_file(below(&folder, "x.safetensors"), m.bytes, m.n);
    assert_open_fails(below(&folder, "x.safetensors"), UQM_ERR_FORMAT, "x.safetensors: ");
    put_file(below(&folder, "x.bin"), tensors, sizeof tensors - 1);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "not a zip archive");
    put_file(below(&folder, "x.bin"), pickle, sizeof pickle - 1);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "not a zip archive");
    put_file(below(&folder, "x.bin"), "version https://git-lfs.github.com/spec/v1\n", 43);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "not a zip archive");
    memcpy(tar + 257, "ustar", 5);
    put_file(below(&folder, "x.bin"), tar, sizeof tar);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_UNSUPPORTED, "a tar archive");
    put_file(below(&folder, "x.bin"), "", 0);
    assert_open_fails(below(&folder, "x.bin"), UQM_ERR_FORMAT, "not a zip archive");
}

static int make_common_folder(void **state)
{
    void *made;
    (void) state;
    int ret = make_folder(&made);
    folder = *(struct folder *) made;
    return ret;
}

static int remove_common_folder(void **state)
{
    void *made = &folder;
    (void) state;
    return remove_folder(&made);
}

#define N_OF(rows) (sizeof(rows) / sizeof *(rows))

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(a_good_archive_is_read),
        cmocka_unit_test(an_archive_without_data_pkl_is_refused),
        cmocka_unit_test(entries_that_overlap_are_refused),
        cmocka_unit_test(an_entry_that_overlaps_the_directory_is_refused),
        cmocka_unit_test(junk_before_between_and_after_is_refused),
        cmocka_unit_test(a_second_archive_behind_the_first_is_refused),
        cmocka_unit_test(more_entries_than_a_checkpoint_has_are_refused),
        cmocka_unit_test(a_pickle_that_fails_its_crc_is_refused),
        cmocka_unit_test(weights_that_fail_their_crc_are_refused_unless_told_otherwise),
        cmocka_unit_test(a_file_under_another_kinds_name_is_refused),
    };
    struct CMUnitTest tests[N_OF(changes) + N_OF(extras) + N_OF(others)] = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < N_OF(changes); i++)
        tests[n++] = (struct CMUnitTest){ .name = changes[i].name,
                                          .test_func = a_changed_archive_is_refused,
                                          .initial_state = (void *) (uintptr_t) &changes[i] };
    for (size_t i = 0; i < N_OF(extras); i++)
        tests[n++] = (struct CMUnitTest){ .name = extras[i].name,
                                          .test_func = an_archive_with_this_entry_is_refused,
                                          .initial_state = (void *) (uintptr_t) &extras[i] };
    for (size_t i = 0; i < N_OF(others); i++)
        tests[n++] = others[i];
    return _cmocka_run_group_tests("zip attacks", tests, n, make_common_folder,
                                   remove_common_folder);
}
