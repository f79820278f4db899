/* Inside generation: the job as its files share it. network.h is the way in. */
#ifndef UQM_MODEL_GENERATE_H
#define UQM_MODEL_GENERATE_H

#include "src/model/decode.h"
#include "src/model/resident.h"

/* An answer as it grows. */
struct uqm_answer {
    int32_t *ids;
    size_t n;
    bool complete;
};

/* Prompts [first, first + n): they are answered together. */
struct uqm_prompt_group {
    size_t first, n;
    uint64_t n_positions;
    uint64_t arena; /* words: the largest prefill of its batches, or the step of all */
    bool tight;     /* one prompt that fits only with the MLP in pieces */
};

/* A group's answers behind some tokens (saved_answers.h). */
struct uqm_saved_answers {
    bool is_set;
    bool off; /* memory has run out: no more of this */
    struct uqm_prompt_group group;
    size_t n_prefilled, n_tokens, n_steps;
    struct uqm_answer *answers;      /* [group.n], their ids being in `ids` */
    struct uqm_decode_token *tokens; /* [group.n] */
    int32_t *ids;
    size_t *n_rows; /* [group.n]: of a slot's keys and values */
    uint32_t *kv;   /* from the budget */
    size_t bytes;
};

struct uqm_generator {
    struct uqm_network *given;
    struct uqm_network net; /* `given`, with the source that is read */
    const struct uqm_generate_job *job;
    struct uqm_schedule whole; /* all that a pass may read */
    struct uqm_resident *resident;
    struct uqm_run run;
    struct uqm_head head;
    struct uqm_sequence *seqs; /* one a prompt */
    uint32_t *n_new;           /* one a prompt: tokens that it may have */
    size_t n_answered;         /* prompts [0, n_answered) have been delivered */
    uint64_t room;             /* words for arena and caches together */
    uint64_t largest;          /* words of one allocation */
    uint64_t enough;           /* words where a prefill's batch stops growing */
    struct uqm_saved_answers saved;
    uint64_t left_before; /* of the budget, before the first attempt */
};

/* Some prompts one after the other, and what their prefill needs. */
struct uqm_prompt_batch {
    size_t first, n_rows, n_pictures;
    struct uqm_llama_plan plan; /* its n_seqs: how many prompts */
};

/* A group under way. */
struct uqm_answering {
    struct uqm_generator *g;
    const struct uqm_prompt_group *group;
    struct uqm_kv_cache cache;
    struct uqm_decoder decoder;
    struct uqm_answer *answers;      /* [group.n] */
    struct uqm_decode_token *tokens; /* [group.n]: what is read next */
    size_t *n_positions;             /* [group.n] */
    int32_t *ids;                    /* the answers' */
    size_t n_ids;
    size_t n_tokens, n_steps, most_steps;
};

/* ---- groups (prompt_group.c) ---- */

/* The prompts from `first` on that fit together; n 0: not even one does. */
struct uqm_prompt_group uqm_prompt_group_choose(const struct uqm_generator *g, size_t first);
int uqm_prompt_group_no_room(const struct uqm_generator *g, size_t first, struct uqm_err *err);
/* Cache rows of a prompt: the last token is said, but not read again. */
size_t uqm_prompt_positions(const struct uqm_generator *g, size_t prompt);
/* Add a prompt to a batch, or begin the next one with it where that is large enough; zeroed: the
 * first. Batches are dealt out front to back, so that a group that grows changes its last one
 * alone. */
void uqm_prompt_batch_add(struct uqm_prompt_batch *batch, const struct uqm_generator *g,
                          size_t prompt, bool tight);

/* ---- one group (answer_group.c) ---- */

int uqm_answer_group(struct uqm_generator *g, const struct uqm_prompt_group *group,
                     struct uqm_err *err);

#endif
