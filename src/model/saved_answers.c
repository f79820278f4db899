/* A layer's caches lie in the saved block as in its memory on the device. */
#include "src/model/saved_answers.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

enum { EVERY_TOKENS = 8 };

bool uqm_saved_answers_has(const struct uqm_saved_answers *saved, size_t first)
{
    return saved->is_set && saved->group.first == first;
}

bool uqm_saved_answers_is_due(const struct uqm_answering *answering)
{
    const struct uqm_generator *g = answering->g;
    const size_t every = g->job->save_every ? g->job->save_every : EVERY_TOKENS;
    return uqm_device_may_fail(g->run.device) && !g->saved.off && answering->n_steps % every == 0;
}

void uqm_saved_answers_finish(struct uqm_saved_answers *saved, struct uqm_env *env)
{
    void *block = saved->kv;
    uqm_budget_free(&block, env, saved->bytes);
    free(saved->answers);
    free(saved->tokens);
    free(saved->ids);
    free(saved->n_rows);
    *saved = (struct uqm_saved_answers){ .off = saved->off };
}

/* ---- memory ---- */

/* An eighth stays free for what a device makes when it first needs it. */
static bool has_room(const struct uqm_generator *g, uint64_t bytes)
{
    const struct uqm_env *env = g->net.env;
    const uint64_t left = uqm_budget_left(env), share = g->given->memory_bytes;
    const uint64_t used = g->left_before > left ? g->left_before - left : 0;
    return bytes <= SIZE_MAX && used + bytes + share / 8 <= share &&
           bytes + env->budget.limit_bytes / 8 <= left;
}

static bool take_room(struct uqm_answering *a)
{
    struct uqm_generator *g = a->g;
    struct uqm_saved_answers *s = &g->saved;
    const size_t n = a->group->n;
    const uint64_t words =
        a->cache.n_layers * uqm_kv_layer_words(&g->net.config.text, a->cache.first_row[n]);
    const uint64_t bytes = words * sizeof(uint32_t);
    struct uqm_err err = { 0 };
    void *block;
    if (s->kv && s->group.first == a->group->first)
        return true;
    uqm_saved_answers_finish(s, g->net.env);
    if (!has_room(g, bytes) ||
        uqm_budget_alloc(&block, g->net.env, (size_t) bytes, 64, "saved answers", &err) < 0)
        return false;
    s->kv = block;
    s->bytes = (size_t) bytes;
    s->group = *a->group;
    s->answers = calloc(n, sizeof *s->answers);
    s->tokens = calloc(n, sizeof *s->tokens);
    s->ids = calloc(a->n_ids + 1, sizeof *s->ids);
    s->n_rows = calloc(n, sizeof *s->n_rows);
    if (s->answers && s->tokens && s->ids && s->n_rows)
        return true;
    uqm_saved_answers_finish(s, g->net.env);
    return false;
}

static uint32_t *words_of_layer(const struct uqm_answering *a, uint32_t layer)
{
    const uint64_t words =
        uqm_kv_layer_words(&a->g->net.config.text, a->cache.first_row[a->group->n]);
    return a->g->saved.kv + layer * words;
}

/* ---- there and back ---- */

/* What a slot has read since it was saved. */
static int put_rows(const struct uqm_answering *a, size_t slot, size_t end, struct uqm_err *err)
{
    struct uqm_device *device = a->g->run.device;
    const size_t from = a->g->saved.n_rows[slot];
    const uint64_t at = from * a->cache.width / 2;
    const size_t n = (end - from) * a->cache.width / 2;
    int ret = UQM_OK;
    for (uint32_t i = 0; ret == UQM_OK && n > 0 && i < a->cache.n_layers; i++) {
        const struct uqm_place k = uqm_place_add(uqm_kv_keys(&a->cache, i, slot), at);
        const struct uqm_place v = uqm_place_add(uqm_kv_values(&a->cache, i, slot), at);
        ret = device->ops->download(device, words_of_layer(a, i) + k.at, k, n, err);
        if (ret == UQM_OK)
            ret = device->ops->download(device, words_of_layer(a, i) + v.at, v, n, err);
    }
    return ret;
}

int uqm_saved_answers_put(struct uqm_answering *answering, size_t n_prefilled, struct uqm_err *err)
{
    struct uqm_answering *a = answering;
    struct uqm_saved_answers *s = &a->g->saved;
    if (!take_room(a))
        return UQM_OK;
    /* A complete answer's rows are not read again. */
    for (size_t i = 0; i < a->n_tokens; i++) {
        int ret = put_rows(a, a->tokens[i].slot, a->tokens[i].position, err);
        if (ret < 0)
            return ret;
    }
    for (size_t i = 0; i < a->n_tokens; i++)
        s->n_rows[a->tokens[i].slot] = a->tokens[i].position;
    memcpy(s->tokens, a->tokens, a->n_tokens * sizeof *s->tokens);
    memcpy(s->answers, a->answers, a->group->n * sizeof *s->answers);
    memcpy(s->ids, a->ids, a->n_ids * sizeof *s->ids);
    s->n_tokens = a->n_tokens;
    s->n_steps = a->n_steps;
    s->n_prefilled = n_prefilled;
    s->is_set = true;
    return UQM_OK;
}

int uqm_saved_answers_take(struct uqm_answering *answering, size_t *n_prefilled,
                           struct uqm_err *err)
{
    struct uqm_answering *a = answering;
    const struct uqm_saved_answers *s = &a->g->saved;
    struct uqm_device *device = a->g->run.device;
    const size_t n_words =
        (size_t) uqm_kv_layer_words(&a->g->net.config.text, a->cache.first_row[a->group->n]);
    int ret = UQM_OK;
    for (uint32_t i = 0; ret == UQM_OK && i < a->cache.n_layers; i++)
        ret = device->ops->upload(device, (struct uqm_place){ a->cache.layers[i], 0 },
                                  words_of_layer(a, i), n_words, err);
    for (size_t i = 0; i < a->group->n; i++) {
        a->answers[i].n = s->answers[i].n;
        a->answers[i].complete = s->answers[i].complete;
    }
    memcpy(a->ids, s->ids, a->n_ids * sizeof *a->ids);
    memcpy(a->tokens, s->tokens, s->n_tokens * sizeof *a->tokens);
    a->n_tokens = s->n_tokens;
    a->n_steps = s->n_steps;
    *n_prefilled = s->n_prefilled;
    uqm_log(a->g->net.env, UQM_LOG_DEBUG, "%s: going on behind %zu prompts and %zu tokens",
            a->g->given->source->name, s->n_prefilled, s->n_steps);
    return ret;
}
