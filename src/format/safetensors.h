/*
 * safetensors (spec formats.md 1): an 8-byte length, a JSON header, the tensors' bytes. Pure: the
 * header's text in, a checked index out; tensors and their metadata in, a header out.
 *
 * Stricter than the reference reader: refused too are a tensor name given twice (compared after
 * unescaping), a metadata key given twice, a tensor described by a list or a dtype by an object,
 * U+0000 in a name, rank above 64, nesting deeper than 32.
 */
#ifndef UQM_FORMAT_SAFETENSORS_H
#define UQM_FORMAT_SAFETENSORS_H

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/err.h"

enum {
    UQM_ST_PREFIX_BYTES = 8,
    UQM_ST_MAX_RANK = 64,
    UQM_ST_HEADER_CAP = 16 << 20,           /* the default limit */
    UQM_ST_HEADER_HARD_CAP = 100 * 1000000, /* the format's own */
};

struct uqm_st_tensor {
    const char *name; /* unescaped UTF-8, NUL-terminated, no NUL inside; the index's */
    size_t name_len;
    enum uqm_dtype dtype;
    unsigned rank;
    const uint64_t *shape; /* [rank] */
    uint64_t n_elem;
    uint64_t begin, end; /* bytes, from the start of the data */
};

struct uqm_st_index {
    struct uqm_st_tensor *tensors; /* ascending by (begin, end, name): the order of the data */
    size_t n_tensors;
    size_t n_unknown_fields;   /* members of a tensor that mean nothing to us and were dropped */
    const char *unknown_field; /* "TENSOR: FIELD" of the first, escaped for printing, or NULL */
    struct uqm_arena arena;
};

/*
 * The header's length from the file's first 8 bytes, checked against the file's size and `cap`
 * (0: UQM_ST_HEADER_CAP; above the hard cap: the hard cap) before anything is allocated. A file
 * shorter than 8 bytes: pass its size, `prefix` is not read.
 */
int uqm_st_header_len(uint64_t *header_len, const uint8_t prefix[UQM_ST_PREFIX_BYTES],
                      uint64_t file_bytes, uint64_t cap, struct uqm_err *err);

/*
 * Parse and check a header of `len` bytes that is followed by data_len bytes of data: every tensor
 * inside, no hole, no overlap, nothing left over. Keeps no pointer into `header`. On failure *index
 * is untouched. Messages name the tensor ("tensor w: ..."), not the file.
 */
int uqm_st_parse(struct uqm_st_index *index, const uint8_t *header, size_t len, uint64_t data_len,
                 struct uqm_err *err);
/* Takes an index that is zero or that uqm_st_parse() filled. Zeroes it. */
void uqm_st_index_finish(struct uqm_st_index *index);

/* Bytes of n_elem packed elements; false where the product overflows or is no whole byte. */
bool uqm_st_packed_bytes(uint64_t *n_bytes, enum uqm_dtype dtype, uint64_t n_elem);

/* --- writing --- */

struct uqm_st_pair {
    const char *key, *value; /* UTF-8 */
};

/* The beginning of a file, as the reference writer makes it. */
struct uqm_st_header {
    uint8_t *bytes; /* the 8-byte length, the JSON, the padding */
    size_t n_bytes; /* where the data starts */
    size_t *order;  /* [n_tensors] indices of the tensors in data order */
    uint64_t data_bytes;
};

/*
 * Lay out n tensors: sorted by dtype (rank descending), then name; offsets consecutive in that
 * order. Reads name, dtype, rank, shape of each; fills in n_elem, begin, end. Metadata's keys are
 * sorted; pass {"format", "pt"}, which common loaders insist on. align: the data starts at a
 * multiple of it (power of two, 0: 8). UQM_ERR_ARG for two equal names, a name that is not UTF-8,
 * a size that overflows, or a header above the format's limit.
 */
int uqm_st_header_init(struct uqm_st_header *out, struct uqm_st_tensor *tensors, size_t n_tensors,
                       const struct uqm_st_pair *metadata, size_t n_metadata, size_t align,
                       struct uqm_err *err);
/* Zeroes it. */
void uqm_st_header_finish(struct uqm_st_header *header);

#endif
