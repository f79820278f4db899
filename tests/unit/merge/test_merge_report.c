#include "src/merge/merge_report.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#include "src/format/json.h"
#include "tests/unit/merge/merge_test.h"

enum { N = 5003 }; /* more than one block of any type, and no whole number of them */

static float values[4][N]; /* the base, a, b; then what linear makes of them */
static double wide[3][N];

static double noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double) (*state >> 40) * 0x1p-24 - 0.5;
}

/* base, a and b: elements that differ a little, a third of them not at all. */
static void fill(double scale)
{
    uint64_t state = 7;
    for (size_t i = 0; i < N; i++) {
        values[0][i] = (float) (noise(&state) * scale);
        for (size_t k = 1; k < 3; k++)
            values[k][i] =
                i % 3 == k ? values[0][i] : values[0][i] + (float) (noise(&state) * scale / 50);
    }
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < N; i++)
            wide[k][i] = (double) values[k][i];
}

static char *start(bool f64, const char *more)
{
    static const char *const names[] = { "base", "a", "b" };
    char *dir = test_mkdtemp(), *text;
    for (size_t k = 0; k < 3; k++) {
        const void *data = f64 ? (const void *) wide[k] : values[k];
        struct made_tensor t[] = {
            { "w", f64 ? UQM_F64 : UQM_F32, 1, { N }, data },
            { "other", UQM_F32, 1, { 2 }, values[k] },
            { "buffer", UQM_I64, 1, { 1 }, "whatever" },
        };
        make_model(dir, names[k], "{}", t, 3);
    }
    if (asprintf(&text,
                 "merge_method: linear\nparameters: {weight: 1}\n%smodels:\n"
                 "  - model: base\n  - model: a\n  - model: b\n",
                 more) < 0)
        fail();
    write_text(in_dir(dir, "r.yml"), text);
    free(text);
    return dir;
}

static enum uqm_report_kind kind; /* of all merges; tests set it back */

static int merge(const char *dir, bool allow_nan, uint64_t memory, int n_threads,
                 struct uqm_err *err)
{
    char recipe[512], out[512], *json;
    snprintf(recipe, sizeof recipe, "%s/r.yml", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    struct uqm_merge_params params = {
        .common = { .memory = memory, .n_threads = n_threads },
        .recipe_path = recipe,
        .out_dir = out,
        .overwrite = true,
        .allow_nan = allow_nan,
        .report = kind,
    };
    int ret = uqm_merge(&json, &params, err);
    free(json);
    return ret;
}

static json_t *report(const char *dir)
{
    struct uqm_err err = { 0 };
    json_t *doc = uqm_json_load(in_dir(dir, "out/%s", UQM_REPORT_NAME), 1 << 20, &err);
    if (!doc)
        fail_msg("%s", err.msg);
    return doc;
}

static const json_t *tensor(const json_t *doc, const char *name)
{
    const json_t *list = json_object_get(doc, "tensors"), *t;
    size_t i;
    json_array_foreach (list, i, t)
        if (strcmp(json_string_value(json_object_get(t, "name")), name) == 0)
            return t;
    fail_msg("no tensor %s", name);
    return NULL;
}

static void assert_near(const json_t *object, const char *key, double want, double relative)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_real(v))
        fail_msg("%s is no number", key);
    double got = json_real_value(v);
    if (!(fabs(got - want) <= fabs(want) * relative))
        fail_msg("%s: %.17g, not %.17g", key, got, want);
}

/* The output as it was written, in double. */
static void read_output(double *y, const char *dir)
{
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    struct uqm_open_params none = { 0 };
    assert_ok(uqm_model_open(&s, test_env(64 << 20, 1), in_dir(dir, "out"), &none, &err), err);
    uint8_t **all = read_all(s, 4096);
    long at = uqm_source_find(s, "w");
    assert_true(at >= 0);
    for (size_t i = 0; i < N; i++) {
        float f;
        uint16_t h;
        switch (s->tensors[at].dtype) {
        case UQM_F64: memcpy(&y[i], all[at] + 8 * i, 8); break;
        case UQM_F32:
            memcpy(&f, all[at] + 4 * i, 4);
            y[i] = (double) f;
            break;
        default:
            memcpy(&h, all[at] + 2 * i, 2);
            y[i] =
                (double) (s->tensors[at].dtype == UQM_F16 ? uqm_f32_of_f16(h) : uqm_f32_of_bf16(h));
        }
    }
    free_all(all, s->n_tensors);
    uqm_source_destroy(&s);
}

