/* Whole merges by every recipe of golden/merge, against what mergekit made of it. */
#include <math.h>

#include "tests/golden/golden.h"
#include "tests/unit/merge/merge_test.h"

static const struct recipe {
    const char *name;
    double flips; /* the share of elements that a sum's last bit, or chance, may decide */
} recipes[] = {
    { "arcee_fusion", 0.002 },
    { "breadcrumbs", 0 },
    { "breadcrumbs_ties", 0 },
    { "dare_linear-d1", 0 },
    { "dare_ties-d1", 0 },
    { "della-d1", 0 },
    { "karcher", 0 },
    { "linear-bf16", 0 },
    { "linear-f16", 0 },
    { "linear-f32", 0 },
    { "linear-mixed-dtype", 0 },
    { "linear-nonorm", 0 },
    { "linear-out-bf16", 0 },
    { "linear-uniform", 0 },
    { "model_stock-bf16", 0 },
    { "model_stock-f16", 0 },
    { "model_stock-f32", 0 },
    { "model_stock-filterwise", 0 },
    { "multislerp", 0 },
    { "nearswap", 0 },
    { "nuslerp", 0 },
    { "nuslerp-task", 0 },
    { "passthrough-scale", 0 },
    { "ram", 0 },
    { "ramplus_tl", 0 },
    { "sce", 0 },
    { "slerp", 0 },
    { "slices-linear-gradient", 0 },
    { "slices-stack", 0 },
    { "task_arithmetic-bf16", 0 },
    { "task_arithmetic-f16", 0 },
    { "task_arithmetic-f32", 0 },
    { "task_arithmetic-lambda", 0 },
    { "ties-bf16", 0.01 }, /* which of equal magnitudes are kept is chance in mergekit */
    { "ties-count", 0 },
    { "ties-f16", 0.001 },
    { "ties-f32", 0 },
    { "ties-filters", 0 },
    { "ties-lambda", 0 },
};

/* --- one merge --- */

struct merged {
    struct uqm_env *env;
    struct uqm_recipe *recipe;
    struct uqm_source *source;
    uint8_t **data;
};

/* The recipe with its models looked up where the goldens lie. */
static void merge(struct merged *m, const char *name, enum uqm_numerics numerics)
{
    char *text, path[256];
    size_t len;
    struct uqm_err err = { 0 };
    struct uqm_open_params params = { .numerics = numerics };
    snprintf(path, sizeof path, "golden/merge/recipes/%s.yml", name);
    assert_ok(uqm_read_file(&text, &len, data_path(path), 1 << 16, &err), err);
    *m = (struct merged){ .env = test_env(256 << 20, 2) };
    m->recipe = make_recipe(data_path("golden/merge/x.yml"), text);
    free(text);
    assert_ok(uqm_recipe_open(&m->source, m->env, m->recipe, &params, &err), err);
    m->data = read_all(m->source, 4096);
}

static void finish(struct merged *m)
{
    free_all(m->data, m->source->n_tensors);
    uqm_source_destroy(&m->source);
    uqm_recipe_free(&m->recipe);
}

/* --- comparison --- */

static double value(enum uqm_dtype dtype, const uint8_t *p, size_t k)
{
    uint16_t half;
    float f;
    if (dtype == UQM_F32) {
        memcpy(&f, p + k * 4, sizeof f);
        return (double) f;
    }
    memcpy(&half, p + k * 2, sizeof half);
    return (double) (dtype == UQM_F16 ? uqm_f32_of_f16(half) : uqm_f32_of_bf16(half));
}

/* How many elements lie further than `tolerance` of the largest from what is wanted; 0: not the
 * same bits. */
static size_t count_wrong(const struct uqm_tensor *t, const uint8_t *got, const uint8_t *want,
                          double tolerance)
{
    double most = 0;
    size_t n_wrong = 0, size = uqm_dtype_bits(t->dtype) / 8;
    for (size_t k = 0; k < t->n_elem; k++)
        most = fmax(most, fabs(value(t->dtype, want, k)));
    for (size_t k = 0; k < t->n_elem; k++) {
        double gap = fabs(value(t->dtype, got, k) - value(t->dtype, want, k));
        n_wrong += tolerance > 0 ? !(gap <= tolerance * most)
                                 : memcmp(got + k * size, want + k * size, size) != 0;
    }
    return n_wrong;
}

/* coarse: for F16 and BF16; f32: for F32. */
static void compare(const struct recipe *r, enum uqm_numerics numerics, double coarse, double f32)
{
    struct merged m;
    char path[256];
    size_t n_wrong = 0, n_compared = 0;
    snprintf(path, sizeof path, "golden/merge/expected/%s/model.safetensors", r->name);
    struct golden *want = golden_load(data_path(path));
    merge(&m, r->name, numerics);
    for (size_t i = 0; i < m.source->n_tensors; i++) {
        const struct uqm_tensor *t = &m.source->tensors[i];
        if (!golden_has(want, t->name))
            continue;
        size_t n;
        const uint8_t *data = golden_tensor(want, t->name, &n);
        assert_int_equal(n, t->n_elem);
        assert_string_equal(golden_shape(want, t->name).dtype, uqm_dtype_name(t->dtype));
        n_wrong += count_wrong(t, m.data[i], data, t->dtype == UQM_F32 ? f32 : coarse);
        n_compared += n;
    }
    assert_true(n_compared > 20000);
    if ((double) n_wrong > r->flips * (double) n_compared)
        fail_msg("%s: %zu of %zu elements differ", r->name, n_wrong, n_compared);
    finish(&m);
    golden_free(&want);
}

static void mergekits_numerics_are_its_bits_and_in_f32_nearly(void **state)
{
    (void) state;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        compare(&recipes[i], UQM_NUMERICS_MERGEKIT, 0, 1e-5);
}

/* What mergekit loses in roundings to 16 bits is a few units; in F32 there is little to lose. */
static void accurate_merges_differ_by_mergekits_roundings_alone(void **state)
{
    (void) state;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        compare(&recipes[i], UQM_NUMERICS_ACCURATE, 0.01, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mergekits_numerics_are_its_bits_and_in_f32_nearly),
        cmocka_unit_test(accurate_merges_differ_by_mergekits_roundings_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
