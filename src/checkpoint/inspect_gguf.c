/* What `inspect` says of a GGUF file, or of the parts that one is split into. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/stream.h"
#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/base/utf8.h"
#include "src/checkpoint/inspect.h"
#include "src/format/gguf.h"

enum { FIRST_BYTES = 64 << 10, PIECE_BYTES = 1 << 20, MOST_STREAM_BYTES = 64 << 20 };
enum { MOST_SHOWN = 16, MOST_PARTS = 4096 };

struct part_file {
    struct uqm_file *file;
    void *header; /* header_bytes from the budget; the index points into it */
    size_t header_bytes;
    struct uqm_gguf_index index;
};

struct place {
    const struct uqm_gguf_tensor *tensor;
    size_t file;
};

struct gguf {
    struct uqm_env *env;
    const char *path;
    size_t n_files, n_tensors;
    struct part_file *files;
    struct place *tensors;        /* ascending by name */
    const struct place **of_part; /* while a part is read: its tensors */
    size_t n_of_part, next;
    uint64_t next_off; /* in that tensor */
};

static int no_memory(const struct gguf *g, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to inspect it", g->path);
}

/* --- reading headers --- */

static int fail_in(const struct part_file *f, const struct uqm_err *inner, struct uqm_err *err)
{
    return uqm_fail(err, inner->code, "%s: %s", f->file->name, inner->msg);
}

/* More and more of the file, until its header is whole. */
static int read_header(struct gguf *g, struct part_file *f, struct uqm_err *err)
{
    uint64_t n = FIRST_BYTES;
    for (;; n *= 4) {
        struct uqm_err inner = { 0 };
        bool more = false;
        uqm_budget_free(&f->header, g->env, f->header_bytes);
        f->header_bytes = 0;
        n = uqm_min_u64(uqm_min_u64(n, UQM_GGUF_HEADER_CAP), f->file->size_bytes);
        int ret = uqm_budget_alloc(&f->header, g->env, (size_t) n + 1, 64, "a GGUF header", err);
        if (ret < 0)
            return ret;
        f->header_bytes = (size_t) n + 1;
        ret = uqm_file_read(f->file, f->header, (size_t) n, 0, err);
        if (ret < 0)
            return ret;
        ret = uqm_gguf_parse(&f->index, &more, f->header, (size_t) n, f->file->size_bytes, &inner);
        if (ret == UQM_OK)
            return UQM_OK;
        if (!more)
            return fail_in(f, &inner, err);
        if (n == UQM_GGUF_HEADER_CAP)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: a header of more than %d MiB", f->file->name,
                            UQM_GGUF_HEADER_CAP >> 20);
    }
}

/* A part says how many there are, and which it is, counted from 0. */
static int check_split(const struct part_file *f, size_t part, size_t n_parts, struct uqm_err *err)
{
    static const char *const keys[] = { "split.no", "split.count" };
    const uint64_t wanted[] = { part, n_parts };
    for (size_t i = 0; i < 2; i++) {
        const struct uqm_gguf_value *v = uqm_gguf_find(&f->index, keys[i]);
        uint64_t is = 0;
        if (v && !uqm_gguf_u64(&is, v))
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: key %s: no number", f->file->name, keys[i]);
        if ((v || n_parts > 1) && is != wanted[i] && !(n_parts == 1 && i == 1 && is == 0))
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "%s: key %s: %" PRIu64 ", where the name says %" PRIu64, f->file->name,
                            keys[i], is, wanted[i]);
    }
    return UQM_OK;
}

static int open_part(struct gguf *g, const char *path, size_t part, struct uqm_err *err)
{
    struct part_file *f = &g->files[part];
    int ret = uqm_file_open(&f->file, g->env, path, err);
    if (ret == UQM_OK)
        ret = read_header(g, f, err);
    return ret == UQM_OK ? check_split(f, part, g->n_files, err) : ret;
}

