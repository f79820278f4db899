#include "io/pool.h"
#include "tests/unit/test.h"

static void every_buffer_has_one_owner(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_pool pool;
    assert_ok(uqm_pool_init(&pool, env, 8192, 3, "buffers", &err), err);
    assert_int_equal(env->budget.used_bytes, 3 * 8192);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(uqm_pool_take(&pool), i);
        assert_int_equal((uintptr_t) pool.bufs[i] % 4096, 0);
        memset(pool.bufs[i], i, 8192);
    }
    assert_int_equal(uqm_pool_take(&pool), -1);
    uqm_pool_give(&pool, 1);
    assert_int_equal(uqm_pool_take(&pool), 1);
    assert_int_equal(*(char *) pool.bufs[0], 0);
    assert_int_equal(*(char *) pool.bufs[2], 2);
    uqm_pool_finish(&pool);
    assert_int_equal(env->budget.used_bytes, 0);
    uqm_pool_finish(&pool);
}

static void a_pool_beyond_the_budget_is_refused(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_pool pool;
    assert_fails(uqm_pool_init(&pool, env, 1 << 20, 65, "buffers", &err), err, UQM_ERR_NOMEM,
                 "buffers need 65.0 MiB");
    assert_int_equal(uqm_pool_init(&pool, env, SIZE_MAX / 4096 * 4096, 1 << 20, "buffers", &err),
                     UQM_ERR_NOMEM);
    assert_int_equal(env->budget.used_bytes, 0);
    uqm_pool_finish(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_buffer_has_one_owner),
        cmocka_unit_test(a_pool_beyond_the_budget_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
