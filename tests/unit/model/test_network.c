/* The network on models made up in memory: against plain arithmetic in double, and against itself
 * with other batches, memory, threads and weights' types. The zoo's values are in tests/golden. */
#include "src/model/network.h"

#include <math.h>

#include "src/model/tokenizer.h"
#include "tests/unit/model/reference_llama.h"
#include "tests/unit/test.h"

enum { MAX_PROMPTS = 16, MAX_IDS = 640, VOCAB = 300, PATCHES = 4, MIB = 1 << 20 };
enum { N_PICTURES = 120 };
enum { PICTURE = UQM_IMAGE_PLACEHOLDER };

/* Everything odd on purpose: grouped K/V heads, heads that are not hidden / n_heads wide, an inner
 * width of more than one tile's rows and far wider than q, k and v together. */
static struct uqm_model_config odd_config(void)
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
    struct uqm_threads *threads;
    struct uqm_model_config config;
    struct memory_source source;
    struct uqm_network *network;
    int32_t ids[MAX_PROMPTS][MAX_IDS];
    struct uqm_llm_prompt prompts[MAX_PROMPTS];
    size_t n_prompts;
    float logits[MAX_PROMPTS][VOCAB];
    size_t n_logits, n_delivered, n_states;
    int fail_features; /* a code to return */
};

static void open_network(struct fixture *f, uint64_t memory, int n_threads)
{
    struct uqm_err err = { 0 };
    uqm_network_destroy(&f->network);
    uqm_threads_destroy(&f->threads);
    f->env = test_env(512 * (uint64_t) MIB, n_threads);
    f->source.source.env = f->env;
    assert_ok(uqm_threads_create(&f->threads, n_threads, &err), err);
    assert_ok(uqm_network_create(&f->network, f->env, f->threads, &f->source.source, &f->config,
                                 memory, &err),
              err);
}

/* Words by a small generator; "picture at" < 0: none. */
static void add_prompt(struct fixture *f, size_t n_ids, int picture_at)
{
    const size_t p = f->n_prompts++;
    assert_true(p < MAX_PROMPTS && n_ids <= MAX_IDS);
    for (size_t i = 0; i < n_ids; i++)
        f->ids[p][i] = (int32_t) ((i * i * 7 + 31 * p + 11 * i + 3) % VOCAB);
    if (picture_at >= 0)
        f->ids[p][picture_at] = PICTURE;
    f->prompts[p] = (struct uqm_llm_prompt){ .ids = f->ids[p], .n_ids = n_ids };
}

static struct fixture *setup_with(const struct uqm_model_config *config, enum uqm_dtype dtype)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->config = *config;
    f->env = test_env(512 * (uint64_t) MIB, 1);
    memory_source_init(&f->source, f->env, config, dtype);
    open_network(f, 64 * MIB, 2);
    return f;
}

static struct fixture *setup(void)
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

static void teardown(struct fixture *f)
{
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
    uqm_network_destroy(&f->network);
    assert_null(f->network);
    uqm_threads_destroy(&f->threads);
    memory_source_finish(&f->source);
    free(f);
}

static int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
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

static int keep_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    struct fixture *f = ctx;
    (void) err;
    assert_int_equal(prompt, f->n_delivered++);
    memcpy(f->logits[prompt], logits, f->n_logits * sizeof *logits);
    return UQM_OK;
}

static struct uqm_llm_job job_of(struct fixture *f)
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

static void run(struct fixture *f)
{
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = job_of(f);
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    assert_int_equal(f->n_delivered, f->n_prompts);
}

/* ---- right ---- */

static void check_against_double(const struct uqm_model_config *config, enum uqm_dtype dtype)
{
    struct fixture *f = setup_with(config, dtype);
    double *expected = calloc(config->text.vocab_size, sizeof *expected);
    assert_non_null(expected);
    add_prompt(f, 40, -1);
    add_prompt(f, 7, -1);
    run(f);
    for (size_t p = 0; p < f->n_prompts; p++) {
        reference_llama(expected, &f->source, &config->text, f->ids[p], f->prompts[p].n_ids);
        for (size_t i = 0; i < VOCAB; i++)
            if (!(fabs((double) f->logits[p][i] - expected[i]) < 2e-4))
                fail_msg("prompt %zu, logit %zu is %g, not %g", p, i, (double) f->logits[p][i],
                         expected[i]);
    }
    free(expected);
    teardown(f);
}

