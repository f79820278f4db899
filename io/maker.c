#include "io/maker.h"

#include <pthread.h>
#include <stdlib.h>

#include "io/engine_impl.h"
#include "io/fetch.h"

/* A source of parts that are under way: free, or read once for all parts of the same bytes. */
struct source {
    struct uqm_fetch fetch;
    struct uqm_err failure;
    void *buf;
    size_t room;
    unsigned n_users; /* 0: free, its bytes forgotten */
    bool is_read;     /* or has failed */
};

struct part {
    struct uqm_make *make;
    size_t at, n_bytes; /* in the make */
    size_t n_sources;
    struct source *sources[UQM_FILE_MAX_SOURCES]; /* NULL: there was no buffer for it */
    struct part *next;
};

/* Of each there may be as many; a disk that wants more than this in flight is not known. */
enum { MOST_SOURCES = 32, MOST_PARTS = 64, BUDGET_SHARE = 32 };

struct uqm_maker {
    struct uqm_env *env;
    struct uqm_io *io; /* the reading thread's */
    pthread_mutex_t lock;
    pthread_cond_t has_work;  /* for those who make: a part whose sources have come */
    pthread_cond_t has_to_do; /* for the one who reads: a make, or room for a part */
    pthread_cond_t has_done;
    /* under lock: */
    struct uqm_make *first, *last; /* not all of whose parts have begun */
    struct part *parts, **parts_end;
    struct part *free_parts;
    bool stopping;
    unsigned n_reading;
    uint64_t source_bytes; /* taken from the budget */
    struct source sources[MOST_SOURCES];
    struct part all_parts[MOST_PARTS];
    int n_threads; /* that run; the first reads */
    pthread_t threads[];
};

/* --- sources: the reading thread, under lock --- */

/* Somebody reads the same bytes, or has and is not done with them. */
static struct source *find_source(struct uqm_maker *m, const struct uqm_file_source *want)
{
    for (size_t i = 0; i < MOST_SOURCES; i++) {
        struct source *s = &m->sources[i];
        if (s->n_users > 0 && s->fetch.file == want->file &&
            s->fetch.off_bytes == want->off_bytes && s->fetch.n_bytes == want->n_bytes)
            return s;
    }
    return NULL;
}

static bool make_room(struct uqm_maker *m, struct source *s, size_t room)
{
    uqm_budget_free(&s->buf, m->env, s->room);
    m->source_bytes -= s->room;
    s->room = 0;
    if (m->source_bytes + room > m->env->budget.limit_bytes / BUDGET_SHARE ||
        uqm_budget_left(m->env) < room ||
        uqm_budget_alloc(&s->buf, m->env, room, UQM_DIRECT_MAX_ALIGN, "what archives store", NULL))
        return false;
    s->room = room;
    m->source_bytes += room;
    return true;
}

/* Best one that has the room already. */
static struct source *free_source(struct uqm_maker *m, size_t n_bytes)
{
    size_t room = uqm_fetch_room(n_bytes);
    struct source *best = NULL;
    for (size_t i = 0; i < MOST_SOURCES; i++) {
        struct source *s = &m->sources[i];
        if (s->n_users > 0)
            continue;
        if (s->room >= room)
            return s;
        if (!best || s->room > best->room)
            best = s;
    }
    return best && make_room(m, best, room) ? best : NULL;
}

static bool any_source_is_used(const struct uqm_maker *m)
{
    for (size_t i = 0; i < MOST_SOURCES; i++)
        if (m->sources[i].n_users > 0)
            return true;
    return false;
}

/* Nobody else uses the engine, or the source: no part that has it is in the list. */
static void start_reading(struct uqm_maker *m, struct source *s)
{
    pthread_mutex_unlock(&m->lock);
    int ret = uqm_fetch_begin(&s->fetch, m->io, s->buf, -1, &s->failure);
    pthread_mutex_lock(&m->lock);
    s->is_read = ret < 0;
    m->n_reading += ret == UQM_OK;
}

static void end_reading(struct uqm_maker *m)
{
    struct uqm_err failure = { 0 };
    pthread_mutex_unlock(&m->lock);
    struct uqm_fetch *fetch = uqm_io_wait(m->io)->user;
    bool over = uqm_fetch_end(fetch, m->io, m->env, &failure);
    pthread_mutex_lock(&m->lock);
    if (!over)
        return;
    struct source *s = fetch->user;
    s->failure = failure;
    s->is_read = true;
    m->n_reading--;
    pthread_cond_broadcast(&m->has_work);
}