static double sign(double v)
{
    return v > 0 ? 1 : v < 0 ? -1 : 0;
}

/* Against the formulas of docs/formats/report.md, in double over the written output. */
static void check_tensor(const char *dir, const json_t *t)
{
    static double y[N];
    double y2 = 0, moved_by_any = 0, unanimous = 0;
    read_output(y, dir);
    for (size_t i = 0; i < N; i++) {
        y2 += y[i] * y[i];
        double a = sign(wide[1][i] - wide[0][i]), b = sign(wide[2][i] - wide[0][i]);
        moved_by_any += a != 0 || b != 0;
        unanimous += (a != 0 || b != 0) && a * b >= 0;
    }
    assert_near(t, "unanimous", unanimous / moved_by_any, 1e-15);
    for (size_t k = 0; k < 3; k++) {
        const json_t *in = json_array_get(json_object_get(t, "inputs"), k);
        double d2 = 0, x2 = 0, xy = 0, max = 0, moved = 0, same = 0;
        for (size_t i = 0; i < N; i++) {
            double d = fabs(wide[k][i] - y[i]), s = sign(wide[k][i] - wide[0][i]);
            d2 += d * d;
            x2 += wide[k][i] * wide[k][i];
            xy += wide[k][i] * y[i];
            max = d > max ? d : max;
            moved += s != 0;
            same += s != 0 && s == sign(y[i] - wide[0][i]);
        }
        assert_int_equal(json_integer_value(json_object_get(in, "input")), k);
        assert_near(in, "rel_l2", sqrt(d2) / sqrt(y2), 1e-5);
        assert_near(in, "max_abs", max, 1e-6);
        assert_near(in, "cosine", xy / sqrt(x2 * y2), 1e-7);
        if (k == 0)
            assert_true(json_is_null(json_object_get(in, "sign_agreement")));
        else
            assert_near(in, "sign_agreement", same / moved, 1e-15);
    }
}

static void distances_and_signs_are_those_of_the_written_tensor(void **state)
{
    (void) state;
    static const struct {
        bool f64;
        double scale;
        const char *recipe;
    } cases[] = {
        { false, 1, "base_model: base\n" },
        { false, 1, "base_model: base\nout_dtype: float16\n" },
        { false, 1, "base_model: base\nout_dtype: bfloat16\n" },
        { true, 1, "base_model: base\n" },
        { true, 1, "base_model: base\nout_dtype: float32\n" },
        { false, 1, "base_model: base\nout_dtype: float64\n" },
        { false, 1e-22, "base_model: base\n" }, /* squares below the least float */
        { false, 1e25, "base_model: base\n" },  /* squares above the largest */
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct uqm_err err = { 0 };
        fill(cases[c].scale);
        char *dir = start(cases[c].f64, cases[c].recipe);
        assert_ok(merge(dir, false, 64 << 20, 2, &err), err);
        json_t *doc = report(dir);
        check_tensor(dir, tensor(doc, "w"));
        assert_int_equal(json_array_size(json_object_get(doc, "tensors")), 2);
        json_decref(doc);
        test_rm(dir);
    }
}

static void without_a_base_there_are_no_task_vectors(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    fill(1);
    char *dir = start(false, "");
    assert_ok(merge(dir, false, 64 << 20, 2, &err), err);
    json_t *doc = report(dir);
    assert_true(json_is_null(json_object_get(tensor(doc, "w"), "unanimous")));
    const json_t *in = json_array_get(json_object_get(tensor(doc, "w"), "inputs"), 1);
    assert_true(json_is_null(json_object_get(in, "sign_agreement")));
    json_decref(doc);
    test_rm(dir);
}

