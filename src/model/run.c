#include "src/model/blocks.h"

#include <math.h>

#include "src/base/checked.h"

#define MIB (UINT64_C(1) << 20)

enum {
    TARGET_TILE = 1 << 20,   /* smaller tiles cost more in calls than they save in memory */
    ENOUGH_AHEAD = 32 << 20, /* of weights on their way: some 10 ms of reading */
    MOST_AHEAD = 256 << 20,  /* of a pass that waits for each tile */
};

/* Tiles as small as whole blocks of rows allow, a little larger for small models; buffers for
 * two, and for more where they cost next to nothing: a drive that pauses is not waited for. */
static void choose_tiles(struct uqm_run *run, const struct uqm_schedule *schedule)
{
    const struct uqm_network *net = run->net;
    const uint64_t least = uqm_schedule_min_tile(schedule);
    uint64_t tile = uqm_max_u64(least, TARGET_TILE);
    if (uqm_source_min_memory(net->source, (size_t) tile) > net->memory_bytes / 8)
        tile = least;
    run->tile_bytes = (size_t) tile;
    run->stream_bytes = uqm_source_min_memory(net->source, (size_t) tile);
    if (2 * run->stream_bytes <= net->memory_bytes / 8)
        run->stream_bytes *= 2;
    const uint64_t spare = uqm_min_u64(net->memory_bytes, uqm_budget_left(net->env)) / 32;
    while (run->stream_bytes < ENOUGH_AHEAD && 2 * run->stream_bytes <= spare)
        run->stream_bytes *= 2;
}

static uint64_t small_stride(const struct uqm_run *run)
{
    return uqm_part_words(run->device_needs.max_k);
}

static int take_small(struct uqm_run *run, struct uqm_err *err)
{
    struct uqm_device *device = run->device;
    const uint64_t stride = small_stride(run);
    int ret = device->ops->alloc(&run->small, device, 3 * stride, "the norms and biases", err);
    run->norm_w = (struct uqm_place){ run->small, 0 };
    run->norm_b = (struct uqm_place){ run->small, stride };
    run->bias = (struct uqm_place){ run->small, 2 * stride };
    return ret;
}

static uint64_t rope_words(const struct uqm_run *run, size_t n_positions)
{
    return uqm_part_words(n_positions * (run->net->config.text.head_dim / 2));
}

/*
 * Tables of cos and sin of position * theta^(-2i / head_dim), in double, rounded once to float. The
 * half-precision reference rounds further, to fp16; our activations are f32 and so are the tables.
 */
static void fill_rope(float *table, double (*fn)(double), const struct uqm_text_config *c,
                      size_t first, size_t n_positions)
{
    const size_t half = c->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        const double f = pow(c->rope_theta, -2.0 * (double) i / (double) c->head_dim);
        for (size_t p = 0; p < n_positions; p++)
            table[p * half + i] = (float) fn((double) (first + p) * f);
    }
}

static int take_rope(struct uqm_run *run, size_t n_positions, struct uqm_err *err)
{
    struct uqm_device *device = run->device;
    const struct uqm_text_config *c = &run->net->config.text;
    const size_t half = c->head_dim / 2, at_once = run->stage_elem / half;
    const uint64_t n_words = rope_words(run, n_positions);

    int ret = device->ops->alloc(&run->rope, device, 2 * n_words, "the rotary tables", err);
    run->cos = (struct uqm_place){ run->rope, 0 };
    run->sin = (struct uqm_place){ run->rope, n_words };
    for (size_t p = 0; ret == UQM_OK && p < n_positions; p += at_once) {
        const size_t n = (size_t) uqm_min_u64(at_once, n_positions - p);
        fill_rope(run->stage, cos, c, p, n);
        ret = device->ops->upload(device, uqm_place_add(run->cos, p * half), run->stage, n * half,
                                  err);
        if (ret < 0)
            break;
        fill_rope(run->stage, sin, c, p, n);
        ret = device->ops->upload(device, uqm_place_add(run->sin, p * half), run->stage, n * half,
                                  err);
    }
    return ret;
}

static int take_stage(struct uqm_run *run, struct uqm_err *err)
{
    void *block;
    int ret = uqm_budget_alloc(&block, run->net->env, run->stage_elem * sizeof *run->stage, 64,
                               "the rows on their way to the device", err);
    run->stage = block;
    return ret;
}

