/* Several steps in one sweep over the inputs (sweep_call.h). */
#include <stdio.h>
#include <stdlib.h>

#include "src/uq/select.h"
#include "src/uq/sweep_call.h"

struct sweep {
    struct uqm_select *s;
    struct uqm_call *call;
    size_t n;
    size_t *steps; /* [n] */
    struct uqm_candidate *candidates;
};

static int keep(void *ctx, size_t k, struct uqm_err *err)
{
    struct sweep *w = ctx;
    struct uqm_measure m = { 0 };
    char name[32];
    snprintf(name, sizeof name, "step %zu", w->steps[k]);
    int ret = uqm_measure_init(&m, &w->call->survey, err);
    if (ret == UQM_OK)
        ret = uqm_call_score(&m, w->call, name, err);
    if (ret == UQM_OK)
        ret = uqm_select_keep(w->s, w->call, w->steps[k], &m, err);
    w->s->steps[w->steps[k] - 1].swept = true;
    uqm_measure_finish(&m);
    return ret;
}

static int run(struct sweep *w, struct uqm_err *err)
{
    char stage[96];
    int ret = UQM_OK;
    snprintf(stage, sizeof stage, "%s of steps %zu to %zu",
             w->call->kind == UQM_MEASURE_ACCURACY ? "accuracy" : "uncertainty", w->steps[0],
             w->steps[w->n - 1]);
    for (size_t k = 0; k < w->n && ret == UQM_OK; k++)
        ret = uqm_candidate_open_merge(&w->candidates[k], &w->call->env, &w->s->rule,
                                       w->s->ordered_paths, w->steps[k], &w->call->open, err);
    return ret < 0 ? ret : uqm_call_sweep(w->call, w->candidates, w->n, stage, keep, w, err);
}

int uqm_select_sweep(struct uqm_select *s, struct uqm_call *call, size_t t, struct uqm_err *err)
{
    struct sweep w = { .s = s, .call = call };
    const size_t window = (size_t) s->params->window, most = window < s->n ? window : s->n;
    if (uqm_select_knows(s, call, t))
        return UQM_OK;
    struct uqm_err why = { 0 };
    w.steps = calloc(most, sizeof *w.steps);
    w.candidates = calloc(most, sizeof *w.candidates);
    int ret = w.steps && w.candidates
                  ? UQM_OK
                  : uqm_fail(&why, UQM_ERR_NOMEM, "no memory for a sweep of %zu steps", window);
    for (; ret == UQM_OK && w.n < most && t <= s->n; t++)
        if (!uqm_select_knows(s, call, t))
            w.steps[w.n++] = t;
    if (w.n > 1)
        ret = run(&w, &why);
    for (size_t k = 0; k < w.n; k++)
        uqm_candidate_close(&w.candidates[k]);
    free(w.candidates);
    free(w.steps);
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
