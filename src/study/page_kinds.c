/* Result documents as tables. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/study/page.h"

enum { MAX_SETS = 64 };

enum uqm_page_kind uqm_page_kind_of(const json_t *root)
{
    const json_t *model = json_array_get(json_object_get(root, "models"), 0);
    const json_t *set = json_array_get(json_object_get(model, "datasets"), 0);
    if (json_is_array(json_object_get(root, "columns")) &&
        json_is_array(json_object_get(root, "rows")))
        return UQM_PAGE_TABLE;
    if (json_is_array(json_object_get(root, "tables")) && json_object_get(root, "study"))
        return UQM_PAGE_STUDY;
    if (json_is_array(json_object_get(root, "work")))
        return UQM_PAGE_WORK;
    if (json_is_array(json_object_get(root, "steps")))
        return UQM_PAGE_SELECT;
    if (json_object_get(root, "identical") && json_is_array(json_object_get(root, "tensors")))
        return UQM_PAGE_DIFF;
    if (json_is_array(json_object_get(root, "inputs")) &&
        json_is_array(json_object_get(root, "tensors")) && json_object_get(root, "method"))
        return UQM_PAGE_MERGE_REPORT;
    if (json_object_get(root, "bytes_written") && json_object_get(root, "method"))
        return UQM_PAGE_MERGE;
    if (json_object_get(model, "uq"))
        return UQM_PAGE_UQ;
    if (json_object_get(set, "metric"))
        return UQM_PAGE_EVAL;
    return UQM_PAGE_UNKNOWN;
}

const char *uqm_page_kind_name(enum uqm_page_kind kind)
{
    switch (kind) {
    case UQM_PAGE_UQ: return "uncertainty of models (uq)";
    case UQM_PAGE_SELECT: return "a selection by Algorithm 1 (select)";
    case UQM_PAGE_EVAL: return "evaluation (eval)";
    case UQM_PAGE_DIFF: return "two checkpoints compared (diff)";
    case UQM_PAGE_MERGE: return "a merge (merge)";
    case UQM_PAGE_MERGE_REPORT: return "what a merge did to its tensors (uqmerge.report.json)";
    case UQM_PAGE_STUDY: return "a study (experiment)";
    case UQM_PAGE_TABLE: return "a study's table (experiment)";
    case UQM_PAGE_WORK: return "a study's work (experiment)";
    case UQM_PAGE_UNKNOWN: break;
    }
    return "unknown";
}

/* --- sets as columns --- */

/* The sets of all entries ("models" or "steps"), in the order in which they first appear. */
struct set_names {
    const char *names[MAX_SETS];
    size_t n;
};

static size_t place_of(struct set_names *sets, const char *name, bool add)
{
    size_t i = 0;
    while (i < sets->n && strcmp(sets->names[i], name) != 0)
        i++;
    if (i == sets->n && add && sets->n < MAX_SETS)
        sets->names[sets->n++] = name;
    return i;
}

static void find_sets(struct set_names *sets, const json_t *entries)
{
    size_t i, k;
    json_t *entry, *set;
    sets->n = 0;
    json_array_foreach (entries, i, entry)
        json_array_foreach (json_object_get(entry, "datasets"), k, set)
            place_of(sets, uqm_get_text(set, "data"), true);
}

struct set_key {
    char value[32], error[32];
};

static struct set_key key_of(size_t k)
{
    struct set_key key;
    snprintf(key.value, sizeof key.value, "set%zu", k + 1);
    snprintf(key.error, sizeof key.error, "set%zu_stderr", k + 1);
    return key;
}

static void add_set_columns(json_t *table, const struct set_names *sets, const char *unit,
                            bool errors)
{
    for (size_t k = 0; k < sets->n; k++) {
        const struct set_key key = key_of(k);
        uqm_table_column(table, key.value, sets->names[k], unit, errors ? key.error : NULL);
    }
}

static void add_set_values(json_t *row, struct set_names *sets, const json_t *entry,
                           const char *value, const char *error)
{
    size_t i;
    json_t *set;
    json_array_foreach (json_object_get(entry, "datasets"), i, set) {
        const size_t k = place_of(sets, uqm_get_text(set, "data"), false);
        if (k == sets->n)
            continue;
        const struct set_key key = key_of(k);
        json_object_set_new(row, key.value, uqm_number_json(uqm_get_number(set, value)));
        if (error)
            json_object_set_new(row, key.error, uqm_number_json(uqm_get_number(set, error)));
    }
}

static void set_text(json_t *row, const char *key, const char *text)
{
    json_object_set_new(row, key, json_string(text));
}

