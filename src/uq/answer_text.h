/*
 * Pieces of text on the way from an answer to its score. White space is Python's (uqm_utf8_space).
 * Results lie in the caller's arena; NULL means that it had no memory, and NULL in gives NULL out,
 * so that calls can be chained and checked once.
 */
#ifndef UQM_UQ_ANSWER_TEXT_H
#define UQM_UQ_ANSWER_TEXT_H

#include <stdbool.h>

#include "src/base/arena.h"

/* Latin (of Vietnamese, too), Greek, Cyrillic, Armenian, full-width letters. Those of other
 * scripts stay, as do letters whose other case takes more or fewer bytes; a sigma that ends a word
 * becomes the one of the middle. */
char *uqm_answer_lower(struct uqm_arena *arena, const char *text);
/* The first character upper-cased, all others lower-cased: Python's str.capitalize(). */
char *uqm_answer_capitalize(struct uqm_arena *arena, const char *text);
char *uqm_answer_strip(struct uqm_arena *arena, const char *text);
/* Letters, digits, `_` and white space alone, stripped: Python's [^\w\s] deleted. Marks and symbols
 * are told from letters in the ranges that English answers draw on; bytes that are no UTF-8 go. */
char *uqm_answer_words_only(struct uqm_arena *arena, const char *text);
/* Every byte that is one of `from` becomes `to`; 0 deletes it. */
char *uqm_answer_map(struct uqm_arena *arena, const char *text, const char *from, char to);

/* string.punctuation: the 32 ASCII characters that are neither letters, digits nor controls. */
extern const char uqm_answer_punctuation[];

/* Words between white space. */
struct uqm_answer_words {
    const char **v;
    size_t n;
};
/* false: no memory. */
bool uqm_answer_split(struct uqm_answer_words *out, struct uqm_arena *arena, const char *text);
char *uqm_answer_join(struct uqm_arena *arena, const struct uqm_answer_words *words);

/* "zero" to "ten" in lower case as digits, or NULL. */
const char *uqm_answer_digits(const char *word);
/* a, an, the */
bool uqm_answer_is_article(const char *word);

/*
 * The normal form of the short metrics: lower-cased, ASCII punctuation to spaces, articles
 * dropped, zero to ten as digits, words joined by one space.
 */
char *uqm_answer_plain(struct uqm_arena *arena, const char *text);

/*
 * The VQA evaluation's normal form (spec uq.md 6, N), and its steps 2 and 3 by themselves:
 * punctuation; number words, articles and contractions.
 */
char *uqm_answer_vqa(struct uqm_arena *arena, const char *text);
char *uqm_answer_vqa_punctuation(struct uqm_arena *arena, const char *text);
char *uqm_answer_vqa_words(struct uqm_arena *arena, const char *text);

#endif
