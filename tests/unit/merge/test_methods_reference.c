/* Every method from a recipe and files to its bytes, against the references: in both numerics, in
 * four types, at odd shapes, and the same bytes however the work is cut. */
#include <math.h>

#include "compute/threads.h"
#include "src/merge/plan.h"
#include "tests/unit/merge/merge_test.h"
#include "tests/unit/merge/reference_cases.h"

static struct ref_named_case cases[REF_MAX_CASES];
static size_t n_cases;
static struct uqm_threads *threads;

enum { N_SHAPES = 8, N_MODELS = 4 };
static const struct shape {
    unsigned rank;
    uint64_t dim[REF_RANK];
} shapes[N_SHAPES] = {
    { 2, { 13, 9 } }, { 1, { 37 } },    { 3, { 5, 3, 4 } }, { 2, { 1, 1 } },
    { 2, { 7, 1 } },  { 2, { 1, 11 } }, { 2, { 3, 5003 } }, { 2, { 131, 70 } },
};

/* Models on disk, the base first, and their values. The tensors' names ascend as the shapes do. */
struct models {
    char *dir;
    enum uqm_dtype dtype;
    double *x[N_SHAPES][N_MODELS];
};

static double normal(struct ref_mt *mt)
{
    double u = 1 - ref_mt_unit(mt), v = ref_mt_unit(mt);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static size_t n_elem_of(size_t shape)
{
    size_t n = 1;
    for (unsigned a = 0; a < shapes[shape].rank; a++)
        n *= (size_t) shapes[shape].dim[a];
    return n;
}

/* One tensor of every model: values about the base's, and their bits, the caller's. */
static void make_values(struct models *m, size_t shape, double sigma, struct ref_mt *mt,
                        void **bits)
{
    size_t n = n_elem_of(shape), size = uqm_dtype_bits(m->dtype) / 8;
    double *base = calloc(n, sizeof *base);
    for (size_t i = 0; i < N_MODELS; i++) {
        double *x = m->x[shape][i] = calloc(n, sizeof *x);
        bits[i] = calloc(n, size);
        for (size_t k = 0; k < n; k++) {
            base[k] = i == 0 ? normal(mt) * 0.5 : base[k];
            x[k] = ref_round(m->dtype, i == 0 ? base[k] : base[k] + sigma * normal(mt));
            uint64_t b = ref_bits(m->dtype, x[k]);
            memcpy((char *) bits[i] + k * size, &b, size);
        }
    }
    free(base);
}

static void make_models(struct models *m, enum uqm_dtype dtype, double sigma)
{
    static const char *const names[N_MODELS] = { "base", "m1", "m2", "m3" };
    static const char *const tensors[N_SHAPES] = { "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7" };
    struct ref_mt mt;
    void *bits[N_SHAPES][N_MODELS];
    ref_mt_init(&mt, 11);
    *m = (struct models){ .dir = test_mkdtemp(), .dtype = dtype };
    for (size_t s = 0; s < N_SHAPES; s++)
        make_values(m, s, sigma, &mt, bits[s]);
    for (size_t i = 0; i < N_MODELS; i++) {
        struct made_tensor t[N_SHAPES];
        for (size_t s = 0; s < N_SHAPES; s++) {
            t[s] = (struct made_tensor){
                .name = tensors[s], .dtype = dtype, .rank = shapes[s].rank, .data = bits[s][i]
            };
            memcpy(t[s].shape, shapes[s].dim, sizeof t[s].shape);
        }
        make_model(m->dir, names[i], NULL, t, N_SHAPES);
    }
    for (size_t s = 0; s < N_SHAPES; s++)
        for (size_t i = 0; i < N_MODELS; i++)
            free(bits[s][i]);
}

static void free_models(struct models *m)
{
    for (size_t s = 0; s < N_SHAPES; s++)
        for (size_t i = 0; i < N_MODELS; i++)
            free(m->x[s][i]);
    test_rm(m->dir);
}

/* --- recipes --- */

static bool is_per_model(const char *method, const char *key)
{
    const struct uqm_param_info *info = uqm_method_param(uqm_method_find(method), key);
    assert_non_null(info);
    return info->scope != UQM_PER_OUTPUT;
}

/* The settings of one model (0, 1 ...), or (-1) those of the recipe: "a: 1, b: 2". */
static void print_settings(char *out, size_t size, const struct ref_named_case *c, int model)
{
    char settings[sizeof c->settings], *next = settings;
    size_t len = 0;
    memcpy(settings, c->settings, sizeof settings);
    out[0] = '\0';
    for (char *word; (word = strsep(&next, " "));) {
        char *value = strchr(word, '=');
        if (!value)
            continue;
        *value++ = '\0';
        if (is_per_model(c->method, word) != (model >= 0))
            continue;
        for (int i = 0; i < model && strchr(value, ','); i++)
            value = strchr(value, ',') + 1;
        len += (size_t) snprintf(out + len, size - len, "%s%s: %.*s", len ? ", " : "", word,
                                 (int) strcspn(value, ","), value);
    }
}

static struct uqm_recipe *recipe_of(const struct ref_named_case *c, const char *dir)
{
    char text[2048], settings[256];
    size_t len = (size_t) snprintf(text, sizeof text, "merge_method: %s\n%s", c->method,
                                   c->with_base ? "base_model: base\n" : "");
    print_settings(settings, sizeof settings, c, -1);
    len +=
        (size_t) snprintf(text + len, sizeof text - len, "parameters: {%s}\nmodels:\n", settings);
    for (size_t i = 0; i < c->n_models; i++) {
        print_settings(settings, sizeof settings, c, (int) i);
        len += (size_t) snprintf(text + len, sizeof text - len,
                                 "  - model: m%zu\n    parameters: {%s}\n", i + 1, settings);
    }
    return make_recipe(in_dir(dir, "r.yml"), text);
}

/* --- comparison --- */

struct trial {
    const struct models *models;
    const struct ref_named_case *named;
    enum uqm_numerics numerics;
    double sigma;
};

static bool is_right(const struct trial *t, enum uqm_dtype out, double got, double want,
                     double most)
{
    bool accurate = t->numerics == UQM_NUMERICS_ACCURATE;
    if (out == UQM_F64) /* mergekit's random sparsifiers sum in F32 even then */
        return fabs(got - want) <= most * (accurate ? 1e-12 : 1e-6);
    if (accurate)
        return fabs(got - want) <= ref_ulp(out, want);
    return out == UQM_F32 ? fabs(got - want) <= most * 1e-5
                          : ref_bits(out, got) == ref_bits(out, want);
}

static void compare_tensor(const struct trial *t, const struct ref_case *c, size_t shape,
                           const uint8_t *got)
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
        memcpy(&bits, got + k * size, size);
        n_wrong += !is_right(t, out, ref_value(out, bits), want[k], most);
    }
    free(want);
    if (n_wrong > 0)
        fail_msg("%s, %s, %s, sigma %g, tensor t%zu: %zu of %zu elements are wrong", t->named->name,
                 t->numerics == UQM_NUMERICS_ACCURATE ? "accurate" : "mergekit",
                 uqm_dtype_name(t->models->dtype), t->sigma, shape, n_wrong, n);
}

