/*
 * config.json and the picture processor's files of a LLaVA model, made for the other layout:
 * LLaVA's own flat config with mm_* keys, and Hugging Face's with text_config and vision_config.
 * Pure: texts in, texts out.
 */
#ifndef UQM_FORMAT_LLAVA_CONFIG_H
#define UQM_FORMAT_LLAVA_CONFIG_H

#include "src/format/model_config.h"

/* What the output's vocabulary is. */
struct uqm_llava_tokens {
    uint32_t n_rows; /* of its embedding */
    uint32_t image;  /* <image>; of Hugging Face's layout alone, as ... */
    uint32_t pad;    /* <pad> */
};

/*
 * texts, parsed: those of the model as it is, in the other layout, with a vision tower. *out is
 * malloc'ed. What a config leaves out is written with the value that the parse gave it. Of a
 * language model's keys LLaMA's are taken over; in LLaVA's layout the tower, which goes with the
 * checkpoint, is described by a vision_config.
 */
int uqm_llava_config_to_hf(char **out, const struct uqm_config_texts *texts,
                           const struct uqm_model_config *parsed,
                           const struct uqm_llava_tokens *tokens, struct uqm_err *err);
int uqm_llava_config_to_llava(char **out, const struct uqm_config_texts *texts,
                              const struct uqm_model_config *parsed,
                              const struct uqm_llava_tokens *tokens, struct uqm_err *err);

/* preprocessor_config.json; padding to a square is said in it for Hugging Face's layout, in
 * config.json for LLaVA's. malloc'ed; NULL: no memory. */
char *uqm_llava_preprocessor(const struct uqm_model_config *parsed, bool hf);
/* processor_config.json of Hugging Face's layout, as above. */
char *uqm_llava_processor(const struct uqm_model_config *parsed);

#endif
