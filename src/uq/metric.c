#include "src/uq/metric.h"

#include <string.h>

#include "src/base/rng.h"
#include "src/base/utf8.h"
#include "src/uq/answer_text.h"

/* One record and one answer; texts on the way live in the arena, and all are checked at its end. */
struct scoring {
    enum uqm_metric metric;
    const struct uqm_record *record;
    const char *answer;
    const char *set;
    uint64_t seed;
    struct uqm_arena arena;
    bool no_memory;
};

/* ---- golds ---- */

static bool reads_letters(enum uqm_metric metric)
{
    return metric == UQM_METRIC_MMMU || metric == UQM_METRIC_LMMS_MMMU ||
           metric == UQM_METRIC_LMMS_SEED || metric == UQM_METRIC_LMMS_AI2D ||
           metric == UQM_METRIC_LMMS_SCIENCEQA;
}

/* MMMU's open questions have answers, and no choices. */
static bool wants_letter(enum uqm_metric metric, const struct uqm_record *record)
{
    return reads_letters(metric) && record->n_choices > 0;
}

bool uqm_metric_has_gold(enum uqm_metric metric, const struct uqm_record *record)
{
    return wants_letter(metric, record) ? record->answer >= 0 : record->n_answers > 0;
}

/* What is right: the label's letter, or the record's answers. */
struct golds {
    char letter[2];
    const char *one;
    const char *const *v;
    size_t n;
};

static void find_golds(struct golds *g, const struct scoring *s)
{
    *g = (struct golds){ .v = s->record->answers, .n = s->record->n_answers };
    if (!wants_letter(s->metric, s->record))
        return;
    g->letter[0] = (char) ('A' + s->record->answer);
    g->one = g->letter;
    g->v = &g->one;
    g->n = 1;
}

/* ---- the rules ---- */

typedef char *(*form_fn)(struct uqm_arena *arena, const char *text);

static bool same(struct scoring *s, const char *a, const char *b)
{
    s->no_memory |= !a || !b;
    return !s->no_memory && !strcmp(a, b);
}

/* Equal to any gold, both in that form. */
static double match_any(struct scoring *s, form_fn form, const char *answer)
{
    struct golds g;
    find_golds(&g, s);
    const char *said = form(&s->arena, answer);
    for (size_t i = 0; i < g.n; i++)
        if (same(s, said, form(&s->arena, g.v[i])))
            return 1;
    return 0;
}

/* Lower-cased, stripped, ASCII punctuation deleted: lmms-eval's exact match. */
static char *bare(struct uqm_arena *arena, const char *text)
{
    return uqm_answer_map(arena, uqm_answer_lower(arena, text), uqm_answer_punctuation, 0);
}

static char *same_text(struct uqm_arena *arena, const char *text)
{
    return uqm_arena_strndup(arena, text, strlen(text));
}

static char *lower_stripped(struct uqm_arena *arena, const char *text)
{
    return uqm_answer_strip(arena, uqm_answer_lower(arena, text));
}

double uqm_metric_leave_one_out(const char *answer, const char *const *golds, size_t n)
{
    double sum = 0;
    size_t matches = 0;
    for (size_t i = 0; i < n; i++)
        matches += !strcmp(answer, golds[i]);
    for (size_t i = 0; i < n; i++) {
        const size_t others = matches - !strcmp(answer, golds[i]);
        sum += others >= 3 ? 1 : (double) others / 3;
    }
    return n ? sum / (double) n : 0;
}

static double soft(struct scoring *s, const char *said, const char *const *golds)
{
    s->no_memory |= !said;
    for (size_t i = 0; i < s->record->n_answers; i++)
        s->no_memory |= !golds[i];
    return s->no_memory ? 0 : uqm_metric_leave_one_out(said, golds, s->record->n_answers);
}

static const char **make_list(struct scoring *s)
{
    const char **list = uqm_arena_alloc(&s->arena, s->record->n_answers + 1, sizeof *list);
    s->no_memory |= !list;
    return list;
}

static double vqa(struct scoring *s, form_fn form)
{
    const char **golds = make_list(s);
    for (size_t i = 0; golds && i < s->record->n_answers; i++)
        golds[i] = form(&s->arena, s->record->answers[i]);
    return golds ? soft(s, form(&s->arena, s->answer), golds) : 0;
}

/* Steps 2 and 3 alone, and only where the people disagreed. */
static char *steps(struct uqm_arena *arena, const char *text)
{
    return uqm_answer_vqa_words(arena, uqm_answer_vqa_punctuation(arena, text));
}

