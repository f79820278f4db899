/*
 * How a set is asked and scored. Looked for, in this order: a tasks.json in the set's folder or one
 * of its parents that names the set; --task; the records' shape (choices mean multiple choice, else
 * answers are compared by exact_match).
 *
 * tasks.json holds groups. A group with "sets" describes multiple-choice sets ("extra_choices",
 * "suffix"); in any other group a set's name stands for an object ("metric", "suffix",
 * "max_new_tokens") of a generation set, or for a text beginning with "multiple choice", which
 * means the first group with "sets". "system" replaces the system sentence.
 *
 * A generation set's suffix may be two, "\nX | Y when choices is null": the first for records with
 * choices, "\nY" for the others.
 */
#ifndef UQM_UQ_TASK_H
#define UQM_UQ_TASK_H

#include "src/uq/metric.h"

enum uqm_task_kind { UQM_TASK_CHOICE, UQM_TASK_GENERATION };

enum { UQM_MAX_EXTRA_CHOICES = 4 };

/* What becomes of a generation record's question before it is asked. */
enum uqm_question_form { UQM_QUESTION_AS_IS, UQM_QUESTION_STRIPPED, UQM_QUESTION_CAPITALIZED };

struct uqm_task {
    enum uqm_task_kind kind;
    const char *metric;      /* "accuracy", or the generation set's, by name and ... */
    enum uqm_metric score;   /* ... number */
    const char *suffix;      /* with its leading newline */
    const char *open_suffix; /* of a generation record without choices */
    const char *hint_label;  /* stands before a hint, and an empty hint is none; NULL: as it is */
    enum uqm_question_form form;
    bool picture_choices;    /* a choice with "jpg" or "png" in it is asked as `<image>` */
    uint32_t max_new_tokens; /* the task's own limit; 0: it has none */
    const char *extra[UQM_MAX_EXTRA_CHOICES]; /* choices that every question gets */
    size_t n_extra;
    const char *system; /* NULL: vicuna_v1's */
    struct uqm_arena arena;
};

/* The tasks of spec uq.md 5 and 6 by the names of --task; false: there is no such task. */
bool uqm_task_known(struct uqm_task *out, const char *name);
/* Multiple choice as spec uq.md 5.1 has it. */
void uqm_task_choice(struct uqm_task *out);

/*
 * UQM_ERR_FORMAT: a tasks.json that is no JSON, or describes the set wrongly; a multiple-choice set
 * with a record that has no choices, or more than the six letters can hold. UQM_ERR_USAGE: a --task
 * that nobody knows. name: --task, or NULL. *out is to be finished, whatever is returned.
 */
int uqm_task_find(struct uqm_task *out, const struct uqm_dataset *set, const char *name,
                  struct uqm_err *err);
void uqm_task_finish(struct uqm_task *task);

#endif
