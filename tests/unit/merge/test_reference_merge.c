/* The references themselves, against the published vectors of spec merge.md 2.1 and 3.3 and against
 * cases that can be reckoned by hand. */
#include "tests/unit/merge/reference_merge.h"

#include <math.h>

#include "tests/unit/test.h"

enum { N = 8 };

static const uint16_t base_bits[N] = { 0x3F80, 0xBF00, 0x3E80, 0x4000,
                                       0xBFC0, 0x3E00, 0x3F40, 0xBD80 };
static const uint16_t model_bits[3][N] = {
    { 0x3F88, 0xBF08, 0x3EB3, 0x3FE6, 0xBF9A, 0x3E0A, 0x3F2E, 0xBD70 },
    { 0x3F7B, 0xBEE6, 0x3EB8, 0x3FEF, 0xBFAD, 0x3DE7, 0x3F54, 0xBD67 },
    { 0x3F84, 0xBF0F, 0x3E24, 0x3FE0, 0xBFCD, 0x3E14, 0x3F4A, 0xBD86 },
};
static double base[N], model[3][N];
static const double weights[3] = { .3, .45, .2 };

static int widen_models(void **state)
{
    (void) state;
    for (size_t k = 0; k < N; k++) {
        base[k] = ref_value(UQM_BF16, base_bits[k]);
        for (size_t i = 0; i < 3; i++)
            model[i][k] = ref_value(UQM_BF16, model_bits[i][k]);
    }
    return 0;
}

/* The first n_models of A, B, C, shape 2 x 4; the base last, if there is one. */
static struct ref_case vector_case(const char *method, size_t n_models, bool with_base)
{
    struct ref_case c;
    ref_init(&c, method, UQM_BF16);
    c.rank = 2;
    c.shape[0] = 2;
    c.shape[1] = 4;
    for (size_t i = 0; i < n_models; i++) {
        c.in[i].x = model[i];
        c.in[i].weight = weights[i];
    }
    c.n_inputs = n_models;
    if (with_base) {
        c.base = (long) c.n_inputs;
        c.in[c.n_inputs++].x = base;
    }
    return c;
}

/* Both evaluators: the bits of the one, and the other within a few roundings of bf16. */
static void assert_vector(const struct ref_case *c, const char *want)
{
    double got[N], exact[N], mass[N];
    char text[N * 9 + 1];
    enum uqm_dtype dtype = ref_result_dtype(c);
    size_t len = 0;
    assert_true(ref_merge_mergekit(got, c));
    for (size_t k = 0; k < N; k++)
        len += (size_t) snprintf(text + len, sizeof text - len, "%s%0*llX", k ? " " : "",
                                 dtype == UQM_F32 ? 8 : 4,
                                 (unsigned long long) ref_bits(dtype, got[k]));
    if (strcmp(text, want) != 0)
        fail_msg("%s: got  %s\nwant %s", c->method, text, want);
    for (size_t k = 0; k < N; k++) {
        mass[k] = 0;
        for (size_t i = 0; i < c->n_inputs; i++)
            mass[k] = fmax(mass[k], fabs(c->in[i].x[k]));
    }
    if (c->draw)
        return; /* the two would draw in turn */
    assert_true(ref_merge_f64(exact, c));
    for (size_t k = 0; k < N; k++)
        if (fabs(exact[k] - got[k]) > mass[k] / 64)
            fail_msg("%s: element %zu is %g and %g", c->method, k, exact[k], got[k]);
}

/* Seed 42 anew for each evaluator. */
static void assert_drawn_vector(struct ref_case *c, const char *want)
{
    struct ref_mt mt;
    double exact[N], got[N];
    c->draw = ref_mt_unit;
    c->draw_ctx = &mt;
    ref_mt_init(&mt, 42);
    assert_vector(c, want);
    ref_mt_init(&mt, 42);
    assert_true(ref_merge_f64(exact, c));
    ref_mt_init(&mt, 42);
    assert_true(ref_merge_mergekit(got, c));
    for (size_t k = 0; k < N; k++)
        assert_true(fabs(exact[k] - got[k]) <= 2.0 / 64);
}

static void the_random_stream_is_mt19937(void **state)
{
    (void) state;
    static const uint32_t words[] = { 1608637542, 3421126067U, 4083286876U, 787846414 };
    static const double units[] = { 0.88226926, 0.91500396, 0.38286376, 0.95930564 };
    struct ref_mt a, b;
    ref_mt_init(&a, 42);
    ref_mt_init(&b, 42 + (1ULL << 32));
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ref_mt_word(&a), words[i]);
        assert_true(fabs(ref_mt_unit(&b) - units[i]) < 5e-9);
    }
    /* The ten thousandth word of the default seed, as the C++ standard gives it. */
    ref_mt_init(&a, 5489);
    for (size_t i = 0; i < 9999; i++)
        ref_mt_word(&a);
    assert_int_equal(ref_mt_word(&a), 4123659995U);
}

