/* What the files of uqm_select() share. */
#ifndef UQM_UQ_SELECT_H
#define UQM_UQ_SELECT_H

#include "src/uq/algorithm.h"
#include "src/uq/call.h"
#include "src/uq/state.h"

/* A model whose own uncertainty is below this times the current merge's is warned of. */
#define UQM_OVERCONFIDENT_BELOW 0.25
/* So is a step whose answers' entropy is below this times the largest before it. */
#define UQM_NARROW_BELOW 0.85

struct uqm_select_step {
    struct uqm_measure measure;
    struct uqm_measure accuracy; /* of orders by accuracy */
    size_t against;              /* the step that was the best before it; 0: none */
    struct uqm_mean diff;        /* to that one, paired by record */
    bool decided;                /* a race that ended before the last record */
    bool swept;                  /* measured by this run, in a sweep */
};

struct uqm_select {
    const struct uqm_select_params *params;
    struct uqm_merge_rule rule;
    struct uqm_call call;
    struct uqm_call accuracy_call; /* clean passes; only for the orders by accuracy */
    bool wants_accuracy;
    char *scratch_dir;
    char *state_path; /* NULL: the state stays in memory */
    struct uqm_state *state;
    struct uqm_xxh3_hex rule_digest;
    size_t n;                                /* models */
    struct uqm_xxh3_hex *model_digests;      /* [n], as the models were given */
    struct uqm_measure *models, *accuracies; /* [n], the same */
    size_t *order;                           /* [n] */
    const char **ordered_paths, **ordered_names, **ordered_digests;
    struct uqm_select_step *steps; /* [n] */
    size_t **places;               /* [n_sets][the set's records]: the race's order */
    bool *wanted;                  /* [n_records] */
    bool sweeps;                   /* steps are measured `window` at a time */
    struct uqm_algorithm_result result;
};

/* Measure every model, and put them in order. */
int uqm_select_measure(struct uqm_select *s, struct uqm_err *err);
/* Algorithm 1 over the merges of the first t. UQM_ERR_FORMAT when no step has a value. */
int uqm_select_run(struct uqm_select *s, struct uqm_err *err);

/* Ask the merge of the first t models what `wanted` says (NULL: everything); m holds the values
 * after, unsummarized (select_steps.c). */
int uqm_select_ask_merge(struct uqm_measure *m, struct uqm_select *s, struct uqm_call *call,
                         size_t t, const bool *wanted, struct uqm_err *err);
/* The measure of step t, all records of it, from the state or from the network. */
int uqm_select_whole(struct uqm_measure *m, struct uqm_select *s, struct uqm_call *call, size_t t,
                     struct uqm_err *err);
/*
 * Measure step t and those after it, `window` in all, in one sweep over the inputs
 * (select_sweep.c); what the state has already is left out. The values go to the state. Where that
 * cannot be, the reason is logged, s->sweeps becomes false, and nothing has been measured.
 */
int uqm_select_sweep(struct uqm_select *s, struct uqm_call *call, size_t t, struct uqm_err *err);
/* Whether the state has all of step t (select_steps.c); put a whole step there. */
bool uqm_select_knows(struct uqm_select *s, struct uqm_call *call, size_t t);
int uqm_select_keep(struct uqm_select *s, struct uqm_call *call, size_t t,
                    const struct uqm_measure *m, struct uqm_err *err);
/* Race step t against the best. Both measures grow as far as it takes. */
int uqm_select_race(struct uqm_select *s, size_t t, size_t best, struct uqm_err *err);
/* Ask a raced step what is left of its records. */
int uqm_select_race_on(struct uqm_select *s, size_t t, struct uqm_err *err);
/* The measure of a single model, all records. */
int uqm_select_model(struct uqm_measure *m, struct uqm_select *s, struct uqm_call *call, size_t i,
                     struct uqm_err *err);

/* The call's result; NULL: no memory. */
json_t *uqm_select_json(struct uqm_select *s, double seconds, struct uqm_err *err);

#endif
