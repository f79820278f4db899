/*
 * Scores of generated answers (spec uq.md 6): pure functions of a record and a text.
 * docs/metrics.md lists the names and their rules.
 */
#ifndef UQM_UQ_METRIC_H
#define UQM_UQ_METRIC_H

#include "src/uq/dataset.h"

enum uqm_metric {
    /* short rules of our own, for sets of our own */
    UQM_METRIC_EXACT_MATCH, /* "exact_match": equal in the plain normal form */
    UQM_METRIC_VQA_SOFT,    /* "vqa_soft": the soft score in the plain normal form */
    UQM_METRIC_YES_NO,      /* "yes_no": yes if the first word is yes, else no */
    UQM_METRIC_MMMU,        /* "mmmu": the first letter among choices, else exact_match */
    /* those of lmms-eval 0.2, by benchmark */
    UQM_METRIC_LMMS_EXACT,
    UQM_METRIC_LMMS_VQA, /* OKVQA, TextVQA, VizWiz */
    UQM_METRIC_LMMS_VQAV2,
    UQM_METRIC_LMMS_POPE,
    UQM_METRIC_LMMS_MMMU,
    UQM_METRIC_LMMS_REALWORLDQA,
    UQM_METRIC_LMMS_SEED, /* SEED-Bench-2-Plus, SEEDBench */
    UQM_METRIC_LMMS_OCRBENCH,
    UQM_METRIC_LMMS_AI2D,
    UQM_METRIC_LMMS_SCIENCEQA,
    UQM_N_METRICS,
};

/* UQM_N_METRICS: no metric has that name. */
enum uqm_metric uqm_metric_find(const char *name);
const char *uqm_metric_name(enum uqm_metric metric);

/* Whether the record says what is right in a way that the metric reads: a metric of letters takes
 * the label, else the answers; the others take the answers. */
bool uqm_metric_has_gold(enum uqm_metric metric, const struct uqm_record *record);

/*
 * 0 to 1. `answer` is stripped already; the record has a gold answer. set, seed: the stream that
 * MMMU's guess at an answer without a letter is drawn from. UQM_ERR_NOMEM.
 */
int uqm_metric_score(double *score, enum uqm_metric metric, const struct uqm_record *record,
                     const char *answer, const char *set, uint64_t seed, struct uqm_err *err);

/*
 * What yes_no and lmms_pope report besides: an answer as 1 (yes), 0 (no) or -1 (another word;
 * yes_no takes those for no). -1 for every other metric.
 */
int uqm_metric_yes_no(enum uqm_metric metric, const char *answer);

/* ---- its parts, for tests ---- */

/* Mean over the answers of min(1, matches among the others / 3). */
double uqm_metric_leave_one_out(const char *answer, const char *const *golds, size_t n);
/* An option's index (metric_mmmu.c), -1 where the text names none; -2: no memory. */
int uqm_metric_mmmu_choice(const char *answer, const char *const *choices, size_t n);
/* 1, 0; -1: no memory. */
int uqm_metric_mmmu_open(const char *answer, const char *const *golds, size_t n);

#endif