static void linear_vectors_hold(void **state)
{
    (void) state;
    struct ref_case c = vector_case("linear", 3, false);
    assert_vector(&c, "3F82 BEFF 3EA1 3FE9 BFAE 3E01 3F46 BD72");
    c.normalize = false;
    assert_vector(&c, "3F77 BEF2 3E99 3FDD BFA5 3DF6 3F3C BD66");
}

static void spherical_vectors_hold(void **state)
{
    (void) state;
    struct ref_case c = vector_case("slerp", 1, true);
    c.t = .3;
    assert_vector(&c, "3F83 BF03 3E8F 3FF8 BFB5 3E03 3F3B BD7B");
    c = vector_case("nuslerp", 2, false);
    assert_vector(&c, "3F83 BEF8 3EB7 3FED BFA7 3DFB 3F46 BD6C");
    c = vector_case("nuslerp", 2, true);
    assert_vector(&c, "3F82 BEF6 3EB9 3FEA BFA4 3DF9 3F45 BD69");
    c = vector_case("multislerp", 3, false);
    assert_vector(&c, "3F83 BF00 3EA2 3FEA BFAD 3E02 3F47 BD72");
    c = vector_case("karcher", 3, false);
    assert_vector(&c, "3F84 BF03 3E95 3FE7 BFB1 3E06 3F44 BD76");
}

static void with_density(struct ref_case *c, double density, double gamma, double epsilon)
{
    for (size_t i = 0; i < 3; i++) {
        c->in[i].density = density;
        c->in[i].gamma = gamma;
        c->in[i].epsilon = epsilon;
    }
}

static void task_vector_vectors_hold(void **state)
{
    (void) state;
    struct ref_case c = vector_case("task_arithmetic", 3, true);
    assert_vector(&c, "3F82 BEFF 3E9F 3FEA BFAF 3E01 3F46 BD72");
    c.lambda = .8;
    c.normalize = true;
    assert_vector(&c, "3F82 BEFF 3E9A 3FEE BFB1 3E01 3F45 BD74");
    c = vector_case("ties", 3, true);
    with_density(&c, .5, 0, 0);
    assert_vector(&c, "3F80 BF0F 3EB6 3FE9 BFA5 3E00 3F54 BD80");
    c.rescale = true;
    assert_vector(&c, "3F80 BF12 3EC0 3FE5 BFA1 3E00 3F58 BD80");
    c = vector_case("breadcrumbs", 3, true);
    with_density(&c, .5, .125, 0);
    assert_vector(&c, "3F82 BEFA 3E9F 3FF1 BFC3 3E00 3F46 BD80");
    c = vector_case("breadcrumbs_ties", 3, true);
    with_density(&c, .5, .125, 0);
    assert_vector(&c, "3F82 BEF4 3EA8 3FF1 BFC3 3E00 3F4B BD80");
}

static void vectors_of_the_random_methods_hold(void **state)
{
    (void) state;
    struct ref_case c = vector_case("dare_ties", 3, true);
    with_density(&c, .5, 0, 0);
    assert_drawn_vector(&c, "3F80 BE8E 3E9A 4000 BFAD 3E0A 3F37 BD12");
    c = vector_case("dare_linear", 3, true);
    with_density(&c, .5, 0, 0);
    assert_drawn_vector(&c, "3F80 BE8E 3E84 4000 BFB3 3E0A 3F3C BD12");
    c = vector_case("della", 3, true);
    with_density(&c, .5, 0, .2);
    assert_drawn_vector(&c, "3F80 BEB1 3ED5 3FD0 BF81 3E00 3F22 BD80");
    c = vector_case("della_linear", 3, true);
    with_density(&c, .5, 0, .2);
    assert_drawn_vector(&c, "3F80 BEDC 3E8E 3FE1 BFB0 3E00 3F3A BD80");
}

static void vectors_of_the_rest_hold(void **state)
{
    (void) state;
    struct ref_case c = vector_case("model_stock", 3, true);
    assert_vector(&c, "3F82 BF02 3E8C 3FF1 BFB7 3E04 3F42 BD7B");
    c.filter_wise = true;
    assert_vector(&c, "3F82 BF02 3E92 3FEB BFE2 3DE8 3F3A BD8A");
    c = vector_case("sce", 3, true);
    assert_vector(&c, "3F87 BF0B 3EB4 3FE6 BFA0 3E0E 3F4E BD6E");
    c.select_topk = .5;
    assert_vector(&c, "3F80 BF00 3EB4 3FE6 BFA0 3E00 3F4E BD80");
    c = vector_case("nearswap", 1, true);
    c.t = .02;
    assert_vector(&c, "3F82 BF05 3E8A 3FFE BFBD 3E0A 3F3A BD70");
    c = vector_case("ram", 3, true);
    c.ram_epsilon = .05;
    assert_vector(&c, "3F88 BF01 3E94 3FE7 BFB1 3E00 3F41 BD80");
    c = vector_case("ramplus_tl", 3, true);
    c.ram_epsilon = .05;
    assert_vector(&c, "3F8828F6 BF010000 3E945000 3FE6F800 BFB15000 3E000000 3F410000 BD800000");
    c = vector_case("arcee_fusion", 1, true);
    assert_vector(&c, "3F800000 BF000000 3E800000 3FE60000 BFC00000 3E000000 3F400000 BD800000");
    c = vector_case("passthrough", 1, false);
    c.in[0].has_scale = true;
    c.in[0].scale = .5;
    assert_vector(&c, "3F08 BE88 3E33 3F66 BF1A 3D8A 3EAE BCF0");
}

