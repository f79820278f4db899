/* uqm_select() from models to a written merge, on a few records of the zoo. */
#include <math.h>

#include <jansson.h>

#include "src/format/base64.h"
#include "tests/unit/uq/workdir.h"

static const char *models[3], *sets[2];
static char log_text[16384];

/* Counts stages, so that an interruption can fall between two of them. */
static struct {
    char last[128];
    int n_stages, stop_at;
    int cancel;
} watch;

static void take_log(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    (void) level;
    size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

static void take_progress(void *ctx, const struct uqm_progress *progress)
{
    (void) ctx;
    if (strncmp(progress->stage, "uncertainty", strlen("uncertainty")) != 0 ||
        !strcmp(progress->stage, watch.last))
        return;
    snprintf(watch.last, sizeof watch.last, "%s", progress->stage);
    if (++watch.n_stages == watch.stop_at)
        __atomic_store_n(&watch.cancel, 1, __ATOMIC_RELAXED);
}

static struct uqm_select_params params_for(const char *out)
{
    log_text[0] = '\0';
    memset(&watch, 0, sizeof watch);
    return (struct uqm_select_params) {
        .uq = {
            .common = { .memory = UINT64_C(256) << 20, .log = take_log, .progress = take_progress,
                        .cancel = &watch.cancel },
            .questions = { .models = { models, 3 }, .data = { sets, 2 }, .sample_count = 6 },
            .repeats = 2,
        },
        .out_dir = out,
    };
}

static json_t *run(const struct uqm_select_params *params)
{
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_select(&text, params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

/* What may differ between two runs of one job. */
static void drop_what_differs(json_t *root)
{
    json_object_del(root, "seconds");
    json_object_del(root, "bytes_read");
    json_object_del(root, "out");
}

static void a_run_writes_the_best_and_leaves_nothing_else(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(in_workdir("out"));
    json_t *root = run(&p);
    assert_int_equal(json_array_size(json_object_get(root, "models")), 3);
    assert_int_equal(json_array_size(json_object_get(root, "order")), 3);
    const size_t n_selected = json_array_size(json_object_get(root, "selected"));
    assert_true(n_selected >= 1);
    assert_true(uqm_is_file(in_workdir("out/config.json")));
    assert_true(uqm_is_file(in_workdir("out/uqmerge.manifest.json")));
    assert_false(uqm_is_file(in_workdir("out.state.json")));

    /* Steps: the first is the first model of the order, measured once. */
    const json_t *steps = json_object_get(root, "steps"), *first = json_array_get(steps, 0);
    assert_true(json_is_null(json_object_get(first, "diff")));
    size_t i;
    json_t *model;
    json_array_foreach (json_object_get(root, "models"), i, model)
        if (json_equal(json_object_get(model, "model"), json_object_get(first, "added")))
            assert_true(json_equal(json_object_get(model, "uq"), json_object_get(first, "uq")));
    assert_true(json_is_real(json_object_get(json_array_get(steps, 1), "diff_stderr")));
    json_decref(root);

    struct uqm_err err = { 0 };
    char *text;
    p = params_for(in_workdir("out"));
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_ARG, "--overwrite");
    assert_null(text);
    assert_null(strstr(err.msg, "state"));

    /* Killed between the last two things that it does, a run leaves its state. */
    put_file("out.state.json", "{}");
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_ARG,
                 "out.state.json, which may be removed");
    assert_int_equal(unlink(in_workdir("out.state.json")), 0);
}

static void an_interrupted_run_goes_on_and_ends_in_the_same_result(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = p.all_steps = true;
    json_t *whole = run(&p);
    const int n_stages = watch.n_stages;
    assert_int_equal(n_stages, 5); /* three models, steps 2 and 3 */

    int n_seen = 0, n_runs = 0;
    json_t *pieces = NULL;
    while (!pieces) {
        p = params_for(in_workdir("pieces"));
        p.no_write = p.all_steps = true;
        watch.stop_at = 2; /* one stage, and the start of another */
        struct uqm_err err = { 0 };
        char *text;
        int ret = uqm_select(&text, &p, &err);
        n_seen += watch.n_stages;
        assert_true(++n_runs < 10);
        if (ret == UQM_OK) {
            pieces = json_loads(text, 0, NULL);
            free(text);
            break;
        }
        assert_int_equal(ret, UQM_ERR_INTERRUPTED);
        assert_true(uqm_is_file(in_workdir("pieces.state.json")));
    }
    assert_true(n_runs >= 3);
    assert_true(n_seen <= n_stages + n_runs);
    drop_what_differs(whole);
    drop_what_differs(pieces);
    assert_true(json_equal(whole, pieces));
    json_decref(whole);
    json_decref(pieces);
}

static void another_seed_does_not_take_the_state(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.state_path = in_workdir("kept.json");
    json_t *one = run(&p);
    assert_true(uqm_is_file(in_workdir("kept.json"))); /* asked for by name: it stays */

    p = params_for(NULL);
    p.no_write = true;
    p.state_path = in_workdir("kept.json");
    json_t *again = run(&p);
    assert_int_equal(watch.n_stages, 0);
    drop_what_differs(one);
    drop_what_differs(again);
    assert_true(json_equal(one, again));

    p = params_for(NULL);
    p.no_write = true;
    p.state_path = in_workdir("kept.json");
    p.uq.common.seed = 9;
    json_t *other = run(&p);
    assert_non_null(strstr(log_text, "another job"));
    assert_true(watch.n_stages >= 4);
    json_decref(one);
    json_decref(again);
    json_decref(other);
}

static void the_order_can_be_asked_for(void **state)
{
    (void) state;
    static const struct {
        enum uqm_order order;
        bool rising;
    } cases[] = { { UQM_ORDER_UQ_DESC, false },
                  { UQM_ORDER_UQ_ASC, true },
                  { UQM_ORDER_ACCURACY_DESC, false },
                  { UQM_ORDER_ACCURACY_ASC, true } };
    for (size_t i = 0; i < 4; i++) {
        struct uqm_select_params p = params_for(NULL);
        p.no_write = true;
        p.order = cases[i].order;
        p.state_path = in_workdir("orders.json");
        json_t *root = run(&p);
        const char *by = i < 2 ? "uq" : "accuracy";
        double before = cases[i].rising ? -1 : 9;
        size_t k, m;
        json_t *name, *model;
        json_array_foreach (json_object_get(root, "order"), k, name)
            json_array_foreach (json_object_get(root, "models"), m, model)
                if (json_equal(json_object_get(model, "model"), name)) {
                    double v = json_number_value(json_object_get(model, by));
                    assert_true(cases[i].rising ? v >= before : v <= before);
                    before = v;
                }
        json_decref(root);
    }
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.order = UQM_ORDER_GIVEN;
    p.state_path = in_workdir("orders.json");
    json_t *root = run(&p);
    assert_string_equal(json_string_value(json_array_get(json_object_get(root, "order"), 0)),
                        "textcap");
    json_decref(root);
}

/* The bytes of a tensor file. */
static char *weights_of(const char *dir, size_t *len)
{
    char path[1024], *bytes;
    struct uqm_err err = { 0 };
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (!uqm_is_file(path))
        snprintf(path, sizeof path, "%s/model-00001-of-00001.safetensors", dir);
    assert_ok(uqm_read_file(&bytes, len, path, 64 << 20, &err), err);
    return bytes;
}

/* What was scored is what is written: by the recipe that the step shows. */
static void any_method_merges_and_the_steps_recipe_gives_the_written_bytes(void **state)
{
    (void) state;
    const char *base = zoo_path("models/base");
    const char *template = put_file("dare.yml", "merge_method: dare_ties\n"
                                                "parameters: {weight: 0.7, density: 0.6}\n");
    struct uqm_select_params p = params_for(in_workdir("dare"));
    p.merge = template;
    p.base_dir = base;
    p.order = UQM_ORDER_GIVEN;
    p.patience = 9;
    p.state_path = in_workdir("methods.json");
    json_t *root = run(&p);
    const size_t n_selected = json_array_size(json_object_get(root, "selected"));
    const json_t *step = json_array_get(json_object_get(root, "steps"), n_selected - 1);
    const struct uqm_merge_params merge = {
        .common = p.uq.common,
        .recipe_path = put_file("again.yml", json_string_value(json_object_get(step, "recipe"))),
        .out_dir = in_workdir("again"),
    };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_merge(&text, &merge, &err), err);
    free(text);
    size_t n_one, n_other;
    char *one = weights_of(in_workdir("dare"), &n_one);
    char *other = weights_of(in_workdir("again"), &n_other);
    assert_int_equal(n_one, n_other);
    assert_memory_equal(one, other, n_one);
    free(one);
    free(other);
    json_decref(root);

    static const char *const methods[] = { "task_arithmetic", "ties", "model_stock", "della" };
    for (size_t i = 0; i < 4; i++) {
        p = params_for(NULL);
        p.no_write = p.all_steps = true;
        p.merge = methods[i];
        p.base_dir = base;
        p.state_path = in_workdir("methods.json"); /* the models are measured once */
        root = run(&p);
        assert_int_equal(watch.n_stages, 2);
        const json_t *last = json_array_get(json_object_get(root, "steps"), 2);
        assert_non_null(strstr(json_string_value(json_object_get(last, "recipe")), methods[i]));
        json_decref(root);
    }
}

