/* uqm_select(): UQ-Merge from the models to the written merge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/merge/write.h"
#include "src/uq/race.h"
#include "src/uq/select.h"

/* Bytes that a value takes in the state: a JSON number, and its text while the file is written. */
enum { STATE_BYTES_A_VALUE = 64 };

static int check_stop(const struct uqm_select_params *p, struct uqm_err *err)
{
    const bool by_accuracy =
        p->order == UQM_ORDER_ACCURACY_DESC || p->order == UQM_ORDER_ACCURACY_ASC;
    if (!(p->min_drop >= 0) || p->patience < 0)
        return uqm_fail(err, UQM_ERR_USAGE, "--min-drop and --patience may not be negative");
    if (!(p->guard >= 0 && p->guard <= 1))
        return uqm_fail(err, UQM_ERR_USAGE, "--guard %g: give a share from 0 (off) to 1", p->guard);
    if (!(p->min_spread >= 0 && p->min_spread <= 1))
        return uqm_fail(err, UQM_ERR_USAGE, "--min-spread %g: give a share from 0 (off) to 1",
                        p->min_spread);
    if (!(p->confident >= 0 && p->confident < 1))
        return uqm_fail(err, UQM_ERR_USAGE, "--confident %g: give a level in (0, 1)", p->confident);
    if (p->confident > 0 && (by_accuracy || p->uq.method == UQM_UQ_CONFORMAL))
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--confident %g: it decides comparisons of perturbation uncertainties, "
                        "not of %s",
                        p->confident, by_accuracy ? "accuracies" : "conformal sets");
    if (p->window > 1 && p->confident > 0)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--window %d: a step that is raced (--confident) is asked by itself",
                        p->window);
    if (p->window < 0)
        return uqm_fail(err, UQM_ERR_USAGE, "--window %d: give a number of steps", p->window);
    if (p->uq.questions.fast)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--fast: its probabilities are some 1e-3 off, and the uncertainties of "
                        "steps differ by 1e-4: select asks in the default mode");
    return UQM_OK;
}

