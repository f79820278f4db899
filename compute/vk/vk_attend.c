/* Attention, a prompt at a time: many queries by blocks with an online softmax, few queries by
 * parts of the keys that are merged in their order. Which one depends on the prompt's own shape
 * alone. */
#include <assert.h>
#include <stdio.h>

#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_ops.h"
#include "compute/vk/vk_ops_state.h"
#include "src/base/checked.h"

enum {
    FEW_Q = 8, /* with fewer queries the keys are shared out */
    CAUSAL = 1,
    DROPOUT = 2,
};

struct attend_push {
    uint32_t n_q, n_kv;
    uint32_t first_position;
    uint32_t n_heads, group;
    uint32_t head_dim;
    uint32_t ldq, ldk, ldv, ldo;
    uint32_t q_at, k_at, v_at, out_at;
    float scale;
    uint32_t flags;
    uint32_t drop_threshold;
    float keep_scale;
    uint32_t drop_key[2];
    uint32_t n_splits, split_keys;
};
static_assert(sizeof(struct attend_push) == 88, "shaders/attend.glsl");

/* --- blocks of queries --- */

struct blocks {
    uint32_t local, bq, bk, dc;
    uint32_t dim; /* head_dim, rounded up to dc */
};

static bool blocks_fit(const struct uqm_vk *vk, const struct blocks *b)
{
    uint64_t shared = (uint64_t) b->bq * (b->dim + b->bk + 4) + (uint64_t) b->bk * (b->dc + 1);
    return shared * sizeof(float) <= vk->limits.shared_bytes &&
           b->local <= vk->limits.max_invocations && b->local <= vk->limits.max_local[0];
}

static int choose_blocks(struct blocks *out, const struct uqm_vk *vk, size_t head_dim,
                         struct uqm_err *err)
{
    static const struct blocks choices[] = {
        { 128, 16, 32, 32, 0 }, { 128, 8, 32, 32, 0 }, { 128, 4, 32, 32, 0 },
        { 64, 4, 16, 16, 0 },   { 32, 2, 16, 16, 0 },  { 16, 1, 16, 16, 0 },
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        *out = choices[i];
        out->dim = (uint32_t) uqm_align_up(head_dim, out->dc);
        if (blocks_fit(vk, out))
            return UQM_OK;
    }
    return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                    "attention: heads of %zu columns do not fit the %u bytes that %s shares",
                    head_dim, vk->limits.shared_bytes, vk->device.name);
}

/* --- what both have --- */

/* A prompt, and queries [begin, begin + n_q) of it. */
struct piece {
    const struct uqm_attend *of;
    size_t begin, n_q;
};

static size_t n_keys(const struct piece *p)
{
    const struct uqm_attend *a = p->of;
    return a->causal ? a->n_kv - a->n_q + p->begin + p->n_q : a->n_kv;
}

static struct uqm_vk_binding read_kv(const struct piece *p, struct uqm_place place, size_t ld)
{
    const struct uqm_attend *a = p->of;
    const size_t per_word = a->half_kv ? 2 : 1;
    const size_t width = (a->n_kv_heads * a->head_dim + per_word - 1) / per_word;
    return uqm_vk_read(place, n_keys(p), width, ld / per_word);
}

