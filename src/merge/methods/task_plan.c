#include "src/merge/methods/task_plan.h"

#include "src/base/checked.h"

static bool is_counted(const struct uqm_job *job)
{
    enum uqm_sparsifier s = uqm_task_kind_of(job->method->id).sparsifier;
    return s == UQM_SPARSE_MAGNITUDE || s == UQM_SPARSE_OUTLIERS;
}

bool uqm_task_is_drawn(const struct uqm_job *job)
{
    enum uqm_sparsifier s = uqm_task_kind_of(job->method->id).sparsifier;
    return s == UQM_SPARSE_RANDOM || s == UQM_SPARSE_RANKED;
}

/* From f32 elements by the kernels of compute/merge_kernels.h; else lane by lane. */
bool uqm_task_is_direct(const struct uqm_job *job)
{
    return job->numerics == UQM_NUMERICS_ACCURATE && job->work != UQM_F64;
}

enum uqm_key_kind uqm_task_key_kind(const struct uqm_job *job)
{
    if (job->numerics == UQM_NUMERICS_MERGEKIT && job->work == UQM_BF16)
        return UQM_KEY_OF_BF16;
    if (job->numerics == UQM_NUMERICS_MERGEKIT && job->work == UQM_F16)
        return UQM_KEY_OF_F16;
    return UQM_KEY_WIDE;
}

bool uqm_task_counts_longer(const struct uqm_job *job)
{
    bool all = uqm_task_is_direct(job) && uqm_task_key_kind(job) == UQM_KEY_WIDE;
    for (size_t i = 0; i < job->n_inputs; i++)
        all = all && uqm_dtype_bits(job->inputs[i].dtype) == 16;
    return all;
}

size_t uqm_task_row(const struct uqm_job *job, unsigned pass)
{
    if (pass == UQM_TASK_FINE)
        return UQM_FINE_BINS;
    return uqm_task_counts_longer(job) ? 2 * UQM_COARSE_BINS : UQM_COARSE_BINS;
}

/* The thresholds that have to be looked for: at most two an input. searches may be NULL. */
size_t uqm_task_list_searches(struct uqm_key_search *searches, const struct uqm_job *job)
{
    /* mergekit's sort of magnitudes for outliers is ascending and keeps the order of equal ones */
    bool last = uqm_task_kind_of(job->method->id).sparsifier == UQM_SPARSE_OUTLIERS;
    size_t n = 0;
    for (size_t i = 0; i < job->n_inputs && is_counted(job); i++) {
        uint64_t k[2];
        if (!uqm_sparse_is_active(job, i))
            continue;
        uqm_sparse_counts(&k[0], &k[1], job, i);
        for (size_t j = 0; j < 2; j++) {
            if (k[j] == 0 || k[j] >= job->n_elem)
                continue;
            if (searches)
                searches[n] =
                    (struct uqm_key_search){ .k = k[j], .channel = i, .limit.last = last };
            n++;
        }
    }
    return n;
}

/* Limits of an input as far as they are known from the plan. */
void uqm_task_start_sparse(struct uqm_sparse *sparse, const struct uqm_job *job, size_t input)
{
    uint64_t keep = job->n_elem, drop = 0;
    if (is_counted(job) && uqm_sparse_is_active(job, input))
        uqm_sparse_counts(&keep, &drop, job, input);
    *sparse = (struct uqm_sparse){
        .keep = keep > 0 ? uqm_key_limit_all() : uqm_key_limit_none(),
        .drop = drop < job->n_elem ? uqm_key_limit_none() : uqm_key_limit_all(),
    };
}

unsigned uqm_task_segments(const struct uqm_job *job, unsigned pass)
{
    size_t n = uqm_task_list_searches(NULL, job);
    bool last = pass == UQM_TASK_FINE || uqm_task_key_kind(job) != UQM_KEY_WIDE ||
                uqm_task_counts_longer(job);
    if (n == 0 || pass > UQM_TASK_FINE)
        return 1;
    return last ? uqm_key_segments(job->n_elem, job->n_blocks, n)
                : uqm_key_segments_least(job->n_elem);
}

unsigned uqm_task_passes(const struct uqm_job *job)
{
    size_t n = uqm_task_list_searches(NULL, job);
    return (unsigned) ((n ? UQM_TASK_TIES + n : 0) + uqm_sparse_rescales(job));
}

bool uqm_task_is_sums(const struct uqm_job *job, unsigned pass)
{
    return uqm_sparse_rescales(job) && pass + 1 == job->n_passes;
}

/* --- memory --- */

/* No more counters than the tensor has elements: of short ones few keys fall into each, and they
 * are mostly kept. */
uint32_t uqm_task_foreseen_bins(const struct uqm_job *job)
{
    size_t n = uqm_task_list_searches(NULL, job);
    if (n == 0 || uqm_task_key_kind(job) != UQM_KEY_WIDE || uqm_task_counts_longer(job))
        return 0;
    uint64_t bytes = uqm_min_u64(UQM_MOST_COUNTER_BYTES, job->n_elem * sizeof(uint32_t));
    return (uint32_t) (bytes / (UQM_FINE_BINS * sizeof(uint32_t)) / n);
}

uint64_t uqm_task_n_samples(const struct uqm_job *job)
{
    uint64_t room = (uint64_t) uqm_task_foreseen_bins(job) * UQM_FINE_BINS;
    return uqm_min_u64(job->n_elem / 100, room) / UQM_SAMPLE_ELEM;
}

