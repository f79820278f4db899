#include "compute/vk/vk_gemm.h"

#include "compute/vk/vk_launch.h"
#include "compute/vk/vk_pack.h"
#include "src/base/checked.h"

/* Spec vulkan.md 5: tiles by what the device is, largest first. */
static const struct {
    uint16_t bm, bn, bk, tm, tn;
} tiles[] = {
    { 128, 128, 16, 8, 8 }, { 128, 64, 16, 8, 8 }, { 64, 64, 16, 4, 4 },
    { 64, 64, 16, 8, 4 },   { 32, 32, 16, 4, 4 },  { 32, 32, 8, 4, 4 },
};
enum { N_TILES = sizeof tiles / sizeof *tiles };

static bool texels_can(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s)
{
    const struct uqm_vk_limits *l = &vk->limits;
    const bool x_fits = s->halves || (s->x_quads && l->texel_f32);
    return x_fits && l->texel_u32 && l->max_texel_bindings >= 2 &&
           l->max_texels >= uqm_align_up(s->k, UQM_VK_PANEL) * UQM_VK_PANEL / 4;
}

/* Where a shuffle is one instruction: llvmpipe has it for 8 lanes and not for 4 or 16, and says
 * nothing about it. */
static bool shuffles_can(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s)
{
    return texels_can(vk, s) && vk->limits.subgroup_broadcast && vk->limits.subgroup_size == 8 &&
           uqm_vk_flat_local(vk) >= 8;
}

/* Registers only: one subgroup, so many rows of x. */
static struct uqm_vk_gemm make_panel(const struct uqm_vk *vk, enum uqm_vk_gemm_path path,
                                     uint16_t tm, uint16_t tn)
{
    uint32_t local = vk->limits.subgroup_size ? vk->limits.subgroup_size : 32;
    local = (uint32_t) uqm_min_u64(local, uqm_vk_flat_local(vk));
    return (struct uqm_vk_gemm){
        .path = path,
        .local = (uint16_t) local,
        .tm = tm,
        .tn = tn,
        .bn = (uint16_t) (local * tn),
    };
}

static uint16_t rows_of_skinny(size_t m)
{
    uint16_t tm = 1;
    while (tm < 8 && tm < m)
        tm *= 2;
    return tm;
}

static struct uqm_vk_gemm make_skinny(const struct uqm_vk *vk, uint16_t tm)
{
    struct uqm_vk_team team = uqm_vk_team(vk);
    return (struct uqm_vk_gemm){
        .path = UQM_VK_GEMM_SKINNY,
        .local = (uint16_t) uqm_min_u64(team.local, 64),
        .tm = tm,
        .bn = UQM_VK_PANEL,
        .subgroups = team.subgroups,
        .subgroup_size =
            (uint16_t) uqm_vk_pinned_subgroup(vk, (uint32_t) uqm_min_u64(team.local, 64)),
    };
}

static bool tile_fits(const struct uqm_vk *vk, size_t i)
{
    uint64_t invocations = (uint64_t) tiles[i].bm / tiles[i].tm * (tiles[i].bn / tiles[i].tn);
    uint64_t shared = sizeof(float) * tiles[i].bk * ((uint64_t) tiles[i].bm + tiles[i].bn + 2);
    return invocations <= vk->limits.max_invocations && invocations <= vk->limits.max_local[0] &&
           shared <= vk->limits.shared_bytes;
}

static struct uqm_vk_gemm make_tile(const struct uqm_vk *vk, size_t i)
{
    uint32_t local = (uint32_t) tiles[i].bm / tiles[i].tm * (tiles[i].bn / tiles[i].tn);
    return (struct uqm_vk_gemm){
        .path = UQM_VK_GEMM_TILE,
        .local = (uint16_t) local,
        .bm = tiles[i].bm,
        .bn = tiles[i].bn,
        .bk = tiles[i].bk,
        .tm = tiles[i].tm,
        .tn = tiles[i].tn,
        .subgroup_size = (uint16_t) uqm_vk_pinned_subgroup(vk, local),
    };
}

/* shaders/gemm_coop.comp: four subgroups, 15 KiB, two more bindings at most than others have. The
 * same for all products with such weights: its bits are not those of the others. */
static bool coop_can(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s)
{
    const struct uqm_vk_limits *l = &vk->limits;
    const uint32_t local = 4 * l->subgroup_size;
    return l->coop_f16 && s->w_dtype == UQM_F16 && !s->skinny && l->max_bindings >= 6 &&
           l->shared_bytes >= 15360 && local >= 16 && local <= 256 && (local & (local - 1)) == 0 &&
           local <= l->max_invocations && local <= l->max_local[0] &&
           uqm_vk_pinned_subgroup(vk, local) != 0;
}

