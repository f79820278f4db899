#include "src/merge/write.h"

#include <jansson.h>
#include <math.h>

#include "src/format/manifest.h"
#include "src/merge/merge_report.h"
#include "tests/unit/merge/merge_test.h"

enum { N_MODELS = 4, N_ELEM = 40000 };

static float numbers[N_MODELS][N_ELEM];

/* Four models that differ a little, of tensors larger than the least tile. */
static char *start(void)
{
    char *dir = test_mkdtemp();
    uint32_t state = 5;
    for (size_t k = 0; k < N_MODELS; k++)
        for (size_t i = 0; i < N_ELEM; i++) {
            state = state * 1664525 + 1013904223;
            float noise = (float) (state >> 8) / (float) (1 << 24) - 0.5f;
            numbers[k][i] = k ? numbers[0][i] + noise / 20 : noise;
        }
    for (size_t k = 0; k < N_MODELS; k++) {
        const float *d = numbers[k];
        struct made_tensor t[] = {
            { "model.embed_tokens.weight", UQM_F32, 2, { 200, 200 }, d },
            { "model.layers.0.mlp.up_proj.weight", UQM_F32, 2, { 150, 200 }, d + 7 },
            { "model.layers.1.mlp.up_proj.weight", UQM_F32, 2, { 150, 200 }, d + 99 },
            { "model.norm.weight", UQM_F32, 1, { 200 }, d + 3000 },
            { "lm_head.weight", UQM_F32, 2, { 200, 200 }, d },
            { "odd", UQM_I64, 1, { 3 }, "the same in every model" },
        };
        make_model(dir, (const char *[]){ "a", "b", "c", "d" }[k],
                   "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":200}", t, 6);
    }
    write_text(
        in_dir(dir, "sweep1.yml"),
        "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"
        "  - {model: b, parameters: {weight: 1}}\n  - {model: c, parameters: {weight: 1}}\n");
    write_text(
        in_dir(dir, "sweep2.yml"),
        "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 3}}\n"
        "  - {model: b, parameters: {weight: 1}}\n  - {model: c, parameters: {weight: 2}}\n");
    write_text(in_dir(dir, "prefix.yml"),
               "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: 1}}\n"
               "  - {model: b, parameters: {weight: 1}}\nout_dtype: float16\n");
    write_text(in_dir(dir, "slerp.yml"), "merge_method: slerp\nbase_model: a\nmodels:\n"
                                         "  - model: a\n  - model: d\nparameters: {t: 0.3}\n");
    return dir;
}

struct call {
    const char *recipes[4];
    size_t n;
    const char *out;
    uint64_t memory;
    int n_threads;
    bool overwrite, dry_run;
};

static int merge(json_t **doc, const char *dir, const struct call *c, struct uqm_err *err)
{
    char paths[4][512], out[512], *json = NULL;
    const char *v[4];
    for (size_t i = 0; i < c->n; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s.yml", dir, c->recipes[i]);
        v[i] = paths[i];
    }
    snprintf(out, sizeof out, "%s/%s", dir, c->out);
    struct uqm_merge_params params = {
        .common = { .memory = c->memory ? c->memory : 64 << 20, .n_threads = c->n_threads },
        .recipe_path = v[0],
        .recipes = { v, c->n > 1 ? c->n : 0 },
        .out_dir = out,
        .overwrite = c->overwrite,
        .dry_run = c->dry_run,
        .out_shard_bytes = 150000,
    };
    int ret = uqm_merge(&json, &params, err);
    if (ret == UQM_OK)
        *doc = json_loads(json, 0, NULL);
    free(json);
    return ret;
}

static json_int_t merge_ok(const char *dir, const struct call *c)
{
    struct uqm_err err = { 0 };
    json_t *doc = NULL;
    assert_ok(merge(&doc, dir, c, &err), err);
    json_int_t n = json_integer_value(json_object_get(doc, "bytes_read"));
    json_t *outputs = json_object_get(doc, "outputs");
    assert_int_equal(json_array_size(outputs), c->n > 1 ? c->n : 0);
    json_decref(doc);
    return n;
}

/* Every file but the model card, whose title is the folder's name, and the manifest, which has the
 * card's digest. */
