/* How often tensors are read that do not fit the memory, by methods that look for thresholds: in
 * f32, where a sample spares a pass, or misleads; the bytes are those of tensors that are kept. */
#include <jansson.h>
#include <math.h>

#include "src/merge/methods/key_window.h"
#include "src/merge/plan.h"
#include "src/uqmerge.h"
#include "tests/unit/merge/merge_test.h"

enum { ROWS = 2753, COLS = 2047, N = ROWS * COLS, N_MODELS = 2 };

static uint64_t random_next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Differences from the base, by kind. */
enum kind { EVEN, ROWWISE, SORTED, CONSTANT, ZERO, WITH_NAN, FEW_VALUES };

static float difference(enum kind kind, size_t e, uint64_t *state)
{
    float u = (float) random_next(state) * 0x1p-31F - 0.5F;
    switch (kind) {
    case EVEN: return u;
    case ROWWISE: return u * expf((float) (e / COLS * 7919 % 101) / 100);
    case SORTED: return (float) e / N;
    case CONSTANT: return 0.25F;
    case ZERO: return 0;
    case WITH_NAN: return e % 5 ? u : NAN;
    default: return (float) (int) (u * 5);
    }
}

static void write_model(const char *dir, const char *name, const float *x)
{
    const struct made_tensor t = { "w", UQM_F32, 2, { ROWS, COLS }, x };
    make_model(dir, name, "{\"architectures\":[\"L\"],\"torch_dtype\":\"float32\"}", &t, 1);
}

static void make_inputs(const char *dir, enum kind kind)
{
    float *x = malloc(N * sizeof *x);
    uint64_t state = 17;
    for (size_t e = 0; e < N; e++)
        x[e] = 0;
    write_model(dir, "base", x);
    for (int m = 0; m < N_MODELS; m++) {
        for (size_t e = 0; e < N; e++)
            x[e] = difference(kind, e, &state);
        write_model(dir, m ? "b" : "a", x);
    }
    free(x);
}

static void write_recipe(const char *dir, const char *method, const char *rest)
{
    char text[512];
    snprintf(text, sizeof text,
             "merge_method: %s\nbase_model: base\nparameters: {weight: 0.7, density: 0.6%s}\n"
             "models: [{model: a}, {model: b, parameters: {density: 0.31}}]\n",
             method, rest);
    write_text(in_dir(dir, "r.yml"), text);
}

/* How often each input is read; the merge is dir/out. */
static json_t *run_all(const char *dir, const char *const *recipes, size_t n, const char *out,
                       uint64_t memory, bool dry_run)
{
    struct uqm_err err = { 0 };
    char from[3][512], to[512], *json = NULL;
    const char *paths[3];
    assert_true(n <= 3);
    for (size_t i = 0; i < n; i++) {
        snprintf(from[i], sizeof from[i], "%s/%s.yml", dir, recipes[i]);
        paths[i] = from[i];
    }
    snprintf(to, sizeof to, "%s/%s", dir, out);
    const struct uqm_merge_params params = {
        .common = { .memory = memory, .n_threads = 3 },
        .recipe_path = paths[0],
        .recipes = { paths, n > 1 ? n : 0 },
        .out_dir = to,
        .dry_run = dry_run,
        .allow_nan = true,
    };
    assert_ok(uqm_merge(&json, &params, &err), err);
    json_t *doc = json_loads(json, 0, NULL);
    assert_non_null(doc);
    free(json);
    return doc;
}

static json_t *run(const char *dir, const char *out, uint64_t memory, bool dry_run)
{
    return run_all(dir, (const char *const[]){ "r" }, 1, out, memory, dry_run);
}

static double times(json_t *doc, const char *key)
{
    return (double) json_integer_value(json_object_get(doc, key)) /
           ((N_MODELS + 1) * N * sizeof(float));
}

