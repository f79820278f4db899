/*
 * What a merge of task vectors looks for, in which passes, and the memory that takes (task_plan.c);
 * what the passes' counts say (task_search.c). What is counted and merged is task_vectors.c's.
 */
#ifndef UQM_MERGE_METHODS_TASK_PLAN_H
#define UQM_MERGE_METHODS_TASK_PLAN_H

#include "compute/merge_kernels.h"
#include "src/merge/methods/key_window.h"
#include "src/merge/methods/methods.h"
#include "src/merge/methods/sparsify.h"

enum { UQM_TASK_COARSE, UQM_TASK_RECOUNT, UQM_TASK_FINE, UQM_TASK_TIES };

/* Of one input, in a tensor that is kept: from the second segment of the coarse pass on only the
 * keys of these bins are counted one by one, about where the first segment has the thresholds;
 * those below are in the bin before them, those above in the one behind. */
struct uqm_task_focus {
    uint32_t first, n_bins; /* 0: all */
    uint32_t likely;        /* the key that most have, of those without lower bits in these bins */
    bool missed;            /* a threshold lies elsewhere: all are counted once more */
};

struct uqm_task_work {
    size_t n_searches;
    struct uqm_key_search *searches;
    struct uqm_key_window *windows; /* [n_searches] */
    struct uqm_task_focus *focus;   /* [n_inputs] */
    uint64_t *n_sampled;            /* elements */
    uint32_t *counts;               /* [input, or search when fine][segment][uqm_task_row()] */
    uint32_t *foreseen;     /* [n_searches][uqm_task_foreseen_bins() * UQM_FINE_BINS]: in the coarse
                               pass the windows' counters [segment][bin][UQM_FINE_BINS]; before it,
                               the keys sampled, of an input in its first search's */
    double *before, *after; /* [n_inputs] */
};

struct uqm_task_sums {
    double before[UQM_SUM_PARTS], after[UQM_SUM_PARTS];
};

/* One model beside the base, as the kernels see it. */
struct uqm_task_direct {
    size_t input;
    struct uqm_sparse sparse;
    struct uqm_stored x; /* of the chunk in hand */
    const uint8_t *keep; /* bits of the whole span, or NULL */
};

/* One worker's: lanes for the base, the sum, the mixture, the divisor and every model's share; the
 * magnitudes and the draws of a whole block. */
enum { UQM_TASK_BASE, UQM_TASK_SUM, UQM_TASK_MIX, UQM_TASK_DIVISOR, UQM_TASK_FIRST_SHARE };

struct uqm_task_scratch {
    struct uqm_arith arith;
    struct uqm_stored base;        /* of the chunk in hand, where the job is direct */
    double *weights;               /* [n_inputs], as the arithmetic has them */
    struct uqm_task_input *inputs; /* [n_inputs], and what they come from */
    struct uqm_task_direct *direct;
    uint32_t *found;      /* [UQM_CHUNK + 16] keys of one bin */
    uint32_t *keys;       /* [block_elem] */
    const uint8_t **kept; /* [n_inputs] of drawn methods: bits of the span's elements, here ... */
    uint8_t *keep;        /* [n_inputs][uqm_task_keep_bytes()] ... or in the notes */
    void *draw;
};

/* The mask comes from random numbers. */
bool uqm_task_is_drawn(const struct uqm_job *job);
/* From f32 elements by the kernels of compute/merge_kernels.h; else lane by lane. */
bool uqm_task_is_direct(const struct uqm_job *job);
enum uqm_key_kind uqm_task_key_kind(const struct uqm_job *job);
/* Whether the coarse pass counts keys with more than their upper 16 bits aside, as key_counts.h
 * says: from stored floats of 16 bits. */
bool uqm_task_counts_longer(const struct uqm_job *job);
/* Counters of one input, or search, in one segment of a pass that counts. */
size_t uqm_task_row(const struct uqm_job *job, unsigned pass);
/* How many coarse bins (times segments) of one search can be counted finely in the coarse pass; 0:
 * that is not worth it, or not needed. */
