/*
 * The network's speed: pictures and prompts a second on a model of the zoo, and the decoder's
 * layers at 7B shapes (weights made up in memory, so that no disk takes part) beside sgemm on the
 * same products. One JSON line a case.
 *
 *     bench_uq --model DIR [--prompts 680] [--tokens 120] [--pictures 680] [--memory-mib 512]
 *              [--layer-tokens 650] [--threads 0] [--device auto] [--rounds 3] [--only CASE]
 *
 * gflops counts the products and attention's two, of the rows that are asked for; sgemm's is
 * OpenBLAS's own threading over whole matrices.
 */
#include <cblas.h>

#include "benchmarks/bench.h"
#include "src/base/fs.h"
#include "src/checkpoint/checkpoint.h"
#include "src/model/network.h"
#include "src/model/tokenizer.h"

struct setup {
    struct uqm_env env;
    struct uqm_machine machine;
    uint64_t memory;
    int n_rounds;
};

static void check(int ret, const struct uqm_err *err)
{
    if (ret < 0) {
        fprintf(stderr, "bench_uq: %s\n", err->msg);
        exit(1);
    }
}

static void *checked(void *p)
{
    if (!p) {
        fputs("bench_uq: no memory\n", stderr);
        exit(1);
    }
    return p;
}

/* ---- arithmetic that is asked for ---- */

static double layer_flop(const struct uqm_text_config *c, double tokens)
{
    const double q = (double) c->n_heads * c->head_dim, kv = (double) c->n_kv_heads * c->head_dim;
    const double linear = c->hidden * (2 * q + 2 * kv + 3.0 * c->inner);
    return 2 * tokens * linear + 2 * tokens * tokens * q; /* causal: half of the square, twice */
}

/* The last layer: K and V of all tokens, the rest of one. */
static double last_layer_flop(const struct uqm_text_config *c, double tokens)
{
    const double kv = (double) c->n_kv_heads * c->head_dim;
    return 2 * tokens * c->hidden * 2 * kv;
}

static double prompt_flop(const struct uqm_text_config *c, double tokens)
{
    return (c->n_layers - 1) * layer_flop(c, tokens) + last_layer_flop(c, tokens);
}

static double picture_flop(const struct uqm_vision_config *c)
{
    const uint32_t side = c->image_size / c->patch_size;
    const double rows = 1.0 + side * side;
    const double layers =
        c->feature_layer < 0 ? (int) c->n_layers + 1 + c->feature_layer : c->feature_layer;
    const double linear = c->hidden * (4.0 * c->hidden + 2.0 * c->inner);
    return layers * (2 * rows * linear + 4 * rows * rows * c->hidden);
}

/* ---- prompts ---- */

struct questions {
    const struct uqm_model_config *config;
    int32_t *ids;
    struct uqm_llm_prompt *prompts;
    size_t n;
    double tokens; /* of one, the picture's rows included */
};

/* Words all over the vocabulary, one picture in the middle where there is a tower. */
static void make_questions(struct questions *q, const struct uqm_model_config *config, size_t n,
                           size_t tokens, double dropout)
{
    const size_t rows = uqm_network_feature_rows(config);
    const size_t n_ids = config->has_vision && tokens > rows ? tokens - rows + 1 : tokens;
    *q = (struct questions){ .config = config, .n = n, .tokens = (double) tokens };
    q->ids = checked(calloc(n * n_ids, sizeof *q->ids));
    q->prompts = checked(calloc(n, sizeof *q->prompts));
    for (size_t i = 0; i < n * n_ids; i++)
        q->ids[i] = (int32_t) ((i * 2654435761u >> 7) % config->n_real_tokens);
    for (size_t i = 0; i < n; i++) {
        int32_t *ids = q->ids + i * n_ids;
        if (n_ids < tokens)
            ids[n_ids / 2] = UQM_IMAGE_PLACEHOLDER;
        q->prompts[i] = (struct uqm_llm_prompt){ .ids = ids,
                                                 .n_ids = n_ids,
                                                 .dropout = dropout,
                                                 .dataset = "bench",
                                                 .sample = "bench",
                                                 .j = (uint32_t) i };
    }
}

static void free_questions(struct questions *q)
{
    free(q->ids);
    free(q->prompts);
}

