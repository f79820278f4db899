/* The network against the zoo's exact values: 18 samples on four models, computed in float32 by
 * the models' trainer. Pixels and token ids are the stored ones, so that neither the decoder nor
 * the tokenizer has a part in it. */
#include <math.h>

#include "src/model/tokenizer.h"
#include "tests/golden/golden.h"
#include "tests/golden/zoo_network.h"

enum { IMAGE_ID = 1000, PATCHES = 16, MAX_IDS = 256 };
enum { WIDTH = 128, VISION = 96, VOCAB = 1024 };
enum { PROJECTED_ELEM = PATCHES * WIDTH, FEATURE_ELEM = PATCHES * VISION };

static struct golden *arrays;
static json_t *samples;

static int load(void **state)
{
    (void) state;
    arrays = golden_load(zoo_path("goldens/model/model.safetensors"));
    samples = golden_json(zoo_path("goldens/model/model.json"));
    return 0;
}

static int unload(void **state)
{
    (void) state;
    golden_free(&arrays);
    json_decref(samples);
    return 0;
}

/* One sample: its prompt, and what the callbacks fill in. */
struct sample {
    const json_t *json;
    const char *key;
    struct zoo_network z;
    int32_t ids[MAX_IDS];
    size_t n_ids, n_rows;
    size_t picture_row; /* where the picture's rows begin */
    bool has_picture;
    float features[FEATURE_ELEM + VISION];
    float logits[VOCAB];
    size_t n_logits;
};

static const float *array(const struct sample *s, const char *name, size_t n_elem)
{
    char full[64];
    size_t n;
    snprintf(full, sizeof full, "%s.%s", s->key, name);
    const float *a = golden_f32(arrays, full, &n);
    if (n != n_elem)
        fail_msg("%s: %zu elements, expected %zu", full, n, n_elem);
    return a;
}

static bool has_array(const struct sample *s, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", s->key, name);
    return golden_has(arrays, full);
}

static void assert_close(const struct sample *s, const char *name, const float *a, const float *b,
                         size_t n)
{
    const double e = golden_relative_l2(a, b, n);
    if (!(e <= 1e-4))
        fail_msg("%s.%s: relative L2 error %.3g", s->key, name, e);
}

/* The stored ids have one id a picture's row; ours one placeholder for all. */
static void take_ids(struct sample *s)
{
    const json_t *ids = json_object_get(s->json, "ids");
    s->n_rows = json_array_size(ids);
    for (size_t i = 0; i < s->n_rows; i++) {
        const int32_t id = (int32_t) json_integer_value(json_array_get(ids, i));
        if (id == IMAGE_ID && s->has_picture)
            continue;
        if (id == IMAGE_ID) {
            s->has_picture = true;
            s->picture_row = i;
        }
        assert_true(s->n_ids < MAX_IDS);
        s->ids[s->n_ids++] = id == IMAGE_ID ? UQM_IMAGE_PLACEHOLDER : id;
    }
}

static int give_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    (void) image;
    (void) err;
    const size_t n = 3 * 56 * 56;
    memcpy(dst, array(ctx, "pixels", n), n * sizeof *dst);
    return UQM_OK;
}

static int keep_features(void *ctx, size_t image, const float *features, struct uqm_err *err)
{
    struct sample *s = ctx;
    (void) image;
    (void) err;
    const size_t n = uqm_network_feature_rows(&s->z.config) * VISION;
    memcpy(s->features, features, n * sizeof *features);
    return UQM_OK;
}

static void run_vision(struct sample *s)
{
    struct uqm_err err = { 0 };
    const struct uqm_vision_job job = {
        .n_images = 1,
        .pixels = give_pixels,
        .store = keep_features,
        .ctx = s,
    };
    assert_ok(uqm_network_vision(s->z.network, &job, &err), err);
}

static int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct sample *s = ctx;
    (void) prompt;
    (void) err;
    assert_int_equal(k, 0);
    memcpy(dst, s->features, uqm_network_feature_rows(&s->z.config) * VISION * sizeof *dst);
    return UQM_OK;
}

static int keep_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    struct sample *s = ctx;
    (void) prompt;
    (void) err;
    memcpy(s->logits, logits, s->n_logits * sizeof *logits);
    return UQM_OK;
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
                     array(s, "projected", PROJECTED_ELEM), PROJECTED_ELEM);
    snprintf(name, sizeof name, "decoder_state_%u", layer);
    if (!has_array(s, name))
        return;
    const float *stored = array(s, name, s->n_rows * WIDTH);
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
        .features = give_features,
        .logits = keep_logits,
        .observe = check_state,
        .ctx = s,
        .tokens = tokens,
        .n_tokens = n_tokens,
    };
    s->n_logits = tokens ? n_tokens : VOCAB;
    assert_ok(uqm_network_logits(s->z.network, &job, &err), err);
}

static void open_sample(struct sample *s, const json_t *json, const char *folder)
{
    char path[64];
    *s = (struct sample){ .json = json, .key = golden_string(json, "key") };
    snprintf(path, sizeof path, "%s%s", folder, golden_string(json, "model"));
    zoo_network_open(&s->z, zoo_path(path), 128 << 20, 2);
    take_ids(s);
    if (s->has_picture)
        run_vision(s);
}

static void for_each_sample(void (*check)(struct sample *s))
{
    size_t i;
    json_t *json;
    json_array_foreach (json_object_get(samples, "samples"), i, json) {
        struct sample s;
        open_sample(&s, json, "models/");
        check(&s);
        zoo_network_close(&s.z);
    }
    assert_int_equal(i, 18);
}

static void check_features(struct sample *s)
{
    if (s->has_picture)
        assert_close(s, "vision", s->features, array(s, "vision", FEATURE_ELEM), FEATURE_ELEM);
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
        run_vision(s);
        snprintf(name, sizeof name, "vision_state_%d", layer);
        assert_close(s, name, s->features, array(s, name, FEATURE_ELEM + VISION),
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
    const double e = golden_max_abs(s->logits, array(s, "logits", VOCAB), VOCAB);
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
    return give_features(g->sample, prompt, k, dst, err);
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
    json_array_foreach (json_object_get(samples, "samples"), i, json) {
        struct sample hf, own;
        const json_t *option_ids = json_object_get(json, "option_ids");
        int32_t ids[6];
        if (strcmp(golden_string(json, "model"), "know") != 0 || !json_is_array(option_ids))
            continue;
        for (size_t k = 0; k < 6; k++)
            ids[k] = (int32_t) json_integer_value(json_array_get(option_ids, k));
        open_sample(&hf, json, "models/");
        open_sample(&own, json, "models-original/llava-mini-");
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
    return cmocka_run_group_tests(tests, load, unload);
}