static void assert_same_weights(const char *dir)
{
    struct uqm_err err = { 0 };
    char *x, *y;
    size_t n, m;
    assert_ok(uqm_read_file(&x, &n, in_dir(dir, "kept/model.safetensors"), 1 << 26, &err), err);
    assert_ok(uqm_read_file(&y, &m, in_dir(dir, "tight/model.safetensors"), 1 << 26, &err), err);
    assert_true(n > N * sizeof(float));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
    assert_ok(uqm_remove_tree(in_dir(dir, "kept"), &err), err);
    assert_ok(uqm_remove_tree(in_dir(dir, "tight"), &err), err);
}

enum { KEPT = 256 << 20, TIGHT = 64 << 20 };

/* Merge with enough memory and without; how often the latter read. */
static double merge_both_ways(const char *dir)
{
    json_t *kept = run(dir, "kept", KEPT, false), *plan = run(dir, "tight", TIGHT, true);
    json_t *tight = run(dir, "tight", TIGHT, false);
    double n = times(tight, "bytes_read");
    assert_true(fabs(times(kept, "bytes_read") - 1) < 0.001);
    assert_true(n < times(plan, "bytes_read_most") + 0.001);
    assert_true(times(plan, "bytes_read") <= times(plan, "bytes_read_most"));
    assert_true(fabs((double) json_integer_value(json_object_get(plan, "passes")) + 0.005 -
                     times(plan, "bytes_read")) < 0.006);
    assert_same_weights(dir);
    json_decref(kept);
    json_decref(plan);
    json_decref(tight);
    return n;
}

static void a_tensor_over_the_memory_is_read_twice_and_a_hundredth(void **state)
{
    (void) state;
    static const char *const methods[] = { "ties", "breadcrumbs", "breadcrumbs_ties" };
    char *dir = test_mkdtemp();
    for (int kind = EVEN; kind <= ROWWISE; kind++) {
        make_inputs(dir, (enum kind) kind);
        for (size_t m = 0; m < 3; m++) {
            write_recipe(dir, methods[m], m ? ", gamma: 0.05" : "");
            double n = merge_both_ways(dir);
            if (n < 2 || n > 2.011)
                fail_msg("%s, kind %d: read %.3f times", methods[m], kind, n);
        }
    }
    test_rm(dir);
}

/* Twice as many elements, so that the files are as large. */
static void make_bf16_inputs(const char *dir)
{
    static const char *const names[] = { "base", "a", "b" };
    uint16_t *x = malloc(2 * N * sizeof *x);
    for (int m = 0; m < 3; m++) {
        uint64_t state = 29, own = 31 + (uint64_t) m;
        for (size_t e = 0; e < 2 * N; e++) {
            float v = difference(EVEN, e, &state), d = m ? difference(EVEN, e, &own) : 0;
            uint32_t bits = uqm_bits_of_f32(v + d / 16);
            x[e] = (uint16_t) (bits >> 16);
        }
        const struct made_tensor t = { "w", UQM_BF16, 2, { ROWS, 2 * COLS }, x };
        make_model(dir, names[m], "{\"architectures\":[\"L\"]}", &t, 1);
    }
    free(x);
}

/* Their differences need no sample: all but very unequal ones are counted exactly at once. */
static void sixteen_bits_are_read_as_often_as_planned(void **state)
{
    (void) state;
    static const char *const methods[] = { "ties", "breadcrumbs" };
    char *dir = test_mkdtemp();
    make_bf16_inputs(dir);
    for (size_t m = 0; m < 2; m++) {
        write_recipe(dir, methods[m], m ? ", gamma: 0.05" : "");
        json_t *plan = run(dir, "plan", TIGHT, true);
        double n = merge_both_ways(dir), likely = times(plan, "bytes_read");
        if (fabs(n - 2) > 0.011 || fabs(n - likely) > 0.001)
            fail_msg("%s: read %.3f times, planned %.3f", methods[m], n, likely);
        assert_true(times(plan, "bytes_read_most") > 2.9);
        json_decref(plan);
    }
    test_rm(dir);
}

static void rescaling_reads_it_once_more(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    make_inputs(dir, FEW_VALUES);
    write_recipe(dir, "breadcrumbs_ties", ", rescale: true, gamma: 0.05");
    assert_true(fabs(merge_both_ways(dir) - 3.005) < 0.006);
    test_rm(dir);
}

