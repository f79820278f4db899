/*
 * Every value comes through measured(): from the state, where an earlier run may have left it, else
 * from the network, and then it goes into the state before anything else happens. So an interrupted
 * run loses at most the model or step it was at.
 */
#include "src/uq/select.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/uq/sample.h"

/* The merge of the first t, as a recipe; nothing is written. */
static int measure_merge(struct uqm_measure *m, struct uqm_select *s, size_t t, struct uqm_err *err)
{
    struct uqm_candidate candidate = { 0 };
    char name[32], stage[160];
    snprintf(name, sizeof name, "step %zu", t);
    snprintf(stage, sizeof stage, "uncertainty of step %zu/%zu (+ %.96s)", t, s->n,
             s->ordered_names[t - 1]);
    int ret =
        uqm_candidate_open_merge(&candidate, &s->call.env, s->ordered_paths, t, &s->call.open, err);
    if (ret == UQM_OK)
        ret = uqm_call_measure(m, &s->call, &candidate, UQM_MEASURE_UNCERTAINTY, name, stage, err);
    uqm_candidate_close(&candidate);
    return ret;
}

static int measured(struct uqm_measure *m, struct uqm_select *s, enum uqm_measure_kind kind,
                    const char *const *names, size_t n, size_t model, struct uqm_err *err)
{
    const bool accuracy = kind == UQM_MEASURE_ACCURACY;
    struct uqm_call *call = accuracy ? &s->accuracy_call : &s->call;
    const struct uqm_state_key key = { accuracy ? "accuracy" : "uq", names, n };

    int ret = uqm_check_cancel(&call->env, err);
    if (ret == UQM_OK)
        ret = uqm_measure_init(m, &call->survey, err);
    if (ret < 0)
        return ret;
    if (uqm_state_get(s->state, &key, m->values)) {
        /* Step 1, once there is an order, is a model that this run has seen to already. */
        if (call->trace && (n > 1 || !s->ordered_names[0]))
            uqm_log(&call->env, UQM_LOG_WARN,
                    "%s was measured by an earlier run: the trace lacks it", names[n - 1]);
        return uqm_measure_summarize(m, &call->survey, names[n - 1], err);
    }
    ret = n == 1 ? uqm_call_measure_model(m, call, model, kind, err) : measure_merge(m, s, n, err);
    return ret < 0 ? ret : uqm_state_put(s->state, &key, (const double *const *) m->values, err);
}

static void put_in_order(struct uqm_select *s, double *values)
{
    const enum uqm_order order = s->params->order;
    const struct uqm_measure *by = s->wants_accuracy ? s->accuracies : s->models;
    for (size_t i = 0; i < s->n; i++) {
        values[i] = by[i].model.mean;
        s->order[i] = i;
    }
    if (order == UQM_ORDER_RANDOM)
        uqm_sample_shuffle(s->order, s->n, s->call.env.seed);
    else if (order != UQM_ORDER_GIVEN)
        uqm_algorithm_sort(s->order, s->n, values,
                           order == UQM_ORDER_UQ_DESC || order == UQM_ORDER_ACCURACY_DESC);
    for (size_t t = 0; t < s->n; t++) {
        s->ordered_paths[t] = s->call.models->v[s->order[t]];
        s->ordered_names[t] = s->call.names[s->order[t]];
    }
}

int uqm_select_measure(struct uqm_select *s, struct uqm_err *err)
{
    const char *const *names = (const char *const *) s->call.names;
    for (size_t i = 0; i < s->n; i++) {
        int ret = measured(&s->models[i], s, UQM_MEASURE_UNCERTAINTY, &names[i], 1, i, err);
        if (ret < 0)
            return ret;
        uqm_log(&s->call.env, UQM_LOG_INFO, "%s: uncertainty %.6f, standard error %.6f", names[i],
                s->models[i].model.mean, s->models[i].model.se);
    }
    for (size_t i = 0; i < s->n && s->wants_accuracy; i++) {
        int ret = measured(&s->accuracies[i], s, UQM_MEASURE_ACCURACY, &names[i], 1, i, err);
        if (ret < 0)
            return ret;
        uqm_log(&s->call.env, UQM_LOG_INFO, "%s: accuracy %.4f", names[i],
                s->accuracies[i].model.mean);
    }
    double *values = malloc(s->n * sizeof *values);
    if (!values)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory to order %zu models", s->n);
    put_in_order(s, values);
    free(values);
    return UQM_OK;
}

static int step(void *ctx, size_t t, size_t best, double *u, struct uqm_err *err)
{
    struct uqm_select *s = ctx;
    struct uqm_select_step *now = &s->steps[t - 1];
    int ret =
        measured(&now->measure, s, UQM_MEASURE_UNCERTAINTY, s->ordered_names, t, s->order[0], err);
    if (ret < 0)
        return ret;
    *u = now->measure.model.mean;
    now->against = best;
    if (best == 0) {
        uqm_log(&s->call.env, UQM_LOG_INFO, "step 1: %s: uncertainty %.6f", s->ordered_names[0],
                *u);
        return UQM_OK;
    }
    now->diff = uqm_measure_difference(&now->measure, &s->steps[best - 1].measure, &s->call.survey);
    uqm_log(&s->call.env, UQM_LOG_INFO,
            "step %zu: + %s: uncertainty %.6f, %+.6f to step %zu, paired standard error %.6f", t,
            s->ordered_names[t - 1], *u, now->diff.mean, best, now->diff.se);
    return UQM_OK;
}

int uqm_select_run(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_algorithm_params params = {
        .n = s->n,
        .min_drop = s->params->min_drop,
        .patience = s->params->patience,
        .all_steps = s->params->all_steps,
    };
    int ret = uqm_algorithm_run(&s->result, &params, step, s, err);
    if (ret == UQM_OK && s->result.best == 0)
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the first step has no uncertainty",
                       s->ordered_names[0]);
    return ret;
}
