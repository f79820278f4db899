/*
 * The network's speed, one JSON line a case: pictures and prompts a second on a model of the zoo;
 * one decoder layer at 7B shapes and a whole prompt through some of them beside sgemm on the same
 * products; decoding at these shapes beside reading as much memory; and a pass over a checkpoint's
 * layers, read from the disk, beside its computing and its reading alone.
 *
 *     bench_uq [--model DIR] [--prompts 680] [--tokens 120] [--pictures 680] [--memory-mib 512]
 *              [--layer-tokens 650] [--prefill-layers 4] [--prefill-tokens 512]
 *              [--decode-prompts 1] [--checkpoint DIR] [--stream-prompts 1] [--stream-tokens 96]
 *              [--stream-plan tiles|layers] [--threads 0] [--device auto] [--rounds 3]
 *              [--only CASE] [--log 1]
 *
 * --model and --checkpoint (of 7B shapes: uqm-make-checkpoint; read past the page cache) ask for
 * their cases. gflops counts the products and attention's two, of the rows that are asked for;
 * sgemm's is OpenBLAS's own threading over whole matrices.
 */
#include "benchmarks/bench_uq.h"
#include "src/base/fs.h"

void check(int ret, const struct uqm_err *err)
{
    if (ret < 0) {
        fprintf(stderr, "bench_uq: %s\n", err->msg);
        exit(1);
    }
}

void *checked(void *p)
{
    if (!p) {
        fputs("bench_uq: no memory\n", stderr);
        exit(1);
    }
    return p;
}

/* ---- arithmetic that is asked for ---- */

double layer_flop(const struct uqm_text_config *c, double tokens)
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

double prompt_flop(const struct uqm_text_config *c, double tokens)
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

void make_questions(struct questions *q, const struct uqm_model_config *config, size_t n,
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

void free_questions(struct questions *q)
{
    free(q->ids);
    free(q->prompts);
}

int give_features(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
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

struct spent time_logits(struct uqm_network *network, struct questions *q,
                         const struct uqm_plan_wish *wish)
{
    static const int32_t tokens[] = { 3, 4, 5, 6, 7, 8 };
    struct uqm_err err = { 0 };
    const struct uqm_llm_job job = {
        .n_prompts = q->n,
        .prompts = q->prompts,
        .features = give_features,
        .logits = drop_logits,
        .ctx = q,
        .tokens = q->whole_vocabulary ? NULL : tokens,
        .n_tokens = 6,
        .wish = wish,
    };
    const double start = bench_now(), cpu = bench_cpu();
    check(uqm_network_logits(network, &job, &err), &err);
    return (struct spent){ bench_now() - start, bench_cpu() - cpu };
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

void read_config(struct uqm_model_config *config, const struct uqm_checkpoint *cp)
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
            bench_add(&prompts, time_logits(network, &q, NULL).wall);
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

static size_t count_option(int argc, char **argv, const char *name, double or_else)
{
    return (size_t) bench_option(argc, argv, name, or_else);
}

static bool is_asked(const char *only, const char *name)
{
    return !only || strcmp(only, name) == 0;
}

static void to_stderr(void *ctx, enum uqm_log_level level, const char *line)
{
    (void) ctx;
    (void) level;
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    const char *model = bench_option_text(argc, argv, "--model", NULL);
    const char *checkpoint = bench_option_text(argc, argv, "--checkpoint", NULL);
    const char *only = bench_option_text(argc, argv, "--only", NULL);
    struct uqm_err err = { 0 };
    struct setup s = { .n_rounds = (int) bench_option(argc, argv, "--rounds", 3) };
    const struct uqm_common common = {
        .memory = (uint64_t) bench_option(argc, argv, "--memory-mib", 512) << 20,
        .n_threads = (int) bench_option(argc, argv, "--threads", 0),
        .direct = checkpoint ? UQM_DIRECT_ON : UQM_DIRECT_AUTO,
        .log = bench_option(argc, argv, "--log", 0) > 0 ? to_stderr : NULL,
    };
    check(uqm_env_init(&s.env, &common, &err), &err);
    s.memory = common.memory - common.memory / 8;
    check(uqm_machine_init(&s.machine, &s.env, bench_option_text(argc, argv, "--device", NULL),
                           NULL, &err),
          &err);
    if (model && (is_asked(only, "prompts") || is_asked(only, "pictures")))
        bench_model(&s, argc, argv, model, only);
    if (is_asked(only, "layer_7b"))
        bench_layer(&s, count_option(argc, argv, "--layer-tokens", 650));
    if (is_asked(only, "prefill_7b"))
        bench_prefill(&s, (uint32_t) bench_option(argc, argv, "--prefill-layers", 4),
                      count_option(argc, argv, "--prefill-tokens", 512));
    if (is_asked(only, "decode_7b"))
        bench_decoding(&s, count_option(argc, argv, "--decode-prompts", 1));
    if (checkpoint && is_asked(only, "streaming"))
        bench_streaming(&s, checkpoint, bench_option_text(argc, argv, "--stream-plan", NULL),
                        count_option(argc, argv, "--stream-prompts", 1),
                        count_option(argc, argv, "--stream-tokens", 96));
    uqm_machine_finish(&s.machine);
    return 0;
}
