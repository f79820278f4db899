#include "src/model/states.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "io/engine.h"
#include "src/base/checked.h"
#include "src/base/clock.h"

/* Where a batch lies: in one of the device's allocations, or `at` words into the host's block or
 * the file. */
struct batch {
    struct uqm_memory *memory; /* owned by the first batch in it */
    bool owns_memory;
    uint64_t at;
    size_t n_rows;
};

/* One transfer of the file, in a buffer of its own. */
struct transfer {
    struct uqm_op op;
    bool busy;
    size_t batch, n_rows;
    float *buffer;
};

struct uqm_states {
    struct uqm_env *env;
    struct uqm_device *device;
    enum uqm_states_kind kind;
    size_t width, n_batches, most_rows;
    struct batch *batches;
    size_t current;
    /* Of states that are not on the device: */
    struct uqm_memory *working;
    float *host; /* the block, or the two transfers' buffers */
    size_t host_bytes;
    struct uqm_scratch scratch;
    struct uqm_io *io;
    struct transfer reading, writing;
    struct uqm_states_use use;
};

const char *uqm_states_kind_name(enum uqm_states_kind kind)
{
    static const char *const names[UQM_N_STATES_KINDS] = { "on the device", "in the host's memory",
                                                           "in a scratch file" };
    return names[kind];
}

/* ---- create ---- */

struct uqm_states_memory uqm_states_memory(enum uqm_states_kind kind, uint64_t total_rows,
                                           uint64_t most_rows, size_t width)
{
    const uint64_t row = width * sizeof(float);
    const uint64_t working = uqm_align_up(most_rows * row, 256);
    switch (kind) {
    case UQM_STATES_DEVICE: return (struct uqm_states_memory){ total_rows * row, 0 };
    case UQM_STATES_HOST: return (struct uqm_states_memory){ working, total_rows * row };
    default: return (struct uqm_states_memory){ working, 2 * working };
    }
}

/* As many batches in one allocation as the device makes that large. */
static int alloc_on_device(struct uqm_states *s, struct uqm_err *err)
{
    const uint64_t most = s->device->limits.largest_bytes / sizeof(float);
    for (size_t first = 0, next; first < s->n_batches; first = next) {
        uint64_t words = 0;
        for (next = first; next < s->n_batches; next++) {
            const uint64_t more = (uint64_t) s->batches[next].n_rows * s->width;
            if (next > first && words + more > most)
                break;
            s->batches[next].at = words;
            words += more;
        }
        struct uqm_memory *memory = NULL;
        int ret =
            s->device->ops->alloc(&memory, s->device, words, "the prompts' hidden states", err);
        if (ret < 0)
            return ret;
        s->batches[first].owns_memory = true;
        for (size_t i = first; i < next; i++)
            s->batches[i].memory = memory;
    }
    return UQM_OK;
}

static int alloc_working(struct uqm_states *s, struct uqm_err *err)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->n_batches; i++) {
        s->batches[i].at = total;
        total += (uint64_t) s->batches[i].n_rows * s->width;
    }
    const struct uqm_states_memory memory =
        uqm_states_memory(s->kind, total / s->width, s->most_rows, s->width);
    void *block;
    s->host_bytes = (size_t) memory.host_bytes;
    int ret = s->device->ops->alloc(&s->working, s->device, memory.device_bytes / sizeof(float),
                                    "a batch's hidden states", err);
    if (ret == UQM_OK) {
        ret = uqm_budget_alloc(&block, s->env, s->host_bytes, 4096, "the prompts' hidden states",
                               err);
        s->host = block;
    }
    return ret;
}

static int open_file(struct uqm_states *s, const char *dir, struct uqm_err *err)
{
    const struct batch *last = &s->batches[s->n_batches - 1];
    const uint64_t words = last->at + (uint64_t) last->n_rows * s->width;
    s->reading.buffer = s->host;
    s->writing.buffer = s->host + s->host_bytes / sizeof(float) / 2;
    int ret = uqm_scratch_init(&s->scratch, dir, words * sizeof(float), err);
    return ret < 0 ? ret : uqm_io_create(&s->io, s->env, 2, err);
}

