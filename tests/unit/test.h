/* cmocka with what it needs before it, and the paths of the test data. */
#ifndef UQM_TESTS_TEST_H
#define UQM_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/env.h"

/* A file of the zoo, or of the tests folder; in a ring of static buffers, good for a few calls. */
static inline const char *test_path(const char *variable, const char *name)
{
    static char ring[8][1024];
    static unsigned next;
    const char *root = getenv(variable);
    if (!root)
        fail_msg("%s is not set: run the tests through meson test", variable);
    char *buf = ring[next++ % 8];
    snprintf(buf, sizeof ring[0], "%s/%s", root, name);
    return buf;
}
#define zoo_path(name)  test_path("UQM_ZOO", name)
#define data_path(name) test_path("UQM_TESTS", name)

/*
 * Leave a test that this machine does not allow. cmocka 1.1 calls its own skip() "not ok" in TAP,
 * so it is said on a line of its own, which tools/count-tests.py counts as skipped, not as passed.
 */
#define test_skip(why)                                                                             \
    do {                                                                                           \
        printf("# SKIP: %s\n", why);                                                               \
        fflush(stdout);                                                                            \
        return;                                                                                    \
    } while (0)

/* The call succeeds, or the test fails with its message. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        int ret_ = (call);                                                                         \
        if (ret_ < 0)                                                                              \
            fail_msg("%s: %s", #call, (err).msg);                                                  \
    } while (0)

/* The call fails with this code and a message that holds this text. */
#define assert_fails(call, err_, code_, text)                                                      \
    do {                                                                                           \
        assert_int_equal((call), (code_));                                                         \
        if (!strstr((err_).msg, (text)))                                                           \
            fail_msg("%s: \"%s\" lacks \"%s\"", #call, (err_).msg, (text));                        \
    } while (0)

/* An environment with the defaults and `memory` bytes; n_threads 0: as many as there are CPUs. */
static inline struct uqm_env *test_env(uint64_t memory, int n_threads)
{
    static struct uqm_env envs[16];
    static unsigned next;
    struct uqm_env *env = &envs[next++ % 16];
    struct uqm_common common = { .memory = memory, .n_threads = n_threads };
    struct uqm_err err = { 0 };
    if (uqm_env_init(env, &common, &err) < 0)
        fail_msg("%s", err.msg);
    return env;
}

#endif
