/* Between the calls of this folder. */
#ifndef UQM_PACK_PACK_CALL_H
#define UQM_PACK_PACK_CALL_H

#include <stdint.h>
#include <time.h>

double uqm_pack_seconds_since(const struct timespec *start);
/* Of the process. */
uint64_t uqm_pack_peak_memory(void);

#endif
