/*
 * An archive (.uqz; format/archive_index.h, docs/archive.md) opened for reading: its files are made
 * files (io/file.h), whose bytes are unpacked when they are asked for. So whatever reads files in
 * pieces reads archives, and only the blocks that a piece touches are read and unpacked.
 *
 * Every block is checked against its checksum before a byte of it is handed out. An archive that
 * was packed from a base (XOR) opens that too, and reads of it what it needs.
 */
#ifndef UQM_ARCHIVE_ARCHIVE_H
#define UQM_ARCHIVE_ARCHIVE_H

#include "io/file.h"
#include "src/format/archive_index.h"

#define UQM_ARCHIVE_SUFFIX ".uqz"

struct uqm_archive;

struct uqm_archive_params {
    const char *path;
    /* The base's folder or archive. NULL: where the archive says, from the working directory, else
     * from the archive's folder, else of that name beside the archive. */
    const char *base;
    bool index_only; /* no file's bytes will be read: the base need not be there */
};

/*
 * Reads header, footer and index. The base's files must have the sizes that are recorded; that they
 * hold the right bytes is seen from each block's checksum.
 */
int uqm_archive_open(struct uqm_archive **out, struct uqm_env *env,
                     const struct uqm_archive_params *params, struct uqm_err *err);
/* The archive stays until its files are closed too. Takes NULL. */
void uqm_archive_close(struct uqm_archive **archive);

const struct uqm_archive_index *uqm_archive_index(const struct uqm_archive *archive);
/* The archive itself, for those who read what is stored. Borrowed. */
struct uqm_file *uqm_archive_stored(const struct uqm_archive *archive);
/* The base as it was found, or NULL. */
const char *uqm_archive_base(const struct uqm_archive *archive);
/* A file of the base; NULL in an archive without one, or opened for its index only. Borrowed. */
struct uqm_file *uqm_archive_base_file(const struct uqm_archive *archive, size_t base_file);

/* One of its files, called ARCHIVE/PATH in messages. The caller's to close. */
int uqm_archive_file(struct uqm_file **out, struct uqm_archive *archive, size_t file,
                     struct uqm_err *err);

/* Whether a path is an archive's, by its ending alone. */
bool uqm_archive_is_name(const char *path);

/* A whole small file of an archive, NUL-terminated, as uqm_read_file() does it. */
int uqm_archive_read_file(char **out, size_t *len, struct uqm_archive *archive, size_t file,
                          size_t max_bytes, struct uqm_err *err);

#endif
