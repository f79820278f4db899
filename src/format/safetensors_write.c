#include "src/format/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/checked.h"
#include "src/base/utf8.h"

/* Text that grows; `failed` once memory ran out, so that it is asked only at the end. */
struct text {
    char *s;
    size_t len, cap;
    bool failed;
};

static void put(struct text *t, const char *s, size_t n)
{
    if (t->failed)
        return;
    if (n > t->cap - t->len) {
        size_t cap = (t->cap + n) * 2;
        char *more = realloc(t->s, cap);
        if (!more) {
            t->failed = true;
            return;
        }
        t->s = more;
        t->cap = cap;
    }
    memcpy(t->s + t->len, s, n);
    t->len += n;
}

static void put_str(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

static void put_u64(struct text *t, uint64_t v)
{
    char digits[24];
    put(t, digits, (size_t) snprintf(digits, sizeof digits, "%" PRIu64, v));
}

/* As the reference escapes: quote, backslash and control bytes alone. */
static void put_quoted(struct text *t, const char *s)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    put_str(t, "\"");
    for (; *s; s++) {
        const char *short_form = strchr(from, *s);
        char esc[8];
        if (short_form)
            put(t, esc, (size_t) snprintf(esc, sizeof esc, "\\%c", to[short_form - from]));
        else if ((unsigned char) *s < 0x20)
            put(t, esc, (size_t) snprintf(esc, sizeof esc, "\\u%04x", (unsigned char) *s));
        else
            put(t, s, 1);
    }
    put_str(t, "\"");
}

static int compare_for_file(const void *a, const void *b, void *ctx)
{
    const struct uqm_st_tensor *tensors = ctx;
    const struct uqm_st_tensor *x = &tensors[*(const size_t *) a];
    const struct uqm_st_tensor *y = &tensors[*(const size_t *) b];
    if (x->dtype != y->dtype)
        return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b, void *ctx)
{
    const struct uqm_st_tensor *tensors = ctx;
    return strcmp(tensors[*(const size_t *) a].name, tensors[*(const size_t *) b].name);
}

__attribute__((cold)) static int refuse(struct uqm_err *err, const char *name, const char *why)
{
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_ARG, "tensor %s: %s", uqm_printable(&shown, name, strlen(name)),
                    why);
}

static int check_names(size_t *order, const struct uqm_st_tensor *tensors, size_t n,
                       struct uqm_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = tensors[i].name;
        if (!uqm_utf8_valid((const uint8_t *) name, strlen(name)))
            return refuse(err, name, "a name that is not UTF-8 cannot be written");
        if (strcmp(name, "__metadata__") == 0)
            return refuse(err, name, "the name is reserved in safetensors");
    }
    qsort_r(order, n, sizeof *order, compare_names, (void *) (uintptr_t) tensors);
    for (size_t i = 1; i < n; i++)
        if (strcmp(tensors[order[i - 1]].name, tensors[order[i]].name) == 0)
            return refuse(err, tensors[order[i]].name, "the name would be written twice");
    return UQM_OK;
}