static void logits_are_those_of_plain_arithmetic_in_double(void **state)
{
    (void) state;
    struct uqm_model_config config = odd_config();
    check_against_double(&config, UQM_F16);
    check_against_double(&config, UQM_BF16);
    check_against_double(&config, UQM_F32);
    config.has_vision = false;
    config.text.tied_head = true;
    config.text.rope_theta = 500.0;
    check_against_double(&config, UQM_F16);
    config.text.n_layers = 1; /* the first layer is the last */
    check_against_double(&config, UQM_F16);
}

static void asked_tokens_have_the_logits_of_the_whole_vocabulary(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static const int32_t tokens[] = { 299, 0, 17, 18, 17, 150 };
    float all[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };

    run(f);
    memcpy(all, f->logits, sizeof all);
    struct uqm_llm_job job = job_of(f);
    job.tokens = tokens;
    job.n_tokens = f->n_logits = 6;
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    for (size_t p = 0; p < f->n_prompts; p++)
        for (size_t i = 0; i < 6; i++)
            assert_true(fabsf(f->logits[p][i] - all[p][tokens[i]]) < 1e-4f);
    teardown(f);
}

/* ---- the same, however it is run ---- */

static void assert_same_logits(struct fixture *f, float (*expected)[VOCAB])
{
    for (size_t p = 0; p < f->n_prompts; p++)
        if (memcmp(f->logits[p], expected[p], sizeof *expected) != 0)
            fail_msg("the logits of prompt %zu differ", p);
}

static void run_one_by_one(struct fixture *f)
{
    struct uqm_err err = { 0 };
    struct uqm_llm_prompt all[MAX_PROMPTS];
    const size_t n = f->n_prompts;
    float kept[MAX_PROMPTS][VOCAB];

    memcpy(all, f->prompts, sizeof all);
    f->n_prompts = 1;
    for (size_t p = 0; p < n; p++) {
        f->prompts[0] = all[p];
        const struct uqm_llm_job job = job_of(f);
        assert_ok(uqm_network_logits(f->network, &job, &err), err);
        memcpy(kept[p], f->logits[0], sizeof kept[p]);
    }
    f->n_prompts = n;
    memcpy(f->prompts, all, sizeof all);
    memcpy(f->logits, kept, sizeof kept);
}

static void a_batch_and_single_prompts_give_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    run_one_by_one(f);
    assert_same_logits(f, expected);
    teardown(f);
}

static void shuffled_prompts_give_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    static const size_t order[] = { 8, 3, 0, 6, 1, 7, 4, 2, 5 };
    struct uqm_llm_prompt prompts[MAX_PROMPTS];
    float expected[MAX_PROMPTS][VOCAB];

    run(f);
    for (size_t i = 0; i < 9; i++) {
        prompts[i] = f->prompts[order[i]];
        memcpy(expected[i], f->logits[order[i]], sizeof expected[i]);
    }
    memcpy(f->prompts, prompts, sizeof prompts);
    run(f);
    assert_same_logits(f, expected);
    teardown(f);
}

