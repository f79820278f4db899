/*
 * What `uq`, `select` and `eval` ask: the sets, how each is asked, which records, under which
 * perturbations. Every model of a command is asked the same survey, in the same random draws.
 */
#ifndef UQM_UQ_SURVEY_H
#define UQM_UQ_SURVEY_H

#include <jansson.h>

#include "src/uq/task.h"

struct uqm_survey {
    struct uqm_env *env;
    struct uqm_dataset *sets; /* [n_sets] */
    struct uqm_task *tasks;   /* [n_sets] */
    size_t *first_record;     /* [n_sets + 1]: records numbered through over all sets */
    size_t n_sets;
    unsigned perturb;  /* UQM_PERTURB_IMAGE | _TEXT | _MODEL; 0: none */
    uint32_t n_passes; /* J */
    double dropout;    /* of attention probabilities; 0 unless UQM_PERTURB_MODEL */
    double sample_ratio;
    uint64_t sample_count;
    enum uqm_streams streams;
    uint8_t *texts;     /* (n_records, n_passes): UQM_STREAMS_AUTHORS' draws; NULL: of our own */
    int max_new_tokens; /* of answers; 0: 15; UQM_TASK_TOKENS: the task's own limit */
};

struct uqm_survey_params {
    const struct uqm_question_params *questions;
    unsigned perturb; /* bits, 0: none */
    uint32_t n_passes;
    double dropout;
    enum uqm_streams streams;
    /* drop records without an answer; UQM_ERR_FORMAT when a set has none left */
    bool labelled_only;
    bool generation; /* sets that are answered in words are asked too */
    int max_new_tokens;
};

/*
 * Load everything. Two sets of one name are UQM_ERR_USAGE: random streams are named by it. A
 * generation set where none is wanted is UQM_ERR_UNSUPPORTED, by name. env is borrowed. *out is to
 * be finished, whatever is returned.
 */
int uqm_survey_init(struct uqm_survey *out, struct uqm_env *env,
                    const struct uqm_survey_params *params, struct uqm_err *err);
void uqm_survey_finish(struct uqm_survey *survey);

static inline size_t uqm_survey_n_records(const struct uqm_survey *survey)
{
    return survey->first_record[survey->n_sets];
}
/* Whether any set is asked in this way. */
bool uqm_survey_asks(const struct uqm_survey *survey, enum uqm_task_kind kind);
/* The sentence put before the prompt of a record's pass. */
const char *uqm_survey_prefix(const struct uqm_survey *survey, size_t set, size_t index,
                              uint32_t j);
/* Tokens that an answer of this set may have. */
uint32_t uqm_survey_new_tokens(const struct uqm_survey *survey, size_t set);
bool uqm_survey_has_pictures(const struct uqm_survey *survey);
/* Memory that the loaded records take. */
uint64_t uqm_survey_bytes(const struct uqm_survey *survey);

/* "config" of the results. NULL: no memory. */
json_t *uqm_survey_config(const struct uqm_survey *survey);

/*
 * Digest of all that a measured value depends on, but for the model: seed, perturbations, the sets'
 * bytes and how they are asked, the pictures' files by path, size, inode and times.
 */
int uqm_survey_job(struct uqm_xxh3_hex *out, const struct uqm_survey *survey,
                   const char *vision_tower, struct uqm_err *err);
/* Digest of a model's files by path, size, inode and times. own: NULL, or a file that the run
 * itself writes and that may lie among them; it does not count, nor what its name begins (its
 * lock). */
int uqm_survey_model(struct uqm_xxh3_hex *out, const char *path, const char *own,
                     struct uqm_err *err);

#endif
