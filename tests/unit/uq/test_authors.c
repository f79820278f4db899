/* The paper's seeded streams, against what NumPy draws (spec uq.md 1.3, 5.3). */
#include "src/uq/authors.h"
#include "tests/unit/test.h"

static void the_permutation_is_numpys(void **state)
{
    (void) state;
    static const size_t ten[10] = { 8, 1, 5, 0, 7, 2, 9, 4, 3, 6 };
    size_t perm[10];
    struct uqm_err err = { 0 };
    assert_ok(uqm_authors_permutation(perm, 10, &err), err);
    assert_memory_equal(perm, ten, sizeof ten);
    assert_ok(uqm_authors_permutation(perm, 1, &err), err);
    assert_int_equal(perm[0], 0);
    assert_ok(uqm_authors_permutation(perm, 0, &err), err);
}

static void the_texts_are_numpys_and_begin_anew_where_the_code_seeds_them(void **state)
{
    (void) state;
    static const uint8_t first[24] = { 6, 3, 7, 4, 6, 2, 6, 7, 4, 3, 7, 7,
                                       2, 5, 4, 1, 7, 5, 1, 4, 0, 5, 8, 0 };
    struct uqm_authors_texts texts;
    struct uqm_err err = { 0 };
    assert_ok(uqm_authors_texts_init(&texts, &err), err);
    uqm_authors_texts_begin(&texts, "ai2d");
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(uqm_authors_texts_draw(&texts), first[i]);
    uqm_authors_texts_begin(&texts, "seedbench"); /* goes on */
    for (size_t i = 8; i < 24; i++)
        assert_int_equal(uqm_authors_texts_draw(&texts), first[i]);
    uqm_authors_texts_begin(&texts, "MMBench_dev");
    for (size_t i = 0; i < 24; i++)
        assert_int_equal(uqm_authors_texts_draw(&texts), first[i]);
    uqm_authors_texts_finish(&texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_permutation_is_numpys),
        cmocka_unit_test(the_texts_are_numpys_and_begin_anew_where_the_code_seeds_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
