/*
 * A pass in layers: group after group of weights is held in memory while batch after batch of
 * prompts goes through it. Group 0 makes the hidden states (projector and embedding, or what was
 * saved before the device was lost), then come the layers, whole or in their two halves; the head
 * takes the last rows of all prompts at once.
 */
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/held.h"
#include "src/model/pass.h"

struct pass {
    struct uqm_asking *a;
    struct uqm_pass_shape shape;
    struct uqm_batch_shape *batches; /* shape.n_batches */
    size_t *first;                   /* prompt of each batch, counted from the pass' first */
    size_t *rows;                    /* of each batch */
    uint32_t n_behind;               /* layers that a pass before it has done */
    struct uqm_schedule schedule;
    size_t *group_ends;
    size_t n_groups;
    struct uqm_splice *words; /* of all prompts */
    struct uqm_held *held;
    struct uqm_states *states;
    struct uqm_weights weights;
    struct uqm_place last, last_normed, logits; /* of all prompts */
};

static const struct uqm_text_config *text_of(const struct pass *p)
{
    return &p->a->net->config.text;
}

static struct uqm_sequence *seqs_of(const struct pass *p, size_t batch)
{
    return p->a->seqs + p->a->n_done + p->first[batch];
}

/* ---- before it begins ---- */

static int make_batches(struct pass *p, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const size_t n = p->shape.n_batches;
    p->batches = calloc(n, sizeof *p->batches);
    p->first = calloc(n, sizeof *p->first);
    p->rows = calloc(n, sizeof *p->rows);
    if (!p->batches || !p->first || !p->rows)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu batches of prompts", n);
    size_t at = 0;
    for (size_t b = 0; b < n; b++) {
        p->first[b] = at;
        uqm_plan_batch(&p->batches[b], &a->plan, &a->plan_job, a->n_done + at,
                       a->n_done + p->shape.n_seqs);
        p->rows[b] = p->batches[b].plan.n_rows;
        uqm_asking_place(a->seqs + a->n_done + at, p->batches[b].n_seqs);
        at += p->batches[b].n_seqs;
    }
    return UQM_OK;
}

/* Loads of all groups, and where each group ends. */
static int make_groups(struct pass *p, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const struct uqm_text_config *c = text_of(p);
    const bool halves = a->plan.groups_a_layer == 2;
    p->n_groups = 1 + (size_t) (c->n_layers - p->n_behind) * a->plan.groups_a_layer;
    p->group_ends = calloc(p->n_groups, sizeof *p->group_ends);
    if (!p->group_ends)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu groups of weights", p->n_groups);

    size_t group = 0;
    p->schedule.source = a->net->source;
    int ret = UQM_OK;
    if (p->n_behind == 0)
        ret = uqm_splice_create(&p->words, &p->schedule, a->net, a->seqs + a->n_done,
                                p->shape.n_seqs, err);
    p->group_ends[group++] = p->schedule.n;
    for (uint32_t i = p->n_behind; ret == UQM_OK && i < c->n_layers; i++) {
        ret = uqm_llama_schedule_attention(&p->schedule, c, i, err);
        if (halves)
            p->group_ends[group++] = p->schedule.n;
        if (ret == UQM_OK)
            ret = uqm_llama_schedule_mlp(&p->schedule, c, i, 1, err);
        p->group_ends[group++] = p->schedule.n;
    }
    return ret;
}

static int take_memory(struct pass *p, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const uint64_t last = uqm_plan_last_words(&a->plan_job, p->shape.n_seqs);
    int ret = uqm_run_take_arena(&a->run, (p->shape.work + p->shape.tail) * sizeof(float),
                                 "a batch of prompts", err);
    p->last = uqm_run_place(&a->run, p->shape.work);
    p->last_normed = uqm_place_add(p->last, last);
    p->logits = uqm_place_add(p->last_normed, last);
    const struct uqm_states_params params = {
        .env = a->net->env,
        .device = a->run.device,
        .kind = a->plan.states,
        .rows = p->rows,
        .n_batches = p->shape.n_batches,
        .width = text_of(p)->hidden,
        .scratch_dir = a->net->machine->scratch_dir,
    };
    return ret < 0 ? ret : uqm_states_create(&p->states, &params, err);
}

