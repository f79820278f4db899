/* F1, T1, T2, T6, T10, T11: merge methods on subsets. */
#include <math.h>
#include <stdio.h>

#include "src/study/study_tables.h"

static uint64_t all_models(const struct uqm_study_run *run)
{
    return run->study->n_models == 64 ? UINT64_MAX : ((uint64_t) 1 << run->study->n_models) - 1;
}

static struct uqm_study_target selected(const struct uqm_study_maker *m)
{
    return uqm_study_prefix(m->run, m->pick, m->pick->n_selected);
}

/* Whether a method can merge k models here; else the table says why it is left out. */
static bool can_merge(struct uqm_study_maker *m, const struct uqm_study_method *method, size_t k)
{
    if (method->info->base == UQM_BASE_REQUIRED && !m->run->study->has_base) {
        uqm_table_note(m->table, "%s is left out: it needs a base, and the study names none.",
                       method->name);
        return false;
    }
    if (k > 1 && k < method->info->least) {
        uqm_table_note(m->table, "%s is left out: it merges at least %zu models.", method->name,
                       method->info->least);
        return false;
    }
    return true;
}

/* Both roles into a row. In a dry run both are asked before the row waits. */
static int put_both(json_t *row, struct uqm_study_maker *m, const struct uqm_study_target *t)
{
    int a = uqm_study_put_scores(row, m, t, UQM_HELD_IN);
    if (a < 0 && a != UQM_STUDY_WAITS)
        return a;
    int b = uqm_study_put_scores(row, m, t, UQM_HELD_OUT);
    return b < 0 ? b : a;
}

/* A row that says UQ-Merge; selected, so that it stands out. */
static int put_ours(struct uqm_study_maker *m, const char *key)
{
    const struct uqm_study_target t = selected(m);
    json_t *row = uqm_table_row(m->table);
    char text[64];
    snprintf(text, sizeof text, "UQ-Merge (%zu of %zu)", m->pick->n_selected,
             m->run->study->n_models);
    uqm_study_set_text(row, key, text);
    json_object_set_new(row, "models", uqm_study_members(m->run, t.models));
    json_object_set_new(row, "selected", json_true());
    return put_both(row, m, &t);
}

static void note_roles(struct uqm_study_maker *m)
{
    if (m->run->study->n_of_role[UQM_HELD_OUT] == 0)
        uqm_table_note(m->table, "Held-out columns are left out: the study names no such sets.");
}

/* Whether what came back lets the table go on to its next row. */
static bool goes_on(int *ret, int row, bool *waits)
{
    *waits |= row == UQM_STUDY_WAITS;
    *ret = row == UQM_STUDY_WAITS ? UQM_OK : row;
    return *ret == UQM_OK;
}

/* --- F1 --- */

