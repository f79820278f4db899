/* What a model was, cheaply: enough to tell two that differ apart, read in a moment. */
#ifndef UQM_MERGE_FINGERPRINT_H
#define UQM_MERGE_FINGERPRINT_H

#include "src/merge/open.h"

/*
 * XXH3-128 over the model's JSON files and tokenizer, whole, and of every weight file its size, its
 * first 64 KiB (a safetensors header begins there), 64 places of 4 KiB at even distances and its
 * last 4 KiB; of a recipe over its text, and so over every model that it names. An archive has the
 * fingerprint of the folder it is of. Weights between the places are not looked at: the digest of
 * every byte is the manifest's, and a study's. UQM_ERR_IO, UQM_ERR_FORMAT, UQM_ERR_NOMEM.
 */
int uqm_model_fingerprint(struct uqm_xxh3_hex *out, struct uqm_env *env, const char *model,
                          const struct uqm_open_params *params, struct uqm_err *err);

#endif
