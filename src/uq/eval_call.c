/* uqm_eval(): accuracy on multiple-choice sets: clean pictures, no prefix, no dropout. */
#include "src/uq/call.h"

static json_t *model_json(const struct uqm_measure *m, const struct uqm_survey *survey,
                          const char *name)
{
    json_t *sets = json_array();
    for (size_t k = 0; sets && k < m->n_sets; k++)
        json_array_append_new(sets, json_pack("{s:s, s:s, s:o, s:I, s:I}", "data",
                                              survey->sets[k].name, "metric", "accuracy", "value",
                                              uqm_measure_number(m->sets[k].mean), "samples",
                                              (json_int_t) m->sets[k].n, "skipped",
                                              (json_int_t) m->sets[k].n_skipped));
    return json_pack("{s:s, s:o, s:o}", "model", name, "datasets", sets, "average",
                     uqm_measure_number(m->model.mean));
}

static int add_model(json_t *models, struct uqm_call *call, size_t i, struct uqm_err *err)
{
    struct uqm_measure m;
    int ret = uqm_measure_init(&m, &call->survey, err);
    if (ret == UQM_OK)
        ret = uqm_call_measure_model(&m, call, i, UQM_MEASURE_ACCURACY, err);
    if (ret == UQM_OK)
        json_array_append_new(models, model_json(&m, &call->survey, call->names[i]));
    uqm_measure_finish(&m);
    return ret;
}

int uqm_eval(char **json, const struct uqm_eval_params *params, struct uqm_err *err)
{
    const struct uqm_call_params call_params = {
        .common = &params->common,
        .survey = { .questions = &params->questions, .n_passes = 1, .labelled_only = true },
    };
    struct uqm_call call;

    *json = NULL;
    int ret = uqm_call_init(&call, &call_params, err);
    json_t *models = json_array();
    for (size_t i = 0; ret == UQM_OK && i < call.models->n; i++)
        ret = add_model(models, &call, i, err);
    if (ret == UQM_OK)
        ret = uqm_call_result(json, json_pack("{s:O}", "models", models), err);
    json_decref(models);
    uqm_call_finish(&call);
    return ret;
}
