/* Products: W goes packed into slots, a few rows of it at a time if need be, and x meets each slot
 * in as many dispatches as its rows want. */
#include <assert.h>
#include <stdio.h>

#include "compute/vk/vk_gemm.h"
#include "compute/vk/vk_halves.h"
#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_mix.h"
#include "compute/vk/vk_ops.h"
#include "compute/vk/vk_ops_state.h"
#include "compute/vk/vk_pack.h"
#include "compute/vk/vk_tune.h"
#include "src/base/checked.h"

struct linear_push {
    uint32_t m, n, k;
    uint32_t ldy, ldx;
    uint32_t y_at, x_at, w_at, bias_at;
};
static_assert(sizeof(struct linear_push) == 36, "shaders/linear.glsl");

uint64_t uqm_vk_packed_slot_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs)
{
    const uint64_t panel = uqm_vk_packed_bytes(UQM_F32, UQM_VK_PANEL, needs->max_k);
    /* padding: up to 7 rows, and 7 columns, which only matters where rows are short */
    uint64_t bytes = needs->tile_bytes + needs->tile_bytes / 8 + panel;
    bytes = uqm_min_u64(bytes, uqm_vk_range_words(vk) * sizeof(uint32_t) / panel * panel);
    return uqm_align_up(uqm_max_u64(bytes, panel), 256);
}

/* One dispatch: rows [row, row + m) of x against the rows [col, col + n) of W, which lie in a slot
 * with those from slot_col on. */
struct part {
    const struct uqm_linear *of;
    const struct uqm_vk_gemm *gemm;
    const struct uqm_vk_gemm_shape *shape;
    struct uqm_vk_slot slot;
    size_t slot_col, slot_n;
    size_t row, m, col, n;
    bool has_y, has_bias;
};

static void bind_operands(struct uqm_vk_launch *l, struct linear_push *push,
                          const struct uqm_vk *vk, const struct part *p)
{
    const struct uqm_linear *a = p->of;
    const struct uqm_place y = uqm_place_add(a->y, p->row * a->ldy + p->col);
    const uint64_t w_words = uqm_vk_packed_bytes(a->w_dtype, p->n, a->k) / sizeof(uint32_t);
    const uint64_t w_skip =
        uqm_vk_packed_bytes(a->w_dtype, p->col - p->slot_col, a->k) / sizeof(uint32_t);
    uint32_t i = 3;

    /* Whoever reads what neighbouring columns' dispatches write binds the same words between the
     * rows: there the whole range is named, and a barrier comes between them. */
    const size_t y_words = (p->m - 1) * a->ldy + p->n;
    l->bindings[0] =
        p->has_y ? uqm_vk_write(y, 1, y_words, y_words) : uqm_vk_write(y, p->m, p->n, a->ldy);
    l->bindings[1] = uqm_vk_read(uqm_place_add(a->x, p->row * a->ldx), p->m, a->k, a->ldx);
    if (p->gemm->halves)
        l->bindings[1] = uqm_vk_halves_read(vk, p->m, a->k);
    l->bindings[2] = uqm_vk_read(uqm_place_add(p->slot.place, w_skip), 1, w_words, w_words);
    if (uqm_vk_gemm_takes_texels(p->gemm)) {
        l->bindings[1].texel =
            p->gemm->halves ? VK_FORMAT_R32G32B32A32_UINT : VK_FORMAT_R32G32B32A32_SFLOAT;
        l->bindings[2].texel = VK_FORMAT_R32G32B32A32_UINT;
    }
    if (p->has_bias) {
        l->bindings[i] = uqm_vk_read(uqm_place_add(a->bias, p->col), 1, p->n, p->n);
        push->bias_at = uqm_vk_lead(vk, &l->bindings[i++]);
    }
    if (p->has_y)
        l->bindings[i++] = uqm_vk_read(y, 1, y_words, y_words);
    if (uqm_vk_gemm_takes_scales(p->gemm)) {
        const struct uqm_place scales = { vk->ops->scales, 0 };
        l->bindings[i] = uqm_vk_read(scales, 1, p->m, p->m);
        assert(uqm_vk_lead(vk, &l->bindings[i]) == 0);
    }
    push->y_at = uqm_vk_lead(vk, &l->bindings[0]);
    push->x_at = uqm_vk_lead(vk, &l->bindings[1]) / (p->gemm->halves ? 4 : 1);
    push->w_at = uqm_vk_lead(vk, &l->bindings[2]);
    assert(push->w_at % 4 == 0);
    push->w_at /= 4;
}

