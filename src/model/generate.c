/*
 * Greedy generation: one prefill that keeps K and V of all layers, then token by token, all weights
 * streamed for each.
 *
 * The cache holds fp16: half a MiB a token of a 7B model, where f32 would take a whole one and half
 * the prompts we should serve would not fit. The prefill itself attends to the unrounded values, so
 * the first token's logits are those of uqm_network_logits() to the bit.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/blocks.h"

/* (layer, K or V, position, kv width), in the arena behind everything else. */
struct uqm_kv_cache {
    const struct uqm_kernels *kernels;
    uint16_t *data;
    size_t n_positions, width;
};

static uint16_t *cache_rows(const struct uqm_kv_cache *c, uint32_t layer, int which)
{
    return c->data + (2 * (size_t) layer + (size_t) which) * c->n_positions * c->width;
}

void uqm_kv_store(struct uqm_kv_cache *cache, uint32_t layer, size_t first, const float *k,
                  const float *v, size_t n_rows)
{
    const size_t at = first * cache->width, n = n_rows * cache->width;
    cache->kernels->f16_of_f32(cache_rows(cache, layer, 0) + at, k, n);
    cache->kernels->f16_of_f32(cache_rows(cache, layer, 1) + at, v, n);
}

struct generator {
    struct uqm_network *net;
    const struct uqm_generate_job *job;
    struct uqm_run run;
    struct uqm_sequence seq;
    struct uqm_head head;
    struct uqm_kv_cache cache;
    struct uqm_llama_plan plan; /* of the prefill */
    size_t n_positions;         /* prompt and new tokens */
    float *logits;
    /* one token's rows */
    float *hidden, *normed, *q, *k, *v, *inner, *k_all, *v_all;
};

/* ---- memory ---- */

static uint64_t decode_floats(const struct generator *g)
{
    const struct uqm_text_config *c = &g->net->config.text;
    const uint64_t q = (uint64_t) c->n_heads * c->head_dim;
    const uint64_t kv = (uint64_t) c->n_kv_heads * c->head_dim;
    return c->hidden + uqm_max_u64(c->hidden, q) + q + 2 * kv + c->inner + 2 * kv * g->n_positions;
}

static uint64_t plan_floats(const struct generator *g)
{
    return uqm_max_u64(g->plan.hidden + g->plan.normed + g->plan.region,
                       uqm_align_up(decode_floats(g), 16));
}

static uint64_t cache_bytes(const struct generator *g)
{
    const struct uqm_text_config *c = &g->net->config.text;
    return 2 * (uint64_t) c->n_layers * g->n_positions * c->n_kv_heads * c->head_dim *
           sizeof(uint16_t);
}

static uint64_t total_bytes(const struct generator *g)
{
    const uint64_t vocab = uqm_align_up(g->net->config.text.vocab_size, 16);
    return (plan_floats(g) + vocab) * sizeof(float) + uqm_align_up(cache_bytes(g), 64);
}

static void place_decode(struct generator *g)
{
    const struct uqm_text_config *c = &g->net->config.text;
    const size_t q = (size_t) c->n_heads * c->head_dim, kv = g->cache.width;
    g->hidden = g->run.arena;
    g->normed = g->hidden + c->hidden;
    g->q = g->normed + uqm_max_u64(c->hidden, q);
    g->k = g->q + q;
    g->v = g->k + kv;
    g->inner = g->v + kv;
    g->k_all = g->inner + c->inner;
    g->v_all = g->k_all + g->n_positions * kv;
}

static int take_memory(struct generator *g, struct uqm_err *err)
{
    const struct uqm_model_config *config = &g->net->config;
    const size_t pictures = g->seq.n_pictures * uqm_network_feature_rows(config);
    char what[96];

    uqm_llama_plan(&g->plan, config, g->seq.n_rows, 1, pictures, false);
    if (total_bytes(g) > uqm_run_arena_room(&g->run))
        uqm_llama_plan(&g->plan, config, g->seq.n_rows, 1, pictures, true);
    snprintf(what, sizeof what, "a prompt of %zu tokens and %zu new ones", g->seq.n_rows,
             g->n_positions - g->seq.n_rows);
    int ret = uqm_run_take_arena(&g->run, total_bytes(g), what, err);
    if (ret < 0)
        return ret;

    g->logits = g->run.arena + plan_floats(g);
    g->cache = (struct uqm_kv_cache){
        .kernels = &g->net->kernels,
        .data = (void *) (g->logits + uqm_align_up(config->text.vocab_size, 16)),
        .n_positions = g->n_positions,
        .width = (size_t) config->text.n_kv_heads * config->text.head_dim,
    };
    place_decode(g);
    return UQM_OK;
}

/* ---- prefill ---- */

