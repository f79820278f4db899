#include "src/format/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/format/json_pull.h"

int uqm_st_header_len(uint64_t *header_len, const uint8_t prefix[UQM_ST_PREFIX_BYTES],
                      uint64_t file_bytes, uint64_t cap, struct uqm_err *err)
{
    if (file_bytes < UQM_ST_PREFIX_BYTES)
        return uqm_fail(err, UQM_ERR_FORMAT, "%" PRIu64 " bytes are too few for a safetensors file",
                        file_bytes);
    uint64_t n = 0;
    for (int i = UQM_ST_PREFIX_BYTES; i-- > 0;)
        n = n << 8 | prefix[i];

    cap = cap ? uqm_min_u64(cap, UQM_ST_HEADER_HARD_CAP) : UQM_ST_HEADER_CAP;
    if (n == 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "the header has no bytes");
    if (n > UQM_ST_HEADER_HARD_CAP)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "a header of %" PRIu64 " bytes, above safetensors' own limit of %d; "
                        "is this a safetensors file?",
                        n, UQM_ST_HEADER_HARD_CAP);
    if (n > file_bytes - UQM_ST_PREFIX_BYTES)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "a header of %" PRIu64 " bytes in a file of %" PRIu64
                        "; is the file cut short?",
                        n, file_bytes);
    if (n > cap)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "a header of %" PRIu64 " bytes, above the limit of %" PRIu64, n, cap);
    *header_len = n;
    return UQM_OK;
}

bool uqm_st_packed_bytes(uint64_t *n_bytes, enum uqm_dtype dtype, uint64_t n_elem)
{
    unsigned bits = uqm_dtype_bits(dtype);
    if (bits % 8 == 0)
        return uqm_mul_u64(n_bytes, n_elem, bits / 8);
    uint64_t n_bits;
    if (!uqm_mul_u64(&n_bits, n_elem, bits) || n_bits % 8 != 0)
        return false;
    *n_bytes = n_bits / 8;
    return true;
}

struct parser {
    struct uqm_json_pull json;
    struct uqm_st_index index; /* moved out when all is well */
    size_t cap;
    uint64_t data_len;
    bool metadata_seen;
};

static int no_memory(struct parser *p)
{
    return uqm_fail(p->json.err, UQM_ERR_NOMEM, "%s: no memory for the index", p->json.subject);
}

static void set_subject(struct parser *p, const char *kind, const char *name, size_t len)
{
    struct uqm_printable shown;
    snprintf(p->json.subject, sizeof p->json.subject, "%s %s", kind,
             uqm_printable(&shown, name, len));
}

/* An error about a tensor as a whole, without the reader's position. */
__attribute__((format(printf, 3, 4), cold)) static int
fail_tensor(struct uqm_err *err, const struct uqm_st_tensor *t, const char *fmt, ...)
{
    struct uqm_printable shown;
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return uqm_fail(err, UQM_ERR_FORMAT, "tensor %s: %s",
                    uqm_printable(&shown, t->name, t->name_len), what);
}

static int read_dtype(struct parser *p, struct uqm_st_tensor *t)
{
    struct uqm_json_pull *r = &p->json;
    struct uqm_printable shown;
    struct uqm_text text;

    if (uqm_json_pull_peek(r) == '{')
        return uqm_json_pull_fail(r, "dtype is an object; only a name is a dtype");
    int ret = uqm_json_pull_string(r, &text, "dtype");
    if (ret < 0)
        return ret;
    if (!uqm_dtype_parse(&t->dtype, text.s, text.len))
        return uqm_json_pull_fail(r, "unknown dtype %s", uqm_printable(&shown, text.s, text.len));
    return UQM_OK;
}

static int read_shape(struct parser *p, struct uqm_st_tensor *t)
{
    struct uqm_json_pull *r = &p->json;
    uint64_t dims[UQM_ST_MAX_RANK];
    size_t n = 0;
    int ret = uqm_json_pull_open(r, '[', "shape");

    t->n_elem = 1;
    while (ret >= 0 && (ret = uqm_json_pull_element(r, &n)) > 0) {
        if (n > UQM_ST_MAX_RANK)
            return uqm_json_pull_fail(r, "shape has more than %d dimensions", UQM_ST_MAX_RANK);
        ret = uqm_json_pull_u64(r, &dims[n - 1], "shape");
        if (ret >= 0 && !uqm_mul_u64(&t->n_elem, t->n_elem, dims[n - 1]))
            return uqm_json_pull_fail(r, "shape has more than 2^64 - 1 elements");
    }
    if (ret < 0)
        return ret;

    t->rank = (unsigned) n;
    uint64_t *shape = uqm_arena_alloc(&p->index.arena, n, sizeof *shape);
    if (!shape)
        return no_memory(p);
    memcpy(shape, dims, n * sizeof *shape);
    t->shape = shape;
    return UQM_OK;
}