static struct uqm_vk_gemm make_coop(const struct uqm_vk *vk)
{
    const uint32_t local = 4 * vk->limits.subgroup_size;
    return (struct uqm_vk_gemm){
        .path = UQM_VK_GEMM_COOP,
        .local = (uint16_t) local,
        .bm = 64,
        .bn = 64,
        .bk = 32,
        .tm = 32,
        .tn = 32,
        .subgroup_size = (uint16_t) uqm_vk_pinned_subgroup(vk, local),
    };
}

/* Large tiles only where there are enough of them to keep the device busy. */
static bool grid_is_small(const struct uqm_vk_gemm_shape *s, size_t i)
{
    uint64_t groups =
        ((s->m + tiles[i].bm - 1) / tiles[i].bm) * ((s->n + tiles[i].bn - 1) / tiles[i].bn);
    return groups < 64;
}

static struct uqm_vk_gemm choose_tile(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s)
{
    size_t best = N_TILES;
    for (size_t i = 0; i < N_TILES; i++) {
        if (!tile_fits(vk, i))
            continue;
        best = i;
        bool too_large = tiles[i].bm > 64 && (!vk->limits.discrete || grid_is_small(s, i));
        if (!too_large && (tiles[i].bm < 64 || !grid_is_small(s, i) || !vk->limits.discrete))
            break;
    }
    return best < N_TILES ? make_tile(vk, best) : make_panel(vk, UQM_VK_GEMM_PANEL, 4, 8);
}

static struct uqm_vk_gemm choose(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s)
{
    const uint16_t few = rows_of_skinny(s->m);
    if (coop_can(vk, s))
        return make_coop(vk);
    if (vk->limits.vector_texel_loads && shuffles_can(vk, s) && s->m >= 8)
        return s->m == 8 ? make_panel(vk, UQM_VK_GEMM_SHUFFLE, 8, 8)
                         : make_panel(vk, UQM_VK_GEMM_SHUFFLE, 16, 4);
    if (vk->limits.vector_texel_loads && texels_can(vk, s))
        return make_panel(vk, UQM_VK_GEMM_TEXEL, few, 8);
    if (vk->limits.slow_shared || vk->limits.slow_buffer_loads)
        return make_panel(vk, UQM_VK_GEMM_PANEL, few, 8);
    return s->skinny ? make_skinny(vk, few) : choose_tile(vk, s);
}

struct uqm_vk_gemm uqm_vk_gemm_choose(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s)
{
    struct uqm_vk_gemm gemm = choose(vk, s);
    gemm.halves = s->halves;
    return gemm;
}

size_t uqm_vk_gemm_candidates(struct uqm_vk_gemm out[UQM_VK_MAX_GEMMS], const struct uqm_vk *vk,
                              const struct uqm_vk_gemm_shape *s)
{
    size_t n = 0;
    out[n++] = uqm_vk_gemm_choose(vk, s);
    if (s->skinny) {
        out[n++] = make_skinny(vk, rows_of_skinny(s->m));
        return n;
    }
    if (shuffles_can(vk, s)) {
        out[n++] = make_panel(vk, UQM_VK_GEMM_SHUFFLE, 16, 4);
        out[n++] = make_panel(vk, UQM_VK_GEMM_SHUFFLE, 8, 8);
    }
    if (texels_can(vk, s)) {
        out[n++] = make_panel(vk, UQM_VK_GEMM_TEXEL, 8, 8);
        out[n++] = make_panel(vk, UQM_VK_GEMM_TEXEL, 4, 8);
    }
    out[n++] = make_panel(vk, UQM_VK_GEMM_PANEL, 8, 8);
    out[n++] = make_panel(vk, UQM_VK_GEMM_PANEL, 4, 8);
    for (size_t i = 0; i < N_TILES; i++)
        if (tile_fits(vk, i))
            out[n++] = make_tile(vk, i);
    for (size_t i = 0; i < n; i++)
        out[i].halves = s->halves;
    return n;
}

