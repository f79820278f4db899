/* Which tensors lie in which GGUF file and where: the writer's form. */
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/convert/gguf_export.h"

int uqm_gguf_no_memory(const struct uqm_gguf_export *x, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to export it", x->in);
}

/* Tokens that a recipe makes are in none of its inputs' tokenizers. */
static int check_vocabulary(const struct uqm_gguf_export *x, const struct uqm_recipe_source *rs,
                            struct uqm_err *err)
{
    if (rs->vocab)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: the recipe makes a vocabulary of its own; write the merge, then "
                        "convert that",
                        x->in);
    int ret = UQM_OK;
    for (size_t k = 0; k < rs->n_inputs && ret == UQM_OK; k++)
        if (rs->inputs[k].inner)
            ret = check_vocabulary(x, uqm_recipe_source_of(rs->inputs[k].inner), err);
    return ret;
}

/* --- which tensors --- */

static int choose_tensors(struct uqm_gguf_export *x, const struct uqm_recipe_source *rs,
                          struct uqm_err *err)
{
    const size_t n = rs->source.n_tensors;
    struct uqm_gguf_export_tensor *mmproj = uqm_arena_alloc(&x->arena, n + 1, sizeof *mmproj);
    size_t n_mmproj = 0, n_language = 0, n_fallen = 0;
    x->tensors = uqm_arena_alloc(&x->arena, n + 1, sizeof *x->tensors);
    if (!x->tensors || !mmproj)
        return uqm_gguf_no_memory(x, err);
    /* those of a tower beside the model are not in the order of writing: they follow */
    for (size_t k = 0; k < rs->n_order + n; k++) {
        struct uqm_gguf_export_tensor t = { .source =
                                                k < rs->n_order ? rs->order[k] : k - rs->n_order };
        const struct uqm_tensor *of = &rs->source.tensors[t.source];
        if (k >= rs->n_order && !rs->plan[t.source].outside)
            continue;
        int ret = uqm_gguf_name_tensor(&t, x, of, err);
        if (ret > 0 && uqm_gguf_type_tensor(&t, x, of, err) < 0)
            ret = err->code;
        if (ret < 0)
            return ret;
        n_fallen += ret > 0 && t.fallen_back;
        if (ret > 0 && t.file == UQM_GGUF_LANGUAGE)
            x->tensors[n_language++] = t;
        else if (ret > 0)
            mmproj[n_mmproj++] = t;
    }
    int ret = n_fallen == 0
                  ? UQM_OK
                  : uqm_warn(x->env, err,
                             "%s: %zu matrices have rows that are no whole number of the type's "
                             "blocks: they are of Q8_0 or F16",
                             x->in, n_fallen);
    if (ret < 0)
        return ret;
    memcpy(x->tensors + n_language, mmproj, n_mmproj * sizeof *mmproj);
    x->n_tensors = n_language + n_mmproj;
    return UQM_OK;
}

/* --- where --- */

struct lists {
    size_t *tensors;
    uint64_t *offsets, *sizes, *units;
    const char **names;
};

static bool allocate_lists(struct lists *l, struct uqm_arena *arena, size_t n)
{
    l->tensors = uqm_arena_alloc(arena, n, sizeof *l->tensors);
    l->offsets = uqm_arena_alloc(arena, n, sizeof *l->offsets);
    l->sizes = uqm_arena_alloc(arena, n, sizeof *l->sizes);
    l->units = uqm_arena_alloc(arena, n, sizeof *l->units);
    l->names = uqm_arena_alloc(arena, n, sizeof *l->names);
    return l->tensors && l->offsets && l->sizes && l->units && l->names;
}

/* Tiles have whole blocks, and whole heads where their rows are moved about. */
static uint64_t unit_of(const struct uqm_gguf_export_tensor *t, const struct uqm_tensor *of)
{
    return t->n_heads > 0 ? of->n_elem / t->n_heads : 256;
}