static void set_number(json_t *row, const char *key, const json_t *from, const char *from_key)
{
    json_object_set_new(row, key, uqm_number_json(uqm_get_number(from, from_key)));
}

static bool any_number(const json_t *entries, const char *key)
{
    size_t i;
    json_t *entry;
    json_array_foreach (entries, i, entry)
        if (isfinite(uqm_get_number(entry, key)))
            return true;
    return false;
}

/* --- uq --- */

/* What "uq" counts: nats, or options of conformal sets. */
static const char *unit_of(const json_t *root)
{
    return strcmp(uqm_get_text(json_object_get(root, "config"), "method"), "cp") != 0 ? "nats"
                                                                                      : "options";
}

static void note_skipped(json_t *table, const json_t *entries)
{
    struct uqm_number_text skipped, counted;
    size_t i, k;
    json_t *entry, *set;
    json_array_foreach (entries, i, entry)
        json_array_foreach (json_object_get(entry, "datasets"), k, set)
            if (uqm_get_number(set, "skipped") > 0)
                uqm_table_note(table, "%s on %s: %s records skipped, %s counted.",
                               uqm_get_text(entry, "model"), uqm_get_text(set, "data"),
                               uqm_get_count(&skipped, set, "skipped"),
                               uqm_get_count(&counted, set, "samples"));
}

static json_t *models_table(const json_t *root, const json_t *selected)
{
    const json_t *models = json_object_get(root, "models");
    const char *unit = unit_of(root);
    struct set_names sets;
    size_t i, k;
    json_t *model, *name;
    json_t *table = uqm_table_new("uq", "Uncertainty of each model on each set",
                                  "A model's is the unweighted mean over its sets. \u00b1 is the "
                                  "standard error over records.");
    find_sets(&sets, models);
    uqm_table_column(table, "model", "model", NULL, NULL);
    uqm_table_column(table, "uq", "mean", unit, "stderr");
    add_set_columns(table, &sets, unit, true);
    if (any_number(models, "answer_entropy"))
        uqm_table_column(table, "answer_entropy", "entropy of answers", "nats", NULL);
    if (any_number(models, "accuracy"))
        uqm_table_column(table, "accuracy", "accuracy", "fraction", NULL);
    json_array_foreach (models, i, model) {
        json_t *row = uqm_table_row(table);
        set_text(row, "model", uqm_get_text(model, "model"));
        set_number(row, "uq", model, "uq");
        set_number(row, "stderr", model, "stderr");
        set_number(row, "accuracy", model, "accuracy");
        set_number(row, "answer_entropy", model, "answer_entropy");
        add_set_values(row, &sets, model, "uq", "stderr");
        json_array_foreach (selected, k, name)
            if (json_is_string(name) &&
                !strcmp(json_string_value(name), uqm_get_text(model, "model")))
                json_object_set_new(row, "selected", json_true());
    }
    uqm_table_chart(table, &(struct uqm_table_chart){ .title = "Mean over the sets",
                                                      .label = "model",
                                                      .value = "uq",
                                                      .error = "stderr" });
    for (k = 0; k < sets.n; k++) {
        const struct set_key key = key_of(k);
        uqm_table_chart(table, &(struct uqm_table_chart){ .title = sets.names[k],
                                                          .label = "model",
                                                          .value = key.value,
                                                          .error = key.error });
    }
    note_skipped(table, models);
    return table;
}

static void add_setting(json_t *table, const char *what, const char *of, char *text)
{
    char *label = NULL;
    json_t *row = uqm_table_row(table);
    if (asprintf(&label, "%s%s%s", what, of[0] ? " " : "", of) < 0)
        label = NULL;
    set_text(row, "what", label ? label : what);
    set_text(row, "value", text ? text : "");
    free(label);
    free(text);
}

static void add_model_setting(json_t *table, const char *what, const json_t *model)
{
    char *text = NULL;
    if (asprintf(&text, "%s, fingerprint %s", uqm_get_text(model, "path"),
                 uqm_get_text(model, "fingerprint")) < 0)
        text = NULL;
    add_setting(table, what, uqm_get_text(model, "model"), text);
}

