/*
 * Algorithm 1 of UQ-Merge (spec uq.md 1.2) over whatever gives the value of step t: the merge of
 * the first t models of an order. The value is an uncertainty, or an accuracy with its sign turned:
 * less is better.
 */
#ifndef UQM_UQ_ALGORITHM_H
#define UQM_UQ_ALGORITHM_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

struct uqm_algorithm_step {
    double value;
    double drop;    /* by which it lies below the best step's; +Inf where that is none, NaN where
                       the step has no value */
    bool collapsed; /* the answers hardly depend on the question */
    bool narrowed;  /* its answers spread too little over the letters: it is not taken, unless there
                       is nothing before it */
    bool improved;  /* it became the best; never after the stop. Set by the algorithm */
};

/* Fill in step t, 1 <= t <= n. Called for t = 1, 2, ... in turn; best: the best step before it, 0
 * when there is none. */
typedef int (*uqm_step_fn)(void *ctx, struct uqm_algorithm_step *step, size_t t, size_t best,
                           struct uqm_err *err);

struct uqm_algorithm_params {
    size_t n;
    double min_drop; /* a step improves when its drop is more; 0: the paper's strict < */
    int patience; /* how many steps in a row may fail to improve before it stops; 0: the paper's */
    bool all_steps; /* ask for the steps after the stop too; the choice stands */
    /* The guard, or NULL: whether to stop before step t is asked for. A guarded run stops at a
     * collapsed step, too. */
    bool (*guards)(void *ctx, size_t t, size_t best);
};

enum uqm_stop {
    UQM_STOP_NONE,
    UQM_STOP_VALUE,
    UQM_STOP_GUARD,
    UQM_STOP_COLLAPSE,
    UQM_STOP_SPREAD,
};

struct uqm_algorithm_result {
    struct uqm_algorithm_step *steps; /* room for n; the caller's */
    size_t n_steps;                   /* asked for */
    size_t stopped_at; /* the step that ended it, asked for or not; 0: every model was taken or
                          tried */
    enum uqm_stop stop;
    size_t best; /* the best merge is of the first `best` models; 0: no step had a value */
};

/* A step without a value does not improve. Fails only as step() does. */
int uqm_algorithm_run(struct uqm_algorithm_result *result,
                      const struct uqm_algorithm_params *params, uqm_step_fn step, void *ctx,
                      struct uqm_err *err);

/* Stable sort of indices[0..n) by value[index]; NaN last. */
void uqm_algorithm_sort(size_t *indices, size_t n, const double *value, bool descending);

#endif
