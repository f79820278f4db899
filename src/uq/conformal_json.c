#include "src/uq/conformal_json.h"

#include <math.h>

#include "src/uq/measure.h"

static json_t *sets_json(const struct uqm_conformal_sets *sets)
{
    return json_pack("{s:o, s:o, s:o}", "qhat", uqm_measure_number(sets->qhat), "set_size",
                     uqm_measure_number(sets->mean_size), "coverage",
                     uqm_measure_number(sets->coverage));
}

void uqm_conformal_add(json_t *set, const struct uqm_conformal *c)
{
    const double size = 0.5 * (c->lac.mean_size + c->aps.mean_size);
    json_t *more =
        json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "calibration",
                  (json_int_t) c->n_calibration, "lac", sets_json(&c->lac), "aps",
                  sets_json(&c->aps), "accuracy", uqm_measure_number(c->accuracy), "uacc",
                  uqm_measure_number(c->accuracy * sqrt((double) UQM_N_OPTIONS) / size), "e_rate",
                  uqm_measure_number(c->e_rate), "f_rate", uqm_measure_number(c->f_rate), "ece",
                  uqm_measure_number(c->ece), "mce", uqm_measure_number(c->mce));
    if (more)
        json_object_update(set, more);
    json_decref(more);
}

/* sub: NULL, or the object in the set that has the key. */
static json_t *mean_of(const json_t *sets, const char *sub, const char *key)
{
    double sum = 0;
    size_t i;
    json_t *set;
    json_array_foreach (sets, i, set) {
        const json_t *v = json_object_get(sub ? json_object_get(set, sub) : set, key);
        sum += json_is_number(v) ? json_number_value(v) : (double) NAN;
    }
    return uqm_measure_number(sum / (double) json_array_size(sets));
}

void uqm_conformal_add_means(json_t *model)
{
    static const char *const keys[] = { "accuracy", "uacc", "e_rate", "f_rate", "ece", "mce" };
    static const char *const kinds[] = { "lac", "aps" };
    const json_t *sets = json_object_get(model, "datasets");
    for (size_t k = 0; k < 2; k++)
        json_object_set_new(model, kinds[k],
                            json_pack("{s:o, s:o}", "set_size", mean_of(sets, kinds[k], "set_size"),
                                      "coverage", mean_of(sets, kinds[k], "coverage")));
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        json_object_set_new(model, keys[k], mean_of(sets, NULL, keys[k]));
}
