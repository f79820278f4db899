/* T4, T9, T12, T13, T14: every step, every model. */
#include <math.h>
#include <stdio.h>

#include "src/study/study_tables.h"

/* All steps of the study's own selection. */
static int all_steps(struct uqm_study_pick *pick, struct uqm_study_maker *m)
{
    return uqm_study_own_pick(pick, m->run, true, m->err);
}

static json_t *step_row(struct uqm_study_maker *m, const struct uqm_study_pick *pick, size_t t)
{
    json_t *row = uqm_table_row(m->table);
    struct uqm_study_label label;
    uqm_study_set_text(row, "label", uqm_study_step_label(&label, m->run->study, pick, t));
    uqm_study_set_count(row, "step", t);
    uqm_study_set_text(row, "added", m->run->study->models[pick->order[t - 1]].name);
    if (t <= pick->n_selected)
        json_object_set_new(row, "selected", json_true());
    return row;
}

static void note_stop(struct uqm_study_maker *m, const struct uqm_study_pick *pick)
{
    if (pick->stopped_at)
        uqm_table_note(m->table, "Algorithm 1 stops at step %zu and selects the first %zu (bold).",
                       pick->stopped_at, pick->n_selected);
    else
        uqm_table_note(m->table, "The uncertainty falls to the end: all %zu are selected.",
                       pick->n_selected);
}

/* --- T4 --- */

struct curves {
    double uq[UQM_STUDY_MAX_MODELS], roles[UQM_N_ROLES][UQM_STUDY_MAX_MODELS];
    size_t n;
};

/* From 1; 0: none of them is a number. */
static size_t place_of_most(const double *v, size_t n)
{
    size_t best = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(v[i]) && (best == 0 || v[i] > v[best - 1]))
            best = i + 1;
    return best;
}

static void note_curves(struct uqm_study_maker *m, const struct curves *c)
{
    static const enum uqm_study_role roles[] = { UQM_VALIDATION, UQM_HELD_OUT };
    for (size_t i = 0; i < 2; i++) {
        const enum uqm_study_role role = roles[i];
        if (m->run->study->n_of_role[role] == 0) {
            uqm_table_note(m->table, "The %s column is left out: the study names no such sets.",
                           uqm_study_role_names[role]);
            continue;
        }
        const double rho = uqm_study_spearman(c->uq, c->roles[role], c->n);
        const size_t best = place_of_most(c->roles[role], c->n);
        if (best == 0)
            uqm_table_note(m->table, "No step has a %s mean.", uqm_study_role_names[role]);
        else if (isnan(rho))
            uqm_table_note(m->table, "Best %s mean at step %zu.", uqm_study_role_names[role], best);
        else
            uqm_table_note(m->table,
                           "Best %s mean at step %zu; Spearman correlation with the uncertainty "
                           "%.3f.",
                           uqm_study_role_names[role], best, rho);
    }
}

/* A role's mean of each step; the table keeps the means alone. */
static int put_mean(json_t *row, double *out, struct uqm_study_maker *m,
                    const struct uqm_study_target *t, enum uqm_study_role role)
{
    struct uqm_study_value v;
    *out = (double) NAN;
    if (m->run->study->n_of_role[role] == 0)
        return UQM_OK;
    int ret = uqm_study_mean_score(&v, NULL, m->run, t, role, m->err);
    if (ret < 0)
        return ret;
    *out = v.value;
    uqm_study_set_number(row, uqm_study_role_keys[role], v.value);
    return UQM_OK;
}

/* Against the step before, record by record: all steps see the same perturbations. */
static void put_change(json_t *row, struct uqm_study_maker *m, const struct uqm_study_pick *pick,
                       size_t t)
{
    struct uqm_study_value d = { .value = (double) NAN, .se = (double) NAN };
    if (t > 1) {
        const struct uqm_study_measure own = uqm_study_own_measure(m->run->study);
        const struct uqm_study_target now = uqm_study_prefix(m->run, pick, t),
                                      before = uqm_study_prefix(m->run, pick, t - 1);
        d = uqm_study_difference(m->run, &now, &before, &own);
    }
    uqm_study_set_number(row, "change", d.value);
    uqm_study_set_number(row, "change.se", d.se);
}

