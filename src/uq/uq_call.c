/* uqm_uq(): the uncertainty of each model on each set. */
#include "src/uq/call.h"

/* "bytes_read" and "seconds" tell of this run, all else of the models. */
static json_t *result_json(const struct uqm_call *call, json_t *models, double seconds)
{
    return json_pack("{s:o, s:O, s:I, s:f}", "config", uqm_survey_config(&call->survey), "models",
                     models, "bytes_read", (json_int_t) call->env.bytes_read, "seconds", seconds);
}

static int add_model(json_t *models, struct uqm_call *call, size_t i, struct uqm_err *err)
{
    struct uqm_measure m;
    int ret = uqm_measure_init(&m, &call->survey, err);
    if (ret == UQM_OK)
        ret = uqm_call_measure_model(&m, call, i, UQM_MEASURE_UNCERTAINTY, err);
    if (ret == UQM_OK)
        json_array_append_new(models, uqm_measure_json(&m, &call->survey, call->names[i]));
    uqm_measure_finish(&m);
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
    json_t *models = json_array();
    for (size_t i = 0; ret == UQM_OK && i < call.models->n; i++)
        ret = add_model(models, &call, i, err);
    if (ret == UQM_OK)
        ret = uqm_trace_commit(call.trace, err);
    if (ret == UQM_OK)
        ret = uqm_call_result(json, result_json(&call, models, uqm_call_now() - start), err);
    json_decref(models);
    uqm_call_finish(&call);
    return ret;
}
