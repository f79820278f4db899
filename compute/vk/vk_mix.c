/*
 * Mixtures of weights in f64, to the bit as compute/merge_scalar.h has them. Each model's tile goes
 * packed through the ring of slots and is added to sums that stay on the device; the last step
 * divides, adds the base, rounds once, and leaves a slot as if it had been filled by the host.
 * Packing moves every model's elements to the same places, so that all of this is element by
 * element; what goes by an element's index finds it from its place. A consensus keeps five sums an
 * element: of all shares, of those above and below 0, of the weights of either.
 */
#include "compute/vk/vk_mix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_ops_state.h"
#include "compute/vk/vk_pack.h"
#include "src/base/checked.h"

enum { SUM_PLANES = 1, CONSENSUS_PLANES = 5 };

struct add_push {
    uint32_t n_elem;
    uint32_t x_at;
    uint32_t is_first;
    uint32_t weight[2], ratio[2];
    uint32_t k, n_blocks;
    uint32_t keep_key, keep_cut, drop_key, drop_cut; /* cuts count from the first row */
    uint32_t is_last;                                /* bit 0: keep.last, 1: drop.last */
    uint32_t stream[2], most, rest;                  /* of draws */
    uint32_t first[2];                               /* the first row's index in the tensor */
};
static_assert(sizeof(struct add_push) == 80, "shaders/mix_add.comp");

struct store_push {
    uint32_t n_words;
    uint32_t out_at;
    uint32_t divisor[2], reciprocal[2], lambda[2];
    uint32_t n_elem;
};
static_assert(sizeof(struct store_push) == 36, "shaders/mix_store.comp");

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

static uint64_t panel_elem(size_t k)
{
    return uqm_align_up(k, UQM_VK_PANEL) * UQM_VK_PANEL;
}

static unsigned planes(const struct uqm_device_needs *needs)
{
    return needs->mixes == UQM_MIXES_ELECTIONS ? CONSENSUS_PLANES : SUM_PLANES;
}

static uint64_t elem_bytes(unsigned n_planes)
{
    return n_planes * sizeof(double) + sizeof(float);
}

/* Elements of the sums: as many as a slot has of 16 bits, if one binding holds them; of a
 * consensus what fits the same memory, but a panel at least. */
static uint64_t sum_elem(const struct uqm_vk *vk, const struct uqm_device_needs *needs,
                         uint64_t slot_bytes)
{
    const unsigned n = planes(needs);
    const uint64_t bound = uqm_vk_range_words(vk) / (2 * n);
    const uint64_t elem = slot_bytes / 2 * elem_bytes(SUM_PLANES) / elem_bytes(n);
    return uqm_min_u64(uqm_max_u64(elem, panel_elem(needs->max_k)), bound);
}

uint64_t uqm_vk_mix_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs,
                          uint64_t slot_bytes)
{
    return sum_elem(vk, needs, slot_bytes) * elem_bytes(planes(needs));
}

int uqm_vk_mix_reserve(struct uqm_vk *vk, const struct uqm_device_needs *needs, uint64_t slot_bytes,
                       struct uqm_err *err)
{
    struct uqm_vk_ops_state *ops = vk->ops;
    ops->mix_planes = planes(needs);
    ops->mix_elem = sum_elem(vk, needs, slot_bytes);
    if (ops->mix_elem < panel_elem(needs->max_k))
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "a mixture's rows of %zu elements are longer than what %s can bind",
                        needs->max_k, vk->device.name);
    ops->mix_panel = malloc(panel_elem(needs->max_k) * sizeof(float));
    if (!ops->mix_panel)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for rows of a mixture");
    int ret = uqm_vk_alloc(&ops->mix_sums, vk, 2 * ops->mix_planes * ops->mix_elem,
                           "sums of weights", err);
    return ret < 0 ? ret : uqm_vk_alloc(&ops->mix_base, vk, ops->mix_elem, "a base's weights", err);
}

