#include "tests/unit/model/memory_source.h"

#include <math.h>

#include "tests/unit/test.h"

/* ---- the stream: each range copied into one of two buffers ---- */

struct memory_stream {
    struct uqm_tile_stream stream;
    struct memory_source *source;
    uqm_next_range_fn next;
    void *ctx;
    void *buffer;
    size_t tile_bytes, n_tiles;
    uint64_t memory_bytes;
};

static size_t elem_bytes(const struct uqm_tensor *t)
{
    return uqm_dtype_bits(t->dtype) / 8;
}

static const struct memory_tensor *storage_of(const struct memory_source *m, size_t tensor)
{
    size_t i = 0;
    while (m->storage[i].name != m->tensors[tensor].name)
        i++;
    return &m->storage[i];
}

static int stream_next(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct memory_stream *s = (struct memory_stream *) (void *) stream;
    struct memory_source *m = s->source;
    if (m->fail_after > 0 && s->n_tiles == m->fail_after)
        return uqm_fail(err, UQM_ERR_IO, "the disk is gone");
    s->n_tiles++;
    *tile = (struct uqm_tile){ .data = s->buffer };
    if (!s->next(s->ctx, &tile->range))
        return 0;
    const struct uqm_tensor *t = &m->tensors[tile->range.tensor];
    tile->n_bytes = tile->range.n_elem * elem_bytes(t);
    assert_true(tile->range.first_elem + tile->range.n_elem <= t->n_elem);
    assert_true(tile->n_bytes <= s->tile_bytes);
    const char *data = storage_of(m, tile->range.tensor)->data;
    memcpy(s->buffer, data + tile->range.first_elem * elem_bytes(t), tile->n_bytes);
    m->bytes_read += tile->n_bytes;
    if (tile->n_bytes > m->largest_tile)
        m->largest_tile = tile->n_bytes;
    return 1;
}

static void stream_release(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    struct memory_stream *s = (struct memory_stream *) (void *) stream;
    memset(s->buffer, 0xff, tile->n_bytes); /* NaN for whoever looks again */
}

static void stream_destroy(struct uqm_tile_stream *stream)
{
    struct memory_stream *s = (struct memory_stream *) (void *) stream;
    uqm_budget_free(&s->buffer, s->source->source.env, s->memory_bytes);
    free(s);
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = stream_next,
    .release = stream_release,
    .destroy = stream_destroy,
};

static uint64_t min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    (void) source;
    return 2 * (uint64_t) tile_bytes;
}

static int source_open(struct uqm_tile_stream **out, struct uqm_source *source,
                       struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                       uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    struct memory_stream *s = calloc(1, sizeof *s);
    (void) threads;
    assert_non_null(s);
    assert_true(memory_bytes >= min_memory(source, tile_bytes));
    *s = (struct memory_stream){
        .stream = { &stream_ops },
        .source = (struct memory_source *) (void *) source,
        .next = next,
        .ctx = ctx,
        .tile_bytes = tile_bytes,
        .memory_bytes = memory_bytes,
    };
    int ret = uqm_budget_alloc(&s->buffer, source->env, memory_bytes, 64, "the tiles", err);
    if (ret < 0) {
        free(s);
        return ret;
    }
    s->source->n_streams++;
    *out = &s->stream;
    return UQM_OK;
}

static void source_destroy(struct uqm_source *source)
{
    (void) source;
}

static const struct uqm_source_ops source_ops = { source_open, min_memory, source_destroy };

/* ---- the tensors ---- */

static enum uqm_part part_of(const char *name)
{
    return strncmp(name, "language_model.", 15) == 0 ? UQM_PART_LANGUAGE
           : strncmp(name, "multi_modal_", 12) == 0  ? UQM_PART_ADAPTER
           : strncmp(name, "vision_tower.", 13) == 0 ? UQM_PART_VISION
                                                     : UQM_PART_OTHER;
}

static int by_name(const void *a, const void *b)
{
    const struct uqm_tensor *x = a, *y = b;
    return strcmp(x->canonical, y->canonical);
}

static double random_number(struct memory_source *m)
{
    m->rng = m->rng * 1664525u + 1013904223u;
    return (double) (m->rng >> 8) / (1 << 23) - 1.0;
}

