/*
 * Which elements of a task vector are kept (spec merge.md 2), and by how much those are rescaled.
 * For the task-vector family: struct uqm_task says from the job alone what its sparsifier needs to
 * find, struct uqm_sparse is what the passes found for one input.
 */
#ifndef UQM_MERGE_SPARSIFY_H
#define UQM_MERGE_SPARSIFY_H

#include "src/merge/methods/arith.h"
#include "src/merge/methods/key_counts.h"

enum uqm_sparsifier {
    UQM_SPARSE_NONE,
    UQM_SPARSE_MAGNITUDE,
    UQM_SPARSE_RANDOM,
    UQM_SPARSE_OUTLIERS,
    UQM_SPARSE_RANKED, /* della: random, by rank in the row */
};

/* What a method of the family is (spec 3.1). */
struct uqm_task_kind {
    enum uqm_sparsifier sparsifier;
    bool consensus;
};
struct uqm_task_kind uqm_task_kind_of(enum uqm_method_id id);

/* Of one input: a result of the passes. Kept: within `keep` and not within `drop`, or as a draw
 * says; times `ratio` then. */
struct uqm_sparse {
    struct uqm_key_limit keep, drop;
    bool all_finite; /* known: no element of the input is NaN or infinite, nor any of the base */
    bool has_ratio;
    double ratio;
};

/* Density below 1: something may be dropped. */
bool uqm_sparse_is_active(const struct uqm_job *job, size_t input);
/* The type that random sparsifiers work in, and others rescale in: W of merge.md 2. */
enum uqm_dtype uqm_sparse_type(const struct uqm_job *job);
bool uqm_sparse_rescales(const struct uqm_job *job);
/* How many of the largest magnitudes are kept, and of those dropped again. */
void uqm_sparse_counts(uint64_t *keep, uint64_t *drop, const struct uqm_job *job, size_t input);

/* Rows that ranks run along: `n_rows` of m elements, `stride` apart, interleaved `stride` by
 * `stride`; a unit is m * stride elements. */
struct uqm_rank_rows {
    uint64_t m, stride;
};
struct uqm_rank_rows uqm_rank_rows(const struct uqm_job *job);

/* Scratch of uqm_sparse_draw(), beside its result. */
size_t uqm_sparse_draw_bytes(const struct uqm_job *job);
/*
 * Which elements of a span (whole units) an input's draws keep: bit e % 8 of keep[e / 8]. keys: the
 * task vector's magnitudes as bits of f32, read for ranks alone.
 */
void uqm_sparse_draw(uint8_t *keep, const struct uqm_job *job, const struct uqm_span *span,
                     size_t input, const uint32_t *keys, void *scratch);

#endif