static void bind_inputs(struct uqm_vk_launch *l, struct attend_push *push, const struct uqm_vk *vk,
                        const struct piece *p)
{
    const struct uqm_attend *a = p->of;
    const uint64_t flop = 4 * (uint64_t) p->n_q * n_keys(p) * a->n_heads * a->head_dim;
    l->work = a->causal && a->n_q == a->n_kv ? flop / 2 : flop;
    l->bindings[1] = uqm_vk_read(uqm_place_add(a->q, p->begin * a->ldq), p->n_q,
                                 a->n_heads * a->head_dim, a->ldq);
    l->bindings[2] = read_kv(p, a->k, a->ldk);
    l->bindings[3] = read_kv(p, a->v, a->ldv);
    l->kernel.n_bindings = 4;
    l->kernel.push_bytes = sizeof *push;
    *push = (struct attend_push){
        .n_q = (uint32_t) p->n_q,
        .n_kv = (uint32_t) a->n_kv,
        .first_position = (uint32_t) (a->n_kv - a->n_q + p->begin),
        .n_heads = (uint32_t) a->n_heads,
        .group = (uint32_t) (a->n_heads / a->n_kv_heads),
        .head_dim = (uint32_t) a->head_dim,
        .ldq = (uint32_t) a->ldq,
        .ldk = (uint32_t) a->ldk,
        .ldv = (uint32_t) a->ldv,
        .ldo = (uint32_t) a->ldo,
        .q_at = uqm_vk_lead(vk, &l->bindings[1]),
        .k_at = uqm_vk_lead(vk, &l->bindings[2]),
        .v_at = uqm_vk_lead(vk, &l->bindings[3]),
        .scale = a->scale,
        .flags = (a->causal ? CAUSAL : 0) | (a->dropout ? DROPOUT : 0),
        .drop_threshold = a->drop_threshold,
        .keep_scale = a->keep_scale,
        .drop_key = { a->drop_key.k[0], a->drop_key.k[1] },
    };
    l->push = push;
}

static struct uqm_vk_binding write_out(const struct piece *p)
{
    const struct uqm_attend *a = p->of;
    return uqm_vk_write(uqm_place_add(a->out, p->begin * a->ldo), p->n_q, a->n_heads * a->head_dim,
                        a->ldo);
}

/* --- many queries --- */

static int run_blocks(struct uqm_vk *vk, const struct piece *p, const struct blocks *b,
                      struct uqm_err *err)
{
    const struct uqm_attend *a = p->of;
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .shader = "attend_prefill",
                    .spec = { b->local, b->dim, b->bq, b->bk, b->dc, a->half_kv,
                              b->bq * b->bk / b->local, b->bq * b->dim / b->local,
                              b->bq * b->dc / b->local },
                    .n_spec = 9 },
        .what = what,
        .bindings = { write_out(p) },
        .n_groups = (p->n_q + b->bq - 1) / b->bq * a->n_heads,
    };
    struct attend_push push;
    bind_inputs(&l, &push, vk, p);
    push.out_at = uqm_vk_lead(vk, &l.bindings[0]);
    snprintf(what, sizeof what, "attention %zux%zux%zux%zu", p->n_q, n_keys(p), a->n_heads,
             a->head_dim);
    return uqm_vk_launch(vk, &l, err);
}

/* --- many queries, by texels --- */

enum { MAX_TEXEL_DIM = 256 }; /* sums that an invocation keeps */

static bool in_quads(const struct uqm_vk *vk, struct uqm_place place, size_t ld, size_t rows)
{
    const struct uqm_vk_binding b = uqm_vk_read(place, 1, 1, 1);
    return ld % 4 == 0 && uqm_vk_lead(vk, &b) % 4 == 0 &&
           rows * (ld / 4) + vk->limits.offset_align / 16 <= vk->limits.max_texels;
}

static bool texels_will_do(const struct uqm_vk *vk, const struct uqm_attend *a)
{
    const struct uqm_vk_limits *l = &vk->limits;
    return l->vector_texel_loads && l->texel_f32 && l->max_texel_bindings >= 3 && !a->half_kv &&
           a->head_dim % 4 == 0 && a->head_dim <= MAX_TEXEL_DIM &&
           in_quads(vk, a->q, a->ldq, a->n_q) && in_quads(vk, a->k, a->ldk, a->n_kv) &&
           in_quads(vk, a->v, a->ldv, a->n_kv);
}

static int run_texels(struct uqm_vk *vk, const struct piece *p, uint32_t local, struct uqm_err *err)
{
    const struct uqm_attend *a = p->of;
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .shader = "attend_texel",
                    .spec = { local, (uint32_t) (a->head_dim / 4) },
                    .n_spec = 2,
                    .texel_mask = 14 },
        .what = what,
        .bindings = { write_out(p) },
        .n_groups = (p->n_q + local - 1) / local * a->n_heads,
    };
    struct attend_push push;
    bind_inputs(&l, &push, vk, p);
    for (int i = 1; i <= 3; i++)
        l.bindings[i].texel = VK_FORMAT_R32G32B32A32_SFLOAT;
    push.out_at = uqm_vk_lead(vk, &l.bindings[0]);
    snprintf(what, sizeof what, "attention %zux%zux%zux%zu", p->n_q, n_keys(p), a->n_heads,
             a->head_dim);
    return uqm_vk_launch(vk, &l, err);
}

