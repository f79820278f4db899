/*
 * A round is one going through the weights: the i-th stream that a merge opens belongs to the i-th
 * round. Its members are the merges that have not left and have not closed that stream; `at` is the
 * number of the range that each takes next. A member waits until all others have come as far, so a
 * model's tile has been of use to all of them when one asks for the next. All of it under the one
 * lock, but for the merging itself: the tiles of a range stay until all members have counted it.
 */
#include "src/merge/sweep.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/plan.h"

struct member { /* of a round */
    size_t at, n_told;
    bool closed;
};

struct model_stream {
    struct round *round;
    size_t input; /* of the last merge */
    struct uqm_tile_stream *stream;
    size_t n_asked; /* ranges that the stream has been told */
    struct uqm_tile tile;
    bool holds;
};

struct round {
    struct uqm_sweep *sweep;
    size_t number;
    size_t tile_bytes;
    struct member *members;      /* [n] */
    struct model_stream *models; /* [n_inputs] */
    struct uqm_range *ranges;    /* that have been told, by whoever was first */
    size_t n_ranges, room;
    bool broken; /* two members want different ranges */
    /* Who tells the models' streams of ranges: the member that has the lock. */
    struct sweep_stream *teller;
    struct round *next;
};

struct merge {
    struct uqm_source source; /* first: what its network holds */
    struct uqm_sweep *sweep;
    struct uqm_recipe_source *rs;
    size_t k, n_opened;
    size_t *input_of; /* [its inputs]: the last merge's */
    bool left;
};

struct uqm_sweep {
    struct uqm_env *env;
    size_t n, n_inputs;
    uint64_t read_bytes;
    struct uqm_recipe_source *last;
    struct merge *merges;
    struct round *rounds;
    pthread_mutex_t lock;
    pthread_cond_t moved;
};

struct sweep_stream {
    struct uqm_tile_stream stream; /* first */
    struct merge *merge;
    struct round *round;
    uqm_next_range_fn next;
    void *ctx;
    struct uqm_exec *exec;
    void *out;
    size_t out_bytes;
    const void **data; /* [max_parts] */
};

/* ---- what can be swept ---- */

static int refuse(const struct uqm_recipe_source *rs, const struct uqm_tensor *t, const char *why,
                  struct uqm_err *err)
{
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: tensor %s: %s", rs->source.name,
                    uqm_printable(&name, t->name, strlen(t->name)), why);
}

static int check_tensor(const struct uqm_recipe_source *rs, size_t i, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = &rs->plan[i];
    const struct uqm_tensor *t = &rs->source.tensors[i];
    if (t->part != UQM_PART_LANGUAGE && t->part != UQM_PART_ADAPTER)
        return UQM_OK; /* networks ask for these elsewhere */
    if (!pt->job)
        return pt->fate == UQM_FATE_EQUAL ? UQM_OK : refuse(rs, t, "it is not merged", err);
    if (pt->job->n_passes > 0 || pt->job->unit_elem != 1)
        return refuse(rs, t, "the method looks at the whole tensor before it merges", err);
    for (size_t p = 0; p < pt->n_parts; p++) {
        const struct uqm_plan_part *part = &pt->parts[p];
        if (part->source_of || uqm_plan_part_tensor(rs, part)->n_elem != t->n_elem)
            return refuse(rs, t, "it is made of more than the models' tensors as they are", err);
    }
    return UQM_OK;
}

static bool same_model(const struct uqm_checkpoint *a, const struct uqm_checkpoint *b)
{
    return a->n_files > 0 && b->n_files > 0 &&
           a->files[0]->stat.st_dev == b->files[0]->stat.st_dev &&
           a->files[0]->stat.st_ino == b->files[0]->stat.st_ino;
}

