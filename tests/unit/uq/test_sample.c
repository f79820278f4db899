#include "src/uq/sample.h"
#include "tests/unit/test.h"

static struct uqm_dataset load(void)
{
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    assert_ok(
        uqm_dataset_load(&set, test_env(64 << 20, 1), zoo_path("data/heldin/mmb.jsonl"), &err),
        err);
    return set;
}

static void a_share_is_rounded_up_and_a_count_is_capped(void **state)
{
    (void) state;
    static const struct {
        size_t n;
        double ratio;
        uint64_t count;
        size_t expected;
    } cases[] = { { 120, 0, 0, 120 }, { 120, 0.1, 0, 12 }, { 121, 0.1, 0, 13 },
                  { 120, 1, 0, 120 }, { 120, 1e-9, 0, 1 }, { 120, 0, 7, 7 },
                  { 120, 0.5, 7, 7 }, { 120, 0, 500, 120 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        struct uqm_err err = { 0 };
        assert_ok(uqm_sample_size(&n, cases[i].n, cases[i].ratio, cases[i].count, &err), err);
        assert_int_equal(n, cases[i].expected);
    }
    size_t n;
    struct uqm_err err = { 0 };
    assert_fails(uqm_sample_size(&n, 9, 1.5, 0, &err), err, UQM_ERR_USAGE, "--samples 1.5");
    assert_fails(uqm_sample_size(&n, 9, -1, 0, &err), err, UQM_ERR_USAGE, "--samples");
    assert_fails(uqm_sample_size(&n, 9, 0.0 / 0.0, 0, &err), err, UQM_ERR_USAGE, "--samples");
}

static bool holds(const struct uqm_dataset *set, const char *id)
{
    for (size_t i = 0; i < set->n_records; i++)
        if (!strcmp(set->records[i].id, id))
            return true;
    return false;
}

static void a_larger_sample_holds_the_smaller_in_the_files_order(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    struct uqm_dataset small = load(), large = load(), other = load();
    assert_ok(uqm_sample_keep(&small, 20, 5, &err), err);
    assert_ok(uqm_sample_keep(&large, 60, 5, &err), err);
    assert_ok(uqm_sample_keep(&other, 20, 6, &err), err);
    size_t n_same = 0;
    for (size_t i = 0; i < 20; i++) {
        assert_true(holds(&large, small.records[i].id));
        n_same += holds(&other, small.records[i].id);
        if (i > 0)
            assert_true(small.records[i - 1].line < small.records[i].line);
    }
    assert_true(n_same < 15);
    assert_ok(uqm_sample_keep(&large, 1000, 5, &err), err);
    assert_int_equal(large.n_records, 60);
    uqm_dataset_finish(&small);
    uqm_dataset_finish(&large);
    uqm_dataset_finish(&other);
}

static void a_shuffle_is_a_permutation_of_its_seed(void **state)
{
    (void) state;
    size_t a[10], b[10], c[10], seen[10] = { 0 };
    uqm_sample_shuffle(a, 10, 1);
    uqm_sample_shuffle(b, 10, 1);
    uqm_sample_shuffle(c, 10, 2);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    for (size_t i = 0; i < 10; i++)
        seen[a[i]]++;
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(seen[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_is_rounded_up_and_a_count_is_capped),
        cmocka_unit_test(a_larger_sample_holds_the_smaller_in_the_files_order),
        cmocka_unit_test(a_shuffle_is_a_permutation_of_its_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
