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

    *plan = (struct uqm_llama_plan){ .n_rows = n_rows, .n_seqs = n_seqs };
    plan->hidden = rows * c->hidden;
    plan->normed = uqm_max_u64(rows * uqm_max_u64(c->hidden, q_width(c)), pictures * c->hidden);
    plan->region = uqm_max_u64(rows * (q_width(c) + 2 * kv_width(c)), inner);
    plan->region =
        uqm_max_u64(plan->region, pictures * uqm_max_u64(config->vision.hidden, c->hidden));
    const uint64_t fit = plan->region / c->inner;
    plan->mlp_rows = (size_t) uqm_min_u64(rows, fit - fit % UQM_GEMM_ROWS);
}

static size_t n_chunks(const struct uqm_llama_plan *plan, size_t n_rows)
{
    return (n_rows + plan->mlp_rows - 1) / plan->mlp_rows;
}

/* ---- the schedule ---- */

static int schedule_mlp(struct uqm_schedule *s, const struct uqm_text_config *c, uint32_t layer,
                        struct uqm_err *err)
{
    int ret = uqm_schedule_matrix(s, c->inner, c->hidden, err, LAYER "mlp.gate_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(s, c->inner, c->hidden, err, LAYER "mlp.up_proj.weight", layer);
    if (ret == UQM_OK)
        ret = uqm_schedule_matrix(s, c->hidden, c->inner, err, LAYER "mlp.down_proj.weight", layer);
    return ret;
}

int uqm_llama_schedule_layer(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                             uint32_t layer, size_t n_mlp_chunks, struct uqm_err *err)
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
    if (ret == UQM_OK)
        ret = uqm_schedule_vector(schedule, h, err, LAYER "post_attention_layernorm.weight", layer);
    for (size_t i = 0; ret == UQM_OK && i < n_mlp_chunks; i++)
        ret = schedule_mlp(schedule, config, layer, err);
    return ret;
}