/* The accurate numbers of one tensor: 48 bits of a Philox stream for each element of each input
 * that draws, whose keys the plan holds. */
struct own_draws {
    size_t n_elem, n_drawing, drawing, elem;
    struct uqm_rng_key keys[N_MODELS];
};

static double own_draw(void *ctx)
{
    struct own_draws *d = ctx;
    uint32_t e = (uint32_t) d->elem, upper[4], lower[4];
    assert_true(d->drawing < d->n_drawing);
    uqm_philox4x32(upper, (const uint32_t[4]){ e / 8, 0, 0, 0 }, d->keys[d->drawing]);
    uqm_philox4x32(lower, (const uint32_t[4]){ e, 0, 1, 0 }, d->keys[d->drawing]);
    uint32_t half = upper[e % 8 / 2] >> 16 * (e % 2) & 0xFFFF;
    if (++d->elem == d->n_elem) {
        d->elem = 0;
        d->drawing++;
    }
    return ((double) half + (double) lower[0] * 0x1p-32) * 0x1p-16;
}

static struct own_draws own_draws_of(const struct ref_case *c, const struct uqm_job *job)
{
    const struct ref_family *family = ref_family_of(c->method);
    struct own_draws d = { .n_elem = ref_n_elem(c) };
    for (size_t i = 0; family && i < c->n_inputs; i++) {
        double density = c->in[i].density;
        bool is_drawn = density < 1 && (family->sparsifier == REF_RANDOM ||
                                        (family->sparsifier == REF_DELLA && density > 0));
        if ((long) i != c->base && is_drawn)
            d.keys[d.n_drawing++] = job->inputs[i].key;
    }
    return d;
}

