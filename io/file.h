/*
 * An input file: opened once, read at any offset, buffered or past the page cache. Or a made file:
 * one whose bytes are made when they are read, as those of an archive's files are.
 */
#ifndef UQM_IO_FILE_H
#define UQM_IO_FILE_H

#include <sys/stat.h>

#include "io/record_check.h"
#include "src/base/env.h"

struct uqm_file;

struct uqm_file_ops {
    /* Exactly len bytes at off_bytes, inside size_bytes. Called from several threads at once. */
    int (*read)(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                struct uqm_err *err);
    /* These bytes are asked for soon: start the disk. Does not wait. */
    void (*expect)(struct uqm_file *file, uint64_t off_bytes, size_t len);
    int (*check_unchanged)(const struct uqm_file *file, struct uqm_err *err);
    void (*close)(struct uqm_file *file); /* what `made_of` holds */
};

struct uqm_file {
    const struct uqm_file_ops *ops; /* of a made file; NULL: the file is on a disk */
    void *made_of;                  /* the ops' */
    char *name;                     /* for messages */
    int fd;                         /* buffered; -1: a made file */
    int direct_fd;      /* O_DIRECT, or -1 where the file system or --direct off forbids it */
    uint32_t off_align; /* of offset and length for direct_fd; 1 when there is none */
    uint32_t mem_align; /* of the buffer's address */
    uint64_t size_bytes;
    /* As it was at open; a made file's device and inode are its alone, its times those of the file
     * that it is made of. */
    struct stat stat;
    struct uqm_record_check *records; /* NULL, or checksums that a stream checks; the file's */
};

/*
 * Open for reading. --direct on: UQM_ERR_IO where O_DIRECT is refused. auto: O_DIRECT for files
 * of at least UQM_DIRECT_MIN_BYTES where it works, silently buffered elsewhere. *out becomes the
 * caller's. Regular files only.
 */
enum { UQM_DIRECT_MIN_BYTES = 16 << 20 };
int uqm_file_open(struct uqm_file **out, struct uqm_env *env, const char *path,
                  struct uqm_err *err);
/* A made file of this many bytes. *out becomes the caller's, and with it made_of. On failure
 * made_of is untouched. */
int uqm_file_make(struct uqm_file **out, const char *name, uint64_t size_bytes,
                  const struct uqm_file_ops *ops, void *made_of, struct uqm_err *err);
void uqm_file_close(struct uqm_file **file);

/* UQM_ERR_IO when the file has been changed or replaced since it was opened. */
int uqm_file_check_unchanged(const struct uqm_file *file, struct uqm_err *err);

/* Synchronous read of exactly len bytes, through the buffered descriptor where there is one:
 * headers, small records. Thread-safety: safe. */
int uqm_file_read(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                  struct uqm_err *err);

#endif
