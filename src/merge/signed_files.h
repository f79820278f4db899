/* The files of a folder, or archive, that a model signature is about, and their digests. */
#ifndef UQM_MERGE_SIGNED_FILES_H
#define UQM_MERGE_SIGNED_FILES_H

#include "src/base/env.h"
#include "src/format/signature.h"

/* Version control's own, which no signature covers. */
extern const char *const uqm_unsigned_paths[4];

struct uqm_signed_files {
    struct uqm_statement_file *v; /* by their paths' bytes; digests not yet */
    size_t n;
    struct uqm_arena arena;
};

/*
 * All regular files below the folder, but what lies at or below an ignored path (relative to it).
 * UQM_ERR_UNSUPPORTED for a symbolic link or a special file, which a signature cannot speak of, and
 * for a name that is not UTF-8. The caller finishes it, also on failure.
 */
int uqm_signed_files_list(struct uqm_signed_files *out, const char *dir, const char *const *ignored,
                          size_t n_ignored, struct uqm_err *err);
void uqm_signed_files_finish(struct uqm_signed_files *files);

/* SHA-256 of n files below `dir`, several at a time on the environment's threads. `stage` is what
 * the progress calls it; *n_bytes grows by what was read. */
int uqm_signed_files_hash(struct uqm_statement_file *files, size_t n, struct uqm_env *env,
                          const char *dir, const char *stage, uint64_t *n_bytes,
                          struct uqm_err *err);

#endif