static int best_single(size_t *best, struct uqm_study_maker *m)
{
    double most = -(double) INFINITY;
    bool waits = false;
    *best = 0;
    for (size_t i = 0; i < m->run->study->n_models; i++) {
        const struct uqm_study_target t = { .models = (uint64_t) 1 << i };
        struct uqm_study_value v;
        int ret = uqm_study_mean_score(&v, NULL, m->run, &t, UQM_HELD_IN, m->err);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
        if (v.value > most) {
            most = v.value;
            *best = i;
        }
    }
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_f1(struct uqm_study_maker *m)
{
    const struct uqm_study_run *run = m->run;
    const struct uqm_study_target all = { .models = all_models(run), .method = &run->linear };
    size_t best;
    bool waits = false;
    uqm_table_column(m->table, "what", "what", NULL, NULL);
    uqm_study_columns(m, UQM_HELD_IN, false, "fraction", NULL);
    uqm_study_columns(m, UQM_HELD_OUT, false, "fraction", NULL);
    uqm_table_column(m->table, "models", "models", NULL, NULL);

    int ret, row_ret = best_single(&best, m);
    if (row_ret == UQM_OK) {
        const struct uqm_study_target t = { .models = (uint64_t) 1 << best };
        json_t *row = uqm_table_row(m->table);
        uqm_study_set_text(row, "what", "best single model");
        json_object_set_new(row, "models", uqm_study_members(run, t.models));
        row_ret = put_both(row, m, &t);
    }
    if (!goes_on(&ret, row_ret, &waits))
        return ret;
    json_t *row = uqm_table_row(m->table);
    uqm_study_set_text(row, "what", "all merged (linear)");
    json_object_set_new(row, "models", uqm_study_members(run, all.models));
    if (!goes_on(&ret, put_both(row, m, &all), &waits) ||
        !goes_on(&ret, put_ours(m, "what"), &waits))
        return ret;
    uqm_study_chart_role(m, UQM_HELD_IN, "what", false, 0, NULL);
    uqm_study_chart_role(m, UQM_HELD_OUT, "what", false, 0, NULL);
    note_roles(m);
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

/* --- T1 --- */

/* One role of one method: mean and spread over the subsets of every set and of the mean. */
static int put_spread(json_t *row, struct uqm_study_maker *m, const struct uqm_study_method *method,
                      enum uqm_study_role role)
{
    const struct uqm_study *s = m->run->study;
    const size_t first = uqm_study_first(s, role), n = s->n_of_role[role], R = s->n_subsets;
    double values[UQM_STUDY_MAX_SETS + 1][UQM_STUDY_MAX_SUBSETS];
    bool waits = false;
    if (n == 0)
        return UQM_OK;
    for (size_t r = 0; r < R; r++) {
        struct uqm_study_value mean, sets[UQM_STUDY_MAX_SETS];
        const struct uqm_study_target t = { .models = uqm_study_draw(s, m->pick->n_selected, r),
                                            .method = method };
        int ret = uqm_study_mean_score(&mean, sets, m->run, &t, role, m->err);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
        for (size_t k = 0; k < n; k++)
            values[k][r] = sets[k].value;
        values[n][r] = mean.value;
    }
    for (size_t k = 0; k <= n; k++) {
        const struct uqm_study_spread spread = uqm_study_spread(values[k], R);
        struct uqm_study_key key;
        char name[200];
        snprintf(name, sizeof name, "%s",
                 k < n ? uqm_study_key(&key, s, first + k, NULL) : uqm_study_role_keys[role]);
        uqm_study_set_number(row, name, spread.mean);
        char error[210];
        snprintf(error, sizeof error, "%s.sd", name);
        uqm_study_set_number(row, error, spread.sd);
        snprintf(error, sizeof error, "%s.se", name);
        uqm_study_set_number(row, error, spread.sd / sqrt((double) R));
    }
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_t1(struct uqm_study_maker *m)
{
    const struct uqm_study *s = m->run->study;
    bool waits = false;
    int ret;
    uqm_table_column(m->table, "method", "method", NULL, NULL);
    uqm_study_columns(m, UQM_HELD_IN, true, "fraction", "sd");
    uqm_study_columns(m, UQM_HELD_OUT, true, "fraction", "sd");
    for (size_t i = 0; i < s->n_methods; i++) {
        if (!can_merge(m, &s->methods[i], m->pick->n_selected))
            continue;
        json_t *row = uqm_table_row(m->table);
        uqm_study_set_text(row, "method", s->methods[i].name);
        if (!goes_on(&ret, put_spread(row, m, &s->methods[i], UQM_HELD_IN), &waits) ||
            !goes_on(&ret, put_spread(row, m, &s->methods[i], UQM_HELD_OUT), &waits))
            return ret;
    }
    if (!goes_on(&ret, put_ours(m, "method"), &waits))
        return ret;
    uqm_study_chart_role(m, UQM_HELD_IN, "method", false, 0, "sd");
    uqm_study_chart_role(m, UQM_HELD_OUT, "method", false, 0, "sd");
    uqm_table_note(m->table,
                   "%zu subset%s of %zu model%s, drawn with seed %llu; T10 and T11 name them.",
                   s->n_subsets, s->n_subsets == 1 ? "" : "s", m->pick->n_selected,
                   m->pick->n_selected == 1 ? "" : "s", (unsigned long long) s->seeds[0]);
    if (m->pick->n_selected == s->n_models)
        uqm_table_note(m->table, "Every model was selected, so that all subsets are the same.");
    note_roles(m);
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

/* --- T2 --- */

int uqm_study_fill_t2(struct uqm_study_maker *m)
{
    const struct uqm_study *s = m->run->study;
    bool waits = false;
    int ret;
    uqm_table_column(m->table, "method", "method", NULL, NULL);
    uqm_study_columns(m, UQM_HELD_IN, true, "fraction", NULL);
    uqm_study_columns(m, UQM_HELD_OUT, true, "fraction", NULL);
    for (size_t i = 0; i < s->n_methods; i++) {
        if (!can_merge(m, &s->methods[i], s->n_models))
            continue;
        const struct uqm_study_target t = { .models = all_models(m->run),
                                            .method = &s->methods[i] };
        json_t *row = uqm_table_row(m->table);
        uqm_study_set_text(row, "method", s->methods[i].name);
        if (!goes_on(&ret, put_both(row, m, &t), &waits))
            return ret;
    }
    if (!goes_on(&ret, put_ours(m, "method"), &waits))
        return ret;
    uqm_study_chart_role(m, UQM_HELD_IN, "method", false, 0, NULL);
    uqm_study_chart_role(m, UQM_HELD_OUT, "method", false, 0, NULL);
    note_roles(m);
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

/* --- T6 --- */

/* Over all sets of both roles, each counting the same. */
static int mean_of_all(double *out, struct uqm_study_maker *m, const struct uqm_study_target *t)
{
    const struct uqm_study *s = m->run->study;
    double sum = 0;
    size_t n = 0;
    bool waits = false;
    for (int role = UQM_HELD_IN; role <= UQM_HELD_OUT; role++) {
        struct uqm_study_value mean;
        if (s->n_of_role[role] == 0)
            continue;
        int ret = uqm_study_mean_score(&mean, NULL, m->run, t, (enum uqm_study_role) role, m->err);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
        sum += mean.value * (double) s->n_of_role[role];
        n += s->n_of_role[role];
    }
    *out = sum / (double) n;
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_t6(struct uqm_study_maker *m)
{
    const struct uqm_study *s = m->run->study;
    bool waits = false;
    int ret;
    uqm_table_column(m->table, "method", "method", NULL, NULL);
    uqm_table_column(m->table, "of_selected", "the selected", "fraction", NULL);
    uqm_table_column(m->table, "of_all", "all models", "fraction", NULL);
    for (size_t i = 0; i < s->n_methods; i++) {
        if (!can_merge(m, &s->methods[i], m->pick->n_selected))
            continue;
        struct uqm_study_target t = selected(m);
        double of_selected, of_all;
        t.method = &s->methods[i];
        if (!goes_on(&ret, mean_of_all(&of_selected, m, &t), &waits))
            return ret;
        t.models = all_models(m->run);
        if (!goes_on(&ret, mean_of_all(&of_all, m, &t), &waits))
            return ret;
        json_t *row = uqm_table_row(m->table);
        uqm_study_set_text(row, "method", s->methods[i].name);
        uqm_study_set_number(row, "of_selected", of_selected);
        uqm_study_set_number(row, "of_all", of_all);
    }
    uqm_table_chart(m->table, &(struct uqm_table_chart){ .title = "The selected models",
                                                         .label = "method",
                                                         .value = "of_selected",
                                                         .bars = true });
    uqm_table_chart(
        m->table, &(struct uqm_table_chart){
                      .title = "All models", .label = "method", .value = "of_all", .bars = true });
    uqm_table_note(m->table, "%zu sets; %zu model%s selected.",
                   s->n_of_role[UQM_HELD_IN] + s->n_of_role[UQM_HELD_OUT], m->pick->n_selected,
                   m->pick->n_selected == 1 ? " is" : "s are");
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

/* --- T10, T11 --- */

static int fill_subsets(struct uqm_study_maker *m, enum uqm_study_role role)
{
    const struct uqm_study *s = m->run->study;
    bool waits = false;
    int ret;
    uqm_table_column(m->table, "method", "method", NULL, NULL);
    uqm_table_column(m->table, "subset", "subset", "count", NULL);
    uqm_study_columns(m, role, true, "fraction", NULL);
    for (size_t i = 0; i < s->n_methods; i++) {
        if (!can_merge(m, &s->methods[i], m->pick->n_selected))
            continue;
        for (size_t r = 0; r < s->n_subsets; r++) {
            const struct uqm_study_target t = { .models = uqm_study_draw(s, m->pick->n_selected, r),
                                                .method = &s->methods[i] };
            json_t *row = uqm_table_row(m->table);
            uqm_study_set_text(row, "method", s->methods[i].name);
            uqm_study_set_count(row, "subset", r + 1);
            json_object_set_new(row, "models", uqm_study_members(m->run, t.models));
            if (!goes_on(&ret, uqm_study_put_scores(row, m, &t, role), &waits))
                return ret;
        }
    }
    uqm_table_column(m->table, "models", "models", NULL, NULL);
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_t10(struct uqm_study_maker *m)
{
    return fill_subsets(m, UQM_HELD_IN);
}

int uqm_study_fill_t11(struct uqm_study_maker *m)
{
    return fill_subsets(m, UQM_HELD_OUT);
}
