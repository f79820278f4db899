#include "src/merge/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"

#define HEAD_NAME      "language_model.lm_head.weight"
#define EMBEDDING_NAME "language_model.model.embed_tokens.weight"

const char *uqm_fate_name(enum uqm_fate fate)
{
    static const char *const names[UQM_N_FATES] = { "merged", "copied", "equal" };
    return names[fate];
}

int uqm_plan_no_memory(const struct uqm_recipe_source *rs, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the plan", rs->recipe->where);
}

/* --- inputs --- */

/* A model's path: as it stands, else from the recipe's folder. malloc'ed. */
static int find_model(char **out, const struct uqm_recipe *r, const struct uqm_recipe_model *m,
                      struct uqm_err *err)
{
    const char *ending = strrchr(m->path, '.');
    if (ending && (strcmp(ending, ".yml") == 0 || strcmp(ending, ".yaml") == 0))
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s:%d: model %s: a recipe inside a recipe is not in this version",
                        r->where, m->line, m->path);
    char *dir = uqm_path_dir(r->where), *beside = dir ? uqm_path_join(dir, m->path) : NULL;
    int ret = UQM_OK;
    *out = NULL;
    if (!beside)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", r->where);
    else if (uqm_is_dir(m->path) || uqm_is_file(m->path))
        *out = strdup(m->path);
    else if (uqm_is_dir(beside) || uqm_is_file(beside))
        *out = strdup(beside);
    else
        ret = uqm_fail(err, UQM_ERR_IO, "%s:%d: model %s: no such folder or file%s%s", r->where,
                       m->line, m->path, m->path[0] == '/' ? "" : ", nor in the folder ",
                       m->path[0] == '/' ? "" : dir);
    if (ret == UQM_OK && !*out)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", r->where);
    free(dir);
    free(beside);
    return ret;
}

/* Two spellings of one folder are one model. A base that turns out to be listed is not added. */
static int check_twice(struct uqm_recipe_source *rs, char *const *real, size_t k, bool *drop,
                       struct uqm_err *err)
{
    const struct uqm_recipe *r = rs->recipe;
    *drop = false;
    for (size_t i = 0; i < k; i++) {
        if (strcmp(real[i], real[k]) != 0)
            continue;
        if (r->base == (long) k && k + 1 == r->n_models) {
            rs->home = i;
            *drop = true;
            return UQM_OK;
        }
        return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: model %s is model %s of line %d again",
                        r->where, r->models[k].line, r->models[k].path, r->models[i].path,
                        r->models[i].line);
    }
    return UQM_OK;
}

static void note_vision(struct uqm_plan_input *in)
{
    const struct uqm_checkpoint *cp = in->checkpoint;
    for (size_t i = 0; i < cp->source.n_tensors; i++)
        if (cp->source.tensors[i].part == UQM_PART_VISION) {
            in->has_vision = true;
            in->vision_beside = cp->locations[i].file >= cp->n_own_files;
            return;
        }
}

