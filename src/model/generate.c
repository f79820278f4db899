/* Greedy answers of many prompts, group by group. */
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/model/memory_plan.h"
#include "src/model/recover.h"
#include "src/model/saved_answers.h"

/* As for logits: a batch whose activations take so much is large enough. */
enum { ENOUGH_TIMES = 8, ENOUGH_BYTES = 16 << 20 };

/* Memory gives weights about so many times as fast as a drive: a group that is smaller by more than
 * that is no longer worth keeping them for. */
enum { MEMORY_SPEED = 4 };

enum { STAGE_ROWS = 16 }; /* of logits that are fetched at once */

static int measure(struct uqm_generator *g, struct uqm_run_needs *needs, struct uqm_err *err)
{
    const struct uqm_generate_job *job = g->job;
    const struct uqm_model_config *c = &g->net.config;
    const size_t picture = uqm_network_feature_rows(c) * c->vision.hidden;
    g->seqs = calloc(job->n_prompts, sizeof *g->seqs);
    g->n_new = calloc(job->n_prompts, sizeof *g->n_new);
    if (!g->seqs || !g->n_new)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu prompts", job->n_prompts);
    for (size_t i = 0; i < job->n_prompts; i++) {
        int ret = uqm_sequence_init(&g->seqs[i], &g->net, &job->prompts[i], i, err);
        if (ret < 0)
            return ret;
        /* No position past those the model knows. */
        const size_t rows = g->seqs[i].n_rows, most = uqm_max_u64(c->text.max_positions, rows);
        g->n_new[i] = (uint32_t) uqm_min_u64(job->max_tokens[i], most - rows);
        needs->max_kv = (size_t) uqm_max_u64(needs->max_kv, uqm_prompt_positions(g, i));
    }
    const uint64_t rows = uqm_min_u64(STAGE_ROWS, job->n_prompts);
    needs->n_positions = needs->max_kv;
    needs->stage_elem = (size_t) uqm_max_u64(rows * c->text.vocab_size, picture);
    return UQM_OK;
}

/* Half of a device's room for every time that it had less than it promised. */
static void find_room(struct uqm_generator *g, unsigned halvings)
{
    g->room = uqm_run_device_room(&g->run) / sizeof(float) >> halvings;
    g->largest = uqm_run_arena_room(&g->run) / sizeof(float);
}

/* In how many groups the prompts are answered; 0: one does not fit by itself. */
static size_t count_groups(const struct uqm_generator *g)
{
    size_t n_groups = 0;
    for (size_t first = g->n_answered; first < g->job->n_prompts; n_groups++) {
        const struct uqm_prompt_group group = uqm_prompt_group_choose(g, first);
        if (group.n == 0)
            return 0;
        first += group.n;
    }
    return n_groups;
}

/*
 * Whether the weights stay in memory: if there do not become so many more groups by it that reading
 * them from the drive for fewer ones is faster.
 */
static bool worth_keeping(struct uqm_generator *g)
{
    const uint64_t bytes = uqm_resident_bytes(&g->whole), room = g->room;
    if (bytes > uqm_run_host_room(&g->run))
        return false;
    const size_t without = count_groups(g);
    if (g->run.device->limits.on_host)
        g->room -= uqm_min_u64(room, bytes / sizeof(float) + 1);
    const size_t with = count_groups(g);
    g->room = room;
    return with > 0 && with <= without * MEMORY_SPEED;
}

/* The network that is run from here on reads its weights from memory. */
static int keep_weights(struct uqm_generator *g, unsigned halvings, struct uqm_err *err)
{
    int ret =
        uqm_resident_create(&g->resident, g->given->source, &g->whole, g->net.machine->threads,
                            g->run.tile_bytes, g->run.stream_bytes, err);
    if (ret < 0)
        return ret;
    g->net.source = uqm_resident_source(g->resident);
    g->net.memory_bytes -= uqm_min_u64(g->net.memory_bytes, uqm_resident_bytes(&g->whole));
    find_room(g, halvings);
    return UQM_OK;
}

