#include "compute/compare.h"

#include "tests/kernels/tiers_here.h"

struct compare_tiers {
    struct uqm_compare_kernels v[MAX_TIERS];
    const char *names[MAX_TIERS];
    size_t n;
};

static struct compare_tiers compare_tiers_here(void)
{
    static const uint32_t flags[] = { 0, UQM_CPU_AVX2, UQM_CPU_AVX2 | UQM_CPU_AVX512 };
    struct tiers tiers = tiers_here();
    struct compare_tiers t = { .n = 0 };
    for (size_t i = 0; i < MAX_TIERS; i++)
        if ((uqm_cpu_detect() & flags[i]) == flags[i]) {
            uqm_compare_kernels_init(&t.v[t.n], flags[i]);
            t.names[t.n] = tiers.v[t.n].tier;
            t.n++;
        }
    return t;
}

/* Block lengths about the chains' edges. */
static const size_t block_lengths[] = { 0, 1, 7, 16, 31, 32, 33, 63, 64, 65, 1000, 2047, 2048 };
enum { N_BLOCK_LENGTHS = sizeof block_lengths / sizeof *block_lengths };

static bool same_double(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

typedef void (*compare_fn)(struct uqm_compared *out, const struct uqm_compare_kernels *k,
                           const void *x, const float *y, size_t n);

static void call_f32(struct uqm_compared *out, const struct uqm_compare_kernels *k, const void *x,
                     const float *y, size_t n)
{
    k->compare_f32(out, x, y, n);
}
static void call_f16(struct uqm_compared *out, const struct uqm_compare_kernels *k, const void *x,
                     const float *y, size_t n)
{
    k->compare_f16(out, x, y, n);
}
static void call_bf16(struct uqm_compared *out, const struct uqm_compare_kernels *k, const void *x,
                      const float *y, size_t n)
{
    k->compare_bf16(out, x, y, n);
}

/* Any bytes are numbers of any type. */
static void check_sums(const struct compare_tiers *t, const float *x, const float *y, size_t n)
{
    static const compare_fn calls[] = { call_f32, call_f16, call_bf16 };
    for (size_t f = 0; f < 3; f++) {
        struct uqm_compared want, got;
        calls[f](&want, &t->v[0], x, y, n);
        for (size_t k = 1; k < t->n; k++) {
            calls[f](&got, &t->v[k], x, y, n);
            if (!same_double(got.sum_d2, want.sum_d2) || !same_double(got.sum_x2, want.sum_x2) ||
                !same_double(got.max_abs, want.max_abs))
                fail_msg("%s, %zu elements: %a %a %a, not %a %a %a", t->names[k], n, got.sum_d2,
                         got.sum_x2, got.max_abs, want.sum_d2, want.sum_x2, want.max_abs);
        }
    }
}

static void sixteen_bits_are_compared_as_the_floats_they_stand_for(void **state)
{
    (void) state;
    struct random r = { 6 };
    uint16_t h[UQM_COMPARE_BLOCK];
    float y[UQM_COMPARE_BLOCK], wide[UQM_COMPARE_BLOCK];
    struct uqm_compare_kernels k;
    uqm_compare_kernels_init(&k, 0);
    for (int type = 0; type < 2; type++) {
        struct uqm_compared want, got;
        for (size_t i = 0; i < UQM_COMPARE_BLOCK; i++) {
            y[i] = random_f32(&r, 1);
            h[i] = type ? uqm_bf16_of_f32(random_f32(&r, 1)) : uqm_f16_of_f32(random_f32(&r, 1));
            wide[i] = type ? uqm_f32_of_bf16(h[i]) : uqm_f32_of_f16(h[i]);
        }
        k.compare_f32(&want, wide, y, UQM_COMPARE_BLOCK);
        if (type)
            k.compare_bf16(&got, h, y, UQM_COMPARE_BLOCK);
        else
            k.compare_f16(&got, h, y, UQM_COMPARE_BLOCK);
        assert_memory_equal(&got, &want, sizeof got);
    }
}

static void check_votes(const struct compare_tiers *t, const float *x, const float *y, size_t n)
{
    static float s[MAX_TIERS][UQM_COMPARE_BLOCK], way[UQM_COMPARE_BLOCK];
    static float sum[MAX_TIERS][UQM_COMPARE_BLOCK], count[MAX_TIERS][UQM_COMPARE_BLOCK];
    struct uqm_votes votes[MAX_TIERS];
    struct uqm_vote_tally tally[MAX_TIERS];
    t->v[0].sign_f32(way, y, x, n);
    for (size_t k = 0; k < t->n; k++) {
        for (size_t i = 0; i < n; i++) {
            sum[k][i] = (float) (i % 3) - 1;
            count[k][i] = (float) (i % 5) / 2;
        }
        t->v[k].sign_f32(s[k], x, y, n);
        t->v[k].vote_f32(&votes[k], sum[k], count[k], s[k], way, n);
        t->v[k].tally_f32(&tally[k], sum[k], count[k], n);
        assert_memory_equal(s[k], s[0], n * sizeof(float));
        assert_memory_equal(sum[k], sum[0], n * sizeof(float));
        assert_memory_equal(count[k], count[0], n * sizeof(float));
        assert_memory_equal(&votes[k], &votes[0], sizeof votes[0]);
        assert_memory_equal(&tally[k], &tally[0], sizeof tally[0]);
    }
    assert_int_equal(votes[0].n_same, 0); /* x - y and y - x never have one sign */
}

static void every_tier_gives_the_bits_of_the_reference(void **state)
{
    (void) state;
    const struct compare_tiers t = compare_tiers_here();
    struct random r = { 4 };
    for (size_t c = 0; c < (size_t) N_BLOCK_LENGTHS * N_SHIFTS * 2; c++) {
        size_t n = block_lengths[c / 2 / N_SHIFTS], shift = shifts[c / 2 % N_SHIFTS];
        struct buffer x = buffer_make(n * 4, shift), y = buffer_make(n * 4, shift / 2 + 1);
        fill_awkward(&r, x.p, n);
        fill_awkward(&r, y.p, n);
        for (size_t i = 0; i < n && c % 2; i++) { /* numbers alone, some of them equal */
            float v = random_f32(&r, 2), w = i % 4 ? random_f32(&r, 2) : v;
            memcpy((unsigned char *) x.p + 4 * i, &v, 4);
            memcpy((unsigned char *) y.p + 4 * i, &w, 4);
        }
        check_sums(&t, x.p, y.p, n);
        check_votes(&t, x.p, y.p, n);
        buffer_check_and_free(&x);
        buffer_check_and_free(&y);
    }
}

static void sums_are_the_formulas_in_double(void **state)
{
    (void) state;
    const struct compare_tiers t = compare_tiers_here();
    struct random r = { 5 };
    float x[UQM_COMPARE_BLOCK], y[UQM_COMPARE_BLOCK];
    for (int round = 0; round < 50; round++) {
        double d2 = 0, x2 = 0, max = 0;
        for (size_t i = 0; i < UQM_COMPARE_BLOCK; i++) {
            x[i] = random_f32(&r, 0.02f);
            y[i] = x[i] + random_f32(&r, 1e-4f);
            double d = (double) (x[i] - y[i]);
            d2 += d * d;
            x2 += (double) x[i] * (double) x[i];
            max = fabs(d) > max ? fabs(d) : max;
        }
        for (size_t k = 0; k < t.n; k++) {
            struct uqm_compared c;
            t.v[k].compare_f32(&c, x, y, UQM_COMPARE_BLOCK);
            assert_true(fabs(c.sum_d2 - d2) <= d2 * 0x1p-17);
            assert_true(fabs(c.sum_x2 - x2) <= x2 * 0x1p-17);
            assert_true(same_double(c.max_abs, max));
        }
    }
}

static void votes_are_counted_one_by_one(void **state)
{
    (void) state;
    const struct compare_tiers t = compare_tiers_here();
    const float base[] = { 0, 0, 0, 0, 1, -2 };
    const float a[] = { 1, -1, 0, 1e-40f, 2, NAN };
    const float b[] = { 2, 1, 0, 5, 0, -1 };
    const float merged[] = { 3, 1, 0, 1, 2, -1 };
    for (size_t k = 0; k < t.n; k++) {
        float way[6], s[6], sum[6] = { 0 }, count[6] = { 0 };
        struct uqm_votes va, vb;
        struct uqm_vote_tally tally;
        t.v[k].sign_f32(way, merged, base, 6);
        t.v[k].sign_f32(s, a, base, 6);
        t.v[k].vote_f32(&va, sum, count, s, way, 6);
        assert_int_equal(va.n_moved, 4); /* not the zero, not the NaN */
        assert_int_equal(va.n_same, 3);
        t.v[k].sign_f32(s, b, base, 6);
        t.v[k].vote_f32(&vb, sum, count, s, way, 6);
        assert_int_equal(vb.n_moved, 5);
        assert_int_equal(vb.n_same, 4);
        t.v[k].tally_f32(&tally, sum, count, 6);
        assert_int_equal(tally.n_moved, 5);
        assert_int_equal(tally.n_unanimous, 3); /* elements 0, 3 and 5 */
    }
}

static void the_largest_magnitude_is_found_wherever_it_lies(void **state)
{
    (void) state;
    const struct compare_tiers t = compare_tiers_here();
    struct random r = { 12 };
    for (size_t c = 0; c < (size_t) N_BLOCK_LENGTHS * N_SHIFTS; c++) {
        size_t n = block_lengths[c / N_SHIFTS], shift = shifts[c % N_SHIFTS];
        struct buffer x = buffer_make(n * 4, shift);
        fill_awkward(&r, x.p, n);
        uint32_t f32 = 0, half = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t v;
            memcpy(&v, (unsigned char *) x.p + 4 * i, 4);
            f32 = (v & 0x7FFFFFFF) > f32 ? v & 0x7FFFFFFF : f32;
            half = (v & 0x7FFF) > half ? v & 0x7FFF : half;
            half = (v >> 16 & 0x7FFF) > half ? v >> 16 & 0x7FFF : half;
        }
        for (size_t k = 0; k < t.n; k++) {
            assert_int_equal(t.v[k].largest_f32(x.p, n), f32);
            assert_int_equal(t.v[k].largest_half(x.p, 2 * n), half);
        }
        buffer_check_and_free(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_gives_the_bits_of_the_reference),
        cmocka_unit_test(sixteen_bits_are_compared_as_the_floats_they_stand_for),
        cmocka_unit_test(sums_are_the_formulas_in_double),
        cmocka_unit_test(votes_are_counted_one_by_one),
        cmocka_unit_test(the_largest_magnitude_is_found_wherever_it_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
