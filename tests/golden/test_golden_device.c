/* The zoo on a Vulkan device and on the CPU: the same samples, the same decisions. Logits agree
 * within 1e-4, option probabilities within 1e-5, greedy answers and the order of models exactly. In
 * the mode `fast` logits are within 2e-2 of the device's default, option probabilities 2e-3. */
#include <math.h>

#include "src/uqmerge.h"
#include "tests/golden/image_lists.h"
#include "tests/golden/zoo_sample.h"

enum { N_NEW = 12 };

static const char *vulkan_name(void)
{
    const char *name = getenv("UQMERGE_DEVICE");
    return name ? name : "vulkan";
}

/* Whether there is a device to compare with. */
static bool have_vulkan(void)
{
    struct uqm_env *env = test_env(UINT64_C(256) << 20, 1);
    struct uqm_machine machine;
    struct uqm_err err = { 0 };
    int ret = uqm_machine_init(&machine, env, vulkan_name(), NULL, &err);
    uqm_machine_finish(&machine);
    if (ret == UQM_ERR_UNSUPPORTED)
        return false;
    assert_ok(ret, err);
    return true;
}

/* ---- one sample ---- */

struct answer {
    float logits[VOCAB], options[6];
    int32_t ids[N_NEW];
    size_t n_ids;
};

/* A job's context has one type for all callbacks. */
struct asked {
    struct sample s; /* first */
    struct answer *answer;
};

static int keep_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    struct answer *out = ((const struct asked *) ctx)->answer;
    (void) prompt;
    (void) err;
    assert_true(n_ids <= N_NEW);
    memcpy(out->ids, ids, n_ids * sizeof *ids);
    out->n_ids = n_ids;
    return UQM_OK;
}

static void ask_logits(struct sample *s, float *logits, const int32_t *tokens, size_t n)
{
    struct uqm_err err = { 0 };
    const struct uqm_llm_prompt prompt = {
        .ids = s->ids, .n_ids = s->n_ids, .dropout = 0.1, .dataset = "set", .sample = "one"
    };
    const struct uqm_llm_job job = {
        .n_prompts = 1,
        .prompts = &prompt,
        .features = sample_give_features,
        .logits = sample_keep_logits,
        .ctx = s,
        .tokens = tokens,
        .n_tokens = n,
    };
    s->n_logits = tokens ? n : VOCAB;
    assert_ok(uqm_network_logits(s->z.network, &job, &err), err);
    memcpy(logits, s->logits, s->n_logits * sizeof *logits);
}

static void answer(struct answer *out, const json_t *json, const char *device, bool fast)
{
    static struct asked asked;
    struct sample *s = &asked.s;
    struct uqm_err err = { 0 };
    static const uint32_t max_tokens = N_NEW;
    const json_t *option_ids = json_object_get(json, "option_ids");
    int32_t options[6];
    *out = (struct answer){ 0 };
    asked.answer = out;
    zoo_fast = fast;
    sample_open(s, json, "models/", device);
    zoo_fast = false;
    ask_logits(s, out->logits, NULL, 0);
    for (size_t i = 0; i < 6 && json_is_array(option_ids); i++)
        options[i] = (int32_t) json_integer_value(json_array_get(option_ids, i));
    if (fast) { /* the options' logits are among all */
        for (size_t i = 0; i < 6 && json_is_array(option_ids); i++)
            out->options[i] = out->logits[options[i]];
        zoo_network_close(&s->z);
        return;
    }
    if (json_is_array(option_ids))
        ask_logits(s, out->options, options, 6);
    const struct uqm_llm_prompt prompt = { .ids = s->ids, .n_ids = s->n_ids };
    const struct uqm_generate_job generate = {
        .n_prompts = 1,
        .prompts = &prompt,
        .max_tokens = &max_tokens,
        .features = sample_give_features,
        .answer = keep_answer,
        .ctx = &asked,
    };
    assert_ok(uqm_network_generate(s->z.network, &generate, &err), err);
    zoo_network_close(&s->z);
}

