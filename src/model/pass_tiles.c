/*
 * A pass in tiles: as many whole prompts as the activations' memory takes, every tile of the
 * weights applied to all of them as it comes in.
 */
#include <stdio.h>

#include "src/base/checked.h"
#include "src/model/pass.h"

/* One batch: prompts from some first one on. */
struct batch {
    struct uqm_llama_plan plan;
    uint64_t bytes; /* of the arena */
};

static uint64_t arena_bytes(const struct uqm_asking *a, const struct uqm_llama_plan *plan)
{
    const uint64_t logits = (uint64_t) plan->n_seqs * a->head.n_tokens;
    return (uqm_llama_plan_words(plan) + uqm_part_words(logits)) * sizeof(float);
}

/* The prompts from `first` on that fit together: none, if the first does not fit by itself, which
 * is tried with the MLP in pieces. */
static void choose_batch(struct batch *out, const struct uqm_asking *a, size_t first)
{
    const struct uqm_model_config *config = &a->net->config;
    const size_t per_picture = uqm_network_feature_rows(config);
    const size_t end = uqm_saved_limit(&a->saved, first, a->job->n_prompts);
    size_t n_rows = 0, pictures = 0;

    *out = (struct batch){ 0 };
    for (size_t i = first; i < end; i++) {
        const struct uqm_sequence *s = &a->seqs[i];
        struct uqm_llama_plan plan;
        uqm_llama_plan(&plan, config, n_rows + s->n_rows, i + 1 - first,
                       (pictures + s->n_pictures) * per_picture, false);
        if (arena_bytes(a, &plan) > a->room && i == first)
            uqm_llama_plan(&plan, config, s->n_rows, 1, s->n_pictures * per_picture, true);
        if (arena_bytes(a, &plan) > a->room)
            break;
        out->plan = plan;
        out->bytes = arena_bytes(a, &plan);
        n_rows += s->n_rows;
        pictures += s->n_pictures;
        if (out->bytes >= a->enough)
            break;
    }
}

size_t uqm_tiles_count(const struct uqm_asking *asking, size_t first)
{
    size_t n = 0;
    for (struct batch b; first < asking->job->n_prompts; first += b.plan.n_seqs, n++) {
        choose_batch(&b, asking, first);
        if (b.plan.n_seqs == 0)
            return 0;
    }
    return n;
}

uint64_t uqm_tiles_arena_bytes(const struct uqm_asking *asking, size_t first)
{
    struct batch b;
    choose_batch(&b, asking, first);
    return b.bytes;
}

static int no_room(const struct uqm_asking *a, size_t first, struct uqm_err *err)
{
    const struct uqm_model_config *config = &a->net->config;
    const struct uqm_sequence *s = &a->seqs[first];
    struct uqm_llama_plan alone;
    char what[64];
    uqm_llama_plan(&alone, config, s->n_rows, 1, s->n_pictures * uqm_network_feature_rows(config),
                   true);
    snprintf(what, sizeof what, "a prompt of %zu tokens", s->n_rows);
    return uqm_run_no_room(&a->run, arena_bytes(a, &alone), what, err);
}

static int save(struct uqm_asking *a, const struct uqm_llama *l, uint32_t n_behind,
                struct uqm_err *err)
{
    struct uqm_device *device = a->run.device;
    const size_t n_words = l->plan.n_rows * a->net->config.text.hidden;
    float *rows;
    int ret = uqm_saved_begin(&rows, a, l->plan.n_seqs, err);
    if (ret < 0 || !rows)
        return ret;
    ret = device->ops->download(device, rows, l->parts.hidden, n_words, err);
    if (ret == UQM_OK)
        uqm_saved_end(a, l->plan.n_seqs, n_behind);
    return ret;
}

static int run_layers(struct uqm_asking *a, struct uqm_llama *l, uint32_t first,
                      struct uqm_err *err)
{
    const uint32_t n_layers = a->net->config.text.n_layers;
    int ret = UQM_OK;
    for (uint32_t i = first; ret == UQM_OK && i < n_layers; i++) {
        uqm_asking_report(a, l->plan.n_seqs, i, n_layers);
        ret = uqm_llama_layer(l, i, err);
        if (ret == UQM_OK)
            ret = uqm_asking_observe(a, l->seqs, l->plan.n_seqs, l->parts.hidden, i + 1, err);
        if (ret == UQM_OK && uqm_saved_is_due(a, l->plan.n_seqs, i + 1))
            ret = save(a, l, i + 1, err);
    }
    return ret;
}

