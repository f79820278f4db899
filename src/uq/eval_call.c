/* uqm_eval(): accuracy on multiple-choice sets, the set's metric on generation sets: clean
 * pictures, no prefix, no dropout. */
#include <math.h>

#include "src/uq/sweep_call.h"

/* What was said against what is right, of "yes". */
struct yes_counts {
    size_t n, said, right, both; /* answers; yes said; yes is right; both */
};

/* A word that is neither yes nor no counts in no way but as an answer. */
static struct yes_counts count_yes(const struct uqm_dataset *set, enum uqm_metric metric,
                                   char *const *answers)
{
    struct yes_counts c = { 0 };
    for (size_t i = 0; i < set->n_records; i++) {
        if (!answers[i])
            continue;
        const int said = uqm_metric_yes_no(metric, answers[i]);
        const bool right = uqm_metric_yes_no(metric, set->records[i].answers[0]) == 1;
        c.n++;
        c.said += said == 1;
        c.right += right && said >= 0;
        c.both += right && said == 1;
    }
    return c;
}

static json_t *ratio(size_t a, size_t b)
{
    return uqm_measure_number(b ? (double) a / (double) b : (double) NAN);
}

static void add_yes_no(json_t *out, const struct uqm_call *call, size_t k)
{
    const struct uqm_survey *s = &call->survey;
    const struct yes_counts c =
        count_yes(&s->sets[k], s->tasks[k].score, call->answers + s->first_record[k]);
    json_object_set_new(out, "precision", ratio(c.both, c.said));
    json_object_set_new(out, "recall", ratio(c.both, c.right));
    json_object_set_new(out, "f1", ratio(2 * c.both, c.said + c.right));
    json_object_set_new(out, "yes_ratio", ratio(c.said, c.n));
}

static json_t *set_json(const struct uqm_measure *m, const struct uqm_call *call, size_t k)
{
    const struct uqm_task *task = &call->survey.tasks[k];
    json_t *set =
        json_pack("{s:s, s:s, s:o, s:I, s:I}", "data", call->survey.sets[k].name, "metric",
                  task->metric, "value", uqm_measure_number(m->sets[k].mean), "samples",
                  (json_int_t) m->sets[k].n, "skipped", (json_int_t) m->sets[k].n_skipped);
    if (set && task->kind == UQM_TASK_GENERATION &&
        (task->score == UQM_METRIC_YES_NO || task->score == UQM_METRIC_LMMS_POPE))
        add_yes_no(set, call, k);
    return set;
}

static json_t *model_json(const struct uqm_measure *m, const struct uqm_call *call, size_t i)
{
    json_t *sets = json_array();
    for (size_t k = 0; sets && k < m->n_sets; k++)
        json_array_append_new(sets, set_json(m, call, k));
    return json_pack("{s:s, s:o, s:o}", "model", call->names[i], "datasets", sets, "average",
                     uqm_measure_number(m->model.mean));
}

static json_t *config_json(const struct uqm_call *call, const struct uqm_eval_params *params)
{
    json_t *config = uqm_survey_config(&call->survey);
    const int tokens = params->max_new_tokens;
    json_object_set_new(config, "max_new_tokens",
                        tokens == UQM_TASK_TOKENS ? json_string("task")
                                                  : json_integer(tokens ? tokens : 15));
    return config;
}

struct answer {
    const struct uqm_call *call;
    json_t *models;
};

static int add_model(void *ctx, size_t i, struct uqm_measure *m, struct uqm_err *err)
{
    const struct answer *a = ctx;
    (void) err;
    json_array_append_new(a->models, model_json(m, a->call, i));
    return UQM_OK;
}

/* "bytes_read" and "seconds" tell of this run, all else of the models. */
int uqm_eval(char **json, const struct uqm_eval_params *params, struct uqm_err *err)
{
    const double start = uqm_call_now();
    const struct uqm_call_params call_params = {
        .common = &params->common,
        .survey = { .questions = &params->questions,
                    .n_passes = 1,
                    .labelled_only = true,
                    .generation = true,
                    .max_new_tokens = params->max_new_tokens },
        .trace_path = params->trace_path,
        .kind = UQM_MEASURE_ACCURACY,
    };
    struct uqm_call call;

    *json = NULL;
    int ret = uqm_call_init(&call, &call_params, err);
    if (ret == UQM_OK && params->questions.dry_run) {
        ret = uqm_call_plan(json, &call, err);
        uqm_call_finish(&call);
        return ret;
    }
    if (ret == UQM_OK && params->max_new_tokens &&
        !uqm_survey_asks(&call.survey, UQM_TASK_GENERATION))
        uqm_log(&call.env, UQM_LOG_INFO,
                "--max-new-tokens has no effect here: no set is answered in words");
    json_t *models = json_array();
    struct answer answer = { &call, models };
    if (ret == UQM_OK)
        ret = uqm_call_models(&call, params->window, add_model, &answer, err);
    if (ret == UQM_OK)
        ret = uqm_trace_commit(call.trace, err);
    if (ret == UQM_OK)
        ret = uqm_call_result(
            json,
            json_pack("{s:o, s:o, s:O, s:I, s:f}", "run", uqm_call_run(&call, NULL), "config",
                      config_json(&call, params), "models", models, "bytes_read",
                      (json_int_t) call.env.bytes_read, "seconds", uqm_call_now() - start),
            err);
    json_decref(models);
    uqm_call_finish(&call);
    return ret;
}
