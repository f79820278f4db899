/*
 * The tensors of the output, slice by slice (spec merge.md 7, 8). A source's tensors get keys: the
 * canonical names that they have in the output, with the output's layer number. Equal keys are one
 * output tensor.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/merge/plan_match.h"

enum { MOST_TENSORS = 1 << 22 };

/* --- output --- */

struct made {
    struct uqm_tensor tensor;
    struct uqm_plan_tensor plan;
};

struct matching {
    struct uqm_recipe_source *rs;
    const struct uqm_open_params *params;
    struct made *made;
    size_t n_made, made_cap;
    /* the slice in hand */
    const struct uqm_plan_slice *slice;
    struct uqm_match_view *views; /* [n_sources] */
    struct uqm_plan_part *parts;  /* [n_sources] scratch */
    bool has_vision;              /* `vision` is settled */
    struct uqm_vision_plan vision;
};

static struct made *push(struct matching *m, struct uqm_err *err)
{
    if (m->n_made == m->made_cap) {
        size_t cap = m->made_cap ? 2 * m->made_cap : 256;
        struct made *grown = cap <= MOST_TENSORS ? realloc(m->made, cap * sizeof *grown) : NULL;
        if (!grown) {
            uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a merge of more than %zu tensors",
                     m->rs->recipe->where, m->n_made);
            return NULL;
        }
        m->made = grown;
        m->made_cap = cap;
    }
    struct made *e = &m->made[m->n_made];
    *e = (struct made){ .plan = { .slice = m->slice, .same_as = -1 } };
    return e;
}

/* --- one key --- */

/* The least key that is left, or NULL. */
static const char *next_key(const struct matching *m)
{
    const char *least = NULL;
    for (size_t i = 0; i < m->slice->n_sources; i++) {
        const struct uqm_match_view *v = &m->views[i];
        if (v->at < v->n && (!least || strcmp(v->items[v->at].key, least) < 0))
            least = v->items[v->at].key;
    }
    return least;
}

static const struct uqm_source *source_of(const struct matching *m, size_t i)
{
    return &m->rs->inputs[m->slice->sources[i].input].checkpoint->source;
}

static struct uqm_plan_part part_of(const struct matching *m, size_t i, size_t tensor)
{
    const struct uqm_plan_source *s = &m->slice->sources[i];
    return (struct uqm_plan_part){
        .input = s->input, .source = s->recipe, .tensor = tensor, .is_base = s->is_base
    };
}

/* The embedding that stands in for a tied head (spec merge.md 4), or -1. */
static long find_embedding(const struct uqm_source *s, const struct uqm_tensor *head)
{
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct uqm_tensor *t = &s->tensors[i];
        if (uqm_name_vocabulary(t->canonical, t->part) == UQM_EMBEDDING && t->rank == head->rank &&
            t->rank == 2 && t->shape[1] == head->shape[1])
            return (long) i;
    }
    return -1;
}

/* Take the tensor of this key from every source that has it. */
static size_t gather(struct matching *m, const char *key)
{
    const struct uqm_tensor *head = NULL;
    size_t n = 0;
    for (size_t i = 0; i < m->slice->n_sources && !head; i++) {
        const struct uqm_match_view *v = &m->views[i];
        if (v->at < v->n && strcmp(v->items[v->at].key, key) == 0)
            head = &source_of(m, i)->tensors[v->items[v->at].tensor];
    }
    assert(head);
    if (uqm_name_vocabulary(head->canonical, head->part) != UQM_HEAD)
        head = NULL;
    for (size_t i = 0; i < m->slice->n_sources; i++) {
        struct uqm_match_view *v = &m->views[i];
        long stand_in = -1;
        if (v->at < v->n && strcmp(v->items[v->at].key, key) == 0)
            m->parts[n++] = part_of(m, i, v->items[v->at++].tensor);
        else if (head && (stand_in = find_embedding(source_of(m, i), head)) >= 0)
            m->parts[n++] = part_of(m, i, (size_t) stand_in);
    }
    return n;
}

/* --- names --- */

