/* A fixed set of worker threads for data-parallel loops. */
#ifndef UQM_COMPUTE_THREADS_H
#define UQM_COMPUTE_THREADS_H

#include "src/base/err.h"

struct uqm_threads;

/* n_threads >= 1, the calling thread among them. */
int uqm_threads_create(struct uqm_threads **out, int n_threads, struct uqm_err *err);
void uqm_threads_destroy(struct uqm_threads **threads);
int uqm_threads_count(const struct uqm_threads *threads);

/* worker: 0 <= worker < count; no two calls with one worker number run at once. */
typedef void (*uqm_task_fn)(void *ctx, size_t item, int worker);

/*
 * fn(ctx, item, worker) for 0 <= item < n_items, in any order, on all threads; returns when all
 * are done. `threads` NULL: the caller does it all. Not to be nested; one caller at a time.
 */
void uqm_parallel(struct uqm_threads *threads, size_t n_items, uqm_task_fn fn, void *ctx);

#endif
