/*
 * What the names of tensors say, for models of any family (spec merge.md 8): which layer, what lies
 * before the layers and what behind, which tensors a vocabulary runs through, which a module holds.
 */
#ifndef UQM_MERGE_PLAN_NAMES_H
#define UQM_MERGE_PLAN_NAMES_H

#include "src/checkpoint/source.h"

struct uqm_layer_name {
    size_t prefix_len; /* up to the number: "model.layers." */
    uint64_t layer;    /* at most a million */
    const char *rest;  /* behind the number: ".mlp.up_proj.weight" */
};
/* By the longest prefix that ends in "layers." or "blocks."; without one, by the first "h.",
 * "layer." or "block.". false: the tensor lies in no layer. */
bool uqm_name_layer(struct uqm_layer_name *out, const char *name);

/* Of a tensor outside the layers: embeddings and the like come before them; norms and heads, and
 * whatever is not known, behind. */
bool uqm_name_is_before(const char *name);

enum uqm_vocabulary_role {
    UQM_NO_VOCABULARY,
    UQM_EMBEDDING, /* a row a token */
    UQM_HEAD,      /* the same, of the output; the embedding stands in for a tied one */
    UQM_HEAD_BIAS, /* a number a token */
};
/* Dimension 0 of such tensors is the vocabulary. Vision towers and projectors have none. */
enum uqm_vocabulary_role uqm_name_vocabulary(const char *name, enum uqm_part part);

/* Tensors of a language model or a projector that every model of the family has: one of them
 * missing is a broken checkpoint, not a variant. By canonical name. */
bool uqm_name_is_required(const struct uqm_tensor *tensor);

/*
 * Whether a tensor belongs to the module of this name: a part by mergekit's names or ours
 * (text_decoder, language_model, language; vision_tower, vision_model, vision;
 * multi_modal_projector, adapter), or a prefix of its name up to a dot ("encoder", also behind a
 * leading "model."). Returns how good the match is, 0: none. "default" is what no other module
 * takes, and matches worst.
 */
size_t uqm_name_in_module(const struct uqm_tensor *tensor, const char *module);

#endif
