/* The result of uqm_select() as JSON. */
#include <math.h>
#include <stdlib.h>

#include "src/checkpoint/inspect.h"
#include "src/uq/select.h"

static const char *const order_names[] = { "uq-desc",      "uq-asc", "accuracy-desc",
                                           "accuracy-asc", "given",  "random" };

static json_t *config_json(const struct uqm_select *s)
{
    const struct uqm_select_params *p = s->params;
    json_t *config = uqm_survey_config(&s->call.survey);
    const bool conformal = s->call.kind == UQM_MEASURE_CONFORMAL;
    json_t *more =
        json_pack("{s:s, s:s, s:s, s:s?, s:f, s:i, s:f, s:f, s:o, s:i}", "method",
                  conformal ? "cp" : "perturb", "order", order_names[p->order], "merge",
                  p->merge ? p->merge : "linear", "base", p->base_dir, "min_drop", p->min_drop,
                  "patience", p->patience, "guard", p->guard, "min_spread", p->min_spread,
                  "confident", p->confident > 0 ? json_real(p->confident) : json_null(), "window",
                  p->window > 1 ? p->window : 1);
    if (more)
        json_object_update(config, more);
    json_decref(more);
    if (conformal)
        json_object_set_new(config, "alpha", json_real(s->call.alpha));
    return config;
}

static json_t *names_json(const char *const *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static size_t n_samples(const struct uqm_measure *m)
{
    size_t n = 0;
    for (size_t k = 0; k < m->n_sets; k++)
        n += m->sets[k].n;
    return n;
}

/* To the step before, which need not be the best so far. */
static void add_change(json_t *step, const struct uqm_select *s, size_t t)
{
    struct uqm_mean change = { .mean = (double) NAN, .se = (double) NAN };
    if (t > 1)
        change = uqm_measure_difference(&s->steps[t - 1].measure, &s->steps[t - 2].measure,
                                        &s->call.survey);
    json_object_set_new(step, "change", uqm_measure_number(change.mean));
    json_object_set_new(step, "change_stderr", uqm_measure_number(change.se));
}

static json_t *step_json(struct uqm_select *s, size_t t, struct uqm_err *err)
{
    const struct uqm_select_step *now = &s->steps[t - 1];
    const double none = (double) NAN, entropy = uqm_measure_answer_entropy(&now->measure);
    char *recipe = NULL;
    if (uqm_candidate_merge_text(&recipe, &s->call.env, &s->rule, s->ordered_paths, t,
                                 &s->call.open, err) < 0)
        return NULL;
    json_t *step = json_pack(
        "{s:I, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:b, s:I, s:b, s:o, s:s}", "step", (json_int_t) t,
        "added", s->ordered_names[t - 1], "uq", uqm_measure_number(now->measure.model.mean),
        "stderr", uqm_measure_number(now->measure.model.se), "improved",
        (int) s->result.steps[t - 1].improved, "diff",
        uqm_measure_number(now->against ? now->diff.mean : none), "diff_stderr",
        uqm_measure_number(now->against ? now->diff.se : none), "answer_entropy",
        uqm_measure_number(entropy), "collapsed", (int) s->result.steps[t - 1].collapsed, "samples",
        (json_int_t) n_samples(&now->measure), "decided_early", (int) now->decided, "datasets",
        uqm_measure_sets_json(&now->measure, &s->call.survey), "recipe", recipe);
    free(recipe);
    if (step && s->wants_accuracy) {
        json_object_set_new(step, "accuracy", uqm_measure_number(now->accuracy.model.mean));
        json_object_set_new(step, "accuracy_stderr", uqm_measure_number(now->accuracy.model.se));
    }
    if (step)
        add_change(step, s, t);
    return step;
}

static json_t *models_json(const struct uqm_select *s)
{
    json_t *models = json_array();
    for (size_t i = 0; models && i < s->n; i++) {
        json_t *model = uqm_measure_json(&s->models[i], &s->call.survey, s->call.names[i]);
        if (model && s->wants_accuracy) {
            const struct uqm_mean *accuracy = &s->accuracies[i].model;
            json_object_set_new(model, "accuracy", uqm_measure_number(accuracy->mean));
            json_object_set_new(model, "accuracy_stderr", uqm_measure_number(accuracy->se));
        }
        json_array_append_new(models, model);
    }
    return models;
}

static json_t *stop_json(const struct uqm_select *s)
{
    static const char *const words[] = { NULL, "uq", "guard", "collapse", "spread" };
    const char *word = words[s->result.stop];
    if (s->result.stop == UQM_STOP_VALUE && s->wants_accuracy)
        word = "accuracy";
    return word ? json_string(word) : json_null();
}

json_t *uqm_select_json(struct uqm_select *s, double seconds, struct uqm_err *err)
{
    json_t *steps = json_array();
    for (size_t t = 1; steps && t <= s->result.n_steps; t++) {
        json_t *step = step_json(s, t, err);
        if (!step) {
            json_decref(steps);
            return NULL;
        }
        json_array_append_new(steps, step);
    }
    const uint64_t read = s->call.env.bytes_read + s->accuracy_call.env.bytes_read;
    const size_t stop = s->result.stopped_at;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:f}", "run",
                     uqm_call_run(&s->call, s->rule.base), "config", config_json(s), "models",
                     models_json(s), "order", names_json(s->ordered_names, s->n), "steps", steps,
                     "stopped_at", stop ? json_integer((json_int_t) stop) : json_null(),
                     "stopped_by", stop_json(s), "selected",
                     names_json(s->ordered_names, s->result.best), "out",
                     uqm_inspect_text(s->params->no_write ? NULL : s->params->out_dir),
                     "bytes_read", (json_int_t) read, "seconds", seconds);
}
