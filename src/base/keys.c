#include "src/base/keys.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct uqm_key {
    EVP_PKEY *pkey;
    const EVP_MD *md;
};

/* What OpenSSL has to say last; its queue is left empty. */
static int fail(struct uqm_err *err, enum uqm_status code, const char *where, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return uqm_fail(err, code, "%s: %s%s%s%s", where, what, reason ? " (" : "",
                    reason ? reason : "", reason ? ")" : "");
}

void uqm_key_destroy(struct uqm_key **key)
{
    if (!*key)
        return;
    EVP_PKEY_free((*key)->pkey);
    free(*key);
    *key = NULL;
}

/* Takes pkey, also on failure. */
static int adopt(struct uqm_key **out, EVP_PKEY *pkey, const char *where, struct uqm_err *err)
{
    static const struct {
        const char *curve;
        const EVP_MD *(*md)(void);
    } known[] = {
        { "prime256v1", EVP_sha256 },
        { "secp384r1", EVP_sha384 },
        { "secp521r1", EVP_sha512 },
    };
    char curve[64] = "";
    size_t len = 0;
    if (EVP_PKEY_is_a(pkey, "EC") == 1)
        (void) EVP_PKEY_get_group_name(pkey, curve, sizeof curve, &len);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(curve, known[i].curve) != 0)
            continue;
        struct uqm_key *key = calloc(1, sizeof *key);
        if (!key) {
            EVP_PKEY_free(pkey);
            return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the key", where);
        }
        *key = (struct uqm_key){ pkey, known[i].md() };
        *out = key;
        return UQM_OK;
    }
    int ret = uqm_fail(err, UQM_ERR_UNSUPPORTED,
                       "%s: a key of kind %s; model signatures take elliptic curves P-256, P-384 "
                       "and P-521",
                       where, curve[0] ? curve : EVP_PKEY_get0_type_name(pkey));
    EVP_PKEY_free(pkey);
    return ret;
}

/* Nobody is asked for a password; that one is wanted is noted. */
static int note_password(char *buf, int size, int writing, void *wanted)
{
    (void) buf, (void) size, (void) writing;
    *(bool *) wanted = true;
    return -1;
}

static int load(struct uqm_key **out, const char *path, bool private, struct uqm_err *err)
{
    bool wants_password = false;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return uqm_fail_errno(err, "%s", path);
    EVP_PKEY *pkey = private ? PEM_read_PrivateKey(f, NULL, note_password, &wants_password)
                             : PEM_read_PUBKEY(f, NULL, note_password, &wants_password);
    fclose(f);
    if (pkey) {
        ERR_clear_error();
        return adopt(out, pkey, path, err);
    }
    if (wants_password) {
        ERR_clear_error();
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: the key is under a password; give it without one, as `openssl pkey` "
                        "writes it",
                        path);
    }
    return fail(err, UQM_ERR_FORMAT, path,
                private ? "no private key in PEM" : "no public key in PEM");
}

int uqm_key_load_private(struct uqm_key **out, const char *path, struct uqm_err *err)
{
    return load(out, path, true, err);
}

int uqm_key_load_public(struct uqm_key **out, const char *path, struct uqm_err *err)
{
    return load(out, path, false, err);
}

int uqm_key_hint(struct uqm_sha256_hex *out, const struct uqm_key *key, struct uqm_err *err)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    struct uqm_sha256 *sha = uqm_sha256_create();
    long len = bio && PEM_write_bio_PUBKEY(bio, key->pkey) == 1 ? BIO_get_mem_data(bio, &text) : 0;
    bool ok = sha && len > 0;
    if (ok) {
        uqm_sha256_update(sha, text, (size_t) len);
        *out = uqm_sha256_hex(sha);
    }
    uqm_sha256_destroy(&sha);
    BIO_free(bio);
    return ok ? UQM_OK : fail(err, UQM_ERR_NOMEM, "the key", "its public half cannot be written");
}