static void assert_same_merge(const char *dir, const char *a, const char *b)
{
    static const char *const names[] = { "model-00001-of-00004.safetensors",
                                         "model-00002-of-00004.safetensors",
                                         "model-00003-of-00004.safetensors",
                                         "model-00004-of-00004.safetensors",
                                         "model-00001-of-00003.safetensors",
                                         "model-00002-of-00003.safetensors",
                                         "model-00003-of-00003.safetensors",
                                         "model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors",
                                         "model.safetensors.index.json",
                                         "config.json",
                                         "mergekit_config.yml",
                                         UQM_REPORT_NAME };
    struct uqm_err err = { 0 };
    size_t n_there = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *x, *y;
        size_t n, m;
        bool there = uqm_is_file(in_dir(dir, "%s/%s", a, names[i]));
        assert_int_equal(there, uqm_is_file(in_dir(dir, "%s/%s", b, names[i])));
        if (!there)
            continue;
        n_there++;
        assert_ok(uqm_read_file(&x, &n, in_dir(dir, "%s/%s", a, names[i]), 1 << 24, &err), err);
        assert_ok(uqm_read_file(&y, &m, in_dir(dir, "%s/%s", b, names[i]), 1 << 24, &err), err);
        if (n != m || memcmp(x, y, n) != 0)
            fail_msg("%s differs between %s and %s", names[i], a, b);
        free(x);
        free(y);
    }
    assert_true(n_there >= 6);
}

static void each_output_is_what_its_recipe_gives_alone(void **state)
{
    (void) state;
    static const char *const names[] = { "sweep1", "sweep2", "prefix", "slerp" };
    static const struct {
        uint64_t memory;
        int n_threads;
    } runs[] = { { 64 << 20, 1 }, { 1 << 30, 3 } };
    char *dir = start();
    for (size_t i = 0; i < 4; i++) {
        struct call one = { .recipes = { names[i] }, .n = 1 };
        char out[32];
        snprintf(out, sizeof out, "alone-%s", names[i]);
        one.out = out;
        merge_ok(dir, &one);
    }
    for (size_t r = 0; r < 2; r++) {
        struct call all = { .recipes = { "sweep1", "sweep2", "prefix", "slerp" },
                            .n = 4,
                            .out = "all",
                            .memory = runs[r].memory,
                            .n_threads = runs[r].n_threads,
                            .overwrite = true };
        merge_ok(dir, &all);
        for (size_t i = 0; i < 4; i++) {
            char a[32], b[32];
            snprintf(a, sizeof a, "alone-%s", names[i]);
            snprintf(b, sizeof b, "all/%s", names[i]);
            assert_same_merge(dir, a, b);
        }
    }
    test_rm(dir);
}

static void what_several_need_is_read_once(void **state)
{
    (void) state;
    char *dir = start();
    const struct call one = { .recipes = { "sweep1" }, .n = 1, .out = "one" };
    const struct call sweep = { .recipes = { "sweep1", "sweep2" }, .n = 2, .out = "sweep" };
    const struct call prefix = { .recipes = { "prefix", "sweep1", "sweep2" },
                                 .n = 3,
                                 .out = "prefix-of-it",
                                 .memory = 1 << 30 };
    json_int_t alone = merge_ok(dir, &one);
    assert_int_equal(merge_ok(dir, &sweep), alone);
    assert_int_equal(merge_ok(dir, &prefix), alone);
    test_rm(dir);
}

/* Small gaps between tensors go past the streams, so a plan may say a little more. */
static void a_dry_run_of_several_says_what_all_read_together(void **state)
{
    (void) state;
    static const struct {
        const char *recipes[4];
        size_t n;
        uint64_t memory;
    } cases[] = {
        { { "sweep1", "sweep2" }, 2, 64 << 20 },
        { { "prefix", "sweep1", "sweep2" }, 3, 1 << 30 },
        { { "sweep1", "slerp" }, 2, 64 << 20 },
        { { "sweep1", "sweep2", "prefix", "slerp" }, 4, 64 << 20 },
        { { "slerp", "ties" }, 2, 1 << 30 },
    };
    char *dir = start(), out[16];
    write_text(in_dir(dir, "ties.yml"),
               "merge_method: ties\nbase_model: a\nparameters: {weight: 1, density: 0.5}\n"
               "models: [{model: b}, {model: d}]\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct call c = { .n = cases[i].n, .memory = cases[i].memory, .out = out };
        memcpy(c.recipes, cases[i].recipes, sizeof c.recipes);
        snprintf(out, sizeof out, "out%zu", i);
        c.dry_run = true;
        json_int_t planned = merge_ok(dir, &c);
        assert_false(uqm_is_dir(in_dir(dir, "%s", out)));
        c.dry_run = false;
        assert_in_range(merge_ok(dir, &c), planned - 4096, planned);
    }
    test_rm(dir);
}

