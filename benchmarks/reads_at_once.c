#include "benchmarks/reads_at_once.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/engine_impl.h"

enum { PAGE_BYTES = 4096 };

struct at_once {
    struct uqm_io io;
    struct uqm_io *disk; /* for writes */
    struct uqm_op *first, *last;
    uint16_t page[PAGE_BYTES / sizeof(uint16_t)];
};

static atomic_bool is_on;

void bench_reads_at_once(bool on)
{
    atomic_store(&is_on, on);
}

/* Exponents that are small in F16 and BF16 alike; sign and mantissa as they come. */
static void make_page(struct at_once *e)
{
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof e->page / sizeof *e->page; i++) {
        state = state * 1664525u + 1013904223u;
        e->page[i] = (uint16_t) (0x3c00u | (state >> 16 & 0x80ffu));
    }
}

/* Pages that are ours already stay as they are. */
static void fill(const struct at_once *e, char *buf, size_t len)
{
    for (size_t at = 0; at < len; at += PAGE_BYTES) {
        const size_t n = len - at < PAGE_BYTES ? len - at : PAGE_BYTES;
        const size_t shown = n < 16 ? n : 16;
        if (memcmp(buf + at, e->page, shown) != 0)
            memcpy(buf + at, e->page, n);
    }
}

static int submit(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err)
{
    struct at_once *e = (struct at_once *) io;
    if (op->kind == UQM_OP_WRITE)
        return uqm_io_submit(e->disk, op, err);
    fill(e, op->buf, op->len);
    op->done = op->len;
    if (e->last)
        e->last->next = op;
    else
        e->first = op;
    e->last = op;
    return UQM_OK;
}

static struct uqm_op *wait_for(struct uqm_io *io)
{
    struct at_once *e = (struct at_once *) io;
    struct uqm_op *op = e->first;
    if (!op)
        return uqm_io_wait(e->disk);
    e->first = op->next;
    if (!e->first)
        e->last = NULL;
    op->next = NULL;
    return op;
}

static bool register_bufs(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs)
{
    struct at_once *e = (struct at_once *) io;
    return uqm_io_register(e->disk, bufs, buf_bytes, n_bufs);
}

static void destroy(struct uqm_io *io)
{
    struct at_once *e = (struct at_once *) io;
    uqm_io_destroy(&e->disk);
    free(e);
}

static int put_before(struct uqm_io **out, struct uqm_io *disk, unsigned n_inflight)
{
    static const struct uqm_io_vtable uring = { UQM_IO_URING, destroy, register_bufs, submit,
                                                wait_for };
    static const struct uqm_io_vtable threads = { UQM_IO_PREAD, destroy, register_bufs, submit,
                                                  wait_for };
    struct at_once *e = calloc(1, sizeof *e);
    if (!e) {
        uqm_io_destroy(&disk);
        return ENOMEM;
    }
    e->io = (struct uqm_io){ .v = disk->v->kind == UQM_IO_URING ? &uring : &threads,
                             .n_inflight = n_inflight };
    e->disk = disk;
    make_page(e);
    *out = &e->io;
    return 0;
}

/* ---- what the linker calls in place of the two creators, and the creators ---- */

int __real_uqm_io_uring_create(struct uqm_io **out, unsigned n_inflight,
                               const struct uqm_io_faults *faults);
int __real_uqm_io_pread_create(struct uqm_io **out, unsigned n_inflight,
                               const struct uqm_io_faults *faults);
int __wrap_uqm_io_uring_create(struct uqm_io **out, unsigned n_inflight,
                               const struct uqm_io_faults *faults);
int __wrap_uqm_io_pread_create(struct uqm_io **out, unsigned n_inflight,
                               const struct uqm_io_faults *faults);

int __wrap_uqm_io_uring_create(struct uqm_io **out, unsigned n_inflight,
                               const struct uqm_io_faults *faults)
{
    const int refused = __real_uqm_io_uring_create(out, n_inflight, faults);
    return refused || !atomic_load(&is_on) ? refused : put_before(out, *out, n_inflight);
}

int __wrap_uqm_io_pread_create(struct uqm_io **out, unsigned n_inflight,
                               const struct uqm_io_faults *faults)
{
    const int refused = __real_uqm_io_pread_create(out, n_inflight, faults);
    return refused || !atomic_load(&is_on) ? refused : put_before(out, *out, n_inflight);
}
