/*
 * Conformal prediction sets over the six options (spec uq.md 5.4): how many answers a model must be
 * allowed for the right one to be among them with a probability of 1 - alpha. Needs labels.
 *
 * Half of the records calibrate: the last half of the paper's permutation (authors.h). With n of
 * them, level q = ceil((n + 1)(1 - alpha)) / n (1 where it is more) and qhat the score at place
 * ceil(q (n - 1)) of the sorted scores.
 *     LAC  score 1 - p[truth];  set {k: p[k] >= 1 - qhat}, the largest where that is empty
 *     APS  score: the sum of the options from the largest down to the truth;  set: the longest run
 *          from the largest on whose sum is <= qhat, the largest where that is empty
 */
#ifndef UQM_UQ_CONFORMAL_H
#define UQM_UQ_CONFORMAL_H

#include "src/uq/dataset.h"

struct uqm_conformal_sets { /* of one kind */
    double qhat;
    double mean_size;
    double coverage; /* how many sets hold the truth */
};

struct uqm_conformal {
    size_t n_calibration, n_test;
    bool level_cut; /* too few calibrate for this alpha: the level would be above 1 */
    struct uqm_conformal_sets lac, aps;
    double accuracy, e_rate, f_rate; /* of the most probable option; E and F said */
    double ece, mce; /* 15 bins of that option's probability: mean and largest gap to accuracy */
};

/*
 * p (n, 6), truth[n] in 0..5 (an option's index), part[n]: which record is the i-th of the split
 * (a permutation): the first n - floor(n / 2) are tested, the others calibrate. size[n]: the mean
 * of both sets' sizes of a tested record, NaN of one that calibrates. n >= 2.
 * UQM_ERR_NOMEM.
 */
int uqm_conformal(struct uqm_conformal *out, double *size, const double (*p)[UQM_N_OPTIONS],
                  const int *truth, const size_t *part, size_t n, double alpha,
                  struct uqm_err *err);

#endif