static void an_inputs_own_nan_is_counted_and_written(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    fill(1);
    values[1][17] = NAN;
    values[1][4999] = NAN;
    values[2][17] = INFINITY;
    char *dir = start(false, "base_model: base\n");
    assert_ok(merge(dir, false, 64 << 20, 2, &err), err);
    json_t *doc = report(dir);
    const json_t *t = tensor(doc, "w"), *inputs = json_object_get(t, "inputs");
    assert_int_equal(json_integer_value(json_object_get(t, "nan")), 2);
    assert_int_equal(json_integer_value(json_object_get(t, "inf")), 0);
    const json_t *a = json_array_get(inputs, 1), *b = json_array_get(inputs, 2);
    assert_int_equal(json_integer_value(json_object_get(a, "nan")), 2);
    assert_int_equal(json_integer_value(json_object_get(b, "inf")), 1);
    assert_true(json_is_null(json_object_get(a, "rel_l2")));
    assert_true(json_is_null(json_object_get(b, "cosine")));
    json_decref(doc);
    test_rm(dir);
}

static void a_nan_that_no_input_has_is_an_error_unless_allowed(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    fill(1);
    values[1][4097] = INFINITY;
    values[2][4097] = -INFINITY;
    values[1][3] = NAN; /* this one may be */
    char *dir = start(false, "base_model: base\n");
    assert_fails(merge(dir, false, 64 << 20, 2, &err), err, UQM_ERR_FORMAT,
                 "tensor w: element 4097 became NaN");
    assert_false(uqm_is_dir(in_dir(dir, "out")));
    assert_ok(merge(dir, true, 64 << 20, 2, &err), err);
    json_t *doc = report(dir);
    assert_int_equal(json_integer_value(json_object_get(tensor(doc, "w"), "nan")), 2);
    json_decref(doc);
    test_rm(dir);
}

/* The report of "w" when its merge comes in runs of at most this many elements. */
static char *report_in_runs(struct uqm_source *source, size_t most)
{
    struct uqm_recipe_source *rs = uqm_recipe_source_of(source);
    struct uqm_merge_report *r = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_merge_report_create(&r, rs, NULL, 1 << 16, UQM_REPORT_SAMPLED, &err), err);
    long at = uqm_source_find(source, "w");
    struct uqm_seen seen[3] = { 0 };
    uint64_t state = most;
    for (size_t first = 0, n; first < N; first += n) {
        n = 1 + (size_t) (fabs(noise(&state)) * (double) most);
        n = n < N - first ? n : N - first;
        struct uqm_range range = { (size_t) at, first, n };
        for (size_t k = 0; k < 3; k++)
            seen[k].data = values[k] + first;
        rs->merged(rs->merged_ctx, &range, seen, values[3] + first);
    }
    json_t *doc = uqm_merge_report_document(r);
    char *text = json_dumps(doc, JSON_REAL_PRECISION(17));
    json_decref(doc);
    uqm_merge_report_destroy(&r);
    return text;
}

static void where_runs_are_cut_changes_no_byte(void **state)
{
    (void) state;
    static const size_t most[] = { N, 1, 30, 1500, 2600, 4096 };
    struct uqm_err err = { 0 };
    struct uqm_source *source = NULL;
    struct uqm_open_params none = { 0 };
    fill(1);
    for (size_t i = 0; i < N; i++)
        values[3][i] = (values[1][i] + values[2][i]) / 2;
    values[3][1025] = NAN;
    char *dir = start(false, "base_model: base\n"), *first = NULL;
    assert_ok(uqm_model_open(&source, test_env(64 << 20, 1), in_dir(dir, "r.yml"), &none, &err),
              err);
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        char *text = report_in_runs(source, most[i]);
        if (first)
            assert_string_equal(text, first);
        free(first);
        first = text;
    }
    free(first);
    uqm_source_destroy(&source);
    test_rm(dir);
}

