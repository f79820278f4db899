#include "src/merge/linear.h"

#include <math.h>

#include "tests/unit/merge/job_test.h"

struct given {
    const void *data;
    enum uqm_dtype dtype;
    double weight;
};

/* n elements of these inputs in the working type, stored as `out`. */
static void merge(void *dst, const struct uqm_method_ops *ops, const struct given *in,
                  size_t n_inputs, uint64_t n_elem, enum uqm_dtype work, enum uqm_dtype out,
                  bool normalize, enum uqm_numerics numerics)
{
    struct job_test t;
    struct uqm_err err = { 0 };
    job_begin(&t, UQM_METHOD_LINEAR, ops, work);
    job_shape(&t, 1, &n_elem);
    t.job.out = out;
    t.job.numerics = numerics;
    job_set(&t, "normalize", normalize);
    for (size_t i = 0; i < n_inputs; i++)
        job_set_input(&t, job_input(&t, in[i].data, in[i].dtype), "weight", in[i].weight);
    assert_ok(job_run(&t, dst, NULL, 0, &err), err);
}

static void linear(void *dst, const struct given *in, size_t n_inputs, uint64_t n_elem,
                   enum uqm_dtype work, enum uqm_dtype out, bool normalize)
{
    merge(dst, &uqm_linear_ops, in, n_inputs, n_elem, work, out, normalize, UQM_NUMERICS_MERGEKIT);
}

static void accurate_linear(void *dst, const struct given *in, size_t n_inputs, uint64_t n_elem,
                            enum uqm_dtype work, bool normalize)
{
    merge(dst, &uqm_linear_ops, in, n_inputs, n_elem, work, work, normalize, UQM_NUMERICS_ACCURATE);
}

static void convert(void *dst, const struct given *in, uint64_t n_elem, enum uqm_dtype work,
                    enum uqm_dtype out)
{
    merge(dst, &uqm_convert_ops, in, 1, n_elem, work, out, false, UQM_NUMERICS_ACCURATE);
}

static void f64_inputs_are_merged_in_f64(void **state)
{
    (void) state;
    double a[3] = { 0.1, -2.5, 1e-300 }, b[3] = { 0.2, 7.25, 3e-300 }, got[3];
    struct given in[] = { { a, UQM_F64, 0.3 }, { b, UQM_F64, 0.45 } };
    linear(got, in, 2, 3, UQM_F64, UQM_F64, true);
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
    struct given in[] = { { &half, UQM_F16, 1 }, { &f, UQM_F32, 1 }, { &d, UQM_F64, 1 } };
    linear(bf, in, 3, 1, UQM_BF16, UQM_BF16, false);
    assert_int_equal(bf[0], 0x40A0); /* 5 */
}

static void the_result_is_rounded_to_the_working_type_then_stored(void **state)
{
    (void) state;
    float a[1] = { 1.004F }, f = 0; /* over the tie: 1 + 2^-7 in bf16 */
    double d = 0;
    struct given in[] = { { a, UQM_F32, 0.25 } };
    linear(&f, in, 1, 1, UQM_BF16, UQM_F32, true);
    assert_true(f == 1.0078125F);
    linear(&d, in, 1, 1, UQM_BF16, UQM_F64, true);
    assert_true(d == 1.0078125);
}

static void accumulation_is_fused(void **state)
{
    (void) state;
    /* x * w has more bits than f32: an unfused product would round before it is added */
    float x = 1 + 0x1p-12F, y = -1, got;
    float w = 1 + 0x1p-12F;
    struct given in[] = { { &y, UQM_F32, 1 }, { &x, UQM_F32, (double) w } };
    linear(&got, in, 2, 1, UQM_F32, UQM_F32, false);
    assert_true(got == fmaf(x, w, -1));
    assert_true(got != (float) ((double) (float) ((double) x * (double) w) - 1));
}

static void accurate_sums_survive_cancellation(void **state)
{
    (void) state;
    /* in f32 the small one is lost beside the large ones that cancel */
    float large = 0x1p30F, small = 1.5F, minus = -0x1p30F, got = 0;
    struct given in[] = { { &large, UQM_F32, 3 }, { &small, UQM_F32, 1 }, { &minus, UQM_F32, 3 } };
    accurate_linear(&got, in, 3, 1, UQM_F32, false);
    assert_true(got == 1.5F);
    uint16_t a = 0x3F80, b = 0x3F81, half = 0; /* 1 and 1 + 2^-7: their mean is a tie, to even */
    struct given two[] = { { &a, UQM_BF16, 0.3 }, { &b, UQM_BF16, 0.3 } };
    accurate_linear(&half, two, 2, 1, UQM_BF16, true);
    assert_int_equal(half, 0x3F80);
    struct given none[] = { { &a, UQM_BF16, 1 }, { &b, UQM_BF16, -1 } };
    accurate_linear(&half, none, 2, 1, UQM_BF16, true);
    assert_int_equal(half, 0xFF80); /* a sum of zero is not guarded */
}

static void data_may_lie_at_any_address(void **state)
{
    (void) state;
    char raw[64];
    uint16_t values[4] = { 0x3C00, 0x4000, 0xC200, 0x0001 }, got[4];
    memcpy(raw + 1, values, sizeof values);
    struct given in[] = { { raw + 1, UQM_F16, 2 } };
    linear(got, in, 1, 4, UQM_F16, UQM_F16, true);
    assert_memory_equal(got, values, sizeof got);
}

static void a_change_of_type_reads_no_weight(void **state)
{
    (void) state;
    uint16_t half[2] = { 0x3C01, 0x7C00 }, bf[2];
    float f[2];
    double d[2];
    struct given in[] = { { half, UQM_F16, 77 } };
    convert(f, in, 2, UQM_F32, UQM_F32);
    assert_true(f[0] == 1.0009765625F && isinf(f[1]));
    convert(bf, in, 2, UQM_F32, UQM_BF16);
    assert_int_equal(bf[0], 0x3F80);
    assert_int_equal(bf[1], 0x7F80);
    convert(d, in, 2, UQM_F64, UQM_F64);
    assert_true(d[0] == 1.0009765625 && isinf(d[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f64_inputs_are_merged_in_f64),
        cmocka_unit_test(inputs_are_cast_to_the_working_type_first),
        cmocka_unit_test(the_result_is_rounded_to_the_working_type_then_stored),
        cmocka_unit_test(accumulation_is_fused),
        cmocka_unit_test(accurate_sums_survive_cancellation),
        cmocka_unit_test(data_may_lie_at_any_address),
        cmocka_unit_test(a_change_of_type_reads_no_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