static void a_guard_stops_before_a_model_that_is_far_too_sure(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.order = UQM_ORDER_UQ_DESC; /* textcap, which always says A, comes last */
    p.patience = 9;
    p.state_path = in_workdir("guard.json"); /* everything is measured once */
    json_t *root = run(&p);
    assert_true(json_is_null(json_object_get(root, "stopped_at")));
    assert_non_null(strstr(log_text, "textcap is far surer"));
    const size_t n = json_array_size(json_object_get(root, "models"));
    for (size_t i = 0; i < n; i++) {
        const json_t *model = json_array_get(json_object_get(root, "models"), i);
        const bool one_letter =
            !strcmp(json_string_value(json_object_get(model, "model")), "textcap");
        const double entropy = json_number_value(json_object_get(model, "answer_entropy"));
        assert_true(one_letter ? entropy < 0.1 : entropy > 0.7);
    }
    json_decref(root);

    p = params_for(NULL);
    p.no_write = true;
    p.patience = 9;
    p.state_path = in_workdir("guard.json");
    p.guard = 0.25;
    root = run(&p);
    assert_int_equal(json_integer_value(json_object_get(root, "stopped_at")), 3);
    assert_string_equal(json_string_value(json_object_get(root, "stopped_by")), "guard");
    assert_int_equal(json_array_size(json_object_get(root, "steps")), 2);
    json_decref(root);
}

