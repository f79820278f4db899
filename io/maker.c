#include "io/maker.h"

#include <pthread.h>
#include <stdlib.h>

#include "io/engine_impl.h"

struct uqm_maker {
    pthread_mutex_t lock;
    pthread_cond_t has_todo, has_done;
    struct uqm_make *first, *last; /* under lock, as are stopping and every make's done */
    bool stopping;
    int n_threads; /* that run */
    pthread_t threads[];
};

static struct uqm_make *pop(struct uqm_maker *m)
{
    struct uqm_make *make = m->first;
    if (make)
        m->first = make->next;
    if (!m->first)
        m->last = NULL;
    return make;
}

static void *work(void *arg)
{
    struct uqm_maker *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stopping) {
        struct uqm_make *make = pop(m);
        if (!make) {
            pthread_cond_wait(&m->has_todo, &m->lock);
            continue;
        }
        pthread_mutex_unlock(&m->lock);
        uqm_file_read(make->file, make->buf, make->n_bytes, make->off_bytes, &make->failure);
        pthread_mutex_lock(&m->lock);
        make->done = true;
        pthread_cond_signal(&m->has_done);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

int uqm_maker_create(struct uqm_maker **out, int n_threads, struct uqm_err *err)
{
    struct uqm_maker *m = calloc(1, sizeof *m + (size_t) n_threads * sizeof *m->threads);
    if (!m)
        return uqm_fail(err, UQM_ERR_NOMEM, "the threads that read archives: no memory");
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->has_todo, NULL);
    pthread_cond_init(&m->has_done, NULL);
    int e = 0;
    while (m->n_threads < n_threads && e == 0) {
        e = uqm_io_thread(&m->threads[m->n_threads], work, m);
        m->n_threads += e == 0;
    }
    if (m->n_threads == 0) { /* fewer than asked for will do */
        uqm_maker_destroy(&m);
        return uqm_fail_errno_of(err, e, "the threads that read archives");
    }
    *out = m;
    return UQM_OK;
}

void uqm_maker_destroy(struct uqm_maker **maker)
{
    struct uqm_maker *m = *maker;
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_broadcast(&m->has_todo);
    pthread_mutex_unlock(&m->lock);
    for (int i = 0; i < m->n_threads; i++)
        pthread_join(m->threads[i], NULL);
    pthread_cond_destroy(&m->has_done);
    pthread_cond_destroy(&m->has_todo);
    pthread_mutex_destroy(&m->lock);
    free(m);
    *maker = NULL;
}

void uqm_maker_submit(struct uqm_maker *maker, struct uqm_make *make)
{
    make->failure.code = UQM_OK;
    make->done = false;
    make->next = NULL;
    if (make->file->ops->expect)
        make->file->ops->expect(make->file, make->off_bytes, make->n_bytes);
    pthread_mutex_lock(&maker->lock);
    if (maker->last)
        maker->last->next = make;
    else
        maker->first = make;
    maker->last = make;
    pthread_cond_signal(&maker->has_todo);
    pthread_mutex_unlock(&maker->lock);
}

void uqm_maker_wait(struct uqm_maker *maker, const struct uqm_make *make)
{
    pthread_mutex_lock(&maker->lock);
    while (!make->done)
        pthread_cond_wait(&maker->has_done, &maker->lock);
    pthread_mutex_unlock(&maker->lock);
}
