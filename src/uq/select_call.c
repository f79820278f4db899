/* uqm_select(): UQ-Merge from the models to the written merge. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/merge/write.h"
#include "src/uq/select.h"

/* Bytes that a value takes in the state: a JSON number, and its text while the file is written. */
enum { STATE_BYTES_A_VALUE = 64 };

static bool is_recipe(const char *model)
{
    const char *dot = strrchr(model, '.');
    return dot && (!strcmp(dot, ".yml") || !strcmp(dot, ".yaml"));
}

static int check_params(const struct uqm_select_params *p, struct uqm_err *err)
{
    if (p->merge && strcmp(p->merge, "linear") != 0)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "--merge %s: this version selects among linear "
                        "merges only",
                        p->merge);
    if (p->base_dir)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "--base %s: linear merges have no base",
                        p->base_dir);
    if (p->order < UQM_ORDER_UQ_DESC || p->order > UQM_ORDER_RANDOM)
        return uqm_fail(err, UQM_ERR_ARG, "--order: no such order");
    if (!(p->min_drop >= 0) || p->patience < 0)
        return uqm_fail(err, UQM_ERR_ARG, "--min-drop and --patience may not be negative");
    if (!p->no_write && !p->out_dir)
        return uqm_fail(err, UQM_ERR_ARG, "--out DIR is needed, or --no-write");
    for (size_t i = 0; i < p->uq.questions.models.n; i++)
        if (is_recipe(p->uq.questions.models.v[i]))
            return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                            "%s: select merges checkpoints, and a recipe is none; write it with "
                            "`merge` first",
                            p->uq.questions.models.v[i]);
    return UQM_OK;
}

/* Known before hours are spent, not after: a place for the result. */
static int check_out(const struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_select_params *p = s->params;
    if (p->no_write)
        return UQM_OK;
    if (access(p->out_dir, F_OK) == 0 && !p->overwrite)
        return uqm_fail(err, UQM_ERR_ARG, "%s: it exists; --overwrite replaces it", p->out_dir);
    if (access(s->scratch_dir, W_OK | X_OK) != 0)
        return uqm_fail_errno(err, "%s: the result cannot be put there", s->scratch_dir);
    return UQM_OK;
}

/* The folder that DIR is in, for scratch files; the state beside DIR unless named. */
static int make_paths(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_select_params *p = s->params;
    bool ok = true;
    if (p->out_dir) {
        char *base = uqm_path_base(p->out_dir), *name = NULL;
        s->scratch_dir = uqm_path_dir(p->out_dir);
        ok = base && s->scratch_dir && asprintf(&name, "%s.state.json", base) >= 0;
        if (ok && !p->state_path)
            ok = (s->state_path = uqm_path_join(s->scratch_dir, name)) != NULL;
        free(base);
        free(name);
    }
    if (p->state_path)
        ok = (s->state_path = strdup(p->state_path)) != NULL;
    return ok ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the paths of a run");
}

static int make_arrays(struct uqm_select *s, struct uqm_err *err)
{
    const size_t n = s->n = s->call.models->n;
    s->models = calloc(n, sizeof *s->models);
    s->accuracies = calloc(n, sizeof *s->accuracies);
    s->order = calloc(n, sizeof *s->order);
    s->ordered_paths = calloc(n, sizeof *s->ordered_paths);
    s->ordered_names = calloc(n, sizeof *s->ordered_names);
    s->steps = calloc(n, sizeof *s->steps);
    s->result.steps = calloc(n, sizeof *s->result.steps);
    if (!s->models || !s->accuracies || !s->order || !s->ordered_paths || !s->ordered_names ||
        !s->steps || !s->result.steps)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu models", n);
    return UQM_OK;
}

/* Clean passes of the same records; a set without a label has no accuracy to order by. */
static int init_accuracy(struct uqm_select *s, const struct uqm_call_params *params,
                         struct uqm_err *err)
{
    struct uqm_call_params clean = *params;
    clean.survey.perturb = 0;
    clean.survey.n_passes = 1;
    clean.trace_path = NULL;
    int ret = uqm_call_init(&s->accuracy_call, &clean, err);
    for (size_t k = 0; ret == UQM_OK && k < s->accuracy_call.survey.n_sets; k++) {
        const struct uqm_dataset *set = &s->accuracy_call.survey.sets[k];
        size_t n = 0;
        for (size_t i = 0; i < set->n_records; i++)
            n += set->records[i].answer >= 0;
        if (n == 0)
            ret = uqm_fail(err, UQM_ERR_FORMAT,
                           "%s: no record has an answer, and --order by "
                           "accuracy needs them",
                           set->path);
    }
    return ret;
}

static int open_state(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_survey *survey = &s->call.survey;
    struct uqm_xxh3_hex job;
    size_t *n_records = malloc(survey->n_sets * sizeof *n_records);
    if (!n_records)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the run's state");
    for (size_t k = 0; k < survey->n_sets; k++)
        n_records[k] = survey->sets[k].n_records;
    int ret =
        uqm_survey_job(&job, survey, s->call.models, s->params->uq.questions.vision_tower, err);
    if (ret == UQM_OK)
        ret = uqm_state_open(&s->state, &s->call.env, s->state_path, &job, n_records,
                             survey->n_sets, err);
    free(n_records);
    return ret;
}

/* Models that do not fit together are found now, not after each has been measured. */
static int check_merge(struct uqm_select *s, struct uqm_err *err)
{
    struct uqm_candidate all = { 0 };
    int ret =
        uqm_candidate_open_merge(&all, &s->call.env, s->call.models->v, s->n, &s->call.open, err);
    uqm_candidate_close(&all);
    return ret;
}