static int prefill(struct generator *g, struct uqm_err *err)
{
    const struct uqm_text_config *c = &g->net->config.text;
    struct uqm_schedule schedule = { .source = g->net->source };
    struct uqm_weights weights = { 0 };
    struct uqm_splice *splice = NULL;
    struct uqm_llama l = { 0 };

    int ret = uqm_splice_create(&splice, &schedule, g->net, &g->seq, 1, err);
    if (ret == UQM_OK)
        ret = uqm_llama_schedule(&schedule, c, &g->plan, err);
    if (ret == UQM_OK)
        ret = uqm_head_schedule(&schedule, g->net, &g->head, err);
    if (ret == UQM_OK)
        ret = uqm_llama_init(&l, &g->run, &g->plan, &g->seq, g->net->env->seed, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(&g->run, &weights, &schedule, err);
    if (ret == UQM_OK) {
        l.weights = &weights;
        l.cache = &g->cache;
        ret = uqm_splice_run(splice, &g->run, &weights, l.hidden, l.normed, l.region,
                             g->job->features, g->job->ctx, err);
    }
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++) {
        uqm_report(g->net->env, "reading the prompt", "layers", i, c->n_layers);
        ret = uqm_llama_layer(&l, i, err);
    }
    if (ret == UQM_OK)
        ret = uqm_head_run(&g->head, &g->run, &weights, g->logits, l.normed, l.hidden, 1, err);
    uqm_weights_close(&weights);
    uqm_llama_finish(&l);
    uqm_splice_destroy(&splice);
    uqm_schedule_finish(&schedule);
    return ret;
}

/* ---- one token more ---- */

struct step {
    struct generator *g;
    struct uqm_weights weights;
    size_t position;
};

static int linear1(struct step *s, float *y, const float *x, size_t n, size_t k,
                   enum uqm_epilogue epilogue, struct uqm_err *err)
{
    return uqm_weights_linear1(&s->weights, s->g->run.gemm, y, x, n, k, epilogue, err);
}

static int norm1(struct step *s, struct uqm_err *err)
{
    struct generator *g = s->g;
    const struct uqm_text_config *c = &g->net->config.text;
    int ret = uqm_weights_vector(&s->weights, g->run.norm_w, c->hidden, err);
    if (ret == UQM_OK)
        g->net->kernels.rmsnorm_f32(g->normed, g->hidden, g->run.norm_w, c->rms_eps, c->hidden);
    return ret;
}

struct widen_task {
    const struct generator *g;
    uint32_t layer;
    size_t n_positions;
};

enum { WIDEN_ROWS = 32 };

static void widen_block(void *ctx, size_t item, int worker)
{
    const struct widen_task *t = ctx;
    const struct generator *g = t->g;
    const size_t first = item / 2 * WIDEN_ROWS, width = g->cache.width;
    const size_t n = (size_t) uqm_min_u64(WIDEN_ROWS, t->n_positions - first);
    (void) worker;
    g->net->kernels.f32_of_f16((item % 2 ? g->v_all : g->k_all) + first * width,
                               cache_rows(&g->cache, t->layer, (int) (item % 2)) + first * width,
                               n * width);
}

/* The new position attends to all that the cache holds, itself included. */
static void attend1(struct step *s, uint32_t layer)
{
    struct generator *g = s->g;
    const struct uqm_text_config *c = &g->net->config.text;
    const size_t kv = g->cache.width, n = s->position + 1;
    const uint32_t position = (uint32_t) s->position;

    uqm_rows_rope(g->net->threads, &g->net->kernels, g->k, &g->run.rope, &position, 1,
                  c->n_kv_heads);
    uqm_rows_rope(g->net->threads, &g->net->kernels, g->q, &g->run.rope, &position, 1, c->n_heads);
    uqm_kv_store(&g->cache, layer, s->position, g->k, g->v, 1);

    struct widen_task widen = { .g = g, .layer = layer, .n_positions = n };
    uqm_parallel(g->net->threads, 2 * ((n + WIDEN_ROWS - 1) / WIDEN_ROWS), widen_block, &widen);
    const size_t q = (size_t) c->n_heads * c->head_dim;
    const struct uqm_attention a = {
        .q = g->q,
        .k = g->k_all,
        .v = g->v_all,
        .out = g->normed,
        .ldq = q,
        .ldk = kv,
        .ldv = kv,
        .ldo = q,
        .n_q = 1,
        .n_kv = n,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .scale = (float) (1.0 / sqrt((double) c->head_dim)),
        .causal = true,
    };
    uqm_attention_run(g->run.attention, &g->net->kernels, &a, 1);
}

