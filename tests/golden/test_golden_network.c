/* The network against the zoo's exact values: 18 samples on four models, computed in float32 by
 * the models' trainer. Pixels and token ids are the stored ones, so that neither the decoder nor
 * the tokenizer has a part in it. */
#include <math.h>

#include "tests/golden/zoo_sample.h"

static bool has_array(const struct sample *s, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", s->key, name);
    return golden_has(all_arrays, full);
}

static void assert_close(const struct sample *s, const char *name, const float *a, const float *b,
                         size_t n)
{
    const double e = golden_relative_l2(a, b, n);
    if (!(e <= 1e-4))
        fail_msg("%s.%s: relative L2 error %.3g", s->key, name, e);
}

struct once {
    struct uqm_range range;
    bool done;
};

static int once_only(void *ctx, struct uqm_range *range)
{
    struct once *once = ctx;
    *range = once->range;
    const bool first = !once->done;
    once->done = true;
    return first;
}

/* The stored last state is the one after the final norm. */
static void normalize(const struct sample *s, float *y, const float *x)
{
    struct uqm_source *source = &s->z.checkpoint->source;
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    struct uqm_err err = { 0 };
    const long tensor = uqm_source_find(source, "language_model.model.norm.weight");
    struct once once = { .range = { .tensor = (size_t) tensor, .n_elem = WIDTH } };

    assert_true(tensor >= 0);
    assert_ok(uqm_source_open(&stream, source, NULL, WIDTH * 2, 1 << 20, once_only, &once, &err),
              err);
    assert_int_equal(uqm_tile_next(stream, &tile, &err), 1);
    double sum = 0;
    for (size_t i = 0; i < WIDTH; i++)
        sum += (double) x[i] * (double) x[i];
    const uint16_t *w = tile.data;
    const double scale = 1 / sqrt(sum / WIDTH + (double) s->z.config.text.rms_eps);
    for (size_t i = 0; i < WIDTH; i++)
        y[i] = (float) ((double) x[i] * scale * (double) uqm_f32_of_f16(w[i]));
    uqm_tile_release(stream, &tile);
    uqm_tile_stream_destroy(&stream);
}

static void check_state(void *ctx, size_t prompt, uint32_t layer, const float *hidden,
                        size_t n_rows)
{
    const struct sample *s = ctx;
    char name[32];
    (void) prompt;
    if (layer == 0 && s->has_picture)
        assert_close(s, "projected", hidden + s->picture_row * WIDTH,
                     sample_array(s, "projected", PROJECTED_ELEM), PROJECTED_ELEM);
    snprintf(name, sizeof name, "decoder_state_%u", layer);
    if (!has_array(s, name))
        return;
    const float *stored = sample_array(s, name, s->n_rows * WIDTH);
    if (layer < s->z.config.text.n_layers) {
        assert_int_equal(n_rows, s->n_rows);
        assert_close(s, name, hidden, stored, n_rows * WIDTH);
        return;
    }
    float last[WIDTH]; /* of the last layer's output the last row alone is computed */
    assert_int_equal(n_rows, 1);
    normalize(s, last, hidden);
    assert_close(s, name, last, stored + (s->n_rows - 1) * WIDTH, WIDTH);
}

static void run_logits(struct sample *s, const int32_t *tokens, size_t n_tokens)
{
    struct uqm_err err = { 0 };
    const struct uqm_llm_prompt prompt = { .ids = s->ids, .n_ids = s->n_ids };
    const struct uqm_llm_job job = {
        .n_prompts = 1,
        .prompts = &prompt,
        .features = sample_give_features,
        .logits = sample_keep_logits,
        .observe = check_state,
        .ctx = s,
        .tokens = tokens,
        .n_tokens = n_tokens,
    };
    s->n_logits = tokens ? n_tokens : VOCAB;
    assert_ok(uqm_network_logits(s->z.network, &job, &err), err);
}

static void for_each_sample(void (*check)(struct sample *s))
{
    size_t i;
    json_t *json;
    json_array_foreach (json_object_get(all_samples, "samples"), i, json) {
        struct sample s;
        sample_open(&s, json, "models/", "cpu");
        check(&s);
        zoo_network_close(&s.z);
    }
    assert_int_equal(i, 18);
}

static void check_features(struct sample *s)
{
    if (s->has_picture)
        assert_close(s, "vision", s->features, sample_array(s, "vision", FEATURE_ELEM),
                     FEATURE_ELEM);
}

static void vision_features_are_the_stored_ones(void **state)
{
    (void) state;
    for_each_sample(check_features);
}

static void check_vision_states(struct sample *s)
{
    char name[32];
    if (!has_array(s, "vision_state_0"))
        return;
    s->z.config.vision.keep_class_token = true;
    for (int layer = 0; layer <= (int) s->z.config.vision.n_layers; layer++) {
        s->z.config.vision.feature_layer = layer;
        zoo_network_again(&s->z, 128 << 20);
        sample_look(s);
        snprintf(name, sizeof name, "vision_state_%d", layer);
        assert_close(s, name, s->features, sample_array(s, name, FEATURE_ELEM + VISION),
                     FEATURE_ELEM + VISION);
    }
}