/* Program, device and models, from "run". */
static void add_run(json_t *table, const json_t *run)
{
    const json_t *device = json_object_get(run, "device"), *base = json_object_get(run, "base");
    json_t *model;
    size_t i;
    char *text = NULL;
    if (!json_is_object(run))
        return;
    add_setting(table, "program", "", strdup(uqm_get_text(run, "program")));
    if (asprintf(&text, "%s, %s%s", uqm_get_text(device, "id"), uqm_get_text(device, "name"),
                 json_is_true(json_object_get(device, "fast")) ? ", --fast" : "") < 0)
        text = NULL;
    add_setting(table, "device", "", text);
    json_array_foreach (json_object_get(run, "models"), i, model)
        add_model_setting(table, "model", model);
    if (base)
        add_model_setting(table, "", base);
    json_array_foreach (json_object_get(run, "datasets"), i, model)
        if (json_is_string(json_object_get(model, "pictures")) &&
            asprintf(&text, "XXH3-128 %s", uqm_get_text(model, "pictures")) >= 0)
            add_setting(table, "pictures of", uqm_get_text(model, "data"), text);
}

/* What was asked, from "run" and "config": every member that is one value or a list of them. */
static json_t *config_table(const json_t *root)
{
    json_t *table = uqm_table_new("config", "What was run", "");
    const json_t *config = json_object_get(root, "config");
    json_t *sets = json_object_get(config, "datasets"), *v, *set;
    struct uqm_number_text count;
    const char *key;
    size_t i;
    uqm_table_column(table, "what", "setting", NULL, NULL);
    uqm_table_column(table, "value", "value", NULL, NULL);
    add_run(table, json_object_get(root, "run"));
    json_object_foreach ((json_t *) (uintptr_t) config, key, v) {
        if (v == sets || json_is_object(v))
            continue;
        json_t *row = uqm_table_row(table);
        set_text(row, "what", key);
        json_object_set(row, "value", v);
    }
    json_array_foreach (sets, i, set) {
        char *text = NULL;
        json_t *row = uqm_table_row(table);
        if (asprintf(&text, "data set %s", uqm_get_text(set, "data")) < 0)
            text = NULL;
        set_text(row, "what", text ? text : "data set");
        free(text);
        if (asprintf(&text, "%s records of %s, XXH3-128 %s", uqm_get_count(&count, set, "records"),
                     uqm_get_text(set, "path"), uqm_get_text(set, "digest")) < 0)
            text = NULL;
        set_text(row, "value", text ? text : "");
        free(text);
    }
    return table;
}

/* --- select --- */

static void add_step(json_t *table, struct set_names *sets, const json_t *step, size_t t,
                     bool selected)
{
    static const char *const keys[] = {
        "uq",       "stderr",          "diff",    "diff_stderr",
        "accuracy", "accuracy_stderr", "samples", "answer_entropy"
    };
    char *label = NULL;
    json_t *row = uqm_table_row(table);
    if (asprintf(&label, "%zu %s%s", t, t > 1 ? "+ " : "", uqm_get_text(step, "added")) < 0)
        label = NULL;
    set_text(row, "label", label ? label : "");
    free(label);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        set_number(row, keys[k], step, keys[k]);
    json_object_set(row, "improved", json_object_get(step, "improved"));
    add_set_values(row, sets, step, "uq", "stderr");
    if (selected)
        json_object_set_new(row, "selected", json_true());
    if (json_is_true(json_object_get(step, "collapsed")))
        uqm_table_note(table,
                       "Step %zu gives nearly one answer whatever is asked: its uncertainty says "
                       "little.",
                       t);
}

static json_t *steps_table(const json_t *root)
{
    const json_t *steps = json_object_get(root, "steps");
    const double stop = uqm_get_number(root, "stopped_at");
    const size_t n_selected = json_array_size(json_object_get(root, "selected"));
    const bool accuracy = any_number(steps, "accuracy");
    const char *unit = unit_of(root), *by = uqm_get_text(root, "stopped_by");
    struct set_names sets;
    size_t i;
    json_t *step;
    json_t *table =
        uqm_table_new("select", "Algorithm 1, step by step",
                      "Step t is the merge of the first t models. The change is against the best "
                      "step before it, over the same perturbations of the same records; \u00b1 is "
                      "its paired standard error.");
    find_sets(&sets, steps);
    uqm_table_column(table, "label", "step", NULL, NULL);
    uqm_table_column(table, "uq", "uncertainty", unit, "stderr");
    uqm_table_column(table, "diff", "change", unit, "diff_stderr");
    if (accuracy)
        uqm_table_column(table, "accuracy", "accuracy", "fraction", "accuracy_stderr");
    if (any_number(steps, "samples"))
        uqm_table_column(table, "samples", "records", "count", NULL);
    if (any_number(steps, "answer_entropy"))
        uqm_table_column(table, "answer_entropy", "entropy of answers", "nats", NULL);
    uqm_table_column(table, "improved", "improved", NULL, NULL);
    add_set_columns(table, &sets, unit, true);
    json_array_foreach (steps, i, step)
        add_step(table, &sets, step, i + 1, i < n_selected);
    const size_t stop_row = stop >= 1 && stop <= 1e6 ? (size_t) stop : 0;
    uqm_table_chart(table, &(struct uqm_table_chart){ .title = "Uncertainty of the merge",
                                                      .label = "label",
                                                      .value = "uq",
                                                      .error = "stderr",
                                                      .line = true,
                                                      .stop_row = stop_row });
    if (accuracy)
        uqm_table_chart(table, &(struct uqm_table_chart){ .title = "Accuracy of the merge",
                                                          .label = "label",
                                                          .value = "accuracy",
                                                          .error = "accuracy_stderr",
                                                          .line = true,
                                                          .stop_row = stop_row });
    if (stop_row)
        uqm_table_note(table, "Stopped at step %zu%s%s; %zu model%s selected (in bold).", stop_row,
                       by[0] ? " by " : "", by, n_selected, n_selected == 1 ? " is" : "s are");
    else
        uqm_table_note(table, "The uncertainty fell to the end; %zu model%s selected.", n_selected,
                       n_selected == 1 ? " is" : "s are");
    return table;
}