static void equal_and_ordered_and_broken_tensors_come_out_the_same(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    for (int kind = SORTED; kind <= FEW_VALUES; kind++) {
        make_inputs(dir, (enum kind) kind);
        write_recipe(dir, "ties", "");
        assert_true(merge_both_ways(dir) < 3.011);
        write_recipe(dir, "breadcrumbs", ", gamma: 0.1");
        assert_true(merge_both_ways(dir) < 3.011);
    }
    test_rm(dir);
}

static void mergekits_arithmetic_is_read_as_often(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    make_inputs(dir, ROWWISE);
    write_text(in_dir(dir, "r.yml"),
               "merge_method: ties\nbase_model: base\ndtype: float32\n"
               "parameters: {weight: 0.7, density: 0.6}\nmodels: [{model: a}, {model: b}]\n");
    assert_true(fabs(merge_both_ways(dir) - 2.005) < 0.006);
    test_rm(dir);
}

/* Where the samples lie the differences are a thousandth of what they are elsewhere. */
static void deceive(const char *dir)
{
    struct uqm_recipe *r = NULL;
    struct uqm_source *source = NULL;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 1);
    const struct uqm_open_params params = { 0 };
    float *x = malloc(N * sizeof *x);
    uint64_t state = 3;
    assert_ok(uqm_recipe_load(&r, in_dir(dir, "r.yml"), NULL, NULL, &err), err);
    assert_ok(uqm_recipe_open(&source, env, r, &params, &err), err);
    const struct uqm_job *job = uqm_recipe_source_of(source)->plan[0].job;
    uint64_t n = job->ops->n_samples(job);
    assert_in_range(n * UQM_SAMPLE_ELEM, N / 200, N / 100);
    for (size_t e = 0; e < N; e++)
        x[e] = difference(EVEN, e, &state);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t at = uqm_job_sample_at(job, n, k);
        assert_true(at + UQM_SAMPLE_ELEM <= N);
        for (uint64_t e = at; e < at + UQM_SAMPLE_ELEM; e++)
            x[e] /= 1000;
    }
    uqm_source_destroy(&source);
    uqm_recipe_free(&r);
    write_model(dir, "b", x);
    free(x);
}

static void a_sample_that_misleads_costs_a_third_reading_and_no_byte(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    make_inputs(dir, EVEN);
    write_recipe(dir, "ties", "");
    deceive(dir);
    double n = merge_both_ways(dir);
    assert_true(n > 3 && n < 3.011);
    test_rm(dir);
}

/* --- thresholds among 16-bit floats --- */

enum { FEW_ROWS = 601, N_FEW = FEW_ROWS * 1031 };

/* The same numbers, which are bf16's, in one type. */
static void write_few(const char *dir, const char *name, enum uqm_dtype dtype, const uint16_t *x,
                      float *wide)
{
    for (size_t e = 0; e < N_FEW; e++)
        wide[e] = uqm_f32_of_bf16(x[e]);
    const void *data = dtype == UQM_F32 ? (const void *) wide : x;
    const struct made_tensor t = { "w", dtype, 2, { FEW_ROWS, N_FEW / FEW_ROWS }, data };
    make_model(dir, name, "{\"architectures\":[\"L\"]}", &t, 1);
}

/* late: the first rows are not as the others. */
static void make_halves(const char *half, const char *full, enum kind kind, bool late)
{
    uint16_t *base = malloc(N_FEW * sizeof *base), *x = malloc(N_FEW * sizeof *x);
    float *wide = malloc(N_FEW * sizeof *wide);
    uint64_t state = 23;
    for (int m = 0; m <= N_MODELS; m++) {
        for (size_t e = 0; e < N_FEW; e++) {
            float d = difference(kind, e * 9, &state) * (late && e < N_FEW / 4 ? 0.01F : 1);
            float b = m ? uqm_f32_of_bf16(base[e]) : (float) (random_next(&state) % 1000) * 0.02F;
            x[e] = uqm_bf16_of_f32(m ? b + d : b);
        }
        if (m == 0)
            memcpy(base, x, N_FEW * sizeof *x);
        const char *name = m == 0 ? "base" : m == 1 ? "a" : "b";
        write_few(half, name, UQM_BF16, x, wide);
        write_few(full, name, UQM_F32, x, wide);
    }
    free(base);
    free(x);
    free(wide);
}

