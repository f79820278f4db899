/*
 * An input file: opened once, read at any offset, buffered or past the page cache.
 */
#ifndef UQM_IO_FILE_H
#define UQM_IO_FILE_H

#include <sys/stat.h>

#include "src/base/env.h"

struct uqm_file {
    char *name;         /* for messages */
    int fd;             /* buffered */
    int direct_fd;      /* O_DIRECT, or -1 where the file system or --direct off forbids it */
    uint32_t off_align; /* of offset and length for direct_fd; 1 when there is none */
    uint32_t mem_align; /* of the buffer's address */
    uint64_t size_bytes;
    struct stat stat; /* as it was at open */
};

/*
 * Open for reading. --direct on: UQM_ERR_IO where O_DIRECT is refused. auto: O_DIRECT for files
 * of at least UQM_DIRECT_MIN_BYTES where it works, silently buffered elsewhere. *out becomes the
 * caller's. Regular files only.
 */
enum { UQM_DIRECT_MIN_BYTES = 16 << 20 };
int uqm_file_open(struct uqm_file **out, struct uqm_env *env, const char *path,
                  struct uqm_err *err);
void uqm_file_close(struct uqm_file **file);

/* UQM_ERR_IO when the file has been changed or replaced since it was opened. */
int uqm_file_check_unchanged(const struct uqm_file *file, struct uqm_err *err);

/* Synchronous read of exactly len bytes through the buffered descriptor: headers, small records. */
int uqm_file_read(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                  struct uqm_err *err);

#endif
