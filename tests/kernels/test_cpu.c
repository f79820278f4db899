#include "compute/kernels.h"
#include "tests/unit/test.h"

static void the_environment_lowers_the_tier_and_never_raises_it(void **state)
{
    (void) state;
    const uint32_t all = uqm_cpu_detect();

    setenv("UQMERGE_CPU", "ref", 1);
    assert_int_equal(uqm_cpu_flags(), 0);
    setenv("UQMERGE_CPU", "avx2", 1);
    assert_int_equal(uqm_cpu_flags(), all & UQM_CPU_AVX2);
    setenv("UQMERGE_CPU", "avx512", 1);
    assert_int_equal(uqm_cpu_flags(), all);
    unsetenv("UQMERGE_CPU");
    assert_int_equal(uqm_cpu_flags(), all);
}

static void flags_pick_the_table(void **state)
{
    (void) state;
    const uint32_t all = uqm_cpu_detect();
    struct uqm_kernels k;

    uqm_kernels_init(&k, 0);
    assert_string_equal(k.tier, "ref");
    uqm_kernels_init(&k, all & UQM_CPU_AVX2);
    assert_string_equal(k.tier, all & UQM_CPU_AVX2 ? "avx2" : "ref");
    uqm_kernels_init(&k, all & UQM_CPU_AVX512 ? all : 0);
    assert_string_equal(k.tier, all & UQM_CPU_AVX512 ? "avx512" : "ref");
}

static void narrowing_undoes_widening(void **state)
{
    (void) state;
    struct uqm_kernels k;
    uqm_kernels_init(&k, uqm_cpu_flags());
    uint16_t h[300], back[300];
    float f[300], same[300];
    for (size_t i = 0; i < 300; i++)
        h[i] = (uint16_t) (i * 97);
    uqm_widen(&k, f, h, UQM_F16, 300);
    uqm_narrow(&k, back, UQM_F16, f, 300);
    assert_memory_equal(back, h, sizeof h);
    uqm_widen(&k, f, h, UQM_BF16, 300);
    uqm_narrow(&k, back, UQM_BF16, f, 300);
    assert_memory_equal(back, h, sizeof h);
    uqm_widen(&k, same, f, UQM_F32, 300);
    assert_memory_equal(same, f, sizeof f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_lowers_the_tier_and_never_raises_it),
        cmocka_unit_test(flags_pick_the_table),
        cmocka_unit_test(narrowing_undoes_widening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
