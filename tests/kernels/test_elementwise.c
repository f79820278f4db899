#include "tests/kernels/tiers_here.h"

/* A kernel seen from outside: arrays a (changed) and b (read), one scalar. */
typedef void (*call_fn)(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n);

struct kernel {
    const char *name;
    call_fn call;
    size_t a_bytes, b_bytes; /* an element's */
    /* of one element, in double; NULL: see the tests of their own */
    double (*formula)(double a, double b, double s);
    double max_ulp;   /* of the result, on top of half */
    double ulp_per_a; /* more of them for every unit of |a|: the rounded argument of exp */
    bool nan_bits;    /* NaNs agree to the bit as well */
};

static void call_f32_of_f16(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s;
    k->f32_of_f16(a, b, n);
}
static void call_f32_of_bf16(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s;
    k->f32_of_bf16(a, b, n);
}
static void call_f16_of_f32(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s;
    k->f16_of_f32(a, b, n);
}
static void call_bf16_of_f32(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s;
    k->bf16_of_f32(a, b, n);
}
static void call_fma_f16(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    k->fma_f16(a, b, s, n);
}
static void call_fma_bf16(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    k->fma_bf16(a, b, s, n);
}
static void call_fma_f32(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    k->fma_f32(a, b, s, n);
}
static void call_div(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) b;
    k->div_f32(a, s, n);
}
static void call_add(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s;
    k->add_f32(a, b, n);
}
static void call_silu_mul(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s;
    k->silu_mul_f32(a, b, n);
}
static void call_quick_gelu(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) b, (void) s;
    k->quick_gelu_f32(a, n);
}
static void call_gelu(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) b, (void) s;
    k->gelu_f32(a, n);
}
static void call_rope(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) s; /* the first half of b as cosines, the second as sines; n must be even */
    size_t h = n / 2;
    k->rope_f32(a, b, (const float *) (const void *) ((const unsigned char *) b + 4 * h), 2 * h);
}
static void call_dropout(const struct uqm_kernels *k, void *a, const void *b, float s, size_t n)
{
    (void) b;
    const struct uqm_rng_key key = { { 0x12345678, 0x9ABCDEF0 } };
    k->dropout_f32(a, key, 3, 1000, 0x30000000, s, n);
}

static double do_fma(double a, double b, double s)
{
    return a + b * s; /* products of floats are exact in double; half an ulp of float is left */
}
static double do_div(double a, double b, double s)
{
    (void) b;
    return a / s;
}
static double do_add(double a, double b, double s)
{
    (void) s;
    return a + b;
}
static double do_silu_mul(double a, double b, double s)
{
    (void) s;
    return a / (1 + exp(-a)) * b;
}
static double do_quick_gelu(double a, double b, double s)
{
    (void) b, (void) s;
    return a / (1 + exp(-1.702 * a));
}

