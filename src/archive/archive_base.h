/* The base that an archive was packed from: a folder, or an archive. Not for other folders. */
#ifndef UQM_ARCHIVE_ARCHIVE_BASE_H
#define UQM_ARCHIVE_ARCHIVE_BASE_H

#include "src/archive/archive.h"

struct uqm_archive_base {
    char *path;              /* as it was found */
    struct uqm_file **files; /* beside the index's base_files */
    size_t n_files;
};

int uqm_archive_base_open(struct uqm_archive_base **out, struct uqm_env *env,
                          const struct uqm_archive_params *params,
                          const struct uqm_archive_index *index, int depth, struct uqm_err *err);
void uqm_archive_base_close(struct uqm_archive_base **base);

/* archive.c: a base that is an archive itself. */
int uqm_archive_open_base(struct uqm_archive **out, struct uqm_env *env, const char *path,
                          int depth, struct uqm_err *err);

#endif