static const char *shader_of(const struct uqm_vk_gemm *g, bool has_y, bool has_bias)
{
    static const char *const names[][4] = {
        { "gemm_shuffle", "gemm_shuffle_bias", "gemm_shuffle_y", "gemm_shuffle_y_bias" },
        { "gemm_texel", "gemm_texel_bias", "gemm_texel_y", "gemm_texel_y_bias" },
        { "gemm_panel", "gemm_panel_bias", "gemm_panel_y", "gemm_panel_y_bias" },
        { "gemm_tile", "gemm_tile_bias", "gemm_tile_y", "gemm_tile_y_bias" },
        { "gemm_skinny", "gemm_skinny_bias", "gemm_skinny_y", "gemm_skinny_y_bias" },
        { "gemm_skinny_subgroups", "gemm_skinny_subgroups_bias", "gemm_skinny_subgroups_y",
          "gemm_skinny_subgroups_y_bias" },
        { "gemm_coop", "gemm_coop_bias", "gemm_coop_y", "gemm_coop_y_bias" },
    };
    static const char *const of_halves[][4] = {
        [UQM_VK_GEMM_SHUFFLE] = { "gemm_shuffle_halves", "gemm_shuffle_halves_bias",
                                  "gemm_shuffle_halves_y", "gemm_shuffle_halves_y_bias" },
        [UQM_VK_GEMM_TEXEL] = { "gemm_texel_halves", "gemm_texel_halves_bias",
                                "gemm_texel_halves_y", "gemm_texel_halves_y_bias" },
        [UQM_VK_GEMM_PANEL] = { "gemm_panel_halves", "gemm_panel_halves_bias",
                                "gemm_panel_halves_y", "gemm_panel_halves_y_bias" },
        [UQM_VK_GEMM_TILE] = { "gemm_tile_halves", "gemm_tile_halves_bias", "gemm_tile_halves_y",
                               "gemm_tile_halves_y_bias" },
        [UQM_VK_GEMM_COOP] = { "gemm_coop_halves", "gemm_coop_halves_bias", "gemm_coop_halves_y",
                               "gemm_coop_halves_y_bias" },
    };
    size_t row = (size_t) g->path + (g->path == UQM_VK_GEMM_SKINNY && g->subgroups) +
                 (g->path == UQM_VK_GEMM_COOP);
    return g->halves ? of_halves[g->path][2 * has_y + has_bias] : names[row][2 * has_y + has_bias];
}

struct uqm_vk_kernel uqm_vk_gemm_kernel(const struct uqm_vk *vk, const struct uqm_vk_gemm *g,
                                        const struct uqm_vk_gemm_shape *s,
                                        enum uqm_epilogue epilogue, bool has_y, bool has_bias)
{
    struct uqm_vk_kernel kernel = {
        .shader = shader_of(g, has_y, has_bias),
        .spec = { g->local,
                  s->w_dtype == UQM_F16    ? 0
                  : s->w_dtype == UQM_BF16 ? 1
                                           : 2,
                  !vk->limits.unpack_half, (uint32_t) epilogue, s->x_quads && !g->halves },
        .n_spec = 5,
        .n_bindings = 3 + (uint32_t) has_y + (uint32_t) has_bias,
        .texel_mask = uqm_vk_gemm_takes_texels(g) ? 6 : 0,
        .subgroup_size = g->subgroup_size,
    };
    const uint32_t x_unit = g->halves ? 8 : 4;
    if (g->path == UQM_VK_GEMM_TILE) {
        const uint32_t bk = g->bk, local = g->local;
        const uint32_t sizes[] = { g->bm,
                                   g->bn,
                                   bk,
                                   g->tm,
                                   g->tn,
                                   (g->bm * bk / x_unit + local - 1) / local,
                                   (g->bn * bk / 8 + local - 1) / local };
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            kernel.spec[kernel.n_spec++] = sizes[i];
    } else if (g->path == UQM_VK_GEMM_COOP) {
        kernel.n_bindings += !g->halves; /* the rows' scales */
        kernel.spec[kernel.n_spec++] = (uint32_t) g->bm * g->bk / x_unit / g->local;
        kernel.spec[kernel.n_spec++] = (uint32_t) g->bn * g->bk / 8 / g->local;
        kernel.spec[kernel.n_spec++] = vk->limits.coop_m;
        kernel.spec[kernel.n_spec++] = vk->limits.coop_n;
        kernel.spec[kernel.n_spec++] = vk->limits.coop_k;
    } else {
        kernel.spec[kernel.n_spec++] = g->tm;
        if (g->path != UQM_VK_GEMM_SKINNY)
            kernel.spec[kernel.n_spec++] = g->tn;
    }
    return kernel;
}

uint64_t uqm_vk_gemm_groups(const struct uqm_vk_gemm *g, uint64_t m, uint64_t n)
{
    uint64_t rows = uqm_vk_gemm_rows(g);
    return (m + rows - 1) / rows * ((n + g->bn - 1) / g->bn);
}