int uqm_llama_schedule(struct uqm_schedule *schedule, const struct uqm_text_config *config,
                       const struct uqm_llama_plan *plan, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (uint32_t i = 0; ret == UQM_OK && i < config->n_layers; i++) {
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
        l->attention[i] = (struct uqm_attention){
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

int uqm_llama_init(struct uqm_llama *llama, struct uqm_run *run, const struct uqm_llama_plan *plan,
                   const struct uqm_sequence *seqs, uint64_t seed, struct uqm_err *err)
{
    *llama = (struct uqm_llama){ .run = run, .plan = *plan, .seqs = seqs, .seed = seed };
    llama->hidden = run->arena;
    llama->normed = llama->hidden + plan->hidden;
    llama->region = llama->normed + plan->normed;
    llama->attention = calloc(plan->n_seqs, sizeof *llama->attention);
    llama->positions = malloc((plan->n_rows + plan->n_seqs) * sizeof *llama->positions);
    if (!llama->attention || !llama->positions)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a batch of %zu prompts", plan->n_seqs);

    for (size_t i = 0; i < plan->n_seqs; i++) {
        for (size_t r = 0; r < seqs[i].n_rows; r++)
            llama->positions[seqs[i].row + r] = (uint32_t) r;
        llama->positions[plan->n_rows + i] = (uint32_t) (seqs[i].n_rows - 1);
    }
    return init_attention(llama, err);
}

void uqm_llama_finish(struct uqm_llama *llama)
{
    free(llama->attention);
    free(llama->positions);
    llama->attention = NULL;
    llama->positions = NULL;
}

/* The sequences' last rows to the front; none is overwritten before it has moved. */
static void keep_last_rows(const struct uqm_llama *l, float *x, size_t width)
{
    for (size_t i = 0; i < l->plan.n_seqs; i++)
        memmove(x + i * width, x + (l->seqs[i].row + l->seqs[i].n_rows - 1) * width,
                width * sizeof *x);
}

static void attend(struct uqm_llama *l, uint32_t layer, const float *q, const float *k,
                   const float *v, bool last)
{
    const struct uqm_network *net = l->run->net;
    const size_t kv = kv_width(&net->config.text), width = q_width(&net->config.text);
    for (size_t i = 0; i < l->plan.n_seqs; i++) {
        const struct uqm_sequence *s = &l->seqs[i];
        struct uqm_attention *a = &l->attention[i];
        const size_t q_row = last ? i : s->row;
        a->q = q + q_row * width;
        a->out = l->normed + q_row * width;
        a->k = k + s->row * kv;
        a->v = v + s->row * kv;
        a->n_q = last ? 1 : s->n_rows;
        if (a->dropout)
            a->drop_key = uqm_rng_stream(l->seed, UQM_RNG_DROPOUT, s->prompt->dataset,
                                         s->prompt->sample, s->prompt->j, layer);
    }
    uqm_attention_run(l->run->attention, &net->kernels, l->attention, l->plan.n_seqs);
}

static int linear(struct uqm_llama *l, float *y, const float *x, size_t m, size_t n, size_t k,
                  enum uqm_epilogue epilogue, struct uqm_err *err)
{
    return uqm_weights_linear(l->weights, l->run->gemm, y, n, x, k, m, n, k, NULL, epilogue, err);
}

static int norm(struct uqm_llama *l, size_t n_rows, struct uqm_err *err)
{
    struct uqm_run *run = l->run;
    const struct uqm_text_config *c = &run->net->config.text;
    int ret = uqm_weights_vector(l->weights, run->norm_w, c->hidden, err);
    if (ret == UQM_OK)
        uqm_rows_rmsnorm(run->net->threads, &run->net->kernels, l->normed, l->hidden, run->norm_w,
                         c->rms_eps, n_rows, c->hidden);
    return ret;
}

/* hidden += o(attention(norm(hidden))); leaves n_rows rows, or the last ones. */
static int attention_block(struct uqm_llama *l, uint32_t layer, bool last, struct uqm_err *err)
{
    const struct uqm_network *net = l->run->net;
    const struct uqm_text_config *c = &net->config.text;
    const size_t h = c->hidden, qw = q_width(c), kvw = kv_width(c), n_rows = l->plan.n_rows;
    const size_t padded = uqm_padded_rows(n_rows), q_rows = last ? l->plan.n_seqs : n_rows;
    float *q = l->region, *k = q + padded * qw, *v = k + padded * kvw;

    int ret = norm(l, n_rows, err);
    if (ret == UQM_OK)
        ret = linear(l, k, l->normed, n_rows, kvw, h, UQM_EPI_STORE, err);
    if (ret == UQM_OK)
        ret = linear(l, v, l->normed, n_rows, kvw, h, UQM_EPI_STORE, err);
    if (ret < 0)
        return ret;
    if (last) {
        keep_last_rows(l, l->normed, h);
        keep_last_rows(l, l->hidden, h);
    }
    ret = linear(l, q, l->normed, q_rows, qw, h, UQM_EPI_STORE, err);
    if (ret < 0)
        return ret;

    uqm_rows_rope(net->threads, &net->kernels, k, &l->run->rope, l->positions, n_rows,
                  c->n_kv_heads);
    uqm_rows_rope(net->threads, &net->kernels, q, &l->run->rope, l->positions + (last ? n_rows : 0),
                  q_rows, c->n_heads);
    if (l->cache)
        uqm_kv_store(l->cache, layer, 0, k, v, n_rows);
    attend(l, layer, q, k, v, last);
    return linear(l, l->hidden, l->normed, q_rows, h, qw, UQM_EPI_ADD, err);
}

/* hidden += down(silu(gate(norm(hidden))) * up(norm(hidden))) */
static int mlp_block(struct uqm_llama *l, size_t n_rows, struct uqm_err *err)
{
    const struct uqm_text_config *c = &l->run->net->config.text;
    const size_t h = c->hidden, inner = c->inner;

    int ret = norm(l, n_rows, err);
    for (size_t r = 0; ret == UQM_OK && r < n_rows; r += l->plan.mlp_rows) {
        const size_t m = (size_t) uqm_min_u64(l->plan.mlp_rows, n_rows - r);
        const float *x = l->normed + r * h;
        ret = linear(l, l->region, x, m, inner, h, UQM_EPI_STORE, err);
        if (ret == UQM_OK)
            ret = linear(l, l->region, x, m, inner, h, UQM_EPI_SILU_MUL, err);
        if (ret == UQM_OK)
            ret = linear(l, l->hidden + r * h, l->region, m, h, inner, UQM_EPI_ADD, err);
    }
    return ret;
}

int uqm_llama_layer(struct uqm_llama *llama, uint32_t layer, struct uqm_err *err)
{
    const bool last = layer + 1 == llama->run->net->config.text.n_layers;
    int ret = attention_block(llama, layer, last, err);
    if (ret == UQM_OK)
        ret = mlp_block(llama, last ? llama->plan.n_seqs : llama->plan.n_rows, err);
    return ret;
}
