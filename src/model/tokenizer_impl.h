/* What tokenizer.c and detokenize.c share. Internal to the folder. */
#ifndef UQM_MODEL_TOKENIZER_IMPL_H
#define UQM_MODEL_TOKENIZER_IMPL_H

#include "src/model/spm_proto.h"
#include "src/model/spm_shim.h"
#include "src/model/tokenizer.h"

enum { UQM_TOKEN_UNKNOWN = 0, UQM_TOKEN_BOS = 1, UQM_TOKEN_EOS = 2 };

struct uqm_tokenizer {
    struct uqm_spm_model model;
    struct uqm_spm *spm;
    char *path;
};

#endif
