#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/base/part.h"
#include "tests/unit/test.h"

static char dir[] = "/tmp/uqm-fs-XXXXXX";

static const char *in_dir(const char *name)
{
    static char ring[4][256];
    static unsigned next;
    char *buf = ring[next++ % 4];
    snprintf(buf, sizeof ring[0], "%s/%s", dir, name);
    return buf;
}

static void a_file_larger_than_allowed_is_refused_by_name(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *text;
    size_t len;
    assert_ok(uqm_write_file(in_dir("ten"), "0123456789", 10, &err), err);
    assert_fails(uqm_read_file(&text, &len, in_dir("ten"), 9, &err), err, UQM_ERR_FORMAT, "ten");
    assert_ok(uqm_read_file(&text, &len, in_dir("ten"), 10, &err), err);
    assert_int_equal(len, 10);
    assert_string_equal(text, "0123456789");
    free(text);
}

static void what_is_no_file_is_an_error_not_a_hang(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *text;
    size_t len;
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_fails(uqm_read_file(&text, &len, in_dir("fifo"), 9, &err), err, UQM_ERR_FORMAT, "fifo");
    assert_fails(uqm_read_file(&text, &len, dir, 9, &err), err, UQM_ERR_FORMAT, "regular");
    assert_fails(uqm_read_file(&text, &len, in_dir("none"), 9, &err), err, UQM_ERR_IO, "none");
}

static void what_is_no_file_or_leads_nowhere_is_not_taken_for_absent(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_int_equal(symlink("nowhere", in_dir("dangling")), 0);
    assert_int_equal(symlink(dir, in_dir("folder")), 0);
    assert_int_equal(uqm_find_file(in_dir("absent"), &err), 0);
    assert_int_equal(uqm_find_dir(in_dir("absent"), &err), 0);
    assert_int_equal(uqm_find_dir(in_dir("folder"), &err), 1);
    assert_fails(uqm_find_file(in_dir("dangling"), &err), err, UQM_ERR_IO, "leads nowhere");
    assert_fails(uqm_find_dir(in_dir("dangling"), &err), err, UQM_ERR_IO, "leads nowhere");
    assert_fails(uqm_find_file(in_dir("folder"), &err), err, UQM_ERR_FORMAT, "not a regular file");
    assert_fails(uqm_find_file(in_dir("fifo"), &err), err, UQM_ERR_FORMAT, "not a regular file");
    assert_int_equal(uqm_find_dir(in_dir("fifo"), &err), 0);
}

static void an_existing_file_is_not_written_over(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_ok(uqm_write_file(in_dir("once"), "a", 1, &err), err);
    assert_fails(uqm_write_file(in_dir("once"), "b", 1, &err), err, UQM_ERR_IO, "once");
    assert_ok(uqm_replace_file(in_dir("once"), "c", 1, &err), err);
    assert_false(uqm_is_file(in_dir("once.part")));
}

