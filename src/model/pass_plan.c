#include "src/model/pass_plan.h"

#include <math.h>

#include "src/base/checked.h"

enum {
    MOST_BATCH_ROWS =
        2048, /* so that products are large, and bindings below every device's limit */
    LEAST_BATCH_ROWS = 512,
};

/* ---- one pass ---- */

static bool fits(const struct uqm_plan *plan, const struct uqm_plan_job *job,
                 const struct uqm_pass_shape *shape)
{
    const struct uqm_states_memory states =
        uqm_states_memory(plan->states, shape->n_rows, shape->most_rows, job->config->text.hidden);
    const uint64_t arena = (shape->work + shape->tail) * sizeof(float);
    const uint64_t device = arena + states.device_bytes;
    const uint64_t host = plan->ring_bytes + states.host_bytes;
    if (arena > job->largest_bytes)
        return false;
    return job->on_host ? device + host <= job->device_room
                        : device <= job->device_room && host <= job->host_room;
}

/* The batch under construction. */
struct open_batch {
    size_t n_rows, n_seqs, pictures;
};

static struct uqm_llama_plan plan_of(const struct open_batch *b, const struct uqm_plan_job *job)
{
    struct uqm_llama_plan plan;
    uqm_llama_plan(&plan, job->config, b->n_rows, b->n_seqs,
                   b->pictures * uqm_network_feature_rows(job->config), false);
    return plan;
}

/* Whether the prompt opens a batch of its own. */
static bool add_prompt(struct open_batch *b, const struct uqm_plan *plan,
                       const struct uqm_sequence *s)
{
    const bool opens = b->n_seqs == 0 || b->n_rows + s->n_rows > plan->batch_rows;
    if (opens)
        *b = (struct open_batch){ 0 };
    b->n_rows += s->n_rows;
    b->n_seqs++;
    b->pictures += s->n_pictures;
    return opens;
}

void uqm_plan_batch(struct uqm_batch_shape *batch, const struct uqm_plan *plan,
                    const struct uqm_plan_job *job, size_t first, size_t end)
{
    struct open_batch b = { 0 }, next = { 0 };
    for (size_t i = first; i < end; i++) {
        if (add_prompt(&next, plan, &job->seqs[i]) && i > first)
            break;
        b = next;
    }
    *batch = (struct uqm_batch_shape){ .n_seqs = b.n_seqs, .plan = plan_of(&b, job) };
}

/* Prompts from `first` on, until no more fit or there are `enough` rows. */
static void fill_pass(struct uqm_pass_shape *out, const struct uqm_plan *plan,
                      const struct uqm_plan_job *job, size_t first, size_t enough)
{
    const size_t most = job->wish && job->wish->most_prompts ? job->wish->most_prompts : SIZE_MAX;
    struct open_batch b = { 0 };
    *out = (struct uqm_pass_shape){ 0 };
    for (size_t i = first; i < job->n_seqs && out->n_rows < enough && out->n_seqs < most; i++) {
        struct uqm_pass_shape more = *out;
        more.n_batches += add_prompt(&b, plan, &job->seqs[i]);
        more.n_seqs++;
        more.n_rows += job->seqs[i].n_rows;
        more.most_rows = (size_t) uqm_max_u64(more.most_rows, b.n_rows);
        const struct uqm_llama_plan p = plan_of(&b, job);
        more.work = uqm_max_u64(more.work, uqm_llama_plan_words(&p) - p.hidden);
        more.tail = 2 * uqm_plan_last_words(job, more.n_seqs) +
                    uqm_part_words((uint64_t) more.n_seqs * job->n_logits);
        if (!fits(plan, job, &more))
            return;
        *out = more;
    }
}

/* 0: a prompt does not fit. */
static size_t count_passes(const struct uqm_plan *plan, const struct uqm_plan_job *job,
                           size_t first)
{
    size_t n = 0;
    while (first < job->n_seqs) {
        struct uqm_pass_shape shape;
        fill_pass(&shape, plan, job, first, SIZE_MAX);
        if (shape.n_seqs == 0)
            return 0;
        first += shape.n_seqs;
        n++;
    }
    return n;
}

bool uqm_plan_pass(struct uqm_pass_shape *shape, const struct uqm_plan *plan,
                   const struct uqm_plan_job *job, size_t first)
{
    const size_t n_passes = count_passes(plan, job, first);
    size_t rows = 0;
    if (n_passes == 0)
        return false;
    for (size_t i = first; i < job->n_seqs; i++)
        rows += job->seqs[i].n_rows;
    fill_pass(shape, plan, job, first, (rows + n_passes - 1) / n_passes);
    return true;
}

/* ---- the choice ---- */

/* Hidden states of all prompts, once for each group of weights. */
static uint64_t states_bytes(const struct uqm_plan *plan, const struct uqm_plan_job *job,
                             size_t first)
{
    const struct uqm_text_config *c = &job->config->text;
    uint64_t rows = 0;
    for (size_t i = first; i < job->n_seqs; i++)
        rows += job->seqs[i].n_rows;
    return rows * c->hidden * sizeof(float) * plan->groups_a_layer * c->n_layers;
}

/* Reading that nothing hides counts twice; a copy to and from the host is cheap beside a disk. */
static uint64_t cost_of(const struct uqm_plan *plan, const struct uqm_plan_job *job, size_t first)
{
    const uint64_t once = states_bytes(plan, job, first);
    const uint64_t spilled = plan->states == UQM_STATES_FILE   ? 2 * once
                             : plan->states == UQM_STATES_HOST ? once / 4
                                                               : 0;
    return plan->n_passes * job->weights_bytes * (plan->n_slots > 1 ? 1 : 2) + spilled;
}