/* --- eval --- */

static json_t *eval_table(const json_t *root)
{
    const json_t *models = json_object_get(root, "models");
    struct set_names sets;
    struct uqm_number_text count;
    size_t i, k;
    json_t *model, *set;
    json_t *table = uqm_table_new("eval", "Accuracy and metrics",
                                  "Each set in its own metric; the average is unweighted.");
    find_sets(&sets, models);
    uqm_table_column(table, "model", "model", NULL, NULL);
    uqm_table_column(table, "average", "average", "fraction", NULL);
    add_set_columns(table, &sets, "fraction", false);
    json_array_foreach (models, i, model) {
        json_t *row = uqm_table_row(table);
        set_text(row, "model", uqm_get_text(model, "model"));
        set_number(row, "average", model, "average");
        add_set_values(row, &sets, model, "value", NULL);
    }
    uqm_table_chart(table, &(struct uqm_table_chart){ .title = "Average over the sets",
                                                      .label = "model",
                                                      .value = "average",
                                                      .bars = true });
    for (k = 0; k < sets.n; k++) {
        const struct set_key key = key_of(k);
        uqm_table_chart(table, &(struct uqm_table_chart){ .title = sets.names[k],
                                                          .label = "model",
                                                          .value = key.value,
                                                          .bars = true });
    }
    json_array_foreach (json_object_get(json_array_get(models, 0), "datasets"), k, set)
        uqm_table_note(table, "%s: %s, %s records.", uqm_get_text(set, "data"),
                       uqm_get_text(set, "metric"), uqm_get_count(&count, set, "samples"));
    note_skipped(table, models);
    return table;
}

/* --- merges --- */

static json_t *inputs_table(const json_t *inputs)
{
    static const char *const keys[] = { "rel_l2", "max_abs", "cosine", "sign_agreement", NULL };
    static const char *const titles[] = { "relative L2", "largest difference", "cosine",
                                          "same sign" };
    size_t i;
    json_t *input;
    json_t *table =
        uqm_table_new("merge", "The inputs against the output", "Over all merged tensors.");
    uqm_table_column(table, "path", "input", NULL, NULL);
    for (size_t k = 0; keys[k]; k++)
        uqm_table_column(table, keys[k], titles[k], k == 3 ? "fraction" : "number", NULL);
    uqm_table_column(table, "nan", "NaN", "count", NULL);
    uqm_table_column(table, "inf", "infinite", "count", NULL);
    json_array_foreach (inputs, i, input) {
        json_t *row = uqm_table_row(table);
        const char *path = uqm_get_text(input, "path"), *slash = strrchr(path, '/');
        set_text(row, "path", path);
        set_text(row, "name", slash && slash[1] ? slash + 1 : path);
        for (size_t k = 0; keys[k]; k++)
            set_number(row, keys[k], input, keys[k]);
        set_number(row, "nan", input, "nan");
        set_number(row, "inf", input, "inf");
    }
    uqm_table_chart(table, &(struct uqm_table_chart){ .title = "Relative L2 to the output",
                                                      .label = "name",
                                                      .value = "rel_l2",
                                                      .bars = true });
    return table;
}