static double vqav2(struct scoring *s)
{
    const char *said = uqm_answer_vqa(&s->arena, s->answer), **golds = make_list(s);
    const size_t n = s->record->n_answers;
    bool agreed = true;
    if (!golds)
        return 0;
    for (size_t i = 0; i < n; i++) {
        golds[i] = uqm_answer_map(&s->arena, s->record->answers[i], "\n\t", ' ');
        golds[i] = uqm_answer_strip(&s->arena, golds[i]);
        agreed &= same(s, golds[0], golds[i]);
    }
    for (size_t i = 0; !agreed && i < n; i++)
        golds[i] = steps(&s->arena, golds[i]);
    return soft(s, agreed ? said : steps(&s->arena, said), golds);
}

int uqm_metric_yes_no(enum uqm_metric metric, const char *answer)
{
    struct uqm_arena arena = { 0 };
    int yes = -1;
    if (metric == UQM_METRIC_YES_NO) {
        const char *plain = uqm_answer_plain(&arena, answer);
        yes = plain && !strncmp(plain, "yes", 3) && (!plain[3] || plain[3] == ' ');
    } else if (metric == UQM_METRIC_LMMS_POPE) {
        const char *said = lower_stripped(&arena, answer);
        yes = !said ? -1 : !strcmp(said, "yes") ? 1 : !strcmp(said, "no") ? 0 : -1;
    }
    uqm_arena_finish(&arena);
    return yes;
}

static double yes_no(struct scoring *s)
{
    return match_any(s, uqm_answer_plain, uqm_metric_yes_no(s->metric, s->answer) ? "yes" : "no");
}

/* The first character, whatever its case. */
static double first_character(struct scoring *s)
{
    const char *answer = uqm_answer_strip(&s->arena, s->answer);
    s->no_memory |= !answer;
    if (s->no_memory)
        return 0;
    const size_t n = uqm_utf8_len((const uint8_t *) answer, strlen(answer));
    return match_any(s, lower_stripped, uqm_arena_strndup(&s->arena, answer, n));
}

