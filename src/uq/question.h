/* A record as the text a model reads (spec uq.md 5.1 and 4.5). */
#ifndef UQM_UQ_QUESTION_H
#define UQM_UQ_QUESTION_H

#include "src/uq/task.h"

/* The user text: hint, question, lettered choices where there are some, suffix; no <image>.
 * malloc'ed; NULL when out of memory. */
char *uqm_question_text(const struct uqm_record *record, const struct uqm_task *task);

/*
 * The whole prompt: `prefix` ("" for none), the system sentence, then the text. One <image> mark
 * stands in it for a record with a picture, none for one without; where the text itself has the
 * mark, none is added. UQM_ERR_FORMAT names the record whose text has marks that its picture cannot
 * fill. malloc'ed.
 */
int uqm_question_prompt(char **out, const struct uqm_dataset *set, const struct uqm_record *record,
                        const struct uqm_task *task, const char *prefix, struct uqm_err *err);

/* How often `<image>` stands in a text. */
size_t uqm_question_marks(const char *text);

#endif
