/*
 * The pickle inside a PyTorch file, read without running it (spec formats.md 2): a machine over
 * tagged values that knows the opcodes, globals and calls a state dict needs and refuses all else
 * by name and byte. Nothing is imported and nothing is called. Pure: bytes in, structs out.
 */
#ifndef UQM_FORMAT_PICKLE_H
#define UQM_FORMAT_PICKLE_H

#include "src/base/arena.h"
#include "src/base/dtype.h"
#include "src/base/err.h"

enum {
    UQM_PICKLE_MAX_BYTES = 64 << 20,
    UQM_PICKLE_MAX_VALUES = 1 << 22,
    UQM_PICKLE_MAX_OPS = 10000000,
    UQM_PICKLE_MAX_MARKS = 64,
    UQM_PICKLE_MAX_RANK = 64,
};

struct uqm_pickle_tensor {
    const char *name; /* UTF-8, NUL-terminated, no NUL inside */
    enum uqm_dtype dtype;
    unsigned rank;
    const uint64_t *shape, *strides; /* [rank]; strides in elements */
    uint64_t n_elem;
    uint64_t offset_elem;   /* of the first element, in its storage */
    bool contiguous;        /* the strides are those of packed row-major elements */
    bool untyped;           /* the storage is of bytes: torch.load never swaps those */
    const char *storage;    /* key: the record is data/KEY. Letters, digits, _ - . alone */
    uint64_t storage_bytes; /* what the record must have; every element lies inside */
};

struct uqm_state_dict {
    struct uqm_pickle_tensor *tensors; /* in the file's order, each name once */
    size_t n_tensors;
    size_t n_skipped;       /* entries of the dict that are no tensors */
    struct uqm_arena arena; /* owns all of the above */
};

/*
 * The state dict of data.pkl: the dict at the root, or the one under its key state_dict, model or
 * module. UQM_ERR_FORMAT for bytes that are no pickle or contradict themselves, and for whatever
 * would run code; UQM_ERR_UNSUPPORTED for tensors of a known kind that we do not read (sparse,
 * quantized, ...). Messages begin "data.pkl+BYTE:". On failure *out is untouched.
 */
int uqm_pickle_parse(struct uqm_state_dict *out, const uint8_t *pickle, size_t len,
                     struct uqm_err *err);
/*
 * The kind of before torch 1.6 (spec formats.md 2): five pickles in a row, then for each key i64
 * count and the storage's elements. `head`: the file's first len bytes; a pickle that is cut off
 * there is UQM_ERR_FORMAT, as any other damage. Ownership as above.
 */
struct uqm_legacy_storage {
    const char *key;
    uint64_t n_elem;
    unsigned elem_bytes;
};
struct uqm_legacy {
    struct uqm_state_dict dict;          /* owns the rest */
    struct uqm_legacy_storage *storages; /* in the file's order */
    size_t n_storages;
    uint64_t begin; /* of the first storage's count */
};
enum { UQM_LEGACY_MAGIC_BYTES = 15 };
extern const uint8_t uqm_legacy_magic[UQM_LEGACY_MAGIC_BYTES];
int uqm_pickle_parse_legacy(struct uqm_legacy *out, const uint8_t *head, size_t len,
                            struct uqm_err *err);

void uqm_state_dict_finish(struct uqm_state_dict *dict);

#endif
