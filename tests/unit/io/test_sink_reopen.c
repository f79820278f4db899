/* A sink that stops and another that goes on give the file, and the digests, of one that does not.
 */
#include "io/sink.h"

#include "tests/unit/io/io_test.h"

static void append_known(struct uqm_sink *sink, size_t from, size_t until)
{
    struct uqm_err err = { 0 };
    uint8_t *p = known_bytes(until);
    for (size_t at = from; at < until;) {
        size_t len = 1 + at * 7 % 70001;
        len = len < until - at ? len : until - at;
        assert_ok(uqm_sink_write(sink, p + at, len, &err), err);
        at += len;
    }
    free(p);
}

static int check_known(void *ctx, const void *data, size_t n_bytes, struct uqm_err *err)
{
    uint64_t *at = ctx;
    const uint8_t *p = data;
    for (size_t i = 0; i < n_bytes; i++)
        if (p[i] != known_byte(*at + i))
            return uqm_fail(err, UQM_ERR_CHECK, "byte %zu", (size_t) *at + i);
    *at += n_bytes;
    return UQM_OK;
}

static void assert_finished(struct uqm_sink **sink, const char *path, size_t n)
{
    struct uqm_file_digest digest = { .n_leaves = 0 }, want = { .n_leaves = 0 };
    struct uqm_err err = { 0 };
    uint8_t *p = known_bytes(n);
    char *text;
    size_t len;
    assert_ok(uqm_sink_finish(*sink, &digest, &err), err);
    uqm_sink_destroy(sink);
    assert_ok(uqm_file_hash_bytes(&want, p, n, "known bytes", &err), err);
    assert_string_equal(digest.sha256.text, want.sha256.text);
    assert_string_equal(digest.root.text, want.root.text);
    assert_ok(uqm_read_file(&text, &len, path, n, &err), err);
    assert_int_equal(len, n);
    assert_memory_equal(text, p, n);
    free(text);
    free(p);
    uqm_file_digest_finish(&want);
    uqm_file_digest_finish(&digest);
}

/* Stop behind `stop` bytes, of which the next one may rely on what flush said. */
static void stop_and_go_on(struct uqm_env *env, size_t n, size_t stop, uint64_t memory, bool all)
{
    struct uqm_err err = { 0 };
    struct uqm_sink *sink = NULL;
    const char *path = in_dir("file");
    uint64_t durable = UINT64_MAX, at = 0;
    assert_ok(uqm_sink_create(&sink, env, path, n, memory, &err), err);
    append_known(sink, 0, stop);
    assert_ok(uqm_sink_flush(sink, all, &durable, &err), err);
    assert_true(all ? durable == stop : durable <= stop && stop - durable < 4 << 20);
    uqm_sink_keep_file(sink);
    uqm_sink_destroy(&sink);

    /* what lies behind is not to be relied on */
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (uint64_t k = durable; k < n; k += 511)
        assert_int_equal(pwrite(fd, "?", 1, (off_t) k), 1);
    close(fd);

    assert_ok(uqm_sink_reopen(&sink, env, path, n, memory, durable, check_known, &at, &err), err);
    assert_int_equal(at, durable);
    append_known(sink, durable, n);
    assert_finished(&sink, path, n);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    assert_int_equal(unlink(path), 0);
}

static void a_file_goes_on_from_any_place(void **state)
{
    (void) state;
    static const size_t stops[] = { 0, 1, 4095, 4096, 65535, 65536, 65537, 131072, 300001, 500003 };
    const size_t n = 500003;
    for_each_engine(kind) for (size_t i = 0; i < sizeof stops / sizeof *stops;
                               i++) for (int direct = 0; direct < 2; direct++) for (int all = 0;
                                                                                    all < 2; all++)
    {
        struct uqm_env *env = io_env(kind, direct ? direct_if_possible() : UQM_DIRECT_OFF);
        stop_and_go_on(env, n, stops[i], 0, all);
        stop_and_go_on(env, n, stops[i], 1 << 20, all);
    }
}

static void a_flush_in_between_changes_nothing(void **state)
{
    (void) state;
    for_each_engine(kind)
    {
        struct uqm_err err = { 0 };
        struct uqm_sink *sink = NULL;
        struct uqm_env *env = io_env(kind, direct_if_possible());
        uint64_t durable, last = 0;
        assert_ok(uqm_sink_create(&sink, env, in_dir("file"), 900001, 0, &err), err);
        for (size_t at = 0; at < 900001; at += 100000) {
            append_known(sink, at, at + 100000 < 900001 ? at + 100000 : 900001);
            assert_ok(uqm_sink_flush(sink, false, &durable, &err), err);
            assert_true(durable >= last);
            last = durable;
        }
        assert_true(last > 800000);
        assert_finished(&sink, in_dir("file"), 900001);
        assert_int_equal(unlink(in_dir("file")), 0);
    }
}

