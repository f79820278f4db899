#include "src/study/study_tables.h"

#include <math.h>
#include <stdio.h>

#define NEEDS(role) (1u << (role))

const struct uqm_study_table uqm_study_tables[UQM_N_STUDY_TABLES] = {
    { "f1", "F1: best single model, everything merged, UQ-Merge",
      "The best single model is the one with the best held-in mean; its labels were used.", 0,
      UQM_PICK, uqm_study_fill_f1 },
    { "t1", "T1: merge methods on random subsets, and UQ-Merge",
      "Subsets of as many models as UQ-Merge selects, the same for every method. Mean and sample "
      "standard deviation (n \u2212 1) over the subsets; the JSON has the standard error too.",
      0, UQM_PICK, uqm_study_fill_t1 },
    { "t2", "T2: merge methods on all models, and UQ-Merge", "", 0, UQM_PICK, uqm_study_fill_t2 },
    { "t3", "T3: what guides the order and the stop",
      "The order is by rising or falling uncertainty or held-in accuracy of the models. "
      "Uncertainty "
      "stops where it no longer falls, accuracy where it no longer rises.",
      0, UQM_PICK, uqm_study_fill_t3 },
    { "t4", "T4: every step of Algorithm 1",
      "Step t is the linear merge of the first t models; \u00b1 is the standard error over "
      "records, of a change that of the records' differences to the step before.",
      0, UQM_ALL_STEPS, uqm_study_fill_t4 },
    { "t5", "T5: with and without perturbing the model",
      "Input only: pictures and prompts are perturbed, attention is not dropped out.", 0, UQM_PICK,
      uqm_study_fill_t5 },
    { "t6", "T6: merge methods on the selected models and on all",
      "Unweighted mean over all held-in and held-out sets.", 0, UQM_PICK, uqm_study_fill_t6 },
    { "t7", "T7: fewer records",
      "Algorithm 1 run again on a seeded share of each set; a larger share holds the smaller ones.",
      0, UQM_PICK, uqm_study_fill_t7 },
    { "t8", "T8: other measures of uncertainty",
      "Algorithm 1 run again by the size of conformal sets (CP, which uses the held-in labels), "
      "and "
      "with pictures, prompts, or both and the model perturbed.",
      0, UQM_PICK, uqm_study_fill_t8 },
    { "t9", "T9: uncertainty of every model on every set",
      "Mean over the seeds; \u00b1 is the sample standard deviation (n \u2212 1) over them.", 0,
      UQM_NO_PICK, uqm_study_fill_t9 },
    { "t10", "T10: the random subsets of T1, held-in", "", 0, UQM_PICK, uqm_study_fill_t10 },
    { "t11", "T11: the random subsets of T1, held-out", "", NEEDS(UQM_HELD_OUT), UQM_PICK,
      uqm_study_fill_t11 },
    { "t12", "T12: uncertainty on each set, step by step",
      "\u00b1 is the standard error over records.", 0, UQM_ALL_STEPS, uqm_study_fill_t12 },
    { "t13", "T13: validation scores, step by step", "", NEEDS(UQM_VALIDATION), UQM_ALL_STEPS,
      uqm_study_fill_t13 },
    { "t14", "T14: held-out scores, step by step", "", NEEDS(UQM_HELD_OUT), UQM_ALL_STEPS,
      uqm_study_fill_t14 },
};

const char *const uqm_study_role_keys[UQM_N_ROLES] = { "held_in", "held_out", "validation" };

const char *uqm_study_key(struct uqm_study_key *buf, const struct uqm_study *study, size_t set,
                          const char *suffix)
{
    snprintf(buf->text, sizeof buf->text, "%s.%s%s%s", uqm_study_role_keys[study->sets[set].role],
             study->sets[set].name, suffix ? "." : "", suffix ? suffix : "");
    return buf->text;
}

static const char *role_key(struct uqm_study_key *buf, enum uqm_study_role role, const char *suffix)
{
    snprintf(buf->text, sizeof buf->text, "%s.%s", uqm_study_role_keys[role], suffix);
    return buf->text;
}

void uqm_study_columns(struct uqm_study_maker *m, enum uqm_study_role role, bool sets,
                       const char *unit, const char *error)
{
    const struct uqm_study *s = m->run->study;
    const size_t first = uqm_study_first(s, role), n = s->n_of_role[role];
    struct uqm_study_key key, error_key;
    for (size_t k = first; sets && k < first + n; k++)
        uqm_table_column(m->table, uqm_study_key(&key, s, k, NULL), s->sets[k].name, unit,
                         error ? uqm_study_key(&error_key, s, k, error) : NULL);
    if (n > 0)
        uqm_table_column(m->table, uqm_study_role_keys[role], uqm_study_role_names[role], unit,
                         error ? role_key(&error_key, role, error) : NULL);
}

void uqm_study_set_text(json_t *row, const char *key, const char *text)
{
    json_object_set_new(row, key, json_string(text));
}

void uqm_study_set_number(json_t *row, const char *key, double v)
{
    json_object_set_new(row, key, uqm_number_json(v));
}

void uqm_study_set_count(json_t *row, const char *key, size_t n)
{
    json_object_set_new(row, key, json_integer((json_int_t) n));
}

json_t *uqm_study_names(const struct uqm_study_run *run, const size_t *order, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_string(run->study->models[order[i]].name));
    return list;
}

json_t *uqm_study_members(const struct uqm_study_run *run, uint64_t models)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < run->study->n_models; i++)
        if (models >> i & 1)
            json_array_append_new(list, json_string(run->study->models[i].name));
    return list;
}

const char *uqm_study_step_label(struct uqm_study_label *buf, const struct uqm_study *study,
                                 const struct uqm_study_pick *pick, size_t t)
{
    snprintf(buf->text, sizeof buf->text, "%zu %s%s", t, t > 1 ? "+ " : "",
             study->models[pick->order[t - 1]].name);
    return buf->text;
}

int uqm_study_put_scores(json_t *row, struct uqm_study_maker *m,
                         const struct uqm_study_target *target, enum uqm_study_role role)
{
    const struct uqm_study *s = m->run->study;
    const size_t first = uqm_study_first(s, role), n = s->n_of_role[role];
    struct uqm_study_value mean, sets[UQM_STUDY_MAX_SETS];
    struct uqm_study_key key;
    if (n == 0)
        return UQM_OK;
    int ret = uqm_study_mean_score(&mean, sets, m->run, target, role, m->err);
    if (ret < 0)
        return ret;
    for (size_t k = 0; k < n; k++)
        uqm_study_set_number(row, uqm_study_key(&key, s, first + k, NULL), sets[k].value);
    uqm_study_set_number(row, uqm_study_role_keys[role], mean.value);
    return UQM_OK;
}

void uqm_study_chart_role(struct uqm_study_maker *m, enum uqm_study_role role, const char *label,
                          bool line, size_t stop_row, const char *error)
{
    static const char *const titles[] = { "Held-in mean", "Held-out mean", "Validation mean" };
    struct uqm_study_key key;
    if (m->run->study->n_of_role[role] == 0)
        return;
    uqm_table_chart(m->table, &(struct uqm_table_chart){
                                  .title = titles[role],
                                  .label = label,
                                  .value = uqm_study_role_keys[role],
                                  .error = error ? role_key(&key, role, error) : NULL,
                                  .error_name = error ? "standard deviation" : NULL,
                                  .line = line,
                                  .bars = !line,
                                  .stop_row = stop_row,
                              });
}
