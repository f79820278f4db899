#include "compute/vk/vk_ops.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "compute/vk/vk_halves.h"
#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_mix.h"
#include "compute/vk/vk_ops_state.h"
#include "src/base/checked.h"

int uqm_vk_ops_init(struct uqm_vk *vk, struct uqm_err *err)
{
    vk->ops = calloc(1, sizeof *vk->ops);
    if (!vk->ops)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the operations of %s", vk->device.name);
    return UQM_OK;
}

void uqm_vk_ops_finish(struct uqm_vk *vk)
{
    if (!vk->ops)
        return;
    uqm_vk_ops_release(vk);
    free(vk->ops);
    vk->ops = NULL;
}

uint64_t uqm_vk_ops_slot_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs)
{
    return uqm_vk_packed_slot_bytes(vk, needs);
}

uint64_t uqm_vk_ops_reserve_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs)
{
    const uint64_t slot_bytes = uqm_vk_packed_slot_bytes(vk, needs);
    return (needs->mixes ? uqm_vk_mix_bytes(vk, needs, slot_bytes) : 0) +
           (needs->max_kv ? UQM_VK_PARTS_WORDS * sizeof(float) : 0) +
           (vk->limits.coop_f16 ? UQM_VK_SCALED_ROWS * sizeof(float) : 0) +
           uqm_vk_halves_scratch(vk, needs) * sizeof(uint32_t);
}

int uqm_vk_ops_reserve(struct uqm_vk *vk, const struct uqm_device_needs *needs, struct uqm_err *err)
{
    struct uqm_vk_ops_state *ops = vk->ops;
    assert(!ops->parts);
    ops->slot_bytes = uqm_vk_packed_slot_bytes(vk, needs);
    int ret = UQM_OK;
    if (vk->limits.coop_f16)
        ret = uqm_vk_alloc(&ops->scales, vk, UQM_VK_SCALED_ROWS, "scales of rows", err);
    ops->halves_words = uqm_vk_halves_scratch(vk, needs);
    if (ret == UQM_OK && ops->halves_words > 0)
        ret = uqm_vk_alloc(&ops->halves, vk, ops->halves_words, "activations in f16", err);
    if (ret == UQM_OK && needs->mixes)
        ret = uqm_vk_mix_reserve(vk, needs, ops->slot_bytes, err);
    if (ret < 0 || !needs->max_kv)
        return ret;
    uint64_t words = uqm_min_u64(UQM_VK_PARTS_WORDS, uqm_vk_range_words(vk));
    ret = uqm_vk_alloc(&ops->parts, vk, words, "attention's partial sums", err);
    if (ret < 0)
        return ret;
    ops->parts_words = words;
    return UQM_OK;
}

void uqm_vk_ops_release(struct uqm_vk *vk)
{
    struct uqm_vk_ops_state *ops = vk->ops;
    uqm_vk_free(vk, &ops->parts);
    uqm_vk_free(vk, &ops->scales);
    uqm_vk_free(vk, &ops->halves);
    uqm_vk_mix_release(vk);
    ops->parts_words = ops->slot_bytes = ops->halves_words = 0;
}

/* --- norm --- */

struct norm_push {
    uint32_t n_rows, width;
    uint32_t y_at, x_at, weight_at, bias_at;
    float eps;
};
static_assert(sizeof(struct norm_push) == 28, "shaders/norm.comp");

