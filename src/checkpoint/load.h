/* Shared by the files that open a checkpoint; not for other folders. */
#ifndef UQM_CHECKPOINT_LOAD_H
#define UQM_CHECKPOINT_LOAD_H

#include "src/archive/archive.h"
#include "src/checkpoint/checkpoint.h"
#include "src/format/pickle.h"
#include "src/format/shard_index.h"

/* One tensor as a weight file describes it. */
struct uqm_found {
    const char *name;
    enum uqm_dtype dtype;
    unsigned rank;
    const uint64_t *shape;
    uint64_t n_elem, n_bytes;
    uint64_t off_bytes;    /* from the start of the file */
    struct uqm_file *made; /* NULL, or as in struct uqm_location */
};

struct uqm_entry {
    struct uqm_tensor tensor;
    struct uqm_location at;
};

/* A checkpoint while its files are read: tensors in the order they are found. */
struct uqm_loading {
    struct uqm_checkpoint *cp;
    struct uqm_env *env;
    uint64_t header_cap;
    struct uqm_archive *archive; /* the files are in it; NULL: on the disk */
    bool vision_only;            /* the files are a vision tower's: leave the rest of them alone */
    struct uqm_entry *entries;
    size_t n_entries, cap;

    /* while the shards of an index are read */
    const struct uqm_shard_index *index;
    size_t shard; /* the one being read, among index->files */
    bool *seen;   /* [index->n_entries] */
    uint64_t total_bytes;
};

/* Read the headers of all weight files of a folder, or of one file. */
int uqm_load_weights(struct uqm_loading *ld, const char *path, enum uqm_format *format,
                     struct uqm_err *err);

/* Take one tensor of cp->files[file]: everything is copied. */
int uqm_load_tensor(struct uqm_loading *ld, size_t file, const struct uqm_found *found,
                    struct uqm_err *err);

/* The tensors of cp->files[file], a file of PyTorch, of either kind. */
int uqm_load_torch(struct uqm_loading *ld, size_t file, struct uqm_err *err);

/* torch_legacy.c: whether this is the kind of before torch 1.6; and its tensors. */
int uqm_torch_is_legacy(bool *is, struct uqm_file *file, struct uqm_err *err);
int uqm_load_torch_legacy(struct uqm_loading *ld, size_t file, struct uqm_err *err);

/* One tensor of a pickle whose storage is the bytes [begin, end) of the file. big: its numbers are
 * big-endian. Messages lack the file's name. */
int uqm_torch_locate(struct uqm_found *found, struct uqm_loading *ld, size_t file,
                     const struct uqm_pickle_tensor *tensor, uint64_t begin, bool big,
                     struct uqm_err *inner);
/* Put the file's name before a message that lacks it; returns inner->code. */
int uqm_fail_in_file(struct uqm_err *err, const struct uqm_file *file, const struct uqm_err *inner);

#endif