/* Sums of what is taken here, for the room that is left. */
static void count_fixed(struct uqm_run *run, const struct uqm_run_needs *needs)
{
    const struct uqm_device *device = run->device;
    const uint64_t small = 3 * small_stride(run) * sizeof(float);
    const uint64_t rope =
        needs->n_positions ? 2 * rope_words(run, needs->n_positions) * sizeof(float) : 0;
    const uint64_t reserved = device->ops->reserve_bytes(device, &run->device_needs).host;

    run->fixed_bytes =
        run->stream_bytes + run->stage_elem * sizeof(float) + needs->other_bytes + reserved;
    run->table_bytes = small + rope;
    if (device->limits.on_host)
        run->fixed_bytes += run->table_bytes;
    else
        run->device_bytes = run->table_bytes;
}

int uqm_run_init(struct uqm_run *run, struct uqm_network *net, const struct uqm_schedule *schedule,
                 const struct uqm_run_needs *needs, struct uqm_err *err)
{
    struct uqm_device *device = net->machine->device;
    *run = (struct uqm_run){ .net = net, .device = device };
    choose_tiles(run, schedule);
    const uint64_t max_row = uqm_schedule_max_row(schedule);
    run->stage_elem = (size_t) uqm_max_u64(max_row, needs->stage_elem);
    run->device_needs = (struct uqm_device_needs){
        .tile_bytes = run->tile_bytes,
        .tile_elem = (size_t) uqm_schedule_max_tile_elem(schedule, run->tile_bytes),
        .max_k = (size_t) max_row,
        .max_kv = needs->max_kv,
        .mixes = device->limits.mixes ? net->source->gives_mixes : UQM_MIXES_NONE,
    };
    count_fixed(run, needs);

    int ret = device->ops->reserve(device, &run->device_needs, err);
    run->reserved = ret == UQM_OK;
    if (ret == UQM_OK)
        ret = take_stage(run, err);
    if (ret == UQM_OK)
        ret = take_small(run, err);
    if (ret == UQM_OK && needs->n_positions > 0)
        ret = take_rope(run, needs->n_positions, err);
    if (ret < 0)
        uqm_run_finish(run);
    return ret;
}

/* What the budget has left counts too: memory_bytes may promise more than that. */
uint64_t uqm_run_host_room(const struct uqm_run *run)
{
    const uint64_t m = run->net->memory_bytes, left = uqm_budget_left(run->net->env);
    const uint64_t promised = m > run->fixed_bytes ? m - run->fixed_bytes : 0;
    return uqm_min_u64(promised, left > run->stream_bytes ? left - run->stream_bytes : 0);
}

uint64_t uqm_run_device_room(const struct uqm_run *run)
{
    const struct uqm_device_limits *limits = &run->device->limits;
    const uint64_t room =
        limits->memory_bytes > run->device_bytes ? limits->memory_bytes - run->device_bytes : 0;
    return limits->on_host ? uqm_min_u64(room, uqm_run_host_room(run)) : room;
}

uint64_t uqm_run_arena_room(const struct uqm_run *run)
{
    return uqm_min_u64(uqm_run_device_room(run), run->device->limits.largest_bytes);
}

/* How much a + b is more than what there is. */
static uint64_t excess(uint64_t a, uint64_t b, uint64_t there_is)
{
    uint64_t sum;
    if (!uqm_add_u64(&sum, a, b))
        sum = UINT64_MAX;
    return sum > there_is ? sum - there_is : 0;
}

static int no_room_on_device(const struct uqm_run *run, uint64_t bytes, const char *what,
                             struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM,
                    "%s: %s of %s needs %.1f MiB for its activations, but %.1f MiB of the device's "
                    "memory remain",
                    run->device->id, what, run->net->source->name, (double) bytes / (double) MIB,
                    (double) uqm_run_arena_room(run) / (double) MIB);
}

/* The --memory with which a network that is given `missing` bytes more would have them: most of
 * those who give it memory give a share of all. */
static double memory_that_would_do(const struct uqm_network *net, uint64_t missing)
{
    const double limit = (double) net->env->budget.limit_bytes;
    const double share = (double) net->memory_bytes / limit;
    const double grow = share >= 0.25 && share < 1.0 ? 1.0 / share : 1.0;
    return ceil((limit + grow * (double) missing) / (double) MIB) + 1.0;
}

int uqm_run_no_room(const struct uqm_run *run, uint64_t bytes, const char *what,
                    struct uqm_err *err)
{
    if (!run->device->limits.on_host)
        return no_room_on_device(run, bytes, what, err);
    const uint64_t room = uqm_run_arena_room(run);
    const uint64_t missing =
        uqm_max_u64(excess(run->fixed_bytes, bytes, run->net->memory_bytes),
                    excess(run->stream_bytes, bytes, uqm_budget_left(run->net->env)));
    return uqm_fail(err, UQM_ERR_NOMEM,
                    "--memory: %s of %s needs %.1f MiB for its activations, but %.1f MiB remain "
                    "beside the buffers for weights: %.0f MiB are missing, --memory %.0fM would do",
                    what, run->net->source->name, (double) bytes / (double) MIB,
                    (double) room / (double) MIB, (double) missing / (double) MIB + 1.0,
                    memory_that_would_do(run->net, missing));
}

