/*
 * A fixed pool of equal, page-aligned buffers, taken from the memory budget at once. A buffer has
 * one owner at a time: the pool, or whoever took it. Thread-safety: one thread at a time.
 */
#ifndef UQM_IO_POOL_H
#define UQM_IO_POOL_H

#include "src/base/env.h"

struct uqm_pool {
    struct uqm_env *env;
    size_t buf_bytes; /* a multiple of 4096 */
    size_t n_bufs, n_free;
    void *block;
    void **bufs;         /* n_bufs */
    unsigned *free_list; /* the first n_free are indices of free buffers */
    bool *taken;         /* n_bufs */
};

/* `what` names the buffers in UQM_ERR_NOMEM. A pool that failed to start is as a finished one. */
int uqm_pool_init(struct uqm_pool *pool, struct uqm_env *env, size_t buf_bytes, size_t n_bufs,
                  const char *what, struct uqm_err *err);
/* All buffers go, taken or not. A zeroed pool is fine. */
void uqm_pool_finish(struct uqm_pool *pool);

/* A free buffer's index, or -1. The lowest are preferred: those are registered first. */
int uqm_pool_take(struct uqm_pool *pool);
void uqm_pool_give(struct uqm_pool *pool, int index);

#endif