static int open_input(struct uqm_plan_input *in, struct uqm_recipe_source *rs, const char *path,
                      const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_checkpoint_params cp = {
        .path = path,
        .vision_tower = params->need_vision ? params->vision_tower : NULL,
        .need_vision = params->need_vision,
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

static int open_inputs(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                       struct uqm_err *err)
{
    const struct uqm_recipe *r = rs->recipe;
    char **real = calloc(r->n_models, sizeof *real);
    int ret = UQM_OK;

    rs->inputs = uqm_arena_alloc(&rs->arena, r->n_models, sizeof *rs->inputs);
    if (!real || !rs->inputs) {
        free(real);
        return uqm_plan_no_memory(rs, err);
    }
    rs->home = r->base >= 0 ? (size_t) r->base : 0;
    for (size_t k = 0; k < r->n_models && ret == UQM_OK; k++) {
        char *path;
        bool drop = false;
        ret = find_model(&path, r, &r->models[k], err);
        if (ret < 0)
            break;
        real[k] = realpath(path, NULL);
        ret = real[k] ? check_twice(rs, real, k, &drop, err) : uqm_fail_errno(err, "%s", path);
        if (ret == UQM_OK && !drop) {
            rs->inputs[k].model = &r->models[k];
            ret = open_input(&rs->inputs[k], rs, path, params, err);
            rs->n_inputs = k + 1;
        }
        free(path);
    }
    for (size_t k = 0; k < r->n_models; k++)
        free(real[k]);
    free(real);
    return ret == UQM_OK ? check_architectures(rs, params, err) : ret;
}

/* --- tensors --- */

static const struct uqm_tensor *part_tensor(const struct uqm_recipe_source *rs,
                                            const struct uqm_plan_part *p)
{
    return &rs->inputs[p->input].checkpoint->source.tensors[p->tensor];
}

static void print_shape(char out[128], const struct uqm_tensor *t)
{
    size_t n = 1;
    out[0] = '[';
    for (unsigned d = 0; d < t->rank && n < 100; d++)
        n += (size_t) snprintf(out + n, 128 - n, "%s%" PRIu64, d ? ", " : "", t->shape[d]);
    snprintf(out + n, 128 - n, "%s]", n >= 100 ? "..." : "");
}

static int check_shapes(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt,
                        struct uqm_err *err)
{
    const struct uqm_tensor *a = part_tensor(rs, &pt->parts[0]);
    for (size_t i = 1; i < pt->n_parts; i++) {
        const struct uqm_tensor *b = part_tensor(rs, &pt->parts[i]);
        if (a->rank == b->rank &&
            (a->rank == 0 || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0))
            continue;
        char sa[128], sb[128];
        struct uqm_printable name;
        print_shape(sa, a);
        print_shape(sb, b);
        return uqm_fail(err, UQM_ERR_FORMAT, "tensor %s: shape %s in %s, but %s in %s",
                        uqm_printable(&name, a->name, strlen(a->name)), sa,
                        rs->inputs[pt->parts[0].input].model->path, sb,
                        rs->inputs[pt->parts[i].input].model->path);
    }
    return UQM_OK;
}

/* What is averaged: floating-point weights. Buffers and other types have to be equal. */
static enum uqm_fate fate_of(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt)
{
    for (size_t i = 0; i < pt->n_parts; i++) {
        const struct uqm_tensor *t = part_tensor(rs, &pt->parts[i]);
        if (!uqm_dtype_is_arithmetic(t->dtype) || uqm_layout_is_buffer(t->name))
            return UQM_FATE_EQUAL;
    }
    return UQM_FATE_MERGED;
}

static int check_equal_dtypes(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt,
                              struct uqm_err *err)
{
    const struct uqm_tensor *a = part_tensor(rs, &pt->parts[0]);
    for (size_t i = 1; i < pt->n_parts; i++) {
        const struct uqm_tensor *b = part_tensor(rs, &pt->parts[i]);
        struct uqm_printable name;
        if (a->dtype != b->dtype)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "tensor %s: %s in %s, but %s in %s; it is not averaged, so all inputs "
                            "must hold the same",
                            uqm_printable(&name, a->name, strlen(a->name)),
                            uqm_dtype_name(a->dtype), rs->inputs[pt->parts[0].input].model->path,
                            uqm_dtype_name(b->dtype), rs->inputs[pt->parts[i].input].model->path);
    }
    return UQM_OK;
}

/* The networks' own weights belong to every model of an architecture; others may be extra. */
static int check_present(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt,
                         bool allow_crimes, struct uqm_err *err)
{
    const struct uqm_tensor *a = part_tensor(rs, &pt->parts[0]);
    if (!pt->partial || allow_crimes || pt->fate != UQM_FATE_MERGED ||
        (a->part != UQM_PART_LANGUAGE && a->part != UQM_PART_ADAPTER))
        return UQM_OK;
    size_t lacks = 0;
    while (lacks < pt->n_parts && pt->parts[lacks].input == lacks)
        lacks++;
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "tensor %s is in %s, but not in %s; --allow-crimes merges it over those that "
                    "have it",
                    uqm_printable(&name, a->name, strlen(a->name)),
                    rs->inputs[pt->parts[0].input].model->path, rs->inputs[lacks].model->path);
}

/* Walks the inputs' tensors, all ascending by canonical name, side by side. */
struct matching {
    struct uqm_recipe_source *rs;
    const struct uqm_vision_plan *vision;
    bool allow_crimes;
    size_t *at;                  /* [n_inputs] the next tensor of each */
    struct uqm_plan_part *parts; /* [n_inputs] scratch */
    struct uqm_tensor *tensors;
};

/* The least canonical name that is left, or NULL. */
static const char *next_name(const struct matching *m)
{
    const char *least = NULL;
    for (size_t k = 0; k < m->rs->n_inputs; k++) {
        const struct uqm_source *s = &m->rs->inputs[k].checkpoint->source;
        if (m->at[k] < s->n_tensors &&
            (!least || strcmp(s->tensors[m->at[k]].canonical, least) < 0))
            least = s->tensors[m->at[k]].canonical;
    }
    return least;
}

