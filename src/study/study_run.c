#include "src/study/study_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/base64.h"
#include "src/format/json.h"
#include "src/merge/method_ops.h"
#include "src/study/study_digest.h"
#include "src/uq/score.h"

/* Raised by a change of the program that changes answers, or what is kept of them. */
enum { ANSWERS_VERSION = 2, CONFORMAL_VERSION = 3 };

struct uqm_study_measure uqm_study_own_measure(const struct uqm_study *study)
{
    return (struct uqm_study_measure){ .seed = study->seeds[0],
                                       .dropout = study->dropout,
                                       .sample = study->samples };
}

bool uqm_study_is_own(const struct uqm_study *s, const struct uqm_study_measure *m)
{
    return !m->conformal && m->seed == s->seeds[0] && (m->perturb == 0 || m->perturb == 7) &&
           m->dropout == s->dropout && m->sample.ratio == s->samples.ratio &&
           m->sample.count == s->samples.count;
}

size_t uqm_study_first(const struct uqm_study *study, enum uqm_study_role role)
{
    size_t first = 0;
    for (int r = 0; r < (int) role; r++)
        first += study->n_of_role[r];
    return first;
}

/* --- before the first question --- */

/* The device that networks will run on, by name: answers differ in their last digits. */
static int find_device(struct uqm_study_run *run, struct uqm_err *err)
{
    const char *asked = run->common->device;
    char *text = NULL;
    if (!asked || !strcmp(asked, "auto")) {
        int ret = uqm_devices(&text, err);
        if (ret < 0)
            return ret;
        json_t *root = uqm_json_parse(text, strlen(text), "devices", false, err), *device;
        size_t i;
        free(text);
        if (!root)
            return (int) err->code;
        json_array_foreach (json_object_get(root, "devices"), i, device)
            if (json_is_true(json_object_get(device, "auto"))) {
                const char *type = json_string_value(json_object_get(device, "type"));
                const char *name = json_string_value(json_object_get(device, "name"));
                const bool cpu = type && !strcmp(type, "cpu");
                snprintf(run->device, sizeof run->device, "%s", cpu || !name ? "cpu" : name);
            }
        json_decref(root);
        if (!run->device[0])
            snprintf(run->device, sizeof run->device, "cpu");
        return UQM_OK;
    }
    snprintf(run->device, sizeof run->device, "%s", asked);
    return UQM_OK;
}

static int digest_all(struct uqm_study_run *run, struct uqm_err *err)
{
    const struct uqm_study *s = run->study;
    int ret = UQM_OK;
    for (size_t i = 0; i < s->n_sets && ret == UQM_OK; i++) {
        uqm_report(run->env, "reading data sets", "sets", i, s->n_sets);
        ret = uqm_check_cancel(run->env, err);
        if (ret == UQM_OK)
            ret = uqm_study_set_digest(&run->sets[i], run->env, &s->sets[i], err);
        if (ret == UQM_OK && s->sets[i].role == UQM_HELD_IN && !run->sets[i].choice)
            ret = uqm_fail(err, UQM_ERR_FORMAT,
                           "%s:%d: %s is no multiple-choice set; uncertainty is measured on "
                           "held-in sets",
                           s->path, s->sets[i].line, s->sets[i].name);
    }
    for (size_t i = 0; i < s->n_models && ret == UQM_OK; i++) {
        uqm_report(run->env, "reading models", "models", i, s->n_models);
        ret = uqm_check_cancel(run->env, err);
        if (ret == UQM_OK)
            ret = uqm_study_model_digest(&run->models[i], run->common, run->cache, !run->dry_run,
                                         s->models[i].path, err);
    }
    if (ret == UQM_OK && s->has_base)
        ret = uqm_study_model_digest(&run->base, run->common, run->cache, !run->dry_run,
                                     s->base.path, err);
    if (ret == UQM_OK && s->vision_tower)
        ret = uqm_study_model_digest(&run->tower, run->common, run->cache, !run->dry_run,
                                     s->vision_tower, err);
    return ret;
}

int uqm_study_run_init(struct uqm_study_run *run, struct uqm_err *err)
{
    run->linear =
        (struct uqm_study_method){ .name = "linear", .info = uqm_method_of(UQM_METHOD_LINEAR) };
    run->jobs = json_array();
    run->asked = json_object();
    int ret = run->jobs && run->asked ? find_device(run, err)
                                      : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a study");
    return ret == UQM_OK ? digest_all(run, err) : ret;
}

void uqm_study_run_finish(struct uqm_study_run *run)
{
    json_decref(run->jobs);
    json_decref(run->asked);
}

/* --- targets --- */

