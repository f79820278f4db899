#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/nearest.h"
#include "src/merge/plan_match.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { MOST_STACKS = 64 };

struct layered {
    uint64_t layer;
    size_t tensor;
};

/* The layers of one prefix in one input. */
struct stack {
    const char *name; /* a tensor's canonical name, the prefix is its beginning */
    size_t prefix_len;
    uint64_t n_layers;
};

/* One input's share of the module, in canonical order. */
struct share {
    size_t n, n_layered;
    size_t *tensors;
    struct layered *layered; /* by layer */
    size_t n_stacks;
    struct stack *stacks;
};

struct uqm_match_index {
    struct uqm_recipe_source *rs;
    size_t module;
    const char *prefix;
    struct share *shares; /* [n_inputs] */
};

bool uqm_match_takes_beside(const struct uqm_recipe_source *rs)
{
    return rs->recipe->modules[0].slices[0].whole && !rs->recipe->by_module;
}

const char *uqm_match_prefix(const struct uqm_match_index *index)
{
    return index->prefix;
}

/* --- modules --- */

/* The module that takes the tensor; n_modules: none. */
static size_t module_of(const struct uqm_recipe *r, const struct uqm_tensor *t)
{
    size_t best = r->n_modules, best_match = 0;
    if (!r->by_module)
        return 0;
    for (size_t i = 0; i < r->n_modules; i++) {
        size_t match = uqm_name_in_module(t, r->modules[i].name);
        if (match > best_match) {
            best = i;
            best_match = match;
        }
    }
    return best;
}

const struct uqm_recipe_module *uqm_plan_module_of(const struct uqm_recipe *recipe,
                                                   const struct uqm_tensor *tensor)
{
    size_t i = module_of(recipe, tensor);
    return i < recipe->n_modules ? &recipe->modules[i] : NULL;
}

static int nothing_in_module(const struct uqm_match_index *ix, struct uqm_err *err)
{
    static const char *const names[] = { "text_decoder", "vision_tower", "multi_modal_projector",
                                         "default" };
    const struct uqm_recipe *r = ix->rs->recipe;
    const struct uqm_recipe_module *m = &r->modules[ix->module];
    if (!m->name)
        return UQM_OK; /* models without tensors: the writer says so */
    struct uqm_printable shown;
    const char *near = uqm_nearest(m->name, names, COUNT(names));
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s:%d: module %s: no tensor of its models belongs to it; %s%stext_decoder, "
                    "vision_tower, multi_modal_projector, a prefix of tensor names, or default",
                    r->where, m->line, uqm_printable(&shown, m->name, strlen(m->name)),
                    near ? near : "", near ? "? There are " : "there are ");
}

/* --- shares --- */