static double entropy_of_step(const json_t *root, size_t t)
{
    const json_t *step = json_array_get(json_object_get(root, "steps"), t - 1);
    return json_number_value(json_object_get(step, "answer_entropy"));
}

static void a_step_whose_answers_spread_too_little_is_not_taken(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.patience = 9;
    p.state_path = in_workdir("guard.json"); /* as the test before left it */
    json_t *root = run(&p);
    const double most = fmax(entropy_of_step(root, 1), entropy_of_step(root, 2));
    const double share = entropy_of_step(root, 3) / most; /* with textcap, which always says A */
    const json_t *config = json_object_get(root, "config");
    assert_true(share < 0.999 && share > 0.1);
    assert_true(json_number_value(json_object_get(config, "min_spread")) == 0);
    json_decref(root);

    for (int refused = 0; refused < 2; refused++) {
        p = params_for(NULL);
        p.no_write = true;
        p.patience = 9;
        p.state_path = in_workdir("guard.json");
        p.min_spread = share + (refused ? 1e-9 : -1e-9);
        root = run(&p);
        const json_t *by = json_object_get(root, "stopped_by");
        assert_int_equal(watch.n_stages, 0);
        assert_int_equal(json_array_size(json_object_get(root, "steps")), 3);
        assert_int_equal(json_integer_value(json_object_get(root, "stopped_at")), refused ? 3 : 0);
        if (refused)
            assert_string_equal(json_string_value(by), "spread");
        else
            assert_true(json_is_null(by));
        json_decref(root);
    }
}

static void a_first_model_that_always_says_one_letter_is_warned_of(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.order = UQM_ORDER_GIVEN; /* textcap first */
    json_t *root = run(&p);
    assert_non_null(strstr(log_text, "step 1 (+ textcap): the merge gives nearly the same answer"));
    assert_true(json_is_true(
        json_object_get(json_array_get(json_object_get(root, "steps"), 0), "collapsed")));
    json_decref(root);
}

