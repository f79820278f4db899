/* One group: its prefill in batches, then token by token. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/saved_answers.h"

/* ---- prefill ---- */

static int32_t argmax(const float *logits, const struct uqm_model_config *c)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < c->text.vocab_size; i++)
        if (uqm_model_config_says(c, i) && !isnan(logits[i]) &&
            (best < 0 || logits[i] > logits[best]))
            best = (int32_t) i;
    return best;
}

/* The largest logit's token (lowest id on ties, NaN never) becomes the answer's next; it is read
 * again if there is room for another. */
static int take_token(struct uqm_answering *a, size_t slot, const float *logits,
                      struct uqm_err *err)
{
    struct uqm_generator *g = a->g;
    const size_t prompt = a->group->first + slot;
    struct uqm_answer *answer = &a->answers[slot];
    const int32_t id = argmax(logits, &g->net.config);
    if (id < 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: the logits of token %zu are not numbers",
                        g->net.source->name, answer->n);
    if (uqm_model_config_is_eos(&g->net.config, (uint32_t) id)) {
        answer->complete = true;
        return UQM_OK;
    }
    answer->ids[answer->n++] = id;
    answer->complete = answer->n == g->n_new[prompt];
    if (!answer->complete)
        a->tokens[a->n_tokens++] = (struct uqm_decode_token){
            .slot = slot,
            .position = g->seqs[prompt].n_rows + answer->n - 1,
            .id = id,
        };
    return UQM_OK;
}

/* Row i of the logits is slot_of[i]'s, or that of first_slot + i. */
static int take_tokens(struct uqm_answering *a, struct uqm_place logits, size_t first_slot,
                       const struct uqm_decode_token *read, size_t n, struct uqm_err *err)
{
    struct uqm_generator *g = a->g;
    struct uqm_device *device = g->run.device;
    const size_t vocab = g->net.config.text.vocab_size;
    const size_t at_once = g->run.stage_elem / vocab;
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < n; i += at_once) {
        const size_t some = (size_t) uqm_min_u64(at_once, n - i);
        ret = device->ops->download(device, g->run.stage, uqm_place_add(logits, i * vocab),
                                    some * vocab, err);
        for (size_t k = 0; ret == UQM_OK && k < some; k++) {
            const size_t slot = read ? read[i + k].slot : first_slot + i + k;
            const float *row = g->run.stage + k * vocab;
            if (!read && g->job->first_logits)
                ret = g->job->first_logits(g->job->ctx, a->group->first + slot, row, err);
            if (ret == UQM_OK && g->n_new[a->group->first + slot] > 0)
                ret = take_token(a, slot, row, err);
        }
    }
    return ret;
}

/* Deal the rows out: where each sequence begins. */
static void place_rows(struct uqm_sequence *seqs, size_t n)
{
    size_t row = 0;
    for (size_t i = 0; i < n; i++) {
        seqs[i].row = row;
        row += seqs[i].n_rows;
    }
}

static void report_prefill(const struct uqm_answering *a, const struct uqm_prompt_batch *b,
                           uint32_t layer)
{
    const struct uqm_generator *g = a->g;
    const uint32_t n_layers = g->net.config.text.n_layers;
    if (g->job->n_prompts == 1)
        uqm_report(g->net.env, "reading the prompt", "layers", layer, n_layers);
    else /* a pass like each of the steps that follow */
        uqm_report(g->net.env, g->job->stage, "prompts",
                   a->group->first +
                       (b->first - a->group->first + b->plan.n_seqs * layer / n_layers) /
                           (a->most_steps + 1),
                   g->job->n_prompts);
}

static int run_layers(const struct uqm_answering *a, struct uqm_llama *l,
                      const struct uqm_prompt_batch *b, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (uint32_t i = 0; ret == UQM_OK && i < a->g->net.config.text.n_layers; i++) {
        report_prefill(a, b, i);
        ret = uqm_llama_layer(l, i, err);
    }
    return ret;
}

static int prefill(struct uqm_answering *a, const struct uqm_prompt_batch *b, struct uqm_err *err)
{
    struct uqm_generator *g = a->g;
    struct uqm_schedule schedule = { .source = g->net.source };
    struct uqm_weights weights = { 0 };
    struct uqm_splice *splice = NULL;
    struct uqm_llama l = { 0 };
    struct uqm_sequence *seqs = g->seqs + b->first;
    const struct uqm_place logits = uqm_run_place(&g->run, uqm_llama_plan_words(&b->plan));

    place_rows(seqs, b->plan.n_seqs);
    int ret = uqm_splice_create(&splice, &schedule, &g->net, seqs, b->plan.n_seqs, err);
    if (ret == UQM_OK)
        ret = uqm_llama_schedule(&schedule, &g->net.config.text, &b->plan, 0, err);
    if (ret == UQM_OK)
        ret = uqm_head_schedule(&schedule, &g->net, &g->head, err);
    if (ret == UQM_OK)
        ret = uqm_llama_init(&l, &g->run, &b->plan, NULL, seqs, g->job->seed, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(&g->run, &weights, &schedule, err);
    if (ret == UQM_OK) {
        l.weights = &weights;
        l.cache = &a->cache;
        l.first_slot = b->first - a->group->first;
        ret =
            uqm_splice_run(splice, &g->run, &weights, &l.parts, g->job->features, g->job->ctx, err);
    }
    if (ret == UQM_OK)
        ret = run_layers(a, &l, b, err);
    if (ret == UQM_OK)
        ret = uqm_head_run(&g->head, &g->run, &weights, logits, l.parts.normed, l.parts.hidden,
                           b->plan.n_seqs, err);
    uqm_weights_close(&weights);
    uqm_llama_finish(&l);
    uqm_splice_destroy(&splice);
    uqm_schedule_finish(&schedule);
    if (ret == UQM_OK)
        ret = take_tokens(a, logits, b->first - a->group->first, NULL, b->plan.n_seqs, err);
    return ret;
}

/* Batches of which `from` says that a run before has read them are passed over: they are dealt out
 * as they were then. */
static int prefill_and_save(struct uqm_answering *a, const struct uqm_prompt_batch *b, size_t from,
                            struct uqm_err *err)
{
    const size_t end = b->first + b->plan.n_seqs - a->group->first;
    if (end <= from)
        return UQM_OK;
    int ret = prefill(a, b, err);
    return ret == UQM_OK && uqm_saved_answers_is_due(a) ? uqm_saved_answers_put(a, end, err) : ret;
}

static int prefill_group(struct uqm_answering *a, size_t from, struct uqm_err *err)
{
    const struct uqm_prompt_group *group = a->group;
    struct uqm_prompt_batch b = { 0 };
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < group->n; i++) {
        struct uqm_prompt_batch next = b;
        uqm_prompt_batch_add(&next, a->g, group->first + i, group->tight);
        if (i > 0 && next.first != b.first)
            ret = prefill_and_save(a, &b, from, err);
        b = next;
    }
    return ret < 0 ? ret : prefill_and_save(a, &b, from, err);
}

