/* The methods beside linear and the task vectors, against the references. */
#include <math.h>

#include "src/merge/methods/rank_search.h"
#include "tests/unit/merge/method_driver.h"
#include "tests/unit/merge/reference_cases.h"
#include "tests/unit/test.h"

static struct ref_named_case cases[REF_MAX_CASES];
static size_t n_cases;

static const char *const mine[] = {
    "slerp", "nuslerp",  "multislerp",   "karcher",    "model_stock", "sce",
    "ram",   "nearswap", "arcee_fusion", "ramplus_tl", "passthrough",
};

static bool is_mine(const char *method)
{
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        if (strcmp(mine[i], method) == 0)
            return true;
    return false;
}

struct shape {
    unsigned rank;
    size_t dim[REF_RANK];
};
static const struct shape shapes[] = {
    { 2, { 13, 9 } }, { 1, { 37 } },    { 3, { 5, 3, 4 } }, { 2, { 1, 1 } },
    { 2, { 7, 1 } },  { 2, { 1, 11 } }, { 2, { 3, 1031 } }, { 2, { 71, 130 } },
};
static const enum uqm_dtype dtypes[] = { UQM_BF16, UQM_F16, UQM_F32, UQM_F64 };

/* --- inputs --- */

static double normal(struct ref_mt *mt)
{
    double u = 1 - ref_mt_unit(mt), v = ref_mt_unit(mt);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* A base and three models about it, as the case sees them, and as they are stored. */
struct arrays {
    size_t n_elem;
    enum uqm_dtype stored;
    double *x[4];
    void *bits[4];
};

static void make_arrays(struct arrays *a, const struct shape *shape, enum uqm_dtype stored,
                        enum uqm_dtype work, double sigma)
{
    struct ref_mt mt;
    ref_mt_init(&mt, 7);
    *a = (struct arrays){ .n_elem = 1, .stored = stored };
    for (unsigned d = 0; d < shape->rank; d++)
        a->n_elem *= shape->dim[d];
    size_t size = uqm_dtype_bits(stored) / 8;
    double *base = calloc(a->n_elem, sizeof *base);
    for (size_t i = 0; i < 4; i++) {
        a->x[i] = calloc(a->n_elem, sizeof *a->x[i]);
        a->bits[i] = calloc(a->n_elem, size);
        for (size_t k = 0; k < a->n_elem; k++) {
            base[k] = i == 0 ? normal(&mt) * 0.5 : base[k];
            double v = i == 0 ? base[k] : base[k] + sigma * normal(&mt);
            uint64_t bits = ref_bits(stored, ref_round(stored, v));
            memcpy((char *) a->bits[i] + k * size, &bits, size);
            a->x[i][k] = ref_round(work, ref_value(stored, bits));
        }
    }
    free(base);
}

static void free_arrays(struct arrays *a)
{
    for (size_t i = 0; i < 4; i++) {
        free(a->x[i]);
        free(a->bits[i]);
    }
}

/* --- comparison --- */

struct trial {
    const struct ref_named_case *named;
    const struct shape *shape;
    enum uqm_dtype stored, work;
    double sigma;
    enum uqm_numerics numerics;
    bool base_first;
    size_t merge_elem;
};

static struct driven driven_of(const struct trial *t, const struct arrays *a, enum uqm_dtype out)
{
    struct driven d = {
        .method = t->named->method,
        .settings = t->named->settings,
        .numerics = t->numerics,
        .work = t->work,
        .out = out,
        .rank = t->shape->rank,
        .merge_elem = t->merge_elem,
    };
    for (unsigned i = 0; i < t->shape->rank; i++)
        d.shape[i] = t->shape->dim[i];
    for (size_t i = 0; i < t->named->n_models + t->named->with_base; i++) {
        bool is_base = t->named->with_base && (t->base_first ? i == 0 : i == t->named->n_models);
        size_t model = t->named->with_base && t->base_first ? i : i + 1;
        d.inputs[d.n_inputs++] = (struct driven_input){ .data = a->bits[is_base ? 0 : model],
                                                        .dtype = a->stored,
                                                        .is_base = is_base };
    }
    return d;
}

static bool is_right(const struct trial *t, enum uqm_dtype out, double got, double want,
                     double most)
{
    if (out == UQM_F64)
        return fabs(got - want) <= most * 1e-9;
    if (t->numerics == UQM_NUMERICS_ACCURATE)
        return fabs(got - want) <= ref_ulp(out, want);
    return out == UQM_F32 ? fabs(got - want) <= most * 1e-5
                          : ref_bits(out, got) == ref_bits(out, want);
}

static size_t count_wrong(const struct trial *t, const struct ref_case *c, const void *dst)
{
    size_t n = ref_n_elem(c), n_wrong = 0;
    enum uqm_dtype out = ref_result_dtype(c);
    size_t size = uqm_dtype_bits(out) / 8;
    double *want = calloc(n, sizeof *want), most = 0;
    assert_true(t->numerics == UQM_NUMERICS_ACCURATE ? ref_merge_f64(want, c)
                                                     : ref_merge_mergekit(want, c));
    for (size_t k = 0; k < n; k++)
        most = fmax(most, fabs(want[k]));
    for (size_t k = 0; k < n; k++) {
        uint64_t bits = 0;
        memcpy(&bits, (const char *) dst + k * size, size);
        n_wrong += !is_right(t, out, ref_value(out, bits), want[k], most);
    }
    free(want);
    return n_wrong;
}

static void assert_trial(const struct trial *t)
{
    struct arrays a;
    struct ref_case c;
    struct uqm_err err = { 0 };
    make_arrays(&a, t->shape, t->stored, t->work, t->sigma);
    ref_case_make(&c, t->named, t->work, a.x);
    c.rank = t->shape->rank;
    memcpy(c.shape, t->shape->dim, sizeof c.shape);
    struct driven d = driven_of(t, &a, ref_result_dtype(&c));
    void *dst = drive_method(&d, &err);
    if (!dst)
        fail_msg("%s: %s", t->named->name, err.msg);
    size_t n_wrong = count_wrong(t, &c, dst);
    if (n_wrong > 0)
        fail_msg("%s, %s, %s as %s, %zu elements in %zu, sigma %g: %zu are wrong", t->named->name,
                 t->numerics == UQM_NUMERICS_ACCURATE ? "accurate" : "mergekit",
                 uqm_dtype_name(t->stored), uqm_dtype_name(t->work), a.n_elem, t->shape->dim[0],
                 t->sigma, n_wrong);
    free(dst);
    free_arrays(&a);
}

static void run_trials(enum uqm_numerics numerics)
{
    static const double sigmas[] = { 0.3, 0.002 };
    for (size_t i = 0; i < n_cases; i++)
        for (size_t s = 0; is_mine(cases[i].method) && s < sizeof shapes / sizeof *shapes; s++)
            for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
                for (size_t k = 0; k < sizeof sigmas / sizeof *sigmas; k++)
                    assert_trial(&(struct trial){
                        .named = &cases[i],
                        .shape = &shapes[s],
                        .stored = dtypes[d],
                        .work = dtypes[d],
                        .sigma = sigmas[k],
                        .numerics = numerics,
                        .base_first = s % 2 == 1 && strcmp(cases[i].method, "karcher") != 0,
                        .merge_elem = 17 + 1000 * (s % 3) });
}

static void accurate_results_lie_within_an_ulp_of_f64(void **state)
{
    (void) state;
    run_trials(UQM_NUMERICS_ACCURATE);
}

static void mergekits_arithmetic_is_followed_to_the_bit(void **state)
{
    (void) state;
    run_trials(UQM_NUMERICS_MERGEKIT);
}

static void inputs_are_cast_to_the_working_type_first(void **state)
{
    (void) state;
    for (size_t i = 0; i < n_cases; i++)
        for (size_t d = 0; is_mine(cases[i].method) && d < sizeof dtypes / sizeof *dtypes; d++)
            for (int numerics = 0; numerics < 2; numerics++)
                assert_trial(&(struct trial){ .named = &cases[i],
                                              .shape = &shapes[0],
                                              .stored = dtypes[d],
                                              .work = dtypes[(d + 1) % 4],
                                              .sigma = 0.3,
                                              .numerics = numerics ? UQM_NUMERICS_MERGEKIT
                                                                   : UQM_NUMERICS_ACCURATE,
                                              .merge_elem = 50 });
}

/* Three models a third of a turn apart, or two opposite ones. */
static const double turned[3][4] = { { 2, 0, 0, 0 }, { -1, 1.75, 0, 0 }, { -1, -1.75, 0, 0 } };

static void *drive_turned(const char *method, const char *settings, size_t n, bool accurate,
                          struct uqm_err *err)
{
    static const double opposite[4] = { -3, 0, 0, 0 };
    struct driven d = { .method = method,
                        .settings = settings,
                        .numerics = accurate ? UQM_NUMERICS_ACCURATE : UQM_NUMERICS_MERGEKIT,
                        .work = UQM_F64,
                        .out = UQM_F64,
                        .rank = 1,
                        .shape = { 4 },
                        .n_inputs = n,
                        .merge_elem = 4 };
    for (size_t i = 0; i < n; i++)
        d.inputs[i] = (struct driven_input){ n == 2 && i == 1 ? opposite : turned[i], UQM_F64, 0 };
    return drive_method(&d, err);
}

static void opposite_models_have_no_mean_but_two_have_a_sum(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    for (int accurate = 0; accurate < 2; accurate++) {
        /* 2 u_1 + u_2 + u_3 with these: exactly zero */
        assert_null(
            drive_turned("multislerp", "weight=.9922778767136677,1,1 eps=1e-4", 3, accurate, &err));
        assert_int_equal(err.code, UQM_ERR_FORMAT);
        assert_non_null(strstr(err.msg, "recipe.yml: tensor w: multislerp: the weighted sum"));
        double *sum = drive_turned("multislerp", "weight=1,1", 2, accurate, &err);
        assert_non_null(sum);
        assert_true(sum[0] == -0.5 && sum[1] == 0);
        free(sum);
    }
}

static void karchers_iterations_are_bounded(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_null(drive_turned("karcher", "max_iter=100001", 3, true, &err));
    assert_int_equal(err.code, UQM_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "karcher: max_iter is above 100000"));
    double *none = drive_turned("karcher", "max_iter=-1", 2, true, &err);
    assert_non_null(none);
    free(none);
}

