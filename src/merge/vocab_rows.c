#include "src/merge/vocab_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

enum { CHUNK = 4096 }; /* elements that are converted at a time */

/* One part of an output tensor. */
struct part {
    size_t input;
    struct uqm_file *file;
    uint64_t off_bytes, n_rows;
    enum uqm_dtype dtype;
};

/* Where a row comes from that a part has not of its own. */
enum kind { ZERO, COPY, MEAN };
struct spare {
    uint8_t kind;
    uint32_t part, row;
};

/* An output tensor. */
struct table {
    size_t n_parts;
    struct part *parts;
    struct spare *spares; /* [n_real] */
    uint64_t dim;         /* elements of a row */
};

/* A tensor of this source: the table as one part of it sees it. */
struct view {
    const struct table *table;
    size_t part;
    double *pad; /* [dim] what rows behind the last token are; NULL: not known yet */
};

struct rows {
    struct uqm_source source; /* first */
    struct uqm_recipe_source *rs;
    const struct uqm_vocab_plan *plan;
    struct uqm_arena arena;
    struct uqm_tensor *tensors; /* the source's */
    struct view *views;         /* beside them */
    size_t cap;
};

/* --- where a row is --- */

static bool has_row(const struct rows *r, const struct part *p, uint32_t row, uint32_t *at)
{
    int32_t own = r->plan->own[p->input][row];
    *at = (uint32_t) own;
    return own >= 0 && (uint64_t) own < p->n_rows;
}

/* Section 9: what `tokens` says; the only one that has it; the base's; the mean. */
static int settle_spare(struct spare *out, const struct rows *r, const struct table *t,
                        const struct uqm_plan_tensor *pt, uint32_t row, struct uqm_err *err)
{
    const struct uqm_vocab_rule *rule = &r->plan->rules[row];
    size_t n = 0;
    *out = (struct spare){ .kind = ZERO };
    if (rule->is_set && rule->is_zero)
        return UQM_OK;
    for (size_t i = 0; i < t->n_parts; i++) {
        uint32_t at;
        if (rule->is_set) {
            if (t->parts[i].input != rule->input || rule->row >= t->parts[i].n_rows)
                continue;
            *out = (struct spare){ COPY, (uint32_t) i, rule->row };
            return UQM_OK;
        }
        if (!has_row(r, &t->parts[i], row, &at))
            continue;
        if (pt->parts[i].is_base || n == 0)
            *out = (struct spare){ COPY, (uint32_t) i, at };
        if (pt->parts[i].is_base)
            return UQM_OK;
        n++;
    }
    if (rule->is_set)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: a token's row is to come from model %s, which has no such row of one "
                        "of the tensors",
                        r->rs->recipe->where, r->rs->inputs[rule->input].model->path);
    if (n > 1)
        out->kind = MEAN;
    return UQM_OK;
}

static struct spare find_row(const struct rows *r, const struct view *v, uint32_t row)
{
    uint32_t at;
    if (!r->plan->rules[row].force && has_row(r, &v->table->parts[v->part], row, &at))
        return (struct spare){ COPY, (uint32_t) v->part, at };
    return v->table->spares[row];
}

/* --- elements --- */

struct stream {
    struct uqm_tile_stream stream; /* first */
    struct rows *rows;
    uqm_next_range_fn next;
    void *ctx;
    void *out;     /* the tile */
    void *raw;     /* CHUNK elements of any type */
    double *wide;  /* CHUNK */
    double *sum;   /* CHUNK */
    float *narrow; /* CHUNK */
    size_t out_bytes, scratch_bytes;
};

static void load(double *wide, float *narrow, const struct rows *r, const void *raw,
                 enum uqm_dtype dtype, size_t n)
{
    if (dtype == UQM_F64) {
        memcpy(wide, raw, n * sizeof *wide);
        return;
    }
    uqm_widen(&r->rs->kernels, narrow, raw, dtype, n);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double) narrow[i];
}

