/* The models of a call: one after another, or several merges in one sweep over their inputs. */
#ifndef UQM_UQ_SWEEP_CALL_H
#define UQM_UQ_SWEEP_CALL_H

#include "src/uq/call.h"

/* What comes of a model or a merge, the k-th; the call's logits and answers are its own. */
typedef int (*uqm_call_take_fn)(void *ctx, size_t k, struct uqm_err *err);

/*
 * Ask n open candidates, merges of one family of models of which the last has all (merge/sweep.h):
 * each model's tiles are read once and go into n networks, each with a budget and threads of its
 * own. What a network computes is what the candidate would give by itself, to the bit. take() is
 * called for each when all are done; stage is said of all.
 *
 * UQM_ERR_UNSUPPORTED, UQM_ERR_NOMEM, with the reason: they are to be asked one by one; take() has
 * not been called. Whatever is returned, the candidates can be asked again.
 */
int uqm_call_sweep(struct uqm_call *call, struct uqm_candidate *candidates, size_t n,
                   const char *stage, uqm_call_take_fn take, void *ctx, struct uqm_err *err);

/* Takes over the measure of the i-th model of the call, which is summarized. */
typedef int (*uqm_call_model_fn)(void *ctx, size_t i, struct uqm_measure *m, struct uqm_err *err);

/* Measure the call's models in their order, `window` at a time in a sweep where that is more than
 * one and they can be swept. */
int uqm_call_models(struct uqm_call *call, int window, uqm_call_model_fn take, void *ctx,
                    struct uqm_err *err);

#endif
