#include "src/merge/vocab_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/plan_names.h"

/* While the plan is made. */
struct making {
    struct uqm_vocab_plan *plan;
    struct uqm_recipe_source *rs;
    const struct uqm_recipe_tokenizer *want;
    struct uqm_vocab **vocabularies; /* [n_inputs] */
    uint64_t *n_rows;                /* [n_inputs] of their embeddings */
    uint32_t next_id;
};

static int no_memory(const struct making *m, struct uqm_err *err)
{
    return uqm_plan_no_memory(m->rs, err);
}

/* --- reading --- */

/* The rows of a model's embedding: tokens above have none. */
static uint64_t count_rows(const struct uqm_plan_input *in)
{
    const struct uqm_source *s = &in->checkpoint->source;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (uqm_name_vocabulary(s->tensors[i].canonical, s->tensors[i].part) == UQM_EMBEDDING &&
            s->tensors[i].rank == 2)
            return s->tensors[i].shape[0];
    return 0;
}

/* An input without a tokenizer is taken to speak as the home model does. */
static int read_inputs(struct making *m, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = m->rs;
    for (size_t i = 0; i < rs->n_inputs; i++) {
        size_t k = i == 0 ? rs->home : i <= rs->home ? i - 1 : i; /* the home model first */
        const struct uqm_plan_input *in = &rs->inputs[k];
        struct uqm_err why = { 0 };
        m->n_rows[k] = count_rows(in);
        if (m->n_rows[k] == 0)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s:%d: model %s has no embedding that we know, so no tokenizer can "
                            "be fitted to it",
                            rs->recipe->where, m->want->line, in->model->path);
        int ret = uqm_vocabulary_read(&m->vocabularies[k], in->checkpoint->source.home, &why);
        if (ret == UQM_OK)
            continue;
        if (k == rs->home || ret != UQM_ERR_IO) {
            *err = why;
            return ret;
        }
        ret = uqm_warn(rs->source.env, err, "%s; it is taken to have that of %s", why.msg,
                       rs->inputs[rs->home].model->path);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static const struct uqm_vocab *vocabulary_of(const struct making *m, size_t input)
{
    return m->vocabularies[input] ? m->vocabularies[input] : m->vocabularies[m->rs->home];
}

/* --- the tokens --- */

/* Tokens of the home tokenizer that its model has no row for are stripped; the model's own cannot
 * be taken out of a tokenizer without spoiling it. */
static int check_strip(struct making *m, const struct uqm_vocab *home, uint64_t n_rows,
                       struct uqm_err *err)
{
    m->plan->first_stripped = UINT64_MAX;
    for (size_t i = 0; i < home->n; i++) {
        const struct uqm_vocab_token *t = &home->v[i];
        struct uqm_printable shown;
        if (t->id < n_rows)
            continue;
        if (!t->added)
            return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                            "%s: token %s has the number %" PRIu32 ", but the model's embedding "
                            "has %" PRIu64 " rows; only added tokens can be left out",
                            home->where, uqm_printable(&shown, t->text, t->len), t->id, n_rows);
        m->plan->first_stripped = n_rows;
    }
    return UQM_OK;
}

static int take_home_tokens(struct making *m, const struct uqm_vocab *home, uint64_t n_rows,
                            struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    p->out = calloc(1, sizeof *p->out);
    if (!p->out)
        return no_memory(m, err);
    p->out->file = home->file;
    p->out->where = uqm_arena_strndup(&p->out->arena, home->where, strlen(home->where));
    int ret = p->out->where ? check_strip(m, home, n_rows, err) : no_memory(m, err);
    for (size_t i = 0; i < home->n && ret == UQM_OK; i++)
        if (home->v[i].id < p->first_stripped)
            ret = uqm_vocabulary_add(p->out, &home->v[i], err);
    p->n_home = p->out->n;
    p->out->n_own = home->n_own; /* none of them is stripped; some are defined as added ones too */
    p->changed = uqm_arena_alloc(&p->arena, p->n_home + 1, sizeof *p->changed);
    m->next_id = uqm_vocabulary_next_id(p->out);
    return ret == UQM_OK && !p->changed ? no_memory(m, err) : ret;
}

