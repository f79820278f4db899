/* The cases of bench_uq at 7B shapes that are about weights on their way: streaming and decoding.
 */
#include "benchmarks/bench_uq_block.h"
#include "benchmarks/reads_at_once.h"
#include "compute/threads.h"

/* ---- streaming ---- */

/* All of the layers' weights, tile by tile. */
struct reading {
    const struct uqm_source *source;
    size_t tile_bytes, tensor;
    uint64_t elem;
};

static int next_of_layers(void *ctx, struct uqm_range *range)
{
    struct reading *r = ctx;
    for (; r->tensor < r->source->n_tensors; r->tensor++, r->elem = 0) {
        const struct uqm_tensor *t = &r->source->tensors[r->tensor];
        if (t->part != UQM_PART_LANGUAGE || t->layer < 0 || r->elem == t->n_elem)
            continue;
        const uint64_t left = t->n_elem - r->elem;
        const uint64_t most = r->tile_bytes / (t->n_bytes / t->n_elem);
        *range = (struct uqm_range){ r->tensor, r->elem, (size_t) (left < most ? left : most) };
        r->elem += range->n_elem;
        return 1;
    }
    return 0;
}

static double time_reading(struct setup *s, struct uqm_source *source, uint64_t *n_bytes)
{
    struct reading r = { .source = source, .tile_bytes = 1 << 20 };
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile = { 0 };
    struct uqm_err err = { 0 };
    int ret;
    const double start = bench_now();
    check(uqm_source_open(&stream, source, s->machine.threads, r.tile_bytes,
                          2 * uqm_source_min_memory(source, r.tile_bytes), next_of_layers, &r,
                          &err),
          &err);
    *n_bytes = 0;
    while ((ret = uqm_tile_next(stream, &tile, &err)) == 1) {
        *n_bytes += tile.n_bytes;
        uqm_tile_release(stream, &tile);
    }
    check(ret, &err);
    uqm_tile_stream_destroy(&stream);
    return bench_now() - start;
}

/* The same pass twice: as it is, and with reads at once. */
struct plan_times {
    struct bench_times wall, cpu, alone, alone_cpu;
};

static struct spent time_plan(struct setup *s, struct uqm_source *source,
                              const struct uqm_model_config *config, enum uqm_plan_kind kind,
                              struct questions *q)
{
    const struct uqm_plan_wish wish = { .kind = kind };
    struct uqm_network *network = NULL;
    struct uqm_err err = { 0 };
    check(uqm_network_create(&network, &s->machine, source, config, s->memory, &err), &err);
    const struct spent spent = time_logits(network, q, &wish);
    uqm_network_destroy(&network);
    return spent;
}

static void time_both(struct plan_times *times, struct setup *s, struct uqm_source *source,
                      const struct uqm_model_config *config, enum uqm_plan_kind kind,
                      struct questions *q)
{
    bench_reads_at_once(true);
    const struct spent alone = time_plan(s, source, config, kind, q);
    bench_reads_at_once(false);
    const struct spent both = time_plan(s, source, config, kind, q);
    bench_add(&times->alone, alone.wall);
    bench_add(&times->alone_cpu, alone.cpu);
    bench_add(&times->wall, both.wall);
    bench_add(&times->cpu, both.cpu);
}

static void put_plan(const char *name, const struct plan_times *times, double read_s,
                     double n_bytes, size_t n_prompts, size_t tokens)
{
    const double compute_s = bench_median(&times->alone);
    bench_begin("uq", name);
    bench_number("prompts", (double) n_prompts);
    bench_number("tokens", (double) tokens);
    bench_number("gigabytes", n_bytes * 1e-9);
    bench_number("seconds", bench_median(&times->wall));
    bench_number("cpu_seconds", bench_median(&times->cpu));
    bench_number("compute_seconds", compute_s);
    bench_number("compute_cpu_seconds", bench_median(&times->alone_cpu));
    bench_number("read_seconds", read_s);
    bench_number("ratio", bench_median(&times->wall) / (compute_s > read_s ? compute_s : read_s));
    bench_end();
}

void bench_streaming(struct setup *s, const char *path, const char *plan, size_t n_prompts,
                     size_t tokens)
{
    static const char *const names[] = { "streaming_tiles", "streaming_layers" };
    static const char *const plans[] = { "tiles", "layers" };
    static const enum uqm_plan_kind kinds[] = { UQM_PLAN_TILES, UQM_PLAN_LAYERS };
    const struct uqm_checkpoint_params params = { .path = path };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_model_config config;
    struct plan_times times[2] = { { .wall = { .n = 0 } } };
    struct bench_times reading = { .n = 0 };
    struct questions q;
    uint64_t n_bytes = 0;
    struct uqm_err err = { 0 };

    check(uqm_checkpoint_open(&cp, &s->env, &params, &err), &err);
    read_config(&config, cp);
    make_questions(&q, &config, n_prompts, tokens, 0.1);
    for (int i = 0; i < s->n_rounds; i++) {
        bench_add(&reading, time_reading(s, &cp->source, &n_bytes));
        for (size_t k = 0; k < 2; k++)
            if (!plan || strcmp(plan, plans[k]) == 0)
                time_both(&times[k], s, &cp->source, &config, kinds[k], &q);
    }
    for (size_t k = 0; k < 2; k++)
        if (times[k].wall.n > 0)
            put_plan(names[k], &times[k], bench_median(&reading), (double) n_bytes, n_prompts,
                     tokens);
    free_questions(&q);
    uqm_checkpoint_close(&cp);
}

