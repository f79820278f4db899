/* The report as a document (docs/formats/report.md). */
#include <math.h>

#include "src/merge/merge_report.h"
#include "src/merge/merge_report_impl.h"

/* null where there is no number */
static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t) n);
}

static bool add(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool add_distances(json_t *to, const struct uqm_report_sums *x,
                          const struct uqm_report_sums *y, bool votes)
{
    return add(to, "rel_l2", number(uqm_report_rel_l2(x, y))) &&
           add(to, "max_abs", number(uqm_report_max_abs(x, y))) &&
           add(to, "cosine", number(uqm_report_cosine(x, y))) &&
           add(to, "sign_agreement", votes ? number(uqm_report_agreement(x)) : json_null()) &&
           add(to, "nan", count(x->n_nan)) && add(to, "inf", count(x->n_inf));
}

static bool append(json_t *list, json_t *item, bool ok)
{
    if (ok && item)
        return json_array_append_new(list, item) == 0;
    json_decref(item);
    return false;
}

/* --- tensor by tensor --- */

static json_t *describe_tensor(const struct uqm_merge_report *r, size_t index)
{
    const struct uqm_tensor *t = &r->rs->source.tensors[index];
    const struct uqm_plan_tensor *pt = &r->rs->plan[index];
    const struct uqm_report_sums *sums = r->tensors[index];
    bool has_base = uqm_report_base_part(pt) >= 0;
    json_t *inputs = json_array();
    bool ok = inputs != NULL;
    for (size_t p = 0; p < pt->n_parts && ok; p++) {
        json_t *one = json_object();
        ok = append(
            inputs, one,
            one && add(one, "input", count(pt->parts[p].input)) &&
                add_distances(one, &sums[p + 1], &sums[0], has_base && !pt->parts[p].is_base));
    }
    json_t *doc = json_object();
    ok = ok && doc && add(doc, "name", json_string(t->name)) &&
         add(doc, "elements", count(t->n_elem)) &&
         add(doc, "compared", count(uqm_report_compared(r, index))) &&
         add(doc, "unanimous", has_base ? number(uqm_report_agreement(&sums[0])) : json_null()) &&
         add(doc, "nan", count(sums[0].n_nan)) && add(doc, "inf", count(sums[0].n_inf));
    if (ok)
        return json_object_set_new(doc, "inputs", inputs) == 0 ? doc : (json_decref(doc), NULL);
    json_decref(inputs);
    json_decref(doc);
    return NULL;
}

static json_t *describe_tensors(const struct uqm_merge_report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->rs->source.n_tensors && list; i++) {
        if (!r->tensors[i])
            continue;
        json_t *one = describe_tensor(r, i);
        if (!append(list, one, one != NULL)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* --- over all tensors --- */

/* An input over the tensors it has a part in, and the results' of those. */
static void total(struct uqm_report_sums *x, struct uqm_report_sums *y, bool *votes,
                  const struct uqm_merge_report *r, size_t input)
{
    *x = *y = (struct uqm_report_sums){ 0 };
    *votes = false;
    for (size_t i = 0; i < r->rs->source.n_tensors; i++) {
        const struct uqm_plan_tensor *pt = &r->rs->plan[i];
        for (size_t p = 0; r->tensors[i] && p < pt->n_parts; p++) {
            if (pt->parts[p].input != input)
                continue;
            uqm_report_add(x, &r->tensors[i][p + 1], uqm_report_weight(r, i));
            uqm_report_add(y, &r->tensors[i][0], uqm_report_weight(r, i));
            *votes |= uqm_report_base_part(pt) >= 0 && !pt->parts[p].is_base;
        }
    }
}

static json_t *describe_inputs(const struct uqm_merge_report *r)
{
    json_t *list = json_array();
    for (size_t k = 0; k < r->rs->n_inputs && list; k++) {
        struct uqm_report_sums x, y;
        bool votes;
        total(&x, &y, &votes, r, k);
        json_t *one = json_object();
        bool is_base = r->rs->recipe->base >= 0 && k == r->rs->home;
        if (!append(list, one,
                    one && add(one, "path", json_string(r->rs->inputs[k].model->path)) &&
                        add(one, "base", json_boolean(is_base)) &&
                        add_distances(one, &x, &y, votes))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *uqm_merge_report_summary(const struct uqm_merge_report *r)
{
    struct uqm_report_sums out = { 0 };
    if (r->kind == UQM_REPORT_OFF)
        return json_null();
    for (size_t i = 0; i < r->rs->source.n_tensors; i++)
        if (r->tensors[i])
            uqm_report_add(&out, &r->tensors[i][0], 1);
    json_t *inputs = describe_inputs(r), *doc = json_object();
    if (inputs && doc && add(doc, "nan", count(out.n_nan)) && add(doc, "inf", count(out.n_inf)))
        return json_object_set_new(doc, "inputs", inputs) == 0 ? doc : (json_decref(doc), NULL);
    json_decref(inputs);
    json_decref(doc);
    return NULL;
}

json_t *uqm_merge_report_document(const struct uqm_merge_report *r)
{
    json_t *summary = uqm_merge_report_summary(r), *tensors = describe_tensors(r);
    json_t *doc = json_object();
    bool ok = summary && tensors && doc && add(doc, "version", json_integer(1)) &&
              add(doc, "method", json_string(r->rs->recipe->method->name)) &&
              add(doc, "sampled", json_boolean(r->kind == UQM_REPORT_SAMPLED)) &&
              json_object_update(doc, summary) == 0 &&
              json_object_set(doc, "tensors", tensors) == 0;
    json_decref(summary);
    json_decref(tensors);
    if (ok)
        return doc;
    json_decref(doc);
    return NULL;
}
