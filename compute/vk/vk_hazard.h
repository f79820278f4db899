/*
 * Which barriers a sequence of accesses needs. Pure bookkeeping: no Vulkan call is made here.
 *
 * Between two barriers commands may run in any order and at once. A command needs a barrier before
 * it when it reads what was written since the last one, or writes what was read or written.
 */
#ifndef UQM_COMPUTE_VK_VK_HAZARD_H
#define UQM_COMPUTE_VK_VK_HAZARD_H

#include "compute/vk/vk.h"

enum { UQM_VK_MAX_ACCESSES = 64 };

struct uqm_vk_hazards {
    struct {
        struct uqm_vk_slice slice;
        enum uqm_vk_access access;
    } list[UQM_VK_MAX_ACCESSES];
    size_t n;
};

/* Whether two slices share a word. Exact for rows of one stride; else by first and last word. */
bool uqm_vk_slices_overlap(const struct uqm_vk_slice *a, const struct uqm_vk_slice *b);

/*
 * A command with these bindings comes next. Returns whether a barrier must precede it; the list
 * then starts anew. Also when the list is full.
 */
bool uqm_vk_hazards_next(struct uqm_vk_hazards *hazards, const struct uqm_vk_binding *bindings,
                         size_t n_bindings);

/* The memory is going to be freed (nothing uses it any more): drop its accesses. */
void uqm_vk_hazards_forget(struct uqm_vk_hazards *hazards, const struct uqm_memory *memory);

/* Within one command: a written slice overlaps another binding's only when both are the same slice
 * (work in place). Returns whether that holds. */
bool uqm_vk_bindings_agree(const struct uqm_vk_binding *bindings, size_t n_bindings);

#endif
