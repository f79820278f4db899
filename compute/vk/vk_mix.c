/*
 * Mixtures of weights in f64, to the bit as compute/merge_scalar.h has them. Each model's tile goes
 * packed through the ring of slots and is added to sums that stay on the device; the last step
 * divides, adds the base, rounds once, and leaves a slot as if it had been filled by the host.
 * Packing moves every model's elements to the same places, so that all of this is element by
 * element.
 */
#include "compute/vk/vk_mix.h"

#include <assert.h>
#include <string.h>

#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_ops_state.h"
#include "compute/vk/vk_pack.h"
#include "src/base/checked.h"

struct add_push {
    uint32_t n_elem;
    uint32_t x_at;
    uint32_t is_first;
    uint32_t weight[2];
};
static_assert(sizeof(struct add_push) == 20, "shaders/mix_add.comp");

struct store_push {
    uint32_t n_words;
    uint32_t out_at;
    uint32_t divisor[2], reciprocal[2], lambda[2];
};
static_assert(sizeof(struct store_push) == 32, "shaders/mix_store.comp");

static uint32_t shader_dtype(enum uqm_dtype dtype)
{
    return dtype == UQM_F16 ? 0 : dtype == UQM_BF16 ? 1 : 2;
}

static void split(uint32_t out[2], double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    out[0] = (uint32_t) bits;
    out[1] = (uint32_t) (bits >> 32);
}

/* ---- memory ---- */

/* Elements of the sums: as many as a slot has of 16 bits, if one binding holds them. */
static uint64_t sum_elem(const struct uqm_vk *vk, uint64_t slot_bytes)
{
    return uqm_min_u64(slot_bytes / 2, uqm_vk_range_words(vk) / 2);
}

uint64_t uqm_vk_mix_bytes(const struct uqm_vk *vk, uint64_t slot_bytes)
{
    return sum_elem(vk, slot_bytes) * (sizeof(double) + sizeof(float));
}

int uqm_vk_mix_reserve(struct uqm_vk *vk, uint64_t slot_bytes, struct uqm_err *err)
{
    struct uqm_vk_ops_state *ops = vk->ops;
    ops->mix_elem = sum_elem(vk, slot_bytes);
    int ret = uqm_vk_alloc(&ops->mix_sums, vk, 2 * ops->mix_elem, "sums of weights", err);
    return ret < 0 ? ret : uqm_vk_alloc(&ops->mix_base, vk, ops->mix_elem, "a base's weights", err);
}

void uqm_vk_mix_release(struct uqm_vk *vk)
{
    uqm_vk_free(vk, &vk->ops->mix_sums);
    uqm_vk_free(vk, &vk->ops->mix_base);
    vk->ops->mix_elem = 0;
}

static unsigned widest_bits(const struct uqm_linear *a)
{
    unsigned bits = uqm_dtype_bits(a->w_dtype);
    for (size_t i = 0; i < a->mix->n_inputs; i++)
        bits = (unsigned) uqm_max_u64(bits, uqm_dtype_bits(a->mix->inputs[i].dtype));
    return a->mix->base ? (unsigned) uqm_max_u64(bits, uqm_dtype_bits(a->mix->base->dtype)) : bits;
}

size_t uqm_vk_mix_cols(const struct uqm_vk *vk, const struct uqm_linear *args)
{
    const uint64_t panel = uqm_align_up(args->k, UQM_VK_PANEL) * UQM_VK_PANEL; /* elements */
    const uint64_t bytes =
        uqm_min_u64(vk->ops->slot_bytes, uqm_vk_range_words(vk) * sizeof(uint32_t));
    const uint64_t elem = uqm_min_u64(bytes / (widest_bits(args) / 8), vk->ops->mix_elem);
    return (size_t) (elem / panel * UQM_VK_PANEL);
}

/* ---- the steps ---- */

/* Some rows of one mixture. */
struct mixing {
    const struct uqm_linear *of;
    size_t col, n;
    uint64_t n_elem; /* packed */
};

static uint64_t words_of(enum uqm_dtype dtype, uint64_t n_elem)
{
    return uqm_dtype_bytes(dtype, n_elem) / sizeof(uint32_t);
}

/* A model's rows to a slot of the ring. */
static int send(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct mixing *m,
                const struct uqm_mix_input *input, struct uqm_err *err)
{
    const size_t k = m->of->k;
    const uint64_t bytes = uqm_vk_packed_bytes(input->dtype, m->n, k);
    const uint64_t skip = uqm_dtype_bytes(input->dtype, (uint64_t) m->col * k);
    int ret = uqm_vk_slot_take(slot, vk, (struct uqm_vk_slot_name){ 0 }, bytes, err);
    if (ret < 0)
        return ret;
    uqm_vk_pack(slot->host, (const unsigned char *) input->w + skip, input->dtype, m->n, k,
                vk->threads);
    return uqm_vk_slot_filled(vk, slot, bytes, err);
}

