/* The thresholds of task vectors: which passes still have to look for them, and what their counts
 * say. What is counted is task_vectors.c's. */
#include <math.h>
#include <string.h>

#include "src/merge/methods/task_plan.h"

void uqm_task_pass_blocks(const struct uqm_job *job, const struct uqm_job_state *state,
                          unsigned pass, uint64_t *first, uint64_t *n)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    *first = 0;
    *n = job->n_blocks;
    if (uqm_task_is_sums(job, pass) || pass == UQM_TASK_COARSE)
        return;
    if (pass == UQM_TASK_FINE) {
        bool all = true;
        for (size_t k = 0; k < w.n_searches; k++)
            all = all && w.searches[k].is_settled;
        *n = all ? 0 : job->n_blocks;
        return;
    }
    const struct uqm_key_search *s = &w.searches[pass - UQM_TASK_TIES];
    bool is_sought = s->needs_cut && s->before < s->wanted;
    *n = is_sought ? uqm_job_segment_end_of(job, s->n_segments, s->segment) : 0;
    if (is_sought && s->segment > 0)
        *first = uqm_job_segment_end_of(job, s->n_segments, s->segment - 1);
    *n -= *first;
}

uint64_t uqm_task_most_blocks(const struct uqm_job *job, unsigned pass)
{
    bool wide = uqm_task_key_kind(job) == UQM_KEY_WIDE;
    if (uqm_task_is_sums(job, pass) || pass == UQM_TASK_COARSE)
        return job->n_blocks;
    if (pass == UQM_TASK_FINE)
        return wide ? job->n_blocks : 0;
    if (uqm_task_foreseen_bins(job) > 0)
        return job->n_blocks; /* many bins leave no room for segments */
    return uqm_job_segment_end(job, wide ? UQM_TASK_FINE : UQM_TASK_COARSE, 0);
}

/* Differences of 16-bit floats have keys of 16 bits, but for those of very different numbers. */
bool uqm_task_is_rare(const struct uqm_job *job, unsigned pass, bool is_sampled)
{
    return pass == UQM_TASK_FINE && !uqm_task_is_sums(job, pass) &&
           (is_sampled || uqm_task_counts_longer(job));
}

uint32_t *uqm_task_foreseen_at(const struct uqm_job *job, const struct uqm_task_work *w, size_t k,
                               uint64_t element)
{
    const struct uqm_key_window *window = &w->windows[k];
    unsigned segment = 0;
    while (uqm_job_segment_end_of(job, window->n_segments, segment) <= element / job->block_elem)
        segment++;
    return w->foreseen +
           (k * uqm_task_foreseen_bins(job) + segment * window->n_bins) * (size_t) UQM_FINE_BINS;
}

void uqm_task_end_sample(const struct uqm_job *job, struct uqm_job_state *state)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    uint32_t most = uqm_task_foreseen_bins(job);
    unsigned least = uqm_key_segments_least(job->n_elem);
    const uint32_t *keys = w.foreseen;
    for (size_t k = 0; k < w.n_searches; k++) {
        if (k == 0 || w.searches[k - 1].channel != w.searches[k].channel)
            keys = w.foreseen + k * most * (size_t) UQM_FINE_BINS;
        uqm_key_window_guess(&w.windows[k], keys, (size_t) *w.n_sampled, w.searches[k].k,
                             job->n_elem, w.counts, most, least,
                             least > UQM_MOST_SEGMENTS ? least : UQM_MOST_SEGMENTS);
    }
    memset(w.foreseen, 0, w.n_searches * most * UQM_FINE_BINS * sizeof *w.foreseen);
}

void uqm_task_gather(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                     unsigned segment, const void *tally)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    const uint32_t *from = tally;
    if (uqm_task_is_sums(job, pass) || pass > UQM_TASK_FINE)
        return;
    size_t n_bins = uqm_task_row(job, pass);
    size_t rows = pass == UQM_TASK_COARSE ? job->n_inputs : w.n_searches;
    size_t n = uqm_task_segments(job, pass);
    for (size_t r = 0; r < rows; r++) {
        uint32_t *to = w.counts + (r * n + segment) * n_bins;
        for (size_t b = 0; b < n_bins; b++)
            to[b] += from[r * n_bins + b];
    }
}