static int begin(struct uqm_select *s, struct uqm_err *err)
{
    struct uqm_call_params params;
    int ret;
    if ((ret = check_params(s->params, err)) < 0 || (ret = make_paths(s, err)) < 0 ||
        (ret = check_out(s, err)) < 0 ||
        (ret = uqm_call_uq_params(&params, &s->params->uq, err)) < 0)
        return ret;
    params.scratch_dir = s->scratch_dir;
    if ((ret = uqm_call_init(&s->call, &params, err)) < 0 || (ret = make_arrays(s, err)) < 0)
        return ret;
    s->wants_accuracy =
        s->params->order == UQM_ORDER_ACCURACY_DESC || s->params->order == UQM_ORDER_ACCURACY_ASC;
    if (s->wants_accuracy && (ret = init_accuracy(s, &params, err)) < 0)
        return ret;
    s->call.runner.other_bytes = s->accuracy_call.runner.other_bytes =
        2 * (uint64_t) s->n * uqm_survey_n_records(&s->call.survey) * STATE_BYTES_A_VALUE;
    if ((ret = check_merge(s, err)) < 0)
        return ret;
    return open_state(s, err);
}

static int write_best(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_select_params *p = s->params;
    const struct uqm_write_params write = { .out_dir = p->out_dir, .overwrite = p->overwrite };
    struct uqm_candidate best = { 0 };
    json_t *result = NULL;
    if (p->no_write)
        return UQM_OK;
    int ret = uqm_candidate_open_merge(&best, &s->call.env, s->ordered_paths, s->result.best,
                                       &s->call.open, err);
    if (ret == UQM_OK)
        ret = uqm_merge_write(&result, &s->call.env, s->call.runner.machine.threads, best.source,
                              best.recipe, &write, err);
    json_decref(result);
    uqm_candidate_close(&best);
    return ret;
}

static json_t *names_json(const char *const *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static json_t *step_json(const struct uqm_select *s, size_t t)
{
    const struct uqm_select_step *now = &s->steps[t - 1];
    const double none = (double) NAN;
    return json_pack("{s:I, s:s, s:o, s:o, s:b, s:o, s:o, s:o}", "step", (json_int_t) t, "added",
                     s->ordered_names[t - 1], "uq", uqm_measure_number(now->measure.model.mean),
                     "stderr", uqm_measure_number(now->measure.model.se), "improved",
                     (int) s->result.steps[t - 1].improved, "diff",
                     uqm_measure_number(now->against ? now->diff.mean : none), "diff_stderr",
                     uqm_measure_number(now->against ? now->diff.se : none), "datasets",
                     uqm_measure_sets_json(&now->measure, &s->call.survey));
}

static json_t *result_json(const struct uqm_select *s, double seconds)
{
    json_t *models = json_array(), *steps = json_array();
    for (size_t i = 0; models && i < s->n; i++) {
        json_t *model = uqm_measure_json(&s->models[i], &s->call.survey, s->call.names[i]);
        if (model && s->wants_accuracy)
            json_object_set_new(model, "accuracy", uqm_measure_number(s->accuracies[i].model.mean));
        json_array_append_new(models, model);
    }
    for (size_t t = 1; steps && t <= s->result.n_steps; t++)
        json_array_append_new(steps, step_json(s, t));
    const uint64_t read = s->call.env.bytes_read + s->accuracy_call.env.bytes_read;
    const size_t stop = s->result.stopped_at;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:I, s:f}", "config",
                     uqm_survey_config(&s->call.survey), "models", models, "order",
                     names_json(s->ordered_names, s->n), "steps", steps, "stopped_at",
                     stop ? json_integer((json_int_t) stop) : json_null(), "selected",
                     names_json(s->ordered_names, s->result.best), "out",
                     s->params->no_write ? NULL : s->params->out_dir, "bytes_read",
                     (json_int_t) read, "seconds", seconds);
}

static void select_finish(struct uqm_select *s)
{
    uqm_state_close(&s->state);
    for (size_t i = 0; i < s->n; i++) {
        if (s->models)
            uqm_measure_finish(&s->models[i]);
        if (s->accuracies)
            uqm_measure_finish(&s->accuracies[i]);
        if (s->steps)
            uqm_measure_finish(&s->steps[i].measure);
    }
    free(s->models);
    free(s->accuracies);
    free(s->order);
    free(s->ordered_paths);
    free(s->ordered_names);
    free(s->steps);
    free(s->result.steps);
    uqm_call_finish(&s->accuracy_call);
    uqm_call_finish(&s->call);
    free(s->scratch_dir);
    free(s->state_path);
}

int uqm_select(char **json, const struct uqm_select_params *params, struct uqm_err *err)
{
    const double start = uqm_call_now();
    struct uqm_select s = { .params = params };

    *json = NULL;
    int ret = begin(&s, err);
    if (ret == UQM_OK)
        ret = uqm_select_measure(&s, err);
    if (ret == UQM_OK)
        ret = uqm_select_run(&s, err);
    if (ret == UQM_OK)
        ret = uqm_trace_commit(s.call.trace, err);
    if (ret == UQM_OK)
        ret = write_best(&s, err);
    if (ret == UQM_OK)
        ret = uqm_call_result(json, result_json(&s, uqm_call_now() - start), err);
    /* Of use to nobody once the merge stands; one that was asked for by name stays. */
    if (ret == UQM_OK && !params->state_path && !params->no_write)
        uqm_state_remove(s.state);
    select_finish(&s);
    return ret;
}
