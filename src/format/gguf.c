#include "src/format/gguf.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/checked.h"
#include "src/base/utf8.h"

/* The bytes of the header that remain; and of the file, which holds at least as many. */
struct reader {
    const uint8_t *at;
    size_t left;
    uint64_t file_left;
    bool *more;
};

/* A length of what is to come that the file does not hold, or that was not handed over. */
static int short_of(const struct reader *r, uint64_t n, const char *what, struct uqm_err *err)
{
    if (n > r->file_left)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%s: %" PRIu64 " bytes, where the file has %" PRIu64 " left", what, n,
                        r->file_left);
    *r->more = true;
    return uqm_fail(err, UQM_ERR_FORMAT, "%s: the header goes on", what);
}

static int take(const uint8_t **out, struct reader *r, uint64_t n, const char *what,
                struct uqm_err *err)
{
    if (n > r->left)
        return short_of(r, n, what, err);
    *out = r->at;
    r->at += n;
    r->left -= (size_t) n;
    r->file_left -= n;
    return UQM_OK;
}

static int take_u32(uint32_t *out, struct reader *r, const char *what, struct uqm_err *err)
{
    const uint8_t *p = NULL;
    int ret = take(&p, r, 4, what, err);
    *out = ret == UQM_OK ? uqm_get_u32(p) : 0;
    return ret;
}

static int take_u64(uint64_t *out, struct reader *r, const char *what, struct uqm_err *err)
{
    const uint8_t *p = NULL;
    int ret = take(&p, r, 8, what, err);
    *out = ret == UQM_OK ? uqm_get_u64(p) : 0;
    return ret;
}

static int no_memory(struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the header");
}

/* --- types --- */

/* Bytes of one element; 0: of no fixed size. */
static const uint8_t sizes[UQM_GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

const char *uqm_gguf_type_name(enum uqm_gguf_type type)
{
    static const char *const names[UQM_GGUF_N_TYPES] = { "u8",  "i8",  "u16",  "i16",    "u32",
                                                         "i32", "f32", "bool", "string", "array",
                                                         "u64", "i64", "f64" };
    return names[type];
}

const struct uqm_ggml_type *uqm_ggml_type(uint32_t id)
{
    static const struct uqm_ggml_type types[] = {
        [0] = { "F32", 1, 4 },         [1] = { "F16", 1, 2 },         [2] = { "Q4_0", 32, 18 },
        [3] = { "Q4_1", 32, 20 },      [6] = { "Q5_0", 32, 22 },      [7] = { "Q5_1", 32, 24 },
        [8] = { "Q8_0", 32, 34 },      [9] = { "Q8_1", 32, 36 },      [10] = { "Q2_K", 256, 84 },
        [11] = { "Q3_K", 256, 110 },   [12] = { "Q4_K", 256, 144 },   [13] = { "Q5_K", 256, 176 },
        [14] = { "Q6_K", 256, 210 },   [15] = { "Q8_K", 256, 292 },   [16] = { "IQ2_XXS", 256, 66 },
        [17] = { "IQ2_XS", 256, 74 },  [18] = { "IQ3_XXS", 256, 98 }, [19] = { "IQ1_S", 256, 50 },
        [20] = { "IQ4_NL", 32, 18 },   [21] = { "IQ3_S", 256, 110 },  [22] = { "IQ2_S", 256, 82 },
        [23] = { "IQ4_XS", 256, 136 }, [24] = { "I8", 1, 1 },         [25] = { "I16", 1, 2 },
        [26] = { "I32", 1, 4 },        [27] = { "I64", 1, 8 },        [28] = { "F64", 1, 8 },
        [29] = { "IQ1_M", 256, 56 },   [30] = { "BF16", 1, 2 },       [34] = { "TQ1_0", 256, 54 },
        [35] = { "TQ2_0", 256, 66 },   [39] = { "MXFP4", 32, 17 },
    };
    return id < sizeof types / sizeof *types && types[id].name ? &types[id] : NULL;
}

/* --- keys and values --- */

/* A key or a tensor's name: shown in messages, kept with a NUL behind it. */
static int take_name(const char **out, struct uqm_arena *arena, struct reader *r, uint64_t most,
                     const char *what, struct uqm_err *err)
{
    const uint8_t *p = NULL;
    uint64_t n;
    struct uqm_printable shown;
    int ret = take_u64(&n, r, what, err);
    if (ret == UQM_OK && (n == 0 || n > most))
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: %" PRIu64 " bytes long, not 1 to %" PRIu64, what,
                        n, most);
    if (ret == UQM_OK)
        ret = take(&p, r, n, what, err);
    if (ret < 0)
        return ret;
    bool plain = uqm_utf8_valid(p, (size_t) n);
    for (uint64_t i = 0; i < n && plain; i++)
        plain = p[i] >= 0x20 && p[i] != 0x7f;
    if (!plain)
        return uqm_fail(err, UQM_ERR_FORMAT, "%s, %s: not UTF-8, or with control characters", what,
                        uqm_printable(&shown, (const char *) p, (size_t) n));
    *out = uqm_arena_strndup(arena, (const char *) p, (size_t) n);
    return *out ? UQM_OK : no_memory(err);
}

