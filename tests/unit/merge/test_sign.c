/* sign and verify --public-key, against signatures that the model_signing tool made
 * (tests/data/signature/make_signatures.sh). */
#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/merge/merge_test.h"

#define DATA(name) data_path("data/signature/" name)

/* A copy of the folder that was signed, as DIR/model. */
static char *start(void)
{
    static const char *const files[] = { "a.b", "empty", "name with é.txt", "sub/x", "sub.y" };
    char *dir = test_mkdtemp();
    struct uqm_err err = { 0 };
    assert_int_equal(mkdir(in_dir(dir, "model"), 0700), 0);
    assert_int_equal(mkdir(in_dir(dir, "model/sub"), 0700), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *text, from[512];
        size_t len;
        snprintf(from, sizeof from, "%s/%s", DATA("model"), files[i]);
        assert_ok(uqm_read_file(&text, &len, from, 1000, &err), err);
        assert_ok(uqm_write_file(in_dir(dir, "model/%s", files[i]), text, len, &err), err);
        free(text);
    }
    return dir;
}

struct run {
    json_t *doc; /* NULL: none */
    struct uqm_err err;
    int ret;
};

static struct run check(const char *dir, const struct uqm_verify_params *how)
{
    struct run r = { .doc = NULL };
    struct uqm_verify_params params = *how;
    char *json, path[512];
    snprintf(path, sizeof path, "%s/model", dir);
    params.path = path;
    params.common.memory = 64 << 20;
    r.ret = uqm_verify(&json, &params, &r.err);
    r.doc = json ? json_loads(json, 0, NULL) : NULL;
    free(json);
    return r;
}

static void assert_holds(const char *dir, const char *key, const char *signature)
{
    struct run r =
        check(dir, &(struct uqm_verify_params){ .public_key = key, .signature = signature });
    if (r.ret != UQM_OK)
        fail_msg("%s by %s: %s", signature, key, r.err.msg);
    assert_true(json_is_true(json_object_get(r.doc, "ok")));
    assert_int_equal(json_integer_value(json_object_get(r.doc, "files_checked")), 5);
    json_decref(r.doc);
}

static void assert_fails_with(const char *dir, const struct uqm_verify_params *how, int code,
                              const char *text)
{
    struct run r = check(dir, how);
    assert_int_equal(r.ret, code);
    if (!strstr(r.err.msg, text))
        fail_msg("\"%s\" lacks \"%s\"", r.err.msg, text);
    json_decref(r.doc);
}

static void signatures_of_both_programs_hold(void **state)
{
    (void) state;
    static const char *const curves[] = { "p256", "p384", "p521" };
    char *dir = start();
    for (size_t i = 0; i < 3; i++) {
        char key[512], sig[512];
        snprintf(key, sizeof key, "%s/%s.pub.pem", DATA("keys"), curves[i]);
        snprintf(sig, sizeof sig, "%s/theirs-%s.sig", data_path("data/signature"), curves[i]);
        assert_holds(dir, key, sig);
        snprintf(sig, sizeof sig, "%s/ours-%s.sig", data_path("data/signature"), curves[i]);
        assert_holds(dir, key, sig);
    }
    test_rm(dir);
}

static int sign(const char *dir, const char *key, const char *signature, struct uqm_err *err)
{
    char *json = NULL, path[512];
    snprintf(path, sizeof path, "%s/model", dir);
    struct uqm_sign_params params = {
        .common.memory = 64 << 20, .path = path, .key = key, .signature = signature
    };
    int ret = uqm_sign(&json, &params, err);
    assert_true((ret == UQM_OK) == (json != NULL));
    free(json);
    return ret;
}

static void what_is_signed_here_holds_here_and_can_be_signed_again(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    for (int round = 0; round < 2; round++) {
        assert_ok(sign(dir, DATA("keys/p384.pem"), NULL, &err), err);
        assert_holds(dir, DATA("keys/p384.pub.pem"), NULL);
    }
    /* from elsewhere, with the first one now among the files */
    char elsewhere[512];
    snprintf(elsewhere, sizeof elsewhere, "%s", in_dir(dir, "elsewhere.sig"));
    assert_ok(sign(dir, DATA("keys/p256.pem"), elsewhere, &err), err);
    struct run r = check(dir, &(struct uqm_verify_params){ .public_key = DATA("keys/p256.pub.pem"),
                                                           .signature = elsewhere });
    assert_int_equal(r.ret, UQM_OK);
    assert_int_equal(json_integer_value(json_object_get(r.doc, "files_checked")), 6);
    json_decref(r.doc);
    test_rm(dir);
}

static void assert_list(const json_t *signature, const char *kind, const char *a, const char *b)
{
    const json_t *list = json_object_get(signature, kind);
    size_t n = (a ? 1u : 0u) + (b ? 1u : 0u);
    assert_int_equal(json_array_size(list), n);
    if (a)
        assert_string_equal(json_string_value(json_array_get(list, 0)), a);
    if (b)
        assert_string_equal(json_string_value(json_array_get(list, 1)), b);
}