static int by_layer(const void *a, const void *b)
{
    const struct layered *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* Note a layer of the stack that the tensor's name begins with. */
static bool note_layer(struct share *s, const char *name, const struct uqm_layer_name *at)
{
    size_t n = 0;
    while (n < s->n_stacks && (s->stacks[n].prefix_len != at->prefix_len ||
                               memcmp(s->stacks[n].name, name, at->prefix_len) != 0))
        n++;
    if (n == MOST_STACKS)
        return true; /* enough to know that they are many */
    if (n == s->n_stacks) {
        struct stack *grown = realloc(s->stacks, (s->n_stacks + 1) * sizeof *grown);
        if (!grown)
            return false;
        s->stacks = grown;
        grown[s->n_stacks++] = (struct stack){ name, at->prefix_len, 0 };
    }
    struct stack *k = &s->stacks[n];
    if (at->layer >= k->n_layers)
        k->n_layers = at->layer + 1;
    return true;
}

static int build_share(struct uqm_match_index *ix, size_t input, struct uqm_err *err)
{
    const struct uqm_checkpoint *cp = ix->rs->inputs[input].checkpoint;
    bool beside = uqm_match_takes_beside(ix->rs);
    struct share *s = &ix->shares[input];
    if (s->tensors)
        return UQM_OK;
    s->tensors = malloc((cp->source.n_tensors + 1) * sizeof *s->tensors);
    s->layered = malloc((cp->source.n_tensors + 1) * sizeof *s->layered);
    if (!s->tensors || !s->layered)
        return uqm_plan_no_memory(ix->rs, err);
    for (size_t i = 0; i < cp->source.n_tensors; i++) {
        const struct uqm_tensor *t = &cp->source.tensors[i];
        struct uqm_layer_name at;
        if ((!beside && uqm_plan_is_beside(cp, i)) || module_of(ix->rs->recipe, t) != ix->module)
            continue;
        s->tensors[s->n++] = i;
        if (!uqm_name_layer(&at, t->canonical))
            continue;
        s->layered[s->n_layered++] = (struct layered){ at.layer, i };
        /* buffers keep the spelling of their file: they go with the layers, but are no kind */
        if (!uqm_layout_is_buffer(t->name) && !note_layer(s, t->canonical, &at))
            return uqm_plan_no_memory(ix->rs, err);
    }
    if (s->n_layered > 1)
        qsort(s->layered, s->n_layered, sizeof *s->layered, by_layer);
    return UQM_OK;
}

/* --- checks --- */

static bool same_prefix(const struct stack *a, const struct stack *b)
{
    return a->prefix_len == b->prefix_len && memcmp(a->name, b->name, a->prefix_len) == 0;
}

/* Models that are merged whole have equally many layers of a kind. */
static int check_depths(const struct uqm_match_index *ix, const struct uqm_plan_slice *slice,
                        struct uqm_err *err)
{
    const struct uqm_recipe_source *rs = ix->rs;
    for (size_t i = 1; i < slice->n_sources; i++) {
        const struct share *a = &ix->shares[slice->sources[0].input];
        const struct share *b = &ix->shares[slice->sources[i].input];
        for (size_t x = 0; x < a->n_stacks; x++)
            for (size_t y = 0; y < b->n_stacks; y++) {
                const struct stack *sa = &a->stacks[x], *sb = &b->stacks[y];
                struct uqm_printable name;
                if (!same_prefix(sa, sb) || sa->n_layers == sb->n_layers)
                    continue;
                return uqm_fail(err, UQM_ERR_FORMAT,
                                "%s:%d: %s has %" PRIu64 " layers of %s, but %s has %" PRIu64
                                "; slices say which are merged",
                                rs->recipe->where, slice->sources[i].recipe->line,
                                rs->inputs[slice->sources[i].input].model->path, sb->n_layers,
                                uqm_printable(&name, sa->name, sa->prefix_len - 1),
                                rs->inputs[slice->sources[0].input].model->path, sa->n_layers);
            }
    }
    return UQM_OK;
}

/* What is sliced has layers of one kind. */
static int find_prefix(struct uqm_match_index *ix, const struct uqm_plan_slice *slice,
                       const struct uqm_plan_source *source, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = ix->rs;
    const struct share *s = &ix->shares[source->input];
    const char *path = rs->inputs[source->input].model->path;
    struct uqm_printable a, b;
    for (size_t k = 0; k < s->n_stacks; k++) {
        const struct stack *t = &s->stacks[k];
        if (!ix->prefix) {
            ix->prefix = uqm_arena_strndup(&rs->arena, t->name, t->prefix_len);
            if (!ix->prefix)
                return uqm_plan_no_memory(rs, err);
        }
        if (strlen(ix->prefix) == t->prefix_len && memcmp(ix->prefix, t->name, t->prefix_len) == 0)
            continue;
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s:%d: slices: layers of %s and of %s (in %s): `modules` say which are "
                        "stacked",
                        rs->recipe->where, slice->recipe->line,
                        uqm_printable(&a, ix->prefix, strlen(ix->prefix) - 1),
                        uqm_printable(&b, t->name, t->prefix_len - 1), path);
    }
    uint64_t n_layers = s->n_stacks ? s->stacks[0].n_layers : 0;
    if (source->recipe->end <= n_layers)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "%s:%d: layer_range [%" PRIu64 ", %" PRIu64 "]: %s has %" PRIu64 " layers",
                    rs->recipe->where, source->recipe->line, source->recipe->first,
                    source->recipe->end, path, n_layers);
}

