#include "compute/threads.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/*
 * One job at a time. It is open from the moment the caller publishes it until all its items are
 * claimed; a worker enters it under the lock while it is open, so the caller waits for those that
 * entered and never for one that has yet to wake up: it finds the job closed and sleeps on.
 *
 * Items are claimed one by one from a shared counter: the slow ones even out by themselves.
 */
struct uqm_threads {
    int n_threads;
    int n_started; /* pthreads to join */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a job was published, or quit */
    pthread_cond_t left; /* n_inside became 0 */
    /* under lock */
    uqm_task_fn fn;
    void *ctx;
    bool open, quit;
    int n_inside;
    /* read without it */
    atomic_uint published; /* counts jobs; what a worker spins on */
    atomic_size_t next_item;
    size_t n_items;
    struct worker {
        struct uqm_threads *threads;
        pthread_t id;
        int number;
    } workers[];
};

/* Between the small products of one layer the next job is microseconds away: looking for it that
 * long is cheaper than a sleep. */
enum { SPINS = 1024 };

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void do_items(struct uqm_threads *t, uqm_task_fn fn, void *ctx, size_t n_items, int worker)
{
    for (;;) {
        size_t item = atomic_fetch_add_explicit(&t->next_item, 1, memory_order_relaxed);
        if (item >= n_items)
            return;
        fn(ctx, item, worker);
    }
}

static void await_job(struct uqm_threads *t, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->published, memory_order_relaxed) != seen)
            return;
        relax();
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct uqm_threads *t = w->threads;
    unsigned seen = 0;

    for (;;) {
        await_job(t, seen);
        pthread_mutex_lock(&t->lock);
        while (!t->quit && atomic_load(&t->published) == seen)
            pthread_cond_wait(&t->wake, &t->lock);
        if (t->quit)
            break;
        seen = atomic_load(&t->published);
        if (t->open) {
            uqm_task_fn fn = t->fn;
            void *ctx = t->ctx;
            size_t n_items = t->n_items;
            t->n_inside++;
            pthread_mutex_unlock(&t->lock);
            do_items(t, fn, ctx, n_items, w->number);
            pthread_mutex_lock(&t->lock);
            if (--t->n_inside == 0)
                pthread_cond_signal(&t->left);
        }
        pthread_mutex_unlock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* Signals are the business of the program's own threads: ours take none. */
static int start_workers(struct uqm_threads *t, struct uqm_err *err)
{
    sigset_t all, before;
    int ret = UQM_OK;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i + 1 < t->n_threads; i++) {
        t->workers[i] = (struct worker){ .threads = t, .number = i + 1 };
        int e = pthread_create(&t->workers[i].id, NULL, worker_main, &t->workers[i]);
        if (e != 0) {
            ret = uqm_fail_errno_of(err, e, "starting thread %d of %d", i + 2, t->n_threads);
            break;
        }
        t->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ret;
}

int uqm_threads_create(struct uqm_threads **out, int n_threads, struct uqm_err *err)
{
    assert(n_threads >= 1);
    struct uqm_threads *t = calloc(1, sizeof *t + (size_t) n_threads * sizeof t->workers[0]);
    if (!t)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %d threads", n_threads);
    t->n_threads = n_threads;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->left, NULL);

    int ret = start_workers(t, err);
    if (ret < 0) {
        uqm_threads_destroy(&t);
        return ret;
    }
    *out = t;
    return UQM_OK;
}

void uqm_threads_destroy(struct uqm_threads **threads)
{
    struct uqm_threads *t = *threads;
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->quit = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->n_started; i++)
        pthread_join(t->workers[i].id, NULL);
    pthread_cond_destroy(&t->left);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
    *threads = NULL;
}

int uqm_threads_count(const struct uqm_threads *threads)
{
    return threads ? threads->n_threads : 1;
}

static void publish(struct uqm_threads *t, size_t n_items, uqm_task_fn fn, void *ctx)
{
    pthread_mutex_lock(&t->lock);
    assert(!t->open); /* nested, or two callers */
    t->fn = fn;
    t->ctx = ctx;
    t->n_items = n_items;
    t->open = true;
    atomic_store_explicit(&t->next_item, 0, memory_order_relaxed);
    atomic_fetch_add(&t->published, 1);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void uqm_parallel(struct uqm_threads *threads, size_t n_items, uqm_task_fn fn, void *ctx)
{
    struct uqm_threads *t = threads;
    if (!t || t->n_threads == 1 || n_items <= 1) {
        for (size_t item = 0; item < n_items; item++)
            fn(ctx, item, 0);
        return;
    }

    publish(t, n_items, fn, ctx);
    do_items(t, fn, ctx, n_items, 0);

    pthread_mutex_lock(&t->lock);
    t->open = false;
    while (t->n_inside > 0)
        pthread_cond_wait(&t->left, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