/* --- many queries: the choice, and dispatches of as many as may be --- */

static int attend_many(struct uqm_vk *vk, const struct uqm_attend *a, struct uqm_err *err)
{
    const bool texels = texels_will_do(vk, a);
    struct blocks b = { .bq = uqm_vk_flat_local(vk) };
    size_t fit_q, fit_o;
    if (texels && vk->limits.subgroup_size < b.bq)
        b.bq = vk->limits.subgroup_size;
    int ret = texels ? UQM_OK : choose_blocks(&b, vk, a->head_dim, err);
    if (ret >= 0)
        ret = uqm_vk_rows_that_fit(&fit_q, vk, a->n_heads * a->head_dim, a->ldq, "attention", err);
    if (ret >= 0)
        ret = uqm_vk_rows_that_fit(&fit_o, vk, a->n_heads * a->head_dim, a->ldo, "attention", err);
    if (ret < 0)
        return ret;
    uint64_t by_work = uqm_vk_work_limit(vk) / (4 * (uint64_t) a->n_kv * a->n_heads * a->head_dim);
    size_t rows = uqm_min_u64(uqm_min_u64(fit_q, fit_o), uqm_align_up(by_work + 1, b.bq));
    rows = rows > b.bq ? rows / b.bq * b.bq : rows;
    for (size_t begin = 0; ret >= 0 && begin < a->n_q; begin += rows) {
        const struct piece p = { a, begin, uqm_min_u64(rows, a->n_q - begin) };
        ret = texels ? run_texels(vk, &p, b.bq, err) : run_blocks(vk, &p, &b, err);
    }
    return ret;
}

/* --- few queries --- */

struct merge_push {
    uint32_t n_q, n_heads, head_dim;
    uint32_t ldo, out_at, parts_at;
    uint32_t n_splits;
    float keep_scale;
};
static_assert(sizeof(struct merge_push) == 32, "shaders/attend_merge.comp");

/* Keys of a part: as many as the workgroup's shared memory can hold weights of. 0: none. */
static uint32_t keys_of_part(const struct uqm_vk *vk, const struct uqm_vk_team *team,
                             size_t head_dim)
{
    uint64_t words = vk->limits.shared_bytes / sizeof(float), others = team->local + head_dim;
    for (uint32_t keys = 256; keys >= 32; keys /= 2)
        if (keys + others <= words)
            return keys;
    return 0;
}

static int merge_parts(struct uqm_vk *vk, const struct piece *p, struct uqm_place parts,
                       uint64_t words, uint32_t n_splits, struct uqm_err *err)
{
    const struct uqm_attend *a = p->of;
    const uint32_t local = uqm_vk_flat_local(vk);
    const uint64_t n_elem = (uint64_t) p->n_q * a->n_heads * a->head_dim;
    struct uqm_vk_launch l = {
        .kernel = { .shader = "attend_merge",
                    .spec = { local },
                    .n_spec = 1,
                    .n_bindings = 2,
                    .push_bytes = sizeof(struct merge_push) },
        .what = "attention's merging",
        .bindings = { write_out(p), uqm_vk_read(parts, 1, words, words) },
        .n_groups = (n_elem + local - 1) / local,
        .work = n_elem * n_splits * 4,
        .bytes = words * 4,
    };
    const struct merge_push push = {
        .n_q = (uint32_t) p->n_q,
        .n_heads = (uint32_t) a->n_heads,
        .head_dim = (uint32_t) a->head_dim,
        .ldo = (uint32_t) a->ldo,
        .out_at = uqm_vk_lead(vk, &l.bindings[0]),
        .parts_at = uqm_vk_lead(vk, &l.bindings[1]),
        .n_splits = n_splits,
        .keep_scale = a->dropout ? a->keep_scale : 1,
    };
    l.push = &push;
    return uqm_vk_launch(vk, &l, err);
}