static int place_tensors(uint64_t *data_bytes, const size_t *order, struct uqm_st_tensor *tensors,
                         size_t n, struct uqm_err *err)
{
    uint64_t at = 0, n_bytes;
    for (size_t i = 0; i < n; i++) {
        struct uqm_st_tensor *t = &tensors[order[i]];
        t->name_len = strlen(t->name);
        t->n_elem = 1;
        for (unsigned d = 0; d < t->rank; d++)
            if (!uqm_mul_u64(&t->n_elem, t->n_elem, t->shape[d]))
                return refuse(err, t->name, "more than 2^64 - 1 elements");
        if (!uqm_st_packed_bytes(&n_bytes, t->dtype, t->n_elem))
            return refuse(err, t->name, "its elements are no whole number of bytes");
        t->begin = at;
        if (!uqm_add_u64(&at, at, n_bytes))
            return refuse(err, t->name, "the file would have more than 2^64 - 1 bytes");
        t->end = at;
    }
    *data_bytes = at;
    return UQM_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct uqm_st_pair *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static int put_metadata(struct text *t, const struct uqm_st_pair *metadata, size_t n,
                        struct uqm_err *err)
{
    if (n == 0)
        return UQM_OK;
    const struct uqm_st_pair **sorted = malloc(n * sizeof(const struct uqm_st_pair *));
    if (!sorted)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a safetensors header");
    for (size_t i = 0; i < n; i++)
        sorted[i] = &metadata[i];
    qsort(sorted, n, sizeof *sorted, compare_keys);

    put_str(t, "\"__metadata__\":{");
    for (size_t i = 0; i < n; i++) {
        put_str(t, i ? "," : "");
        put_quoted(t, sorted[i]->key);
        put_str(t, ":");
        put_quoted(t, sorted[i]->value);
    }
    put_str(t, "}");
    free(sorted);
    return UQM_OK;
}

static void put_tensor(struct text *t, const struct uqm_st_tensor *tensor)
{
    put_quoted(t, tensor->name);
    put_str(t, ":{\"dtype\":\"");
    put_str(t, uqm_dtype_name(tensor->dtype));
    put_str(t, "\",\"shape\":[");
    for (unsigned d = 0; d < tensor->rank; d++) {
        put_str(t, d ? "," : "");
        put_u64(t, tensor->shape[d]);
    }
    put_str(t, "],\"data_offsets\":[");
    put_u64(t, tensor->begin);
    put_str(t, ",");
    put_u64(t, tensor->end);
    put_str(t, "]}");
}

/* Pad with spaces and write the length into the first eight bytes. */
static int finish_text(struct text *t, size_t align, struct uqm_err *err)
{
    size_t padded = uqm_align_up(t->len, align < 8 ? 8 : align);
    while (t->len < padded && !t->failed)
        put_str(t, " ");
    if (t->failed)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a safetensors header");
    uint64_t n = t->len - UQM_ST_PREFIX_BYTES;
    if (n > UQM_ST_HEADER_HARD_CAP)
        return uqm_fail(err, UQM_ERR_ARG,
                        "a safetensors header of %" PRIu64 " bytes, above the format's limit; "
                        "use more shards",
                        n);
    for (int i = 0; i < UQM_ST_PREFIX_BYTES; i++)
        t->s[i] = (char) (n >> 8 * i);
    return UQM_OK;
}

int uqm_st_header_init(struct uqm_st_header *out, struct uqm_st_tensor *tensors, size_t n_tensors,
                       const struct uqm_st_pair *metadata, size_t n_metadata, size_t align,
                       struct uqm_err *err)
{
    struct text t = { 0 };
    struct uqm_st_header h = { 0 };
    int ret;

    h.order = malloc((n_tensors + 1) * sizeof *h.order);
    if (!h.order)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a safetensors header");
    for (size_t i = 0; i < n_tensors; i++)
        h.order[i] = i;
    ret = check_names(h.order, tensors, n_tensors, err);
    if (ret < 0)
        goto fail;
    qsort_r(h.order, n_tensors, sizeof *h.order, compare_for_file, tensors);
    ret = place_tensors(&h.data_bytes, h.order, tensors, n_tensors, err);
    if (ret < 0)
        goto fail;

    put(&t, "\0\0\0\0\0\0\0\0{", UQM_ST_PREFIX_BYTES + 1);
    ret = put_metadata(&t, metadata, n_metadata, err);
    if (ret < 0)
        goto fail;
    for (size_t i = 0; i < n_tensors; i++) {
        put_str(&t, i || n_metadata ? "," : "");
        put_tensor(&t, &tensors[h.order[i]]);
    }
    put_str(&t, "}");
    ret = finish_text(&t, align, err);
    if (ret < 0)
        goto fail;

    h.bytes = (uint8_t *) t.s;
    h.n_bytes = t.len;
    *out = h;
    return UQM_OK;

fail:
    free(t.s);
    free(h.order);
    return ret;
}

void uqm_st_header_finish(struct uqm_st_header *header)
{
    free(header->bytes);
    free(header->order);
    *header = (struct uqm_st_header){ 0 };
}