/* Tiles of the group that has the most; single rows are no products. */
static size_t most_tiles(const struct pass *p)
{
    size_t most = 0, load = 0;
    for (size_t g = 0; g < p->n_groups; g++) {
        size_t n = 0;
        for (; load < p->group_ends[g]; load++) {
            const struct uqm_load *l = &p->schedule.loads[load];
            const uint64_t rows = uqm_schedule_tile_rows(&p->schedule, l, p->a->run.tile_bytes);
            n += g > 0 && l->n_rows > 1 ? (size_t) ((l->n_rows + rows - 1) / rows) : 0;
        }
        most = n > most ? n : most;
    }
    return most;
}

/* With one batch each tile is asked for once only. */
static int hold_tiles(struct pass *p, size_t n_tiles, struct uqm_err *err)
{
    struct uqm_device *device = p->a->run.device;
    if (!device->ops->hold || p->shape.n_batches < 2)
        return UQM_OK;
    return device->ops->hold(device, n_tiles, err);
}

static int open_weights(struct pass *p, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const struct uqm_network *net = a->net;
    const struct uqm_held_params params = {
        .env = net->env,
        .source = net->source,
        .schedule = &p->schedule,
        .group_ends = p->group_ends,
        .n_groups = p->n_groups,
        .tile_bytes = a->run.tile_bytes,
        .stream_bytes = a->run.stream_bytes,
        .ring_bytes = a->plan.ring_bytes,
    };
    int ret = uqm_held_open(&p->held, &params, err);
    if (ret == UQM_OK)
        ret = hold_tiles(p, most_tiles(p), err);
    if (ret < 0)
        return ret;
    const struct uqm_weights_params weights = uqm_run_weights(&a->run, &p->schedule);
    uqm_weights_hold(&p->weights, &weights, p->held);
    return UQM_OK;
}

static int prepare(struct pass *p, struct uqm_err *err)
{
    int ret = make_batches(p, err);
    if (ret == UQM_OK)
        ret = make_groups(p, err);
    if (ret == UQM_OK)
        ret = take_memory(p, err);
    return ret < 0 ? ret : open_weights(p, err);
}

/* ---- one batch through one group ---- */

static bool is_last_group(const struct pass *p, size_t group)
{
    return group + 1 == p->n_groups;
}

/* Rows of a batch that are there before a group. */
static struct uqm_states_turn turn_of(const struct pass *p, size_t group, size_t batch)
{
    struct uqm_states_turn turn = { .batch = batch };
    if (group > 0)
        turn.n_rows = p->rows[batch];
    /* The last layer's first half leaves the last rows alone. */
    if (is_last_group(p, group) && p->a->plan.groups_a_layer == 2)
        turn.n_rows = p->batches[batch].n_seqs;
    return turn;
}

static int fetch(struct pass *p, struct uqm_place *hidden, size_t group, size_t batch,
                 struct uqm_err *err)
{
    const struct uqm_states_turn turn = turn_of(p, group, batch);
    struct uqm_states_turn next = { 0 };
    const bool is_end = batch + 1 == p->shape.n_batches;
    if (!is_end)
        next = turn_of(p, group, batch + 1);
    else if (!is_last_group(p, group))
        next = turn_of(p, group + 1, 0);
    return uqm_states_fetch(p->states, hidden, &turn, next.n_rows > 0 ? &next : NULL, err);
}

static int make_states(struct pass *p, size_t batch, const struct uqm_parts *parts,
                       struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const size_t n_seqs = p->batches[batch].n_seqs;
    struct uqm_splice *splice = NULL;
    if (p->n_behind > 0)
        return uqm_saved_load(a, parts->hidden, a->n_done + p->first[batch],
                              p->rows[batch] * text_of(p)->hidden, err);
    int ret = uqm_splice_create_part(&splice, p->words, a->net, seqs_of(p, batch), n_seqs, err);
    if (ret == UQM_OK)
        ret =
            uqm_splice_run(splice, &a->run, &p->weights, parts, a->job->features, a->job->ctx, err);
    uqm_splice_destroy(&splice);
    return ret < 0 ? ret : uqm_asking_observe(a, seqs_of(p, batch), n_seqs, parts->hidden, 0, err);
}