static int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    const struct questions *q = ctx;
    const size_t n = uqm_network_feature_rows(q->config) * q->config->vision.hidden;
    (void) prompt;
    (void) k;
    (void) err;
    for (size_t i = 0; i < n; i++)
        dst[i] = (float) (i % 13) * 0.1f - 0.6f;
    return UQM_OK;
}

static int drop_logits(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    (void) ctx;
    (void) prompt;
    (void) logits;
    (void) err;
    return UQM_OK;
}

static double time_logits(struct uqm_network *network, struct questions *q)
{
    static const int32_t tokens[] = { 3, 4, 5, 6, 7, 8 };
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = {
        .n_prompts = q->n,
        .prompts = q->prompts,
        .features = give_features,
        .logits = drop_logits,
        .ctx = q,
        .tokens = tokens,
        .n_tokens = 6,
    };
    const double start = bench_now();
    check(uqm_network_logits(network, &job, &err), &err);
    return bench_now() - start;
}

/* ---- pictures ---- */

static int give_pixels(void *ctx, size_t image, float *dst, struct uqm_err *err)
{
    const struct uqm_model_config *c = ctx;
    const size_t n = 3 * (size_t) c->vision.image_size * c->vision.image_size;
    (void) err;
    for (size_t i = 0; i < n; i++)
        dst[i] = (float) ((i + image) % 17) * 0.2f - 1.6f;
    return UQM_OK;
}

static int drop_features(void *ctx, size_t image, const float *features, struct uqm_err *err)
{
    (void) ctx;
    (void) image;
    (void) features;
    (void) err;
    return UQM_OK;
}

static double time_pictures(struct uqm_network *network, size_t n)
{
    struct uqm_err err = { 0 };
    struct uqm_model_config config = *uqm_network_config(network);
    const struct uqm_vision_job job = {
        .n_images = n, .pixels = give_pixels, .store = drop_features, .ctx = &config
    };
    const double start = bench_now();
    check(uqm_network_vision(network, &job, &err), &err);
    return bench_now() - start;
}

/* ---- a checkpoint's network ---- */

static char *text_of(const char *folder, const char *name)
{
    struct uqm_err err = { 0 };
    char *text = NULL, *path = checked(uqm_path_join(folder, name));
    size_t len;
    if (uqm_is_file(path))
        check(uqm_read_file(&text, &len, path, 1 << 20, &err), &err);
    free(path);
    return text;
}

static void read_config(struct uqm_model_config *config, const struct uqm_checkpoint *cp)
{
    struct uqm_err err = { 0 };
    char *preprocessor = text_of(cp->path, "preprocessor_config.json");
    char *tokenizer = text_of(cp->path, "tokenizer_config.json");
    const struct uqm_config_texts texts = {
        .where = cp->path,
        .config = cp->config_text,
        .vision_config = cp->vision_config_text,
        .preprocessor = preprocessor,
        .tokenizer_config = tokenizer,
    };
    check(uqm_model_config_parse(config, &texts, &err), &err);
    free(preprocessor);
    free(tokenizer);
}

static void put_line(const char *name, const struct bench_times *t, double n, const char *rate,
                     double flop)
{
    const double s = bench_median(t);
    bench_begin("uq", name);
    bench_number("n", n);
    bench_number("seconds", s);
    bench_number("min_seconds", bench_min(t));
    bench_number(rate, n / s);
    bench_number("gflops", flop / s * 1e-9);
}

