/*
 * config.json for a merge: the home model's text, byte for byte but for what must change: the
 * stored type, and tied embeddings when a head of its own is written.
 */
#ifndef UQM_MERGE_CONFIG_PATCH_H
#define UQM_MERGE_CONFIG_PATCH_H

#include "src/base/dtype.h"
#include "src/base/err.h"

struct uqm_config_change {
    enum uqm_dtype dtype;        /* of the language model, F16, BF16, F32 or F64 */
    enum uqm_dtype vision_dtype; /* of vision_config */
    bool has_head;               /* lm_head is written: embeddings are not tied */
};

/* text: valid JSON, an object. malloc'ed; NULL: no memory. */
char *uqm_config_patch(const char *text, const struct uqm_config_change *change);

#endif
