/*
 * A source whose weights lie in memory: what a pass may read is read once, merged if it is a merge,
 * and handed out from there. For decoding, which reads every weight once a token.
 */
#ifndef UQM_MODEL_RESIDENT_H
#define UQM_MODEL_RESIDENT_H

#include "src/model/schedule.h"

struct uqm_resident;

/* Bytes that create would keep of the budget. */
uint64_t uqm_resident_bytes(const struct uqm_schedule *schedule);
/*
 * Read what `schedule` lists of the source (whole tensors) in tiles of tile_bytes, with
 * stream_bytes for the reading. The source is borrowed until the end.
 */
int uqm_resident_create(struct uqm_resident **out, struct uqm_source *source,
                        const struct uqm_schedule *schedule, struct uqm_threads *threads,
                        size_t tile_bytes, uint64_t stream_bytes, struct uqm_err *err);
/* Takes NULL. */
void uqm_resident_destroy(struct uqm_resident **resident);

/* With the original's name and tensors. A stream of it takes no memory; to ask for anything that
 * was not listed is our own mistake. */
struct uqm_source *uqm_resident_source(struct uqm_resident *resident);

#endif