int uqm_states_create(struct uqm_states **out, const struct uqm_states_params *params,
                      struct uqm_err *err)
{
    struct uqm_states *s = calloc(1, sizeof *s);
    if (!s)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for hidden states");
    s->env = params->env;
    s->device = params->device;
    s->kind = params->kind;
    s->width = params->width;
    s->n_batches = params->n_batches;
    s->scratch.fd = -1;
    s->batches = calloc(params->n_batches, sizeof *s->batches);
    int ret = s->batches ? UQM_OK
                         : uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu batches of prompts",
                                    params->n_batches);
    for (size_t i = 0; ret == UQM_OK && i < s->n_batches; i++) {
        s->batches[i].n_rows = params->rows[i];
        s->most_rows = (size_t) uqm_max_u64(s->most_rows, params->rows[i]);
    }
    if (ret == UQM_OK)
        ret = s->kind == UQM_STATES_DEVICE ? alloc_on_device(s, err) : alloc_working(s, err);
    if (ret == UQM_OK && s->kind == UQM_STATES_FILE)
        ret = open_file(s, params->scratch_dir, err);
    if (ret < 0) {
        uqm_states_destroy(&s);
        return ret;
    }
    *out = s;
    return UQM_OK;
}

void uqm_states_destroy(struct uqm_states **states)
{
    struct uqm_states *s = *states;
    *states = NULL;
    if (!s)
        return;
    uqm_io_destroy(&s->io);
    uqm_scratch_finish(&s->scratch);
    for (size_t i = 0; s->batches && i < s->n_batches; i++)
        if (s->batches[i].owns_memory)
            s->device->ops->free(s->device, &s->batches[i].memory);
    s->device->ops->free(s->device, &s->working);
    void *block = s->host;
    uqm_budget_free(&block, s->env, s->host_bytes);
    free(s->batches);
    free(s);
}

/* ---- the file ---- */

static int check_op(const struct uqm_states *s, const struct uqm_op *op, struct uqm_err *err)
{
    if (op->sys_errno == 0)
        return UQM_OK;
    int ret =
        uqm_fail(err, UQM_ERR_IO, "%s: %s the scratch file of hidden states: %s", s->scratch.dir,
                 op->kind == UQM_OP_READ ? "reading" : "writing", strerror(op->sys_errno));
    if (err)
        err->sys_errno = op->sys_errno;
    return ret;
}

/* Until this transfer is over. */
static int wait_for(struct uqm_states *s, struct transfer *t, struct uqm_err *err)
{
    const double start = uqm_clock_s();
    int ret = UQM_OK;
    while (ret == UQM_OK && t->busy) {
        struct uqm_op *op = uqm_io_wait(s->io);
        assert(op);
        struct transfer *done = op->user;
        done->busy = false;
        ret = check_op(s, op, err);
    }
    s->use.waited_s += uqm_clock_s() - start;
    return ret;
}

static int start(struct uqm_states *s, struct transfer *t, enum uqm_op_kind kind, size_t batch,
                 size_t n_rows, struct uqm_err *err)
{
    const size_t bytes = n_rows * s->width * sizeof(float);
    assert(!t->busy && n_rows <= s->batches[batch].n_rows);
    t->batch = batch;
    t->n_rows = n_rows;
    t->op = (struct uqm_op){
        .kind = kind,
        .fd = s->scratch.fd,
        .buf = t->buffer,
        .len = bytes,
        .min_len = bytes,
        .off_bytes = s->batches[batch].at * sizeof(float),
        .buf_index = -1,
        .user = t,
    };
    s->use.bytes_moved += bytes;
    int ret = uqm_io_submit(s->io, &t->op, err);
    t->busy = ret == UQM_OK;
    return ret;
}

/* Nothing is read before its last writing is over. */
static int start_reading(struct uqm_states *s, const struct uqm_states_turn *turn,
                         struct uqm_err *err)
{
    int ret = UQM_OK;
    if (s->writing.busy && s->writing.batch == turn->batch)
        ret = wait_for(s, &s->writing, err);
    return ret < 0 ? ret : start(s, &s->reading, UQM_OP_READ, turn->batch, turn->n_rows, err);
}

