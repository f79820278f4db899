/* Questions, accuracy and uncertainty against the zoo's reference, through the public calls where
 * there is one. */
#include <math.h>

#include "src/uq/feature_cache.h"
#include "src/uq/runner.h"
#include "tests/golden/golden.h"
#include "tests/golden/image_lists.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_env *env;

/* A survey of the one record, with the sample's prefix before the system sentence. */
static void survey_of(struct uqm_survey *s, struct uqm_question_params *q, const json_t *sample,
                      char *system, size_t system_bytes)
{
    static const char *path;
    static char file[128];
    struct uqm_err err = { 0 };
    snprintf(file, sizeof file, "data/heldin/%s.jsonl", golden_string(sample, "set"));
    path = zoo_path(file);
    q->data = (struct uqm_strings){ &path, 1 };
    const struct uqm_survey_params params = { .questions = q, .n_passes = 1 };
    assert_ok(uqm_survey_init(s, env, &params, &err), err);

    for (size_t i = 0; i < s->sets[0].n_records; i++)
        if (!strcmp(s->sets[0].records[i].id, golden_string(sample, "id")))
            s->sets[0].records[0] = s->sets[0].records[i];
    s->sets[0].n_records = s->first_record[1] = 1;
    snprintf(system, system_bytes, "%s%s", golden_string(sample, "prefix"), s->tasks[0].system);
    s->tasks[0].system = system;
}

static void check_sample(const json_t *sample, const json_t *expected)
{
    char model[128], system[512];
    snprintf(model, sizeof model, "models/%s", golden_string(sample, "model"));
    const char *path = zoo_path(model);
    struct uqm_question_params q = { .models = { &path, 1 } };
    struct uqm_survey survey;
    struct uqm_runner runner;
    struct uqm_candidate c;
    struct uqm_err err = { 0 };
    float logits[UQM_N_OPTIONS];
    double p[UQM_N_OPTIONS];

    survey_of(&survey, &q, sample, system, sizeof system);
    const struct uqm_open_params open = { .need_vision = uqm_survey_has_pictures(&survey) };
    assert_ok(uqm_runner_init(&runner, &survey, workdir, "cpu", &err), err);
    assert_ok(uqm_candidate_open(&c, env, path, &open, &err), err);
    assert_ok(uqm_runner_ask(logits, &runner, &c, "test", &err), err);
    uqm_option_softmax(p, logits);
    for (size_t k = 0; k < UQM_N_OPTIONS; k++) {
        double e = json_number_value(json_array_get(expected, k));
        if (!(fabs(p[k] - e) < 2e-5))
            fail_msg("%s: option %zu: %.9f, expected %.9f", golden_string(sample, "key"), k, p[k],
                     e);
    }
    uqm_candidate_close(&c);
    uqm_runner_finish(&runner);
    uqm_survey_finish(&survey);
}

static void option_probabilities_are_the_goldens(void **state)
{
    (void) state;
    json_t *root = golden_json(zoo_path("goldens/model/model.json"));
    size_t i, n = 0;
    json_t *sample;
    json_array_foreach (json_object_get(root, "samples"), i, sample) {
        const json_t *expected = json_object_get(sample, "option_softmax");
        if (!json_is_array(expected))
            continue;
        check_sample(sample, expected);
        n++;
    }
    assert_int_equal(n, 11);
    json_decref(root);
}

