/* Every byte of an archive, checked: what is stored, what it unpacks to, each file's SHA-256. */
#ifndef UQM_ARCHIVE_ARCHIVE_VERIFY_H
#define UQM_ARCHIVE_ARCHIVE_VERIFY_H

#include "src/base/env.h"

struct uqm_archive_check {
    struct uqm_env *env;
    const char *path;
    const char *base; /* as uqm_archive_params.base */
    /* Called for each difference: bytes [begin, end) of a file in the archive; of the archive
     * itself when file is its own name. tensor may be NULL. A failure ends the check. */
    int (*differs)(void *ctx, const char *file, const char *tensor, uint64_t begin, uint64_t end,
                   const char *what);
    void *ctx;
    uint64_t n_files, n_tensors, n_bytes; /* results: what was checked; bytes of the files */
};

/* UQM_OK whether or not there were differences; failures are the system's and the callback's. */
int uqm_archive_verify(struct uqm_archive_check *check, struct uqm_err *err);

#endif
