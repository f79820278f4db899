/*
 * First-token logits of many prompts: a plan, then pass after pass over the weights. A device that
 * fails gets less to do, is made anew, or is given up, and the prompts that are left go on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/base/clock.h"
#include "src/model/held.h"
#include "src/model/memory_plan.h"
#include "src/model/pass.h"
#include "src/model/recover.h"

/* A batch whose activations are this many times the weights reads no less worth having when it
 * grows, and they leave the caches. */
enum { ENOUGH_TIMES = 8, ENOUGH_BYTES = 16 << 20 };

/* ---- shared by both kinds of passes ---- */

void uqm_asking_place(struct uqm_sequence *seqs, size_t n_seqs)
{
    size_t row = 0;
    for (size_t i = 0; i < n_seqs; i++) {
        seqs[i].row = row;
        row += seqs[i].n_rows;
    }
}

void uqm_asking_report(const struct uqm_asking *asking, size_t n_seqs, size_t done, size_t total)
{
    uqm_report(asking->net->env, asking->job->stage, "prompts",
               asking->n_done + n_seqs * done / total, asking->job->n_prompts);
}

/* What tests look at; the copy is not the budget's. */
int uqm_asking_observe(const struct uqm_asking *asking, const struct uqm_sequence *seqs,
                       size_t n_seqs, struct uqm_place hidden, uint32_t layer, struct uqm_err *err)
{
    const struct uqm_llm_job *job = asking->job;
    const struct uqm_text_config *c = &asking->net->config.text;
    struct uqm_device *device = asking->run.device;
    const bool last = layer == c->n_layers;
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && job->observe && i < n_seqs; i++) {
        const size_t first = last ? i : seqs[i].row, n_rows = last ? 1 : seqs[i].n_rows;
        float *copy = malloc(n_rows * c->hidden * sizeof *copy);
        if (!copy)
            return uqm_fail(err, UQM_ERR_NOMEM, "no memory to look at %zu rows", n_rows);
        ret = device->ops->download(device, copy, uqm_place_add(hidden, first * c->hidden),
                                    n_rows * c->hidden, err);
        if (ret == UQM_OK)
            job->observe(job->ctx, seqs[i].number, layer, copy, n_rows);
        free(copy);
    }
    return ret;
}

/* Through the stage, as many prompts at a time as it takes. */
int uqm_asking_deliver(struct uqm_asking *asking, struct uqm_place logits, size_t n_seqs,
                       struct uqm_err *err)
{
    const struct uqm_llm_job *job = asking->job;
    struct uqm_run *run = &asking->run;
    const size_t n_tokens = asking->head.n_tokens, at_once = run->stage_elem / n_tokens;
    for (size_t i = 0; i < n_seqs; i++) {
        const size_t n = (size_t) uqm_min_u64(at_once, n_seqs - i), k = i % at_once;
        int ret = UQM_OK;
        if (k == 0)
            ret = run->device->ops->download(
                run->device, run->stage, uqm_place_add(logits, i * n_tokens), n * n_tokens, err);
        if (ret == UQM_OK)
            ret = job->logits(job->ctx, asking->n_done, run->stage + k * n_tokens, err);
        if (ret < 0)
            return ret;
        asking->n_done++;
    }
    return UQM_OK;
}

/* ---- the plan ---- */