static size_t count(uint64_t models)
{
    return (size_t) __builtin_popcountll(models);
}

bool uqm_study_is_single(const struct uqm_study_target *t)
{
    return !t->method || count(t->models) == 1;
}

/* "reason", or "ties of 3: reason+know+chat". NULL: no memory. */
static char *label_of(const struct uqm_study_run *run, const struct uqm_study_target *t)
{
    char *text = NULL;
    size_t len = 0, n = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    if (!uqm_study_is_single(t))
        fprintf(f, "%s of %zu: ", t->method->name, count(t->models));
    for (size_t i = 0; i < run->study->n_models; i++)
        if (t->models >> i & 1)
            fprintf(f, "%s%s", n++ ? "+" : "", run->study->models[i].name);
    return fclose(f) == 0 ? text : NULL;
}

static json_t *params_json(const struct uqm_study_method *m)
{
    json_t *params = json_object();
    for (size_t i = 0; params && i < m->n_params; i++)
        json_object_set_new(params, m->params[i].info->name, json_real(m->params[i].value));
    return params;
}

static json_t *target_key(const struct uqm_study_run *run, const struct uqm_study_target *t)
{
    json_t *models = json_array();
    for (size_t i = 0; models && i < run->study->n_models; i++) {
        const size_t at = run->ordered ? run->order[i] : i;
        if (t->models >> at & 1)
            json_array_append_new(models, json_string(run->models[at].text));
    }
    if (uqm_study_is_single(t))
        return json_pack("{s:o}", "models", models);
    const bool base = t->method->info->base == UQM_BASE_REQUIRED;
    const struct uqm_method_ops *ops = uqm_method_ops_of(t->method->info->id);
    const bool draws = ops && ops->draws; /* no other merge depends on the seed */
    return json_pack("{s:o, s:s, s:o, s:s, s:I}", "models", models, "method", t->method->info->name,
                     "parameters", params_json(t->method), "base", base ? run->base.text : "",
                     "seed", draws ? (json_int_t) run->study->seeds[0] : (json_int_t) 0);
}

/* --- questions --- */

static double get(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : (double) NAN;
}

static json_t *question_key(const struct uqm_study_run *run, const struct uqm_study_question *q)
{
    const struct uqm_study *s = run->study;
    const bool choice = run->sets[q->set].choice;
    const struct uqm_study_sample *sample = q->measure ? &q->measure->sample : &s->eval_samples;
    const bool conformal = q->measure && q->measure->conformal;
    /* The sample's seed is the measure's, or the study's own. */
    json_t *key =
        json_pack("{s:i, s:s, s:o, s:s, s:s, s:s, s:f, s:I}", "version",
                  conformal ? CONFORMAL_VERSION : ANSWERS_VERSION, "kind",
                  !q->measure ? "score"
                  : conformal ? "conformal"
                              : "uncertainty",
                  "model", target_key(run, q->target), "data", run->sets[q->set].digest.text,
                  "vision_tower", s->vision_tower ? run->tower.text : "", "device", run->device,
                  "ratio", sample->ratio, "count", (json_int_t) sample->count);
    const bool sampled = sample->ratio > 0 || sample->count > 0;
    if (q->measure) {
        const struct uqm_study_measure *m = q->measure;
        json_object_set_new(key, "seed", json_integer((json_int_t) m->seed));
        json_object_set_new(key, "perturb", json_integer(m->perturb ? m->perturb : 7));
        json_object_set_new(key, "repeats", json_integer(s->repeats));
        json_object_set_new(key, "dropout", json_real(m->dropout));
    } else {
        json_object_set_new(key, "seed", json_integer(sampled ? (json_int_t) s->seeds[0] : 0));
        json_object_set_new(key, "max_new_tokens", json_integer(choice ? 0 : s->max_new_tokens));
    }
    return key;
}

/* What the job list says of a question. */
static json_t *job_of(const struct uqm_study_run *run, const struct uqm_study_question *q)
{
    char *label = label_of(run, q->target);
    const bool single = uqm_study_is_single(q->target);
    const char *what = q->measure ? (single ? "uncertainty of models" : "uncertainty of merges")
                       : run->sets[q->set].choice
                           ? (single ? "accuracy of models" : "accuracy of merges")
                           : (single ? "answers of models" : "answers of merges");
    json_t *job = json_pack("{s:s, s:s, s:s}", "job", what, "model", label ? label : "?", "data",
                            run->study->sets[q->set].name);
    if (q->measure)
        json_object_set_new(job, "seed", json_integer((json_int_t) q->measure->seed));
    free(label);
    return job;
}

