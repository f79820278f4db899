/* The arithmetic of every output tensor: a job each (method_ops.h), before anything is read. */
#include "src/base/checked.h"
#include "src/merge/linear.h"
#include "src/merge/plan.h"

static const struct uqm_tensor *part_tensor(const struct uqm_recipe_source *rs,
                                            const struct uqm_plan_part *p)
{
    return uqm_plan_part_tensor(rs, p);
}

static bool is_as_it_is(const struct uqm_recipe_source *rs, size_t tensor)
{
    const struct uqm_plan_tensor *pt = &rs->plan[tensor];
    return pt->fate == UQM_FATE_EQUAL || rs->source.tensors[tensor].n_elem == 0 ||
           (pt->fate == UQM_FATE_COPIED && part_tensor(rs, &pt->parts[0])->dtype == pt->work &&
            pt->work == rs->source.tensors[tensor].dtype);
}

static int make_job(struct uqm_recipe_source *rs, size_t tensor, struct uqm_err *err)
{
    struct uqm_plan_tensor *pt = &rs->plan[tensor];
    const struct uqm_tensor *t = &rs->source.tensors[tensor];
    struct uqm_job_input *inputs = uqm_arena_alloc(&rs->arena, pt->n_parts, sizeof *inputs);
    struct uqm_job *job = uqm_arena_alloc(&rs->arena, 1, sizeof *job);
    if (!inputs || !job)
        return uqm_plan_no_memory(rs, err);
    const char *drawn_for =
        pt->same_as >= 0 ? rs->source.tensors[pt->same_as].canonical : t->canonical;
    for (size_t i = 0; i < pt->n_parts; i++)
        inputs[i] = (struct uqm_job_input){
            .dtype = part_tensor(rs, &pt->parts[i])->dtype,
            .is_base = pt->parts[i].is_base,
            .params = pt->parts[i].params,
            .key = uqm_rng_stream(rs->source.env->seed, UQM_RNG_MERGE, drawn_for, "",
                                  (uint32_t) pt->parts[i].input, 0),
        };
    *job = (struct uqm_job){
        .method = rs->recipe->method,
        .ops = pt->fate == UQM_FATE_MERGED ? uqm_method_ops_of(rs->recipe->method->id)
                                           : &uqm_convert_ops,
        .kernels = &rs->kernels,
        .where = rs->recipe->where,
        .name = t->name,
        .numerics = rs->numerics,
        .work = pt->work,
        .out = t->dtype,
        .rank = t->rank,
        .shape = t->shape,
        .n_elem = t->n_elem,
        .params = pt->params,
        .n_inputs = pt->n_parts,
        .inputs = inputs,
    };
    pt->job = job;
    return uqm_job_init(job, err);
}

/* --- random numbers, merge.md 2.1 and 7 --- */

/* The stream's numbers go to tensors in the order of writing, to the inputs of one in theirs. A
 * layer that is there twice draws anew each time, as mergekit's do: so it is not the same. */
static void count_draws(struct uqm_recipe_source *rs)
{
    uint64_t n_drawn = 0;
    for (size_t k = 0; k < rs->n_order; k++) {
        struct uqm_plan_tensor *pt = &rs->plan[rs->order[k]];
        const struct uqm_job *job = pt->job;
        for (size_t i = 0; job && job->ops->draws && i < job->n_inputs; i++) {
            if (!job->ops->draws(job, i))
                continue;
            struct uqm_job_input *in = (struct uqm_job_input *) (uintptr_t) &job->inputs[i];
            in->n_drawn_before = n_drawn;
            n_drawn += job->n_elem;
            if (rs->numerics == UQM_NUMERICS_MERGEKIT)
                pt->same_as = -1;
        }
    }
}

/* --- memory --- */

static size_t at_least(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void count_memory(struct uqm_recipe_source *rs, const struct uqm_job *job)
{
    uqm_exec_need(&rs->needs, job, (size_t) rs->source.env->n_threads);
    if (job->unit_elem > 1)
        rs->unit_bytes =
            at_least(rs->unit_bytes, (size_t) uqm_dtype_bytes(job->out, job->unit_elem));
    if (job->n_passes > 0 && job->ops->result_bytes) {
        size_t n = (size_t) uqm_align_up(job->ops->result_bytes(job), 64);
        rs->result_bytes += n;
        rs->most_result_bytes = at_least(rs->most_result_bytes, n);
    }
    for (size_t i = 0; i < job->n_inputs && (job->n_passes > 0 || job->unit_elem > 1); i++)
        rs->block_bytes = at_least(rs->block_bytes,
                                   (size_t) uqm_dtype_bytes(job->inputs[i].dtype, job->block_elem));
}

static void count_mixes(struct uqm_recipe_source *rs, const struct uqm_job *job)
{
    const enum uqm_mixes mixes = job->ops->mixes ? job->ops->mixes(job) : UQM_MIXES_NONE;
    if (mixes > rs->source.gives_mixes)
        rs->source.gives_mixes = mixes;
}

int uqm_plan_jobs(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t i = 0; i < rs->source.n_tensors && ret == UQM_OK; i++) {
        if (is_as_it_is(rs, i))
            continue;
        ret = make_job(rs, i, err);
        if (ret < 0)
            break;
        count_memory(rs, rs->plan[i].job);
        count_mixes(rs, rs->plan[i].job);
    }
    if (ret == UQM_OK)
        count_draws(rs);
    return ret;
}

void uqm_plan_jobs_finish(struct uqm_recipe_source *rs)
{
    for (size_t i = 0; rs->plan && i < rs->source.n_tensors; i++) {
        struct uqm_plan_tensor *pt = &rs->plan[i];
        if (pt->state.result)
            uqm_budget_free(&pt->state.result, rs->source.env, pt->job->ops->result_bytes(pt->job));
    }
}
