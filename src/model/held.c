/*
 * The ring: groups lie in it in their order, each in one piece; one that does not fit before the
 * end begins anew at the start. `placed`, `loaded`, `given` count groups: those in [given, placed)
 * have room, those in [given, loaded) are whole. All of it, and the reader's error, under the lock.
 */
#include "src/model/held.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/clock.h"

enum { LOAD_ALIGN = 64 };

struct uqm_held {
    struct uqm_held_params of;
    struct uqm_tile_stream *stream;
    size_t asked_load; /* how far the stream has been told */
    uint64_t asked_row;
    void *ring;
    uint64_t *group_at; /* (n_groups): where each begins in the ring */
    uint64_t *load_at;  /* (loads): within its group */
    pthread_t reader;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t placed, loaded, given;
    bool stop;
    struct uqm_err failure;
    struct uqm_held_times times;
};

/* ---- sizes ---- */

static size_t group_begin(const size_t *ends, size_t group)
{
    return group > 0 ? ends[group - 1] : 0;
}

static uint64_t load_bytes(const struct uqm_schedule *schedule, size_t load)
{
    const struct uqm_load *l = &schedule->loads[load];
    return uqm_align_up(l->n_rows * uqm_schedule_row_bytes(schedule, l), LOAD_ALIGN);
}

static uint64_t group_bytes(const struct uqm_schedule *schedule, const size_t *ends, size_t group)
{
    uint64_t bytes = 0;
    for (size_t i = group_begin(ends, group); i < ends[group]; i++)
        bytes += load_bytes(schedule, i);
    return bytes;
}

uint64_t uqm_held_ring_bytes(const struct uqm_schedule *schedule, const size_t *group_ends,
                             size_t n_groups, size_t n_slots)
{
    uint64_t most = LOAD_ALIGN;
    for (size_t first = 0; first < n_groups; first++) {
        uint64_t bytes = 0;
        for (size_t g = first; g < n_groups && g < first + n_slots; g++)
            bytes += group_bytes(schedule, group_ends, g);
        most = uqm_max_u64(most, bytes);
    }
    return most;
}

/* ---- the reader ---- */

static int next_range(void *ctx, struct uqm_range *range)
{
    struct uqm_held *h = ctx;
    const struct uqm_schedule *s = h->of.schedule;
    if (h->asked_load == s->n)
        return 0;
    const struct uqm_load *load = &s->loads[h->asked_load];
    const uint64_t rows =
        uqm_min_u64(uqm_schedule_tile_rows(s, load, h->of.tile_bytes), load->n_rows - h->asked_row);
    *range = (struct uqm_range){
        .tensor = load->tensor,
        .first_elem = (load->first_row + h->asked_row) * load->row_elem,
        .n_elem = (size_t) (rows * load->row_elem),
    };
    h->asked_row += rows;
    if (h->asked_row == load->n_rows) {
        h->asked_load++;
        h->asked_row = 0;
    }
    return 1;
}

/* Where `bytes` more fit in one piece; false: not before an older group goes. */
static bool find_room(const struct uqm_held *h, uint64_t bytes, uint64_t *at)
{
    if (h->given == h->placed) {
        *at = 0;
        return true;
    }
    const uint64_t oldest = h->group_at[h->given];
    const uint64_t end =
        h->group_at[h->placed - 1] + group_bytes(h->of.schedule, h->of.group_ends, h->placed - 1);
    if (h->group_at[h->placed - 1] < oldest) { /* round the end already */
        *at = end;
        return end + bytes <= oldest;
    }
    *at = end + bytes <= h->of.ring_bytes ? end : 0;
    return *at > 0 || bytes <= oldest;
}

/* Room for the next group; false: we are to stop. */
static bool place_group(struct uqm_held *h)
{
    const uint64_t bytes = group_bytes(h->of.schedule, h->of.group_ends, h->placed);
    const double start = uqm_clock_s();
    uint64_t at = 0;
    pthread_mutex_lock(&h->lock);
    while (!h->stop && !find_room(h, bytes, &at))
        pthread_cond_wait(&h->changed, &h->lock);
    h->times.reader_s += uqm_clock_s() - start;
    const bool go_on = !h->stop;
    if (go_on)
        h->group_at[h->placed++] = at;
    pthread_mutex_unlock(&h->lock);
    return go_on;
}

static bool is_stopped(struct uqm_held *h)
{
    pthread_mutex_lock(&h->lock);
    const bool stop = h->stop;
    pthread_mutex_unlock(&h->lock);
    return stop;
}

static int read_load(struct uqm_held *h, size_t group, size_t load, struct uqm_err *err)
{
    const struct uqm_load *l = &h->of.schedule->loads[load];
    char *dst = (char *) h->ring + h->group_at[group] + h->load_at[load];
    uint64_t left = l->n_rows * uqm_schedule_row_bytes(h->of.schedule, l);
    while (left > 0 && !is_stopped(h)) {
        struct uqm_tile tile = { 0 };
        int ret = uqm_check_cancel(h->of.env, err);
        if (ret == UQM_OK)
            ret = uqm_tile_next(h->stream, &tile, err);
        if (ret < 0)
            return ret;
        assert(ret == 1 && tile.range.tensor == l->tensor && tile.n_bytes <= left);
        memcpy(dst, tile.data, tile.n_bytes);
        dst += tile.n_bytes;
        left -= tile.n_bytes;
        uqm_tile_release(h->stream, &tile);
    }
    return UQM_OK;
}

