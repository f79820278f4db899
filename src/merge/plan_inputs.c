/* The models of a recipe: found, opened, told apart; and the inputs of every slice (spec merge.md
 * 3). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/merge/plan.h"

/* --- models --- */

/* 1: a folder or a file; 0: neither; or a failure. */
static int is_there(const char *path, struct uqm_err *err)
{
    int ret = uqm_find_dir(path, err);
    return ret == 0 ? uqm_find_file(path, err) : ret;
}

int uqm_plan_find_model(char **out, const struct uqm_recipe *recipe,
                        const struct uqm_recipe_model *model, struct uqm_err *err)
{
    const struct uqm_recipe *r = recipe;
    const struct uqm_recipe_model *m = model;
    char *dir = uqm_path_dir(r->where), *beside = dir ? uqm_path_join(dir, m->path) : NULL;
    int ret = UQM_OK;
    *out = NULL;
    if (!beside)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", r->where);
    else if ((ret = is_there(m->path, err)) > 0)
        *out = strdup(m->path);
    else if (ret == 0 && (ret = is_there(beside, err)) > 0)
        *out = strdup(beside);
    else if (ret == 0)
        ret = uqm_fail(err, UQM_ERR_IO, "%s:%d: model %s: no such folder or file%s%s", r->where,
                       m->line, m->path, m->path[0] == '/' ? "" : ", nor in the folder ",
                       m->path[0] == '/' ? "" : dir);
    if (ret > 0)
        ret = *out ? UQM_OK : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", r->where);
    free(dir);
    free(beside);
    return ret;
}

static void note_vision(struct uqm_plan_input *in)
{
    const struct uqm_checkpoint *cp = in->checkpoint;
    for (size_t i = 0; i < cp->source.n_tensors; i++)
        if (cp->source.tensors[i].part == UQM_PART_VISION) {
            in->has_vision = true;
            in->vision_beside = uqm_plan_is_beside(cp, i);
            return;
        }
}

static int open_input(struct uqm_plan_input *in, struct uqm_recipe_source *rs, const char *path,
                      const struct uqm_open_params *params, struct uqm_err *err)
{
    if (uqm_is_recipe_path(path))
        return uqm_plan_inner_open(in, rs, path, NULL, params, err);
    struct uqm_checkpoint_params cp = {
        .path = path,
        .vision_tower = params->need_vision ? params->vision_tower : NULL,
        .need_vision = params->need_vision,
        .quiet = params->quiet,
    };
    int ret = uqm_checkpoint_open(&in->checkpoint, rs->source.env, &cp, err);
    if (ret < 0)
        return ret;
    note_vision(in);
    return UQM_OK;
}

static const char *architecture_of(const struct uqm_plan_input *in)
{
    return in->model->architecture ? in->model->architecture : in->checkpoint->architecture;
}

/* LLaVA's two class names, its own and transformers', stand for one network in two layouts. */
static bool same_network(const char *a, const char *b)
{
    static const char *const llava[] = { "LlavaLlamaForCausalLM", "LlavaForConditionalGeneration" };
    bool a_is_llava = strcmp(a, llava[0]) == 0 || strcmp(a, llava[1]) == 0;
    bool b_is_llava = strcmp(b, llava[0]) == 0 || strcmp(b, llava[1]) == 0;
    return strcmp(a, b) == 0 || (a_is_llava && b_is_llava);
}

static int check_architectures(const struct uqm_recipe_source *rs,
                               const struct uqm_open_params *params, struct uqm_err *err)
{
    const struct uqm_plan_input *home = &rs->inputs[rs->home];
    const char *want = architecture_of(home);
    for (size_t k = 0; k < rs->n_inputs && want && !params->allow_crimes; k++) {
        const char *is = architecture_of(&rs->inputs[k]);
        if (is && !same_network(is, want))
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s:%d: %s is a %s, but %s is a %s; --allow-crimes merges them all "
                            "the same",
                            rs->recipe->where, rs->inputs[k].model->line, rs->inputs[k].model->path,
                            is, home->model->path, want);
    }
    return UQM_OK;
}

/* Open the model unless an earlier one is the same folder. real[k]: where input k leads to. */
static int open_model(struct uqm_recipe_source *rs, char **real, size_t m,
                      const struct uqm_open_params *params, struct uqm_err *err)
{
    char *path, *where;
    size_t k = 0;
    const struct uqm_recipe_model *model = &rs->recipe->models[m];
    const struct uqm_recipe *named = uqm_recipe_stream_find(params->stream, model->path);
    if (named) { /* a recipe of this file; its name stands once among the models */
        struct uqm_plan_input *in = &rs->inputs[rs->n_inputs];
        rs->input_of[m] = rs->n_inputs;
        in->model = model;
        real[rs->n_inputs] = strdup("");
        if (!real[rs->n_inputs++])
            return uqm_plan_no_memory(rs, err);
        return uqm_plan_inner_open(in, rs, rs->recipe->where, named, params, err);
    }
    int ret = uqm_plan_find_model(&path, rs->recipe, model, err);
    if (ret < 0)
        return ret;
    where = realpath(path, NULL);
    if (!where)
        ret = uqm_fail_errno(err, "%s", path);
    while (ret == UQM_OK && k < rs->n_inputs && strcmp(real[k], where) != 0)
        k++;
    rs->input_of[m] = k;
    if (ret == UQM_OK && k == rs->n_inputs) {
        rs->inputs[k].model = model;
        real[rs->n_inputs++] = where;
        where = NULL;
        ret = open_input(&rs->inputs[k], rs, path, params, err);
    }
    free(where);
    free(path);
    return ret;
}

