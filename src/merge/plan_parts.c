/* One output tensor whose parts are known: what becomes of it where some input lacks it, and
 * whether its parts fit together (spec merge.md 3, 4). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/merge/vocab_rows.h"

static const char *path_of(const struct uqm_recipe_source *rs, const struct uqm_plan_part *p)
{
    return rs->inputs[p->input].model->path;
}

/* --- missing --- */

static bool has_base_part(const struct uqm_plan_tensor *pt)
{
    for (size_t i = 0; i < pt->n_parts; i++)
        if (pt->parts[i].is_base)
            return true;
    return false;
}

/* The first source of the slice that lacks the tensor. */
static const char *lacking(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt)
{
    const struct uqm_plan_slice *s = pt->slice;
    size_t i = 0;
    while (i < pt->n_parts && pt->parts[i].input == s->sources[i].input)
        i++;
    return rs->inputs[s->sources[i].input].model->path;
}

/* A model without one of the network's own weights is broken, or of another family. */
static int check_required(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt,
                          struct uqm_err *err)
{
    const struct uqm_tensor *a = uqm_plan_part_tensor(rs, &pt->parts[0]);
    if (!uqm_name_is_required(a))
        return UQM_OK;
    struct uqm_printable name;
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "tensor %s is in %s, but not in %s; --allow-crimes merges it over those that "
                    "have it",
                    uqm_printable(&name, a->name, strlen(a->name)), path_of(rs, &pt->parts[0]),
                    lacking(rs, pt));
}

static int too_few(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt,
                   struct uqm_err *err)
{
    const struct uqm_tensor *a = uqm_plan_part_tensor(rs, &pt->parts[0]);
    struct uqm_printable name;
    bool no_base = pt->slice->has_base && !has_base_part(pt);
    return uqm_fail(err, UQM_ERR_FORMAT,
                    "tensor %s is in %zu of %zu inputs, not in %s%s: too few for merge method %s",
                    uqm_printable(&name, a->name, strlen(a->name)), pt->n_parts,
                    pt->slice->n_sources, lacking(rs, pt), no_base ? " and not in the base" : "",
                    rs->recipe->method->name);
}

/* Section 4: what a method does with the inputs that are left. */
static int settle_missing(bool *dropped, struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                          struct uqm_err *err)
{
    const struct uqm_method_info *m = rs->recipe->method;
    bool has_base = has_base_part(pt), alone = pt->n_parts == 1;
    size_t others = pt->n_parts - has_base;
    switch (m->id) {
    case UQM_METHOD_SLERP:
    case UQM_METHOD_NUSLERP:
    case UQM_METHOD_ARCEE_FUSION: break;
    case UQM_METHOD_NEARSWAP: alone = alone && has_base; break;
    case UQM_METHOD_MODEL_STOCK:
        alone = alone && has_base;
        *dropped = pt->n_parts < 1 + m->least && !alone;
        break;
    default: alone = false;
    }
    if (alone)
        pt->fate = UQM_FATE_COPIED;
    if (alone || *dropped || m->base == UQM_BASE_ORDINARY)
        return UQM_OK;
    if ((pt->slice->has_base && !has_base) || others < m->least || others > m->most)
        return too_few(rs, pt, err);
    return UQM_OK;
}

/* --- shapes and types --- */

static void print_shape(char out[128], const struct uqm_tensor *t)
{
    size_t n = 1;
    out[0] = '[';
    for (unsigned d = 0; d < t->rank && n < 100; d++)
        n += (size_t) snprintf(out + n, 128 - n, "%s%" PRIu64, d ? ", " : "", t->shape[d]);
    snprintf(out + n, 128 - n, "%s]", n >= 100 ? "..." : "");
}

/* Equal in all dimensions from `from` on. */
static bool same_shape(const struct uqm_tensor *a, const struct uqm_tensor *b, unsigned from)
{
    if (a->rank != b->rank)
        return false;
    for (unsigned d = from; d < a->rank; d++)
        if (a->shape[d] != b->shape[d])
            return false;
    return true;
}

static int shapes_differ(const struct uqm_recipe_source *rs, const struct uqm_plan_part *pa,
                         const struct uqm_plan_part *pb, bool by_vocabulary, struct uqm_err *err)
{
    const struct uqm_tensor *a = uqm_plan_part_tensor(rs, pa), *b = uqm_plan_part_tensor(rs, pb);
    char sa[128], sb[128];
    struct uqm_printable name;
    print_shape(sa, a);
    print_shape(sb, b);
    return uqm_fail(err, UQM_ERR_FORMAT, "tensor %s: shape %s in %s, but %s in %s%s",
                    uqm_printable(&name, a->name, strlen(a->name)), sa, path_of(rs, pa), sb,
                    path_of(rs, pb),
                    by_vocabulary ? "; tokenizer_source in the recipe aligns vocabularies, "
                                    "--unsafe-truncate-embeddings cuts them to the shortest"
                                  : "");
}

