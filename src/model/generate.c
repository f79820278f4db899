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

/* (layer, K or V, position, kv width) in F16, in the arena behind everything else. */
struct uqm_kv_cache {
    struct uqm_device *device;
    struct uqm_place data;
    size_t n_positions, width;
};

static uint64_t rows_words(size_t n_rows, size_t width)
{
    return (uint64_t) n_rows * width / 2; /* a row of whole heads is even */
}

static struct uqm_place cache_rows(const struct uqm_kv_cache *c, uint32_t layer, int which)
{
    const uint64_t block = 2 * (uint64_t) layer + (uint64_t) which;
    return uqm_place_add(c->data, block * rows_words(c->n_positions, c->width));
}

int uqm_kv_store(struct uqm_kv_cache *cache, uint32_t layer, size_t first, struct uqm_place k,
                 struct uqm_place v, size_t n_rows, struct uqm_err *err)
{
    struct uqm_device *device = cache->device;
    const uint64_t at = rows_words(first, cache->width);
    const size_t n = n_rows * cache->width;
    int ret =
        device->ops->narrow(device, uqm_place_add(cache_rows(cache, layer, 0), at), k, n, err);
    if (ret == UQM_OK)
        ret =
            device->ops->narrow(device, uqm_place_add(cache_rows(cache, layer, 1), at), v, n, err);
    return ret;
}

/* One token's rows in the arena. */
struct token_parts {
    struct uqm_place hidden, normed, q, k, v, inner, position;
};

struct generator {
    struct uqm_network *net;
    const struct uqm_generate_job *job;
    struct uqm_run run;
    struct uqm_sequence seq;
    struct uqm_head head;
    struct uqm_kv_cache cache;
    struct uqm_llama_plan plan; /* of the prefill */
    size_t n_positions;         /* prompt and new tokens */
    struct token_parts token;   /* in the prefill's place */
    struct uqm_place logits;
};

/* ---- memory ---- */

static uint64_t place_token(struct token_parts *t, const struct generator *g)
{
    const struct uqm_text_config *c = &g->net->config.text;
    const uint64_t q = (uint64_t) c->n_heads * c->head_dim;
    const uint64_t kv = (uint64_t) c->n_kv_heads * c->head_dim;
    const struct {
        struct uqm_place *place;
        uint64_t n_words;
    } parts[] = {
        { &t->hidden, c->hidden },
        { &t->normed, uqm_max_u64(c->hidden, q) },
        { &t->q, q },
        { &t->k, kv },
        { &t->v, kv },
        { &t->inner, c->inner },
        { &t->position, 1 },
    };
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].place = uqm_run_place(&g->run, at);
        at += uqm_part_words(parts[i].n_words);
    }
    return at;
}

static uint64_t plan_words(const struct generator *g)
{
    struct token_parts parts;
    return uqm_max_u64(uqm_llama_plan_words(&g->plan), place_token(&parts, g));
}

static uint64_t cache_words(const struct generator *g)
{
    const struct uqm_text_config *c = &g->net->config.text;
    return 2 * (uint64_t) c->n_layers *
           rows_words(g->n_positions, (size_t) c->n_kv_heads * c->head_dim);
}

static uint64_t total_bytes(const struct generator *g)
{
    const uint64_t vocab = uqm_part_words(g->net->config.text.vocab_size);
    return (plan_words(g) + vocab + uqm_part_words(cache_words(g))) * sizeof(float);
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

    g->logits = uqm_run_place(&g->run, plan_words(g));
    g->cache = (struct uqm_kv_cache){
        .device = g->run.device,
        .data = uqm_place_add(g->logits, uqm_part_words(config->text.vocab_size)),
        .n_positions = g->n_positions,
        .width = (size_t) config->text.n_kv_heads * config->text.head_dim,
    };
    place_token(&g->token, g);
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
        ret =
            uqm_splice_run(splice, &g->run, &weights, &l.parts, g->job->features, g->job->ctx, err);
    }
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++) {
        uqm_report(g->net->env, "reading the prompt", "layers", i, c->n_layers);
        ret = uqm_llama_layer(&l, i, err);
    }
    if (ret == UQM_OK)
        ret = uqm_head_run(&g->head, &g->run, &weights, g->logits, l.parts.normed, l.parts.hidden,
                           1, err);
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

