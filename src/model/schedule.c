#include "src/model/schedule.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/base/clock.h"
#include "src/model/held.h"

/* ---- the schedule ---- */

struct shape_text {
    char text[256];
};

static const char *shape_text(struct shape_text *buf, unsigned rank, const uint64_t *shape)
{
    size_t used = 1;
    buf->text[0] = '[';
    for (unsigned i = 0; i < rank && used < sizeof buf->text - 32; i++)
        used += (size_t) snprintf(buf->text + used, 32, "%s%" PRIu64, i ? ", " : "", shape[i]);
    snprintf(buf->text + used, 2, "]");
    return buf->text;
}

static int append(struct uqm_schedule *s, struct uqm_load load, struct uqm_err *err)
{
    if (s->n == s->room) {
        const size_t room = s->room ? 2 * s->room : 64;
        struct uqm_load *loads = realloc(s->loads, room * sizeof *loads);
        if (!loads)
            return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the schedule of weights",
                            s->source->name);
        s->loads = loads;
        s->room = room;
    }
    s->loads[s->n++] = load;
    return UQM_OK;
}

static int check_tensor(const struct uqm_source *source, const struct uqm_tensor *t, unsigned rank,
                        const uint64_t *shape, struct uqm_err *err)
{
    struct uqm_printable name;
    uqm_printable(&name, t->name, strlen(t->name));
    bool same = t->rank == rank;
    for (unsigned i = 0; same && i < rank; i++)
        same = t->shape[i] == shape[i];
    if (!same) {
        struct shape_text have, want;
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: shape %s, but config.json asks for %s",
                        source->name, name.text, shape_text(&have, t->rank, t->shape),
                        shape_text(&want, rank, shape));
    }
    if (t->dtype != UQM_F16 && t->dtype != UQM_BF16 && t->dtype != UQM_F32)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: tensor %s: networks run on F16, BF16 or F32 weights, not %s",
                        source->name, name.text, uqm_dtype_name(t->dtype));
    return UQM_OK;
}

__attribute__((format(printf, 5, 0))) static int
schedule_named(struct uqm_schedule *s, unsigned rank, const uint64_t *shape, struct uqm_err *err,
               const char *fmt, va_list ap)
{
    char name[256];
    vsnprintf(name, sizeof name, fmt, ap);
    const long at = uqm_source_find(s->source, name);
    if (at < 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s is missing", s->source->name, name);
    int ret = check_tensor(s->source, &s->source->tensors[at], rank, shape, err);
    if (ret < 0)
        return ret;

    struct uqm_load load = { .tensor = (size_t) at,
                             .n_rows = rank > 1 ? shape[0] : 1,
                             .row_elem = rank > 1 ? 1 : shape[0] };
    for (unsigned i = 1; i < rank; i++) /* equals the tensor's: it cannot wrap */
        load.row_elem *= shape[i];
    return append(s, load, err);
}

int uqm_schedule_tensor(struct uqm_schedule *schedule, unsigned rank, const uint64_t *shape,
                        struct uqm_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int ret = schedule_named(schedule, rank, shape, err, fmt, ap);
    va_end(ap);
    return ret;
}

int uqm_schedule_vector(struct uqm_schedule *schedule, uint64_t n_elem, struct uqm_err *err,
                        const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int ret = schedule_named(schedule, 1, &n_elem, err, fmt, ap);
    va_end(ap);
    return ret;
}

int uqm_schedule_matrix(struct uqm_schedule *schedule, uint64_t n_rows, uint64_t row_elem,
                        struct uqm_err *err, const char *fmt, ...)
{
    const uint64_t shape[2] = { n_rows, row_elem };
    va_list ap;
    va_start(ap, fmt);
    int ret = schedule_named(schedule, 2, shape, err, fmt, ap);
    va_end(ap);
    return ret;
}

int uqm_schedule_rows(struct uqm_schedule *schedule, const struct uqm_load *like,
                      uint64_t first_row, uint64_t n_rows, struct uqm_err *err)
{
    struct uqm_load load = *like;
    load.first_row = first_row;
    load.n_rows = n_rows;
    return append(schedule, load, err);
}

void uqm_schedule_finish(struct uqm_schedule *schedule)
{
    free(schedule->loads);
    schedule->loads = NULL;
    schedule->n = schedule->room = 0;
}

static uint64_t row_bytes(const struct uqm_source *source, const struct uqm_load *load)
{
    return load->row_elem * (uqm_dtype_bits(source->tensors[load->tensor].dtype) / 8);
}

uint64_t uqm_schedule_row_bytes(const struct uqm_schedule *schedule, const struct uqm_load *load)
{
    return row_bytes(schedule->source, load);
}

static uint64_t tile_rows(const struct uqm_source *source, const struct uqm_load *load,
                          size_t tile_bytes)
{
    uint64_t fit = tile_bytes / row_bytes(source, load);
    if (fit > UQM_GEMM_COLS)
        fit -= fit % UQM_GEMM_COLS;
    return uqm_min_u64(fit, load->n_rows);
}

uint64_t uqm_schedule_tile_rows(const struct uqm_schedule *schedule, const struct uqm_load *load,
                                size_t tile_bytes)
{
    return tile_rows(schedule->source, load, tile_bytes);
}

uint64_t uqm_schedule_min_tile(const struct uqm_schedule *schedule)
{
    uint64_t bytes = 1;
    for (size_t i = 0; i < schedule->n; i++) {
        const struct uqm_load *load = &schedule->loads[i];
        const uint64_t rows = uqm_min_u64(load->n_rows, UQM_GEMM_COLS);
        bytes = uqm_max_u64(bytes, rows * row_bytes(schedule->source, load));
    }
    return bytes;
}

uint64_t uqm_schedule_bytes(const struct uqm_schedule *schedule)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < schedule->n; i++)
        bytes += schedule->loads[i].n_rows * row_bytes(schedule->source, &schedule->loads[i]);
    return bytes;
}