/* Note a question the first time it is asked in this run. */
static int note_job(struct uqm_study_run *run, const struct uqm_study_question *q,
                    const json_t *key, bool cached, const json_t *answer, struct uqm_err *err)
{
    struct uqm_xxh3_hex name;
    int ret = uqm_study_cache_name(&name, key, err);
    if (ret < 0 || json_object_get(run->asked, name.text))
        return ret;
    json_t *job = job_of(run, q);
    json_object_set_new(job, "cached", json_boolean(cached));
    json_object_set(job, "seconds", json_object_get(answer, "seconds"));
    json_object_set(job, "bytes_read", json_object_get(answer, "bytes_read"));
    if (json_object_set_new(run->asked, name.text, json_true()) < 0 ||
        json_array_append_new(run->jobs, job) < 0)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the list of jobs");
    if (cached)
        run->n_cached++;
    else if (answer)
        run->n_done++;
    return UQM_OK;
}

/* The cache's answer, unless it was found when the measure was none of the study's own and lacks
 * the records' values. */
static const json_t *cached(const struct uqm_study_run *run, const struct uqm_study_question *q,
                            const json_t *key)
{
    const json_t *answer = uqm_study_cache_get(run->cache, key);
    const bool is_poor = answer && q->measure && uqm_study_is_own(run->study, q->measure) &&
                         !json_is_string(json_object_get(answer, "values"));
    return is_poor ? NULL : answer;
}

static int find_answer(json_t **answer, struct uqm_study_run *run,
                       const struct uqm_study_question *q, const json_t *key, struct uqm_err *err)
{
    int ret = uqm_check_cancel(run->env, err);
    const json_t *known = ret == UQM_OK ? cached(run, q, key) : NULL;
    *answer = NULL;
    if (known) {
        *answer = json_incref((json_t *) (uintptr_t) known);
        return note_job(run, q, key, true, known, err);
    }
    if (ret == UQM_OK && run->dry_run) {
        ret = note_job(run, q, key, false, NULL, err);
        return ret == UQM_OK ? UQM_STUDY_WAITS : ret;
    }
    if (ret == UQM_OK) {
        char *label = label_of(run, q->target);
        uqm_log(run->env, UQM_LOG_INFO, "%s of %s on %s", q->measure ? "uncertainty" : "score",
                label ? label : "?", run->study->sets[q->set].name);
        free(label);
        ret = run->ask(answer, run, q, 1, err);
    }
    if (ret == UQM_OK)
        ret = uqm_study_cache_put(run->cache, key, *answer, err);
    if (ret == UQM_OK)
        ret = note_job(run, q, key, false, *answer, err);
    return ret;
}

/* Of several targets, those whose answers are not there yet, at a time. */
int uqm_study_ahead(struct uqm_study_run *run, const struct uqm_study_target *targets, size_t n,
                    const struct uqm_study_measure *measure, size_t set, struct uqm_err *err)
{
    struct uqm_study_question q[UQM_STUDY_MAX_MODELS];
    json_t *keys[UQM_STUDY_MAX_MODELS], *answers[UQM_STUDY_MAX_MODELS] = { 0 };
    size_t n_open = 0;
    int ret = uqm_check_cancel(run->env, err);
    for (size_t i = 0; i < n && ret == UQM_OK && !run->dry_run; i++) {
        q[n_open] = (struct uqm_study_question){ &targets[i], measure, set };
        keys[n_open] = question_key(run, &q[n_open]);
        const json_t *known = keys[n_open] ? cached(run, &q[n_open], keys[n_open]) : NULL;
        if (!keys[n_open]) {
            ret = uqm_fail(err, UQM_ERR_NOMEM, "no memory for a question");
        } else if (known) { /* one beyond the stop is asked for here alone */
            ret = note_job(run, &q[n_open], keys[n_open], true, known, err);
            json_decref(keys[n_open]);
        } else {
            n_open++;
        }
    }
    if (ret == UQM_OK && n_open > 1) {
        uqm_log(run->env, UQM_LOG_INFO, "%s of %zu merges on %s", measure ? "uncertainty" : "score",
                n_open, run->study->sets[set].name);
        ret = run->ask(answers, run, q, n_open, err);
        for (size_t i = 0; i < n_open && answers[i]; i++) {
            struct uqm_err later = { 0 };
            int kept = uqm_study_cache_put(run->cache, keys[i], answers[i], &later);
            if (kept == UQM_OK)
                kept = note_job(run, &q[i], keys[i], false, answers[i], &later);
            if (kept < 0 && ret == UQM_OK)
                ret = uqm_fail(err, kept, "%s", later.msg);
        }
    }
    for (size_t i = 0; i < n_open; i++) {
        json_decref(keys[i]);
        json_decref(answers[i]);
    }
    return ret;
}