/* Of 16-bit floats that are kept, most keys are counted without a look at where they lie. */
static void thresholds_of_halves_are_those_of_the_same_numbers_in_f32(void **state)
{
    (void) state;
    char *half = test_mkdtemp(), *full = test_mkdtemp(), *x, *y;
    size_t n, m;
    struct uqm_err err = { 0 };
    for (int kind = EVEN; kind <= FEW_VALUES; kind++)
        for (int i = 0; i < 4; i++) {
            if (i % 2 == 0)
                make_halves(half, full, (enum kind) kind, i / 2);
            const char *method =
                i % 2 ? "breadcrumbs_ties\ndtype: float32" : "ties\ndtype: float32";
            const char *rest = i % 2 ? ", gamma: 0.05" : "";
            write_recipe(half, method, rest);
            write_recipe(full, method, rest);
            json_decref(run(half, "out", KEPT, false));
            json_decref(run(full, "out", KEPT, false));
            assert_ok(uqm_read_file(&x, &n, in_dir(half, "out/model.safetensors"), 1 << 26, &err),
                      err);
            assert_ok(uqm_read_file(&y, &m, in_dir(full, "out/model.safetensors"), 1 << 26, &err),
                      err);
            assert_true(n == m && n > N_FEW * sizeof(float));
            if (memcmp(x, y, n) != 0)
                fail_msg("%s, kind %d, late %d", method, kind, i / 2);
            free(x);
            free(y);
            assert_ok(uqm_remove_tree(in_dir(half, "out"), &err), err);
            assert_ok(uqm_remove_tree(in_dir(full, "out"), &err), err);
        }
    test_rm(half);
    test_rm(full);
}

/* What the merges read at one time counts once; the rest, and their samples, each of its own. Some
 * pieces that they share are read twice, which the plan does not foresee. */
static void several_recipes_are_read_as_their_plan_says(void **state)
{
    (void) state;
    static const char *const methods[] = { "ties", "linear", "breadcrumbs" };
    char *dir = test_mkdtemp(), name[16];
    for (int kind = EVEN; kind <= SORTED; kind++) {
        make_inputs(dir, (enum kind) kind);
        for (size_t m = 0; m < 3; m++) {
            snprintf(name, sizeof name, "%s.yml", methods[m]);
            write_recipe(dir, methods[m], m == 2 ? ", gamma: 0.05" : "");
            assert_int_equal(rename(in_dir(dir, "r.yml"), in_dir(dir, "%s", name)), 0);
        }
        json_t *plan = run_all(dir, methods, 3, "all", TIGHT, true);
        json_t *done = run_all(dir, methods, 3, "all", TIGHT, false);
        double likely = times(plan, "bytes_read"), most = times(plan, "bytes_read_most");
        double n = times(done, "bytes_read");
        if (n > most + 0.001 || n < likely - 0.001 || (kind == EVEN && n > likely + 0.05))
            fail_msg("kind %d: read %.3f times, planned %.3f, at most %.3f", kind, n, likely, most);
        json_decref(plan);
        json_decref(done);
        struct uqm_err err = { 0 };
        assert_ok(uqm_remove_tree(in_dir(dir, "all"), &err), err);
    }
    test_rm(dir);
}

/* --- the window --- */

static uint32_t bins[UQM_COARSE_BINS];

static struct uqm_key_window guess(const uint32_t *keys, size_t n, double share, uint32_t most)
{
    struct uqm_key_window w;
    uqm_key_window_guess(&w, keys, n, (uint64_t) (share * 1e9), 1000000000, bins, most, 1, 16);
    for (size_t b = 0; b < UQM_COARSE_BINS; b++)
        assert_int_equal(bins[b], 0);
    return w;
}

