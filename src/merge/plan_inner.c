/* A recipe as an input of another: merged while the outer one loads it, never written. */
#include <stdlib.h>
#include <string.h>

#include "src/merge/plan.h"

/* Whether the writer would leave the tensor out: a tower beside the model. */
static bool is_outside(const struct uqm_recipe_source *inner, size_t i)
{
    return inner->plan[i].outside;
}

/* What stands for the recipe's merge where a checkpoint is looked at: names, shapes, config. */
static int make_checkpoint(struct uqm_plan_input *in, const char *path, struct uqm_err *err)
{
    struct uqm_recipe_source *inner = uqm_recipe_source_of(in->inner);
    const struct uqm_checkpoint *home = inner->inputs[inner->home].checkpoint;
    struct uqm_checkpoint *cp = calloc(1, sizeof *cp);
    char *config = NULL;
    if (!cp)
        return uqm_plan_no_memory(inner, err);
    in->checkpoint = cp;
    int ret = uqm_source_config(&config, in->inner, err);
    if (ret < 0)
        return ret;
    cp->source = (struct uqm_source){
        .env = in->inner->env,
        .name = in->inner->name,
        .home = in->inner->home,
        .n_tensors = in->inner->n_tensors,
        .tensors = in->inner->tensors,
    };
    cp->format = UQM_FORMAT_SAFETENSORS;
    cp->layout = home->layout;
    cp->path = uqm_arena_strndup(&cp->arena, path, strlen(path));
    cp->locations = uqm_arena_alloc(&cp->arena, cp->source.n_tensors + 1, sizeof *cp->locations);
    bool ok = cp->path && cp->locations;
    const char *architecture = inner->recipe->models[0].architecture;
    architecture = architecture ? architecture : home->architecture;
    if (ok && architecture) {
        cp->architecture = uqm_arena_strndup(&cp->arena, architecture, strlen(architecture));
        ok = cp->architecture != NULL;
    }
    if (ok && config) {
        cp->config_text = uqm_arena_strndup(&cp->arena, config, strlen(config));
        ok = cp->config_text != NULL;
    }
    free(config);
    for (size_t i = 0; ok && i < cp->source.n_tensors; i++) {
        cp->locations[i].file = is_outside(inner, i) ? 0 : UQM_SEEN_NO_FILE;
        if (in->inner->tensors[i].part != UQM_PART_VISION)
            continue;
        in->has_vision = true;
        in->vision_beside |= is_outside(inner, i);
    }
    return ok ? UQM_OK : uqm_plan_no_memory(inner, err);
}

int uqm_plan_inner_open(struct uqm_plan_input *in, struct uqm_recipe_source *rs, const char *path,
                        const struct uqm_recipe *named, const struct uqm_open_params *params,
                        struct uqm_err *err)
{
    struct uqm_env *env = rs->source.env;
    int ret = named ? uqm_recipe_open(&in->inner, env, named, params, err)
                    : uqm_recipe_file_open(&in->inner, env, path, params, err);
    if (ret < 0)
        return ret;
    uqm_recipe_source_of(in->inner)->states_once = true;
    return make_checkpoint(in, path, err);
}

int uqm_plan_inner_link(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    for (size_t i = 0; i < rs->source.n_tensors; i++)
        for (size_t p = 0; p < rs->plan[i].n_parts; p++) {
            struct uqm_plan_part *part = &rs->plan[i].parts[p];
            if (part->source_of)
                continue;
            part->source_of = rs->inputs[part->input].inner;
            part->source_tensor = part->tensor;
        }
    rs->inner = uqm_arena_alloc(&rs->arena, rs->n_inputs + 1, sizeof(struct uqm_source *));
    if (!rs->inner)
        return uqm_plan_no_memory(rs, err);
    if (rs->vocab_rows && rs->vocab_rows->n_tensors > 0)
        rs->inner[rs->n_inner++] = rs->vocab_rows;
    for (size_t k = 0; k < rs->n_inputs; k++)
        if (rs->inputs[k].inner)
            rs->inner[rs->n_inner++] = rs->inputs[k].inner;
    return UQM_OK;
}
