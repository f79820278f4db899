/*
 * model.safetensors.index.json and pytorch_model.bin.index.json: which shard holds which tensor
 * (spec formats.md 1, "Shards"). Pure: text in, struct out.
 */
#ifndef UQM_FORMAT_SHARD_INDEX_H
#define UQM_FORMAT_SHARD_INDEX_H

#include "src/base/arena.h"
#include "src/base/err.h"

struct uqm_shard_entry {
    const char *tensor;
    size_t file; /* index into files */
};

struct uqm_shard_index {
    struct uqm_shard_entry *entries; /* ascending by tensor name */
    size_t n_entries;
    const char **files; /* ascending; each a bare file name */
    size_t n_files;
    bool has_total; /* metadata.total_size is there */
    uint64_t total_bytes;
    struct uqm_arena arena; /* owns all of the above */
};

/*
 * UQM_ERR_FORMAT, naming `where` and the tensor: no weight_map, a map without tensors, a tensor
 * given twice, a file that is no bare name (empty, "." or "..", a slash, a backslash, a control
 * character) or does not end in `suffix` (".safetensors", ".bin"; NULL: any). On failure *out is
 * untouched.
 */
int uqm_shard_index_parse(struct uqm_shard_index *out, const char *text, size_t len,
                          const char *where, const char *suffix, struct uqm_err *err);
void uqm_shard_index_finish(struct uqm_shard_index *index);

/* The entry of a tensor, or NULL. */
const struct uqm_shard_entry *uqm_shard_index_find(const struct uqm_shard_index *index,
                                                   const char *tensor);

#endif