static void store(void *dst, float *narrow, const struct rows *r, const double *wide,
                  enum uqm_dtype dtype, size_t n)
{
    if (dtype == UQM_F64) {
        memcpy(dst, wide, n * sizeof *wide);
        return;
    }
    for (size_t i = 0; i < n; i++)
        narrow[i] = (float) wide[i];
    uqm_narrow(&r->rs->kernels, dst, dtype, narrow, n);
}

static int read_file(const struct rows *r, const struct part *p, void *dst, uint64_t first_elem,
                     size_t n, struct uqm_err *err)
{
    uint64_t off = p->off_bytes + uqm_dtype_bytes(p->dtype, first_elem);
    size_t bytes = (size_t) uqm_dtype_bytes(p->dtype, n);
    atomic_fetch_add(&r->source.env->bytes_read, bytes);
    return uqm_file_read(p->file, dst, bytes, off, err);
}

/* Elements that lie in one run in a part's file, in the output's type. */
static int copy_run(struct stream *s, char *dst, enum uqm_dtype dtype, const struct part *p,
                    uint64_t first_elem, size_t n, struct uqm_err *err)
{
    if (p->dtype == dtype)
        return read_file(s->rows, p, dst, first_elem, n, err);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t m = n - at < CHUNK ? n - at : CHUNK;
        int ret = read_file(s->rows, p, s->raw, first_elem + at, m, err);
        if (ret < 0)
            return ret;
        load(s->wide, s->narrow, s->rows, s->raw, p->dtype, m);
        store(dst + uqm_dtype_bytes(dtype, at), s->narrow, s->rows, s->wide, dtype, m);
    }
    return UQM_OK;
}

/* To the type and back, as mergekit adds in it. */
static void round_to(double *x, const struct stream *s, enum uqm_dtype dtype, size_t n)
{
    if (dtype == UQM_F64)
        return;
    store(s->raw, s->narrow, s->rows, x, dtype, n);
    load(x, s->narrow, s->rows, s->raw, dtype, n);
}

/* Columns [col, col + n) of the mean of the rows that the parts have for a token; n <= CHUNK. */
static int mean_run(struct stream *s, char *dst, enum uqm_dtype dtype, const struct view *v,
                    uint32_t row, uint64_t col, size_t n, struct uqm_err *err)
{
    const struct table *t = v->table;
    bool stepwise = s->rows->rs->numerics == UQM_NUMERICS_MERGEKIT;
    size_t n_has = 0;
    uint32_t at;
    for (size_t i = 0; i < n; i++)
        s->sum[i] = 0;
    for (size_t p = 0; p < t->n_parts; p++) {
        if (!has_row(s->rows, &t->parts[p], row, &at))
            continue;
        int ret = read_file(s->rows, &t->parts[p], s->raw, at * t->dim + col, n, err);
        if (ret < 0)
            return ret;
        load(s->wide, s->narrow, s->rows, s->raw, t->parts[p].dtype, n);
        if (stepwise)
            round_to(s->wide, s, dtype, n);
        for (size_t i = 0; i < n; i++)
            s->sum[i] += s->wide[i];
        if (stepwise)
            round_to(s->sum, s, dtype, n);
        n_has++;
    }
    for (size_t i = 0; i < n; i++)
        s->sum[i] /= (double) n_has;
    store(dst, s->narrow, s->rows, s->sum, dtype, n);
    return UQM_OK;
}

/* How many of the rows from `row` on lie one behind the other in one part. */
static uint32_t run_length(const struct rows *r, const struct view *v, uint32_t row, uint32_t most)
{
    struct spare first = find_row(r, v, row);
    uint32_t n = 1;
    while (n < most && row + n < r->plan->n_real) {
        struct spare next = find_row(r, v, row + n);
        if (next.kind != COPY || next.part != first.part || next.row != first.row + n)
            break;
        n++;
    }
    return n;
}

static int find_pad(struct stream *s, struct view *v, enum uqm_dtype dtype, struct uqm_err *err);