/* Rings for all the layers, before them the embedding of any pass. */
static int measure_rings(struct uqm_asking *a, struct uqm_err *err)
{
    const struct uqm_text_config *c = &a->net->config.text;
    struct uqm_schedule s = { .source = a->net->source };
    size_t *ends = calloc(2 * (size_t) c->n_layers + 1, sizeof *ends), n = 0, n_whole = 0;
    size_t *whole = calloc((size_t) c->n_layers + 1, sizeof *whole);
    int ret = ends && whole ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a plan");
    if (ret == UQM_OK && a->net->config.has_vision)
        ret = uqm_projector_schedule(&s, &a->net->config, err);
    if (ret == UQM_OK)
        ret = uqm_schedule_rows(&s, &a->net->embed, 0,
                                uqm_splice_most_rows(a->net, a->seqs, a->job->n_prompts), err);
    if (ret == UQM_OK)
        ends[n++] = whole[n_whole++] = s.n;
    const uint64_t before = uqm_schedule_bytes(&s), elem_before = uqm_schedule_elem(&s);
    for (uint32_t i = 0; ret == UQM_OK && i < c->n_layers; i++) {
        ret = uqm_llama_schedule_attention(&s, c, i, err);
        ends[n++] = s.n;
        if (ret == UQM_OK)
            ret = uqm_llama_schedule_mlp(&s, c, i, 1, err);
        ends[n++] = whole[n_whole++] = s.n;
    }
    a->plan_job.weights_bytes = uqm_schedule_bytes(&s) - before;
    a->plan_job.flop_a_row = 2.0 * (double) (uqm_schedule_elem(&s) - elem_before);
    for (size_t slots = 1; ret == UQM_OK && slots <= 3; slots++) {
        a->plan_job.ring_bytes[0][slots - 1] = uqm_held_ring_bytes(&s, whole, n_whole, slots);
        a->plan_job.ring_bytes[1][slots - 1] = uqm_held_ring_bytes(&s, ends, n, slots);
    }
    free(ends);
    free(whole);
    uqm_schedule_finish(&s);
    return ret;
}

/* Where a merge's tensors are merged: the device makes those tiles that come unmade. */
static void log_merge(const struct uqm_asking *a)
{
    const struct uqm_source *source = a->net->source;
    const struct uqm_device *device = a->net->machine->device;
    const char *why = NULL;
    if (!device->limits.mixes)
        why = "the device makes no merges";
    else if (source->gives_mixes == UQM_MIXES_NONE)
        why = "devices make none of this method or these inputs, nor several in a sweep";
    else if (a->plan.kind != UQM_PLAN_TILES)
        why = "its layers are held in memory";
    if (!source->is_merge)
        return;
    if (why)
        uqm_log(a->net->env, UQM_LOG_DEBUG, "%s: merged on the host (%s)", source->name, why);
    else
        uqm_log(a->net->env, UQM_LOG_DEBUG, "%s: merged on %s", source->name, device->id);
}

static void log_plan(const struct uqm_asking *a)
{
    const struct uqm_plan *p = &a->plan;
    const struct uqm_env *env = a->net->env;
    const size_t n = a->job->n_prompts - a->n_done;
    char seconds[48] = "";
    if (p->seconds > 0)
        snprintf(seconds, sizeof seconds, ", %.3g s by these rates", p->seconds);
    if (p->kind == UQM_PLAN_TILES)
        uqm_log(env, UQM_LOG_DEBUG, "%s: %zu prompts in %zu passes over %.1f MiB of weights%s",
                a->net->source->name, n, p->n_passes, (double) a->plan_job.weights_bytes / 0x1p20,
                seconds);
    else
        uqm_log(env, UQM_LOG_DEBUG,
                "%s: %zu prompts in %zu passes over %.1f MiB of weights, %s held in %.1f MiB while "
                "batches of %zu tokens go through, hidden states %s%s",
                a->net->source->name, n, p->n_passes, (double) a->plan_job.weights_bytes / 0x1p20,
                p->groups_a_layer == 2 ? "half a layer" : "a layer",
                (double) p->ring_bytes / 0x1p20, p->batch_rows, uqm_states_kind_name(p->states),
                seconds);
    log_merge(a);
}

/* A device with memory of its own keeps a group of weights there while batches go through it
 * (device.h, hold): half a layer, if that is no more than a third of the room. */
static uint64_t room_of_held(const struct uqm_asking *a)
{
    const struct uqm_plan_job *job = &a->plan_job;
    const bool keeps = a->run.device->ops->hold && !job->on_host;
    return keeps ? uqm_min_u64(job->ring_bytes[1][0] / 8 * 9, job->device_room / 3) : 0;
}

