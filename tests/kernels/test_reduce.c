#include "tests/kernels/tiers_here.h"

static void norms_agree_with_double(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    struct random r = { 21 };

    for (size_t c = 0; c < tiers.n * N_LENGTHS * N_SHIFTS; c++) {
        const struct uqm_kernels *k = &tiers.v[c % tiers.n];
        size_t n = lengths[c / tiers.n / N_SHIFTS], shift = shifts[c / tiers.n % N_SHIFTS];
        struct buffer x = buffer_make(4 * n, shift), w = buffer_make(4 * n, 1);
        struct buffer b = buffer_make(4 * n, 3), y = buffer_make(4 * n, shift + 1);
        double sum = 0, sum2 = 0, var = 0;
        for (size_t i = 0; i < n; i++) {
            float v[3] = { 0.5f + random_f32(&r, 2), random_f32(&r, 1), random_f32(&r, 1) };
            memcpy((unsigned char *) x.p + 4 * i, &v[0], 4);
            memcpy((unsigned char *) w.p + 4 * i, &v[1], 4);
            memcpy((unsigned char *) b.p + 4 * i, &v[2], 4);
            sum += (double) v[0];
            sum2 += (double) v[0] * (double) v[0];
        }
        double mean = sum / (double) n, ms = sum2 / (double) n;
        for (size_t i = 0; i < n; i++)
            var += pow((double) f32_at(x.p, i) - mean, 2) / (double) n;

        k->rmsnorm_f32(y.p, x.p, w.p, 1e-5f, n);
        for (size_t i = 0; i < n; i++) {
            double want = (double) f32_at(w.p, i) * (double) f32_at(x.p, i) / sqrt(ms + 1e-5);
            assert_true(fabs((double) f32_at(y.p, i) - want) <= fabs(want) * 0x1p-20);
        }
        k->layernorm_f32(y.p, x.p, w.p, b.p, 1e-5f, n);
        for (size_t i = 0; i < n; i++) {
            double u = ((double) f32_at(x.p, i) - mean) / sqrt(var + 1e-5);
            double want = (double) f32_at(w.p, i) * u + (double) f32_at(b.p, i);
            double scale = fabs(u) + fabs((double) f32_at(b.p, i)) + fabs(mean) / sqrt(var + 1e-5);
            double bound = (1 + fabs((double) f32_at(w.p, i))) * (1 + scale) * 0x1p-21;
            assert_true(fabs((double) f32_at(y.p, i) - want) <= bound);
        }
        /* in place, and at another address: the same bits */
        struct buffer z = buffer_make(4 * n, 17);
        memcpy(z.p, x.p, 4 * n);
        k->layernorm_f32(z.p, z.p, w.p, b.p, 1e-5f, n);
        assert_memory_equal(z.p, y.p, 4 * n);
        k->rmsnorm_f32(y.p, x.p, w.p, 1e-5f, n);
        memcpy(z.p, x.p, 4 * n);
        k->rmsnorm_f32(z.p, z.p, w.p, 1e-5f, n);
        assert_memory_equal(z.p, y.p, 4 * n);
        buffer_check_and_free(&z);
        buffer_check_and_free(&y);
        buffer_check_and_free(&b);
        buffer_check_and_free(&w);
        buffer_check_and_free(&x);
    }
}

