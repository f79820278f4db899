/* What the calls uq, select and eval have in common: environment, survey, runner, models' names. */
#ifndef UQM_UQ_CALL_H
#define UQM_UQ_CALL_H

#include "src/uq/measure.h"
#include "src/uq/runner.h"
#include "src/uq/trace.h"

enum uqm_measure_kind { UQM_MEASURE_UNCERTAINTY, UQM_MEASURE_ACCURACY, UQM_MEASURE_CONFORMAL };

struct uqm_call {
    struct uqm_env env;
    struct uqm_survey survey;
    struct uqm_runner runner;
    struct uqm_open_params open;
    struct uqm_digest_cache digests;  /* of the models' towers; open holds it */
    const struct uqm_strings *models; /* borrowed from the params */
    char **names;                     /* [models->n] */
    float *logits;                    /* (n_records, n_passes, 6), of the model asked last */
    char **answers;                   /* (n_records), of the same, in generation sets */
    struct uqm_trace *trace;          /* NULL: none */
    enum uqm_measure_kind kind;       /* what this call measures; of eval: accuracy */
    double alpha;                     /* of conformal sets */
};

struct uqm_call_params {
    const struct uqm_common *common;
    struct uqm_survey_params survey;
    const char *scratch_dir;
    const char *trace_path;
    enum uqm_measure_kind kind;
    double alpha;
};

/* The call must stay where it is: its parts hold each other. To be finished, whatever is returned.
 */
int uqm_call_init(struct uqm_call *call, const struct uqm_call_params *params, struct uqm_err *err);
void uqm_call_finish(struct uqm_call *call);

/* A warning where nothing is perturbed or nothing compared, so that every uncertainty is 0 whatever
 * the models are. */
int uqm_call_warn_of_nothing(struct uqm_call *call, struct uqm_err *err);

/* The survey that struct uqm_uq_params describes; UQM_ERR_USAGE for what makes no sense. */
int uqm_call_uq_params(struct uqm_call_params *out, const struct uqm_uq_params *params,
                       struct uqm_err *err);

/* Ask an open candidate, trace it, and summarize: m is initialised and holds the values after. */
int uqm_call_measure(struct uqm_measure *m, struct uqm_call *call, struct uqm_candidate *candidate,
                     const char *name, const char *stage, struct uqm_err *err);

/* The same without the summary, which not every record that is wanted allows. */
int uqm_call_values(struct uqm_measure *m, struct uqm_call *call, struct uqm_candidate *candidate,
                    const char *name, const char *stage, struct uqm_err *err);
/* What that makes of the call's logits and answers. */
int uqm_call_score(struct uqm_measure *m, struct uqm_call *call, const char *name,
                   struct uqm_err *err);

/* The same of the i-th model, which is opened for it; its name and number stand in the progress. */
int uqm_call_measure_model(struct uqm_measure *m, struct uqm_call *call, size_t i,
                           struct uqm_err *err);

/* Instead of asking: every model is opened, its network plans the job and says so in the log. The
 * result tells how many prompts each would be asked. */
int uqm_call_plan(char **json, struct uqm_call *call, struct uqm_err *err);

/* "run": program, device, and what models and pictures (and the base, or NULL) are, as read now.
 * Where a model cannot be read any more, a warning. NULL: no memory. */
json_t *uqm_call_run(struct uqm_call *call, const char *base);

/* The result as text; *json is the caller's. Takes `root` over, NULL included: no memory. */
int uqm_call_result(char **json, json_t *root, struct uqm_err *err);

/* Seconds of a clock that only goes forward. */
double uqm_call_now(void);

#endif
