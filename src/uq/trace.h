/* --trace: JSON lines of every option distribution, {"model","data","id","j","p":[6]}. The file
 * appears when the whole command has succeeded. */
#ifndef UQM_UQ_TRACE_H
#define UQM_UQ_TRACE_H

#include "src/uq/survey.h"

struct uqm_trace;

/* path NULL: *out is NULL, and every call below takes that and does nothing. */
int uqm_trace_create(struct uqm_trace **out, const char *path, struct uqm_err *err);
/* logits (n_records, n_passes, 6); a p that is no number stands as null. */
int uqm_trace_add(struct uqm_trace *trace, const struct uqm_survey *survey, const char *model,
                  const float *logits, struct uqm_err *err);
int uqm_trace_commit(struct uqm_trace *trace, struct uqm_err *err);
/* Without commit: the unfinished file is removed. */
void uqm_trace_destroy(struct uqm_trace **trace);

#endif
