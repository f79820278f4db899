#include <dirent.h>

#include "io/scratch.h"
#include "tests/unit/uq/workdir.h"

static void what_is_written_comes_back_and_no_name_stays(void **state)
{
    (void) state;
    struct uqm_scratch s;
    struct uqm_err err = { 0 };
    char buf[6] = "";
    assert_ok(uqm_scratch_init(&s, workdir, 4096, &err), err);
    assert_ok(uqm_scratch_write(&s, "hello", 6, 1000, &err), err);
    assert_ok(uqm_scratch_read(&s, buf, 6, 1000, &err), err);
    assert_string_equal(buf, "hello");

    DIR *d = opendir(workdir);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    assert_int_equal(n, 2); /* . and .. */
    uqm_scratch_finish(&s);
    uqm_scratch_finish(&s);
}

static void reading_past_the_end_is_an_error(void **state)
{
    (void) state;
    struct uqm_scratch s;
    struct uqm_err err = { 0 };
    char buf[8];
    assert_ok(uqm_scratch_init(&s, workdir, 4, &err), err);
    assert_ok(uqm_scratch_write(&s, "abcd", 4, 0, &err), err);
    assert_fails(uqm_scratch_read(&s, buf, 8, 0, &err), err, UQM_ERR_IO, "too short");
    uqm_scratch_finish(&s);
}

static void a_folder_that_is_not_there_and_a_full_disk_are_named(void **state)
{
    (void) state;
    struct uqm_scratch s;
    struct uqm_err err = { 0 };
    assert_int_equal(setenv("TMPDIR", "/nonexistent/tmp", 1), 0);
    assert_fails(uqm_scratch_init(&s, NULL, 4, &err), err, UQM_ERR_IO,
                 "/nonexistent/tmp: no scratch file can be made there (TMPDIR says where): ");
    assert_int_equal(unsetenv("TMPDIR"), 0);
    assert_fails(uqm_scratch_init(&s, "/nonexistent/folder", 4, &err), err, UQM_ERR_IO,
                 "/nonexistent/folder");
    assert_fails(uqm_scratch_init(&s, workdir, UINT64_C(1) << 60, &err), err, UQM_ERR_IO,
                 "no room");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back_and_no_name_stays),
        cmocka_unit_test(reading_past_the_end_is_an_error),
        cmocka_unit_test(a_folder_that_is_not_there_and_a_full_disk_are_named),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
