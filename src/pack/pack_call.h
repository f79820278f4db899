/* Between the calls of this folder. */
#ifndef UQM_PACK_PACK_CALL_H
#define UQM_PACK_PACK_CALL_H

#include <stdint.h>
#include <time.h>

#include "src/base/env.h"

double uqm_pack_seconds_since(const struct timespec *start);
/* Of the process. */
uint64_t uqm_pack_peak_memory(void);

/* When the journal was last written, and how far the work had come. */
struct uqm_pack_pace {
    uint64_t bytes, ns;
};
void uqm_pack_pace_set(struct uqm_pack_pace *pace, uint64_t done_bytes);
/* --sync-every bytes or five seconds have gone by. */
bool uqm_pack_pace_is_due(const struct uqm_pack_pace *pace, const struct uqm_env *env,
                          uint64_t done_bytes);

/* Whether the same command can go on from what a run left that ended with this. */
bool uqm_pack_may_go_on(int ret);

#endif
