/*
 * Racing: two merges are compared on more and more records until it is decided which is the more
 * uncertain, or all records are used up.
 *
 * The records of a set are taken in an order that depends on the seed alone, and looked at
 * UQM_RACE_LOOKS times: a sixteenth of them (not fewer than 16), an eighth, a quarter, half, all.
 * At each look but the last the mean paired difference, less the drop that is asked for, is
 * compared with its standard error, the records being a sample without replacement of all there
 * are: at the last look there is nothing left to chance, and the race ends as it would have without
 * racing. ALPHA, the risk that the race ends otherwise, is shared by the looks before the last in
 * equal parts (Bonferroni), each two-sided by Student's distribution.
 */
#ifndef UQM_UQ_RACE_H
#define UQM_UQ_RACE_H

#include "src/uq/measure.h"

enum { UQM_RACE_LOOKS = 5, UQM_RACE_FIRST = 16 };

/* Records of a set of n that have been asked after look 0 ... UQM_RACE_LOOKS - 1. */
size_t uqm_race_size(size_t n, unsigned look);

/* place[i]: how many records of the set come before record i in the race; n_records each. */
int uqm_race_order(size_t *place, const struct uqm_dataset *set, uint64_t seed,
                   struct uqm_err *err);

/* Student's distribution: t with P(|T| > t) = alpha, for df degrees of freedom. */
double uqm_race_quantile(double alpha, double df);

/*
 * Whether the mean of a - b, over sets, is told from `from` at a look, by the records of that look
 * alone; both hold them, and may hold more. places[set][record]: uqm_race_order()'s. *diff: the
 * mean difference, its standard error that of the sample that it is.
 */
bool uqm_race_decided(struct uqm_mean *diff, const struct uqm_measure *a,
                      const struct uqm_measure *b, const struct uqm_survey *survey,
                      size_t *const *places, unsigned look, double from, double alpha);

#endif
