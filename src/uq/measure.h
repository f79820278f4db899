/* One model's values over a survey: a number a record, their mean a set, the sets' mean. */
#ifndef UQM_UQ_MEASURE_H
#define UQM_UQ_MEASURE_H

#include "src/uq/score.h"
#include "src/uq/survey.h"

struct uqm_measure {
    size_t n_sets;
    double **values;       /* [n_sets][the set's records]; NaN: no value */
    struct uqm_mean *sets; /* [n_sets] */
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
