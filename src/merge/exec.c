#include "src/merge/exec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/mt_stream.h"

enum {
    BATCH_ELEM = 1 << 20,      /* of a batch: enough blocks for many threads, and ... */
    DRAW_BATCH_ELEM = 1 << 17, /* ... not too many random numbers at once */
    FEWEST_PARALLEL = 4, /* pieces of work: below, waking the threads costs more than it saves */
    ALIGN = 64,
};

struct uqm_exec {
    struct uqm_env *env;
    struct uqm_threads *threads;
    size_t n_threads;
    struct uqm_exec_needs needs;
    void *block; /* all of it, from the budget */
    size_t block_bytes;
    char *scratch, *tallies, *partials, *work;
    uint32_t *draws;
    const uint32_t **draw_of;  /* [n_inputs] of the batch */
    const uint32_t **draws_at; /* [n_threads][n_inputs] of a worker's piece of it */
    const void **data;         /* likewise */
    struct uqm_mt_stream *mt;

    uint64_t next_block; /* of the pass under way */
    unsigned segment;
};

/* --- memory --- */

static size_t aligned(size_t n)
{
    return (size_t) uqm_align_up(n, ALIGN);
}

static size_t size_of(size_t (*fn)(const struct uqm_job *), const struct uqm_job *job)
{
    return fn ? aligned(fn(job)) : 0;
}

static bool draws_numbers(const struct uqm_job *job, size_t input)
{
    return job->numerics == UQM_NUMERICS_MERGEKIT && job->ops->draws && job->ops->draws(job, input);
}

static bool draws_any(const struct uqm_job *job)
{
    for (size_t i = 0; i < job->n_inputs; i++)
        if (draws_numbers(job, i))
            return true;
    return false;
}

/* Blocks of a batch. */
static size_t batch_blocks(const struct uqm_job *job, size_t n_threads)
{
    uint64_t most = (draws_any(job) ? DRAW_BATCH_ELEM : BATCH_ELEM) / job->block_elem;
    return (size_t) uqm_min_u64(uqm_max_u64(most, n_threads), job->n_blocks);
}

static void at_least(size_t *a, size_t b)
{
    if (*a < b)
        *a = b;
}

void uqm_exec_need(struct uqm_exec_needs *needs, const struct uqm_job *job, size_t n_threads)
{
    const struct uqm_method_ops *ops = job->ops;
    size_t n = batch_blocks(job, n_threads);
    at_least(&needs->n_inputs, job->n_inputs);
    at_least(&needs->scratch_bytes, size_of(ops->scratch_bytes, job));
    if (draws_any(job)) {
        at_least(&needs->draw_elem, n * (size_t) job->block_elem);
        at_least(&needs->draw_inputs, job->n_inputs);
    }
    if (job->n_passes == 0)
        return;
    at_least(&needs->tally_bytes, size_of(ops->tally_bytes, job));
    at_least(&needs->partial_bytes, n * size_of(ops->partial_bytes, job));
    at_least(&needs->work_bytes, size_of(ops->work_bytes, job));
}

static size_t draw_bytes(const struct uqm_exec_needs *needs)
{
    return aligned(needs->draw_elem * needs->draw_inputs * sizeof(uint32_t));
}

uint64_t uqm_exec_bytes(const struct uqm_exec_needs *needs, size_t n_threads)
{
    uint64_t per_worker = (uint64_t) needs->scratch_bytes + needs->tally_bytes;
    return n_threads * per_worker + needs->partial_bytes + needs->work_bytes + draw_bytes(needs);
}

