/* In which order tensors are written, and which are the same as an earlier one (spec merge.md 7).
 */
#include <stdlib.h>
#include <string.h>

#include "src/merge/plan.h"

enum { MOST_LOOKED_AT = 4096 }; /* a thousand copies of one layer are not a recipe */

static int by_sort_name(const void *a, const void *b, void *ctx)
{
    const struct uqm_recipe_source *rs = ctx;
    size_t x = *(const size_t *) a, y = *(const size_t *) b;
    int c = strcmp(rs->plan[x].sort_name, rs->plan[y].sort_name);
    return c ? c : strcmp(rs->source.tensors[x].name, rs->source.tensors[y].name);
}

/* Equal values, the unresolved ones included: they are NaN in the same places. */
static bool same_params(const struct uqm_recipe_source *rs, const double *a, const double *b)
{
    size_t n = rs->recipe->method->n_params;
    return a == b || (a && b && memcmp(a, b, n * sizeof *a) == 0);
}

static bool same_job(const struct uqm_recipe_source *rs, size_t x, size_t y)
{
    const struct uqm_plan_tensor *a = &rs->plan[x], *b = &rs->plan[y];
    const struct uqm_tensor *ta = &rs->source.tensors[x], *tb = &rs->source.tensors[y];
    if (a->fate != b->fate || a->work != b->work || ta->dtype != tb->dtype ||
        ta->n_elem != tb->n_elem || a->n_parts != b->n_parts ||
        !same_params(rs, a->params, b->params))
        return false;
    for (size_t i = 0; i < a->n_parts; i++) {
        const struct uqm_plan_part *p = &a->parts[i], *q = &b->parts[i];
        if (p->input != q->input || p->tensor != q->tensor || p->is_base != q->is_base ||
            !same_params(rs, p->params, q->params))
            return false;
    }
    return true;
}

/* What is made of the same tensors has the same sort_name, so it stands side by side. */
static void find_same(struct uqm_recipe_source *rs)
{
    for (size_t i = 1; i < rs->n_order; i++) {
        struct uqm_plan_tensor *pt = &rs->plan[rs->order[i]];
        for (size_t k = i; k-- > 0 && i - k <= MOST_LOOKED_AT;) {
            const struct uqm_plan_tensor *earlier = &rs->plan[rs->order[k]];
            if (strcmp(earlier->sort_name, pt->sort_name) != 0)
                break;
            if (!same_job(rs, rs->order[k], rs->order[i]))
                continue;
            pt->same_as = earlier->same_as >= 0 ? earlier->same_as : (long) rs->order[k];
            break;
        }
    }
}

int uqm_plan_order(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    rs->order = uqm_arena_alloc(&rs->arena, rs->source.n_tensors + 1, sizeof *rs->order);
    if (!rs->order)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < rs->source.n_tensors; i++)
        if (!rs->plan[i].outside)
            rs->order[rs->n_order++] = i;
    if (rs->n_order > 1)
        qsort_r(rs->order, rs->n_order, sizeof *rs->order, by_sort_name, rs);
    find_same(rs);
    return UQM_OK;
}
