#include "io/engine.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "io/engine_impl.h"
#include "src/base/checked.h"

/* Below the kernel's own limit of one transfer (2 GiB less a page), and aligned. */
#define MAX_TRANSFER_BYTES ((size_t) 1 << 30)

/* Answers without progress in a row (EINTR, EAGAIN) before an operation fails with them. */
enum { MAX_RETRIES = 1000, RETRIES_BEFORE_SLEEP = 8 };

ssize_t uqm_op_request(const struct uqm_io *io, const struct uqm_op *op)
{
    size_t n = uqm_min_u64(op->len - uqm_op_position(op), MAX_TRANSFER_BYTES);
    if (io->faults && io->faults->transfer)
        return io->faults->transfer(io->faults->ctx, op, n);
    return (ssize_t) n;
}

static bool worth_retrying(struct uqm_op *op, int sys_errno)
{
    /* ECANCELED: the thread that submitted has ended; another one submits again. */
    if (sys_errno != EINTR && sys_errno != EAGAIN && sys_errno != ECANCELED)
        return false;
    if (++op->n_retries > MAX_RETRIES)
        return false;
    if (sys_errno == EAGAIN && op->n_retries > RETRIES_BEFORE_SLEEP)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return true;
}

/*
 * A transfer may be short for no reason, so only one that brings nothing new means the end of
 * the file. With O_DIRECT the last block of a file comes short and is then asked for once more
 * from its beginning: the same bytes again are nothing new.
 */
bool uqm_op_advance(struct uqm_op *op, ssize_t result)
{
    if (result < 0) {
        if (worth_retrying(op, (int) -result))
            return false;
        op->sys_errno = (int) -result;
        return true;
    }
    size_t reached = uqm_op_position(op) + (size_t) result;
    assert(reached <= op->len);
    if (reached <= op->done) {
        if (op->kind == UQM_OP_WRITE)
            op->sys_errno = EIO;
        else if (op->done < op->min_len)
            op->sys_errno = ENODATA;
        return true;
    }
    op->done = reached;
    op->n_retries = 0;
    return op->done == op->len;
}

int uqm_io_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}

void uqm_io_stop_thread(pthread_t thread, pthread_mutex_t *lock, pthread_cond_t *changed,
                        bool *stopping)
{
    pthread_mutex_lock(lock);
    *stopping = true;
    pthread_cond_broadcast(changed);
    pthread_mutex_unlock(lock);
    pthread_join(thread, NULL);
}

int uqm_io_create_with(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                       const struct uqm_io_faults *faults, struct uqm_err *err)
{
    assert(n_inflight > 0);
    int e;
    if (env->io != UQM_IO_PREAD) {
        e = uqm_io_uring_create(out, n_inflight, faults);
        if (e == 0)
            goto done;
        if (env->io == UQM_IO_URING)
            return uqm_fail_errno_of(err, e, "--io uring: the system refuses io_uring");
        if (!(atomic_fetch_or(&env->said_once, UQM_SAID_NO_RING) & UQM_SAID_NO_RING))
            uqm_log(env, UQM_LOG_INFO, "io_uring is refused (%s): using pread and pwrite",
                    strerrordesc_np(e));
    }
    e = uqm_io_pread_create(out, n_inflight, faults);
    if (e != 0)
        return uqm_fail_errno_of(err, e, "the threads for reading and writing");
done:
    atomic_store(&env->io_used, (int) (*out)->v->kind);
    return UQM_OK;
}

int uqm_io_create(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                  struct uqm_err *err)
{
    return uqm_io_create_with(out, env, n_inflight, NULL, err);
}

void uqm_io_destroy(struct uqm_io **io)
{
    if (!*io)
        return;
    while (uqm_io_wait(*io))
        ;
    (*io)->v->destroy(*io);
    *io = NULL;
}

bool uqm_io_register(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs)
{
    return io->v->register_bufs(io, bufs, buf_bytes, n_bufs);
}

int uqm_io_submit(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err)
{
    assert(io->n_busy < io->n_inflight);
    assert(op->len > 0 && op->min_len <= op->len);
    assert(op->align <= 1 || (op->align & (op->align - 1)) == 0);
    op->done = 0;
    op->sys_errno = 0;
    op->n_retries = 0;
    op->next = NULL;
    int ret = io->v->submit(io, op, err);
    if (ret == UQM_OK)
        io->n_busy++;
    return ret;
}

struct uqm_op *uqm_io_wait(struct uqm_io *io)
{
    if (io->n_busy == 0)
        return NULL;
    struct uqm_op *op = io->v->wait(io);
    io->n_busy--;
    return op;
}

enum uqm_io_kind uqm_io_kind_of(const struct uqm_io *io)
{
    return io->v->kind;
}