static void a_race_asks_fewer_records_and_chooses_the_same(void **state)
{
    (void) state;
    json_t *roots[2];
    for (int races = 0; races < 2; races++) {
        struct uqm_select_params p = params_for(NULL);
        p.no_write = p.all_steps = true;
        p.uq.questions.sample_count = 32;
        p.confident = races ? 0.05 : 0;
        p.state_path = in_workdir(races ? "race.json" : "all.json");
        roots[races] = run(&p);
    }
    assert_true(
        json_equal(json_object_get(roots[0], "selected"), json_object_get(roots[1], "selected")));
    size_t n_asked[2] = { 0 };
    for (int races = 0; races < 2; races++)
        for (size_t t = 1; t < 3; t++) {
            const json_t *step = json_array_get(json_object_get(roots[races], "steps"), t);
            const size_t n = (size_t) json_integer_value(json_object_get(step, "samples"));
            const bool early = json_is_true(json_object_get(step, "decided_early"));
            assert_true(early ? n < 64 : n == 64);
            assert_true(!early || races);
            n_asked[races] += n;
        }
    assert_true(n_asked[1] < n_asked[0]);
    json_decref(roots[0]);

    /* Again, from what it left: the same, and nothing is asked. */
    struct uqm_select_params p = params_for(NULL);
    p.no_write = p.all_steps = true;
    p.uq.questions.sample_count = 32;
    p.confident = 0.05;
    p.state_path = in_workdir("race.json");
    json_t *again = run(&p);
    assert_int_equal(watch.n_stages, 0);
    drop_what_differs(again);
    drop_what_differs(roots[1]);
    assert_true(json_equal(again, roots[1]));
    json_decref(again);
    json_decref(roots[1]);
}

static void a_raced_step_is_asked_in_full_before_its_spread_refuses_it(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.uq.questions.sample_count = 32;
    p.confident = 0.05;
    p.patience = 9;
    p.min_spread = 1;
    p.state_path = in_workdir("race.json"); /* goes on from the races of the test before */
    json_t *root = run(&p);
    const size_t stop = (size_t) json_integer_value(json_object_get(root, "stopped_at"));
    assert_string_equal(json_string_value(json_object_get(root, "stopped_by")), "spread");
    const json_t *step = json_array_get(json_object_get(root, "steps"), stop - 1);
    assert_int_equal(json_integer_value(json_object_get(step, "samples")), 64);
    assert_false(json_is_true(json_object_get(step, "decided_early")));
    json_decref(root);
}

static void an_order_by_accuracy_is_guided_by_accuracy(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = p.all_steps = true;
    p.order = UQM_ORDER_ACCURACY_ASC;
    p.state_path = in_workdir("guided.json");
    json_t *root = run(&p);
    double best = -1;
    bool stopped = false;
    for (size_t t = 0; t < 3; t++) {
        const json_t *step = json_array_get(json_object_get(root, "steps"), t);
        const double accuracy = json_number_value(json_object_get(step, "accuracy"));
        const bool better = !stopped && accuracy > best;
        assert_true(json_is_true(json_object_get(step, "improved")) == better);
        best = better ? accuracy : best;
        stopped = stopped || !better;
    }
    if (stopped)
        assert_string_equal(json_string_value(json_object_get(root, "stopped_by")), "accuracy");
    json_decref(root);
}

static void conformal_sets_can_guide_it_too(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.uq.method = UQM_UQ_CONFORMAL;
    p.uq.alpha = 0.3;
    json_t *root = run(&p);
    size_t i;
    json_t *model;
    json_array_foreach (json_object_get(root, "models"), i, model) {
        const double size = json_number_value(json_object_get(model, "uq"));
        assert_true(size >= 1 && size <= 6);
    }
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(root, "config"), "method")), "cp");
    json_decref(root);
}

/* Steps by a rule of its own, up to the first that does not drop by min_drop; the weights' bytes.
 */
