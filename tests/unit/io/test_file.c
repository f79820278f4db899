#include "tests/unit/io/io_test.h"

static void what_is_no_regular_file_is_refused_by_name(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    struct uqm_file *f = NULL;
    int n_open = count_open_files();
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_fails(uqm_file_open(&f, env, in_dir("fifo"), &err), err, UQM_ERR_FORMAT,
                 "fifo: not a regular file");
    assert_fails(uqm_file_open(&f, env, io_dir, &err), err, UQM_ERR_FORMAT, "not a regular file");
    assert_fails(uqm_file_open(&f, env, "/dev/zero", &err), err, UQM_ERR_FORMAT, "/dev/zero");
    assert_fails(uqm_file_open(&f, env, in_dir("none"), &err), err, UQM_ERR_IO,
                 "none: No such file");
    assert_int_equal(err.sys_errno, ENOENT);
    assert_fails(uqm_file_open(&f, env, "", &err), err, UQM_ERR_IO, "No such file");
    assert_null(f);
    assert_int_equal(count_open_files(), n_open);
}

static void only_large_files_go_past_the_cache_by_themselves(void **state)
{
    (void) state;
    static const struct {
        enum uqm_direct wish;
        bool large, direct;
    } cases[] = {
        { UQM_DIRECT_AUTO, false, false },
        { UQM_DIRECT_AUTO, true, true },
        { UQM_DIRECT_OFF, true, false },
        { UQM_DIRECT_ON, false, true },
    };
    struct uqm_err err = { 0 };
    char path[256];
    snprintf(path, sizeof path, "%s", make_file("size", 5000));
    if (direct_if_possible() != UQM_DIRECT_ON)
        test_skip("this file system has no O_DIRECT");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_env *env = io_env(UQM_IO_AUTO, cases[i].wish);
        struct uqm_file *f = NULL;
        assert_int_equal(truncate(path, cases[i].large ? UQM_DIRECT_MIN_BYTES : 5000), 0);
        assert_ok(uqm_file_open(&f, env, path, &err), err);
        assert_int_equal(f->direct_fd >= 0, cases[i].direct);
        assert_int_equal(env->direct_used, cases[i].direct);
        assert_false(fcntl(f->fd, F_GETFL) & O_NONBLOCK);
        assert_false(f->direct_fd >= 0 && fcntl(f->direct_fd, F_GETFL) & O_NONBLOCK);
        assert_true(cases[i].direct ? f->off_align >= 512 : f->off_align == 1);
        assert_int_equal(f->size_bytes, cases[i].large ? UQM_DIRECT_MIN_BYTES : 5000);
        uqm_file_close(&f);
        assert_null(f);
    }
}

/* /proc takes no O_DIRECT, and its files are regular ones. */
static void where_o_direct_is_refused_no_descriptor_is_left(void **state)
{
    (void) state;
    uint32_t a, b;
    int direct_fd, fd = open("/proc/self/maps", O_RDONLY);
    assert_true(fd >= 0);
    assert_int_not_equal(uqm_direct_open(&direct_fd, &a, &b, "/proc/self/maps", O_RDONLY, fd), 0);
    assert_int_equal(direct_fd, -1);
    /* nor is another file under the same name taken for the first */
    assert_int_not_equal(uqm_direct_open(&direct_fd, &a, &b, make_file("other", 5), O_RDONLY, fd),
                         0);
    assert_int_equal(direct_fd, -1);
    close(fd);
}

static void reads_are_exact_or_say_where_the_file_ends(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    struct uqm_file *f = NULL;
    uint8_t buf[100];
    assert_ok(uqm_file_open(&f, env, make_file("exact", 1000), &err), err);
    assert_ok(uqm_file_read(f, buf, 100, 900, &err), err);
    assert_known(buf, 100, 900);
    assert_ok(uqm_file_read(f, buf, 0, 1000, &err), err);
    assert_fails(uqm_file_read(f, buf, 100, 901, &err), err, UQM_ERR_FORMAT,
                 "exact: bytes [901, 1001): the file ends at 1000");
    assert_fails(uqm_file_read(f, buf, 1, 5000, &err), err, UQM_ERR_FORMAT, "ends at 1000");
    assert_fails(uqm_file_read(f, buf, 100, UINT64_MAX - 50, &err), err, UQM_ERR_FORMAT, "exact: ");
    assert_fails(uqm_file_read(f, buf, 100, INT64_MAX, &err), err, UQM_ERR_FORMAT, "exact: ");
    uqm_file_close(&f);
    uqm_file_close(&f);
}

static void a_changed_file_is_found_out(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    struct uqm_file *f = NULL;
    char path[256];
    snprintf(path, sizeof path, "%s", make_file("changed", 1000));

    assert_ok(uqm_file_open(&f, env, path, &err), err);
    assert_ok(uqm_file_check_unchanged(f, &err), err);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    struct timespec past[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    assert_int_equal(pwrite(fd, "x", 1, 5), 1);
    assert_int_equal(futimens(fd, past), 0); /* clocks are coarse; this is a change for sure */
    close(fd);
    assert_fails(uqm_file_check_unchanged(f, &err), err, UQM_ERR_IO, "changed: changed since");
    uqm_file_close(&f);

    assert_ok(uqm_file_open(&f, env, path, &err), err);
    assert_int_equal(rename(path, in_dir("moved")), 0);
    assert_fails(uqm_file_check_unchanged(f, &err), err, UQM_ERR_IO, "changed: gone");
    make_file("changed", 1000);
    assert_fails(uqm_file_check_unchanged(f, &err), err, UQM_ERR_IO, "changed: replaced");
    uqm_file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_regular_file_is_refused_by_name),
        cmocka_unit_test(only_large_files_go_past_the_cache_by_themselves),
        cmocka_unit_test(where_o_direct_is_refused_no_descriptor_is_left),
        cmocka_unit_test(reads_are_exact_or_say_where_the_file_ends),
        cmocka_unit_test(a_changed_file_is_found_out),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