static int norm_rows(struct uqm_vk *vk, const struct uqm_norm *a, size_t row, size_t n_rows,
                     struct uqm_err *err)
{
    const struct uqm_vk_team team = uqm_vk_team(vk);
    const bool layer_norm = a->bias.memory;
    const size_t at = row * a->width;
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .shader = team.subgroups ? "norm_subgroups" : "norm",
                    .spec = { team.local, layer_norm },
                    .n_spec = 2,
                    .n_bindings = 4,
                    .push_bytes = sizeof(struct norm_push),
                    .subgroup_size = team.subgroup_size },
        .what = what,
        .bindings = { uqm_vk_write(uqm_place_add(a->y, at), n_rows, a->width, a->width),
                      uqm_vk_read(uqm_place_add(a->x, at), n_rows, a->width, a->width),
                      uqm_vk_read(a->weight, 1, a->width, a->width),
                      uqm_vk_read(layer_norm ? a->bias : a->weight, 1, a->width, a->width) },
        .n_groups = n_rows,
        .work = (uint64_t) n_rows * a->width * 8,
        .bytes = (uint64_t) n_rows * a->width * 8,
    };
    const struct norm_push push = {
        .n_rows = (uint32_t) n_rows,
        .width = (uint32_t) a->width,
        .y_at = uqm_vk_lead(vk, &l.bindings[0]),
        .x_at = uqm_vk_lead(vk, &l.bindings[1]),
        .weight_at = uqm_vk_lead(vk, &l.bindings[2]),
        .bias_at = uqm_vk_lead(vk, &l.bindings[3]),
        .eps = a->eps,
    };
    l.push = &push;
    snprintf(what, sizeof what, "%s %zux%zu", layer_norm ? "layernorm" : "rmsnorm", n_rows,
             a->width);
    return uqm_vk_launch(vk, &l, err);
}

int uqm_vk_norm(struct uqm_vk *vk, const struct uqm_norm *args, struct uqm_err *err)
{
    size_t fit;
    int ret = uqm_vk_rows_that_fit(&fit, vk, args->width, args->width, "norm", err);
    for (size_t row = 0; ret >= 0 && row < args->n_rows; row += fit)
        ret = norm_rows(vk, args, row, uqm_min_u64(fit, args->n_rows - row), err);
    return ret;
}

/* --- rotate --- */

struct rotate_push {
    uint32_t n_pairs;
    uint32_t n_heads, h;
    uint32_t x_at, cos_at, sin_at, positions_at;
};
static_assert(sizeof(struct rotate_push) == 28, "shaders/rotate.comp");

/* A device may bind no more than four buffers: tables in one memory share a slice. */
static int bind_tables(struct uqm_vk *vk, struct uqm_vk_launch *l, struct rotate_push *push,
                       const struct uqm_rotate *a, struct uqm_err *err)
{
    const uint64_t fit = uqm_vk_range_words(vk);
    const uint64_t cos_words = uqm_min_u64(uqm_vk_words_from(a->cos), fit);
    const uint64_t sin_words = uqm_min_u64(uqm_vk_words_from(a->sin), fit);

    if (vk->limits.max_bindings >= 5) {
        l->kernel.shader = "rotate_two_tables";
        l->kernel.n_bindings = 5;
        l->bindings[2] = uqm_vk_read(a->cos, 1, cos_words, cos_words);
        l->bindings[4] = uqm_vk_read(a->sin, 1, sin_words, sin_words);
        push->cos_at = uqm_vk_lead(vk, &l->bindings[2]);
        push->sin_at = uqm_vk_lead(vk, &l->bindings[4]);
        return UQM_OK;
    }
    const bool cos_first = a->cos.at < a->sin.at;
    const uint64_t apart = cos_first ? a->sin.at - a->cos.at : a->cos.at - a->sin.at;
    if (a->cos.memory != a->sin.memory || apart >= fit)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "rotate: %s binds 4 buffers, and the tables lie in two", vk->device.name);
    const uint64_t words = cos_first ? cos_words : sin_words;
    l->kernel.shader = "rotate";
    l->kernel.n_bindings = 4;
    l->bindings[2] = uqm_vk_read(cos_first ? a->cos : a->sin, 1, words, words);
    push->cos_at = push->sin_at = uqm_vk_lead(vk, &l->bindings[2]);
    *(cos_first ? &push->sin_at : &push->cos_at) += (uint32_t) apart;
    return UQM_OK;
}