static void let_go(const struct part *p)
{
    for (size_t i = 0; i < p->n_sources; i++)
        if (p->sources[i])
            p->sources[i]->n_users--;
}

/* One that is read already, or *fresh: a free one that is to be. NULL: no buffer. */
static struct source *take_source(struct uqm_maker *m, const struct uqm_file_source *want,
                                  bool *fresh)
{
    struct source *s = find_source(m, want);
    *fresh = !s;
    if (!s)
        s = free_source(m, want->n_bytes);
    if (!s)
        return NULL;
    if (*fresh) {
        s->is_read = false;
        s->failure.code = UQM_OK;
        s->fetch = (struct uqm_fetch){
            .file = want->file, .off_bytes = want->off_bytes, .n_bytes = want->n_bytes, .user = s
        };
    }
    s->n_users++;
    return s;
}

/* --- parts --- */

/* false: not all of them have a buffer now, but will when others are done. */
static bool take_sources(struct uqm_maker *m, struct part *p,
                         const struct uqm_file_source wants[UQM_FILE_MAX_SOURCES])
{
    bool wait = any_source_is_used(m), fresh[UQM_FILE_MAX_SOURCES], all = true;
    for (size_t i = 0; i < p->n_sources; i++) {
        p->sources[i] = take_source(m, &wants[i], &fresh[i]);
        all = all && p->sources[i];
    }
    if (!all && wait) {
        let_go(p);
        return false;
    }
    for (size_t i = 0; i < p->n_sources; i++)
        if (p->sources[i] && fresh[i])
            start_reading(m, p->sources[i]);
    return true;
}

static void give_part(struct uqm_maker *m, struct part *p)
{
    p->next = m->free_parts;
    m->free_parts = p;
}

/* The next part of the first make. Whether there was one, and room for it. */
static bool begin_part(struct uqm_maker *m)
{
    struct uqm_file_source wants[UQM_FILE_MAX_SOURCES];
    struct uqm_make *make = m->first;
    struct part *p = m->free_parts;
    if (!make || !p || m->stopping)
        return false;
    m->free_parts = p->next;
    *p = (struct part){ .make = make, .at = make->n_begun };
    p->n_bytes = make->n_bytes - p->at;
    if (make->file->ops->part)
        p->n_bytes = make->file->ops->part(wants, &p->n_sources, make->file,
                                           make->off_bytes + p->at, p->n_bytes);
    if (!take_sources(m, p, wants)) {
        give_part(m, p);
        return false;
    }
    *m->parts_end = p;
    m->parts_end = &p->next;
    make->n_begun += p->n_bytes;
    make->n_parts++;
    if (make->n_begun == make->n_bytes) {
        m->first = make->next;
        if (!m->first)
            m->last = NULL;
    }
    pthread_cond_signal(&m->has_work);
    return true;
}

