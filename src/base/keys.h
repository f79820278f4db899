/*
 * Elliptic-curve keys for signatures: ECDSA on P-256, P-384 and P-521 with SHA-256, SHA-384 and
 * SHA-512, which is all that OpenSSF Model Signing allows (spec formats.md 5). By OpenSSL.
 */
#ifndef UQM_BASE_KEYS_H
#define UQM_BASE_KEYS_H

#include "src/base/err.h"
#include "src/base/hash.h"

struct uqm_key;

/*
 * From a PEM file. UQM_ERR_FORMAT when it holds no such key, UQM_ERR_UNSUPPORTED for another kind
 * or curve, and for a private key under a password. *out becomes the caller's.
 */
int uqm_key_load_private(struct uqm_key **out, const char *path, struct uqm_err *err);
int uqm_key_load_public(struct uqm_key **out, const char *path, struct uqm_err *err);
void uqm_key_destroy(struct uqm_key **key);

/* What signatures call a key: SHA-256 of the public half's PEM text. */
int uqm_key_hint(struct uqm_sha256_hex *out, const struct uqm_key *key, struct uqm_err *err);

/* *sig: DER, malloc'ed, the caller's. The key is a private one. */
int uqm_key_sign(uint8_t **sig, size_t *sig_len, const struct uqm_key *key, const void *data,
                 size_t len, struct uqm_err *err);
/* *holds: whether sig is this key's over the data. */
int uqm_key_verify(bool *holds, const struct uqm_key *key, const void *data, size_t len,
                   const uint8_t *sig, size_t sig_len, struct uqm_err *err);

/* One certificate as it stands in a signature. */
struct uqm_der {
    const uint8_t *bytes;
    size_t len;
};
/*
 * The key of chain[0], once the chain leads to a certificate of the PEM file `roots` at the time
 * from which chain[0] is valid, and chain[0] may sign (keyUsage digitalSignature, or else
 * extendedKeyUsage codeSigning). UQM_ERR_CHECK when it does not; `where` names the signature.
 */
int uqm_key_from_chain(struct uqm_key **out, const struct uqm_der *chain, size_t n,
                       const char *roots, const char *where, struct uqm_err *err);

#endif