static int launch_part(struct uqm_vk *vk, const struct part *p, struct uqm_err *err)
{
    const struct uqm_linear *a = p->of;
    char what[64];
    struct uqm_vk_launch l = {
        .kernel = uqm_vk_gemm_kernel(vk, p->gemm, p->shape, a->epilogue, p->has_y, p->has_bias),
        .what = what,
        .n_groups = uqm_vk_gemm_groups(p->gemm, p->m, p->n),
        .work = 2 * (uint64_t) p->m * p->n * a->k,
        .bytes = uqm_dtype_bytes(a->w_dtype, (uint64_t) p->n * a->k) +
                 4 * (uint64_t) p->m * (p->n + a->k),
    };
    struct linear_push push = {
        .m = (uint32_t) p->m,
        .n = (uint32_t) p->n,
        .k = (uint32_t) a->k,
        .ldy = (uint32_t) a->ldy,
        .ldx = (uint32_t) (p->gemm->halves ? uqm_vk_halves_words(a->k) / 4 : a->ldx),
    };
    l.kernel.push_bytes = sizeof push;
    l.push = &push;
    bind_operands(&l, &push, vk, p);
    snprintf(what, sizeof what, "linear %zux%zux%zu %s%s", p->m, p->n, a->k,
             uqm_dtype_name(a->w_dtype), p->gemm->halves ? " fast" : "");
    return uqm_vk_launch(vk, &l, err);
}

/* --- the residual's bias where a device has too few bindings: y = y + bias first --- */

struct add_rows_push {
    uint32_t m, n, ldy;
    uint32_t y_at, bias_at;
};
static_assert(sizeof(struct add_rows_push) == 20, "shaders/add_rows.comp");

static int add_bias(struct uqm_vk *vk, const struct part *p, struct uqm_err *err)
{
    const struct uqm_linear *a = p->of;
    const struct uqm_place y = uqm_place_add(a->y, p->row * a->ldy + p->col);
    const uint32_t local = uqm_vk_flat_local(vk);
    const uint64_t n_elem = (uint64_t) p->m * p->n;
    struct uqm_vk_launch l = {
        .kernel = { .shader = "add_rows",
                    .spec = { local },
                    .n_spec = 1,
                    .n_bindings = 3,
                    .push_bytes = sizeof(struct add_rows_push) },
        .what = "bias",
        .bindings = { uqm_vk_write(y, p->m, p->n, a->ldy), uqm_vk_read(y, p->m, p->n, a->ldy),
                      uqm_vk_read(uqm_place_add(a->bias, p->col), 1, p->n, p->n) },
        .n_groups = (n_elem + local - 1) / local,
        .work = n_elem,
        .bytes = n_elem * 8,
    };
    const struct add_rows_push push = {
        .m = (uint32_t) p->m,
        .n = (uint32_t) p->n,
        .ldy = (uint32_t) a->ldy,
        .y_at = uqm_vk_lead(vk, &l.bindings[0]),
        .bias_at = uqm_vk_lead(vk, &l.bindings[2]),
    };
    l.push = &push;
    return uqm_vk_launch(vk, &l, err);
}

static int run_part(struct uqm_vk *vk, struct part *p, struct uqm_err *err)
{
    const bool too_many = p->has_y && p->has_bias && vk->limits.max_bindings < 5;
    if (!too_many)
        return launch_part(vk, p, err);
    if (p->of->epilogue != UQM_EPI_ADD)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "linear: %s binds 4 buffers, and a gate with a bias wants 5",
                        vk->device.name);
    int ret = add_bias(vk, p, err);
    p->has_bias = false;
    if (ret >= 0)
        ret = launch_part(vk, p, err);
    p->has_bias = true;
    return ret;
}

/* --- the whole --- */

/* Rows of x that share what a dispatch has fetched of W before they are worth fewer columns. */
enum { ENOUGH_ROWS = 64 };