static int rotate_rows(struct uqm_vk *vk, const struct uqm_rotate *a, size_t row, size_t n_rows,
                       struct uqm_err *err)
{
    const size_t width = a->n_heads * a->head_dim, h = a->head_dim / 2;
    const uint32_t local = uqm_vk_flat_local(vk);
    const uint64_t n_pairs = (uint64_t) n_rows * a->n_heads * h;
    const struct uqm_place x = uqm_place_add(a->x, row * width);
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .spec = { local }, .n_spec = 1, .push_bytes = sizeof(struct rotate_push) },
        .what = what,
        .bindings = { uqm_vk_write(x, n_rows, width, width), uqm_vk_read(x, n_rows, width, width),
                      [3] = uqm_vk_read(uqm_place_add(a->positions, row), 1, n_rows, n_rows) },
        .n_groups = (n_pairs + local - 1) / local,
        .work = n_pairs * 6,
        .bytes = n_pairs * 16,
    };
    struct rotate_push push = {
        .n_pairs = (uint32_t) n_pairs,
        .n_heads = (uint32_t) a->n_heads,
        .h = (uint32_t) h,
        .x_at = uqm_vk_lead(vk, &l.bindings[0]),
        .positions_at = uqm_vk_lead(vk, &l.bindings[3]),
    };
    l.push = &push;
    snprintf(what, sizeof what, "rotate %zux%zux%zu", n_rows, a->n_heads, a->head_dim);
    int ret = bind_tables(vk, &l, &push, a, err);
    return ret < 0 ? ret : uqm_vk_launch(vk, &l, err);
}

int uqm_vk_rotate(struct uqm_vk *vk, const struct uqm_rotate *args, struct uqm_err *err)
{
    const size_t width = args->n_heads * args->head_dim;
    size_t fit;
    if (args->head_dim < 2 || args->n_heads == 0)
        return UQM_OK;
    int ret = uqm_vk_rows_that_fit(&fit, vk, width, width, "rotate", err);
    for (size_t row = 0; ret >= 0 && row < args->n_rows; row += fit)
        ret = rotate_rows(vk, args, row, uqm_min_u64(fit, args->n_rows - row), err);
    return ret;
}

/* --- gather --- */

struct gather_push {
    uint32_t n_rows, width;
    uint32_t ldy, ldx;
    uint32_t y_at, x_at, index_at;
    uint32_t first_x, n_x;
};
static_assert(sizeof(struct gather_push) == 36, "shaders/gather.comp");

/* Rows [row, row + n_rows) of y, as far as they come from rows [first_x, first_x + n_x) of x. */
static int gather_part(struct uqm_vk *vk, const struct uqm_gather *a, size_t row, size_t n_rows,
                       uint64_t first_x, uint64_t n_x, struct uqm_err *err)
{
    const uint32_t local = uqm_vk_flat_local(vk);
    const uint64_t n_elem = (uint64_t) n_rows * a->width;
    const struct uqm_place y = uqm_place_add(a->y, row * a->ldy);
    const struct uqm_place x = uqm_place_add(a->x, first_x * a->ldx);
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .shader = "gather",
                    .spec = { local, a->add },
                    .n_spec = 2,
                    .n_bindings = 4,
                    .push_bytes = sizeof(struct gather_push) },
        .what = what,
        .bindings = { uqm_vk_write(y, n_rows, a->width, a->ldy),
                      uqm_vk_read(x, n_x, a->width, a->ldx),
                      uqm_vk_read(uqm_place_add(a->index, row), 1, n_rows, n_rows),
                      a->add ? uqm_vk_read(y, n_rows, a->width, a->ldy)
                             : uqm_vk_read(x, n_x, a->width, a->ldx) },
        .n_groups = (n_elem + local - 1) / local,
        .work = n_elem,
        .bytes = n_elem * 8,
    };
    const struct gather_push push = {
        .n_rows = (uint32_t) n_rows,
        .width = (uint32_t) a->width,
        .ldy = (uint32_t) a->ldy,
        .ldx = (uint32_t) a->ldx,
        .y_at = uqm_vk_lead(vk, &l.bindings[0]),
        .x_at = uqm_vk_lead(vk, &l.bindings[1]),
        .index_at = uqm_vk_lead(vk, &l.bindings[2]),
        .first_x = (uint32_t) first_x,
        .n_x = (uint32_t) n_x,
    };
    l.push = &push;
    snprintf(what, sizeof what, "gather %zux%zu", n_rows, a->width);
    return uqm_vk_launch(vk, &l, err);
}