/* `name` of the stand-in's tensor is the embedding's: a written head is spelled as a head. */
static int spell_head(struct uqm_tensor *t, struct matching *m, size_t n, const char *key,
                      struct uqm_err *err)
{
    static const char embedding[] = "embed_tokens.weight", head[] = "lm_head.weight";
    static const char *const between[] = { "model.language_model.", "language_model.model.",
                                           "model." };
    static const char *const becomes[] = { "", "language_model.", "" };
    for (size_t i = 0; i < 3 && strcmp(key, "language_model.lm_head.weight") == 0; i++) {
        size_t len = strlen(between[i]);
        if (strncmp(t->name, between[i], len) != 0 || strcmp(t->name + len, embedding) != 0)
            continue;
        t->name = uqm_arena_printf(&m->rs->arena, "%s%s", becomes[i], head);
        return t->name ? UQM_OK : uqm_plan_no_memory(m->rs, err);
    }
    for (size_t i = 0; i < n; i++) { /* as one spells it that has it */
        const struct uqm_tensor *other = uqm_plan_part_tensor(m->rs, &m->parts[i]);
        if (strcmp(other->canonical, key) == 0)
            t->name = other->name;
    }
    return UQM_OK;
}

/* The layer's number in the output, in place of the source's. */
static int spell_layer(struct uqm_tensor *t, struct matching *m, uint64_t layer,
                       struct uqm_err *err)
{
    struct uqm_layer_name at;
    bool found = uqm_name_layer(&at, t->name);
    assert(found);
    if (at.layer == layer || !found)
        return UQM_OK;
    t->name = uqm_arena_printf(&m->rs->arena, "%.*s%" PRIu64 "%s", (int) at.prefix_len, t->name,
                               layer, at.rest);
    return t->name ? UQM_OK : uqm_plan_no_memory(m->rs, err);
}

/* Name, canonical name, layer: the home model's spelling, else the first's that has it. */
static int spell(struct made *e, struct matching *m, size_t n, const char *key, struct uqm_err *err)
{
    const struct uqm_plan_part *speller = &m->parts[0];
    for (size_t i = 0; i < n; i++)
        if (m->parts[i].input == m->rs->home)
            speller = &m->parts[i];
    e->tensor = *uqm_plan_part_tensor(m->rs, speller);
    e->plan.vocabulary = uqm_name_vocabulary(key, e->tensor.part);
    if (strcmp(e->tensor.canonical, key) == 0)
        return UQM_OK;
    struct uqm_layer_name layer;
    bool layered = uqm_name_layer(&layer, key);
    int ret = layered ? spell_layer(&e->tensor, m, layer.layer, err)
                      : spell_head(&e->tensor, m, n, key, err);
    e->tensor.canonical = key;
    if (layered)
        e->tensor.layer = (int) layer.layer;
    return ret;
}

static const char *greatest_name(const struct matching *m, size_t n)
{
    const char *best = uqm_plan_part_tensor(m->rs, &m->parts[0])->name;
    for (size_t i = 1; i < n; i++) {
        const char *name = uqm_plan_part_tensor(m->rs, &m->parts[i])->name;
        if (strcmp(name, best) > 0)
            best = name;
    }
    return best;
}

/* --- one output tensor --- */

/* With one tower for all, its owner's part alone. 0: the tensor is left out. */
static size_t keep_owner(struct matching *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->parts[i].input == m->vision.from) {
            m->parts[0] = m->parts[i];
            return 1;
        }
    return 0;
}

/* How tensors of a tower are treated: settled when the first of the slice is met. */
static int settle_vision(struct matching *m, struct uqm_err *err)
{
    if (m->has_vision)
        return UQM_OK;
    m->has_vision = true;
    m->vision = (struct uqm_vision_plan){ 0 };
    return m->slice->recipe->whole ? uqm_plan_vision(&m->vision, m->rs, m->slice, err) : UQM_OK;
}

static double position_of(const struct uqm_plan_slice *s, const char *key)
{
    struct uqm_layer_name at;
    if (s->recipe->whole || !uqm_name_layer(&at, key))
        return 0; /* whole slices: when all layers are known */
    return s->n_layers > 1 ? (double) (at.layer - s->first_layer) / (double) (s->n_layers - 1) : 1;
}

