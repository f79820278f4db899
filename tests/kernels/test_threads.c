#include "compute/threads.h"

#include <assert.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/test.h"

enum { MAX_ITEMS = 5000, MAX_WORKERS = 8 };

struct work {
    int n_workers;
    atomic_int done[MAX_ITEMS];
    int inside[MAX_WORKERS]; /* plain on purpose: a worker number is one thread's at a time */
    size_t sums[MAX_WORKERS];
};

static void count(void *ctx, size_t item, int worker)
{
    struct work *w = ctx;
    assert(worker >= 0 && worker < w->n_workers);
    w->inside[worker]++;
    atomic_fetch_add(&w->done[item], 1);
    w->sums[worker] += item;
    w->inside[worker]--;
}

static void check_loop(struct uqm_threads *threads, int n_workers, size_t n_items)
{
    struct work *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->n_workers = n_workers;
    uqm_parallel(threads, n_items, count, w);
    size_t sum = 0;
    for (int i = 0; i < n_workers; i++) {
        assert_int_equal(w->inside[i], 0);
        sum += w->sums[i];
    }
    for (size_t i = 0; i < MAX_ITEMS; i++)
        assert_int_equal(atomic_load(&w->done[i]), i < n_items);
    assert_int_equal(sum, n_items * (n_items - (n_items > 0)) / 2);
    free(w);
}

static void every_item_is_done_once(void **state)
{
    (void) state;
    static const size_t counts[] = { 0, 1, 2, 3, 7, 100, MAX_ITEMS };
    struct uqm_err err = { 0 };
    for (int n = 1; n <= MAX_WORKERS; n++) {
        struct uqm_threads *threads = NULL;
        assert_ok(uqm_threads_create(&threads, n, &err), err);
        assert_int_equal(uqm_threads_count(threads), n);
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            check_loop(threads, n, counts[c]);
        uqm_threads_destroy(&threads);
        assert_null(threads);
    }
}

static void no_threads_at_all_will_do(void **state)
{
    (void) state;
    assert_int_equal(uqm_threads_count(NULL), 1);
    check_loop(NULL, 1, 100);
    struct uqm_threads *none = NULL;
    uqm_threads_destroy(&none);
}

/* Loop upon loop: workers that wake late must not touch the next one, which writes what the last
 * one read. */
static void double_up(void *ctx, size_t item, int worker)
{
    (void) worker;
    uint32_t *v = ctx;
    v[item] = v[item] * 3 + 1;
}

static void many_small_loops_follow_each_other(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_threads *threads = NULL;
    enum { ITEMS = 5, LOOPS = 3000 };
    uint32_t v[ITEMS] = { 0, 1, 2, 3, 4 }, want[ITEMS] = { 0, 1, 2, 3, 4 };

    assert_ok(uqm_threads_create(&threads, 4, &err), err);
    for (int i = 0; i < LOOPS; i++) {
        uqm_parallel(threads, ITEMS, double_up, v);
        for (size_t k = 0; k < ITEMS; k++)
            want[k] = want[k] * 3 + 1;
        assert_memory_equal(v, want, sizeof v);
        if (i % 1000 == 0)
            usleep(2000); /* let them fall asleep */
    }
    uqm_threads_destroy(&threads);
}

/* An item that waits for another one to run: both must be under way at once. */
static void meet(void *ctx, size_t item, int worker)
{
    (void) item, (void) worker;
    atomic_int *here = ctx;
    atomic_fetch_add(here, 1);
    for (int i = 0; i < 10000 && atomic_load(here) < 2; i++)
        usleep(1000);
}

static void items_run_at_the_same_time(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_threads *threads = NULL;
    atomic_int here = 0;
    assert_ok(uqm_threads_create(&threads, 2, &err), err);
    uqm_parallel(threads, 2, meet, &here);
    assert_int_equal(atomic_load(&here), 2);
    uqm_threads_destroy(&threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once),
        cmocka_unit_test(no_threads_at_all_will_do),
        cmocka_unit_test(many_small_loops_follow_each_other),
        cmocka_unit_test(items_run_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