static const struct kernel kernels[] = {
    { "f32_of_f16", call_f32_of_f16, 4, 2, NULL, 0, 0, true },
    { "f32_of_bf16", call_f32_of_bf16, 4, 2, NULL, 0, 0, true },
    { "f16_of_f32", call_f16_of_f32, 2, 4, NULL, 0, 0, true },
    { "bf16_of_f32", call_bf16_of_f32, 2, 4, NULL, 0, 0, true },
    { "fma_f16", call_fma_f16, 4, 2, NULL, 0, 0, true },
    { "fma_bf16", call_fma_bf16, 4, 2, NULL, 0, 0, true },
    { "fma_f32", call_fma_f32, 4, 4, do_fma, 0.01, 0, true },
    { "div_f32", call_div, 4, 4, do_div, 0.01, 0, false },
    { "add_f32", call_add, 4, 4, do_add, 0.01, 0, false },
    { "silu_mul_f32", call_silu_mul, 4, 4, do_silu_mul, 4, 0, false },
    { "quick_gelu_f32", call_quick_gelu, 4, 4, do_quick_gelu, 4, 2, false },
    { "gelu_f32", call_gelu, 4, 4, NULL, 0, 0, false },
    { "rope_f32", call_rope, 4, 4, NULL, 0, 0, false },
    { "dropout_f32", call_dropout, 4, 4, NULL, 0, 0, false },
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

static void fill_input(struct random *r, struct buffer *b, size_t elem_bytes)
{
    if (elem_bytes == 4) {
        fill_awkward(r, b->p, b->n_bytes / 4);
        return;
    }
    for (size_t i = 0; i < b->n_bytes; i++) /* any 16 bits are a number, or a NaN */
        ((unsigned char *) b->p)[i] = (unsigned char) random_u32(r);
}

static void compare(const struct kernel *kernel, const char *tier, const struct buffer *want,
                    const struct buffer *got, size_t n)
{
    if (memcmp(want->p, got->p, want->n_bytes) == 0)
        return;
    for (size_t i = 0; i < n && kernel->a_bytes == 4; i++) {
        float w = f32_at(want->p, i), g = f32_at(got->p, i);
        if (kernel->nan_bits ? uqm_bits_of_f32(w) != uqm_bits_of_f32(g) : !same_or_nan(w, g))
            fail_msg("%s, %s: element %zu of %zu is %a (%08x), not %a (%08x)", kernel->name, tier,
                     i, n, (double) g, uqm_bits_of_f32(g), (double) w, uqm_bits_of_f32(w));
    }
    if (kernel->a_bytes != 4)
        fail_msg("%s, %s: differs from the reference at length %zu", kernel->name, tier, n);
}

static void every_tier_gives_the_bits_of_the_reference(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    struct random r = { 3 };

    for (size_t kn = 0; kn < N_KERNELS; kn++) {
        const struct kernel *kernel = &kernels[kn];
        for (size_t c = 0; c < (size_t) N_LENGTHS * N_SHIFTS; c++) {
            size_t n = lengths[c / N_SHIFTS], shift = shifts[c % N_SHIFTS];
            struct buffer a0 = buffer_make(n * kernel->a_bytes, shift);
            struct buffer b = buffer_make(n * kernel->b_bytes, shift / 2 + 1);
            fill_input(&r, &a0, kernel->a_bytes);
            fill_input(&r, &b, kernel->b_bytes);
            struct buffer want = buffer_make(a0.n_bytes, shift);
            memcpy(want.p, a0.p, a0.n_bytes);
            kernel->call(&tiers.v[0], want.p, b.p, 0.3f, n);
            for (size_t t = 1; t < tiers.n; t++) {
                struct buffer got = buffer_make(a0.n_bytes, shifts[t]);
                memcpy(got.p, a0.p, a0.n_bytes);
                kernel->call(&tiers.v[t], got.p, b.p, 0.3f, n);
                compare(kernel, tiers.v[t].tier, &want, &got, n);
                buffer_check_and_free(&got);
            }
            buffer_check_and_free(&want);
            buffer_check_and_free(&b);
            buffer_check_and_free(&a0);
        }
    }
}

static double ulp_of(double v)
{
    int e;
    frexp(v, &e);
    return ldexp(1, e < -125 ? -149 : e - 24);
}

static void results_are_the_formulas_in_double(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    enum { N = 20000 };
    static float a[N], a0[N], b[N];
    struct random r = { 9 };

    for (size_t i = 0; i < N; i++) {
        a0[i] = random_f32(&r, i % 2 ? 1 : 12);
        b[i] = random_f32(&r, 2);
    }
    for (size_t kn = 0; kn < N_KERNELS; kn++) {
        const struct kernel *kernel = &kernels[kn];
        if (!kernel->formula)
            continue;
        for (size_t t = 0; t < tiers.n; t++) {
            memcpy(a, a0, sizeof a);
            kernel->call(&tiers.v[t], a, b, 0.3f, N);
            for (size_t i = 0; i < N; i++) {
                double want = kernel->formula((double) a0[i], (double) b[i], (double) 0.3f);
                double ulps = fabs((double) a[i] - want) / ulp_of(want);
                if (!(ulps <= 0.5 + kernel->max_ulp + kernel->ulp_per_a * fabs((double) a0[i])))
                    fail_msg("%s, %s: of %.9g and %.9g: %.9g, not %.9g (%.2f ulp)", kernel->name,
                             tiers.v[t].tier, (double) a0[i], (double) b[i], (double) a[i], want,
                             ulps);
            }
        }
    }
}

/* All of f16, and every f32 that a step of 4099 finds, NaNs among them. */
static void conversions_agree_with_the_scalar_ones(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    enum { N = 1 << 16 };
    static uint16_t h[N], h2[N];
    static float f[N];

    for (size_t t = 0; t < tiers.n; t++) {
        const struct uqm_kernels *k = &tiers.v[t];
        for (size_t i = 0; i < N; i++)
            h[i] = (uint16_t) i;
        k->f32_of_f16(f, h, N);
        for (size_t i = 0; i < N; i++)
            assert_true(same_or_nan(f[i], uqm_f32_of_f16(h[i])));
        k->f32_of_bf16(f, h, N);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(uqm_bits_of_f32(f[i]), uqm_bits_of_f32(uqm_f32_of_bf16(h[i])));

        for (uint64_t first = 0; first < UINT64_C(1) << 32; first += (uint64_t) 4099 * N) {
            for (size_t i = 0; i < N; i++)
                f[i] = uqm_f32_of_bits((uint32_t) (first + 4099 * i));
            k->f16_of_f32(h, f, N);
            k->bf16_of_f32(h2, f, N);
            for (size_t i = 0; i < N; i++) {
                assert_int_equal(h[i], uqm_f16_of_f32(f[i]));
                assert_int_equal(h2[i], uqm_bf16_of_f32(f[i]));
            }
        }
    }
}

/* gelu's error is that of erf, times |x| / 2. */
static void gelu_is_the_erf_form(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    enum { N = 1 << 16 };
    static float x[N];

    for (size_t t = 0; t < tiers.n; t++) {
        for (size_t i = 0; i < N; i++)
            x[i] = -8 + 16.0f * (float) i / N;
        tiers.v[t].gelu_f32(x, N);
        for (size_t i = 0; i < N; i++) {
            double v = (double) (-8 + 16.0f * (float) i / N);
            double want = v / 2 * (1 + erf(v * 0.70710678118654752));
            double bound = fabs(v) / 2 * 1e-7 + 2 * fabs(want) * 0x1p-24 + 0x1p-149;
            if (!(fabs((double) x[i] - want) <= bound))
                fail_msg("%s: gelu(%.9g) is %.9g, not %.9g", tiers.v[t].tier, v, (double) x[i],
                         want);
        }
    }
}

static void a_sum_keeps_the_older_nan(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    const float old = uqm_f32_of_bits(0x7FC00111), new = uqm_f32_of_bits(0xFFC00222);
    for (size_t t = 0; t < tiers.n; t++) {
        float acc[33], src[33];
        for (size_t i = 0; i < 33; i++) {
            acc[i] = i % 2 ? old : 1;
            src[i] = i % 3 ? 2 : new;
        }
        tiers.v[t].fma_f32(acc, src, 0.5f, 33);
        for (size_t i = 0; i < 33; i++) {
            uint32_t want = i % 2 ? 0x7FC00111 : i % 3 ? 0x40000000 : 0xFFC00222;
            assert_int_equal(uqm_bits_of_f32(acc[i]), want);
        }
    }
}

static void rope_turns_pairs(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    enum { D = 26 };
    for (size_t t = 0; t < tiers.n; t++) {
        float x[D], c[D / 2], s[D / 2];
        for (size_t i = 0; i < D / 2; i++) {
            c[i] = (float) cos(0.3 * (double) i);
            s[i] = (float) sin(0.3 * (double) i);
            x[i] = 1;
            x[i + D / 2] = 2;
        }
        tiers.v[t].rope_f32(x, c, s, D);
        for (size_t i = 0; i < D / 2; i++) {
            double cd = cos(0.3 * (double) i), sd = sin(0.3 * (double) i);
            assert_true(fabs((double) x[i] - (cd - 2 * sd)) < 1e-6);
            assert_true(fabs((double) x[i + D / 2] - (2 * cd + sd)) < 1e-6);
        }
    }
}

static void dropout_follows_philox_word_by_word(void **state)
{
    (void) state;
    const struct tiers tiers = tiers_here();
    enum { N = 331 };
    const struct uqm_rng_key key = { { 0xDEADBEEF, 0x01234567 } };
    const uint32_t thresholds[] = { 0, 0x1999999A, 0x80000000, 0xFFFFFFFF };

    for (size_t c = 0; c < (size_t) 4 * tiers.n; c++) {
        uint32_t threshold = thresholds[c % 4];
        float x[N];
        for (size_t i = 0; i < N; i++)
            x[i] = (float) (i + 1);
        tiers.v[c / 4].dropout_f32(x, key, 5, 70000, threshold, 1.25f, N);
        for (uint32_t i = 0; i < N; i++) {
            const uint32_t counter[4] = { i / 4, 70000, 5, 0 };
            uint32_t words[4];
            uqm_philox4x32(words, counter, key);
            float want = words[i % 4] >= threshold ? (float) (i + 1) * 1.25f : 0;
            assert_int_equal(uqm_bits_of_f32(x[i]), uqm_bits_of_f32(want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_gives_the_bits_of_the_reference),
        cmocka_unit_test(results_are_the_formulas_in_double),
        cmocka_unit_test(conversions_agree_with_the_scalar_ones),
        cmocka_unit_test(gelu_is_the_erf_form),
        cmocka_unit_test(a_sum_keeps_the_older_nan),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(dropout_follows_philox_word_by_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
