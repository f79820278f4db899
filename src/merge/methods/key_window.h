/*
 * Where a threshold will lie, from a sample: so that the pass that counts coarsely (key_counts.h)
 * can count the bins around it finely at the same time, and no further pass is needed. A guess that
 * is wrong costs that pass; never the result, which comes from the counts alone.
 *
 * The sample is of runs of neighbours, spread over the tensor; those are no independent draws, so
 * the error of a share of the sample is taken from how the shares of the runs differ.
 */
#ifndef UQM_MERGE_KEY_WINDOW_H
#define UQM_MERGE_KEY_WINDOW_H

#include "src/merge/methods/key_counts.h"

/* Coarse bins [first, first + n_bins), counted finely in n_segments segments. Zero: none. */
struct uqm_key_window {
    uint32_t first, n_bins, n_segments, unused;
};

/*
 * The bins that hold the k-th largest of n_elem keys, to six standard errors of its rank in the
 * sample on either side; fewer, about the middle, where those do not fit. keys: n_sampled, in runs
 * of UQM_SAMPLE_ELEM. bins: [UQM_COARSE_BINS] of scratch, zeroed, and zeroed again. most: how many
 * bins times segments there is room for. least_segments, most_segments: as many of them as the bins
 * leave room for.
 */
void uqm_key_window_guess(struct uqm_key_window *window, const uint32_t *keys, size_t n_sampled,
                          uint64_t k, uint64_t n_elem, uint32_t *bins, uint32_t most,
                          uint32_t least_segments, uint32_t most_segments);

/* Counts keys (all within the window) into one segment's counters, which threads share. */
void uqm_key_window_count(const struct uqm_key_window *window, uint32_t *counts,
                          const uint32_t *keys, size_t n);

#endif