/* One folder or archive under one path or two. */
static bool is_same(const char *a, const char *b)
{
    struct stat x, y;
    return strcmp(a, b) == 0 ||
           (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* One file cannot be two of these: they would wait for each other, or stand in each other's way. */
static int check_places(const struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_select_params *p = s->params;
    const struct {
        const char *option, *path;
    } v[] = { { "--out", p->no_write ? NULL : p->out_dir },
              { "--state", s->state_path },
              { "--trace", p->uq.trace_path } };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        for (size_t j = 0; j < i; j++)
            if (v[i].path && v[j].path && uqm_is_same_place(v[i].path, v[j].path))
                return uqm_fail(err, UQM_ERR_USAGE, "%s %s: that is the %s", v[i].option, v[i].path,
                                v[j].option);
    return UQM_OK;
}

static int check_params(const struct uqm_select_params *p, struct uqm_err *err)
{
    if (p->order < UQM_ORDER_UQ_DESC || p->order > UQM_ORDER_RANDOM)
        return uqm_fail(err, UQM_ERR_USAGE, "--order: no such order");
    int ret = check_stop(p, err);
    if (ret < 0)
        return ret;
    if (!p->no_write && !p->out_dir)
        return uqm_fail(err, UQM_ERR_USAGE, "--out DIR is needed, or --no-write");
    const struct uqm_strings *models = &p->uq.questions.models;
    /* What is written has a recipe and a manifest, and both name the models. */
    ret = p->no_write ? UQM_OK : uqm_check_path_text(p->out_dir, false, err);
    if (ret == UQM_OK && !p->no_write && p->base_dir)
        ret = uqm_check_path_text(p->base_dir, true, err);
    for (size_t i = 0; i < models->n; i++) {
        if (ret == UQM_OK && !p->no_write)
            ret = uqm_check_path_text(models->v[i], true, err);
        if (ret < 0)
            return ret;
        if (uqm_is_recipe_path(models->v[i]))
            return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                            "%s: select merges checkpoints, and a recipe is none; write it with "
                            "`merge` first",
                            models->v[i]);
        for (size_t j = 0; j < i; j++)
            if (is_same(models->v[i], models->v[j]))
                return uqm_fail(err, UQM_ERR_USAGE, "%s: select is given this model twice",
                                models->v[i]);
    }
    return ret;
}

/* Known before hours are spent, not after: a place for the result. */
static int check_out(const struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_select_params *p = s->params;
    if (p->no_write)
        return UQM_OK;
    if (access(p->out_dir, F_OK) == 0 && !p->overwrite) {
        /* One of an earlier select of this place, ended before it could remove the file. */
        const bool left = !p->state_path && uqm_is_file(s->state_path);
        return uqm_fail(err, UQM_ERR_ARG, "%s: it exists; --overwrite replaces it%s%s%s",
                        p->out_dir, left ? "; what was measured for it is in " : "",
                        left ? s->state_path : "", left ? ", which may be removed" : "");
    }
    if (access(s->scratch_dir, W_OK | X_OK) != 0)
        return uqm_fail_errno(err, "%s: the result cannot be put there", s->scratch_dir);
    return UQM_OK;
}

static struct uqm_write_params write_params(const struct uqm_select_params *p)
{
    return (struct uqm_write_params){ .out_dir = p->out_dir, .overwrite = p->overwrite };
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
    s->ordered_digests = calloc(n, sizeof *s->ordered_digests);
    s->model_digests = calloc(n, sizeof *s->model_digests);
    s->steps = calloc(n, sizeof *s->steps);
    s->result.steps = calloc(n, sizeof *s->result.steps);
    if (!s->models || !s->accuracies || !s->order || !s->ordered_paths || !s->ordered_names ||
        !s->ordered_digests || !s->model_digests || !s->steps || !s->result.steps)
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
    clean.kind = UQM_MEASURE_ACCURACY;
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

/* What the models and the base are, for the state's keys. */
static int make_digests(struct uqm_select *s, struct uqm_err *err)
{
    struct uqm_xxh3_hex base;
    int ret = UQM_OK;
    for (size_t i = 0; i < s->n && ret == UQM_OK; i++)
        ret = uqm_survey_model(&s->model_digests[i], s->call.models->v[i], s->state_path, err);
    if (ret == UQM_OK && s->rule.base)
        ret = uqm_survey_model(&base, s->rule.base, s->state_path, err);
    if (ret == UQM_OK)
        ret = uqm_merge_rule_digest(&s->rule_digest, &s->rule, s->rule.base ? &base : NULL, err);
    return ret;
}

static int tell_of_state(const struct uqm_select *s, struct uqm_err *err)
{
    const char **digests = malloc(s->n * sizeof *digests);
    if (!digests)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the run's state");
    for (size_t i = 0; i < s->n; i++)
        digests[i] = s->model_digests[i].text;
    uqm_state_tell(s->state, &s->call.env, digests, s->n);
    free(digests);
    return UQM_OK;
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
    const char *own = s->state_path;
    int ret = own ? uqm_check_replaceable(own, "\"entries\":", "a run's state", err) : UQM_OK;
    if (ret == UQM_OK)
        ret = make_digests(s, err);
    if (ret == UQM_OK)
        ret = uqm_survey_job(&job, survey, s->params->uq.questions.vision_tower, err);
    if (ret == UQM_OK)
        ret = uqm_state_open(&s->state, &s->call.env, s->state_path, &job, n_records,
                             survey->n_sets, err);
    free(n_records);
    return ret < 0 ? ret : tell_of_state(s, err);
}

/* The order in which races ask the records. */
static int make_race(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_survey *survey = &s->call.survey;
    s->wanted = calloc(uqm_survey_n_records(survey) + 1, sizeof *s->wanted);
    s->places = calloc(survey->n_sets, sizeof *s->places);
    bool ok = s->wanted && s->places;
    int ret = UQM_OK;
    for (size_t k = 0; ok && ret == UQM_OK && k < survey->n_sets; k++) {
        s->places[k] = malloc((survey->sets[k].n_records + 1) * sizeof **s->places);
        ok = s->places[k] != NULL;
        if (ok)
            ret = uqm_race_order(s->places[k], &survey->sets[k], s->call.env.seed, err);
    }
    return ok ? ret : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the order of a race");
}

/* Models that do not fit together, and a place that the merge may not take, are found now, not
 * after each model has been measured. */
static int check_merge(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_write_params write = write_params(s->params);
    struct uqm_candidate all = { 0 };
    int ret = uqm_candidate_open_merge(&all, &s->call.env, &s->rule, s->call.models->v, s->n,
                                       &s->call.open, err);
    if (ret == UQM_OK && !s->params->no_write)
        ret = uqm_merge_check_out(&s->call.env, all.source, all.recipe, &write, err);
    /* What there is to say of the recipe and of --vision-tower has been said. */
    s->rule.quiet = s->call.open.quiet = true;
    uqm_candidate_close(&all);
    return ret;
}

static int begin(struct uqm_select *s, struct uqm_err *err)
{
    struct uqm_call_params params;
    int ret;
    if ((ret = check_params(s->params, err)) < 0 ||
        (ret = uqm_merge_rule_init(&s->rule, s->params->merge, s->params->base_dir,
                                   s->params->uq.questions.models.n, err)) < 0 ||
        (ret = make_paths(s, err)) < 0 || (ret = check_places(s, err)) < 0 ||
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
    if (!s->wants_accuracy && (ret = uqm_call_warn_of_nothing(&s->call, err)) < 0)
        return ret;
    s->call.runner.other_bytes = s->accuracy_call.runner.other_bytes =
        2 * (uint64_t) s->n * uqm_survey_n_records(&s->call.survey) * STATE_BYTES_A_VALUE;
    s->sweeps = s->params->window > 1;
    if ((ret = check_merge(s, err)) < 0 || (ret = make_race(s, err)) < 0)
        return ret;
    return open_state(s, err);
}

static int write_best(struct uqm_select *s, struct uqm_err *err)
{
    const struct uqm_select_params *p = s->params;
    const struct uqm_write_params write = write_params(p);
    struct uqm_candidate best = { 0 };
    json_t *result = NULL;
    if (p->no_write)
        return UQM_OK;
    int ret = uqm_candidate_open_merge(&best, &s->call.env, &s->rule, s->ordered_paths,
                                       s->result.best, &s->call.open, err);
    if (ret == UQM_OK)
        ret = uqm_merge_write(&result, &s->call.env, s->call.runner.machine.threads, best.source,
                              best.recipe, &write, err);
    json_decref(result);
    uqm_candidate_close(&best);
    return ret;
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
        if (s->steps)
            uqm_measure_finish(&s->steps[i].accuracy);
    }
    for (size_t k = 0; s->places && k < s->call.survey.n_sets; k++)
        free(s->places[k]);
    free(s->places);
    free(s->wanted);
    free(s->models);
    free(s->accuracies);
    free(s->order);
    free(s->ordered_paths);
    free(s->ordered_names);
    free(s->ordered_digests);
    free(s->model_digests);
    free(s->steps);
    free(s->result.steps);
    uqm_call_finish(&s->accuracy_call);
    uqm_call_finish(&s->call);
    uqm_merge_rule_finish(&s->rule);
    free(s->scratch_dir);
    free(s->state_path);
}

/* Of the models by themselves: which of them are merged is known from their answers only. */
static int plan(char **json, const struct uqm_select_params *params, struct uqm_err *err)
{
    struct uqm_call_params call_params;
    struct uqm_call call = { 0 };
    struct uqm_merge_rule rule;
    int ret = check_params(params, err);
    if (ret < 0)
        return ret;
    ret = uqm_merge_rule_init(&rule, params->merge, params->base_dir, params->uq.questions.models.n,
                              err);
    uqm_merge_rule_finish(&rule);
    if (ret == UQM_OK)
        ret = uqm_call_uq_params(&call_params, &params->uq, err);
    if (ret < 0)
        return ret;
    ret = uqm_call_init(&call, &call_params, err);
    if (ret == UQM_OK)
        ret = uqm_call_plan(json, &call, err);
    uqm_call_finish(&call);
    return ret;
}

int uqm_select(char **json, const struct uqm_select_params *params, struct uqm_err *err)
{
    const double start = uqm_call_now();
    struct uqm_select s = { .params = params };

    *json = NULL;
    if (params->uq.questions.dry_run)
        return plan(json, params, err);
    int ret = begin(&s, err);
    if (ret == UQM_OK)
        ret = uqm_select_measure(&s, err);
    if (ret == UQM_OK)
        ret = uqm_select_run(&s, err);
    if (ret == UQM_OK)
        ret = uqm_trace_commit(s.call.trace, err);
    if (ret == UQM_OK)
        ret = write_best(&s, err);
    json_t *root = ret == UQM_OK ? uqm_select_json(&s, uqm_call_now() - start, err) : NULL;
    if (ret == UQM_OK)
        ret = uqm_call_result(json, root, err);
    /* Of use to nobody once the merge stands; one that was asked for by name stays. */
    if (ret == UQM_OK && !params->state_path && !params->no_write)
        uqm_state_remove(s.state);
    select_finish(&s);
    return ret;
}