/* From one batch down to one prompt a batch, the longest with its MLP in pieces. */
static void any_memory_gives_the_same_bits_and_is_kept_to(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    size_t most_streams = 0;
    uint64_t least = 0;

    run(f);
    memcpy(expected, f->logits, sizeof expected);
    for (uint64_t memory = 32 * MIB; memory > 0; memory -= memory / 16) {
        struct uqm_err err = { 0 };
        open_network(f, memory, 1);
        f->source.n_streams = 0;
        const struct uqm_llm_job job = job_of(f);
        int ret = uqm_network_logits(f->network, &job, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        assert_same_logits(f, expected);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        if (f->source.n_streams > most_streams)
            most_streams = f->source.n_streams;
        least = memory;
    }
    assert_true(least < 4 * MIB);
    assert_true(most_streams >= 4);
    teardown(f);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    for (int n_threads = 1; n_threads <= 5; n_threads += 2) {
        open_network(f, 64 * MIB, n_threads);
        run(f);
        assert_same_logits(f, expected);
    }
    teardown(f);
}

static void count_states(void *ctx, size_t prompt, uint32_t layer, const float *hidden,
                         size_t n_rows)
{
    struct fixture *f = ctx;
    const bool last = layer == f->config.text.n_layers;
    size_t rows = f->prompts[prompt].n_ids;
    for (size_t i = 0; i < f->prompts[prompt].n_ids; i++)
        rows += f->prompts[prompt].ids[i] == PICTURE ? PATCHES - 1 : 0;
    if (rows > f->config.max_length)
        rows = f->config.max_length;
    assert_int_equal(n_rows, last ? 1 : rows);
    assert_true(isfinite(hidden[0]));
    f->n_states++;
}

static void observing_changes_nothing_and_sees_every_layer(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float expected[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };
    run(f);
    memcpy(expected, f->logits, sizeof expected);
    struct uqm_llm_job job = job_of(f);
    job.observe = count_states;
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    assert_int_equal(f->n_states, 9 * (3 + 1));
    assert_same_logits(f, expected);
    teardown(f);
}

/* ---- pictures and cuts ---- */

static void a_sequence_is_cut_at_max_length_even_inside_a_picture(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->n_prompts = 0;
    f->config.max_length = 100;
    open_network(f, 64 * MIB, 2);
    for (int at = 94; at <= 100; at++)
        add_prompt(f, 120, at); /* the picture's rows end at 97, ..., or are not there at all */
    for (size_t p = 0; p < f->n_prompts; p++)
        f->prompts[p].dropout = 0.0;
    run(f);
    float whole[VOCAB];
    memcpy(whole, f->logits[0], sizeof whole);

    /* The same up to the cut, by hand. */
    f->n_prompts = 1;
    f->prompts[0].n_ids = 97; /* 94 words, 4 patches, 2 words */
    run(f);
    assert_memory_equal(f->logits[0], whole, sizeof whole);
    teardown(f);
}

static void several_pictures_of_a_prompt_keep_their_order(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->n_prompts = 0;
    add_prompt(f, 20, 3);
    add_prompt(f, 20, 3);
    f->ids[0][9] = f->ids[1][9] = PICTURE;
    f->ids[1][0] = f->ids[0][0]; /* the features' salt */
    for (size_t i = 0; i < 20; i++)
        f->ids[1][i] = f->ids[0][i];
    run(f);
    assert_memory_equal(f->logits[0], f->logits[1], sizeof f->logits[0]);
    f->ids[1][9] = 5;
    f->ids[1][10] = PICTURE;
    run(f);
    assert_memory_not_equal(f->logits[0], f->logits[1], sizeof f->logits[0]);
    teardown(f);
}

/* ---- dropout ---- */

static void dropout_depends_on_seed_sample_and_j_alone(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->n_prompts = 0;
    for (uint32_t j = 0; j < 6; j++) {
        add_prompt(f, 30, 4);
        memcpy(f->ids[j], f->ids[0], sizeof f->ids[0]);
        f->prompts[j].dataset = "set";
        f->prompts[j].sample = j == 5 ? "other" : "one";
        f->prompts[j].j = j == 4 || j == 5 ? 0 : j;
        f->prompts[j].dropout = 0.1;
    }
    run(f);
    assert_memory_equal(f->logits[0], f->logits[4], sizeof f->logits[0]);
    for (size_t j = 1; j < 4; j++)
        assert_memory_not_equal(f->logits[0], f->logits[j], sizeof f->logits[0]);
    assert_memory_not_equal(f->logits[0], f->logits[5], sizeof f->logits[0]);

    for (size_t j = 0; j < 6; j++)
        f->prompts[j].dropout = 0.0;
    run(f);
    for (size_t j = 1; j < 6; j++)
        assert_memory_equal(f->logits[0], f->logits[j], sizeof f->logits[0]);
    teardown(f);
}

static void keep_state(void *ctx, size_t prompt, uint32_t layer, const float *hidden, size_t n_rows)
{
    struct fixture *f = ctx;
    (void) n_rows;
    if (layer == f->config.text.n_layers)
        memcpy(f->logits[prompt], hidden, f->config.text.hidden * sizeof *hidden);
}

static int drop_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    (void) ctx;
    (void) prompt;
    (void) logits;
    (void) err;
    return UQM_OK;
}