static int open_models(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                       struct uqm_err *err)
{
    const struct uqm_recipe *r = rs->recipe;
    char **real = calloc(r->n_models, sizeof *real);
    int ret = UQM_OK;

    rs->inputs = uqm_arena_alloc(&rs->arena, r->n_models, sizeof *rs->inputs);
    rs->input_of = uqm_arena_alloc(&rs->arena, r->n_models, sizeof *rs->input_of);
    if (!real || !rs->inputs || !rs->input_of)
        ret = uqm_plan_no_memory(rs, err);
    for (size_t m = 0; m < r->n_models && ret == UQM_OK; m++)
        ret = open_model(rs, real, m, params, err);
    for (size_t k = 0; real && k < rs->n_inputs; k++)
        free(real[k]);
    free(real);
    if (ret == UQM_OK)
        rs->home = rs->input_of[r->base >= 0 ? r->base : 0];
    return ret == UQM_OK ? check_architectures(rs, params, err) : ret;
}

/* --- slices --- */

static int wrong_count(const struct uqm_recipe_source *rs, const struct uqm_plan_slice *s, size_t n,
                       struct uqm_err *err)
{
    const struct uqm_method_info *m = rs->recipe->method;
    bool counts_base = m->base == UQM_BASE_ORDINARY;
    const char *how = m->least == m->most ? "exactly" : n < m->least ? "at least" : "at most";
    size_t want = n < m->least ? m->least : m->most;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: merge method %s takes %s %zu model%s%s, not %zu",
                    rs->recipe->where, s->recipe->line, m->name, how, want, want == 1 ? "" : "s",
                    counts_base ? "" : " beside the base", n);
}

/* Section 3's table: is there a base, are there enough others. */
static int check_counts(const struct uqm_recipe_source *rs, const struct uqm_plan_slice *s,
                        struct uqm_err *err)
{
    const struct uqm_recipe *r = rs->recipe;
    const struct uqm_method_info *m = r->method;
    size_t n = s->n_sources;
    if (m->base != UQM_BASE_ORDINARY) {
        if (s->recipe->base >= 0 && !s->has_base)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s:%d: base_model %s is none of this slice's sources, and merge "
                            "method %s needs it there",
                            r->where, s->recipe->line, r->models[s->recipe->base].path, m->name);
        if (m->base == UQM_BASE_REQUIRED && !s->has_base)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: merge method %s needs a base_model",
                            r->where, s->recipe->line, m->name);
        n -= s->has_base;
    }
    return n < m->least || n > m->most ? wrong_count(rs, s, n, err) : UQM_OK;
}

/* A base that is only another spelling of a listed model is not added. */
static int settle_sources(struct uqm_recipe_source *rs, struct uqm_plan_slice *s,
                          struct uqm_err *err)
{
    const struct uqm_recipe_slice *slice = s->recipe;
    const struct uqm_recipe *r = rs->recipe;
    s->sources = uqm_arena_alloc(&rs->arena, slice->n_inputs, sizeof *s->sources);
    if (!s->sources)
        return uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < slice->n_inputs; i++) {
        const struct uqm_recipe_input *in = &slice->inputs[i];
        size_t input = rs->input_of[in->model], twin = 0;
        while (twin < s->n_sources && s->sources[twin].input != input)
            twin++;
        if (twin < s->n_sources && in->added)
            continue;
        if (twin < s->n_sources)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: model %s is model %s of line %d again",
                            r->where, in->line, r->models[in->model].path,
                            r->models[s->sources[twin].recipe->model].path,
                            s->sources[twin].recipe->line);
        bool is_base = slice->base >= 0 && rs->input_of[slice->base] == input;
        s->sources[s->n_sources++] = (struct uqm_plan_source){ input, is_base, in };
        s->has_base = s->has_base || is_base;
    }
    return check_counts(rs, s, err);
}

static int settle_slices(struct uqm_recipe_source *rs, struct uqm_err *err)
{
    const struct uqm_recipe *r = rs->recipe;
    size_t n = 0;
    for (size_t m = 0; m < r->n_modules; m++)
        n += r->modules[m].n_slices;
    rs->slices = uqm_arena_alloc(&rs->arena, n, sizeof *rs->slices);
    if (!rs->slices)
        return uqm_plan_no_memory(rs, err);
    for (size_t m = 0; m < r->n_modules; m++)
        for (size_t i = 0; i < r->modules[m].n_slices; i++) {
            struct uqm_plan_slice *s = &rs->slices[rs->n_slices++];
            s->module = &r->modules[m];
            s->recipe = &r->modules[m].slices[i];
            s->is_first = i == 0;
            s->is_last = i + 1 == r->modules[m].n_slices;
            int ret = settle_sources(rs, s, err);
            if (ret < 0)
                return ret;
        }
    return UQM_OK;
}

int uqm_plan_open_inputs(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                         struct uqm_err *err)
{
    int ret = open_models(rs, params, err);
    return ret == UQM_OK ? settle_slices(rs, err) : ret;
}