static void *read_sources(void *arg)
{
    struct uqm_maker *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stopping || m->n_reading > 0) {
        while (begin_part(m))
            ;
        if (m->n_reading > 0)
            end_reading(m);
        else if (!m->stopping)
            pthread_cond_wait(&m->has_to_do, &m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* The first part that can be made, taken out of the list. */
static struct part *pop(struct uqm_maker *m)
{
    for (struct part **at = &m->parts; *at; at = &(*at)->next) {
        struct part *p = *at;
        bool ready = true;
        for (size_t i = 0; i < p->n_sources; i++)
            ready = ready && (!p->sources[i] || p->sources[i]->is_read);
        if (!ready)
            continue;
        *at = p->next;
        if (!*at)
            m->parts_end = at;
        return p;
    }
    return NULL;
}

static int make_part(const struct part *p, struct uqm_err *err)
{
    const struct uqm_make *make = p->make;
    const uint8_t *bytes[UQM_FILE_MAX_SOURCES] = { NULL };
    uint8_t *buf = (uint8_t *) make->buf + p->at;
    for (size_t i = 0; i < p->n_sources; i++) {
        if (!p->sources[i])
            continue;
        if (p->sources[i]->failure.code != UQM_OK) {
            *err = p->sources[i]->failure;
            return err->code;
        }
        bytes[i] = uqm_fetch_data(&p->sources[i]->fetch);
    }
    if (!make->file->ops->make)
        return uqm_file_read(make->file, buf, p->n_bytes, make->off_bytes + p->at, err);
    return make->file->ops->make(make->file, buf, p->n_bytes, make->off_bytes + p->at, bytes, err);
}

static void end_part(struct uqm_maker *m, struct part *p, const struct uqm_err *failure)
{
    struct uqm_make *make = p->make;
    if (failure->code != UQM_OK && (make->failure.code == UQM_OK || p->at < make->failed_at)) {
        make->failure = *failure;
        make->failed_at = p->at;
    }
    let_go(p);
    give_part(m, p);
    make->n_parts--;
    make->done = make->n_parts == 0 && make->n_begun == make->n_bytes;
    if (make->done)
        pthread_cond_signal(&m->has_done);
    pthread_cond_signal(&m->has_to_do);
}

static void *make_parts(void *arg)
{
    struct uqm_maker *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stopping) {
        struct uqm_err failure = { 0 };
        struct part *p = pop(m);
        if (!p) {
            pthread_cond_wait(&m->has_work, &m->lock);
            continue;
        }
        pthread_mutex_unlock(&m->lock);
        make_part(p, &failure);
        pthread_mutex_lock(&m->lock);
        end_part(m, p, &failure);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* --- the maker --- */

int uqm_maker_create(struct uqm_maker **out, struct uqm_env *env,
                     const struct uqm_io_faults *faults, struct uqm_err *err)
{
    int n_threads = env->n_threads + 1;
    struct uqm_maker *m = calloc(1, sizeof *m + (size_t) n_threads * sizeof *m->threads);
    if (!m)
        return uqm_fail(err, UQM_ERR_NOMEM, "the threads that read archives: no memory");
    m->env = env;
    m->parts_end = &m->parts;
    for (size_t i = 0; i < MOST_PARTS; i++) {
        m->all_parts[i].next = m->free_parts;
        m->free_parts = &m->all_parts[i];
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->has_work, NULL);
    pthread_cond_init(&m->has_to_do, NULL);
    pthread_cond_init(&m->has_done, NULL);
    int e = 0, ret = uqm_io_create_with(&m->io, env, MOST_SOURCES, faults, err);
    while (ret == UQM_OK && m->n_threads < n_threads && e == 0) {
        e = uqm_io_thread(&m->threads[m->n_threads], m->n_threads ? make_parts : read_sources, m);
        m->n_threads += e == 0;
    }
    if (ret == UQM_OK && m->n_threads < 2) /* fewer than asked for will do */
        ret = uqm_fail_errno_of(err, e, "the threads that read archives");
    if (ret < 0)
        uqm_maker_destroy(&m);
    else
        *out = m;
    return ret;
}

void uqm_maker_destroy(struct uqm_maker **maker)
{
    struct uqm_maker *m = *maker;
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_broadcast(&m->has_work);
    pthread_cond_broadcast(&m->has_to_do);
    pthread_mutex_unlock(&m->lock);
    for (int i = 0; i < m->n_threads; i++)
        pthread_join(m->threads[i], NULL);
    uqm_io_destroy(&m->io);
    for (size_t i = 0; i < MOST_SOURCES; i++)
        uqm_budget_free(&m->sources[i].buf, m->env, m->sources[i].room);
    pthread_cond_destroy(&m->has_done);
    pthread_cond_destroy(&m->has_to_do);
    pthread_cond_destroy(&m->has_work);
    pthread_mutex_destroy(&m->lock);
    free(m);
    *maker = NULL;
}

void uqm_maker_submit(struct uqm_maker *maker, struct uqm_make *make)
{
    make->failure.code = UQM_OK;
    make->n_begun = 0;
    make->n_parts = 0;
    make->done = false;
    make->next = NULL;
    pthread_mutex_lock(&maker->lock);
    if (maker->last)
        maker->last->next = make;
    else
        maker->first = make;
    maker->last = make;
    pthread_cond_signal(&maker->has_to_do);
    pthread_mutex_unlock(&maker->lock);
}

void uqm_maker_wait(struct uqm_maker *maker, const struct uqm_make *make)
{
    pthread_mutex_lock(&maker->lock);
    while (!make->done)
        pthread_cond_wait(&maker->has_done, &maker->lock);
    pthread_mutex_unlock(&maker->lock);
}
