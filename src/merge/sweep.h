/*
 * Several merges of one family of models, loaded side by side so that each model is read once: the
 * candidates of a selection, each made of the first so many models.
 *
 * Every merge becomes a source of its own, for a thread of its own. The threads ask for the same
 * ranges in the same order (their networks have one shape); a range's tile of each model is read
 * when the first of them needs it and given back when all are past it, so no merge is more than a
 * tile behind another. The arithmetic is that of the merges themselves: the tiles are to the bit
 * those of the plain sources.
 */
#ifndef UQM_MERGE_SWEEP_H
#define UQM_MERGE_SWEEP_H

#include "src/checkpoint/source.h"

struct uqm_sweep;

/*
 * merges[n]: recipe sources; the last one has all models that the others have. Borrowed; they must
 * not be opened while the sweep is on. read_bytes: of the budget, for the reading buffers of each
 * time that the weights are gone through.
 *
 * UQM_ERR_UNSUPPORTED, with the reason, for merges that cannot go tile by tile (methods that first
 * look at whole tensors), slices, rebuilt vocabularies, and merges of merges.
 */
int uqm_sweep_create(struct uqm_sweep **out, struct uqm_source *const *merges, size_t n,
                     uint64_t read_bytes, struct uqm_err *err);
void uqm_sweep_destroy(struct uqm_sweep **sweep);

/* The k-th merge as a source; the sweep's. One thread at a time uses it, and what it opens. */
struct uqm_source *uqm_sweep_source(struct uqm_sweep *sweep, size_t k);
/* The k-th merge's thread is done, well or not: nobody waits for it any more. */
void uqm_sweep_leave(struct uqm_sweep *sweep, size_t k);

#endif