static int open_parts(struct gguf *g, struct uqm_err *err)
{
    size_t prefix = 0;
    uint32_t part = 1, n_parts = 1;
    bool split = uqm_gguf_split_name(&prefix, &part, &n_parts, g->path);
    if (n_parts > MOST_PARTS)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: more than %d parts", g->path, MOST_PARTS);
    g->n_files = n_parts;
    g->files = calloc(n_parts, sizeof *g->files);
    int ret = g->files ? UQM_OK : no_memory(g, err);
    for (uint32_t i = 0; i < n_parts && ret == UQM_OK; i++) {
        char *path = NULL;
        int n = split ? asprintf(&path, "%.*s-%05" PRIu32 "-of-%05" PRIu32 ".gguf", (int) prefix,
                                 g->path, i + 1, n_parts)
                      : asprintf(&path, "%s", g->path);
        ret = n < 0 ? no_memory(g, err) : open_part(g, path, i, err);
        free(n < 0 ? NULL : path);
    }
    return ret;
}

/* --- all tensors --- */

static int by_name(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

static int list_tensors(struct gguf *g, struct uqm_err *err)
{
    size_t n = 0;
    for (size_t f = 0; f < g->n_files; f++)
        n += g->files[f].index.n_tensors;
    g->tensors = calloc(n + 1, sizeof *g->tensors);
    g->of_part = calloc(n + 1, sizeof(struct place *));
    if (!g->tensors || !g->of_part)
        return no_memory(g, err);
    for (size_t f = 0; f < g->n_files; f++)
        for (size_t i = 0; i < g->files[f].index.n_tensors; i++)
            g->tensors[g->n_tensors++] = (struct place){ &g->files[f].index.tensors[i], f };
    if (n > 1)
        qsort(g->tensors, n, sizeof *g->tensors, by_name);
    for (size_t i = 1; i < n; i++) {
        struct uqm_printable shown;
        const char *name = g->tensors[i].tensor->name;
        if (strcmp(g->tensors[i - 1].tensor->name, name) == 0)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s: tensor %s: in two parts", g->path,
                            uqm_printable(&shown, name, strlen(name)));
    }
    return UQM_OK;
}

static enum uqm_part part_of(const struct uqm_gguf_tensor *t)
{
    static const char *const language[] = { "token_embd.", "output.", "output_norm.", "blk." };
    if (strncmp(t->name, "v.", 2) == 0)
        return UQM_PART_VISION;
    if (strncmp(t->name, "mm.", 3) == 0)
        return UQM_PART_ADAPTER;
    for (size_t i = 0; i < sizeof language / sizeof *language; i++)
        if (strncmp(t->name, language[i], strlen(language[i])) == 0)
            return UQM_PART_LANGUAGE;
    return UQM_PART_OTHER;
}

/* --- digests --- */

static void feed_description(struct uqm_xxh3 *h, const struct uqm_gguf_tensor *t)
{
    const char *type = uqm_ggml_type(t->type)->name;
    uint8_t number[8];
    uqm_xxh3_update(h, t->name, strlen(t->name) + 1);
    uqm_xxh3_update(h, type, strlen(type) + 1);
    uqm_put_u64(number, t->n_dims);
    uqm_xxh3_update(h, number, sizeof number);
    for (unsigned d = t->n_dims; d-- > 0;) {
        uqm_put_u64(number, t->dims[d]);
        uqm_xxh3_update(h, number, sizeof number);
    }
}

static int next_piece(void *ctx, struct uqm_piece *piece)
{
    struct gguf *g = ctx;
    for (; g->next < g->n_of_part; g->next++, g->next_off = 0) {
        const struct place *p = g->of_part[g->next];
        uint64_t left = p->tensor->n_bytes - g->next_off;
        if (left == 0)
            continue;
        *piece = (struct uqm_piece){
            .file = g->files[p->file].file,
            .off_bytes = p->tensor->offset + g->next_off,
            .n_bytes = (size_t) uqm_min_u64(PIECE_BYTES, left),
            .user = (void *) (uintptr_t) g->next,
        };
        g->next_off += piece->n_bytes;
        return 1;
    }
    return 0;
}

static int feed_part(struct uqm_xxh3 *h, struct gguf *g, uint64_t total, const char *stage,
                     struct uqm_err *err)
{
    struct uqm_stream *stream = NULL;
    struct uqm_view view;
    uint64_t done = 0, memory = uqm_min_u64(uqm_budget_left(g->env), MOST_STREAM_BYTES);
    size_t described = 0;
    g->next = g->next_off = 0;
    int ret = uqm_stream_create(&stream, g->env, PIECE_BYTES, 2, memory, next_piece, g, err);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, err)) > 0) {
        for (; described <= (uintptr_t) view.user; described++)
            feed_description(h, g->of_part[described]->tensor);
        uqm_xxh3_update(h, view.data, view.n_bytes);
        done += view.n_bytes;
        uqm_stream_release(stream, &view);
        uqm_report(g->env, stage, "bytes", done, total);
        ret = uqm_check_cancel(g->env, err);
    }
    uqm_stream_destroy(&stream);
    for (; ret >= 0 && described < g->n_of_part; described++)
        feed_description(h, g->of_part[described]->tensor);
    return ret;
}

