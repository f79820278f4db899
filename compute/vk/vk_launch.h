/* What the operations share: sizes of workgroups, folded grids, rows cut to what can be bound. */
#ifndef UQM_COMPUTE_VK_VK_LAUNCH_H
#define UQM_COMPUTE_VK_VK_LAUNCH_H

#include "compute/vk/vk.h"

/* Invocations of a workgroup that share nothing. */
uint32_t uqm_vk_flat_local(const struct uqm_vk *vk);

/* The subgroup size to ask for in a workgroup of `local`; 0: leave it to the device. */
uint32_t uqm_vk_pinned_subgroup(const struct uqm_vk *vk, uint32_t local);

/* A workgroup that adds up: a power of two of invocations, the variant of its shader, the subgroups
 * to ask for. Where barriers are slow it is one subgroup. */
struct uqm_vk_team {
    uint32_t local, subgroup_size;
    bool subgroups; /* the variant *_subgroups */
};
struct uqm_vk_team uqm_vk_team(const struct uqm_vk *vk);

/* A kernel and its arguments; `n_groups` of any size are folded into a grid (shaders/grid.glsl). */
struct uqm_vk_launch {
    struct uqm_vk_kernel kernel;
    const char *what;
    struct uqm_vk_binding bindings[UQM_VK_MAX_BINDINGS];
    const void *push;
    uint64_t n_groups; /* >= 1 */
    uint64_t work, bytes;
};
int uqm_vk_launch(struct uqm_vk *vk, const struct uqm_vk_launch *launch, struct uqm_err *err);

/* How many rows of `width` words every `stride` words one binding holds: at least one, unless a
 * row is too long: UQM_ERR_UNSUPPORTED, naming `what`. */
int uqm_vk_rows_that_fit(size_t *out, const struct uqm_vk *vk, size_t width, size_t stride,
                         const char *what, struct uqm_err *err);

/* From a place to the end of its memory. */
uint64_t uqm_vk_words_from(struct uqm_place place);

#endif