/* x and y axis of a plane, of lengths 3 and 5. */
static const double plane[2][2] = { { 3, 0 }, { 0, 5 } };

static struct ref_case plane_case(const char *method)
{
    struct ref_case c;
    ref_init(&c, method, UQM_F64);
    c.rank = 1;
    c.shape[0] = 2;
    c.n_inputs = 2;
    c.in[0].x = plane[0];
    c.in[1].x = plane[1];
    return c;
}

static void assert_near(const double *got, double x, double y)
{
    assert_true(fabs(got[0] - x) < 1e-12 && fabs(got[1] - y) < 1e-12);
}

static void right_angles_are_bisected(void **state)
{
    (void) state;
    double out[2], h = sqrt(.5);
    struct ref_case c = plane_case("slerp");
    c.base = 0;
    c.t = 1. / 3;
    ref_merge_f64(out, &c);
    assert_near(out, 3 * cos(M_PI / 6), 5 * sin(M_PI / 6));
    c = plane_case("nuslerp");
    c.in[0].weight = 2;
    ref_merge_f64(out, &c);
    assert_near(out, 3 * cos(M_PI / 6), 5 * sin(M_PI / 6));
    c = plane_case("karcher");
    ref_merge_f64(out, &c);
    assert_near(out, 4 * h, 4 * h);
    c = plane_case("multislerp");
    c.eps = 0;
    c.in[1].weight = 1 + 1e-9; /* at equal weights the tangent vanishes, and so does sin h / h */
    ref_merge_f64(out, &c);
    assert_true(fabs(out[0] - 4 * h) < 1e-8 && fabs(out[1] - 4 * h) < 1e-8);
}

static void opposite_models_have_no_mean_direction(void **state)
{
    (void) state;
    const double x[3][2] = { { 2, 0 }, { -1, sqrt(3) }, { -1, -sqrt(3) } };
    double out[2];
    struct ref_case c = plane_case("multislerp");
    for (size_t i = 0; i < 3; i++)
        c.in[i].x = x[i];
    c.n_inputs = 3;
    assert_false(ref_merge_f64(out, &c));
    assert_false(ref_merge_mergekit(out, &c));
    static const double back[2] = { -3, 0 };
    c = plane_case("multislerp");
    c.in[1].x = back;
    assert_true(ref_merge_f64(out, &c)); /* two: the plain average */
    assert_near(out, 0, 0);
}

static void equal_magnitudes_are_kept_from_the_front(void **state)
{
    (void) state;
    static const float key[7] = { 1, 2, 1, 3, 1, 2, 1 };
    bool keep[7];
    ref_keep_magnitude(keep, key, 7, 4. / 7);
    static const bool want[7] = { true, true, false, true, false, true, false };
    assert_memory_equal(keep, want, sizeof keep);
    ref_keep_magnitude(keep, key, 7, 1e-9); /* one at least */
    assert_true(keep[3] && !keep[1]);
    ref_keep_magnitude(keep, key, 7, 0);
    assert_false(keep[3]);
}

static void an_ulp_is_the_distance_to_the_next_value(void **state)
{
    (void) state;
    assert_true(ref_ulp(UQM_BF16, 1) == 0x1p-7);
    assert_true(ref_ulp(UQM_F16, -1.5) == 0x1p-10);
    assert_true(ref_ulp(UQM_F32, 2) == 0x1p-22);
    assert_true(ref_ulp(UQM_F64, 0.75) == 0x1p-53);
    assert_true(ref_ulp(UQM_F16, 0x1p-20) == 0x1p-24);
    assert_true(ref_ulp(UQM_F16, 0) == 0x1p-24);
    assert_true(ref_ulp(UQM_F32, 0) == 0x1p-149);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_random_stream_is_mt19937),
        cmocka_unit_test(linear_vectors_hold),
        cmocka_unit_test(spherical_vectors_hold),
        cmocka_unit_test(task_vector_vectors_hold),
        cmocka_unit_test(vectors_of_the_random_methods_hold),
        cmocka_unit_test(vectors_of_the_rest_hold),
        cmocka_unit_test(right_angles_are_bisected),
        cmocka_unit_test(opposite_models_have_no_mean_direction),
        cmocka_unit_test(equal_magnitudes_are_kept_from_the_front),
        cmocka_unit_test(an_ulp_is_the_distance_to_the_next_value),
    };
    return cmocka_run_group_tests(tests, widen_models, NULL);
}