static int add_part(json_t *parts, struct gguf *g, enum uqm_part part, struct uqm_err *err)
{
    uint64_t n_elem = 0, n_bytes = 0;
    char stage[64];
    g->n_of_part = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct uqm_gguf_tensor *t = g->tensors[i].tensor;
        if (part_of(t) != part)
            continue;
        g->of_part[g->n_of_part++] = &g->tensors[i];
        n_elem += t->n_elem;
        n_bytes += t->n_bytes;
    }
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return no_memory(g, err);
    snprintf(stage, sizeof stage, "digest of %s", uqm_part_name(part));
    int ret = g->n_of_part > 0 ? feed_part(h, g, n_bytes, stage, err) : UQM_OK;
    struct uqm_xxh3_hex digest = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    if (ret < 0)
        return ret;
    json_t *v = json_pack("{s:I,s:o,s:o,s:o}", "tensors", (json_int_t) g->n_of_part, "parameters",
                          uqm_inspect_u64(n_elem), "bytes", uqm_inspect_u64(n_bytes), "digest",
                          g->n_of_part > 0 ? json_string(digest.text) : json_null());
    return json_object_set_new(parts, uqm_part_name(part), v) == 0 ? UQM_OK : no_memory(g, err);
}

/* --- the document --- */

static json_t *json_of_bytes(const uint8_t *text, size_t len)
{
    struct uqm_printable shown;
    json_t *v = json_stringn((const char *) text, len);
    return v ? v : json_string(uqm_printable(&shown, (const char *) text, len));
}

static json_t *json_of_number(enum uqm_gguf_type type, const uint8_t *p, size_t n)
{
    const struct uqm_gguf_value v = { .type = type, .data = p, .n_bytes = n };
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++)
        bits |= (uint64_t) p[i] << 8 * i;
    if (type == UQM_GGUF_BOOL)
        return json_boolean(bits);
    if (type == UQM_GGUF_F32 || type == UQM_GGUF_F64) {
        double d = (double) uqm_f32_of_bits((uint32_t) bits);
        if (type == UQM_GGUF_F64)
            memcpy(&d, &bits, sizeof d);
        return isfinite(d) ? json_real(d) : json_null();
    }
    if (uqm_gguf_u64(&bits, &v))
        return uqm_inspect_u64(bits);
    return json_integer((json_int_t) (n < 8 ? bits | ~UINT64_C(0) << 8 * n : bits));
}

/* Of an array its type and length, and its first elements. */
static json_t *json_of_array(const struct uqm_gguf_value *v)
{
    json_t *first = json_array();
    struct uqm_gguf_texts texts = uqm_gguf_texts(v);
    const uint8_t *text;
    size_t len, size = v->elem != UQM_GGUF_STRING && v->n > 0 ? (size_t) (v->n_bytes / v->n) : 0;
    for (uint64_t i = 0; i < v->n && i < MOST_SHOWN && first; i++) {
        if (v->elem != UQM_GGUF_STRING)
            json_array_append_new(first, json_of_number(v->elem, v->data + i * size, size));
        else if (uqm_gguf_next_text(&text, &len, &texts))
            json_array_append_new(first, json_of_bytes(text, len));
    }
    return json_pack("{s:s,s:o,s:o}", "array", uqm_gguf_type_name(v->elem), "length",
                     uqm_inspect_u64(v->n), "first", first);
}

static json_t *json_of_value(const struct uqm_gguf_value *v)
{
    if (v->type == UQM_GGUF_STRING)
        return json_of_bytes(v->data, v->n_bytes);
    return v->type == UQM_GGUF_ARRAY ? json_of_array(v)
                                     : json_of_number(v->type, v->data, v->n_bytes);
}

static json_t *json_of_keys(const struct uqm_gguf_index *index)
{
    json_t *keys = json_object();
    for (size_t i = 0; i < index->n_pairs && keys; i++)
        if (json_object_set_new(keys, index->pairs[i].key, json_of_value(&index->pairs[i].value))) {
            json_decref(keys);
            return NULL;
        }
    return keys;
}

