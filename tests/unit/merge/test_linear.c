#include "src/merge/linear.h"

#include <math.h>

#include "tests/unit/test.h"

static struct uqm_kernels kernels;
static _Alignas(64) char scratch[UQM_LINEAR_SCRATCH_BYTES];

static void f64_inputs_are_merged_in_f64(void **state)
{
    (void) state;
    double a[3] = { 0.1, -2.5, 1e-300 }, b[3] = { 0.2, 7.25, 3e-300 }, got[3];
    struct uqm_linear_input in[] = { { a, UQM_F64, 0.3 }, { b, UQM_F64, 0.45 } };
    struct uqm_linear_job job = {
        &kernels, 2, in, .work = UQM_F64, .out = UQM_F64, .normalize = true, .sum = 0.3 + 0.45
    };
    uqm_linear_merge(got, &job, 0, 3, scratch);
    for (int i = 0; i < 3; i++)
        assert_true(got[i] == fma(b[i], 0.45, fma(a[i], 0.3, 0)) / (0.3 + 0.45));
}

static void inputs_are_cast_to_the_working_type_first(void **state)
{
    (void) state;
    /* 1 + 2^-10 in f16 is 1 in bf16, ties to even */
    uint16_t half = 0x3C01, bf[2];
    float f = 1.00390625F; /* 1 + 2^-8: a tie in bf16, to even: 1 */
    double d = 3.0000001;
    struct uqm_linear_input in[] = { { &half, UQM_F16, 1 },
                                     { &f, UQM_F32, 1 },
                                     { &d, UQM_F64, 1 } };
    struct uqm_linear_job job = {
        &kernels, 3, in, .work = UQM_BF16, .out = UQM_BF16, .normalize = false, .sum = 3
    };
    uqm_linear_merge(bf, &job, 0, 1, scratch);
    assert_int_equal(bf[0], 0x40A0); /* 5 */
}

static void the_result_is_rounded_to_the_working_type_then_stored(void **state)
{
    (void) state;
    float a[1] = { 1.004F }, f = 0; /* over the tie: 1 + 2^-7 in bf16 */
    double d = 0;
    struct uqm_linear_input in[] = { { a, UQM_F32, 0.25 } };
    struct uqm_linear_job job = {
        &kernels, 1, in, .work = UQM_BF16, .out = UQM_F32, .normalize = true, .sum = 0.25
    };
    uqm_linear_merge(&f, &job, 0, 1, scratch);
    assert_true(f == 1.0078125F);
    job.out = UQM_F64;
    uqm_linear_merge(&d, &job, 0, 1, scratch);
    assert_true(d == 1.0078125);
}

static void accumulation_is_fused(void **state)
{
    (void) state;
    /* x * w has more bits than f32: an unfused product would round before it is added */
    float x = 1 + 0x1p-12F, y = -1, got;
    float w = 1 + 0x1p-12F;
    struct uqm_linear_input in[] = { { &y, UQM_F32, 1 }, { &x, UQM_F32, (double) w } };
    struct uqm_linear_job job = { &kernels, 2, in, .work = UQM_F32, .out = UQM_F32, .sum = 1 };
    uqm_linear_merge(&got, &job, 0, 1, scratch);
    assert_true(got == fmaf(x, w, -1));
    assert_true(got != (float) ((double) (float) ((double) x * (double) w) - 1));
}

static void data_may_lie_at_any_address(void **state)
{
    (void) state;
    char raw[64];
    uint16_t values[4] = { 0x3C00, 0x4000, 0xC200, 0x0001 }, got[4];
    memcpy(raw + 1, values, sizeof values);
    struct uqm_linear_input in[] = { { raw + 1, UQM_F16, 2 } };
    struct uqm_linear_job job = { &kernels,          1,       in, .work = UQM_F16, .out = UQM_F16,
                                  .normalize = true, .sum = 2 };
    uqm_linear_merge(got, &job, 0, 4, scratch);
    assert_memory_equal(got, values, sizeof got);
    uqm_linear_merge(got, &job, 1, 2, scratch);
    assert_memory_equal(got, values + 1, 4);
}

static void a_change_of_type_reads_no_weight(void **state)
{
    (void) state;
    uint16_t half[2] = { 0x3C01, 0x7C00 }, bf[2];
    float f[2];
    double d[2];
    struct uqm_linear_input in[] = { { half, UQM_F16, 77 } };
    struct uqm_linear_job job = { &kernels, 1, in, .work = UQM_F32, .out = UQM_F32 };
    uqm_linear_convert(f, &job, 0, 2, scratch);
    assert_true(f[0] == 1.0009765625F && isinf(f[1]));
    job.out = UQM_BF16;
    uqm_linear_convert(bf, &job, 0, 2, scratch);
    assert_int_equal(bf[0], 0x3F80);
    assert_int_equal(bf[1], 0x7F80);
    job.work = job.out = UQM_F64;
    uqm_linear_convert(d, &job, 0, 2, scratch);
    assert_true(d[0] == 1.0009765625 && isinf(d[1]));
}

static int setup(void **state)
{
    (void) state;
    uqm_kernels_init(&kernels, uqm_cpu_flags());
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f64_inputs_are_merged_in_f64),
        cmocka_unit_test(inputs_are_cast_to_the_working_type_first),
        cmocka_unit_test(the_result_is_rounded_to_the_working_type_then_stored),
        cmocka_unit_test(accumulation_is_fused),
        cmocka_unit_test(data_may_lie_at_any_address),
        cmocka_unit_test(a_change_of_type_reads_no_weight),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