static int match_inputs(struct merge *m, struct uqm_err *err)
{
    const struct uqm_recipe_source *last = m->sweep->last;
    m->input_of = calloc(m->rs->n_inputs + 1, sizeof *m->input_of);
    if (!m->input_of)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a sweep", m->rs->source.name);
    for (size_t i = 0; i < m->rs->n_inputs; i++) {
        size_t k = 0;
        while (k < last->n_inputs &&
               !same_model(m->rs->inputs[i].checkpoint, last->inputs[k].checkpoint))
            k++;
        if (k == last->n_inputs || m->rs->inputs[i].inner)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: it is no model that is on the disk",
                            m->rs->inputs[i].model->path);
        m->input_of[i] = k;
    }
    return UQM_OK;
}

static int check_merge(struct merge *m, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = m->rs, *last = m->sweep->last;
    int ret = match_inputs(m, err);
    if (ret == UQM_OK && rs->source.n_tensors != last->source.n_tensors)
        ret = uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: the steps have different tensors",
                       rs->source.name);
    for (size_t i = 0; ret == UQM_OK && i < rs->source.n_tensors; i++) {
        ret = check_tensor(rs, i, err);
        if (ret == UQM_OK &&
            strcmp(rs->source.tensors[i].canonical, last->source.tensors[i].canonical) != 0)
            ret = refuse(rs, &rs->source.tensors[i], "not every step has it", err);
    }
    return ret;
}

/* ---- the models' tiles ---- */

/* The stream's next range goes to the round, or must be what another has told. 1; 0 at the end, or
 * where that cannot be. */
static int tell(struct sweep_stream *s)
{
    struct round *r = s->round;
    struct member *m = &r->members[s->merge->k];
    struct uqm_range range;
    if (s->next(s->ctx, &range) != 1)
        return 0;
    if (m->n_told < r->n_ranges) {
        const struct uqm_range *told = &r->ranges[m->n_told];
        if (told->tensor != range.tensor || told->first_elem != range.first_elem ||
            told->n_elem != range.n_elem)
            r->broken = true;
        m->n_told++;
        return !r->broken;
    }
    if (r->n_ranges == r->room) {
        const size_t room = r->room ? 2 * r->room : 256;
        struct uqm_range *ranges = realloc(r->ranges, room * sizeof *ranges);
        if (!ranges) {
            r->broken = true;
            return 0;
        }
        r->ranges = ranges;
        r->room = room;
    }
    r->ranges[r->n_ranges++] = range;
    m->n_told++;
    return 1;
}

/* One range more; false: there is none. */
static bool hear(struct round *r)
{
    const size_t n = r->n_ranges;
    while (r->n_ranges == n)
        if (tell(r->teller) != 1)
            return false;
    return true;
}

/* A model's tensor for a range of the merge's; SIZE_MAX: the model has no part in it. */
static size_t tensor_of(const struct model_stream *ms, size_t tensor)
{
    const struct uqm_recipe_source *last = ms->round->sweep->last;
    const struct uqm_plan_tensor *pt = &last->plan[tensor];
    const size_t n_parts = pt->job ? pt->n_parts : 1; /* what is equal is taken from the first */
    for (size_t p = 0; p < n_parts; p++)
        if (pt->parts[p].input == ms->input)
            return pt->parts[p].tensor;
    return SIZE_MAX;
}

/* As far ahead of need as the model's stream likes to know. */
static int next_of_model(void *ctx, struct uqm_range *range)
{
    struct model_stream *ms = ctx;
    struct round *r = ms->round;
    for (;;) {
        if (ms->n_asked == r->n_ranges && !hear(r))
            return 0;
        *range = r->ranges[ms->n_asked++];
        range->tensor = tensor_of(ms, range->tensor);
        if (range->tensor != SIZE_MAX)
            return 1;
    }
}

static int open_model(struct model_stream *ms, struct uqm_err *err)
{
    struct uqm_sweep *sweep = ms->round->sweep;
    struct uqm_source *source = &sweep->last->inputs[ms->input].checkpoint->source;
    /* A tile of the merge may be wider in the model. */
    const size_t tile = ms->round->tile_bytes * sweep->last->widening;
    const uint64_t least = uqm_source_min_memory(source, tile);
    return uqm_source_open(&ms->stream, source, NULL, tile,
                           uqm_max_u64(least, sweep->read_bytes / sweep->n_inputs), next_of_model,
                           ms, err);
}

