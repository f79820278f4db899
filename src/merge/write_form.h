/*
 * Files of weights in another form than safetensors: who writes a merge in it says how its tensors
 * lie in which files, and turns tiles into their bytes. Order, memory, journal, resuming, digests,
 * manifest and publishing stay the writer's.
 */
#ifndef UQM_MERGE_WRITE_FORM_H
#define UQM_MERGE_WRITE_FORM_H

#include "compute/threads.h"
#include "src/merge/write_plan.h"

struct uqm_write_form {
    /*
     * Fill in plan: order, shards (with sizes, names and units), tensor_bytes, least_tile_bytes and
     * growth. What the arena of the plan holds, and the shards' headers, are freed with it.
     */
    int (*layout)(struct uqm_write_form *form, struct uqm_write_plan *plan,
                  struct uqm_recipe_source *rs, struct uqm_err *err);
    /* What the tile of the shard's tensor number `place`, whole units of it but at its end, is in
     * the file: *n_bytes at `out`, which has room for plan->growth times the tile's. */
    int (*encode)(struct uqm_write_form *form, void *out, size_t *n_bytes,
                  const struct uqm_shard_plan *shard, size_t place, const struct uqm_tile *tile,
                  struct uqm_threads *threads, struct uqm_err *err);
};

#endif
