/*
 * Weights that stay a while: the loads of a schedule in groups (a layer, or half of one), each
 * whole in the host's memory while one batch of prompts after another goes through it, the next
 * ones on their way meanwhile. A thread of its own moves the tiles of the source into a ring of
 * memory.
 *
 *     uqm_held_take(0) ... uqm_held_give(0), uqm_held_take(1) ...
 *
 * Groups are taken and given back in order, one at a time.
 */
#ifndef UQM_MODEL_HELD_H
#define UQM_MODEL_HELD_H

#include "src/model/schedule.h"

struct uqm_held;

struct uqm_held_params {
    struct uqm_env *env;
    struct uqm_source *source;
    const struct uqm_schedule *schedule; /* borrowed, and the next */
    const size_t *group_ends;            /* group g holds loads [end of g - 1, end of g) */
    size_t n_groups;
    size_t tile_bytes;     /* how the source is read */
    uint64_t stream_bytes; /* its memory; from the budget, beside the ring */
    uint64_t ring_bytes;   /* uqm_held_ring_bytes() at least */
};

/* Memory for so many neighbouring groups at a time: with 1 nothing is read while a group is in
 * use, with 2 the next one is. */
uint64_t uqm_held_ring_bytes(const struct uqm_schedule *schedule, const size_t *group_ends,
                             size_t n_groups, size_t n_slots);

int uqm_held_open(struct uqm_held **out, const struct uqm_held_params *params, struct uqm_err *err);
/* At any time. Takes NULL. */
void uqm_held_close(struct uqm_held **held);

/* Wait until the next group is whole. The reader's error comes back from here. */
int uqm_held_take(struct uqm_held *held, struct uqm_err *err);
void uqm_held_give(struct uqm_held *held);
/* The rows of one load of the group that is taken, packed. */
const void *uqm_held_rows(const struct uqm_held *held, size_t load);

/* Who waited, in seconds: the reader for room, the taker for weights. */
struct uqm_held_times {
    double reader_s, taker_s;
};
struct uqm_held_times uqm_held_times(struct uqm_held *held);

#endif
