#include "src/model/decode.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/checked.h"

static size_t q_width(const struct uqm_text_config *c)
{
    return (size_t) c->n_heads * c->head_dim;
}

static size_t kv_width(const struct uqm_text_config *c)
{
    return (size_t) c->n_kv_heads * c->head_dim;
}

/* Lay the parts out from the arena's start; run NULL: only count. */
static uint64_t place_parts(struct uqm_decoder *d, const struct uqm_text_config *c, size_t rows)
{
    const struct {
        struct uqm_place *place;
        uint64_t width;
    } parts[] = {
        { &d->parts.hidden, c->hidden }, { &d->parts.normed, uqm_max_u64(c->hidden, q_width(c)) },
        { &d->q, q_width(c) },           { &d->k, kv_width(c) },
        { &d->v, kv_width(c) },          { &d->inner, c->inner },
        { &d->parts.index, 1 },          { &d->positions, 1 },
        { &d->logits, c->vocab_size },
    };
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (d->run)
            *parts[i].place = uqm_run_place(d->run, at);
        at += uqm_part_words(rows * parts[i].width);
    }
    d->parts.region = d->inner;
    return at;
}

uint64_t uqm_decoder_words(const struct uqm_text_config *config, size_t max_rows)
{
    struct uqm_decoder counted = { 0 };
    return place_parts(&counted, config, max_rows);
}

/* What of attention is the same in every layer and step. */
static void init_attention(struct uqm_decoder *d, const struct uqm_text_config *c)
{
    for (size_t i = 0; i < d->max_rows; i++)
        d->attention[i] = (struct uqm_attend){
            .q = uqm_place_add(d->q, i * q_width(c)),
            .out = uqm_place_add(d->parts.normed, i * q_width(c)),
            .ldq = q_width(c),
            .ldk = kv_width(c),
            .ldv = kv_width(c),
            .ldo = q_width(c),
            .half_kv = true,
            .n_q = 1,
            .n_heads = c->n_heads,
            .n_kv_heads = c->n_kv_heads,
            .head_dim = c->head_dim,
            .scale = (float) (1.0 / sqrt((double) c->head_dim)),
            .causal = true,
        };
}

int uqm_decoder_init(struct uqm_decoder *decoder, struct uqm_run *run, struct uqm_kv_cache *cache,
                     struct uqm_head *head, size_t max_rows, struct uqm_err *err)
{
    const struct uqm_text_config *c = &run->net->config.text;
    *decoder = (struct uqm_decoder){
        .run = run,
        .cache = cache,
        .head = head,
        .max_rows = max_rows,
        .attention = calloc(max_rows, sizeof *decoder->attention),
        .seqs = calloc(max_rows, sizeof *decoder->seqs),
        .words = calloc(max_rows, sizeof *decoder->words),
        .position_of = calloc(max_rows, sizeof *decoder->position_of),
    };
    if (!decoder->attention || !decoder->seqs || !decoder->words || !decoder->position_of)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu answers", max_rows);
    place_parts(decoder, c, max_rows);
    init_attention(decoder, c);
    return UQM_OK;
}

void uqm_decoder_finish(struct uqm_decoder *decoder)
{
    free(decoder->attention);
    free(decoder->seqs);
    free(decoder->words);
    free(decoder->position_of);
    *decoder = (struct uqm_decoder){ 0 };
}

/* ---- one token more ---- */

struct step {
    struct uqm_decoder *d;
    struct uqm_device *device;
    const struct uqm_text_config *config;
    const struct uqm_decode_token *tokens;
    size_t n;
    struct uqm_weights weights;
};

static int linear(struct step *s, struct uqm_place y, struct uqm_place x, size_t n, size_t k,
                  enum uqm_epilogue epilogue, struct uqm_err *err)
{
    const struct uqm_linear product = {
        .y = y,
        .x = x,
        .ldy = n,
        .ldx = k,
        .m = s->n,
        .n = n,
        .k = k,
        .epilogue = epilogue,
        .skinny = true,
    };
    return uqm_weights_linear(&s->weights, &product, err);
}

static int norm(struct step *s, struct uqm_err *err)
{
    struct uqm_run *run = s->d->run;
    const struct uqm_norm args = {
        .y = s->d->parts.normed,
        .x = s->d->parts.hidden,
        .weight = run->norm_w,
        .eps = s->config->rms_eps,
        .n_rows = s->n,
        .width = s->config->hidden,
    };
    int ret = uqm_weights_vector(&s->weights, run->norm_w, s->config->hidden, err);
    return ret < 0 ? ret : s->device->ops->norm(s->device, &args, err);
}

static int rotate(struct step *s, struct uqm_place x, size_t n_heads, struct uqm_err *err)
{
    const struct uqm_rotate args = {
        .x = x,
        .cos = s->d->run->cos,
        .sin = s->d->run->sin,
        .positions = s->d->positions,
        .n_rows = s->n,
        .n_heads = n_heads,
        .head_dim = s->config->head_dim,
    };
    return s->device->ops->rotate(s->device, &args, err);
}

