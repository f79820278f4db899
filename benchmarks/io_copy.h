/*
 * What bench_io measures and bench_merge takes for its floor: files read through the stream, block
 * by block of each in turn, and one file written through the sink, which takes its digest.
 */
#ifndef UQM_BENCH_IO_COPY_H
#define UQM_BENCH_IO_COPY_H

#include "src/base/env.h"

enum { IO_COPY_MOST_INPUTS = 64 };

struct io_copy {
    const char *in[IO_COPY_MOST_INPUTS]; /* of n_bytes each */
    size_t n_inputs;
    const char *out; /* NULL: nothing is written */
    uint64_t n_bytes;
    size_t block_bytes;    /* a multiple of 4096; the last block of a file may be shorter */
    uint64_t stream_bytes; /* of memory */
    uint64_t sink_bytes;
    const void *block; /* what is written where nothing is read */
};

int io_copy_run(const struct io_copy *copy, struct uqm_env *env, struct uqm_err *err);

#endif
