/*
 * A model on disk: its weight files, their index, every tensor as (file, offset, dtype, shape).
 * Opening reads headers only, never weights.
 */
#ifndef UQM_CHECKPOINT_CHECKPOINT_H
#define UQM_CHECKPOINT_CHECKPOINT_H

#include "io/file.h"
#include "src/base/hash.h"
#include "src/checkpoint/layout.h"

enum uqm_format { UQM_FORMAT_SAFETENSORS, UQM_FORMAT_PYTORCH };

struct uqm_location {
    size_t file;        /* index into files */
    uint64_t off_bytes; /* from the start of the file; n_bytes packed bytes from there */
    /* NULL; or what lies there has other strides or another byte order (strided.h), and the packed
     * bytes are all of this file, the checkpoint's */
    struct uqm_file *made;
};

struct uqm_checkpoint {
    struct uqm_source source; /* first: a checkpoint is one; tensors ascend by canonical name */
    char *path;               /* as the user gave it */
    bool is_archive;          /* its files are an archive's */
    enum uqm_format format;
    enum uqm_layout layout;
    char *architecture; /* config.json's architectures[0], or NULL */
    char *config_text;  /* config.json as it stands, or NULL (a lone weight file) */
    struct uqm_file **files;
    size_t n_files;
    struct uqm_location *locations; /* beside source.tensors */
    struct uqm_file **made;         /* those of the locations */
    size_t n_made;
    /* A vision tower that lies beside the model (LLaVA's own layout, or the one the user names) is
     * loaded after it: its tensors stand among source.tensors, its files behind the model's. */
    size_t n_own_files;       /* files[n_own_files...] are the tower's */
    char *vision_tower_path;  /* NULL when the tower is the checkpoint's own */
    char *vision_config_text; /* the tower's config.json, or NULL */
    struct uqm_arena arena;
};

/* Where to read a tensor's packed bytes: the file, and *off_bytes where they begin in it. */
static inline struct uqm_file *uqm_location_file(const struct uqm_checkpoint *cp,
                                                 const struct uqm_location *at, uint64_t *off_bytes)
{
    *off_bytes = at->made ? 0 : at->off_bytes;
    return at->made ? at->made : cp->files[at->file];
}

struct uqm_checkpoint_params {
    const char *path;         /* folder, archive, or one weight file */
    const char *vision_tower; /* NULL: the model's own; else the folder config.json names */
    bool need_vision;         /* no vision tower found: an error; else it may be absent */
    bool quiet;               /* that vision_tower takes another's place has been said */
    uint64_t header_cap;      /* safetensors header limit in bytes; 0: 16 MiB */
};

/*
 * safetensors (model.safetensors.index.json, model.safetensors) before PyTorch
 * (pytorch_model.bin.index.json, pytorch_model.bin); an index beats the single file. A lone file
 * is of the kind its ending says. A shard that is a symbolic link must stay in the folder, or lead
 * into blobs/ of the Hugging Face cache that the folder is a snapshot of.
 *
 * The vision tower is params->vision_tower, which replaces the checkpoint's own; else its own;
 * else, for LLaVA's own layout, config.json's mm_vision_tower as a path from the model's folder,
 * then its last component beside that folder. Of such a tower the vision tensors alone are taken.
 */
int uqm_checkpoint_open(struct uqm_checkpoint **out, struct uqm_env *env,
                        const struct uqm_checkpoint_params *params, struct uqm_err *err);
void uqm_checkpoint_close(struct uqm_checkpoint **checkpoint);

/* A file of a model's folder that may be a symbolic link: UQM_ERR_FORMAT where it leads out, as
 * above. */
int uqm_checkpoint_check_link(const char *folder, const char *path, struct uqm_err *err);

/*
 * Digest of one part: XXH3-128 over names, dtypes, shapes and bytes, in canonical order, with
 * canonical names, so that one frozen tower shows one digest in every layout. Reads the part.
 */
int uqm_checkpoint_part_digest(struct uqm_xxh3_hex *out, struct uqm_checkpoint *checkpoint,
                               enum uqm_part part, struct uqm_err *err);
/* The same of any source, a recipe's merged tensors too. */
int uqm_source_part_digest(struct uqm_xxh3_hex *out, struct uqm_source *source, enum uqm_part part,
                           struct uqm_err *err);

#endif
