/* A merge over an engine that reorders, delays, shortens and fails: the bytes do not depend on it.
 */
#include <errno.h>

#include "tests/crash/engine_faulty.h"
#include "tests/crash/small_merge.h"

static void any_order_and_any_pieces_end_in_the_same_bytes(void **state)
{
    (void) state;
    static const enum uqm_direct directs[] = { UQM_DIRECT_OFF, UQM_DIRECT_AUTO };
    long n = 0;
    for (unsigned seed = 0; seed < 100; seed++) {
        struct faulty_plan plan = { .seed = seed,
                                    .reorders = seed % 2,
                                    .shortens = seed / 2 % 2,
                                    .delays = seed / 4 % 2,
                                    .fail_at = -1 };
        struct uqm_err err = { 0 };
        m.common.direct = directs[seed / 8 % 2];
        mkdir(in_dir(m.dir, "run"), 0755);
        faulty_set(&plan);
        int ret = small_run(&m, "run", false, &err);
        faulty_set(NULL);
        assert_ok(ret, err);
        const char *why = small_fault(&m, "run", false);
        if (why)
            fail_msg("seed %u: %s", seed, why);
        n += faulty_count();
        small_forget(&m, "run");
    }
    m.common.direct = UQM_DIRECT_OFF;
    printf("# 100 merges, %ld transfers\n", n);
}

/* *failed: whether the run did. */
static void one_failure(long at, int sys_errno, long in_a_row, bool *failed)
{
    struct faulty_plan plan = { .seed = (unsigned) at,
                                .reorders = in_a_row == 1, /* else all of one operation */
                                .shortens = at % 2,
                                .fail_at = at,
                                .n_failures = in_a_row,
                                .sys_errno = sys_errno };
    struct uqm_err err = { 0 };
    mkdir(in_dir(m.dir, "run"), 0755);
    faulty_set(&plan);
    int ret = small_run(&m, "run", false, &err);
    faulty_set(NULL);
    *failed = ret < 0;
    const char *why = small_fault(&m, "run", ret < 0);
    if (why || (ret < 0 && (ret != UQM_ERR_IO || !strstr(err.msg, "bytes ["))))
        fail_msg("transfer %ld, errno %d: %d, %s; %s", at, sys_errno, ret, err.msg, why ? why : "");
    if (ret < 0 && (small_run(&m, "run", false, &err) < 0 || (why = small_fault(&m, "run", false))))
        fail_msg("transfer %ld, errno %d, and run again: %s; %s", at, sys_errno, err.msg,
                 why ? why : "");
    small_forget(&m, "run");
}

static void every_transfer_may_fail(void **state)
{
    (void) state;
    static const struct {
        int sys_errno;
        long in_a_row;
        bool is_survived;
    } cases[] = { { EIO, 1, false },    { ENOSPC, 1, false },  { EINTR, 1, true },
                  { EAGAIN, 1, true },  { EAGAIN, 5, true },   { EINTR, 200, true },
                  { EDQUOT, 1, false }, { EINTR, 1001, false } };
    struct faulty_plan count = { .fail_at = -1 };
    struct uqm_err err = { 0 };
    mkdir(in_dir(m.dir, "count"), 0755);
    faulty_set(&count);
    assert_ok(small_run(&m, "count", false, &err), err);
    faulty_set(NULL);
    const long n = faulty_count();
    assert_true(n > 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (long at = 0; at < n; at++) {
            bool failed;
            one_failure(at, cases[i].sys_errno, cases[i].in_a_row, &failed);
            assert_true(failed != cases[i].is_survived);
        }
    printf("# %ld transfers, each failing in %zu ways\n", n, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_and_any_pieces_end_in_the_same_bytes),
        cmocka_unit_test(every_transfer_may_fail),
    };
    return cmocka_run_group_tests(tests, small_group_start, small_group_stop);
}
