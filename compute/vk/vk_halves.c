#include "compute/vk/vk_halves.h"

#include <assert.h>

#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_ops_state.h"
#include "src/base/checked.h"

/* Of the scratch: enough that a tile of W meets many rows at once, little beside the activations.
 */
enum { SCRATCH_BYTES = 16 << 20, LEAST_ROWS = 64, MOST_ROWS = 2048 };

/* What one binding holds, as storage and as texels, whatever the place's alignment. */
static uint64_t most_words(const struct uqm_vk *vk)
{
    uint64_t words = uqm_vk_range_words(vk);
    if (vk->limits.max_texels)
        words = uqm_min_u64(words, vk->limits.max_texels * 4 - vk->limits.offset_align / 4);
    return words;
}

uint64_t uqm_vk_halves_scratch(const struct uqm_vk *vk, const struct uqm_device_needs *needs)
{
    if (!vk->device.fast)
        return 0;
    const uint64_t row = uqm_vk_halves_words(needs->max_k);
    uint64_t rows = uqm_min_u64(SCRATCH_BYTES / sizeof(uint32_t) / row, MOST_ROWS);
    rows = uqm_max_u64(rows, LEAST_ROWS);
    return row * uqm_max_u64(uqm_min_u64(rows, most_words(vk) / row), 1);
}

uint64_t uqm_vk_halves_rows(const struct uqm_vk *vk, size_t k)
{
    const uint64_t rows = vk->ops->halves_words / uqm_vk_halves_words(k);
    assert(rows > 0); /* needs.max_k */
    return rows;
}

struct uqm_vk_binding uqm_vk_halves_read(const struct uqm_vk *vk, size_t m, size_t k)
{
    const uint64_t words = m * uqm_vk_halves_words(k);
    return uqm_vk_read((struct uqm_place){ vk->ops->halves, 0 }, 1, words, words);
}

struct rows_push {
    uint32_t m, k, ldx;
    uint32_t x_at;
};
static_assert(sizeof(struct rows_push) == 16, "shaders/row_scale.comp, shaders/halve_rows.comp");

static const char *shader_of(bool halves, bool subgroups)
{
    if (halves)
        return subgroups ? "halve_rows_subgroups" : "halve_rows";
    return subgroups ? "row_scale_subgroups" : "row_scale";
}

int uqm_vk_halve_rows(struct uqm_vk *vk, const struct uqm_linear *a, size_t row, size_t m,
                      bool halves, struct uqm_err *err)
{
    const struct uqm_vk_team team = uqm_vk_team(vk);
    const uint64_t n_elem = (uint64_t) m * a->k;
    const struct uqm_place to = { halves ? vk->ops->halves : vk->ops->scales, 0 };
    const uint64_t n_words = halves ? m * uqm_vk_halves_words(a->k) : m;
    struct uqm_vk_launch l = {
        .kernel = { .shader = shader_of(halves, team.subgroups),
                    .spec = { team.local },
                    .n_spec = 1,
                    .n_bindings = 2,
                    .push_bytes = sizeof(struct rows_push),
                    .subgroup_size = team.subgroup_size },
        .what = halves ? "rows to f16" : "row scales",
        .bindings = { uqm_vk_write(to, 1, n_words, n_words),
                      uqm_vk_read(uqm_place_add(a->x, row * a->ldx), m, a->k, a->ldx) },
        .n_groups = m,
        .work = n_elem * (halves ? 4 : 1),
        .bytes = n_elem * (halves ? 6 : 4),
    };
    assert(uqm_vk_lead(vk, &l.bindings[0]) == 0);
    const struct rows_push push = {
        .m = (uint32_t) m,
        .k = (uint32_t) a->k,
        .ldx = (uint32_t) a->ldx,
        .x_at = uqm_vk_lead(vk, &l.bindings[1]),
    };
    l.push = &push;
    return uqm_vk_launch(vk, &l, err);
}
