/* The order of the models, and Algorithm 1 over the merges of the first of them. */
#include "src/uq/select.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/uq/sample.h"

/* A standard error in a line of the log; "-": one record has none. */
struct error_text {
    char text[32];
};

static struct error_text error_text(int decimals, double se)
{
    struct error_text out = { "-" };
    if (!isnan(se))
        snprintf(out.text, sizeof out.text, "%.*f", decimals, se);
    return out;
}

/* ---- the models ---- */

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
        s->ordered_digests[t] = s->model_digests[s->order[t]].text;
    }
}

int uqm_select_measure(struct uqm_select *s, struct uqm_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        int ret = uqm_select_model(&s->models[i], s, &s->call, i, err);
        if (ret < 0)
            return ret;
        uqm_log(&s->call.env, UQM_LOG_INFO, "%s: uncertainty %.6f, standard error %s",
                s->call.names[i], s->models[i].model.mean,
                error_text(6, s->models[i].model.se).text);
    }
    for (size_t i = 0; i < s->n && s->wants_accuracy; i++) {
        int ret = uqm_select_model(&s->accuracies[i], s, &s->accuracy_call, i, err);
        if (ret < 0)
            return ret;
        uqm_log(&s->call.env, UQM_LOG_INFO, "%s: accuracy %.4f, standard error %s",
                s->call.names[i], s->accuracies[i].model.mean,
                error_text(4, s->accuracies[i].model.se).text);
    }
    double *values = malloc(s->n * sizeof *values);
    if (!values)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory to order %zu models", s->n);
    put_in_order(s, values);
    free(values);
    return UQM_OK;
}

/* ---- the steps ---- */

static double own_uncertainty(const struct uqm_select *s, size_t t)
{
    return s->models[s->order[t - 1]].model.mean;
}

static bool guards(void *ctx, size_t t, size_t best)
{
    const struct uqm_select *s = ctx;
    const double own = own_uncertainty(s, t), merge = s->steps[best - 1].measure.model.mean;
    if (!(own < s->params->guard * merge))
        return false;
    uqm_log(&s->call.env, UQM_LOG_INFO,
            "step %zu: %s has an uncertainty of %.6f, below %g of the merge's %.6f: the guard "
            "stops here",
            t, s->ordered_names[t - 1], own, s->params->guard, merge);
    return true;
}

/* How the answers of step t spread over the letters, and the most that any step before it did. */
static double spread_of(const struct uqm_select *s, size_t t)
{
    return uqm_measure_answer_entropy(&s->steps[t - 1].measure);
}

static double most_spread(const struct uqm_select *s, size_t t)
{
    double most = 0;
    for (size_t i = 1; i < t; i++)
        most = fmax(most, spread_of(s, i));
    return most;
}

/* Whether --min-spread refuses step t. A race may have asked only few of its records, whose answers
 * spread less than those of all: then the rest is asked first. */
static int look_at_spread(struct uqm_algorithm_step *out, struct uqm_select *s, size_t t,
                          struct uqm_err *err)
{
    const double bound = s->params->min_spread * most_spread(s, t);
    int ret = UQM_OK;
    if (spread_of(s, t) < bound && s->steps[t - 1].decided)
        ret = uqm_select_race_on(s, t, err);
    out->narrowed = ret == UQM_OK && spread_of(s, t) < bound;
    if (out->narrowed)
        uqm_log(&s->call.env, UQM_LOG_INFO,
                "step %zu: the entropy of its answers over all questions is %.3f, below %g of the "
                "largest before, %.3f",
                t, spread_of(s, t), s->params->min_spread, most_spread(s, t));
    return ret;
}

/* What may be wrong with a step that looks good. */
static int warn_of_step(const struct uqm_select *s, size_t t, size_t best,
                        const struct uqm_algorithm_step *now, struct uqm_err *err)
{
    const double entropy = spread_of(s, t), most = most_spread(s, t);
    int ret = UQM_OK;
    if (now->collapsed)
        ret = uqm_warn(&s->call.env, err,
                       "step %zu (+ %s): the merge gives nearly the same answer whatever is asked "
                       "(entropy of its answers over all questions %.3f); its uncertainty says "
                       "nothing",
                       t, s->ordered_names[t - 1], entropy);
    else if (entropy < UQM_NARROW_BELOW * most)
        ret = uqm_warn(&s->call.env, err,
                       "step %zu (+ %s): the merge's answers spread less over the letters than "
                       "before (entropy over all questions %.3f, at most %.3f): it may have become "
                       "over-confident; --min-spread %g stops before it",
                       t, s->ordered_names[t - 1], entropy, most, UQM_NARROW_BELOW);
    if (ret < 0 || best == 0)
        return ret;
    const double own = own_uncertainty(s, t), merge = s->steps[best - 1].measure.model.mean;
    if (own < UQM_OVERCONFIDENT_BELOW * merge)
        ret = uqm_warn(&s->call.env, err,
                       "step %zu: %s is far surer than the merge it joins (uncertainty %.6f, the "
                       "merge's %.6f) and may make it over-confident; --guard %g stops before it",
                       t, s->ordered_names[t - 1], own, merge, UQM_OVERCONFIDENT_BELOW);
    return ret;
}

