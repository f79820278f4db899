/*
 * First-token logits of many prompts, in batches of whole prompts: as many as the activations'
 * memory takes, one pass over the weights each.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/model/blocks.h"

struct state {
    struct uqm_network *net;
    const struct uqm_llm_job *job;
    struct uqm_run run;
    struct uqm_head head;
    struct uqm_sequence *seqs; /* one a prompt */
    uint64_t room;             /* bytes for the arena, at most */
    uint64_t enough;           /* and where a batch stops growing */
};

/* A batch whose activations are this many times the weights reads no less worth having when it
 * grows, and they leave the caches. */
enum { ENOUGH_TIMES = 8, ENOUGH_BYTES = 16 << 20 };

/* One batch: prompts [first, first + plan.n_seqs). */
struct batch {
    size_t first;
    struct uqm_llama_plan plan;
    uint64_t bytes; /* of the arena */
};

static uint64_t arena_bytes(const struct state *st, const struct uqm_llama_plan *plan)
{
    const uint64_t logits = (uint64_t) plan->n_seqs * st->head.n_tokens;
    return (uqm_llama_plan_words(plan) + uqm_part_words(logits)) * sizeof(float);
}

/* The prompts from `first` on that fit together. A prompt that does not fit by itself is tried
 * with the MLP in pieces. */
static int choose_batch(struct batch *out, struct state *st, size_t first, struct uqm_err *err)
{
    const struct uqm_model_config *config = &st->net->config;
    const size_t per_picture = uqm_network_feature_rows(config);
    size_t n_rows = 0, pictures = 0;

    *out = (struct batch){ .first = first };
    for (size_t i = first; i < st->job->n_prompts; i++) {
        const struct uqm_sequence *s = &st->seqs[i];
        struct uqm_llama_plan plan;
        uqm_llama_plan(&plan, config, n_rows + s->n_rows, i + 1 - first,
                       (pictures + s->n_pictures) * per_picture, false);
        if (arena_bytes(st, &plan) > st->room && i == first)
            uqm_llama_plan(&plan, config, s->n_rows, 1, s->n_pictures * per_picture, true);
        if (arena_bytes(st, &plan) > st->room)
            break;
        out->plan = plan;
        out->bytes = arena_bytes(st, &plan);
        n_rows += s->n_rows;
        pictures += s->n_pictures;
        if (out->bytes >= st->enough)
            break;
    }
    if (out->plan.n_seqs > 0)
        return UQM_OK;
    struct uqm_llama_plan alone;
    const struct uqm_sequence *s = &st->seqs[first];
    uqm_llama_plan(&alone, config, s->n_rows, 1, s->n_pictures * per_picture, true);
    char what[64];
    snprintf(what, sizeof what, "a prompt of %zu tokens", s->n_rows);
    return uqm_run_no_room(&st->run, arena_bytes(st, &alone), what, err);
}

/* Deal the rows out: where each sequence begins. */
static void place(struct uqm_sequence *seqs, size_t n_seqs)
{
    size_t row = 0;
    for (size_t i = 0; i < n_seqs; i++) {
        seqs[i].row = row;
        row += seqs[i].n_rows;
    }
}

/* What tests look at; the copy is not the budget's. */
static int observe(const struct state *st, const struct uqm_llama *l, uint32_t layer,
                   struct uqm_err *err)
{
    const struct uqm_text_config *c = &st->net->config.text;
    struct uqm_device *device = st->run.device;
    const bool last = layer == c->n_layers;
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && st->job->observe && i < l->plan.n_seqs; i++) {
        const size_t first = last ? i : l->seqs[i].row, n_rows = last ? 1 : l->seqs[i].n_rows;
        float *hidden = malloc(n_rows * c->hidden * sizeof *hidden);
        if (!hidden)
            return uqm_fail(err, UQM_ERR_NOMEM, "no memory to look at %zu rows", n_rows);
        ret =
            device->ops->download(device, hidden, uqm_place_add(l->parts.hidden, first * c->hidden),
                                  n_rows * c->hidden, err);
        if (ret == UQM_OK)
            st->job->observe(st->job->ctx, l->seqs[i].number, layer, hidden, n_rows);
        free(hidden);
    }
    return ret;
}

static int run_layers(struct state *st, struct uqm_llama *l, size_t first, struct uqm_err *err)
{
    const uint32_t n_layers = st->net->config.text.n_layers;
    int ret = observe(st, l, 0, err);
    for (uint32_t i = 0; ret == UQM_OK && i < n_layers; i++) {
        uqm_report(st->net->env, st->job->stage, "prompts", first + l->plan.n_seqs * i / n_layers,
                   st->job->n_prompts);
        ret = uqm_llama_layer(l, i, err);
        if (ret == UQM_OK)
            ret = observe(st, l, i + 1, err);
    }
    return ret;
}

