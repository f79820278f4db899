#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/io/io_test.h"

/* Append known bytes in chunks of a changing size, as a producer does. */
static int write_known(struct uqm_sink *sink, size_t n, struct uqm_err *err)
{
    static const size_t chunks[] = { 1, 4095, 70001, 4096, 333, 262144, 13 };
    uint8_t *p = known_bytes(n);
    int ret = UQM_OK;
    for (size_t at = 0, k = 0; at < n && ret == UQM_OK; k++) {
        size_t len = chunks[k % 7] < n - at ? chunks[k % 7] : n - at;
        ret = uqm_sink_write(sink, p + at, len, err);
        at += len;
    }
    free(p);
    return ret;
}

static void assert_file_is_known(const char *path, size_t n)
{
    struct uqm_err err = { 0 };
    char *text;
    size_t len;
    assert_ok(uqm_read_file(&text, &len, path, n, &err), err);
    assert_int_equal(len, n);
    assert_known((const uint8_t *) text, n, 0);
    free(text);
}

/* Both digests are those of n known bytes. Frees it. */
static void assert_known_digest(struct uqm_file_digest *digest, size_t n)
{
    struct uqm_file_digest want = { .n_leaves = 0 };
    struct uqm_err err = { 0 };
    uint8_t *p = known_bytes(n);
    assert_ok(uqm_file_hash_bytes(&want, p, n, "known bytes", &err), err);
    assert_string_equal(digest->sha256.text, want.sha256.text);
    assert_string_equal(digest->root.text, want.root.text);
    assert_int_equal(digest->n_leaves, want.n_leaves);
    assert_memory_equal(digest->leaves, want.leaves, want.n_leaves * sizeof *want.leaves);
    uqm_file_digest_finish(&want);
    uqm_file_digest_finish(digest);
    free(p);
}

static void write_whole(enum uqm_io_kind kind, enum uqm_direct direct, size_t n, uint64_t memory)
{
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(kind, direct);
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    const char *path = in_dir("whole");
    assert_ok(uqm_sink_create(&sink, env, path, n, memory, &err), err);
    assert_ok(write_known(sink, n, &err), err);
    assert_ok(uqm_sink_finish(sink, &digest, &err), err);
    uqm_sink_destroy(&sink);
    assert_null(sink);
    assert_known_digest(&digest, n);
    assert_file_is_known(path, n);
    assert_int_equal(env->bytes_written, n);
    assert_int_equal(env->io_used, kind);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    assert_int_equal(unlink(path), 0);
}

static void any_size_is_written_and_hashed_by_every_engine(void **state)
{
    (void) state;
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 65536, 131071, 1000003 };
    for_each_engine(kind) for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    {
        write_whole(kind, UQM_DIRECT_OFF, sizes[i], 0);
        write_whole(kind, direct_if_possible(), sizes[i], 0);
        write_whole(kind, direct_if_possible(), sizes[i], 1 << 20);
    }
}

static void a_large_file_goes_past_the_cache_by_itself(void **state)
{
    (void) state;
    for_each_engine(kind) write_whole(kind, UQM_DIRECT_AUTO, (17 << 20) + 77, 4 << 20);
}

static int refuse_with(void *ctx)
{
    return *(int *) ctx;
}