/* Whether there is more than one way, and a measurement's fraction of a second is little beside
 * what it chooses among. */
static bool is_worth_measuring(const struct uqm_asking *a)
{
    return !a->job->wish && a->plan_job.n_tile_passes != 1;
}

static int measure_rates(struct uqm_asking *a, const struct uqm_schedule *whole,
                         struct uqm_err *err)
{
    struct uqm_plan_job *job = &a->plan_job;
    size_t rows = 0;
    for (size_t i = a->n_done; i < a->job->n_prompts; i++)
        rows += a->seqs[i].n_rows;
    int ret = uqm_rates_measure(&job->rates, &a->run, whole, rows, err);
    if (ret < 0 || job->rates.read_bytes <= 0)
        return ret;
    char copies[64] = "";
    if (job->rates.copy_bytes > 0)
        snprintf(copies, sizeof copies, ", %.2f GB/s between host and device",
                 job->rates.copy_bytes * 1e-9);
    uqm_log(a->net->env, UQM_LOG_DEBUG,
            "%s: measured %.2f GB/s of weights, %.3g GFLOP/s%s: %.0f tokens a pass hide reading",
            a->net->source->name, job->rates.read_bytes * 1e-9, job->rates.flop * 1e-9, copies,
            uqm_rates_rows(&job->rates, job->flop_a_row, (double) job->weights_bytes));
    return UQM_OK;
}

/* What the device has failed to do is halved as often as `halvings` says. */
static int choose_plan(struct uqm_asking *a, const struct uqm_schedule *whole, unsigned halvings,
                       struct uqm_err *err)
{
    const struct uqm_device_limits *limits = &a->run.device->limits;
    a->room = uqm_run_arena_room(&a->run) >> halvings;
    a->enough = uqm_max_u64(ENOUGH_BYTES, ENOUGH_TIMES * uqm_schedule_bytes(whole));
    a->plan_job = (struct uqm_plan_job){
        .config = &a->net->config,
        .seqs = a->seqs,
        .n_seqs = a->job->n_prompts,
        .n_logits = a->head.n_tokens,
        .on_host = limits->on_host,
        .device_room = uqm_run_device_room(&a->run) >> halvings,
        .host_room = uqm_run_host_room(&a->run),
        .largest_bytes = limits->largest_bytes >> halvings,
        .n_tile_passes = uqm_tiles_count(a, a->n_done),
        .wish = a->job->wish,
    };
    int ret = measure_rings(a, err);
    if (ret < 0)
        return ret;
    a->plan_job.device_room -= room_of_held(a);
    /* Where a pass grows no further because it need not, one after the other costs nothing. */
    const bool need_not = a->enough <= a->room && a->plan_job.n_tile_passes > 0;
    if (!need_not && is_worth_measuring(a))
        ret = measure_rates(a, whole, err);
    if (ret < 0)
        return ret;
    if (need_not && !a->job->wish)
        a->plan =
            (struct uqm_plan){ .kind = UQM_PLAN_TILES, .n_passes = a->plan_job.n_tile_passes };
    else if (!uqm_plan_choose(&a->plan, &a->plan_job, a->n_done))
        a->plan = (struct uqm_plan){ .kind = UQM_PLAN_TILES }; /* it says what is missing */
    log_plan(a);
    uqm_asking_log_memory(a);
    return UQM_OK;
}

/* ---- the job ---- */

static int run_passes(struct uqm_asking *a, struct uqm_err *err)
{
    const size_t n = a->job->n_prompts;
    int ret = UQM_OK;
    for (size_t pass = 1; ret == UQM_OK && a->n_done < n; pass++) {
        const size_t first = a->n_done;
        const double start = uqm_clock_s();
        a->waited_s = 0;
        ret = a->plan.kind == UQM_PLAN_LAYERS ? uqm_layers_pass(a, err) : uqm_tiles_pass(a, err);
        const double seconds = uqm_clock_s() - start;
        if (ret == UQM_OK)
            uqm_log(a->net->env, UQM_LOG_DEBUG,
                    "pass %zu: %zu prompts in %.2f s, of which computing waited %.2f s for weights",
                    pass, a->n_done - first, seconds, a->waited_s);
    }
    return ret;
}

