/* uqm_study_ask(): what a study asks, put to the library's calls. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/fs.h"
#include "src/format/base64.h"
#include "src/format/json.h"
#include "src/format/yaml.h"
#include "src/study/study_run.h"
#include "src/uq/call.h"

/* --- targets --- */

static size_t count(uint64_t models)
{
    return (size_t) __builtin_popcountll(models);
}

static int put_real(FILE *f, const char *path, struct uqm_err *err)
{
    char *real = realpath(path, NULL);
    if (!real)
        return uqm_fail_errno(err, "%s", path);
    uqm_yaml_put_quoted(f, real);
    fputc('\n', f);
    free(real);
    return UQM_OK;
}

static void put_params(FILE *f, const struct uqm_study_method *m)
{
    const struct uqm_param_info *weight = uqm_method_param(m->info, "weight");
    bool weighted = !weight;
    if (weight || m->n_params > 0)
        fputs("parameters:\n", f);
    for (size_t i = 0; i < m->n_params; i++) {
        const struct uqm_study_param *p = &m->params[i];
        weighted |= p->info == weight;
        if (p->info->type == UQM_PARAM_BOOL)
            fprintf(f, "  %s: %s\n", p->info->name, p->value != 0 ? "true" : "false");
        else if (p->info->type == UQM_PARAM_INT)
            fprintf(f, "  %s: %.0f\n", p->info->name, p->value);
        else
            fprintf(f, "  %s: %.17g\n", p->info->name, p->value);
    }
    if (!weighted)
        fputs("  weight: 1.0\n", f);
}

/* A merge as mergekit YAML: equal weights, the models in the study's order. */
static int recipe_text(char **text, const struct uqm_study_run *run,
                       const struct uqm_study_target *t, struct uqm_err *err)
{
    const struct uqm_study *s = run->study;
    size_t len = 0;
    int ret = UQM_OK;
    FILE *f = open_memstream(text, &len);
    if (!f)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a recipe");
    fprintf(f, "merge_method: %s\n", t->method->info->name);
    if (t->method->info->base == UQM_BASE_REQUIRED) {
        fputs("base_model: ", f);
        ret = put_real(f, s->base.path, err);
    }
    fputs("models:\n", f);
    for (size_t i = 0; i < s->n_models && ret == UQM_OK; i++) {
        const size_t at = run->ordered ? run->order[i] : i;
        if (!(t->models >> at & 1))
            continue;
        fputs("  - model: ", f);
        ret = put_real(f, s->models[at].path, err);
    }
    put_params(f, t->method);
    bool bad = ferror(f) != 0;
    bad = fclose(f) != 0 || bad;
    if (ret == UQM_OK && bad)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for a recipe");
    return ret;
}

static bool holds(const char *path, const char *text)
{
    struct uqm_err ignored = { 0 };
    const size_t expected = strlen(text);
    char *found = NULL;
    size_t len = 0;
    if (!uqm_is_file(path) || uqm_read_file(&found, &len, path, expected, &ignored) < 0)
        return false;
    const bool same = len == expected && !memcmp(found, text, len);
    free(found);
    return same;
}

/* The file that names the target to the library's calls: a folder, or a recipe in DIR/recipes,
 * which is put right where something else stands there. *path is the caller's. */
static int target_path(char **path, const struct uqm_study_run *run,
                       const struct uqm_study_target *t, struct uqm_err *err)
{
    char *text = NULL, *dir = uqm_path_join(run->dir, "recipes");
    *path = NULL;
    if (uqm_study_is_single(t)) {
        free(dir);
        *path = strdup(run->study->models[__builtin_ctzll(t->models)].path);
        return *path ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a path");
    }
    int ret = dir ? recipe_text(&text, run, t, err)
                  : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a recipe");
    if (ret == UQM_OK &&
        asprintf(path, "%s/%s-of-%zu-%016llx.yml", dir, t->method->info->name, count(t->models),
                 (unsigned long long) uqm_xxh3_64(text, strlen(text), 0)) < 0) {
        *path = NULL;
        ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for a recipe");
    }
    if (ret == UQM_OK && mkdir(dir, 0777) != 0 && errno != EEXIST)
        ret = uqm_fail_errno(err, "%s", dir);
    if (ret == UQM_OK && !holds(*path, text))
        ret = uqm_replace_file(*path, text, strlen(text), err);
    free(text);
    free(dir);
    return ret;
}

/* --- answers --- */

static double get(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : (double) NAN;
}

/* Numbers of records as Base64 of little-endian doubles; null where there are none. */
static json_t *pack_values(const json_t *values)
{
    const size_t n = json_array_size(values);
    double *v = n ? malloc(n * sizeof *v) : NULL;
    for (size_t i = 0; v && i < n; i++) {
        const json_t *value = json_array_get(values, i);
        v[i] = json_is_number(value) ? json_number_value(value) : (double) NAN;
    }
    char *text = v ? uqm_base64_encode(v, n * sizeof *v) : NULL;
    json_t *packed = text ? json_string(text) : json_null();
    free(text);
    free(v);
    return packed;
}

