/*
 * MMMU's reading of an answer (spec uq.md 6), as its authors' eval_utils.py and lmms-eval do it:
 * an option among choices; texts and numbers of an open answer.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/utf8.h"
#include "src/uq/answer_text.h"
#include "src/uq/metric.h"

/* ---- among choices ---- */

/* Each mark off both ends, in turn; a space to either side. */
static char *bared(struct uqm_arena *arena, const char *answer)
{
    static const char marks[] = ",.!?;:'";
    size_t begin = 0, end = strlen(answer);
    for (const char *m = marks; *m; m++) {
        while (begin < end && answer[begin] == *m)
            begin++;
        while (begin < end && answer[end - 1] == *m)
            end--;
    }
    return uqm_arena_printf(arena, " %.*s ", (int) (end - begin), answer + begin);
}

/* Where `part` stands last in the text, -1 if nowhere. */
static long last_place(const char *text, const char *part)
{
    long at = -1;
    for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
        at = p - text;
    return at;
}

/* The candidates of one spelling: in which options' it occurs, and where last. */
struct spelling {
    const char *before, *after;
};

static void spell(char out[4], struct spelling s, size_t option)
{
    char *at = stpcpy(out, s.before);
    *at++ = (char) ('A' + option);
    stpcpy(at, s.after);
}

/* The option whose `rank` spelling is furthest right among those that `find` finds; -1: none. */
static int letter_candidate(const char *text, struct spelling find, struct spelling rank, size_t n)
{
    int best = -1;
    long best_at = 0;
    for (size_t i = 0; i < n; i++) {
        char found[4], ranked[4];
        spell(found, find, i);
        spell(ranked, rank, i);
        if (!strstr(text, found))
            continue;
        const long at = last_place(text, ranked);
        if (best < 0 || at > best_at) {
            best = (int) i;
            best_at = at;
        }
    }
    return best;
}

static int text_candidate(struct uqm_arena *arena, const char *text, const char *const *choices,
                          size_t n)
{
    const char *lower = uqm_answer_lower(arena, text);
    int best = -1;
    long best_at = 0;
    for (size_t i = 0; i < n; i++) {
        const char *choice = uqm_answer_lower(arena, choices[i]);
        if (!lower || !choice)
            return -2;
        /* An empty text ends every answer. */
        const long at = *choice ? last_place(lower, choice) : (long) strlen(lower);
        if (at >= 0 && (best < 0 || at > best_at)) {
            best = (int) i;
            best_at = at;
        }
    }
    return best;
}

static int find_choice(struct uqm_arena *arena, const char *answer, const char *const *choices,
                       size_t n)
{
    static const struct spelling bracketed = { "(", ")" }, spaced = { "", " " },
                                 pointed = { "", "." }, alone = { " ", " " };
    const char *text = bared(arena, answer);
    struct uqm_answer_words words;
    if (!text || !uqm_answer_split(&words, arena, text))
        return -2;
    int option = letter_candidate(text, bracketed, bracketed, n);
    if (option < 0)
        option = letter_candidate(text, spaced, alone, n);
    if (option < 0)
        option = letter_candidate(text, pointed, alone, n);
    if (option < 0 && words.n > 5)
        option = text_candidate(arena, text, choices, n);
    return option;
}

int uqm_metric_mmmu_choice(const char *answer, const char *const *choices, size_t n)
{
    struct uqm_arena arena = { 0 };
    const int option = find_choice(&arena, answer, choices, n);
    uqm_arena_finish(&arena);
    return option;
}

/* ---- open answers ---- */

/* What an answer may mean: texts and numbers. */
struct meanings {
    struct uqm_arena arena;
    const char **texts;
    double *numbers;
    size_t n_texts, n_numbers, room;
    bool no_memory;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(const char *s)
{
    size_t n = 0;
    while (is_digit(s[n]))
        n++;
    return n;
}

/* Python's \w, what is not ASCII taken for letters. */
static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (c & 0x80);
}

static bool reserve(struct meanings *m)
{
    if (m->n_texts + m->n_numbers + 2 <= m->room)
        return true;
    const size_t room = m->room ? 2 * m->room : 16;
    const char **texts = realloc(m->texts, room * sizeof *texts);
    if (texts)
        m->texts = texts;
    double *numbers = realloc(m->numbers, room * sizeof *numbers);
    if (numbers)
        m->numbers = numbers;
    if (texts && numbers)
        m->room = room;
    m->no_memory |= !texts || !numbers;
    return !m->no_memory;
}

