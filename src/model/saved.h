/*
 * Hidden states of a pass' prompts behind one of its layers, in the host's memory: where computing
 * goes on when a device was lost and has been made anew (spec vulkan.md 9). Saved every few layers
 * on devices that may fail, in memory that nobody else has asked for; those that lie in a scratch
 * file, in a second one. Where there is no room, prompts begin anew. A result does not depend on
 * it.
 */
#ifndef UQM_MODEL_SAVED_H
#define UQM_MODEL_SAVED_H

#include "io/scratch.h"
#include "src/model/blocks.h"

struct uqm_saved { /* zero: nothing */
    float *rows;   /* of prompts [first, first + n_seqs), packed; from the budget */
    size_t bytes;
    bool has_file; /* they are in this file instead, packed the same way */
    struct uqm_scratch file;
    uint64_t file_bytes;
    size_t first, n_seqs; /* n_seqs 0: nothing is saved */
    uint32_t n_behind;    /* layers that they have gone through; >= 1 */
    bool off;             /* memory has run out: no more of this */
};

struct uqm_asking;

/* Layers that prompt `at` has behind it already: 0, it begins with its embedding. */
uint32_t uqm_saved_behind(const struct uqm_saved *saved, size_t at);
/* Where a pass that begins with prompt `at` has to end, at the latest: all of its prompts are saved
 * or none is. */
size_t uqm_saved_limit(const struct uqm_saved *saved, size_t at, size_t n_prompts);
/* n_words of the rows of prompt `at`, which are saved, and of those behind it, to the device. */
int uqm_saved_load(const struct uqm_asking *asking, struct uqm_place to, size_t at, size_t n_words,
                   struct uqm_err *err);

/* Whether the pass over n_seqs prompts from n_done on is to be saved behind so many layers. */
bool uqm_saved_is_due(const struct uqm_asking *asking, size_t n_seqs, uint32_t n_behind);
/* When the device has done all it was told: *rows is where to save them, NULL: there is no room.
 * What was saved before is forgotten. uqm_saved_end() when all rows are there. */
int uqm_saved_begin(float **rows, struct uqm_asking *asking, size_t n_seqs, struct uqm_err *err);
/* The same in a file; NULL: none can be made. */
int uqm_saved_begin_file(const struct uqm_scratch **file, struct uqm_asking *asking, size_t n_seqs,
                         struct uqm_err *err);
void uqm_saved_end(struct uqm_asking *asking, size_t n_seqs, uint32_t n_behind);

void uqm_saved_finish(struct uqm_saved *saved, struct uqm_env *env);

#endif
