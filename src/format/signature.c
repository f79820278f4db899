#include "src/format/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/base64.h"
#include "src/format/json.h"

#define MEDIA_TYPE   "application/vnd.dev.sigstore.bundle.v0.3+json"
#define PAYLOAD_TYPE "application/vnd.in-toto+json"

enum { MAX_CERTIFICATES = 32 };

struct reader {
    struct uqm_bundle *b;
    const char *where;
    struct uqm_err *err;
};

static int bad(const struct reader *r, const char *what)
{
    return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: %s", r->where, what);
}

static int no_memory(const struct reader *r)
{
    return uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for the signature", r->where);
}

/* A member that is base64, decoded and followed by a NUL. */
static int read_bytes(const uint8_t **out, size_t *len, const struct reader *r,
                      const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: %s is no string", r->where, key);
    size_t n = json_string_length(v);
    uint8_t *bytes = uqm_arena_alloc(&r->b->arena, uqm_base64_most(n) + 1, 1);
    if (!bytes)
        return no_memory(r);
    if (!uqm_base64_decode(bytes, len, json_string_value(v), n))
        return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: %s is not base64", r->where, key);
    *out = bytes;
    return UQM_OK;
}

static int read_chain(const struct reader *r, const json_t *list)
{
    size_t n = json_array_size(list);
    if (n == 0 || n > MAX_CERTIFICATES)
        return bad(r, "x509CertificateChain holds no certificates, or too many");
    r->b->chain = uqm_arena_alloc(&r->b->arena, n, sizeof *r->b->chain);
    if (!r->b->chain)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        struct uqm_der *der = &r->b->chain[i];
        int ret = read_bytes(&der->bytes, &der->len, r, json_array_get(list, i), "rawBytes");
        if (ret < 0)
            return ret;
    }
    r->b->n_chain = n;
    return UQM_OK;
}

static int read_material(const struct reader *r, const json_t *material)
{
    const json_t *key = json_object_get(material, "publicKey");
    const json_t *chain = json_object_get(material, "x509CertificateChain");
    const json_t *lone = json_object_get(material, "certificate");
    if (!json_is_object(material))
        return bad(r, "verificationMaterial is no object");
    if (lone && !key && !chain)
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "%s: signed without a key (Sigstore); that takes a network to verify, and "
                        "this program uses none",
                        r->where);
    if ((key != NULL) + (chain != NULL) + (lone != NULL) != 1)
        return bad(r, "verificationMaterial names no key or certificate, or both");
    if (chain)
        return read_chain(r, json_object_get(chain, "certificates"));
    const json_t *hint = json_object_get(key, "hint");
    if (!json_is_object(key) || (hint && !json_is_null(hint) && !json_is_string(hint)))
        return bad(r, "publicKey is no object with a hint");
    if (!json_is_string(hint) || json_string_length(hint) == 0)
        return UQM_OK;
    r->b->hint = uqm_arena_strndup(&r->b->arena, json_string_value(hint), json_string_length(hint));
    return r->b->hint ? UQM_OK : no_memory(r);
}

static int read_envelope(const struct reader *r, const json_t *envelope)
{
    const char *type = json_string_value(json_object_get(envelope, "payloadType"));
    const json_t *list = json_object_get(envelope, "signatures");
    const uint8_t *payload = NULL;
    if (!json_is_object(envelope))
        return bad(r, "dsseEnvelope is no object");
    if (!type || strcmp(type, PAYLOAD_TYPE) != 0)
        return bad(r, "payloadType is not " PAYLOAD_TYPE);
    if (json_array_size(list) != 1)
        return bad(r, "signatures is not a list of one");
    int ret = read_bytes(&r->b->sig, &r->b->sig_len, r, json_array_get(list, 0), "sig");
    if (ret == UQM_OK)
        ret = read_bytes(&payload, &r->b->payload_len, r, envelope, "payload");
    r->b->payload = (const char *) payload;
    return ret;
}

int uqm_bundle_parse(struct uqm_bundle *out, const char *text, size_t len, const char *where,
                     struct uqm_err *err)
{
    struct uqm_bundle b = { 0 };
    struct reader r = { &b, where, err };
    json_t *doc = uqm_json_parse(text, len, where, false, err);
    if (!doc)
        return UQM_ERR_FORMAT;
    const char *type = json_string_value(json_object_get(doc, "mediaType"));
    int ret = UQM_OK;
    if (!json_is_object(doc))
        ret = bad(&r, "no object, so no signature");
    else if (!type || strcmp(type, MEDIA_TYPE) != 0)
        ret = bad(&r, "mediaType is not " MEDIA_TYPE);
    if (ret == UQM_OK)
        ret = read_material(&r, json_object_get(doc, "verificationMaterial"));
    if (ret == UQM_OK)
        ret = read_envelope(&r, json_object_get(doc, "dsseEnvelope"));
    json_decref(doc);
    if (ret < 0)
        uqm_bundle_finish(&b);
    else
        *out = b;
    return ret;
}

void uqm_bundle_finish(struct uqm_bundle *bundle)
{
    uqm_arena_finish(&bundle->arena);
    *bundle = (struct uqm_bundle){ 0 };
}

char *uqm_bundle_message(size_t *len, const char *payload, size_t payload_len)
{
    char head[128];
    int n = snprintf(head, sizeof head, "DSSEv1 %zu %s %zu ", sizeof PAYLOAD_TYPE - 1, PAYLOAD_TYPE,
                     payload_len);
    char *message = malloc((size_t) n + payload_len);
    if (!message)
        return NULL;
    memcpy(message, head, (size_t) n);
    memcpy(message + n, payload, payload_len);
    *len = (size_t) n + payload_len;
    return message;
}

char *uqm_bundle_dump(const char *payload, size_t payload_len, const uint8_t *sig, size_t sig_len,
                      const char *hint)
{
    char *p = uqm_base64_encode(payload, payload_len), *s = uqm_base64_encode(sig, sig_len);
    json_t *doc = p && s
                      ? json_pack("{s:s, s:{s:{s:s}, s:[]}, s:{s:s, s:s, s:[{s:s, s:s}]}}",
                                  "mediaType", MEDIA_TYPE, "verificationMaterial", "publicKey",
                                  "hint", hint, "tlogEntries", "dsseEnvelope", "payload", p,
                                  "payloadType", PAYLOAD_TYPE, "signatures", "sig", s, "keyid", "")
                      : NULL;
    char *text = doc ? uqm_json_dump(doc) : NULL;
    json_decref(doc);
    free(p);
    free(s);
    return text;
}
