/* config.json of the output: the home model's, with what the merge changes. */
#include <inttypes.h>
#include <string.h>

#include "src/merge/config_patch.h"
#include "src/merge/relayout.h"
#include "src/merge/vocab_plan.h"

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

/* A warning where the home model's config has no key for the number of layers. */
static int check_role(const struct uqm_recipe_source *rs, const struct uqm_plan_layers *stack,
                      enum uqm_config_role role, struct uqm_err *err)
{
    const struct uqm_plan_input *home = &rs->inputs[rs->home];
    if (uqm_config_counts_layers(home->checkpoint->config_text, role))
        return UQM_OK;
    return uqm_warn(rs->source.env, err,
                    "%s: config.json of %s has no key for the number of layers of %.*s: the "
                    "output's has to be put right by hand",
                    rs->recipe->where, home->model->path, (int) strlen(stack->prefix) - 1,
                    stack->prefix);
}

static int add_stacks(struct uqm_config_change *change, const struct uqm_recipe_source *rs,
                      struct uqm_arena *arena, struct uqm_err *err)
{
    struct uqm_config_stack *v = uqm_arena_alloc(arena, rs->n_layers + 1, sizeof *v);
    if (!v)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < rs->n_layers; i++) {
        const struct uqm_plan_layers *stack = &rs->layers[i];
        if (!stack->prefix)
            continue; /* slices of nothing but what lies outside the layers */
        enum uqm_config_role role = role_of(stack->prefix);
        int ret = check_role(rs, stack, role, err);
        if (ret < 0)
            return ret;
        v[change->n_stacks] =
            (struct uqm_config_stack){ role, stack->n, layers_of(rs, stack, arena) };
        if (!v[change->n_stacks++].layers)
            return uqm_plan_no_memory(rs, err);
    }
    change->stacks = v;
    return UQM_OK;
}

/* The type that most of the bytes have; F32 where there is nothing to count. */
static enum uqm_dtype main_dtype(const struct uqm_recipe_source *rs, bool vision)
{
    uint64_t bytes[UQM_N_DTYPES] = { 0 };
    enum uqm_dtype best = UQM_F32;
    for (size_t i = 0; i < rs->n_order; i++) {
        const struct uqm_tensor *t = &rs->source.tensors[rs->order[i]];
        if ((t->part == UQM_PART_VISION) == vision && uqm_dtype_is_arithmetic(t->dtype) &&
            rs->plan[rs->order[i]].fate != UQM_FATE_EQUAL)
            bytes[t->dtype] += t->n_bytes;
    }
    for (int d = 0; d < UQM_N_DTYPES; d++)
        if (bytes[d] > bytes[best])
            best = (enum uqm_dtype) d;
    return best;
}

static bool has_head(const struct uqm_recipe_source *rs)
{
    for (size_t i = 0; i < rs->n_order; i++)
        if (rs->plan[rs->order[i]].vocabulary == UQM_HEAD)
            return true;
    return false;
}

int uqm_plan_config(char **out, const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const char *text = rs->relayout ? uqm_relayout_config(rs->relayout)
                                    : rs->inputs[rs->home].checkpoint->config_text;
    struct uqm_arena arena = { 0 };
    *out = NULL;
    if (!text)
        return UQM_OK;
    struct uqm_config_change change = {
        .dtype = main_dtype(rs, false),
        .vision_dtype = main_dtype(rs, true),
        .has_head = has_head(rs),
        .vocab_size = rs->vocab ? rs->vocab->n_rows : 0,
    };
    int ret = add_stacks(&change, rs, &arena, err);
    if (ret == UQM_OK && rs->vocab && !uqm_config_has_vocabulary(text))
        ret = uqm_warn(rs->source.env, err,
                       "%s: config.json of %s has no vocab_size: the output's, %" PRIu32
                       ", has to be put right by hand",
                       rs->recipe->where, rs->inputs[rs->home].model->path, rs->vocab->n_rows);
    if (ret == UQM_OK && !(*out = uqm_config_patch(text, &change)))
        ret = uqm_plan_no_memory(rs, err);
    uqm_arena_finish(&arena);
    return ret;
}
