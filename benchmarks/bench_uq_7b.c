/*
 * The cases of bench_uq at 7B shapes. Weights that are made up lie in memory, in one block that
 * tensors may share, so that no disk takes part.
 */
#include <cblas.h>

#include "benchmarks/bench_uq.h"
#include "compute/blas.h"
#include "compute/threads.h"

enum { N_TENSORS = 128, LAYER_ELEM = 4 * 4096 * 4096 + 3 * 4096 * 11008, MOST_TILE_ELEM = 4 << 20 };

/* ---- weights in memory ---- */

struct block_source {
    struct uqm_source source;
    struct uqm_tensor own[N_TENSORS];
    char names[N_TENSORS][96];
    uint64_t shapes[N_TENSORS][2];
    size_t n_elem; /* of the block; tensors begin anew at its start when they come to its end */
    uint16_t *block;
};

struct block_stream {
    struct uqm_tile_stream stream;
    const struct block_source *source;
    uqm_next_range_fn next;
    void *ctx;
};

/* Tensors lie one after the other, modulo the block. */
static size_t place_of(const struct block_source *b, const struct uqm_range *range)
{
    uint64_t at = range->first_elem;
    for (size_t i = 0; i < range->tensor; i++)
        at += b->source.tensors[i].n_elem;
    return (size_t) (at % b->n_elem);
}

static int block_next(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct block_stream *s = (struct block_stream *) (void *) stream;
    *tile = (struct uqm_tile){ 0 };
    if (!s->next(s->ctx, &tile->range))
        return 0;
    if (tile->range.n_elem > MOST_TILE_ELEM)
        return uqm_fail(err, UQM_ERR_ARG, "a tile of %zu elements", tile->range.n_elem);
    tile->data = s->source->block + place_of(s->source, &tile->range);
    tile->n_bytes = 2 * tile->range.n_elem;
    return 1;
}

static void block_release(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    (void) stream;
    (void) tile;
}

static void block_destroy(struct uqm_tile_stream *stream)
{
    free(stream);
}

static const struct uqm_tile_stream_ops block_stream_ops = { block_next, block_release,
                                                             block_destroy };

static int block_open(struct uqm_tile_stream **out, struct uqm_source *source,
                      struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                      uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    struct block_stream *s = checked(calloc(1, sizeof *s));
    (void) threads;
    (void) tile_bytes;
    (void) memory_bytes;
    (void) err;
    *s = (struct block_stream){
        { &block_stream_ops }, (struct block_source *) (void *) source, next, ctx
    };
    *out = &s->stream;
    return UQM_OK;
}

static uint64_t block_min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    (void) source;
    (void) tile_bytes;
    return 0;
}

static void block_source_destroy(struct uqm_source *source)
{
    (void) source;
}

static const struct uqm_source_ops block_ops = { block_open, block_min_memory,
                                                 block_source_destroy };

/* F16 of +-0.02 and less. */
static void fill_block(struct block_source *b, size_t n_elem)
{
    b->n_elem = n_elem;
    b->block = checked(malloc((n_elem + MOST_TILE_ELEM) * sizeof *b->block));
    for (size_t i = 0; i < n_elem + MOST_TILE_ELEM; i++)
        b->block[i] = (uint16_t) (0x2000 | (i * 2654435761u >> 12 & 0x87ff));
}

static void add_tensor(struct block_source *b, unsigned rank, uint64_t n, uint64_t k, int layer,
                       const char *name)
{
    const size_t i = b->source.n_tensors++;
    snprintf(b->names[i], sizeof b->names[i], "language_model.%s.weight", name);
    b->shapes[i][0] = n;
    b->shapes[i][1] = k;
    b->own[i] = (struct uqm_tensor){
        .name = b->names[i],
        .canonical = b->names[i],
        .part = UQM_PART_LANGUAGE,
        .layer = layer,
        .dtype = UQM_F16,
        .rank = rank,
        .shape = b->shapes[i],
        .n_elem = n * k,
        .n_bytes = 2 * n * k,
    };
}

static int by_name(const void *x, const void *y)
{
    const struct uqm_tensor *a = x, *b = y;
    return strcmp(a->canonical, b->canonical);
}

