/* Warnings about what a merge leaves out, or makes from some inputs only. */
#include <string.h>

#include "src/merge/plan.h"

static int tell_partial(const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    size_t n = 0, first = 0;
    for (size_t i = rs->source.n_tensors; i-- > 0;)
        if (rs->plan[i].partial && rs->source.tensors[i].part != UQM_PART_VISION) {
            first = i;
            n++;
        }
    if (n == 0)
        return UQM_OK;
    const struct uqm_tensor *t = &rs->source.tensors[first];
    struct uqm_printable name;
    return uqm_warn(rs->source.env, err,
                    "%s: %zu tensors are not in all inputs and are made from those that have them; "
                    "the first: %s, in %zu of %zu",
                    rs->recipe->where, n, uqm_printable(&name, t->name, strlen(t->name)),
                    rs->plan[first].n_parts, rs->plan[first].slice->n_sources);
}

static bool is_named(const struct uqm_recipe *r, const struct uqm_tensor *t)
{
    for (size_t m = 0; m < r->n_modules; m++)
        if (uqm_name_in_module(t, r->modules[m].name))
            return true;
    return false;
}

static int tell_unnamed(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const struct uqm_tensor *first = NULL;
    size_t first_input = 0;
    for (size_t k = 0; k < rs->n_inputs; k++) {
        const struct uqm_checkpoint *cp = rs->inputs[k].checkpoint;
        for (size_t i = 0; i < cp->source.n_tensors; i++) {
            const struct uqm_tensor *t = &cp->source.tensors[i];
            if (cp->locations[i].file >= cp->n_own_files || is_named(rs->recipe, t))
                continue;
            if (rs->n_unnamed++ == 0) {
                first = t;
                first_input = k;
            }
        }
    }
    if (!first)
        return UQM_OK;
    struct uqm_printable name;
    return uqm_warn(rs->source.env, err,
                    "%s:%d: modules: %zu tensors of the inputs lie in none of them and are not "
                    "written; the first: %s of %s; a module `default` takes them",
                    rs->recipe->where, rs->recipe->modules[0].line, rs->n_unnamed,
                    uqm_printable(&name, first->name, strlen(first->name)),
                    rs->inputs[first_input].model->path);
}

int uqm_plan_tell_dropped(const struct uqm_recipe_source *rs, const struct uqm_tensor *t,
                          const struct uqm_plan_tensor *pt, struct uqm_err *err)
{
    struct uqm_printable name;
    return uqm_warn(rs->source.env, err,
                    "%s: tensor %s is in %zu of %zu inputs, too few for %s: it is not written",
                    rs->recipe->where, uqm_printable(&name, t->name, strlen(t->name)), pt->n_parts,
                    pt->slice->n_sources, rs->recipe->method->name);
}

int uqm_plan_tell(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    int ret = rs->recipe->by_module ? tell_unnamed(rs, err) : UQM_OK;
    return ret == UQM_OK ? tell_partial(rs, err) : ret;
}
