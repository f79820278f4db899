#include "src/merge/plan_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the output --- */

static json_t *shape_json(const struct uqm_tensor *t)
{
    json_t *shape = json_array();
    for (unsigned d = 0; d < t->rank; d++)
        json_array_append_new(shape, json_integer((json_int_t) t->shape[d]));
    return shape;
}

/* Bools as true and false, whole numbers whole. */
static json_t *value_json(enum uqm_param_type type, double v)
{
    if (type == UQM_PARAM_BOOL)
        return json_boolean(v != 0);
    return type == UQM_PARAM_INT ? json_integer((json_int_t) v) : json_real(v);
}

/* The values that are resolved here; NULL: there are none. */
static json_t *values_json(const struct uqm_recipe_source *rs, const double *params)
{
    const struct uqm_method_info *m = rs->recipe->method;
    json_t *values = NULL;
    for (size_t i = 0; params && i < m->n_params; i++) {
        if (isnan(params[i]))
            continue;
        if (!values)
            values = json_object();
        json_object_set_new(values, m->params[i].name, value_json(m->params[i].type, params[i]));
    }
    return values;
}

static json_t *parts_json(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt)
{
    json_t *list = json_array();
    for (size_t i = 0; i < pt->n_parts; i++) {
        const struct uqm_plan_part *p = &pt->parts[i];
        json_t *one = json_pack("{s:I, s:s, s:b}", "input", (json_int_t) p->input, "name",
                                uqm_plan_part_tensor(rs, p)->name, "base", p->is_base);
        json_t *values = values_json(rs, p->params);
        if (values)
            json_object_set_new(one, "parameters", values);
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *tensor_json(const struct uqm_recipe_source *rs, size_t i)
{
    const struct uqm_plan_tensor *pt = &rs->plan[i];
    const struct uqm_tensor *t = &rs->source.tensors[i];
    json_t *one = json_pack("{s:s, s:s, s:s, s:o, s:s, s:I, s:o}", "name", t->name, "fate",
                            uqm_fate_name(pt->fate), "dtype", uqm_dtype_name(t->dtype), "shape",
                            shape_json(t), "part", uqm_part_name(t->part), "bytes",
                            (json_int_t) t->n_bytes, "from", parts_json(rs, pt));
    json_t *values = values_json(rs, pt->params);
    if (values)
        json_object_set_new(one, "parameters", values);
    if (pt->partial)
        json_object_set_new(one, "partial", json_true());
    if (pt->cut)
        json_object_set_new(one, "cut", json_true());
    if (pt->same_as >= 0)
        json_object_set_new(one, "same_as", json_string(rs->source.tensors[pt->same_as].name));
    return one;
}

json_t *uqm_plan_tensors_json(const struct uqm_recipe_source *rs)
{
    json_t *list = json_array();
    for (size_t k = 0; k < rs->n_order && list; k++)
        json_array_append_new(list, tensor_json(rs, rs->order[k]));
    return list;
}

/* --- what nothing is made of --- */

static bool is_source(const struct uqm_recipe_source *rs, size_t k,
                      const struct uqm_recipe_module *module)
{
    for (size_t s = 0; s < rs->n_slices; s++)
        for (size_t i = 0; i < rs->slices[s].n_sources && rs->slices[s].module == module; i++)
            if (rs->slices[s].sources[i].input == k)
                return true;
    return false;
}

static const char *why_unused(const struct uqm_recipe_source *rs, size_t k, size_t tensor)
{
    const struct uqm_recipe *r = rs->recipe;
    const struct uqm_checkpoint *cp = rs->inputs[k].checkpoint;
    const struct uqm_tensor *t = &cp->source.tensors[tensor];
    const struct uqm_recipe_module *module = uqm_plan_module_of(r, t);
    struct uqm_layer_name at;
    if (uqm_plan_is_beside(cp, tensor))
        return "beside the model";
    if (!module)
        return "in no module of the recipe";
    if (!is_source(rs, k, module))
        return "not of a model that its module is made of";
    if (!module->slices[0].whole)
        return uqm_name_layer(&at, t->canonical) ? "its layer is in no slice"
                                                 : "another slice's is taken";
    return t->part == UQM_PART_VISION ? "one model's tower is copied"
                                      : "too few inputs have it for the method";
}

json_t *uqm_plan_unused_json(const struct uqm_recipe_source *rs, size_t k)
{
    const struct uqm_source *s = &rs->inputs[k].checkpoint->source;
    bool *used = calloc(s->n_tensors + 1, sizeof *used);
    json_t *list = used ? json_array() : NULL;
    for (size_t i = 0; i < rs->n_order && list; i++) {
        const struct uqm_plan_tensor *pt = &rs->plan[rs->order[i]];
        for (size_t p = 0; p < pt->n_parts; p++)
            if (pt->parts[p].input == k)
                used[pt->parts[p].tensor] = true;
    }
    for (size_t i = 0; i < s->n_tensors && list; i++)
        if (!used[i])
            json_array_append_new(list, json_pack("{s:s, s:s}", "name", s->tensors[i].name, "why",
                                                  why_unused(rs, k, i)));
    free(used);
    return list;
}

/* --- parameters --- */

struct extent {
    double least, most; /* NaN: no tensor has a value */
};

static void widen_extent(struct extent *e, double v)
{
    if (isnan(v))
        return;
    if (isnan(e->least) || v < e->least)
        e->least = v;
    if (isnan(e->most) || v > e->most)
        e->most = v;
}

/* Over all tensors; input: n_inputs for the values per output. */
static struct extent extent_of(const struct uqm_recipe_source *rs, size_t param, size_t input)
{
    struct extent e = { (double) NAN, (double) NAN };
    for (size_t i = 0; i < rs->n_order; i++) {
        const struct uqm_plan_tensor *pt = &rs->plan[rs->order[i]];
        if (input == rs->n_inputs && pt->params)
            widen_extent(&e, pt->params[param]);
        for (size_t p = 0; p < pt->n_parts && input < rs->n_inputs; p++)
            if (pt->parts[p].input == input && pt->parts[p].params)
                widen_extent(&e, pt->parts[p].params[param]);
    }
    return e;
}

json_t *uqm_plan_parameters_json(const struct uqm_recipe_source *rs)
{
    const struct uqm_method_info *m = rs->recipe->method;
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_params && list; i++) {
        bool per_output = m->params[i].scope == UQM_PER_OUTPUT;
        for (size_t k = per_output ? rs->n_inputs : 0; k < rs->n_inputs + per_output; k++) {
            struct extent e = extent_of(rs, i, k);
            if (isnan(e.least))
                continue;
            json_t *one = json_pack("{s:s, s:o, s:o}", "name", m->params[i].name, "least",
                                    value_json(m->params[i].type, e.least), "most",
                                    value_json(m->params[i].type, e.most));
            if (!per_output)
                json_object_set_new(one, "input", json_integer((json_int_t) k));
            json_array_append_new(list, one);
        }
    }
    return list;
}
