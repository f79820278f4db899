/* What the files of uqm_select() share. */
#ifndef UQM_UQ_SELECT_H
#define UQM_UQ_SELECT_H

#include "src/uq/algorithm.h"
#include "src/uq/call.h"
#include "src/uq/state.h"

struct uqm_select_step {
    struct uqm_measure measure;
    size_t against;       /* the step that was the best before it; 0: none */
    struct uqm_mean diff; /* to that one, paired by record */
};

struct uqm_select {
    const struct uqm_select_params *params;
    struct uqm_call call;
    struct uqm_call accuracy_call; /* clean passes; only for the orders by accuracy */
    bool wants_accuracy;
    char *scratch_dir;
    char *state_path; /* NULL: the state stays in memory */
    struct uqm_state *state;
    size_t n;                                /* models */
    struct uqm_measure *models, *accuracies; /* [n], as the models were given */
    size_t *order;                           /* [n] */
    const char **ordered_paths, **ordered_names;
    struct uqm_select_step *steps; /* [n] */
    struct uqm_algorithm_result result;
};

/* Measure every model, and put them in order. */
int uqm_select_measure(struct uqm_select *s, struct uqm_err *err);
/* Algorithm 1 over the merges of the first t. UQM_ERR_FORMAT when no step has a value. */
int uqm_select_run(struct uqm_select *s, struct uqm_err *err);

#endif
