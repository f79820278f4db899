#include "src/base/arena.h"
#include "tests/unit/test.h"

static void memory_is_zeroed_aligned_and_apart(void **state)
{
    (void) state;
    struct uqm_arena a = { 0 };
    unsigned char *last = NULL;
    for (size_t i = 1; i < 2000; i++) {
        unsigned char *p = uqm_arena_alloc(&a, i, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t) p % 16, 0);
        for (size_t b = 0; b < 3 * i; b++)
            assert_int_equal(p[b], 0);
        memset(p, 0xA5, 3 * i);
        assert_ptr_not_equal(p, last);
        last = p;
    }
    uqm_arena_finish(&a);
    assert_null(a.head);
}

static void a_wrapping_product_is_refused(void **state)
{
    (void) state;
    struct uqm_arena a = { 0 };
    assert_null(uqm_arena_alloc(&a, SIZE_MAX / 2, 4));
    assert_null(uqm_arena_alloc(&a, SIZE_MAX / 2, 1));
    uqm_arena_finish(&a);
}

static void large_blocks_leave_the_small_one_in_use(void **state)
{
    (void) state;
    struct uqm_arena a = { 0 };
    char *p = uqm_arena_strndup(&a, "one", 3);
    assert_non_null(uqm_arena_alloc(&a, 1, 1 << 20));
    char *q = uqm_arena_printf(&a, "%s-%d", "two", 2);
    assert_string_equal(p, "one");
    assert_string_equal(q, "two-2");
    assert_true(q > p && q - p < 64);
    uqm_arena_finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
        cmocka_unit_test(a_wrapping_product_is_refused),
        cmocka_unit_test(large_blocks_leave_the_small_one_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
