#include "io/journal.h"

#include "io/file.h"
#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "tests/unit/io/io_test.h"

static struct uqm_job_id job_of(const char *text)
{
    struct uqm_job *job = uqm_job_create("test", "1");
    assert_non_null(job);
    uqm_job_add_text(job, text);
    struct uqm_job_id id = uqm_job_id(job);
    uqm_job_destroy(&job);
    return id;
}

static struct uqm_journal *open_it(const char *name, const struct uqm_job_id *job)
{
    struct uqm_err err = { 0 };
    struct uqm_journal *j = NULL;
    assert_ok(uqm_journal_open(&j, in_dir(name), job, &err), err);
    return j;
}

static void append(struct uqm_journal *j, uint32_t kind, const void *data, size_t n)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_journal_append(j, kind, data, n, &err), err);
}

static void sync_it(struct uqm_journal *j)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_journal_sync(j, &err), err);
}

/* Record i: kind i + 1, i * 37 known bytes. */
enum { N_RECORDS = 6 };

static void write_records(const char *name, const struct uqm_job_id *job)
{
    uint8_t *bytes = known_bytes((size_t) N_RECORDS * 37);
    struct uqm_journal *j = open_it(name, job);
    assert_true(uqm_journal_is_new(j));
    for (uint32_t i = 0; i < N_RECORDS; i++)
        append(j, i + 1, bytes, (size_t) i * 37);
    assert_int_equal(uqm_journal_n_records(j), 0);
    sync_it(j);
    assert_int_equal(uqm_journal_n_records(j), N_RECORDS);
    uqm_journal_close(&j);
    free(bytes);
}

/* How many good records there are, which must be the first of those above. */
static uint32_t read_records(struct uqm_journal *j)
{
    struct uqm_record r;
    uint32_t n = 0;
    while (uqm_journal_read(j, &r)) {
        assert_int_equal(r.kind, n + 1);
        assert_int_equal(r.n_bytes, n * 37);
        assert_known(r.payload, r.n_bytes, 0);
        n++;
    }
    return n;
}

static uint32_t count_records(const char *name, const struct uqm_job_id *job)
{
    struct uqm_journal *j = open_it(name, job);
    assert_false(uqm_journal_is_new(j));
    uint32_t n = read_records(j);
    assert_int_equal(uqm_journal_n_records(j), n);
    uqm_journal_close(&j);
    return n;
}

static void records_come_back_in_order(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    write_records("order", &job);
    assert_int_equal(count_records("order", &job), N_RECORDS);
    assert_int_equal(count_records("order", &job), N_RECORDS);
}

static void another_jobs_journal_is_begun_anew(void **state)
{
    (void) state;
    struct uqm_job_id a = job_of("a"), b = job_of("b");
    write_records("other", &a);
    struct uqm_journal *j = open_it("other", &b);
    struct uqm_record r;
    assert_true(uqm_journal_is_new(j));
    assert_false(uqm_journal_read(j, &r));
    uqm_journal_close(&j);
    struct stat st;
    assert_int_equal(stat(in_dir("other"), &st), 0);
    assert_int_equal(st.st_size, UQM_JOURNAL_HEADER_BYTES);
    write_records("fresh", &a);
    assert_int_equal(count_records("fresh", &a), N_RECORDS);
}

static uint8_t *slurp(const char *name, size_t *n)
{
    struct uqm_err err = { 0 };
    char *text = NULL;
    assert_ok(uqm_read_file(&text, n, in_dir(name), 1 << 20, &err), err);
    return (uint8_t *) text;
}

static void dump(const char *name, const void *data, size_t n)
{
    struct uqm_err err = { 0 };
    unlink(in_dir(name));
    assert_ok(uqm_write_file(in_dir(name), data, n, &err), err);
}

/* Where record i begins. */
static size_t record_at(uint32_t i)
{
    size_t at = UQM_JOURNAL_HEADER_BYTES;
    for (uint32_t k = 0; k < i; k++)
        at += UQM_JOURNAL_RECORD_BYTES + (size_t) k * 37;
    return at;
}

static uint32_t whole_records(size_t n_bytes)
{
    uint32_t n = 0;
    while (n < N_RECORDS && record_at(n + 1) <= n_bytes)
        n++;
    return n;
}

