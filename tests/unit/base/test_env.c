#include "tests/unit/test.h"

static void the_budget_refuses_what_it_does_not_have(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 1);
    void *a, *b;
    assert_ok(uqm_budget_alloc(&a, env, 40 << 20, 4096, "the first", &err), err);
    assert_fails(uqm_budget_alloc(&b, env, 30 << 20, 64, "the second", &err), err, UQM_ERR_NOMEM,
                 "the second need 30.0 MiB, 24.0 MiB of 64.0 MiB are left");
    assert_null(b);
    assert_int_equal(uqm_budget_left(env), 24 << 20);
    uqm_budget_free(&a, env, 40 << 20);
    assert_null(a);
    assert_int_equal(uqm_budget_left(env), 64 << 20);
    uqm_budget_free(&a, env, 40 << 20);
    assert_int_equal(env->budget.peak_bytes, 40 << 20);
}

static void a_wanted_size_that_wraps_is_refused(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 1);
    void *a, *b;
    assert_ok(uqm_budget_alloc(&a, env, 4096, 64, "x", &err), err);
    assert_int_equal(uqm_budget_alloc(&b, env, SIZE_MAX - 100, 64, "y", &err), UQM_ERR_NOMEM);
    uqm_budget_free(&a, env, 4096);
}

static void bad_settings_are_refused_with_the_flag_s_name(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env env;
    assert_fails(uqm_env_init(&env, &(struct uqm_common){ .memory = 1000 }, &err), err,
                 UQM_ERR_USAGE, "--memory");
    assert_fails(uqm_env_init(&env, &(struct uqm_common){ .n_threads = -1 }, &err), err,
                 UQM_ERR_USAGE, "--threads");
    assert_ok(uqm_env_init(&env, &(struct uqm_common){ 0 }, &err), err);
    assert_true(env.n_threads >= 1);
    assert_true(env.budget.limit_bytes >= 256u << 20 && env.budget.limit_bytes <= 4096ull << 20);
}

static int lines;
static void count_line(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    assert_int_equal(level, UQM_LOG_WARN);
    assert_string_equal(line, "odd thing 3");
    lines++;
}

static void a_warning_is_an_error_under_strict(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env env = { .log = count_line };
    assert_int_equal(uqm_warn(&env, &err, "odd thing %d", 3), UQM_OK);
    assert_int_equal(lines, 1);
    env.strict = true;
    assert_fails(uqm_warn(&env, &err, "odd thing %d", 3), err, UQM_ERR_FORMAT, "odd thing 3");
    assert_int_equal(lines, 1);
}

static void a_set_flag_interrupts(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    volatile int flag = 0;
    struct uqm_env env = { .cancel = &flag };
    assert_int_equal(uqm_check_cancel(&env, &err), UQM_OK);
    flag = 1;
    assert_int_equal(uqm_check_cancel(&env, &err), UQM_ERR_INTERRUPTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_budget_refuses_what_it_does_not_have),
        cmocka_unit_test(a_wanted_size_that_wraps_is_refused),
        cmocka_unit_test(bad_settings_are_refused_with_the_flag_s_name),
        cmocka_unit_test(a_warning_is_an_error_under_strict),
        cmocka_unit_test(a_set_flag_interrupts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