static int linear1(struct step *s, struct uqm_place y, struct uqm_place x, size_t n, size_t k,
                   enum uqm_epilogue epilogue, struct uqm_err *err)
{
    const struct uqm_linear product = {
        .y = y,
        .x = x,
        .ldy = n,
        .ldx = k,
        .m = 1,
        .n = n,
        .k = k,
        .epilogue = epilogue,
        .skinny = true,
    };
    return uqm_weights_linear(&s->weights, &product, err);
}

static int norm1(struct step *s, struct uqm_err *err)
{
    struct uqm_run *run = &s->g->run;
    const struct uqm_text_config *c = &s->g->net->config.text;
    const struct uqm_norm args = {
        .y = s->g->token.normed,
        .x = s->g->token.hidden,
        .weight = run->norm_w,
        .eps = c->rms_eps,
        .n_rows = 1,
        .width = c->hidden,
    };
    int ret = uqm_weights_vector(&s->weights, run->norm_w, c->hidden, err);
    return ret < 0 ? ret : run->device->ops->norm(run->device, &args, err);
}

static int rotate1(struct step *s, struct uqm_place x, size_t n_heads, struct uqm_err *err)
{
    struct uqm_run *run = &s->g->run;
    const struct uqm_rotate args = {
        .x = x,
        .cos = run->cos,
        .sin = run->sin,
        .positions = s->g->token.position,
        .n_rows = 1,
        .n_heads = n_heads,
        .head_dim = s->g->net->config.text.head_dim,
    };
    return run->device->ops->rotate(run->device, &args, err);
}

/* The new position attends to all that the cache holds, itself included. */
static int attend1(struct step *s, uint32_t layer, struct uqm_err *err)
{
    struct generator *g = s->g;
    const struct uqm_text_config *c = &g->net->config.text;
    const size_t kv = g->cache.width, q = (size_t) c->n_heads * c->head_dim;
    const struct uqm_attend a = {
        .q = g->token.q,
        .k = cache_rows(&g->cache, layer, 0),
        .v = cache_rows(&g->cache, layer, 1),
        .out = g->token.normed,
        .ldq = q,
        .ldk = kv,
        .ldv = kv,
        .ldo = q,
        .half_kv = true,
        .n_q = 1,
        .n_kv = s->position + 1,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .scale = (float) (1.0 / sqrt((double) c->head_dim)),
        .causal = true,
    };
    int ret = rotate1(s, g->token.k, c->n_kv_heads, err);
    if (ret == UQM_OK)
        ret = rotate1(s, g->token.q, c->n_heads, err);
    if (ret == UQM_OK)
        ret = uqm_kv_store(&g->cache, layer, s->position, g->token.k, g->token.v, 1, err);
    return ret < 0 ? ret : g->run.device->ops->attend(g->run.device, &a, 1, err);
}

static int layer1(struct step *s, uint32_t layer, struct uqm_err *err)
{
    const struct generator *g = s->g;
    const struct token_parts *t = &g->token;
    const struct uqm_text_config *c = &g->net->config.text;
    const size_t h = c->hidden, q = (size_t) c->n_heads * c->head_dim, kv = g->cache.width;

    int ret = norm1(s, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->k, t->normed, kv, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->v, t->normed, kv, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->q, t->normed, q, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = attend1(s, layer, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->hidden, t->normed, h, q, UQM_EPI_ADD, err);
    if (ret == UQM_OK)
        ret = norm1(s, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->inner, t->normed, c->inner, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->inner, t->normed, c->inner, h, UQM_EPI_SILU_MUL, err);
    if (ret == UQM_OK)
        ret = linear1(s, t->hidden, t->inner, h, c->inner, UQM_EPI_ADD, err);
    return ret;
}

static int schedule_decode(struct uqm_schedule *schedule, struct generator *g, int32_t id,
                           struct uqm_err *err)
{
    const struct uqm_text_config *c = &g->net->config.text;
    int ret = uqm_schedule_rows(schedule, &g->net->embed, (uint64_t) id, 1, err);
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++)
        ret = uqm_llama_schedule_layer(schedule, c, i, 1, err);
    return ret < 0 ? ret : uqm_head_schedule(schedule, g->net, &g->head, err);
}