/* The new positions into the cache; then each attends to all that its prompt holds there, itself
 * included. */
static int attend(struct step *s, uint32_t layer, struct uqm_err *err)
{
    struct uqm_decoder *d = s->d;
    const size_t kv = kv_width(s->config);
    int ret = rotate(s, d->k, s->config->n_kv_heads, err);
    if (ret == UQM_OK)
        ret = rotate(s, d->q, s->config->n_heads, err);
    for (size_t i = 0; ret == UQM_OK && i < s->n; i++) {
        const struct uqm_decode_token *t = &s->tokens[i];
        d->attention[i].n_kv = t->position + 1;
        d->attention[i].k = uqm_kv_keys(d->cache, layer, t->slot);
        d->attention[i].v = uqm_kv_values(d->cache, layer, t->slot);
        ret = uqm_kv_store(d->cache, layer, t->slot, t->position, uqm_place_add(d->k, i * kv),
                           uqm_place_add(d->v, i * kv), 1, err);
    }
    return ret < 0 ? ret : s->device->ops->attend(s->device, d->attention, s->n, err);
}

static int run_layer(struct step *s, uint32_t layer, struct uqm_err *err)
{
    const struct uqm_decoder *d = s->d;
    const struct uqm_place hidden = d->parts.hidden, normed = d->parts.normed;
    const size_t h = s->config->hidden, inner = s->config->inner;
    const size_t q = q_width(s->config), kv = kv_width(s->config);

    int ret = norm(s, err);
    if (ret == UQM_OK)
        ret = linear(s, d->k, normed, kv, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(s, d->v, normed, kv, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(s, d->q, normed, q, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = attend(s, layer, err);
    if (ret == UQM_OK)
        ret = linear(s, hidden, normed, h, q, UQM_EPI_ADD, err);
    if (ret == UQM_OK)
        ret = norm(s, err);
    if (ret == UQM_OK)
        ret = linear(s, d->inner, normed, inner, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(s, d->inner, normed, inner, h, UQM_EPI_SILU_MUL, err);
    if (ret == UQM_OK)
        ret = linear(s, hidden, d->inner, h, inner, UQM_EPI_ADD, err);
    return ret;
}

/* Each token is a sequence of one word. */
static int schedule_step(struct uqm_splice **splice, struct uqm_schedule *schedule, struct step *s,
                         struct uqm_err *err)
{
    struct uqm_decoder *d = s->d;
    for (size_t i = 0; i < s->n; i++) {
        d->words[i] = (struct uqm_llm_prompt){ .ids = &s->tokens[i].id, .n_ids = 1 };
        d->seqs[i] =
            (struct uqm_sequence){ .prompt = &d->words[i], .number = i, .n_rows = 1, .row = i };
        d->position_of[i] = (uint32_t) s->tokens[i].position;
    }
    int ret = uqm_splice_create(splice, schedule, d->run->net, d->seqs, s->n, err);
    for (uint32_t i = 0; ret == UQM_OK && i < s->config->n_layers; i++)
        ret = uqm_llama_schedule_layer(schedule, s->config, i, 1, err);
    return ret < 0 ? ret : uqm_head_schedule(schedule, d->run->net, d->head, err);
}

static int run_step(struct step *s, struct uqm_splice *splice, struct uqm_err *err)
{
    struct uqm_decoder *d = s->d;
    int ret = s->device->ops->upload(s->device, d->positions, d->position_of, s->n, err);
    if (ret == UQM_OK)
        ret = uqm_splice_run(splice, d->run, &s->weights, &d->parts, NULL, NULL, err);
    for (uint32_t i = 0; ret == UQM_OK && i < s->config->n_layers; i++)
        ret = run_layer(s, i, err);
    if (ret == UQM_OK)
        ret = norm(s, err);
    if (ret == UQM_OK)
        ret = linear(s, d->logits, d->parts.normed, s->config->vocab_size, s->config->hidden,
                     UQM_EPI_STORE, err);
    return ret;
}

int uqm_decoder_step(struct uqm_decoder *decoder, const struct uqm_decode_token *tokens, size_t n,
                     struct uqm_err *err)
{
    struct uqm_network *net = decoder->run->net;
    struct uqm_schedule schedule = { .source = net->source };
    struct uqm_splice *splice = NULL;
    struct step s = {
        .d = decoder,
        .device = decoder->run->device,
        .config = &net->config.text,
        .tokens = tokens,
        .n = n,
    };
    assert(n > 0 && n <= decoder->max_rows);
    int ret = schedule_step(&splice, &schedule, &s, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(decoder->run, &s.weights, &schedule, err);
    if (ret == UQM_OK)
        ret = run_step(&s, splice, err);
    uqm_weights_close(&s.weights);
    uqm_splice_destroy(&splice);
    uqm_schedule_finish(&schedule);
    return ret;
}
