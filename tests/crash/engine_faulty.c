#include "tests/crash/engine_faulty.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "io/engine_impl.h"

struct faulty_engine {
    struct uqm_io io;
    unsigned n_pending;
    struct uqm_op **pending; /* [n_inflight] in the order they came */
};

/* Streams and sinks call from one thread each, and a merge from one. */
static struct faulty_plan plan;
static bool is_set;
static long n_transfers;
static uint32_t state;

void faulty_set(const struct faulty_plan *next)
{
    is_set = next != NULL;
    if (next) {
        plan = *next;
        n_transfers = 0;
        state = next->seed;
    }
}

long faulty_count(void)
{
    return n_transfers;
}

static uint32_t draw(uint32_t below)
{
    state = state * 1664525 + 1013904223;
    return (uint32_t) ((uint64_t) (state >> 8) * below >> 24);
}

static bool fails_now(void)
{
    long n = n_transfers++;
    return plan.fail_at >= 0 && n >= plan.fail_at && n < plan.fail_at + plan.n_failures;
}

static ssize_t transfer(const struct uqm_io *io, const struct uqm_op *op)
{
    ssize_t n = uqm_op_request(io, op);
    if (n <= 0)
        return n;
    if (fails_now())
        return -plan.sys_errno;
    size_t unit = op->align > 1 ? op->align : 1;
    if (plan.shortens && (size_t) n > unit && draw(2))
        n = (ssize_t) ((1 + draw((uint32_t) ((size_t) n / unit))) * unit);
    size_t at = uqm_op_position(op);
    char *buf = (char *) op->buf + at;
    off_t off = (off_t) (op->off_bytes + at);
    n = op->kind == UQM_OP_READ ? pread(op->fd, buf, (size_t) n, off)
                                : pwrite(op->fd, buf, (size_t) n, off);
    return n < 0 ? -errno : n;
}

static int faulty_submit(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err)
{
    struct faulty_engine *e = (struct faulty_engine *) io;
    (void) err;
    e->pending[e->n_pending++] = op;
    return UQM_OK;
}

/* One transfer of one operation at a time, whichever it is, until one of them is over. */
static struct uqm_op *faulty_wait(struct uqm_io *io)
{
    struct faulty_engine *e = (struct faulty_engine *) io;
    for (;;) {
        assert(e->n_pending > 0);
        unsigned i = plan.reorders ? draw(e->n_pending) : 0;
        struct uqm_op *op = e->pending[i];
        if (plan.delays && draw(16) == 0)
            nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
        if (!uqm_op_advance(op, transfer(io, op)))
            continue;
        e->n_pending--;
        for (; i < e->n_pending; i++)
            e->pending[i] = e->pending[i + 1];
        return op;
    }
}

static bool faulty_register(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs)
{
    (void) io, (void) bufs, (void) buf_bytes, (void) n_bufs;
    return false;
}

static void faulty_destroy(struct uqm_io *io)
{
    struct faulty_engine *e = (struct faulty_engine *) io;
    free(e->pending);
    free(e);
}

static const struct uqm_io_vtable faulty_vtable = {
    .kind = UQM_IO_PREAD,
    .destroy = faulty_destroy,
    .register_bufs = faulty_register,
    .submit = faulty_submit,
    .wait = faulty_wait,
};

int __real_uqm_io_create_with(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                              const struct uqm_io_faults *faults, struct uqm_err *err);
int __wrap_uqm_io_create_with(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                              const struct uqm_io_faults *faults, struct uqm_err *err);

int __wrap_uqm_io_create_with(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                              const struct uqm_io_faults *faults, struct uqm_err *err)
{
    if (!is_set)
        return __real_uqm_io_create_with(out, env, n_inflight, faults, err);
    struct faulty_engine *e = calloc(1, sizeof *e);
    if (!e || !(e->pending = calloc(n_inflight, sizeof *e->pending)))
        abort();
    e->io = (struct uqm_io){ .v = &faulty_vtable, .faults = faults, .n_inflight = n_inflight };
    *out = &e->io;
    return UQM_OK;
}
