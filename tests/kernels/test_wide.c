/* Runs of f64: every tier against the reference, to the bit, and the reference against itself
 * reckoned otherwise. */
#include "compute/wide.h"

#include "tests/kernels/tiers_here.h"

enum { MOST = 200 };

/* Numbers of all sizes, ties between two floats, and what is no number. */
static double awkward(struct random *r)
{
    static const double some[] = { 0.0, -0.0, 1e300, -1e300, 1e-320, 0x1.000001p0, 0x1.000003p0 };
    uint32_t kind = random_u32(r) % 16;
    if (kind < 7)
        return some[kind];
    if (kind == 7)
        return HUGE_VAL;
    if (kind == 8)
        return (double) NAN;
    if (kind == 9)
        return ldexp((double) random_u32(r), -160); /* below what f32 holds in full */
    return ldexp((double) (int32_t) random_u32(r) + (double) random_u32(r) * 0x1p-32,
                 (int) (random_u32(r) % 60) - 60);
}

struct arrays {
    double x[MOST + 1], y[MOST + 1];
    unsigned char stored[4 * MOST + 8];
};

static void fill(struct arrays *a, struct random *r)
{
    for (size_t i = 0; i <= MOST; i++) {
        a->x[i] = awkward(r);
        a->y[i] = awkward(r);
    }
    for (size_t i = 0; i < sizeof a->stored; i++)
        a->stored[i] = (unsigned char) random_u32(r);
}

static void assert_same(const double *want, const double *got, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&want[i], &got[i], sizeof *want) != 0 && !(isnan(want[i]) && isnan(got[i])))
            fail_msg("%s: element %zu of %zu is %a, not %a", what, i, n, got[i], want[i]);
}

static void assert_same_f32(const float *want, const float *got, size_t n, const char *what)
{
    double a[MOST + 1], b[MOST + 1];
    for (size_t i = 0; i < n; i++) {
        a[i] = (double) want[i];
        b[i] = (double) got[i];
    }
    assert_same(a, b, n, what);
}

static void compare_tier(const struct uqm_wide_kernels *k, const struct arrays *a, size_t n)
{
    const struct uqm_wide_kernels *ref = &uqm_wide_ref;
    double want[MOST + 1], got[MOST + 1];
    float want_f[MOST + 1], got_f[MOST + 1];
    const void *odd = a->stored + 1; /* at any address */
    want[n] = got[n] = 77;
    want_f[n] = got_f[n] = 77;
    ref->of_f32(want, odd, n), k->of_f32(got, odd, n);
    assert_same(want, got, n + 1, "of_f32");
    ref->of_bf16(want, odd, n), k->of_bf16(got, odd, n);
    assert_same(want, got, n + 1, "of_bf16");
    ref->to_f32(want_f, a->x, n), k->to_f32(got_f, a->x, n);
    assert_same_f32(want_f, got_f, n + 1, "to_f32");
    ref->to_odd_f32(want_f, a->x, n), k->to_odd_f32(got_f, a->x, n);
    assert_same_f32(want_f, got_f, n + 1, "to_odd_f32");
    memcpy(want, a->y, n * sizeof *want), memcpy(got, a->y, n * sizeof *got);
    ref->sub(want, a->x, n), k->sub(got, a->x, n);
    assert_same(want, got, n + 1, "sub");
    ref->add_scaled(want, a->x, 0.3, n), k->add_scaled(got, a->x, 0.3, n);
    assert_same(want, got, n + 1, "add_scaled");
    ref->divide(want, 0.7, n), k->divide(got, 0.7, n);
    assert_same(want, got, n + 1, "divide");
    want[0] = ref->dot(a->x, a->y, n), got[0] = k->dot(a->x, a->y, n);
    assert_same(want, got, 1, "dot");
}

static void tiers_give_the_same_bits(void **state)
{
    (void) state;
    struct random r = { 5 };
    struct arrays a;
    struct tiers tiers = tiers_here();
    for (size_t n = 0; n <= MOST; n++) {
        fill(&a, &r);
        for (size_t t = 0; t < tiers.n; t++)
            compare_tier(tiers.v[t].wide, &a, n);
    }
}

static void rounding_to_odd_and_then_to_bf16_rounds_once(void **state)
{
    (void) state;
    struct random r = { 6 };
    for (int i = 0; i < 100000; i++) {
        /* a bf16, or the middle between two, and a little more or less, or nothing */
        uint32_t bits = random_u32(&r) % 0x7E000000 + 0x800000;
        bool is_middle = i & 1, even = !(bits >> 16 & 1);
        int more = (int) (random_u32(&r) % 3) - 1;
        float half = uqm_f32_of_bits((bits & 0xFFFF0000) | (is_middle ? 0x8000 : 0));
        double x = (double) half * (1 + ldexp(more, -45));
        uint32_t want = (bits >> 16) + (is_middle && (more > 0 || (more == 0 && !even)));
        float odd[2];
        uqm_wide_ref.to_odd_f32(odd, (const double[2]){ x, -x }, 2);
        assert_int_equal(uqm_bf16_of_f32(odd[0]), want);
        assert_int_equal(uqm_bf16_of_f32(odd[1]), want | 0x8000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiers_give_the_same_bits),
        cmocka_unit_test(rounding_to_odd_and_then_to_bf16_rounds_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
