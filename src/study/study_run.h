/*
 * A study at work: single answers ("the uncertainty of this merge on that set") asked of the
 * library's calls once and kept in the cache, and what is made of them.
 *
 * Functions that need answers return UQM_OK, an error, or UQM_STUDY_WAITS: in a dry run the answer
 * is not there yet, so that what follows from it cannot be said either. Nothing else returns that.
 */
#ifndef UQM_STUDY_STUDY_RUN_H
#define UQM_STUDY_STUDY_RUN_H

#include "src/study/study.h"
#include "src/study/study_cache.h"

enum { UQM_STUDY_WAITS = -1000 };

/* A model, or a merge of several: bits of the study's models. */
struct uqm_study_target {
    uint64_t models;
    const struct uqm_study_method *method; /* NULL, or of one model: the model itself */
};

#define UQM_STUDY_ALPHA 0.1 /* the share of records whose truth conformal sets may miss */

/* How uncertainty is measured. */
struct uqm_study_measure {
    bool conformal; /* the size of conformal sets, of clean passes; needs labels */
    uint64_t seed;
    unsigned perturb; /* UQM_PERTURB_*; 0: all three */
    double dropout;
    struct uqm_study_sample sample;
};

struct uqm_study_value {
    double value, se; /* se NaN where there is none */
    uint64_t n_records;
};

struct uqm_study_question {
    const struct uqm_study_target *target;
    const struct uqm_study_measure *measure; /* NULL: a score */
    size_t set;
};

struct uqm_study_run;
/*
 * Find the answers to n questions that differ in their targets alone, {"value", "stderr",
 * "samples", ...}; they become the caller's, those that were made before an error too (NULL: none).
 * n > 1: linear merges, the last of all models that the others merge.
 */
typedef int (*uqm_study_ask_fn)(json_t **answers, struct uqm_study_run *run,
                                const struct uqm_study_question *questions, size_t n,
                                struct uqm_err *err);

struct uqm_study_set_info {
    struct uqm_xxh3_hex digest; /* of records, pictures, and how they are asked */
    size_t n_records;
    bool choice; /* multiple choice */
};

struct uqm_study_run {
    const struct uqm_study *study;
    const struct uqm_common *common;
    struct uqm_env *env;
    struct uqm_study_cache *cache;
    const char *dir;
    bool dry_run;
    uqm_study_ask_fn ask; /* uqm_study_ask(), or a test's */
    char device[160];     /* "cpu", or the Vulkan device's name */
    struct uqm_xxh3_hex models[UQM_STUDY_MAX_MODELS], base, tower; /* content */
    struct uqm_study_set_info sets[UQM_STUDY_MAX_SETS];
    struct uqm_study_method linear; /* without parameters: Algorithm 1's merge */
    /* The study's own order, falling uncertainty; every merge lists its models in it, so that one
     * merge is one recipe whatever led to it. */
    bool ordered;
    size_t order[UQM_STUDY_MAX_MODELS];
    bool wants_steps; /* a table shows every step, those after the stop too */
    json_t *jobs;  /* {"job", "model", "data", "cached", ...}, each once, in the order of asking */
    json_t *asked; /* name of a question: its place in jobs */
    size_t n_done, n_cached;
};

/* By the library's calls: uqm_uq(), uqm_eval(). Several merges are asked in one sweep over their
 * inputs. Answers of the study's own measure have "values", the numbers of the records, those of
 * conformal sets "conformal", what `uq --method cp` says of a set. */
int uqm_study_ask(json_t **answers, struct uqm_study_run *run,
                  const struct uqm_study_question *questions, size_t n, struct uqm_err *err);
bool uqm_study_is_single(const struct uqm_study_target *target);

/* Digests of models and data, the device. The run is zeroed but for study, common, env, cache, dir,
 * dry_run, ask. Errors name the file. To be finished, whatever is returned. */
int uqm_study_run_init(struct uqm_study_run *run, struct uqm_err *err);
void uqm_study_run_finish(struct uqm_study_run *run);

/* The study's own measure: its first seed, dropout, samples; all perturbations. */
struct uqm_study_measure uqm_study_own_measure(const struct uqm_study *study);
/* Whether a measure is that, by whatever name. Its curve is compared step by step, in pairs of
 * records, and so its answers hold the records' values. */
