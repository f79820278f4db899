/*
 * GGUF version 3, the files of llama.cpp (spec formats.md 3): "GGUF", counts, typed keys, tensor
 * descriptions, padding, the tensors' bytes. Pure: a header's bytes in, a checked index out; keys
 * and tensors in, a header out. Files are little-endian.
 *
 * Stricter than ggml's reader: refused too are an empty key or name, a key or name that is not
 * UTF-8 or holds a control character, a bool that is neither 0 nor 1, and more keys or tensors than
 * any model has.
 */
#ifndef UQM_FORMAT_GGUF_H
#define UQM_FORMAT_GGUF_H

#include "src/base/arena.h"
#include "src/base/err.h"

enum {
    UQM_GGUF_VERSION = 3, /* what is written; 2, which is laid out alike, is read too */
    UQM_GGUF_ALIGN = 32,  /* unless general.alignment says otherwise */
    UQM_GGUF_MAX_DIMS = 4,
    UQM_GGUF_MAX_NAME = 63, /* bytes of a tensor's name that ggml takes */
    UQM_GGUF_MAX_KEY = 65535,
    UQM_GGUF_MAX_PAIRS = 1 << 16,
    UQM_GGUF_MAX_TENSORS = 1 << 18,
    UQM_GGUF_HEADER_CAP = 48 << 20, /* a longer header is refused */
};

/* The numbers are the format's. */
enum uqm_gguf_type {
    UQM_GGUF_U8,
    UQM_GGUF_I8,
    UQM_GGUF_U16,
    UQM_GGUF_I16,
    UQM_GGUF_U32,
    UQM_GGUF_I32,
    UQM_GGUF_F32,
    UQM_GGUF_BOOL,
    UQM_GGUF_STRING,
    UQM_GGUF_ARRAY,
    UQM_GGUF_U64,
    UQM_GGUF_I64,
    UQM_GGUF_F64,
    UQM_GGUF_N_TYPES
};
const char *uqm_gguf_type_name(enum uqm_gguf_type type); /* "u32" */

/* --- types of tensors --- */

/* Those that are written; others are known by their numbers alone. */
enum {
    UQM_GGML_F32 = 0,
    UQM_GGML_F16 = 1,
    UQM_GGML_Q8_0 = 8,
    UQM_GGML_Q4_K = 12,
    UQM_GGML_Q6_K = 14,
    UQM_GGML_BF16 = 30,
};

struct uqm_ggml_type {
    const char *name; /* "Q4_K" */
    uint16_t n_elem;  /* of a block */
    uint16_t n_bytes;
};
/* NULL: no such type, or one that ggml has given up. */
const struct uqm_ggml_type *uqm_ggml_type(uint32_t id);

/* --- reading --- */

/* Bytes of a string or an array lie in the header that was parsed. */
struct uqm_gguf_value {
    enum uqm_gguf_type type;
    enum uqm_gguf_type elem; /* of an array; never UQM_GGUF_ARRAY */
    uint64_t n;              /* elements of an array; bytes of a string */
    const uint8_t *data;     /* the number, the text, or the first element */
    size_t n_bytes;          /* of all that */
};

struct uqm_gguf_pair {
    const char *key; /* NUL-terminated UTF-8, the index's */
    struct uqm_gguf_value value;
};

struct uqm_gguf_tensor {
    const char *name; /* as key */
    unsigned n_dims;
    uint64_t dims[UQM_GGUF_MAX_DIMS]; /* the fastest first: of PyTorch's [rows, cols] cols, rows */
    uint32_t type;
    uint64_t n_elem, n_bytes;
    uint64_t offset; /* from the start of the file */
};

struct uqm_gguf_index {
    uint32_t version, align;
    size_t n_pairs, n_tensors;
    struct uqm_gguf_pair *pairs;     /* in the file's order, as ... */
    struct uqm_gguf_tensor *tensors; /* ... these, which is that of the data */
    uint64_t header_bytes;           /* with its padding: where the data starts */
    struct uqm_arena arena;
};

/*
 * Parse and check the first n_bytes of a file of file_bytes. UQM_ERR_FORMAT: damaged, and so is
 * what claims more than the file holds; UQM_ERR_UNSUPPORTED: version 1, a file of the other byte
 * order, an unknown type of tensor. *more becomes true, and UQM_ERR_FORMAT is returned, where the
 * header goes on behind n_bytes. `bytes` must outlive the index. Messages name key or tensor, not
 * the file. On failure *out is empty.
 */
int uqm_gguf_parse(struct uqm_gguf_index *out, bool *more, const uint8_t *bytes, size_t n_bytes,
                   uint64_t file_bytes, struct uqm_err *err);
void uqm_gguf_finish(struct uqm_gguf_index *index);

/* NULL: there is no such key. */
const struct uqm_gguf_value *uqm_gguf_find(const struct uqm_gguf_index *index, const char *key);
/* The strings of an array of them, one after another; false: there are no more. Not UTF-8
 * necessarily. */
struct uqm_gguf_texts {
    const uint8_t *at;
    uint64_t left;
};
struct uqm_gguf_texts uqm_gguf_texts(const struct uqm_gguf_value *array);
bool uqm_gguf_next_text(const uint8_t **text, size_t *len, struct uqm_gguf_texts *texts);

/* An integer that is not negative, of any of the types; false: it is none. */
bool uqm_gguf_u64(uint64_t *out, const struct uqm_gguf_value *value);

/* Of "NAME-00002-of-00003.gguf": where "-0000" begins, 2 and 3. false: not a part's name. */
bool uqm_gguf_split_name(size_t *prefix_len, uint32_t *part, uint32_t *n_parts, const char *path);

/* --- writing --- */

/* A header while it is made. Text is UTF-8. What fails for want of memory is told at the end. */
struct uqm_gguf_header {
    uint8_t *bytes;
    size_t n_bytes, cap;
    uint64_t n_pairs, n_tensors;
    uint64_t data_bytes; /* of the tensors so far, each padded */
    bool failed;
};
void uqm_gguf_begin(struct uqm_gguf_header *header);
void uqm_gguf_put_u32(struct uqm_gguf_header *header, const char *key, uint32_t value);
void uqm_gguf_put_f32(struct uqm_gguf_header *header, const char *key, float value);
void uqm_gguf_put_bool(struct uqm_gguf_header *header, const char *key, bool value);
void uqm_gguf_put_text(struct uqm_gguf_header *header, const char *key, const char *text);
/* n numbers of UQM_GGUF_F32 or UQM_GGUF_I32 each, as the machine has them. */
void uqm_gguf_put_numbers(struct uqm_gguf_header *header, const char *key, enum uqm_gguf_type elem,
                          const void *values, size_t n);
void uqm_gguf_put_texts(struct uqm_gguf_header *header, const char *key, const char *const *texts,
                        size_t n);
/*
 * After all keys. The tensor's data follow the last one's, padded; *offset is from the start of the
 * data. UQM_ERR_UNSUPPORTED: what GGUF has no place for: more dimensions, a longer name, rows that
 * are no whole number of the type's blocks, a size that overflows.
 */
int uqm_gguf_put_tensor(struct uqm_gguf_header *header, uint64_t *offset, uint64_t *n_bytes,
                        const char *name, unsigned n_dims, const uint64_t *dims, uint32_t type,
                        struct uqm_err *err);
/* Pad: the data begin at n_bytes. `bytes` is malloc'ed, the caller's. UQM_ERR_NOMEM. */
int uqm_gguf_end(struct uqm_gguf_header *header, struct uqm_err *err);

#endif
