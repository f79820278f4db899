#include "src/uq/survey.h"

#include <stdlib.h>
#include <string.h>

#include "src/uq/authors.h"
#include "src/uq/perturb.h"
#include "src/uq/sample.h"

static int check_params(const struct uqm_survey_params *p, struct uqm_err *err)
{
    if (p->questions->data.n == 0)
        return uqm_fail(err, UQM_ERR_USAGE, "no data: give at least one --data FILE");
    if (p->questions->models.n == 0)
        return uqm_fail(err, UQM_ERR_USAGE, "no models: give at least one");
    if (p->n_passes < 1 || p->n_passes > 4096)
        return uqm_fail(err, UQM_ERR_USAGE, "--repeats %u: give a number from 1 to 4096",
                        (unsigned) p->n_passes);
    if (!(p->dropout >= 0 && p->dropout < 1))
        return uqm_fail(err, UQM_ERR_USAGE, "--dropout %g: give a rate in [0, 1)", p->dropout);
    if (p->max_new_tokens < UQM_TASK_TOKENS || p->max_new_tokens > UQM_MOST_TOKENS)
        return uqm_fail(err, UQM_ERR_USAGE,
                        "--max-new-tokens %d: give a number from 1 to %d, or task",
                        p->max_new_tokens, UQM_MOST_TOKENS);
    return UQM_OK;
}

static bool has_gold(const struct uqm_task *task, const struct uqm_record *r)
{
    return task->kind == UQM_TASK_CHOICE ? r->answer >= 0 : uqm_metric_has_gold(task->score, r);
}

/* A missing label is how a set says that it has none; a missing answer is odd. */
static int keep_labelled(const struct uqm_survey *s, struct uqm_dataset *set,
                         const struct uqm_task *task, struct uqm_err *err)
{
    const size_t n_all = set->n_records;
    const struct uqm_record *odd = NULL;
    struct uqm_record_where where;
    size_t n = 0;
    for (size_t i = 0; i < n_all; i++) {
        if (has_gold(task, &set->records[i])) {
            set->records[n++] = set->records[i];
        } else if (!odd) {
            odd = &set->records[i];
            uqm_record_where(&where, set, odd);
        }
    }
    if (n == 0)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: no record has an answer that %s could compare with", set->path,
                        task->metric);
    set->n_records = n;
    if (task->kind == UQM_TASK_CHOICE || n == n_all)
        return UQM_OK;
    return uqm_warn(s->env, err,
                    "%s: it has no answer that %s could compare with; %zu of %zu records are left "
                    "out for that",
                    where.text, task->metric, n_all - n, n_all);
}

static int load_set(struct uqm_survey *s, const struct uqm_survey_params *p, const char *arg,
                    struct uqm_err *err)
{
    struct uqm_dataset *set = &s->sets[s->n_sets];
    struct uqm_task *task = &s->tasks[s->n_sets];
    s->n_sets++; /* from here on finish() knows of it */
    int ret = uqm_dataset_load(set, s->env, arg, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i + 1 < s->n_sets; i++)
        if (!strcmp(s->sets[i].name, set->name))
            return uqm_fail(err, UQM_ERR_USAGE,
                            "%s and %s: two sets of the name %s; give one another "
                            "with NAME=FILE",
                            s->sets[i].path, set->path, set->name);

    if ((ret = uqm_task_find(task, set, p->questions->task, err)) < 0)
        return ret;
    if (task->kind != UQM_TASK_CHOICE && !p->generation)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: %s is answered in words (%s); uncertainty and selection ask "
                        "multiple-choice sets, eval asks both",
                        set->path, set->name, task->metric);

    size_t n;
    ret = uqm_sample_size(&n, set->n_records, s->sample_ratio, s->sample_count, err);
    if (ret == UQM_OK)
        ret = s->streams == UQM_STREAMS_AUTHORS ? uqm_sample_keep_authors(set, n, err)
                                                : uqm_sample_keep(set, n, s->env->seed, err);
    if (ret == UQM_OK && p->labelled_only)
        ret = keep_labelled(s, set, task, err);
    return ret;
}