static int run_parts(struct uqm_vk *vk, const struct piece *p, uint32_t split_keys,
                     struct uqm_place parts, uint64_t words, struct uqm_err *err)
{
    const struct uqm_attend *a = p->of;
    const struct uqm_vk_team team = uqm_vk_team(vk);
    const uint32_t n_splits = (uint32_t) ((a->n_kv + split_keys - 1) / split_keys);
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .shader = team.subgroups ? "attend_decode_subgroups" : "attend_decode",
                    .spec = { team.local, a->half_kv, split_keys, (uint32_t) a->head_dim,
                              team.local },
                    .n_spec = 5,
                    .subgroup_size = team.subgroup_size },
        .what = what,
        .bindings = { uqm_vk_write(parts, 1, words, words) },
        .n_groups = (uint64_t) p->n_q * a->n_heads * n_splits,
    };
    struct attend_push push;
    bind_inputs(&l, &push, vk, p);
    push.out_at = uqm_vk_lead(vk, &l.bindings[0]);
    push.n_splits = n_splits;
    push.split_keys = split_keys;
    snprintf(what, sizeof what, "attention %zux%zux%zux%zu", p->n_q, a->n_kv, a->n_heads,
             a->head_dim);
    int ret = uqm_vk_launch(vk, &l, err);
    return ret < 0 ? ret : merge_parts(vk, p, parts, words, n_splits, err);
}

static int attend_few(struct uqm_vk *vk, const struct uqm_attend *a, uint32_t split_keys,
                      struct uqm_err *err)
{
    struct uqm_vk_ops_state *ops = vk->ops;
    const struct piece p = { a, 0, a->n_q };
    const uint64_t n_splits = (a->n_kv + split_keys - 1) / split_keys;
    const uint64_t words = a->n_q * a->n_heads * n_splits * (2 + a->head_dim);

    if (ops->parts_next + words > ops->parts_words)
        ops->parts_next = 0;
    const struct uqm_place parts = { ops->parts, ops->parts_next };
    /* The next prompt's are bound apart from these, so that none waits for the other's. */
    const uint64_t align = vk->limits.offset_align / sizeof(float);
    ops->parts_next += (words + align - 1) / align * align;
    return run_parts(vk, &p, split_keys, parts, words, err);
}

static bool parts_will_do(const struct uqm_vk *vk, const struct uqm_attend *a, uint32_t split_keys)
{
    if (a->n_q >= FEW_Q || split_keys == 0)
        return false;
    uint64_t n_splits = (a->n_kv + split_keys - 1) / split_keys;
    return a->n_q * a->n_heads * n_splits * (2 + a->head_dim) <= vk->ops->parts_words;
}

static int attend_one(struct uqm_vk *vk, const struct uqm_attend *a, struct uqm_err *err)
{
    const struct uqm_vk_team team = uqm_vk_team(vk);
    const uint32_t split_keys = keys_of_part(vk, &team, a->head_dim);
    const size_t per_word = a->half_kv ? 2 : 1;
    size_t fit_k, fit_v, width = (a->n_kv_heads * a->head_dim + per_word - 1) / per_word;

    if (a->n_q == 0)
        return UQM_OK;
    assert(a->n_kv > 0 && (!a->causal || a->n_q <= a->n_kv) && a->n_heads % a->n_kv_heads == 0);
    assert(!a->half_kv || (a->ldk % 2 == 0 && a->ldv % 2 == 0));
    int ret = uqm_vk_rows_that_fit(&fit_k, vk, width, a->ldk / per_word, "attention", err);
    if (ret >= 0)
        ret = uqm_vk_rows_that_fit(&fit_v, vk, width, a->ldv / per_word, "attention", err);
    if (ret < 0)
        return ret;
    if (fit_k < a->n_kv || fit_v < a->n_kv)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "attention: %zu keys of %zu words are more than %s can bind", a->n_kv,
                        width, vk->device.name);
    return parts_will_do(vk, a, split_keys) ? attend_few(vk, a, split_keys, err)
                                            : attend_many(vk, a, err);
}

int uqm_vk_attend(struct uqm_vk *vk, const struct uqm_attend *prompts, size_t n_prompts,
                  struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t i = 0; ret >= 0 && i < n_prompts; i++)
        ret = attend_one(vk, &prompts[i], err);
    return ret;
}