/* ---- decoding ---- */

static int drop_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    (void) ctx;
    (void) prompt;
    (void) ids;
    (void) n_ids;
    (void) err;
    return UQM_OK;
}

static struct spent time_answers(struct uqm_network *network, struct questions *q, uint32_t most)
{
    struct uqm_err err = { 0 };
    uint32_t *max_tokens = checked(calloc(q->n, sizeof *max_tokens));
    for (size_t i = 0; i < q->n; i++)
        max_tokens[i] = most;
    const struct uqm_generate_job job = {
        .n_prompts = q->n,
        .prompts = q->prompts,
        .max_tokens = max_tokens,
        .features = give_features,
        .answer = drop_answer,
        .ctx = q,
    };
    const double start = bench_now(), cpu = bench_cpu();
    check(uqm_network_generate(network, &job, &err), &err);
    free(max_tokens);
    return (struct spent){ bench_now() - start, bench_cpu() - cpu };
}

enum { SUM_ELEM = 1 << 20, N_SUMS = 16 };

struct summing {
    const struct block_source *b;
    uint64_t *sums; /* one a piece */
};

static void sum_piece(void *ctx, size_t item, int worker)
{
    const struct summing *t = ctx;
    const uint16_t *from = t->b->block + item * SUM_ELEM;
    uint64_t sums[N_SUMS] = { 0 }, words[N_SUMS];
    (void) worker;
    for (size_t i = 0; i < SUM_ELEM; i += sizeof words / (sizeof *from)) {
        memcpy(words, from + i, sizeof words);
        for (size_t k = 0; k < N_SUMS; k++)
            sums[k] += words[k];
    }
    for (size_t k = 0; k < N_SUMS; k++)
        t->sums[item] += sums[k];
}

/* Read all of the block once on all threads: seconds a byte. */
static double time_memory(struct setup *s, const struct block_source *b)
{
    const size_t n = b->n_elem / SUM_ELEM;
    struct summing t = { b, checked(calloc(n, sizeof *t.sums)) };
    const double start = bench_now();
    uqm_parallel(s->machine.threads, n, sum_piece, &t);
    const double seconds = bench_now() - start;
    free(t.sums);
    return seconds / (double) (n * SUM_ELEM * sizeof *b->block);
}

/* Nine tokens against one: eight steps. */
void bench_decoding(struct setup *s, size_t n_prompts)
{
    enum { LAYERS = 2, STEPS = 8, PROMPT = 16 };
    struct uqm_model_config config = config_7b(LAYERS, 512);
    struct block_source *b = make_layers(&s->env, &config.text, (size_t) LAYERS * LAYER_ELEM);
    struct bench_times steps = { .n = 0 }, cpu = steps, memory = steps;
    const double bytes = 2.0 * LAYERS * LAYER_ELEM;
    struct uqm_network *network = NULL;
    struct questions q;
    struct uqm_err err = { 0 };

    make_questions(&q, &config, n_prompts, PROMPT, 0.0);
    check(uqm_network_create(&network, &s->machine, &b->source, &config, s->memory, &err), &err);
    for (int i = 0; i < s->n_rounds; i++) {
        bench_add(&memory, time_memory(s, b) * bytes);
        const struct spent few = time_answers(network, &q, 1);
        const struct spent many = time_answers(network, &q, 1 + STEPS);
        bench_add(&steps, (many.wall - few.wall) / STEPS);
        bench_add(&cpu, (many.cpu - few.cpu) / STEPS);
    }
    bench_begin("uq", "decode_7b");
    bench_number("prompts", (double) n_prompts);
    bench_number("layers", LAYERS);
    bench_number("step_seconds", bench_median(&steps));
    bench_number("step_cpu_seconds", bench_median(&cpu));
    bench_number("gigabytes_per_s", bytes / bench_median(&steps) * 1e-9);
    bench_number("memory_gigabytes_per_s", bytes / bench_median(&memory) * 1e-9);
    bench_number("ratio", bench_median(&memory) / bench_median(&steps));
    bench_number("tokens_per_s_of_32_layers",
                 (double) n_prompts * LAYERS / (32 * bench_median(&steps)));
    bench_end();
    uqm_network_destroy(&network);
    free_questions(&q);
    free_block(b);
}