/* ---- token by token ---- */

static void report_step(const struct uqm_answering *a)
{
    const struct uqm_generator *g = a->g;
    if (g->job->n_prompts == 1)
        uqm_report(g->net.env, g->job->stage, "tokens", a->n_steps, a->most_steps);
    else
        uqm_report(g->net.env, g->job->stage, "prompts",
                   a->group->first + a->group->n * (a->n_steps + 1) / (a->most_steps + 1),
                   g->job->n_prompts);
}

/* Whoever's answer is complete is not among the tokens any more. */
static int run_steps(struct uqm_answering *a, struct uqm_err *err)
{
    struct uqm_decode_token *read = malloc(a->group->n * sizeof *read);
    int ret =
        read ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu answers", a->group->n);
    while (ret == UQM_OK && a->n_tokens > 0) {
        const size_t n = a->n_tokens;
        report_step(a);
        memcpy(read, a->tokens, n * sizeof *read);
        a->n_tokens = 0;
        a->n_steps++;
        ret = uqm_decoder_step(&a->decoder, read, n, err);
        if (ret == UQM_OK)
            ret = take_tokens(a, a->decoder.logits, 0, read, n, err);
        if (ret == UQM_OK && a->n_tokens > 0 && uqm_saved_answers_is_due(a))
            ret = uqm_saved_answers_put(a, a->group->n, err);
    }
    free(read);
    return ret;
}

static int deliver(const struct uqm_answering *a, struct uqm_err *err)
{
    const struct uqm_generate_job *job = a->g->job;
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < a->group->n; i++) {
        ret = job->answer(job->ctx, a->group->first + i, a->answers[i].ids, a->answers[i].n, err);
        a->g->n_answered += ret == UQM_OK;
    }
    return ret;
}

/* ---- one group ---- */

static int answering_init(struct uqm_answering *a, struct uqm_err *err)
{
    const struct uqm_generator *g = a->g;
    const size_t n = a->group->n;
    for (size_t i = 0; i < n; i++) {
        a->n_ids += g->n_new[a->group->first + i];
        a->most_steps = (size_t) uqm_max_u64(a->most_steps, g->n_new[a->group->first + i]);
    }
    a->answers = calloc(n, sizeof *a->answers);
    a->tokens = calloc(n, sizeof *a->tokens);
    a->n_positions = calloc(n, sizeof *a->n_positions);
    a->ids = calloc(a->n_ids + 1, sizeof *a->ids);
    if (!a->answers || !a->tokens || !a->n_positions || !a->ids)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu answers", n);
    int32_t *ids = a->ids;
    for (size_t i = 0; i < n; i++) {
        a->answers[i].ids = ids;
        a->n_positions[i] = uqm_prompt_positions(g, a->group->first + i);
        ids += g->n_new[a->group->first + i];
    }
    return UQM_OK;
}

static int take_memory(struct uqm_answering *a, struct uqm_err *err)
{
    struct uqm_generator *g = a->g;
    int ret =
        uqm_run_take_arena(&g->run, a->group->arena * sizeof(float), "a group of prompts", err);
    if (ret == UQM_OK)
        ret = uqm_kv_cache_init(&a->cache, g->run.device, &g->net.config.text, a->n_positions,
                                a->group->n, err);
    if (ret == UQM_OK)
        ret = uqm_decoder_init(&a->decoder, &g->run, &a->cache, &g->head, a->group->n, err);
    return ret;
}

int uqm_answer_group(struct uqm_generator *g, const struct uqm_prompt_group *group,
                     struct uqm_err *err)
{
    struct uqm_answering a = { .g = g, .group = group };
    size_t n_prefilled = 0;
    int ret = answering_init(&a, err);
    if (ret == UQM_OK)
        ret = take_memory(&a, err);
    if (ret == UQM_OK && uqm_saved_answers_has(&g->saved, group->first))
        ret = uqm_saved_answers_take(&a, &n_prefilled, err);
    if (ret == UQM_OK)
        ret = prefill_group(&a, n_prefilled, err);
    if (ret == UQM_OK)
        ret = run_steps(&a, err);
    if (ret == UQM_OK)
        ret = deliver(&a, err);
    uqm_decoder_finish(&a.decoder);
    uqm_kv_cache_finish(&a.cache);
    g->run.device->ops->free(g->run.device, &g->run.arena);
    free(a.answers);
    free(a.tokens);
    free(a.n_positions);
    free(a.ids);
    return ret;
}
