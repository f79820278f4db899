#include "io/publish.h"

#include <sys/resource.h>

#include "io/journal_impl.h"
#include "tests/unit/io/io_test.h"

#define MARKER "made-by-us"

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* A folder of its own, in which `out` is the target. */
struct place {
    struct uqm_env *env;
    struct uqm_publish *p;
    struct uqm_err err;
};

static int make_place(void **state)
{
    static struct place place;
    strcpy(io_dir, "/tmp/uqm-io-XXXXXX");
    place = (struct place){ .env = test_env(64 << 20, 1) };
    *state = &place;
    return make_io_dir(state);
}

static int leave_place(void **state)
{
    struct place *at = *state;
    uqm_publish_end(&at->p);
    return drop_io_dir(state);
}

static struct uqm_publish_params params(const char *name, bool overwrite,
                                        const struct uqm_job_id *job)
{
    return (struct uqm_publish_params){ .target = in_dir(name),
                                        .overwrite = overwrite,
                                        .marker = MARKER,
                                        .noun = "a merge",
                                        .job = job };
}

static void begin(struct place *at, const char *name, bool overwrite, const struct uqm_job_id *job)
{
    struct uqm_publish_params p = params(name, overwrite, job);
    assert_ok(uqm_publish_begin(&at->p, at->env, &p, &at->err), at->err);
}

static void put(const char *path, const char *text)
{
    struct uqm_err err = { 0 };
    unlink(path);
    assert_ok(uqm_write_file(path, text, strlen(text), &err), err);
}

static const char *inside(const struct uqm_publish *p, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", uqm_publish_path(p), name);
    return path;
}

static struct uqm_job_id job_of(const char *text)
{
    struct uqm_job *job = uqm_job_create("test", "1");
    assert_non_null(job);
    uqm_job_add_text(job, text);
    struct uqm_job_id id = uqm_job_id(job);
    uqm_job_destroy(&job);
    return id;
}

static void say(struct place *at, uint32_t kind, const char *text)
{
    struct uqm_journal *j = uqm_publish_journal(at->p);
    assert_ok(uqm_journal_append(j, kind, text, strlen(text), &at->err), at->err);
    assert_ok(uqm_journal_sync(j, &at->err), at->err);
}

static void the_folder_appears_with_commit_and_not_before(void **state)
{
    struct place *at = *state;
    begin(at, "out/", false, NULL);
    put(inside(at->p, "x"), "1");
    assert_false(exists(in_dir("out")));
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    assert_true(exists(in_dir("out/x")));
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir("out/x")));
    assert_false(exists(in_dir(".out.part")));
}

static void without_commit_nothing_stays(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    for (int with_job = 0; with_job < 2; with_job++) {
        begin(at, "out", false, with_job ? &job : NULL);
        put(inside(at->p, "x"), "1");
        assert_false(uqm_publish_keep(at->p)); /* the journal has no records */
        uqm_publish_end(&at->p);
        assert_null(at->p);
        assert_false(exists(in_dir("out")));
        assert_false(exists(in_dir(".out.part")));
    }
}

/* The next number that open() gives, and with it how many descriptors are in use. */
static rlim_t n_descriptors(void)
{
    int fd = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return (rlim_t) fd;
}

static void want_of_descriptors_leaves_nothing(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    struct uqm_publish_params p = params("out", false, &job);
    struct rlimit before, few;
    const rlim_t n = n_descriptors();
    int ret = UQM_ERR_IO;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    for (rlim_t left = 0; ret != UQM_OK; left++) {
        assert_true(left < 8);
        few.rlim_cur = n + left;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        ret = uqm_publish_begin(&at->p, at->env, &p, &at->err);
        if (ret == UQM_OK)
            uqm_publish_end(&at->p);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (ret != UQM_OK)
            assert_fails(ret, at->err, UQM_ERR_IO, "Too many open files");
        if (exists(in_dir(".out.part")))
            fail_msg("%d descriptors, status %d: .out.part is left", (int) left, ret);
    }
}

static void two_runs_for_one_target_exclude_each_other(void **state)
{
    struct place *at = *state;
    struct uqm_publish *q = NULL;
    begin(at, "out", false, NULL);
    put(inside(at->p, "x"), "1");
    struct uqm_publish_params p = params("out", false, NULL);
    assert_fails(uqm_publish_begin(&q, at->env, &p, &at->err), at->err, UQM_ERR_IO, "another run");
    assert_null(q);
    assert_true(exists(in_dir(".out.part/out/x"))); /* the first one's work is untouched */
    uqm_publish_end(&at->p);
    assert_ok(uqm_publish_begin(&q, at->env, &p, &at->err), at->err);
    uqm_publish_end(&q);
}