/* Elements of one run of rows: *n says how many were asked for and becomes how many there are. */
static int fill_run(struct stream *s, char *dst, struct view *v, enum uqm_dtype dtype,
                    uint64_t elem, size_t *n, struct uqm_err *err)
{
    const struct rows *r = s->rows;
    const struct table *t = v->table;
    uint32_t row = (uint32_t) (elem / t->dim);
    uint64_t col = elem % t->dim;
    size_t in_row = (size_t) uqm_min_u64(t->dim - col, uqm_min_u64(*n, CHUNK));
    if (row >= r->plan->n_real) {
        int ret = v->pad ? UQM_OK : find_pad(s, v, dtype, err);
        *n = in_row;
        if (ret == UQM_OK)
            store(dst, s->narrow, r, v->pad + col, dtype, in_row);
        return ret;
    }
    struct spare from = find_row(r, v, row);
    if (from.kind == COPY) {
        uint64_t rows = (col + *n + t->dim - 1) / t->dim;
        uint64_t whole = run_length(r, v, row, (uint32_t) uqm_min_u64(rows, UINT32_MAX)) * t->dim;
        *n = (size_t) uqm_min_u64(*n, whole - col);
        return copy_run(s, dst, dtype, &t->parts[from.part], from.row * t->dim + col, *n, err);
    }
    *n = in_row;
    if (from.kind == MEAN)
        return mean_run(s, dst, dtype, v, row, col, in_row, err);
    memset(dst, 0, (size_t) uqm_dtype_bytes(dtype, in_row));
    return UQM_OK;
}

static int fill(struct stream *s, char *dst, struct view *v, enum uqm_dtype dtype, uint64_t elem,
                size_t n, struct uqm_err *err)
{
    while (n > 0) {
        size_t m = n;
        int ret = uqm_check_cancel(s->rows->source.env, err);
        if (ret == UQM_OK)
            ret = fill_run(s, dst, v, dtype, elem, &m, err);
        if (ret < 0)
            return ret;
        dst += uqm_dtype_bytes(dtype, m);
        elem += m;
        n -= m;
    }
    return UQM_OK;
}

/* Padding rows are the mean of this part's real ones, as they are stored. */
static int find_pad(struct stream *s, struct view *v, enum uqm_dtype dtype, struct uqm_err *err)
{
    struct rows *r = s->rows;
    const uint64_t dim = v->table->dim;
    double *sum = uqm_arena_alloc(&r->arena, (size_t) dim, sizeof *sum);
    double *wide = malloc(CHUNK * sizeof *wide);
    char *part = malloc(CHUNK * sizeof(double));
    int ret = sum && wide && part ? UQM_OK : uqm_plan_no_memory(r->rs, err);
    for (uint32_t row = 0; row < r->plan->n_real && ret == UQM_OK; row++)
        for (uint64_t col = 0; col < dim && ret == UQM_OK; col += CHUNK) {
            size_t n = (size_t) uqm_min_u64(CHUNK, dim - col);
            ret = fill(s, part, v, dtype, row * dim + col, n, err);
            if (ret < 0)
                break;
            load(wide, s->narrow, r, part, dtype, n);
            for (size_t i = 0; i < n; i++)
                sum[col + i] += wide[i];
        }
    for (uint64_t i = 0; i < dim && ret == UQM_OK; i++)
        sum[i] /= (double) r->plan->n_real;
    if (ret == UQM_OK)
        v->pad = sum;
    free(wide);
    free(part);
    return ret;
}

/* --- the stream --- */

static int next_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile, struct uqm_err *err)
{
    struct stream *s = (struct stream *) stream;
    struct uqm_range range;
    if (!s->next(s->ctx, &range))
        return 0;
    enum uqm_dtype dtype = s->rows->tensors[range.tensor].dtype;
    size_t bytes = (size_t) uqm_dtype_bytes(dtype, range.n_elem);
    assert(bytes <= s->out_bytes);
    int ret =
        fill(s, s->out, &s->rows->views[range.tensor], dtype, range.first_elem, range.n_elem, err);
    *tile = (struct uqm_tile){ .range = range, .data = s->out, .n_bytes = bytes };
    return ret < 0 ? ret : 1;
}

static void release_tile(struct uqm_tile_stream *stream, struct uqm_tile *tile)
{
    (void) stream;
    *tile = (struct uqm_tile){ 0 };
}