static void threads_and_memory_change_no_byte(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *first = NULL, *text;
    size_t len;
    fill(1);
    char *dir = start(false, "base_model: base\nout_dtype: float16\n");
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        assert_ok(merge(dir, false, UINT64_C(64) << (20 + n_threads), n_threads, &err), err);
        assert_ok(uqm_read_file(&text, &len, in_dir(dir, "out/%s", UQM_REPORT_NAME), 1 << 20, &err),
                  err);
        if (first)
            assert_string_equal(text, first);
        free(first);
        first = text;
    }
    free(first);
    test_rm(dir);
}

/* --- samples --- */

enum { MANY = (1 << 22) + 4096 * 7 + 13 };

/* base and a in bf16, which differ more the farther back an element stands. */
static char *start_large(size_t nan_at, bool in_base)
{
    char *dir = test_mkdtemp();
    uint16_t *x[2];
    uint64_t state = 9;
    for (size_t k = 0; k < 2; k++)
        if (!(x[k] = malloc(MANY * sizeof *x[k])))
            fail();
    for (size_t i = 0; i < MANY; i++) {
        double v = noise(&state), d = noise(&state) * (double) i / MANY / 5;
        x[0][i] = uqm_bf16_of_f32((float) v);
        x[1][i] = uqm_bf16_of_f32((float) (i % 4 ? v + d : v));
    }
    if (nan_at > 0) /* inf - inf in the task vector, if both are */
        x[1][nan_at] = 0x7F80;
    if (nan_at > 0 && in_base)
        x[0][nan_at] = 0x7F80;
    for (size_t k = 0; k < 2; k++) {
        struct made_tensor t = { "w", UQM_BF16, 1, { MANY }, x[k] };
        make_model(dir, k ? "a" : "base", "{}", &t, 1);
        free(x[k]);
    }
    write_text(in_dir(dir, "r.yml"), "merge_method: task_arithmetic\nbase_model: base\nmodels:\n"
                                     "  - {model: a, parameters: {weight: 0.7}}\n");
    return dir;
}

static void a_sample_stands_for_the_whole(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *dir = start_large(0, false);
    json_t *docs[2];
    for (int i = 0; i < 2; i++) {
        kind = i ? UQM_REPORT_FULL : UQM_REPORT_SAMPLED;
        assert_ok(merge(dir, false, 64 << 20, 2, &err), err);
        docs[i] = report(dir);
        assert_true(json_is_true(json_object_get(docs[i], "sampled")) == !i);
    }
    kind = UQM_REPORT_SAMPLED;
    const json_t *some = tensor(docs[0], "w"), *all = tensor(docs[1], "w");
    json_int_t compared = json_integer_value(json_object_get(some, "compared"));
    assert_int_equal(json_integer_value(json_object_get(all, "compared")), MANY);
    assert_true(compared > MANY / 72 && compared < MANY / 56);
    static const char *const keys[] = { "rel_l2", "cosine", "sign_agreement", "max_abs" };
    const json_t *of_some = json_array_get(json_object_get(some, "inputs"), 0);
    const json_t *of_all = json_array_get(json_object_get(all, "inputs"), 0);
    for (size_t k = 0; k < 4; k++)
        assert_near(of_some, keys[k], json_real_value(json_object_get(of_all, keys[k])),
                    k == 3 ? 0.2 : 0.04);
    /* over all tensors, of which there is one: the same quotients */
    const json_t *top = json_array_get(json_object_get(docs[0], "inputs"), 0);
    assert_near(top, "rel_l2", json_real_value(json_object_get(of_some, "rel_l2")), 1e-12);
    json_decref(docs[0]);
    json_decref(docs[1]);
    test_rm(dir);
}