/* How far apart. */
struct apart {
    double logit, probability;
};

static struct apart compare(const char *key, const struct answer *a, const struct answer *b,
                            struct apart most)
{
    struct apart is = { golden_max_abs(a->logits, b->logits, VOCAB), 0 };
    double p[2][6], sums[2] = { 0 };
    for (size_t i = 0; i < 6; i++) {
        sums[0] += p[0][i] = exp((double) a->options[i]);
        sums[1] += p[1][i] = exp((double) b->options[i]);
    }
    for (size_t i = 0; i < 6; i++)
        is.probability = fmax(is.probability, fabs(p[0][i] / sums[0] - p[1][i] / sums[1]));
    if (!(is.logit <= most.logit))
        fail_msg("%s: a logit is %.3g off", key, is.logit);
    if (!(is.probability <= most.probability))
        fail_msg("%s: the probability of an option is %.3g off", key, is.probability);
    return is;
}

/* Dropout included: its masks are the same to the bit. */
static void every_stored_sample_has_the_logits_and_the_answer_of_the_cpu(void **state)
{
    (void) state;
    static struct answer gpu, cpu, fast;
    struct apart worst = { 0 };
    size_t i;
    json_t *json;
    if (!have_vulkan())
        test_skip("no Vulkan device");
    json_array_foreach (json_object_get(all_samples, "samples"), i, json) {
        const char *key = golden_string(json, "key");
        answer(&cpu, json, "cpu", false);
        answer(&gpu, json, vulkan_name(), false);
        compare(key, &gpu, &cpu, (struct apart){ 1e-4, 1e-5 });
        assert_int_equal(gpu.n_ids, cpu.n_ids);
        assert_memory_equal(gpu.ids, cpu.ids, cpu.n_ids * sizeof *cpu.ids);
        /* rounding must show, or this compares the default with itself */
        answer(&fast, json, vulkan_name(), true);
        const struct apart is = compare(key, &fast, &gpu, (struct apart){ 2e-2, 2e-3 });
        assert_true(is.logit > 1e-6);
        worst.logit = fmax(worst.logit, is.logit);
        worst.probability = fmax(worst.probability, is.probability);
    }
    assert_int_equal(i, 18);
    print_message("# fast: logits at most %.3g off, probabilities %.3g\n", worst.logit,
                  worst.probability);
}

/* ---- the whole program ---- */

