/* The engine for every kernel: a few threads that call pread and pwrite. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/engine_impl.h"

enum { MAX_THREADS = 4 };

struct queue {
    struct uqm_op *first, *last;
};

struct pread_engine {
    struct uqm_io io;
    pthread_mutex_t lock;
    pthread_cond_t has_work, has_done;
    struct queue waiting, done; /* under lock, as is stopping */
    bool stopping;
    unsigned n_threads;
    pthread_t threads[MAX_THREADS];
};

static void push(struct queue *q, struct uqm_op *op)
{
    op->next = NULL;
    if (q->last)
        q->last->next = op;
    else
        q->first = op;
    q->last = op;
}

static struct uqm_op *pop(struct queue *q)
{
    struct uqm_op *op = q->first;
    if (!op)
        return NULL;
    q->first = op->next;
    if (!q->first)
        q->last = NULL;
    op->next = NULL;
    return op;
}

static ssize_t transfer(const struct uqm_io *io, const struct uqm_op *op)
{
    ssize_t n = uqm_op_request(io, op);
    if (n <= 0)
        return n;
    size_t at = uqm_op_position(op);
    char *buf = (char *) op->buf + at;
    off_t off = (off_t) (op->off_bytes + at);
    n = op->kind == UQM_OP_READ ? pread(op->fd, buf, (size_t) n, off)
                                : pwrite(op->fd, buf, (size_t) n, off);
    return n < 0 ? -errno : n;
}

static void *work(void *arg)
{
    struct pread_engine *e = arg;
    pthread_mutex_lock(&e->lock);
    for (;;) {
        struct uqm_op *op = pop(&e->waiting);
        if (!op && e->stopping)
            break;
        if (!op) {
            pthread_cond_wait(&e->has_work, &e->lock);
            continue;
        }
        pthread_mutex_unlock(&e->lock);
        while (!uqm_op_advance(op, transfer(&e->io, op)))
            ;
        pthread_mutex_lock(&e->lock);
        push(&e->done, op);
        pthread_cond_signal(&e->has_done);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void pread_destroy(struct uqm_io *io)
{
    struct pread_engine *e = (struct pread_engine *) io;
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_broadcast(&e->has_work);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; i < e->n_threads; i++)
        pthread_join(e->threads[i], NULL);
    pthread_cond_destroy(&e->has_work);
    pthread_cond_destroy(&e->has_done);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static bool pread_register(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs)
{
    (void) io;
    (void) bufs;
    (void) buf_bytes;
    (void) n_bufs;
    return false;
}

static int pread_submit(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err)
{
    (void) err;
    struct pread_engine *e = (struct pread_engine *) io;
    pthread_mutex_lock(&e->lock);
    push(&e->waiting, op);
    pthread_cond_signal(&e->has_work);
    pthread_mutex_unlock(&e->lock);
    return UQM_OK;
}

static struct uqm_op *pread_wait(struct uqm_io *io)
{
    struct pread_engine *e = (struct pread_engine *) io;
    struct uqm_op *op;
    pthread_mutex_lock(&e->lock);
    while (!(op = pop(&e->done)))
        pthread_cond_wait(&e->has_done, &e->lock);
    pthread_mutex_unlock(&e->lock);
    return op;
}

static const struct uqm_io_vtable pread_vtable = {
    .kind = UQM_IO_PREAD,
    .destroy = pread_destroy,
    .register_bufs = pread_register,
    .submit = pread_submit,
    .wait = pread_wait,
};

int uqm_io_pread_create(struct uqm_io **out, unsigned n_inflight,
                        const struct uqm_io_faults *faults)
{
    struct pread_engine *e = calloc(1, sizeof *e);
    if (!e)
        return ENOMEM;
    e->io = (struct uqm_io){ .v = &pread_vtable, .faults = faults, .n_inflight = n_inflight };
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->has_work, NULL);
    pthread_cond_init(&e->has_done, NULL);
    int refused = 0;
    while (!refused && e->n_threads < n_inflight && e->n_threads < MAX_THREADS) {
        refused = uqm_io_thread(&e->threads[e->n_threads], work, e);
        e->n_threads += !refused;
    }
    if (e->n_threads == 0) { /* fewer than wanted is only slower */
        pread_destroy(&e->io);
        return refused;
    }
    *out = &e->io;
    return 0;
}
