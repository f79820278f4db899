#include <unistd.h>

#include "src/uq/candidate.h"
#include "tests/unit/test.h"

static void models_are_named_by_their_folder_and_told_apart(void **state)
{
    (void) state;
    const char *const models[] = { "runs/a/last", "x/last/", "last", "m.safetensors",
                                   "other#2",     "other",   "other" };
    const char *const expected[] = { "last",    "last#2", "last#3", "m.safetensors",
                                     "other#2", "other",  "other#3" };
    char *names[7];
    struct uqm_err err = { 0 };
    assert_ok(uqm_candidate_names(names, &(struct uqm_strings){ models, 7 }, &err), err);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(names[i], expected[i]);
        free(names[i]);
    }
}

static void a_folder_named_by_a_dot_has_its_real_name(void **state)
{
    (void) state;
    char *name;
    const char *const models[] = { "." };
    struct uqm_err err = { 0 };
    assert_int_equal(chdir("/tmp"), 0);
    assert_ok(uqm_candidate_names(&name, &(struct uqm_strings){ models, 1 }, &err), err);
    assert_string_equal(name, "tmp");
    free(name);
}

/* Results are JSON. */
static void a_folder_whose_name_is_no_text_is_told_by_its_bytes(void **state)
{
    (void) state;
    const char *const models[] = { "runs/a\xff", "b\xc3/" };
    char *names[2];
    struct uqm_err err = { 0 };
    assert_ok(uqm_candidate_names(names, &(struct uqm_strings){ models, 2 }, &err), err);
    assert_string_equal(names[0], "a\\xFF");
    assert_string_equal(names[1], "b\\xC3");
    free(names[0]);
    free(names[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_named_by_their_folder_and_told_apart),
        cmocka_unit_test(a_folder_named_by_a_dot_has_its_real_name),
        cmocka_unit_test(a_folder_whose_name_is_no_text_is_told_by_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