uint32_t uqm_task_foreseen_bins(const struct uqm_job *job);
/* The thresholds that have to be looked for: at most two an input. searches may be NULL. */
size_t uqm_task_list_searches(struct uqm_key_search *searches, const struct uqm_job *job);
/* Limits of an input as far as they are known from the plan. */
void uqm_task_start_sparse(struct uqm_sparse *sparse, const struct uqm_job *job, size_t input);

/* For struct uqm_method_ops. */
uint64_t uqm_task_n_samples(const struct uqm_job *job);
unsigned uqm_task_segments(const struct uqm_job *job, unsigned pass);
unsigned uqm_task_passes(const struct uqm_job *job);
size_t uqm_task_work_bytes(const struct uqm_job *job);
size_t uqm_task_result_bytes(const struct uqm_job *job);
size_t uqm_task_tally_bytes(const struct uqm_job *job);
size_t uqm_task_partial_bytes(const struct uqm_job *job);
size_t uqm_task_scratch_bytes(const struct uqm_job *job);
uint64_t uqm_task_note_bytes(const struct uqm_job *job);

/* task_mix.c, likewise: what is not drawn by rank. */
enum uqm_mixes uqm_task_mixes(const struct uqm_job *job);
bool uqm_task_as_mix(const struct uqm_job *job, const struct uqm_job_state *state,
                     const struct uqm_span *span, struct uqm_mix *mix,
                     struct uqm_mix_input *inputs);

/* Whether this pass is the last one, that sums for rescaling. */
bool uqm_task_is_sums(const struct uqm_job *job, unsigned pass);
size_t uqm_task_counts_bytes(const struct uqm_job *job);
/* Bits of one block's elements, of one input; 0 where none are drawn. The notes are
 * [n_blocks][n_inputs] of these. */
size_t uqm_task_keep_bytes(const struct uqm_job *job);
/* Views into the blocks that the engine gives. */
struct uqm_task_work uqm_task_work_of(const struct uqm_job *job, const struct uqm_job_state *state);
struct uqm_task_scratch uqm_task_cut(const struct uqm_job *job, void *block);

/* --- task_search.c: for struct uqm_method_ops, but for the last five --- */

void uqm_task_pass_blocks(const struct uqm_job *job, const struct uqm_job_state *state,
                          unsigned pass, uint64_t *first, uint64_t *n);
uint64_t uqm_task_most_blocks(const struct uqm_job *job, unsigned pass);
bool uqm_task_is_rare(const struct uqm_job *job, unsigned pass, bool is_sampled);
void uqm_task_late_passes(const struct uqm_job *job, unsigned *first, unsigned *end);
void uqm_task_end_sample(const struct uqm_job *job, struct uqm_job_state *state);
void uqm_task_gather(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                     unsigned segment, void *tally);
void uqm_task_settle(const struct uqm_job *job, struct uqm_job_state *state, unsigned pass,
                     uint64_t first, const void *partial);
/* The counters of a search's window, in the segment of the block that `element` is in. */
uint32_t *uqm_task_foreseen_at(const struct uqm_job *job, const struct uqm_task_work *w, size_t k,
                               uint64_t element);
/* The coarse pass has ended: which inputs have no key of an infinite or NaN magnitude. */
void uqm_task_find_finite(const struct uqm_job *job, struct uqm_job_state *state,
                          const struct uqm_task_work *w);
/* The elements of a chunk, by their keys; into one input's counters of the coarse pass. */
void uqm_task_count_all(const struct uqm_job *job, uint32_t *counts, const uint32_t *keys,
                        uint32_t *found, size_t n);
/* Likewise, about the focus, from the operands. False: not counted, as something has to be counted
 * by itself. */
bool uqm_task_count_focused(const struct uqm_job *job, const struct uqm_task_focus *focus,
                            uint32_t *counts, struct uqm_stored x, struct uqm_stored base,
                            uint32_t *found, size_t n);
/* A pass that counts has ended: what it says of every search, counters zeroed; and the limits as
 * far as they are known. */
void uqm_task_search_counts(const struct uqm_job *job, struct uqm_task_work *w, unsigned pass);
void uqm_task_take_limits(const struct uqm_job *job, struct uqm_job_state *state,
                          const struct uqm_task_work *w);

#endif