static int append(struct making *m, const char *text, size_t len, uint8_t flags,
                  struct uqm_err *err)
{
    const struct uqm_vocab_token t = { text, len, m->next_id, true, flags };
    int ret = uqm_vocabulary_add(m->plan->out, &t, err);
    m->next_id += ret == UQM_OK;
    return ret;
}

static int by_id(const void *a, const void *b)
{
    const struct uqm_vocab_token *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* The first definition of an added token counts, also over an ordinary one of that spelling. */
static int take_added(struct making *m, const struct uqm_vocab_token *t, struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    const struct uqm_vocab_token *there = uqm_vocabulary_find(p->out, t->text, t->len);
    if (!there)
        return append(m, t->text, t->len, t->flags, err);
    if (there->added)
        return UQM_OK;
    struct uqm_vocab_token same = *t;
    size_t at = (size_t) (there - p->out->v);
    same.id = there->id;
    if (at < p->n_home)
        p->changed[at] = true;
    return uqm_vocabulary_add(p->out, &same, err);
}

/* Whether any input defines it as an added token: those come behind all ordinary ones. */
static bool is_added_by_any(const struct making *m, const struct uqm_vocab_token *t)
{
    for (size_t k = 0; k < m->rs->n_inputs; k++) {
        const struct uqm_vocab_token *theirs =
            m->vocabularies[k] ? uqm_vocabulary_find(m->vocabularies[k], t->text, t->len) : NULL;
        if (theirs && theirs->added && theirs->id < m->n_rows[k])
            return true;
    }
    return false;
}

/* The tokens of one input that the output lacks, ascending by number: the ordinary, or the added.
 */
static int unite(struct making *m, size_t input, bool added, struct uqm_err *err)
{
    const struct uqm_vocab *v = m->vocabularies[input];
    const struct uqm_vocab_token **list = v ? malloc((v->n + 1) * sizeof(void *)) : NULL;
    size_t n = 0;
    int ret = UQM_OK;
    if (!v)
        return UQM_OK;
    if (!list)
        return no_memory(m, err);
    for (size_t i = 0; i < v->n; i++)
        if (v->v[i].added == added && v->v[i].id < m->n_rows[input])
            list[n++] = &v->v[i];
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        if (added)
            ret = take_added(m, list[i], err);
        else if (!uqm_vocabulary_find(m->plan->out, list[i]->text, list[i]->len) &&
                 !is_added_by_any(m, list[i]))
            ret = append(m, list[i]->text, list[i]->len, UQM_TOKEN_NORMALIZED, err);
    free(list);
    return ret;
}

static int unite_all(struct making *m, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = m->rs;
    int ret = UQM_OK;
    for (int added = 0; added < 2; added++)
        for (size_t i = 0; i < rs->n_inputs && ret == UQM_OK; i++) {
            size_t k = i == 0 ? rs->home : i <= rs->home ? i - 1 : i;
            ret = unite(m, k, added, err);
        }
    return ret;
}

/* A tokenizer that is none of the inputs'. */
static int take_foreign(struct making *m, struct uqm_err *err)
{
    const struct uqm_recipe *r = m->rs->recipe;
    const struct uqm_recipe_model model = { .path = m->want->model, .line = m->want->line };
    struct uqm_vocab *v = NULL;
    char *path;
    int ret = uqm_plan_find_model(&path, r, &model, err);
    if (ret < 0)
        return ret;
    ret = uqm_vocabulary_read(&v, path, err);
    if (ret == UQM_OK)
        ret = take_home_tokens(m, v, UINT64_MAX, err);
    m->plan->home = uqm_arena_strndup(&m->plan->arena, path, strlen(path));
    uqm_vocabulary_free(&v);
    free(path);
    return ret == UQM_OK && !m->plan->home ? no_memory(m, err) : ret;
}

static int settle_tokens(struct making *m, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = m->rs;
    const struct uqm_recipe_tokenizer *want = m->want;
    size_t home = rs->home;
    int ret;
    if (want->vocabulary == UQM_VOCABULARY_MODEL && want->model_index < 0) {
        ret = take_foreign(m, err);
    } else {
        bool of_model = want->vocabulary == UQM_VOCABULARY_MODEL;
        if (of_model)
            home = rs->input_of[want->model_index];
        m->plan->home = rs->inputs[home].checkpoint->source.home;
        ret = take_home_tokens(m, vocabulary_of(m, home), of_model ? UINT64_MAX : m->n_rows[home],
                               err);
    }
    if (ret == UQM_OK && want->vocabulary == UQM_VOCABULARY_UNION)
        ret = unite_all(m, err);
    for (size_t i = 0; i < want->n_tokens && ret == UQM_OK; i++) {
        const char *text = want->tokens[i].text;
        if (!uqm_vocabulary_find(m->plan->out, text, strlen(text)))
            ret = append(m, text, strlen(text), UQM_TOKEN_NORMALIZED, err);
    }
    return ret;
}

/* --- the rows --- */

static int count_output(struct making *m, struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    uint64_t n = 0, pad = m->want->pad_to_multiple_of;
    for (size_t i = 0; i < p->out->n; i++)
        n = uqm_max_u64(n, p->out->v[i].id + UINT64_C(1));
    p->n_real = (uint32_t) n;
    if (pad)
        n = (n + pad - 1) / pad * pad;
    if (n == 0 || n > 2 * (uint64_t) UQM_VOCABULARY_MOST_ID)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: a vocabulary of %" PRIu64 " rows",
                        m->rs->recipe->where, m->want->line, n);
    p->n_rows = (uint32_t) n;
    return UQM_OK;
}