static void add_layer(struct block_source *b, const struct uqm_text_config *c, int layer)
{
    static const char *const squares[] = { "q_proj", "k_proj", "v_proj", "o_proj" };
    static const char *const norms[] = { "input_layernorm", "post_attention_layernorm" };
    char name[64];
    for (size_t k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "model.layers.%d.self_attn.%s", layer, squares[k]);
        add_tensor(b, 2, c->hidden, c->hidden, layer, name);
    }
    snprintf(name, sizeof name, "model.layers.%d.mlp.gate_proj", layer);
    add_tensor(b, 2, c->inner, c->hidden, layer, name);
    snprintf(name, sizeof name, "model.layers.%d.mlp.up_proj", layer);
    add_tensor(b, 2, c->inner, c->hidden, layer, name);
    snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj", layer);
    add_tensor(b, 2, c->hidden, c->inner, layer, name);
    for (size_t k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "model.layers.%d.%s", layer, norms[k]);
        add_tensor(b, 1, c->hidden, 1, layer, name);
    }
}

static struct uqm_model_config config_7b(uint32_t n_layers)
{
    return (struct uqm_model_config){
        .text = { .vocab_size = 512,
                  .hidden = 4096,
                  .inner = 11008,
                  .n_layers = n_layers,
                  .n_heads = 32,
                  .n_kv_heads = 32,
                  .head_dim = 128,
                  .max_positions = 8192,
                  .rms_eps = 1e-5f,
                  .rope_theta = 10000.0 },
        .max_length = 8192,
        .n_real_tokens = 512,
    };
}

static struct block_source *make_layers(struct uqm_env *env, const struct uqm_text_config *c,
                                        size_t n_elem)
{
    struct block_source *b = checked(calloc(1, sizeof *b));
    b->source =
        (struct uqm_source){ .ops = &block_ops, .env = env, .name = "7b", .tensors = b->own };
    fill_block(b, n_elem);
    add_tensor(b, 2, c->vocab_size, c->hidden, -1, "model.embed_tokens");
    add_tensor(b, 2, c->vocab_size, c->hidden, -1, "lm_head");
    add_tensor(b, 1, c->hidden, 1, -1, "model.norm");
    for (uint32_t i = 0; i < c->n_layers; i++)
        add_layer(b, c, (int) i);
    qsort(b->own, b->source.n_tensors, sizeof *b->own, by_name);
    return b;
}

/* The tensors of another source. */
static struct block_source *make_double(const struct uqm_source *of)
{
    struct block_source *b = checked(calloc(1, sizeof *b));
    b->source = *of;
    b->source.ops = &block_ops;
    fill_block(b, LAYER_ELEM);
    return b;
}

static void free_block(struct block_source *b)
{
    free(b->block);
    free(b);
}

/* ---- one layer ---- */

static struct spent time_layers(struct setup *s, uint32_t n_layers, size_t tokens)
{
    struct uqm_model_config config = config_7b(n_layers);
    struct block_source *b = make_layers(&s->env, &config.text, LAYER_ELEM);
    struct uqm_network *network = NULL;
    struct questions q;
    struct uqm_err err = { 0 };

    make_questions(&q, &config, 1, tokens, 0.1);
    check(uqm_network_create(&network, &s->machine, &b->source, &config, s->memory, &err), &err);
    const struct spent spent = time_logits(network, &q, NULL);
    uqm_network_destroy(&network);
    free_questions(&q);
    free_block(b);
    return spent;
}

/* OpenBLAS by itself on one layer's products, threaded as it likes. */
static struct spent time_sgemm(int n_threads, size_t tokens)
{
    static const int shapes[][2] = { { 4096, 4096 }, { 4096, 4096 },  { 4096, 4096 },
                                     { 4096, 4096 }, { 11008, 4096 }, { 11008, 4096 },
                                     { 4096, 11008 } };
    const int m = (int) tokens;
    const size_t w_elem = (size_t) 4096 * 11008;
    float *x = checked(calloc(tokens * 11008, sizeof *x));
    float *y = checked(calloc(tokens * 11008, sizeof *y));
    float *w = checked(calloc(w_elem, sizeof *w));
    for (size_t i = 0; i < w_elem; i++)
        w[i] = (float) (i % 31) * 0.001f;
    for (size_t i = 0; i < tokens * 11008; i++)
        x[i] = (float) (i % 29) * 0.01f;
    memset(y, 1, tokens * 11008 * sizeof *y); /* its pages are ours before the clock runs */

    uqm_blas_setup(); /* as the CPU device does: the program may run on another */
    openblas_set_num_threads(n_threads);
    const double start = bench_now(), cpu = bench_cpu();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, shapes[i][0], shapes[i][1], 1.0f, x,
                    shapes[i][1], w, shapes[i][1], 0.0f, y, shapes[i][0]);
    const struct spent spent = { bench_now() - start, bench_cpu() - cpu };
    openblas_set_num_threads(1);
    free(x);
    free(y);
    free(w);
    return spent;
}