static void bench_model(struct setup *s, int argc, char **argv, const char *path, const char *only)
{
    const struct uqm_checkpoint_params params = { .path = path };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_network *network = NULL;
    struct uqm_model_config config;
    struct bench_times prompts = { .n = 0 }, pictures = { .n = 0 };
    struct questions q;
    struct uqm_err err = { 0 };

    check(uqm_checkpoint_open(&cp, &s->env, &params, &err), &err);
    read_config(&config, cp);
    check(uqm_network_create(&network, &s->machine, &cp->source, &config, s->memory, &err), &err);
    const size_t n = (size_t) bench_option(argc, argv, "--prompts", 680);
    const size_t n_pictures = (size_t) bench_option(argc, argv, "--pictures", 680);
    make_questions(&q, &config, n, (size_t) bench_option(argc, argv, "--tokens", 120), 0.1);
    for (int i = 0; i < s->n_rounds; i++) {
        if (!only || strcmp(only, "prompts") == 0)
            bench_add(&prompts, time_logits(network, &q));
        if (config.has_vision && (!only || strcmp(only, "pictures") == 0))
            bench_add(&pictures, time_pictures(network, n_pictures));
    }
    if (prompts.n) {
        put_line("prompts", &prompts, (double) n, "prompts_per_s",
                 (double) n * prompt_flop(&config.text, q.tokens));
        bench_number("tokens", q.tokens);
        bench_end();
    }
    if (pictures.n) {
        put_line("pictures", &pictures, (double) n_pictures, "pictures_per_s",
                 (double) n_pictures * picture_flop(&config.vision));
        bench_end();
    }
    free_questions(&q);
    uqm_network_destroy(&network);
    uqm_checkpoint_close(&cp);
}

/* ---- 7B layers, their weights one block of numbers in memory ---- */

enum { N_TENSORS = 64, BLOCK_ELEM = 4096 * 11008 };

struct block_source {
    struct uqm_source source;
    struct uqm_tensor tensors[N_TENSORS];
    char names[N_TENSORS][96];
    uint64_t shapes[N_TENSORS][2];
    uint16_t *block;
};

struct block_stream {
    struct uqm_tile_stream stream;
    const struct block_source *source;
    uqm_next_range_fn next;
    void *ctx;
};