static int layer1(struct step *s, uint32_t layer, struct uqm_err *err)
{
    struct generator *g = s->g;
    const struct uqm_text_config *c = &g->net->config.text;
    const size_t h = c->hidden, q = (size_t) c->n_heads * c->head_dim, kv = g->cache.width;

    int ret = norm1(s, err);
    if (ret == UQM_OK)
        ret = linear1(s, g->k, g->normed, kv, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear1(s, g->v, g->normed, kv, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear1(s, g->q, g->normed, q, h, UQM_EPI_STORE, err);
    if (ret < 0)
        return ret;
    attend1(s, layer);
    ret = linear1(s, g->hidden, g->normed, h, q, UQM_EPI_ADD, err);
    if (ret == UQM_OK)
        ret = norm1(s, err);
    if (ret == UQM_OK)
        ret = linear1(s, g->inner, g->normed, c->inner, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear1(s, g->inner, g->normed, c->inner, h, UQM_EPI_SILU_MUL, err);
    if (ret == UQM_OK)
        ret = linear1(s, g->hidden, g->inner, h, c->inner, UQM_EPI_ADD, err);
    return ret;
}

/* logits after token `id` at `position`. */
static int decode(struct generator *g, int32_t id, size_t position, struct uqm_err *err)
{
    const struct uqm_text_config *c = &g->net->config.text;
    struct uqm_schedule schedule = { .source = g->net->source };
    struct step s = { .g = g, .position = position };

    int ret = uqm_schedule_rows(&schedule, &g->net->embed, (uint64_t) id, 1, err);
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++)
        ret = uqm_llama_schedule_layer(&schedule, c, i, 1, err);
    if (ret == UQM_OK)
        ret = uqm_head_schedule(&schedule, g->net, &g->head, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(&g->run, &s.weights, &schedule, err);
    if (ret == UQM_OK)
        ret = uqm_weights_vector(&s.weights, g->hidden, c->hidden, err);
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++)
        ret = layer1(&s, i, err);
    if (ret == UQM_OK)
        ret = norm1(&s, err);
    if (ret == UQM_OK)
        ret = linear1(&s, g->logits, g->normed, c->vocab_size, c->hidden, UQM_EPI_STORE, err);
    uqm_weights_close(&s.weights);
    uqm_schedule_finish(&schedule);
    return ret;
}

/* ---- the loop ---- */

/* The lowest id of the largest logit; NaN never wins. -1: there is no number among them. */
static int32_t argmax(const float *logits, uint32_t n)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < n; i++)
        if (!isnan(logits[i]) && (best < 0 || logits[i] > logits[best]))
            best = (int32_t) i;
    return best;
}

static bool is_eos(const struct uqm_model_config *c, int32_t id)
{
    for (uint32_t i = 0; i < c->n_eos; i++)
        if (c->eos_ids[i] == id)
            return true;
    return false;
}

static int generate(struct generator *g, int32_t *ids, size_t *n_ids, float *first_logits,
                    struct uqm_err *err)
{
    const struct uqm_model_config *c = &g->net->config;
    int ret = prefill(g, err);
    if (ret == UQM_OK && first_logits)
        memcpy(first_logits, g->logits, c->text.vocab_size * sizeof *first_logits);

    const size_t room = g->n_positions - g->seq.n_rows;
    while (ret == UQM_OK && *n_ids < room) {
        uqm_report(g->net->env, "answering", "tokens", *n_ids, room);
        const int32_t id = argmax(g->logits, c->n_real_tokens);
        if (id < 0)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: the logits of token %zu are not numbers",
                            g->net->source->name, *n_ids);
        if (is_eos(c, id))
            break;
        ids[(*n_ids)++] = id;
        if (*n_ids < room)
            ret = decode(g, id, g->seq.n_rows + *n_ids - 1, err);
    }
    return ret;
}

int uqm_network_generate(struct uqm_network *network, const struct uqm_generate_job *job,
                         int32_t *ids, size_t *n_ids, float *first_logits, struct uqm_err *err)
{
    struct generator g = { .net = network, .job = job };
    struct uqm_schedule whole = { .source = network->source };

    *n_ids = 0;
    int ret = uqm_sequence_init(&g.seq, network, job->prompt, 0, err);
    if (ret < 0)
        return ret;
    /* No position past those the model knows. */
    const size_t limit = uqm_max_u64(network->config.text.max_positions, g.seq.n_rows);
    g.n_positions = g.seq.n_rows + (size_t) uqm_min_u64(job->max_tokens, limit - g.seq.n_rows);

    ret = uqm_head_init(&g.head, network, NULL, 0, err);
    if (ret == UQM_OK)
        ret = uqm_network_schedule_text(&whole, network, err);
    if (ret == UQM_OK)
        ret = uqm_run_init(&g.run, network, &whole, g.n_positions, g.n_positions, err);
    if (ret == UQM_OK)
        ret = take_memory(&g, err);
    if (ret == UQM_OK)
        ret = generate(&g, ids, n_ids, first_logits, err);
    uqm_run_finish(&g.run);
    uqm_schedule_finish(&whole);
    uqm_head_finish(&g.head);
    return ret;
}
