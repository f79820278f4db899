#include "src/uq/sweep_call.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/merge/sweep.h"

/* What is left to features, plans and headers while the lanes run. */
enum { RESERVE_BYTES = 16 << 20 };

struct lane {
    struct uqm_candidate candidate; /* a copy; the caller's stays as it was */
    struct uqm_env env;             /* the call's, with a budget of its own */
    struct uqm_survey survey;
    struct uqm_runner runner;
    float *logits;
    char **answers;
    const char *stage;
    struct uqm_sweep *sweep;
    size_t k;
    pthread_t thread;
    bool runs;
    int ret;
    struct uqm_err err;
};

struct lanes {
    struct uqm_call *call;
    size_t n;
    struct lane *v;
    struct uqm_sweep *sweep;
    uint64_t taken_bytes; /* of the call's budget, for the lanes' */
};

/* ---- before they run ---- */

static int make_lanes(struct lanes *l, const struct uqm_candidate *candidates, struct uqm_err *err)
{
    struct uqm_source **merges = calloc(l->n, sizeof *merges);
    l->v = calloc(l->n, sizeof *l->v);
    int ret = merges && l->v
                  ? UQM_OK
                  : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a sweep of %zu merges", l->n);
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++) {
        l->v[k].candidate = candidates[k];
        merges[k] = candidates[k].source;
    }
    const uint64_t left = uqm_budget_left(&l->call->env);
    if (ret == UQM_OK)
        ret = uqm_sweep_create(&l->sweep, merges, l->n, left / 8, err);
    free(merges);
    return ret;
}

/* The pictures' features, by the call's own machine: all merges see them with one tower. */
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

static int init_lane(struct lanes *l, size_t k, uint64_t bytes, const char *stage,
                     struct uqm_err *err)
{
    struct lane *lane = &l->v[k];
    struct uqm_call *call = l->call;
    const size_t n = uqm_survey_n_records(&call->survey);
    lane->k = k;
    lane->sweep = l->sweep;
    lane->stage = stage;
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
    lane->logits = malloc((n * call->survey.n_passes + 1) * UQM_N_OPTIONS * sizeof *lane->logits);
    lane->answers = calloc(n + 1, sizeof *lane->answers);
    if (!lane->logits || !lane->answers)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the answers of a merge");
    return uqm_machine_init(&lane->runner.machine, &lane->env, "cpu",
                            call->runner.machine.scratch_dir, err);
}

/* Three quarters of what is left is the lanes', in equal parts; an eighth the reading buffers'. */
static int init_lanes(struct lanes *l, const char *stage, struct uqm_err *err)
{
    const uint64_t bytes = uqm_budget_left(&l->call->env) / 4 * 3 / l->n;
    int ret = uqm_budget_take(&l->call->env, l->n * bytes, "the merges of a sweep", err);
    if (ret == UQM_OK)
        l->taken_bytes = l->n * bytes;
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++)
        ret = init_lane(l, k, bytes, stage, err);
    return ret;
}

/* ---- running ---- */

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    if (uqm_survey_asks(&lane->survey, UQM_TASK_CHOICE))
        lane->ret =
            uqm_runner_ask(lane->logits, &lane->runner, &lane->candidate, lane->stage, &lane->err);
    if (lane->ret == UQM_OK && uqm_survey_asks(&lane->survey, UQM_TASK_GENERATION))
        lane->ret = uqm_runner_answer(lane->answers, &lane->runner, &lane->candidate, lane->stage,
                                      &lane->err);
    uqm_sweep_leave(lane->sweep, lane->k);
    return NULL;
}

/* The first in the candidates' order that went wrong says what did. */
static int run_lanes(struct lanes *l, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t k = 0; k < l->n; k++) {
        l->v[k].runs =
            ret == UQM_OK && pthread_create(&l->v[k].thread, NULL, run_lane, &l->v[k]) == 0;
        if (!l->v[k].runs) {
            ret = uqm_fail(err, UQM_ERR_NOMEM, "no thread for a merge of a sweep");
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
    for (size_t k = 0; k < l->n && ret == UQM_OK; k++)
        ret = uqm_opened_check_unchanged(l->v[k].candidate.source, err);
    return ret;
}

static int take_lane(struct lanes *l, size_t k, uqm_call_take_fn take, void *ctx,
                     struct uqm_err *err)
{
    struct uqm_call *call = l->call;
    float *logits = call->logits;
    char **answers = call->answers;
    call->logits = l->v[k].logits;
    call->answers = l->v[k].answers;
    int ret = take(ctx, k, err);
    call->logits = logits;
    call->answers = answers;
    return ret;
}

static void finish(struct lanes *l)
{
    uqm_sweep_destroy(&l->sweep);
    for (size_t k = 0; l->v && k < l->n; k++) {
        uqm_machine_finish(&l->v[k].runner.machine);
        free(l->v[k].logits);
        for (size_t i = 0; l->v[k].answers && i < uqm_survey_n_records(&l->call->survey); i++)
            free(l->v[k].answers[i]);
        free(l->v[k].answers);
    }
    if (l->taken_bytes > 0)
        uqm_budget_give(&l->call->env, l->taken_bytes);
    free(l->v);
}

int uqm_call_sweep(struct uqm_call *call, struct uqm_candidate *candidates, size_t n,
                   const char *stage, uqm_call_take_fn take, void *ctx, struct uqm_err *err)
{
    struct lanes l = { .call = call, .n = n };
    if (!call->runner.machine.device->limits.on_host)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: several networks at a time need the CPU",
                        call->runner.machine.device->id);
    int ret = make_lanes(&l, candidates, err);
    if (ret == UQM_OK)
        ret = prepare_features(&l, err);
    if (ret == UQM_OK)
        ret = init_lanes(&l, stage, err);
    if (ret == UQM_OK)
        ret = run_lanes(&l, err);
    for (size_t k = 0; k < n && ret == UQM_OK; k++)
        ret = take_lane(&l, k, take, ctx, err);
    finish(&l);
    return ret;
}