int uqm_run_take_arena(struct uqm_run *run, uint64_t bytes, const char *what, struct uqm_err *err)
{
    struct uqm_device *device = run->device;
    if (run->arena && run->arena_bytes >= bytes)
        return UQM_OK;
    uqm_run_give_arena(run);
    if (bytes > uqm_run_arena_room(run) || bytes > SIZE_MAX)
        return uqm_run_no_room(run, bytes, what, err);
    run->arena_bytes = bytes;
    return device->ops->alloc(&run->arena, device, bytes / sizeof(float), "the activations", err);
}

void uqm_run_give_arena(struct uqm_run *run)
{
    run->device->ops->free(run->device, &run->arena);
}

struct uqm_weights_params uqm_run_weights(const struct uqm_run *run,
                                          const struct uqm_schedule *schedule)
{
    const struct uqm_network *net = run->net;
    return (struct uqm_weights_params){
        .env = net->env,
        .threads = net->machine->threads,
        .device = run->device,
        .kernels = &net->kernels,
        .source = net->source,
        .schedule = schedule,
        .tile_bytes = run->tile_bytes,
        .memory_bytes = run->stream_bytes,
        .stage = run->stage,
    };
}

int uqm_run_open(struct uqm_run *run, struct uqm_weights *weights,
                 const struct uqm_schedule *schedule, struct uqm_err *err)
{
    return uqm_run_open_ahead(run, weights, schedule, run->stream_bytes, err);
}

int uqm_run_open_ahead(struct uqm_run *run, struct uqm_weights *weights,
                       const struct uqm_schedule *schedule, uint64_t memory_bytes,
                       struct uqm_err *err)
{
    struct uqm_weights_params params = uqm_run_weights(run, schedule);
    params.memory_bytes = memory_bytes;
    return uqm_weights_open(weights, &params, err);
}

static uint64_t left_of(uint64_t bytes, uint64_t taken)
{
    return bytes > taken ? bytes - taken : 0;
}

/*
 * Drives pause for 100 ms and more (measured), so that the buffers hold what is computed with
 * meanwhile; a short pass has fewer pauses than they cost to fill. A device that may fail has a use
 * for what is left (saved.h).
 */
uint64_t uqm_run_ahead_bytes(const struct uqm_run *run, uint64_t arena_bytes,
                             uint64_t weights_bytes)
{
    const uint64_t here = run->device->limits.on_host ? arena_bytes : 0;
    const uint64_t promised = left_of(run->net->memory_bytes, run->fixed_bytes + here);
    const uint64_t left =
        left_of(uqm_budget_left(run->net->env), run->stream_bytes + (run->arena ? 0 : here));
    const uint64_t spare = uqm_min_u64(promised, left) / 4;
    const uint64_t worth = uqm_min_u64(MOST_AHEAD, weights_bytes / 32);
    return uqm_max_u64(run->stream_bytes, uqm_min_u64(spare, worth));
}

int uqm_row_writer_flush(struct uqm_row_writer *writer, struct uqm_err *err)
{
    struct uqm_device *device = writer->run->device;
    const size_t n_words = writer->n_staged * writer->width;
    if (n_words == 0)
        return UQM_OK;
    int ret = device->ops->upload(device, writer->to, writer->run->stage, n_words, err);
    writer->to = uqm_place_add(writer->to, n_words);
    writer->n_staged = 0;
    return ret;
}

int uqm_row_writer_put(struct uqm_row_writer *writer, const void *row, enum uqm_dtype dtype,
                       struct uqm_err *err)
{
    struct uqm_run *run = writer->run;
    uqm_widen(&run->net->kernels, run->stage + writer->n_staged * writer->width, row, dtype,
              writer->width);
    writer->n_staged++;
    if ((writer->n_staged + 1) * writer->width <= run->stage_elem)
        return UQM_OK;
    return uqm_row_writer_flush(writer, err);
}

void uqm_run_finish(struct uqm_run *run)
{
    struct uqm_device *device = run->device;
    if (!device)
        return;
    device->ops->free(device, &run->arena);
    device->ops->free(device, &run->rope);
    device->ops->free(device, &run->small);
    if (run->reserved)
        device->ops->release(device);
    run->reserved = false;
    void *block = run->stage;
    uqm_budget_free(&block, run->net->env, run->stage_elem * sizeof *run->stage);
    run->stage = NULL;
}
