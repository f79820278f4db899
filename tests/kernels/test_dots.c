#include "tests/kernels/tiers_here.h"

enum { MAX_COLS = 3 };

static const enum uqm_dtype dtypes[] = { UQM_F32, UQM_F16, UQM_BF16 };
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static void run(const struct uqm_kernels *k, enum uqm_dtype dtype, const struct uqm_dots *d)
{
    switch (dtype) {
    case UQM_F16: k->dots_f16(d); break;
    case UQM_BF16: k->dots_bf16(d); break;
    default: k->dots_f32(d);
    }
}

/* Operands of one case: x with a stride, W at an odd address. */
struct operands {
    size_t n_rows, n_cols, k, ldx;
    enum uqm_dtype dtype;
    struct buffer x, w;
};

static struct operands operands_make(struct random *r, const struct uqm_kernels *ref,
                                     enum uqm_dtype dtype, size_t n_rows, size_t n_cols, size_t k,
                                     size_t shift)
{
    struct operands o = { .n_rows = n_rows, .n_cols = n_cols, .k = k, .ldx = k + 3 };
    const size_t n = n_cols * k;
    struct buffer wide = buffer_make(n * sizeof(float), 0);
    o.dtype = dtype;
    o.x = buffer_make(n_rows * o.ldx * sizeof(float), 4);
    o.w = buffer_make(n * (uqm_dtype_bits(dtype) / 8), shift);
    random_fill(r, o.x.p, n_rows * o.ldx, 1);
    random_fill(r, wide.p, n, 0.3f);
    uqm_narrow(ref, o.w.p, dtype, wide.p, n);
    buffer_check_and_free(&wide);
    return o;
}

static void operands_free(struct operands *o)
{
    buffer_check_and_free(&o->x);
    buffer_check_and_free(&o->w);
}

/* y (n_rows, ldy), what is not asked for untouched. */
static struct buffer product(const struct uqm_kernels *k, const struct operands *o, size_t ldy)
{
    struct buffer y = buffer_make(o->n_rows * ldy * sizeof(float), 4);
    run(k, o->dtype,
        &(struct uqm_dots){ .y = y.p,
                            .ldy = ldy,
                            .x = o->x.p,
                            .ldx = o->ldx,
                            .n_rows = o->n_rows,
                            .w = o->w.p,
                            .n_cols = o->n_cols,
                            .k = o->k });
    for (size_t r = 0; r < o->n_rows; r++)
        for (size_t i = 4 * o->n_cols; i < 4 * ldy; i++)
            assert_int_equal(((unsigned char *) y.p)[r * ldy * 4 + i], CANARY);
    return y;
}

static void check_against_double(const struct uqm_kernels *ref, const struct operands *o,
                                 const float *y, size_t ldy)
{
    struct buffer wide = buffer_make(o->n_cols * o->k * sizeof(float), 0);
    const float *x = o->x.p, *w = wide.p;
    uqm_widen(ref, wide.p, o->w.p, o->dtype, o->n_cols * o->k);
    for (size_t r = 0; r < o->n_rows; r++)
        for (size_t c = 0; c < o->n_cols; c++) {
            double want = 0, sum = 0;
            for (size_t j = 0; j < o->k; j++) {
                const double t = (double) x[r * o->ldx + j] * (double) w[c * o->k + j];
                want += t;
                sum += fabs(t);
            }
            const double bound = (1 + sqrt((double) o->k)) * 0x1p-24 * sum;
            assert_true(fabs((double) y[r * ldy + c] - want) <= bound);
        }
    buffer_check_and_free(&wide);
}

static void all_tiers_agree_to_the_bit(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    struct random r = { 31 };
    for (size_t i = 0; i < N_DTYPES * N_LENGTHS * UQM_DOTS_ROWS; i++) {
        const size_t n_rows = 1 + i % UQM_DOTS_ROWS, n_cols = 1 + i % MAX_COLS, ldy = n_cols + 2;
        struct operands o =
            operands_make(&r, &tiers.v[0], dtypes[i / UQM_DOTS_ROWS % N_DTYPES], n_rows, n_cols,
                          lengths[i / UQM_DOTS_ROWS / N_DTYPES], shifts[i % N_SHIFTS]);
        struct buffer want = product(&tiers.v[0], &o, ldy);
        check_against_double(&tiers.v[0], &o, want.p, ldy);
        for (size_t t = 1; t < tiers.n; t++) {
            struct buffer y = product(&tiers.v[t], &o, ldy);
            assert_memory_equal(y.p, want.p, y.n_bytes);
            buffer_check_and_free(&y);
        }
        buffer_check_and_free(&want);
        operands_free(&o);
    }
}

static void a_row_has_one_result_in_any_company(void **state)
{
    (void) state;
    enum { K = 77 };
    const struct tiers tiers = tiers_here();
    struct random r = { 32 };
    for (size_t i = 0; i < tiers.n * N_DTYPES; i++) {
        const struct uqm_kernels *k = &tiers.v[i % tiers.n];
        struct operands o =
            operands_make(&r, k, dtypes[i / tiers.n], UQM_DOTS_ROWS, MAX_COLS, K, 1);
        struct buffer all = product(k, &o, MAX_COLS);
        for (size_t row = 0; row < UQM_DOTS_ROWS; row++) {
            float alone[MAX_COLS];
            run(k, o.dtype,
                &(struct uqm_dots){ .y = alone,
                                    .ldy = MAX_COLS,
                                    .x = (const float *) o.x.p + row * o.ldx,
                                    .ldx = o.ldx,
                                    .n_rows = 1,
                                    .w = o.w.p,
                                    .n_cols = MAX_COLS,
                                    .k = K });
            assert_memory_equal(alone, (float *) all.p + row * MAX_COLS, sizeof alone);
        }
        buffer_check_and_free(&all);
        operands_free(&o);
    }
}

/* Infinities, denormals and NaN, whose payload is nobody's business. */
static void awkward_numbers_come_out_the_same(void **state)
{
    (void) state;
    enum { K = 131 };
    const struct tiers tiers = tiers_here();
    struct random r = { 33 };
    for (size_t round = 0; round < 50; round++) {
        struct operands o = operands_make(&r, &tiers.v[0], UQM_F32, UQM_DOTS_ROWS, MAX_COLS, K, 0);
        for (size_t i = 0; i < 3; i++)
            ((float *) o.w.p)[random_u32(&r) % (MAX_COLS * K)] = awkward_f32(&r, 5);
        struct buffer want = product(&tiers.v[0], &o, MAX_COLS);
        for (size_t t = 1; t < tiers.n; t++) {
            struct buffer y = product(&tiers.v[t], &o, MAX_COLS);
            for (size_t i = 0; i < UQM_DOTS_ROWS * MAX_COLS; i++) {
                const float a = f32_at(want.p, i), b = f32_at(y.p, i);
                assert_true(isnan(a) ? isnan(b) : memcmp(&a, &b, sizeof a) == 0);
            }
            buffer_check_and_free(&y);
        }
        buffer_check_and_free(&want);
        operands_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_tiers_agree_to_the_bit),
        cmocka_unit_test(a_row_has_one_result_in_any_company),
        cmocka_unit_test(awkward_numbers_come_out_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