static void destroy_stream(struct uqm_tile_stream *stream)
{
    struct stream *s = (struct stream *) stream;
    struct uqm_env *env = s->rows->source.env;
    void *scratch = s->wide;
    uqm_budget_free(&s->out, env, s->out_bytes);
    uqm_budget_free(&scratch, env, s->scratch_bytes);
    free(s);
}

static const struct uqm_tile_stream_ops stream_ops = {
    .next = next_tile,
    .release = release_tile,
    .destroy = destroy_stream,
};

static int open_stream(struct uqm_tile_stream **out, struct uqm_source *source,
                       struct uqm_threads *threads, size_t tile_bytes, uint64_t memory_bytes,
                       uqm_next_range_fn next, void *ctx, struct uqm_err *err)
{
    struct rows *r = (struct rows *) source;
    struct stream *s = calloc(1, sizeof *s);
    void *scratch = NULL;
    (void) threads, (void) memory_bytes;
    if (!s)
        return uqm_plan_no_memory(r->rs, err);
    s->stream.ops = &stream_ops;
    s->rows = r;
    s->next = next;
    s->ctx = ctx;
    s->out_bytes = tile_bytes;
    s->scratch_bytes = CHUNK * (3 * sizeof(double) + sizeof(float));
    int ret = uqm_budget_alloc(&s->out, source->env, s->out_bytes, 64, "rebuilt rows", err);
    if (ret == UQM_OK)
        ret = uqm_budget_alloc(&scratch, source->env, s->scratch_bytes, 64, "rebuilt rows", err);
    s->wide = scratch;
    if (ret < 0) {
        destroy_stream(&s->stream);
        return ret;
    }
    s->sum = s->wide + CHUNK;
    s->raw = s->sum + CHUNK;
    s->narrow = (float *) (void *) ((double *) s->raw + CHUNK);
    *out = &s->stream;
    return UQM_OK;
}

static uint64_t min_memory(const struct uqm_source *source, size_t tile_bytes)
{
    (void) source;
    return tile_bytes + CHUNK * (3 * sizeof(double) + sizeof(float));
}

/* --- the source --- */

static void destroy(struct uqm_source *source)
{
    struct rows *r = (struct rows *) source;
    uqm_arena_finish(&r->arena);
    free(r->tensors);
    free(r->views);
    free(r);
}

static const struct uqm_source_ops rows_ops = { open_stream, min_memory, destroy };

int uqm_vocab_rows_create(struct uqm_source **out, struct uqm_recipe_source *rs,
                          struct uqm_err *err)
{
    struct rows *r = calloc(1, sizeof *r);
    if (!r)
        return uqm_plan_no_memory(rs, err);
    r->source = (struct uqm_source){
        .ops = &rows_ops, .env = rs->source.env, .name = rs->recipe->name, .home = rs->vocab->home
    };
    r->rs = rs;
    r->plan = rs->vocab;
    *out = &r->source;
    return UQM_OK;
}

static bool grow(struct rows *r, size_t n)
{
    if (r->source.n_tensors + n <= r->cap)
        return true;
    size_t cap = 2 * r->cap + n;
    struct uqm_tensor *tensors = realloc(r->tensors, cap * sizeof *tensors);
    if (tensors)
        r->source.tensors = r->tensors = tensors;
    struct view *views = realloc(r->views, cap * sizeof *views);
    if (views)
        r->views = views;
    if (!tensors || !views)
        return false;
    r->cap = cap;
    return true;
}

