/*
 * Several steps in one sweep over the inputs: a lane each, with a network, a budget and threads of
 * its own, the weights coming from src/merge/sweep.h. What every lane computes is what the step
 * would compute by itself: results depend neither on its threads nor on its memory.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/merge/sweep.h"
#include "src/uq/select.h"

/* What is left to features, plans and headers while the lanes run. */
enum { RESERVE_BYTES = 16 << 20 };

struct lane {
    size_t t;
    struct uqm_candidate candidate;
    struct uqm_env env; /* the call's, with a budget of its own */
    struct uqm_survey survey;
    struct uqm_runner runner;
    float *logits;
    char stage[96];
    struct uqm_sweep *sweep;
    size_t k;
    pthread_t thread;
    bool runs;
    int ret;
    struct uqm_err err;
};

struct lanes {
    struct uqm_select *s;
    struct uqm_call *call;
    size_t n;
    struct lane *v;
    struct uqm_sweep *sweep;
    uint64_t taken_bytes; /* of the call's budget, for the lanes' */
};

/* ---- before they run ---- */

static int open_candidates(struct lanes *l, struct uqm_err *err)
{
    struct uqm_source **merges = calloc(l->n, sizeof *merges);
    int ret =
        merges ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a sweep of %zu steps", l->n);
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++) {
        ret = uqm_candidate_open_merge(&l->v[k].candidate, &l->call->env, &l->s->rule,
                                       l->s->ordered_paths, l->v[k].t, &l->call->open, err);
        merges[k] = l->v[k].candidate.source;
    }
    const uint64_t left = uqm_budget_left(&l->call->env);
    if (ret == UQM_OK)
        ret = uqm_sweep_create(&l->sweep, merges, l->n, left / 8, err);
    free(merges);
    return ret;
}

/* The pictures' features, by the call's own machine: all steps see them with one tower. */
static int prepare_features(struct lanes *l, struct uqm_err *err)
{
    struct uqm_call *call = l->call;
    const uint64_t left = uqm_budget_left(&call->env);
    const uint64_t ours =
        RESERVE_BYTES + call->runner.other_bytes + uqm_survey_bytes(&call->survey);
    if (left <= ours)
        return uqm_fail(err, UQM_ERR_NOMEM, "--memory: nothing is left for a sweep");
    for (size_t k = 0; k < l->n; k++) {
        int ret = uqm_features_prepare(call->runner.features, &l->v[k].candidate,
                                       &call->runner.machine, left - ours, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* Three quarters of what is left is the lanes', in equal parts; an eighth the reading buffers'. */
static int init_lane(struct lanes *l, size_t k, uint64_t bytes, struct uqm_err *err)
{
    struct lane *lane = &l->v[k];
    struct uqm_call *call = l->call;
    const size_t n = uqm_survey_n_records(&call->survey) * call->survey.n_passes * UQM_N_OPTIONS;
    lane->k = k;
    lane->sweep = l->sweep;
    lane->env = call->env;
    lane->env.budget = (struct uqm_budget){ .limit_bytes = bytes };
    lane->env.n_threads = (int) (((size_t) call->env.n_threads + l->n - 1) / l->n);
    if (k > 0) { /* one speaks for all */
        lane->env.progress = NULL;
        lane->env.log = NULL;
    }
    lane->survey = call->survey;
    lane->survey.env = &lane->env;
    lane->candidate.weights = uqm_sweep_source(l->sweep, k);
    lane->runner = (struct uqm_runner){ .survey = &lane->survey,
                                        .features = call->runner.features,
                                        .prepared = true };
    snprintf(lane->stage, sizeof lane->stage, "%s of steps %zu to %zu",
             call->kind == UQM_MEASURE_ACCURACY ? "accuracy" : "uncertainty", l->v[0].t,
             l->v[l->n - 1].t);
    lane->logits = malloc((n + 1) * sizeof *lane->logits);
    if (!lane->logits)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the logits of a step");
    return uqm_machine_init(&lane->runner.machine, &lane->env, "cpu",
                            call->runner.machine.scratch_dir, err);
}

static int init_lanes(struct lanes *l, struct uqm_err *err)
{
    const uint64_t bytes = uqm_budget_left(&l->call->env) / 4 * 3 / l->n;
    int ret = uqm_budget_take(&l->call->env, l->n * bytes, "the steps of a sweep", err);
    if (ret == UQM_OK)
        l->taken_bytes = l->n * bytes;
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++)
        ret = init_lane(l, k, bytes, err);
    return ret;
}

/* ---- running ---- */

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    lane->ret =
        uqm_runner_ask(lane->logits, &lane->runner, &lane->candidate, lane->stage, &lane->err);
    uqm_sweep_leave(lane->sweep, lane->k);
    return NULL;
}

/* The first in the steps' order that went wrong says what did. */
static int run_lanes(struct lanes *l, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t k = 0; k < l->n; k++) {
        l->v[k].runs =
            ret == UQM_OK && pthread_create(&l->v[k].thread, NULL, run_lane, &l->v[k]) == 0;
        if (!l->v[k].runs) {
            ret = uqm_fail(err, UQM_ERR_NOMEM, "no thread for step %zu", l->v[k].t);
            uqm_sweep_leave(l->sweep, k);
        }
    }
    for (size_t k = 0; k < l->n; k++)
        if (l->v[k].runs)
            pthread_join(l->v[k].thread, NULL);
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++)
        if (l->v[k].ret < 0) {
            *err = l->v[k].err;
            ret = l->v[k].ret;
        }
    return ret;
}