static int find_own_rows(struct making *m, struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    p->n_inputs = m->rs->n_inputs;
    p->own = uqm_arena_alloc(&p->arena, p->n_inputs, sizeof(int32_t *));
    for (size_t k = 0; k < p->n_inputs && p->own; k++) {
        const struct uqm_vocab *v = vocabulary_of(m, k);
        int32_t *own = uqm_arena_alloc(&p->arena, p->n_real, sizeof *own);
        if (!own)
            return no_memory(m, err);
        p->own[k] = own;
        for (uint32_t i = 0; i < p->n_real; i++)
            own[i] = -1;
        for (size_t i = 0; i < p->out->n; i++) {
            const struct uqm_vocab_token *t = &p->out->v[i];
            const struct uqm_vocab_token *mine = uqm_vocabulary_find(v, t->text, t->len);
            if (mine && mine->id < m->n_rows[k])
                own[t->id] = (int32_t) mine->id;
        }
    }
    return p->own ? UQM_OK : no_memory(m, err);
}

static int no_row(const struct making *m, const struct uqm_recipe_token *t, const char *model,
                  const char *token, struct uqm_err *err)
{
    struct uqm_printable shown, other;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: token %s: model %s has no row for %s",
                    m->rs->recipe->where, t->line, uqm_printable(&shown, t->text, strlen(t->text)),
                    model, uqm_printable(&other, token, strlen(token)));
}