static void a_journal_cut_at_any_byte_gives_its_whole_records(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    size_t n;
    write_records("whole", &job);
    uint8_t *data = slurp("whole", &n);
    assert_int_equal(n, record_at(N_RECORDS));
    for (size_t cut = UQM_JOURNAL_HEADER_BYTES; cut <= n; cut++) {
        dump("cut", data, cut);
        assert_int_equal(count_records("cut", &job), whole_records(cut));
    }
    for (size_t cut = 0; cut < UQM_JOURNAL_HEADER_BYTES; cut++) {
        dump("cut", data, cut);
        struct uqm_journal *j = open_it("cut", &job);
        assert_true(uqm_journal_is_new(j));
        uqm_journal_close(&j);
    }
    free(data);
}

static void a_changed_byte_ends_the_reading_before_its_record(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    struct uqm_journal_reader reader;
    struct uqm_record r;
    size_t n;
    write_records("good", &job);
    uint8_t *data = slurp("good", &n);
    for (size_t at = 0; at < n; at++)
        for (int bit = 0; bit < 8; bit++) {
            data[at] ^= (uint8_t) (1 << bit);
            bool is_ours = uqm_journal_reader_init(&reader, data, n, &job);
            assert_int_equal(is_ours, at >= UQM_JOURNAL_HEADER_BYTES);
            uint32_t n_good = 0;
            while (is_ours && uqm_journal_reader_next(&reader, &r))
                n_good++;
            if (is_ours)
                assert_int_equal(n_good, whole_records(at));
            data[at] ^= (uint8_t) (1 << bit);
        }
    free(data);
}

static void what_follows_a_bad_record_is_gone_once_another_is_appended(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    uint8_t *bytes = known_bytes(4 * 37);
    size_t n;
    write_records("bad", &job);
    uint8_t *data = slurp("bad", &n);
    data[record_at(3) + 20] ^= 1;
    dump("bad", data, n);
    free(data);

    struct uqm_journal *j = open_it("bad", &job);
    assert_int_equal(read_records(j), 3);
    append(j, 4, bytes, 3 * 37); /* as long as the bad one: record 5 would be in its place again */
    sync_it(j);
    uqm_journal_close(&j);
    assert_int_equal(count_records("bad", &job), 4);
    free(bytes);
}

static void a_record_of_no_use_is_cut_off_with_all_behind_it(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    struct uqm_record r;
    write_records("useless", &job);
    struct uqm_journal *j = open_it("useless", &job);
    for (int i = 0; i < 3; i++)
        assert_true(uqm_journal_read(j, &r));
    uqm_journal_cut(j); /* the third */
    assert_false(uqm_journal_read(j, &r));
    assert_int_equal(uqm_journal_n_records(j), 2);
    append(j, 3, "x", 1);
    sync_it(j);
    uqm_journal_close(&j);
    j = open_it("useless", &job);
    assert_true(uqm_journal_read(j, &r) && uqm_journal_read(j, &r) && uqm_journal_read(j, &r));
    assert_int_equal(r.n_bytes, 1);
    assert_false(uqm_journal_read(j, &r));
    uqm_journal_close(&j);
}

/* An old journal of the same job, in blocks that a new one has been given again. */
static void records_of_an_older_journal_are_not_taken_up(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    size_t n_old, n_new;
    write_records("old", &job);
    uint8_t *old = slurp("old", &n_old);
    write_records("new", &job);
    uint8_t *new = slurp("new", &n_new);
    assert_int_equal(n_old, n_new);
    memcpy(new + record_at(2), old + record_at(2), n_old - record_at(2));
    dump("mixed", new, n_new);
    assert_int_equal(count_records("mixed", &job), 2);
    free(old);
    free(new);
}

static void a_length_that_no_file_has_is_harmless(void **state)
{
    (void) state;
    static const uint32_t lengths[] = { UINT32_MAX, UINT32_MAX - 23, INT32_MAX,
                                        UQM_JOURNAL_MAX_PAYLOAD, 1 };
    struct uqm_job_id job = job_of("a");
    struct uqm_journal_reader reader;
    struct uqm_record r;
    size_t n;
    write_records("lengths", &job);
    uint8_t *data = slurp("lengths", &n);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uqm_put_u32(data + record_at(0), lengths[i]);
        assert_true(uqm_journal_reader_init(&reader, data, n, &job));
        assert_false(uqm_journal_reader_next(&reader, &r));
    }
    free(data);
}