/* How many rows x has is not told: it ends with its memory, or where y's begins behind it. */
static uint64_t rows_of_x(const struct uqm_gather *a)
{
    uint64_t words = uqm_vk_words_from(a->x);
    if (a->y.memory == a->x.memory && a->y.at > a->x.at)
        words = a->y.at - a->x.at;
    return words < a->width ? 0 : uqm_min_u64((words - a->width) / a->ldx + 1, UQM_NO_ROW);
}

int uqm_vk_gather(struct uqm_vk *vk, const struct uqm_gather *args, struct uqm_err *err)
{
    size_t fit_y, fit_x;
    if (args->width == 0)
        return UQM_OK;
    int ret = uqm_vk_rows_that_fit(&fit_y, vk, args->width, args->ldy, "gather", err);
    if (ret >= 0)
        ret = uqm_vk_rows_that_fit(&fit_x, vk, args->width, args->ldx, "gather", err);
    for (size_t row = 0; ret >= 0 && row < args->n_rows; row += fit_y) {
        size_t n_rows = uqm_min_u64(fit_y, args->n_rows - row);
        uint64_t x_rows = rows_of_x(args);
        for (uint64_t x = 0; ret >= 0 && x < x_rows; x += fit_x)
            ret = gather_part(vk, args, row, n_rows, x, uqm_min_u64(fit_x, x_rows - x), err);
    }
    return ret;
}

/* --- narrow --- */

struct narrow_push {
    uint32_t n_elem;
    uint32_t dst_at, src_at;
};
static_assert(sizeof(struct narrow_push) == 12, "shaders/narrow.comp");

static int narrow_part(struct uqm_vk *vk, struct uqm_place dst, struct uqm_place src,
                       uint64_t n_elem, struct uqm_err *err)
{
    const uint32_t local = uqm_vk_flat_local(vk);
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = { .shader = "narrow",
                    .spec = { local },
                    .n_spec = 1,
                    .n_bindings = 2,
                    .push_bytes = sizeof(struct narrow_push) },
        .what = what,
        .bindings = { uqm_vk_write(dst, 1, n_elem / 2, n_elem / 2),
                      uqm_vk_read(src, 1, n_elem, n_elem) },
        .n_groups = (n_elem / 2 + local - 1) / local,
        .work = n_elem,
        .bytes = n_elem * 6,
    };
    const struct narrow_push push = {
        .n_elem = (uint32_t) n_elem,
        .dst_at = uqm_vk_lead(vk, &l.bindings[0]),
        .src_at = uqm_vk_lead(vk, &l.bindings[1]),
    };
    l.push = &push;
    snprintf(what, sizeof what, "narrow %llu", (unsigned long long) n_elem);
    return uqm_vk_launch(vk, &l, err);
}

int uqm_vk_narrow(struct uqm_vk *vk, struct uqm_place dst, struct uqm_place src, size_t n_elem,
                  struct uqm_err *err)
{
    const uint64_t fit = uqm_vk_range_words(vk) & ~UINT64_C(1);
    int ret = UQM_OK;
    assert(n_elem % 2 == 0);
    for (uint64_t i = 0; ret >= 0 && i < n_elem; i += fit)
        ret = narrow_part(vk, uqm_place_add(dst, i / 2), uqm_place_add(src, i),
                          uqm_min_u64(fit, n_elem - i), err);
    return ret;
}