int uqm_exec_create(struct uqm_exec **out, struct uqm_env *env, struct uqm_threads *threads,
                    const struct uqm_exec_needs *needs, uint64_t seed, struct uqm_err *err)
{
    struct uqm_exec *x = calloc(1, sizeof *x);
    if (!x)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory to merge");
    x->env = env;
    x->threads = threads;
    x->n_threads = (size_t) uqm_threads_count(threads);
    x->needs = *needs;
    x->block_bytes = (size_t) uqm_exec_bytes(needs, x->n_threads);
    size_t n_inputs = needs->n_inputs ? needs->n_inputs : 1;
    x->draw_of = calloc(n_inputs, sizeof *x->draw_of);
    x->draws_at = calloc(x->n_threads * n_inputs, sizeof *x->draws_at);
    x->data = calloc(x->n_threads * n_inputs, sizeof *x->data);
    int ret = x->draw_of && x->draws_at && x->data
                  ? UQM_OK
                  : uqm_fail(err, UQM_ERR_NOMEM, "no memory to merge");
    if (ret == UQM_OK && x->block_bytes)
        ret = uqm_budget_alloc(&x->block, env, x->block_bytes, ALIGN, "the arithmetic's scratch",
                               err);
    if (ret == UQM_OK && needs->draw_elem)
        ret = uqm_mt_stream_create(&x->mt, seed, n_inputs, err);
    if (ret < 0) {
        uqm_exec_destroy(&x);
        return ret;
    }
    x->scratch = x->block;
    x->tallies = x->scratch + x->n_threads * needs->scratch_bytes;
    x->partials = x->tallies + x->n_threads * needs->tally_bytes;
    x->work = x->partials + needs->partial_bytes;
    x->draws = (uint32_t *) (void *) (x->work + needs->work_bytes);
    *out = x;
    return UQM_OK;
}

void uqm_exec_destroy(struct uqm_exec **exec)
{
    struct uqm_exec *x = *exec;
    if (!x)
        return;
    uqm_mt_stream_destroy(&x->mt);
    uqm_budget_free(&x->block, x->env, x->block_bytes);
    free(x->draw_of);
    free(x->draws_at);
    free(x->data);
    free(x);
    *exec = NULL;
}

/* --- a batch --- */

/* Some of a span's elements, on one thread. */
struct batch {
    struct uqm_exec *x;
    const struct uqm_job *job;
    const struct uqm_job_state *state;
    const struct uqm_span *span; /* of which the batch is [begin, begin + n_elem) */
    size_t begin, n_elem;
    size_t step; /* elements of one piece of work */
    unsigned pass;
    char *dst;
};

static struct uqm_span piece_of(const struct batch *b, size_t item, int worker)
{
    struct uqm_exec *x = b->x;
    const struct uqm_job *job = b->job;
    size_t at = b->begin + item * b->step, end = b->begin + b->n_elem;
    const void **data = x->data + (size_t) worker * x->needs.n_inputs;
    const uint32_t **draws = x->draws_at + (size_t) worker * x->needs.n_inputs;
    for (size_t i = 0; i < job->n_inputs; i++) {
        size_t size = uqm_dtype_bits(job->inputs[i].dtype) / 8;
        data[i] = (const char *) b->span->data[i] + at * size;
        /* the numbers of one piece lie behind those of the pieces before it */
        draws[i] = x->draw_of[i] ? x->draw_of[i] + item * b->step : NULL;
    }
    return (struct uqm_span){
        .first = b->span->first + at,
        .n_elem = end - at < b->step ? end - at : b->step,
        .data = data,
        .draws = x->mt ? draws : NULL,
    };
}

static void scan_piece(void *ctx, size_t item, int worker)
{
    const struct batch *b = ctx;
    struct uqm_exec *x = b->x;
    const struct uqm_method_ops *ops = b->job->ops;
    struct uqm_span span = piece_of(b, item, worker);
    size_t bytes = size_of(ops->partial_bytes, b->job);
    char *partial = x->partials + item * bytes;
    if (bytes > 0)
        memset(partial, 0, bytes);
    ops->scan(b->job, b->state, b->pass, &span, partial,
              x->tallies + (size_t) worker * x->needs.tally_bytes,
              x->scratch + (size_t) worker * x->needs.scratch_bytes);
}

static void merge_piece(void *ctx, size_t item, int worker)
{
    const struct batch *b = ctx;
    struct uqm_exec *x = b->x;
    struct uqm_span span = piece_of(b, item, worker);
    size_t at = b->begin + item * b->step;
    b->job->ops->merge(b->job, b->state, b->dst + at * (uqm_dtype_bits(b->job->out) / 8), &span,
                       x->scratch + (size_t) worker * x->needs.scratch_bytes);
}