static void put(void *data, enum uqm_dtype dtype, size_t i, float v)
{
    if (dtype == UQM_F16)
        ((uint16_t *) data)[i] = uqm_f16_of_f32(v);
    else if (dtype == UQM_BF16)
        ((uint16_t *) data)[i] = uqm_bf16_of_f32(v);
    else
        ((float *) data)[i] = v;
}

void memory_source_remove(struct memory_source *m, const char *name)
{
    const long at = uqm_source_find(&m->source, name);
    if (at < 0)
        return;
    size_t i = 0;
    while (m->storage[i].name != m->tensors[at].name)
        i++;
    struct memory_tensor *s = &m->storage[i];
    free(s->data);

    /* The last of each array takes the gap; the tensors are sorted again. */
    const size_t last = --m->source.n_tensors;
    m->tensors[at] = m->tensors[last];
    if (s != &m->storage[last]) {
        *s = m->storage[last];
        for (i = 0; i < last; i++)
            if (m->tensors[i].name == m->storage[last].name) {
                m->tensors[i].name = m->tensors[i].canonical = s->name;
                m->tensors[i].shape = s->shape;
            }
    }
    qsort(m->tensors, last, sizeof *m->tensors, by_name);
}

void memory_source_add(struct memory_source *m, const char *name, enum uqm_dtype dtype,
                       unsigned rank, const uint64_t *shape, double scale)
{
    memory_source_remove(m, name);
    assert_true(m->source.n_tensors < 128);
    struct memory_tensor *s = &m->storage[m->source.n_tensors];
    struct uqm_tensor *t = &m->tensors[m->source.n_tensors++];
    snprintf(s->name, sizeof s->name, "%s", name);
    *t = (struct uqm_tensor){
        .name = s->name,
        .canonical = s->name,
        .part = part_of(name),
        .layer = -1,
        .dtype = dtype,
        .rank = rank,
        .shape = s->shape,
        .n_elem = 1,
    };
    for (unsigned i = 0; i < rank; i++)
        t->n_elem *= s->shape[i] = shape[i];
    t->n_bytes = t->n_elem * elem_bytes(t);
    s->data = malloc(t->n_bytes + 1);
    assert_non_null(s->data);
    for (size_t i = 0; i < t->n_elem; i++)
        put(s->data, dtype, i, (float) (random_number(m) * scale));
    qsort(m->tensors, m->source.n_tensors, sizeof *m->tensors, by_name);
}

void memory_source_fill(struct memory_source *m, const char *name, int byte)
{
    const long at = uqm_source_find(&m->source, name);
    assert_true(at >= 0);
    memset(storage_of(m, (size_t) at)->data, byte, m->tensors[at].n_bytes);
}

double *memory_source_values(const struct memory_source *m, const char *name)
{
    const long at = uqm_source_find(&m->source, name);
    assert_true(at >= 0);
    const struct uqm_tensor *t = &m->tensors[at];
    const void *data = storage_of(m, (size_t) at)->data;
    double *v = malloc(t->n_elem * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < t->n_elem; i++)
        v[i] = (double) (t->dtype == UQM_F16    ? uqm_f32_of_f16(((const uint16_t *) data)[i])
                         : t->dtype == UQM_BF16 ? uqm_f32_of_bf16(((const uint16_t *) data)[i])
                                                : ((const float *) data)[i]);
    return v;
}

static void vector(struct memory_source *m, enum uqm_dtype dtype, const char *name, uint64_t n,
                   double scale)
{
    memory_source_add(m, name, dtype, 1, &n, scale);
}

static void matrix(struct memory_source *m, enum uqm_dtype dtype, const char *name, uint64_t n,
                   uint64_t k)
{
    const uint64_t shape[2] = { n, k };
    memory_source_add(m, name, dtype, 2, shape, 1.7 / sqrt((double) k));
}

static void linear(struct memory_source *m, enum uqm_dtype dtype, const char *name, uint64_t n,
                   uint64_t k)
{
    char full[128];
    snprintf(full, sizeof full, "%s.weight", name);
    matrix(m, dtype, full, n, k);
    snprintf(full, sizeof full, "%s.bias", name);
    vector(m, dtype, full, n, 0.2);
}

static void norm(struct memory_source *m, enum uqm_dtype dtype, const char *name, uint64_t n,
                 bool bias)
{
    char full[128];
    snprintf(full, sizeof full, "%s.weight", name);
    vector(m, dtype, full, n, 1.0);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias)
        vector(m, dtype, full, n, 0.2);
}

