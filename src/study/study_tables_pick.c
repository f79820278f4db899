/* T3, T5, T7, T8: Algorithm 1 guided by something else, and what its choice is worth. */
#include <math.h>
#include <stdio.h>

#include "src/study/study_tables.h"

enum { INPUT = UQM_PERTURB_IMAGE | UQM_PERTURB_TEXT };

static void begin(struct uqm_study_maker *m, const char *key, const char *title, bool sets)
{
    uqm_table_column(m->table, key, title, NULL, NULL);
    uqm_table_column(m->table, "n_selected", "selected", "count", NULL);
    uqm_study_columns(m, UQM_HELD_IN, sets, "fraction", NULL);
    uqm_study_columns(m, UQM_HELD_OUT, sets, "fraction", NULL);
}

static void end(struct uqm_study_maker *m, const char *key)
{
    uqm_table_column(m->table, "order", "order", NULL, NULL);
    uqm_study_chart_role(m, UQM_HELD_IN, key, false, 0, NULL);
    uqm_study_chart_role(m, UQM_HELD_OUT, key, false, 0, NULL);
    if (m->run->study->n_of_role[UQM_HELD_OUT] == 0)
        uqm_table_note(m->table, "Held-out columns are left out: the study names no such sets.");
}

/* Algorithm 1 with this guide: one row. */
static int put_pick(struct uqm_study_maker *m, const char *key, const char *name,
                    const struct uqm_study_guide *guide)
{
    struct uqm_study_pick pick;
    int ret = uqm_study_pick(&pick, m->run, guide, false, m->err);
    if (ret < 0)
        return ret;
    const struct uqm_study_target t = uqm_study_prefix(m->run, &pick, pick.n_selected);
    json_t *row = uqm_table_row(m->table);
    uqm_study_set_text(row, key, name);
    uqm_study_set_count(row, "n_selected", pick.n_selected);
    json_object_set_new(row, "order", uqm_study_names(m->run, pick.order, m->run->study->n_models));
    json_object_set_new(row, "models", uqm_study_names(m->run, pick.order, pick.n_selected));
    int a = uqm_study_put_scores(row, m, &t, UQM_HELD_IN);
    if (a < 0 && a != UQM_STUDY_WAITS)
        return a;
    int b = uqm_study_put_scores(row, m, &t, UQM_HELD_OUT);
    return b < 0 ? b : a;
}

struct row {
    const char *name;
    struct uqm_study_guide guide;
};

static int put_rows(struct uqm_study_maker *m, const char *key, const struct row *rows, size_t n)
{
    bool waits = false;
    for (size_t i = 0; i < n; i++) {
        int ret = put_pick(m, key, rows[i].name, &rows[i].guide);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
    }
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_t3(struct uqm_study_maker *m)
{
    const struct uqm_study_measure own = uqm_study_own_measure(m->run->study);
    const struct row rows[] = {
        { "uncertainty, rising", { .ascending = true, .measure = own } },
        { "uncertainty, falling", { .measure = own } },
        { "accuracy, rising", { .accuracy = true, .ascending = true } },
        { "accuracy, falling", { .accuracy = true } },
    };
    begin(m, "guidance", "guidance", false);
    int ret = put_rows(m, "guidance", rows, 4);
    end(m, "guidance");
    return ret;
}

int uqm_study_fill_t5(struct uqm_study_maker *m)
{
    const struct uqm_study_measure own = uqm_study_own_measure(m->run->study);
    struct row rows[] = { { "input", { .measure = own } },
                          { "input and model", { .measure = own } } };
    rows[0].guide.measure.perturb = INPUT;
    rows[0].guide.measure.dropout = 0;
    begin(m, "perturbed", "perturbed", false);
    int ret = put_rows(m, "perturbed", rows, 2);
    end(m, "perturbed");
    return ret;
}

/* r of the study's own sample. A count is of the largest set's records: smaller sets are asked
 * whole sooner. */
static struct uqm_study_sample share_of(const struct uqm_study_run *run, double r)
{
    const struct uqm_study_sample own = run->study->samples;
    if (own.count == 0)
        return (struct uqm_study_sample){ .ratio = r * (own.ratio > 0 ? own.ratio : 1) };
    size_t most = 0;
    for (size_t k = 0; k < run->study->n_of_role[UQM_HELD_IN]; k++)
        most = run->sets[k].n_records > most ? run->sets[k].n_records : most;
    const double n = (double) (own.count < most ? own.count : most), part = ceil(r * n - 1e-9);
    return (struct uqm_study_sample){ .count = part < 1 ? 1 : (uint64_t) part };
}

int uqm_study_fill_t7(struct uqm_study_maker *m)
{
    const struct uqm_study *s = m->run->study;
    bool waits = false;
    begin(m, "records", "records", true);
    for (size_t i = 0; i <= s->n_ratios; i++) {
        struct uqm_study_guide guide = { .measure = uqm_study_own_measure(s) };
        char name[32];
        snprintf(name, sizeof name, "%g %%", 100 * (i < s->n_ratios ? s->ratios[i] : 1));
        if (i < s->n_ratios)
            guide.measure.sample = share_of(m->run, s->ratios[i]);
        int ret = put_pick(m, "records", name, &guide);
        if (ret < 0 && ret != UQM_STUDY_WAITS)
            return ret;
        waits |= ret == UQM_STUDY_WAITS;
    }
    end(m, "records");
    return waits ? UQM_STUDY_WAITS : UQM_OK;
}

int uqm_study_fill_t8(struct uqm_study_maker *m)
{
    const struct uqm_study_measure own = uqm_study_own_measure(m->run->study);
    struct row rows[] = { { "conformal sets", { .measure = own } },
                          { "pictures alone", { .measure = own } },
                          { "prompts alone", { .measure = own } },
                          { "all three", { .measure = own } } };
    rows[0].guide.measure.conformal = true;
    rows[1].guide.measure.perturb = UQM_PERTURB_IMAGE;
    rows[2].guide.measure.perturb = UQM_PERTURB_TEXT;
    for (size_t i = 0; i < 3; i++)
        rows[i].guide.measure.dropout = 0;
    begin(m, "measure", "measure", false);
    int ret = put_rows(m, "measure", rows, 4);
    end(m, "measure");
    struct uqm_study_pick pick;
    if (ret == UQM_OK)
        ret = uqm_study_pick(&pick, m->run, &rows[0].guide, false, m->err);
    if (ret == UQM_OK)
        uqm_study_add_conformal(m, &pick, &rows[0].guide.measure);
    return ret;
}