static int add_tensor(struct matching *m, size_t n, const char *key, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = m->rs;
    bool is_vision = uqm_plan_part_tensor(rs, &m->parts[0])->part == UQM_PART_VISION, dropped;
    size_t n_all = n;
    int ret = is_vision ? settle_vision(m, err) : UQM_OK;
    if (ret < 0)
        return ret;
    if (is_vision && m->vision.copy) {
        n = keep_owner(m, n);
        rs->n_left_out += n ? 0 : n_all;
        if (n == 0)
            return UQM_OK;
    }
    struct made *e = push(m, err);
    struct uqm_plan_part *parts = uqm_arena_alloc(&rs->arena, n, sizeof *parts);
    if (!e)
        return UQM_ERR_NOMEM;
    if (!parts)
        return uqm_plan_no_memory(rs, err);
    memcpy(parts, m->parts, n * sizeof *parts);
    e->plan.parts = parts;
    e->plan.n_parts = n;
    e->plan.partial = n_all < m->slice->n_sources;
    e->plan.outside = is_vision && m->vision.outside;
    e->plan.sort_name = greatest_name(m, n);
    e->plan.position = position_of(m->slice, key);
    e->plan.fate = is_vision && m->vision.copy ? UQM_FATE_COPIED : UQM_FATE_MERGED;
    ret = spell(e, m, n, key, err);
    if (ret == UQM_OK)
        ret = uqm_plan_settle_parts(&dropped, rs, &e->plan, &e->tensor, m->params, err);
    if (ret < 0)
        return ret;
    if (dropped) {
        rs->n_dropped++;
        return uqm_plan_tell_dropped(rs, &e->tensor, &e->plan, err);
    }
    if (n > rs->max_parts)
        rs->max_parts = n;
    m->n_made++;
    return UQM_OK;
}

static int match_slice(struct matching *m, struct uqm_match_index *ix,
                       const struct uqm_plan_slice *slice, struct uqm_err *err)
{
    const char *key;
    int ret = UQM_OK;
    m->slice = slice;
    m->has_vision = false;
    m->views = calloc(slice->n_sources, sizeof *m->views);
    m->parts = calloc(slice->n_sources, sizeof *m->parts);
    if (!m->views || !m->parts)
        ret = uqm_plan_no_memory(m->rs, err);
    for (size_t i = 0; i < slice->n_sources && ret == UQM_OK; i++)
        ret = uqm_match_view(&m->views[i], ix, slice, i, err);
    while (ret == UQM_OK && (key = next_key(m))) {
        size_t n = gather(m, key);
        ret = add_tensor(m, n, key, err);
    }
    for (size_t i = 0; m->views && i < slice->n_sources; i++)
        free(m->views[i].items);
    free(m->views);
    free(m->parts);
    m->views = NULL;
    m->parts = NULL;
    return ret;
}

/* --- all of them --- */

/* A tower beside a model that is not merged whole: the network wants it all the same. */
static int add_beside(struct matching *m, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = m->rs;
    size_t k = 0;
    while (k < rs->n_inputs && !(rs->inputs[k].has_vision && rs->inputs[k].vision_beside))
        k++;
    const struct uqm_checkpoint *cp = k < rs->n_inputs ? rs->inputs[k].checkpoint : NULL;
    m->slice = NULL;
    for (size_t i = 0; cp && i < cp->source.n_tensors; i++) {
        if (!uqm_plan_is_beside(cp, i))
            continue;
        struct made *e = push(m, err);
        struct uqm_plan_part *part = uqm_arena_alloc(&rs->arena, 1, sizeof *part);
        if (!e)
            return UQM_ERR_NOMEM;
        if (!part)
            return uqm_plan_no_memory(rs, err);
        *part = (struct uqm_plan_part){ .input = k, .tensor = i };
        e->tensor = cp->source.tensors[i];
        e->plan.parts = part;
        e->plan.n_parts = 1;
        e->plan.outside = true;
        e->plan.sort_name = e->tensor.name;
        e->plan.fate = uqm_dtype_is_arithmetic(e->tensor.dtype) ? UQM_FATE_COPIED : UQM_FATE_EQUAL;
        rs->max_parts = rs->max_parts ? rs->max_parts : 1;
        m->n_made++;
    }
    return UQM_OK;
}