static int add(struct uqm_vk *vk, const struct mixing *m, const struct uqm_mix_input *input,
               bool is_base, bool is_first, struct uqm_err *err)
{
    struct uqm_vk_slot slot;
    int ret = send(&slot, vk, m, input, err);
    if (ret < 0)
        return ret;
    const bool has_base = m->of->mix->base;
    const uint64_t n = m->n_elem, words = words_of(input->dtype, n);
    const uint32_t local = uqm_vk_flat_local(vk);
    const struct uqm_place sums = { vk->ops->mix_sums, 0 }, base = { vk->ops->mix_base, 0 };
    struct uqm_vk_launch l = {
        .kernel = { .shader = is_base ? "mix_base" : "mix_add",
                    .spec = { local, shader_dtype(input->dtype), has_base },
                    .n_spec = 3,
                    .n_bindings = is_base ? 2 : 4,
                    .push_bytes = sizeof(struct add_push) },
        .what = is_base ? "a base's weights" : "weights added",
        .bindings = { is_base ? uqm_vk_write(base, 1, n, n) : uqm_vk_write(sums, 1, 2 * n, 2 * n),
                      uqm_vk_read(slot.place, 1, words, words), uqm_vk_read(sums, 1, 2 * n, 2 * n),
                      uqm_vk_read(base, 1, n, n) },
        .n_groups = (n + local - 1) / local,
        .work = 8 * n,
        .bytes = 4 * words + 20 * n,
    };
    struct add_push push = {
        .n_elem = (uint32_t) n,
        .x_at = uqm_vk_lead(vk, &l.bindings[1]),
        .is_first = is_first,
    };
    split(push.weight, input->weight);
    l.push = &push;
    return uqm_vk_launch(vk, &l, err);
}

static int store(struct uqm_vk *vk, const struct mixing *m, struct uqm_place out,
                 struct uqm_err *err)
{
    const struct uqm_mix *mix = m->of->mix;
    const uint64_t n = m->n_elem, words = words_of(m->of->w_dtype, n);
    const uint32_t local = uqm_vk_flat_local(vk);
    const struct uqm_place sums = { vk->ops->mix_sums, 0 }, base = { vk->ops->mix_base, 0 };
    struct uqm_vk_launch l = {
        .kernel = { .shader = "mix_store",
                    .spec = { local, shader_dtype(m->of->w_dtype), mix->base != NULL,
                              mix->divisor != 1 },
                    .n_spec = 4,
                    .n_bindings = 3,
                    .push_bytes = sizeof(struct store_push) },
        .what = "mixed weights",
        .bindings = { uqm_vk_write(out, 1, words, words), uqm_vk_read(sums, 1, 2 * n, 2 * n),
                      uqm_vk_read(base, 1, n, n) },
        .n_groups = (words + local - 1) / local,
        .work = 30 * n,
        .bytes = 4 * words + 12 * n,
    };
    struct store_push push = {
        .n_words = (uint32_t) words,
        .out_at = uqm_vk_lead(vk, &l.bindings[0]),
    };
    split(push.divisor, mix->divisor);
    split(push.reciprocal, 1 / mix->divisor);
    split(push.lambda, mix->lambda);
    l.push = &push;
    return uqm_vk_launch(vk, &l, err);
}

/* The slot of the result is taken last: the ring may have but one. */
int uqm_vk_mix(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct uqm_linear *args,
               size_t col, size_t n, struct uqm_err *err)
{
    const struct uqm_mix *mix = args->mix;
    const struct uqm_vk_slot_name name = { args->keep, col };
    const struct mixing m = {
        .of = args,
        .col = col,
        .n = n,
        .n_elem = uqm_align_up(n, UQM_VK_PANEL) * uqm_align_up(args->k, UQM_VK_PANEL),
    };
    assert(mix->n_inputs > 0 && m.n_elem <= vk->ops->mix_elem);
    int ret = mix->base ? add(vk, &m, mix->base, true, false, err) : UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < mix->n_inputs; i++)
        ret = add(vk, &m, &mix->inputs[i], false, i == 0, err);
    if (ret == UQM_OK)
        ret = uqm_vk_slot_take(slot, vk, name, uqm_vk_packed_bytes(args->w_dtype, n, args->k), err);
    return ret < 0 ? ret : store(vk, &m, slot->place, err);
}