static int measure_step(struct uqm_select *s, size_t t, size_t best, struct uqm_err *err)
{
    struct uqm_select_step *now = &s->steps[t - 1];
    const bool races = s->params->confident > 0 && t > 1 && best > 0;
    int ret = UQM_OK;
    if (s->sweeps && t > 1)
        ret = uqm_select_sweep(s, &s->call, t, err);
    if (ret == UQM_OK && s->sweeps && t > 1 && s->wants_accuracy)
        ret = uqm_select_sweep(s, &s->accuracy_call, t, err);
    if (ret == UQM_OK)
        ret = races ? uqm_select_race(s, t, best, err)
                    : uqm_select_whole(&now->measure, s, &s->call, t, err);
    if (ret == UQM_OK && s->wants_accuracy)
        ret = uqm_select_whole(&now->accuracy, s, &s->accuracy_call, t, err);
    now->against = best;
    if (ret == UQM_OK && best > 0 && !races)
        now->diff =
            uqm_measure_difference(&now->measure, &s->steps[best - 1].measure, &s->call.survey);
    return ret;
}

/* The step's value and how far it lies below the best's. */
static void fill_step(struct uqm_algorithm_step *out, const struct uqm_select *s, size_t t,
                      size_t best)
{
    const struct uqm_select_step *now = &s->steps[t - 1], *than = best ? &s->steps[best - 1] : NULL;
    const double u = now->measure.model.mean;
    out->collapsed = uqm_measure_answer_entropy(&now->measure) < UQM_COLLAPSED_BELOW;
    out->value = s->wants_accuracy ? -now->accuracy.model.mean : u;
    if (!than)
        out->drop = isnan(out->value) ? (double) NAN : (double) INFINITY;
    else if (s->wants_accuracy)
        out->drop = now->accuracy.model.mean - than->accuracy.model.mean;
    else if (s->params->confident > 0)
        out->drop = -now->diff.mean; /* over the records that both have been asked */
    else
        out->drop = than->measure.model.mean - u;
}

static int step(void *ctx, struct uqm_algorithm_step *out, size_t t, size_t best,
                struct uqm_err *err)
{
    struct uqm_select *s = ctx;
    struct uqm_select_step *now = &s->steps[t - 1];
    int ret = measure_step(s, t, best, err);
    if (ret == UQM_OK)
        ret = look_at_spread(out, s, t, err);
    if (ret < 0)
        return ret;
    fill_step(out, s, t, best);
    const double u = now->measure.model.mean;
    char accuracy[96] = "";
    if (s->wants_accuracy)
        snprintf(accuracy, sizeof accuracy, "; accuracy %.4f, standard error %s",
                 now->accuracy.model.mean, error_text(4, now->accuracy.model.se).text);
    if (best == 0)
        uqm_log(&s->call.env, UQM_LOG_INFO, "step %zu: %s: uncertainty %.6f%s", t,
                s->ordered_names[t - 1], u, accuracy);
    else
        uqm_log(&s->call.env, UQM_LOG_INFO,
                "step %zu: + %s: uncertainty %.6f, %+.6f to step %zu, paired standard error %s%s",
                t, s->ordered_names[t - 1], u, now->diff.mean, best,
                error_text(6, now->diff.se).text, accuracy);
    return warn_of_step(s, t, best, out, err);
}

int uqm_select_run(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_algorithm_params params = {
        .n = s->n,
        .min_drop = s->params->min_drop,
        .patience = s->params->patience,
        .all_steps = s->params->all_steps,
        .guards = s->params->guard > 0 ? guards : NULL,
    };
    int ret = uqm_algorithm_run(&s->result, &params, step, s, err);
    if (ret == UQM_OK && s->result.best == 0)
        ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the first step has no uncertainty",
                       s->ordered_names[0]);
    return ret;
}
