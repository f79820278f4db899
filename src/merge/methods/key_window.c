#include "src/merge/methods/key_window.h"

#include <math.h>
#include <string.h>

static const double SIGMAS = 6;

/* The bin that holds the rank-th largest, from 1. */
static uint32_t bin_at(const uint32_t *bins, double rank)
{
    uint32_t bin = UQM_COARSE_BINS;
    double sum = 0;
    while (bin > 0 && sum < rank)
        sum += bins[--bin];
    return bin;
}

/* The standard error of the sample's share of keys in bins above `bin`. */
static double error_of_share(const uint32_t *keys, size_t n, uint32_t bin)
{
    double sum = 0, squares = 0, n_runs = ceil((double) n / UQM_SAMPLE_ELEM);
    for (size_t at = 0; at < n; at += UQM_SAMPLE_ELEM) {
        size_t end = n - at < UQM_SAMPLE_ELEM ? n : at + UQM_SAMPLE_ELEM, above = 0;
        for (size_t e = at; e < end; e++)
            above += keys[e] >> 16 > bin;
        double share = (double) above / (double) (end - at);
        sum += share;
        squares += share * share;
    }
    double mean = sum / n_runs, runs = fmax(squares / n_runs - mean * mean, 0) / n_runs;
    return sqrt(fmax(runs, mean * (1 - mean) / (double) n));
}

void uqm_key_window_guess(struct uqm_key_window *window, const uint32_t *keys, size_t n_sampled,
                          uint64_t k, uint64_t n_elem, uint32_t *bins, uint32_t most,
                          uint32_t least_segments, uint32_t most_segments)
{
    *window = (struct uqm_key_window){ 0 };
    uint32_t fits = most / least_segments;
    if (n_sampled == 0 || fits == 0)
        return;
    for (size_t e = 0; e < n_sampled; e++)
        bins[keys[e] >> 16]++;
    double n = (double) n_sampled, rank = (double) k / (double) n_elem * n;
    uint32_t middle = bin_at(bins, rank);
    double error = SIGMAS * error_of_share(keys, n_sampled, middle) * n + 1;
    uint32_t high = bin_at(bins, fmax(rank - error, 1)), low = bin_at(bins, fmin(rank + error, n));
    memset(bins, 0, UQM_COARSE_BINS * sizeof *bins);
    if (high - low >= fits) {
        uint32_t below = middle - low < fits / 2 ? middle - low : fits / 2;
        low = middle - below;
        high = high - low < fits ? high : low + fits - 1;
    }
    uint32_t n_bins = high - low + 1, n_segments = most / n_bins;
    *window = (struct uqm_key_window){
        .first = low,
        .n_bins = n_bins,
        .n_segments = n_segments < most_segments ? n_segments : most_segments,
    };
}

void uqm_key_window_count(const struct uqm_key_window *window, uint32_t *counts,
                          const uint32_t *keys, size_t n)
{
    const uint32_t low = window->first << 16;
    for (size_t e = 0, same; e < n; e += same) { /* of equal tensors all are the same */
        for (same = 1; e + same < n && keys[e + same] == keys[e]; same++)
            ;
        __atomic_fetch_add(&counts[keys[e] - low], (uint32_t) same, __ATOMIC_RELAXED);
    }
}
