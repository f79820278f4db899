/* LLaMA's SentencePiece tokenizer (tokenizer.model), and prompts cut at <image>. */
#ifndef UQM_MODEL_TOKENIZER_H
#define UQM_MODEL_TOKENIZER_H

#include "src/base/err.h"

enum { UQM_IMAGE_PLACEHOLDER = -200 };

struct uqm_tokenizer;

/* dir/tokenizer.model. Refuses by name what is not LLaMA's BPE (spec formats.md 4). Thread-safe
 * after. */
int uqm_tokenizer_open(struct uqm_tokenizer **out, const char *dir, struct uqm_err *err);
void uqm_tokenizer_close(struct uqm_tokenizer **tokenizer);
int32_t uqm_tokenizer_n_pieces(const struct uqm_tokenizer *tokenizer);

struct uqm_ids {
    int32_t *v; /* malloc'ed */
    size_t n;
};
void uqm_ids_finish(struct uqm_ids *ids);

/* One chunk, without BOS. "" gives no ids. */
int uqm_tokenizer_encode(struct uqm_ids *out, const struct uqm_tokenizer *tokenizer,
                         const char *text, size_t len, struct uqm_err *err);
/* BOS, then the chunks between the "<image>" marks, each encoded by itself, one
 * UQM_IMAGE_PLACEHOLDER for every mark (spec uq.md 4.6). */
int uqm_tokenizer_encode_prompt(struct uqm_ids *out, const struct uqm_tokenizer *tokenizer,
                                const char *prompt, struct uqm_err *err);
/* Generated ids to text: ids 0..2 skipped, bytes joined, first space dropped, surrounding
 * whitespace stripped (spec 4.7). malloc'ed. */
int uqm_tokenizer_decode(char **out, const struct uqm_tokenizer *tokenizer, const int32_t *ids,
                         size_t n, struct uqm_err *err);
/* The piece as spelled ("\u2581A"), borrowed; "" for ids out of range. */
const char *uqm_tokenizer_piece(const struct uqm_tokenizer *tokenizer, int32_t id);
/* Ids of the option letters A..F, each the last id of the encoded single letter. */
int uqm_tokenizer_option_ids(int32_t out[6], const struct uqm_tokenizer *tokenizer,
                             struct uqm_err *err);

/*
 * vicuna_v1 (spec 4.5): prefix + system + " USER: " + user text + " ASSISTANT:". NULL system: the
 * default one; n_images marks and a newline before the text. malloc'ed, NULL when out of memory.
 */
char *uqm_prompt_vicuna(const char *prefix, const char *system, size_t n_images, const char *text);

#endif