/* One layer whose MLP gives nothing: its output is linear in the mask, so the mean over masks
 * tends to the clean output. */
static void dropped_attention_has_the_clean_mean(void **state)
{
    (void) state;
    enum { ROUNDS = 100 };
    struct uqm_model_config config = odd_config();
    config.text.n_layers = 1;
    struct fixture *f = setup_with(&config, UQM_F16);
    const size_t width = config.text.hidden;
    double sum[48] = { 0 }, squares[48] = { 0 };
    float clean[48];
    struct uqm_err err = { 0 };

    memory_source_zero(&f->source, "language_model.model.layers.0.mlp.down_proj.weight");
    for (size_t p = 0; p < MAX_PROMPTS; p++) {
        add_prompt(f, 25, -1);
        memcpy(f->ids[p], f->ids[0], sizeof f->ids[0]);
    }
    for (uint32_t round = 0; round <= ROUNDS; round++) {
        struct uqm_llm_job job = job_of(f);
        job.observe = keep_state;
        job.logits = drop_logits;
        for (uint32_t p = 0; p < MAX_PROMPTS; p++) {
            f->prompts[p].dataset = f->prompts[p].sample = "x";
            f->prompts[p].dropout = round ? 0.1 : 0.0;
            f->prompts[p].j = round * MAX_PROMPTS + p;
        }
        assert_ok(uqm_network_logits(f->network, &job, &err), err);
        if (round == 0)
            memcpy(clean, f->logits[0], sizeof clean);
        for (size_t p = 0; round > 0 && p < MAX_PROMPTS; p++)
            for (size_t i = 0; i < width; i++) {
                sum[i] += (double) f->logits[p][i];
                squares[i] += (double) f->logits[p][i] * (double) f->logits[p][i];
            }
    }
    const double n = ROUNDS * MAX_PROMPTS;
    for (size_t i = 0; i < width; i++) {
        const double mean = sum[i] / n, error = sqrt((squares[i] / n - mean * mean) / n);
        assert_true(error > 0);
        if (fabs(mean - (double) clean[i]) > 4.5 * error)
            fail_msg("element %zu: mean %g, clean %g, standard error %g", i, mean,
                     (double) clean[i], error);
    }
    teardown(f);
}

/* ---- generation ---- */

static void generation_goes_on_as_if_the_new_tokens_had_been_asked(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[8];
    size_t n;
    float first[VOCAB];
    struct uqm_err err = { 0 };

    f->n_prompts = 0;
    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    add_prompt(f, 20, 5);
    const struct uqm_generate_job job = {
        .prompt = f->prompts, .features = give_features, .ctx = f, .max_tokens = 8
    };
    assert_ok(uqm_network_generate(f->network, &job, ids, &n, first, &err), err);
    assert_int_equal(n, 8);

    /* Each token has the largest logit of a prompt that ends before it; K and V in fp16 may turn a
     * near tie. */
    for (size_t i = 0; i < n; i++) {
        run(f);
        float best = f->logits[0][0];
        for (size_t t = 1; t < VOCAB; t++)
            best = fmaxf(best, f->logits[0][t]);
        assert_true(f->logits[0][ids[i]] > best - 1e-2f);
        if (i == 0)
            assert_memory_equal(first, f->logits[0], sizeof first);
        f->ids[0][f->prompts[0].n_ids++] = ids[i];
    }
    teardown(f);
}

