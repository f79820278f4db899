#include <math.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/distance.h"
#include "src/format/json.h"

enum { TILE_BYTES = 4 << 20, LEAST_TILE_BYTES = 64 << 10, MOST_MEMORY_BYTES = 64 << 20 };

/* A tensor that both have. */
struct pair {
    size_t a, b; /* indices into the sources */
    bool same_type, same_shape;
};

struct comparison {
    struct uqm_env *env;
    struct uqm_checkpoint *cp[2];
    struct pair *pairs;
    size_t n_pairs;
    size_t tile_bytes;
    json_t *only[2];
    json_t *tensors;
    uint64_t n_identical, n_changed;
};

/* One side's walk over the pairs whose bytes are to be compared, in step with the other's. */
struct side {
    const struct comparison *c;
    int which;
    size_t pair;
    uint64_t first_elem;
};

static int no_memory(struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "the comparison: no memory");
}

static const struct uqm_tensor *tensor_of(const struct comparison *c, const struct pair *p,
                                          int which)
{
    return &c->cp[which]->source.tensors[which ? p->b : p->a];
}

/* Elements a tile: a whole number of bytes on both sides. */
static uint64_t tile_elems(const struct comparison *c, const struct pair *p)
{
    unsigned a = uqm_dtype_bits(tensor_of(c, p, 0)->dtype);
    unsigned b = uqm_dtype_bits(tensor_of(c, p, 1)->dtype);
    return c->tile_bytes * 8 / (a > b ? a : b) & ~UINT64_C(7);
}

static bool next_tile_of(const struct comparison *c, size_t *pair, uint64_t *first_elem,
                         uint64_t *n_elem)
{
    for (; *pair < c->n_pairs; ++*pair, *first_elem = 0) {
        const struct pair *p = &c->pairs[*pair];
        uint64_t total = tensor_of(c, p, 0)->n_elem;
        if (p->same_shape && *first_elem < total) {
            *n_elem = uqm_min_u64(tile_elems(c, p), total - *first_elem);
            return true;
        }
    }
    return false;
}

static int next_range(void *ctx, struct uqm_range *range)
{
    struct side *s = ctx;
    uint64_t n_elem;
    if (!next_tile_of(s->c, &s->pair, &s->first_elem, &n_elem))
        return 0;
    const struct pair *p = &s->c->pairs[s->pair];
    *range = (struct uqm_range){ s->which ? p->b : p->a, s->first_elem, (size_t) n_elem };
    s->first_elem += n_elem;
    return 1;
}

/* --- which tensors are compared --- */

static bool same_shape(const struct uqm_tensor *a, const struct uqm_tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (unsigned d = 0; d < a->rank; d++)
        if (a->shape[d] != b->shape[d])
            return false;
    return true;
}

/* Both lists ascend by canonical name: one walk pairs them. */
static int pair_up(struct comparison *c, struct uqm_err *err)
{
    const struct uqm_source *a = &c->cp[0]->source, *b = &c->cp[1]->source;
    size_t i = 0, j = 0, n_lone = 0;

    c->pairs = malloc((a->n_tensors + 1) * sizeof *c->pairs);
    if (!c->pairs)
        return no_memory(err);
    while (i < a->n_tensors || j < b->n_tensors) {
        int order = i == a->n_tensors   ? 1
                    : j == b->n_tensors ? -1
                                        : strcmp(a->tensors[i].canonical, b->tensors[j].canonical);
        if (order < 0)
            json_array_append_new(c->only[0], json_string(a->tensors[i++].name));
        else if (order > 0)
            json_array_append_new(c->only[1], json_string(b->tensors[j++].name));
        n_lone += order != 0;
        if (order != 0)
            continue;
        const struct uqm_tensor *x = &a->tensors[i], *y = &b->tensors[j];
        c->pairs[c->n_pairs++] = (struct pair){ i++, j++, x->dtype == y->dtype, same_shape(x, y) };
    }
    return json_array_size(c->only[0]) + json_array_size(c->only[1]) == n_lone ? UQM_OK
                                                                               : no_memory(err);
}

/* --- their distances --- */

/* null for what is no number: nothing to compare, or NaN or infinity in the weights. */
static json_t *json_of_distance(bool known, double v)
{
    return known && isfinite(v) ? json_real(v) : json_null();
}

static int add_result(struct comparison *c, const struct pair *p, const struct uqm_distance *d,
                      struct uqm_err *err)
{
    bool identical = p->same_type && p->same_shape && d->same_bytes;
    bool known = p->same_shape && (identical || d->known);
    json_t *v =
        json_pack("{s:s,s:s,s:o,s:o,s:o}", "name", tensor_of(c, p, 0)->name, "status",
                  identical ? "identical" : "changed", "rel_l2",
                  json_of_distance(known, identical ? 0 : uqm_distance_rel_l2(d)), "max_abs",
                  json_of_distance(known, identical ? 0 : uqm_distance_max_abs(d)), "cosine",
                  json_of_distance(known, identical ? 1 : uqm_distance_cosine(d)));
    if (json_array_append_new(c->tensors, v) != 0)
        return no_memory(err);
    if (identical)
        c->n_identical++;
    else
        c->n_changed++;
    return UQM_OK;
}