static void softmax_agrees_with_double(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    struct random r = { 22 };

    for (size_t c = 0; c < tiers.n * N_LENGTHS * N_SHIFTS; c++) {
        const struct uqm_kernels *k = &tiers.v[c % tiers.n];
        size_t n = lengths[c / tiers.n / N_SHIFTS], shift = shifts[c / tiers.n % N_SHIFTS];
        float scale = c % 2 ? 0.125f : 1;
        if (n == 0)
            continue;
        struct buffer x = buffer_make(4 * n, shift), y = buffer_make(4 * n, shift + 5);
        double max = -HUGE_VAL, sum = 0, total = 0;
        for (size_t i = 0; i < n; i++) {
            float v = i % 9 == 8 ? -INFINITY : random_f32(&r, 20);
            memcpy((unsigned char *) x.p + 4 * i, &v, 4);
            max = fmax(max, (double) (v * scale));
        }
        memcpy(y.p, x.p, 4 * n);
        for (size_t i = 0; i < n; i++)
            sum += exp((double) (f32_at(x.p, i) * scale) - max);
        k->softmax_f32(y.p, scale, n);
        for (size_t i = 0; i < n; i++) {
            double t = (double) (f32_at(x.p, i) * scale) - max, want = exp(t) / sum;
            double got = (double) f32_at(y.p, i);
            /* exp's error and that of its argument's rounding */
            double bound = want * (4 + fmin(fabs(t), 110)) * 0x1p-24 + 0x1p-148;
            if (!(fabs(got - want) <= bound))
                fail_msg("%s: element %zu of %zu is %.9g, not %.9g", k->tier, i, n, got, want);
            total += got;
        }
        assert_true(fabs(total - 1) < 1e-5);
        struct buffer z = buffer_make(4 * n, 23);
        memcpy(z.p, x.p, 4 * n);
        k->softmax_f32(z.p, scale, n);
        assert_memory_equal(z.p, y.p, 4 * n);
        buffer_check_and_free(&z);
        buffer_check_and_free(&y);
        buffer_check_and_free(&x);
    }
}

static void a_nan_in_a_row_shows_in_its_softmax(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    for (size_t t = 0; t < tiers.n; t++) {
        for (size_t at = 0; at < 40; at += 13) {
            float x[40] = { 0 };
            x[at] = NAN;
            tiers.v[t].softmax_f32(x, 1, 40);
            for (size_t i = 0; i < 40; i++)
                assert_true(isnan(x[i]));
        }
    }
}

static void dot_products_keep_their_error_budget(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    struct random r = { 23 };

    for (size_t c = 0; c < tiers.n * N_LENGTHS * N_SHIFTS; c++) {
        const struct uqm_kernels *k = &tiers.v[c % tiers.n];
        size_t n = lengths[c / tiers.n / N_SHIFTS], shift = shifts[c / tiers.n % N_SHIFTS];
        struct buffer a = buffer_make(4 * n, shift), b = buffer_make(4 * n, 2);
        struct buffer h = buffer_make(2 * n, shift + 1), wide = buffer_make(4 * n, 0);
        for (size_t i = 0; i < n; i++) {
            float v[2] = { random_f32(&r, 1), random_f32(&r, 1) };
            memcpy((unsigned char *) a.p + 4 * i, &v[0], 4);
            memcpy((unsigned char *) b.p + 4 * i, &v[1], 4);
        }
        const enum uqm_dtype dtypes[] = { UQM_F32, UQM_F16 };
        for (size_t d = 0; d < 2; d++) {
            void *stored = d ? h.p : a.p;
            if (d)
                uqm_narrow(k, h.p, dtypes[d], a.p, n);
            uqm_widen(k, wide.p, stored, dtypes[d], n);
            double want = 0, sum = 0;
            for (size_t i = 0; i < n; i++) {
                double t = (double) f32_at(wide.p, i) * (double) f32_at(b.p, i);
                want += t;
                sum += fabs(t);
            }
            float got = d == 0 ? k->dot_f32(stored, b.p, n) : k->dot_f16(stored, b.p, n);
            assert_true(fabs((double) got - want) <= (1 + sqrt((double) n)) * 0x1p-24 * sum);
            /* whatever the type, the same sum of the same numbers */
            assert_true(got == k->dot_f32(wide.p, b.p, n));
        }
        buffer_check_and_free(&wide);
        buffer_check_and_free(&h);
        buffer_check_and_free(&b);
        buffer_check_and_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_agree_with_double),
        cmocka_unit_test(softmax_agrees_with_double),
        cmocka_unit_test(a_nan_in_a_row_shows_in_its_softmax),
        cmocka_unit_test(dot_products_keep_their_error_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
