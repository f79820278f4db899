/* What slices change in config.json. */
#include <string.h>

#include "src/merge/config_patch.h"
#include "src/merge/plan.h"

/* An encoder is counted apart where a decoder stands beside it. */
static enum uqm_config_role role_of(const char *prefix)
{
    if (strncmp(prefix, "vision_tower.", 13) == 0 || strstr(prefix, "visual."))
        return UQM_CONFIG_VISION;
    if (strncmp(prefix, "encoder.", 8) == 0 || strncmp(prefix, "model.encoder.", 14) == 0)
        return UQM_CONFIG_ENCODER;
    if (strncmp(prefix, "decoder.", 8) == 0 || strncmp(prefix, "model.decoder.", 14) == 0)
        return UQM_CONFIG_DECODER;
    return UQM_CONFIG_MAIN;
}

/* Every layer of the output comes from its slice's first source. */
static const struct uqm_config_layer *layers_of(const struct uqm_recipe_source *rs,
                                                const struct uqm_plan_layers *stack,
                                                struct uqm_arena *arena)
{
    struct uqm_config_layer *v = uqm_arena_alloc(arena, stack->n + 1, sizeof *v);
    for (size_t i = 0; i < rs->n_slices && v; i++) {
        const struct uqm_plan_slice *s = &rs->slices[i];
        if (s->recipe->whole || s->prefix != stack->prefix)
            continue;
        for (uint64_t k = 0; k < s->n_layers; k++)
            v[s->first_layer + k] = (struct uqm_config_layer){
                rs->inputs[s->sources[0].input].checkpoint->config_text,
                s->sources[0].recipe->first + k,
            };
    }
    return v;
}

int uqm_plan_config(struct uqm_config_change *change, const struct uqm_recipe_source *rs,
                    struct uqm_arena *arena, struct uqm_err *err)
{
    const struct uqm_plan_input *home = &rs->inputs[rs->home];
    struct uqm_config_stack *v = uqm_arena_alloc(arena, rs->n_layers + 1, sizeof *v);
    if (!v)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < rs->n_layers; i++) {
        const struct uqm_plan_layers *stack = &rs->layers[i];
        if (!stack->prefix)
            continue; /* slices of nothing but what lies outside the layers */
        enum uqm_config_role role = role_of(stack->prefix);
        const char *text = home->checkpoint->config_text;
        if (text && !uqm_config_counts_layers(text, role)) {
            int ret = uqm_warn(rs->source.env, err,
                               "%s: config.json of %s has no key for the number of layers of %.*s: "
                               "the output's has to be put right by hand",
                               rs->recipe->where, home->model->path,
                               (int) strlen(stack->prefix) - 1, stack->prefix);
            if (ret < 0)
                return ret;
        }
        v[change->n_stacks] =
            (struct uqm_config_stack){ role, stack->n, layers_of(rs, stack, arena) };
        if (!v[change->n_stacks++].layers)
            return uqm_plan_no_memory(rs, err);
    }
    change->stacks = v;
    return UQM_OK;
}