/* A run that is killed while it writes leaves model.sig.part. */
static void what_a_killed_run_left_is_not_signed(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    assert_ok(uqm_write_file(in_dir(dir, "model/model.sig.part"), "half", 4, &err), err);
    assert_ok(sign(dir, DATA("keys/p256.pem"), NULL, &err), err);
    assert_holds(dir, DATA("keys/p256.pub.pem"), NULL);
    test_rm(dir);
}

static void a_folder_has_one_signer_at_a_time(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    int held = open(in_dir(dir, "model"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(held, LOCK_EX), 0);
    assert_fails(sign(dir, DATA("keys/p256.pem"), NULL, &err), err, UQM_ERR_IO,
                 "another run is signing it");
    /* elsewhere there is no halfway file that it could be signed with */
    char place[512];
    snprintf(place, sizeof place, "%s", in_dir(dir, "elsewhere.sig"));
    assert_ok(sign(dir, DATA("keys/p256.pem"), place, &err), err);
    close(held);
    assert_ok(sign(dir, DATA("keys/p256.pem"), NULL, &err), err);
    test_rm(dir);
}

static void nothing_but_a_signature_is_replaced(void **state)
{
    (void) state;
    char *dir = start(), place[512];
    struct uqm_err err = { 0 };
    snprintf(place, sizeof place, "%s", in_dir(dir, "model/a.b"));
    assert_fails(sign(dir, DATA("keys/p256.pem"), place, &err), err, UQM_ERR_ARG,
                 "a.b: not a signature, so it is not replaced");
    snprintf(place, sizeof place, "%s", in_dir(dir, "model/sub"));
    assert_fails(sign(dir, DATA("keys/p256.pem"), place, &err), err, UQM_ERR_ARG,
                 "not a regular file");
    snprintf(place, sizeof place, "%s", in_dir(dir, "empty.sig"));
    assert_ok(uqm_write_file(place, "", 0, &err), err);
    assert_ok(sign(dir, DATA("keys/p256.pem"), place, &err), err);
    assert_holds(dir, DATA("keys/p256.pub.pem"), place); /* so a.b is what it was */
    test_rm(dir);
}

/* 1.2 MB of JSON that would take 100 MB, of the 64 that it may. */
static void a_signature_larger_than_the_memory_is_refused(void **state)
{
    (void) state;
    enum { N = 400000 };
    char *dir = start(), *text = malloc(3 * N + 16);
    struct uqm_err err = { 0 };
    assert_non_null(text);
    strcpy(text, "{\"a\":[0");
    size_t n = strlen(text);
    for (size_t i = 0; i < N; i++, n += 3)
        memcpy(text + n, ",[]", 3);
    memcpy(text + n, "]}", 2);
    assert_ok(uqm_write_file(in_dir(dir, "model/model.sig"), text, n + 2, &err), err);
    free(text);
    assert_fails_with(dir, &(struct uqm_verify_params){ .public_key = DATA("keys/p256.pub.pem") },
                      UQM_ERR_NOMEM, "model.sig: its JSON may take");
    test_rm(dir);
}

static void missing_extra_and_changed_files_are_told_apart(void **state)
{
    (void) state;
    char *dir = start();
    const struct uqm_verify_params how = { .public_key = DATA("keys/p256.pub.pem"),
                                           .signature = DATA("theirs-p256.sig") };
    assert_int_equal(unlink(in_dir(dir, "model/empty")), 0);
    assert_int_equal(unlink(in_dir(dir, "model/sub/x")), 0);
    write_text(in_dir(dir, "model/sub.y"), "Two\n");
    write_text(in_dir(dir, "model/sub/new"), "");
    write_text(in_dir(dir, "model/.gitignore"), "*.o\n"); /* no business of the signature's */
    struct run r = check(dir, &how);
    assert_int_equal(r.ret, UQM_ERR_CHECK);
    const json_t *s = json_object_get(r.doc, "signature");
    assert_list(s, "missing", "empty", "sub/x");
    assert_list(s, "extra", "sub/new", NULL);
    assert_list(s, "changed", "sub.y", NULL);
    assert_int_equal(json_array_size(json_object_get(r.doc, "differences")), 4);
    json_decref(r.doc);

    assert_int_equal(symlink("a.b", in_dir(dir, "model/link")), 0);
    assert_fails_with(dir, &how, UQM_ERR_UNSUPPORTED, "link: a symbolic link");
    test_rm(dir);
}

static void a_wrong_key_or_a_changed_signature_does_not_hold(void **state)
{
    (void) state;
    char *dir = start(), *text;
    size_t len;
    struct uqm_err err = { 0 };
    const char *key = DATA("keys/p256.pub.pem"), *sig = DATA("theirs-p256.sig");
    assert_fails_with(
        dir,
        &(struct uqm_verify_params){ .public_key = DATA("keys/p384.pub.pem"), .signature = sig },
        UQM_ERR_CHECK, "made with another key");
    assert_ok(uqm_read_file(&text, &len, sig, 100000, &err), err);
    char copy[512];
    snprintf(copy, sizeof copy, "%s", in_dir(dir, "copy.sig"));
    const struct uqm_verify_params how = { .public_key = key, .signature = copy };
    size_t n_checked = 0;
    for (size_t at = 3; at < len; at += 61) { /* any byte: never does it hold */
        char was = text[at];
        text[at] = was == 'A' ? 'B' : 'A';
        assert_ok(uqm_replace_file(copy, text, len, &err), err);
        struct run r = check(dir, &how);
        /* outside the payload and the signature (keyid, tlogEntries) nothing is signed */
        bool unsigned_part = r.ret == UQM_OK;
        if (unsigned_part && !memmem(text + (at > 40 ? at - 40 : 0), 80, "keyid", 5) &&
            !memmem(text + (at > 40 ? at - 40 : 0), 80, "tlogEntries", 11))
            fail_msg("it holds with byte %zu changed", at);
        n_checked += unsigned_part ? 0 : 1;
        json_decref(r.doc);
        text[at] = was;
    }
    assert_true(n_checked > 15);
    free(text);
    test_rm(dir);
}

static void certificates_must_lead_to_a_trusted_one_and_may_sign(void **state)
{
    (void) state;
    char *dir = start();
    struct run r =
        check(dir, &(struct uqm_verify_params){ .certificate_chain = DATA("keys/root.pem"),
                                                .signature = DATA("theirs-leaf.sig") });
    assert_int_equal(r.ret, UQM_OK);
    json_decref(r.doc);
    assert_fails_with(dir,
                      &(struct uqm_verify_params){ .certificate_chain = DATA("keys/stranger.pem"),
                                                   .signature = DATA("theirs-leaf.sig") },
                      UQM_ERR_CHECK, "leads to none that is trusted");
    assert_fails_with(dir,
                      &(struct uqm_verify_params){ .certificate_chain = DATA("keys/root.pem"),
                                                   .signature = DATA("theirs-other.sig") },
                      UQM_ERR_CHECK, "is not one for signatures");
    assert_fails_with(dir,
                      &(struct uqm_verify_params){ .public_key = DATA("keys/p256.pub.pem"),
                                                   .signature = DATA("theirs-leaf.sig") },
                      UQM_ERR_ARG, "signed with a certificate");
    assert_fails_with(dir,
                      &(struct uqm_verify_params){ .certificate_chain = DATA("keys/root.pem"),
                                                   .signature = DATA("theirs-p256.sig") },
                      UQM_ERR_ARG, "signed with a key");
    test_rm(dir);
}

static void what_is_no_key_and_no_folder_is_named(void **state)
{
    (void) state;
    char *dir = start();
    struct uqm_err err = { 0 };
    assert_fails(sign(dir, DATA("keys/p256.pub.pem"), NULL, &err), err, UQM_ERR_FORMAT,
                 "no private key");
    assert_fails(sign(dir, DATA("keys/none.pem"), NULL, &err), err, UQM_ERR_IO, "none.pem");
    assert_fails(sign(dir, NULL, NULL, &err), err, UQM_ERR_USAGE, "no key");
    assert_fails_with(dir, &(struct uqm_verify_params){ .public_key = DATA("keys/p256.pem") },
                      UQM_ERR_IO, "model.sig");
    assert_fails_with(dir,
                      &(struct uqm_verify_params){ .public_key = DATA("keys/root.pem"),
                                                   .signature = DATA("theirs-p256.sig") },
                      UQM_ERR_FORMAT, "no public key");
    assert_fails_with(dir,
                      &(struct uqm_verify_params){ .public_key = DATA("keys/p256.pub.pem"),
                                                   .signature = DATA("theirs-p256.sig"),
                                                   .inputs = true },
                      UQM_ERR_ARG, "no uqmerge.manifest.json is among");
    assert_int_equal(symlink("a.b", in_dir(dir, "model/link")), 0);
    assert_fails(sign(dir, DATA("keys/p256.pem"), NULL, &err), err, UQM_ERR_UNSUPPORTED,
                 "a symbolic link");
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_of_both_programs_hold),
        cmocka_unit_test(what_is_signed_here_holds_here_and_can_be_signed_again),
        cmocka_unit_test(what_a_killed_run_left_is_not_signed),
        cmocka_unit_test(a_folder_has_one_signer_at_a_time),
        cmocka_unit_test(nothing_but_a_signature_is_replaced),
        cmocka_unit_test(a_signature_larger_than_the_memory_is_refused),
        cmocka_unit_test(missing_extra_and_changed_files_are_told_apart),
        cmocka_unit_test(a_wrong_key_or_a_changed_signature_does_not_hold),
        cmocka_unit_test(certificates_must_lead_to_a_trusted_one_and_may_sign),
        cmocka_unit_test(what_is_no_key_and_no_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
