/*
 * The main job on the whole zoo, through the public calls alone: accuracy, uncertainty and
 * selection of the ten fine-tunes against the reference that PyTorch gave. Minutes, not seconds:
 * meson's suite "acceptance".
 */
#include <math.h>

#include "tests/golden/golden.h"
#include "tests/unit/uq/workdir.h"

enum { N_MODELS = 10, N_SETS = 5 };

/* The over-confident models' uncertainty is all tail: a few records make it. */
#define NEARLY_NOTHING 0.001

/* In the order of zoo.json; the base stands apart. */
static const char *const model_names[N_MODELS + 1] = { "reason", "know",    "knowmc",  "chat",
                                                       "ocr",    "dense",   "general", "textonly",
                                                       "region", "textcap", "base" };
static const char *const set_names[N_SETS] = { "mmb", "oodcv", "sci", "seed", "ai2d" };

static char model_paths[N_MODELS + 1][512], set_paths[N_SETS][512];
static const char *models[N_MODELS + 1], *sets[N_SETS];
static json_t *reference;

static const json_t *get(const json_t *object, const char *a, const char *b)
{
    return json_object_get(json_object_get(object, a), b);
}

static void accuracy_of_every_model_is_the_references(void **state)
{
    (void) state;
    const struct uqm_eval_params params = { .questions = { .models = { models, N_MODELS + 1 },
                                                           .data = { sets, N_SETS } } };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_eval(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL), *model, *set;
    size_t i, k;
    json_array_foreach (json_object_get(root, "models"), i, model) {
        const char *name = golden_string(model, "model");
        const json_t *expected = json_object_get(get(reference, "models", name), "heldin");
        json_array_foreach (json_object_get(model, "datasets"), k, set) {
            const double n = golden_number(set, "samples");
            const double ours = golden_number(set, "value");
            const double theirs = golden_number(expected, golden_string(set, "data"));
            /* One record in a hundred may tip over. */
            if (!(fabs(ours - theirs) * n <= n / 100 + 1e-6))
                fail_msg("%s on %s: accuracy %.4f, reference %.4f", name,
                         golden_string(set, "data"), ours, theirs);
        }
        assert_int_equal(k, N_SETS);
    }
    assert_int_equal(i, N_MODELS + 1);
    json_decref(root);
    free(text);
}

enum { N_WORDS = 8 };

/* Answers in words, in the zoo's own metrics. A record may tip over. */
static void generation_scores_of_every_model_are_the_references(void **state)
{
    (void) state;
    static const char *const names[N_WORDS] = { "heldout/vqav2", "heldout/gqa",
                                                "heldout/pope",  "heldout/textvqa",
                                                "heldout/okvqa", "heldout/vizwiz",
                                                "heldout/mmmu",  "val/val_ocr" };
    static char paths[N_WORDS][512];
    const char *data[N_WORDS];
    for (size_t i = 0; i < N_WORDS; i++) {
        char name[64];
        snprintf(name, sizeof name, "data/%s.jsonl", names[i]);
        snprintf(paths[i], sizeof paths[i], "%s", zoo_path(name));
        data[i] = paths[i];
    }
    const struct uqm_eval_params params = {
        .questions = { .models = { models, N_MODELS + 1 }, .data = { data, N_WORDS } },
        .max_new_tokens = UQM_TASK_TOKENS,
    };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_eval(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL), *model, *set;
    size_t i, k;
    json_array_foreach (json_object_get(root, "models"), i, model) {
        const json_t *expected = get(reference, "models", golden_string(model, "model"));
        json_array_foreach (json_object_get(model, "datasets"), k, set) {
            const char *name = golden_string(set, "data");
            const json_t *group =
                json_object_get(expected, strcmp(name, "val_ocr") ? "heldout" : "val");
            const double ours = golden_number(set, "value"), theirs = golden_number(group, name);
            if (!(fabs(ours - theirs) * golden_number(set, "samples") <= 1 + 1e-6))
                fail_msg("%s on %s: %.4f, reference %.4f", golden_string(model, "model"), name,
                         ours, theirs);
        }
        assert_int_equal(k, N_WORDS);
    }
    assert_int_equal(i, N_MODELS + 1);
    json_decref(root);
    free(text);
}

