/* Digests: XXH3-128 finds accidents, SHA-256 is what leaves the machine. */
#ifndef UQM_BASE_HASH_H
#define UQM_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower-case hex, NUL-terminated. XXH3's is the canonical big-endian form of `xxhsum -H2`. */
struct uqm_xxh3_hex {
    char text[33];
};
struct uqm_sha256_hex {
    char text[65];
};
/* The same as bytes. */
struct uqm_sha256_digest {
    uint8_t bytes[32];
};
struct uqm_sha256_hex uqm_sha256_digest_hex(const struct uqm_sha256_digest *digest);
/* From 64 lower-case hex digits; false: they are not. `len`: of the text. */
bool uqm_sha256_digest_parse(struct uqm_sha256_digest *out, const char *text, size_t len);

/* Streaming XXH3-128. Create returns NULL when out of memory; destroy nulls, takes NULL. */
struct uqm_xxh3;
struct uqm_xxh3 *uqm_xxh3_create(void);
void uqm_xxh3_reset(struct uqm_xxh3 *h);
void uqm_xxh3_update(struct uqm_xxh3 *h, const void *data, size_t n_bytes);
struct uqm_xxh3_hex uqm_xxh3_hex(const struct uqm_xxh3 *h);
/* Set the stream aside and take it up again, in another process if need be. save: false where the
 * library that runs is not of the version that this was built with. load: false, and the stream
 * begins anew, where the bytes are no stream's, or another version's. */
enum { UQM_XXH3_STATE_BYTES = 352 };
bool uqm_xxh3_save(const struct uqm_xxh3 *h, uint8_t state[UQM_XXH3_STATE_BYTES]);
bool uqm_xxh3_load(struct uqm_xxh3 *h, const uint8_t state[UQM_XXH3_STATE_BYTES]);
void uqm_xxh3_destroy(struct uqm_xxh3 **h);

/* 64 bits of the same family, for stream ids and cache keys. */
uint64_t uqm_xxh3_64(const void *data, size_t n_bytes, uint64_t seed);

/* Streaming SHA-256 (OpenSSL). */
struct uqm_sha256;
struct uqm_sha256 *uqm_sha256_create(void);
void uqm_sha256_reset(struct uqm_sha256 *h);
void uqm_sha256_update(struct uqm_sha256 *h, const void *data, size_t n_bytes);
/* Either ends the stream: reset before the next update. */
struct uqm_sha256_hex uqm_sha256_hex(struct uqm_sha256 *h);
struct uqm_sha256_digest uqm_sha256_digest(struct uqm_sha256 *h);
void uqm_sha256_destroy(struct uqm_sha256 **h);

#endif
