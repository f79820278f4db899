/* A seeded sample of a set's records. */
#ifndef UQM_UQ_SAMPLE_H
#define UQM_UQ_SAMPLE_H

#include "src/uq/dataset.h"

/*
 * How many of n records a sample holds: count (at most n) if it is not 0, else ratio's share
 * rounded up, at least one; all of them when both are 0. UQM_ERR_USAGE for a ratio outside [0, 1].
 */
int uqm_sample_size(size_t *out, size_t n, double ratio, uint64_t count, struct uqm_err *err);

/*
 * Keep n of the set's records, in the file's order. Each record draws a number from its own stream
 * (seed, set, id) and the n smallest stay: a larger sample holds the smaller ones, and which model
 * is asked plays no part. UQM_ERR_NOMEM.
 */
int uqm_sample_keep(struct uqm_dataset *set, size_t n, uint64_t seed, struct uqm_err *err);

/* The same with the paper's permutation (authors.h): the records at its first n places. */
int uqm_sample_keep_authors(struct uqm_dataset *set, size_t n, struct uqm_err *err);

/* The order in which records come into ever larger samples: place[i] is how many come before record
 * i; n_records places. UQM_ERR_NOMEM. */
int uqm_sample_places(size_t *place, const struct uqm_dataset *set, uint64_t seed,
                      struct uqm_err *err);

/* Shuffle 0..n-1, seeded. */
void uqm_sample_shuffle(size_t *indices, size_t n, uint64_t seed);

#endif
