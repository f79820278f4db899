#include "src/checkpoint/range_queue.h"
#include "tests/unit/test.h"

static struct uqm_range numbered(size_t i)
{
    return (struct uqm_range){ .tensor = i, .first_elem = 2 * i, .n_elem = 3 * i };
}

static void assert_number(const struct uqm_range *range, size_t i)
{
    assert_int_equal(range->tensor, i);
    assert_int_equal(range->first_elem, 2 * i);
    assert_int_equal(range->n_elem, 3 * i);
}

static void an_empty_queue_has_no_first(void **state)
{
    (void) state;
    struct uqm_range_queue queue = { 0 };
    assert_null(uqm_range_queue_first(&queue));
    uqm_range_queue_finish(&queue);
    uqm_range_queue_finish(&queue);
}

/* Three in, two out: the ring wraps round before it grows, each time anew. */
static void ranges_come_out_as_they_went_in_however_it_grows(void **state)
{
    (void) state;
    struct uqm_range_queue queue = { 0 };
    size_t n_in = 0, n_out = 0;
    while (n_in < 3000) {
        for (int i = 0; i < 3; i++) {
            struct uqm_range range = numbered(n_in++);
            assert_true(uqm_range_queue_push(&queue, &range));
        }
        for (int i = 0; i < 2; i++) {
            assert_number(uqm_range_queue_first(&queue), n_out);
            struct uqm_range range = uqm_range_queue_pop(&queue);
            assert_number(&range, n_out++);
        }
    }
    while (uqm_range_queue_first(&queue)) {
        struct uqm_range range = uqm_range_queue_pop(&queue);
        assert_number(&range, n_out++);
    }
    assert_int_equal(n_out, n_in);
    uqm_range_queue_finish(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_queue_has_no_first),
        cmocka_unit_test(ranges_come_out_as_they_went_in_however_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
