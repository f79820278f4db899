#include "src/merge/read_steps.h"

#include <assert.h>
#include <stdlib.h>

#include "src/base/checked.h"

/* --- cutting --- */

void uqm_cut_init(struct uqm_cut *cut, const struct uqm_recipe_source *rs, size_t tile_bytes,
                  size_t n_buffers)
{
    size_t n_parts = rs->max_parts ? rs->max_parts : 1;
    *cut = (struct uqm_cut){
        .tile_bytes = tile_bytes,
        .piece_bytes =
            (size_t) uqm_max_u64(uqm_max_u64((uint64_t) tile_bytes * rs->widening, rs->block_bytes),
                                 rs->share_piece_bytes),
        .out_bytes = tile_bytes + 2 * rs->unit_bytes,
        .n_buffers = n_buffers ? n_buffers : UQM_TILES_AHEAD * n_parts,
    };
}

static size_t widest_part(const struct uqm_recipe_source *rs, size_t tensor)
{
    const struct uqm_plan_tensor *pt = &rs->plan[tensor];
    unsigned bits = 8;
    for (size_t i = 0; i < pt->n_parts; i++) {
        const struct uqm_plan_part *p = &pt->parts[i];
        unsigned b = uqm_dtype_bits(uqm_plan_part_tensor(rs, p)->dtype);
        bits = b > bits ? b : bits;
    }
    return bits / 8;
}

uint64_t uqm_cut_elem(const struct uqm_cut *cut, const struct uqm_recipe_source *rs, size_t tensor)
{
    uint64_t block = rs->plan[tensor].job->block_elem;
    uint64_t n = cut->piece_bytes / widest_part(rs, tensor) / block * block;
    assert(n > 0);
    return n;
}

uint64_t uqm_cut_buffers(const struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                         size_t tensor)
{
    uint64_t n = uqm_cut_elem(cut, rs, tensor), n_elem = rs->source.tensors[tensor].n_elem;
    size_t n_parts = rs->share_parts ? rs->share_parts : rs->plan[tensor].n_parts;
    return (n_elem + n - 1) / n * n_parts;
}

static unsigned n_passes(const struct uqm_recipe_source *rs, size_t tensor)
{
    return rs->plan[tensor].job ? rs->plan[tensor].job->n_passes : 0;
}

bool uqm_cut_keeps(const struct uqm_cut *cut, const struct uqm_recipe_source *rs, size_t tensor)
{
    return n_passes(rs, tensor) > 0 &&
           uqm_cut_buffers(cut, rs, tensor) + UQM_TILES_AHEAD * rs->max_parts <= cut->n_buffers;
}

/* Short reads here and there are cheap only where they are of files. */
static bool can_sample(const struct uqm_recipe_source *rs, size_t tensor)
{
    const struct uqm_plan_tensor *pt = &rs->plan[tensor];
    for (size_t i = 0; i < pt->n_parts; i++) {
        const struct uqm_plan_part *p = &pt->parts[i];
        if (p->source_of || rs->inputs[p->input].checkpoint->locations[p->tensor].made)
            return false;
    }
    return true;
}

uint64_t uqm_cut_samples(const struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                         size_t tensor)
{
    if (n_passes(rs, tensor) == 0 || !rs->plan[tensor].job->ops->n_samples ||
        uqm_cut_keeps(cut, rs, tensor) || !can_sample(rs, tensor))
        return 0;
    return rs->plan[tensor].job->ops->n_samples(rs->plan[tensor].job);
}

struct uqm_cut_reads uqm_cut_reads(const struct uqm_cut *cut, const struct uqm_recipe_source *rs,
                                   size_t tensor)
{
    uint64_t n_elem = rs->source.tensors[tensor].n_elem;
    struct uqm_cut_reads r = { .most = n_elem, .likely = n_elem, .passes = 1 };
    if (n_elem == 0 || n_passes(rs, tensor) == 0 || uqm_cut_keeps(cut, rs, tensor))
        return r;
    const struct uqm_job *job = rs->plan[tensor].job;
    uint64_t n_samples = uqm_cut_samples(cut, rs, tensor);
    unsigned late = job->n_passes, late_end = late;
    if (job->ops->late_passes)
        job->ops->late_passes(job, &late, &late_end);
    for (unsigned p = 0; p < job->n_passes; p++) {
        if (p >= late && p < late_end && (late_end < job->n_passes || rs->ranges_in_order))
            continue;
        uint64_t blocks = job->ops->most_blocks ? job->ops->most_blocks(job, p) : job->n_blocks;
        uint64_t n = uqm_min_u64(blocks * job->block_elem, n_elem);
        bool is_rare = job->ops->is_rare && job->ops->is_rare(job, p, n_samples > 0);
        r.most += n;
        r.likely += is_rare ? 0 : n;
        r.passes += n > 0 && !is_rare;
    }
    r.most += n_samples * UQM_SAMPLE_ELEM;
    r.likely += n_samples * UQM_SAMPLE_ELEM;
    return r;
}

