#include "src/uq/perturb.h"

#include "tests/unit/test.h"

static void every_prompt_is_drawn_about_equally_often(void **state)
{
    (void) state;
    enum { DRAWS = 9000 };
    int count[UQM_N_PERTURB_PROMPTS] = { 0 };
    for (uint32_t j = 0; j < DRAWS; j++) {
        const char *prefix = uqm_perturb_prefix(7, "set", "id", j);
        for (uint32_t i = 0; i < UQM_N_PERTURB_PROMPTS; i++)
            count[i] += prefix == uqm_perturb_prompt(i);
    }
    double chi2 = 0;
    for (uint32_t i = 0; i < UQM_N_PERTURB_PROMPTS; i++) {
        const double d = count[i] - (double) DRAWS / UQM_N_PERTURB_PROMPTS;
        chi2 += d * d / ((double) DRAWS / UQM_N_PERTURB_PROMPTS);
    }
    assert_true(chi2 < 26.1); /* chi-squared, 8 degrees of freedom, p = 0.001 */
}

static void a_draw_depends_on_seed_set_sample_and_pass_alone(void **state)
{
    (void) state;
    unsigned differs[4] = { 0 };
    for (uint32_t j = 0; j < 100; j++) {
        const char *prefix = uqm_perturb_prefix(1, "mmb", "a", j);
        assert_ptr_equal(prefix, uqm_perturb_prefix(1, "mmb", "a", j));
        differs[0] += prefix != uqm_perturb_prefix(2, "mmb", "a", j);
        differs[1] += prefix != uqm_perturb_prefix(1, "sci", "a", j);
        differs[2] += prefix != uqm_perturb_prefix(1, "mmb", "b", j);
        differs[3] += prefix != uqm_perturb_prefix(1, "mmb", "a", j + 100);
    }
    for (size_t i = 0; i < 4; i++)
        assert_in_range(differs[i], 70, 100); /* 8 in 9 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prompt_is_drawn_about_equally_often),
        cmocka_unit_test(a_draw_depends_on_seed_set_sample_and_pass_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
