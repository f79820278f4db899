/*
 * Computing alone: while reads are at once, every engine that is created answers a read the moment
 * it is submitted, without a disk and without a copy. A buffer holds numbers of ours from its first
 * read on (small, of either sign, finite as F16, BF16 and F32), so that its memory is touched and
 * read as weights are. Writes go to the disk as ever. What comes out of such a run means nothing
 * but its time.
 *
 * Not for files whose bytes are checked as they are read: archives, PyTorch's records.
 *
 * The linker puts this between the callers and the creators of the engines (meson.build,
 * --wrap), so that the program knows nothing of it. `uqmerge-reads-at-once` is the whole program
 * with all its reads at once: run the same command with both.
 */
#ifndef UQM_BENCH_READS_AT_ONCE_H
#define UQM_BENCH_READS_AT_ONCE_H

#include <stdbool.h>

/* For engines created from now on. Off at first. */
void bench_reads_at_once(bool on);

#endif