static void add_tower(struct memory_source *m, const struct uqm_vision_config *c,
                      enum uqm_dtype dtype)
{
    static const char *const squares[] = { "self_attn.q_proj", "self_attn.k_proj",
                                           "self_attn.v_proj", "self_attn.out_proj" };
    const uint64_t h = c->hidden, side = c->image_size / c->patch_size;
    const uint64_t conv[4] = { h, 3, c->patch_size, c->patch_size };
#define TOWER "vision_tower.vision_model."
    memory_source_add(m, TOWER "embeddings.patch_embedding.weight", dtype, 4, conv, 0.2);
    vector(m, dtype, TOWER "embeddings.class_embedding", h, 1.0);
    matrix(m, dtype, TOWER "embeddings.position_embedding.weight", side * side + 1, h);
    norm(m, dtype, TOWER "pre_layrnorm", h, true);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        char at[64], name[128];
        snprintf(at, sizeof at, TOWER "encoder.layers.%u", i);
        for (size_t k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "%s.%s", at, squares[k]);
            linear(m, dtype, name, h, h);
        }
        snprintf(name, sizeof name, "%s.layer_norm1", at);
        norm(m, dtype, name, h, true);
        snprintf(name, sizeof name, "%s.layer_norm2", at);
        norm(m, dtype, name, h, true);
        snprintf(name, sizeof name, "%s.mlp.fc1", at);
        linear(m, dtype, name, c->inner, h);
        snprintf(name, sizeof name, "%s.mlp.fc2", at);
        linear(m, dtype, name, h, c->inner);
    }
}

static void add_language(struct memory_source *m, const struct uqm_text_config *c,
                         enum uqm_dtype dtype)
{
    const uint64_t h = c->hidden, q = (uint64_t) c->n_heads * c->head_dim;
    const uint64_t kv = (uint64_t) c->n_kv_heads * c->head_dim;
#define LANGUAGE "language_model."
    matrix(m, dtype, LANGUAGE "model.embed_tokens.weight", c->vocab_size, h);
    if (!c->tied_head)
        matrix(m, dtype, LANGUAGE "lm_head.weight", c->vocab_size, h);
    norm(m, dtype, LANGUAGE "model.norm", h, false);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const struct {
            const char *name;
            uint64_t n, k;
        } w[] = {
            { "self_attn.q_proj.weight", q, h },     { "self_attn.k_proj.weight", kv, h },
            { "self_attn.v_proj.weight", kv, h },    { "self_attn.o_proj.weight", h, q },
            { "mlp.gate_proj.weight", c->inner, h }, { "mlp.up_proj.weight", c->inner, h },
            { "mlp.down_proj.weight", h, c->inner },
        };
        char name[128];
        for (size_t k = 0; k < sizeof w / sizeof *w; k++) {
            snprintf(name, sizeof name, LANGUAGE "model.layers.%u.%s", i, w[k].name);
            matrix(m, dtype, name, w[k].n, w[k].k);
        }
        snprintf(name, sizeof name, LANGUAGE "model.layers.%u.input_layernorm", i);
        norm(m, dtype, name, h, false);
        snprintf(name, sizeof name, LANGUAGE "model.layers.%u.post_attention_layernorm", i);
        norm(m, dtype, name, h, false);
    }
}

void memory_source_init(struct memory_source *m, struct uqm_env *env,
                        const struct uqm_model_config *config, enum uqm_dtype dtype)
{
    *m = (struct memory_source){
        .source = { .ops = &source_ops,
                    .env = env,
                    .name = "made-up",
                    .home = "/nowhere",
                    .tensors = m->tensors },
        .rng = 1,
    };
    add_language(m, &config->text, dtype);
    if (!config->has_vision)
        return;
    add_tower(m, &config->vision, dtype);
    linear(m, dtype, "multi_modal_projector.linear_1", config->text.hidden, config->vision.hidden);
    linear(m, dtype, "multi_modal_projector.linear_2", config->text.hidden, config->text.hidden);
}

void memory_source_finish(struct memory_source *m)
{
    for (size_t i = 0; i < m->source.n_tensors; i++)
        free(m->storage[i].data);
    m->source.n_tensors = 0;
}