/* Hold a model's tile of this range, and give back the one before it: all are past that. */
static int hold(struct model_stream *ms, const struct uqm_range *range, struct uqm_err *err)
{
    const size_t tensor = tensor_of(ms, range->tensor);
    int ret = ms->stream ? UQM_OK : open_model(ms, err);
    while (ret >= 0 && !(ms->holds && ms->tile.range.tensor == tensor &&
                         ms->tile.range.first_elem == range->first_elem)) {
        if (ms->holds)
            uqm_tile_release(ms->stream, &ms->tile);
        ret = uqm_tile_next(ms->stream, &ms->tile, err);
        ms->holds = ret == 1;
        if (ret == 0)
            ret = uqm_fail(err, UQM_ERR_UNSUPPORTED,
                           "%s: the steps go through its weights in different ways",
                           ms->round->sweep->last->inputs[ms->input].model->path);
    }
    return ret < 0 ? ret : UQM_OK;
}

/* ---- rounds ---- */

static bool is_waited_for(const struct round *r, size_t k)
{
    return !r->sweep->merges[k].left && !r->members[k].closed;
}

/* The range that the last of the members takes next. */
static size_t least_at(const struct round *r)
{
    size_t least = SIZE_MAX;
    for (size_t k = 0; k < r->sweep->n; k++)
        if (is_waited_for(r, k) && r->members[k].at < least)
            least = r->members[k].at;
    return least;
}

static struct round *find_round(struct uqm_sweep *s, size_t number, size_t tile_bytes)
{
    for (struct round *r = s->rounds; r; r = r->next)
        if (r->number == number)
            return r;
    struct round *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct round){ .sweep = s, .number = number, .tile_bytes = tile_bytes };
    r->members = calloc(s->n, sizeof *r->members);
    r->models = calloc(s->n_inputs, sizeof *r->models);
    if (!r->members || !r->models) {
        free(r->members);
        free(r->models);
        free(r);
        return NULL;
    }
    for (size_t i = 0; i < s->n_inputs; i++)
        r->models[i] = (struct model_stream){ .round = r, .input = i };
    r->next = s->rounds;
    s->rounds = r;
    return r;
}

/* The buffers of a round go as soon as nobody can come to it any more. */
static void end_round(struct round *r)
{
    for (size_t k = 0; k < r->sweep->n; k++)
        if (is_waited_for(r, k))
            return;
    for (size_t i = 0; i < r->sweep->n_inputs; i++) {
        if (r->models[i].holds)
            uqm_tile_release(r->models[i].stream, &r->models[i].tile);
        r->models[i].holds = false;
        uqm_tile_stream_destroy(&r->models[i].stream);
    }
}

/* ---- a merge's stream ---- */

static int wait_turn(struct sweep_stream *s, struct uqm_err *err)
{
    struct round *r = s->round;
    const size_t k = s->merge->k;
    for (;;) {
        int ret = uqm_check_cancel(r->sweep->env, err);
        if (ret < 0)
            return ret;
        if (r->members[k].at == least_at(r))
            return UQM_OK;
        pthread_cond_wait(&r->sweep->moved, &r->sweep->lock);
    }
}

/* The member's next range, which is the round's: 1, or 0 at the end. */
static int take_range(struct sweep_stream *s, struct uqm_range *range, struct uqm_err *err)
{
    struct round *r = s->round;
    const struct member *m = &r->members[s->merge->k];
    r->teller = s;
    while (m->n_told <= m->at)
        if (tell(s) != 1)
            break;
    if (r->broken)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: its network goes through the weights in another way than the others",
                        s->merge->source.name);
    if (m->n_told <= m->at)
        return 0;
    *range = r->ranges[m->at];
    return 1;
}