/*
 * The drive feeds weights and takes and gives spilled states; weights go on to the device, at the
 * slower rate of the two; the device computes, and copies states to the host and back. What flows
 * side by side costs the slower; with one slot nothing flows while the device computes.
 */
static double seconds_of(const struct uqm_plan *plan, const struct uqm_plan_job *job, size_t first)
{
    const struct uqm_rates *r = &job->rates;
    const double weights = (double) plan->n_passes * (double) job->weights_bytes;
    const double once = (double) states_bytes(plan, job, first);
    double rows = 0;
    if (r->read_bytes <= 0 || r->flop <= 0)
        return 0;
    for (size_t i = first; i < job->n_seqs; i++)
        rows += (double) job->seqs[i].n_rows;
    const bool copies = !job->on_host && r->copy_bytes > 0;
    double feeding = weights / r->read_bytes;
    if (copies && r->copy_bytes < r->read_bytes)
        feeding = weights / r->copy_bytes;
    if (plan->states == UQM_STATES_FILE)
        feeding += 2 * once / r->read_bytes;
    double computing = rows * job->flop_a_row / r->flop;
    if (copies && plan->states != UQM_STATES_DEVICE)
        computing += 2 * once / r->copy_bytes;
    const bool hides = plan->kind == UQM_PLAN_TILES || plan->n_slots > 1;
    if (!hides)
        return feeding + computing;
    return feeding > computing ? feeding : computing;
}

/* All candidates are looked at twice: for the least time, then, among those that take no more than
 * a fiftieth longer, for the fewest bytes. */
struct search {
    const struct uqm_plan_job *job;
    size_t first;
    bool timing;
    double least_s;
    struct uqm_plan best;
};

/* Worth another plan: a fiftieth less. */
static bool is_better(const struct uqm_plan *a, const struct uqm_plan *b)
{
    return b->kind == UQM_PLAN_ANY || a->cost_bytes < b->cost_bytes - b->cost_bytes / 50;
}

static void weigh(struct search *s, struct uqm_plan *plan)
{
    plan->seconds = seconds_of(plan, s->job, s->first);
    if (s->timing)
        s->least_s = plan->seconds < s->least_s ? plan->seconds : s->least_s;
    else if (plan->seconds <= s->least_s * 1.02 && is_better(plan, &s->best))
        s->best = *plan;
}

static void try_layers(struct search *s, const struct uqm_plan *candidate)
{
    struct uqm_plan plan = *candidate;
    plan.n_passes = count_passes(&plan, s->job, s->first);
    if (plan.n_passes == 0)
        return;
    plan.cost_bytes = cost_of(&plan, s->job, s->first);
    weigh(s, &plan);
}

static void try_tiles(struct search *s)
{
    struct uqm_plan plan = {
        .kind = UQM_PLAN_TILES,
        .n_passes = s->job->n_tile_passes,
        .cost_bytes = s->job->n_tile_passes * s->job->weights_bytes,
    };
    weigh(s, &plan);
}

static bool is_wished(const struct uqm_plan *plan, const struct uqm_plan_job *job)
{
    const struct uqm_plan_wish *w = job->wish;
    return !w || ((w->groups_a_layer == 0 || w->groups_a_layer == plan->groups_a_layer) &&
                  (w->n_slots == 0 || w->n_slots == plan->n_slots) &&
                  (!w->has_states || w->states == plan->states));
}

/*
 * The simplest first: a later one must be better. While a half of a layer that is soon through is
 * in use, the larger one cannot be read in full, so that whole layers hide reading better; a device
 * with memory of its own keeps halves more easily.
 */
static void try_all_layers(struct search *s)
{
    const struct uqm_plan_job *job = s->job;
    const struct uqm_plan_wish *wish = job->wish;
    const size_t wished = wish ? wish->batch_rows : 0;
    const unsigned most_slots = wish && wish->n_slots > 2 ? wish->n_slots : 2;
    const unsigned preferred = job->on_host ? 1 : 2;
    struct uqm_plan plan = { .kind = UQM_PLAN_LAYERS };
    for (size_t rows = wished ? wished : MOST_BATCH_ROWS;
         rows >= (wished ? wished : LEAST_BATCH_ROWS); rows /= 2)
        for (int kind = 0; kind < UQM_N_STATES_KINDS; kind++)
            for (unsigned i = 0; i < 2; i++)
                for (unsigned slots = most_slots; slots >= 1; slots--) {
                    const unsigned groups = i == 0 ? preferred : 3 - preferred;
                    plan.batch_rows = rows;
                    plan.states = (enum uqm_states_kind) kind;
                    plan.groups_a_layer = groups;
                    plan.n_slots = slots;
                    plan.ring_bytes = job->ring_bytes[groups - 1][slots - 1];
                    if (is_wished(&plan, job) && !(job->on_host && kind == UQM_STATES_HOST))
                        try_layers(s, &plan);
                }
}

bool uqm_plan_choose(struct uqm_plan *plan, const struct uqm_plan_job *job, size_t first)
{
    const enum uqm_plan_kind wish = job->wish ? job->wish->kind : UQM_PLAN_ANY;
    const bool tiles = job->n_tile_passes > 0 && wish != UQM_PLAN_LAYERS;
    const bool layers = wish != UQM_PLAN_TILES && !(tiles && job->n_tile_passes == 1);
    struct search s = { .job = job, .first = first, .timing = true, .least_s = HUGE_VAL };
    for (int turn = 0; turn < 2; turn++, s.timing = false) {
        if (tiles)
            try_tiles(&s);
        if (layers)
            try_all_layers(&s);
    }
    *plan = s.best;
    return plan->kind != UQM_PLAN_ANY;
}
