/*
 * OpenSSF Model Signing v1 (spec formats.md 5): a bundle of one signature in a DSSE envelope, and
 * the in-toto statement that it signs. Pure: text to structs and back; no keys, no files.
 */
#ifndef UQM_FORMAT_SIGNATURE_H
#define UQM_FORMAT_SIGNATURE_H

#include "src/base/arena.h"
#include "src/base/err.h"
#include "src/base/keys.h"

#define UQM_SIGNATURE_NAME "model.sig"

/* --- the bundle --- */

struct uqm_bundle {
    const char *payload; /* the statement's bytes, not yet to be believed */
    size_t payload_len;
    const uint8_t *sig; /* DER ECDSA over uqm_bundle_message() */
    size_t sig_len;
    const char *hint;      /* of the key (src/base/keys.h); NULL when the bundle gives none */
    struct uqm_der *chain; /* [n_chain] the signer's certificate first; n_chain 0: signed by key */
    size_t n_chain;
    struct uqm_arena arena;
};

/* Strict: UQM_ERR_FORMAT for what is no such bundle, UQM_ERR_UNSUPPORTED for one that is signed in
 * another way. The caller finishes it; on failure there is nothing to finish. */
int uqm_bundle_parse(struct uqm_bundle *out, const char *text, size_t len, const char *where,
                     struct uqm_err *err);
void uqm_bundle_finish(struct uqm_bundle *bundle);

/* What is signed of a payload (DSSE's pre-authentication encoding). malloc'ed; NULL: no memory. */
char *uqm_bundle_message(size_t *len, const char *payload, size_t payload_len);

/* A bundle signed by key. malloc'ed; NULL: no memory. */
char *uqm_bundle_dump(const char *payload, size_t payload_len, const uint8_t *sig, size_t sig_len,
                      const char *hint);

/* --- the statement --- */

struct uqm_statement_file {
    const char *name; /* relative, '/' between folders, none of them "." or ".." or empty */
    struct uqm_sha256_digest digest;
};

struct uqm_statement {
    const char *model; /* the folder's name when it was signed */
    size_t n_files, n_ignored;
    struct uqm_statement_file *files;
    const char **ignored;   /* relative paths that the signature says nothing about */
    struct uqm_arena arena; /* a parsed one's */
};

/* The payload of a bundle whose signature holds: names checked and unique, root digest recomputed.
 * Errors and ownership as above. */
int uqm_statement_parse(struct uqm_statement *out, const char *text, size_t len, const char *where,
                        struct uqm_err *err);
void uqm_statement_finish(struct uqm_statement *statement);

/* Sorts the files as the format wants it: by the list of a path's components. malloc'ed; NULL: no
 * memory, or a name that is not UTF-8. */
char *uqm_statement_dump(const struct uqm_statement *statement);

#endif