static json_t *steps_by(const char *rule, double min_drop, int window, size_t *bytes)
{
    struct uqm_select_params p = params_for(NULL);
    p.no_write = true;
    p.all_steps = min_drop <= 0;
    p.min_drop = min_drop;
    p.order = UQM_ORDER_GIVEN;
    p.merge = rule;
    p.window = window;
    p.state_path = in_workdir("sweep.json");
    json_t *root = run(&p);
    *bytes = (size_t) json_integer_value(json_object_get(root, "bytes_read"));
    json_t *steps = json_incref(json_object_get(root, "steps"));
    json_decref(root);
    size_t i;
    json_t *step;
    json_array_foreach (steps, i, step)
        json_object_del(step, "recipe"); /* it names the rule */
    return steps;
}

static void a_sweep_reads_each_model_once_and_changes_no_bit(void **state)
{
    (void) state;
    static const char *const texts[] = { "merge_method: linear\nparameters: {weight: 1.0}\n",
                                         "merge_method: linear\nparameters: {weight: 1.00}\n",
                                         "merge_method: linear\nparameters: {weight: 1.000}\n",
                                         "merge_method: linear\nparameters: {weight: 1.0000}\n" };
    char name[32];
    const char *rules[4];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "rule%zu.yml", i);
        rules[i] = put_file(name, texts[i]);
    }
    size_t with_models, two, both, swept;
    json_decref(steps_by(rules[0], 0, 0, &with_models)); /* the models are known from now on */
    json_decref(steps_by(rules[1], 100, 0, &two));
    json_t *plain = steps_by(rules[2], 0, 0, &both);
    json_t *sweep = steps_by(rules[3], 0, 8, &swept);
    assert_int_equal(watch.n_stages, 1);
    assert_true(json_equal(plain, sweep));

    /* Beside what pictures take: two models for step 2 alone; two and three; three. */
    const size_t model = (both - two) / 3;
    assert_true(model > 1000000);
    assert_int_equal(both, two + 3 * model);
    assert_int_equal(swept, two + model);
    json_decref(plain);
    json_decref(sweep);
}

static void what_cannot_be_swept_is_measured_step_by_step(void **state)
{
    (void) state;
    json_t *roots[2];
    for (int window = 1; window <= 2; window++) {
        struct uqm_select_params p = params_for(NULL);
        p.no_write = p.all_steps = true;
        p.merge = "model_stock"; /* angles of whole tensors come first */
        p.base_dir = zoo_path("models/base");
        p.window = window;
        roots[window - 1] = run(&p);
        drop_what_differs(roots[window - 1]);
        json_object_del(json_object_get(roots[window - 1], "config"), "window");
    }
    assert_non_null(strstr(log_text, "one by one"));
    assert_true(json_equal(roots[0], roots[1]));
    json_decref(roots[0]);
    json_decref(roots[1]);
}

static void a_sweep_that_is_interrupted_ends(void **state)
{
    (void) state;
    struct uqm_select_params p = params_for(NULL);
    p.no_write = p.all_steps = true;
    p.window = 2;
    watch.stop_at = 4; /* three models, then the sweep begins */
    struct uqm_err err = { 0 };
    char *text;
    assert_int_equal(uqm_select(&text, &p, &err), UQM_ERR_INTERRUPTED);
    assert_null(text);
}

