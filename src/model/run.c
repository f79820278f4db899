#include "src/model/blocks.h"

#include <inttypes.h>

#include "src/base/checked.h"

#define MIB (UINT64_C(1) << 20)

enum { TARGET_TILE = 1 << 20 }; /* smaller tiles cost more in calls than they save in memory */

/* Tiles as small as whole blocks of rows allow, a little larger for small models; buffers for
 * two, or twice as many where they cost next to nothing. */
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
}

static int take(float **out, size_t *bytes, struct uqm_run *run, uint64_t n_floats,
                const char *what, struct uqm_err *err)
{
    void *p;
    *bytes = (size_t) n_floats * sizeof(float);
    int ret = uqm_budget_alloc(&p, run->net->env, *bytes, 64, what, err);
    *out = p;
    return ret;
}

static void give_back(float **p, struct uqm_run *run, size_t bytes)
{
    void *block = *p;
    uqm_budget_free(&block, run->net->env, bytes);
    *p = NULL;
}

static int take_small(struct uqm_run *run, uint64_t max_row, struct uqm_err *err)
{
    const size_t stride = (size_t) uqm_align_up(max_row, 16);
    int ret = take(&run->norm_w, &run->small_bytes, run, 4 * stride, "the norms and biases", err);
    if (ret < 0)
        return ret;
    run->norm_b = run->norm_w + stride;
    run->bias = run->norm_b + stride;
    run->row = run->bias + stride;
    return UQM_OK;
}

static int take_rope(struct uqm_run *run, size_t n_positions, struct uqm_err *err)
{
    const struct uqm_text_config *c = &run->net->config.text;
    const size_t half = n_positions * (c->head_dim / 2);
    int ret = take(&run->rope_table, &run->rope_bytes, run, 2 * half, "the rotary tables", err);
    if (ret < 0)
        return ret;
    uqm_rope_fill(run->rope_table, run->rope_table + half, c->rope_theta, c->head_dim, n_positions);
    run->rope = (struct uqm_rope){ .cos = run->rope_table,
                                   .sin = run->rope_table + half,
                                   .head_dim = c->head_dim };
    return UQM_OK;
}

int uqm_run_init(struct uqm_run *run, struct uqm_network *net, const struct uqm_schedule *schedule,
                 size_t max_kv, size_t n_positions, struct uqm_err *err)
{
    *run = (struct uqm_run){ .net = net };
    choose_tiles(run, schedule);

    const int n_threads = uqm_threads_count(net->threads);
    const size_t tile_elem = (size_t) uqm_schedule_max_tile_elem(schedule, run->tile_bytes);
    const size_t max_row = (size_t) uqm_schedule_max_row(schedule);
    int ret =
        uqm_gemm_create(&run->gemm, net->env, net->threads, &net->kernels, tile_elem, max_row, err);
    if (ret == UQM_OK)
        ret = uqm_attention_scratch_create(&run->attention, net->env, net->threads, max_kv, err);
    if (ret == UQM_OK)
        ret = take_small(run, max_row, err);
    if (ret == UQM_OK && n_positions > 0)
        ret = take_rope(run, n_positions, err);
    if (ret < 0) {
        uqm_run_finish(run);
        return ret;
    }
    run->fixed_bytes = run->stream_bytes + uqm_gemm_memory(tile_elem, max_row, n_threads) +
                       uqm_attention_memory(max_kv, n_threads) + run->small_bytes + run->rope_bytes;
    return UQM_OK;
}

uint64_t uqm_run_arena_room(const struct uqm_run *run)
{
    /* What the budget has left counts too: memory_bytes may promise more than that. */
    const uint64_t m = run->net->memory_bytes, left = uqm_budget_left(run->net->env);
    const uint64_t promised = m > run->fixed_bytes ? m - run->fixed_bytes : 0;
    return uqm_min_u64(promised, left > run->stream_bytes ? left - run->stream_bytes : 0);
}

/* How much a + b is more than what there is. */
static uint64_t excess(uint64_t a, uint64_t b, uint64_t there_is)
{
    uint64_t sum;
    if (!uqm_add_u64(&sum, a, b))
        sum = UINT64_MAX;
    return sum > there_is ? sum - there_is : 0;
}

int uqm_run_no_room(const struct uqm_run *run, uint64_t bytes, const char *what,
                    struct uqm_err *err)
{
    const uint64_t room = uqm_run_arena_room(run);
    const uint64_t missing =
        uqm_max_u64(excess(run->fixed_bytes, bytes, run->net->memory_bytes),
                    excess(run->stream_bytes, bytes, uqm_budget_left(run->net->env)));
    return uqm_fail(err, UQM_ERR_NOMEM,
                    "--memory: %s of %s needs %.1f MiB for its activations, but %.1f MiB remain "
                    "beside the buffers for weights: give at least %.0f MiB more",
                    what, run->net->source->name, (double) bytes / (double) MIB,
                    (double) room / (double) MIB, (double) missing / (double) MIB + 1.0);
}

int uqm_run_take_arena(struct uqm_run *run, uint64_t bytes, const char *what, struct uqm_err *err)
{
    if (bytes > uqm_run_arena_room(run) || bytes > SIZE_MAX)
        return uqm_run_no_room(run, bytes, what, err);
    return take(&run->arena, &run->arena_bytes, run, bytes / sizeof(float), "the activations", err);
}

int uqm_run_open(struct uqm_run *run, struct uqm_weights *weights,
                 const struct uqm_schedule *schedule, struct uqm_err *err)
{
    const struct uqm_network *net = run->net;
    return uqm_weights_open(weights, net->env, net->threads, &net->kernels, net->source, schedule,
                            run->tile_bytes, run->stream_bytes, err);
}

void uqm_run_finish(struct uqm_run *run)
{
    if (!run->net)
        return;
    uqm_gemm_destroy(&run->gemm);
    uqm_attention_scratch_destroy(&run->attention);
    give_back(&run->norm_w, run, run->small_bytes);
    give_back(&run->rope_table, run, run->rope_bytes);
    give_back(&run->arena, run, run->arena_bytes);
}