static void *read_groups(void *ctx)
{
    struct uqm_held *h = ctx;
    struct uqm_err err = { 0 };
    int ret = UQM_OK;
    for (size_t g = 0; ret == UQM_OK && g < h->of.n_groups && place_group(h); g++) {
        for (size_t i = group_begin(h->of.group_ends, g); ret == UQM_OK && i < h->of.group_ends[g];
             i++)
            ret = read_load(h, g, i, &err);
        pthread_mutex_lock(&h->lock);
        if (ret == UQM_OK)
            h->loaded = g + 1;
        else
            h->failure = err;
        pthread_cond_broadcast(&h->changed);
        pthread_mutex_unlock(&h->lock);
    }
    return NULL;
}

/* Signals are for the caller's threads. */
static int start_reader(struct uqm_held *h)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int code = pthread_create(&h->reader, NULL, read_groups, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    h->running = code == 0;
    return code;
}

/* ---- open and close ---- */

static int init(struct uqm_held *h, struct uqm_err *err)
{
    const struct uqm_schedule *s = h->of.schedule;
    h->group_at = calloc(h->of.n_groups, sizeof *h->group_at);
    h->load_at = calloc(s->n, sizeof *h->load_at);
    if (!h->group_at || !h->load_at)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for groups of weights", s->source->name);
    for (size_t g = 0; g < h->of.n_groups; g++) {
        uint64_t at = 0;
        for (size_t i = group_begin(h->of.group_ends, g); i < h->of.group_ends[g]; i++) {
            h->load_at[i] = at;
            at += load_bytes(s, i);
        }
    }
    int ret = uqm_budget_alloc(&h->ring, h->of.env, (size_t) h->of.ring_bytes, 4096,
                               "a layer's weights", err);
    if (ret == UQM_OK)
        ret = uqm_source_open(&h->stream, h->of.source, NULL, h->of.tile_bytes, h->of.stream_bytes,
                              next_range, h, err);
    if (ret == UQM_OK && start_reader(h) != 0)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no thread to read its weights", s->source->name);
    return ret;
}

int uqm_held_open(struct uqm_held **out, const struct uqm_held_params *params, struct uqm_err *err)
{
    assert(params->ring_bytes >=
           uqm_held_ring_bytes(params->schedule, params->group_ends, params->n_groups, 1));
    struct uqm_held *h = calloc(1, sizeof *h);
    if (!h)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", params->source->name);
    h->of = *params;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    int ret = init(h, err);
    if (ret < 0) {
        uqm_held_close(&h);
        return ret;
    }
    *out = h;
    return UQM_OK;
}

void uqm_held_close(struct uqm_held **held)
{
    struct uqm_held *h = *held;
    *held = NULL;
    if (!h)
        return;
    if (h->running) {
        pthread_mutex_lock(&h->lock);
        h->stop = true;
        pthread_cond_broadcast(&h->changed);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->reader, NULL);
    }
    uqm_tile_stream_destroy(&h->stream);
    uqm_budget_free(&h->ring, h->of.env, (size_t) h->of.ring_bytes);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h->group_at);
    free(h->load_at);
    free(h);
}

/* ---- the taker ---- */

int uqm_held_take(struct uqm_held *held, struct uqm_err *err)
{
    const double start = uqm_clock_s();
    pthread_mutex_lock(&held->lock);
    assert(held->given < held->of.n_groups);
    while (held->loaded == held->given && held->failure.code == UQM_OK)
        pthread_cond_wait(&held->changed, &held->lock);
    held->times.taker_s += uqm_clock_s() - start;
    const bool whole = held->loaded > held->given;
    if (!whole && err)
        *err = held->failure;
    const int ret = whole ? UQM_OK : (int) held->failure.code;
    pthread_mutex_unlock(&held->lock);
    return ret;
}

void uqm_held_give(struct uqm_held *held)
{
    pthread_mutex_lock(&held->lock);
    assert(held->given < held->loaded);
    held->given++;
    pthread_cond_broadcast(&held->changed);
    pthread_mutex_unlock(&held->lock);
}

/* The reader leaves this group's places alone: no lock. */
const void *uqm_held_rows(const struct uqm_held *held, size_t load)
{
    size_t group = held->given;
    assert(load >= group_begin(held->of.group_ends, group) && load < held->of.group_ends[group]);
    return (const char *) held->ring + held->group_at[group] + held->load_at[load];
}

struct uqm_held_times uqm_held_times(struct uqm_held *held)
{
    pthread_mutex_lock(&held->lock);
    const struct uqm_held_times times = held->times;
    pthread_mutex_unlock(&held->lock);
    return times;
}
