/* What the files of src/archive that read share; not for other folders. */
#ifndef UQM_ARCHIVE_ARCHIVE_IMPL_H
#define UQM_ARCHIVE_ARCHIVE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/archive/archive.h"
#include "src/archive/block_codec.h"

struct uqm_archive_base;
struct uqm_archive_reader;

struct uqm_archive {
    struct uqm_env *env;
    struct uqm_file *stored;
    struct uqm_archive_index index;
    struct uqm_archive_base *base; /* NULL: none */
    atomic_size_t n_users;         /* the opener and every file */
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    struct uqm_archive_reader *idle; /* under lock, as is n_readers */
    size_t n_readers;
};

/* What a made file is made of. */
struct uqm_archive_view {
    struct uqm_archive *archive;
    size_t file;
};

/* archive_read.c: bytes of a file, called `name` in messages. From any thread. */
int uqm_archive_read(struct uqm_archive *a, size_t file, const char *name, void *buf, size_t len,
                     uint64_t off_bytes, struct uqm_err *err);
/* struct uqm_file_ops' part and make: the bytes of one block. */
size_t uqm_archive_part(struct uqm_file_source sources[UQM_FILE_MAX_SOURCES], size_t *n_sources,
                        struct uqm_archive *a, size_t file, uint64_t off_bytes, size_t len);
int uqm_archive_make(struct uqm_archive *a, size_t file, const char *name, void *buf, size_t len,
                     uint64_t off_bytes, const uint8_t *const sources[UQM_FILE_MAX_SOURCES],
                     struct uqm_err *err);
void uqm_archive_drop_readers(struct uqm_archive *a);

#endif
