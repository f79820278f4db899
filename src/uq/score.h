/*
 * From option logits to uncertainty (spec uq.md 1.1): pure functions of arrays. P passes, six
 * options.
 *
 * NaN marks a sample that has no value: an undecodable picture, or logits that are not numbers.
 */
#ifndef UQM_UQ_SCORE_H
#define UQM_UQ_SCORE_H

#include <stddef.h>

#include "src/uq/dataset.h"

/* Softmax over the six letters, in double. Any NaN or +Inf among the logits: all NaN. */
void uqm_option_softmax(double p[UQM_N_OPTIONS], const float logits[UQM_N_OPTIONS]);

/* Index of the largest logit, the first on ties; -1 when one is NaN. */
int uqm_option_argmax(const float logits[UQM_N_OPTIONS]);

/* -sum p ln(p + 1e-10), nats. */
double uqm_entropy(const double p[UQM_N_OPTIONS]);

/*
 * Split one question's uncertainty over its perturbations.
 * p        (n_passes, 6) option probabilities, rows summing to 1
 * total    entropy of the rows' mean;  data: mean of the rows' entropies
 * u        total - data, the mutual information; >= 0 up to rounding and the guard
 * Source: Houlsby et al. 2011 (BALD). NaN in, NaN out.
 */
struct uqm_score {
    double total, data, u;
};
struct uqm_score uqm_score_sample(const double *p, size_t n_passes);

/* Mean over the samples that have a value, and the mean's standard error sd / sqrt(n), sd with n
 * - 1. mean NaN without a sample, se NaN with fewer than two. */
struct uqm_mean {
    double mean, se;
    size_t n, n_skipped;
};
struct uqm_mean uqm_score_set(const double *u, size_t n);

/* Unweighted mean of the sets' means; se = sqrt(sum se^2) / n_sets. NaN as soon as a set's is. */
struct uqm_mean uqm_score_model(const struct uqm_mean *sets, size_t n_sets);

/* The same of a - b, sample by sample: paired, so that what both runs share drops out. */
struct uqm_mean uqm_score_paired(const double *a, const double *b, size_t n);

#endif
