/*
 * The vision towers of a merge. Towers that agree, by digest, are one frozen tower: copied, never
 * averaged. Where they differ the recipe has to say what it wants.
 */
#include <string.h>

#include "src/merge/plan.h"

int uqm_plan_digest_input(struct uqm_recipe_source *rs, size_t input, struct uqm_err *err)
{
    struct uqm_plan_input *in = &rs->inputs[input];
    if (in->has_digest)
        return UQM_OK;
    if (in->inner) {
        int ret = uqm_source_vision_digest(&in->digest, in->inner, rs->digests, err);
        in->has_digest = ret == UQM_OK;
        return ret;
    }
    int ret = uqm_digest_vision(&in->digest, rs->digests, in->checkpoint, &rs->digested_bytes, err);
    in->has_digest = ret == UQM_OK;
    return ret;
}

/* *differs: the first source whose tower is not `from`'s, or n_inputs. */
static int compare_towers(size_t *differs, struct uqm_recipe_source *rs,
                          const struct uqm_plan_slice *slice, size_t from, struct uqm_err *err)
{
    *differs = rs->n_inputs;
    for (size_t i = 0; i < slice->n_sources; i++) {
        size_t k = slice->sources[i].input;
        if (k == from || !rs->inputs[k].has_vision)
            continue;
        int ret = uqm_plan_digest_input(rs, from, err);
        if (ret == UQM_OK)
            ret = uqm_plan_digest_input(rs, k, err);
        if (ret < 0)
            return ret;
        if (strcmp(rs->inputs[k].digest.text, rs->inputs[from].digest.text) != 0) {
            *differs = k;
            break;
        }
    }
    return UQM_OK;
}

/* The home model's tower, else the first there is; n_inputs: none. */
static size_t owner_of(const struct uqm_recipe_source *rs, const struct uqm_plan_slice *slice)
{
    size_t owner = rs->n_inputs;
    for (size_t i = slice->n_sources; i-- > 0;) {
        size_t k = slice->sources[i].input;
        if (rs->inputs[k].has_vision && owner != rs->home)
            owner = k;
    }
    return owner;
}

static int towers_differ(const struct uqm_recipe_source *rs, size_t a, size_t b,
                         struct uqm_err *err)
{
    return uqm_fail(
        err, UQM_ERR_FORMAT,
        "%s: the vision towers of %s and %s differ (digests %.8s..., %.8s...); `uqmerge: "
        "{vision: copy}` in the recipe takes %s's, {vision: merge} averages them",
        rs->recipe->where, rs->inputs[a].model->path, rs->inputs[b].model->path,
        rs->inputs[a].digest.text, rs->inputs[b].digest.text, rs->inputs[a].model->path);
}

static bool some_beside(const struct uqm_recipe_source *rs, const struct uqm_plan_slice *slice)
{
    for (size_t i = 0; i < slice->n_sources; i++) {
        const struct uqm_plan_input *in = &rs->inputs[slice->sources[i].input];
        if (in->has_vision && in->vision_beside)
            return true;
    }
    return false;
}

/* A recipe that names the tower's module says that it is to be merged. */
static enum uqm_vision_policy policy_of(const struct uqm_recipe_source *rs,
                                        const struct uqm_plan_slice *slice)
{
    const char *module = slice->module->name;
    if (rs->recipe->vision == UQM_VISION_MUST_AGREE && module && strcmp(module, "default") != 0)
        return UQM_VISION_MERGE;
    return rs->recipe->vision;
}

/* Of all sources; with one there is nothing to compare. */
static uint64_t tower_bytes(const struct uqm_recipe_source *rs, const struct uqm_plan_slice *slice)
{
    uint64_t n = 0;
    for (size_t i = 0; i < slice->n_sources && slice->n_sources > 1; i++) {
        const struct uqm_source *s = &rs->inputs[slice->sources[i].input].checkpoint->source;
        for (size_t k = 0; k < s->n_tensors; k++)
            n += s->tensors[k].part == UQM_PART_VISION ? s->tensors[k].n_bytes : 0;
    }
    return n;
}

int uqm_plan_vision(struct uqm_vision_plan *out, struct uqm_recipe_source *rs,
                    const struct uqm_plan_slice *slice, struct uqm_err *err)
{
    enum uqm_vision_policy policy = policy_of(rs, slice);
    size_t from = owner_of(rs, slice), differs;

    *out = (struct uqm_vision_plan){ .copy = true, .from = from };
    rs->vision_owner = from;
    if (from == rs->n_inputs)
        return UQM_OK;
    out->outside = rs->inputs[from].vision_beside;
    rs->vision = "copied: the recipe takes the tower of one model";
    if (policy == UQM_VISION_COPY)
        return UQM_OK;

    if (rs->most_tower_bytes && tower_bytes(rs, slice) > rs->most_tower_bytes) {
        rs->vision = "copied, if the towers agree: they are compared when it is merged";
        return UQM_OK;
    }
    int ret = compare_towers(&differs, rs, slice, from, err);
    if (ret < 0)
        return ret;
    if (differs == rs->n_inputs) {
        rs->vision = out->outside ? "left where it is: one tower beside the models"
                                  : "copied: the towers agree";
        return UQM_OK;
    }
    if (policy == UQM_VISION_MUST_AGREE)
        return towers_differ(rs, from, differs, err);
    if (some_beside(rs, slice))
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: uqmerge vision: merge: towers that lie beside their models are not "
                        "part of the merge; give {vision: copy}",
                        rs->recipe->where);
    out->copy = false;
    rs->vision_owner = rs->n_inputs;
    rs->vision = "merged: the recipe averages towers that differ";
    return UQM_OK;
}
