#include "src/uq/measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

int uqm_measure_init(struct uqm_measure *out, const struct uqm_survey *survey, struct uqm_err *err)
{
    *out = (struct uqm_measure){ .n_sets = survey->n_sets };
    out->values = calloc(survey->n_sets, sizeof *out->values);
    out->sets = calloc(survey->n_sets, sizeof *out->sets);
    out->n_asked = calloc(survey->n_sets, sizeof *out->n_asked);
    out->answers = calloc(survey->n_sets, sizeof *out->answers);
    bool ok = out->values && out->sets && out->n_asked && out->answers;
    for (size_t k = 0; k < survey->n_sets && ok; k++) {
        out->n_asked[k] = survey->sets[k].n_records;
        out->values[k] = malloc((survey->sets[k].n_records + 1) * sizeof **out->values);
        ok = out->values[k] != NULL;
        for (size_t i = 0; ok && i < survey->sets[k].n_records; i++)
            out->values[k][i] = (double) NAN;
    }
    if (ok)
        return UQM_OK;
    uqm_measure_finish(out);
    return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the values of %zu records",
                    uqm_survey_n_records(survey));
}

void uqm_measure_finish(struct uqm_measure *measure)
{
    for (size_t k = 0; measure->values && k < measure->n_sets; k++)
        free(measure->values[k]);
    free(measure->values);
    free(measure->sets);
    free(measure->n_asked);
    free(measure->answers);
    *measure = (struct uqm_measure){ 0 };
}

static void add_answers(double sum[UQM_N_OPTIONS], const double *p, uint32_t n_passes)
{
    for (uint32_t j = 0; j < n_passes; j++, p += UQM_N_OPTIONS)
        for (int o = 0; o < UQM_N_OPTIONS; o++)
            sum[o] += p[o] / (double) n_passes;
}

void uqm_measure_uncertainty(struct uqm_measure *m, const struct uqm_survey *survey,
                             const float *logits)
{
    enum { AT_ONCE = 4096 }; /* the most passes a survey has */
    static_assert(AT_ONCE * UQM_N_OPTIONS * sizeof(double) <= 256 * 1024, "fits the stack");
    double p[AT_ONCE][UQM_N_OPTIONS];

    for (size_t k = 0; k < m->n_sets; k++)
        for (size_t i = 0; i < survey->sets[k].n_records; i++) {
            for (uint32_t j = 0; j < survey->n_passes; j++, logits += UQM_N_OPTIONS)
                uqm_option_softmax(p[j], logits);
            m->values[k][i] = uqm_score_sample(p[0], survey->n_passes).u;
            if (isfinite(m->values[k][i]))
                add_answers(m->answers[k], p[0], survey->n_passes);
        }
}

void uqm_measure_add(struct uqm_measure *m, const struct uqm_measure *more,
                     const struct uqm_survey *survey)
{
    for (size_t k = 0; k < m->n_sets; k++) {
        for (size_t i = 0; i < survey->sets[k].n_records; i++)
            if (isnan(m->values[k][i]))
                m->values[k][i] = more->values[k][i];
        for (int o = 0; o < UQM_N_OPTIONS; o++)
            m->answers[k][o] += more->answers[k][o];
        m->n_asked[k] += more->n_asked[k];
    }
}

double uqm_measure_answer_entropy(const struct uqm_measure *m)
{
    double mean = 0;
    for (size_t k = 0; k < m->n_sets; k++) {
        double p[UQM_N_OPTIONS], sum = 0;
        for (int o = 0; o < UQM_N_OPTIONS; o++)
            sum += m->answers[k][o];
        for (int o = 0; o < UQM_N_OPTIONS; o++)
            p[o] = m->answers[k][o] / sum;
        mean += uqm_entropy(p) / (double) m->n_sets;
    }
    return mean;
}

void uqm_measure_accuracy(struct uqm_measure *m, const struct uqm_survey *survey,
                          const float *logits)
{
    const size_t stride = survey->n_passes * (size_t) UQM_N_OPTIONS;
    for (size_t k = 0; k < m->n_sets; k++)
        for (size_t i = 0; i < survey->sets[k].n_records; i++, logits += stride) {
            int answer = survey->sets[k].records[i].answer;
            int said = uqm_option_argmax(logits);
            if (survey->tasks[k].kind == UQM_TASK_CHOICE)
                m->values[k][i] = answer < 0 || said < 0 ? (double) NAN : said == answer;
        }
}

int uqm_measure_answers(struct uqm_measure *m, const struct uqm_survey *survey,
                        char *const *answers, struct uqm_err *err)
{
    for (size_t k = 0; k < m->n_sets; k++) {
        const struct uqm_dataset *set = &survey->sets[k];
        const struct uqm_task *task = &survey->tasks[k];
        for (size_t i = 0; task->kind == UQM_TASK_GENERATION && i < set->n_records; i++) {
            const char *answer = answers[survey->first_record[k] + i];
            int ret = answer ? uqm_metric_score(&m->values[k][i], task->score, &set->records[i],
                                                answer, set->name, survey->env->seed, err)
                             : UQM_OK;
            if (ret < 0)
                return ret;
        }
    }
    return UQM_OK;
}

int uqm_measure_summarize(struct uqm_measure *m, const struct uqm_survey *survey, const char *name,
                          struct uqm_err *err)
{
    for (size_t k = 0; k < m->n_sets; k++) {
        const struct uqm_dataset *set = &survey->sets[k];
        m->sets[k] = uqm_score_set(m->values[k], set->n_records);
        m->sets[k].n_skipped = m->n_asked[k] - m->sets[k].n;
        if (m->sets[k].n == 0)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: none of its %zu records gives model %s a value", set->path,
                            set->n_records, name);
    }
    m->model = uqm_score_model(m->sets, m->n_sets);
    return UQM_OK;
}

struct uqm_mean uqm_measure_difference(const struct uqm_measure *a, const struct uqm_measure *b,
                                       const struct uqm_survey *survey)
{
    struct uqm_mean total = { 0 };
    double squares = 0;
    for (size_t k = 0; k < a->n_sets; k++) {
        struct uqm_mean d = uqm_score_paired(a->values[k], b->values[k], survey->sets[k].n_records);
        total.mean += d.mean / (double) a->n_sets;
        squares += d.se * d.se;
        total.n += d.n;
        total.n_skipped += d.n_skipped;
    }
    total.se = sqrt(squares) / (double) a->n_sets;
    return total;
}

json_t *uqm_measure_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *uqm_measure_sets_json(const struct uqm_measure *m, const struct uqm_survey *survey)
{
    json_t *sets = json_array();
    for (size_t k = 0; sets && k < m->n_sets; k++)
        json_array_append_new(
            sets, json_pack("{s:s, s:o, s:o, s:I, s:I}", "data", survey->sets[k].name, "uq",
                            uqm_measure_number(m->sets[k].mean), "stderr",
                            uqm_measure_number(m->sets[k].se), "samples", (json_int_t) m->sets[k].n,
                            "skipped", (json_int_t) m->sets[k].n_skipped));
    return sets;
}

json_t *uqm_measure_json(const struct uqm_measure *m, const struct uqm_survey *survey,
                         const char *name)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "model", name, "uq",
                     uqm_measure_number(m->model.mean), "stderr", uqm_measure_number(m->model.se),
                     "answer_entropy", uqm_measure_number(uqm_measure_answer_entropy(m)),
                     "datasets", uqm_measure_sets_json(m, survey));
}
