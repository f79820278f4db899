#include "src/uq/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/clock.h"
#include "src/format/json.h"

/* One clean pass of the records that have a label. */
static int make_conformal(struct uqm_call_params *out, const struct uqm_uq_params *params,
                          struct uqm_err *err)
{
    if (!(params->alpha >= 0 && params->alpha < 1))
        return uqm_fail(err, UQM_ERR_USAGE, "--alpha %g: give a share in (0, 1)", params->alpha);
    out->kind = UQM_MEASURE_CONFORMAL;
    out->alpha = params->alpha > 0 ? params->alpha : 0.1;
    out->survey.perturb = 0;
    out->survey.n_passes = 1;
    out->survey.dropout = 0;
    out->survey.labelled_only = true;
    return UQM_OK;
}

int uqm_call_uq_params(struct uqm_call_params *out, const struct uqm_uq_params *params,
                       struct uqm_err *err)
{
    const unsigned all = UQM_PERTURB_IMAGE | UQM_PERTURB_TEXT | UQM_PERTURB_MODEL;
    const unsigned bits = params->perturb;
    if (bits & ~(all | UQM_PERTURB_NONE) || (bits & UQM_PERTURB_NONE && bits & all))
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--perturb: give any of image, text and model, or none of them");
    if (params->repeats < 0)
        return uqm_fail(err, UQM_ERR_USAGE, "--repeats %d: give a number from 1 to 4096",
                        params->repeats);
    if (params->streams != UQM_STREAMS_OWN && params->streams != UQM_STREAMS_AUTHORS)
        return uqm_fail(err, UQM_ERR_USAGE, "--streams: own or authors");
    *out = (struct uqm_call_params) {
        .common = &params->common,
        .survey = {
            .questions = &params->questions,
            .perturb = bits ? bits & all : all,
            .n_passes = params->repeats ? (uint32_t) params->repeats : 4,
            .dropout = params->has_dropout ? params->dropout : 0.1,
            .streams = params->streams,
        },
        .trace_path = params->trace_path,
        .kind = UQM_MEASURE_UNCERTAINTY,
    };
    return params->method == UQM_UQ_CONFORMAL ? make_conformal(out, params, err) : UQM_OK;
}

int uqm_call_warn_of_nothing(struct uqm_call *call, struct uqm_err *err)
{
    const struct uqm_survey *s = &call->survey;
    const bool drops = s->perturb & UQM_PERTURB_MODEL && s->dropout > 0;
    const bool looks = s->perturb & UQM_PERTURB_IMAGE && uqm_survey_has_pictures(s);
    const char *why = s->n_passes < 2   ? "each record is asked once"
                      : s->perturb == 0 ? "nothing is perturbed"
                      : drops || looks || s->perturb & UQM_PERTURB_TEXT ? NULL
                      : s->perturb & UQM_PERTURB_IMAGE
                          ? "only pictures are perturbed, and there are none"
                          : "only the model is perturbed, at a dropout of 0";
    if (!why || call->kind != UQM_MEASURE_UNCERTAINTY)
        return UQM_OK;
    return uqm_warn(&call->env, err, "every uncertainty will be 0, whatever the models are: %s",
                    why);
}

int uqm_call_init(struct uqm_call *call, const struct uqm_call_params *params, struct uqm_err *err)
{
    const struct uqm_question_params *q = params->survey.questions;
    *call = (struct uqm_call){ .models = &q->models, .kind = params->kind, .alpha = params->alpha };
    int ret = uqm_env_init(&call->env, params->common, err);
    if (ret == UQM_OK)
        ret = uqm_survey_init(&call->survey, &call->env, &params->survey, err);
    if (ret < 0)
        return ret;

    call->open = (struct uqm_open_params){
        .vision_tower = q->vision_tower,
        .need_vision = uqm_survey_has_pictures(&call->survey),
        .digests = &call->digests,
    };
    const size_t n = uqm_survey_n_records(&call->survey) * call->survey.n_passes;
    call->names = calloc(q->models.n, sizeof *call->names);
    call->logits = malloc((n + 1) * UQM_N_OPTIONS * sizeof *call->logits);
    call->answers = calloc(uqm_survey_n_records(&call->survey) + 1, sizeof *call->answers);
    if (!call->names || !call->logits || !call->answers)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the logits of %zu prompts", n);
    ret = uqm_candidate_names(call->names, &q->models, err);
    if (ret == UQM_OK)
        ret = uqm_runner_init(&call->runner, &call->survey, params->scratch_dir,
                              params->common->device, err);
    if (ret == UQM_OK && q->fast)
        ret = uqm_machine_make_fast(&call->runner.machine, err);
    if (ret == UQM_OK && q->models.n == 1)
        uqm_features_of_one_model(call->runner.features);
    call->runner.machine.plan_only = q->dry_run;
    if (ret == UQM_OK && !q->dry_run)
        ret = uqm_trace_create(&call->trace, params->trace_path, err);
    return ret;
}

