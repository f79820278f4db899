/* --trace: JSON lines of every option distribution, {"model","data","id","j","p":[6]}, and of every
 * answer, {"model","data","id","answer","score"}. The file appears when the whole command has
 * succeeded. */
#ifndef UQM_UQ_TRACE_H
#define UQM_UQ_TRACE_H

#include "src/uq/measure.h"

struct uqm_trace;

/* path NULL: *out is NULL, and every call below takes that and does nothing. */
int uqm_trace_create(struct uqm_trace **out, const char *path, struct uqm_err *err);
/* logits (n_records, n_passes, 6), of the multiple-choice sets; a p that is no number stands as
 * null. wanted (n_records): the records that were asked, or NULL: all. */
int uqm_trace_add(struct uqm_trace *trace, const struct uqm_survey *survey, const char *model,
                  const bool *wanted, const float *logits, struct uqm_err *err);
/* answers (n_records) of the generation sets and what they scored; null where there is none. */
int uqm_trace_add_answers(struct uqm_trace *trace, const struct uqm_survey *survey,
                          const char *model, char *const *answers, const struct uqm_measure *m,
                          struct uqm_err *err);
int uqm_trace_commit(struct uqm_trace *trace, struct uqm_err *err);
/* Without commit: the unfinished file is removed. */
void uqm_trace_destroy(struct uqm_trace **trace);

#endif