static int attempt(struct uqm_asking *a, const struct uqm_schedule *whole, size_t longest,
                   unsigned halvings, struct uqm_err *err)
{
    const struct uqm_model_config *c = &a->net->config;
    const size_t picture = uqm_network_feature_rows(c) * c->vision.hidden;
    const struct uqm_run_needs needs = {
        .max_kv = longest,
        .n_positions = longest,
        .stage_elem = (size_t) uqm_max_u64(a->head.n_tokens, picture),
        .other_bytes = a->head.rows_bytes + a->saved.bytes,
    };
    a->left_before = uqm_budget_left(a->net->env);
    int ret = uqm_run_init(&a->run, a->net, whole, &needs, err);
    if (ret == UQM_OK)
        ret = choose_plan(a, whole, halvings, err);
    if (ret == UQM_OK && !a->net->machine->plan_only)
        ret = run_passes(a, err);
    uqm_run_finish(&a->run);
    return ret;
}

static int measure(struct uqm_asking *a, size_t *longest, struct uqm_err *err)
{
    const struct uqm_llm_job *job = a->job;
    a->seqs = calloc(job->n_prompts, sizeof *a->seqs);
    if (!a->seqs)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu prompts", job->n_prompts);
    for (size_t i = 0; i < job->n_prompts; i++) {
        int ret = uqm_sequence_init(&a->seqs[i], a->net, &job->prompts[i], i, err);
        if (ret < 0)
            return ret;
        if (a->seqs[i].n_rows > *longest)
            *longest = a->seqs[i].n_rows;
    }
    return UQM_OK;
}

/* What was saved serves the device that was lost, once it is there again. Where memory is short it
 * is given back. */
static bool recover(struct uqm_asking *a, struct uqm_recovery *recovery, int ret,
                    struct uqm_err *err)
{
    struct uqm_machine *machine = a->net->machine;
    const struct uqm_device *before = machine->device;
    const bool again = uqm_recover(recovery, machine, ret, err);
    a->saved.off = a->saved.off || ret == UQM_ERR_NOMEM;
    if (!again || a->saved.off || machine->device != before)
        uqm_saved_finish(&a->saved, a->net->env);
    else if (uqm_saved_behind(&a->saved, a->n_done) > 0)
        uqm_log(a->net->env, UQM_LOG_DEBUG, "%s: going on behind layer %u of %u",
                a->net->source->name, a->saved.n_behind, a->net->config.text.n_layers);
    return again;
}

int uqm_network_logits(struct uqm_network *network, const struct uqm_llm_job *job,
                       struct uqm_err *err)
{
    struct uqm_asking a = { .net = network, .job = job };
    struct uqm_schedule whole = { .source = network->source };
    struct uqm_recovery recovery = { 0 };
    size_t longest = 0;

    if (job->n_prompts == 0)
        return UQM_OK;
    int ret = uqm_head_init(&a.head, network, job->tokens, job->n_tokens, err);
    if (ret == UQM_OK)
        ret = measure(&a, &longest, err);
    if (ret == UQM_OK)
        ret = uqm_network_schedule_text(&whole, network, err);
    if (ret == UQM_OK)
        do
            ret = attempt(&a, &whole, longest, recovery.halvings, err);
        while (ret < 0 && recover(&a, &recovery, ret, err));
    uqm_saved_finish(&a.saved, network->env);
    if (ret == UQM_OK)
        uqm_report(network->env, job->stage, "prompts", job->n_prompts, job->n_prompts);
    uqm_schedule_finish(&whole);
    uqm_head_finish(&a.head);
    free(a.seqs);
    return ret;
}