static void generation_stops_at_eos_and_never_takes_padding(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[8], again[8];
    size_t n;
    struct uqm_err err = { 0 };
    const struct uqm_generate_job job = {
        .prompt = f->prompts, .features = give_features, .ctx = f, .max_tokens = 8
    };

    f->config.n_eos = 0;
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, ids, &n, NULL, &err), err);
    assert_int_equal(n, 8);

    f->config.n_eos = 2;
    f->config.eos_ids[1] = ids[0];
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, again, &n, NULL, &err), err);
    assert_int_equal(n, 0);

    f->config.n_eos = 0;
    f->config.n_real_tokens = (uint32_t) ids[0];
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, again, &n, NULL, &err), err);
    assert_int_equal(n, 8);
    for (size_t i = 0; i < n; i++)
        assert_true(again[i] < ids[0]);
    teardown(f);
}

static void generation_ends_with_the_positions(void **state)
{
    (void) state;
    struct fixture *f = setup();
    int32_t ids[64];
    size_t n;
    struct uqm_err err = { 0 };
    const struct uqm_generate_job job = {
        .prompt = &f->prompts[6], .features = give_features, .ctx = f, .max_tokens = 64
    };
    f->config.n_eos = 0;
    f->config.text.max_positions = 128;
    open_network(f, 64 * MIB, 2);
    assert_ok(uqm_network_generate(f->network, &job, ids, &n, NULL, &err), err);
    assert_int_equal(n, 28); /* 128 positions, 100 of them the prompt's */
    teardown(f);
}

/* ---- the vision tower ---- */

struct pictures {
    const struct uqm_model_config *config;
    float features[N_PICTURES][5 * 32];
    size_t n_stored;
    int fail_from; /* pictures from this one on are torn */
};

static int give_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    const struct pictures *p = ctx;
    if (p->fail_from && image >= (size_t) p->fail_from)
        return uqm_fail(err, UQM_ERR_FORMAT, "picture %zu is torn", image);
    for (size_t i = 0; i < 3 * 8 * 8; i++)
        dst[i] = (float) cos((double) (i + 1) * 0.21 * (double) (image + 1));
    return UQM_OK;
}

static int keep_features(void *ctx, size_t image, const float *features, struct uqm_err *err)
{
    struct pictures *p = ctx;
    (void) err;
    assert_int_equal(image, p->n_stored++);
    memcpy(p->features[image], features,
           uqm_network_feature_rows(p->config) * p->config->vision.hidden * sizeof *features);
    return UQM_OK;
}

static int run_vision(struct fixture *f, struct pictures *p, struct uqm_err *err)
{
    p->config = &f->config;
    p->n_stored = 0;
    const struct uqm_vision_job job = { .n_images = N_PICTURES,
                                        .pixels = give_pixels,
                                        .store = keep_features,
                                        .ctx = p,
                                        .stage = "testing" };
    return uqm_network_vision(f->network, &job, err);
}

static void features_are_the_same_bits_in_any_memory_and_threads(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures expected = { 0 }, p;
    size_t most_streams = 0;
    struct uqm_err err = { 0 };

    assert_ok(run_vision(f, &expected, &err), err);
    for (uint64_t memory = 4 * MIB; memory > 0; memory -= memory / 16) {
        p = (struct pictures){ 0 };
        open_network(f, memory, memory % 3 ? 1 : 2);
        f->source.n_streams = 0;
        int ret = run_vision(f, &p, &err);
        if (ret == UQM_ERR_NOMEM)
            break;
        assert_ok(ret, err);
        assert_int_equal(p.n_stored, N_PICTURES);
        assert_memory_equal(p.features, expected.features, sizeof p.features);
        assert_true(atomic_load(&f->env->budget.peak_bytes) <= memory);
        if (f->source.n_streams > most_streams)
            most_streams = f->source.n_streams;
    }
    assert_true(most_streams >= 2);
    teardown(f);
}

static void the_class_token_is_kept_when_asked(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures without = { 0 }, with = { 0 };
    struct uqm_err err = { 0 };
    assert_ok(run_vision(f, &without, &err), err);
    f->config.vision.keep_class_token = true;
    open_network(f, 64 * MIB, 1);
    assert_ok(run_vision(f, &with, &err), err);
    for (size_t i = 0; i < N_PICTURES; i++)
        assert_memory_equal(with.features[i] + 32, without.features[i], 4 * 32 * sizeof(float));
    teardown(f);
}