static void draw_input(void *ctx, size_t item, int worker)
{
    const struct batch *b = ctx;
    (void) worker;
    if (!draws_numbers(b->job, item))
        return;
    uint64_t at = b->job->inputs[item].n_drawn_before + b->span->first + b->begin;
    uqm_mt_stream_draw(b->x->mt, item, at, b->x->draws + item * b->x->needs.draw_elem, b->n_elem);
}

static void run_batch(struct batch *b, uqm_task_fn fn)
{
    struct uqm_exec *x = b->x;
    size_t n = (b->n_elem + b->step - 1) / b->step;
    struct uqm_threads *threads = n < FEWEST_PARALLEL ? NULL : x->threads;
    if (x->mt && draws_any(b->job)) {
        assert(b->n_elem <= x->needs.draw_elem);
        for (size_t i = 0; i < b->job->n_inputs; i++)
            x->draw_of[i] = draws_numbers(b->job, i) ? x->draws + i * x->needs.draw_elem : NULL;
        uqm_parallel(threads, b->job->n_inputs, draw_input, b);
    } else {
        memset(x->draw_of, 0, x->needs.n_inputs * sizeof *x->draw_of);
    }
    uqm_parallel(threads, n, fn, b);
}

/* --- passes --- */

static void zero_tallies(struct uqm_exec *x, const struct uqm_job *job)
{
    for (size_t w = 0; w < x->n_threads; w++)
        memset(x->tallies + w * x->needs.tally_bytes, 0, size_of(job->ops->tally_bytes, job));
}

/* Go to the pass of this number, or the first behind it that has something to do. */
static void enter_pass(struct uqm_exec *x, const struct uqm_job *job,
                       const struct uqm_job_state *state, struct uqm_pass *pass, unsigned number)
{
    *pass = (struct uqm_pass){ .number = number, .n_blocks = job->n_blocks };
    while (pass->number < job->n_passes && job->ops->pass_blocks) {
        job->ops->pass_blocks(job, state, pass->number, &pass->first_block, &pass->n_blocks);
        if (pass->n_blocks > 0)
            break;
        pass->number++;
    }
    if (pass->number >= job->n_passes) {
        pass->number = job->n_passes;
        return;
    }
    assert(pass->first_block + pass->n_blocks <= job->n_blocks);
    x->next_block = pass->first_block;
    x->segment = 0;
    while (uqm_job_segment_end(job, pass->number, x->segment) <= x->next_block)
        x->segment++;
    zero_tallies(x, job);
}

void uqm_exec_begin(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                    struct uqm_pass *pass)
{
    state->work = exec->work;
    memset(state->work, 0, size_of(job->ops->work_bytes, job));
    if (job->ops->begin)
        job->ops->begin(job, state);
    enter_pass(exec, job, state, pass, 0);
}

void uqm_exec_sample(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                     const struct uqm_span *span)
{
    assert(exec->next_block == 0 && span->n_elem <= UQM_SAMPLE_ELEM);
    job->ops->sample(job, state, span, exec->scratch);
}

static void gather(struct uqm_exec *x, const struct uqm_job *job, struct uqm_job_state *state,
                   unsigned pass)
{
    if (!job->ops->gather)
        return;
    for (size_t w = 0; w < x->n_threads; w++)
        job->ops->gather(job, state, pass, x->segment, x->tallies + w * x->needs.tally_bytes);
}

void uqm_exec_scan(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                   const struct uqm_pass *pass, const struct uqm_span *span)
{
    struct uqm_exec *x = exec;
    size_t most = batch_blocks(job, x->n_threads), partial = size_of(job->ops->partial_bytes, job);
    assert(span->first == x->next_block * job->block_elem);
    for (size_t at = 0; at < span->n_elem;) {
        uint64_t end = uqm_job_segment_end(job, pass->number, x->segment);
        uint64_t n = uqm_min_u64(most, end - x->next_block);
        struct batch b = {
            .x = x,
            .job = job,
            .state = state,
            .span = span,
            .begin = at,
            .n_elem = (size_t) uqm_min_u64(n * job->block_elem, span->n_elem - at),
            .step = (size_t) job->block_elem,
            .pass = pass->number,
        };
        run_batch(&b, scan_piece);
        size_t n_blocks = (b.n_elem + b.step - 1) / b.step;
        for (size_t k = 0; k < n_blocks && job->ops->fold; k++)
            job->ops->fold(job, state, pass->number, x->next_block + k, x->partials + k * partial);
        x->next_block += n_blocks;
        at += b.n_elem;
        if (x->next_block == end) {
            gather(x, job, state, pass->number);
            x->segment++;
        }
    }
}