void uqm_part_locate(struct uqm_seen *out, const struct uqm_recipe_source *rs,
                     const struct uqm_plan_part *part, uint64_t first, size_t n_elem)
{
    const struct uqm_checkpoint *cp = rs->inputs[part->input].checkpoint;
    const struct uqm_tensor *t = uqm_plan_part_tensor(rs, part);
    if (part->source_of) {
        *out = (struct uqm_seen){
            .input = part->input,
            .file = UQM_SEEN_NO_FILE,
            .n_bytes = (size_t) uqm_dtype_bytes(t->dtype, n_elem),
        };
        return;
    }
    const struct uqm_location *at = &cp->locations[part->tensor];
    *out = (struct uqm_seen){
        .input = part->input,
        .file = at->made ? UQM_SEEN_NO_FILE : at->file,
        .off_bytes = at->off_bytes + uqm_dtype_bytes(t->dtype, first),
        .n_bytes = (size_t) uqm_dtype_bytes(t->dtype, n_elem),
    };
}

/* --- the queue --- */

static bool push(struct uqm_step_queue *q, const struct uqm_step *step)
{
    if (q->n == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : 64;
        struct uqm_step *ring = malloc(cap * sizeof *ring);
        if (!ring)
            return false;
        for (size_t i = 0; i < q->n; i++)
            ring[i] = q->ring[(q->head + i) % q->cap];
        free(q->ring);
        q->ring = ring;
        q->head = 0;
        q->cap = cap;
    }
    q->ring[(q->head + q->n++) % q->cap] = *step;
    return true;
}

static struct uqm_step pop(struct uqm_step_queue *q)
{
    struct uqm_step step = q->ring[q->head];
    q->head = (q->head + 1) % q->cap;
    q->n--;
    return step;
}

int uqm_steps_init(struct uqm_steps *steps, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = steps->rs;
    steps->kept = rs->source.n_tensors;
    steps->ready = calloc(rs->source.n_tensors + 1, sizeof *steps->ready);
    if (!steps->ready)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < rs->source.n_tensors; i++)
        steps->ready[i] = rs->plan[i].ready;
    return UQM_OK;
}

void uqm_steps_finish(struct uqm_steps *steps)
{
    free(steps->queue.ring);
    free(steps->ready);
    *steps = (struct uqm_steps){ 0 };
}

/* --- planning --- */

static uint64_t unit_elem(const struct uqm_steps *s, size_t tensor)
{
    const struct uqm_job *job = s->rs->plan[tensor].job;
    return job ? job->unit_elem : 1;
}

static void begin_range(struct uqm_steps *s)
{
    uint64_t unit = unit_elem(s, s->range.tensor);
    s->in_passes = false;
    s->at = s->range.first_elem / unit * unit;
}

static void begin_passes(struct uqm_steps *s)
{
    size_t tensor = s->range.tensor;
    s->in_passes = true;
    s->ready[tensor] = true;
    s->pass = (struct uqm_pass){ .n_blocks = s->rs->plan[tensor].job->n_blocks };
    s->n_samples = uqm_cut_samples(s->cut, s->rs, tensor);
    s->sample = 0;
    s->at = 0;
    if (uqm_cut_keeps(s->cut, s->rs, tensor)) {
        s->kept = tensor;
        s->kept_from = 0;
    }
}

static bool take_range(struct uqm_steps *s)
{
    size_t before = s->range.tensor, none = s->rs->source.n_tensors;
    if (!s->next(s->ctx, &s->range)) {
        s->ended = true;
        return false;
    }
    size_t tensor = s->range.tensor;
    assert(tensor < none);
    assert(s->range.n_elem <= s->rs->source.tensors[tensor].n_elem);
    assert(s->range.first_elem <= s->rs->source.tensors[tensor].n_elem - s->range.n_elem);
    s->has_range = true;
    if (s->kept != tensor)
        s->kept = none;
    if (s->rs->states_once && before != tensor)
        s->ready[before] = false;
    if (s->range.n_elem > 0 && n_passes(s->rs, tensor) > 0 && !s->ready[tensor])
        begin_passes(s);
    else
        begin_range(s);
    return true;
}

static uint64_t pass_end(const struct uqm_job *job, const struct uqm_pass *pass)
{
    return uqm_min_u64((pass->first_block + pass->n_blocks) * job->block_elem, job->n_elem);
}

static struct uqm_step sample_step(struct uqm_steps *s)
{
    const struct uqm_job *job = s->rs->plan[s->range.tensor].job;
    struct uqm_step step = {
        .tensor = s->range.tensor,
        .is_pass = true,
        .is_sample = true,
        .begins = s->sample == 0,
        .reads = true,
        .pass = s->pass,
        .range = s->range,
        .first = uqm_job_sample_at(job, s->n_samples, s->sample),
        .n_elem = UQM_SAMPLE_ELEM,
    };
    step.last = ++s->sample == s->n_samples;
    return step;
}

