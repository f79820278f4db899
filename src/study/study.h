/*
 * A study file: which models, base, data sets and methods the paper's tables are made of
 * (docs/experiments.md has every key). Paths in it are relative to its own folder.
 *
 * Errors are "FILE:LINE: WHAT"; an unknown key names the nearest right one.
 */
#ifndef UQM_STUDY_STUDY_H
#define UQM_STUDY_STUDY_H

#include "src/base/arena.h"
#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/format/method.h"

enum {
    UQM_STUDY_MAX_MODELS = 64, /* a subset is a word of 64 bits */
    UQM_STUDY_MAX_SETS = 64,   /* over all roles */
    UQM_STUDY_MAX_METHODS = 32,
    UQM_STUDY_MAX_SEEDS = 64,
    UQM_STUDY_MAX_RATIOS = 16,
    UQM_STUDY_MAX_SUBSETS = 32,
};

enum uqm_study_role { UQM_HELD_IN, UQM_HELD_OUT, UQM_VALIDATION, UQM_N_ROLES };
/* "held-in", ...: the key of the study file. */
extern const char *const uqm_study_role_names[UQM_N_ROLES];

struct uqm_study_model {
    const char *name; /* the folder's, or `name` */
    const char *path;
    int line;
};

struct uqm_study_set {
    enum uqm_study_role role;
    const char *name; /* the file's without its ending, or `name`; unique over the roles */
    const char *path;
    const char *task; /* NULL: tasks.json or the records' shape decide */
    int line;
};

struct uqm_study_param {
    const struct uqm_param_info *info;
    double value;
};

struct uqm_study_method {
    const char *name; /* the method's, or `name` */
    const struct uqm_method_info *info;
    size_t n_params;
    struct uqm_study_param params[UQM_MOST_PARAMS];
};

/* How many records of each set. Both 0: all. */
struct uqm_study_sample {
    double ratio;
    uint64_t count;
};

struct uqm_study {
    const char *path;
    struct uqm_xxh3_hex digest; /* of the file's bytes */
    const char *name;           /* the file's without its ending, or `name` */
    struct uqm_study_model models[UQM_STUDY_MAX_MODELS], base;
    size_t n_models;
    bool has_base;
    const char *vision_tower;                      /* NULL: the models' own */
    struct uqm_study_set sets[UQM_STUDY_MAX_SETS]; /* by role, in the file's order */
    size_t n_sets, n_of_role[UQM_N_ROLES];
    struct uqm_study_method methods[UQM_STUDY_MAX_METHODS];
    size_t n_methods;
    uint64_t seeds[UQM_STUDY_MAX_SEEDS]; /* the first is the study's own */
    size_t n_seeds;
    uint32_t repeats; /* J */
    double dropout;
    struct uqm_study_sample samples, eval_samples;
    int max_new_tokens;                  /* UQM_TASK_TOKENS: each task's own */
    double ratios[UQM_STUDY_MAX_RATIOS]; /* of T7, rising; 1 is not among them */
    size_t n_ratios;
    size_t n_subsets;    /* R of T1 */
    size_t window;       /* steps that a loop which may stop asks at once */
    uint64_t tables;     /* bits, in the order of uqm_study_tables; those asked for by name ... */
    bool tables_by_name; /* ... rather than all */
    struct uqm_arena arena;
};

/* Read and check a study file; nothing it names is opened. *out is to be finished, whatever is
 * returned. */
int uqm_study_read(struct uqm_study *out, const char *path, struct uqm_err *err);
/* The same from text, for what `path` says. */
int uqm_study_parse(struct uqm_study *out, const char *text, size_t len, const char *path,
                    struct uqm_err *err);
void uqm_study_finish(struct uqm_study *study);

/* The tables by name: "f1", "t1", ..., "t14". */
enum { UQM_N_STUDY_TABLES = 15 };
extern const char *const uqm_study_table_names[UQM_N_STUDY_TABLES];
/* Place of a name, or -1. */
int uqm_study_table_find(const char *name);

#endif