static int value_of(struct uqm_study_value *out, struct uqm_study_run *run,
                    const struct uqm_study_question *q, struct uqm_err *err)
{
    json_t *answer = NULL, *key = question_key(run, q);
    *out = (struct uqm_study_value){ .value = (double) NAN, .se = (double) NAN };
    int ret = key ? find_answer(&answer, run, q, key, err)
                  : uqm_fail(err, UQM_ERR_NOMEM, "no memory for a question");
    if (ret == UQM_OK) {
        const double n = get(answer, "samples");
        out->value = get(answer, "value");
        out->se = get(answer, "stderr");
        out->n_records = n > 0 ? (uint64_t) n : 0;
    }
    json_decref(answer);
    json_decref(key);
    return ret;
}

/* In a dry run all sets are asked before it is said that they are waited for. */
static int mean_of(struct uqm_study_value *out, struct uqm_study_value *sets,
                   struct uqm_study_run *run, const struct uqm_study_target *target,
                   const struct uqm_study_measure *measure, enum uqm_study_role role,
                   struct uqm_err *err)
{
    const size_t first = uqm_study_first(run->study, role), n = run->study->n_of_role[role];
    double sum = 0, squares = 0;
    bool waits = false;
    *out = (struct uqm_study_value){ 0 };
    for (size_t k = 0; k < n; k++) {
        struct uqm_study_value v;
        const struct uqm_study_question q = { .target = target,
                                              .measure = measure,
                                              .set = first + k };
        int ret = value_of(&v, run, &q, err);
        if (ret == UQM_STUDY_WAITS)
            waits = true;
        else if (ret < 0)
            return ret;
        sum += v.value;
        squares += v.se * v.se;
        out->n_records += v.n_records;
        if (sets)
            sets[k] = v;
    }
    out->value = n ? sum / (double) n : (double) NAN;
    out->se = n ? sqrt(squares) / (double) n : (double) NAN;
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_mean_uncertainty(struct uqm_study_value *out, struct uqm_study_value *sets,
                               struct uqm_study_run *run, const struct uqm_study_target *target,
                               const struct uqm_study_measure *measure, struct uqm_err *err)
{
    return mean_of(out, sets, run, target, measure, UQM_HELD_IN, err);
}

int uqm_study_mean_score(struct uqm_study_value *out, struct uqm_study_value *sets,
                         struct uqm_study_run *run, const struct uqm_study_target *target,
                         enum uqm_study_role role, struct uqm_err *err)
{
    return mean_of(out, sets, run, target, NULL, role, err);
}

const json_t *uqm_study_known(struct uqm_study_run *run, const struct uqm_study_target *target,
                              const struct uqm_study_measure *measure, size_t set)
{
    const struct uqm_study_question q = { target, measure, set };
    json_t *key = question_key(run, &q);
    const json_t *answer = key ? cached(run, &q, key) : NULL;
    json_decref(key);
    return answer;
}

/* --- pairs --- */

/* The records' values that an answer holds; malloc'ed, NULL where it holds none. */
static double *values_of(size_t *n, const json_t *answer)
{
    const json_t *text = json_object_get(answer, "values");
    const size_t len = json_string_length(text);
    double *v = json_is_string(text) ? malloc(uqm_base64_most(len) + 1) : NULL;
    if (v && !uqm_base64_decode((uint8_t *) v, n, json_string_value(text), len)) {
        free(v);
        v = NULL;
    }
    *n /= sizeof *v;
    return v;
}

struct uqm_study_value uqm_study_difference(struct uqm_study_run *run,
                                            const struct uqm_study_target *a,
                                            const struct uqm_study_target *b,
                                            const struct uqm_study_measure *measure)
{
    const size_t n_sets = run->study->n_of_role[UQM_HELD_IN];
    struct uqm_study_value out = { 0 };
    double squares = 0;
    for (size_t k = 0; k < n_sets; k++) {
        size_t na = 0, nb = 0;
        double *va = values_of(&na, uqm_study_known(run, a, measure, k));
        double *vb = values_of(&nb, uqm_study_known(run, b, measure, k));
        struct uqm_mean d = { .mean = (double) NAN, .se = (double) NAN };
        if (va && vb && na == nb)
            d = uqm_score_paired(va, vb, na);
        free(va);
        free(vb);
        out.value += d.mean / (double) n_sets;
        squares += d.se * d.se;
        out.n_records += d.n;
    }
    out.se = sqrt(squares) / (double) n_sets;
    return out;
}
