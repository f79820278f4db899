#include "src/format/signature.h"

#include "src/format/base64.h"
#include "tests/unit/test.h"

#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
/* SHA-256 of nothing: the root over no files. */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* RFC 4648, section 10. */
static void base64_agrees_with_the_standard(void **state)
{
    (void) state;
    static const char *const text[] = { "",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
    for (size_t n = 0; n < 7; n++) {
        uint8_t out[8];
        size_t len;
        char *made = uqm_base64_encode("foobar", n);
        assert_string_equal(made, text[n]);
        assert_true(uqm_base64_decode(out, &len, made, strlen(made)));
        assert_int_equal(len, n);
        assert_memory_equal(out, "foobar", n);
        free(made);
    }
    static const char *const bad[] = { "Z",    "Zg=",  "Zg",   "====", "Z===", "Zg==Zg==",
                                       "Zm9=", "Zh==", "Z g=", "Zm8-", "=Zm8", "Zg=A" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t out[8];
        size_t len;
        assert_false(uqm_base64_decode(out, &len, bad[i], strlen(bad[i])));
    }
    uint8_t all[256], back[256];
    size_t len;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t) (i * 7);
    char *made = uqm_base64_encode(all, 256);
    assert_true(uqm_base64_decode(back, &len, made, strlen(made)));
    assert_int_equal(len, 256);
    assert_memory_equal(all, back, 256);
    free(made);
}

static void a_bundle_is_read_back(void **state)
{
    (void) state;
    struct uqm_bundle b;
    struct uqm_err err = { 0 };
    char *text = uqm_bundle_dump("{\"a\":1}", 7, (const uint8_t *) "\x30\x00\xff", 3, "abcd");
    assert_non_null(text);
    assert_ok(uqm_bundle_parse(&b, text, strlen(text), "model.sig", &err), err);
    assert_int_equal(b.payload_len, 7);
    assert_memory_equal(b.payload, "{\"a\":1}", 7);
    assert_int_equal(b.sig_len, 3);
    assert_memory_equal(b.sig, "\x30\x00\xff", 3);
    assert_string_equal(b.hint, "abcd");
    assert_int_equal(b.n_chain, 0);
    uqm_bundle_finish(&b);
    free(text);

    size_t len;
    text = uqm_bundle_message(&len, "hello", 5);
    assert_int_equal(len, strlen("DSSEv1 28 application/vnd.in-toto+json 5 hello"));
    assert_memory_equal(text, "DSSEv1 28 application/vnd.in-toto+json 5 hello", len);
    free(text);
}

#define MEDIA "\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\""
#define ENVELOPE_OF(payload, type, signatures)                                                     \
    "\"dsseEnvelope\":{\"payload\":\"" payload "\",\"payloadType\":\"" type                        \
    "\",\"signatures\":[" signatures "]}"
#define IN_TOTO  "application/vnd.in-toto+json"
#define SIG      "{\"sig\":\"AAAA\"}"
#define ENVELOPE ENVELOPE_OF("e30=", IN_TOTO, SIG)
#define KEY      "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"ab\"},\"tlogEntries\":[]}"
/* All else as it should be. */
#define WITH_MATERIAL(material) "{" MEDIA ",\"verificationMaterial\":{" material "}," ENVELOPE "}"
#define WITH_ENVELOPE(payload, type, signatures)                                                   \
    "{" MEDIA "," KEY "," ENVELOPE_OF(payload, type, signatures) "}"