/* Rows of x and of W that one dispatch takes: what can be bound, and what a submit may hold. */
static int cut(size_t *rows, size_t *cols, const struct uqm_vk *vk, const struct part *p,
               struct uqm_err *err)
{
    const struct uqm_linear *a = p->of;
    const struct uqm_vk_gemm *gemm = p->gemm;
    const size_t tile = uqm_vk_gemm_rows(gemm);
    const size_t across = uqm_align_up(gemm->bn, UQM_VK_PANEL);
    const uint64_t work = uqm_vk_work_limit(vk) / (2 * (uint64_t) a->k);
    size_t fit_x, fit_y;
    int ret = uqm_vk_rows_that_fit(&fit_x, vk, a->k, a->ldx, "linear", err);
    if (ret >= 0)
        ret = uqm_vk_rows_that_fit(&fit_y, vk, p->slot_n, a->ldy, "linear", err);
    if (ret < 0)
        return ret;
    size_t most = uqm_min_u64(fit_x, fit_y);
    if (gemm->halves)
        most = uqm_min_u64(most, uqm_vk_halves_rows(vk, a->k));
    else if (uqm_vk_gemm_takes_texels(gemm))
        most = uqm_min_u64(most, (vk->limits.max_texels * 4 - a->k) / a->ldx);
    if (uqm_vk_gemm_takes_scales(gemm))
        most = uqm_min_u64(most, UQM_VK_SCALED_ROWS);
    most = uqm_min_u64(most, uqm_max_u64(work / p->slot_n, uqm_max_u64(ENOUGH_ROWS, tile)));
    *rows = most > tile ? most / tile * tile : most ? most : 1;
    *cols = uqm_max_u64(work / uqm_min_u64(*rows, a->m) / across, 1) * across;
    return UQM_OK;
}

/* Rows of W that one slot takes. */
size_t uqm_vk_linear_cols(const struct uqm_vk *vk, const struct uqm_linear *a,
                          const struct uqm_vk_gemm *gemm)
{
    uint64_t bytes = vk->ops->slot_bytes;
    bytes = uqm_min_u64(bytes, uqm_vk_range_words(vk) * sizeof(uint32_t));
    if (uqm_vk_gemm_takes_texels(gemm))
        bytes = uqm_min_u64(bytes, (vk->limits.max_texels - vk->limits.offset_align / 16) * 16);
    const size_t cols = bytes / uqm_vk_packed_bytes(a->w_dtype, UQM_VK_PANEL, a->k) * UQM_VK_PANEL;
    return a->mix ? uqm_min_u64(cols, uqm_vk_mix_cols(vk, a)) : cols;
}

static int fill_slot(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct uqm_linear *a,
                     size_t col, size_t n, struct uqm_err *err)
{
    const struct uqm_vk_slot_name name = { a->keep, col };
    const uint64_t bytes = uqm_vk_packed_bytes(a->w_dtype, n, a->k);
    const uint64_t skip = uqm_dtype_bytes(a->w_dtype, (uint64_t) col * a->k);
    if (uqm_vk_slot_find(&slot->place, vk, name))
        return UQM_OK;
    if (a->mix)
        return uqm_vk_mix(slot, vk, a, col, n, err);
    int ret = uqm_vk_slot_take(slot, vk, name, bytes, err);
    if (ret < 0)
        return ret;
    uqm_vk_pack(slot->host, (const unsigned char *) a->w + skip, a->w_dtype, n, a->k, vk->threads);
    return uqm_vk_slot_filled(vk, slot, bytes, err);
}

/* All that a slot is wanted for. */
static int run_slot(struct uqm_vk *vk, struct part *p, struct uqm_err *err)
{
    const size_t end = p->slot_col + p->slot_n;
    size_t rows, cols;
    int ret = cut(&rows, &cols, vk, p, err);
    for (p->row = 0; ret >= 0 && p->row < p->of->m; p->row += rows) {
        p->m = uqm_min_u64(rows, p->of->m - p->row);
        if (p->gemm->halves || uqm_vk_gemm_takes_scales(p->gemm))
            ret = uqm_vk_halve_rows(vk, p->of, p->row, p->m, p->gemm->halves, err);
        for (p->col = p->slot_col; ret >= 0 && p->col < end; p->col += cols) {
            p->n = uqm_min_u64(cols, end - p->col);
            ret = run_part(vk, p, err);
        }
    }
    return ret;
}

