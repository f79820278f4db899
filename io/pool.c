#include "io/pool.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "src/base/checked.h"

enum { PAGE_BYTES = 4096 };

int uqm_pool_init(struct uqm_pool *pool, struct uqm_env *env, size_t buf_bytes, size_t n_bufs,
                  const char *what, struct uqm_err *err)
{
    int ret;
    uint64_t total;
    assert(buf_bytes > 0 && buf_bytes % PAGE_BYTES == 0 && n_bufs > 0 && n_bufs <= INT_MAX);
    *pool = (struct uqm_pool){ .env = env, .buf_bytes = buf_bytes, .n_bufs = n_bufs };
    if (!uqm_mul_u64(&total, buf_bytes, n_bufs))
        total = UINT64_MAX;

    ret = uqm_budget_alloc(&pool->block, env, total, PAGE_BYTES, what, err);
    if (ret < 0)
        goto fail;
    /* A wish: thousands of page faults fewer, and longer runs of memory for O_DIRECT. */
    madvise(pool->block, total, MADV_HUGEPAGE);
    pool->bufs = calloc(n_bufs, sizeof *pool->bufs);
    pool->free_list = calloc(n_bufs, sizeof *pool->free_list);
    pool->taken = calloc(n_bufs, sizeof *pool->taken);
    if (!pool->bufs || !pool->free_list || !pool->taken) {
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", what);
        goto fail;
    }
    for (size_t i = 0; i < n_bufs; i++) {
        pool->bufs[i] = (char *) pool->block + i * buf_bytes;
        pool->free_list[i] = (unsigned) (n_bufs - 1 - i);
    }
    pool->n_free = n_bufs;
    return UQM_OK;

fail:
    uqm_pool_finish(pool);
    return ret;
}

void uqm_pool_finish(struct uqm_pool *pool)
{
    if (pool->block)
        uqm_budget_free(&pool->block, pool->env, pool->buf_bytes * pool->n_bufs);
    free(pool->bufs);
    free(pool->free_list);
    free(pool->taken);
    *pool = (struct uqm_pool){ 0 };
}

int uqm_pool_take(struct uqm_pool *pool)
{
    if (pool->n_free == 0)
        return -1;
    unsigned i = pool->free_list[--pool->n_free];
    assert(!pool->taken[i]);
    pool->taken[i] = true;
    return (int) i;
}

void uqm_pool_give(struct uqm_pool *pool, int index)
{
    assert(index >= 0 && (size_t) index < pool->n_bufs && pool->taken[index]);
    pool->taken[index] = false;
    pool->free_list[pool->n_free++] = (unsigned) index;
}
