/*
 * Which tokens a tokenizer knows, and their numbers: from tokenizer.json (BPE, Unigram, WordPiece,
 * WordLevel), else tokenizer.model (LLaMA's SentencePiece), else vocab.json; with what
 * added_tokens.json and tokenizer_config.json add. Tokens are compared as these files spell them.
 */
#ifndef UQM_MODEL_VOCABULARY_H
#define UQM_MODEL_VOCABULARY_H

#include "src/base/arena.h"
#include "src/base/err.h"

enum {
    UQM_VOCABULARY_MOST_FILE = 256 << 20, /* bytes */
    UQM_VOCABULARY_MOST_ID = 1 << 24,     /* ids lie below */
};

/* How an added token is cut out of a text: the switches of tokenizer.json. */
enum {
    UQM_TOKEN_SINGLE_WORD = 1,
    UQM_TOKEN_LSTRIP = 2,
    UQM_TOKEN_RSTRIP = 4,
    UQM_TOKEN_NORMALIZED = 8,
    UQM_TOKEN_SPECIAL = 16,
};

struct uqm_vocab_token {
    const char *text; /* UTF-8, len bytes; a NUL behind */
    size_t len;
    uint32_t id;
    bool added; /* not the model's own, or defined beside it */
    uint8_t flags;
};

enum uqm_vocabulary_file { UQM_VOCABULARY_JSON, UQM_VOCABULARY_SPM, UQM_VOCABULARY_OLD_JSON };

struct uqm_vocab {
    struct uqm_arena arena;
    const char *where; /* the file that the tokens were read from */
    enum uqm_vocabulary_file file;
    size_t n;
    struct uqm_vocab_token *v; /* the model's own in the file's order, then the added ones */
    uint32_t n_own;            /* entries of the model's own vocabulary */
    uint32_t *slots;           /* by hash: 1 + index into v */
    size_t n_slots;
};

/* Of the folder's tokenizer. UQM_ERR_IO: there is none. */
int uqm_vocabulary_read(struct uqm_vocab **out, const char *dir, struct uqm_err *err);
void uqm_vocabulary_free(struct uqm_vocab **vocabulary);
/* NULL: it knows no such token. */
const struct uqm_vocab_token *uqm_vocabulary_find(const struct uqm_vocab *vocabulary,
                                                  const char *text, size_t len);
/* One token more; one that is there already gets the new number and switches if `added`, else it is
 * an error of the file. For the tokens of several tokenizers together. */
int uqm_vocabulary_add(struct uqm_vocab *vocabulary, const struct uqm_vocab_token *token,
                       struct uqm_err *err);
/* The number that the next new token gets: behind the model's own and all added ones. */
uint32_t uqm_vocabulary_next_id(const struct uqm_vocab *vocabulary);

#endif