static json_t *measure(bool fast)
{
    const char *model = zoo_path("models/reason"), *data = zoo_path("data/heldin/mmb.jsonl");
    struct uqm_err err = { 0 };
    char *text = NULL;
    const struct uqm_uq_params params = {
        .common = { .memory = UINT64_C(512) << 20, .n_threads = 2, .device = vulkan_name() },
        .questions = { .models = { &model, 1 },
                       .data = { &data, 1 },
                       .sample_count = 4,
                       .fast = fast },
        .repeats = 2,
    };
    assert_ok(uqm_uq(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static void uq_says_whether_it_was_fast_and_is_near_the_default(void **state)
{
    (void) state;
    double uq[2];
    if (!have_vulkan())
        test_skip("no Vulkan device");
    for (int fast = 0; fast < 2; fast++) {
        json_t *root = measure(fast);
        const json_t *device = json_object_get(json_object_get(root, "run"), "device");
        assert_true(json_is_boolean(json_object_get(device, "fast")));
        assert_int_equal(json_is_true(json_object_get(device, "fast")), fast);
        uq[fast] = golden_number(json_array_get(json_object_get(root, "models"), 0), "uq");
        json_decref(root);
    }
    assert_true(uq[0] != uq[1]);
    assert_true(fabs(uq[0] - uq[1]) <= 2e-3);
}

static json_t *run_select(const char *device, const char *merge, size_t n_data)
{
    static const char *const names[] = { "models/reason", "models/know", "models/chat" };
    const char *models[3], *data[2];
    struct uqm_err err = { 0 };
    char *text = NULL;
    for (size_t i = 0; i < 3; i++)
        models[i] = zoo_path(names[i]);
    data[0] = zoo_path("data/heldin/mmb.jsonl");
    data[1] = zoo_path("data/heldin/ai2d.jsonl");
    const struct uqm_select_params params = {
        .uq = { .common = { .memory = UINT64_C(512) << 20, .n_threads = 2, .device = device },
                .questions = { .models = { models, 3 },
                               .data = { data, n_data },
                               .sample_count = 3 },
                .repeats = 2 },
        .merge = merge,
        .base_dir = merge ? zoo_path("models/base") : NULL,
        .no_write = true,
        .all_steps = true,
    };
    assert_ok(uqm_select(&text, &params, &err), err);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static void assert_near_numbers(const json_t *a, const json_t *b, const char *array)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(a, array), i, item) {
        const json_t *other = json_array_get(json_object_get(b, array), i);
        const double x = golden_number(item, "uq"), y = golden_number(other, "uq");
        if (!(fabs(x - y) <= 1e-5))
            fail_msg("%s %zu: uq is %.9g, not %.9g", array, i, x, y);
        const json_t *improved = json_object_get(item, "improved"); /* of steps */
        assert_true(!improved || json_equal(improved, json_object_get(other, "improved")));
    }
    assert_int_equal(i, json_array_size(json_object_get(b, array)));
}

static void assert_same_selection(const char *merge, size_t n_data)
{
    static const char *const same[] = { "config", "order", "stopped_at", "selected" };
    if (!have_vulkan())
        test_skip("no Vulkan device");
    setenv("UQMERGE_VK_MIX", "1", 1);
    json_t *cpu = run_select("cpu", merge, n_data);
    json_t *gpu = run_select(vulkan_name(), merge, n_data);
    unsetenv("UQMERGE_VK_MIX");
    for (size_t i = 0; i < 4; i++)
        assert_true(json_equal(json_object_get(gpu, same[i]), json_object_get(cpu, same[i])));
    assert_near_numbers(gpu, cpu, "models");
    assert_near_numbers(gpu, cpu, "steps");
    json_decref(cpu);
    json_decref(gpu);
}

/* The device makes the merges of the steps itself, where it has f64. */
static void selection_has_the_same_order_steps_and_stop(void **state)
{
    (void) state;
    assert_same_selection(NULL, 2);
}

/* It elects; and it draws and makes the same numbers as with merges made by the host, to the bit.
 */
static void selection_among_sparse_merges_has_the_same_order_steps_and_stop(void **state)
{
    (void) state;
    static const char *const merges[] = { "ties", "dare_linear" };
    assert_same_selection("ties", 1);
    for (size_t i = 0; i < 2; i++) {
        setenv("UQMERGE_VK_MIX", "0", 1);
        json_t *host = run_select(vulkan_name(), merges[i], 1);
        setenv("UQMERGE_VK_MIX", "1", 1);
        json_t *device = run_select(vulkan_name(), merges[i], 1);
        unsetenv("UQMERGE_VK_MIX");
        json_object_del(host, "seconds");
        json_object_del(device, "seconds");
        assert_true(json_equal(host, device));
        json_decref(host);
        json_decref(device);
    }
}

static void several_pictures_stand_where_transformers_puts_them(void **state)
{
    if (!have_vulkan())
        test_skip("no Vulkan device");
    assert_int_equal(make_workdir(state), 0);
    check_image_lists(vulkan_name(), 1e-5);
    assert_int_equal(drop_workdir(state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stored_sample_has_the_logits_and_the_answer_of_the_cpu),
        cmocka_unit_test(uq_says_whether_it_was_fast_and_is_near_the_default),
        cmocka_unit_test(several_pictures_stand_where_transformers_puts_them),
        cmocka_unit_test(selection_has_the_same_order_steps_and_stop),
        cmocka_unit_test(selection_among_sparse_merges_has_the_same_order_steps_and_stop),
    };
    return cmocka_run_group_tests(tests, samples_load, samples_unload);
}