static void log_plan(const struct uqm_generator *g, bool keeps)
{
    const struct uqm_prompt_group first = uqm_prompt_group_choose(g, g->n_answered);
    const uint64_t words = uqm_kv_cache_words(&g->net.config.text, first.n_positions);
    const struct uqm_memory_plan plan = {
        .resident_bytes = keeps ? uqm_resident_bytes(&g->whole) : 0,
        .arena_bytes = first.arena * sizeof(float),
        .cache_bytes = first.n > 0 ? words * sizeof(float) : 0,
    };
    uqm_log(g->net.env, UQM_LOG_DEBUG, "%s: %zu prompts in %zu groups over %.1f MiB of weights, %s",
            g->given->source->name, g->job->n_prompts - g->n_answered, count_groups(g),
            (double) uqm_schedule_bytes(&g->whole) / 0x1p20,
            keeps ? "which stay in memory" : "read once more for every token");
    uqm_memory_plan_log(&plan, &g->run);
}

static int answer_groups(struct uqm_generator *g, unsigned halvings, struct uqm_err *err)
{
    int ret = UQM_OK;
    find_room(g, halvings);
    g->enough = uqm_max_u64(ENOUGH_BYTES, ENOUGH_TIMES * uqm_schedule_bytes(&g->whole));
    g->enough /= sizeof(float);
    const bool keeps = worth_keeping(g);
    log_plan(g, keeps);
    if (g->net.machine->plan_only)
        return UQM_OK;
    if (keeps)
        ret = keep_weights(g, halvings, err);
    while (ret == UQM_OK && g->n_answered < g->job->n_prompts) {
        const struct uqm_prompt_group group = uqm_saved_answers_has(&g->saved, g->n_answered)
                                                  ? g->saved.group
                                                  : uqm_prompt_group_choose(g, g->n_answered);
        if (group.n == 0)
            return uqm_prompt_group_no_room(g, g->n_answered, err);
        ret = uqm_answer_group(g, &group, err);
        if (ret == UQM_OK)
            uqm_saved_answers_finish(&g->saved, g->net.env);
    }
    return ret;
}

/* From the first prompt on that has no answer yet; everything is given back. */
static int attempt(struct uqm_generator *g, const struct uqm_run_needs *needs, unsigned halvings,
                   struct uqm_err *err)
{
    g->net = *g->given;
    int ret = uqm_run_init(&g->run, &g->net, &g->whole, needs, err);
    if (ret == UQM_OK)
        ret = answer_groups(g, halvings, err);
    uqm_run_finish(&g->run);
    uqm_resident_destroy(&g->resident);
    return ret;
}

/* What was saved serves the device that was lost, once it is there again (as in logits.c). */
static bool recover(struct uqm_generator *g, struct uqm_recovery *recovery, int ret,
                    struct uqm_err *err)
{
    struct uqm_machine *machine = g->given->machine;
    const struct uqm_device *before = machine->device;
    const bool again = uqm_recover(recovery, machine, ret, err);
    g->saved.off = g->saved.off || ret == UQM_ERR_NOMEM;
    if (!again || g->saved.off || machine->device != before)
        uqm_saved_answers_finish(&g->saved, g->given->env);
    return again;
}

int uqm_network_generate(struct uqm_network *network, const struct uqm_generate_job *job,
                         struct uqm_err *err)
{
    struct uqm_generator g = {
        .given = network, .net = *network, .job = job, .whole = { .source = network->source }
    };
    struct uqm_recovery recovery = { 0 };
    struct uqm_run_needs needs = { 0 };
    g.left_before = uqm_budget_left(network->env);

    if (job->n_prompts == 0)
        return UQM_OK;
    int ret = measure(&g, &needs, err);
    if (ret == UQM_OK)
        ret = uqm_head_init(&g.head, network, NULL, 0, err);
    if (ret == UQM_OK)
        ret = uqm_network_schedule_text(&g.whole, network, err);
    if (ret == UQM_OK)
        do
            ret = attempt(&g, &needs, recovery.halvings, err);
        while (ret < 0 && recover(&g, &recovery, ret, err));
    uqm_saved_answers_finish(&g.saved, network->env);
    if (ret == UQM_OK && job->n_prompts > 1)
        uqm_report(network->env, job->stage, "prompts", job->n_prompts, job->n_prompts);
    uqm_schedule_finish(&g.whole);
    uqm_head_finish(&g.head);
    free(g.seqs);
    free(g.n_new);
    return ret;
}