uint64_t uqm_schedule_elem(const struct uqm_schedule *schedule)
{
    uint64_t n = 0;
    for (size_t i = 0; i < schedule->n; i++)
        n += schedule->loads[i].n_rows * schedule->loads[i].row_elem;
    return n;
}

uint64_t uqm_schedule_max_row(const struct uqm_schedule *schedule)
{
    uint64_t n = 1;
    for (size_t i = 0; i < schedule->n; i++)
        n = uqm_max_u64(n, schedule->loads[i].row_elem);
    return n;
}

uint64_t uqm_schedule_max_tile_elem(const struct uqm_schedule *schedule, size_t tile_bytes)
{
    uint64_t n = 1;
    for (size_t i = 0; i < schedule->n; i++) {
        const struct uqm_load *load = &schedule->loads[i];
        n = uqm_max_u64(n, tile_rows(schedule->source, load, tile_bytes) * load->row_elem);
    }
    return n;
}

/* ---- the pass ---- */

static int next_range(void *ctx, struct uqm_range *range)
{
    struct uqm_weights *w = ctx;
    if (w->asked_load == w->of.schedule->n)
        return 0;
    const struct uqm_load *load = &w->of.schedule->loads[w->asked_load];
    const uint64_t rows =
        uqm_min_u64(tile_rows(w->of.source, load, w->of.tile_bytes), load->n_rows - w->asked_row);
    *range = (struct uqm_range){
        .tensor = load->tensor,
        .first_elem = (load->first_row + w->asked_row) * load->row_elem,
        .n_elem = (size_t) (rows * load->row_elem),
    };
    w->asked_row += rows;
    if (w->asked_row == load->n_rows) {
        w->asked_load++;
        w->asked_row = 0;
    }
    return 1;
}

int uqm_weights_open(struct uqm_weights *weights, const struct uqm_weights_params *params,
                     struct uqm_err *err)
{
    assert(params->tile_bytes >= uqm_schedule_min_tile(params->schedule));
    *weights = (struct uqm_weights){ .of = *params };
    int ret = uqm_source_open(&weights->stream, params->source, params->threads, params->tile_bytes,
                              params->memory_bytes, next_range, weights, err);
    if (ret == UQM_OK && params->device->limits.mixes)
        uqm_tile_defer(weights->stream);
    return ret;
}

void uqm_weights_close(struct uqm_weights *weights)
{
    uqm_tile_stream_destroy(&weights->stream);
}

void uqm_weights_hold(struct uqm_weights *weights, const struct uqm_weights_params *params,
                      const struct uqm_held *held)
{
    *weights = (struct uqm_weights){ .of = *params, .held = held };
}

void uqm_weights_seek(struct uqm_weights *weights, size_t load)
{
    assert(weights->held);
    weights->load = load;
    weights->row = 0;
}

static const struct uqm_load *current_load(const struct uqm_weights *w)
{
    assert(w->load < w->of.schedule->n);
    return &w->of.schedule->loads[w->load];
}

/* The next rows of a load that is whole in memory. */
static void cut_tile(const struct uqm_weights *w, struct uqm_tile *tile)
{
    const struct uqm_load *load = current_load(w);
    const uint64_t bytes = row_bytes(w->of.source, load);
    const uint64_t rows =
        uqm_min_u64(tile_rows(w->of.source, load, w->of.tile_bytes), load->n_rows - w->row);
    *tile = (struct uqm_tile){
        .range = { .tensor = load->tensor,
                   .first_elem = (load->first_row + w->row) * load->row_elem,
                   .n_elem = (size_t) (rows * load->row_elem) },
        .data = (const char *) uqm_held_rows(w->held, w->load) + w->row * bytes,
        .n_bytes = (size_t) (rows * bytes),
    };
}

