/*
 * The sentencepiece library (C++) behind C functions. No exception leaves them. The results are
 * codes of enum uqm_status; a failure's reason is one line in *reason.
 */
#ifndef UQM_MODEL_SPM_SHIM_H
#define UQM_MODEL_SPM_SHIM_H

#include "src/uqmerge.h"

#ifdef __cplusplus
extern "C" {
#endif

struct uqm_spm;

struct uqm_spm_reason {
    char text[256];
};

int uqm_spm_create(struct uqm_spm **out, const void *model, size_t len,
                   struct uqm_spm_reason *reason);
/* Takes NULL. */
void uqm_spm_destroy(struct uqm_spm *spm);
/* *ids is malloc'ed, NULL when *n_ids is 0. Thread-safe. */
int uqm_spm_encode(int32_t **ids, size_t *n_ids, const struct uqm_spm *spm, const char *text,
                   size_t len, struct uqm_spm_reason *reason);

#ifdef __cplusplus
}
#endif
#endif