static int run_group(struct pass *p, size_t group, size_t batch, const struct uqm_parts *parts,
                     struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const struct uqm_batch_shape *b = &p->batches[batch];
    const size_t per_layer = a->plan.groups_a_layer, half = (group - 1) % per_layer;
    const uint32_t layer = p->n_behind + (uint32_t) ((group - 1) / per_layer);
    struct uqm_llama l;
    int ret = uqm_llama_init(&l, &a->run, &b->plan, parts, seqs_of(p, batch), a->job->seed, err);
    l.weights = &p->weights;
    if (ret == UQM_OK && half == 0)
        ret = uqm_llama_attention(&l, layer, err);
    if (ret == UQM_OK && half + 1 == per_layer)
        ret = uqm_llama_mlp(&l, layer, err);
    if (ret == UQM_OK && half + 1 == per_layer)
        ret = uqm_asking_observe(a, l.seqs, b->n_seqs, parts->hidden, layer + 1, err);
    uqm_llama_finish(&l);
    return ret;
}

/* The states stay for the next group, or their last rows for the head. */
static int keep(struct pass *p, size_t group, size_t batch, struct uqm_place hidden,
                struct uqm_err *err)
{
    struct uqm_device *device = p->a->run.device;
    const size_t width = text_of(p)->hidden, n_seqs = p->batches[batch].n_seqs;
    if (is_last_group(p, group))
        return device->ops->copy(device, uqm_place_add(p->last, p->first[batch] * width), hidden,
                                 n_seqs * width, err);
    const size_t n_rows = turn_of(p, group + 1, batch).n_rows;
    return uqm_states_keep(p->states, n_rows, err);
}

static int run_batch(struct pass *p, size_t group, size_t batch, struct uqm_err *err)
{
    const struct uqm_llama_plan *plan = &p->batches[batch].plan;
    struct uqm_parts parts = { .normed = uqm_run_place(&p->a->run, 0) };
    parts.region = uqm_place_add(parts.normed, plan->normed);
    parts.index = uqm_place_add(parts.region, plan->region);

    uqm_asking_report(p->a, p->shape.n_seqs, group * p->shape.n_batches + batch,
                      p->n_groups * p->shape.n_batches);
    uqm_weights_seek(&p->weights, group > 0 ? p->group_ends[group - 1] : 0);
    int ret = fetch(p, &parts.hidden, group, batch, err);
    if (ret == UQM_OK)
        ret = group == 0 ? make_states(p, batch, &parts, err)
                         : run_group(p, group, batch, &parts, err);
    return ret < 0 ? ret : keep(p, group, batch, parts.hidden, err);
}

/* ---- the pass ---- */

/* All batches behind a layer. */
static int save(struct pass *p, uint32_t n_behind, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    float *rows;
    int ret = uqm_saved_begin(&rows, a, p->shape.n_seqs, err);
    for (size_t b = 0; ret == UQM_OK && rows && b < p->shape.n_batches; b++) {
        ret = uqm_states_save(p->states, rows, b, p->rows[b], err);
        rows += p->rows[b] * text_of(p)->hidden;
    }
    if (ret == UQM_OK && rows)
        uqm_saved_end(a, p->shape.n_seqs, n_behind);
    return ret;
}

/* All batches of a scratch file. */
static int save_file(struct pass *p, uint32_t n_behind, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    const struct uqm_scratch *file;
    int ret = uqm_saved_begin_file(&file, a, p->shape.n_seqs, err);
    if (ret < 0 || !file)
        return ret;
    ret = uqm_states_save_file(p->states, file, err);
    if (ret == UQM_OK)
        uqm_saved_end(a, p->shape.n_seqs, n_behind);
    return ret;
}

