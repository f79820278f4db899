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

/* What some bytes of a made file are made of: ranges of files on a disk. */
enum { UQM_FILE_MAX_SOURCES = 2 };
struct uqm_file_source {
    struct uqm_file *file; /* borrowed, as long as the made file is open */
    uint64_t off_bytes;
    size_t n_bytes;
};

struct uqm_file_ops {
    /* Exactly len bytes at off_bytes, inside size_bytes. Called from several threads at once. */
    int (*read)(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                struct uqm_err *err);
    /*
     * NULL both, or how whoever reads ahead has the disk at work meanwhile (io/maker.h). part: how
     * many of these bytes, from the first, are made of one set of sources, and which; 0 sources:
     * there is nothing to be read before. make: as read, with the sources' bytes, or NULL for those
     * that it has to read by itself. Called from several threads at once.
     */
    size_t (*part)(struct uqm_file_source sources[UQM_FILE_MAX_SOURCES], size_t *n_sources,
                   struct uqm_file *file, uint64_t off_bytes, size_t len);
    int (*make)(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                const uint8_t *const sources[UQM_FILE_MAX_SOURCES], struct uqm_err *err);
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

/* The error of whoever meets the end at `size`, with [off_bytes, end) to be read. */
int uqm_file_ends_early(const struct uqm_file *file, uint64_t off_bytes, uint64_t end,
                        uint64_t size, struct uqm_err *err);

/* UQM_ERR_IO when the file has been changed or replaced since it was opened. */
int uqm_file_check_unchanged(const struct uqm_file *file, struct uqm_err *err);

/* Synchronous read of exactly len bytes, through the buffered descriptor where there is one:
 * headers, small records. Thread-safety: safe. */
int uqm_file_read(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                  struct uqm_err *err);

#endif