static int take_string(const uint8_t **out, uint64_t *n, struct reader *r, const char *key,
                       struct uqm_err *err)
{
    int ret = take_u64(n, r, key, err);
    return ret == UQM_OK ? take(out, r, *n, key, err) : ret;
}

static int check_bools(const uint8_t *p, uint64_t n, const char *key, struct uqm_err *err)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1)
            return uqm_fail(err, UQM_ERR_FORMAT, "key %s: %u for a bool", key, p[i]);
    return UQM_OK;
}

static int check_type(uint32_t type, const char *key, struct uqm_err *err)
{
    if (type < UQM_GGUF_N_TYPES)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_FORMAT, "key %s: type %" PRIu32 " is none", key, type);
}

static int take_numbers(struct uqm_gguf_value *v, struct reader *r, enum uqm_gguf_type type,
                        uint64_t n, const char *key, struct uqm_err *err)
{
    uint64_t n_bytes;
    if (!uqm_mul_u64(&n_bytes, n, sizes[type]))
        return uqm_fail(err, UQM_ERR_FORMAT, "key %s: an array of %" PRIu64 " elements", key, n);
    int ret = take(&v->data, r, n_bytes, key, err);
    v->n_bytes = (size_t) n_bytes;
    return ret == UQM_OK && type == UQM_GGUF_BOOL ? check_bools(v->data, n, key, err) : ret;
}

static int take_array(struct uqm_gguf_value *v, struct reader *r, const char *key,
                      struct uqm_err *err)
{
    uint32_t elem = 0;
    int ret = take_u32(&elem, r, key, err);
    if (ret == UQM_OK)
        ret = check_type(elem, key, err);
    if (ret == UQM_OK)
        ret = take_u64(&v->n, r, key, err);
    if (ret < 0)
        return ret;
    v->elem = (enum uqm_gguf_type) elem;
    if (v->elem == UQM_GGUF_ARRAY)
        return uqm_fail(err, UQM_ERR_FORMAT, "key %s: an array of arrays", key);
    if (v->elem != UQM_GGUF_STRING)
        return take_numbers(v, r, v->elem, v->n, key, err);
    if (v->n > r->file_left / 8) /* before as many are walked through */
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "key %s: %" PRIu64 " strings, where the file has %" PRIu64 " bytes left",
                        key, v->n, r->file_left);
    v->data = r->at;
    for (uint64_t i = 0; i < v->n && ret == UQM_OK; i++) {
        const uint8_t *text;
        uint64_t n;
        ret = take_string(&text, &n, r, key, err);
    }
    v->n_bytes = (size_t) (r->at - v->data);
    return ret;
}

static int take_pair(struct uqm_gguf_pair *pair, struct uqm_arena *arena, struct reader *r,
                     struct uqm_err *err)
{
    struct uqm_gguf_value *v = &pair->value;
    uint32_t type = 0;
    int ret = take_name(&pair->key, arena, r, UQM_GGUF_MAX_KEY, "a key", err);
    if (ret == UQM_OK)
        ret = take_u32(&type, r, pair->key, err);
    if (ret == UQM_OK)
        ret = check_type(type, pair->key, err);
    if (ret < 0)
        return ret;
    v->type = (enum uqm_gguf_type) type;
    if (v->type == UQM_GGUF_ARRAY)
        return take_array(v, r, pair->key, err);
    if (v->type != UQM_GGUF_STRING)
        return take_numbers(v, r, v->type, 1, pair->key, err);
    ret = take_string(&v->data, &v->n, r, pair->key, err);
    v->n_bytes = (size_t) v->n;
    return ret;
}