/*
 * Three standard deviations of the difference between one run of ours and the reference, the mean
 * of three. `scatter` is the relative deviation from seed to seed that is allowed for: 3.5 % for
 * the mean of the five sets (3.3 to 5.1 % were seen over five seeds, docs/uncertainty.md), 8 % for
 * one set (about 6 %). Wider than the reference's own deviations, which are too small; that page
 * says why. Models under NEARLY_NOTHING are hardly held to more than that.
 */
static void assert_uncertainty(const char *name, const char *what, double ours, double scatter)
{
    const json_t *summary = get(reference, "uq_summary", name);
    const double theirs = json_number_value(json_array_get(json_object_get(summary, what), 0));
    const double most = 3 * scatter * sqrt(1 + 1.0 / 3) * theirs;
    assert_true(theirs > 0);
    if (!(fabs(ours - theirs) <= fmax(most, NEARLY_NOTHING)))
        fail_msg("%s, %s: uncertainty %.6f, reference %.6f", name, what, ours, theirs);
}

static void check_models(const json_t *root)
{
    json_t *model, *set;
    size_t i, k;
    json_array_foreach (json_object_get(root, "models"), i, model) {
        const char *name = golden_string(model, "model");
        assert_uncertainty(name, "average", golden_number(model, "uq"), 0.035);
        json_array_foreach (json_object_get(model, "datasets"), k, set)
            assert_uncertainty(name, golden_string(set, "data"), golden_number(set, "uq"), 0.08);
    }
    assert_int_equal(i, N_MODELS);
}

static size_t rank_of(const json_t *list, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (strcmp(json_string_value(item), name) == 0)
            return i;
    fail_msg("%s is not in the list", name);
    return 0;
}

/* Spearman's coefficient between our order and the reference's. */
static void check_order(const json_t *root)
{
    const json_t *ours = json_object_get(root, "order"),
                 *theirs = json_object_get(reference, "order");
    double sum = 0;
    for (size_t i = 0; i < N_MODELS; i++) {
        double d =
            (double) rank_of(ours, model_names[i]) - (double) rank_of(theirs, model_names[i]);
        sum += d * d;
    }
    assert_true(1 - 6 * sum / (N_MODELS * (N_MODELS * N_MODELS - 1)) >= 0.95);
}

static void select_ends_with_the_references_seven_models(void **state)
{
    (void) state;
    const char *out = in_workdir("selected");
    const struct uqm_select_params params = {
        .uq = { .common = { .seed = 1 },
                .questions = { .models = { models, N_MODELS }, .data = { sets, N_SETS } } },
        .out_dir = out,
    };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_select(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    free(text);

    check_models(root);
    check_order(root);
    const json_t *ours = json_object_get(root, "selected"),
                 *theirs = json_object_get(reference, "selected");
    assert_int_equal(golden_number(root, "stopped_at"), golden_number(reference, "stop_step"));
    assert_int_equal(json_array_size(ours), json_array_size(theirs));
    for (size_t i = 0; i < json_array_size(theirs); i++)
        rank_of(ours, json_string_value(json_array_get(theirs, i)));

    const struct uqm_verify_params verify = { .path = out };
    assert_ok(uqm_verify(&text, &verify, &err), err);
    free(text);
    json_decref(root);
}

static int open_zoo(void **state)
{
    char name[64];
    for (size_t i = 0; i <= N_MODELS; i++) {
        snprintf(name, sizeof name, "models/%s", model_names[i]);
        snprintf(model_paths[i], sizeof model_paths[i], "%s", zoo_path(name));
        models[i] = model_paths[i];
    }
    for (size_t i = 0; i < N_SETS; i++) {
        snprintf(name, sizeof name, "data/heldin/%s.jsonl", set_names[i]);
        snprintf(set_paths[i], sizeof set_paths[i], "%s", zoo_path(name));
        sets[i] = set_paths[i];
    }
    reference = golden_json(zoo_path("reference_results.json"));
    return make_workdir(state);
}

static int close_zoo(void **state)
{
    json_decref(reference);
    return drop_workdir(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy_of_every_model_is_the_references),
        cmocka_unit_test(generation_scores_of_every_model_are_the_references),
        cmocka_unit_test(select_ends_with_the_references_seven_models),
    };
    return cmocka_run_group_tests(tests, open_zoo, close_zoo);
}