static int check_slice(struct uqm_match_index *ix, const struct uqm_plan_slice *slice,
                       bool allow_crimes, struct uqm_err *err)
{
    if (slice->recipe->whole)
        return allow_crimes ? UQM_OK : check_depths(ix, slice, err);
    for (size_t i = 0; i < slice->n_sources; i++) {
        int ret = find_prefix(ix, slice, &slice->sources[i], err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

int uqm_match_index_create(struct uqm_match_index **out, struct uqm_recipe_source *rs,
                           size_t module, const struct uqm_plan_slice *slices, bool allow_crimes,
                           struct uqm_err *err)
{
    size_t n_slices = rs->recipe->modules[module].n_slices, n_tensors = 0;
    struct uqm_match_index *ix = calloc(1, sizeof *ix);
    if (!ix)
        return uqm_plan_no_memory(rs, err);
    ix->rs = rs;
    ix->module = module;
    ix->shares = calloc(rs->n_inputs, sizeof *ix->shares);
    int ret = ix->shares ? UQM_OK : uqm_plan_no_memory(rs, err);
    for (size_t s = 0; s < n_slices && ret == UQM_OK; s++)
        for (size_t i = 0; i < slices[s].n_sources && ret == UQM_OK; i++)
            ret = build_share(ix, slices[s].sources[i].input, err);
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++)
        n_tensors += ix->shares[k].n;
    if (ret == UQM_OK && n_tensors == 0)
        ret = nothing_in_module(ix, err);
    for (size_t s = 0; s < n_slices && ret == UQM_OK; s++)
        ret = check_slice(ix, &slices[s], allow_crimes, err);
    if (ret < 0)
        uqm_match_index_destroy(&ix);
    else
        *out = ix;
    return ret;
}

void uqm_match_index_destroy(struct uqm_match_index **index)
{
    struct uqm_match_index *ix = *index;
    if (!ix)
        return;
    for (size_t k = 0; ix->shares && k < ix->rs->n_inputs; k++) {
        free(ix->shares[k].tensors);
        free(ix->shares[k].layered);
        free(ix->shares[k].stacks);
    }
    free(ix->shares);
    free(ix);
    *index = NULL;
}

/* --- views --- */

static void view_whole(struct uqm_match_view *v, const struct share *s,
                       const struct uqm_tensor *tensors)
{
    for (size_t i = 0; i < s->n; i++)
        v->items[v->n++] =
            (struct uqm_match_item){ tensors[s->tensors[i]].canonical, s->tensors[i] };
}

/* Before the first slice's layers, behind the last one's. */
static void view_loose(struct uqm_match_view *v, const struct share *s,
                       const struct uqm_tensor *tensors, const struct uqm_plan_slice *slice)
{
    struct uqm_layer_name at;
    for (size_t i = 0; i < s->n; i++) {
        const char *name = tensors[s->tensors[i]].canonical;
        if (uqm_name_layer(&at, name))
            continue;
        if (uqm_name_is_before(name) ? slice->is_first : slice->is_last)
            v->items[v->n++] = (struct uqm_match_item){ name, s->tensors[i] };
    }
}

static size_t first_of_layer(const struct share *s, uint64_t layer)
{
    size_t low = 0, high = s->n_layered;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->layered[mid].layer < layer)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int by_key(const void *a, const void *b)
{
    const struct uqm_match_item *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static int view_layers(struct uqm_match_view *v, const struct uqm_match_index *ix,
                       const struct share *s, const struct uqm_tensor *tensors,
                       const struct uqm_plan_slice *slice, const struct uqm_recipe_input *in,
                       struct uqm_err *err)
{
    size_t i = first_of_layer(s, in->first), end = first_of_layer(s, in->end);
    for (; i < end; i++) {
        const struct uqm_tensor *t = &tensors[s->layered[i].tensor];
        struct uqm_layer_name at;
        if (!uqm_name_layer(&at, t->canonical))
            continue;
        uint64_t layer = slice->first_layer + at.layer - in->first;
        const char *key = t->canonical;
        if (layer != at.layer)
            key = uqm_arena_printf(&ix->rs->arena, "%.*s%" PRIu64 "%s", (int) at.prefix_len,
                                   t->canonical, layer, at.rest);
        if (!key)
            return uqm_plan_no_memory(ix->rs, err);
        v->items[v->n++] = (struct uqm_match_item){ key, s->layered[i].tensor };
    }
    return UQM_OK;
}

int uqm_match_view(struct uqm_match_view *out, const struct uqm_match_index *index,
                   const struct uqm_plan_slice *slice, size_t i, struct uqm_err *err)
{
    const struct uqm_plan_source *source = &slice->sources[i];
    const struct share *s = &index->shares[source->input];
    const struct uqm_tensor *tensors = index->rs->inputs[source->input].checkpoint->source.tensors;
    int ret = UQM_OK;
    *out = (struct uqm_match_view){ .items = malloc((s->n + 1) * sizeof *out->items) };
    if (!out->items)
        return uqm_plan_no_memory(index->rs, err);
    if (slice->recipe->whole) {
        view_whole(out, s, tensors);
        return UQM_OK;
    }
    if (slice->is_first || slice->is_last)
        view_loose(out, s, tensors, slice);
    ret = view_layers(out, index, s, tensors, slice, source->recipe, err);
    if (ret == UQM_OK && out->n > 1)
        qsort(out->items, out->n, sizeof *out->items, by_key);
    return ret;
}