void uqm_vk_mix_release(struct uqm_vk *vk)
{
    uqm_vk_free(vk, &vk->ops->mix_sums);
    uqm_vk_free(vk, &vk->ops->mix_base);
    free(vk->ops->mix_panel);
    vk->ops->mix_panel = NULL;
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
    const uint64_t panel = panel_elem(args->k);
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

static unsigned sums_of(const struct uqm_mix *mix)
{
    return mix->consensus ? CONSENSUS_PLANES : SUM_PLANES;
}

static uint64_t words_of(enum uqm_dtype dtype, uint64_t n_elem)
{
    return uqm_dtype_bytes(dtype, n_elem) / sizeof(uint32_t);
}

/* Rows [row, row + *n) of those in hand, in one piece: whole panels, or all that are left. */
static const void *rows_at(size_t *n, struct uqm_vk *vk, const struct mixing *m,
                           const struct uqm_mix_input *input, size_t row)
{
    const size_t k = m->of->k, bytes = uqm_dtype_bits(input->dtype) / 8;
    size_t at = (m->col + row) * k, run, done = 0;
    const void *w = uqm_mix_locate(&run, m->of->mix, input, at);
    *n = uqm_min_u64(run / k, m->n - row);
    if (*n == m->n - row)
        return w;
    *n -= *n % UQM_VK_PANEL;
    if (*n > 0)
        return w;
    *n = uqm_min_u64(UQM_VK_PANEL, m->n - row);
    while (done < *n * k) {
        w = uqm_mix_locate(&run, m->of->mix, input, at + done);
        run = uqm_min_u64(run, *n * k - done);
        memcpy((char *) vk->ops->mix_panel + done * bytes, w, run * bytes);
        done += run;
    }
    return vk->ops->mix_panel;
}

/* A model's rows to a slot of the ring. */
static int send(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct mixing *m,
                const struct uqm_mix_input *input, struct uqm_err *err)
{
    const size_t k = m->of->k;
    const uint64_t bytes = uqm_vk_packed_bytes(input->dtype, m->n, k);
    int ret = uqm_vk_slot_take(slot, vk, (struct uqm_vk_slot_name){ 0 }, bytes, err);
    if (ret < 0)
        return ret;
    for (size_t row = 0, n; row < m->n; row += n) {
        const void *w = rows_at(&n, vk, m, input, row);
        uqm_vk_pack((char *) slot->host + uqm_vk_packed_bytes(input->dtype, row, k), w,
                    input->dtype, n, k, vk->threads);
    }
    return uqm_vk_slot_filled(vk, slot, bytes, err);
}

/* A limit's cut, from the first row in hand on. */
static uint32_t cut_from(const struct uqm_key_limit *limit, uint64_t first)
{
    return (uint32_t) uqm_min_u64(limit->cut > first ? limit->cut - first : 0, UINT32_MAX);
}

static void push_sieve(struct add_push *push, const struct mixing *m,
                       const struct uqm_mix_sieve *sieve)
{
    const uint64_t first = m->of->mix->first_elem + (uint64_t) m->col * m->of->k;
    push->k = (uint32_t) m->of->k;
    push->n_blocks = (uint32_t) ((m->of->k + UQM_VK_PANEL - 1) / UQM_VK_PANEL);
    split(push->ratio, sieve->ratio);
    if (sieve->counts == UQM_MIX_LIMITS) {
        push->keep_key = sieve->keep.key;
        push->keep_cut = cut_from(&sieve->keep, first);
        push->drop_key = sieve->drop.key;
        push->drop_cut = cut_from(&sieve->drop, first);
        push->is_last = (uint32_t) sieve->keep.last | (uint32_t) sieve->drop.last << 1;
    } else if (sieve->counts == UQM_MIX_DRAWN) {
        const struct uqm_mix_draw_bound bound = uqm_mix_draw_bound(sieve->density);
        push->stream[0] = sieve->key.k[0];
        push->stream[1] = sieve->key.k[1];
        push->most = bound.most;
        push->rest = bound.rest;
        push->first[0] = (uint32_t) first;
        push->first[1] = (uint32_t) (first >> 32);
    }
}

static int add(struct uqm_vk *vk, const struct mixing *m, const struct uqm_mix_input *input,
               bool is_base, bool is_first, struct uqm_err *err)
{
    struct uqm_vk_slot slot;
    int ret = send(&slot, vk, m, input, err);
    if (ret < 0)
        return ret;
    const struct uqm_mix *mix = m->of->mix;
    const uint64_t n = m->n_elem, words = words_of(input->dtype, n);
    const uint64_t n_sums = 2 * n * sums_of(mix);
    const uint32_t local = uqm_vk_flat_local(vk);
    const struct uqm_place sums = { vk->ops->mix_sums, 0 }, base = { vk->ops->mix_base, 0 };
    struct uqm_vk_launch l = {
        .kernel = { .shader = is_base ? "mix_base" : "mix_add",
                    .spec = { local, shader_dtype(input->dtype), mix->base != NULL,
                              input->sieve.counts, mix->consensus },
                    .n_spec = is_base ? 2 : 5,
                    .n_bindings = is_base ? 2 : 4,
                    .push_bytes = sizeof(struct add_push) },
        .what = is_base ? "a base's weights" : "weights added",
        .bindings = { is_base ? uqm_vk_write(base, 1, n, n) : uqm_vk_write(sums, 1, n_sums, n_sums),
                      uqm_vk_read(slot.place, 1, words, words),
                      uqm_vk_read(sums, 1, n_sums, n_sums), uqm_vk_read(base, 1, n, n) },
        .n_groups = (n + local - 1) / local,
        .work = (input->sieve.counts == UQM_MIX_DRAWN ? 120 : 20) * n,
        .bytes = 4 * words + 4 * n + 8 * n_sums,
    };
    struct add_push push = {
        .n_elem = (uint32_t) n,
        .x_at = uqm_vk_lead(vk, &l.bindings[1]),
        .is_first = is_first,
    };
    split(push.weight, input->weight);
    push_sieve(&push, m, &input->sieve);
    l.push = &push;
    return uqm_vk_launch(vk, &l, err);
}

static int store(struct uqm_vk *vk, const struct mixing *m, struct uqm_place out,
                 struct uqm_err *err)
{
    const struct uqm_mix *mix = m->of->mix;
    const uint64_t n = m->n_elem, words = words_of(m->of->w_dtype, n);
    const uint64_t n_sums = 2 * n * sums_of(mix);
    const uint32_t local = uqm_vk_flat_local(vk);
    const struct uqm_place sums = { vk->ops->mix_sums, 0 }, base = { vk->ops->mix_base, 0 };
    struct uqm_vk_launch l = {
        .kernel = { .shader = "mix_store",
                    .spec = { local, shader_dtype(m->of->w_dtype), mix->base != NULL,
                              mix->divisor != 1, mix->consensus, mix->normalize },
                    .n_spec = 6,
                    .n_bindings = 3,
                    .push_bytes = sizeof(struct store_push) },
        .what = "mixed weights",
        .bindings = { uqm_vk_write(out, 1, words, words), uqm_vk_read(sums, 1, n_sums, n_sums),
                      uqm_vk_read(base, 1, n, n) },
        .n_groups = (words + local - 1) / local,
        .work = 30 * n,
        .bytes = 4 * words + 4 * n + 4 * n_sums,
    };
    struct store_push push = {
        .n_words = (uint32_t) words,
        .out_at = uqm_vk_lead(vk, &l.bindings[0]),
        .n_elem = (uint32_t) n,
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
    assert(sums_of(mix) <= vk->ops->mix_planes);
    int ret = mix->base ? add(vk, &m, mix->base, true, false, err) : UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < mix->n_inputs; i++)
        ret = add(vk, &m, &mix->inputs[i], false, i == 0, err);
    if (ret == UQM_OK)
        ret = uqm_vk_slot_take(slot, vk, name, uqm_vk_packed_bytes(args->w_dtype, n, args->k), err);
    return ret < 0 ? ret : store(vk, &m, slot->place, err);
}