/* ---- the models of a call ---- */

struct models {
    struct uqm_call *call;
    uqm_call_model_fn take;
    void *ctx;
    size_t first; /* of a sweep */
};

static int take_one(struct models *ms, size_t i, struct uqm_err *err)
{
    struct uqm_measure m = { 0 };
    int ret = uqm_measure_init(&m, &ms->call->survey, err);
    if (ret == UQM_OK)
        ret = uqm_call_measure_model(&m, ms->call, i, err);
    if (ret == UQM_OK)
        ret = ms->take(ms->ctx, i, &m, err);
    uqm_measure_finish(&m);
    return ret;
}

static int take_swept(void *ctx, size_t k, struct uqm_err *err)
{
    struct models *ms = ctx;
    const size_t i = ms->first + k;
    struct uqm_measure m = { 0 };
    int ret = uqm_measure_init(&m, &ms->call->survey, err);
    if (ret == UQM_OK)
        ret = uqm_call_score(&m, ms->call, ms->call->names[i], err);
    if (ret == UQM_OK)
        ret = uqm_measure_summarize(&m, &ms->call->survey, ms->call->names[i], err);
    if (ret == UQM_OK)
        ret = ms->take(ms->ctx, i, &m, err);
    uqm_measure_finish(&m);
    return ret;
}

static int sweep_models(struct models *ms, size_t n, struct uqm_err *err)
{
    struct uqm_call *call = ms->call;
    char stage[160];
    struct uqm_candidate *candidates = calloc(n, sizeof *candidates);
    int ret = candidates ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu models", n);
    for (size_t k = 0; k < n && ret == UQM_OK; k++)
        ret = uqm_candidate_open(&candidates[k], &call->env, call->models->v[ms->first + k],
                                 &call->open, err);
    snprintf(stage, sizeof stage, "%s of %.48s to %.48s",
             call->kind != UQM_MEASURE_ACCURACY ? "uncertainty" : "scores", call->names[ms->first],
             call->names[ms->first + n - 1]);
    if (ret == UQM_OK)
        ret = uqm_call_sweep(call, candidates, n, stage, take_swept, ms, err);
    for (size_t k = 0; candidates && k < n; k++)
        uqm_candidate_close(&candidates[k]);
    free(candidates);
    return ret;
}

int uqm_call_models(struct uqm_call *call, int window, uqm_call_model_fn take, void *ctx,
                    struct uqm_err *err)
{
    struct models ms = { .call = call, .take = take, .ctx = ctx };
    const size_t n_models = call->models->n;
    int ret = UQM_OK;
    if (window > 1 && call->runner.machine.fast)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--window %d: a sweep is made on the CPU, which has no mode for --fast",
                        window);
    for (size_t i = 0; i < n_models && ret == UQM_OK;) {
        const size_t left = n_models - i, most = window > 1 ? (size_t) window : 1;
        const size_t n = left < most ? left : most;
        struct uqm_err why = { 0 };
        ms.first = i;
        ret = uqm_check_cancel(&call->env, err);
        if (ret == UQM_OK && n > 1) {
            ret = sweep_models(&ms, n, &why);
            if (ret == UQM_OK) {
                i += n;
                continue;
            }
            if (ret != UQM_ERR_UNSUPPORTED && ret != UQM_ERR_NOMEM) {
                *err = why;
                return ret;
            }
            uqm_log(&call->env, UQM_LOG_WARN, "models are asked one by one, not in a sweep: %s",
                    why.msg);
            window = 1;
            ret = UQM_OK;
        }
        if (ret == UQM_OK)
            ret = take_one(&ms, i++, err);
    }
    return ret;
}
