/* The VQA evaluation's normal form (spec uq.md 6, N). */
#include <stdlib.h>
#include <string.h>

#include "src/uq/answer_text.h"

/* The spelling without its apostrophe is mended to this. */
static const char *const one_apostrophe[] = {
    "ain't",       "aren't",       "can't",      "could've",  "couldn't",   "didn't",
    "doesn't",     "don't",        "hadn't",     "hasn't",    "haven't",    "he'd",
    "he's",        "how'd",        "how'll",     "how's",     "isn't",      "it'd",
    "it'll",       "ma'am",        "mightn't",   "might've",  "mustn't",    "must've",
    "needn't",     "not've",       "o'clock",    "oughtn't",  "shan't",     "should've",
    "shouldn't",   "somebody'll",  "somebody's", "someone'd", "someone'll", "someone's",
    "something'd", "something'll", "that's",     "there'd",   "there're",   "there's",
    "they'd",      "they'll",      "they're",    "they've",   "'twas",      "wasn't",
    "we've",       "weren't",      "what'll",    "what're",   "what's",     "what've",
    "when's",      "where'd",      "where's",    "where've",  "who'd",      "who'll",
    "who's",       "who've",       "why'll",     "why're",    "why's",      "won't",
    "would've",    "wouldn't",     "y'all",      "you'd",     "you'll",     "you're",
    "you've",
};

/* So are the spellings that lack one of the two. */
static const char *const two_apostrophes[] = {
    "couldn't've",  "hadn't've",     "he'd've",      "it'd've",        "mightn't've", "she'd've",
    "shouldn't've", "somebody'd've", "someone'd've", "something'd've", "there'd've",  "they'd've",
    "we'd've",      "who'd've",      "wouldn't've",  "y'all'll",       "you'd've",
};

static const struct {
    const char *from, *to;
} oddities[] = {
    { "yall'd've", "y'all'd've" }, { "y'alld've", "y'all'd've" }, { "y'all'dve", "y'all'd've" },
    { "somebody'd", "somebodyd" }, { "ow's'at", "'ow's'at" },     { "'ows'at", "'ow's'at" },
    { "'ow'sat", "'ow's'at" },
};

/* Whether `word` is `full` without its k-th apostrophe, k from 0. */
static bool lacks_apostrophe(const char *word, const char *full, size_t k)
{
    for (; *full; full++) {
        if (*full == '\'' && k-- == 0)
            continue;
        if (*word++ != *full)
            return false;
    }
    return !*word;
}

static const char *mend(const char *word)
{
    for (size_t i = 0; i < sizeof one_apostrophe / sizeof *one_apostrophe; i++)
        if (lacks_apostrophe(word, one_apostrophe[i], 0))
            return one_apostrophe[i];
    for (size_t i = 0; i < sizeof two_apostrophes / sizeof *two_apostrophes; i++)
        for (size_t k = 0; k < 2; k++)
            if (lacks_apostrophe(word, two_apostrophes[i], k))
                return two_apostrophes[i];
    for (size_t i = 0; i < sizeof oddities / sizeof *oddities; i++)
        if (!strcmp(word, oddities[i].from))
            return oddities[i].to;
    return word;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool comma_between_digits(const char *s)
{
    for (const char *p = s; (p = strchr(p, ',')) != NULL;) {
        const size_t n = strspn(p, ",");
        if (p > s && is_digit(p[-1]) && is_digit(p[n]))
            return true;
        p += n;
    }
    return false;
}

static bool beside_a_space(const char *s, char c)
{
    for (const char *p = s; (p = strchr(p, c)) != NULL; p++)
        if (p[1] == ' ' || (p > s && p[-1] == ' '))
            return true;
    return false;
}

/* Points that no digit follows, 32 of them at most. */
static void drop_points(char *s)
{
    int n = 0;
    char *at = s;
    for (const char *p = s; *p; p++)
        if (*p == '.' && !is_digit(p[1]) && n < 32)
            n++;
        else
            *at++ = *p;
    *at = 0;
}

char *uqm_answer_vqa_punctuation(struct uqm_arena *arena, const char *text)
{
    static const char marks[] = ";/[]\"{}()=+\\_-><@`,?!";
    char *out = text ? uqm_arena_strndup(arena, text, strlen(text)) : NULL;
    if (!out)
        return NULL;
    const bool all = comma_between_digits(text);
    for (const char *m = marks; *m && out; m++) {
        const char one[] = { *m, 0 };
        if (strchr(out, *m)) /* what the step was given decides, not what is left of it */
            out = uqm_answer_map(arena, out, one, all || beside_a_space(text, *m) ? 0 : ' ');
    }
    if (out)
        drop_points(out);
    return out;
}

char *uqm_answer_vqa_words(struct uqm_arena *arena, const char *text)
{
    struct uqm_answer_words words;
    if (!uqm_answer_split(&words, arena, uqm_answer_lower(arena, text)))
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < words.n; i++) {
        const char *digits = strcmp(words.v[i], "none") ? uqm_answer_digits(words.v[i]) : "0";
        const char *word = digits ? digits : words.v[i];
        if (!uqm_answer_is_article(word))
            words.v[n++] = mend(word);
    }
    words.n = n;
    return uqm_answer_join(arena, &words);
}

/* 's stands apart: it is a word of its own to the steps after. */
static char *part_possessives(struct uqm_arena *arena, const char *text)
{
    char *out = text ? uqm_arena_alloc(arena, 2 * strlen(text) + 1, 1) : NULL, *at = out;
    for (const char *p = text; out && *p; p++) {
        if (p[0] == '\'' && p[1] == 's')
            *at++ = ' ';
        *at++ = *p;
    }
    return out;
}

char *uqm_answer_vqa(struct uqm_arena *arena, const char *text)
{
    char *s = uqm_answer_map(arena, uqm_answer_lower(arena, text), ",?", 0);
    s = uqm_answer_strip(arena, part_possessives(arena, s));
    s = uqm_answer_strip(arena, uqm_answer_map(arena, s, "\n\t", ' '));
    return uqm_answer_vqa_words(arena, uqm_answer_vqa_punctuation(arena, s));
}
