/* The reference of mergekit's arithmetic against what mergekit itself made of small random arrays
 * (merge/arrays). The program is held against the reference elsewhere. */
#include <math.h>

#include "tests/golden/golden.h"
#include "tests/unit/merge/reference_cases.h"
#include "tests/unit/test.h"

static struct golden *arrays;
static struct ref_named_case cases[REF_MAX_CASES];
static size_t n_cases;

static const char *const sets[] = {
    "far.matrix.BF16",  "far.matrix.F16",  "far.matrix.F32",  "far.matrix.F64", "far.vector.BF16",
    "far.vector.F16",   "far.vector.F32",  "far.cube.BF16",   "far.cube.F16",   "far.cube.F32",
    "near.matrix.BF16", "near.matrix.F16", "near.matrix.F32",
};

/* A tensor's elements as doubles; the caller's. */
static double *widened(const char *name, enum uqm_dtype *dtype, struct golden_shape *shape)
{
    size_t n;
    const char *data = golden_tensor(arrays, name, &n);
    *shape = golden_shape(arrays, name);
    assert_true(uqm_dtype_parse(dtype, shape->dtype, strlen(shape->dtype)));
    size_t size = uqm_dtype_bits(*dtype) / 8;
    double *x = calloc(n + 1, sizeof *x);
    for (size_t k = 0; k < n; k++) {
        uint64_t bits = 0;
        memcpy(&bits, data + k * size, size);
        x[k] = ref_value(*dtype, bits);
    }
    return x;
}

/*
 * How many elements are not mergekit's: other bits in BF16 and F16, further than 1e-5 of the
 * largest element in the others; in F64 1e-12, but for the sums of the random sparsifiers, which
 * are F32 even there.
 */
static size_t count_wrong(const struct ref_case *c, const char *expected, size_t *n_elem)
{
    enum uqm_dtype dtype;
    struct golden_shape shape;
    double *want = widened(expected, &dtype, &shape), *got, most = 0;
    size_t n_wrong = 0;
    *n_elem = shape.n_elem;
    got = calloc(shape.n_elem + 1, sizeof *got);
    assert_int_equal(dtype, ref_result_dtype(c));
    assert_true(ref_merge_mergekit(got, c));
    for (size_t k = 0; k < shape.n_elem; k++)
        most = fmax(most, fabs(want[k]));
    for (size_t k = 0; k < shape.n_elem; k++) {
        bool coarse = dtype == UQM_BF16 || dtype == UQM_F16;
        bool fine = dtype == UQM_F64 && !(c->rescale && ref_family_of(c->method));
        double tolerance = most * (fine ? 1e-12 : 1e-5);
        n_wrong += coarse ? ref_bits(dtype, got[k]) != ref_bits(dtype, want[k])
                          : !(fabs(got[k] - want[k]) <= tolerance);
    }
    free(want);
    free(got);
    return n_wrong;
}

static size_t compare(const struct ref_named_case *named, const char *set, size_t *n_elem)
{
    double *x[4];
    enum uqm_dtype dtype = UQM_F32;
    struct golden_shape shape = { 0 };
    struct ref_case c;
    struct ref_mt mt;
    char name[192];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.%d", set, i);
        x[i] = widened(name, &dtype, &shape);
    }
    ref_case_make(&c, named, dtype, x);
    c.rank = (unsigned) shape.n_dims;
    memcpy(c.shape, shape.dim, sizeof c.shape);
    ref_mt_init(&mt, 42);
    c.draw = ref_mt_unit;
    c.draw_ctx = &mt;
    snprintf(name, sizeof name, "%s.%s", named->name, set);
    size_t n_wrong = count_wrong(&c, name, n_elem);
    for (int i = 0; i < 4; i++)
        free(x[i]);
    return n_wrong;
}

static void every_method_is_reproduced_operation_by_operation(void **state)
{
    (void) state;
    size_t n_bad = 0;
    for (size_t i = 0; i < n_cases; i++)
        for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
            size_t n, n_wrong = compare(&cases[i], sets[s], &n);
            bool by_threshold = strcmp(cases[i].method, "arcee_fusion") == 0;
            if (n_wrong <= (by_threshold ? n / 100 : 0))
                continue; /* a sum's last bit decides over the elements nearest to a quartile */
            printf("# %s of %s: %zu of %zu elements differ\n", cases[i].name, sets[s], n_wrong, n);
            n_bad++;
        }
    assert_int_equal(n_bad, 0);
}

static int setup(void **state)
{
    (void) state;
    arrays = golden_load(data_path("golden/merge/arrays/methods.safetensors"));
    n_cases = ref_cases_load(cases);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    golden_free(&arrays);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_reproduced_operation_by_operation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