static void models_shorter_than_tol_are_left_out(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    for (int accurate = 0; accurate < 2; accurate++) {
        double *out = drive_turned("karcher", "tol=2.5", 2, accurate, &err); /* norms 2 and 3 */
        assert_true(out && fabs(out[0] + 2.5) < 1e-12);
        free(out);
        out = drive_turned("karcher", "tol=5", 3, accurate, &err);
        assert_true(out && out[0] == 0 && out[1] == 0);
        free(out);
    }
}

static void a_base_alone_is_returned_as_it_is(void **state)
{
    (void) state;
    static const char *const methods[] = { "sce", "ram", "ramplus_tl" };
    static const uint16_t base[3] = { 0x8000, 0x3C01, 0x0001 };
    for (size_t m = 0; m < 3; m++)
        for (int accurate = 0; accurate < 2; accurate++) {
            struct uqm_err err = { 0 };
            struct driven d = { .method = methods[m],
                                .settings = "select_topk=.5",
                                .numerics =
                                    accurate ? UQM_NUMERICS_ACCURATE : UQM_NUMERICS_MERGEKIT,
                                .work = UQM_F16,
                                .out = UQM_F16,
                                .rank = 1,
                                .shape = { 3 },
                                .n_inputs = 1,
                                .inputs = { { base, UQM_F16, true } },
                                .merge_elem = 2 };
            uint16_t *out = drive_method(&d, &err);
            assert_non_null(out);
            assert_memory_equal(out, base, sizeof base);
            free(out);
        }
}

