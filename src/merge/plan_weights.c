/* Working types (spec merge.md 1) and the values of parameters (3, 6) of every output tensor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/merge/method_ops.h"
#include "src/merge/plan.h"

/* --- where a tensor stands among the layers of models that are merged whole --- */

struct position {
    size_t tensor;
    const char *prefix; /* not terminated: prefix_len bytes up to the number */
    size_t prefix_len;
    uint64_t layer;
};

static int by_prefix(const void *a, const void *b)
{
    const struct position *x = a, *y = b;
    size_t n = x->prefix_len < y->prefix_len ? x->prefix_len : y->prefix_len;
    int c = memcmp(x->prefix, y->prefix, n);
    return c ? c : (x->prefix_len > y->prefix_len) - (x->prefix_len < y->prefix_len);
}

/* k/(L-1) for the k-th of L layers, 1 where L is 1, 0 outside the layers. */
static int find_positions(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    size_t n = 0, total = rs->source.n_tensors;
    struct position *v = malloc((total + 1) * sizeof *v);
    if (!v)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < total; i++) {
        const char *name = rs->source.tensors[i].canonical;
        struct uqm_layer_name at;
        if (rs->plan[i].slice && rs->plan[i].slice->recipe->whole && uqm_name_layer(&at, name))
            v[n++] = (struct position){ i, name, at.prefix_len, at.layer };
    }
    if (n > 1)
        qsort(v, n, sizeof *v, by_prefix);
    for (size_t begin = 0, end; begin < n; begin = end) {
        uint64_t last = 0;
        for (end = begin; end < n && by_prefix(&v[begin], &v[end]) == 0; end++)
            if (v[end].layer > last)
                last = v[end].layer;
        for (size_t i = begin; i < end; i++)
            rs->plan[v[i].tensor].position = last ? (double) v[i].layer / (double) last : 1;
    }
    free(v);
    return UQM_OK;
}

/* --- types --- */

static enum uqm_dtype promote(enum uqm_dtype a, enum uqm_dtype b)
{
    if (a == b)
        return a;
    return a == UQM_F64 || b == UQM_F64 ? UQM_F64 : UQM_F32;
}

/* Methods whose result is f32 whatever narrower type they work in (spec merge.md 3.2). */
static bool makes_f32(const struct uqm_method_info *method, enum uqm_dtype work)
{
    const struct uqm_method_ops *ops = uqm_method_ops_of(method->id);
    return ops && ops->result_is_f32 && work != UQM_F64;
}

static void settle_types(struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                         struct uqm_tensor *t)
{
    const struct uqm_recipe *r = rs->recipe;
    enum uqm_dtype work = uqm_plan_part_tensor(rs, &pt->parts[0])->dtype;
    if (pt->fate != UQM_FATE_EQUAL) {
        for (size_t i = 1; i < pt->n_parts; i++)
            work = promote(work, uqm_plan_part_tensor(rs, &pt->parts[i])->dtype);
        if (r->has_dtype)
            work = r->dtype;
    }
    pt->work = work;
    t->dtype = pt->fate != UQM_FATE_EQUAL && r->has_out_dtype ? r->out_dtype : work;
    if (pt->fate == UQM_FATE_MERGED && !r->has_out_dtype && makes_f32(r->method, work))
        t->dtype = UQM_F32;
    t->n_bytes = uqm_dtype_bytes(t->dtype, t->n_elem);
    for (size_t i = 0; i < pt->n_parts; i++) {
        unsigned in = uqm_dtype_bits(uqm_plan_part_tensor(rs, &pt->parts[i])->dtype);
        unsigned ratio = in / uqm_dtype_bits(t->dtype);
        if (ratio > rs->widening)
            rs->widening = ratio;
    }
}

/* The header's sizes were checked for the stored type; f32 or f64 of it may be too much. */
static int check_size(const struct uqm_recipe_source *rs, const struct uqm_tensor *t,
                      struct uqm_err *err)
{
    if (t->n_elem <= UINT64_MAX / 64)
        return UQM_OK;
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s is too large", rs->recipe->where,
                    uqm_printable(&name, t->name, strlen(t->name)));
}

/* --- parameters --- */

