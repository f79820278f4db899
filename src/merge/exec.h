/*
 * Runs the functions of a method (method_ops.h) on what has been read: blocks in batches, spread
 * over the threads; partials folded in the order of the blocks; tallies gathered segment by
 * segment; the random numbers of mergekit's stream drawn ahead of the batch that needs them.
 * Knows nothing of files and tiles: merge_stream.c brings the data. One thread at a time.
 */
#ifndef UQM_MERGE_EXEC_H
#define UQM_MERGE_EXEC_H

#include "compute/threads.h"
#include "src/base/env.h"
#include "src/merge/method_ops.h"

/* The most memory that any of a recipe's jobs takes. */
struct uqm_exec_needs {                /* zero: nothing */
    size_t scratch_bytes, tally_bytes; /* a worker */
    size_t partial_bytes;              /* a batch */
    size_t draw_elem, draw_inputs;     /* a batch */
    size_t work_bytes;
    size_t n_inputs;
};
/* threads: how many the batches are spread over. */
void uqm_exec_need(struct uqm_exec_needs *needs, const struct uqm_job *job, size_t n_threads);
uint64_t uqm_exec_bytes(const struct uqm_exec_needs *needs, size_t n_threads);

struct uqm_exec;

/* threads may be NULL. seed: of mergekit's stream. UQM_ERR_NOMEM from the budget. */
int uqm_exec_create(struct uqm_exec **out, struct uqm_env *env, struct uqm_threads *threads,
                    const struct uqm_exec_needs *needs, uint64_t seed, struct uqm_err *err);
void uqm_exec_destroy(struct uqm_exec **exec);

/* A run of whole blocks of one pass. */
struct uqm_pass {
    unsigned number; /* job->n_passes: there are none left */
    uint64_t first_block, n_blocks;
};

/* Start on a job that has passes: *state->result is zeroed and the caller's, of the ops' size;
 * state->work is lent until the last pass has ended. *pass is the first to be run. */
void uqm_exec_begin(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                    struct uqm_pass *pass);
/* Before the first scan: the job's samples, in their order; ops->end_sample() then is the
 * caller's. */
void uqm_exec_sample(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                     const struct uqm_span *span);
/* Scan the next blocks of the pass: whole ones, following on what was scanned before. */
void uqm_exec_scan(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                   const struct uqm_pass *pass, const struct uqm_span *span);
/* All blocks of *pass have been scanned. *pass becomes the next one. */
int uqm_exec_end_pass(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                      struct uqm_pass *pass, struct uqm_err *err);
/* Leave out the late passes from *pass on, if it is one: *pass becomes the one behind them, and
 * where they were left is returned. Zero: they had nothing to do. */
struct uqm_pass uqm_exec_leave_late(struct uqm_exec *exec, const struct uqm_job *job,
                                    struct uqm_job_state *state, struct uqm_pass *pass);
/* Those passes, of elements that are scanned or merged next; the spans follow one on another from
 * the tensor's start. state->work is still lent. */
int uqm_exec_settle(struct uqm_exec *exec, const struct uqm_job *job, struct uqm_job_state *state,
                    const struct uqm_pass *late, const struct uqm_span *span, struct uqm_err *err);
/* dst = the merge of these elements, whole units. */
void uqm_exec_merge(struct uqm_exec *exec, const struct uqm_job *job,
                    const struct uqm_job_state *state, void *dst, const struct uqm_span *span);

#endif
