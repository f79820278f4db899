/*
 * What an archive will hold, before a weight is read: the folder's files, in the order of their
 * paths; each cut in segments by the tensors that it holds; and where a base is given, where in it
 * the same tensors lie.
 */
#ifndef UQM_PACK_PACK_PLAN_H
#define UQM_PACK_PACK_PLAN_H

#include <sys/stat.h>

#include "src/checkpoint/checkpoint.h"
#include "src/format/archive_index.h"

struct uqm_pack_plan {
    struct uqm_env *env;
    const char *dir;
    struct uqm_archive_index index; /* all but what packing finds out: blocks' lengths, digests */
    struct stat *stats;             /* [index.n_files] as they were when the plan was made */
    struct uqm_checkpoint *base;    /* NULL: none */
    struct uqm_file **base_files;   /* beside index.base_files: the base's own */
    uint64_t n_bytes;               /* of all files */
    uint64_t n_delta_bytes;         /* of them, in segments that are XORed with the base */
};

/*
 * base: folder or archive, or NULL. Symbolic links are packed as the files they lead to, and must
 * lead to files of the folder, or of the Hugging Face cache it is a snapshot of; links to folders,
 * devices and the like are UQM_ERR_UNSUPPORTED.
 */
int uqm_pack_plan_init(struct uqm_pack_plan *plan, struct uqm_env *env, const char *dir,
                       const char *base, struct uqm_err *err);
/* A zeroed one is fine. */
void uqm_pack_plan_finish(struct uqm_pack_plan *plan);

/* The path of a file, from the working directory. malloc'ed; NULL: no memory. */
char *uqm_pack_plan_path(const struct uqm_pack_plan *plan, size_t file);

/* pack_list.c: regular files below `dir`, sorted by path; fills files' path, n_bytes, executable,
 * and stats. */
int uqm_pack_list(struct uqm_pack_plan *plan, struct uqm_err *err);

/* pack_segments.c: the tensors of the file, and its segments. */
int uqm_pack_segments(struct uqm_pack_plan *plan, size_t file, struct uqm_err *err);

/* Append to a list of the index while it is made: room for one more, zeroed. NULL: no memory. */
struct uqm_archive_segment *uqm_pack_add_segment(struct uqm_pack_plan *plan);
struct uqm_archive_tensor *uqm_pack_add_tensor(struct uqm_pack_plan *plan);

#endif