/* The models' tiles of the range, for as long as this member is at it. */
static int hold_range(struct sweep_stream *s, const struct uqm_range *range, struct uqm_err *err)
{
    const struct uqm_plan_tensor *pt = &s->merge->rs->plan[range->tensor];
    const size_t n_parts = pt->job ? pt->n_parts : 1;
    for (size_t p = 0; p < n_parts; p++) {
        struct model_stream *ms = &s->round->models[s->merge->input_of[pt->parts[p].input]];
        int ret = hold(ms, range, err);
        if (ret < 0)
            return ret;
        s->data[p] = ms->tile.data;
    }
    return UQM_OK;
}

static void merge_range(struct sweep_stream *s, const struct uqm_range *range, size_t n_bytes)
{
    const struct uqm_plan_tensor *pt = &s->merge->rs->plan[range->tensor];
    const struct uqm_span span = { .first = range->first_elem,
                                   .n_elem = range->n_elem,
                                   .data = s->data };
    assert(n_bytes <= s->out_bytes);
    if (pt->job)
        uqm_exec_merge(s->exec, pt->job, &pt->state, s->out, &span);
    else
        memcpy(s->out, s->data[0], n_bytes);
}

/* All are past this range once the last of them says so. */
static void count_range(struct sweep_stream *s)
{
    struct uqm_sweep *sweep = s->round->sweep;
    pthread_mutex_lock(&sweep->lock);
    s->round->members[s->merge->k].at++;
    pthread_cond_broadcast(&sweep->moved);
    pthread_mutex_unlock(&sweep->lock);
}

static int next_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct sweep_stream *s = (struct sweep_stream *) stream;
    struct uqm_sweep *sweep = s->round->sweep;
    struct uqm_range range = { 0 };
    pthread_mutex_lock(&sweep->lock);
    int ret = wait_turn(s, err);
    if (ret == UQM_OK)
        ret = take_range(s, &range, err);
    if (ret == 1) {
        int held = hold_range(s, &range, err);
        ret = held < 0 ? held : 1;
    }
    pthread_mutex_unlock(&sweep->lock);
    if (ret != 1)
        return ret;
    const enum uqm_dtype dtype = s->merge->rs->source.tensors[range.tensor].dtype;
    *tile = (struct uqm_tile){ .range = range,
                               .data = s->out,
                               .n_bytes = (size_t) uqm_dtype_bytes(dtype, range.n_elem) };
    merge_range(s, &range, tile->n_bytes);
    count_range(s);
    return ret;
}

static void release_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    (void) stream; /* it lies in the stream's own buffer */
    *tile = (struct uqm_tile){ 0 };
}

static void free_stream(struct sweep_stream *s)
{
    uqm_exec_destroy(&s->exec);
    uqm_budget_free(&s->out, s->merge->sweep->env, s->out_bytes);
    free(s->data);
    free(s);
}

static void destroy_stream(struct uqm_tile_stream *stream)
{
    struct sweep_stream *s = (struct sweep_stream *) stream;
    struct round *r = s->round;
    struct uqm_sweep *sweep = r->sweep;
    pthread_mutex_lock(&sweep->lock);
    r->members[s->merge->k].closed = true;
    end_round(r);
    pthread_cond_broadcast(&sweep->moved);
    pthread_mutex_unlock(&sweep->lock);
    free_stream(s);
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = next_tile,
    .release = release_tile,
    .destroy = destroy_stream,
};

static int open_stream(struct uqm_tile_stream **out, struct uqm_source *source,
                       struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                       uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    struct merge *m = (struct merge *) source;
    struct uqm_sweep *sweep = m->sweep;
    struct sweep_stream *s = calloc(1, sizeof *s);
    (void) memory_bytes; /* the models' buffers are the sweep's */
    if (!s)
        return uqm_plan_no_memory(m->rs, err);
    *s = (struct sweep_stream){
        .stream.ops = &stream_ops, .merge = m, .next = next, .ctx = ctx, .out_bytes = tile_bytes
    };
    s->data = calloc(m->rs->max_parts + 1, sizeof *s->data);
    int ret = s->data ? UQM_OK : uqm_plan_no_memory(m->rs, err);
    if (ret == UQM_OK)
        ret = uqm_budget_alloc(&s->out, sweep->env, s->out_bytes, 64, "the merged tile", err);
    if (ret == UQM_OK)
        ret = uqm_exec_create(&s->exec, sweep->env, threads, &m->rs->needs, sweep->env->seed, err);
    pthread_mutex_lock(&sweep->lock);
    if (ret == UQM_OK && !(s->round = find_round(sweep, m->n_opened, tile_bytes)))
        ret = uqm_plan_no_memory(m->rs, err);
    if (ret == UQM_OK && s->round->tile_bytes != tile_bytes)
        ret = uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: its network takes tiles of another size",
                       m->source.name);
    if (ret == UQM_OK)
        m->n_opened++;
    pthread_mutex_unlock(&sweep->lock);
    if (ret < 0)
        free_stream(s);
    else
        *out = &s->stream;
    return ret;
}