static void the_first_torn_picture_is_reported(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { .fail_from = 3 };
    struct uqm_err err = { 0 };
    assert_fails(run_vision(f, &p, &err), err, UQM_ERR_FORMAT, "picture 3 is torn");
    teardown(f);
}

static void layers_past_the_feature_layer_need_not_be_there(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { 0 };
    struct uqm_err err = { 0 };
    memory_source_remove(&f->source, "vision_tower.vision_model.encoder.layers.2.mlp.fc1.weight");
    open_network(f, 64 * MIB, 1);
    assert_ok(run_vision(f, &p, &err), err);
    f->config.vision.feature_layer = -1;
    struct uqm_network *n = NULL;
    assert_fails(
        uqm_network_create(&n, f->env, f->threads, &f->source.source, &f->config, 64 * MIB, &err),
        err, UQM_ERR_FORMAT, "layers.2.mlp.fc1.weight is missing");
    teardown(f);
}

/* ---- what is refused ---- */

static void refuse(struct fixture *f, enum uqm_status code, const char *text)
{
    struct uqm_err err = { 0 };
    struct uqm_network *n = NULL;
    assert_fails(
        uqm_network_create(&n, f->env, f->threads, &f->source.source, &f->config, 64 * MIB, &err),
        err, code, text);
    assert_null(n);
}

static void a_tensor_missing_misshapen_or_of_another_type_is_named(void **state)
{
    (void) state;
    static const char up[] = "language_model.model.layers.1.mlp.up_proj.weight";
    struct fixture *f = setup();
    const uint64_t wrong[3] = { 599, 48, 1 }, right[2] = { 600, 48 };

    memory_source_add(&f->source, up, UQM_F16, 2, wrong, 1.0);
    refuse(f, UQM_ERR_FORMAT, up);
    refuse(f, UQM_ERR_FORMAT, "shape [599, 48], but config.json asks for [600, 48]");
    memory_source_add(&f->source, up, UQM_F16, 3, wrong, 1.0);
    refuse(f, UQM_ERR_FORMAT, "[599, 48, 1]");
    memory_source_add(&f->source, up, UQM_F64, 2, right, 0.0);
    refuse(f, UQM_ERR_UNSUPPORTED, "not F64");
    memory_source_remove(&f->source, up);
    refuse(f, UQM_ERR_FORMAT, "layers.1.mlp.up_proj.weight is missing");
    teardown(f);
}

static void a_tensor_the_network_would_leave_out_is_refused(void **state)
{
    (void) state;
    struct fixture *f = setup();
    const uint64_t shape = 64;
    memory_source_add(&f->source, "language_model.model.layers.0.self_attn.q_proj.bias", UQM_F16, 1,
                      &shape, 1.0);
    refuse(f, UQM_ERR_UNSUPPORTED, "q_proj.bias has no place");
    f->config.has_vision = false;
    refuse(f, UQM_ERR_UNSUPPORTED, "has no place");
    teardown(f);
}

static void fail_job(struct fixture *f, enum uqm_status code, const char *text)
{
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = job_of(f);
    assert_fails(uqm_network_logits(f->network, &job, &err), err, code, text);
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
}

static void prompts_that_make_no_sense_are_refused(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->ids[4][2] = VOCAB;
    fail_job(f, UQM_ERR_ARG, "prompt 4: token id 300 is outside");
    f->ids[4][2] = -1;
    fail_job(f, UQM_ERR_ARG, "token id -1");
    f->ids[4][2] = 0;
    f->prompts[4].dropout = 1.0;
    fail_job(f, UQM_ERR_ARG, "dropout 1 is outside");
    f->prompts[4].dropout = (double) NAN;
    fail_job(f, UQM_ERR_ARG, "dropout");
    f->prompts[4].dropout = 0;
    f->prompts[8].n_ids = 0;
    fail_job(f, UQM_ERR_ARG, "prompt 8 is empty");
    f->prompts[8].n_ids = 1;
    f->config.has_vision = false;
    open_network(f, 64 * MIB, 1);
    fail_job(f, UQM_ERR_ARG, "prompt 1 has a picture, but the model has no vision tower");
    teardown(f);
}