/* Results of the pairs before `upto` that have not had theirs. */
static int flush_results(struct comparison *c, size_t *done, size_t upto, struct uqm_distance *d,
                         struct uqm_err *err)
{
    int ret = UQM_OK;
    for (; ret >= 0 && *done < upto; ++*done) {
        ret = add_result(c, &c->pairs[*done], d, err);
        if (*done + 1 < c->n_pairs)
            uqm_distance_init(d, tensor_of(c, &c->pairs[*done + 1], 0)->dtype,
                              tensor_of(c, &c->pairs[*done + 1], 1)->dtype);
    }
    return ret;
}

static uint64_t bytes_to_compare(const struct comparison *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->n_pairs; i++)
        if (c->pairs[i].same_shape)
            n += tensor_of(c, &c->pairs[i], 0)->n_bytes + tensor_of(c, &c->pairs[i], 1)->n_bytes;
    return n;
}

/* Take both sides' tiles in step; every pair gets its result in its turn. */
static int compare_tiles(struct comparison *c, struct uqm_tile_stream *streams[2],
                         struct uqm_err *err)
{
    uint64_t total = bytes_to_compare(c), done_bytes = 0, first_elem = 0, n_elem;
    size_t done = 0, pair = 0;
    struct uqm_distance d = { 0 };
    int ret = UQM_OK;

    if (c->n_pairs > 0)
        uqm_distance_init(&d, tensor_of(c, &c->pairs[0], 0)->dtype,
                          tensor_of(c, &c->pairs[0], 1)->dtype);
    while (ret >= 0 && next_tile_of(c, &pair, &first_elem, &n_elem)) {
        struct uqm_tile tiles[2];
        ret = flush_results(c, &done, pair, &d, err);
        if (ret >= 0)
            ret = uqm_tile_next(streams[0], &tiles[0], err);
        if (ret < 0)
            break;
        ret = uqm_tile_next(streams[1], &tiles[1], err);
        if (ret >= 0) {
            uqm_distance_add(&d, tiles[0].data, tiles[1].data, (size_t) n_elem);
            done_bytes += tiles[0].n_bytes + tiles[1].n_bytes;
            uqm_tile_release(streams[1], &tiles[1]);
            uqm_report(c->env, "comparing", "bytes", done_bytes, total);
        }
        uqm_tile_release(streams[0], &tiles[0]);
        first_elem += n_elem;
    }
    return ret < 0 ? ret : flush_results(c, &done, c->n_pairs, &d, err);
}

static int compare(struct comparison *c, struct uqm_err *err)
{
    uint64_t memory = uqm_min_u64(uqm_budget_left(c->env) / 2, MOST_MEMORY_BYTES);
    struct uqm_tile_stream *streams[2] = { NULL, NULL };
    struct side sides[2] = { { .c = c, .which = 0 }, { .c = c, .which = 1 } };

    int ret = pair_up(c, err);
    c->tile_bytes = TILE_BYTES;
    while (c->tile_bytes > LEAST_TILE_BYTES &&
           2 * uqm_source_min_memory(&c->cp[0]->source, c->tile_bytes) > memory)
        c->tile_bytes /= 2;
    for (int k = 0; ret >= 0 && k < 2; k++)
        ret = uqm_source_open(&streams[k], &c->cp[k]->source, NULL, c->tile_bytes, memory,
                              next_range, &sides[k], err);
    if (ret >= 0)
        ret = compare_tiles(c, streams, err);
    for (int k = 0; k < 2; k++)
        uqm_tile_stream_destroy(&streams[k]);
    return ret;
}

static int dump(char **json, struct comparison *c, struct uqm_err *err)
{
    json_t *v = json_pack("{s:I,s:I,s:O,s:O,s:O}", "identical", (json_int_t) c->n_identical,
                          "changed", (json_int_t) c->n_changed, "only_a", c->only[0], "only_b",
                          c->only[1], "tensors", c->tensors);
    *json = v ? uqm_json_dump(v) : NULL;
    json_decref(v);
    return *json ? UQM_OK : no_memory(err);
}

UQM_API int uqm_diff(char **json, const struct uqm_diff_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct comparison c = { .env = &env,
                            .only = { json_array(), json_array() },
                            .tensors = json_array() };
    const char *paths[2] = { params->path_a, params->path_b };
    *json = NULL;
    int ret = uqm_env_init(&env, &params->common, err);
    if (ret >= 0 && (!c.only[0] || !c.only[1] || !c.tensors))
        ret = no_memory(err);
    for (int k = 0; ret >= 0 && k < 2; k++) {
        struct uqm_checkpoint_params open = { .path = paths[k] };
        ret = uqm_checkpoint_open(&c.cp[k], &env, &open, err);
    }
    if (ret >= 0)
        ret = compare(&c, err);
    if (ret >= 0)
        ret = dump(json, &c, err);
    for (int k = 0; k < 2; k++) {
        uqm_checkpoint_close(&c.cp[k]);
        json_decref(c.only[k]);
    }
    json_decref(c.tensors);
    free(c.pairs);
    return ret;
}