static int next_tile(struct uqm_weights *w, struct uqm_tile *tile, struct uqm_err *err)
{
    *tile = (struct uqm_tile){ 0 };
    int ret = uqm_check_cancel(w->of.env, err);
    if (ret < 0)
        return ret;
    if (w->held) {
        cut_tile(w, tile);
        return UQM_OK;
    }
    const double start = uqm_clock_s();
    ret = uqm_tile_next(w->stream, tile, err);
    w->waited_s += uqm_clock_s() - start;
    if (ret < 0)
        return ret;
    assert(ret == 1);
    assert(tile->range.first_elem ==
           (current_load(w)->first_row + w->row) * current_load(w)->row_elem);
    return UQM_OK;
}

/* The next one, with its data. */
static int next_data(struct uqm_weights *w, struct uqm_tile *tile, struct uqm_err *err)
{
    int ret = next_tile(w, tile, err);
    if (ret == UQM_OK && tile->mix)
        uqm_tile_settle(w->stream, tile);
    return ret;
}

/* The tile has been used: give it back and step on. Whether the load goes on. */
static bool tile_done(struct uqm_weights *w, struct uqm_tile *tile)
{
    const struct uqm_load *load = current_load(w);
    w->row += tile->range.n_elem / load->row_elem;
    if (w->stream)
        uqm_tile_release(w->stream, tile);
    if (w->row < load->n_rows)
        return true;
    w->load++;
    w->row = 0;
    return false;
}

int uqm_weights_drop(struct uqm_weights *weights, size_t *n_bytes, bool *more, struct uqm_err *err)
{
    struct uqm_tile tile;
    int ret = next_data(weights, &tile, err);
    if (ret < 0)
        return ret;
    *n_bytes = tile.n_bytes;
    tile_done(weights, &tile);
    *more = weights->load < weights->of.schedule->n;
    return UQM_OK;
}

/* The names under which a device keeps tiles of held loads. */
static uint64_t keep_name(size_t load, uint64_t row)
{
    return ((uint64_t) load + 1) << 32 | row;
}

static enum uqm_dtype tile_dtype(const struct uqm_weights *w, const struct uqm_tile *tile)
{
    return w->of.source->tensors[tile->range.tensor].dtype;
}

int uqm_weights_vector(struct uqm_weights *weights, struct uqm_place dst, size_t n_elem,
                       struct uqm_err *err)
{
    struct uqm_device *device = weights->of.device;
    assert(current_load(weights)->n_rows == 1 && current_load(weights)->row_elem == n_elem);
    struct uqm_tile tile;
    int ret = next_data(weights, &tile, err);
    if (ret < 0)
        return ret;
    uqm_widen(weights->of.kernels, weights->of.stage, tile.data, tile_dtype(weights, &tile),
              n_elem);
    tile_done(weights, &tile);
    return device->ops->upload(device, dst, weights->of.stage, n_elem, err);
}

int uqm_weights_linear(struct uqm_weights *weights, const struct uqm_linear *product,
                       struct uqm_err *err)
{
    struct uqm_device *device = weights->of.device;
    assert(current_load(weights)->n_rows == product->n);
    assert(current_load(weights)->row_elem == product->k);
    bool more = true;
    int ret = UQM_OK;
    while (ret == UQM_OK && more) {
        struct uqm_tile tile;
        ret = next_tile(weights, &tile, err);
        if (ret < 0)
            return ret;
        struct uqm_linear part = *product;
        part.y = uqm_place_add(product->y, weights->row);
        part.w = tile.data;
        part.mix = tile.mix;
        part.w_dtype = tile_dtype(weights, &tile);
        part.n = tile.range.n_elem / product->k;
        part.keep = weights->held ? keep_name(weights->load, weights->row) : 0;
        if (part.bias.memory)
            part.bias = uqm_place_add(product->bias, weights->row);
        ret = device->ops->linear(device, &part, err);
        more = tile_done(weights, &tile);
    }
    return ret;
}

void uqm_weights_forget(struct uqm_weights *weights, size_t first, size_t end)
{
    struct uqm_device *device = weights->of.device;
    if (device->ops->forget)
        device->ops->forget(device, keep_name(first, 0), keep_name(end, 0));
}

int uqm_weights_rows(struct uqm_weights *weights, uqm_take_row_fn take, void *ctx,
                     struct uqm_err *err)
{
    const struct uqm_load load = *current_load(weights);
    const size_t n_elem = (size_t) load.row_elem;
    bool more = true;
    int ret = UQM_OK;
    while (ret == UQM_OK && more) {
        struct uqm_tile tile;
        ret = next_data(weights, &tile, err);
        if (ret < 0)
            return ret;
        const enum uqm_dtype dtype = tile_dtype(weights, &tile);
        const size_t bytes = n_elem * (uqm_dtype_bits(dtype) / 8);
        const size_t n_rows = tile.range.n_elem / n_elem;
        for (size_t r = 0; ret == UQM_OK && r < n_rows; r++)
            ret = take(ctx, load.first_row + weights->row + r, (const char *) tile.data + r * bytes,
                       dtype, err);
        more = tile_done(weights, &tile);
    }
    return ret;
}