static int fill_part(struct part *out, struct rows *r, const struct uqm_plan_part *p,
                     const struct uqm_tensor *first, struct uqm_err *err)
{
    const struct uqm_recipe *recipe = r->rs->recipe;
    const struct uqm_plan_input *in = &r->rs->inputs[p->input];
    const struct uqm_tensor *t = uqm_plan_part_tensor(r->rs, p);
    struct uqm_printable name;
    if (in->inner)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s:%d: model %s is a recipe, whose rows cannot be moved while it is "
                        "merged; write it first",
                        recipe->where, recipe->tokenizer.line, in->model->path);
    bool same = t->rank == first->rank && t->rank > 0;
    for (unsigned d = 1; d < t->rank && same; d++)
        same = t->shape[d] == first->shape[d];
    if (!same || !uqm_dtype_is_arithmetic(t->dtype) || t->shape[0] == 0)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "tensor %s: its rows in %s are not those of %s: another shape or type",
                        uqm_printable(&name, first->name, strlen(first->name)), in->model->path,
                        recipe->models[0].path);
    const struct uqm_location *at = &in->checkpoint->locations[p->tensor];
    uint64_t begin;
    struct uqm_file *file = uqm_location_file(in->checkpoint, at, &begin);
    *out = (struct part){ p->input, file, begin, t->shape[0], t->dtype };
    return UQM_OK;
}

static int make_table(struct table **out, struct rows *r, const struct uqm_plan_tensor *pt,
                      struct uqm_err *err)
{
    const struct uqm_tensor *first = uqm_plan_part_tensor(r->rs, &pt->parts[0]);
    struct table *t = uqm_arena_alloc(&r->arena, 1, sizeof *t);
    if (t) {
        t->n_parts = pt->n_parts;
        t->parts = uqm_arena_alloc(&r->arena, pt->n_parts, sizeof *t->parts);
        t->spares = uqm_arena_alloc(&r->arena, r->plan->n_real, sizeof *t->spares);
    }
    if (!t || !t->parts || !t->spares)
        return uqm_plan_no_memory(r->rs, err);
    int ret = UQM_OK;
    for (size_t i = 0; i < pt->n_parts && ret == UQM_OK; i++)
        ret = fill_part(&t->parts[i], r, &pt->parts[i], first, err);
    if (ret < 0)
        return ret;
    t->dim = first->n_elem / first->shape[0];
    for (uint32_t row = 0; row < r->plan->n_real && ret == UQM_OK; row++)
        ret = settle_spare(&t->spares[row], r, t, pt, row, err);
    *out = t;
    return ret;
}

static enum uqm_dtype common_type(const struct rows *r, const struct table *t)
{
    enum uqm_dtype type = t->parts[0].dtype;
    if (r->rs->recipe->has_dtype)
        return r->rs->recipe->dtype;
    for (size_t i = 1; i < t->n_parts; i++)
        if (t->parts[i].dtype != type)
            type = type == UQM_F64 || t->parts[i].dtype == UQM_F64 ? UQM_F64 : UQM_F32;
    return type;
}

int uqm_vocab_rows_add(struct uqm_source *source, struct uqm_plan_tensor *pt, struct uqm_tensor *t,
                       struct uqm_err *err)
{
    struct rows *r = (struct rows *) source;
    struct table *table;
    int ret = make_table(&table, r, pt, err);
    if (ret < 0)
        return ret;
    uint64_t *shape = uqm_arena_alloc(&r->arena, t->rank, sizeof *shape);
    if (!shape || !grow(r, pt->n_parts))
        return uqm_plan_no_memory(r->rs, err);
    memcpy(shape, t->shape, t->rank * sizeof *shape);
    shape[0] = r->plan->n_rows;
    uint64_t n_elem;
    if (!uqm_mul_u64(&n_elem, table->dim, shape[0]) || n_elem > UINT64_MAX / 64)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: the vocabulary's tensors are too large",
                        r->rs->recipe->where);
    for (size_t i = 0; i < pt->n_parts; i++) {
        size_t index = r->source.n_tensors++;
        struct uqm_tensor *made = &r->tensors[index];
        *made = *uqm_plan_part_tensor(r->rs, &pt->parts[i]);
        made->dtype = common_type(r, table);
        made->shape = shape;
        made->n_elem = n_elem;
        made->n_bytes = uqm_dtype_bytes(made->dtype, n_elem);
        r->views[index] = (struct view){ .table = table, .part = i };
        pt->parts[i].source_of = source;
        pt->parts[i].source_tensor = index;
    }
    t->shape = shape;
    t->n_elem = n_elem;
    t->dtype = r->tensors[r->source.n_tensors - 1].dtype;
    return UQM_OK;
}