/* One and the same for all, so that all cut alike. */
static uint64_t min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    const struct uqm_sweep *sweep = ((const struct merge *) source)->sweep;
    uint64_t most = 0;
    for (size_t k = 0; k < sweep->n; k++)
        most = uqm_max_u64(
            most, uqm_exec_bytes(&sweep->merges[k].rs->needs, (size_t) sweep->env->n_threads));
    return tile_bytes + most;
}

static void destroy_nothing(struct uqm_source *source)
{
    (void) source; /* the sweep's */
}

static const struct uqm_source_ops source_ops = {
    .open = open_stream,
    .min_memory = min_memory,
    .destroy = destroy_nothing,
};

/* ---- the sweep ---- */

int uqm_sweep_create(struct uqm_sweep **out, struct uqm_source *const *merges, size_t n,
                     uint64_t read_bytes, struct uqm_err *err)
{
    assert(n > 0);
    for (size_t k = 0; k < n; k++)
        if (!uqm_recipe_source_of(merges[k]))
            return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: it is no merge", merges[k]->name);
    struct uqm_sweep *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a sweep of %zu merges", n);
    s->env = merges[0]->env;
    s->read_bytes = read_bytes;
    s->last = uqm_recipe_source_of(merges[n - 1]);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->moved, NULL);
    s->merges = calloc(n, sizeof *s->merges);
    int ret =
        s->merges ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a sweep of %zu merges", n);
    s->n = s->merges ? n : 0;
    for (size_t k = 0; k < s->n && ret == UQM_OK; k++) {
        struct merge *m = &s->merges[k];
        *m = (struct merge){ .source = *merges[k], .sweep = s, .k = k };
        m->source.gives_mixes = UQM_MIXES_NONE;
        m->source.ops = &source_ops;
        m->rs = uqm_recipe_source_of(merges[k]);
        s->n_inputs = s->last->n_inputs;
        ret = check_merge(m, err);
    }
    if (ret < 0)
        uqm_sweep_destroy(&s);
    *out = s;
    return ret;
}

void uqm_sweep_destroy(struct uqm_sweep **sweep)
{
    struct uqm_sweep *s = *sweep;
    *sweep = NULL;
    if (!s)
        return;
    for (struct round *r = s->rounds, *next; r; r = next) {
        next = r->next;
        for (size_t k = 0; k < s->n; k++)
            r->members[k].closed = true;
        end_round(r);
        free(r->ranges);
        free(r->members);
        free(r->models);
        free(r);
    }
    for (size_t k = 0; k < s->n; k++)
        free(s->merges[k].input_of);
    pthread_cond_destroy(&s->moved);
    pthread_mutex_destroy(&s->lock);
    free(s->merges);
    free(s);
}

struct uqm_source *uqm_sweep_source(struct uqm_sweep *sweep, size_t k)
{
    return &sweep->merges[k].source;
}

void uqm_sweep_leave(struct uqm_sweep *sweep, size_t k)
{
    pthread_mutex_lock(&sweep->lock);
    sweep->merges[k].left = true;
    for (struct round *r = sweep->rounds; r; r = r->next)
        end_round(r);
    pthread_cond_broadcast(&sweep->moved);
    pthread_mutex_unlock(&sweep->lock);
}
