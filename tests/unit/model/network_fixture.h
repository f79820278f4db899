/* A made-up model with its network, and nine prompts of many lengths. */
#ifndef UQM_TESTS_NETWORK_FIXTURE_H
#define UQM_TESTS_NETWORK_FIXTURE_H

#include <math.h>

#include "src/model/network.h"
#include "src/model/tokenizer.h"
#include "tests/unit/model/memory_source.h"
#include "tests/unit/test.h"

enum { MAX_PROMPTS = 16, MAX_IDS = 640, VOCAB = 300, PATCHES = 4 };
#define MIB (UINT64_C(1) << 20)
enum { PICTURE = UQM_IMAGE_PLACEHOLDER };

/* Everything odd on purpose: grouped K/V heads, heads that are not hidden / n_heads wide, an inner
 * width of more than one tile's rows and far wider than q, k and v together. */
static inline struct uqm_model_config odd_config(void)
{
    return (struct uqm_model_config){
        .has_vision = true,
        .text = { .vocab_size = VOCAB,
                  .hidden = 48,
                  .inner = 600,
                  .n_layers = 3,
                  .n_heads = 4,
                  .n_kv_heads = 2,
                  .head_dim = 16,
                  .max_positions = 1024,
                  .rms_eps = 1e-5f,
                  .rope_theta = 10000.0 },
        .vision = { .hidden = 32,
                    .inner = 64,
                    .n_layers = 3,
                    .n_heads = 2,
                    .image_size = 8,
                    .patch_size = 4,
                    .layer_norm_eps = 1e-5f,
                    .feature_layer = -2 },
        .image_token = -1,
        .bos_id = 1,
        .eos_ids = { 2 },
        .n_eos = 1,
        .max_length = 620,
        .n_real_tokens = VOCAB,
    };
}

/* A model with what it needs, and nine prompts of many lengths. */
struct fixture {
    struct uqm_env *env;
    struct uqm_machine machine;
    struct uqm_model_config config;
    struct memory_source source;
    struct uqm_network *network;
    int32_t ids[MAX_PROMPTS][MAX_IDS];
    struct uqm_llm_prompt prompts[MAX_PROMPTS];
    size_t n_prompts;
    float logits[MAX_PROMPTS][VOCAB];
    size_t n_logits, n_delivered, n_states;
    int fail_features, fail_logits; /* codes to return */
};

static inline void open_network(struct fixture *f, uint64_t memory, int n_threads)
{
    struct uqm_err err = { 0 };
    uqm_network_destroy(&f->network);
    uqm_machine_finish(&f->machine);
    f->env = test_env(512 * MIB, n_threads);
    f->source.source.env = f->env;
    assert_ok(uqm_machine_init(&f->machine, f->env, "cpu", NULL, &err), err);
    assert_ok(
        uqm_network_create(&f->network, &f->machine, &f->source.source, &f->config, memory, &err),
        err);
}

/* Words by a small generator; "picture at" < 0: none. */
static inline void add_prompt(struct fixture *f, size_t n_ids, int picture_at)
{
    const size_t p = f->n_prompts++;
    assert_true(p < MAX_PROMPTS && n_ids <= MAX_IDS);
    for (size_t i = 0; i < n_ids; i++)
        f->ids[p][i] = (int32_t) ((i * i * 7 + 31 * p + 11 * i + 3) % VOCAB);
    if (picture_at >= 0)
        f->ids[p][picture_at] = PICTURE;
    f->prompts[p] = (struct uqm_llm_prompt){ .ids = f->ids[p], .n_ids = n_ids };
}

static inline struct fixture *setup_with(const struct uqm_model_config *config,
                                         enum uqm_dtype dtype)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->config = *config;
    f->env = test_env(512 * MIB, 1);
    memory_source_init(&f->source, f->env, config, dtype);
    open_network(f, 64 * MIB, 2);
    return f;
}

static inline struct fixture *setup(void)
{
    const struct uqm_model_config config = odd_config();
    struct fixture *f = setup_with(&config, UQM_F16);
    const size_t lengths[] = { 5, 40, 1, 96, 17, 610, 100, 300, 2 };
    for (size_t i = 0; i < 9; i++)
        add_prompt(f, lengths[i], i % 2 ? (int) (i * 2) : -1);
    f->prompts[3].dropout = f->prompts[4].dropout = 0.1;
    f->prompts[3].dataset = f->prompts[4].dataset = "set";
    f->prompts[3].sample = "three";
    f->prompts[4].sample = "four";
    return f;
}

static inline void teardown(struct fixture *f)
{
    /* A GPU keeps its staging between runs, the CPU nothing. */
    if (!uqm_device_may_fail(f->machine.device))
        assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
    uqm_network_destroy(&f->network);
    assert_null(f->network);
    uqm_machine_finish(&f->machine);
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
    memory_source_finish(&f->source);
    free(f);
}

static inline int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    struct fixture *f = ctx;
    const size_t n = uqm_network_feature_rows(&f->config) * f->config.vision.hidden;
    const int32_t salt = f->prompts[prompt].ids[0]; /* the prompt's own, wherever it stands */
    if (f->fail_features)
        return uqm_fail(err, (enum uqm_status) f->fail_features, "picture %zu is torn", k);
    for (size_t i = 0; i < n; i++)
        dst[i] = (float) sin((double) i * 0.37 + (double) salt + (double) k);
    return UQM_OK;
}

static inline int keep_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    struct fixture *f = ctx;
    if (f->fail_logits)
        return uqm_fail(err, (enum uqm_status) f->fail_logits, "the logits of prompt %zu", prompt);
    assert_int_equal(prompt, f->n_delivered++);
    memcpy(f->logits[prompt], logits, f->n_logits * sizeof *logits);
    return UQM_OK;
}

static inline struct uqm_llm_job job_of(struct fixture *f)
{
    f->n_delivered = 0;
    f->n_logits = VOCAB;
    return (struct uqm_llm_job){
        .n_prompts = f->n_prompts,
        .prompts = f->prompts,
        .features = give_features,
        .logits = keep_logits,
        .ctx = f,
        .stage = "testing",
        .seed = 7,
    };
}

static inline void run(struct fixture *f)
{
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = job_of(f);
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    assert_int_equal(f->n_delivered, f->n_prompts);
}

#endif
