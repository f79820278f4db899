/* Algorithm 1 over a study's answers, and the arithmetic of its tables. */
#include <math.h>

#include "src/base/rng.h"
#include "src/study/study_run.h"
#include "src/uq/algorithm.h"

struct uqm_study_target uqm_study_prefix(const struct uqm_study_run *run,
                                         const struct uqm_study_pick *pick, size_t n)
{
    struct uqm_study_target t = { .method = &run->linear };
    for (size_t i = 0; i < n; i++)
        t.models |= (uint64_t) 1 << pick->order[i];
    return t;
}

/* What guides, of one target. */
static int guiding(struct uqm_study_value *out, struct uqm_study_run *run,
                   const struct uqm_study_target *t, const struct uqm_study_guide *guide,
                   struct uqm_err *err)
{
    return guide->accuracy ? uqm_study_mean_score(out, NULL, run, t, UQM_HELD_IN, err)
                           : uqm_study_mean_uncertainty(out, NULL, run, t, &guide->measure, err);
}

static int order_models(struct uqm_study_pick *p, struct uqm_study_run *run,
                        const struct uqm_study_guide *guide, struct uqm_err *err)
{
    const size_t n = run->study->n_models;
    double values[UQM_STUDY_MAX_MODELS];
    bool waits = false;
    for (size_t i = 0; i < n; i++) {
        const struct uqm_study_target t = { .models = (uint64_t) 1 << i };
        int ret = guiding(&p->models[i], run, &t, guide, err);
        if (ret == UQM_STUDY_WAITS)
            waits = true;
        else if (ret < 0)
            return ret;
        values[i] = p->models[i].value;
        p->order[i] = i;
    }
    if (waits)
        return UQM_STUDY_WAITS;
    uqm_algorithm_sort(p->order, n, values, !guide->ascending);
    return UQM_OK;
}

int uqm_study_steps_ahead(struct uqm_study_run *run, const struct uqm_study_pick *pick, size_t t,
                          size_t last, const struct uqm_study_measure *measure,
                          enum uqm_study_role role, struct uqm_err *err)
{
    struct uqm_study_target targets[UQM_STUDY_MAX_MODELS];
    const size_t first = uqm_study_first(run->study, role), n = run->study->n_of_role[role];
    size_t n_targets = 0;
    int ret = UQM_OK;
    for (t = t > 2 ? t : 2; t <= last && t <= run->study->n_models; t++) /* step 1 is a model */
        targets[n_targets++] = uqm_study_prefix(run, pick, t);
    for (size_t k = 0; k < n && ret == UQM_OK; k++)
        ret = uqm_study_ahead(run, targets, n_targets, measure, first + k, err);
    return ret;
}

struct loop {
    struct uqm_study_pick *pick;
    struct uqm_study_run *run;
    const struct uqm_study_guide *guide;
    bool all_steps;
};

static int step(void *ctx, struct uqm_algorithm_step *now, size_t t, size_t best,
                struct uqm_err *err)
{
    struct loop *l = ctx;
    const struct uqm_study_target target = uqm_study_prefix(l->run, l->pick, t);
    const double sign = l->guide->accuracy ? -1 : 1;
    struct uqm_study_value *v = &l->pick->steps[t - 1];
    const size_t last = l->all_steps ? l->run->study->n_models : t + l->run->study->window - 1;
    int ret = uqm_study_steps_ahead(
        l->run, l->pick, t, last, l->guide->accuracy ? NULL : &l->guide->measure, UQM_HELD_IN, err);
    if (ret == UQM_OK)
        ret = guiding(v, l->run, &target, l->guide, err);
    now->value = sign * v->value;
    now->drop = best                ? sign * l->pick->steps[best - 1].value - now->value
                : isnan(now->value) ? (double) NAN
                                    : (double) INFINITY;
    return ret;
}

int uqm_study_pick(struct uqm_study_pick *out, struct uqm_study_run *run,
                   const struct uqm_study_guide *guide, bool all_steps, struct uqm_err *err)
{
    struct uqm_algorithm_step steps[UQM_STUDY_MAX_MODELS];
    struct uqm_algorithm_result result = { .steps = steps };
    const struct uqm_algorithm_params params = { .n = run->study->n_models,
                                                 .all_steps = all_steps };
    struct loop loop = {
        .pick = out, .run = run, .guide = guide, .all_steps = all_steps || guide->ahead
    };

    *out = (struct uqm_study_pick){ 0 };
    int ret = order_models(out, run, guide, err);
    if (ret == UQM_OK && !run->ordered) {
        /* The first selection is the study's own. */
        for (size_t i = 0; i < params.n; i++)
            run->order[i] = out->order[i];
        run->ordered = true;
    }
    if (ret == UQM_OK)
        ret = uqm_algorithm_run(&result, &params, step, &loop, err);
    if (ret < 0)
        return ret;
    out->n_steps = result.n_steps;
    out->stopped_at = result.stopped_at;
    out->n_selected = result.best;
    for (size_t t = 0; t < result.n_steps; t++)
        out->improved[t] = steps[t].improved;
    return result.best ? UQM_OK
                       : uqm_fail(err, UQM_ERR_FORMAT, "%s: no merge has a value to choose by",
                                  run->study->path);
}

int uqm_study_own_pick(struct uqm_study_pick *out, struct uqm_study_run *run, bool all_steps,
                       struct uqm_err *err)
{
    const struct uqm_study_guide guide = { .measure = uqm_study_own_measure(run->study),
                                           .ahead = run->wants_steps };
    return uqm_study_pick(out, run, &guide, all_steps, err);
}

uint64_t uqm_study_draw(const struct uqm_study *study, size_t k, size_t r)
{
    size_t at[UQM_STUDY_MAX_MODELS];
    uint64_t models = 0;
    struct uqm_rng rng;
    uqm_rng_init(&rng,
                 uqm_rng_stream(study->seeds[0], UQM_RNG_SAMPLE, "", "subset", (uint32_t) r, 0));
    for (size_t i = 0; i < study->n_models; i++)
        at[i] = i;
    for (size_t i = 0; i < k && i < study->n_models; i++) {
        const size_t j = i + uqm_rng_below(&rng, (uint32_t) (study->n_models - i)), swap = at[i];
        at[i] = at[j];
        at[j] = swap;
        models |= (uint64_t) 1 << at[i];
    }
    return models;
}

struct uqm_study_spread uqm_study_spread(const double *v, size_t n)
{
    struct uqm_study_spread s = { .mean = (double) NAN, .sd = (double) NAN };
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    if (n > 0)
        s.mean = sum / (double) n;
    for (size_t i = 0; i < n; i++)
        squares += (v[i] - s.mean) * (v[i] - s.mean);
    if (n > 1)
        s.sd = sqrt(squares / (double) (n - 1));
    return s;
}

static double rank_of(const double *v, size_t n, size_t i)
{
    double below = 0, equal = 0;
    for (size_t k = 0; k < n; k++) {
        below += v[k] < v[i] ? 1 : 0;
        equal += v[k] == v[i] ? 1 : 0;
    }
    return below + (equal + 1) / 2;
}

double uqm_study_spearman(const double *a, const double *b, size_t n)
{
    const double middle = ((double) n + 1) / 2;
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) || isnan(b[i]))
            return (double) NAN;
        const double x = rank_of(a, n, i) - middle, y = rank_of(b, n, i) - middle;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double) NAN;
}