/* What conformal sets say beside their size. */
static json_t *conformal_of(const json_t *set)
{
    static const char *const keys[] = { "calibration", "lac",    "aps", "accuracy", "uacc",
                                        "e_rate",      "f_rate", "ece", "mce" };
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(out, keys[i], json_object_get(set, keys[i]));
    return out;
}

/* What questions asked together took, as the i-th's part of it. */
struct cost {
    double seconds;
    json_int_t bytes_read;
    size_t n;
};

static json_t *answer_of(const json_t *model, bool score, const struct cost *cost, size_t i)
{
    const json_t *set = json_array_get(json_object_get(model, "datasets"), 0);
    const json_int_t n = (json_int_t) cost->n, more = (json_int_t) i < cost->bytes_read % n;
    json_t *null = json_null();
    json_t *v = json_object_get(set, score ? "value" : "uq");
    json_t *e = score ? NULL : json_object_get(set, "stderr");
    json_t *answer = json_pack(
        "{s:O, s:O, s:I, s:I, s:f, s:I, s:o}", "value", v ? v : null, "stderr", e ? e : null,
        "samples", (json_int_t) get(set, "samples"), "skipped", (json_int_t) get(set, "skipped"),
        "seconds", cost->seconds / (double) cost->n, "bytes_read", cost->bytes_read / n + more,
        "values", pack_values(json_object_get(set, "values")));
    if (answer && json_object_get(set, "lac"))
        json_object_set_new(answer, "conformal", conformal_of(set));
    return answer;
}

static int read_answers(json_t **answers, size_t n, const char *text, bool score, double seconds,
                        struct uqm_err *err)
{
    json_t *root = uqm_json_parse(text, strlen(text), "the result", false, err);
    if (!root)
        return (int) err->code;
    const json_t *models = json_object_get(root, "models");
    const struct cost cost = { seconds, (json_int_t) get(root, "bytes_read"), n };
    int ret = UQM_OK;
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        answers[i] = answer_of(json_array_get(models, i), score, &cost, i);
        if (!answers[i])
            ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for an answer");
    }
    json_decref(root);
    return ret;
}

/* The questions' models and set, as the calls take them. */
struct asking {
    const struct uqm_study_question *q;
    size_t n;
    char *paths[UQM_STUDY_MAX_MODELS], *data;
    const char *models[UQM_STUDY_MAX_MODELS];
};

static struct uqm_question_params questions_of(const struct uqm_study_run *run,
                                               const struct asking *a)
{
    const struct uqm_study *s = run->study;
    const struct uqm_study_sample *sample =
        a->q->measure ? &a->q->measure->sample : &s->eval_samples;
    return (struct uqm_question_params){ .models = { a->models, a->n },
                                         .data = { (const char *const *) &a->data, 1 },
                                         .task = s->sets[a->q->set].task,
                                         .vision_tower = s->vision_tower,
                                         .sample_ratio = sample->ratio,
                                         .sample_count = sample->count };
}

static int ask_uncertainty(char **text, struct uqm_study_run *run, const struct asking *a,
                           struct uqm_err *err)
{
    const struct uqm_study_measure *m = a->q->measure;
    struct uqm_uq_params p = { .common = *run->common,
                               .questions = questions_of(run, a),
                               .perturb = m->perturb,
                               .repeats = (int) run->study->repeats,
                               .dropout = m->dropout,
                               .has_dropout = true,
                               .method = m->conformal ? UQM_UQ_CONFORMAL : UQM_UQ_PERTURB,
                               .alpha = m->conformal ? UQM_STUDY_ALPHA : 0,
                               .window = (int) a->n,
                               .with_values = uqm_study_is_own(run->study, m) };
    p.common.seed = m->seed;
    return uqm_uq(text, &p, err);
}

static int ask_score(char **text, struct uqm_study_run *run, const struct asking *a,
                     struct uqm_err *err)
{
    struct uqm_eval_params p = { .common = *run->common,
                                 .questions = questions_of(run, a),
                                 .max_new_tokens = run->study->max_new_tokens,
                                 .window = (int) a->n };
    p.common.seed = run->study->seeds[0];
    return uqm_eval(text, &p, err);
}

int uqm_study_ask(json_t **answers, struct uqm_study_run *run, const struct uqm_study_question *q,
                  size_t n, struct uqm_err *err)
{
    const struct uqm_study_set *set = &run->study->sets[q->set];
    struct asking a = { .q = q, .n = n };
    char *text = NULL;
    const double start = uqm_call_now();
    int ret = UQM_OK;
    assert(n > 0 && n <= UQM_STUDY_MAX_MODELS);
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        assert(q[i].set == q->set && q[i].measure == q->measure);
        ret = target_path(&a.paths[i], run, q[i].target, err);
        a.models[i] = a.paths[i];
    }
    if (ret == UQM_OK && asprintf(&a.data, "%s=%s", set->name, set->path) < 0) {
        a.data = NULL;
        ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for a question");
    }
    if (ret == UQM_OK)
        ret = q->measure ? ask_uncertainty(&text, run, &a, err) : ask_score(&text, run, &a, err);
    if (ret == UQM_OK)
        ret = read_answers(answers, n, text, !q->measure, uqm_call_now() - start, err);
    for (size_t i = 0; i < n; i++)
        free(a.paths[i]);
    free(a.data);
    free(text);
    return ret;
}
