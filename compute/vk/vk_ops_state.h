/* What the operations keep from reserve to release. */
#ifndef UQM_COMPUTE_VK_VK_OPS_STATE_H
#define UQM_COMPUTE_VK_VK_OPS_STATE_H

#include "compute/vk/vk.h"

/* Of partial sums of attention while decoding, all prompts of a call; more go in rounds. */
#define UQM_VK_PARTS_WORDS (UINT64_C(1) << 20)

/* Rows that a dispatch of cooperative matrices takes. */
#define UQM_VK_SCALED_ROWS 16384

struct uqm_vk_ops_state {
    uint64_t slot_bytes;
    struct uqm_memory *parts;
    struct uqm_memory *scales; /* of UQM_VK_SCALED_ROWS rows; NULL: no cooperative matrices */
    struct uqm_memory *halves; /* of halves_words: rows of x as F16; NULL: not fast */
    uint64_t halves_words;
    bool said_default;                      /* that a product of a fast device was not fast */
    struct uqm_memory *mix_sums, *mix_base; /* mix_planes f64, and an f32, of mix_elem elements */
    uint64_t mix_elem;
    unsigned mix_planes;
    void *mix_panel; /* the host's: rows that do not lie in one piece, on their way */
    uint64_t parts_words, parts_next; /* where the next prompt's go */
};

/* vk_linear.c: bytes of a slot for weights of these needs, packed (shaders/weights.glsl). */
uint64_t uqm_vk_packed_slot_bytes(const struct uqm_vk *vk, const struct uqm_device_needs *needs);

#endif