/* Two of each at once: the file is one of theirs, whole, and no run fails for the other's sake. */
static void runs_that_replace_one_file_take_turns(void **state)
{
    (void) state;
    enum { RUNS = 4, ROUNDS = 15, BYTES = 20000 };
    pid_t runs[RUNS];
    char path[128];
    snprintf(path, sizeof path, "%s", in_dir("shared"));
    for (int i = 0; i < RUNS; i++) {
        runs[i] = fork();
        assert_true(runs[i] >= 0);
        if (runs[i] == 0) {
            char data[BYTES];
            struct uqm_err err = { 0 };
            int ret = UQM_OK;
            memset(data, 'a' + i, sizeof data);
            for (int k = 0; k < ROUNDS && ret == UQM_OK; k++)
                ret = uqm_replace_file(path, data, sizeof data, &err);
            _exit(ret == UQM_OK ? 0 : 1);
        }
    }
    for (int i = 0; i < RUNS; i++) {
        int status = 0;
        assert_int_equal(waitpid(runs[i], &status, 0), runs[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    char *text;
    size_t len;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&text, &len, path, BYTES, &err), err);
    assert_int_equal(len, BYTES);
    for (size_t i = 1; i < len; i++)
        assert_int_equal(text[i], text[0]);
    free(text);
    assert_false(uqm_is_file(in_dir("shared.part")));
}

static void a_part_has_one_run_and_what_a_killed_one_left_is_none(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    int fd, other;
    assert_ok(uqm_write_file(in_dir("p.part"), "left", 4, &err), err);
    assert_ok(uqm_part_open(&fd, in_dir("p.part"), "p", false, &err), err);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    assert_fails(uqm_part_open(&other, in_dir("p.part"), "p", false, &err), err, UQM_ERR_IO,
                 "p: another run is writing it");
    assert_int_equal(other, -1);
    assert_fails(uqm_part_clear(in_dir("p.part"), "p", false, &err), err, UQM_ERR_IO,
                 "another run");
    assert_true(uqm_is_file(in_dir("p.part")));
    close(fd);
    assert_ok(uqm_part_clear(in_dir("p.part"), "p", false, &err), err);
    assert_false(uqm_is_file(in_dir("p.part")));
    assert_ok(uqm_part_clear(in_dir("p.part"), "p", false, &err), err);

    /* A link there is not followed, nor what it names locked or written to. */
    assert_ok(uqm_write_file(in_dir("theirs"), "data", 4, &err), err);
    assert_int_equal(symlink("theirs", in_dir("p.part")), 0);
    assert_ok(uqm_part_open(&fd, in_dir("p.part"), "p", false, &err), err);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    char *text;
    size_t len;
    assert_ok(uqm_read_file(&text, &len, in_dir("theirs"), 100, &err), err);
    assert_string_equal(text, "data");
    free(text);
    assert_int_equal(unlink(in_dir("p.part")), 0);
}

static void paths_are_cut_and_joined(void **state)
{
    (void) state;
    static const struct {
        const char *path, *dir, *base;
    } cases[] = { { "a/b/c", "a/b", "c" },
                  { "c", ".", "c" },
                  { "/c", "/", "c" },
                  { "a/b//", "a", "b" },
                  { "a//b", "a", "b" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *d = uqm_path_dir(cases[i].path), *b = uqm_path_base(cases[i].path);
        assert_string_equal(d, cases[i].dir);
        assert_string_equal(b, cases[i].base);
        free(d);
        free(b);
    }
    char *p = uqm_path_join("a/", "b"), *q = uqm_path_join("a", "/b"), *r = uqm_path_join("", "b");
    assert_string_equal(p, "a/b");
    assert_string_equal(q, "/b");
    assert_string_equal(r, "b");
    free(p);
    free(q);
    free(r);
}

static void a_tree_is_removed_but_not_what_its_links_name(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_int_equal(mkdir(in_dir("keep"), 0700), 0);
    assert_ok(uqm_write_file(in_dir("keep/x"), "x", 1, &err), err);
    assert_int_equal(mkdir(in_dir("tree"), 0700), 0);
    assert_int_equal(mkdir(in_dir("tree/sub"), 0700), 0);
    assert_ok(uqm_write_file(in_dir("tree/sub/y"), "y", 1, &err), err);
    assert_int_equal(symlink(in_dir("keep"), in_dir("tree/link")), 0);
    assert_ok(uqm_remove_tree(in_dir("tree"), &err), err);
    assert_false(uqm_is_dir(in_dir("tree")));
    assert_true(uqm_is_file(in_dir("keep/x")));
    assert_ok(uqm_remove_tree(in_dir("tree"), &err), err);
}

static void a_tree_of_any_depth_that_an_archive_may_have_is_removed(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char path[1024] = "";
    strcpy(path, in_dir("deep"));
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 100; i++) {
        strcat(path, "/d");
        assert_int_equal(mkdir(path, 0700), 0);
    }
    strcat(path, "/x");
    assert_ok(uqm_write_file(path, "x", 1, &err), err);
    assert_ok(uqm_remove_tree(in_dir("deep"), &err), err);
    assert_false(uqm_is_dir(in_dir("deep")));
}

static void only_what_bears_the_mark_may_be_replaced(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_ok(uqm_check_replaceable(in_dir("absent"), "<mark>", "a page", &err), err);
    assert_ok(uqm_write_file(in_dir("nothing"), "", 0, &err), err);
    assert_ok(uqm_check_replaceable(in_dir("nothing"), "<mark>", "a page", &err), err);
    assert_ok(uqm_write_file(in_dir("page"), "\0 <mark> more", 13, &err), err);
    assert_ok(uqm_check_replaceable(in_dir("page"), "<mark>", "a page", &err), err);
    assert_ok(uqm_write_file(in_dir("data"), "<mar", 4, &err), err);
    assert_fails(uqm_check_replaceable(in_dir("data"), "<mark>", "a page", &err), err, UQM_ERR_ARG,
                 "data: not a page, so it is not replaced");
    assert_fails(uqm_check_replaceable(dir, "<mark>", "a page", &err), err, UQM_ERR_ARG,
                 "not a regular file");
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    assert_fails(uqm_check_replaceable(in_dir("pipe"), "<mark>", "a page", &err), err, UQM_ERR_ARG,
                 "not a regular file");

    assert_int_equal(link(in_dir("page"), in_dir("hard")), 0);
    assert_int_equal(symlink("page", in_dir("soft")), 0);
    assert_true(uqm_is_same_file(in_dir("hard"), in_dir("soft")));
    assert_false(uqm_is_same_file(in_dir("page"), in_dir("data")));
    assert_false(uqm_is_same_file(in_dir("absent"), in_dir("absent")));
}

static int make_dir(void **state)
{
    (void) state;
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void) state;
    return uqm_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_larger_than_allowed_is_refused_by_name),
        cmocka_unit_test(what_is_no_file_is_an_error_not_a_hang),
        cmocka_unit_test(what_is_no_file_or_leads_nowhere_is_not_taken_for_absent),
        cmocka_unit_test(an_existing_file_is_not_written_over),
        cmocka_unit_test(runs_that_replace_one_file_take_turns),
        cmocka_unit_test(a_part_has_one_run_and_what_a_killed_one_left_is_none),
        cmocka_unit_test(paths_are_cut_and_joined),
        cmocka_unit_test(a_tree_is_removed_but_not_what_its_links_name),
        cmocka_unit_test(a_tree_of_any_depth_that_an_archive_may_have_is_removed),
        cmocka_unit_test(only_what_bears_the_mark_may_be_replaced),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
