/*
 * Every value comes from the state, where an earlier run may have left it, else from the network,
 * and then it goes into the state before anything else happens. So an interrupted run loses at most
 * the model, step or look of a race that it was at.
 */
#include <stdio.h>

#include "src/uq/race.h"
#include "src/uq/select.h"

struct kind_text {
    char text[96];
};

/* What a value is, for the state: the measure, and of merges their rule. */
static const char *kind_of(struct kind_text *buf, const struct uqm_select *s,
                           const struct uqm_call *call, size_t n_models)
{
    char measure[40] = "uq";
    if (call->kind == UQM_MEASURE_ACCURACY)
        snprintf(measure, sizeof measure, "accuracy");
    else if (call->kind == UQM_MEASURE_CONFORMAL)
        snprintf(measure, sizeof measure, "cp %.17g", call->alpha);
    snprintf(buf->text, sizeof buf->text, "%s%s%s", measure, n_models > 1 ? " " : "",
             n_models > 1 ? s->rule_digest.text : "");
    return buf->text;
}

/* ---- single models ---- */

int uqm_select_model(struct uqm_measure *m, struct uqm_select *s, struct uqm_call *call, size_t i,
                     struct uqm_err *err)
{
    struct kind_text kind;
    const char *digest = s->model_digests[i].text;
    const struct uqm_state_key key = { kind_of(&kind, s, call, 1), &digest, 1 };
    int ret = uqm_check_cancel(&call->env, err);
    if (ret == UQM_OK)
        ret = uqm_measure_init(m, &call->survey, err);
    if (ret < 0)
        return ret;
    if (uqm_state_get(s->state, &key, m)) {
        /* Step 1, once there is an order, is a model that this run has seen to already. */
        if (call->trace && !s->ordered_names[0])
            uqm_log(&call->env, UQM_LOG_WARN,
                    "%s was measured by an earlier run: the trace lacks it", call->names[i]);
        return uqm_measure_summarize(m, &call->survey, call->names[i], err);
    }
    ret = uqm_call_measure_model(m, call, i, err);
    return ret < 0 ? ret : uqm_state_put(s->state, &key, m, err);
}

/* ---- merges ---- */

/* The merge of the first t, as a recipe; nothing is written. */
int uqm_select_ask_merge(struct uqm_measure *m, struct uqm_select *s, struct uqm_call *call,
                         size_t t, const bool *wanted, struct uqm_err *err)
{
    struct uqm_candidate candidate = { 0 };
    char name[32], stage[160];
    snprintf(name, sizeof name, "step %zu", t);
    snprintf(stage, sizeof stage, "%s of step %zu/%zu (+ %.96s)",
             call->kind == UQM_MEASURE_ACCURACY ? "accuracy" : "uncertainty", t, s->n,
             s->ordered_names[t - 1]);
    int ret = uqm_candidate_open_merge(&candidate, &call->env, &s->rule, s->ordered_paths, t,
                                       &call->open, err);
    call->runner.wanted = wanted;
    if (ret == UQM_OK)
        ret = uqm_call_values(m, call, &candidate, name, stage, err);
    call->runner.wanted = NULL;
    uqm_candidate_close(&candidate);
    return ret;
}

static struct uqm_state_key key_of(struct kind_text *kind, const struct uqm_select *s,
                                   const struct uqm_call *call, size_t t)
{
    return (struct uqm_state_key){ kind_of(kind, s, call, t), s->ordered_digests, t };
}

static bool is_whole(const struct uqm_measure *m, const struct uqm_call *call)
{
    /* Half of the records calibrate conformal sets; there are no races of these. */
    bool whole = true;
    for (size_t k = 0; k < m->n_sets && call->kind == UQM_MEASURE_UNCERTAINTY; k++)
        whole = whole && m->n_asked[k] == call->survey.sets[k].n_records;
    return whole;
}

static void warn_of_trace(const struct uqm_select *s, const struct uqm_call *call, size_t t)
{
    if (call->trace && !s->steps[t - 1].swept)
        uqm_log(&call->env, UQM_LOG_WARN, "%s was measured by an earlier run: the trace lacks it",
                s->ordered_names[t - 1]);
}

bool uqm_select_knows(struct uqm_select *s, struct uqm_call *call, size_t t)
{
    struct uqm_measure m;
    struct kind_text kind;
    const struct uqm_state_key key = key_of(&kind, s, call, t);
    if (uqm_measure_init(&m, &call->survey, NULL) < 0)
        return false;
    const bool known = uqm_state_get(s->state, &key, &m) && is_whole(&m, call);
    uqm_measure_finish(&m);
    return known;
}

int uqm_select_keep(struct uqm_select *s, struct uqm_call *call, size_t t,
                    const struct uqm_measure *m, struct uqm_err *err)
{
    struct kind_text kind;
    const struct uqm_state_key key = key_of(&kind, s, call, t);
    return uqm_state_put(s->state, &key, m, err);
}

