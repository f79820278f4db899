/*
 * config.json for a merge: the home model's text, byte for byte but for what must change: the
 * stored type, tied embeddings when a head of its own is written, and after slices the number of
 * layers with the lists that have an entry for each.
 */
#ifndef UQM_MERGE_CONFIG_PATCH_H
#define UQM_MERGE_CONFIG_PATCH_H

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/err.h"

/* Where layers are counted: in the language model (text_config, where there is one, and beside it),
 * in vision_config, or as an encoder's or a decoder's beside the other. */
enum uqm_config_role { UQM_CONFIG_MAIN, UQM_CONFIG_VISION, UQM_CONFIG_ENCODER, UQM_CONFIG_DECODER };

/* Where a layer of the output comes from. */
struct uqm_config_layer {
    const char *config; /* config.json of its model, or NULL */
    uint64_t layer;     /* its number there */
};
/* Layers that slices have put together: their number, and lists with one entry a layer. */
struct uqm_config_stack {
    enum uqm_config_role role;
    size_t n;
    const struct uqm_config_layer *layers;
};

struct uqm_config_change {
    enum uqm_dtype dtype;        /* of the language model, F16, BF16, F32 or F64 */
    enum uqm_dtype vision_dtype; /* of vision_config */
    bool has_head;               /* lm_head is written: embeddings are not tied */
    uint64_t vocab_size;         /* rows of the embedding, where they were changed; else 0 */
    size_t n_stacks;
    const struct uqm_config_stack *stacks;
};

/* text: valid JSON, an object, as are the layers' configs. malloc'ed; NULL: no memory. */
char *uqm_config_patch(const char *text, const struct uqm_config_change *change);
/* Whether the config says how many tokens, or layers, there are, in a key that we know. */
bool uqm_config_has_vocabulary(const char *text);
bool uqm_config_counts_layers(const char *text, enum uqm_config_role role);

#endif