static void what_is_no_bundle_is_named(void **state)
{
    (void) state;
    static const struct {
        const char *text, *message;
        int code;
    } cases[] = {
        { "", "s:1", UQM_ERR_FORMAT },
        { "[]", "no object", UQM_ERR_FORMAT },
        { "{}", "mediaType is not", UQM_ERR_FORMAT },
        { "{\"mediaType\":\"x\"," KEY "," ENVELOPE "}", "mediaType is not", UQM_ERR_FORMAT },
        { "{" MEDIA "," MEDIA "," KEY "," ENVELOPE "}", "duplicate", UQM_ERR_FORMAT },
        { "{" MEDIA "," ENVELOPE "}", "verificationMaterial is no object", UQM_ERR_FORMAT },
        { WITH_MATERIAL(""), "names no key", UQM_ERR_FORMAT },
        { WITH_MATERIAL("\"publicKey\":{},\"x509CertificateChain\":{}"), "or both",
          UQM_ERR_FORMAT },
        { WITH_MATERIAL("\"certificate\":{\"rawBytes\":\"AAAA\"}"), "without a key (Sigstore)",
          UQM_ERR_UNSUPPORTED },
        { WITH_MATERIAL("\"publicKey\":{\"hint\":1}"), "publicKey is no object", UQM_ERR_FORMAT },
        { WITH_MATERIAL("\"x509CertificateChain\":{\"certificates\":[]}"), "holds no certificates",
          UQM_ERR_FORMAT },
        { WITH_MATERIAL("\"x509CertificateChain\":{\"certificates\":[{\"rawBytes\":\"A\"}]}"),
          "rawBytes is not base64", UQM_ERR_FORMAT },
        { "{" MEDIA "," KEY "}", "dsseEnvelope is no object", UQM_ERR_FORMAT },
        { WITH_ENVELOPE("e30=", "text", SIG), "payloadType is not", UQM_ERR_FORMAT },
        { WITH_ENVELOPE("e30=", IN_TOTO, ""), "not a list of one", UQM_ERR_FORMAT },
        { WITH_ENVELOPE("e30=", IN_TOTO, SIG "," SIG), "not a list of one", UQM_ERR_FORMAT },
        { WITH_ENVELOPE("e30", IN_TOTO, SIG), "payload is not base64", UQM_ERR_FORMAT },
        { WITH_ENVELOPE("e30=", IN_TOTO, "{}"), "sig is no string", UQM_ERR_FORMAT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_bundle b;
        struct uqm_err err = { 0 };
        assert_fails(uqm_bundle_parse(&b, cases[i].text, strlen(cases[i].text), "s", &err), err,
                     cases[i].code, cases[i].message);
    }
    struct uqm_bundle b;
    struct uqm_err err = { 0 };
    static const char good[] = "{" MEDIA "," KEY "," ENVELOPE "}";
    assert_ok(uqm_bundle_parse(&b, good, strlen(good), "s", &err), err);
    uqm_bundle_finish(&b);
}

/* The order is that of lists of components: a.b, then sub/x, then sub.y. */
static void statements_sort_by_components_and_are_read_back(void **state)
{
    (void) state;
    static const char *const order[] = { "a",     "a/b",   "a/b/c", "a!",      "a.b",
                                         "sub/x", "sub/z", "sub.y", "\xc3\xa9" };
    enum { N = sizeof order / sizeof *order };
    struct uqm_statement_file files[N];
    const char *ignored[] = { ".git", "model.sig" };
    for (size_t i = 0; i < N; i++) {
        files[i] = (struct uqm_statement_file){ .name = order[(i * 4 + 2) % N] };
        memset(files[i].digest.bytes, (int) i, 32);
    }
    struct uqm_statement s = { "dir", N, 2, files, ignored, { 0 } }, back;
    struct uqm_err err = { 0 };
    char *text = uqm_statement_dump(&s);
    assert_non_null(text);
    assert_ok(uqm_statement_parse(&back, text, strlen(text), "model.sig", &err), err);
    assert_string_equal(back.model, "dir");
    assert_int_equal(back.n_files, N);
    for (size_t i = 0; i < N; i++) {
        assert_string_equal(back.files[i].name, order[i]);
        assert_memory_equal(back.files[i].digest.bytes, files[i].digest.bytes, 32);
    }
    assert_int_equal(back.n_ignored, 2);
    assert_string_equal(back.ignored[1], "model.sig");
    uqm_statement_finish(&back);
    free(text);
}

#define STATEMENT(type, subject, predicate_type, predicate)                                        \
    "{\"_type\":\"" type "\",\"subject\":" subject ",\"predicateType\":\"" predicate_type          \
    "\",\"predicate\":" predicate "}"
#define TYPE             "https://in-toto.io/Statement/v1"
#define PTYPE            "https://model_signing/signature/v1.0"
#define SUBJECT(root)    "[{\"name\":\"m\",\"digest\":{\"sha256\":\"" root "\"}}]"
#define HOW              "{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false}"
#define FILES(how, list) "{\"serialization\":" how ",\"resources\":[" list "]}"
#define FILE_OF(name, algorithm, digest)                                                           \
    "{\"name\":\"" name "\",\"algorithm\":\"" algorithm "\",\"digest\":\"" digest "\"}"
/* All else as it should be. */
#define WITH(predicate) STATEMENT(TYPE, SUBJECT(EMPTY), PTYPE, predicate)
#define WITH_FILE(name) WITH(FILES(HOW, FILE_OF(name, "sha256", ZERO)))

static void what_is_no_statement_is_named(void **state)
{
    (void) state;
    static const struct {
        const char *text, *message;
        int code;
    } cases[] = {
        { "{", "s:1", UQM_ERR_FORMAT },
        { "{}", "_type is not", UQM_ERR_FORMAT },
        { STATEMENT("x", SUBJECT(EMPTY), PTYPE, FILES(HOW, "")), "_type is not", UQM_ERR_FORMAT },
        { STATEMENT(TYPE, SUBJECT(EMPTY), "x", FILES(HOW, "")), "predicateType",
          UQM_ERR_UNSUPPORTED },
        { STATEMENT(TYPE, "[]", PTYPE, FILES(HOW, "")), "subject is not", UQM_ERR_FORMAT },
        { STATEMENT(TYPE, SUBJECT("12"), PTYPE, FILES(HOW, "")), "the subject's digest is not one",
          UQM_ERR_FORMAT },
        { STATEMENT(TYPE, SUBJECT(ZERO), PTYPE, FILES(HOW, "")), "is not that of its resources",
          UQM_ERR_FORMAT },
        { WITH("[]"), "serialization is no object", UQM_ERR_FORMAT },
        { WITH(FILES("{\"method\":\"shards\",\"hash_type\":\"sha256\"}", "")), "signed otherwise",
          UQM_ERR_UNSUPPORTED },
        { WITH(FILES("{\"method\":\"files\",\"hash_type\":\"blake3\"}", "")), "signed otherwise",
          UQM_ERR_UNSUPPORTED },
        { WITH(
              FILES("{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":true}", "")),
          "symbolic links followed", UQM_ERR_UNSUPPORTED },
        { WITH(FILES("{\"method\":\"files\",\"hash_type\":\"sha256\",\"ignore_paths\":"
                     "[\"../x\"]}",
                     "")),
          "ignore_paths holds", UQM_ERR_FORMAT },
        { WITH("{\"serialization\":" HOW "}"), "resources is no list", UQM_ERR_FORMAT },
        { WITH(FILES(HOW, FILE_OF("a", "sha512", ZERO))), "algorithm is not sha256",
          UQM_ERR_FORMAT },
        { WITH_FILE("../a"), "name is no path", UQM_ERR_FORMAT },
        { WITH_FILE("/a"), "name is no path", UQM_ERR_FORMAT },
        { WITH_FILE("a//b"), "name is no path", UQM_ERR_FORMAT },
        { WITH_FILE("a/."), "name is no path", UQM_ERR_FORMAT },
        { WITH_FILE(""), "name is no path", UQM_ERR_FORMAT },
        { WITH_FILE("a\\u0000b"), "s:1", UQM_ERR_FORMAT },
        { WITH(FILES(HOW, FILE_OF("a", "sha256", "00"))), "digest is not one", UQM_ERR_FORMAT },
        { WITH(FILES(HOW, FILE_OF("a", "sha256", ZERO) "," FILE_OF("a", "sha256", ZERO))),
          "a stands there twice", UQM_ERR_FORMAT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_statement s;
        struct uqm_err err = { 0 };
        assert_fails(uqm_statement_parse(&s, cases[i].text, strlen(cases[i].text), "s", &err), err,
                     cases[i].code, cases[i].message);
    }
    struct uqm_statement s;
    struct uqm_err err = { 0 };
    static const char good[] = WITH(FILES(HOW, ""));
    assert_ok(uqm_statement_parse(&s, good, strlen(good), "s", &err), err);
    uqm_statement_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_agrees_with_the_standard),
        cmocka_unit_test(a_bundle_is_read_back),
        cmocka_unit_test(what_is_no_bundle_is_named),
        cmocka_unit_test(statements_sort_by_components_and_are_read_back),
        cmocka_unit_test(what_is_no_statement_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