static int fetch_from_file(struct uqm_states *s, struct uqm_place hidden,
                           const struct uqm_states_turn *turn, const struct uqm_states_turn *next,
                           struct uqm_err *err)
{
    int ret = UQM_OK;
    if (turn->n_rows > 0) {
        const bool ahead = s->reading.n_rows == turn->n_rows && s->reading.batch == turn->batch;
        if (!ahead) {
            ret = wait_for(s, &s->reading, err);
            if (ret == UQM_OK)
                ret = start_reading(s, turn, err);
        }
        if (ret == UQM_OK)
            ret = wait_for(s, &s->reading, err);
        if (ret == UQM_OK)
            ret = s->device->ops->upload(s->device, hidden, s->reading.buffer,
                                         turn->n_rows * s->width, err);
        s->reading.n_rows = 0;
    }
    /* What this turn is about to change is not read ahead. */
    if (ret == UQM_OK && next && next->n_rows > 0 && next->batch != turn->batch && !s->reading.busy)
        ret = start_reading(s, next, err);
    return ret;
}

static int keep_in_file(struct uqm_states *s, size_t n_rows, struct uqm_err *err)
{
    const struct uqm_place hidden = { s->working, 0 };
    int ret = wait_for(s, &s->writing, err);
    if (ret == UQM_OK)
        ret =
            s->device->ops->download(s->device, s->writing.buffer, hidden, n_rows * s->width, err);
    return ret < 0 ? ret : start(s, &s->writing, UQM_OP_WRITE, s->current, n_rows, err);
}

/* ---- turns ---- */

int uqm_states_fetch(struct uqm_states *states, struct uqm_place *hidden,
                     const struct uqm_states_turn *turn, const struct uqm_states_turn *next,
                     struct uqm_err *err)
{
    struct uqm_states *s = states;
    const struct batch *b = &s->batches[turn->batch];
    s->current = turn->batch;
    if (s->kind == UQM_STATES_DEVICE) {
        *hidden = (struct uqm_place){ b->memory, b->at };
        return UQM_OK;
    }
    *hidden = (struct uqm_place){ s->working, 0 };
    if (s->kind == UQM_STATES_FILE)
        return fetch_from_file(s, *hidden, turn, next, err);
    if (turn->n_rows == 0)
        return UQM_OK;
    return s->device->ops->upload(s->device, *hidden, s->host + b->at, turn->n_rows * s->width,
                                  err);
}

int uqm_states_keep(struct uqm_states *states, size_t n_rows, struct uqm_err *err)
{
    struct uqm_states *s = states;
    const struct uqm_place hidden = { s->working, 0 };
    if (s->kind == UQM_STATES_DEVICE)
        return UQM_OK;
    if (s->kind == UQM_STATES_FILE)
        return keep_in_file(s, n_rows, err);
    return s->device->ops->download(s->device, s->host + s->batches[s->current].at, hidden,
                                    n_rows * s->width, err);
}

int uqm_states_save(struct uqm_states *states, float *dst, size_t batch, size_t n_rows,
                    struct uqm_err *err)
{
    const struct uqm_states *s = states;
    const struct batch *b = &s->batches[batch];
    const size_t n_words = n_rows * s->width;
    assert(s->kind != UQM_STATES_FILE);
    if (s->kind == UQM_STATES_DEVICE)
        return s->device->ops->download(s->device, dst, (struct uqm_place){ b->memory, b->at },
                                        n_words, err);
    memcpy(dst, s->host + b->at, n_words * sizeof *dst);
    return UQM_OK;
}

/* What is read ahead stays where it is: through the buffer of what has been written. */
int uqm_states_save_file(struct uqm_states *states, const struct uqm_scratch *to,
                         struct uqm_err *err)
{
    struct uqm_states *s = states;
    const struct batch *last = &s->batches[s->n_batches - 1];
    const uint64_t size = (last->at + (uint64_t) last->n_rows * s->width) * sizeof(float);
    assert(s->kind == UQM_STATES_FILE);
    int ret = wait_for(s, &s->writing, err);
    for (uint64_t at = 0, n; ret == UQM_OK && at < size; at += n) {
        n = uqm_min_u64(size - at, s->host_bytes / 2);
        ret = uqm_scratch_read(&s->scratch, s->writing.buffer, (size_t) n, at, err);
        if (ret == UQM_OK)
            ret = uqm_scratch_write(to, s->writing.buffer, (size_t) n, at, err);
        s->use.bytes_moved += 2 * n;
    }
    return ret;
}

struct uqm_states_use uqm_states_use(const struct uqm_states *states)
{
    return states->use;
}
