/* First-token logits under way: what the job's loop (logits.c) and the two kinds of passes share.
 */
#ifndef UQM_MODEL_PASS_H
#define UQM_MODEL_PASS_H

#include "src/model/pass_plan.h"
#include "src/model/saved.h"

struct uqm_asking {
    struct uqm_network *net;
    const struct uqm_llm_job *job;
    struct uqm_run run;
    struct uqm_head head;
    struct uqm_sequence *seqs; /* one a prompt */
    size_t n_done;             /* prompts whose logits have been delivered */
    struct uqm_plan_job plan_job;
    struct uqm_plan plan;
    /* Of passes in tiles: bytes for the arena at most, and where a batch stops growing. */
    uint64_t room, enough;
    struct uqm_saved saved;
    uint64_t left_before;     /* of the budget, before the attempt */
    double start_s, waited_s; /* of the pass, for the log: computing waited for weights */
};

/* Passes in tiles that the prompts from `first` on would take; 0: a prompt does not fit. */
size_t uqm_tiles_count(const struct uqm_asking *asking, size_t first);
/* Of the arena, of the pass that begins with prompt `first`. */
uint64_t uqm_tiles_arena_bytes(const struct uqm_asking *asking, size_t first);
/* One pass from asking->n_done on, its logits delivered. */
int uqm_tiles_pass(struct uqm_asking *asking, struct uqm_err *err);
int uqm_layers_pass(struct uqm_asking *asking, struct uqm_err *err);

/* logits (n_seqs, n_tokens) of the prompts from n_done on, to the job; n_done moves. */
int uqm_asking_deliver(struct uqm_asking *asking, struct uqm_place logits, size_t n_seqs,
                       struct uqm_err *err);
/* Hidden states of a batch to the job's observer, if there is one: layer 0 is the embedding. */
int uqm_asking_observe(const struct uqm_asking *asking, const struct uqm_sequence *seqs,
                       size_t n_seqs, struct uqm_place hidden, uint32_t layer, struct uqm_err *err);
/* Deal the rows of a batch out: where each sequence begins. */
void uqm_asking_place(struct uqm_sequence *seqs, size_t n_seqs);
/* done of total steps of a pass over n_seqs prompts. */
void uqm_asking_report(const struct uqm_asking *asking, size_t n_seqs, size_t done, size_t total);

#endif