static int read_offsets(struct parser *p, struct uqm_st_tensor *t)
{
    struct uqm_json_pull *r = &p->json;
    uint64_t v[2];
    size_t n = 0;
    int ret = uqm_json_pull_open(r, '[', "data_offsets");

    while (ret >= 0 && (ret = uqm_json_pull_element(r, &n)) > 0) {
        if (n > 2)
            return uqm_json_pull_fail(r, "data_offsets has more than 2 numbers");
        ret = uqm_json_pull_u64(r, &v[n - 1], "data_offsets");
    }
    if (ret < 0)
        return ret;
    if (n < 2)
        return uqm_json_pull_fail(r, "data_offsets has %zu numbers, not 2", n);
    t->begin = v[0];
    t->end = v[1];
    return UQM_OK;
}

/* What one tensor says of itself, against the data's length. */
static int check_tensor(const struct uqm_st_tensor *t, uint64_t data_len, struct uqm_err *err)
{
    uint64_t n_bytes;
    if (t->end < t->begin)
        return fail_tensor(err, t, "bytes [%" PRIu64 ", %" PRIu64 ") end before they begin",
                           t->begin, t->end);
    if (t->end > data_len)
        return fail_tensor(err, t,
                           "bytes [%" PRIu64 ", %" PRIu64 ") outside %" PRIu64 " bytes of data",
                           t->begin, t->end, data_len);
    if (!uqm_st_packed_bytes(&n_bytes, t->dtype, t->n_elem))
        return fail_tensor(err, t, "%" PRIu64 " elements of %s are no whole number of bytes",
                           t->n_elem, uqm_dtype_name(t->dtype));
    if (n_bytes != t->end - t->begin)
        return fail_tensor(err, t,
                           "%" PRIu64 " elements of %s are %" PRIu64 " bytes, but bytes [%" PRIu64
                           ", %" PRIu64 ") are %" PRIu64,
                           t->n_elem, uqm_dtype_name(t->dtype), n_bytes, t->begin, t->end,
                           t->end - t->begin);
    return UQM_OK;
}

static int note_unknown_field(struct parser *p, const struct uqm_st_tensor *t,
                              const struct uqm_text *field)
{
    struct uqm_printable name, shown;
    if (p->index.n_unknown_fields++ == 0) {
        p->index.unknown_field =
            uqm_arena_printf(&p->index.arena, "%s: %s", uqm_printable(&name, t->name, t->name_len),
                             uqm_printable(&shown, field->s, field->len));
        if (!p->index.unknown_field)
            return no_memory(p);
    }
    return uqm_json_pull_skip(&p->json);
}

/* The object that describes one tensor. */
static int read_tensor(struct parser *p, struct uqm_st_tensor *t)
{
    static const char *const fields[] = { "dtype", "shape", "data_offsets" };
    int (*const read[])(struct parser *, struct uqm_st_tensor *) = { read_dtype, read_shape,
                                                                     read_offsets };
    struct uqm_json_pull *r = &p->json;
    bool seen[3] = { false };
    struct uqm_text key;
    size_t n = 0;

    if (uqm_json_pull_peek(r) == '[')
        return uqm_json_pull_fail(r, "described by a list; only an object describes a tensor");
    int ret = uqm_json_pull_open(r, '{', "its description");
    while (ret >= 0 && (ret = uqm_json_pull_member(r, &n, &key)) > 0) {
        size_t f = 0;
        while (f < 3 && !uqm_text_is(&key, fields[f]))
            f++;
        if (f == 3) {
            ret = note_unknown_field(p, t, &key);
            continue;
        }
        if (seen[f])
            return uqm_json_pull_fail(r, "%s is given twice", fields[f]);
        seen[f] = true;
        ret = read[f](p, t);
    }
    for (size_t f = 0; ret >= 0 && f < 3; f++)
        if (!seen[f])
            return uqm_json_pull_fail(r, "%s is missing", fields[f]);
    return ret < 0 ? ret : check_tensor(t, p->data_len, r->err);
}