static int put_tensors(struct uqm_gguf_header *h, struct lists *l,
                       const struct uqm_gguf_export_tensor *t, size_t n,
                       struct uqm_write_plan *plan, const struct uqm_source *source,
                       struct uqm_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct uqm_tensor *of = &source->tensors[t[i].source];
        const struct uqm_ggml_type *type = uqm_ggml_type(t[i].type);
        const unsigned bytes = uqm_dtype_bits(of->dtype) / 8;
        int ret = uqm_gguf_put_tensor(h, &l->offsets[i], &l->sizes[i], t[i].name, t[i].n_dims,
                                      t[i].dims, t[i].type, err);
        if (ret < 0)
            return ret;
        l->tensors[i] = t[i].source;
        l->names[i] = t[i].name;
        l->units[i] = unit_of(&t[i], of);
        plan->least_tile_bytes = (size_t) uqm_max_u64(plan->least_tile_bytes, l->units[i] * bytes);
        unsigned per_elem = (type->n_bytes + type->n_elem - 1u) / type->n_elem;
        unsigned growth = (per_elem + bytes - 1) / bytes;
        plan->growth = growth > plan->growth ? growth : plan->growth;
        plan->tensor_bytes += l->sizes[i];
    }
    return UQM_OK;
}

static int plan_file(struct uqm_shard_plan *shard, struct uqm_gguf_export *x,
                     struct uqm_write_plan *plan, enum uqm_gguf_file file,
                     const struct uqm_gguf_export_tensor *t, size_t n, struct uqm_err *err)
{
    struct uqm_gguf_header h;
    struct lists l = { 0 };
    const char *kind = uqm_gguf_kind_name(uqm_gguf_kind_of(x, file));
    shard->name = uqm_arena_printf(&plan->arena, "%s%s-%s.gguf",
                                   file == UQM_GGUF_MMPROJ ? "mmproj-" : "", x->name, kind);
    if (!shard->name || !allocate_lists(&l, &plan->arena, n + 1))
        return uqm_gguf_no_memory(x, err);
    uqm_gguf_begin(&h);
    uqm_gguf_put_keys(&h, x, file);
    int ret = put_tensors(&h, &l, t, n, plan, x->source, err);
    if (ret == UQM_OK)
        ret = uqm_gguf_end(&h, err);
    shard->header.bytes = h.bytes; /* freed with the plan */
    shard->header.n_bytes = h.n_bytes;
    shard->header.data_bytes = h.data_bytes;
    for (size_t i = 0; i < n; i++)
        l.offsets[i] += h.n_bytes;
    shard->n_tensors = n;
    shard->tensors = l.tensors;
    shard->offsets = l.offsets;
    shard->names = l.names;
    shard->sizes = l.sizes;
    shard->units = l.units;
    shard->n_bytes = h.n_bytes + h.data_bytes;
    return ret;
}

static int plan_files(struct uqm_gguf_export *x, struct uqm_write_plan *plan, struct uqm_err *err)
{
    size_t *order = uqm_arena_alloc(&plan->arena, x->n_tensors + 1, sizeof *order);
    plan->shards = uqm_arena_alloc(&plan->arena, UQM_GGUF_N_FILES, sizeof *plan->shards);
    if (!plan->shards || !order)
        return uqm_gguf_no_memory(x, err);
    x->shards = plan->shards;
    plan->growth = 1;
    for (size_t i = 0; i < x->n_tensors; i++)
        order[i] = x->tensors[i].source;
    plan->order = order;
    plan->n_order = x->n_tensors;
    int ret = UQM_OK;
    for (size_t i = 0, n; i < x->n_tensors && ret == UQM_OK; i += n) {
        const enum uqm_gguf_file file = x->tensors[i].file;
        for (n = 1; i + n < x->n_tensors && x->tensors[i + n].file == file;)
            n++;
        x->first[plan->n_shards] = &x->tensors[i];
        ret = plan_file(&plan->shards[plan->n_shards++], x, plan, file, &x->tensors[i], n, err);
    }
    return ret;
}

static int layout(struct uqm_write_form *form, struct uqm_write_plan *plan,
                  struct uqm_recipe_source *rs, struct uqm_err *err)
{
    struct uqm_gguf_export *x = (struct uqm_gguf_export *) form;
    x->source = &rs->source;
    int ret = check_vocabulary(x, rs, err);
    if (ret == UQM_OK)
        ret = uqm_gguf_read_model(x, rs, err);
    if (ret == UQM_OK)
        ret = uqm_gguf_check_complete(x, &rs->source, err);
    if (ret == UQM_OK)
        ret = choose_tensors(x, rs, err);
    if (ret == UQM_OK)
        ret = plan_files(x, plan, err);
    return ret;
}

void uqm_gguf_export_init(struct uqm_gguf_export *x)
{
    x->form = (struct uqm_write_form){ .layout = layout, .encode = uqm_gguf_encode };
    uqm_kernels_init(&x->kernels, uqm_cpu_flags());
}

void uqm_gguf_export_finish(struct uqm_gguf_export *x)
{
    uqm_arena_finish(&x->arena);
}