static void a_dry_run_of_several_adds_up_what_they_write(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc, *one;
    json_int_t written = 0, disk = 0;
    size_t i;
    const struct call both = {
        .recipes = { "sweep1", "prefix" }, .n = 2, .out = "both", .dry_run = true
    };
    assert_ok(merge(&doc, dir, &both, &err), err);
    json_array_foreach (json_object_get(doc, "outputs"), i, one) {
        written += json_integer_value(json_object_get(one, "bytes_write"));
        disk += json_integer_value(json_object_get(one, "disk_needed"));
        assert_non_null(strstr(json_string_value(json_object_get(one, "out")), both.recipes[i]));
    }
    assert_true(written > 0);
    assert_int_equal(json_integer_value(json_object_get(doc, "bytes_write")), written);
    assert_int_equal(json_integer_value(json_object_get(doc, "disk_needed")), disk);
    assert_in_range(json_integer_value(json_object_get(doc, "peak_memory")), 1, 64 << 20);
    json_decref(doc);
    test_rm(dir);
}

static void every_folder_has_a_manifest_that_holds(void **state)
{
    (void) state;
    char *dir = start(), *json;
    struct uqm_err err = { 0 };
    const struct call all = { .recipes = { "sweep1", "slerp" }, .n = 2, .out = "all" };
    merge_ok(dir, &all);
    for (size_t i = 0; i < 2; i++) {
        struct uqm_verify_params verify = { .path = in_dir(dir, "all/%s", all.recipes[i]),
                                            .inputs = true };
        assert_ok(uqm_verify(&json, &verify, &err), err);
        free(json);
    }
    test_rm(dir);
}

static void one_that_fails_leaves_none(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc;
    struct made_tensor t = { "w", UQM_F32, 1, { 2 }, (const float[]){ (float) INFINITY, 1 } };
    make_model(dir, "x", "{}", &t, 1);
    make_model(dir, "y", "{}", &t, 1);
    write_text(in_dir(dir, "good.yml"), "merge_method: linear\nparameters: {weight: 1}\n"
                                        "models: [{model: x}, {model: y}]\n");
    write_text(in_dir(dir, "bad.yml"),
               "merge_method: linear\nparameters: {normalize: false}\nmodels:\n"
               "  - {model: x, parameters: {weight: 1}}\n"
               "  - {model: y, parameters: {weight: -1}}\n");
    const struct call both = { .recipes = { "good", "bad" }, .n = 2, .out = "again" };
    int ret = merge(&doc, dir, &both, &err);
    assert_int_equal(ret, UQM_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "tensor w: element 0 became NaN"));
    assert_false(uqm_is_dir(in_dir(dir, "again")));
    test_rm(dir);
}

static void two_recipes_of_one_name_are_refused(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    json_t *doc;
    mkdir(in_dir(dir, "deep"), 0755);
    write_text(in_dir(dir, "deep/slerp.yml"),
               "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: ../a}]\n");
    const struct call both = { .recipes = { "slerp", "deep/slerp" }, .n = 2, .out = "both" };
    assert_fails(merge(&doc, dir, &both, &err), err, UQM_ERR_ARG, "its output would be");
    assert_false(uqm_is_dir(in_dir(dir, "both")));
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_output_is_what_its_recipe_gives_alone),
        cmocka_unit_test(what_several_need_is_read_once),
        cmocka_unit_test(a_dry_run_of_several_says_what_all_read_together),
        cmocka_unit_test(a_dry_run_of_several_adds_up_what_they_write),
        cmocka_unit_test(every_folder_has_a_manifest_that_holds),
        cmocka_unit_test(one_that_fails_leaves_none),
        cmocka_unit_test(two_recipes_of_one_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