static void what_became_nan_is_found_in_every_block_and_without_a_report(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    static const size_t places[] = { 1, 5000, 123456, MANY - 1 };
    for (size_t i = 0; i < 8; i++) {
        char want[80], *dir = start_large(places[i / 2], true);
        snprintf(want, sizeof want, "tensor w: element %zu became NaN", places[i / 2]);
        kind = i % 2 ? UQM_REPORT_OFF : UQM_REPORT_SAMPLED;
        assert_fails(merge(dir, false, 64 << 20, 2, &err), err, UQM_ERR_FORMAT, want);
        assert_ok(merge(dir, true, 64 << 20, 2, &err), err);
        if (kind == UQM_REPORT_OFF) {
            assert_int_not_equal(access(in_dir(dir, "out/%s", UQM_REPORT_NAME), F_OK), 0);
        } else {
            json_t *doc = report(dir);
            const json_t *t = tensor(doc, "w"), *in = json_object_get(t, "inputs");
            assert_int_equal(json_integer_value(json_object_get(t, "nan")), 1);
            assert_int_equal(json_integer_value(json_object_get(json_array_get(in, 0), "inf")), 1);
            json_decref(doc);
        }
        test_rm(dir);
    }
    kind = UQM_REPORT_SAMPLED;
}

/* By a weight of 0, which makes NaN of it, and by a mask, which leaves nothing of it. */
static void an_infinite_input_is_counted_in_every_block_whatever_becomes_of_it(void **state)
{
    (void) state;
    static const char *const recipes[] = {
        "merge_method: linear\nmodels:\n  - {model: base, parameters: {weight: 1}}\n"
        "  - {model: a, parameters: {weight: 0}}\n",
        "merge_method: task_arithmetic\nbase_model: base\nmodels:\n"
        "  - {model: a, parameters: {weight: 0}}\n",
        "merge_method: slerp\nbase_model: base\nmodels:\n  - model: a\nparameters: {t: 0}\n",
        "merge_method: dare_linear\nbase_model: base\nmodels:\n"
        "  - {model: a, parameters: {weight: 1, density: 0}}\n",
        /* what the passes have found is asked */
        "merge_method: dare_linear\nbase_model: base\nmodels:\n"
        "  - {model: a, parameters: {weight: 0.5, density: 0.5}}\nparameters: {rescale: true}\n",
        "merge_method: breadcrumbs\nbase_model: base\nmodels:\n"
        "  - {model: a, parameters: {weight: 1, density: 0.5, gamma: 0.01}}\n",
        "merge_method: ties\nbase_model: base\nmodels:\n"
        "  - {model: a, parameters: {weight: 0.5, density: 0.5}}\n"
        "  - {model: base, parameters: {weight: 0.5, density: 1}}\n",
    };
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        char *dir = start_large(123456, false);
        write_text(in_dir(dir, "r.yml"), recipes[i]);
        assert_ok(merge(dir, true, 64 << 20, 2, &err), err);
        json_t *doc = report(dir);
        const json_t *t = tensor(doc, "w"), *in = json_object_get(t, "inputs"), *input;
        json_int_t n_inf = 0;
        size_t k;
        json_array_foreach (in, k, input)
            n_inf += json_integer_value(json_object_get(input, "inf"));
        json_int_t n_nan = json_integer_value(json_object_get(t, "nan"));
        if (i < 4)
            assert_true(i < 2 ? n_nan == 1 : i == 2 ? n_nan > 0 : n_nan == 0);
        assert_int_equal(n_inf, 1);
        json_decref(doc);
        test_rm(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_stands_for_the_whole),
        cmocka_unit_test(what_became_nan_is_found_in_every_block_and_without_a_report),
        cmocka_unit_test(an_infinite_input_is_counted_in_every_block_whatever_becomes_of_it),
        cmocka_unit_test(distances_and_signs_are_those_of_the_written_tensor),
        cmocka_unit_test(without_a_base_there_are_no_task_vectors),
        cmocka_unit_test(an_inputs_own_nan_is_counted_and_written),
        cmocka_unit_test(a_nan_that_no_input_has_is_an_error_unless_allowed),
        cmocka_unit_test(where_runs_are_cut_changes_no_byte),
        cmocka_unit_test(threads_and_memory_change_no_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