/* Where the layers of each slice come to lie, one slice upon the other. */
static int stack_slices(struct uqm_recipe_source *rs, struct uqm_plan_slice *slices, size_t n,
                        const struct uqm_match_index *ix, struct uqm_err *err)
{
    uint64_t layer = 0;
    for (size_t i = 0; i < n; i++) {
        struct uqm_plan_slice *s = &slices[i];
        s->prefix = uqm_match_prefix(ix);
        s->first_layer = layer;
        s->n_layers = s->recipe->inputs[0].end - s->recipe->inputs[0].first;
        layer += s->n_layers;
        if (layer > UQM_MOST_OUTPUT_LAYERS)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s:%d: more than %d layers", rs->recipe->where,
                            s->recipe->line, UQM_MOST_OUTPUT_LAYERS);
    }
    rs->layers[rs->n_layers++] = (struct uqm_plan_layers){ layer, uqm_match_prefix(ix) };
    return UQM_OK;
}

static int match_module(struct matching *m, size_t module, struct uqm_plan_slice *slices,
                        struct uqm_err *err)
{
    struct uqm_match_index *ix = NULL;
    size_t n = m->rs->recipe->modules[module].n_slices;
    int ret = uqm_match_index_create(&ix, m->rs, module, slices, m->params->allow_crimes, err);
    if (ret == UQM_OK && !slices[0].recipe->whole)
        ret = stack_slices(m->rs, slices, n, ix, err);
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        ret = match_slice(m, ix, &slices[i], err);
    uqm_match_index_destroy(&ix);
    return ret;
}

static int by_canonical(const void *a, const void *b)
{
    const struct made *x = a, *y = b;
    return strcmp(x->tensor.canonical, y->tensor.canonical);
}

static int settle(struct matching *m, struct uqm_err *err)
{
    struct uqm_recipe_source *rs = m->rs;
    struct uqm_tensor *tensors = uqm_arena_alloc(&rs->arena, m->n_made + 1, sizeof *tensors);
    rs->plan = uqm_arena_alloc(&rs->arena, m->n_made + 1, sizeof *rs->plan);
    if (!tensors || !rs->plan)
        return uqm_plan_no_memory(rs, err);
    if (m->n_made > 1)
        qsort(m->made, m->n_made, sizeof *m->made, by_canonical);
    for (size_t i = 0; i < m->n_made; i++) {
        tensors[i] = m->made[i].tensor;
        rs->plan[i] = m->made[i].plan;
        assert(i == 0 || strcmp(tensors[i - 1].canonical, tensors[i].canonical) < 0);
    }
    rs->source.tensors = tensors;
    rs->source.n_tensors = m->n_made;
    return UQM_OK;
}

int uqm_plan_match(struct uqm_recipe_source *rs, const struct uqm_open_params *params,
                   struct uqm_err *err)
{
    const struct uqm_recipe *r = rs->recipe;
    struct matching m = { .rs = rs, .params = params };
    size_t slice = 0;
    int ret = UQM_OK;
    rs->vision_owner = rs->n_inputs;
    rs->layers = uqm_arena_alloc(&rs->arena, r->n_modules, sizeof *rs->layers);
    if (!rs->layers)
        ret = uqm_plan_no_memory(rs, err);
    for (size_t i = 0; i < r->n_modules && ret == UQM_OK; i++) {
        ret = match_module(&m, i, &rs->slices[slice], err);
        slice += r->modules[i].n_slices;
    }
    if (ret == UQM_OK && !uqm_match_takes_beside(rs))
        ret = add_beside(&m, err);
    if (ret == UQM_OK)
        ret = settle(&m, err);
    free(m.made);
    return ret;
}
