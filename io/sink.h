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

/*
 * Go on with a file that an earlier sink of this path and size left unfinished: its first n_bytes
 * are read back, shown to `check` piece by piece, and hashed; what is appended follows them. check
 * returns a failure, with its message, where the bytes are not what they should be. UQM_ERR_CHECK:
 * the file is not there, no regular file or not of that size. On failure the file is left alone.
 */
typedef int (*uqm_sink_check_fn)(void *ctx, const void *data, size_t n_bytes, struct uqm_err *err);
int uqm_sink_reopen(struct uqm_sink **out, struct uqm_env *env, const char *path,
                    uint64_t size_bytes, uint64_t memory_bytes, uint64_t n_bytes,
                    uqm_sink_check_fn check, void *ctx, struct uqm_err *err);

/*
 * Both for a file of which only the most bytes it can have are known: it ends with what has been
 * appended. Its blocks are reserved where the disk has so many, and it has no digest: finish is
 * given NULL.
 */
int uqm_sink_create_at_most(struct uqm_sink **out, struct uqm_env *env, const char *path,
                            uint64_t most_bytes, uint64_t memory_bytes, struct uqm_err *err);
int uqm_sink_reopen_at_most(struct uqm_sink **out, struct uqm_env *env, const char *path,
                            uint64_t most_bytes, uint64_t memory_bytes, uint64_t n_bytes,
                            uqm_sink_check_fn check, void *ctx, struct uqm_err *err);

/* Append; copies. Blocks while all buffers are on their way to the disk. */
int uqm_sink_write(struct uqm_sink *sink, const void *data, size_t n_bytes, struct uqm_err *err);

/*
 * Everything written, synced and closed; exactly size_bytes must have been appended. *digest is
 * the whole file's, the caller's to finish. The sink is to be destroyed afterwards all the same.
 */
int uqm_sink_finish(struct uqm_sink *sink, struct uqm_file_digest *digest, struct uqm_err *err);

/*
 * Sync what has been appended, as far as it fills whole buffers; with `all`, everything: that is
 * the last that the sink does, but for being destroyed. *n_bytes, a place in the file: what lies
 * before it is on the disk now, whatever happens. Works after uqm_sink_write() was interrupted,
 * too.
 */
int uqm_sink_flush(struct uqm_sink *sink, bool all, uint64_t *n_bytes, struct uqm_err *err);
/* A write or a sync failed such that nothing of the file is to be trusted, synced before or not. */
bool uqm_sink_is_spoilt(const struct uqm_sink *sink);
/* From now on uqm_sink_destroy() leaves an unfinished file where it is, for uqm_sink_reopen(). */
void uqm_sink_keep_file(struct uqm_sink *sink);

/* Without finish: the unfinished file is removed. Takes NULL. */
void uqm_sink_destroy(struct uqm_sink **sink);

#endif
