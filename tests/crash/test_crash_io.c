/*
 * Every operation on files of a small merge fails once, in every way. It ends with a clean error or
 * with the right result; the target is absent or whole; the next run, with nothing wrong, ends in
 * the bytes of an unbroken one.
 */
#include <errno.h>
#include <jansson.h>

#include "tests/crash/small_merge.h"
#include "tests/crash/wrapped.h"

struct way {
    const char *name;
    enum world_fault fault;
    int sys_errno;
};

static const struct way ways[] = {
    { "EIO", WORLD_FAIL, EIO },
    { "ENOSPC", WORLD_FAIL, ENOSPC },
    { "EINTR", WORLD_FAIL, EINTR },
    { "EAGAIN", WORLD_FAIL, EAGAIN },
    { "a short transfer", WORLD_SHORT, 0 },
};
enum { N_WAYS = sizeof ways / sizeof *ways };

/* How many operations a run takes. */
static long count_operations(enum world_count count)
{
    struct uqm_err err = { 0 };
    const struct world_plan plan = { .count = count };
    mkdir(in_dir(m.dir, "count"), 0755);
    world_set(&plan);
    int ret = small_run(&m, "count", false, &err);
    world_set(NULL);
    assert_ok(ret, err);
    assert_null(small_fault(&m, "count", false));
    small_forget(&m, "count");
    return world_count();
}

static long n_wrong; /* all are told of, not the first alone */

__attribute__((format(printf, 4, 5))) static void
wrong(const struct way *way, long at, const struct uqm_err *err, const char *format, ...)
{
    va_list ap;
    n_wrong++;
    printf("# operation %ld, %s in %s (%s): ", at, way->name,
           world_struck_in() ? world_struck_in() : "?", err->msg);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
}

static void run_again(const struct way *way, long at, const struct uqm_err *first)
{
    struct uqm_err err = { 0 };
    const char *why;
    if (small_run(&m, "run", false, &err) < 0)
        wrong(way, at, first, "run again: %s", err.msg);
    else if ((why = small_fault(&m, "run", false)))
        wrong(way, at, first, "run again: %s", why);
    else if (exists(in_dir(m.dir, "run/.out.part")))
        wrong(way, at, first, "run again: the part folder stays");
}

/* Returns whether the run failed. */
static bool fail_once(enum world_count count, const struct way *way, long at)
{
    struct uqm_err err = { 0 };
    const struct world_plan plan = {
        .count = count, .fault = way->fault, .at = at, .sys_errno = way->sys_errno
    };
    mkdir(in_dir(m.dir, "run"), 0755);
    world_set(&plan);
    int ret = small_run(&m, "run", false, &err);
    world_set(NULL);
    const char *why = small_fault(&m, "run", ret < 0);
    if (why)
        wrong(way, at, &err, "%s", why);
    if (ret < 0 && (!err.msg[0] || !world_has_struck()))
        wrong(way, at, &err, "failed without a reason");
    if (small_count_open() != m.n_open)
        wrong(way, at, &err, "%d files are open, there were %d", small_count_open(), m.n_open);
    bool stands = exists(in_dir(m.dir, "run/out")) && !exists(in_dir(m.dir, "run/.out.part"));
    if (ret < 0 && !stands)
        run_again(way, at, &err);
    small_forget(&m, "run");
    return ret < 0;
}

static void all_operations(enum world_count count, const struct way *way, const char *what)
{
    long n = count_operations(count), n_failed = 0;
    assert_true(n > 20);
    for (long at = 0; at < n; at++)
        n_failed += fail_once(count, way, at);
    printf("# %ld %s, each with %s: %ld runs failed, %ld did without\n", n, what, way->name,
           n_failed, n - n_failed);
    if (way->fault == WORLD_SHORT)
        assert_int_equal(n_failed, 0);
    assert_int_equal(n_wrong, 0);
}

static void every_operation_on_files_may_fail_once(void **state)
{
    (void) state;
    for (size_t i = 0; i < N_WAYS; i++)
        all_operations(WORLD_IO, &ways[i], "operations");
}

static void every_allocation_may_fail_once(void **state)
{
    (void) state;
    const struct way way = { "no memory", WORLD_FAIL, ENOMEM };
    all_operations(WORLD_ALLOCS, &way, "allocations");
}

static void every_allocation_of_a_convert_may_fail_once(void **state)
{
    (void) state;
    const struct way way = { "no memory", WORLD_FAIL, ENOMEM };
    struct uqm_err err = { 0 };
    m.converts = true;
    assert_int_equal(rename(in_dir(m.dir, "whole"), in_dir(m.dir, "merged")), 0);
    mkdir(in_dir(m.dir, "whole"), 0755);
    assert_ok(small_run(&m, "whole", false, &err), err);
    all_operations(WORLD_ALLOCS, &way, "allocations of a convert");
    small_forget(&m, "whole");
    assert_int_equal(rename(in_dir(m.dir, "merged"), in_dir(m.dir, "whole")), 0);
    m.converts = false;
}

/* The next sync would say that all is well. Whatever it was of is gone: a companion, which is
 * written anew, alone; a shard, the journal or a folder with everything. */
static void what_a_sync_failed_of_is_never_used_again(void **state)
{
    (void) state;
    const long n = count_operations(WORLD_SYNCS);
    long n_kept = 0;
    for (long at = 0; at < n; at++) {
        struct uqm_err err = { 0 };
        const struct world_plan plan = {
            .count = WORLD_SYNCS, .fault = WORLD_FAIL, .at = at, .sys_errno = EIO
        };
        mkdir(in_dir(m.dir, "run"), 0755);
        world_set(&plan);
        int ret = small_run(&m, "run", false, &err);
        world_set(NULL);
        if (ret != UQM_ERR_IO)
            fail_msg("sync %ld of %ld: %d: %s", at, n, ret, err.msg);
        /* but for the last one, of the folder that the target is in: the output has its name */
        bool named = exists(in_dir(m.dir, "run/out"));
        bool kept = !named && exists(in_dir(m.dir, "run/.out.part"));
        n_kept += kept;
        if (kept && (exists(world_struck_path()) || strstr(world_struck_path(), "/model-") ||
                     strstr(world_struck_path(), "/journal")))
            fail_msg("sync of %s failed, and what was done is kept", world_struck_path());
        assert_true(!named || at == n - 1);
        small_forget(&m, "run");
    }
    printf("# %ld syncs failed, %ld part folders were kept\n", n, n_kept);
}

static int start(void **state)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    return small_group_start(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_on_files_may_fail_once),
        cmocka_unit_test(every_allocation_may_fail_once),
        cmocka_unit_test(every_allocation_of_a_convert_may_fail_once),
        cmocka_unit_test(what_a_sync_failed_of_is_never_used_again),
    };
    return cmocka_run_group_tests(tests, start, small_group_stop);
}