static int draw_texts(struct uqm_survey *s, struct uqm_err *err)
{
    struct uqm_authors_texts texts;
    int ret = uqm_authors_texts_init(&texts, err);
    if (ret < 0)
        return ret;
    uint8_t *to = s->texts = malloc(uqm_survey_n_records(s) * s->n_passes + 1);
    for (size_t k = 0; to && k < s->n_sets; k++) {
        uqm_authors_texts_begin(&texts, s->sets[k].name);
        for (size_t i = 0; i < s->sets[k].n_records * s->n_passes; i++)
            *to++ = uqm_authors_texts_draw(&texts);
    }
    uqm_authors_texts_finish(&texts);
    return s->texts ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "no memory for the prompts' prefixes");
}

int uqm_survey_init(struct uqm_survey *out, struct uqm_env *env,
                    const struct uqm_survey_params *params, struct uqm_err *err)
{
    const struct uqm_strings *data = &params->questions->data;
    *out = (struct uqm_survey){
        .env = env,
        .perturb = params->perturb,
        .n_passes = params->n_passes,
        .dropout = params->perturb & UQM_PERTURB_MODEL ? params->dropout : 0,
        .streams = params->streams,
        .sample_ratio = params->questions->sample_ratio,
        .sample_count = params->questions->sample_count,
        .max_new_tokens = params->max_new_tokens,
    };
    int ret = check_params(params, err);
    if (ret < 0)
        return ret;

    out->sets = calloc(data->n, sizeof *out->sets);
    out->tasks = calloc(data->n, sizeof *out->tasks);
    out->first_record = calloc(data->n + 1, sizeof *out->first_record);
    if (!out->sets || !out->tasks || !out->first_record)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for %zu sets", data->n);
    for (size_t i = 0; i < data->n; i++) {
        if ((ret = load_set(out, params, data->v[i], err)) < 0)
            return ret;
        out->first_record[i + 1] = out->first_record[i] + out->sets[i].n_records;
    }
    return params->streams == UQM_STREAMS_AUTHORS ? draw_texts(out, err) : UQM_OK;
}

const char *uqm_survey_prefix(const struct uqm_survey *survey, size_t set, size_t index, uint32_t j)
{
    const size_t pass = (survey->first_record[set] + index) * survey->n_passes + j;
    const struct uqm_dataset *data = &survey->sets[set];
    return survey->texts
               ? uqm_perturb_prompt(survey->texts[pass])
               : uqm_perturb_prefix(survey->env->seed, data->name, data->records[index].id, j);
}

void uqm_survey_finish(struct uqm_survey *survey)
{
    for (size_t i = 0; i < survey->n_sets; i++) {
        uqm_dataset_finish(&survey->sets[i]);
        uqm_task_finish(&survey->tasks[i]);
    }
    free(survey->sets);
    free(survey->tasks);
    free(survey->first_record);
    free(survey->texts);
    *survey = (struct uqm_survey){ 0 };
}

bool uqm_survey_asks(const struct uqm_survey *survey, enum uqm_task_kind kind)
{
    for (size_t i = 0; i < survey->n_sets; i++)
        if (survey->tasks[i].kind == kind)
            return true;
    return false;
}

uint32_t uqm_survey_new_tokens(const struct uqm_survey *survey, size_t set)
{
    enum { PAPERS_CODE = 15, LMMS_EVAL = 1024 };
    const uint32_t own = survey->tasks[set].max_new_tokens;
    if (survey->max_new_tokens > 0)
        return (uint32_t) survey->max_new_tokens;
    if (survey->max_new_tokens == 0)
        return PAPERS_CODE;
    return own ? own : LMMS_EVAL;
}

bool uqm_survey_has_pictures(const struct uqm_survey *survey)
{
    for (size_t i = 0; i < survey->n_sets; i++)
        for (size_t k = 0; k < survey->sets[i].n_records; k++)
            if (survey->sets[i].records[k].image)
                return true;
    return false;
}

uint64_t uqm_survey_bytes(const struct uqm_survey *survey)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < survey->n_sets; i++)
        bytes += survey->sets[i].arena.used_bytes +
                 2 * survey->sets[i].n_records * sizeof *survey->sets[i].records;
    return bytes;
}
