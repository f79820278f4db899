#include "benchmarks/bench_uq_block.h"

enum { MOST_TILE_ELEM = 4 << 20 };

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

static const struct uqm_tile_stream_ops block_stream_ops = {
    .next = block_next,
    .release = block_release,
    .destroy = block_destroy,
};

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

struct uqm_model_config config_7b(uint32_t n_layers, uint32_t vocab_size)
{
    return (struct uqm_model_config){
        .text = { .vocab_size = vocab_size,
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
        .n_real_tokens = vocab_size,
    };
}

struct block_source *make_layers(struct uqm_env *env, const struct uqm_text_config *c,
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

void free_block(struct block_source *b)
{
    free(b->block);
    free(b);
}