static void every_hidden_state_of_the_vision_tower_is_the_stored_one(void **state)
{
    (void) state;
    for_each_sample(check_vision_states);
}

static void check_all_logits(struct sample *s)
{
    run_logits(s, NULL, 0);
    const double e = golden_max_abs(s->logits, sample_array(s, "logits", VOCAB), VOCAB);
    if (!(e <= 2e-3))
        fail_msg("%s: a logit is %.3g off", s->key, e);
}

static void projections_hidden_states_and_logits_are_the_stored_ones(void **state)
{
    (void) state;
    for_each_sample(check_all_logits);
}

static void check_options(struct sample *s)
{
    const json_t *stored = json_object_get(s->json, "option_softmax");
    const json_t *option_ids = json_object_get(s->json, "option_ids");
    int32_t ids[6];
    double p[6], sum = 0;
    if (!json_is_array(stored))
        return;
    for (size_t i = 0; i < 6; i++)
        ids[i] = (int32_t) json_integer_value(json_array_get(option_ids, i));
    run_logits(s, ids, 6);
    for (size_t i = 0; i < 6; i++)
        sum += p[i] = exp((double) s->logits[i]);
    for (size_t i = 0; i < 6; i++)
        if (fabs(p[i] / sum - json_number_value(json_array_get(stored, i))) > 1e-4)
            fail_msg("%s: option %zu has probability %.6f, not %.6f", s->key, i, p[i] / sum,
                     json_number_value(json_array_get(stored, i)));
}

static void option_probabilities_are_the_stored_ones(void **state)
{
    (void) state;
    for_each_sample(check_options);
}

struct greedy {
    struct sample *sample;
    int32_t ids[12];
    size_t n;
    float first[VOCAB];
};

static int greedy_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct greedy *g = ctx;
    return sample_give_features(g->sample, prompt, k, dst, err);
}

static int keep_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    struct greedy *g = ctx;
    (void) err;
    assert_int_equal(prompt, 0);
    memcpy(g->ids, ids, n_ids * sizeof *ids);
    g->n = n_ids;
    return UQM_OK;
}

static int keep_first(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    struct greedy *g = ctx;
    (void) prompt;
    (void) err;
    memcpy(g->first, logits, g->sample->z.config.text.vocab_size * sizeof *logits);
    return UQM_OK;
}

static void check_greedy(struct sample *s)
{
    const json_t *stored = json_object_get(s->json, "generated_ids");
    const struct uqm_llm_prompt prompt = { .ids = s->ids, .n_ids = s->n_ids };
    const uint32_t max_tokens = 12;
    struct greedy g = { .sample = s };
    const struct uqm_generate_job job = {
        .n_prompts = 1,
        .prompts = &prompt,
        .max_tokens = &max_tokens,
        .features = greedy_features,
        .answer = keep_answer,
        .first_logits = keep_first,
        .ctx = &g,
        .stage = "answering",
    };
    struct uqm_err err = { 0 };

    assert_ok(uqm_network_generate(s->z.network, &job, &err), err);
    assert_int_equal(g.n, json_array_size(stored));
    for (size_t i = 0; i < g.n; i++)
        assert_int_equal(g.ids[i], json_integer_value(json_array_get(stored, i)));
    run_logits(s, NULL, 0);
    assert_memory_equal(g.first, s->logits, sizeof g.first);
}

static void greedy_answers_are_the_stored_ones(void **state)
{
    (void) state;
    for_each_sample(check_greedy);
}

/* Of the four models `know` is there in LLaVA's own layout too: torch shards, the tower beside it,
 * and a vocabulary without the image token. */
static void llavas_own_layout_gives_the_same_bits(void **state)
{
    (void) state;
    size_t i, n_checked = 0;
    json_t *json;
    json_array_foreach (json_object_get(all_samples, "samples"), i, json) {
        struct sample hf, own;
        const json_t *option_ids = json_object_get(json, "option_ids");
        int32_t ids[6];
        if (strcmp(golden_string(json, "model"), "know") != 0 || !json_is_array(option_ids))
            continue;
        for (size_t k = 0; k < 6; k++)
            ids[k] = (int32_t) json_integer_value(json_array_get(option_ids, k));
        sample_open(&hf, json, "models/", "cpu");
        sample_open(&own, json, "models-original/llava-mini-", "cpu");
        assert_int_equal(own.z.config.text.vocab_size, 1000);
        assert_memory_equal(hf.features, own.features, sizeof hf.features);
        run_logits(&hf, ids, 6);
        run_logits(&own, ids, 6);
        assert_memory_equal(hf.logits, own.logits, 6 * sizeof *hf.logits);
        zoo_network_close(&hf.z);
        zoo_network_close(&own.z);
        n_checked++;
    }
    assert_true(n_checked >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vision_features_are_the_stored_ones),
        cmocka_unit_test(every_hidden_state_of_the_vision_tower_is_the_stored_one),
        cmocka_unit_test(projections_hidden_states_and_logits_are_the_stored_ones),
        cmocka_unit_test(option_probabilities_are_the_stored_ones),
        cmocka_unit_test(greedy_answers_are_the_stored_ones),
        cmocka_unit_test(llavas_own_layout_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, samples_load, samples_unload);
}