/* Until the cut is found, all equal keys are on the same side of it. */
void uqm_task_settle(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                     uint64_t first, const void *partial)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    uqm_key_search_cut(&w.searches[pass - UQM_TASK_TIES], first, partial);
}

void uqm_task_late_passes(const struct uqm_job *job, unsigned *first, unsigned *end)
{
    *end = job->n_passes - uqm_sparse_rescales(job);
    *first = *end < UQM_TASK_TIES ? *end : UQM_TASK_TIES;
}

/* The search's bin is known, and was it foreseen, so is the rest. */
static void search_foreseen(const struct uqm_job *job, const struct uqm_task_work *w, size_t k)
{
    const struct uqm_key_window *window = &w->windows[k];
    struct uqm_key_search *s = &w->searches[k];
    if (!s->is_settled && s->coarse - window->first < window->n_bins)
        uqm_key_search_fine(s,
                            uqm_task_foreseen_at(job, w, k, 0) +
                                (s->coarse - window->first) * (size_t) UQM_FINE_BINS,
                            window->n_bins * (size_t) UQM_FINE_BINS, window->n_segments);
}

void uqm_task_find_finite(const struct uqm_job *job, struct uqm_job_state *state,
                          const struct uqm_task_work *w)
{
    struct uqm_sparse *sparse = state->result;
    const unsigned n = uqm_task_segments(job, UQM_TASK_COARSE);
    const size_t row = uqm_task_row(job, UQM_TASK_COARSE);
    const uint32_t infinity =
        uqm_key_bin(uqm_task_key_kind(job), uqm_bits_of_f32((float) INFINITY));
    for (size_t k = 0; k < w->n_searches; k++) {
        const size_t i = w->searches[k].channel;
        const uint32_t *counts = w->counts + i * n * row;
        bool none = true;
        for (size_t segment = 0; segment < n; segment++)
            for (size_t bin = infinity; bin < UQM_COARSE_BINS; bin++)
                none = none && counts[segment * row + bin] == 0;
        sparse[i].all_finite = none;
    }
}

void uqm_task_search_counts(const struct uqm_job *job, struct uqm_task_work *w, unsigned pass)
{
    unsigned n = uqm_task_segments(job, pass);
    size_t row = uqm_task_row(job, pass);
    bool has_longer = uqm_task_counts_longer(job);
    for (size_t k = 0; k < w->n_searches; k++) {
        struct uqm_key_search *s = &w->searches[k];
        const uint32_t *counts = w->counts + s->channel * n * row;
        if (pass == UQM_TASK_COARSE) {
            uqm_key_search_coarse(s, uqm_task_key_kind(job), counts,
                                  has_longer ? counts + UQM_COARSE_BINS : NULL, row, n);
            search_foreseen(job, w, k);
        } else if (!s->is_settled)
            uqm_key_search_fine(s, w->counts + k * n * UQM_FINE_BINS, UQM_FINE_BINS, n);
    }
    memset(w->counts, 0, uqm_task_counts_bytes(job));
}

/* Searches stand in the order of their inputs, what to keep before what to drop. */
void uqm_task_take_limits(const struct uqm_job *job, struct uqm_job_state *state,
                          const struct uqm_task_work *w)
{
    struct uqm_sparse *sparse = state->result;
    for (size_t k = 0; k < w->n_searches; k++) {
        const struct uqm_key_search *s = &w->searches[k];
        uint64_t keep, dropped;
        uqm_sparse_counts(&keep, &dropped, job, s->channel);
        if (s->k == keep && (k == 0 || w->searches[k - 1].channel != s->channel))
            sparse[s->channel].keep = s->limit;
        else
            sparse[s->channel].drop = s->limit;
    }
}