static void what_cannot_be_selected_is_refused_before_anything_is_asked(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char *text;
    struct uqm_select_params p = params_for(in_workdir("no"));
    p.merge = "ties";
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "--merge ties");
    p = params_for(in_workdir("no"));
    p.guard = 1.5;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "--guard");
    p = params_for(in_workdir("no"));
    p.uq.questions.fast = true;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "the default mode");
    p = params_for(in_workdir("no"));
    p.min_spread = (double) NAN;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "--min-spread");
    p = params_for(in_workdir("no"));
    p.confident = 0.05;
    p.order = UQM_ORDER_ACCURACY_ASC;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "accuracies");
    p = params_for(in_workdir("no"));
    p.state_path = put_file("set.jsonl", "{\"id\":\"a\"}\n");
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_ARG, "not a run's state");
    p = params_for(NULL);
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "--out");
    p = params_for(in_workdir("no/where/out"));
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_IO, "no/where");
    p = params_for(in_workdir("no"));
    p.state_path = in_workdir("one.json");
    p.uq.trace_path = in_workdir("./one.json");
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "one.json: that is the --state");
    p = params_for(in_workdir("no"));
    p.uq.trace_path = in_workdir("no/");
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "that is the --out");
    p = params_for(in_workdir("no"));
    p.uq.trace_path = in_workdir("no.state.json");
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "that is the --state");
    put_file("taken/mine.txt", "no merge");
    p = params_for(in_workdir("taken"));
    p.overwrite = true;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_ARG, "not a merge to replace");
    p = params_for(in_workdir("no"));
    p.uq.questions.data.n = 0;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "--data");
    p = params_for(in_workdir("no"));
    p.patience = -1;
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "--patience");
    p = params_for(in_workdir("no"));
    const char *recipe[2] = { models[0], "r.yml" };
    p.uq.questions.models = (struct uqm_strings){ recipe, 2 };
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_UNSUPPORTED, "r.yml");
    p = params_for(in_workdir("no"));
    const char *linked = in_workdir("twice.jsonl"); /* short: the message names both */
    const char *twice[2] = { linked, linked };
    assert_int_equal(symlink(sets[0], linked), 0);
    p.uq.questions.data = (struct uqm_strings){ twice, 2 };
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_USAGE, "two sets of the name");
    p = params_for(in_workdir("no"));
    const char *open_set = zoo_path("data/heldout/vqav2.jsonl");
    p.uq.questions.data = (struct uqm_strings){ &open_set, 1 };
    assert_fails(uqm_select(&text, &p, &err), err, UQM_ERR_UNSUPPORTED, "vqav2");
    assert_int_equal(watch.n_stages, 0);
    assert_false(uqm_is_dir(in_workdir("no")));
}