/* Write n bytes with these faults; the error is in *err, and the file is gone when it fails. */
static int write_faulty(struct uqm_env *env, const struct uqm_io_faults *faults, size_t n,
                        struct uqm_err *err)
{
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    const char *path = in_dir("faulty");
    int ret = uqm_sink_create_with(&sink, env, path, n, 256 << 10, faults, err);
    if (ret == UQM_OK)
        ret = write_known(sink, n, err);
    if (ret == UQM_OK)
        ret = uqm_sink_finish(sink, &digest, err);
    if (ret < 0 && sink) { /* the first error stays the error */
        struct uqm_err again = { 0 };
        assert_int_equal(uqm_sink_write(sink, "x", 1, &again), ret);
        assert_string_equal(again.msg, err->msg);
        assert_int_equal(uqm_sink_finish(sink, &digest, NULL), ret);
    }
    uqm_sink_destroy(&sink);
    if (ret == UQM_OK) {
        assert_known_digest(&digest, n);
        assert_file_is_known(path, n);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    return ret;
}

static void short_interrupted_and_deferred_writes_end_in_the_same_bytes(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    for_each_engine(kind) for (int e = 0; e < 2; e++)
    {
        struct mishaps m = { .sys_errno = e ? EINTR : EAGAIN, .until = 5, .clip = 8192 };
        struct uqm_io_faults faults = { .ctx = &m, .transfer = mishap_transfer };
        assert_ok(write_faulty(io_env(kind, direct_if_possible()), &faults, 500003, &err), err);
        m = (struct mishaps){ .sys_errno = EINTR, .from = 3, .until = 300, .clip = 999 };
        assert_ok(write_faulty(io_env(kind, UQM_DIRECT_OFF), &faults, 300001, &err), err);
    }
}

static void a_disk_that_fills_up_midway_is_an_error_with_path_and_range(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    for_each_engine(kind) for (int i = 0; i < 4; i++)
    {
        static const int errnos[] = { ENOSPC, EDQUOT, EIO, EFBIG };
        struct mishaps m = { .sys_errno = errnos[i], .from = 4, .until = 1000 };
        struct uqm_io_faults faults = { .ctx = &m, .transfer = mishap_transfer };
        struct uqm_env *env = io_env(kind, i % 2 ? direct_if_possible() : UQM_DIRECT_OFF);
        assert_fails(write_faulty(env, &faults, 1 << 20, &err), err, UQM_ERR_IO,
                     "faulty: writing bytes [");
        assert_int_equal(err.sys_errno, errnos[i]);
    }
}

static void a_write_that_writes_nothing_is_an_error_not_a_hang(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    for_each_engine(kind)
    {
        struct mishaps m = { .at_end = true, .from = 1, .until = 1000 };
        struct uqm_io_faults faults = { .ctx = &m, .transfer = mishap_transfer };
        assert_fails(write_faulty(io_env(kind, UQM_DIRECT_OFF), &faults, 1 << 18, &err), err,
                     UQM_ERR_IO, "faulty: writing bytes [");
    }
}

static void refusals_at_the_beginning_and_the_end_are_reported(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    int e = ENOSPC;
    struct uqm_io_faults faults = { .ctx = &e, .reserve = refuse_with };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    assert_fails(write_faulty(env, &faults, 100000, &err), err, UQM_ERR_IO,
                 "faulty: reserving 100000 bytes: No space left");
    e = EIO;
    faults = (struct uqm_io_faults){ .ctx = &e, .sync = refuse_with };
    assert_fails(write_faulty(env, &faults, 100000, &err), err, UQM_ERR_IO,
                 "faulty: syncing it to the disk: Input/output error");
    e = EINVAL;
    faults = (struct uqm_io_faults){ .ctx = &e, .open_direct = refuse_with };
    env = io_env(UQM_IO_AUTO, UQM_DIRECT_ON);
    assert_fails(write_faulty(env, &faults, 100000, &err), err, UQM_ERR_IO, "--direct on: ");
}

static void file_systems_without_reservation_or_o_direct_will_do(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    int e = EOPNOTSUPP;
    struct uqm_io_faults faults = { .ctx = &e, .reserve = refuse_with, .open_direct = refuse_with };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    assert_ok(write_faulty(env, &faults, (16 << 20) + 5, &err), err);
    assert_int_equal(env->direct_used, 0);
}

static ssize_t refuse_direct_writes(void *ctx, const struct uqm_op *op, size_t len)
{
    (void) ctx;
    return op->align > 1 ? -EINVAL : (ssize_t) len;
}

static void extents_that_refuse_o_direct_are_written_through_the_cache(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_io_faults faults = { .transfer = refuse_direct_writes };
    for_each_engine(kind)
    {
        struct uqm_env *env = io_env(kind, UQM_DIRECT_AUTO);
        assert_ok(write_faulty(env, &faults, (16 << 20) + 5000, &err), err);
        if (direct_if_possible() == UQM_DIRECT_ON)
            assert_fails(write_faulty(io_env(kind, UQM_DIRECT_ON), &faults, 1 << 20, &err), err,
                         UQM_ERR_IO, "Invalid argument");
    }
}

static void an_existing_file_is_left_as_it_is(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_AUTO);
    struct uqm_sink *sink = NULL;
    const char *path = make_file("existing", 1000);
    assert_fails(uqm_sink_create(&sink, env, path, 10, 0, &err), err, UQM_ERR_IO, "existing");
    assert_null(sink);
    assert_file_is_known(path, 1000);
    assert_fails(uqm_sink_create(&sink, env, in_dir("no/such"), 10, 0, &err), err, UQM_ERR_IO,
                 "no/such");
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
}