static json_t *merge_table(const json_t *root)
{
    json_t *table = uqm_table_new("merge", "The merge", "");
    json_t *row = uqm_table_row(table);
    uqm_table_column(table, "out", "written to", NULL, NULL);
    uqm_table_column(table, "method", "method", NULL, NULL);
    uqm_table_column(table, "tensors", "tensors", "count", NULL);
    uqm_table_column(table, "io", "I/O", NULL, NULL);
    uqm_table_column(table, "resumed", "resumed", NULL, NULL);
    for (size_t k = 0; k < json_array_size(json_object_get(table, "columns")); k++) {
        const char *key = uqm_get_text(json_array_get(json_object_get(table, "columns"), k), "key");
        json_t *v = json_object_get(root, key);
        json_object_set(row, key, json_is_object(v) ? NULL : v);
    }
    return table;
}

/* --- studies --- */

static void add_all(json_t *tables, json_t *more)
{
    size_t i;
    json_t *table;
    json_array_foreach (more, i, table)
        json_array_append(tables, table);
}

static json_t *uncertain_tables(const json_t *root, bool select)
{
    json_t *tables = json_array();
    if (select)
        json_array_append_new(tables, steps_table(root));
    json_array_append_new(tables, models_table(root, json_object_get(root, "selected")));
    json_t *conformal = uqm_page_conformal(
        json_object_get(root, "models"), uqm_get_number(json_object_get(root, "config"), "alpha"));
    add_all(tables, conformal);
    json_decref(conformal);
    json_array_append_new(tables, config_table(root));
    return tables;
}

json_t *uqm_page_tables(const struct uqm_page_document *document)
{
    const json_t *root = document->root, *inputs = json_object_get(root, "inputs");
    const enum uqm_page_kind kind = uqm_page_kind_of(root);
    json_t *tables = json_array();
    switch (kind) {
    case UQM_PAGE_UQ:
    case UQM_PAGE_SELECT:
        json_decref(tables);
        return uncertain_tables(root, kind == UQM_PAGE_SELECT);
    case UQM_PAGE_EVAL:
        json_array_append_new(tables, eval_table(root));
        json_array_append_new(tables, config_table(root));
        break;
    case UQM_PAGE_MERGE:
        json_array_append_new(tables, merge_table(root));
        inputs = json_object_get(json_object_get(root, "report"), "inputs");
        json_array_append_new(tables, inputs_table(inputs));
        break;
    case UQM_PAGE_MERGE_REPORT: json_array_append_new(tables, inputs_table(inputs)); break;
    case UQM_PAGE_TABLE: json_array_append(tables, (json_t *) (uintptr_t) root); break;
    case UQM_PAGE_STUDY: add_all(tables, json_object_get(root, "about")); break;
    case UQM_PAGE_DIFF:
    case UQM_PAGE_WORK:
    case UQM_PAGE_UNKNOWN: break;
    }
    return tables;
}

/* --- time and bytes --- */

static bool has_work(const json_t *entry)
{
    return isfinite(uqm_get_number(entry, "seconds"));
}

static void add_work(json_t *table, const char *what, const json_t *from)
{
    static const char *const keys[] = { "jobs", "seconds", "bytes_read", "bytes_written",
                                        "peak_memory" };
    json_t *row = uqm_table_row(table);
    set_text(row, "what", what);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        set_number(row, keys[k], from, keys[k]);
}

json_t *uqm_page_work(const struct uqm_page_document *documents, size_t n)
{
    size_t k;
    json_t *entry;
    json_t *table = uqm_table_new("work", "Where time and bytes went",
                                  "Wall time and bytes of weights, of each run.");
    uqm_table_column(table, "what", "run", NULL, NULL);
    uqm_table_column(table, "jobs", "jobs", "count", NULL);
    uqm_table_column(table, "seconds", "time", "seconds", NULL);
    uqm_table_column(table, "bytes_read", "read", "bytes", NULL);
    uqm_table_column(table, "bytes_written", "written", "bytes", NULL);
    uqm_table_column(table, "peak_memory", "peak memory", "bytes", NULL);
    for (size_t i = 0; i < n; i++) {
        if (has_work(documents[i].root))
            add_work(table, documents[i].name, documents[i].root);
        json_array_foreach (json_object_get(documents[i].root, "work"), k, entry)
            if (has_work(entry))
                add_work(table, uqm_get_text(entry, "what"), entry);
    }
    json_t *tables = json_array();
    json_t *rows = json_object_get(table, "rows");
    if (json_array_size(rows) > 0) {
        uqm_table_chart(table,
                        &(struct uqm_table_chart){
                            .title = "Time", .label = "what", .value = "seconds", .bars = true });
        if (any_number(rows, "bytes_read"))
            uqm_table_chart(table, &(struct uqm_table_chart){ .title = "Bytes of weights read",
                                                              .label = "what",
                                                              .value = "bytes_read",
                                                              .bars = true });
        json_array_append(tables, table);
    }
    json_decref(table);
    return tables;
}
