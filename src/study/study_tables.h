/* The paper's tables (spec uq.md 7) as the page's own (page.h). */
#ifndef UQM_STUDY_STUDY_TABLES_H
#define UQM_STUDY_STUDY_TABLES_H

#include "src/study/page.h"
#include "src/study/study_run.h"

struct uqm_study_maker {
    struct uqm_study_run *run;
    const struct uqm_study_pick *pick; /* the study's own selection; NULL: it waits (dry run) */
    json_t *table;
    struct uqm_err *err;
};

/* Of the study's own selection. */
enum uqm_study_use { UQM_NO_PICK, UQM_PICK, UQM_ALL_STEPS /* those after the stop, too */ };

struct uqm_study_table {
    const char *name, *title, *about;
    unsigned roles; /* bits of the roles that it cannot do without */
    enum uqm_study_use uses;
    int (*fill)(struct uqm_study_maker *m);
};
/* In the order of uqm_study_table_names. */
extern const struct uqm_study_table uqm_study_tables[UQM_N_STUDY_TABLES];

/* --- what the tables' files share --- */

int uqm_study_fill_f1(struct uqm_study_maker *m);
int uqm_study_fill_t1(struct uqm_study_maker *m);
int uqm_study_fill_t2(struct uqm_study_maker *m);
int uqm_study_fill_t6(struct uqm_study_maker *m);
int uqm_study_fill_t10(struct uqm_study_maker *m);
int uqm_study_fill_t11(struct uqm_study_maker *m);
int uqm_study_fill_t3(struct uqm_study_maker *m);
int uqm_study_fill_t4(struct uqm_study_maker *m);
int uqm_study_fill_t5(struct uqm_study_maker *m);
int uqm_study_fill_t7(struct uqm_study_maker *m);
int uqm_study_fill_t8(struct uqm_study_maker *m);
int uqm_study_fill_t9(struct uqm_study_maker *m);
int uqm_study_fill_t12(struct uqm_study_maker *m);
int uqm_study_fill_t13(struct uqm_study_maker *m);
int uqm_study_fill_t14(struct uqm_study_maker *m);

/* "held_in.mmb", and with ".sd" its error's. */
struct uqm_study_key {
    char text[200];
};
const char *uqm_study_key(struct uqm_study_key *buf, const struct uqm_study *study, size_t set,
                          const char *suffix);
/* The key of a role's mean: "held_in". */
extern const char *const uqm_study_role_keys[UQM_N_ROLES];

/* A column for each set of a role (sets) and for the mean (under the role's name); nothing for a
 * role without sets. error: NULL, or the suffix of error keys, "sd". */
void uqm_study_columns(struct uqm_study_maker *m, enum uqm_study_role role, bool sets,
                       const char *unit, const char *error);
void uqm_study_set_text(json_t *row, const char *key, const char *text);
void uqm_study_set_number(json_t *row, const char *key, double v);
void uqm_study_set_count(json_t *row, const char *key, size_t n);
/* Names of models in an order, or of a subset in the study's. */
json_t *uqm_study_names(const struct uqm_study_run *run, const size_t *order, size_t n);
json_t *uqm_study_members(const struct uqm_study_run *run, uint64_t models);

/* "3 + name": the step that adds a model to those before it. */
struct uqm_study_label {
    char text[160];
};
const char *uqm_study_step_label(struct uqm_study_label *buf, const struct uqm_study *study,
                                 const struct uqm_study_pick *pick, size_t t);

/* As "more" of the table what the conformal sets of all models and of a pick's steps are, all of
 * them found before; nothing where the answers do not say. */
void uqm_study_add_conformal(struct uqm_study_maker *m, const struct uqm_study_pick *pick,
                             const struct uqm_study_measure *measure);

/* A target's scores on a role's sets into a row; nothing for a role without sets. */
int uqm_study_put_scores(json_t *row, struct uqm_study_maker *m,
                         const struct uqm_study_target *target, enum uqm_study_role role);
/* A bar or curve of a role's mean, if it has sets. */
void uqm_study_chart_role(struct uqm_study_maker *m, enum uqm_study_role role, const char *label,
                          bool line, size_t stop_row, const char *error);

#endif