static json_t *json_of_tensor(const struct gguf *g, const struct place *p)
{
    const struct uqm_gguf_tensor *t = p->tensor;
    json_t *shape = json_array();
    for (unsigned d = t->n_dims; d-- > 0 && shape;)
        json_array_append_new(shape, uqm_inspect_u64(t->dims[d]));
    char *base = uqm_path_base(g->files[p->file].file->name);
    json_t *v =
        json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "name", t->name, "dtype",
                  uqm_ggml_type(t->type)->name, "shape", shape, "file", uqm_inspect_text(base),
                  "offset", uqm_inspect_u64(t->offset), "bytes", uqm_inspect_u64(t->n_bytes));
    free(base);
    return v;
}

/* "llama" where the language model is LLaMA's; a tower alone has no layout of a checkpoint's. */
static json_t *architecture(const struct gguf *g, const char **layout)
{
    const struct uqm_gguf_value *v = uqm_gguf_find(&g->files[0].index, "general.architecture");
    *layout = "other";
    if (!v || v->type != UQM_GGUF_STRING)
        return json_null();
    if (v->n_bytes == 5 && memcmp(v->data, "llama", 5) == 0)
        *layout = "llama";
    return json_of_bytes(v->data, v->n_bytes);
}

static json_t *describe(const struct gguf *g, json_t *parts)
{
    uint64_t n_elem = 0, n_bytes = 0;
    const char *layout;
    json_t *files = json_array(), *tensors = json_array();
    for (size_t f = 0; f < g->n_files && files; f++) {
        char *base = uqm_path_base(g->files[f].file->name);
        json_array_append_new(files, json_pack("{s:o,s:o}", "name", uqm_inspect_text(base), "bytes",
                                               uqm_inspect_u64(g->files[f].file->size_bytes)));
        free(base);
    }
    for (size_t i = 0; i < g->n_tensors && tensors; i++) {
        n_elem += g->tensors[i].tensor->n_elem;
        n_bytes += g->tensors[i].tensor->n_bytes;
        json_array_append_new(tensors, json_of_tensor(g, &g->tensors[i]));
    }
    json_t *arch = architecture(g, &layout);
    json_t *v =
        json_pack("{s:o,s:s,s:s,s:o,s:o,s:o,s:O,s:o,s:o,s:o}", "path", uqm_inspect_text(g->path),
                  "format", "gguf", "layout", layout, "architecture", arch, "parameters",
                  uqm_inspect_u64(n_elem), "bytes", uqm_inspect_u64(n_bytes), "parts", parts,
                  "files", files, "keys", json_of_keys(&g->files[0].index), "tensors", tensors);
    /* an element that could not be made is missing from its list, not an error of its own */
    if (v && (json_array_size(files) != g->n_files || json_array_size(tensors) != g->n_tensors)) {
        json_decref(v);
        return NULL;
    }
    return v;
}

static int inspect(char **json, struct gguf *g, struct uqm_err *err)
{
    int ret = open_parts(g, err);
    if (ret == UQM_OK)
        ret = list_tensors(g, err);
    if (ret < 0)
        return ret;
    json_t *parts = json_object(), *result = NULL;
    if (!parts)
        return no_memory(g, err);
    for (int p = 0; p < UQM_N_PARTS && ret >= 0; p++)
        ret = add_part(parts, g, (enum uqm_part) p, err);
    if (ret >= 0) {
        result = describe(g, parts);
        *json = result ? uqm_json_dump(result) : NULL;
        ret = *json ? UQM_OK : no_memory(g, err);
    }
    json_decref(result);
    json_decref(parts);
    return ret;
}

int uqm_inspect_gguf(char **json, struct uqm_env *env, const char *path, struct uqm_err *err)
{
    struct gguf g = { .env = env, .path = path };
    int ret = inspect(json, &g, err);
    for (size_t f = 0; f < g.n_files && g.files; f++) {
        uqm_gguf_finish(&g.files[f].index);
        uqm_budget_free(&g.files[f].header, env, g.files[f].header_bytes);
        uqm_file_close(&g.files[f].file);
    }
    free(g.files);
    free(g.tensors);
    free(g.of_part);
    return ret;
}