static void a_picture_that_does_not_decode_is_skipped_and_counted(void **state)
{
    (void) state;
    put_file("bad/p.png", "no picture");
    const char *set =
        put_file("bad/set.jsonl",
                 "{\"id\":\"k\",\"image\":\"p.png\",\"question\":\"q\",\"choices\":[\"a\",\"b\"]}\n"
                 "{\"id\":\"l\",\"image\":\"gone.png\",\"question\":\"q\",\"choices\":[\"a\"]}\n"
                 "{\"id\":\"m\",\"image\":null,\"question\":\"r\",\"choices\":[\"a\",\"b\"]}\n");
    struct uqm_uq_params p = {
        .common = { .log = take_log },
        .questions = { .models = { models, 1 }, .data = { &set, 1 } },
    };
    struct uqm_err err = { 0 };
    char *text;
    log_text[0] = '\0';
    assert_ok(uqm_uq(&text, &p, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    const json_t *data = json_array_get(
        json_object_get(json_array_get(json_object_get(root, "models"), 0), "datasets"), 0);
    assert_int_equal(json_integer_value(json_object_get(data, "samples")), 1);
    assert_int_equal(json_integer_value(json_object_get(data, "skipped")), 2);
    assert_non_null(strstr(log_text, "set.jsonl:1: record k: skipped"));
    assert_non_null(strstr(log_text, "record l: skipped"));
    json_decref(root);
    free(text);

    p.common.strict = true;
    assert_int_equal(uqm_uq(&text, &p, &err), UQM_ERR_FORMAT);
    assert_null(text);
}

/* One question with a picture, in a table and in lines. */
static void a_tables_pictures_are_those_of_files(void **state)
{
    (void) state;
    char *line, *bytes, *text, *table;
    size_t len;
    double u[2];
    struct uqm_err err = { 0 };
    assert_ok(uqm_read_file(&line, &len, sets[0], 1 << 20, &err), err);
    *strchr(line, '\n') = '\0';
    json_t *record = json_loads(line, 0, NULL);
    const char *name = json_string_value(json_object_get(record, "image"));
    assert_non_null(name);
    char path[512];
    snprintf(path, sizeof path, "data/%s", name);
    assert_ok(uqm_read_file(&bytes, &len, zoo_path(path), 1 << 20, &err), err);
    char *base64 = uqm_base64_encode(bytes, len);
    assert_true(
        asprintf(&table, "index\tquestion\tA\tB\timage\nk\twhich?\tred\tblue\t%s\n", base64) > 0);
    assert_ok(uqm_write_file(in_workdir("p.png"), bytes, len, &err), err);
    const char *files[2] = {
        put_file("both.tsv", table),
        put_file("both.jsonl", "{\"id\":\"k\",\"image\":\"p.png\",\"question\":\"which?\","
                               "\"choices\":[\"red\",\"blue\"]}\n"),
    };
    for (int i = 0; i < 2; i++) {
        const struct uqm_uq_params p = {
            .common = { .memory = UINT64_C(256) << 20 },
            .questions = { .models = { models + 1, 1 }, .data = { &files[i], 1 } },
        };
        assert_ok(uqm_uq(&text, &p, &err), err);
        json_t *root = json_loads(text, 0, NULL);
        u[i] = json_number_value(
            json_object_get(json_array_get(json_object_get(root, "models"), 0), "uq"));
        json_decref(root);
        free(text);
    }
    assert_true(u[0] > 0);
    assert_true(u[0] == u[1]);
    json_decref(record);
    free(table);
    free(base64);
    free(bytes);
    free(line);
}

/* The start of a PNG that declares 3000 x 3000 pixels: its size is looked at before anything else.
 */
static void a_picture_too_large_for_the_memory_is_an_error_not_a_skip(void **state)
{
    (void) state;
    static const uint8_t png[] = { 0x89, 'P',  'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0,    0,
                                   13,   'I',  'H', 'D', 'R',  0,    0,    0x0b, 0xb8, 0,    0,
                                   0x0b, 0xb8, 8,   2,   0,    0,    0,    0xfe, 0x77, 0x62, 0x2e };
    const char *set = put_file("large/set.jsonl", "{\"id\":\"k\",\"image\":\"p.png\","
                                                  "\"question\":\"q\",\"choices\":[\"a\"]}\n");
    const struct uqm_uq_params p = {
        .common = { .memory = UINT64_C(96) << 20, .log = take_log },
        .questions = { .models = { models, 1 }, .data = { &set, 1 } },
    };
    struct uqm_err err = { 0 };
    char *text;
    assert_ok(uqm_write_file(in_workdir("large/p.png"), png, sizeof png, &err), err);
    assert_fails(uqm_uq(&text, &p, &err), err, UQM_ERR_NOMEM, "3000 x 3000 pixels");
    assert_null(text);
}

static int setup(void **state)
{
    models[0] = strdup(zoo_path("models/textcap"));
    models[1] = strdup(zoo_path("models/reason"));
    models[2] = strdup(zoo_path("models/ocr"));
    sets[0] = strdup(zoo_path("data/heldin/mmb.jsonl"));
    sets[1] = strdup(zoo_path("data/heldin/ai2d.jsonl"));
    return make_workdir(state);
}

static int teardown(void **state)
{
    for (int i = 0; i < 3; i++)
        free((void *) (uintptr_t) models[i]);
    for (int i = 0; i < 2; i++)
        free((void *) (uintptr_t) sets[i]);
    return drop_workdir(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_writes_the_best_and_leaves_nothing_else),
        cmocka_unit_test(an_interrupted_run_goes_on_and_ends_in_the_same_result),
        cmocka_unit_test(another_seed_does_not_take_the_state),
        cmocka_unit_test(the_order_can_be_asked_for),
        cmocka_unit_test(any_method_merges_and_the_steps_recipe_gives_the_written_bytes),
        cmocka_unit_test(a_guard_stops_before_a_model_that_is_far_too_sure),
        cmocka_unit_test(a_step_whose_answers_spread_too_little_is_not_taken),
        cmocka_unit_test(a_first_model_that_always_says_one_letter_is_warned_of),
        cmocka_unit_test(a_race_asks_fewer_records_and_chooses_the_same),
        cmocka_unit_test(a_raced_step_is_asked_in_full_before_its_spread_refuses_it),
        cmocka_unit_test(an_order_by_accuracy_is_guided_by_accuracy),
        cmocka_unit_test(conformal_sets_can_guide_it_too),
        cmocka_unit_test(a_sweep_reads_each_model_once_and_changes_no_bit),
        cmocka_unit_test(what_cannot_be_swept_is_measured_step_by_step),
        cmocka_unit_test(a_sweep_that_is_interrupted_ends),
        cmocka_unit_test(what_cannot_be_selected_is_refused_before_anything_is_asked),
        cmocka_unit_test(a_picture_that_does_not_decode_is_skipped_and_counted),
        cmocka_unit_test(a_tables_pictures_are_those_of_files),
        cmocka_unit_test(a_picture_too_large_for_the_memory_is_an_error_not_a_skip),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
