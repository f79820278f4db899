/* One model's values over a survey: a number a record, their mean a set, the sets' mean. */
#ifndef UQM_UQ_MEASURE_H
#define UQM_UQ_MEASURE_H

#include "src/uq/conformal.h"
#include "src/uq/score.h"
#include "src/uq/survey.h"

struct uqm_measure {
    size_t n_sets;
    double **values; /* [n_sets][the set's records]; NaN: no value */
    size_t *n_asked; /* [n_sets]: records that have been asked; all, unless a race is on */
    double (*answers)[UQM_N_OPTIONS]; /* [n_sets]: the option probabilities of all records with a
                                         value, each the mean of its passes, added up */
    struct uqm_mean *sets;            /* [n_sets] */
    struct uqm_mean model;
};

/* All values NaN. */
int uqm_measure_init(struct uqm_measure *out, const struct uqm_survey *survey, struct uqm_err *err);
/* Takes a zeroed one. */
void uqm_measure_finish(struct uqm_measure *measure);

/* From logits (n_records, n_passes, 6), of the multiple-choice sets. Uncertainty: u of each record.
 * Accuracy: 1 or 0 by the first pass' largest logit, NaN without a label. */
void uqm_measure_uncertainty(struct uqm_measure *m, const struct uqm_survey *survey,
                             const float *logits);
void uqm_measure_accuracy(struct uqm_measure *m, const struct uqm_survey *survey,
                          const float *logits);

/*
 * Conformal set sizes: of the records that calibrate there is no value, and they count as not
 * asked. details[n_sets], or NULL. UQM_ERR_FORMAT names a set in which fewer than two records have
 * a label and logits.
 */
int uqm_measure_conformal(struct uqm_measure *m, struct uqm_conformal *details,
                          const struct uqm_survey *survey, const float *logits, double alpha,
                          struct uqm_err *err);

/* Take in the records that another measure of the same survey has and this one has not. */
void uqm_measure_add(struct uqm_measure *m, const struct uqm_measure *more,
                     const struct uqm_survey *survey);

/*
 * How the answers spread over the letters when all questions are put together: the entropy, in
 * nats, of the option probabilities averaged over a set's records, averaged over the sets. A model
 * that gives one letter whatever is asked comes near 0, however sure or unsure it is of each
 * answer; one that follows questions whose right letters are spread over four comes near ln 4.
 * NaN where no record has a value. No label is used.
 */
double uqm_measure_answer_entropy(const struct uqm_measure *m);
/* Below this a model's answers look as if they did not depend on the question: half of ln 4, what
 * is left when two letters of four are never given (docs/selection.md). */
#define UQM_COLLAPSED_BELOW 0.6931471805599453

/* The metric's score of each answer (n_records) of the generation sets, NaN without an answer. */
int uqm_measure_answers(struct uqm_measure *m, const struct uqm_survey *survey,
                        char *const *answers, struct uqm_err *err);

/*
 * The means, from the values. UQM_ERR_FORMAT names a set without a single value, and the model.
 */
int uqm_measure_summarize(struct uqm_measure *m, const struct uqm_survey *survey, const char *name,
                          struct uqm_err *err);

/* a - b, paired by record, as one mean over the sets. */
struct uqm_mean uqm_measure_difference(const struct uqm_measure *a, const struct uqm_measure *b,
                                       const struct uqm_survey *survey);

/* {"model","uq","stderr","datasets":[{"data","uq","stderr","samples","skipped"}]} */
json_t *uqm_measure_json(const struct uqm_measure *m, const struct uqm_survey *survey,
                         const char *name);
/* The array of its "datasets". */
json_t *uqm_measure_sets_json(const struct uqm_measure *m, const struct uqm_survey *survey);
/* A number, or null where it is none. */
json_t *uqm_measure_number(double value);

#endif