static void too_large_a_record_is_refused(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    struct uqm_err err = { 0 };
    struct uqm_journal *j = open_it("large", &job);
    assert_int_equal(uqm_journal_append(j, 1, NULL, (size_t) UQM_JOURNAL_MAX_PAYLOAD + 1, &err),
                     UQM_ERR_ARG);
    uqm_journal_close(&j);
}

static void a_spoilt_journal_takes_nothing_more(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    struct uqm_err err = { 0 };
    struct uqm_journal *j = open_it("spoilt", &job);
    append(j, 1, "x", 1);
    uqm_journal_spoil(j);
    assert_int_equal(uqm_journal_append(j, 1, "x", 1, &err), UQM_ERR_IO);
    assert_int_equal(uqm_journal_sync(j, &err), UQM_ERR_IO);
    uqm_journal_close(&j);
}

static bool same_job(const char *a1, const char *a2, const char *b1, const char *b2)
{
    struct uqm_job_id ids[2];
    const char *fields[2][2] = { { a1, a2 }, { b1, b2 } };
    for (int i = 0; i < 2; i++) {
        struct uqm_job *job = uqm_job_create("test", "1");
        assert_non_null(job);
        uqm_job_add_text(job, fields[i][0]);
        uqm_job_add_text(job, fields[i][1]);
        ids[i] = uqm_job_id(job);
        uqm_job_destroy(&job);
    }
    return memcmp(&ids[0], &ids[1], sizeof ids[0]) == 0;
}

static void jobs_differ_where_any_field_does(void **state)
{
    (void) state;
    assert_true(same_job("ab", "c", "ab", "c"));
    assert_false(same_job("ab", "c", "a", "bc"));
    assert_false(same_job("", "c", NULL, "c"));
    assert_false(same_job(NULL, "", "", NULL));
}

static void a_touched_input_is_another_job(void **state)
{
    (void) state;
    struct uqm_env *env = io_env(UQM_IO_PREAD, UQM_DIRECT_OFF);
    struct uqm_job_id ids[3];
    make_file("input", 1000);
    for (int i = 0; i < 3; i++) {
        struct uqm_err err = { 0 };
        struct uqm_file *file = NULL;
        struct uqm_job *job = uqm_job_create("test", "1");
        if (i == 2) /* the same bytes in another file: the first's inode is not free for it */
            assert_int_equal(rename(make_file("again", 1000), in_dir("input")), 0);
        assert_ok(uqm_file_open(&file, env, in_dir("input"), &err), err);
        uqm_job_add_file(job, file);
        ids[i] = uqm_job_id(job);
        uqm_job_destroy(&job);
        uqm_file_close(&file);
    }
    assert_memory_equal(&ids[0], &ids[1], sizeof ids[0]);
    assert_memory_not_equal(&ids[0], &ids[2], sizeof ids[0]);
}

static void a_link_is_not_followed(void **state)
{
    (void) state;
    struct uqm_job_id job = job_of("a");
    struct uqm_err err = { 0 };
    struct uqm_journal *j = NULL;
    make_file("precious", 100);
    assert_int_equal(symlink("precious", in_dir("link")), 0);
    assert_int_equal(uqm_journal_open(&j, in_dir("link"), &job, &err), UQM_ERR_IO);
    size_t n;
    uint8_t *data = slurp("precious", &n);
    assert_int_equal(n, 100);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_in_order),
        cmocka_unit_test(another_jobs_journal_is_begun_anew),
        cmocka_unit_test(a_journal_cut_at_any_byte_gives_its_whole_records),
        cmocka_unit_test(a_changed_byte_ends_the_reading_before_its_record),
        cmocka_unit_test(what_follows_a_bad_record_is_gone_once_another_is_appended),
        cmocka_unit_test(a_record_of_no_use_is_cut_off_with_all_behind_it),
        cmocka_unit_test(records_of_an_older_journal_are_not_taken_up),
        cmocka_unit_test(a_length_that_no_file_has_is_harmless),
        cmocka_unit_test(too_large_a_record_is_refused),
        cmocka_unit_test(a_spoilt_journal_takes_nothing_more),
        cmocka_unit_test(jobs_differ_where_any_field_does),
        cmocka_unit_test(a_touched_input_is_another_job),
        cmocka_unit_test(a_link_is_not_followed),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
