/* GGUF headers: keys, then tensors, then padding; the counts are filled in at the end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/format/gguf.h"

enum { START_BYTES = 4 + 4 + 8 + 8 };

/* n more bytes, to be filled in; NULL once memory ran out. */
static uint8_t *grow(struct uqm_gguf_header *h, size_t n)
{
    if (h->failed)
        return NULL;
    if (n > h->cap - h->n_bytes) {
        size_t cap = (h->n_bytes + n) * 2;
        uint8_t *more = realloc(h->bytes, cap);
        if (!more) {
            h->failed = true;
            return NULL;
        }
        h->bytes = more;
        h->cap = cap;
    }
    h->n_bytes += n;
    return h->bytes + h->n_bytes - n;
}

static void put_u32(struct uqm_gguf_header *h, uint32_t x)
{
    uint8_t *p = grow(h, 4);
    if (p)
        uqm_put_u32(p, x);
}

static void put_u64(struct uqm_gguf_header *h, uint64_t x)
{
    uint8_t *p = grow(h, 8);
    if (p)
        uqm_put_u64(p, x);
}

static void put_string(struct uqm_gguf_header *h, const char *s)
{
    size_t n = strlen(s);
    put_u64(h, n);
    uint8_t *p = grow(h, n);
    if (p)
        memcpy(p, s, n);
}

static void put_key(struct uqm_gguf_header *h, const char *key, enum uqm_gguf_type type)
{
    put_string(h, key);
    put_u32(h, (uint32_t) type);
    h->n_pairs++;
}

void uqm_gguf_begin(struct uqm_gguf_header *header)
{
    *header = (struct uqm_gguf_header){ 0 };
    uint8_t *p = grow(header, START_BYTES);
    if (!p)
        return;
    memset(p, 0, START_BYTES);
    memcpy(p, "GGUF", 4);
    uqm_put_u32(p + 4, UQM_GGUF_VERSION);
}

void uqm_gguf_put_u32(struct uqm_gguf_header *header, const char *key, uint32_t value)
{
    put_key(header, key, UQM_GGUF_U32);
    put_u32(header, value);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

void uqm_gguf_put_f32(struct uqm_gguf_header *header, const char *key, float value)
{
    put_key(header, key, UQM_GGUF_F32);
    put_u32(header, bits_of(value));
}

void uqm_gguf_put_bool(struct uqm_gguf_header *header, const char *key, bool value)
{
    put_key(header, key, UQM_GGUF_BOOL);
    uint8_t *p = grow(header, 1);
    if (p)
        *p = value;
}

void uqm_gguf_put_text(struct uqm_gguf_header *header, const char *key, const char *text)
{
    put_key(header, key, UQM_GGUF_STRING);
    put_string(header, text);
}

static void put_array(struct uqm_gguf_header *h, const char *key, enum uqm_gguf_type elem, size_t n)
{
    put_key(h, key, UQM_GGUF_ARRAY);
    put_u32(h, (uint32_t) elem);
    put_u64(h, n);
}

void uqm_gguf_put_numbers(struct uqm_gguf_header *header, const char *key, enum uqm_gguf_type elem,
                          const void *values, size_t n)
{
    put_array(header, key, elem, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, (const char *) values + 4 * i, sizeof bits);
        put_u32(header, bits);
    }
}

void uqm_gguf_put_texts(struct uqm_gguf_header *header, const char *key, const char *const *texts,
                        size_t n)
{
    put_array(header, key, UQM_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_string(header, texts[i]);
}

static int refuse(const char *name, const char *why, struct uqm_err *err)
{
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "tensor %s: GGUF has no place for %s",
                    uqm_printable(&shown, name, strlen(name)), why);
}

/* Of one tensor, with what follows it. */
static int measure(uint64_t *n_bytes, uint64_t *end, const struct uqm_gguf_header *h,
                   const char *name, unsigned n_dims, const uint64_t *dims, uint32_t type,
                   struct uqm_err *err)
{
    const struct uqm_ggml_type *t = uqm_ggml_type(type);
    uint64_t n_elem = 1;
    if (strlen(name) > UQM_GGUF_MAX_NAME)
        return refuse(name, "a name of more than 63 bytes", err);
    if (n_dims == 0 || n_dims > UQM_GGUF_MAX_DIMS)
        return refuse(name, "no dimensions, or more than 4", err);
    for (unsigned d = 0; d < n_dims; d++)
        if (!uqm_mul_u64(&n_elem, n_elem, dims[d]) || n_elem > INT64_MAX)
            return refuse(name, "more than 2^63 - 1 elements", err);
    if (dims[0] % t->n_elem != 0)
        return refuse(name, "rows that are no whole number of blocks", err);
    if (!uqm_mul_u64(n_bytes, n_elem / t->n_elem, t->n_bytes) ||
        !uqm_add_u64(end, h->data_bytes, *n_bytes) || *end > INT64_MAX)
        return refuse(name, "more than 2^63 - 1 bytes of data", err);
    return UQM_OK;
}

int uqm_gguf_put_tensor(struct uqm_gguf_header *header, uint64_t *offset, uint64_t *n_bytes,
                        const char *name, unsigned n_dims, const uint64_t *dims, uint32_t type,
                        struct uqm_err *err)
{
    uint64_t end = 0;
    int ret = measure(n_bytes, &end, header, name, n_dims, dims, type, err);
    if (ret < 0)
        return ret;
    put_string(header, name);
    put_u32(header, n_dims);
    for (unsigned d = 0; d < n_dims; d++)
        put_u64(header, dims[d]);
    put_u32(header, type);
    put_u64(header, header->data_bytes);
    *offset = header->data_bytes;
    header->data_bytes = uqm_align_up(end, UQM_GGUF_ALIGN);
    header->n_tensors++;
    return UQM_OK;
}

int uqm_gguf_end(struct uqm_gguf_header *header, struct uqm_err *err)
{
    size_t padded = (size_t) uqm_align_up(header->n_bytes, UQM_GGUF_ALIGN);
    size_t n = padded - header->n_bytes;
    uint8_t *p = grow(header, n);
    if (header->failed)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a GGUF header");
    memset(p, 0, n);
    uqm_put_u64(header->bytes + 8, header->n_tensors);
    uqm_put_u64(header->bytes + 16, header->n_pairs);
    return UQM_OK;
}
