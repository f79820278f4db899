/* Conformal prediction (uq --method cp, T8): how large the sets are, and how often they hold the
 * truth. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/study/page.h"

/* What of a model or a set becomes a column; "lac.coverage" is "coverage" of its "lac". */
static const struct {
    const char *key, *title, *unit;
    bool of_sets_alone;
} columns[] = {
    { "calibration", "calibrated on", "count", true },
    { "samples", "tested on", "count", true },
    { "accuracy", "accuracy", "fraction", false },
    { "uacc", "UAcc", "fraction", false },
    { "lac.qhat", "LAC: qhat", "number", true },
    { "lac.set_size", "LAC: set size", "options", false },
    { "lac.coverage", "LAC: coverage", "fraction", false },
    { "aps.qhat", "APS: qhat", "number", true },
    { "aps.set_size", "APS: set size", "options", false },
    { "aps.coverage", "APS: coverage", "fraction", false },
    { "ece", "ECE", "fraction", false },
    { "mce", "MCE", "fraction", false },
    { "e_rate", "says E", "fraction", false },
    { "f_rate", "says F", "fraction", false },
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static double number_of(const json_t *object, const char *key)
{
    char sub[8];
    const char *dot = strchr(key, '.');
    if (!dot)
        return uqm_get_number(object, key);
    snprintf(sub, sizeof sub, "%.*s", (int) (dot - key), key);
    return uqm_get_number(json_object_get(object, sub), dot + 1);
}

static void put_numbers(json_t *row, const json_t *from, bool of_set)
{
    for (size_t k = 0; k < N_COLUMNS; k++)
        if (of_set || !columns[k].of_sets_alone)
            json_object_set_new(row, columns[k].key,
                                uqm_number_json(number_of(from, columns[k].key)));
}

static json_t *begin(const char *name, const char *title, const char *about, bool of_sets)
{
    json_t *table = uqm_table_new(name, title, about);
    uqm_table_column(table, "model", "model", NULL, NULL);
    if (of_sets)
        uqm_table_column(table, "data", "data set", NULL, NULL);
    for (size_t k = 0; k < N_COLUMNS; k++)
        if (of_sets || !columns[k].of_sets_alone)
            uqm_table_column(table, columns[k].key, columns[k].title, columns[k].unit, NULL);
    return table;
}

static void chart(json_t *table, const char *title, const char *value, bool bars, double promised)
{
    const bool coverage = isfinite(promised);
    uqm_table_chart(table, &(struct uqm_table_chart){ .title = title,
                                                      .label = "model",
                                                      .value = value,
                                                      .bars = bars,
                                                      .rule = coverage ? promised : 0,
                                                      .rule_name = coverage ? "promised" : NULL });
}

static json_t *means_table(const json_t *models, double alpha)
{
    size_t i;
    json_t *model;
    json_t *table =
        begin("conformal", "Conformal prediction: each model",
              "Unweighted means over the sets. A set of options holds the truth with the promised "
              "probability (coverage); the smaller it may be, the surer the model. UAcc is the "
              "accuracy times \u221a6 over the mean set size; ECE and MCE are the mean and the "
              "largest distance of confidence from accuracy, in 15 bins; E and F are the options "
              "that were added.",
              false);
    json_array_foreach (models, i, model) {
        json_t *row = uqm_table_row(table);
        json_object_set(row, "model", json_object_get(model, "model"));
        put_numbers(row, model, false);
    }
    chart(table, "Set size, LAC", "lac.set_size", false, (double) NAN);
    chart(table, "Set size, APS", "aps.set_size", false, (double) NAN);
    chart(table, "UAcc", "uacc", true, (double) NAN);
    chart(table, "Coverage, LAC", "lac.coverage", false, 1 - alpha);
    chart(table, "Coverage, APS", "aps.coverage", false, 1 - alpha);
    chart(table, "Expected calibration error", "ece", true, (double) NAN);
    if (isfinite(alpha))
        uqm_table_note(table, "alpha %g: the sets promise to hold the truth of %g %% of records.",
                       alpha, 100 * (1 - alpha));
    return table;
}

/* conformal.h: the level would be above 1. */
static bool too_few(const json_t *set, double alpha)
{
    const double n = uqm_get_number(set, "calibration");
    return ceil((n + 1) * (1 - alpha)) > n;
}

static json_t *sets_table(const json_t *models, double alpha)
{
    size_t i, k, n_few = 0, n = 0;
    json_t *model, *set;
    json_t *table = begin("conformal-sets", "Conformal prediction: each model on each set",
                          "qhat is the score up to which options are taken into a set.", true);
    json_array_foreach (models, i, model)
        json_array_foreach (json_object_get(model, "datasets"), k, set) {
            json_t *row = uqm_table_row(table);
            json_object_set(row, "model", json_object_get(model, "model"));
            json_object_set(row, "data", json_object_get(set, "data"));
            put_numbers(row, set, true);
            n_few += too_few(set, alpha);
            n++;
        }
    if (n_few > 0)
        uqm_table_note(table,
                       "In %zu of these %zu rows too few records calibrate for alpha %g: qhat is "
                       "the largest score, and nothing is promised.",
                       n_few, n, alpha);
    return table;
}

json_t *uqm_page_conformal(const json_t *models, double alpha)
{
    size_t i, k;
    json_t *model, *set, *tables = json_array();
    bool any = false;
    alpha = alpha > 0 && alpha < 1 ? alpha : (double) NAN;
    json_array_foreach (models, i, model)
        json_array_foreach (json_object_get(model, "datasets"), k, set)
            any |= json_is_object(json_object_get(set, "lac"));
    if (any) {
        json_array_append_new(tables, means_table(models, alpha));
        json_array_append_new(tables, sets_table(models, alpha));
    }
    return tables;
}