static void ranks_are_found_by_counting(void **state)
{
    (void) state;
    enum { N = 1000 };
    static uint64_t upper[UQM_RANK_BINS], lower[UQM_RANK_BINS];
    float x[N], sorted[N];
    size_t order[N];
    struct ref_mt mt;
    ref_mt_init(&mt, 3);
    for (size_t k = 0; k < N; k++) /* halves of small integers, and some that are close to one */
        x[k] = k % 3 ? (float) (ref_mt_word(&mt) % 64) / 2 - 8
                     : 1 + (float) (ref_mt_word(&mt) % 9) * 0x1p-23F;
    x[17] = -0.0F;
    x[400] = INFINITY;
    x[401] = -INFINITY;
    x[900] = NAN;
    ref_rank_ascending(order, x, N);
    for (size_t k = 0; k < N; k++)
        sorted[k] = x[order[k]];
    uqm_rank_count_upper(upper, x, N);
    for (size_t r = 0; r < N; r++) {
        struct uqm_rank rank = { .rank = r };
        uqm_rank_upper(&rank, upper);
        memset(lower, 0, sizeof lower);
        uqm_rank_count_lower(lower, rank.upper, x, N);
        uqm_rank_lower(&rank, lower);
        float found = uqm_rank_value(rank.key);
        assert_true(isnan(sorted[r]) ? isnan(found) != 0 : found == sorted[r]);
        assert_true(rank.below <= r && r < rank.below + rank.equal);
        assert_true(rank.below == 0 || isnan(found) || sorted[rank.below - 1] < found);
    }
}

static int setup(void **state)
{
    (void) state;
    n_cases = ref_cases_load(cases);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accurate_results_lie_within_an_ulp_of_f64),
        cmocka_unit_test(mergekits_arithmetic_is_followed_to_the_bit),
        cmocka_unit_test(inputs_are_cast_to_the_working_type_first),
        cmocka_unit_test(opposite_models_have_no_mean_but_two_have_a_sum),
        cmocka_unit_test(karchers_iterations_are_bounded),
        cmocka_unit_test(models_shorter_than_tol_are_left_out),
        cmocka_unit_test(a_base_alone_is_returned_as_it_is),
        cmocka_unit_test(ranks_are_found_by_counting),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