static void failures_of_the_callbacks_and_the_disk_come_back(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->fail_features = UQM_ERR_IO;
    fail_job(f, UQM_ERR_IO, "picture 0 is torn");
    f->fail_features = 0;
    for (f->source.fail_after = 1; f->source.fail_after < 30; f->source.fail_after += 3)
        fail_job(f, UQM_ERR_IO, "the disk is gone");
    teardown(f);
}

static void a_cancelled_call_winds_up(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct pictures p = { 0 };
    struct uqm_err err = { 0 };
    volatile int cancel = 1;
    f->env->cancel = &cancel;
    fail_job(f, UQM_ERR_INTERRUPTED, "interrupted");
    assert_int_equal(run_vision(f, &p, &err), UQM_ERR_INTERRUPTED);
    teardown(f);
}

/* The message says how much more would do, and so much does. */
static void too_little_memory_says_how_much_would_do(void **state)
{
    (void) state;
    struct fixture *f = setup();
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = job_of(f);
    uint64_t memory = 256 << 10;

    open_network(f, memory, 1);
    assert_fails(uqm_network_logits(f->network, &job, &err), err, UQM_ERR_NOMEM, "--memory");
    const char *more = strstr(err.msg, "give at least ");
    assert_non_null(more);
    memory += strtoull(more + strlen("give at least "), NULL, 10) * MIB;
    open_network(f, memory, 1);
    run(f);
    teardown(f);
}

static struct {
    uint64_t last, n_calls, total;
} progress;

static void on_progress(void *ctx, const struct uqm_progress *p)
{
    (void) ctx;
    assert_true(p->done >= progress.last && p->done <= p->total);
    assert_string_equal(p->unit, "prompts");
    progress.last = p->done;
    progress.total = p->total;
    progress.n_calls++;
}

static void progress_moves_within_a_batch_and_ends_at_the_total(void **state)
{
    (void) state;
    struct fixture *f = setup();
    f->env->progress = on_progress;
    run(f);
    assert_int_equal(progress.last, 9);
    assert_int_equal(progress.total, 9);
    assert_true(progress.n_calls >= 4);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_plain_arithmetic_in_double),
        cmocka_unit_test(asked_tokens_have_the_logits_of_the_whole_vocabulary),
        cmocka_unit_test(a_batch_and_single_prompts_give_the_same_bits),
        cmocka_unit_test(shuffled_prompts_give_the_same_bits),
        cmocka_unit_test(any_memory_gives_the_same_bits_and_is_kept_to),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(observing_changes_nothing_and_sees_every_layer),
        cmocka_unit_test(a_sequence_is_cut_at_max_length_even_inside_a_picture),
        cmocka_unit_test(several_pictures_of_a_prompt_keep_their_order),
        cmocka_unit_test(dropout_depends_on_seed_sample_and_j_alone),
        cmocka_unit_test(dropped_attention_has_the_clean_mean),
        cmocka_unit_test(generation_goes_on_as_if_the_new_tokens_had_been_asked),
        cmocka_unit_test(generation_stops_at_eos_and_never_takes_padding),
        cmocka_unit_test(generation_ends_with_the_positions),
        cmocka_unit_test(features_are_the_same_bits_in_any_memory_and_threads),
        cmocka_unit_test(the_class_token_is_kept_when_asked),
        cmocka_unit_test(the_first_torn_picture_is_reported),
        cmocka_unit_test(layers_past_the_feature_layer_need_not_be_there),
        cmocka_unit_test(a_tensor_missing_misshapen_or_of_another_type_is_named),
        cmocka_unit_test(a_tensor_the_network_would_leave_out_is_refused),
        cmocka_unit_test(prompts_that_make_no_sense_are_refused),
        cmocka_unit_test(failures_of_the_callbacks_and_the_disk_come_back),
        cmocka_unit_test(a_cancelled_call_winds_up),
        cmocka_unit_test(too_little_memory_says_how_much_would_do),
        cmocka_unit_test(progress_moves_within_a_batch_and_ends_at_the_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