/* --- tensors --- */

static int refuse(const struct uqm_gguf_tensor *t, const char *why, struct uqm_err *err)
{
    struct uqm_printable shown;
    return uqm_fail(err, UQM_ERR_FORMAT, "tensor %s: %s",
                    uqm_printable(&shown, t->name, strlen(t->name)), why);
}

static int measure_tensor(struct uqm_gguf_tensor *t, struct uqm_err *err)
{
    const struct uqm_ggml_type *type = uqm_ggml_type(t->type);
    if (!type) {
        struct uqm_printable shown;
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "tensor %s: type %" PRIu32 " is not known",
                        uqm_printable(&shown, t->name, strlen(t->name)), t->type);
    }
    t->n_elem = 1;
    for (unsigned d = 0; d < t->n_dims; d++)
        if (t->dims[d] > INT64_MAX || !uqm_mul_u64(&t->n_elem, t->n_elem, t->dims[d]) ||
            t->n_elem > INT64_MAX)
            return refuse(t, "more than 2^63 - 1 elements", err);
    if ((t->n_dims > 0 ? t->dims[0] : 1) % type->n_elem != 0)
        return refuse(t, "rows that are no whole number of its type's blocks", err);
    if (!uqm_mul_u64(&t->n_bytes, t->n_elem / type->n_elem, type->n_bytes))
        return refuse(t, "more than 2^64 bytes", err);
    return UQM_OK;
}

static int take_tensor(struct uqm_gguf_tensor *t, struct uqm_arena *arena, struct reader *r,
                       struct uqm_err *err)
{
    uint32_t n_dims = 0;
    int ret = take_name(&t->name, arena, r, UQM_GGUF_MAX_NAME, "a tensor's name", err);
    if (ret == UQM_OK)
        ret = take_u32(&n_dims, r, t->name, err);
    if (ret == UQM_OK && n_dims > UQM_GGUF_MAX_DIMS)
        return refuse(t, "more than 4 dimensions", err);
    t->n_dims = n_dims;
    for (unsigned d = 0; d < UQM_GGUF_MAX_DIMS; d++)
        t->dims[d] = 1;
    for (unsigned d = 0; d < n_dims && ret == UQM_OK; d++)
        ret = take_u64(&t->dims[d], r, t->name, err);
    if (ret == UQM_OK)
        ret = take_u32(&t->type, r, t->name, err);
    if (ret == UQM_OK)
        ret = take_u64(&t->offset, r, t->name, err);
    return ret == UQM_OK ? measure_tensor(t, err) : ret;
}

/* --- the whole --- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* names: [n], which is sorted here. */
static int check_unique(const char **names, size_t n, const char *what, struct uqm_err *err)
{
    struct uqm_printable shown;
    if (n > 1)
        qsort(names, n, sizeof *names, by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return uqm_fail(err, UQM_ERR_FORMAT, "%s %s: twice", what,
                            uqm_printable(&shown, names[i], strlen(names[i])));
    return UQM_OK;
}

static int check_names(const struct uqm_gguf_index *index, struct uqm_err *err)
{
    size_t most = index->n_pairs > index->n_tensors ? index->n_pairs : index->n_tensors;
    const char **names = calloc(most + 1, sizeof *names);
    if (!names)
        return no_memory(err);
    for (size_t i = 0; i < index->n_pairs; i++)
        names[i] = index->pairs[i].key;
    int ret = check_unique(names, index->n_pairs, "key", err);
    for (size_t i = 0; i < index->n_tensors; i++)
        names[i] = index->tensors[i].name;
    if (ret == UQM_OK)
        ret = check_unique(names, index->n_tensors, "tensor", err);
    free(names);
    return ret;
}

static int find_align(struct uqm_gguf_index *index, struct uqm_err *err)
{
    const struct uqm_gguf_value *v = uqm_gguf_find(index, "general.alignment");
    index->align = UQM_GGUF_ALIGN;
    if (!v)
        return UQM_OK;
    if (v->type != UQM_GGUF_U32)
        return uqm_fail(err, UQM_ERR_FORMAT, "key general.alignment: not a u32");
    index->align = uqm_get_u32(v->data);
    if (index->align == 0 || (index->align & (index->align - 1)) != 0)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "key general.alignment: %" PRIu32 " is no power of two", index->align);
    return UQM_OK;
}