int uqm_exec_end_pass(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                      struct uqm_pass *pass, struct uqm_err *err)
{
    assert(exec->next_block == pass->first_block + pass->n_blocks);
    if (exec->next_block < job->n_blocks)
        gather(exec, job, state, pass->number); /* the pass may end inside a segment */
    int ret = job->ops->end_pass ? job->ops->end_pass(job, state, pass->number, err) : 0;
    if (ret < 0)
        return ret;
    enter_pass(exec, job, state, pass, ret == 1 ? job->n_passes : pass->number + 1);
    if (pass->number == job->n_passes)
        state->work = NULL;
    return UQM_OK;
}

/* One late pass; false: it has nothing to do with these elements. */
static bool settle_pass(struct uqm_exec *x, const struct uqm_job *job, struct uqm_job_state *state,
                        unsigned number, const struct uqm_span *span)
{
    size_t most = batch_blocks(job, x->n_threads), partial = size_of(job->ops->partial_bytes, job);
    uint64_t end = span->first + span->n_elem, at = span->first, first, n;
    bool any = false;
    for (;; any = true) {
        job->ops->pass_blocks(job, state, number, &first, &n);
        at = uqm_max_u64(at, first * job->block_elem);
        uint64_t until = uqm_min_u64(end, (first + n) * job->block_elem);
        if (n == 0 || at >= until)
            return any;
        struct batch b = {
            .x = x,
            .job = job,
            .state = state,
            .span = span,
            .begin = (size_t) (at - span->first),
            .n_elem = (size_t) uqm_min_u64(most * job->block_elem, until - at),
            .step = (size_t) job->block_elem,
            .pass = number,
        };
        run_batch(&b, scan_piece);
        for (size_t k = 0; k * b.step < b.n_elem; k++)
            job->ops->settle(job, state, number, at + k * b.step, x->partials + k * partial);
        at += b.n_elem;
    }
}

struct uqm_pass uqm_exec_leave_late(struct uqm_exec *exec, const struct uqm_job *job,
                                    struct uqm_job_state *state, struct uqm_pass *pass)
{
    const struct uqm_pass late = *pass;
    unsigned first, end;
    if (!job->ops->late_passes || pass->number == job->n_passes)
        return (struct uqm_pass){ 0 };
    job->ops->late_passes(job, &first, &end);
    if (late.number < first || late.number >= end)
        return (struct uqm_pass){ 0 };
    enter_pass(exec, job, state, pass, end);
    return late;
}

int uqm_exec_settle(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                    const struct uqm_pass *late, const struct uqm_span *span, struct uqm_err *err)
{
    int ret = UQM_OK;
    unsigned first, end;
    job->ops->late_passes(job, &first, &end);
    for (unsigned p = late->number; p < end && ret >= 0; p++)
        if (settle_pass(exec, job, state, p, span) && job->ops->end_pass)
            ret = job->ops->end_pass(job, state, p, err);
    return ret < 0 ? ret : UQM_OK;
}

/* --- merging --- */

void uqm_exec_merge(struct uqm_exec *exec, const struct uqm_job *job,
                    const struct uqm_job_state *state, void *dst, const struct uqm_span *span)
{
    size_t most = batch_blocks(job, exec->n_threads) * (size_t) job->block_elem;
    for (size_t at = 0; at < span->n_elem;) {
        struct batch b = {
            .x = exec,
            .job = job,
            .state = state,
            .span = span,
            .begin = at,
            .n_elem = span->n_elem - at < most ? span->n_elem - at : most,
            .step = (size_t) job->block_elem,
            .dst = dst,
        };
        run_batch(&b, merge_piece);
        at += b.n_elem;
    }
}