static struct part part_of(const struct uqm_linear *a, const struct uqm_vk_gemm_shape *shape,
                           const struct uqm_vk_gemm *gemm)
{
    return (struct part){
        .of = a,
        .gemm = gemm,
        .shape = shape,
        .has_y = a->epilogue == UQM_EPI_ADD || a->epilogue == UQM_EPI_SILU_MUL,
        .has_bias = a->bias.memory,
    };
}

static int run_linear(struct uqm_vk *vk, const struct uqm_linear *a,
                      const struct uqm_vk_gemm_shape *shape, const struct uqm_vk_gemm *gemm,
                      struct uqm_err *err)
{
    struct part p = part_of(a, shape, gemm);
    const size_t cols = uqm_vk_linear_cols(vk, a, gemm);
    if (cols == 0)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "linear: 8 rows of %zu weights do not fit a slot of %s", a->k,
                        vk->device.name);
    int ret = UQM_OK;
    for (; ret >= 0 && p.slot_col < a->n; p.slot_col += cols) {
        p.slot_n = uqm_min_u64(cols, a->n - p.slot_col);
        ret = fill_slot(&p.slot, vk, a, p.slot_col, p.slot_n, err);
        if (ret >= 0)
            ret = run_slot(vk, &p, err);
    }
    return ret;
}

static struct uqm_vk_gemm_shape shape_of(const struct uqm_vk *vk, const struct uqm_linear *a)
{
    const struct uqm_vk_binding x = uqm_vk_read(a->x, 1, a->k, a->k);
    return (struct uqm_vk_gemm_shape){
        .m = a->m,
        .n = a->n,
        .k = a->k,
        .w_dtype = a->w_dtype,
        .x_quads = a->k % 4 == 0 && a->ldx % 4 == 0 && uqm_vk_lead(vk, &x) % 4 == 0,
        .skinny = a->skinny,
        .halves = vk->device.fast && a->w_dtype == UQM_F16 && !a->skinny,
    };
}

int uqm_vk_linear_by(struct uqm_vk *vk, const struct uqm_linear *args,
                     const struct uqm_vk_gemm *gemm, struct uqm_err *err)
{
    const struct uqm_vk_gemm_shape shape = shape_of(vk, args);
    return run_linear(vk, args, &shape, gemm, err);
}

int uqm_vk_linear_fill(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct uqm_linear *args,
                       struct uqm_err *err)
{
    *slot = (struct uqm_vk_slot){ 0 };
    return fill_slot(slot, vk, args, 0, args->n, err);
}

int uqm_vk_linear_filled(struct uqm_vk *vk, const struct uqm_linear *args,
                         const struct uqm_vk_gemm *gemm, const struct uqm_vk_slot *slot,
                         struct uqm_err *err)
{
    const struct uqm_vk_gemm_shape shape = shape_of(vk, args);
    struct part p = part_of(args, &shape, gemm);
    p.slot = *slot;
    p.slot_n = args->n;
    return run_slot(vk, &p, err);
}

/* Once: a model whose weights are of another type gains nothing by --fast. */
static void say_default(struct uqm_vk *vk, const struct uqm_linear *a)
{
    if (!vk->device.fast || vk->ops->said_default || a->skinny || a->w_dtype == UQM_F16)
        return;
    vk->ops->said_default = true;
    uqm_log(vk->device.env, UQM_LOG_INFO,
            "%s: --fast: there are %s weights; products with them are the default's, only those "
            "with F16 weights are fast",
            vk->device.id, uqm_dtype_name(a->w_dtype));
}

int uqm_vk_linear(struct uqm_vk *vk, const struct uqm_linear *args, struct uqm_err *err)
{
    if (args->m == 0 || args->n == 0)
        return UQM_OK;
    assert(args->k > 0 && args->ldx >= args->k && args->ldy >= args->n);
    const struct uqm_vk_gemm_shape shape = shape_of(vk, args);
    struct uqm_vk_gemm gemm = uqm_vk_gemm_choose(vk, &shape);
    say_default(vk, args);
    int ret = uqm_vk_tune(&gemm, vk, args, &shape, err);
    return ret < 0 ? ret : run_linear(vk, args, &shape, &gemm, err);
}