static struct uqm_step pass_step(struct uqm_steps *s)
{
    size_t tensor = s->range.tensor;
    const struct uqm_job *job = s->rs->plan[tensor].job;
    uint64_t end = pass_end(job, &s->pass);
    struct uqm_step step = {
        .tensor = tensor,
        .is_pass = true,
        .begins = s->n_samples == 0 && s->pass.number == 0 && s->at == 0,
        .reads = true,
        .keeps = s->kept == tensor,
        .pass = s->pass,
        .range = s->range,
        .first = s->at,
        .n_elem = (size_t) uqm_min_u64(uqm_cut_elem(s->cut, s->rs, tensor), end - s->at),
    };
    s->at += step.n_elem;
    step.last = s->at == end;
    if (!step.last)
        return step;
    if (step.keeps || s->pass.number + 1 == job->n_passes)
        begin_range(s);
    else if (job->ops->pass_blocks)
        s->waiting = true;
    else {
        s->pass.number++;
        s->at = 0;
    }
    return step;
}

static struct uqm_step range_step(struct uqm_steps *s)
{
    size_t tensor = s->range.tensor;
    uint64_t unit = unit_elem(s, tensor), end = s->range.first_elem + s->range.n_elem;
    end = (end + unit - 1) / unit * unit;
    struct uqm_step step = {
        .tensor = tensor,
        .range = s->range,
        .first = s->at,
        .n_elem = (size_t) (end - s->at),
    };
    if (s->kept == tensor && s->at >= s->kept_from) {
        uint64_t cut = uqm_cut_elem(s->cut, s->rs, tensor);
        s->kept_from = end / cut * cut;
        if (end == s->rs->source.tensors[tensor].n_elem)
            s->kept = s->rs->source.n_tensors;
    } else {
        s->kept = s->rs->source.n_tensors;
        step.reads = step.n_elem > 0;
        if (unit > 1)
            step.n_elem = (size_t) uqm_min_u64(uqm_cut_elem(s->cut, s->rs, tensor), step.n_elem);
    }
    s->at += step.n_elem;
    step.last = s->at == end;
    s->has_range = !step.last;
    return step;
}

/* 1: one more step is in the queue. */
static int plan_step(struct uqm_steps *s)
{
    assert(!s->is_asking);
    if (s->ended || s->out_of_memory)
        return 0;
    if (s->waiting)
        return UQM_PIECE_LATER;
    if (!s->has_range && !take_range(s))
        return 0;
    struct uqm_step step = !s->in_passes              ? range_step(s)
                           : s->sample < s->n_samples ? sample_step(s)
                                                      : pass_step(s);
    if (!push(&s->queue, &step)) {
        s->out_of_memory = true;
        return 0;
    }
    s->asking = step;
    s->asking_part = 0;
    s->is_asking = step.reads;
    return 1;
}

int uqm_steps_next_piece(void *ctx, struct uqm_part_piece *piece)
{
    struct uqm_steps *s = ctx;
    while (!s->is_asking) {
        int ret = plan_step(s);
        if (ret != 1)
            return ret;
    }
    const struct uqm_plan_tensor *pt = &s->rs->plan[s->asking.tensor];
    const struct uqm_plan_part *p = &pt->parts[s->asking_part];
    struct uqm_seen at;
    uqm_part_locate(&at, s->rs, p, s->asking.first, s->asking.n_elem);
    *piece = (struct uqm_part_piece){ .piece.n_bytes = at.n_bytes, .source = p->source_of };
    if (p->source_of) {
        piece->range = (struct uqm_range){ p->source_tensor, s->asking.first, s->asking.n_elem };
    } else {
        const struct uqm_checkpoint *cp = s->rs->inputs[p->input].checkpoint;
        const struct uqm_location *lies = &cp->locations[p->tensor];
        uint64_t begin;
        piece->piece.file = uqm_location_file(cp, lies, &begin);
        piece->piece.off_bytes = at.off_bytes - lies->off_bytes + begin;
    }
    s->is_asking = ++s->asking_part < pt->n_parts;
    return 1;
}

int uqm_steps_take(struct uqm_steps *steps, struct uqm_step *step, struct uqm_err *err)
{
    if (steps->queue.n == 0) {
        int ret = plan_step(steps);
        assert(ret != UQM_PIECE_LATER); /* the pass that decides has ended: uqm_steps_go_on() */
        if (ret != 1)
            return steps->out_of_memory
                       ? uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to plan reads",
                                  steps->rs->recipe->where)
                       : 0;
    }
    *step = pop(&steps->queue);
    return 1;
}

void uqm_steps_go_on(struct uqm_steps *steps, const struct uqm_pass *pass)
{
    const struct uqm_job *job = steps->rs->plan[steps->range.tensor].job;
    assert(steps->waiting);
    steps->waiting = false;
    if (pass->number == job->n_passes) {
        begin_range(steps);
        return;
    }
    steps->pass = *pass;
    steps->at = pass->first_block * job->block_elem;
}
