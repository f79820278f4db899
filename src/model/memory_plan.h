/* What a network's memory is used for, for the log (`-v`) and for `--dry-run`. */
#ifndef UQM_MODEL_MEMORY_PLAN_H
#define UQM_MODEL_MEMORY_PLAN_H

#include "src/model/pass.h"

/* Bytes beside what every run takes (uqm_run_init); 0: none. */
struct uqm_memory_plan {
    uint64_t ahead_bytes;    /* of weights being read, where they are more than those of the run */
    uint64_t ring_bytes;     /* of held layers, in the host's memory */
    uint64_t resident_bytes; /* of a model that stays in the host's memory */
    uint64_t arena_bytes;    /* activations */
    uint64_t cache_bytes;    /* K and V */
    struct uqm_states_memory states;
    uint64_t file_bytes; /* hidden states in a scratch file */
};

/* Two lines: what lies in the host's memory, and what in the device's; a third for a file. */
void uqm_memory_plan_log(const struct uqm_memory_plan *plan, const struct uqm_run *run);

/* Of the pass that asking->plan begins with. */
void uqm_asking_log_memory(const struct uqm_asking *asking);

#endif
