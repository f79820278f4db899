#include "src/uq/answer_text.h"

#include <stdint.h>
#include <string.h>

#include "src/base/utf8.h"

const char uqm_answer_punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/* Upper-case letters and how much higher their lower-case ones lie, which take as many bytes in
 * UTF-8; every `step`-th of [first, last]. */
static const struct {
    int32_t first, last, step, up;
} cases[] = {
    { 'A', 'Z', 1, 32 },       { 0xC0, 0xD6, 1, 32 },     { 0xD8, 0xDE, 1, 32 },
    { 0x100, 0x12E, 2, 1 },    { 0x132, 0x136, 2, 1 },    { 0x139, 0x147, 2, 1 },
    { 0x14A, 0x176, 2, 1 },    { 0x178, 0x178, 1, -121 }, { 0x179, 0x17D, 2, 1 },
    { 0x18F, 0x18F, 1, 202 },  { 0x1A0, 0x1A4, 2, 1 },    { 0x1AF, 0x1AF, 1, 1 },
    { 0x1CD, 0x1DB, 2, 1 },    { 0x1DE, 0x1EE, 2, 1 },    { 0x1F4, 0x1F4, 1, 1 },
    { 0x1F8, 0x21E, 2, 1 },    { 0x222, 0x232, 2, 1 },    { 0x386, 0x386, 1, 38 },
    { 0x388, 0x38A, 1, 37 },   { 0x38C, 0x38C, 1, 64 },   { 0x38E, 0x38F, 1, 63 },
    { 0x391, 0x3A1, 1, 32 },   { 0x3A3, 0x3AB, 1, 32 },   { 0x400, 0x40F, 1, 80 },
    { 0x410, 0x42F, 1, 32 },   { 0x460, 0x480, 2, 1 },    { 0x48A, 0x4BE, 2, 1 },
    { 0x4C0, 0x4C0, 1, 15 },   { 0x4C1, 0x4CD, 2, 1 },    { 0x4D0, 0x52E, 2, 1 },
    { 0x531, 0x556, 1, 48 },   { 0x1E00, 0x1E94, 2, 1 },  { 0x1EA0, 0x1EFE, 2, 1 },
    { 0xFF21, 0xFF3A, 1, 32 },
};
enum { N_CASES = sizeof cases / sizeof *cases };

static int32_t change_case(int32_t c, bool upper)
{
    for (size_t i = 0; i < N_CASES; i++) {
        const int32_t up = upper ? cases[i].up : 0, at = c - up - cases[i].first;
        if (at >= 0 && c - up <= cases[i].last && at % cases[i].step == 0)
            return upper ? c - up : c + cases[i].up;
    }
    return c;
}

/* The character of n bytes, which uqm_utf8_len() found, at s. */
static int32_t code_point(const uint8_t *s, size_t n)
{
    int32_t c = n == 1 ? s[0] : s[0] & 0x7f >> n;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3f);
    return c;
}

/* The character at s into dst, in the other case; how long it is. */
static size_t copy_character(uint8_t *dst, const uint8_t *s, size_t left, bool upper)
{
    const size_t n = uqm_utf8_len(s, left);
    const int32_t c = n ? change_case(code_point(s, n), upper) : 0;
    if (n == 1) {
        dst[0] = (uint8_t) c;
    } else if (n == 2) {
        dst[0] = (uint8_t) (0xc0 | c >> 6);
        dst[1] = (uint8_t) (0x80 | (c & 0x3f));
    } else if (n == 3) {
        dst[0] = (uint8_t) (0xe0 | c >> 12);
        dst[1] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
        dst[2] = (uint8_t) (0x80 | (c & 0x3f));
    } else {
        memcpy(dst, s, n ? n : 1);
    }
    return n ? n : 1;
}

static char *copy_cased(struct uqm_arena *arena, const char *text, bool first_upper)
{
    const size_t len = text ? strlen(text) : 0;
    char *out = text ? uqm_arena_strndup(arena, text, len) : NULL;
    for (size_t i = 0; out && i < len;)
        i += copy_character((uint8_t *) out + i, (const uint8_t *) text + i, len - i,
                            first_upper && i == 0);
    return out;
}

char *uqm_answer_lower(struct uqm_arena *arena, const char *text)
{
    return copy_cased(arena, text, false);
}

char *uqm_answer_capitalize(struct uqm_arena *arena, const char *text)
{
    return copy_cased(arena, text, true);
}

char *uqm_answer_strip(struct uqm_arena *arena, const char *text)
{
    if (!text)
        return NULL;
    const uint8_t *s = (const uint8_t *) text;
    const size_t len = strlen(text);
    size_t begin = 0, end = 0, n;
    while ((n = uqm_utf8_space(s + begin, len - begin)))
        begin += n;
    for (size_t i = begin; i < len;) {
        n = uqm_utf8_space(s + i, len - i);
        i += n ? n : 1;
        if (!n)
            end = i;
    }
    return uqm_arena_strndup(arena, text + begin, end > begin ? end - begin : 0);
}

