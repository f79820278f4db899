/* LLaMA's arithmetic once more, as plainly as it can be written, in double. */
#ifndef UQM_TESTS_REFERENCE_LLAMA_H
#define UQM_TESTS_REFERENCE_LLAMA_H

#include "tests/unit/model/memory_source.h"

/* logits (vocab_size) at the last of n_ids positions. */
void reference_llama(double *logits, const struct memory_source *m,
                     const struct uqm_text_config *config, const int32_t *ids, size_t n_ids);

#endif
