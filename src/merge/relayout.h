/*
 * A LLaVA brought from its own layout into Hugging Face's, or back, while it is written: its
 * tensors' names, the rows of its vocabulary, and the files beside the weights. Of one input.
 *
 * In Hugging Face's layout <image> and <pad> are tokens behind the language model's, and the
 * vocabulary is padded to a multiple of 64 rows; the rows that come to it are the mean of the
 * others, for no answer reads them. In LLaVA's they and all rows from <image> on are left out. The
 * vision tower, which may lie beside a model of LLaVA's layout, becomes part of the checkpoint in
 * either.
 */
#ifndef UQM_MERGE_RELAYOUT_H
#define UQM_MERGE_RELAYOUT_H

#include "src/format/llava_config.h"
#include "src/merge/tokenizer_files.h"

struct uqm_relayout {
    bool to_hf;
    struct uqm_model_config parsed; /* the model's, as it is */
    struct uqm_llava_tokens tokens; /* the output's */
    char *config;                   /* its config.json, before what every merge changes */
};

/* After the inputs are open. The vocabulary is planned, and said. UQM_ERR_UNSUPPORTED: what the
 * other layout has no place for, by name. */
int uqm_relayout_create(struct uqm_relayout **out, struct uqm_vocab_plan **vocab,
                        struct uqm_recipe_source *rs, enum uqm_layout to, struct uqm_err *err);
void uqm_relayout_destroy(struct uqm_relayout **relayout);

/* After they are matched: names, and a tower from beside; buffers are left out. */
int uqm_relayout_tensors(struct uqm_recipe_source *rs, struct uqm_err *err);

static inline const char *uqm_relayout_config(const struct uqm_relayout *r)
{
    return r->config;
}
/* relayout_files.c: a file of the output that is not the tokenizer's. 1: *text, malloc'ed; 0: there
 * is none. */
enum { UQM_RELAYOUT_AS_IT_IS = 2 };
int uqm_relayout_file(char **text, const struct uqm_recipe_source *rs, const char *name,
                      struct uqm_err *err);
/* What the tokenizer's files say of <pad> and <image>. */
int uqm_relayout_tokenizer(struct uqm_tokenizer_files *files, const struct uqm_recipe_source *rs,
                           struct uqm_err *err);
/* A small file of the model's folder, malloc'ed; *text stays what it is where there is none. */
int uqm_relayout_read(char **text, const char *home, const char *name, struct uqm_err *err);

#endif