static int set_rule(struct making *m, const struct uqm_recipe_token *t, struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    const struct uqm_vocab_token *token = uqm_vocabulary_find(p->out, t->text, strlen(t->text));
    struct uqm_vocab_rule *rule = &p->rules[token->id];
    *rule = (struct uqm_vocab_rule){ .force = t->force };
    if (t->rule == UQM_TOKEN_BY_DEFAULT)
        return UQM_OK;
    rule->is_set = true;
    rule->is_zero = t->rule == UQM_TOKEN_ZERO;
    if (rule->is_zero)
        return UQM_OK;
    size_t k = m->rs->input_of[t->model];
    const char *model = m->rs->inputs[k].model->path;
    rule->input = (uint32_t) k;
    if (t->rule == UQM_TOKEN_OF_ID) {
        if (t->id >= m->n_rows[k])
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s:%d: token %s: token_id %" PRIu64 ": model %s has %" PRIu64 " rows",
                            m->rs->recipe->where, t->line, t->text, t->id, model, m->n_rows[k]);
        rule->row = (uint32_t) t->id;
        return UQM_OK;
    }
    const char *text = t->rule == UQM_TOKEN_OF_TOKEN ? t->token : t->text;
    const struct uqm_vocab_token *theirs =
        uqm_vocabulary_find(vocabulary_of(m, k), text, strlen(text));
    if (!theirs || theirs->id >= m->n_rows[k])
        return no_row(m, t, model, text, err);
    rule->row = theirs->id;
    return UQM_OK;
}

static int set_rules(struct making *m, struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    int ret = UQM_OK;
    p->rules = uqm_arena_alloc(&p->arena, p->n_real, sizeof *p->rules);
    if (!p->rules)
        return no_memory(m, err);
    for (size_t i = 0; i < m->want->n_tokens && ret == UQM_OK; i++)
        ret = set_rule(m, &m->want->tokens[i], err);
    return ret;
}

/* What is not to be found anywhere becomes zeros, and is told. */
static int tell_missing(struct making *m, struct uqm_err *err)
{
    struct uqm_vocab_plan *p = m->plan;
    const struct uqm_vocab_token *first = NULL;
    for (size_t i = 0; i < p->out->n; i++) {
        const struct uqm_vocab_token *t = &p->out->v[i];
        bool has = p->rules[t->id].is_set;
        for (size_t k = 0; k < p->n_inputs && !has; k++)
            has = p->own[k][t->id] >= 0;
        if (has)
            continue;
        first = first ? first : t;
        p->n_without++;
    }
    struct uqm_printable shown;
    return first ? uqm_warn(m->rs->source.env, err,
                            "%s: no model has a row for %zu of the tokens: zeros; the first: %s",
                            m->rs->recipe->where, p->n_without,
                            uqm_printable(&shown, first->text, first->len))
                 : UQM_OK;
}

static int make(struct making *m, struct uqm_err *err)
{
    int ret = read_inputs(m, err);
    if (ret == UQM_OK)
        ret = settle_tokens(m, err);
    if (ret == UQM_OK)
        ret = count_output(m, err);
    if (ret == UQM_OK)
        ret = find_own_rows(m, err);
    if (ret == UQM_OK)
        ret = set_rules(m, err);
    return ret == UQM_OK ? tell_missing(m, err) : ret;
}

int uqm_vocab_plan_create(struct uqm_vocab_plan **out, struct uqm_recipe_source *rs,
                          struct uqm_err *err)
{
    const struct uqm_recipe_tokenizer *want = &rs->recipe->tokenizer;
    *out = NULL;
    if (want->vocabulary == UQM_VOCABULARY_AS_IT_IS)
        return UQM_OK;
    struct making m = {
        .plan = calloc(1, sizeof *m.plan),
        .rs = rs,
        .want = want,
        .vocabularies = calloc(rs->n_inputs, sizeof(struct uqm_vocab *)),
        .n_rows = calloc(rs->n_inputs, sizeof *m.n_rows),
    };
    int ret = m.plan && m.vocabularies && m.n_rows ? make(&m, err) : no_memory(&m, err);
    for (size_t k = 0; k < rs->n_inputs && m.vocabularies; k++)
        uqm_vocabulary_free(&m.vocabularies[k]);
    free(m.vocabularies);
    free(m.n_rows);
    if (ret < 0)
        uqm_vocab_plan_free(&m.plan);
    *out = m.plan;
    return ret;
}

void uqm_vocab_plan_free(struct uqm_vocab_plan **plan)
{
    struct uqm_vocab_plan *p = *plan;
    if (!p)
        return;
    uqm_vocabulary_free(&p->out);
    uqm_arena_finish(&p->arena);
    free(p);
    *plan = NULL;
}
