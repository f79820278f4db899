/* uqm_uq(): the uncertainty of each model on each set. */
#include <stdlib.h>

#include "src/uq/conformal_json.h"
#include "src/uq/sweep_call.h"

static json_t *config_json(const struct uqm_call *call)
{
    json_t *config = uqm_survey_config(&call->survey);
    const bool conformal = call->kind == UQM_MEASURE_CONFORMAL;
    json_object_set_new(config, "method", json_string(conformal ? "cp" : "perturb"));
    if (conformal)
        json_object_set_new(config, "alpha", json_real(call->alpha));
    return config;
}

static int add_details(json_t *model, struct uqm_measure *m, struct uqm_call *call,
                       struct uqm_err *err)
{
    struct uqm_conformal *details = calloc(m->n_sets, sizeof *details);
    if (!details)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu sets", m->n_sets);
    int ret = uqm_measure_conformal(m, details, &call->survey, call->logits, call->alpha, err);
    for (size_t k = 0; ret == UQM_OK && k < m->n_sets; k++)
        uqm_conformal_add(json_array_get(json_object_get(model, "datasets"), k), &details[k]);
    if (ret == UQM_OK)
        uqm_conformal_add_means(model);
    free(details);
    return ret;
}

/* "bytes_read" and "seconds" tell of this run, all else of the models. */
static json_t *result_json(struct uqm_call *call, json_t *models, double seconds)
{
    return json_pack("{s:o, s:o, s:O, s:I, s:f}", "run", uqm_call_run(call, NULL), "config",
                     config_json(call), "models", models, "bytes_read",
                     (json_int_t) call->env.bytes_read, "seconds", seconds);
}

struct answer {
    const struct uqm_uq_params *params;
    struct uqm_call *call;
    json_t *models;
};

/* The uncertainty of every record. */
static void add_values(json_t *model, const struct uqm_measure *m, const struct uqm_call *call)
{
    for (size_t k = 0; k < m->n_sets; k++) {
        json_t *values = json_array();
        for (size_t i = 0; i < call->survey.sets[k].n_records; i++)
            json_array_append_new(values, uqm_measure_number(m->values[k][i]));
        json_object_set_new(json_array_get(json_object_get(model, "datasets"), k), "values",
                            values);
    }
}

static int add_model(void *ctx, size_t i, struct uqm_measure *m, struct uqm_err *err)
{
    struct answer *a = ctx;
    struct uqm_call *call = a->call;
    int ret = UQM_OK;
    json_t *model = uqm_measure_json(m, &call->survey, call->names[i]);
    if (model && call->kind == UQM_MEASURE_CONFORMAL)
        ret = add_details(model, m, call, err);
    if (model && a->params->with_values)
        add_values(model, m, call);
    if (ret == UQM_OK)
        json_array_append_new(a->models, model);
    else
        json_decref(model);
    return ret;
}

int uqm_uq(char **json, const struct uqm_uq_params *params, struct uqm_err *err)
{
    const double start = uqm_call_now();
    struct uqm_call_params call_params;
    struct uqm_call call;

    *json = NULL;
    int ret = uqm_call_uq_params(&call_params, params, err);
    if (ret < 0)
        return ret;
    ret = uqm_call_init(&call, &call_params, err);
    if (ret == UQM_OK && !params->with_values) /* who takes these apart asked for what it wants */
        ret = uqm_call_warn_of_nothing(&call, err);
    if (ret == UQM_OK && params->questions.dry_run) {
        ret = uqm_call_plan(json, &call, err);
        uqm_call_finish(&call);
        return ret;
    }
    json_t *models = json_array();
    struct answer answer = { .params = params, .call = &call, .models = models };
    if (ret == UQM_OK)
        ret = uqm_call_models(&call, params->window, add_model, &answer, err);
    if (ret == UQM_OK)
        ret = uqm_trace_commit(call.trace, err);
    if (ret == UQM_OK)
        ret = uqm_call_result(json, result_json(&call, models, uqm_call_now() - start), err);
    json_decref(models);
    uqm_call_finish(&call);
    return ret;
}