/* The text as a number is looked for in it: without commas, space at its ends and, as Python's
 * float() has it, the underscores between digits. */
static char *number_text(struct uqm_arena *arena, const char *text)
{
    char *s = uqm_answer_strip(arena, uqm_answer_map(arena, text, ",", 0)), *at = s;
    for (const char *p = s; p && *p; p++)
        if (*p != '_' || p == s || !is_digit(p[-1]) || !is_digit(p[1]))
            *at++ = *p;
    if (s)
        *at = 0;
    return s;
}

/* What Python's float() reads. */
static bool is_number(const char *s)
{
    s += *s == '+' || *s == '-';
    const size_t whole = count_digits(s), point = s[whole] == '.',
                 fraction = point ? count_digits(s + whole + 1) : 0;
    if (whole + fraction == 0) {
        static const char *const names[] = { "inf", "infinity", "nan" };
        for (size_t i = 0; i < 3; i++)
            if (!strcasecmp(s, names[i]))
                return true;
        return false;
    }
    s += whole + point + fraction;
    if (*s != 'e' && *s != 'E')
        return !*s;
    s++;
    s += *s == '+' || *s == '-';
    const size_t exponent = count_digits(s);
    return exponent > 0 && !s[exponent];
}

static double to_cents(double x)
{
    char text[400]; /* a double has 309 digits before its point at most */
    snprintf(text, sizeof text, "%.2f", x);
    return strtod(text, NULL);
}

/* A number, to two decimals; else a text, a lone character with a space to either side, so that it
 * does not match within a word. */
static void add_meaning(struct meanings *m, const char *text)
{
    const char *s = uqm_answer_strip(&m->arena, text);
    const char *bare = number_text(&m->arena, s);
    const char *lower = uqm_answer_lower(&m->arena, s);
    if (!s || !bare || !lower || !reserve(m)) {
        m->no_memory = true;
        return;
    }
    if (is_number(bare)) {
        const double x = to_cents(strtod(bare, NULL));
        if (!isnan(x)) /* it equals nothing */
            m->numbers[m->n_numbers++] = x;
        return;
    }
    const size_t len = strlen(lower);
    if (len == 0 || uqm_utf8_len((const uint8_t *) lower, len) != len) {
        m->texts[m->n_texts++] = lower;
        return;
    }
    const char *after = uqm_arena_printf(&m->arena, " %s", lower),
               *before = uqm_arena_printf(&m->arena, "%s ", lower);
    m->no_memory |= !after || !before;
    if (!m->no_memory) {
        m->texts[m->n_texts++] = after;
        m->texts[m->n_texts++] = before;
    }
}

/* -?\b\d{1,3}(,\d{3})+\b at text[i]: its length, or 0. */
static size_t grouped_number(const char *text, size_t i)
{
    const char *s = text + i;
    const size_t sign = *s == '-';
    if (!sign && i > 0 && is_word(s[-1]))
        return 0;
    const size_t first = count_digits(s + sign);
    size_t n = sign + first, whole = 0;
    if (first < 1 || first > 3)
        return 0;
    while (s[n] == ',' && count_digits(s + n + 1) >= 3) {
        n += 4;
        if (!is_word(s[n]))
            whole = n;
    }
    return whole;
}

/* [eE][+-]?\d+ */
static size_t exponent_at(const char *s)
{
    if (*s != 'e' && *s != 'E')
        return 0;
    const size_t sign = s[1] == '+' || s[1] == '-', digits = count_digits(s + 1 + sign);
    return digits ? 1 + sign + digits : 0;
}

/* -?\d+(\.\d+)?[eE][+-]?\d+ */
static size_t scientific_number(const char *text, size_t i)
{
    const char *s = text + i;
    const size_t sign = *s == '-', whole = count_digits(s + sign);
    size_t n = sign + whole;
    if (whole == 0)
        return 0;
    if (s[n] == '.' && is_digit(s[n + 1]))
        n += 1 + count_digits(s + n + 1);
    const size_t exponent = exponent_at(s + n);
    return exponent ? n + exponent : 0;
}

