/*
 * Answers as far as they have come, in the host's memory, with the keys and values of all that was
 * read: where a group of prompts goes on when a device was lost and has been made anew (saved.h
 * does that for first-token logits). Saved behind every batch of the prefill and every few tokens,
 * on devices that may fail, in memory that nobody else has asked for. The bits of the answers do
 * not depend on it: what comes back are the cache's own.
 */
#ifndef UQM_MODEL_SAVED_ANSWERS_H
#define UQM_MODEL_SAVED_ANSWERS_H

#include "src/model/generate.h"

/* Where a group that begins with this prompt goes on; false: it begins anew. */
bool uqm_saved_answers_has(const struct uqm_saved_answers *saved, size_t first);

/* Whether the device may fail and so many steps are worth saving. */
bool uqm_saved_answers_is_due(const struct uqm_answering *answering);
/* The first n_prefilled prompts of the group have been read, and answering->n_steps tokens after
 * them. Without room nothing is saved. An error is the device's: what was saved before stays. */
int uqm_saved_answers_put(struct uqm_answering *answering, size_t n_prefilled, struct uqm_err *err);
/* Answers, tokens and caches of a group that uqm_saved_answers_has(), whose memory is taken:
 * *n_prefilled as it was saved. */
int uqm_saved_answers_take(struct uqm_answering *answering, size_t *n_prefilled,
                           struct uqm_err *err);
/* Takes a zeroed one, or one that has been finished; `off` stays. */
void uqm_saved_answers_finish(struct uqm_saved_answers *saved, struct uqm_env *env);

#endif
