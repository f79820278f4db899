/* What a study leaves: tables as CSV and JSON, experiment.json, work.json, index.html. */
#ifndef UQM_STUDY_STUDY_WRITE_H
#define UQM_STUDY_STUDY_WRITE_H

#include "src/study/study_run.h"

/* tables: a list of tables (page.h), each with its "experiment" name; left_out: {"name", "why"}.
 * All files are replaced as a whole, index.html last. */
int uqm_study_write(struct uqm_study_run *run, const struct uqm_study_pick *pick,
                    const json_t *tables, const json_t *left_out, struct uqm_err *err);

/* A table as CSV (RFC 4180, lines end with a line feed): a column a key, errors after their values,
 * numbers at full precision, lists with "+" between. malloc'ed; NULL: no memory. */
char *uqm_study_csv(const json_t *table);

/* {"work": [{"what", "jobs", "seconds", "bytes_read"}]}: what the answers that were used took, when
 * they were found. NULL: no memory. */
json_t *uqm_study_work(const struct uqm_study_run *run);

#endif