static int keep(struct lanes *l, size_t k, struct uqm_err *err)
{
    struct uqm_call *call = l->call;
    struct lane *lane = &l->v[k];
    struct uqm_measure m;
    char name[32];
    snprintf(name, sizeof name, "step %zu", lane->t);
    int ret = uqm_measure_init(&m, &call->survey, err);
    if (ret < 0)
        return ret;
    float *own = call->logits;
    call->logits = lane->logits;
    ret = uqm_call_score(&m, call, name, err);
    call->logits = own;
    if (ret == UQM_OK)
        ret = uqm_select_keep(l->s, call, lane->t, &m, err);
    l->s->steps[lane->t - 1].swept = true;
    uqm_measure_finish(&m);
    return ret;
}

static void finish(struct lanes *l)
{
    uqm_sweep_destroy(&l->sweep);
    for (size_t k = 0; k < l->n; k++) {
        uqm_machine_finish(&l->v[k].runner.machine);
        uqm_candidate_close(&l->v[k].candidate);
        free(l->v[k].logits);
    }
    if (l->taken_bytes > 0)
        uqm_budget_give(&l->call->env, l->taken_bytes);
    free(l->v);
}

static int sweep(struct lanes *l, struct uqm_err *err)
{
    int ret = UQM_OK;
    if (!l->call->runner.machine.device->limits.on_host)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: several networks at a time need the CPU",
                        l->call->runner.machine.device->id);
    if ((ret = open_candidates(l, err)) < 0 || (ret = prepare_features(l, err)) < 0 ||
        (ret = init_lanes(l, err)) < 0 || (ret = run_lanes(l, err)) < 0)
        return ret;
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++)
        ret = keep(l, k, err);
    return ret;
}

/* ---- which steps ---- */

int uqm_select_sweep(struct uqm_select *s, struct uqm_call *call, size_t t, struct uqm_err *err)
{
    struct lanes l = { .s = s, .call = call };
    const size_t window = (size_t) s->params->window;
    if (uqm_select_knows(s, call, t))
        return UQM_OK;
    l.v = calloc(window < s->n ? window : s->n, sizeof *l.v);
    if (!l.v)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a sweep of %zu steps", window);
    for (; l.n < window && t <= s->n; t++)
        if (!uqm_select_knows(s, call, t))
            l.v[l.n++].t = t;
    struct uqm_err why = { 0 };
    int ret = l.n > 1 ? sweep(&l, &why) : UQM_OK;
    finish(&l);
    if (ret == UQM_ERR_UNSUPPORTED || ret == UQM_ERR_NOMEM) {
        uqm_log(&call->env, UQM_LOG_WARN, "steps are measured one by one, not in a sweep: %s",
                why.msg);
        s->sweeps = false;
        return UQM_OK;
    }
    if (ret < 0)
        *err = why;
    return ret;
}