static int save_if_due(struct pass *p, size_t group, struct uqm_err *err)
{
    const size_t per_layer = p->a->plan.groups_a_layer;
    const uint32_t n_behind = p->n_behind + (uint32_t) (group / per_layer);
    const bool whole = group > 0 && group % per_layer == 0;
    if (!whole || !uqm_saved_is_due(p->a, p->shape.n_seqs, n_behind))
        return UQM_OK;
    return p->a->plan.states == UQM_STATES_FILE ? save_file(p, n_behind, err)
                                                : save(p, n_behind, err);
}

static int run_groups(struct pass *p, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t g = 0; ret == UQM_OK && g < p->n_groups; g++) {
        ret = uqm_held_take(p->held, err);
        if (ret < 0)
            return ret;
        for (size_t b = 0; ret == UQM_OK && b < p->shape.n_batches; b++)
            ret = run_batch(p, g, b, err);
        uqm_weights_forget(&p->weights, g > 0 ? p->group_ends[g - 1] : 0, p->group_ends[g]);
        uqm_held_give(p->held);
        if (ret == UQM_OK)
            ret = save_if_due(p, g, err);
    }
    return ret;
}

static int run_head(struct pass *p, struct uqm_err *err)
{
    struct uqm_asking *a = p->a;
    struct uqm_schedule schedule = { .source = a->net->source };
    struct uqm_weights weights = { 0 };
    int ret = uqm_head_schedule(&schedule, a->net, &a->head, err);
    if (ret == UQM_OK)
        ret = uqm_run_open(&a->run, &weights, &schedule, err);
    if (ret == UQM_OK)
        ret = uqm_head_run(&a->head, &a->run, &weights, p->logits, p->last_normed, p->last,
                           p->shape.n_seqs, err);
    a->waited_s += weights.waited_s;
    uqm_weights_close(&weights);
    uqm_schedule_finish(&schedule);
    return ret;
}

static void log_waits(const struct pass *p)
{
    struct uqm_asking *a = p->a;
    const struct uqm_held_times times = uqm_held_times(p->held);
    const struct uqm_states_use use = uqm_states_use(p->states);
    a->waited_s = times.taker_s;
    uqm_log(a->net->env, UQM_LOG_DEBUG,
            "%zu prompts in %zu batches, hidden states %s: the reader waited %.2f s for room, "
            "computing %.2f s for weights",
            p->shape.n_seqs, p->shape.n_batches, uqm_states_kind_name(a->plan.states),
            times.reader_s, times.taker_s);
    if (use.bytes_moved > 0)
        uqm_log(a->net->env, UQM_LOG_DEBUG,
                "%.1f MiB of hidden states to the scratch file and back: waited %.2f s",
                (double) use.bytes_moved / 0x1p20, use.waited_s);
}

static void finish(struct pass *p)
{
    uqm_held_close(&p->held);
    uqm_states_destroy(&p->states);
    uqm_run_give_arena(&p->a->run);
    uqm_splice_destroy(&p->words);
    uqm_schedule_finish(&p->schedule);
    free(p->group_ends);
    free(p->batches);
    free(p->first);
    free(p->rows);
}

int uqm_layers_pass(struct uqm_asking *asking, struct uqm_err *err)
{
    struct pass p = { .a = asking, .n_behind = uqm_saved_behind(&asking->saved, asking->n_done) };
    asking->plan_job.n_seqs =
        uqm_saved_limit(&asking->saved, asking->n_done, asking->job->n_prompts);
    if (!uqm_plan_pass(&p.shape, &asking->plan, &asking->plan_job, asking->n_done))
        return uqm_fail(err, UQM_ERR_NOMEM, "--memory: a prompt of %zu tokens of %s does not fit",
                        asking->seqs[asking->n_done].n_rows, asking->net->source->name);
    int ret = prepare(&p, err);
    if (ret == UQM_OK)
        ret = run_groups(&p, err);
    if (ret == UQM_OK)
        log_waits(&p);
    uqm_held_close(&p.held); /* its memory is the head's, and that of the tiles too */
    if (ret == UQM_OK)
        ret = hold_tiles(&p, 0, err);
    if (ret == UQM_OK)
        ret = run_head(&p, err);
    if (ret == UQM_OK)
        ret = uqm_asking_deliver(asking, p.logits, p.shape.n_seqs, err);
    finish(&p);
    return ret;
}
