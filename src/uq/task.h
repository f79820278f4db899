/*
 * How a set is asked and scored. Looked for, in this order: a tasks.json in the set's folder or one
 * of its parents that names the set; --task; the records' shape (choices mean multiple choice).
 *
 * tasks.json holds groups. A group with "sets" describes multiple-choice sets ("extra_choices",
 * "suffix"); in any other group a set's name stands for an object ("metric", "suffix",
 * "max_new_tokens") of a short-answer set, or for a text beginning with "multiple choice", which
 * means the first group with "sets". "system" replaces the system sentence.
 */
#ifndef UQM_UQ_TASK_H
#define UQM_UQ_TASK_H

#include "src/uq/dataset.h"

enum uqm_task_kind { UQM_TASK_CHOICE, UQM_TASK_GENERATION };

enum { UQM_MAX_EXTRA_CHOICES = 4 };

struct uqm_task {
    enum uqm_task_kind kind;
    const char *metric;                       /* "accuracy", or a short-answer set's own */
    const char *suffix;                       /* with its leading newline */
    const char *extra[UQM_MAX_EXTRA_CHOICES]; /* choices that every question gets */
    size_t n_extra;
    const char *system; /* NULL: vicuna_v1's */
    struct uqm_arena arena;
};

/*
 * UQM_ERR_FORMAT: a tasks.json that is no JSON, or describes the set wrongly; a multiple-choice set
 * with a record that has no choices, or more than the six letters can hold. UQM_ERR_ARG: a --task
 * that nobody knows. name: --task, or NULL. *out is to be finished, whatever is returned.
 */
int uqm_task_find(struct uqm_task *out, const struct uqm_dataset *set, const char *name,
                  struct uqm_err *err);
void uqm_task_finish(struct uqm_task *task);

#endif
