/* Which kernel does a product, and with which tile. Every variant but the skinny one and that of
 * cooperative matrices adds up each result in one chain over k, so that the choice changes no bit
 * on a device whose compiler fuses multiply and add alike everywhere. */
#ifndef UQM_COMPUTE_VK_VK_GEMM_H
#define UQM_COMPUTE_VK_VK_GEMM_H

#include "compute/vk/vk.h"

enum uqm_vk_gemm_path {
    UQM_VK_GEMM_SHUFFLE, /* registers, texel loads, rows of x passed round the subgroup */
    UQM_VK_GEMM_TEXEL,   /* registers, texel loads */
    UQM_VK_GEMM_PANEL,   /* registers, storage loads */
    UQM_VK_GEMM_TILE,    /* shared memory */
    UQM_VK_GEMM_SKINNY,  /* k shared out over a workgroup */
    UQM_VK_GEMM_COOP,    /* cooperative matrices; W in F16, rows of x scaled (vk_halves.h) */
};

struct uqm_vk_gemm {
    enum uqm_vk_gemm_path path;
    uint16_t local; /* invocations */
    uint16_t bm, bn, bk, tm,
        tn;                 /* TILE and COOP: all; others: tm x tn, and bn columns a workgroup */
    uint16_t subgroup_size; /* to ask for; 0: any */
    bool subgroups;         /* SKINNY: by subgroup arithmetic */
    bool halves;            /* x in F16 (vk_halves.h); COOP: one product, not two. Never SKINNY */
};

/* What a choice may rest on. Never m: results must not change with the batch. */
struct uqm_vk_gemm_shape {
    size_t m, n, k; /* m: only for the size of tiles */
    enum uqm_dtype w_dtype;
    bool x_quads; /* k, ldx and x's place divide by 4 */
    bool skinny;
    bool halves; /* x as F16: of W in F16, not skinny, in the mode `fast` */
};

/* The table of starting tiles. */
struct uqm_vk_gemm uqm_vk_gemm_choose(const struct uqm_vk *vk, const struct uqm_vk_gemm_shape *s);

/* All that this device can run for the shape, the table's choice first; for tests.
 * Returns how many, at most UQM_VK_MAX_GEMMS. */
enum { UQM_VK_MAX_GEMMS = 16 };
size_t uqm_vk_gemm_candidates(struct uqm_vk_gemm out[UQM_VK_MAX_GEMMS], const struct uqm_vk *vk,
                              const struct uqm_vk_gemm_shape *s);

/* Its pipeline, but for what the operands decide (suffix of bias and y, n_bindings). */
struct uqm_vk_kernel uqm_vk_gemm_kernel(const struct uqm_vk *vk, const struct uqm_vk_gemm *g,
                                        const struct uqm_vk_gemm_shape *s,
                                        enum uqm_epilogue epilogue, bool has_y, bool has_bias);
static inline bool uqm_vk_gemm_takes_texels(const struct uqm_vk_gemm *g)
{
    return g->path == UQM_VK_GEMM_TEXEL || g->path == UQM_VK_GEMM_SHUFFLE;
}
/* A binding more: the powers of two of the rows of x. */
static inline bool uqm_vk_gemm_takes_scales(const struct uqm_vk_gemm *g)
{
    return g->path == UQM_VK_GEMM_COOP && !g->halves;
}
/* Rows of x that a workgroup takes. */
static inline size_t uqm_vk_gemm_rows(const struct uqm_vk_gemm *g)
{
    return g->path == UQM_VK_GEMM_TILE || g->path == UQM_VK_GEMM_COOP ? g->bm : g->tm;
}
/* Workgroups for m rows and n columns. */
uint64_t uqm_vk_gemm_groups(const struct uqm_vk_gemm *g, uint64_t m, uint64_t n);

/* As uqm_vk_linear, by this kernel alone; for tests and benchmarks. */
int uqm_vk_linear_by(struct uqm_vk *vk, const struct uqm_linear *args,
                     const struct uqm_vk_gemm *gemm, struct uqm_err *err);

/* In two steps, for timing kernels on the same weights: W into a slot, as every kernel wants it;
 * the product. args->n <= uqm_vk_linear_cols(). */
size_t uqm_vk_linear_cols(const struct uqm_vk *vk, const struct uqm_linear *args,
                          const struct uqm_vk_gemm *gemm);
int uqm_vk_linear_fill(struct uqm_vk_slot *slot, struct uqm_vk *vk, const struct uqm_linear *args,
                       struct uqm_err *err);
int uqm_vk_linear_filled(struct uqm_vk *vk, const struct uqm_linear *args,
                         const struct uqm_vk_gemm *gemm, const struct uqm_vk_slot *slot,
                         struct uqm_err *err);

#endif
