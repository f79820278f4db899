#include "src/merge/open.h"

#include <stdlib.h>
#include <string.h>

#include "src/merge/plan.h"

bool uqm_is_recipe_path(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".yml") == 0 || strcmp(dot, ".yaml") == 0);
}

static int warn(void *ctx, const char *line)
{
    struct uqm_env *env = ctx;
    return uqm_warn(env, NULL, "%s", line);
}

int uqm_recipe_file_open(struct uqm_source **out, struct uqm_env *env, const char *path,
                         const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_recipe_stream *stream = NULL;
    struct uqm_open_params inside = *params;
    char *real = realpath(path, NULL);
    const struct uqm_recipe_chain chain = { real, params->chain };
    int ret = real ? UQM_OK : uqm_fail_errno(err, "%s", path);
    for (const struct uqm_recipe_chain *c = params->chain; c && ret == UQM_OK; c = c->outer)
        if (strcmp(c->path, real) == 0)
            ret = uqm_fail(err, UQM_ERR_FORMAT, "%s: the recipe is made of itself", path);
    if (ret == UQM_OK)
        ret = uqm_recipe_stream_load(&stream, path, warn, env, err);
    if (ret == UQM_OK) {
        inside.stream = stream;
        inside.chain = &chain;
        ret = uqm_recipe_open(out, env, stream->v[stream->output], &inside, err);
    }
    free(real);
    if (ret < 0)
        uqm_recipe_stream_free(&stream);
    else
        uqm_recipe_source_of(*out)->owned = stream;
    return ret;
}

int uqm_model_open(struct uqm_source **out, struct uqm_env *env, const char *model,
                   const struct uqm_open_params *params, struct uqm_err *err)
{
    if (uqm_is_recipe_path(model))
        return uqm_recipe_file_open(out, env, model, params, err);
    struct uqm_checkpoint *cp = NULL;
    struct uqm_checkpoint_params cp_params = {
        .path = model,
        .vision_tower = params->vision_tower,
        .need_vision = params->need_vision,
        .quiet = params->quiet,
    };
    int ret = uqm_checkpoint_open(&cp, env, &cp_params, err);
    if (ret < 0)
        return ret;
    *out = &cp->source;
    return UQM_OK;
}

int uqm_source_config(char **out, struct uqm_source *source, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = uqm_recipe_source_of(source);
    *out = NULL;
    return rs ? uqm_plan_config(out, rs, err) : UQM_OK;
}

/* Whether the merged vision part is to the byte its owner's: no change of type on the way. */
static bool is_owners_tower(const struct uqm_recipe_source *rs)
{
    if (rs->vision_owner == rs->n_inputs)
        return false;
    for (size_t i = 0; i < rs->source.n_tensors; i++) {
        if (rs->source.tensors[i].part != UQM_PART_VISION)
            continue;
        const struct uqm_plan_part *p = &rs->plan[i].parts[0];
        enum uqm_dtype stored = uqm_plan_part_tensor(rs, p)->dtype;
        if (rs->plan[i].fate == UQM_FATE_MERGED || stored != rs->plan[i].work ||
            stored != rs->source.tensors[i].dtype)
            return false;
    }
    return true;
}

int uqm_source_vision_digest(struct uqm_xxh3_hex *out, struct uqm_source *source,
                             struct uqm_digest_cache *digests, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = uqm_recipe_source_of(source);
    if (!rs)
        return uqm_digest_vision(out, digests, (struct uqm_checkpoint *) source, NULL, err);
    if (!is_owners_tower(rs))
        return uqm_source_part_digest(out, source, UQM_PART_VISION, err);
    struct uqm_plan_input *owner = &rs->inputs[rs->vision_owner];
    int ret = uqm_plan_digest_input(rs, rs->vision_owner, err);
    if (ret == UQM_OK)
        *out = owner->digest;
    return ret;
}

static int check_files(const struct uqm_checkpoint *cp, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (size_t f = 0; f < cp->n_files && ret == UQM_OK; f++)
        ret = uqm_file_check_unchanged(cp->files[f], err);
    return ret;
}

int uqm_opened_check_unchanged(struct uqm_source *source, struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = uqm_recipe_source_of(source);
    int ret = rs ? UQM_OK : check_files((const struct uqm_checkpoint *) source, err);
    for (size_t k = 0; rs && k < rs->n_inputs && ret == UQM_OK; k++) {
        ret = check_files(rs->inputs[k].checkpoint, err);
        if (ret == UQM_OK && rs->inputs[k].inner)
            ret = uqm_opened_check_unchanged(rs->inputs[k].inner, err);
    }
    return ret;
}