static void an_unfinished_file_is_removed_but_not_another_in_its_place(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_sink *sink = NULL;
    const char *path = in_dir("unfinished");
    assert_ok(uqm_sink_create(&sink, env, path, 1 << 20, 1 << 18, &err), err);
    assert_ok(write_known(sink, 400000, &err), err);
    uqm_sink_destroy(&sink);
    assert_int_equal(access(path, F_OK), -1);

    assert_ok(uqm_sink_create(&sink, env, path, 1 << 20, 1 << 18, &err), err);
    assert_int_equal(unlink(path), 0);
    make_file("unfinished", 100);
    uqm_sink_destroy(&sink);
    assert_file_is_known(path, 100);
}

static void more_or_fewer_bytes_than_announced_are_refused(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    assert_ok(uqm_sink_create(&sink, env, in_dir("exact"), 10, 0, &err), err);
    assert_ok(uqm_sink_write(sink, "012345", 6, &err), err);
    assert_fails(uqm_sink_finish(sink, &digest, &err), err, UQM_ERR_ARG, "6 of its 10 bytes");
    uqm_sink_destroy(&sink);
    assert_ok(uqm_sink_create(&sink, env, in_dir("exact"), 10, 0, &err), err);
    assert_fails(uqm_sink_write(sink, "0123456789A", 11, &err), err, UQM_ERR_ARG, "go past its 10");
    uqm_sink_destroy(&sink);
    assert_fails(uqm_sink_create(&sink, env, in_dir("exact"), UINT64_MAX, 0, &err), err,
                 UQM_ERR_ARG, "no file has");
    assert_int_equal(access(in_dir("exact"), F_OK), -1);
}