/* ggml's rule: each tensor where the ones before it, padded, end. The last one's padding may be
 * missing. */
static int place_tensors(struct uqm_gguf_index *index, uint64_t file_bytes, struct uqm_err *err)
{
    uint64_t at = 0;
    for (size_t i = 0; i < index->n_tensors; i++) {
        struct uqm_gguf_tensor *t = &index->tensors[i];
        struct uqm_printable shown;
        const char *name = uqm_printable(&shown, t->name, strlen(t->name));
        if (t->offset != at)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "tensor %s: at offset %" PRIu64 " of the data, not at %" PRIu64
                            ", where the one before it ends",
                            name, t->offset, at);
        uint64_t left = file_bytes - index->header_bytes;
        if (at > left || t->n_bytes > left - at)
            return uqm_fail(err, UQM_ERR_FORMAT,
                            "tensor %s: bytes [%" PRIu64 ", +%" PRIu64 ") outside %" PRIu64
                            " bytes of data",
                            name, at, t->n_bytes, left);
        t->offset += index->header_bytes;
        at = uqm_align_up(at + t->n_bytes, index->align);
    }
    return UQM_OK;
}

static int take_start(struct uqm_gguf_index *index, struct reader *r, struct uqm_err *err)
{
    enum { LEAST_PAIR = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 1 + 4 + 4 + 8 };
    const uint8_t *magic = NULL;
    uint64_t n_tensors = 0, n_pairs = 0;
    int ret = take(&magic, r, 4, "the first bytes", err);
    if (ret == UQM_OK && memcmp(magic, "GGUF", 4) != 0)
        return uqm_fail(err, UQM_ERR_FORMAT, "not a GGUF file: it does not begin with GGUF");
    if (ret == UQM_OK)
        ret = take_u32(&index->version, r, "the version", err);
    if (ret < 0)
        return ret;
    if (index->version != 0 && (index->version & 0xffff) == 0)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "a big-endian GGUF file; these are not read");
    if (index->version != 2 && index->version != UQM_GGUF_VERSION)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "version %" PRIu32 " of GGUF; versions 2 and 3 are read", index->version);
    ret = take_u64(&n_tensors, r, "the number of tensors", err);
    if (ret == UQM_OK)
        ret = take_u64(&n_pairs, r, "the number of keys", err);
    if (ret < 0)
        return ret;
    if (n_pairs > UQM_GGUF_MAX_PAIRS || n_tensors > UQM_GGUF_MAX_TENSORS)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%" PRIu64 " keys and %" PRIu64 " tensors, where %d and %d are the most",
                        n_pairs, n_tensors, UQM_GGUF_MAX_PAIRS, UQM_GGUF_MAX_TENSORS);
    if (n_pairs > r->file_left / LEAST_PAIR || n_tensors > r->file_left / LEAST_TENSOR)
        return uqm_fail(err, UQM_ERR_FORMAT,
                        "%" PRIu64 " keys and %" PRIu64 " tensors do not fit into %" PRIu64
                        " bytes",
                        n_pairs, n_tensors, r->file_left);
    index->n_pairs = (size_t) n_pairs;
    index->n_tensors = (size_t) n_tensors;
    return UQM_OK;
}

/* Descriptions are allocated for as many as there can be in the bytes at hand: of a header that
 * goes on, not before it is whole. */
static int take_lists(struct uqm_gguf_index *index, struct reader *r, struct uqm_err *err)
{
    enum { LEAST_PAIR = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 1 + 4 + 4 + 8 };
    int ret = UQM_OK;
    if (index->n_pairs > r->left / LEAST_PAIR || index->n_tensors > r->left / LEAST_TENSOR) {
        *r->more = true;
        return uqm_fail(err, UQM_ERR_FORMAT, "the header goes on");
    }
    index->pairs = uqm_arena_alloc(&index->arena, index->n_pairs + 1, sizeof *index->pairs);
    index->tensors = uqm_arena_alloc(&index->arena, index->n_tensors + 1, sizeof *index->tensors);
    if (!index->pairs || !index->tensors)
        return no_memory(err);
    for (size_t i = 0; i < index->n_pairs && ret == UQM_OK; i++)
        ret = take_pair(&index->pairs[i], &index->arena, r, err);
    for (size_t i = 0; i < index->n_tensors && ret == UQM_OK; i++)
        ret = take_tensor(&index->tensors[i], &index->arena, r, err);
    return ret;
}

