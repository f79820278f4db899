#include "src/base/hash.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* what a stream is made of */
#include <xxhash.h>

#include "src/base/bytes.h"

static void hex_of(char *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

/* The XXH3 state is a type of the library's own; ours only wraps the pointer to it. */
struct uqm_xxh3 {
    XXH3_state_t *state;
};

struct uqm_xxh3 *uqm_xxh3_create(void)
{
    struct uqm_xxh3 *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->state = XXH3_createState();
    if (!h->state) {
        free(h);
        return NULL;
    }
    XXH3_128bits_reset(h->state);
    return h;
}

void uqm_xxh3_reset(struct uqm_xxh3 *h)
{
    XXH3_128bits_reset(h->state);
}

void uqm_xxh3_update(struct uqm_xxh3 *h, const void *data, size_t n_bytes)
{
    XXH3_128bits_update(h->state, data, n_bytes);
}

struct uqm_xxh3_hex uqm_xxh3_hex(const struct uqm_xxh3 *h)
{
    struct uqm_xxh3_hex out;
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits_digest(h->state));
    hex_of(out.text, c.digest, sizeof c.digest);
    return out;
}

/*
 * What of XXH3_state_s changes after a reset without seed or secret, little-endian:
 *   u32 version | u32 buffered | u64 stripes so far | u64 total length | u64 acc[8] | buffer[256]
 * The buffer is needed whole: the last stripe of a short end is taken from behind its fill, too.
 */
enum { XXH3_BUFFER_BYTES = 256 };
static_assert(sizeof((XXH3_state_t *) 0)->buffer == XXH3_BUFFER_BYTES &&
                  UQM_XXH3_STATE_BYTES == 4 + 4 + 8 + 8 + 64 + XXH3_BUFFER_BYTES + 8,
              "the state of another library");

bool uqm_xxh3_save(const struct uqm_xxh3 *h, uint8_t state[UQM_XXH3_STATE_BYTES])
{
    const XXH3_state_t *s = h->state;
    if (XXH_versionNumber() != XXH_VERSION_NUMBER)
        return false;
    uqm_put_u32(state, XXH_VERSION_NUMBER);
    uqm_put_u32(state + 4, s->bufferedSize);
    uqm_put_u64(state + 8, s->nbStripesSoFar);
    uqm_put_u64(state + 16, s->totalLen);
    for (size_t i = 0; i < 8; i++)
        uqm_put_u64(state + 24 + 8 * i, s->acc[i]);
    memcpy(state + 88, s->buffer, XXH3_BUFFER_BYTES);
    memset(state + 88 + XXH3_BUFFER_BYTES, 0, 8);
    return true;
}

bool uqm_xxh3_load(struct uqm_xxh3 *h, const uint8_t state[UQM_XXH3_STATE_BYTES])
{
    XXH3_state_t *s = h->state;
    XXH3_128bits_reset(s);
    if (XXH_versionNumber() != XXH_VERSION_NUMBER || uqm_get_u32(state) != XXH_VERSION_NUMBER ||
        uqm_get_u32(state + 4) > XXH3_BUFFER_BYTES || uqm_get_u64(state + 8) > s->nbStripesPerBlock)
        return false;
    s->bufferedSize = uqm_get_u32(state + 4);
    s->nbStripesSoFar = (size_t) uqm_get_u64(state + 8);
    s->totalLen = uqm_get_u64(state + 16);
    for (size_t i = 0; i < 8; i++)
        s->acc[i] = uqm_get_u64(state + 24 + 8 * i);
    memcpy(s->buffer, state + 88, XXH3_BUFFER_BYTES);
    return true;
}

void uqm_xxh3_destroy(struct uqm_xxh3 **h)
{
    if (!*h)
        return;
    XXH3_freeState((*h)->state);
    free(*h);
    *h = NULL;
}

uint64_t uqm_xxh3_64(const void *data, size_t n_bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, n_bytes, seed);
}

struct uqm_sha256 {
    EVP_MD_CTX *ctx;
};

struct uqm_sha256 *uqm_sha256_create(void)
{
    struct uqm_sha256 *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
        uqm_sha256_destroy(&h);
        return NULL;
    }
    return h;
}

/* Once a context exists, OpenSSL's SHA-256 has nothing left that can fail. */
void uqm_sha256_reset(struct uqm_sha256 *h)
{
    int ok = EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL);
    assert(ok == 1);
    (void) ok;
}

void uqm_sha256_update(struct uqm_sha256 *h, const void *data, size_t n_bytes)
{
    int ok = EVP_DigestUpdate(h->ctx, data, n_bytes);
    assert(ok == 1);
    (void) ok;
}

struct uqm_sha256_digest uqm_sha256_digest(struct uqm_sha256 *h)
{
    struct uqm_sha256_digest out;
    unsigned int n = 0;
    int ok = EVP_DigestFinal_ex(h->ctx, out.bytes, &n);
    assert(ok == 1 && n == sizeof out.bytes);
    (void) ok;
    return out;
}

struct uqm_sha256_hex uqm_sha256_hex(struct uqm_sha256 *h)
{
    struct uqm_sha256_digest digest = uqm_sha256_digest(h);
    return uqm_sha256_digest_hex(&digest);
}

struct uqm_sha256_hex uqm_sha256_digest_hex(const struct uqm_sha256_digest *digest)
{
    struct uqm_sha256_hex out;
    hex_of(out.text, digest->bytes, sizeof digest->bytes);
    return out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uqm_sha256_digest_parse(struct uqm_sha256_digest *out, const char *text, size_t len)
{
    if (len != 2 * sizeof out->bytes)
        return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t) (high << 4 | low);
    }
    return true;
}

void uqm_sha256_destroy(struct uqm_sha256 **h)
{
    if (!*h)
        return;
    EVP_MD_CTX_free((*h)->ctx);
    free(*h);
    *h = NULL;
}
