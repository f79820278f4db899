/*
 * How bytes move: one interface, several engines (io_uring; a pread/pwrite thread pool; in
 * tests one that fails on purpose), equal bytes from each.
 *
 * An operation, once submitted, belongs to the engine until wait() returns it. The engine
 * finishes short transfers, retries EINTR and EAGAIN, and reports an operation as done only
 * when all its bytes have moved or it has failed for good. There is no order between
 * operations. Thread-safety: one thread at a time.
 */
#ifndef UQM_IO_ENGINE_H
#define UQM_IO_ENGINE_H

#include "src/base/env.h"

enum uqm_op_kind { UQM_OP_READ, UQM_OP_WRITE };

struct uqm_op {
    enum uqm_op_kind kind;
    int fd;
    void *buf;
    size_t len;
    uint64_t off_bytes;
    /* A read may end early at the end of the file, but not before this many bytes. Lets an
     * O_DIRECT read be rounded up past the end. For writes: len. */
    size_t min_len;
    /* O_DIRECT: what transfers must be aligned to, so that a short one is taken up again from
     * there. 0 or 1: the descriptor is buffered. */
    uint32_t align;
    int buf_index; /* registered buffer, or -1 */
    void *user;
    /* results */
    size_t done;   /* bytes moved so far */
    int sys_errno; /* 0, or why it failed; ENODATA: the file ended before min_len */
    /* the engine's */
    unsigned n_retries;
    struct uqm_op *next;
};

struct uqm_io;

/*
 * io_uring or pread as env->io asks; auto falls back to pread where io_uring is refused and says
 * so once (info level). n_inflight: most operations under way at once. Notes the kind in env.
 */
int uqm_io_create(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                  struct uqm_err *err);
/* Waits for what is under way, then frees. Takes NULL. */
void uqm_io_destroy(struct uqm_io **io);

/*
 * Register a pool's buffers with the kernel. Only an optimisation: refusal (RLIMIT_MEMLOCK) is
 * not an error, the buffers are then used unregistered. Returns whether it was done.
 */
bool uqm_io_register(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs);

/* At most n_inflight under way: the caller waits first. Errors of the operation come with it. */
int uqm_io_submit(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err);

/* Blocks until one operation is done and returns it; NULL when none is under way. */
struct uqm_op *uqm_io_wait(struct uqm_io *io);

enum uqm_io_kind uqm_io_kind_of(const struct uqm_io *io);

#endif