char *uqm_answer_map(struct uqm_arena *arena, const char *text, const char *from, char to)
{
    char *out = text ? uqm_arena_strndup(arena, text, strlen(text)) : NULL;
    if (!out)
        return NULL;
    char *at = out;
    for (const char *p = text; *p; p++) {
        const bool hit = strchr(from, *p) != NULL;
        if (!hit)
            *at++ = *p;
        else if (to)
            *at++ = to;
    }
    *at = 0;
    return out;
}

/* Beyond ASCII what is neither letter, digit nor white space: marks, symbols, controls. */
static bool is_mark(int32_t c)
{
    static const int32_t marks[][2] = {
        { 0x80, 0x84 },     { 0x86, 0x9F },       { 0xA1, 0xA9 },       { 0xAB, 0xB1 },
        { 0xB4, 0xB4 },     { 0xB6, 0xB8 },       { 0xBB, 0xBB },       { 0xBF, 0xBF },
        { 0xD7, 0xD7 },     { 0xF7, 0xF7 },       { 0x300, 0x36F },     { 0x200B, 0x2027 },
        { 0x202A, 0x202E }, { 0x2030, 0x205E },   { 0x2060, 0x206F },   { 0x207A, 0x207E },
        { 0x208A, 0x208E }, { 0x20A0, 0x2101 },   { 0x2103, 0x2106 },   { 0x2116, 0x2118 },
        { 0x211E, 0x2123 }, { 0x218A, 0x244A },   { 0x249C, 0x24E9 },   { 0x2500, 0x2775 },
        { 0x2794, 0x2BFF }, { 0x3001, 0x3004 },   { 0x3008, 0x3020 },   { 0xFE00, 0xFE6F },
        { 0xFEFF, 0xFF0F }, { 0xFF1A, 0xFF20 },   { 0xFF3B, 0xFF40 },   { 0xFF5B, 0xFF65 },
        { 0xFFE0, 0xFFFD }, { 0x1F000, 0x1F0FF }, { 0x1F10D, 0x1FBCA },
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (c >= marks[i][0] && c <= marks[i][1])
            return true;
    return false;
}

char *uqm_answer_words_only(struct uqm_arena *arena, const char *text)
{
    const size_t len = text ? strlen(text) : 0;
    char *out = text ? uqm_arena_strndup(arena, text, len) : NULL, *at = out;
    for (size_t i = 0, n; out && i < len; i += n) {
        const uint8_t *s = (const uint8_t *) text + i;
        n = uqm_utf8_len(s, len - i);
        const int32_t c = n ? code_point(s, n) : 0xFFFD;
        n = n ? n : 1;
        const bool word = c < 0x80 ? !strchr(uqm_answer_punctuation, c) || c == '_' : !is_mark(c);
        if (uqm_utf8_space(s, len - i) || (word && c > ' ' && c != 0x7f)) {
            memcpy(at, s, n);
            at += n;
        }
    }
    if (out)
        *at = 0;
    return uqm_answer_strip(arena, out);
}

bool uqm_answer_split(struct uqm_answer_words *out, struct uqm_arena *arena, const char *text)
{
    *out = (struct uqm_answer_words){ 0 };
    if (!text)
        return false;
    const size_t len = strlen(text);
    char *copy = uqm_arena_strndup(arena, text, len);
    out->v = uqm_arena_alloc(arena, len / 2 + 1, sizeof *out->v);
    if (!copy || !out->v)
        return false;
    bool inside = false;
    for (size_t i = 0; i < len;) {
        const size_t space = uqm_utf8_space((const uint8_t *) text + i, len - i);
        if (space)
            memset(copy + i, 0, space);
        else if (!inside)
            out->v[out->n++] = copy + i;
        inside = !space;
        i += space ? space : 1;
    }
    return true;
}

char *uqm_answer_join(struct uqm_arena *arena, const struct uqm_answer_words *words)
{
    size_t len = 1;
    for (size_t i = 0; i < words->n; i++)
        len += strlen(words->v[i]) + 1;
    char *out = uqm_arena_alloc(arena, len, 1), *at = out;
    for (size_t i = 0; out && i < words->n; i++) {
        if (i > 0)
            *at++ = ' ';
        at = stpcpy(at, words->v[i]);
    }
    return out;
}

const char *uqm_answer_digits(const char *word)
{
    static const char *const names[] = { "zero", "one",   "two",   "three", "four", "five",
                                         "six",  "seven", "eight", "nine",  "ten" };
    static const char *const digits[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(word, names[i]))
            return digits[i];
    return NULL;
}

bool uqm_answer_is_article(const char *word)
{
    return !strcmp(word, "a") || !strcmp(word, "an") || !strcmp(word, "the");
}

char *uqm_answer_plain(struct uqm_arena *arena, const char *text)
{
    struct uqm_answer_words words;
    const char *spaced =
        uqm_answer_map(arena, uqm_answer_lower(arena, text), uqm_answer_punctuation, ' ');
    if (!uqm_answer_split(&words, arena, spaced))
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < words.n; i++) {
        if (uqm_answer_is_article(words.v[i]))
            continue;
        const char *digits = uqm_answer_digits(words.v[i]);
        words.v[n++] = digits ? digits : words.v[i];
    }
    words.n = n;
    return uqm_answer_join(arena, &words);
}
