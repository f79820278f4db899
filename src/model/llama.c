/*
 * LLaMA's decoder layers over a batch of packed sequences.
 *
 * K and V of a layer die with it (unless a cache keeps them). The last layer computes K and V of
 * all positions, and everything else of each sequence's last position alone: only that one meets
 * the head.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/model/blocks.h"

#define LAYER "language_model.model.layers.%" PRIu32 "."

static size_t q_width(const struct uqm_text_config *c)
{
    return (size_t) c->n_heads * c->head_dim;
}

static size_t kv_width(const struct uqm_text_config *c)
{
    return (size_t) c->n_kv_heads * c->head_dim;
}

void uqm_llama_plan(struct uqm_llama_plan *plan, const struct uqm_model_config *config,
                    size_t n_rows, size_t n_seqs, size_t picture_rows, bool tight)
{
    const struct uqm_text_config *c = &config->text;
    const uint64_t rows = uqm_padded_rows(n_rows), pictures = uqm_padded_rows(picture_rows);
    const uint64_t inner = (tight ? UQM_GEMM_ROWS : rows) * c->inner;

    const uint64_t last = uqm_padded_rows(n_seqs);

    *plan = (struct uqm_llama_plan){ .n_rows = n_rows, .n_seqs = n_seqs };
    plan->hidden = uqm_part_words(rows * c->hidden);
    plan->normed = uqm_part_words(
        uqm_max_u64(rows * uqm_max_u64(c->hidden, q_width(c)), pictures * c->hidden));
    plan->region = uqm_max_u64(rows * (q_width(c) + 2 * kv_width(c)), inner);
    plan->region = uqm_max_u64(plan->region,
                               rows * 2 * kv_width(c) + last * uqm_max_u64(c->hidden, q_width(c)));
    plan->region =
        uqm_max_u64(plan->region, pictures * uqm_max_u64(config->vision.hidden, c->hidden));
    plan->region = uqm_part_words(plan->region);
    plan->index = uqm_part_words(2 * n_rows + 2 * n_seqs);
    const uint64_t fit = plan->region / c->inner;
    plan->mlp_rows = (size_t) uqm_min_u64(rows, fit - fit % UQM_GEMM_ROWS);
}

static size_t n_chunks(const struct uqm_llama_plan *plan, size_t n_rows)
{
    return (n_rows + plan->mlp_rows - 1) / plan->mlp_rows;
}

/* ---- the schedule ---- */