static void a_window_lies_about_the_samples_quantile(void **state)
{
    (void) state;
    enum { SAMPLED = 100 * UQM_SAMPLE_ELEM };
    static uint32_t keys[SAMPLED], same[SAMPLED];
    uint64_t random = 9;
    for (size_t k = 0; k < SAMPLED; k++) {
        keys[k] = (uint32_t) random_next(&random) & 0x3FFFFFFF;
        same[k] = 0x7F812345;
    }
    for (double share = 0.05; share < 1; share += 0.05) {
        uint32_t bin = (uint32_t) ((1 - share) * (1 << 14));
        struct uqm_key_window w = guess(keys, SAMPLED, share, 4096), few;
        assert_in_range(bin, w.first, w.first + w.n_bins - 1);
        assert_in_range(w.n_bins, 100, 2000); /* 6 sigma of 0.5 / sqrt(51200) at most, twice */
        assert_true(w.n_segments >= 1 && w.n_bins * w.n_segments <= 4096);
        few = guess(keys, SAMPLED, share, 48);
        assert_int_equal(few.n_bins, 48);
        assert_int_equal(few.n_segments, 1);
        assert_true(few.first >= w.first && few.first + 48 <= w.first + w.n_bins);
    }
    struct uqm_key_window w = guess(same, SAMPLED, 0.5, 64);
    assert_int_equal(w.first, 0x7F81);
    assert_int_equal(w.n_bins, 1);
    assert_int_equal(w.n_segments, 16);
    assert_int_equal(guess(same, 0, 0.5, 64).n_bins, 0);
    assert_int_equal(guess(same, SAMPLED, 0.5, 0).n_bins, 0);
}

/* Runs of neighbours that are alike say less than as many draws. */
static void a_window_is_wider_where_neighbours_are_alike(void **state)
{
    (void) state;
    enum { SAMPLED = 100 * UQM_SAMPLE_ELEM };
    static uint32_t alike[SAMPLED], mixed[SAMPLED];
    for (size_t k = 0; k < SAMPLED; k++) {
        alike[k] = (uint32_t) (k / UQM_SAMPLE_ELEM) << 22;
        mixed[k] = (uint32_t) (k % 100) << 22;
    }
    assert_true(guess(alike, SAMPLED, 0.5, 32768).n_bins >
                5 * guess(mixed, SAMPLED, 0.5, 32768).n_bins);
}

static void samples_lie_in_the_tensor_apart_and_in_all_columns(void **state)
{
    (void) state;
    for (uint64_t n_elem = 60000; n_elem < UINT64_C(1) << 40; n_elem = n_elem * 5 + 1) {
        const struct uqm_job job = { .n_elem = n_elem, .unit_elem = 1 };
        uint64_t n = n_elem / 100 / UQM_SAMPLE_ELEM, end = 0, left = 0;
        n = n > 10000 ? 10000 : n;
        for (uint64_t k = 0; k < n; k++) {
            uint64_t at = uqm_job_sample_at(&job, n, k);
            assert_true(at >= end);
            end = at + UQM_SAMPLE_ELEM;
            left += at % 4096 < 2048;
        }
        assert_true(end <= n_elem);
        if (n > 100)
            assert_in_range(left, n * 4 / 10, n * 6 / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_over_the_memory_is_read_twice_and_a_hundredth),
        cmocka_unit_test(sixteen_bits_are_read_as_often_as_planned),
        cmocka_unit_test(rescaling_reads_it_once_more),
        cmocka_unit_test(equal_and_ordered_and_broken_tensors_come_out_the_same),
        cmocka_unit_test(mergekits_arithmetic_is_read_as_often),
        cmocka_unit_test(a_sample_that_misleads_costs_a_third_reading_and_no_byte),
        cmocka_unit_test(thresholds_of_halves_are_those_of_the_same_numbers_in_f32),
        cmocka_unit_test(several_recipes_are_read_as_their_plan_says),
        cmocka_unit_test(a_window_lies_about_the_samples_quantile),
        cmocka_unit_test(a_window_is_wider_where_neighbours_are_alike),
        cmocka_unit_test(samples_lie_in_the_tensor_apart_and_in_all_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
