/* One model asked the whole survey: prompts, features, the network; six logits a record and pass of
 * the multiple-choice sets, an answer a record of the generation sets. */
#ifndef UQM_UQ_RUNNER_H
#define UQM_UQ_RUNNER_H

#include "src/uq/feature_cache.h"
#include "src/uq/score.h"

struct uqm_runner {
    struct uqm_survey *survey;
    struct uqm_features *features;
    bool prepared; /* the features are those of every candidate to come */
    struct uqm_machine machine;
    const bool *wanted;   /* [n_records], which to ask; NULL: all. Borrowed */
    uint64_t other_bytes; /* memory that its owner needs besides, taken from the network's */
};

/* scratch_dir: see uqm_features_create(); device: what --device names. The survey is borrowed. *out
 * is to be finished, whatever is returned. */
int uqm_runner_init(struct uqm_runner *out, struct uqm_survey *survey, const char *scratch_dir,
                    const char *device, struct uqm_err *err);
void uqm_runner_finish(struct uqm_runner *runner);

/*
 * Ask one candidate the multiple-choice sets. logits (n_records, n_passes, 6): NaN for a record
 * that is not wanted or whose picture could not be decoded, and for those of generation sets.
 * stage: for progress. Everything that the budget has left is used.
 */
int uqm_runner_ask(float *logits, struct uqm_runner *runner, struct uqm_candidate *candidate,
                   const char *stage, struct uqm_err *err);

/*
 * The same for the generation sets of a survey of one pass. answers (n_records): malloc'ed texts,
 * NULL for a record whose picture could not be decoded, and for those of multiple-choice sets. What
 * was there before is freed.
 */
int uqm_runner_answer(char **answers, struct uqm_runner *runner, struct uqm_candidate *candidate,
                      const char *stage, struct uqm_err *err);

#endif