static int schedule_mlp_weights(struct uqm_schedule *s, const struct uqm_text_config *c,
                                uint32_t layer, struct uqm_err *err)
{
    int ret = uqm_schedule_matrix(s, c->inner, c->hidden, err, LAYER "mlp.gate_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(s, c->inner, c->hidden, err, LAYER "mlp.up_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(s, c->hidden, c->inner, err, LAYER "mlp.down_proj.weight", layer);
    return ret;
}

int uqm_llama_schedule_attention(struct uqm_schedule *schedule,
                                 const struct uqm_text_config *config, uint32_t layer,
                                 struct uqm_err *err)
{
    const uint64_t h = config->hidden, q = q_width(config), kv = kv_width(config);
    int ret = uqm_schedule_vector(schedule, h, err, LAYER "input_layernorm.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(schedule, kv, h, err, LAYER "self_attn.k_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(schedule, kv, h, err, LAYER "self_attn.v_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(schedule, q, h, err, LAYER "self_attn.q_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(schedule, h, q, err, LAYER "self_attn.o_proj.weight", layer);
    return ret;
}

int uqm_llama_schedule_mlp(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                           uint32_t layer, size_t n_mlp_chunks, struct uqm_err *err)
{
    int ret = uqm_schedule_vector(schedule, config->hidden, err,
                                  LAYER "post_attention_layernorm.weight", layer);
    for (size_t i = 0; ret == UQM_OK && i < n_mlp_chunks; i++)
        ret = schedule_mlp_weights(schedule, config, layer, err);
    return ret;
}

int uqm_llama_schedule_layer(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                             uint32_t layer, size_t n_mlp_chunks, struct uqm_err *err)
{
    int ret = uqm_llama_schedule_attention(schedule, config, layer, err);
    return ret < 0 ? ret : uqm_llama_schedule_mlp(schedule, config, layer, n_mlp_chunks, err);
}

int uqm_llama_schedule(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                       const struct uqm_llama_plan *plan, uint32_t first, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (uint32_t i = first; ret == UQM_OK && i < config->n_layers; i++) {
        const bool last = i + 1 == config->n_layers;
        ret = uqm_llama_schedule_layer(schedule, config, i,
                                       n_chunks(plan, last ? plan->n_seqs : plan->n_rows), err);
    }
    return ret;
}

/* ---- the pass ---- */

int uqm_dropout_init(uint32_t *threshold, float *keep_scale, double p, struct uqm_err *err)
{
    /* A word below the threshold is dropped: p * 2^32 of them, rounded up. */
    const double t = ceil(p * 0x1p32);
    if (!(p >= 0.0 && t < 0x1p32))
        return uqm_fail(err, UQM_ERR_ARG, "dropout %g is outside [0, 1)", p);
    *threshold = (uint32_t) t;
    *keep_scale = (float) (1.0 / (1.0 - p));
    return UQM_OK;
}

/* What of attention is the same in every layer. */
static int init_attention(struct uqm_llama *l, struct uqm_err *err)
{
    const struct uqm_text_config *c = &l->run->net->config.text;
    const size_t q = q_width(c), kv = kv_width(c);
    for (size_t i = 0; i < l->plan.n_seqs; i++) {
        const struct uqm_llm_prompt *prompt = l->seqs[i].prompt;
        l->attention[i] = (struct uqm_attend){
            .ldq = q,
            .ldk = kv,
            .ldv = kv,
            .ldo = q,
            .n_kv = l->seqs[i].n_rows,
            .n_heads = c->n_heads,
            .n_kv_heads = c->n_kv_heads,
            .head_dim = c->head_dim,
            .scale = (float) (1.0 / sqrt((double) c->head_dim)),
            .causal = true,
            .dropout = prompt->dropout != 0.0,
        };
        int ret = uqm_dropout_init(&l->attention[i].drop_threshold, &l->attention[i].keep_scale,
                                   prompt->dropout, err);
        if (ret < 0)
            return ret;
        assert(!l->attention[i].dropout || (prompt->dataset && prompt->sample));
    }
    return UQM_OK;
}

/* The index part: n_rows words of the splice's, then positions of all rows, positions of the
 * sequences' last rows, and those rows. */
static struct uqm_place positions(const struct uqm_llama *l)
{
    return uqm_place_add(l->parts.index, l->plan.n_rows);
}

static struct uqm_place last_positions(const struct uqm_llama *l)
{
    return uqm_place_add(positions(l), l->plan.n_rows);
}

static struct uqm_place last_rows(const struct uqm_llama *l)
{
    return uqm_place_add(last_positions(l), l->plan.n_seqs);
}

static int fill_index(struct uqm_llama *l, struct uqm_err *err)
{
    const size_t n_rows = l->plan.n_rows, n_seqs = l->plan.n_seqs, n = n_rows + 2 * n_seqs;
    struct uqm_device *device = l->run->device;
    uint32_t *index = malloc(n * sizeof *index);
    if (!index)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a batch of %zu rows", n_rows);
    for (size_t i = 0; i < n_seqs; i++) {
        const struct uqm_sequence *s = &l->seqs[i];
        for (size_t r = 0; r < s->n_rows; r++)
            index[s->row + r] = (uint32_t) r;
        index[n_rows + i] = (uint32_t) (s->n_rows - 1);
        index[n_rows + n_seqs + i] = (uint32_t) (s->row + s->n_rows - 1);
    }
    int ret = device->ops->upload(device, positions(l), index, n, err);
    free(index);
    return ret;
}

struct uqm_parts uqm_llama_parts(const struct uqm_run *run, const struct uqm_llama_plan *plan)
{
    struct uqm_parts parts = { .hidden = uqm_run_place(run, 0) };
    parts.normed = uqm_place_add(parts.hidden, plan->hidden);
    parts.region = uqm_place_add(parts.normed, plan->normed);
    parts.index = uqm_place_add(parts.region, plan->region);
    return parts;
}

int uqm_llama_init(struct uqm_llama *llama, struct uqm_run *run, const struct uqm_llama_plan *plan,
                   const struct uqm_parts *parts, const struct uqm_sequence *seqs, uint64_t seed,
                   struct uqm_err *err)
{
    *llama = (struct uqm_llama){ .run = run, .plan = *plan, .seqs = seqs, .seed = seed };
    llama->parts = parts ? *parts : uqm_llama_parts(run, plan);
    llama->attention = calloc(plan->n_seqs, sizeof *llama->attention);
    if (!llama->attention)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a batch of %zu prompts", plan->n_seqs);
    int ret = init_attention(llama, err);
    return ret < 0 ? ret : fill_index(llama, err);
}

void uqm_llama_finish(struct uqm_llama *llama)
{
    free(llama->attention);
    llama->attention = NULL;
}

static int attend(struct uqm_llama *l, uint32_t layer, struct uqm_place q, struct uqm_place k,
                  struct uqm_place v, struct uqm_place out, bool last, struct uqm_err *err)
{
    const struct uqm_network *net = l->run->net;
    const size_t kv = kv_width(&net->config.text), width = q_width(&net->config.text);
    for (size_t i = 0; i < l->plan.n_seqs; i++) {
        const struct uqm_sequence *s = &l->seqs[i];
        struct uqm_attend *a = &l->attention[i];
        const size_t q_row = last ? i : s->row;
        a->q = uqm_place_add(q, q_row * width);
        a->out = uqm_place_add(out, q_row * width);
        a->k = uqm_place_add(k, s->row * kv);
        a->v = uqm_place_add(v, s->row * kv);
        a->n_q = last ? 1 : s->n_rows;
        if (a->dropout)
            a->drop_key = uqm_rng_stream(l->seed, UQM_RNG_DROPOUT, s->prompt->dataset,
                                         s->prompt->sample, s->prompt->j, layer);
    }
    return l->run->device->ops->attend(l->run->device, l->attention, l->plan.n_seqs, err);
}

static int linear(struct uqm_llama *l, struct uqm_place y, struct uqm_place x, size_t m, size_t n,
                  size_t k, enum uqm_epilogue epilogue, struct uqm_err *err)
{
    const struct uqm_linear product = {
        .y = y, .x = x, .ldy = n, .ldx = k, .m = m, .n = n, .k = k, .epilogue = epilogue
    };
    return uqm_weights_linear(l->weights, &product, err);
}

static int norm(struct uqm_llama *l, size_t n_rows, struct uqm_err *err)
{
    struct uqm_run *run = l->run;
    const struct uqm_text_config *c = &run->net->config.text;
    const struct uqm_norm args = {
        .y = l->parts.normed,
        .x = l->parts.hidden,
        .weight = run->norm_w,
        .eps = c->rms_eps,
        .n_rows = n_rows,
        .width = c->hidden,
    };
    int ret = uqm_weights_vector(l->weights, run->norm_w, c->hidden, err);
    return ret < 0 ? ret : run->device->ops->norm(run->device, &args, err);
}

static int rotate(struct uqm_llama *l, struct uqm_place x, struct uqm_place at, size_t n_rows,
                  size_t n_heads, struct uqm_err *err)
{
    struct uqm_run *run = l->run;
    const struct uqm_rotate args = {
        .x = x,
        .cos = run->cos,
        .sin = run->sin,
        .positions = at,
        .n_rows = n_rows,
        .n_heads = n_heads,
        .head_dim = run->net->config.text.head_dim,
    };
    return run->device->ops->rotate(run->device, &args, err);
}

/* y (n_seqs, hidden) = the sequences' last rows of x. */
static int gather_last(struct uqm_llama *l, struct uqm_place y, struct uqm_place x,
                       struct uqm_err *err)
{
    const size_t width = l->run->net->config.text.hidden;
    const struct uqm_gather args = {
        .y = y,
        .x = x,
        .ldy = width,
        .ldx = width,
        .index = last_rows(l),
        .n_rows = l->plan.n_seqs,
        .width = width,
    };
    return l->run->device->ops->gather(l->run->device, &args, err);
}

/* K and V of all rows, rotated, and kept where a cache wants them. */
static int keys_and_values(struct uqm_llama *l, uint32_t layer, struct uqm_place k,
                           struct uqm_place v, struct uqm_err *err)
{
    const struct uqm_text_config *c = &l->run->net->config.text;
    const size_t n_rows = l->plan.n_rows, h = c->hidden, kvw = kv_width(c);
    int ret = norm(l, n_rows, err);
    if (ret == UQM_OK)
        ret = linear(l, k, l->parts.normed, n_rows, kvw, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(l, v, l->parts.normed, n_rows, kvw, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = rotate(l, k, positions(l), n_rows, c->n_kv_heads, err);
    for (size_t i = 0; ret == UQM_OK && l->cache && i < l->plan.n_seqs; i++) {
        const struct uqm_sequence *s = &l->seqs[i];
        ret = uqm_kv_store(l->cache, layer, l->first_slot + i, 0, uqm_place_add(k, s->row * kvw),
                           uqm_place_add(v, s->row * kvw), s->n_rows, err);
    }
    return ret;
}

/* hidden += o(attention(norm(hidden))) */
static int attention_block(struct uqm_llama *l, uint32_t layer, struct uqm_err *err)
{
    const struct uqm_text_config *c = &l->run->net->config.text;
    const size_t h = c->hidden, qw = q_width(c), n_rows = l->plan.n_rows;
    const size_t padded = uqm_padded_rows(n_rows);
    const struct uqm_place q = l->parts.region, k = uqm_place_add(q, padded * qw);
    const struct uqm_place v = uqm_place_add(k, padded * kv_width(c));

    int ret = keys_and_values(l, layer, k, v, err);
    if (ret == UQM_OK)
        ret = linear(l, q, l->parts.normed, n_rows, qw, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = rotate(l, q, positions(l), n_rows, c->n_heads, err);
    if (ret == UQM_OK)
        ret = attend(l, layer, q, k, v, l->parts.normed, false, err);
    if (ret == UQM_OK)
        ret = linear(l, l->parts.hidden, l->parts.normed, n_rows, h, qw, UQM_EPI_ADD, err);
    return ret;
}

/*
 * The same for the sequences' last rows alone, which are packed at hidden's start afterwards.
 * Behind k and v a few rows of region hold, one after the other, those rows of normed, those of
 * hidden and the attention's output; normed, read by then, takes q.
 */
static int last_attention_block(struct uqm_llama *l, uint32_t layer, struct uqm_err *err)
{
    struct uqm_device *device = l->run->device;
    const struct uqm_text_config *c = &l->run->net->config.text;
    const size_t h = c->hidden, qw = q_width(c), n_seqs = l->plan.n_seqs;
    const size_t padded = uqm_padded_rows(l->plan.n_rows);
    const struct uqm_place k = l->parts.region, v = uqm_place_add(k, padded * kv_width(c));
    const struct uqm_place few = uqm_place_add(v, padded * kv_width(c)), q = l->parts.normed;

    int ret = keys_and_values(l, layer, k, v, err);
    if (ret == UQM_OK)
        ret = gather_last(l, few, l->parts.normed, err);
    if (ret == UQM_OK)
        ret = linear(l, q, few, n_seqs, qw, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = rotate(l, q, last_positions(l), n_seqs, c->n_heads, err);
    if (ret == UQM_OK)
        ret = gather_last(l, few, l->parts.hidden, err);
    if (ret == UQM_OK)
        ret = device->ops->copy(device, l->parts.hidden, few, n_seqs * h, err);
    if (ret == UQM_OK)
        ret = attend(l, layer, q, k, v, few, true, err);
    if (ret == UQM_OK)
        ret = linear(l, l->parts.hidden, few, n_seqs, h, qw, UQM_EPI_ADD, err);
    return ret;
}

/* hidden += down(silu(gate(norm(hidden))) * up(norm(hidden))) */
static int mlp_block(struct uqm_llama *l, size_t n_rows, struct uqm_err *err)
{
    const struct uqm_text_config *c = &l->run->net->config.text;
    const size_t h = c->hidden, inner = c->inner;
    const struct uqm_place mid = l->parts.region;

    int ret = norm(l, n_rows, err);
    for (size_t r = 0; ret == UQM_OK && r < n_rows; r += l->plan.mlp_rows) {
        const size_t m = (size_t) uqm_min_u64(l->plan.mlp_rows, n_rows - r);
        const struct uqm_place x = uqm_place_add(l->parts.normed, r * h);
        const struct uqm_place y = uqm_place_add(l->parts.hidden, r * h);
        ret = linear(l, mid, x, m, inner, h, UQM_EPI_STORE, err);
        if (ret == UQM_OK)
            ret = linear(l, mid, x, m, inner, h, UQM_EPI_SILU_MUL, err);
        if (ret == UQM_OK)
            ret = linear(l, y, mid, m, h, inner, UQM_EPI_ADD, err);
    }
    return ret;
}

static bool is_last(const struct uqm_llama *l, uint32_t layer)
{
    return layer + 1 == l->run->net->config.text.n_layers;
}

int uqm_llama_attention(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err)
{
    return is_last(llama, layer) ? last_attention_block(llama, layer, err)
                                 : attention_block(llama, layer, err);
}

int uqm_llama_mlp(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err)
{
    return mlp_block(llama, is_last(llama, layer) ? llama->plan.n_seqs : llama->plan.n_rows, err);
}

int uqm_llama_layer(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err)
{
    int ret = uqm_llama_attention(llama, layer, err);
    return ret < 0 ? ret : uqm_llama_mlp(llama, layer, err);
}
