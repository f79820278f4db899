/* What T8's conformal sets are, beside their size. */
#include <stdio.h>

#include "src/study/study_tables.h"
#include "src/uq/conformal_json.h"

/* One set of one target as `uq --method cp` has it; nothing where the answer does not say. */
static void add_set(json_t *sets, struct uqm_study_run *run, const struct uqm_study_target *t,
                    const struct uqm_study_measure *measure, size_t k)
{
    const json_t *answer = uqm_study_known(run, t, measure, k);
    json_t *set = json_copy(json_object_get(answer, "conformal"));
    if (!set)
        return;
    json_object_set_new(set, "data", json_string(run->study->sets[k].name));
    json_object_set(set, "samples", json_object_get(answer, "samples"));
    json_array_append_new(sets, set);
}

static void add_target(json_t *models, struct uqm_study_run *run, const struct uqm_study_target *t,
                       const struct uqm_study_measure *measure, const char *name)
{
    json_t *sets = json_array();
    for (size_t k = 0; k < run->study->n_of_role[UQM_HELD_IN]; k++)
        add_set(sets, run, t, measure, k);
    json_t *model = json_pack("{s:s, s:o}", "model", name, "datasets", sets);
    uqm_conformal_add_means(model);
    json_array_append_new(models, model);
}

void uqm_study_add_conformal(struct uqm_study_maker *m, const struct uqm_study_pick *pick,
                             const struct uqm_study_measure *measure)
{
    const struct uqm_study *s = m->run->study;
    json_t *models = json_array();
    for (size_t i = 0; i < s->n_models; i++) {
        const struct uqm_study_target t = { .models = (uint64_t) 1 << i };
        add_target(models, m->run, &t, measure, s->models[i].name);
    }
    for (size_t t = 2; t <= pick->n_steps; t++) {
        const struct uqm_study_target target = uqm_study_prefix(m->run, pick, t);
        struct uqm_study_label label;
        add_target(models, m->run, &target, measure, uqm_study_step_label(&label, s, pick, t));
    }
    json_t *tables = uqm_page_conformal(models, UQM_STUDY_ALPHA);
    if (json_array_size(tables) > 0) {
        uqm_table_note(json_array_get(tables, 0),
                       "Rows \u201c2 + ...\u201d are the merges that Algorithm 1 tried by these "
                       "sets, up to its stop.");
        json_object_set(m->table, "more", tables);
    }
    json_decref(tables);
    json_decref(models);
}
