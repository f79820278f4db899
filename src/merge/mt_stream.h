/*
 * The random numbers that mergekit draws on a CPU (spec merge.md 2.1): one MT19937 for the whole
 * merge, of whose 32-bit words each draw takes the lower 24 bits. Any run of it can be asked for;
 * what follows on an earlier request of the same reader comes at once, anything else is walked to
 * from the nearest place that is remembered.
 */
#ifndef UQM_MERGE_MT_STREAM_H
#define UQM_MERGE_MT_STREAM_H

#include "src/base/err.h"

struct uqm_mt_stream;

/* seed mod 2^32 is used, as the reference does. n_readers: requests that are served side by side,
 * as the inputs of one tensor are. */
int uqm_mt_stream_create(struct uqm_mt_stream **out, uint64_t seed, size_t n_readers,
                         struct uqm_err *err);
void uqm_mt_stream_destroy(struct uqm_mt_stream **stream);

/* dst = draws [first, first + n): integers below 2^24, to be multiplied by 2^-24.
 * Thread-safety: distinct readers may draw at once. */
void uqm_mt_stream_draw(struct uqm_mt_stream *stream, size_t reader, uint64_t first, uint32_t *dst,
                        size_t n);

#endif