static void a_target_that_came_to_exist_meanwhile_is_kept(void **state)
{
    struct place *at = *state;
    begin(at, "out", false, NULL);
    mkdir(in_dir("out"), 0755);
    assert_fails(uqm_publish_commit(at->p, &at->err), at->err, UQM_ERR_IO, "came to exist");
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir("out")));
    assert_false(exists(in_dir(".out.part")));

    /* with overwrite too, where it is none of ours */
    assert_int_equal(rmdir(in_dir("out")), 0);
    begin(at, "out", true, NULL);
    mkdir(in_dir("out"), 0755);
    put(in_dir("out/precious"), "1");
    assert_fails(uqm_publish_commit(at->p, &at->err), at->err, UQM_ERR_ARG,
                 "not a merge to replace");
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir("out/precious")));
    assert_false(exists(in_dir(".out.part")));
}

static void overwriting_swaps_old_and_new(void **state)
{
    struct place *at = *state;
    mkdir(in_dir("out"), 0755);
    put(in_dir("out/" MARKER), "{}");
    put(in_dir("out/old"), "1");
    begin(at, "out", true, NULL);
    put(inside(at->p, "new"), "1");
    assert_true(exists(in_dir("out/old")));
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    uqm_publish_end(&at->p);
    assert_false(exists(in_dir("out/old")));
    assert_true(exists(in_dir("out/new")));
    assert_false(exists(in_dir(".out.part")));
}

static void a_file_is_published_as_a_folder_is(void **state)
{
    struct place *at = *state;
    for (int round = 0; round < 2; round++) { /* the second replaces the first */
        struct uqm_publish_params p = params("file", round > 0, NULL);
        p.is_file = true;
        assert_ok(uqm_publish_begin(&at->p, at->env, &p, &at->err), at->err);
        assert_false(exists(uqm_publish_path(at->p)));
        put(uqm_publish_path(at->p), round ? "new" : "old");
        assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
        uqm_publish_end(&at->p);
        char *text = NULL;
        size_t len;
        assert_ok(uqm_read_file(&text, &len, in_dir("file"), 16, &at->err), at->err);
        assert_string_equal(text, round ? "new" : "old");
        free(text);
        assert_false(exists(in_dir(".file.part")));
    }
    struct uqm_publish_params p = params("file", false, NULL);
    p.is_file = true;
    assert_fails(uqm_publish_begin(&at->p, at->env, &p, &at->err), at->err, UQM_ERR_ARG,
                 "exists already");
}

static void a_link_in_the_parts_place_is_not_followed(void **state)
{
    struct place *at = *state;
    mkdir(in_dir("mine"), 0755);
    put(in_dir("mine/x"), "1");
    assert_int_equal(symlink("mine", in_dir(".out.part")), 0);
    struct uqm_publish_params p = params("out", false, NULL);
    assert_int_equal(uqm_publish_begin(&at->p, at->env, &p, &at->err), UQM_ERR_IO);
    assert_true(exists(in_dir("mine/x")));
}

static void targets_without_a_name_are_refused(void **state)
{
    (void) state;
    static const char *const names[] = { ".", "..", "/", "./", "a/.." };
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct uqm_publish_params p = { .target = names[i], .overwrite = true };
        assert_int_equal(uqm_publish_check(&p, &err), UQM_ERR_ARG);
    }
}

/* --- what an interrupted run leaves --- */

static void the_same_job_finds_what_was_kept_and_another_does_not(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a"), other = job_of("b");
    begin(at, "out", false, &job);
    assert_true(uqm_journal_is_new(uqm_publish_journal(at->p)));
    put(inside(at->p, "x"), "1");
    say(at, 1, "x is there");
    assert_true(uqm_publish_keep(at->p));
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir(".out.part/out/x")));

    begin(at, "out", false, &job);
    struct uqm_record record;
    assert_false(uqm_journal_is_new(uqm_publish_journal(at->p)));
    assert_true(uqm_journal_read(uqm_publish_journal(at->p), &record));
    assert_int_equal(record.n_bytes, 10);
    assert_memory_equal(record.payload, "x is there", 10);
    assert_true(exists(inside(at->p, "x")));
    assert_true(uqm_publish_keep(at->p));
    uqm_publish_end(&at->p);

    begin(at, "out", false, &other);
    assert_true(uqm_journal_is_new(uqm_publish_journal(at->p)));
    assert_false(exists(inside(at->p, "x")));
}

/* As after a kill: nobody has tidied up. */
static void leave_as_it_is(struct place *at)
{
    assert_true(uqm_publish_keep(at->p));
    uqm_publish_end(&at->p);
}

static void a_journal_without_its_output_is_of_no_use(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    begin(at, "out", false, &job);
    say(at, 1, "x");
    leave_as_it_is(at);
    assert_int_equal(rmdir(in_dir(".out.part/out")), 0);
    begin(at, "out", false, &job);
    assert_true(uqm_journal_is_new(uqm_publish_journal(at->p)));
    assert_true(exists(uqm_publish_path(at->p)));
}