/* The shortest vocabulary's rows of every part: they lie first. */
static int cut_rows(struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt, struct uqm_tensor *t,
                    struct uqm_err *err)
{
    uint64_t *shape = uqm_arena_alloc(&rs->arena, t->rank, sizeof *shape);
    if (!shape)
        return uqm_plan_no_memory(rs, err);
    memcpy(shape, t->shape, t->rank * sizeof *shape);
    for (size_t i = 0; i < pt->n_parts; i++) {
        uint64_t rows = uqm_plan_part_tensor(rs, &pt->parts[i])->shape[0];
        if (rows < shape[0])
            shape[0] = rows;
    }
    t->n_elem = t->shape[0] ? t->n_elem / t->shape[0] * shape[0] : 0;
    t->shape = shape;
    pt->cut = true;
    return UQM_OK;
}

static int check_shapes(struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                        struct uqm_tensor *t, bool truncate, struct uqm_err *err)
{
    const struct uqm_tensor *a = uqm_plan_part_tensor(rs, &pt->parts[0]);
    bool cut = false;
    for (size_t i = 1; i < pt->n_parts; i++) {
        const struct uqm_tensor *b = uqm_plan_part_tensor(rs, &pt->parts[i]);
        if (same_shape(a, b, 0))
            continue;
        bool by_rows = pt->vocabulary != UQM_NO_VOCABULARY && a->rank > 0 && same_shape(a, b, 1) &&
                       a->shape[0] > 0 && b->shape[0] > 0 && pt->fate == UQM_FATE_MERGED;
        if (!by_rows || !truncate)
            return shapes_differ(rs, &pt->parts[0], &pt->parts[i], by_rows, err);
        cut = true;
    }
    return cut ? cut_rows(rs, pt, t, err) : UQM_OK;
}

/* What is merged: floating-point weights. Buffers and other types have to be equal. */
static enum uqm_fate fate_of(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt)
{
    for (size_t i = 0; i < pt->n_parts; i++) {
        const struct uqm_tensor *t = uqm_plan_part_tensor(rs, &pt->parts[i]);
        if (!uqm_dtype_is_arithmetic(t->dtype) || uqm_layout_is_buffer(t->name))
            return UQM_FATE_EQUAL;
    }
    return UQM_FATE_MERGED;
}

static int check_equal_dtypes(const struct uqm_recipe_source *rs, const struct uqm_plan_tensor *pt,
                              struct uqm_err *err)
{
    const struct uqm_tensor *a = uqm_plan_part_tensor(rs, &pt->parts[0]);
    for (size_t i = 1; i < pt->n_parts; i++) {
        const struct uqm_tensor *b = uqm_plan_part_tensor(rs, &pt->parts[i]);
        struct uqm_printable name;
        if (a->dtype != b->dtype)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "tensor %s: %s in %s, but %s in %s; it is not averaged, so all inputs "
                            "must hold the same",
                            uqm_printable(&name, a->name, strlen(a->name)),
                            uqm_dtype_name(a->dtype), path_of(rs, &pt->parts[0]),
                            uqm_dtype_name(b->dtype), path_of(rs, &pt->parts[i]));
    }
    return UQM_OK;
}

int uqm_plan_settle_parts(bool *dropped, struct uqm_recipe_source *rs, struct uqm_plan_tensor *pt,
                          struct uqm_tensor *t, const struct uqm_open_params *params,
                          struct uqm_err *err)
{
    int ret = UQM_OK;
    *dropped = false;
    if (pt->fate == UQM_FATE_COPIED) {
        if (!uqm_dtype_is_arithmetic(t->dtype))
            pt->fate = UQM_FATE_EQUAL;
        return UQM_OK;
    }
    pt->fate = fate_of(rs, pt);
    if (pt->partial && pt->fate == UQM_FATE_MERGED) {
        ret = params->allow_crimes ? UQM_OK : check_required(rs, pt, err);
        if (ret == UQM_OK)
            ret = settle_missing(dropped, rs, pt, err);
    }
    if (ret == UQM_OK && !*dropped && rs->vocab_rows && pt->vocabulary != UQM_NO_VOCABULARY)
        ret = uqm_vocab_rows_add(rs->vocab_rows, pt, t, err);
    if (ret == UQM_OK && !*dropped)
        ret = check_shapes(rs, pt, t, params->truncate_embeddings, err);
    if (ret == UQM_OK && pt->fate == UQM_FATE_EQUAL)
        ret = check_equal_dtypes(rs, pt, err);
    return ret;
}