int uqm_select_whole(struct uqm_measure *m, struct uqm_select *s, struct uqm_call *call, size_t t,
                     struct uqm_err *err)
{
    if (t == 1)
        return uqm_select_model(m, s, call, s->order[0], err);
    struct kind_text kind;
    const struct uqm_state_key key = key_of(&kind, s, call, t);
    int ret = uqm_check_cancel(&call->env, err);
    if (ret == UQM_OK)
        ret = uqm_measure_init(m, &call->survey, err);
    if (ret < 0)
        return ret;
    if (uqm_state_get(s->state, &key, m) && is_whole(m, call)) {
        warn_of_trace(s, call, t);
        return uqm_measure_summarize(m, &call->survey, s->ordered_names[t - 1], err);
    }
    uqm_measure_finish(m); /* of a race: its records are asked once more */
    ret = uqm_measure_init(m, &call->survey, err);
    if (ret == UQM_OK)
        ret = uqm_select_ask_merge(m, s, call, t, NULL, err);
    if (ret == UQM_OK)
        ret = uqm_measure_summarize(m, &call->survey, s->ordered_names[t - 1], err);
    return ret < 0 ? ret : uqm_state_put(s->state, &key, m, err);
}

/* ---- races ---- */

/* Which records a look adds to those that have been asked; how many in all. */
static size_t want(struct uqm_select *s, struct uqm_measure *more, const struct uqm_measure *m,
                   unsigned look)
{
    const struct uqm_survey *survey = &s->call.survey;
    size_t total = 0;
    for (size_t k = 0; k < survey->n_sets; k++) {
        const size_t n = survey->sets[k].n_records, end = uqm_race_size(n, look);
        more->n_asked[k] = 0;
        for (size_t i = 0; i < n; i++) {
            const bool wanted = s->places[k][i] >= m->n_asked[k] && s->places[k][i] < end;
            s->wanted[survey->first_record[k] + i] = wanted;
            more->n_asked[k] += wanted;
        }
        total += more->n_asked[k];
    }
    return total;
}

/* Ask step t what this look adds. */
static int extend(struct uqm_select *s, size_t t, unsigned look, struct uqm_err *err)
{
    struct uqm_measure *m = &s->steps[t - 1].measure, more;
    struct kind_text kind;
    const struct uqm_state_key key = key_of(&kind, s, &s->call, t);
    int ret = uqm_check_cancel(&s->call.env, err);
    if (ret == UQM_OK)
        ret = uqm_measure_init(&more, &s->call.survey, err);
    if (ret < 0)
        return ret;
    if (want(s, &more, m, look) > 0) {
        ret = uqm_select_ask_merge(&more, s, &s->call, t, s->wanted, err);
        if (ret == UQM_OK) {
            uqm_measure_add(m, &more, &s->call.survey);
            ret = uqm_state_put(s->state, &key, m, err);
        }
    }
    uqm_measure_finish(&more);
    return ret < 0 ? ret : uqm_measure_summarize(m, &s->call.survey, s->ordered_names[t - 1], err);
}

static int begin_race(struct uqm_select *s, size_t t, struct uqm_err *err)
{
    struct uqm_measure *m = &s->steps[t - 1].measure;
    struct kind_text kind;
    const struct uqm_state_key key = key_of(&kind, s, &s->call, t);
    int ret = uqm_measure_init(m, &s->call.survey, err);
    if (ret < 0)
        return ret;
    for (size_t k = 0; k < m->n_sets; k++)
        m->n_asked[k] = 0;
    if (uqm_state_get(s->state, &key, m))
        warn_of_trace(s, &s->call, t);
    return UQM_OK;
}

int uqm_select_race_on(struct uqm_select *s, size_t t, struct uqm_err *err)
{
    int ret = extend(s, t, UQM_RACE_LOOKS - 1, err);
    s->steps[t - 1].decided = ret == UQM_OK && !is_whole(&s->steps[t - 1].measure, &s->call);
    return ret;
}

int uqm_select_race(struct uqm_select *s, size_t t, size_t best, struct uqm_err *err)
{
    struct uqm_select_step *now = &s->steps[t - 1];
    int ret = begin_race(s, t, err);
    bool decided = false;
    unsigned look = 0;
    for (; ret == UQM_OK && !decided && look < UQM_RACE_LOOKS; look++) {
        ret = extend(s, t, look, err);
        if (ret == UQM_OK && best > 1) /* the first step is a model, which knows all records */
            ret = extend(s, best, look, err);
        if (ret == UQM_OK)
            decided = uqm_race_decided(&now->diff, &now->measure, &s->steps[best - 1].measure,
                                       &s->call.survey, s->places, look, -s->params->min_drop,
                                       s->params->confident);
    }
    now->decided = ret == UQM_OK && !is_whole(&now->measure, &s->call);
    return ret;
}
