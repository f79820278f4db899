#include "src/merge/publish.h"

#include "src/format/manifest.h"
#include "tests/unit/merge/merge_test.h"

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void the_folder_appears_with_commit_and_not_before(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_publish *p = NULL;
    assert_ok(uqm_publish_begin(&p, env, in_dir(dir, "out/"), false, &err), err);
    write_text(in_dir(uqm_publish_dir(p), "x"), "1");
    assert_false(exists(in_dir(dir, "out")));
    assert_ok(uqm_publish_commit(p, &err), err);
    assert_true(exists(in_dir(dir, "out/x")));
    uqm_publish_end(&p);
    assert_true(exists(in_dir(dir, "out/x")));
    assert_false(exists(in_dir(dir, ".out.part")));
    test_rm(dir);
}

static void without_commit_nothing_stays(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_publish *p = NULL;
    assert_ok(uqm_publish_begin(&p, env, in_dir(dir, "out"), false, &err), err);
    write_text(in_dir(uqm_publish_dir(p), "x"), "1");
    uqm_publish_end(&p);
    assert_null(p);
    assert_false(exists(in_dir(dir, "out")));
    assert_false(exists(in_dir(dir, ".out.part")));
    test_rm(dir);
}

static void two_runs_for_one_target_exclude_each_other(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_publish *p = NULL, *q = NULL;
    assert_ok(uqm_publish_begin(&p, env, in_dir(dir, "out"), false, &err), err);
    write_text(in_dir(uqm_publish_dir(p), "x"), "1");
    assert_fails(uqm_publish_begin(&q, env, in_dir(dir, "out"), false, &err), err, UQM_ERR_IO,
                 "another run");
    assert_null(q);
    assert_true(exists(in_dir(dir, ".out.part/x"))); /* the first one's work is untouched */
    uqm_publish_end(&p);
    assert_ok(uqm_publish_begin(&q, env, in_dir(dir, "out"), false, &err), err);
    uqm_publish_end(&q);
    test_rm(dir);
}

static void a_target_that_came_to_exist_meanwhile_is_kept(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_publish *p = NULL;
    assert_ok(uqm_publish_begin(&p, env, in_dir(dir, "out"), false, &err), err);
    mkdir(in_dir(dir, "out"), 0755);
    assert_fails(uqm_publish_commit(p, &err), err, UQM_ERR_IO, "came to exist");
    uqm_publish_end(&p);
    assert_true(exists(in_dir(dir, "out")));
    assert_false(exists(in_dir(dir, ".out.part")));

    /* with overwrite too, where it is no merge */
    assert_int_equal(rmdir(in_dir(dir, "out")), 0);
    assert_ok(uqm_publish_begin(&p, env, in_dir(dir, "out"), true, &err), err);
    mkdir(in_dir(dir, "out"), 0755);
    write_text(in_dir(dir, "out/precious"), "1");
    assert_fails(uqm_publish_commit(p, &err), err, UQM_ERR_ARG, "not a merge to replace");
    uqm_publish_end(&p);
    assert_true(exists(in_dir(dir, "out/precious")));
    assert_false(exists(in_dir(dir, ".out.part")));
    test_rm(dir);
}

static void overwriting_swaps_old_and_new(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_publish *p = NULL;
    mkdir(in_dir(dir, "out"), 0755);
    write_text(in_dir(dir, "out/" UQM_MANIFEST_NAME), "{}");
    write_text(in_dir(dir, "out/old"), "1");
    assert_ok(uqm_publish_begin(&p, env, in_dir(dir, "out"), true, &err), err);
    write_text(in_dir(uqm_publish_dir(p), "new"), "1");
    assert_true(exists(in_dir(dir, "out/old")));
    assert_ok(uqm_publish_commit(p, &err), err);
    uqm_publish_end(&p);
    assert_false(exists(in_dir(dir, "out/old")));
    assert_true(exists(in_dir(dir, "out/new")));
    assert_false(exists(in_dir(dir, ".out.part")));
    test_rm(dir);
}

static void a_link_in_the_parts_place_is_not_followed(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_publish *p = NULL;
    mkdir(in_dir(dir, "mine"), 0755);
    write_text(in_dir(dir, "mine/x"), "1");
    assert_int_equal(symlink("mine", in_dir(dir, ".out.part")), 0);
    assert_int_equal(uqm_publish_begin(&p, env, in_dir(dir, "out"), false, &err), UQM_ERR_IO);
    assert_true(exists(in_dir(dir, "mine/x")));
    test_rm(dir);
}

static void targets_without_a_name_are_refused(void **state)
{
    (void) state;
    static const char *const names[] = { ".", "..", "/", "./", "a/.." };
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(uqm_publish_check(names[i], true, &err), UQM_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_folder_appears_with_commit_and_not_before),
        cmocka_unit_test(without_commit_nothing_stays),
        cmocka_unit_test(two_runs_for_one_target_exclude_each_other),
        cmocka_unit_test(a_target_that_came_to_exist_meanwhile_is_kept),
        cmocka_unit_test(overwriting_swaps_old_and_new),
        cmocka_unit_test(a_link_in_the_parts_place_is_not_followed),
        cmocka_unit_test(targets_without_a_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