static void the_mode_honours_the_umask(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_sink *sink = NULL;
    struct uqm_file_digest digest = { .n_leaves = 0 };
    struct stat st;
    mode_t old = umask(027);
    assert_ok(uqm_sink_create(&sink, env, in_dir("mode"), 0, 0, &err), err);
    umask(old);
    assert_ok(uqm_sink_finish(sink, &digest, &err), err);
    uqm_sink_destroy(&sink);
    assert_int_equal(stat(in_dir("mode"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_string_equal(digest.sha256.text,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    uqm_file_digest_finish(&digest);
}

static void an_interrupt_ends_it_and_leaves_no_file(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    int flag = 1;
    env->cancel = &flag;
    assert_fails(write_faulty(env, NULL, 1 << 20, &err), err, UQM_ERR_INTERRUPTED, "interrupted");
    env->cancel = NULL;
}

static void too_small_a_budget_is_named(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_sink *sink = NULL;
    void *hog;
    assert_ok(uqm_budget_alloc(&hog, env, 255 << 20, 4096, "a hog", &err), err);
    assert_fails(uqm_sink_create(&sink, env, in_dir("poor"), 8 << 20, 4 << 20, &err), err,
                 UQM_ERR_NOMEM, "the writing buffers");
    assert_int_equal(access(in_dir("poor"), F_OK), -1);
    uqm_budget_free(&hog, env, 255 << 20);
}

/* EFBIG, once SIGXFSZ is ignored, as the program does. */
static void a_file_past_the_size_limit_is_refused_at_once(void **state)
{
    (void) state;
    struct uqm_env *env = io_env(UQM_IO_AUTO, UQM_DIRECT_OFF);
    struct uqm_err err = { 0 };
    struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
    struct rlimit was, limit;
    assert_int_equal(sigaction(SIGXFSZ, &ignore, &old), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    limit = (struct rlimit){ .rlim_cur = 1 << 20, .rlim_max = was.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int ret = write_faulty(env, NULL, 2 << 20, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    sigaction(SIGXFSZ, &old, NULL);
    assert_int_equal(ret, UQM_ERR_IO);
    assert_int_equal(err.sys_errno, EFBIG);
}

enum { NOT_ALLOWED = 77 };

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Mounts of our own: as root, or as the root of a user namespace. */
static bool may_mount(void)
{
    char uids[64], gids[64];
    snprintf(uids, sizeof uids, "0 %u 1", (unsigned) geteuid());
    snprintf(gids, sizeof gids, "0 %u 1", (unsigned) getegid());
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_text("/proc/self/uid_map", uids) ||
         !write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/gid_map", gids)))
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A file system of 1 MiB, in a child that alone sees it. 0 when all went as it should. */
static int fill_a_small_disk(void)
{
    if (!may_mount() || mount("none", io_dir, "tmpfs", 0, "size=1m,mode=0777") != 0)
        return NOT_ALLOWED;
    int e = EOPNOTSUPP;
    struct uqm_io_faults lazy = { .ctx = &e, .reserve = refuse_with };
    for_each_engine(kind)
    {
        struct uqm_env *env = io_env(kind, UQM_DIRECT_OFF);
        struct uqm_err err = { 0 };
        struct uqm_sink *sink = NULL;
        if (uqm_sink_create(&sink, env, in_dir("big"), 2 << 20, 0, &err) != UQM_ERR_IO ||
            err.sys_errno != ENOSPC || !strstr(err.msg, "big: reserving 2097152 bytes: "))
            return 1;
        if (uqm_sink_create_with(&sink, env, in_dir("big"), 2 << 20, 0, &lazy, &err) != UQM_OK)
            return 2;
        if (write_known(sink, 2 << 20, &err) != UQM_ERR_IO || err.sys_errno != ENOSPC ||
            !strstr(err.msg, "big: writing bytes ["))
            return 3;
        uqm_sink_destroy(&sink);
        if (access(in_dir("big"), F_OK) == 0)
            return 4;
        if (uqm_sink_create(&sink, env, in_dir("big"), 1 << 19, 0, &err) != UQM_OK)
            return 5; /* the room is there again */
        uqm_sink_destroy(&sink);
    }
    return 0;
}

static void a_full_disk_is_found_at_once_or_midway(void **state)
{
    (void) state;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(fill_a_small_disk());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_ALLOWED)
        test_skip("no file system may be mounted here");
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_size_is_written_and_hashed_by_every_engine),
        cmocka_unit_test(a_large_file_goes_past_the_cache_by_itself),
        cmocka_unit_test(short_interrupted_and_deferred_writes_end_in_the_same_bytes),
        cmocka_unit_test(a_disk_that_fills_up_midway_is_an_error_with_path_and_range),
        cmocka_unit_test(a_write_that_writes_nothing_is_an_error_not_a_hang),
        cmocka_unit_test(refusals_at_the_beginning_and_the_end_are_reported),
        cmocka_unit_test(file_systems_without_reservation_or_o_direct_will_do),
        cmocka_unit_test(extents_that_refuse_o_direct_are_written_through_the_cache),
        cmocka_unit_test(an_existing_file_is_left_as_it_is),
        cmocka_unit_test(an_unfinished_file_is_removed_but_not_another_in_its_place),
        cmocka_unit_test(more_or_fewer_bytes_than_announced_are_refused),
        cmocka_unit_test(the_mode_honours_the_umask),
        cmocka_unit_test(an_interrupt_ends_it_and_leaves_no_file),
        cmocka_unit_test(too_small_a_budget_is_named),
        cmocka_unit_test(a_file_past_the_size_limit_is_refused_at_once),
        cmocka_unit_test(a_full_disk_is_found_at_once_or_midway),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