static bool is_capital(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* "B." and what follows it, after spaces, is B. */
static double ai2d(struct scoring *s)
{
    const char *p = s->answer;
    size_t space;
    while ((space = uqm_utf8_space((const uint8_t *) p, strlen(p))))
        p += space;
    if (is_capital(p[0]) && p[1] == '.')
        return match_any(s, bare, (const char[]){ p[0], 0 });
    return match_any(s, bare, s->answer);
}

static double scienceqa(struct scoring *s)
{
    const char *a = s->answer;
    if (is_capital(a[0]) && a[1] == '.')
        return match_any(s, same_text, (const char[]){ a[0], 0 });
    return match_any(s, same_text, a);
}

static char *unspaced(struct uqm_arena *arena, const char *text)
{
    return uqm_answer_map(arena, uqm_answer_strip(arena, text), "\n ", 0);
}

static char *on_one_line(struct uqm_arena *arena, const char *text)
{
    return uqm_answer_map(arena, lower_stripped(arena, text), "\n", ' ');
}

static double ocrbench(struct scoring *s)
{
    const struct uqm_record *r = s->record;
    const bool formulas = r->category && !strcmp(r->category, "HME100k");
    const form_fn form = formulas ? unspaced : on_one_line;
    const char *said = form(&s->arena, lower_stripped(&s->arena, s->answer));
    for (size_t i = 0; i < r->n_answers; i++) {
        const char *gold = form(&s->arena, r->answers[i]);
        s->no_memory |= !said || !gold;
        if (!s->no_memory && strstr(said, gold))
            return 1;
    }
    return 0;
}

/* ---- RealWorldQA: the question holds the options ---- */

static bool is_word_character(char c)
{
    return is_capital(c) || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           (c & 0x80);
}

/* The texts after "X. ", each to the end of its line. false: no memory. */
static bool find_options(struct uqm_answer_words *out, struct uqm_arena *arena,
                         const char *question)
{
    *out = (struct uqm_answer_words){ 0 };
    out->v = uqm_arena_alloc(arena, strlen(question) / 3 + 1, sizeof *out->v);
    for (const char *p = question; out->v && *p;) {
        const uint8_t *text = (const uint8_t *) p + 2;
        size_t space = is_capital(p[0]) && p[1] == '.' ? uqm_utf8_space(text, strlen(p + 2)) : 0;
        if (!space || (p > question && is_word_character(p[-1]))) {
            p++;
            continue;
        }
        for (; space; space = uqm_utf8_space(text, strlen((const char *) text)))
            text += space;
        const size_t len = strcspn((const char *) text, "\n");
        const char *option = uqm_arena_strndup(arena, (const char *) text, len);
        option = uqm_answer_strip(arena, option);
        if (!option)
            return false;
        out->v[out->n++] = option;
        p = (const char *) text + len;
    }
    return out->v != NULL;
}

/* The option that stands leftmost in the text, the earlier one of several; the last one that reads
 * the same gives the letter. -1: none does. */
static int leftmost_option(const struct uqm_answer_words *options, const char *text)
{
    for (const char *p = text;; p++) {
        for (size_t i = 0; i < options->n; i++) {
            if (strncmp(p, options->v[i], strlen(options->v[i])) != 0)
                continue;
            size_t last = i;
            for (size_t k = i + 1; k < options->n; k++)
                if (!strcmp(options->v[k], options->v[i]))
                    last = k;
            return (int) last;
        }
        if (!*p)
            return -1;
    }
}

static double realworldqa(struct scoring *s)
{
    struct uqm_answer_words options;
    const char *lower = uqm_answer_lower(&s->arena, s->answer);
    const char *digits = lower ? uqm_answer_digits(lower) : NULL;
    const char *said = uqm_answer_words_only(&s->arena, digits ? digits : s->answer);
    s->no_memory |= !lower || !said || !find_options(&options, &s->arena, s->record->question);
    if (s->no_memory)
        return 0;
    const int option = leftmost_option(&options, said);
    if (option >= 0 && option < 26)
        return match_any(s, bare, (const char[]){ (char) ('A' + option), 0 });
    return match_any(s, bare, said);
}

/* ---- MMMU ---- */

static double mmmu(struct scoring *s)
{
    if (s->record->n_choices == 0)
        return match_any(s, uqm_answer_plain, s->answer);
    return first_character(s);
}

static double lmms_mmmu(struct scoring *s)
{
    const struct uqm_record *r = s->record;
    if (r->n_choices == 0) {
        const int right = uqm_metric_mmmu_open(s->answer, r->answers, r->n_answers);
        s->no_memory |= right < 0;
        return right > 0;
    }
    int said = uqm_metric_mmmu_choice(s->answer, r->choices, r->n_choices);
    s->no_memory |= said == -2;
    if (said == -1) {
        struct uqm_rng rng;
        uqm_rng_init(&rng, uqm_rng_stream(s->seed, UQM_RNG_GUESS, s->set, r->id, 0, 0));
        said = (int) uqm_rng_below(&rng, (uint32_t) r->n_choices);
    }
    return said == r->answer;
}

/* ---- by name ---- */

static const struct {
    const char *name;
    double (*score)(struct scoring *s);
} metrics[] = {
    [UQM_METRIC_MMMU] = { "mmmu", mmmu },
    [UQM_METRIC_YES_NO] = { "yes_no", yes_no },
    [UQM_METRIC_LMMS_VQAV2] = { "lmms_vqav2", vqav2 },
    [UQM_METRIC_LMMS_MMMU] = { "lmms_mmmu", lmms_mmmu },
    [UQM_METRIC_LMMS_REALWORLDQA] = { "lmms_realworldqa", realworldqa },
    [UQM_METRIC_LMMS_SEED] = { "lmms_seed", first_character },
    [UQM_METRIC_LMMS_OCRBENCH] = { "lmms_ocrbench", ocrbench },
    [UQM_METRIC_LMMS_AI2D] = { "lmms_ai2d", ai2d },
    [UQM_METRIC_LMMS_SCIENCEQA] = { "lmms_scienceqa", scienceqa },
    /* without a function: a form in which texts are compared, below */
    [UQM_METRIC_EXACT_MATCH] = { "exact_match", NULL },
    [UQM_METRIC_VQA_SOFT] = { "vqa_soft", NULL },
    [UQM_METRIC_LMMS_EXACT] = { "lmms_exact_match", NULL },
    [UQM_METRIC_LMMS_VQA] = { "lmms_vqa", NULL },
    [UQM_METRIC_LMMS_POPE] = { "lmms_pope", NULL },
};
static_assert(sizeof metrics / sizeof *metrics == UQM_N_METRICS, "every metric has a name");

static double compare(struct scoring *s)
{
    switch (s->metric) {
    case UQM_METRIC_VQA_SOFT: return vqa(s, uqm_answer_plain);
    case UQM_METRIC_LMMS_VQA: return vqa(s, uqm_answer_vqa);
    case UQM_METRIC_LMMS_EXACT: return match_any(s, bare, s->answer);
    case UQM_METRIC_LMMS_POPE: return match_any(s, lower_stripped, s->answer);
    default: return match_any(s, uqm_answer_plain, s->answer);
    }
}

enum uqm_metric uqm_metric_find(const char *name)
{
    int i = 0;
    while (i < UQM_N_METRICS && strcmp(metrics[i].name, name) != 0)
        i++;
    return (enum uqm_metric) i;
}

const char *uqm_metric_name(enum uqm_metric metric)
{
    return metrics[metric].name;
}

int uqm_metric_score(double *score, enum uqm_metric metric, const struct uqm_record *record,
                     const char *answer, const char *set, uint64_t seed, struct uqm_err *err)
{
    struct scoring s = {
        .metric = metric, .record = record, .answer = answer, .set = set, .seed = seed
    };
    *score = metrics[metric].score ? metrics[metric].score(&s) : compare(&s);
    uqm_arena_finish(&s.arena);
    return s.no_memory ? uqm_fail(err, UQM_ERR_NOMEM, "no memory for the answer's score") : UQM_OK;
}
