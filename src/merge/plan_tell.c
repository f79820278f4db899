/* Warnings about what a merge leaves out, or makes from some inputs only. */
#include <inttypes.h>
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

static int tell_unnamed(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const struct uqm_tensor *first = NULL;
    size_t first_input = 0;
    for (size_t k = 0; k < rs->n_inputs; k++) {
        const struct uqm_checkpoint *cp = rs->inputs[k].checkpoint;
        for (size_t i = 0; i < cp->source.n_tensors; i++) {
            const struct uqm_tensor *t = &cp->source.tensors[i];
            if (uqm_plan_is_beside(cp, i) || uqm_plan_module_of(rs->recipe, t))
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

/* The embedding that was cut: config.json still has the home model's vocab_size. */
static int tell_cut(const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    for (size_t i = 0; i < rs->source.n_tensors; i++) {
        const struct uqm_plan_tensor *pt = &rs->plan[i];
        for (size_t p = 0; p < pt->n_parts && pt->cut; p++) {
            const struct uqm_tensor *t = uqm_plan_part_tensor(rs, &pt->parts[p]);
            struct uqm_printable name;
            if (pt->parts[p].input == rs->home && t->shape[0] != rs->source.tensors[i].shape[0])
                return uqm_warn(rs->source.env, err,
                                "%s: tensor %s: %" PRIu64 " of %" PRIu64
                                " rows are written, but vocab_size in config.json stays as it is",
                                rs->recipe->where, uqm_printable(&name, t->name, strlen(t->name)),
                                rs->source.tensors[i].shape[0], t->shape[0]);
        }
    }
    return UQM_OK;
}

int uqm_plan_tell(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    int ret = rs->recipe->by_module ? tell_unnamed(rs, err) : UQM_OK;
    if (ret == UQM_OK)
        ret = tell_cut(rs, err);
    return ret == UQM_OK ? tell_partial(rs, err) : ret;
}