void uqm_call_finish(struct uqm_call *call)
{
    uqm_trace_destroy(&call->trace);
    uqm_runner_finish(&call->runner);
    for (size_t i = 0; call->names && i < call->models->n; i++)
        free(call->names[i]);
    free(call->names);
    free(call->logits);
    for (size_t i = 0; call->answers && i < uqm_survey_n_records(&call->survey); i++)
        free(call->answers[i]);
    free(call->answers);
    uqm_digest_cache_finish(&call->digests);
    uqm_survey_finish(&call->survey);
}

/* Letters first, then words; either may have no set. */
static int ask(struct uqm_call *call, struct uqm_candidate *candidate, const char *stage,
               struct uqm_err *err)
{
    int ret = UQM_OK;
    if (uqm_survey_asks(&call->survey, UQM_TASK_CHOICE))
        ret = uqm_runner_ask(call->logits, &call->runner, candidate, stage, err);
    if (ret == UQM_OK && uqm_survey_asks(&call->survey, UQM_TASK_GENERATION))
        ret = uqm_runner_answer(call->answers, &call->runner, candidate, stage, err);
    return ret;
}

int uqm_call_score(struct uqm_measure *m, struct uqm_call *call, const char *name,
                   struct uqm_err *err)
{
    int ret = UQM_OK;
    switch (call->kind) {
    case UQM_MEASURE_UNCERTAINTY: uqm_measure_uncertainty(m, &call->survey, call->logits); break;
    case UQM_MEASURE_CONFORMAL:
        ret = uqm_measure_conformal(m, NULL, &call->survey, call->logits, call->alpha, err);
        break;
    case UQM_MEASURE_ACCURACY:
        uqm_measure_accuracy(m, &call->survey, call->logits);
        ret = uqm_measure_answers(m, &call->survey, call->answers, err);
        break;
    }
    if (ret == UQM_OK)
        ret =
            uqm_trace_add(call->trace, &call->survey, name, call->runner.wanted, call->logits, err);
    return ret < 0 ? ret
                   : uqm_trace_add_answers(call->trace, &call->survey, name, call->answers, m, err);
}

int uqm_call_values(struct uqm_measure *m, struct uqm_call *call, struct uqm_candidate *candidate,
                    const char *name, const char *stage, struct uqm_err *err)
{
    int ret = ask(call, candidate, stage, err);
    if (ret == UQM_OK)
        ret = uqm_opened_check_unchanged(candidate->source, err);
    return ret < 0 ? ret : uqm_call_score(m, call, name, err);
}

int uqm_call_measure(struct uqm_measure *m, struct uqm_call *call, struct uqm_candidate *candidate,
                     const char *name, const char *stage, struct uqm_err *err)
{
    int ret = uqm_call_values(m, call, candidate, name, stage, err);
    return ret < 0 ? ret : uqm_measure_summarize(m, &call->survey, name, err);
}

int uqm_call_measure_model(struct uqm_measure *m, struct uqm_call *call, size_t i,
                           struct uqm_err *err)
{
    struct uqm_candidate candidate = { 0 };
    char stage[160];
    snprintf(stage, sizeof stage, "%s of %.96s (%zu/%zu)",
             call->kind != UQM_MEASURE_ACCURACY                    ? "uncertainty"
             : uqm_survey_asks(&call->survey, UQM_TASK_GENERATION) ? "scores"
                                                                   : "accuracy",
             call->names[i], i + 1, call->models->n);
    int ret = uqm_check_cancel(&call->env, err);
    if (ret == UQM_OK)
        ret = uqm_candidate_open(&candidate, &call->env, call->models->v[i], &call->open, err);
    if (ret == UQM_OK)
        ret = uqm_call_measure(m, call, &candidate, call->names[i], stage, err);
    uqm_candidate_close(&candidate);
    return ret;
}

static int plan_model(struct uqm_call *call, size_t i, struct uqm_err *err)
{
    struct uqm_candidate candidate = { 0 };
    int ret = uqm_check_cancel(&call->env, err);
    if (ret == UQM_OK)
        ret = uqm_candidate_open(&candidate, &call->env, call->models->v[i], &call->open, err);
    if (ret == UQM_OK)
        ret = ask(call, &candidate, "planning", err);
    uqm_candidate_close(&candidate);
    return ret;
}

int uqm_call_plan(char **json, struct uqm_call *call, struct uqm_err *err)
{
    const size_t n = uqm_survey_n_records(&call->survey) * call->survey.n_passes;
    json_t *models = json_array();
    int ret = UQM_OK;
    for (size_t i = 0; ret == UQM_OK && i < call->models->n; i++) {
        ret = plan_model(call, i, err);
        json_array_append_new(models, json_string(call->names[i]));
    }
    if (ret == UQM_OK)
        ret = uqm_call_result(
            json,
            json_pack("{s:b, s:I, s:O}", "dry_run", 1, "prompts", (json_int_t) n, "models", models),
            err);
    json_decref(models);
    return ret;
}

int uqm_call_result(char **json, json_t *root, struct uqm_err *err)
{
    *json = root ? uqm_json_dump(root) : NULL;
    json_decref(root);
    return *json ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the result");
}

double uqm_call_now(void)
{
    return uqm_clock_s();
}