static int compare_texts(const void *a, const void *b)
{
    const struct uqm_text *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n ? memcmp(x->s, y->s, n) : 0;
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static int check_metadata_keys(struct parser *p, struct uqm_text *keys, size_t n)
{
    struct uqm_printable shown;
    if (n > 1)
        qsort(keys, n, sizeof *keys, compare_texts);
    for (size_t i = 1; i < n; i++)
        if (compare_texts(&keys[i - 1], &keys[i]) == 0)
            return uqm_fail(p->json.err, UQM_ERR_FORMAT, "__metadata__: key %s is given twice",
                            uqm_printable(&shown, keys[i].s, keys[i].len));
    return UQM_OK;
}

/* Checked and dropped: nothing in it changes what the tensors are. */
static int read_metadata(struct parser *p)
{
    struct uqm_json_pull *r = &p->json;
    struct uqm_text key, value, *keys = NULL;
    size_t n = 0, cap = 0;

    if (p->metadata_seen)
        return uqm_json_pull_fail(r, "__metadata__ is given twice");
    p->metadata_seen = true;
    if (uqm_json_pull_peek(r) == 'n')
        return uqm_json_pull_skip(r);

    int ret = uqm_json_pull_open(r, '{', "__metadata__");
    while (ret >= 0 && (ret = uqm_json_pull_member(r, &n, &key)) > 0) {
        if (n > cap) {
            cap = cap ? cap * 2 : 8;
            struct uqm_text *more = realloc(keys, cap * sizeof *keys);
            if (!more) {
                ret = no_memory(p);
                break;
            }
            keys = more;
        }
        keys[n - 1] = key;
        ret = uqm_json_pull_string(r, &value, "a value of __metadata__");
    }
    if (ret >= 0)
        ret = check_metadata_keys(p, keys, n);
    free(keys);
    return ret;
}

static struct uqm_st_tensor *add_tensor(struct parser *p)
{
    if (p->index.n_tensors == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct uqm_st_tensor *more = realloc(p->index.tensors, cap * sizeof *more);
        if (!more)
            return NULL;
        p->index.tensors = more;
        p->cap = cap;
    }
    struct uqm_st_tensor *t = &p->index.tensors[p->index.n_tensors++];
    *t = (struct uqm_st_tensor){ 0 };
    return t;
}

static int read_header(struct parser *p)
{
    struct uqm_json_pull *r = &p->json;
    struct uqm_text key;
    size_t n = 0;

    int ret = uqm_json_pull_open(r, '{', "the header");
    while (ret >= 0 && (ret = uqm_json_pull_member(r, &n, &key)) > 0) {
        if (uqm_text_is(&key, "__metadata__")) {
            ret = read_metadata(p);
            continue;
        }
        set_subject(p, "tensor", key.s, key.len);
        if (memchr(key.s, '\0', key.len))
            return uqm_json_pull_fail(r, "a NUL character in a name");
        struct uqm_st_tensor *t = add_tensor(p);
        if (!t)
            return no_memory(p);
        t->name = uqm_arena_strndup(&p->index.arena, key.s, key.len);
        t->name_len = key.len;
        ret = t->name ? read_tensor(p, t) : no_memory(p);
        if (ret >= 0)
            snprintf(r->subject, sizeof r->subject, "header");
    }
    return ret < 0 ? ret : uqm_json_pull_end(r);
}

static int compare_names(const void *a, const void *b)
{
    const struct uqm_st_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int compare_places(const void *a, const void *b)
{
    const struct uqm_st_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Each name once; the data covered without hole or overlap. Leaves the tensors in data order. */
static int check_index(struct uqm_st_index *ix, uint64_t data_len, struct uqm_err *err)
{
    size_t n = ix->n_tensors;
    uint64_t at = 0;

    if (n > 1)
        qsort(ix->tensors, n, sizeof *ix->tensors, compare_names);
    for (size_t i = 1; i < n; i++)
        if (compare_names(&ix->tensors[i - 1], &ix->tensors[i]) == 0)
            return fail_tensor(err, &ix->tensors[i], "the name is given twice");

    if (n > 1)
        qsort(ix->tensors, n, sizeof *ix->tensors, compare_places);
    for (size_t i = 0; i < n; i++) {
        const struct uqm_st_tensor *t = &ix->tensors[i];
        struct uqm_printable shown;
        if (t->begin > at)
            return fail_tensor(err, t,
                               "begins at byte %" PRIu64 ": no tensor holds the bytes [%" PRIu64
                               ", %" PRIu64 ")",
                               t->begin, at, t->begin);
        if (t->begin < at)
            return fail_tensor(
                err, t, "bytes [%" PRIu64 ", %" PRIu64 ") overlap tensor %s", t->begin, t->end,
                uqm_printable(&shown, ix->tensors[i - 1].name, ix->tensors[i - 1].name_len));
        at = t->end;
    }
    if (at != data_len)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%" PRIu64 " bytes after the last tensor belong to none", data_len - at);
    return UQM_OK;
}

int uqm_st_parse(struct uqm_st_index *index, const uint8_t *header, size_t len, uint64_t data_len,
                 struct uqm_err *err)
{
    struct parser p = { .data_len = data_len };
    p.json = (struct uqm_json_pull){ .text = header, .len = len, .subject = "header", .err = err };
    p.json.arena = &p.index.arena;

    int ret;
    if (len >= 3 && memcmp(header, "\xEF\xBB\xBF", 3) == 0)
        ret = uqm_fail(err, UQM_ERR_FORMAT, "header: starts with a byte order mark");
    else
        ret = read_header(&p);
    if (ret >= 0)
        ret = check_index(&p.index, data_len, err);
    if (ret < 0) {
        uqm_st_index_finish(&p.index);
        return ret;
    }
    *index = p.index;
    return UQM_OK;
}

void uqm_st_index_finish(struct uqm_st_index *index)
{
    free(index->tensors);
    uqm_arena_finish(&index->arena);
    *index = (struct uqm_st_index){ 0 };
}
