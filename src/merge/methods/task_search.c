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
    if (pass <= UQM_TASK_FINE) {
        bool all = true;
        for (size_t k = 0; k < w.n_searches; k++)
            all = all && (pass == UQM_TASK_FINE ? w.searches[k].is_settled
                                                : !w.focus[w.searches[k].channel].missed);
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
    if (pass == UQM_TASK_RECOUNT)
        return 0; /* only of tensors that are kept */
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

/* --- the coarse pass --- */

void uqm_task_count_all(const struct uqm_job *job, uint32_t *counts, const uint32_t *keys,
                        uint32_t *found, size_t n)
{
    enum uqm_key_kind kind = uqm_task_key_kind(job);
    uint32_t *longer = counts + UQM_COARSE_BINS;
    for (size_t e = 0; e < n; e++)
        counts[uqm_key_bin(kind, keys[e])]++;
    if (!uqm_task_counts_longer(job))
        return;
    size_t n_found = job->kernels->merge->keys_with_bits(found, keys, 0xFFFF, n);
    for (size_t e = 0; e < n_found; e++)
        longer[found[e] >> 16]++;
}

bool uqm_task_count_focused(const struct uqm_job *job, const struct uqm_task_focus *focus,
                            uint32_t *counts, struct uqm_stored x, struct uqm_stored base,
                            uint32_t *found, size_t n)
{
    const uint32_t infinity = 0x7F800000, end = focus->first + focus->n_bins;
    uint32_t *longer = counts + UQM_COARSE_BINS;
    struct uqm_key_split split = {
        .low = focus->first << 16,
        .n_keys = focus->n_bins << 16,
        .likely = focus->likely,
    };
    if (focus->n_bins == 0 || focus->missed)
        return false;
    size_t n_found = job->kernels->merge->split_deltas(&split, found, x, base, n);
    if (split.largest >= infinity) /* what is infinite or NaN is looked for in its bins */
        return false;
    for (size_t e = 0; e < n_found; e++) {
        counts[found[e] >> 16]++;
        longer[found[e] >> 16] += (found[e] & 0xFFFF) != 0;
    }
    counts[focus->likely >> 16] += (uint32_t) split.n_likely;
    if (focus->first > 0)
        counts[focus->first - 1] += (uint32_t) split.n_below;
    if (end < UQM_COARSE_BINS)
        counts[end] += (uint32_t) (n - split.n_below - split.n_likely - n_found);
    return true;
}

/* From the first segment's counters, the longer keys' behind them: the bins about the k-th largest
 * of n_elem, to a share of 1/FOCUS_SHARE of all on either side. */
static void widen_focus(struct uqm_task_focus *f, const uint32_t *counts, uint64_t k,
                        uint64_t n_elem)
{
    enum { FOCUS_SHARE = 64 };
    uint64_t total = 0, sum = 0;
    for (size_t bin = 0; bin < UQM_COARSE_BINS; bin++)
        total += counts[bin];
    const double at = (double) k / (double) n_elem * (double) total;
    const double width = (double) total / FOCUS_SHARE;
    uint32_t end = UQM_COARSE_BINS, first = end;
    while (first > 0 && (double) sum < at + width) {
        if ((double) sum <= at - width)
            end = first; /* those from here on are too large */
        sum += counts[--first];
    }
    if (f->n_bins > 0) { /* another threshold's */
        first = f->first < first ? f->first : first;
        end = f->first + f->n_bins > end ? f->first + f->n_bins : end;
    }
    *f = (struct uqm_task_focus){ .first = first, .n_bins = end - first };
    uint32_t likely = first, most = 0;
    for (uint32_t bin = first; bin < end; bin++) {
        uint32_t without = counts[bin] - counts[UQM_COARSE_BINS + bin];
        if (without > most) {
            likely = bin;
            most = without;
        }
    }
    f->likely = likely << 16;
}

static void find_focus(const struct uqm_job *job, const struct uqm_job_state *state,
                       struct uqm_task_work *w, unsigned n_segments)
{
    const size_t row = uqm_task_row(job, UQM_TASK_COARSE);
    if (!state->kept || n_segments < 2 || !uqm_task_counts_longer(job))
        return;
    for (size_t i = 0; i < job->n_inputs; i++)
        w->focus[i] = (struct uqm_task_focus){ .n_bins = 0 };
    for (size_t k = 0; k < w->n_searches; k++) {
        const struct uqm_key_search *s = &w->searches[k];
        widen_focus(&w->focus[s->channel], w->counts + s->channel * n_segments * row, s->k,
                    job->n_elem);
    }
}

/* Most counters are 0: of keys about a threshold few are used. n is a multiple of 16. */
static void take_counts(uint32_t *restrict to, uint32_t *restrict from, size_t n)
{
    enum { SOME = 16 };
    for (size_t b = 0; b < n; b += SOME) {
        uint32_t any = 0;
        for (size_t i = 0; i < SOME; i++)
            any |= from[b + i];
        for (size_t i = 0; i < SOME && any; i++) {
            to[b + i] += from[b + i];
            from[b + i] = 0;
        }
    }
}

void uqm_task_gather(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                     unsigned segment, void *tally)
{
    struct uqm_task_work w = uqm_task_work_of(job, state);
    uint32_t *from = tally;
    if (uqm_task_is_sums(job, pass) || pass > UQM_TASK_FINE)
        return;
    size_t n_bins = uqm_task_row(job, pass), n = uqm_task_segments(job, pass);
    for (size_t k = 0; k < w.n_searches; k++) {
        size_t row = pass == UQM_TASK_FINE ? k : w.searches[k].channel;
        if (pass != UQM_TASK_FINE && k > 0 && w.searches[k - 1].channel == row)
            continue;
        take_counts(w.counts + (row * n + segment) * n_bins, from + row * n_bins, n_bins);
    }
    if (pass == UQM_TASK_COARSE && segment == 0)
        find_focus(job, state, &w, (unsigned) n);
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

/* A bin outside the focus holds more than its own keys. */
static void check_focus(struct uqm_task_work *w)
{
    for (size_t k = 0; k < w->n_searches; k++) {
        struct uqm_task_focus *f = &w->focus[w->searches[k].channel];
        f->missed = f->missed || (f->n_bins > 0 && w->searches[k].coarse - f->first >= f->n_bins);
    }
    for (size_t k = 0; k < w->n_searches; k++) {
        struct uqm_key_search *s = &w->searches[k];
        if (w->focus[s->channel].missed)
            *s = (struct uqm_key_search){ .k = s->k,
                                          .channel = s->channel,
                                          .limit.last = s->limit.last };
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
        if (pass == UQM_TASK_COARSE || (pass == UQM_TASK_RECOUNT && w->focus[s->channel].missed)) {
            uqm_key_search_coarse(s, uqm_task_key_kind(job), counts,
                                  has_longer ? counts + UQM_COARSE_BINS : NULL, row, n);
            search_foreseen(job, w, k);
        } else if (pass == UQM_TASK_FINE && !s->is_settled)
            uqm_key_search_fine(s, w->counts + k * n * UQM_FINE_BINS, UQM_FINE_BINS, n);
    }
    if (pass == UQM_TASK_COARSE)
        check_focus(w);
    bool all = true;
    for (size_t k = 0; k < w->n_searches; k++)
        all = all && w->searches[k].is_settled;
    if (!all) /* they are counted in again */
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