/* What a pass holds beside the arena. */
struct pass {
    uint32_t n_behind; /* layers that a pass before it has done */
    struct uqm_schedule schedule;
    struct uqm_weights weights;
    struct uqm_splice *splice;
    struct uqm_llama llama;
};

static int prepare(struct pass *p, struct uqm_asking *a, const struct batch *b, struct uqm_err *err)
{
    struct uqm_sequence *seqs = a->seqs + a->n_done;
    p->schedule.source = a->net->source;
    uqm_asking_place(seqs, b->plan.n_seqs);
    p->n_behind = uqm_saved_behind(&a->saved, a->n_done);
    int ret = UQM_OK;
    if (p->n_behind == 0)
        ret = uqm_splice_create(&p->splice, &p->schedule, a->net, seqs, b->plan.n_seqs, err);
    if (ret == UQM_OK)
        ret = uqm_llama_schedule(&p->schedule, &a->net->config.text, &b->plan, p->n_behind, err);
    if (ret == UQM_OK)
        ret = uqm_head_schedule(&p->schedule, a->net, &a->head, err);
    if (ret == UQM_OK)
        ret = uqm_run_take_arena(&a->run, b->bytes, "a batch of prompts", err);
    if (ret == UQM_OK)
        ret = uqm_llama_init(&p->llama, &a->run, &b->plan, NULL, seqs, a->job->seed, err);
    if (ret == UQM_OK)
        ret = uqm_run_open_ahead(
            &a->run, &p->weights, &p->schedule,
            uqm_run_ahead_bytes(&a->run, a->run.arena_bytes, uqm_schedule_bytes(&p->schedule)),
            err);
    p->llama.weights = &p->weights;
    return ret;
}

/* Hidden states before the first layer of the pass. */
static int begin(struct pass *p, struct uqm_asking *a, const struct batch *b, struct uqm_err *err)
{
    const struct uqm_parts *parts = &p->llama.parts;
    if (p->n_behind > 0)
        return uqm_saved_load(a, parts->hidden, a->n_done,
                              b->plan.n_rows * a->net->config.text.hidden, err);
    int ret =
        uqm_splice_run(p->splice, &a->run, &p->weights, parts, a->job->features, a->job->ctx, err);
    return ret < 0 ? ret
                   : uqm_asking_observe(a, p->llama.seqs, b->plan.n_seqs, parts->hidden, 0, err);
}

static int compute(struct pass *p, struct uqm_asking *a, const struct batch *b, struct uqm_err *err)
{
    const struct uqm_place logits = uqm_run_place(&a->run, uqm_llama_plan_words(&b->plan));
    int ret = begin(p, a, b, err);
    if (ret == UQM_OK)
        ret = run_layers(a, &p->llama, p->n_behind, err);
    if (ret == UQM_OK)
        ret = uqm_head_run(&a->head, &a->run, &p->weights, logits, p->llama.parts.normed,
                           p->llama.parts.hidden, b->plan.n_seqs, err);
    a->waited_s = p->weights.waited_s;
    return ret < 0 ? ret : uqm_asking_deliver(a, logits, b->plan.n_seqs, err);
}

int uqm_tiles_pass(struct uqm_asking *asking, struct uqm_err *err)
{
    struct pass p = { 0 };
    struct batch b;
    choose_batch(&b, asking, asking->n_done);
    if (b.plan.n_seqs == 0)
        return no_room(asking, asking->n_done, err);
    int ret = prepare(&p, asking, &b, err);
    if (ret == UQM_OK)
        ret = compute(&p, asking, &b, err);
    uqm_weights_close(&p.weights);
    uqm_llama_finish(&p.llama);
    uqm_splice_destroy(&p.splice);
    uqm_schedule_finish(&p.schedule);
    return ret;
}
