/*
 * What is said of a file's bytes to the outside: the SHA-256 of the whole, which `sha256sum`
 * prints, and the hash tree (src/base/tree.h). Both in one pass; of long pieces they are computed
 * side by side, on the caller's thread and on one of its own.
 */
#ifndef UQM_IO_FILE_HASH_H
#define UQM_IO_FILE_HASH_H

#include "src/base/err.h"
#include "src/base/tree.h"

struct uqm_file_hash;

/* UQM_ERR_NOMEM, or UQM_ERR_IO when there is no thread to be had; `name` is for the message. */
int uqm_file_hash_create(struct uqm_file_hash **out, const char *name, struct uqm_err *err);

/* The next bytes, in the file's order. Returns when it has no more use for them. */
void uqm_file_hash_update(struct uqm_file_hash *h, const void *data, size_t n_bytes);

struct uqm_file_digest {
    struct uqm_sha256_hex sha256;
    struct uqm_sha256_hex root;
    struct uqm_sha256_digest *leaves; /* [n_leaves]; malloc'ed, the caller's */
    size_t n_leaves;
};
/* Ends the file. UQM_ERR_NOMEM; then there is nothing to finish. */
int uqm_file_hash_finish(struct uqm_file_hash *h, struct uqm_file_digest *out, struct uqm_err *err);
void uqm_file_digest_finish(struct uqm_file_digest *digest);

void uqm_file_hash_destroy(struct uqm_file_hash **h);

/* Of bytes in memory; no thread. */
int uqm_file_hash_bytes(struct uqm_file_digest *out, const void *data, size_t n_bytes,
                        const char *name, struct uqm_err *err);

#endif