static void an_output_that_got_its_name_before_the_end_is_finished_by_the_next_run(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    struct stat st;
    begin(at, "out", false, &job);
    put(inside(at->p, "x"), "1");
    say(at, 1, "x");
    /* what commit does, up to the moment behind the name */
    assert_int_equal(stat(uqm_publish_path(at->p), &st), 0);
    assert_ok(uqm_journal_append_publish(uqm_publish_journal(at->p), st.st_ino, &at->err), at->err);
    leave_as_it_is(at);
    assert_int_equal(rename(in_dir(".out.part/out"), in_dir("out")), 0);

    begin(at, "out", false, &job);
    assert_true(uqm_publish_is_done(at->p));
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    uqm_publish_end(&at->p);
    assert_true(exists(in_dir("out/x")));
    assert_false(exists(in_dir(".out.part")));
    /* and now it exists like any other */
    struct uqm_publish_params p = params("out", false, &job);
    assert_fails(uqm_publish_begin(&at->p, at->env, &p, &at->err), at->err, UQM_ERR_ARG,
                 "exists already");
}

static void announced_but_not_named_is_not_done(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    struct stat st;
    begin(at, "out", false, &job);
    say(at, 1, "x");
    assert_int_equal(stat(uqm_publish_path(at->p), &st), 0);
    assert_ok(uqm_journal_append_publish(uqm_publish_journal(at->p), st.st_ino, &at->err), at->err);
    leave_as_it_is(at);
    begin(at, "out", false, &job);
    struct uqm_record record;
    assert_false(uqm_publish_is_done(at->p));
    assert_true(uqm_journal_read(uqm_publish_journal(at->p), &record));
    assert_int_equal(record.kind, 1);
    assert_false(uqm_journal_read(uqm_publish_journal(at->p), &record));
}

static void what_was_done_waits_while_the_target_is_in_the_way(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    begin(at, "out", false, &job);
    say(at, 1, "x");
    leave_as_it_is(at);
    mkdir(in_dir("out"), 0755);
    struct uqm_publish_params p = params("out", false, &job);
    assert_fails(uqm_publish_begin(&at->p, at->env, &p, &at->err), at->err, UQM_ERR_ARG,
                 "exists already");
    begin(at, "out", true, &job); /* an empty folder may be replaced */
    assert_false(uqm_journal_is_new(uqm_publish_journal(at->p)));
}

static void a_spoilt_journal_is_not_kept(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    begin(at, "out", false, &job);
    say(at, 1, "x");
    uqm_journal_spoil(uqm_publish_journal(at->p));
    assert_false(uqm_publish_keep(at->p));
    assert_int_equal(uqm_publish_commit(at->p, &at->err), UQM_ERR_IO);
    uqm_publish_end(&at->p);
    assert_false(exists(in_dir(".out.part")));
    assert_false(exists(in_dir("out")));
}

static void outputs_that_belong_together_are_checked_before_the_first_gets_its_name(void **state)
{
    struct place *at = *state;
    struct uqm_job_id job = job_of("a");
    begin(at, "out", false, &job);
    say(at, 1, "x");
    assert_ok(uqm_publish_prepare(at->p, &at->err), at->err);
    assert_ok(uqm_publish_check_free(at->p, &at->err), at->err);
    assert_false(exists(in_dir("out")));
    mkdir(in_dir("out"), 0755);
    assert_fails(uqm_publish_check_free(at->p, &at->err), at->err, UQM_ERR_ARG, "exists already");
    assert_int_equal(rmdir(in_dir("out")), 0);
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    assert_ok(uqm_publish_prepare(at->p, &at->err), at->err); /* named: nothing is left to do */
    assert_ok(uqm_publish_check_free(at->p, &at->err), at->err);
}

static void an_output_stands_when_its_part_folder_is_gone(void **state)
{
    struct place *at = *state;
    struct uqm_publish_params p = params("out", false, NULL);
    assert_false(uqm_publish_stands(&p));
    begin(at, "out", false, NULL);
    assert_false(uqm_publish_stands(&p));
    assert_ok(uqm_publish_commit(at->p, &at->err), at->err);
    assert_false(uqm_publish_stands(&p));
    uqm_publish_end(&at->p);
    assert_true(uqm_publish_stands(&p));
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, leave_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(the_folder_appears_with_commit_and_not_before),
        PLACED(without_commit_nothing_stays),
        PLACED(want_of_descriptors_leaves_nothing),
        PLACED(two_runs_for_one_target_exclude_each_other),
        PLACED(a_target_that_came_to_exist_meanwhile_is_kept),
        PLACED(overwriting_swaps_old_and_new),
        PLACED(a_file_is_published_as_a_folder_is),
        PLACED(a_link_in_the_parts_place_is_not_followed),
        cmocka_unit_test(targets_without_a_name_are_refused),
        PLACED(the_same_job_finds_what_was_kept_and_another_does_not),
        PLACED(a_journal_without_its_output_is_of_no_use),
        PLACED(an_output_that_got_its_name_before_the_end_is_finished_by_the_next_run),
        PLACED(announced_but_not_named_is_not_done),
        PLACED(what_was_done_waits_while_the_target_is_in_the_way),
        PLACED(a_spoilt_journal_is_not_kept),
        PLACED(outputs_that_belong_together_are_checked_before_the_first_gets_its_name),
        PLACED(an_output_stands_when_its_part_folder_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