/* As the arithmetic adds them: f32(w_1) + f32(w_2) + ... in f32, or all in f64. */
static double sum_weights(const struct uqm_plan_tensor *pt)
{
    float sum32 = 0;
    double sum64 = 0;
    for (size_t i = 0; i < pt->n_parts; i++) {
        sum32 = i ? sum32 + (float) pt->parts[i].weight : (float) pt->parts[i].weight;
        sum64 += pt->parts[i].weight;
    }
    return pt->work == UQM_F64 ? sum64 : (double) sum32;
}

/* The values for one input, or those per output (place->input NULL). */
static int resolve(const double **out, struct uqm_recipe_source *rs,
                   const struct uqm_recipe_place *place, bool is_base, struct uqm_err *err)
{
    const struct uqm_method_info *m = rs->recipe->method;
    double *v = uqm_arena_alloc(&rs->arena, m->n_params + 1, sizeof *v);
    if (!v)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < m->n_params; i++) {
        enum uqm_param_scope scope = m->params[i].scope;
        v[i] = (double) NAN;
        if ((scope == UQM_PER_OUTPUT) != !place->input || (scope == UQM_PER_OTHER && is_base))
            continue;
        int ret = uqm_recipe_resolve(&v[i], rs->recipe, &m->params[i], place, err);
        if (ret < 0)
            return ret;
    }
    *out = v;
    return UQM_OK;
}

/* linear divides by the sum of its weights. */
static int settle_sum(const struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                      const struct uqm_tensor *t, struct uqm_err *err)
{
    struct uqm_printable name;
    pt->normalize = pt->params[uqm_method_param_index(rs->recipe->method, "normalize")] != 0;
    pt->sum = sum_weights(pt);
    if (!isfinite(pt->sum) || (pt->normalize && pt->sum == 0))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: its weights sum to %g, which %s",
                        rs->recipe->where, uqm_printable(&name, t->name, strlen(t->name)), pt->sum,
                        pt->normalize && pt->sum == 0
                            ? "cannot be normalised; give normalize: false"
                            : "is no number to weigh with");
    return UQM_OK;
}

/* What filters look for in an input's name. An embedding that stands in for a tied head counts as
 * the head. */
static const char *name_for_filters(const struct uqm_recipe_source *rs,
                                    const struct uqm_plan_tensor *pt, const struct uqm_tensor *t,
                                    const struct uqm_plan_part *p)
{
    const struct uqm_tensor *in = uqm_plan_part_tensor(rs, p);
    bool stands_in =
        pt->vocabulary == UQM_HEAD && uqm_name_vocabulary(in->canonical, in->part) == UQM_EMBEDDING;
    return stands_in ? t->name : in->name;
}

static int settle_params(struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                         const struct uqm_tensor *t, struct uqm_err *err)
{
    int weight = uqm_method_param_index(rs->recipe->method, "weight");
    struct uqm_recipe_place place = {
        .module = pt->slice->module,
        .slice = pt->slice->recipe,
        .tensor = t->name,
        .t = pt->position,
    };
    int ret = resolve(&pt->params, rs, &place, false, err);
    for (size_t i = 0; i < pt->n_parts && ret == UQM_OK; i++) {
        struct uqm_plan_part *p = &pt->parts[i];
        place.input = p->source;
        place.tensor = name_for_filters(rs, pt, t, p);
        ret = resolve(&p->params, rs, &place, p->is_base, err);
        if (ret == UQM_OK && weight >= 0 && !isnan(p->params[weight]))
            p->weight = p->params[weight];
    }
    if (ret == UQM_OK && rs->recipe->method->id == UQM_METHOD_LINEAR)
        ret = settle_sum(rs, pt, t, err);
    return ret;
}

int uqm_plan_weights(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    struct uqm_tensor *tensors = (struct uqm_tensor *) (uintptr_t) rs->source.tensors;
    int ret = find_positions(rs, err);
    for (size_t i = 0; i < rs->source.n_tensors && ret == UQM_OK; i++) {
        ret = check_size(rs, &tensors[i], err);
        if (ret < 0)
            break;
        settle_types(rs, &rs->plan[i], &tensors[i]);
        if (rs->plan[i].fate == UQM_FATE_MERGED)
            ret = settle_params(rs, &rs->plan[i], &tensors[i], err);
    }
    return ret;
}
