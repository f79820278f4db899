/*
 * An output file written front to back: bytes are gathered in aligned buffers, hashed
 * (io/file_hash.h, on threads of its own) and written behind the producer's back.
 */
#ifndef UQM_IO_SINK_H
#define UQM_IO_SINK_H

#include "io/file_hash.h"
#include "src/base/env.h"

struct uqm_sink;

/*
 * Create `path` (it must not exist) and reserve size_bytes, so that a full disk is known now.
 * O_DIRECT as env->direct says. memory_bytes: for the buffers, from the budget (at least two of
 * 64 KiB). A process that wants an error past its file size limit ignores SIGXFSZ.
 */
int uqm_sink_create(struct uqm_sink **out, struct uqm_env *env, const char *path,
                    uint64_t size_bytes, uint64_t memory_bytes, struct uqm_err *err);

/* Append; copies. Blocks while all buffers are on their way to the disk. */
int uqm_sink_write(struct uqm_sink *sink, const void *data, size_t n_bytes, struct uqm_err *err);

/*
 * Everything written, synced and closed; exactly size_bytes must have been appended. *digest is
 * the whole file's, the caller's to finish. The sink is to be destroyed afterwards all the same.
 */
int uqm_sink_finish(struct uqm_sink *sink, struct uqm_file_digest *digest, struct uqm_err *err);

/* Without finish: the unfinished file is removed. Takes NULL. */
void uqm_sink_destroy(struct uqm_sink **sink);

#endif