static struct uqm_plan_part part_of(const struct uqm_recipe_source *rs, size_t k, size_t tensor)
{
    bool is_base = rs->recipe->base >= 0 && k == rs->home;
    return (struct uqm_plan_part){ .input = k, .tensor = tensor, .is_base = is_base };
}

/* Take the tensor of this name from every input that has it. */
static size_t gather(struct matching *m, const char *name)
{
    size_t n = 0;
    for (size_t k = 0; k < m->rs->n_inputs; k++) {
        const struct uqm_source *s = &m->rs->inputs[k].checkpoint->source;
        if (m->at[k] < s->n_tensors && strcmp(s->tensors[m->at[k]].canonical, name) == 0)
            m->parts[n++] = part_of(m->rs, k, m->at[k]++);
        else if (strcmp(name, HEAD_NAME) == 0) {
            /* a tied head: the embedding stands in for it (spec merge.md 4) */
            long stand_in = uqm_source_find(s, EMBEDDING_NAME);
            if (stand_in >= 0)
                m->parts[n++] = part_of(m->rs, k, (size_t) stand_in);
        }
    }
    return n;
}

/* With one tower for all, its owner's part alone. 0: the tensor is left out. */
static size_t keep_owner(struct matching *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->parts[i].input == m->vision->from) {
            m->parts[0] = m->parts[i];
            return 1;
        }
    return 0;
}

static const char *greatest_name(const struct uqm_recipe_source *rs,
                                 const struct uqm_plan_tensor *pt)
{
    const char *best = part_tensor(rs, &pt->parts[0])->name;
    for (size_t i = 1; i < pt->n_parts; i++) {
        const char *name = part_tensor(rs, &pt->parts[i])->name;
        if (strcmp(name, best) > 0)
            best = name;
    }
    return best;
}

