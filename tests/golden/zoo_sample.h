/* The zoo's stored samples: a prompt each, with what the network's callbacks want. */
#ifndef UQM_TESTS_ZOO_SAMPLE_H
#define UQM_TESTS_ZOO_SAMPLE_H

#include "src/model/tokenizer.h"
#include "tests/golden/golden.h"
#include "tests/golden/zoo_network.h"

enum { IMAGE_ID = 1000, PATCHES = 16, MAX_IDS = 256 };
enum { WIDTH = 128, VISION = 96, VOCAB = 1024 };
enum { PROJECTED_ELEM = PATCHES * WIDTH, FEATURE_ELEM = PATCHES * VISION };

static struct golden *all_arrays;
static json_t *all_samples;

static inline int samples_load(void **state)
{
    (void) state;
    all_arrays = golden_load(zoo_path("goldens/model/model.safetensors"));
    all_samples = golden_json(zoo_path("goldens/model/model.json"));
    return 0;
}

static inline int samples_unload(void **state)
{
    (void) state;
    golden_free(&all_arrays);
    json_decref(all_samples);
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

static inline const float *sample_array(const struct sample *s, const char *name, size_t n_elem)
{
    char full[64];
    size_t n;
    snprintf(full, sizeof full, "%s.%s", s->key, name);
    const float *a = golden_f32(all_arrays, full, &n);
    if (n != n_elem)
        fail_msg("%s: %zu elements, expected %zu", full, n, n_elem);
    return a;
}

/* The stored ids have one id a picture's row; ours one placeholder for all. */
static inline void sample_take_ids(struct sample *s)
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

static inline int sample_give_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    (void) image;
    (void) err;
    const size_t n = 3 * 56 * 56;
    memcpy(dst, sample_array(ctx, "pixels", n), n * sizeof *dst);
    return UQM_OK;
}

static inline int sample_keep_features(void *ctx, size_t image, const float *features,
                                       struct uqm_err *err)
{
    struct sample *s = ctx;
    (void) image;
    (void) err;
    const size_t n = uqm_network_feature_rows(&s->z.config) * VISION;
    memcpy(s->features, features, n * sizeof *features);
    return UQM_OK;
}

static inline void sample_look(struct sample *s)
{
    struct uqm_err err = { 0 };
    const struct uqm_vision_job job = {
        .n_images = 1,
        .pixels = sample_give_pixels,
        .store = sample_keep_features,
        .ctx = s,
    };
    assert_ok(uqm_network_vision(s->z.network, &job, &err), err);
}

static inline int sample_give_features(void *ctx, size_t prompt, size_t k, float *dst,
                                       struct uqm_err *err)
{
    const struct sample *s = ctx;
    (void) prompt;
    (void) err;
    assert_int_equal(k, 0);
    memcpy(dst, s->features, uqm_network_feature_rows(&s->z.config) * VISION * sizeof *dst);
    return UQM_OK;
}

static inline int sample_keep_logits(void *ctx, size_t prompt, const float *logits,
                                     struct uqm_err *err)
{
    struct sample *s = ctx;
    (void) prompt;
    (void) err;
    memcpy(s->logits, logits, s->n_logits * sizeof *logits);
    return UQM_OK;
}

static inline void sample_open(struct sample *s, const json_t *json, const char *folder,
                               const char *device)
{
    char path[64];
    *s = (struct sample){ .json = json, .key = golden_string(json, "key") };
    snprintf(path, sizeof path, "%s%s", folder, golden_string(json, "model"));
    zoo_network_open_on(&s->z, zoo_path(path), UINT64_C(256) << 20, 2, device);
    sample_take_ids(s);
    if (s->has_picture)
        sample_look(s);
}

#endif