bool uqm_study_is_own(const struct uqm_study *study, const struct uqm_study_measure *measure);

/* Find the answers of several targets (as uqm_study_ask_fn wants them) on one set in one go, those
 * that are not there yet; in a dry run, or with one that is missing, nothing. */
int uqm_study_ahead(struct uqm_study_run *run, const struct uqm_study_target *targets, size_t n,
                    const struct uqm_study_measure *measure, size_t set, struct uqm_err *err);

/* An answer that was found before, as the cache keeps it: uqm_study_ask_fn's. Borrowed from the
 * cache; NULL: it was not. */
const json_t *uqm_study_known(struct uqm_study_run *run, const struct uqm_study_target *target,
                              const struct uqm_study_measure *measure, size_t set);

/* The mean over held-in sets of a's uncertainty minus b's, both found before by the study's own
 * measure, and its standard error, paired by record; NaN where records are not known. */
struct uqm_study_value uqm_study_difference(struct uqm_study_run *run,
                                            const struct uqm_study_target *a,
                                            const struct uqm_study_target *b,
                                            const struct uqm_study_measure *measure);

/* The unweighted mean over a role's sets; sets[n_of_role] (NULL: not wanted) gets each. se: the
 * root of the sum of squares over the number of sets. The first of a role is set number
 * uqm_study_first(). */
int uqm_study_mean_uncertainty(struct uqm_study_value *out, struct uqm_study_value *sets,
                               struct uqm_study_run *run, const struct uqm_study_target *target,
                               const struct uqm_study_measure *measure, struct uqm_err *err);
int uqm_study_mean_score(struct uqm_study_value *out, struct uqm_study_value *sets,
                         struct uqm_study_run *run, const struct uqm_study_target *target,
                         enum uqm_study_role role, struct uqm_err *err);
size_t uqm_study_first(const struct uqm_study *study, enum uqm_study_role role);

/* --- Algorithm 1 (study_pick.c) --- */

struct uqm_study_guide {
    bool accuracy;  /* held-in accuracy guides, and the loop stops when it no longer rises */
    bool ascending; /* the order */
    bool ahead;     /* all steps are going to be asked for, so they are at once */
    struct uqm_study_measure measure;
};

struct uqm_study_pick {
    size_t order[UQM_STUDY_MAX_MODELS];
    struct uqm_study_value models[UQM_STUDY_MAX_MODELS]; /* what guides, of each model */
    struct uqm_study_value steps[UQM_STUDY_MAX_MODELS];  /* the same of the first t */
    bool improved[UQM_STUDY_MAX_MODELS];
    size_t n_steps, stopped_at /* 0: never */, n_selected;
};

/* A step's merge. */
struct uqm_study_target uqm_study_prefix(const struct uqm_study_run *run,
                                         const struct uqm_study_pick *pick, size_t n);
/* What is not there yet of steps t to `last` (NULL measure: scores) on a role's sets. */
int uqm_study_steps_ahead(struct uqm_study_run *run, const struct uqm_study_pick *pick, size_t t,
                          size_t last, const struct uqm_study_measure *measure,
                          enum uqm_study_role role, struct uqm_err *err);
int uqm_study_pick(struct uqm_study_pick *out, struct uqm_study_run *run,
                   const struct uqm_study_guide *guide, bool all_steps, struct uqm_err *err);
/* The study's own: its measure, falling uncertainty. Sets run->order. */
int uqm_study_own_pick(struct uqm_study_pick *out, struct uqm_study_run *run, bool all_steps,
                       struct uqm_err *err);

/* k of n models, drawn by the study's first seed; r numbers the draws. */
uint64_t uqm_study_draw(const struct uqm_study *study, size_t k, size_t r);

/* --- arithmetic --- */

/* Mean of n values and their sample standard deviation (n - 1); sd NaN for n < 2. */
struct uqm_study_spread {
    double mean, sd;
};
struct uqm_study_spread uqm_study_spread(const double *v, size_t n);
/* Spearman's rank correlation, ties at their mean rank; NaN for n < 2 or a constant. */
double uqm_study_spearman(const double *a, const double *b, size_t n);

#endif