/* The output tensor: the home model's spelling, else the first's that has it. */
static int add_tensor(struct matching *m, size_t n, bool is_vision, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = m->rs;
    struct uqm_plan_tensor *pt = &rs->plan[rs->source.n_tensors];
    const struct uqm_plan_part *speller = &m->parts[0];
    size_t n_all = n;
    int ret;

    if (is_vision && m->vision->copy) {
        n = keep_owner(m, n);
        rs->n_left_out += n ? 0 : n_all;
        if (n == 0)
            return UQM_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (m->parts[i].input == rs->home)
            speller = &m->parts[i];
    struct uqm_tensor *t = &m->tensors[rs->source.n_tensors];
    *t = *part_tensor(rs, speller);

    pt->parts = uqm_arena_alloc(&rs->arena, n, sizeof *pt->parts);
    if (!pt->parts)
        return uqm_plan_no_memory(rs, err);
    memcpy(pt->parts, m->parts, n * sizeof *pt->parts);
    pt->n_parts = n;
    pt->partial = n_all < rs->n_inputs;
    pt->outside = is_vision && m->vision->outside;
    pt->sort_name = greatest_name(rs, pt);
    pt->fate = is_vision && m->vision->copy ? UQM_FATE_COPIED : fate_of(rs, pt);
    if (pt->fate == UQM_FATE_COPIED && !uqm_dtype_is_arithmetic(t->dtype))
        pt->fate = UQM_FATE_EQUAL;
    ret = check_shapes(rs, pt, err);
    if (ret == UQM_OK && pt->fate == UQM_FATE_EQUAL)
        ret = check_equal_dtypes(rs, pt, err);
    if (ret == UQM_OK)
        ret = check_present(rs, pt, m->allow_crimes, err);
    if (n > rs->max_parts)
        rs->max_parts = n;
    rs->source.n_tensors++;
    return ret;
}

/* `name` of the stand-in's tensor is the embedding's: a written head is spelled as a head. */
static int spell_head(struct uqm_recipe_source *rs, struct uqm_tensor *t, const char *canonical,
                      struct uqm_err *err)
{
    if (strcmp(canonical, t->canonical) == 0)
        return UQM_OK;
    static const char embedding[] = "embed_tokens.weight", head[] = "lm_head.weight";
    static const char *const between[] = { "model.language_model.", "language_model.model.",
                                           "model." };
    static const char *const becomes[] = { "", "language_model.", "" };
    const char *prefix = "";
    for (size_t i = 0; i < 3 && !*prefix; i++) {
        size_t len = strlen(between[i]);
        if (strncmp(t->name, between[i], len) == 0 && strcmp(t->name + len, embedding) == 0) {
            prefix = becomes[i];
            break;
        }
    }
    t->name = uqm_arena_printf(&rs->arena, "%s%s", prefix, head);
    t->canonical = canonical;
    return t->name ? UQM_OK : uqm_plan_no_memory(rs, err);
}

static int match_all(struct matching *m, struct uqm_err *err)
{
    const char *name;
    while ((name = next_name(m))) {
        size_t n = gather(m, name), at = m->rs->source.n_tensors;
        if (n == 0)
            continue;
        const struct uqm_tensor *first = part_tensor(m->rs, &m->parts[0]);
        int ret = add_tensor(m, n, first->part == UQM_PART_VISION, err);
        if (ret == UQM_OK && m->rs->source.n_tensors > at)
            ret = spell_head(m->rs, &m->tensors[at], name, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int match_tensors(struct uqm_recipe_source *rs, const struct uqm_vision_plan *vision,
                         bool allow_crimes, struct uqm_err *err)
{
    size_t most = 0;
    for (size_t k = 0; k < rs->n_inputs; k++)
        most += rs->inputs[k].checkpoint->source.n_tensors;
    struct matching m = {
        .rs = rs,
        .vision = vision,
        .allow_crimes = allow_crimes,
        .at = calloc(rs->n_inputs, sizeof *m.at),
        .parts = calloc(rs->n_inputs, sizeof *m.parts),
        .tensors = uqm_arena_alloc(&rs->arena, most + 1, sizeof *m.tensors),
    };
    rs->plan = uqm_arena_alloc(&rs->arena, most + 1, sizeof *rs->plan);
    rs->source.tensors = m.tensors;
    int ret =
        m.at && m.parts && m.tensors && rs->plan ? match_all(&m, err) : uqm_plan_no_memory(rs, err);
    free(m.at);
    free(m.parts);
    return ret;
}

/* Nothing is dropped in silence: tensors that some inputs lack are told. */
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
                    rs->plan[first].n_parts, rs->n_inputs);
}

/* --- the source --- */

static void destroy_source(struct uqm_source *source)
{
    struct uqm_recipe_source *rs = (struct uqm_recipe_source *) source;
    for (size_t k = 0; k < rs->n_inputs; k++)
        uqm_checkpoint_close(&rs->inputs[k].checkpoint);
    uqm_digest_cache_finish(&rs->own_digests);
    uqm_arena_finish(&rs->arena);
    uqm_recipe_free(&rs->owned);
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

bool uqm_method_is_computed(const struct uqm_method_info *method)
{
    return method->id == UQM_METHOD_LINEAR;
}

static int check_method(const struct uqm_recipe *r, struct uqm_err *err)
{
    if (!r->modules[0].slices[0].whole || r->by_module)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s:%d: slices and modules are not planned yet",
                        r->where, r->modules[0].line);
    if (r->tokenizer.line || r->chat_template)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s:%d: tokenizers and chat templates are not merged by this version; "
                        "without the key the tokenizer's files are copied",
                        r->where, r->tokenizer.line ? r->tokenizer.line : r->chat_template_line);
    if (uqm_method_is_computed(r->method))
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: merge method %s is not computed by this version",
                    r->where, r->method->name);
}

int uqm_recipe_open(struct uqm_source **out, struct uqm_env *env, const struct uqm_recipe *recipe,
                    const struct uqm_open_params *params, struct uqm_err *err)
{
    struct uqm_vision_plan vision = { 0 };
    struct uqm_recipe_source *rs = calloc(1, sizeof *rs);
    if (!rs)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the plan", recipe->where);
    rs->source.ops = &recipe_ops;
    rs->source.env = env;
    rs->source.name = recipe->name;
    rs->recipe = recipe;
    rs->widening = 1;
    rs->digests = params->digests ? params->digests : &rs->own_digests;

    int ret = check_method(recipe, err);
    if (ret == UQM_OK)
        ret = open_inputs(rs, params, err);
    if (ret == UQM_OK) {
        rs->source.home = rs->inputs[rs->home].checkpoint->source.home;
        ret = uqm_plan_vision(&vision, rs, err);
    }
    if (ret == UQM_OK)
        ret = match_tensors(rs, &vision, params->allow_crimes, err);
    if (ret == UQM_OK)
        ret = tell_partial(rs, err);
    if (ret == UQM_OK)
        ret = uqm_plan_weights(rs, err);
    if (ret < 0) {
        destroy_source(&rs->source);
        return ret;
    }
    *out = &rs->source;
    return UQM_OK;
}