int uqm_study_fill_t4(struct uqm_study_maker *m)
{
    static const enum uqm_study_role roles[] = { UQM_HELD_IN, UQM_VALIDATION, UQM_HELD_OUT };
    struct uqm_study_pick pick;
    struct curves c = { 0 };
    bool waits = false;
    int ret = all_steps(&pick, m);
    if (ret < 0)
        return ret;
    uqm_table_column(m->table, "label", "step", NULL, NULL);
    uqm_table_column(m->table, "uq", "uncertainty", "nats", "uq.se");
    uqm_table_column(m->table, "change", "change", "nats", "change.se");
    uqm_table_column(m->table, "improved", "improved", NULL, NULL);
    for (size_t i = 0; i < 3; i++)
        uqm_study_columns(m, roles[i], false, "fraction", NULL);
    for (size_t i = 0; i < 3; i++)
        if ((ret = uqm_study_steps_ahead(m->run, &pick, 2, pick.n_steps, NULL, roles[i], m->err)) <
            0)
            return ret;
    for (size_t t = 1; t <= pick.n_steps; t++) {
        const struct uqm_study_target target = uqm_study_prefix(m->run, &pick, t);
        json_t *row = step_row(m, &pick, t);
        c.uq[c.n] = pick.steps[t - 1].value;
        uqm_study_set_number(row, "uq", pick.steps[t - 1].value);
        uqm_study_set_number(row, "uq.se", pick.steps[t - 1].se);
        put_change(row, m, &pick, t);
        json_object_set_new(row, "improved", json_boolean(pick.improved[t - 1]));
        for (size_t i = 0; i < 3; i++) {
            ret = put_mean(row, &c.roles[roles[i]][c.n], m, &target, roles[i]);
            if (ret < 0 && ret != UQM_STUDY_WAITS)
                return ret;
            waits |= ret == UQM_STUDY_WAITS;
        }
        c.n++;
    }
    uqm_table_chart(m->table, &(struct uqm_table_chart){ .title = "Uncertainty of the merge",
                                                         .label = "label",
                                                         .value = "uq",
                                                         .error = "uq.se",
                                                         .line = true,
                                                         .stop_row = pick.stopped_at });
    for (size_t i = 0; i < 3; i++)
        uqm_study_chart_role(m, roles[i], "label", true, pick.stopped_at, NULL);
    note_stop(m, &pick);
    note_curves(m, &c);
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

/* --- T9 --- */

/* One model under every seed: values[set][seed], the last "set" the mean. */
static int put_seeds(json_t *row, struct uqm_study_maker *m, const struct uqm_study_target *t)
{
    const struct uqm_study *s = m->run->study;
    const size_t n = s->n_of_role[UQM_HELD_IN];
    double values[UQM_STUDY_MAX_SETS + 1][UQM_STUDY_MAX_SEEDS];
    bool waits = false;
    for (size_t i = 0; i < s->n_seeds; i++) {
        struct uqm_study_measure measure = uqm_study_own_measure(s);
        struct uqm_study_value mean, sets[UQM_STUDY_MAX_SETS];
        measure.seed = s->seeds[i];
        int ret = uqm_study_mean_uncertainty(&mean, sets, m->run, t, &measure, m->err);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
        for (size_t k = 0; k < n; k++)
            values[k][i] = sets[k].value;
        values[n][i] = mean.value;
    }
    if (waits)
        return UQM_STUDY_WAITS;
    for (size_t k = 0; k <= n; k++) {
        const struct uqm_study_spread spread = uqm_study_spread(values[k], s->n_seeds);
        struct uqm_study_key key;
        uqm_study_set_number(row, k < n ? uqm_study_key(&key, s, k, NULL) : "held_in", spread.mean);
        uqm_study_set_number(row, k < n ? uqm_study_key(&key, s, k, "sd") : "held_in.sd",
                             spread.sd);
    }
    return UQM_OK;
}

int uqm_study_fill_t9(struct uqm_study_maker *m)
{
    const struct uqm_study *s = m->run->study;
    bool waits = false;
    struct uqm_study_key key, error;
    uqm_table_column(m->table, "model", "model", NULL, NULL);
    uqm_study_columns(m, UQM_HELD_IN, true, "nats", "sd");
    for (size_t i = 0; i < s->n_models; i++) {
        const struct uqm_study_target t = { .models = (uint64_t) 1 << i };
        json_t *row = uqm_table_row(m->table);
        uqm_study_set_text(row, "model", s->models[i].name);
        int ret = put_seeds(row, m, &t);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
    }
    uqm_table_chart(m->table, &(struct uqm_table_chart){ .title = "Mean over the sets",
                                                         .label = "model",
                                                         .value = "held_in",
                                                         .error = "held_in.sd",
                                                         .error_name = "standard deviation" });
    for (size_t k = 0; k < s->n_of_role[UQM_HELD_IN]; k++)
        uqm_table_chart(m->table,
                        &(struct uqm_table_chart){ .title = s->sets[k].name,
                                                   .label = "model",
                                                   .value = uqm_study_key(&key, s, k, NULL),
                                                   .error = uqm_study_key(&error, s, k, "sd"),
                                                   .error_name = "standard deviation" });
    uqm_table_note(m->table, "%zu seed%s.", s->n_seeds, s->n_seeds == 1 ? "" : "s");
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

/* --- T12, T13, T14 --- */

int uqm_study_fill_t12(struct uqm_study_maker *m)
{
    const struct uqm_study *s = m->run->study;
    const struct uqm_study_measure own = uqm_study_own_measure(s);
    struct uqm_study_pick pick;
    struct uqm_study_key key;
    int ret = all_steps(&pick, m);
    if (ret < 0)
        return ret;
    uqm_table_column(m->table, "label", "step", NULL, NULL);
    uqm_study_columns(m, UQM_HELD_IN, true, "nats", "se");
    for (size_t t = 1; t <= pick.n_steps; t++) {
        const struct uqm_study_target target = uqm_study_prefix(m->run, &pick, t);
        struct uqm_study_value mean, sets[UQM_STUDY_MAX_SETS];
        json_t *row = step_row(m, &pick, t);
        ret = uqm_study_mean_uncertainty(&mean, sets, m->run, &target, &own, m->err);
        if (ret < 0)
            return ret;
        for (size_t k = 0; k < s->n_of_role[UQM_HELD_IN]; k++) {
            uqm_study_set_number(row, uqm_study_key(&key, s, k, NULL), sets[k].value);
            uqm_study_set_number(row, uqm_study_key(&key, s, k, "se"), sets[k].se);
        }
        uqm_study_set_number(row, "held_in", mean.value);
        uqm_study_set_number(row, "held_in.se", mean.se);
    }
    for (size_t k = 0; k < s->n_of_role[UQM_HELD_IN]; k++) {
        struct uqm_study_key error;
        uqm_table_chart(m->table,
                        &(struct uqm_table_chart){ .title = s->sets[k].name,
                                                   .label = "label",
                                                   .value = uqm_study_key(&key, s, k, NULL),
                                                   .error = uqm_study_key(&error, s, k, "se"),
                                                   .line = true,
                                                   .stop_row = pick.stopped_at });
    }
    note_stop(m, &pick);
    return UQM_OK;
}

static int fill_steps(struct uqm_study_maker *m, enum uqm_study_role role)
{
    struct uqm_study_pick pick;
    bool waits = false;
    int ret = all_steps(&pick, m);
    if (ret == UQM_OK)
        ret = uqm_study_steps_ahead(m->run, &pick, 2, pick.n_steps, NULL, role, m->err);
    if (ret < 0)
        return ret;
    uqm_table_column(m->table, "label", "step", NULL, NULL);
    uqm_study_columns(m, role, true, "fraction", NULL);
    for (size_t t = 1; t <= pick.n_steps; t++) {
        const struct uqm_study_target target = uqm_study_prefix(m->run, &pick, t);
        ret = uqm_study_put_scores(step_row(m, &pick, t), m, &target, role);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
    }
    uqm_study_chart_role(m, role, "label", true, pick.stopped_at, NULL);
    note_stop(m, &pick);
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_t13(struct uqm_study_maker *m)
{
    return fill_steps(m, UQM_VALIDATION);
}

int uqm_study_fill_t14(struct uqm_study_maker *m)
{
    return fill_steps(m, UQM_HELD_OUT);
}
