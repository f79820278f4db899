#include "src/merge/publish.h"

#include "src/format/manifest.h"
#include "tests/unit/merge/merge_test.h"

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* A fresh folder, in which `out` is the target. */
struct place {
    char *dir;
    struct uqm_env *env;
    struct uqm_publish *p;
    struct uqm_err err;
};

static int make_place(void **state)
{
    static struct place place;
    place = (struct place){ .dir = test_mkdtemp(), .env = test_env(64 << 20, 1) };
    *state = &place;
    return 0;
}

static int leave_place(void **state)
{
    struct place *at = *state;
    uqm_publish_end(&at->p);
    test_rm(at->dir);
    return 0;
}

static void begin(struct place *at, const char *name, bool overwrite)
{
    assert_ok(uqm_publish_begin(&at->p, at->env, in_dir(at->dir, "%s", name), overwrite, &at->err),
              at->err);
}

static void the_folder_appears_with_commit_and_not_before(void **state)
{
    struct place *at = *state;
    begin(at, "out/", false);
    write_text(in_dir(uqm_publish_dir(at->p), "x"), "1");
    assert_false(exists(in_dir(at->dir, "out")));
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    assert_true(exists(in_dir(at->dir, "out/x")));
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir(at->dir, "out/x")));
    assert_false(exists(in_dir(at->dir, ".out.part")));
}

static void without_commit_nothing_stays(void **state)
{
    struct place *at = *state;
    begin(at, "out", false);
    write_text(in_dir(uqm_publish_dir(at->p), "x"), "1");
    uqm_publish_end(&at->p);
    assert_null(at->p);
    assert_false(exists(in_dir(at->dir, "out")));
    assert_false(exists(in_dir(at->dir, ".out.part")));
}

static void two_runs_for_one_target_exclude_each_other(void **state)
{
    struct place *at = *state;
    struct uqm_publish *q = NULL;
    begin(at, "out", false);
    write_text(in_dir(uqm_publish_dir(at->p), "x"), "1");
    assert_fails(uqm_publish_begin(&q, at->env, in_dir(at->dir, "out"), false, &at->err), at->err,
                 UQM_ERR_IO, "another run");
    assert_null(q);
    assert_true(exists(in_dir(at->dir, ".out.part/x"))); /* the first one's work is untouched */
    uqm_publish_end(&at->p);
    assert_ok(uqm_publish_begin(&q, at->env, in_dir(at->dir, "out"), false, &at->err), at->err);
    uqm_publish_end(&q);
}

static void a_target_that_came_to_exist_meanwhile_is_kept(void **state)
{
    struct place *at = *state;
    begin(at, "out", false);
    mkdir(in_dir(at->dir, "out"), 0755);
    assert_fails(uqm_publish_commit(at->p, &at->err), at->err, UQM_ERR_IO, "came to exist");
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir(at->dir, "out")));
    assert_false(exists(in_dir(at->dir, ".out.part")));

    /* with overwrite too, where it is no merge */
    assert_int_equal(rmdir(in_dir(at->dir, "out")), 0);
    begin(at, "out", true);
    mkdir(in_dir(at->dir, "out"), 0755);
    write_text(in_dir(at->dir, "out/precious"), "1");
    assert_fails(uqm_publish_commit(at->p, &at->err), at->err, UQM_ERR_ARG,
                 "not a merge to replace");
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir(at->dir, "out/precious")));
    assert_false(exists(in_dir(at->dir, ".out.part")));
}

static void overwriting_swaps_old_and_new(void **state)
{
    struct place *at = *state;
    mkdir(in_dir(at->dir, "out"), 0755);
    write_text(in_dir(at->dir, "out/" UQM_MANIFEST_NAME), "{}");
    write_text(in_dir(at->dir, "out/old"), "1");
    begin(at, "out", true);
    write_text(in_dir(uqm_publish_dir(at->p), "new"), "1");
    assert_true(exists(in_dir(at->dir, "out/old")));
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    uqm_publish_end(&at->p);
    assert_false(exists(in_dir(at->dir, "out/old")));
    assert_true(exists(in_dir(at->dir, "out/new")));
    assert_false(exists(in_dir(at->dir, ".out.part")));
}

static void a_link_in_the_parts_place_is_not_followed(void **state)
{
    struct place *at = *state;
    mkdir(in_dir(at->dir, "mine"), 0755);
    write_text(in_dir(at->dir, "mine/x"), "1");
    assert_int_equal(symlink("mine", in_dir(at->dir, ".out.part")), 0);
    assert_int_equal(uqm_publish_begin(&at->p, at->env, in_dir(at->dir, "out"), false, &at->err),
                     UQM_ERR_IO);
    assert_true(exists(in_dir(at->dir, "mine/x")));
}

static void targets_without_a_name_are_refused(void **state)
{
    (void) state;
    static const char *const names[] = { ".", "..", "/", "./", "a/.." };
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(uqm_publish_check(names[i], true, &err), UQM_ERR_ARG);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, leave_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(the_folder_appears_with_commit_and_not_before),
        PLACED(without_commit_nothing_stays),
        PLACED(two_runs_for_one_target_exclude_each_other),
        PLACED(a_target_that_came_to_exist_meanwhile_is_kept),
        PLACED(overwriting_swaps_old_and_new),
        PLACED(a_link_in_the_parts_place_is_not_followed),
        cmocka_unit_test(targets_without_a_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