int uqm_key_sign(uint8_t **sig, size_t *sig_len, const struct uqm_key *key, const void *data,
                 size_t len, struct uqm_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t *out = NULL;
    size_t n = 0;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, key->md, NULL, key->pkey) == 1 &&
              EVP_DigestSign(ctx, NULL, &n, data, len) == 1 && (out = malloc(n)) &&
              EVP_DigestSign(ctx, out, &n, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        free(out);
        return fail(err, UQM_ERR_NOMEM, "the key", "signing failed");
    }
    *sig = out;
    *sig_len = n;
    return UQM_OK;
}

int uqm_key_verify(bool *holds, const struct uqm_key *key, const void *data, size_t len,
                   const uint8_t *sig, size_t sig_len, struct uqm_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestVerifyInit(ctx, NULL, key->md, NULL, key->pkey) != 1) {
        EVP_MD_CTX_free(ctx);
        return fail(err, UQM_ERR_NOMEM, "the key", "no memory to verify with it");
    }
    *holds = EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1;
    ERR_clear_error(); /* a signature that is no DER says so there */
    EVP_MD_CTX_free(ctx);
    return UQM_OK;
}

/* --- certificates --- */

static int refuse(struct uqm_err *err, const char *where, const char *what)
{
    ERR_clear_error();
    return uqm_fail(err, UQM_ERR_CHECK, "%s: the certificate %s", where, what);
}

static X509 *read_der(const struct uqm_der *der)
{
    const unsigned char *p = der->bytes;
    X509 *cert = der->len <= LONG_MAX ? d2i_X509(NULL, &p, (long) der->len) : NULL;
    if (cert && p != der->bytes + der->len) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static bool may_sign(X509 *leaf)
{
    uint32_t flags = X509_get_extension_flags(leaf);
    if ((flags & EXFLAG_KUSAGE) && (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE))
        return true;
    return (flags & EXFLAG_XKUSAGE) && (X509_get_extended_key_usage(leaf) & XKU_CODE_SIGN);
}

static int check_chain(X509_STORE *store, X509 *leaf, STACK_OF(X509) * between, const char *where,
                       struct uqm_err *err)
{
    struct tm tm;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int ret = UQM_OK;
    if (!ctx || X509_STORE_CTX_init(ctx, store, leaf, between) != 1) {
        ret = fail(err, UQM_ERR_NOMEM, where, "no memory for its certificates");
    } else if (ASN1_TIME_to_tm(X509_get0_notBefore(leaf), &tm) != 1) {
        ret = refuse(err, where, "does not say from when it is valid");
    } else {
        X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), timegm(&tm));
        if (X509_verify_cert(ctx) != 1) {
            char what[200];
            snprintf(what, sizeof what, "leads to none that is trusted: %s",
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
            ret = refuse(err, where, what);
        } else if (!may_sign(leaf)) {
            ret = refuse(err, where, "is not one for signatures");
        }
    }
    X509_STORE_CTX_free(ctx);
    return ret;
}

int uqm_key_from_chain(struct uqm_key **out, const struct uqm_der *chain, size_t n,
                       const char *roots, const char *where, struct uqm_err *err)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    X509 *leaf = NULL;
    int ret = store && between ? UQM_OK : fail(err, UQM_ERR_NOMEM, where, "no memory");
    if (ret == UQM_OK && X509_STORE_load_file(store, roots) != 1)
        ret = fail(err, UQM_ERR_FORMAT, roots, "no certificates in PEM");
    for (size_t i = 0; i < n && ret == UQM_OK; i++) {
        X509 *cert = read_der(&chain[i]);
        if (!cert)
            ret = refuse(err, where, "is not one: it does not parse");
        else if (i == 0)
            leaf = cert;
        else if (sk_X509_push(between, cert) <= 0) {
            X509_free(cert);
            ret = fail(err, UQM_ERR_NOMEM, where, "no memory for its certificates");
        }
    }
    if (ret == UQM_OK && !leaf)
        ret = refuse(err, where, "is missing");
    if (ret == UQM_OK)
        ret = check_chain(store, leaf, between, where, err);
    if (ret == UQM_OK) {
        EVP_PKEY *pkey = X509_get_pubkey(leaf);
        ret =
            pkey ? adopt(out, pkey, where, err) : refuse(err, where, "holds no key that is known");
    }
    X509_free(leaf);
    sk_X509_pop_free(between, X509_free);
    X509_STORE_free(store);
    return ret;
}