/* -?(\d+\.\d+|\.\d+|\d+\b) that no exponent, comma or digit follows */
static size_t simple_number(const char *text, size_t i)
{
    const char *s = text + i;
    const size_t sign = *s == '-', whole = count_digits(s + sign);
    const char *point = s + sign + whole;
    const size_t fraction = *point == '.' ? count_digits(point + 1) : 0;
    if (fraction > 0) {
        const char *end = point + 1 + fraction;
        if (!exponent_at(end) && *end != ',')
            return (size_t) (end - s);
    }
    return whole > 0 && !is_word(*point) && *point != ',' ? sign + whole : 0;
}

typedef size_t (*number_fn)(const char *text, size_t i);

static void add_numbers(struct meanings *m, const char *text)
{
    static const number_fn kinds[] = { grouped_number, scientific_number, simple_number };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t i = 0; text[i] && !m->no_memory;) {
            const size_t n = kinds[k](text, i);
            const char *number = n ? uqm_arena_strndup(&m->arena, text + i, n) : "";
            m->no_memory |= !number;
            if (n && number)
                add_meaning(m, number);
            i += n ? n : 1;
        }
}

static size_t count_characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

/* The shortest text after the last of any indicator; NULL where there is none. */
static const char *key_part(struct meanings *m, const char *line, bool last_line)
{
    static const char *const indicators[] = { "could be ", "so ",        "is ",
                                              "thus ",     "therefore ", "final ",
                                              "answer ",   "result ",    "=" };
    const size_t n = sizeof indicators / sizeof *indicators - !last_line;
    const char *shortest = NULL;
    for (size_t i = 0; i < n; i++) {
        const long at = last_place(line, indicators[i]);
        if (at < 0)
            continue;
        const char *part = uqm_answer_strip(&m->arena, line + at + strlen(indicators[i]));
        if (!part) {
            m->no_memory = true;
            return NULL;
        }
        if (!shortest || !*shortest || count_characters(part) < count_characters(shortest))
            shortest = part;
    }
    const bool trivial = shortest && (!*shortest || (!shortest[1] && strchr(":,.!?;'", *shortest)));
    return trivial ? NULL : shortest;
}

/* Per line what its indicators point to; the whole answer where they point to nothing. */
static void read_open(struct meanings *m, const char *answer)
{
    char *text = uqm_answer_strip(&m->arena, answer);
    if (!text) {
        m->no_memory = true;
        return;
    }
    text += strspn(text, ".");
    for (size_t len = strlen(text); len > 0 && text[len - 1] == '.'; len--)
        text[len - 1] = 0;
    text = uqm_answer_lower(&m->arena, text);
    bool found = false;
    for (const char *line = text; line && !m->no_memory;) {
        const char *end = strchr(line, '\n');
        const char *own =
            uqm_arena_strndup(&m->arena, line, end ? (size_t) (end - line) : strlen(line));
        const char *part = own ? key_part(m, own, !end) : NULL;
        m->no_memory |= !own;
        if (part) {
            add_meaning(m, part);
            add_numbers(m, part);
            found = true;
        }
        line = end ? end + 1 : NULL;
    }
    if (!text) {
        m->no_memory = true;
    } else if (!found) {
        add_meaning(m, text);
        add_numbers(m, text);
    }
}

static bool agree(const struct meanings *said, const struct meanings *golds)
{
    for (size_t i = 0; i < said->n_texts; i++)
        for (size_t k = 0; k < golds->n_texts; k++)
            if (strstr(said->texts[i], golds->texts[k]))
                return true;
    for (size_t i = 0; i < said->n_numbers; i++)
        for (size_t k = 0; k < golds->n_numbers; k++)
            if (!(said->numbers[i] < golds->numbers[k] || said->numbers[i] > golds->numbers[k]))
                return true;
    return false;
}

static void meanings_finish(struct meanings *m)
{
    free(m->texts);
    free(m->numbers);
    uqm_arena_finish(&m->arena);
}

int uqm_metric_mmmu_open(const char *answer, const char *const *golds, size_t n)
{
    struct meanings said = { 0 }, right = { 0 };
    read_open(&said, answer);
    for (size_t i = 0; i < n; i++)
        add_meaning(&right, golds[i]);
    const bool no_memory = said.no_memory || right.no_memory;
    const int result = no_memory ? -1 : agree(&said, &right);
    meanings_finish(&said);
    meanings_finish(&right);
    return result;
}
