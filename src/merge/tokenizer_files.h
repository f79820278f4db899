/*
 * The tokenizer's files of the output where the recipe speaks of them: those of one tokenizer, with
 * the tokens that the output has beside it and without those it has not, and the chat template.
 * What is not changed stays byte for byte.
 */
#ifndef UQM_MERGE_TOKENIZER_FILES_H
#define UQM_MERGE_TOKENIZER_FILES_H

#include "src/merge/vocab_plan.h"

enum { UQM_TOKENIZER_FILES_MOST = 5 };

struct uqm_tokenizer_file {
    const char *name;
    char *text; /* malloc'ed */
    size_t len;
};

struct uqm_tokenizer_files {
    const char *home; /* the others are copied from there */
    size_t n;
    struct uqm_tokenizer_file v[UQM_TOKENIZER_FILES_MOST]; /* in place of home's, or new */
};

/* Zeroed by the caller, finished by it in any case. */
int uqm_tokenizer_files_make(struct uqm_tokenizer_files *out, const struct uqm_recipe_source *rs,
                             struct uqm_err *err);
const struct uqm_tokenizer_file *uqm_tokenizer_files_find(const struct uqm_tokenizer_files *files,
                                                          const char *name);
void uqm_tokenizer_files_finish(struct uqm_tokenizer_files *files);

#endif