static void compare_all(const struct trial *t, struct uqm_source *s, uint8_t *const *got)
{
    struct ref_mt mt;
    ref_mt_init(&mt, 0);
    assert_int_equal(s->n_tensors, N_SHAPES);
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct ref_case c;
        ref_case_make(&c, t->named, t->models->dtype, t->models->x[i]);
        c.rank = shapes[i].rank;
        for (size_t a = 0; a < REF_RANK; a++)
            c.shape[a] = (size_t) shapes[i].dim[a];
        bool accurate = t->numerics == UQM_NUMERICS_ACCURATE;
        struct own_draws own = own_draws_of(&c, uqm_recipe_source_of(s)->plan[i].job);
        c.draw = accurate ? own_draw : ref_mt_unit;
        c.draw_ctx = accurate ? (void *) &own : &mt;
        assert_int_equal(s->tensors[i].name[1], '0' + (int) i);
        assert_int_equal(s->tensors[i].dtype, ref_result_dtype(&c));
        compare_tensor(t, &c, i, got[i]);
    }
}

/* Once more with other tiles, threads and memory. */
static void assert_same_bytes(const struct trial *t, struct uqm_source *s, uint8_t *const *want)
{
    uint8_t **got = NULL;
    struct uqm_err err = { 0 };
    assert_ok(try_read_all_in(&got, s, threads, 1 << 16, 8 << 20, &err), err);
    for (size_t i = 0; i < s->n_tensors; i++)
        if (memcmp(got[i], want[i], s->tensors[i].n_bytes) != 0)
            fail_msg("%s: tensor t%zu depends on tiles, threads or memory", t->named->name, i);
    free_all(got, s->n_tensors);
}

static void run_trial(const struct trial *t)
{
    struct uqm_env *env = test_env(64 << 20, 2);
    struct uqm_recipe *r = recipe_of(t->named, t->models->dir);
    struct uqm_open_params params = { .numerics = t->numerics };
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    uint8_t **got = NULL;
    assert_ok(uqm_recipe_open(&s, env, r, &params, &err), err);
    assert_ok(try_read_all(&got, s, NULL, 4096, &err), err);
    compare_all(t, s, got);
    assert_same_bytes(t, s, got);
    free_all(got, s->n_tensors);
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
    uint64_t left = atomic_load(&env->budget.used_bytes);
    if (left != 0)
        fail_msg("%s: %llu bytes are still in use", t->named->name, (unsigned long long) left);
}

static void run_trials(enum uqm_numerics numerics)
{
    static const struct {
        enum uqm_dtype dtype;
        double sigma;
    } sets[] = { { UQM_BF16, 0.3 }, { UQM_BF16, 0.002 }, { UQM_F16, 0.3 }, { UQM_F16, 0.002 },
                 { UQM_F32, 0.3 },  { UQM_F32, 0.002 },  { UQM_F64, 0.3 } };
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        struct models m;
        make_models(&m, sets[k].dtype, sets[k].sigma);
        for (size_t i = 0; i < n_cases; i++)
            run_trial(&(struct trial){ &m, &cases[i], numerics, sets[k].sigma });
        free_models(&m);
    }
}

static void accurate_merges_lie_within_an_ulp_of_f64(void **state)
{
    (void) state;
    run_trials(UQM_NUMERICS_ACCURATE);
}

static void mergekits_merges_are_reproduced_to_the_bit(void **state)
{
    (void) state;
    run_trials(UQM_NUMERICS_MERGEKIT);
}

static int setup(void **state)
{
    struct uqm_err err = { 0 };
    (void) state;
    n_cases = ref_cases_load(cases);
    return uqm_threads_create(&threads, 2, &err);
}

static int teardown(void **state)
{
    (void) state;
    uqm_threads_destroy(&threads);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accurate_merges_lie_within_an_ulp_of_f64),
        cmocka_unit_test(mergekits_merges_are_reproduced_to_the_bit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