/* An uqm_uq call on one set; the result's JSON. */
static json_t *uq(const char *model, const char *set, uint64_t n_samples, unsigned perturb,
                  uint64_t memory, int n_threads)
{
    const struct uqm_uq_params params = {
        .common = { .memory = memory, .n_threads = n_threads, .seed = 3 },
        .questions = { .models = { &model, 1 }, .data = { &set, 1 }, .sample_count = n_samples },
        .perturb = perturb,
    };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_uq(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    /* what tells of the run, not of the models */
    assert_int_equal(json_object_del(root, "bytes_read"), 0);
    assert_int_equal(json_object_del(root, "seconds"), 0);
    free(text);
    return root;
}

static const json_t *first_model(const json_t *root)
{
    return json_array_get(json_object_get(root, "models"), 0);
}

static void accuracy_is_the_references_to_the_record(void **state)
{
    (void) state;
    const char *models[2] = { zoo_path("models/reason"), zoo_path("models/dense") };
    const char *set = zoo_path("data/heldin/ai2d.jsonl");
    const struct uqm_eval_params params = { .questions = { .models = { models, 2 },
                                                           .data = { &set, 1 } } };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_eval(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    json_t *reference = golden_json(zoo_path("reference_results.json"));
    size_t i;
    json_t *model;
    json_array_foreach (json_object_get(root, "models"), i, model) {
        const char *name = golden_string(model, "model");
        const json_t *sets =
            json_object_get(json_object_get(json_object_get(reference, "models"), name), "heldin");
        const json_t *ours = json_array_get(json_object_get(model, "datasets"), 0);
        assert_string_equal(golden_string(ours, "metric"), "accuracy");
        assert_int_equal(json_integer_value(json_object_get(ours, "samples")), 118);
        assert_true(golden_number(ours, "value") == golden_number(sets, "ai2d"));
        assert_true(golden_number(model, "average") == golden_number(sets, "ai2d"));
    }
    assert_int_equal(i, 2);
    json_decref(reference);
    json_decref(root);
    free(text);
}

static void a_known_set_has_the_references_uncertainty(void **state)
{
    (void) state;
    json_t *root = uq(zoo_path("models/know"), zoo_path("data/heldin/ai2d.jsonl"), 0, 0, 0, 0);
    json_t *reference = golden_json(zoo_path("reference_results.json"));
    const json_t *known =
        json_object_get(json_object_get(json_object_get(reference, "uq_summary"), "know"), "ai2d");
    const double mean = json_number_value(json_array_get(known, 0));
    const double sd = json_number_value(json_array_get(known, 1));
    const double u = golden_number(first_model(root), "uq");
    /* Three standard deviations of a repeat, and of ours. */
    if (!(fabs(u - mean) < 3 * sqrt(2) * fmax(sd, 0.02 * mean)))
        fail_msg("uncertainty %.6f, reference %.6f +- %.6f", u, mean, sd);
    assert_true(golden_number(first_model(root), "stderr") < 0.01);
    json_decref(reference);
    json_decref(root);
}

static void without_perturbation_there_is_no_uncertainty(void **state)
{
    (void) state;
    json_t *root = uq(zoo_path("models/reason"), zoo_path("data/heldin/mmb.jsonl"), 16,
                      UQM_PERTURB_NONE, 0, 0);
    assert_true(fabs(golden_number(first_model(root), "uq")) < 1e-9);
    json_decref(root);
}

/* What one model has, but for the last layer of its tower, which no feature comes from. */
static uint64_t bytes_in_use(const char *model)
{
    const struct uqm_checkpoint_params params = { .path = model };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    uint64_t n_bytes = 0;
    assert_ok(uqm_checkpoint_open(&cp, env, &params, &err), err);
    for (size_t i = 0; i < cp->source.n_tensors; i++) {
        const struct uqm_tensor *t = &cp->source.tensors[i];
        if (t->part != UQM_PART_VISION || t->layer != 3)
            n_bytes += t->n_bytes;
    }
    uqm_checkpoint_close(&cp);
    return n_bytes;
}

static void a_model_that_is_asked_alone_is_read_once(void **state)
{
    (void) state;
    const char *model = zoo_path("models/reason"), *set = zoo_path("data/heldin/mmb.jsonl");
    const struct uqm_uq_params params = {
        .common = { .memory = 256 << 20 },
        .questions = { .models = { &model, 1 }, .data = { &set, 1 }, .sample_count = 4 },
    };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_uq(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    const json_int_t n_read = json_integer_value(json_object_get(root, "bytes_read"));
    const uint64_t in_use = bytes_in_use(model);
    assert_true(n_read > 0 && (uint64_t) n_read <= in_use);
    assert_true((uint64_t) n_read >= in_use - 2 * 1024 * 128 * 2); /* of two matrices a few rows */
    json_decref(root);
    free(text);
}

static void threads_and_memory_do_not_change_a_bit(void **state)
{
    (void) state;
    const char *model = zoo_path("models/chat"), *set = zoo_path("data/heldin/sci.jsonl");
    json_t *large = uq(model, set, 24, 0, 1 << 30, 2);
    json_t *small = uq(model, set, 24, 0, 72 << 20, 1);
    json_t *odd = uq(model, set, 24, 0, 200 << 20, 5);
    assert_true(json_equal(large, small));
    assert_true(json_equal(large, odd));
    json_decref(large);
    json_decref(small);
    json_decref(odd);
}

static void a_records_value_does_not_depend_on_the_others(void **state)
{
    (void) state;
    /* The smaller sample is part of the larger: its values come back among theirs. */
    const char *model = zoo_path("models/chat"), *set = zoo_path("data/heldin/oodcv.jsonl");
    const char *few = in_workdir("few.jsonl"), *many = in_workdir("many.jsonl");
    for (int i = 0; i < 2; i++) {
        const struct uqm_uq_params params = {
            .questions = { .models = { &model, 1 },
                           .data = { &set, 1 },
                           .sample_count = i ? 12 : 4 },
            .trace_path = i ? many : few,
        };
        struct uqm_err err = { 0 };
        char *text;
        assert_ok(uqm_uq(&text, &params, &err), err);
        free(text);
    }
    char *a, *b;
    size_t len, n = 0;
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&a, &len, few, 1 << 20, &err), err);
    assert_ok(uqm_read_file(&b, &len, many, 1 << 20, &err), err);
    for (char *line = strtok(a, "\n"); line; line = strtok(NULL, "\n"), n++)
        assert_non_null(strstr(b, line));
    assert_int_equal(n, 16);
    free(a);
    free(b);
}

static void a_merge_in_passing_is_the_written_merge_to_the_bit(void **state)
{
    (void) state;
    const char *models[3] = { zoo_path("models/reason"), zoo_path("models/chat"),
                              zoo_path("models/general") };
    const char *set = zoo_path("data/heldin/seed.jsonl"), *out = in_workdir("merged");
    const struct uqm_merge_rule linear = { 0 };
    char *recipe = uqm_merge_rule_recipe(&linear, models, 3, "float16"), *text;
    const char *recipe_path = put_file("three.yml", recipe);
    const struct uqm_merge_params params = { .recipe_path = recipe_path, .out_dir = out };
    struct uqm_err err = { 0 };
    free(recipe);
    assert_ok(uqm_merge(&text, &params, &err), err);
    free(text);

    json_t *passing = uq(recipe_path, set, 16, 0, 0, 0), *written = uq(out, set, 16, 0, 0, 0);
    assert_true(golden_number(first_model(passing), "uq") ==
                golden_number(first_model(written), "uq"));
    assert_true(json_equal(json_object_get(first_model(passing), "datasets"),
                           json_object_get(first_model(written), "datasets")));
    json_decref(passing);
    json_decref(written);
}

static void several_pictures_stand_where_transformers_puts_them(void **state)
{
    (void) state;
    check_image_lists("cpu", 2e-6);
}

static void each_picture_of_a_record_is_perturbed_in_a_stream_of_its_own(void **state)
{
    (void) state;
    enum { SIDE = 56, N = 3 * SIDE * SIDE };
    static float one[N], first[N], second[N];
    const struct uqm_preprocess_config config = {
        .image_size = SIDE, .pad_to_square = true, .std = { 1, 1, 1 }, .rescale = 1.0 / 255
    };
    const char *path = zoo_path("data/images/scn_0003.jpg");
    const struct uqm_record alone = { .id = "r", .image = path }, twice = {
        .id = "r", .image = path, .more_images = &path, .n_more_images = 1
    };
    struct uqm_dataset set = { .name = "s" };
    const struct uqm_survey survey = { .env = env, .sets = &set, .perturb = UQM_PERTURB_IMAGE };
    struct uqm_err err = { 0 };
    const uint64_t most = 1 << 24;
    assert_ok(uqm_features_pixels(one, &survey, 0, &alone, 0, 1, &config, most, &err), err);
    assert_ok(uqm_features_pixels(first, &survey, 0, &twice, 0, 1, &config, most, &err), err);
    assert_ok(uqm_features_pixels(second, &survey, 0, &twice, 1, 1, &config, most, &err), err);
    assert_memory_equal(one, first, sizeof one);
    assert_int_not_equal(memcmp(first, second, sizeof first), 0);
}

static int setup(void **state)
{
    env = test_env(UINT64_C(512) << 20, 2);
    return make_workdir(state);
}

static void an_archive_is_as_uncertain_as_the_folder_to_the_last_digit(void **state)
{
    (void) state;
    const char *model = zoo_path("models/dense"), *set = zoo_path("data/heldin/mmb.jsonl");
    char archive[600], *text = NULL;
    struct uqm_err err = { 0 };
    snprintf(archive, sizeof archive, "%s/dense.uqz", workdir);
    const struct uqm_pack_params params = { .dir = model, .archive = archive };
    assert_ok(uqm_pack(&text, &params, &err), err);
    free(text);
    json_t *folder = uq(model, set, 2, 0, 64 << 20, 2);
    json_t *packed = uq(archive, set, 2, 0, 64 << 20, 2);
    const json_t *models = json_object_get(packed, "models");
    assert_int_equal(json_array_size(models), 1);
    json_t *first = json_array_get(models, 0);
    assert_string_equal(golden_string(first, "model"), "dense.uqz");
    assert_int_equal(json_object_set_new(first, "model", json_string("dense")), 0);
    const json_t *asked[2] = { json_object_get(folder, "run"), json_object_get(packed, "run") };
    for (size_t i = 0; i < 2; i++)
        asked[i] = json_array_get(json_object_get(asked[i], "models"), 0);
    assert_string_equal(golden_string(asked[1], "fingerprint"),
                        golden_string(asked[0], "fingerprint"));
    assert_int_equal(json_object_del(folder, "run") + json_object_del(packed, "run"), 0);
    assert_true(json_equal(folder, packed));
    assert_true(golden_number(first, "uq") > 0);
    json_decref(folder);
    json_decref(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(option_probabilities_are_the_goldens),
        cmocka_unit_test(several_pictures_stand_where_transformers_puts_them),
        cmocka_unit_test(each_picture_of_a_record_is_perturbed_in_a_stream_of_its_own),
        cmocka_unit_test(accuracy_is_the_references_to_the_record),
        cmocka_unit_test(a_known_set_has_the_references_uncertainty),
        cmocka_unit_test(without_perturbation_there_is_no_uncertainty),
        cmocka_unit_test(a_model_that_is_asked_alone_is_read_once),
        cmocka_unit_test(threads_and_memory_do_not_change_a_bit),
        cmocka_unit_test(a_records_value_does_not_depend_on_the_others),
        cmocka_unit_test(a_merge_in_passing_is_the_written_merge_to_the_bit),
        cmocka_unit_test(an_archive_is_as_uncertain_as_the_folder_to_the_last_digit),
    };
    return cmocka_run_group_tests(tests, setup, drop_workdir);
}
