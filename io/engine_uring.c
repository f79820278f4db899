/* The engine for kernels that let us: io_uring, one request an operation. */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "io/engine_impl.h"
#include "src/base/checked.h"

/*
 * A buffered read of cached bytes is a memcpy that the kernel does inside the system call: the
 * consumer would pay for it. From here on such reads go to the kernel's workers at once.
 */
enum { ASYNC_FROM_BYTES = 64 << 10 };

/* The kernel's limit for one registered buffer. */
#define MAX_REGISTERED_BYTES ((size_t) 1 << 30)

struct uring_engine {
    struct uqm_io io;
    struct io_uring ring;
    size_t n_registered;   /* buffers 0 .. n_registered - 1 are */
    int broken;            /* the errno after which nothing can be submitted any more */
    struct uqm_op *failed; /* over without a completion to come */
};

static void prepare(const struct uring_engine *e, struct io_uring_sqe *sqe, struct uqm_op *op,
                    size_t n)
{
    size_t at = uqm_op_position(op);
    char *buf = (char *) op->buf + at;
    uint64_t off = op->off_bytes + at;
    bool fixed = op->buf_index >= 0 && (size_t) op->buf_index < e->n_registered;
    if (op->kind == UQM_OP_READ && fixed)
        io_uring_prep_read_fixed(sqe, op->fd, buf, (unsigned) n, off, op->buf_index);
    else if (op->kind == UQM_OP_READ)
        io_uring_prep_read(sqe, op->fd, buf, (unsigned) n, off);
    else if (fixed)
        io_uring_prep_write_fixed(sqe, op->fd, buf, (unsigned) n, off, op->buf_index);
    else
        io_uring_prep_write(sqe, op->fd, buf, (unsigned) n, off);
    if (op->align <= 1 && n >= ASYNC_FROM_BYTES)
        io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
    io_uring_sqe_set_data(sqe, op);
}

/* 0 or the errno for good. Interrupted and short-of-memory submissions are tried again; after
 * any other refusal the entry stays in the queue, so nothing may be submitted after it. */
static int push_to_kernel(struct uring_engine *e)
{
    struct uqm_op tries = { 0 };
    for (;;) {
        int n = io_uring_submit(&e->ring);
        if (n >= 1)
            return 0;
        if (n == 0 || n == -EBUSY)
            n = -EAGAIN;
        if (uqm_op_advance(&tries, n))
            return e->broken = -n;
    }
}

/* Start the operation's next transfer. Returns whether it is over instead. */
static bool issue(struct uring_engine *e, struct uqm_op *op)
{
    for (;;) {
        if (e->broken) {
            op->sys_errno = e->broken;
            return true;
        }
        ssize_t n = uqm_op_request(&e->io, op);
        if (n > 0) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
            assert(sqe); /* one entry an operation, and each is pushed at once */
            prepare(e, sqe, op, (size_t) n);
            if (push_to_kernel(e) == 0)
                return false;
        } else if (uqm_op_advance(op, n)) {
            return true;
        }
    }
}

static int uring_submit(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err)
{
    (void) err;
    struct uring_engine *e = (struct uring_engine *) io;
    if (issue(e, op)) {
        op->next = e->failed;
        e->failed = op;
    }
    return UQM_OK;
}

static struct uqm_op *uring_wait(struct uqm_io *io)
{
    struct uring_engine *e = (struct uring_engine *) io;
    for (;;) {
        struct uqm_op *op = e->failed;
        if (op) {
            e->failed = op->next;
            op->next = NULL;
            return op;
        }
        struct io_uring_cqe *cqe = NULL;
        int ret = io_uring_wait_cqe(&e->ring, &cqe);
        if (ret == -EINTR || ret == -EAGAIN)
            continue;
        assert(ret == 0); /* the kernel owns the buffers: there is no going on without it */
        op = io_uring_cqe_get_data(cqe);
        ssize_t res = cqe->res;
        io_uring_cqe_seen(&e->ring, cqe);
        if (uqm_op_advance(op, res) || issue(e, op))
            return op;
    }
}

static int try_register(struct uring_engine *e, const struct iovec *iov, size_t n)
{
    if (e->io.faults && e->io.faults->ring_register) {
        int refused = e->io.faults->ring_register(e->io.faults->ctx, n);
        if (refused)
            return -refused;
    }
    return io_uring_register_buffers(&e->ring, iov, (unsigned) n);
}

/* As many of the first buffers as RLIMIT_MEMLOCK allows: all, half, a quarter... or none. */
static bool uring_register(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs)
{
    struct uring_engine *e = (struct uring_engine *) io;
    assert(e->n_registered == 0);
    if (buf_bytes > MAX_REGISTERED_BYTES)
        return false;
    struct iovec *iov = calloc(n_bufs, sizeof *iov);
    if (!iov)
        return false;
    for (size_t i = 0; i < n_bufs; i++)
        iov[i] = (struct iovec){ .iov_base = bufs[i], .iov_len = buf_bytes };
    for (size_t n = n_bufs; n > 0 && e->n_registered == 0; n /= 2) {
        int ret = try_register(e, iov, n);
        if (ret == 0)
            e->n_registered = n;
        else if (ret != -ENOMEM)
            break;
    }
    free(iov);
    return e->n_registered > 0;
}

static void uring_destroy(struct uqm_io *io)
{
    struct uring_engine *e = (struct uring_engine *) io;
    io_uring_queue_exit(&e->ring);
    free(e);
}

static const struct uqm_io_vtable uring_vtable = {
    .kind = UQM_IO_URING,
    .destroy = uring_destroy,
    .register_bufs = uring_register,
    .submit = uring_submit,
    .wait = uring_wait,
};

/* Kernels before 5.6 have rings but not these operations. */
static bool knows_read_and_write(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (!probe)
        return false;
    bool knows = io_uring_opcode_supported(probe, IORING_OP_READ) &&
                 io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
                 io_uring_opcode_supported(probe, IORING_OP_READ_FIXED) &&
                 io_uring_opcode_supported(probe, IORING_OP_WRITE_FIXED);
    io_uring_free_probe(probe);
    return knows;
}

int uqm_io_uring_create(struct uqm_io **out, unsigned n_inflight,
                        const struct uqm_io_faults *faults)
{
    if (faults && faults->ring_setup) {
        int refused = faults->ring_setup(faults->ctx);
        if (refused)
            return refused;
    }
    struct uring_engine *e = calloc(1, sizeof *e);
    if (!e)
        return ENOMEM;
    e->io = (struct uqm_io){ .v = &uring_vtable, .faults = faults, .n_inflight = n_inflight };
    int ret = io_uring_queue_init(n_inflight, &e->ring, 0);
    if (ret < 0) {
        free(e);
        return -ret;
    }
    if (!knows_read_and_write(&e->ring)) {
        uring_destroy(&e->io);
        return ENOSYS;
    }
    *out = &e->io;
    return 0;
}