static void an_interrupted_sink_can_still_be_flushed(void **state)
{
    (void) state;
    volatile int stop = 0;
    struct uqm_err err = { 0 };
    struct uqm_sink *sink = NULL;
    struct uqm_env *env = io_env(UQM_IO_PREAD, UQM_DIRECT_OFF);
    uint64_t durable;
    env->cancel = &stop;
    assert_ok(uqm_sink_create(&sink, env, in_dir("file"), 900001, 0, &err), err);
    append_known(sink, 0, 400000);
    stop = 1;
    uint8_t *p = known_bytes(900001);
    assert_int_equal(uqm_sink_write(sink, p + 400000, 500001, &err), UQM_ERR_INTERRUPTED);
    free(p);
    assert_ok(uqm_sink_flush(sink, true, &durable, &err), err);
    assert_true(durable >= 400000);
    assert_false(uqm_sink_is_spoilt(sink));
    uqm_sink_keep_file(sink);
    uqm_sink_destroy(&sink);
    stop = 0;
    uint64_t at = 0;
    assert_ok(
        uqm_sink_reopen(&sink, env, in_dir("file"), 900001, 0, durable, check_known, &at, &err),
        err);
    append_known(sink, durable, 900001);
    assert_finished(&sink, in_dir("file"), 900001);
    assert_int_equal(unlink(in_dir("file")), 0);
}

static int refuse(void *ctx)
{
    return *(int *) ctx;
}

static ssize_t refuse_transfer(void *ctx, const struct uqm_op *op, size_t len)
{
    (void) op, (void) len;
    return -*(int *) ctx;
}

/* The kernel may have dropped what it could not write: nothing of the file counts any more. */
static void a_failed_sync_or_write_spoils_the_file_and_a_full_disk_does_not(void **state)
{
    (void) state;
    static const struct {
        int sys_errno;
        bool at_sync, spoils;
    } cases[] = { { EIO, true, true },      { ENOSPC, true, true },   { EIO, false, true },
                  { ENOSPC, false, false }, { EDQUOT, false, false }, { EFBIG, false, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int e = cases[i].sys_errno;
        struct uqm_io_faults faults = { .ctx = &e };
        struct uqm_err err = { 0 };
        struct uqm_sink *sink = NULL;
        uint64_t durable;
        if (cases[i].at_sync)
            faults.sync = refuse;
        else
            faults.transfer = refuse_transfer;
        assert_ok(uqm_sink_create_with(&sink, io_env(UQM_IO_PREAD, UQM_DIRECT_OFF), in_dir("file"),
                                       900001, 0, &faults, &err),
                  err);
        append_known(sink, 0, 100000);
        assert_int_equal(uqm_sink_flush(sink, true, &durable, &err), UQM_ERR_IO);
        assert_int_equal(err.sys_errno, e);
        assert_int_equal(uqm_sink_is_spoilt(sink), cases[i].spoils);
        e = 0; /* the next sync would succeed: it is not tried */
        assert_int_equal(uqm_sink_flush(sink, true, &durable, &err), UQM_ERR_IO);
        uqm_sink_destroy(&sink);
        assert_int_equal(access(in_dir("file"), F_OK), -1);
    }
}

static void what_is_not_the_file_that_was_left_is_told_apart_and_left_alone(void **state)
{
    (void) state;
    struct uqm_env *env = io_env(UQM_IO_PREAD, UQM_DIRECT_OFF);
    struct uqm_err err = { 0 };
    struct uqm_sink *sink = NULL;
    uint64_t at = 0;
    make_file("file", 1000);
    assert_int_equal(symlink("file", in_dir("link")), 0);
    assert_int_equal(mkdir(in_dir("folder"), 0700), 0);
    static const char *const names[] = { "absent", "link", "folder", "file" };
    for (size_t i = 0; i < 4; i++) { /* the last one has another size */
        at = 0;
        assert_int_equal(
            uqm_sink_reopen(&sink, env, in_dir(names[i]), 2000, 0, 1000, check_known, &at, &err),
            i == 2 ? UQM_ERR_IO : UQM_ERR_CHECK);
        assert_null(sink);
    }
    assert_int_equal(uqm_sink_reopen(&sink, env, in_dir("file"), 1000, 0, 900, check_known,
                                     (uint64_t[]){ 5 }, &err),
                     UQM_ERR_CHECK); /* the bytes are others */
    assert_int_equal(access(in_dir("file"), F_OK), 0);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_goes_on_from_any_place),
        cmocka_unit_test(a_flush_in_between_changes_nothing),
        cmocka_unit_test(an_interrupted_sink_can_still_be_flushed),
        cmocka_unit_test(a_failed_sync_or_write_spoils_the_file_and_a_full_disk_does_not),
        cmocka_unit_test(what_is_not_the_file_that_was_left_is_told_apart_and_left_alone),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