/* logits after token `id` at `position`. */
static int decode(struct generator *g, int32_t id, size_t position, struct uqm_err *err)
{
    struct uqm_device *device = g->run.device;
    const struct uqm_text_config *c = &g->net->config.text;
    const uint32_t at = (uint32_t) position;
    struct uqm_schedule schedule = { .source = g->net->source };
    struct step s = { .g = g, .position = position };

    int ret = schedule_decode(&schedule, g, id, err);
    if (ret == UQM_OK)
        ret = device->ops->upload(device, g->token.position, &at, 1, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(&g->run, &s.weights, &schedule, err);
    if (ret == UQM_OK)
        ret = uqm_weights_vector(&s.weights, g->token.hidden, c->hidden, err);
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++)
        ret = layer1(&s, i, err);
    if (ret == UQM_OK)
        ret = norm1(&s, err);
    if (ret == UQM_OK)
        ret = linear1(&s, g->logits, g->token.normed, c->vocab_size, c->hidden, UQM_EPI_STORE, err);
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

/* The last logits, in the run's stage. */
static int fetch_logits(struct generator *g, struct uqm_err *err)
{
    struct uqm_device *device = g->run.device;
    return device->ops->download(device, g->run.stage, g->logits, g->net->config.text.vocab_size,
                                 err);
}

static int generate(struct generator *g, int32_t *ids, size_t *n_ids, float *first_logits,
                    struct uqm_err *err)
{
    const struct uqm_model_config *c = &g->net->config;
    int ret = prefill(g, err);
    if (ret == UQM_OK)
        ret = fetch_logits(g, err);
    if (ret == UQM_OK && first_logits)
        memcpy(first_logits, g->run.stage, c->text.vocab_size * sizeof *first_logits);

    const size_t room = g->n_positions - g->seq.n_rows;
    while (ret == UQM_OK && *n_ids < room) {
        uqm_report(g->net->env, "answering", "tokens", *n_ids, room);
        const int32_t id = argmax(g->run.stage, c->n_real_tokens);
        if (id < 0)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: the logits of token %zu are not numbers",
                            g->net->source->name, *n_ids);
        if (is_eos(c, id))
            break;
        ids[(*n_ids)++] = id;
        if (*n_ids < room)
            ret = decode(g, id, g->seq.n_rows + *n_ids - 1, err);
        if (ret == UQM_OK && *n_ids < room)
            ret = fetch_logits(g, err);
    }
    return ret;
}

static int init_run(struct generator *g, const struct uqm_schedule *whole, struct uqm_err *err)
{
    const struct uqm_model_config *c = &g->net->config;
    const size_t picture = uqm_network_feature_rows(c) * c->vision.hidden;
    const struct uqm_run_needs needs = {
        .max_kv = g->n_positions,
        .n_positions = g->n_positions,
        .stage_elem = (size_t) uqm_max_u64(c->text.vocab_size, picture),
    };
    return uqm_run_init(&g->run, g->net, whole, &needs, err);
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
        ret = init_run(&g, &whole, err);
    if (ret == UQM_OK)
        ret = take_memory(&g, err);
    if (ret == UQM_OK)
        ret = generate(&g, ids, n_ids, first_logits, err);
    uqm_run_finish(&g.run);
    uqm_schedule_finish(&whole);
    uqm_head_finish(&g.head);
    return ret;
}