static size_t coarse_counts(const struct uqm_job *job)
{
    return job->n_inputs * uqm_task_segments(job, UQM_TASK_COARSE) *
           uqm_task_row(job, UQM_TASK_COARSE);
}

size_t uqm_task_counts_bytes(const struct uqm_job *job)
{
    size_t n = uqm_task_list_searches(NULL, job);
    size_t coarse = coarse_counts(job) + n * uqm_task_foreseen_bins(job) * UQM_FINE_BINS;
    size_t fine = n * uqm_task_segments(job, UQM_TASK_FINE) * UQM_FINE_BINS;
    if (n == 0)
        return 0;
    return sizeof(uint32_t) *
           (uqm_task_key_kind(job) != UQM_KEY_WIDE || coarse > fine ? coarse : fine);
}

static size_t focus_bytes(const struct uqm_job *job)
{
    return (job->n_inputs * sizeof(struct uqm_task_focus) + 7) / 8 * 8;
}

size_t uqm_task_work_bytes(const struct uqm_job *job)
{
    return uqm_task_list_searches(NULL, job) *
               (sizeof(struct uqm_key_search) + sizeof(struct uqm_key_window)) +
           focus_bytes(job) + sizeof(uint64_t) + 2 * job->n_inputs * sizeof(double) +
           uqm_task_counts_bytes(job);
}

struct uqm_task_work uqm_task_work_of(const struct uqm_job *job, const struct uqm_job_state *state)
{
    char *p = state->work;
    size_t n = uqm_task_list_searches(NULL, job);
    struct uqm_task_work w = { .n_searches = n, .searches = (struct uqm_key_search *) (void *) p };
    p += n * sizeof *w.searches;
    w.windows = (struct uqm_key_window *) (void *) p;
    p += n * sizeof *w.windows;
    w.focus = (struct uqm_task_focus *) (void *) p;
    p += focus_bytes(job);
    w.n_sampled = (uint64_t *) (void *) p;
    w.before = (double *) (void *) (w.n_sampled + 1);
    w.after = w.before + job->n_inputs;
    w.counts = (uint32_t *) (void *) (w.after + job->n_inputs);
    w.foreseen = w.counts + coarse_counts(job);
    return w;
}

size_t uqm_task_result_bytes(const struct uqm_job *job)
{
    return job->n_inputs * sizeof(struct uqm_sparse);
}

size_t uqm_task_tally_bytes(const struct uqm_job *job)
{
    size_t n = uqm_task_list_searches(NULL, job);
    size_t coarse = job->n_inputs * uqm_task_row(job, UQM_TASK_COARSE), fine = n * UQM_FINE_BINS;
    if (n == 0)
        return 0;
    return sizeof(uint32_t) *
           (uqm_task_key_kind(job) != UQM_KEY_WIDE || coarse > fine ? coarse : fine);
}

size_t uqm_task_partial_bytes(const struct uqm_job *job)
{
    size_t sums = job->n_inputs * sizeof(struct uqm_task_sums);
    size_t ties = uqm_task_list_searches(NULL, job) ? sizeof(struct uqm_key_ties) : 0;
    return sums > ties ? sums : ties;
}

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

size_t uqm_task_keep_bytes(const struct uqm_job *job)
{
    return uqm_task_is_drawn(job) ? ((size_t) job->block_elem + 63) / 64 * sizeof(uint64_t) : 0;
}

uint64_t uqm_task_note_bytes(const struct uqm_job *job)
{
    return uqm_sparse_rescales(job) ? job->n_blocks * job->n_inputs * uqm_task_keep_bytes(job) : 0;
}

size_t uqm_task_scratch_bytes(const struct uqm_job *job)
{
    return aligned(uqm_arith_bytes(UQM_TASK_FIRST_SHARE + job->n_inputs)) +
           aligned(job->n_inputs * sizeof(double)) +
           aligned(job->n_inputs * sizeof(struct uqm_task_input)) +
           aligned(job->n_inputs * sizeof(struct uqm_task_direct)) +
           aligned((UQM_CHUNK + 16) * sizeof(uint32_t)) +
           aligned((size_t) job->block_elem * sizeof(uint32_t)) +
           aligned(job->n_inputs * sizeof(uint8_t *)) +
           aligned(job->n_inputs * uqm_task_keep_bytes(job)) + uqm_sparse_draw_bytes(job);
}

struct uqm_task_scratch uqm_task_cut(const struct uqm_job *job, void *block)
{
    char *p = block;
    struct uqm_task_scratch s = { 0 };
    uqm_arith_init(&s.arith, job, p);
    p += aligned(uqm_arith_bytes(UQM_TASK_FIRST_SHARE + job->n_inputs));
    s.weights = (double *) (void *) p;
    p += aligned(job->n_inputs * sizeof(double));
    s.inputs = (struct uqm_task_input *) (void *) p;
    p += aligned(job->n_inputs * sizeof(struct uqm_task_input));
    s.direct = (struct uqm_task_direct *) (void *) p;
    p += aligned(job->n_inputs * sizeof(struct uqm_task_direct));
    s.found = (uint32_t *) (void *) p;
    p += aligned((UQM_CHUNK + 16) * sizeof(uint32_t));
    s.keys = (uint32_t *) (void *) p;
    p += aligned((size_t) job->block_elem * sizeof(uint32_t));
    s.kept = (const uint8_t **) (void *) p;
    p += aligned(job->n_inputs * sizeof(uint8_t *));
    s.keep = (uint8_t *) p;
    s.draw = p + aligned(job->n_inputs * uqm_task_keep_bytes(job));
    return s;
}
