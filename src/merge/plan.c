#include "src/merge/plan.h"

#include <stdlib.h>

#include "src/merge/chat_template.h"
#include "src/merge/method_ops.h"
#include "src/merge/relayout.h"
#include "src/merge/vocab_rows.h"

const char *uqm_fate_name(enum uqm_fate fate)
{
    static const char *const names[UQM_N_FATES] = { "merged", "copied", "equal" };
    return names[fate];
}

int uqm_plan_no_memory(const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the plan", rs->recipe->where);
}

/* --- the source --- */

static void destroy_source(struct uqm_source *source)
{
    struct uqm_recipe_source *rs = (struct uqm_recipe_source *) source;
    uqm_plan_jobs_finish(rs); /* while the shapes are there, which are the checkpoints' */
    uqm_source_destroy(&rs->vocab_rows);
    uqm_vocab_plan_free(&rs->vocab);
    uqm_relayout_destroy(&rs->relayout);
    free(rs->chat_template);
    for (size_t k = 0; k < rs->n_inputs; k++)
        uqm_checkpoint_close(&rs->inputs[k].checkpoint);
    for (size_t k = 0; k < rs->n_inputs; k++) /* the recipes they borrowed names from */
        uqm_source_destroy(&rs->inputs[k].inner);
    uqm_digest_cache_finish(&rs->own_digests);
    uqm_arena_finish(&rs->arena);
    uqm_recipe_stream_free(&rs->owned);
    free(rs);
}

static const struct uqm_source_ops recipe_ops = {
    .open = uqm_merge_stream_open,
    .min_memory = uqm_merge_stream_min_memory,
    .destroy = destroy_source,
};

struct uqm_recipe_source *uqm_recipe_source_of(struct uqm_source *source)
{
    return source->ops == &recipe_ops ? (struct uqm_recipe_source *) source : NULL;
}

static int plan_vocabulary(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                           struct uqm_err *err)
{
    int ret = params->relayout
                  ? uqm_relayout_create(&rs->relayout, &rs->vocab, rs, params->layout, err)
                  : uqm_vocab_plan_create(&rs->vocab, rs, err);
    if (ret == UQM_OK && rs->vocab)
        ret = uqm_vocab_rows_create(&rs->vocab_rows, rs, err);
    return ret == UQM_OK ? uqm_chat_template_choose(&rs->chat_template, rs, err) : ret;
}

/* Asked last: what is wrong with a recipe is better known first. */
static int check_computed(const struct uqm_recipe *r, struct uqm_err *err)
{
    if (uqm_method_ops_of(r->method->id))
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: merge method %s is not computed by this version",
                    r->where, r->method->name);
}

int uqm_recipe_open(struct uqm_source **out, struct uqm_env *env, const struct uqm_recipe *recipe,
                    const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = calloc(1, sizeof *rs);
    if (!rs)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the plan", recipe->where);
    rs->source.ops = &recipe_ops;
    rs->source.is_merge = true;
    rs->source.env = env;
    rs->source.name = recipe->name;
    rs->recipe = recipe;
    rs->numerics = params->numerics;
    rs->most_tower_bytes = params->most_tower_bytes;
    rs->widening = 1;
    uqm_kernels_init(&rs->kernels, uqm_cpu_flags());
    rs->digests = params->digests ? params->digests : &rs->own_digests;

    int ret = uqm_plan_open_inputs(rs, params, err);
    if (ret == UQM_OK)
        ret = plan_vocabulary(rs, params, err);
    if (ret == UQM_OK) {
        rs->source.home = rs->inputs[rs->home].checkpoint->source.home;
        ret = uqm_plan_match(rs, params, err);
    }
    if (ret == UQM_OK && rs->relayout)
        ret = uqm_relayout_tensors(rs, err);
    if (ret == UQM_OK)
        ret = uqm_plan_inner_link(rs, err);
    if (ret == UQM_OK)
        ret = uqm_plan_tell(rs, err);
    if (ret == UQM_OK)
        ret = uqm_plan_weights(rs, err);
    if (ret == UQM_OK)
        ret = uqm_plan_order(rs, err);
    if (ret == UQM_OK)
        ret = check_computed(recipe, err);
    if (ret == UQM_OK)
        ret = uqm_plan_jobs(rs, err);
    if (ret < 0) {
        destroy_source(&rs->source);
        return ret;
    }
    *out = &rs->source;
    return UQM_OK;
}