/* Through the stage, as many prompts at a time as it takes. */
static int deliver(const struct state *st, const struct batch *b, struct uqm_place logits,
                   struct uqm_err *err)
{
    struct uqm_device *device = st->run.device;
    const size_t n_tokens = st->head.n_tokens, at_once = st->run.stage_elem / n_tokens;
    for (size_t i = 0; i < b->plan.n_seqs; i++) {
        const size_t n = (size_t) uqm_min_u64(at_once, b->plan.n_seqs - i), k = i % at_once;
        int ret = UQM_OK;
        if (k == 0)
            ret = device->ops->download(device, st->run.stage, uqm_place_add(logits, i * n_tokens),
                                        n * n_tokens, err);
        if (ret == UQM_OK)
            ret = st->job->logits(st->job->ctx, b->first + i, st->run.stage + k * n_tokens, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int run_batch(struct state *st, const struct batch *b, struct uqm_err *err)
{
    const struct uqm_text_config *c = &st->net->config.text;
    struct uqm_schedule schedule = { .source = st->net->source };
    struct uqm_weights weights = { 0 };
    struct uqm_splice *splice = NULL;
    struct uqm_llama l = { 0 };
    struct uqm_sequence *seqs = st->seqs + b->first;
    const struct uqm_place logits = uqm_run_place(&st->run, uqm_llama_plan_words(&b->plan));

    place(seqs, b->plan.n_seqs);
    int ret = uqm_splice_create(&splice, &schedule, st->net, seqs, b->plan.n_seqs, err);
    if (ret == UQM_OK)
        ret = uqm_llama_schedule(&schedule, c, &b->plan, err);
    if (ret == UQM_OK)
        ret = uqm_head_schedule(&schedule, st->net, &st->head, err);
    if (ret == UQM_OK)
        ret = uqm_llama_init(&l, &st->run, &b->plan, seqs, st->job->seed, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(&st->run, &weights, &schedule, err);
    if (ret == UQM_OK) {
        l.weights = &weights;
        ret = uqm_splice_run(splice, &st->run, &weights, &l.parts, st->job->features, st->job->ctx,
                             err);
    }
    if (ret == UQM_OK)
        ret = run_layers(st, &l, b->first, err);
    if (ret == UQM_OK)
        ret = uqm_head_run(&st->head, &st->run, &weights, logits, l.parts.normed, l.parts.hidden,
                           b->plan.n_seqs, err);
    uqm_weights_close(&weights);
    uqm_llama_finish(&l);
    uqm_splice_destroy(&splice);
    uqm_schedule_finish(&schedule);
    if (ret == UQM_OK)
        ret = deliver(st, b, logits, err);
    return ret;
}

/* The arena of the largest batch, then batch by batch. */
static int run_batches(struct state *st, struct uqm_err *err)
{
    const size_t n = st->job->n_prompts;
    struct batch b = { 0 };
    uint64_t most = 0;
    int ret;

    st->room = uqm_run_arena_room(&st->run);
    for (size_t first = 0; first < n; first += b.plan.n_seqs) {
        ret = choose_batch(&b, st, first, err);
        if (ret < 0)
            return ret;
        most = uqm_max_u64(most, b.bytes);
    }
    ret = uqm_run_take_arena(&st->run, most, "a batch of prompts", err);
    for (size_t first = 0; ret == UQM_OK && first < n; first += b.plan.n_seqs) {
        ret = choose_batch(&b, st, first, err);
        if (ret == UQM_OK)
            ret = run_batch(st, &b, err);
    }
    if (ret == UQM_OK)
        uqm_report(st->net->env, st->job->stage, "prompts", n, n);
    return ret;
}

static int measure(struct state *st, size_t *longest, struct uqm_err *err)
{
    const struct uqm_llm_job *job = st->job;
    st->seqs = calloc(job->n_prompts, sizeof *st->seqs);
    if (!st->seqs)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu prompts", job->n_prompts);
    for (size_t i = 0; i < job->n_prompts; i++) {
        int ret = uqm_sequence_init(&st->seqs[i], st->net, &job->prompts[i], i, err);
        if (ret < 0)
            return ret;
        if (st->seqs[i].n_rows > *longest)
            *longest = st->seqs[i].n_rows;
    }
    return UQM_OK;
}

static int init_run(struct state *st, const struct uqm_schedule *whole, size_t longest,
                    struct uqm_err *err)
{
    const struct uqm_model_config *c = &st->net->config;
    const size_t picture = uqm_network_feature_rows(c) * c->vision.hidden;
    const struct uqm_run_needs needs = {
        .max_kv = longest,
        .n_positions = longest,
        .stage_elem = (size_t) uqm_max_u64(st->head.n_tokens, picture),
        .other_bytes = st->head.rows_bytes,
    };
    return uqm_run_init(&st->run, st->net, whole, &needs, err);
}

int uqm_network_logits(struct uqm_network *network, const struct uqm_llm_job *job,
                       struct uqm_err *err)
{
    struct state st = { .net = network, .job = job };
    struct uqm_schedule whole = { .source = network->source };
    size_t longest = 0;

    if (job->n_prompts == 0)
        return UQM_OK;
    int ret = uqm_head_init(&st.head, network, job->tokens, job->n_tokens, err);
    if (ret == UQM_OK)
        ret = measure(&st, &longest, err);
    if (ret == UQM_OK)
        ret = uqm_network_schedule_text(&whole, network, err);
    st.enough = uqm_max_u64(ENOUGH_BYTES, ENOUGH_TIMES * uqm_schedule_bytes(&whole));
    if (ret == UQM_OK)
        ret = init_run(&st, &whole, longest, err);
    if (ret == UQM_OK)
        ret = run_batches(&st, err);
    uqm_run_finish(&st.run);
    uqm_schedule_finish(&whole);
    uqm_head_finish(&st.head);
    free(st.seqs);
    return ret;
}