int uqm_gguf_parse(struct uqm_gguf_index *out, bool *more, const uint8_t *bytes, size_t n_bytes,
                   uint64_t file_bytes, struct uqm_err *err)
{
    struct uqm_gguf_index index = { 0 };
    struct reader r = { bytes, n_bytes, file_bytes, more };
    *out = index;
    *more = false;
    int ret = take_start(&index, &r, err);
    if (ret == UQM_OK)
        ret = take_lists(&index, &r, err);
    if (ret == UQM_OK)
        ret = check_names(&index, err);
    if (ret == UQM_OK)
        ret = find_align(&index, err);
    if (ret == UQM_OK) {
        index.header_bytes = uqm_align_up(file_bytes - r.file_left, index.align);
        if (index.header_bytes > file_bytes && index.n_tensors > 0)
            ret = uqm_fail(err, UQM_ERR_FORMAT, "the file ends before the tensors' bytes begin");
    }
    if (ret == UQM_OK && index.n_tensors > 0)
        ret = place_tensors(&index, file_bytes, err);
    if (ret < 0)
        uqm_gguf_finish(&index);
    else
        *out = index;
    return ret;
}

void uqm_gguf_finish(struct uqm_gguf_index *index)
{
    uqm_arena_finish(&index->arena);
    *index = (struct uqm_gguf_index){ 0 };
}

const struct uqm_gguf_value *uqm_gguf_find(const struct uqm_gguf_index *index, const char *key)
{
    for (size_t i = 0; i < index->n_pairs; i++)
        if (strcmp(index->pairs[i].key, key) == 0)
            return &index->pairs[i].value;
    return NULL;
}

bool uqm_gguf_u64(uint64_t *out, const struct uqm_gguf_value *value)
{
    const bool is_signed = value->type == UQM_GGUF_I8 || value->type == UQM_GGUF_I16 ||
                           value->type == UQM_GGUF_I32 || value->type == UQM_GGUF_I64;
    if (!is_signed && value->type != UQM_GGUF_U8 && value->type != UQM_GGUF_U16 &&
        value->type != UQM_GGUF_U32 && value->type != UQM_GGUF_U64)
        return false;
    size_t n = value->n_bytes;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t) value->data[i] << 8 * i;
    return !is_signed || !(value->data[n - 1] & 0x80);
}

struct uqm_gguf_texts uqm_gguf_texts(const struct uqm_gguf_value *array)
{
    return (struct uqm_gguf_texts){ array->data, array->n };
}

bool uqm_gguf_next_text(const uint8_t **text, size_t *len, struct uqm_gguf_texts *texts)
{
    if (texts->left == 0)
        return false;
    *len = (size_t) uqm_get_u64(texts->at); /* checked when the header was parsed */
    *text = texts->at + 8;
    texts->at += 8 + *len;
    texts->left--;
    return true;
}

/* Five digits, at least 1; NULL: they are none. */
static const char *five_digits(uint32_t *out, const char *s)
{
    *out = 0;
    for (int i = 0; i < 5; i++, s++) {
        if (!isdigit((unsigned char) *s))
            return NULL;
        *out = *out * 10 + (uint32_t) (*s - '0');
    }
    return *out > 0 ? s : NULL;
}

bool uqm_gguf_split_name(size_t *prefix_len, uint32_t *part, uint32_t *n_parts, const char *path)
{
    static const char like[] = "-00001-of-00001.gguf";
    size_t len = strlen(path);
    if (len < sizeof like - 1)
        return false;
    const char *s = path + len - (sizeof like - 1);
    *prefix_len = (size_t) (s - path);
    if (*s != '-' || !(s = five_digits(part, s + 1)) || strncmp(s, "-of-", 4) != 0 ||
        !(s = five_digits(n_parts, s + 4)))
        return false;
    return strcmp(s, ".gguf") == 0 && *part <= *n_parts;
}
