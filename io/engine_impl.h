/*
 * Behind io/engine.h: what an engine is made of, and the places where a test makes the world go
 * wrong. Only the engines, the stream, the sink and their tests include this.
 */
#ifndef UQM_IO_ENGINE_IMPL_H
#define UQM_IO_ENGINE_IMPL_H

#include <pthread.h>
#include <sys/types.h>

#include "io/engine.h"
#include "io/sink.h"
#include "io/stream.h"

/*
 * Faults on purpose. Any member may be NULL: nothing goes wrong there. Borrowed for the life of
 * what it was given to. `transfer` may be called from several threads at once.
 */
struct uqm_io_faults {
    void *ctx;
    /* 0, or the errno that the system refuses with. */
    int (*ring_setup)(void *ctx);
    int (*ring_register)(void *ctx, size_t n_bufs);
    int (*open_direct)(void *ctx);
    int (*reserve)(void *ctx);
    int (*sync)(void *ctx);
    /* Before `len` bytes are asked for: how many to ask for instead (a short transfer), or
     * -errno or 0 as if that had been the answer. */
    ssize_t (*transfer)(void *ctx, const struct uqm_op *op, size_t len);
};

struct uqm_io_vtable {
    enum uqm_io_kind kind;
    void (*destroy)(struct uqm_io *io);
    bool (*register_bufs)(struct uqm_io *io, void *const *bufs, size_t buf_bytes, size_t n_bufs);
    int (*submit)(struct uqm_io *io, struct uqm_op *op, struct uqm_err *err);
    struct uqm_op *(*wait)(struct uqm_io *io); /* called only with operations under way */
};

/* The first member of every engine. */
struct uqm_io {
    const struct uqm_io_vtable *v;
    const struct uqm_io_faults *faults;
    unsigned n_inflight, n_busy;
};

/*
 * Registration touches and pins every buffer, which only a long run pays back: streams and sinks
 * register when their buffers have gone round this often.
 */
enum { UQM_ROUNDS_BEFORE_REGISTERING = 2 };

/* Both return 0 or the errno of the refusal. */
int uqm_io_uring_create(struct uqm_io **out, unsigned n_inflight,
                        const struct uqm_io_faults *faults);
int uqm_io_pread_create(struct uqm_io **out, unsigned n_inflight,
                        const struct uqm_io_faults *faults);

/* The public creators, with faults. */
int uqm_io_create_with(struct uqm_io **out, struct uqm_env *env, unsigned n_inflight,
                       const struct uqm_io_faults *faults, struct uqm_err *err);
int uqm_stream_create_with(struct uqm_stream **out, struct uqm_env *env, size_t piece_bytes,
                           size_t min_pieces, uint64_t memory_bytes, uqm_next_piece_fn next,
                           void *ctx, const struct uqm_io_faults *faults, struct uqm_err *err);
int uqm_sink_create_with(struct uqm_sink **out, struct uqm_env *env, const char *path,
                         uint64_t size_bytes, uint64_t memory_bytes,
                         const struct uqm_io_faults *faults, struct uqm_err *err);

/* Where the next transfer of an operation begins, counted from off_bytes. */
static inline size_t uqm_op_position(const struct uqm_op *op)
{
    return op->align > 1 ? op->done & ~(size_t) (op->align - 1) : op->done;
}

/* How much the next transfer is to move; 0 or -errno: take that for its result. */
ssize_t uqm_op_request(const struct uqm_io *io, const struct uqm_op *op);

/* Account the result of a transfer. Returns whether the operation is over. */
bool uqm_op_advance(struct uqm_op *op, ssize_t result);

/* A thread that takes no signals: those are for the caller's threads. 0 or an errno. */
int uqm_io_thread(pthread_t *thread, void *(*run)(void *), void *arg);
/* Set *stopping, under the lock that it is under, wake whoever waits for `changed`, and join. */
void uqm_io_stop_thread(pthread_t thread, pthread_mutex_t *lock, pthread_cond_t *changed,
                        bool *stopping);

#endif