static void put_rates(const char *wall_key, const char *cpu_key, double flop,
                      const struct bench_times *wall, const struct bench_times *cpu)
{
    bench_number(wall_key, flop / bench_median(wall) * 1e-9);
    bench_number(cpu_key, flop / bench_median(cpu) * 1e-9);
}

/* One layer by the difference of a network of three and one of one. */
void bench_layer(struct setup *s, size_t tokens)
{
    const struct uqm_model_config c = config_7b(1);
    const int n_threads = uqm_threads_count(s->machine.threads);
    struct bench_times layer = { .n = 0 }, layer_cpu = layer, sgemm = layer, sgemm_cpu = layer;
    const double products = 2.0 * (double) tokens * LAYER_ELEM;
    const double flop = layer_flop(&c.text, (double) tokens);

    for (int i = 0; i < s->n_rounds; i++) {
        const struct spent theirs = time_sgemm(n_threads, tokens);
        const struct spent three = time_layers(s, 3, tokens), one = time_layers(s, 1, tokens);
        bench_add(&sgemm, theirs.wall);
        bench_add(&sgemm_cpu, theirs.cpu);
        bench_add(&layer, (three.wall - one.wall) / 2);
        bench_add(&layer_cpu, (three.cpu - one.cpu) / 2);
    }
    bench_begin("uq", "layer_7b");
    bench_number("tokens", (double) tokens);
    bench_number("seconds", bench_median(&layer));
    bench_number("cpu_seconds", bench_median(&layer_cpu));
    put_rates("gflops", "gflop_per_cpu_s", flop, &layer, &layer_cpu);
    put_rates("sgemm_gflops", "sgemm_gflop_per_cpu_s", products, &sgemm, &sgemm_cpu);
    bench_number("ratio", flop / products * bench_median(&sgemm) / bench_median(&layer));
    bench_number("cpu_ratio",
                 flop / products * bench_median(&sgemm_cpu) / bench_median(&layer_cpu));
    bench_end();
}

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

static void time_plan(struct setup *s, struct uqm_source *source,
                      const struct uqm_model_config *config, enum uqm_plan_kind kind,
                      struct questions *q, struct bench_times *times)
{
    const struct uqm_plan_wish wish = { .kind = kind };
    struct uqm_network *network = NULL;
    struct uqm_err err = { 0 };
    check(uqm_network_create(&network, &s->machine, source, config, s->memory, &err), &err);
    bench_add(times, time_logits(network, q, &wish).wall);
    uqm_network_destroy(&network);
}

void bench_streaming(struct setup *s, const char *path, size_t n_prompts, size_t tokens)
{
    static const char *const names[] = { "streaming_tiles", "streaming_layers" };
    static const enum uqm_plan_kind kinds[] = { UQM_PLAN_TILES, UQM_PLAN_LAYERS };
    const struct uqm_checkpoint_params params = { .path = path };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_model_config config;
    struct bench_times both[2] = { { .n = 0 } }, alone[2] = { { .n = 0 } }, reading = { .n = 0 };
    struct questions q;
    uint64_t n_bytes = 0;
    struct uqm_err err = { 0 };

    check(uqm_checkpoint_open(&cp, &s->env, &params, &err), &err);
    read_config(&config, cp);
    struct block_source *b = make_double(&cp->source);
    make_questions(&q, &config, n_prompts, tokens, 0.1);
    for (int i = 0; i < s->n_rounds; i++) {
        bench_add(&reading, time_reading(s, &cp->source, &n_bytes));
        for (size_t k = 0; k < 2; k++) {
            time_plan(s, &b->source, &config, kinds[k], &q, &alone[k]);
            time_plan(s, &cp->source, &config, kinds[k], &q, &both[k]);
        }
    }
    for (size_t k = 0; k < 2; k++) {
        const double read_s = bench_median(&reading), compute_s = bench_median(&alone[k]);
        bench_begin("uq", names[k]);
        bench_number("prompts", (double) n_prompts);
        bench_number("tokens", (double) tokens);
        bench_number("gigabytes", (double) n_bytes * 1e-9);
        bench_number("seconds", bench_median(&both[k]));
        bench_number("compute_seconds", compute_s);
        bench_number("read_seconds", read_s);
        bench_number("ratio", bench_median(&both[k]) / (compute_s > read_s ? compute_s : read_s));
        bench_end();
    }
    free_questions(&q);
    free_block(b);
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
    struct uqm_model_config config = config_7b(LAYERS);
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
