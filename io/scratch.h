/* A temporary file without a name: it is gone when it is closed, however the program ends. */
#ifndef UQM_IO_SCRATCH_H
#define UQM_IO_SCRATCH_H

#include "src/base/err.h"

struct uqm_scratch {
    int fd; /* -1: none */
    char *dir;
};

/* dir NULL: $TMPDIR, else /tmp. size_bytes are reserved where the file system can, so that a full
 * disk is known now. */
int uqm_scratch_init(struct uqm_scratch *out, const char *dir, uint64_t size_bytes,
                     struct uqm_err *err);
void uqm_scratch_finish(struct uqm_scratch *scratch);
/* All of len, or an error. */
int uqm_scratch_write(const struct uqm_scratch *scratch, const void *data, size_t len,
                      uint64_t off_bytes, struct uqm_err *err);
int uqm_scratch_read(const struct uqm_scratch *scratch, void *data, size_t len, uint64_t off_bytes,
                     struct uqm_err *err);

#endif