static int block_next(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct block_stream *s = (struct block_stream *) (void *) stream;
    (void) err;
    *tile = (struct uqm_tile){ 0 };
    if (!s->next(s->ctx, &tile->range))
        return 0;
    tile->data = s->source->block + tile->range.first_elem;
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

static void add_tensor(struct block_source *b, unsigned rank, uint64_t n, uint64_t k,
                       const char *name)
{
    const size_t i = b->source.n_tensors++;
    snprintf(b->names[i], sizeof b->names[i], "language_model.%s.weight", name);
    b->shapes[i][0] = n;
    b->shapes[i][1] = k;
    b->tensors[i] = (struct uqm_tensor){
        .name = b->names[i],
        .canonical = b->names[i],
        .part = UQM_PART_LANGUAGE,
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

static void init_block_source(struct block_source *b, struct uqm_env *env,
                              const struct uqm_text_config *c)
{
    static const char *const squares[] = { "q_proj", "k_proj", "v_proj", "o_proj" };
    char name[64];
    *b = (struct block_source){
        .source = { .ops = &block_ops, .env = env, .name = "7b", .tensors = b->tensors }
    };
    b->block = checked(malloc(BLOCK_ELEM * sizeof *b->block));
    for (size_t i = 0; i < BLOCK_ELEM; i++) /* +-0.02 and less */
        b->block[i] = (uint16_t) (0x2000 | (i * 2654435761u >> 12 & 0x87ff));
    add_tensor(b, 2, c->vocab_size, c->hidden, "model.embed_tokens");
    add_tensor(b, 2, c->vocab_size, c->hidden, "lm_head");
    add_tensor(b, 1, c->hidden, 1, "model.norm");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        for (size_t k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "model.layers.%u.self_attn.%s", i, squares[k]);
            add_tensor(b, 2, c->hidden, c->hidden, name);
        }
        snprintf(name, sizeof name, "model.layers.%u.mlp.gate_proj", i);
        add_tensor(b, 2, c->inner, c->hidden, name);
        snprintf(name, sizeof name, "model.layers.%u.mlp.up_proj", i);
        add_tensor(b, 2, c->inner, c->hidden, name);
        snprintf(name, sizeof name, "model.layers.%u.mlp.down_proj", i);
        add_tensor(b, 2, c->hidden, c->inner, name);
        snprintf(name, sizeof name, "model.layers.%u.input_layernorm", i);
        add_tensor(b, 1, c->hidden, 1, name);
        snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm", i);
        add_tensor(b, 1, c->hidden, 1, name);
    }
    qsort(b->tensors, b->source.n_tensors, sizeof *b->tensors, by_name);
}

static double time_layers(struct setup *s, uint32_t n_layers, size_t tokens)
{
    struct uqm_model_config config = {
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
    struct block_source b;
    struct uqm_network *network = NULL;
    struct questions q;
    struct uqm_err err = { 0 };

    init_block_source(&b, &s->env, &config.text);
    make_questions(&q, &config, 1, tokens, 0.1);
    check(uqm_network_create(&network, &s->machine, &b.source, &config, s->memory, &err), &err);
    const double seconds = time_logits(network, &q);
    uqm_network_destroy(&network);
    free_questions(&q);
    free(b.block);
    return seconds;
}

/* OpenBLAS by itself on one layer's products, threaded as it likes. */
static double time_sgemm(int n_threads, size_t tokens)
{
    static const int shapes[][2] = { { 4096, 4096 }, { 4096, 4096 },  { 4096, 4096 },
                                     { 4096, 4096 }, { 11008, 4096 }, { 11008, 4096 },
                                     { 4096, 11008 } };
    const int m = (int) tokens;
    float *x = checked(calloc(tokens * 11008, sizeof *x));
    float *y = checked(calloc(tokens * 11008, sizeof *y));
    float *w = checked(calloc(BLOCK_ELEM, sizeof *w));
    for (size_t i = 0; i < BLOCK_ELEM; i++)
        w[i] = (float) (i % 31) * 0.001f;
    for (size_t i = 0; i < tokens * 11008; i++)
        x[i] = (float) (i % 29) * 0.01f;

    openblas_set_num_threads(n_threads);
    const double start = bench_now();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, shapes[i][0], shapes[i][1], 1.0f, x,
                    shapes[i][1], w, shapes[i][1], 0.0f, y, shapes[i][0]);
    const double seconds = bench_now() - start;
    openblas_set_num_threads(1);
    free(x);
    free(y);
    free(w);
    return seconds;
}

/* One layer by the difference of a network of three and one of one. */
static void bench_layer(struct setup *s, size_t tokens)
{
    static const struct uqm_text_config c = {
        .hidden = 4096, .inner = 11008, .n_heads = 32, .n_kv_heads = 32, .head_dim = 128
    };
    const int n_threads = uqm_threads_count(s->machine.threads);
    struct bench_times layer = { .n = 0 }, sgemm = { .n = 0 };
    const double products = 2.0 * (double) tokens * 4096.0 * (4 * 4096.0 + 3 * 11008.0);

    for (int i = 0; i < s->n_rounds; i++) {
        bench_add(&sgemm, time_sgemm(n_threads, tokens));
        bench_add(&layer, (time_layers(s, 3, tokens) - time_layers(s, 1, tokens)) / 2);
    }
    const double ours = layer_flop(&c, (double) tokens) / bench_median(&layer) * 1e-9;
    const double theirs = products / bench_median(&sgemm) * 1e-9;
    bench_begin("uq", "layer_7b");
    bench_number("tokens", (double) tokens);
    bench_number("seconds", bench_median(&layer));
    bench_number("gflops", ours);
    bench_number("sgemm_gflops", theirs);
    bench_number("ratio", ours / theirs);
    bench_end();
}

int main(int argc, char **argv)
{
    const char *model = bench_option_text(argc, argv, "--model", NULL);
    const char *only = bench_option_text(argc, argv, "--only", NULL);
    struct uqm_err err = { 0 };
    struct setup s = { .n_rounds = (int) bench_option(argc, argv, "--rounds", 3) };
    const struct uqm_common common = {
        .memory = (uint64_t) bench_option(argc, argv, "--memory-mib", 512) << 20,
        .n_threads = (int) bench_option(argc, argv, "--threads", 0),
    };
    check(uqm_env_init(&s.env, &common, &err), &err);
    s.memory = common.memory - common.memory / 8;
    check(uqm_machine_init(&s.machine, &s.env, bench_option_text(argc, argv, "--device", NULL),
                           NULL, &err),
          &err);
    if (model && (!only || strcmp(only, "layer_7b") != 0))
        bench_model(&s, argc, argv, model, only);
    if (!only || strcmp(only, "layer_7b") == 0)
        bench_layer(&s, (size_t) bench_option(argc, argv, "--layer-tokens", 650));
    uqm_machine_finish(&s.machine);
    return 0;
}
