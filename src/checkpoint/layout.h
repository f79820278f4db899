/*
 * Tensor-name layouts: one canonical spelling for every way LLaVA's parts have been named
 * (spec uq.md 4.8). Canonical is llava-hf of transformers 4.x:
 *     language_model.model.{embed_tokens,norm}.weight, language_model.model.layers.N.*,
 *     language_model.lm_head.weight, multi_modal_projector.linear_{1,2}.*,
 *     vision_tower.vision_model.*
 * Names that belong to no known part keep their spelling and are "other".
 */
#ifndef UQM_CHECKPOINT_LAYOUT_H
#define UQM_CHECKPOINT_LAYOUT_H

#include "src/base/arena.h"
#include "src/checkpoint/source.h"

enum uqm_layout { UQM_LAYOUT_LLAVA_HF, UQM_LAYOUT_LLAVA, UQM_LAYOUT_LLAMA, UQM_LAYOUT_OTHER };
const char *uqm_layout_name(enum uqm_layout layout); /* "llava-hf" */

/* The layout a whole set of names is in. */
enum uqm_layout uqm_layout_of_names(const char *const *names, size_t n);

/* Canonical name (in the arena, or `name` itself), part and layer (-1: none) of one tensor. Buffers
 * are "other". NULL: no memory. */
const char *uqm_layout_canonical(struct uqm_arena *arena, const char *name, enum uqm_part *part,
                                 int *layer);

/* The way back: how LLAVA_HF or LLAVA spells the tensor of a canonical name, in the arena or
 * `canonical` itself, as for names of neither. NULL: no memory. */
const char *uqm_layout_spell(struct uqm_arena *arena, const char *canonical,
                             enum uqm_layout layout);

/* Tensors that no network reads and no merge averages: rotary_emb.inv_freq, position_ids. */
bool uqm_layout_is_buffer(const char *name);

#endif
