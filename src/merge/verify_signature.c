/* A model signature: that it holds, then that the files are those that it was made over. */
#include <stdlib.h>
#include <string.h>

#include "src/archive/archive.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json.h"
#include "src/merge/signature_place.h"
#include "src/merge/signed_files.h"
#include "src/merge/verify_impl.h"

struct check {
    struct uqm_verify *v;
    struct uqm_signature_place place;
    struct uqm_bundle bundle;
    struct uqm_statement statement;
    struct uqm_signed_files there; /* files that are in the folder */
    struct uqm_key *key;
};

/* --- the signature itself --- */

static int get_key(struct check *c)
{
    const struct uqm_verify_params *p = c->v->params;
    if (p->public_key && p->certificate_chain)
        return uqm_fail(
            c->v->err, UQM_ERR_USAGE,
            "a public key and a chain of certificates: a signature is checked with one");
    if (c->bundle.n_chain > 0 && !p->certificate_chain)
        return uqm_fail(c->v->err, UQM_ERR_ARG,
                        "%s: signed with a certificate: verify it with --certificate-chain",
                        c->place.path);
    if (c->bundle.n_chain == 0 && !p->public_key)
        return uqm_fail(c->v->err, UQM_ERR_ARG,
                        "%s: signed with a key, not a certificate: verify it with --public-key",
                        c->place.path);
    if (p->public_key)
        return uqm_key_load_public(&c->key, p->public_key, c->v->err);
    return uqm_key_from_chain(&c->key, c->bundle.chain, c->bundle.n_chain, p->certificate_chain,
                              c->place.path, c->v->err);
}

/* *why: NULL when it holds. */
static int check_key(const char **why, const struct check *c)
{
    struct uqm_sha256_hex hint;
    bool holds = false;
    size_t len;
    int ret = uqm_key_hint(&hint, c->key, c->v->err);
    char *message = uqm_bundle_message(&len, c->bundle.payload, c->bundle.payload_len);
    if (!message)
        ret = uqm_verify_no_memory(c->v);
    if (ret == UQM_OK)
        ret = uqm_key_verify(&holds, c->key, message, len, c->bundle.sig, c->bundle.sig_len,
                             c->v->err);
    free(message);
    *why = NULL;
    if (c->bundle.hint && strcmp(c->bundle.hint, hint.text) != 0)
        *why = "it was made with another key";
    else if (!holds)
        *why = "the signature does not hold: it is another key's, or what it signs has changed";
    return ret;
}

static int read_bundle(struct check *c)
{
    char *text = NULL;
    size_t len = 0;
    const uint64_t most = uqm_min_u64(UQM_MAX_SIGNATURE_BYTES, uqm_budget_left(c->v->env));
    int ret = uqm_read_model_file(&text, &len, c->place.path, (size_t) most, c->v->err);
    if (ret == UQM_OK)
        ret = uqm_json_check_room(c->v->env, text, len, c->place.path, c->v->err);
    if (ret == UQM_OK)
        ret = uqm_bundle_parse(&c->bundle, text, len, c->place.path, c->v->err);
    c->v->n_bytes += len;
    free(text);
    return ret;
}

static int check_bundle(struct check *c, bool *holds)
{
    const char *why = NULL;
    int ret = read_bundle(c);
    if (ret == UQM_OK)
        ret = get_key(c);
    if (ret == UQM_ERR_CHECK) { /* the certificates */
        const char *msg = c->v->err->msg, *what = strstr(msg, ": the certificate");
        why = what ? what + 2 : msg;
        ret = UQM_OK;
    } else if (ret == UQM_OK) {
        ret = check_key(&why, c);
    }
    *holds = ret == UQM_OK && !why;
    return why && ret == UQM_OK ? uqm_verify_differs(c->v, c->place.path, NULL, 0, 0, why) : ret;
}

/* --- the files --- */

static int compare(const void *a, const void *b)
{
    const struct uqm_statement_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int list_there(struct check *c)
{
    const struct uqm_statement *s = &c->statement;
    size_t n = 0;
    const char **ignored = calloc(s->n_ignored + 5, sizeof *ignored);
    if (!ignored)
        return uqm_verify_no_memory(c->v);
    for (size_t i = 0; i < s->n_ignored; i++)
        ignored[n++] = s->ignored[i];
    for (size_t i = 0; i < 4; i++)
        ignored[n++] = uqm_unsigned_paths[i];
    if (c->place.below)
        ignored[n++] = c->place.below;
    int ret = uqm_signed_files_list(&c->there, c->v->path, ignored, n, c->v->err);
    free(ignored);
    return ret;
}

static uint64_t size_of(const struct check *c, const char *name)
{
    char *path = uqm_path_join(c->v->path, name);
    uint64_t n = 0;
    if (path)
        uqm_find_model_file(path, &n, NULL);
    free(path);
    return n;
}

/* One more of a kind: in the list of the kind, and among the differences. */
static int note(const struct check *c, const char *kind, const char *name, const char *what)
{
    json_t *list = json_object_get(c->v->signature, kind);
    if (!list || json_array_append_new(list, json_string(name)) != 0)
        return uqm_verify_no_memory(c->v);
    return uqm_verify_differs(c->v, name, NULL, 0, size_of(c, name), what);
}

/* Both lists are sorted; what both hold goes to the front of `there`, with *n_common. */
static int match(struct check *c, const struct uqm_statement_file **said, size_t *n_common)
{
    const struct uqm_statement_file *s = c->statement.files, *s_end = s + c->statement.n_files;
    struct uqm_statement_file *t = c->there.v, *t_end = t + c->there.n;
    int ret = UQM_OK;
    *n_common = 0;
    while ((s < s_end || t < t_end) && ret == UQM_OK) {
        int order = s == s_end ? 1 : t == t_end ? -1 : strcmp(s->name, t->name);
        if (order < 0) {
            ret = note(c, "missing", s++->name, "missing, though it is signed");
        } else if (order > 0) {
            ret = note(c, "extra", t++->name, "not among the files that are signed");
        } else {
            said[*n_common] = s++;
            c->there.v[(*n_common)++] = *t++;
        }
    }
    return ret;
}

static int compare_files(struct check *c)
{
    struct uqm_statement *s = &c->statement;
    size_t n = 0;
    const struct uqm_statement_file **said = calloc(s->n_files + 1, sizeof *said);
    if (!said)
        return uqm_verify_no_memory(c->v);
    if (s->n_files > 1)
        qsort(s->files, s->n_files, sizeof *s->files, compare);
    int ret = list_there(c);
    if (ret == UQM_OK)
        ret = match(c, said, &n);
    if (ret == UQM_OK)
        ret = uqm_signed_files_hash(c->there.v, n, c->v->env, c->v->path, "verifying",
                                    &c->v->n_bytes, c->v->err);
    if (ret == UQM_ERR_FORMAT && uqm_archive_is_name(c->v->path)) { /* a damaged block */
        const struct uqm_err why = *c->v->err;
        free(said);
        return uqm_verify_differs(c->v, c->v->path, NULL, 0, 0, why.msg);
    }
    for (size_t i = 0; i < n && ret == UQM_OK; i++)
        if (memcmp(c->there.v[i].digest.bytes, said[i]->digest.bytes, 32) != 0)
            ret = note(c, "changed", said[i]->name, "changed since it was signed");
    c->v->n_files += n;
    free(said);
    return ret;
}

/* What the manifest has to be, for tensors and inputs that are checked through it. */
static void remember_manifest(const struct check *c)
{
    for (size_t i = 0; i < c->statement.n_files; i++)
        if (strcmp(c->statement.files[i].name, UQM_MANIFEST_NAME) == 0)
            c->v->signed_manifest = uqm_sha256_digest_hex(&c->statement.files[i].digest);
}

static int describe(const struct check *c)
{
    json_t *ignored = json_array();
    for (size_t i = 0; i < c->statement.n_ignored; i++)
        json_array_append_new(ignored, json_string(c->statement.ignored[i]));
    c->v->signature = json_pack("{s:s, s:s, s:s?, s:[], s:[], s:[], s:o}", "file", c->place.path,
                                "model", c->statement.model, "key", c->bundle.hint, "missing",
                                "extra", "changed", "ignored", ignored);
    return c->v->signature ? UQM_OK : uqm_verify_no_memory(c->v);
}

static int run(struct check *c, bool *holds)
{
    struct uqm_verify *v = c->v;
    int ret = uqm_signature_place_find(&c->place, v->path, v->params->signature, false, v->err);
    if (ret == UQM_OK)
        ret = check_bundle(c, holds);
    if (ret < 0 || !*holds)
        return ret;
    ret = uqm_json_check_room(v->env, c->bundle.payload, c->bundle.payload_len, c->place.path,
                              v->err);
    if (ret == UQM_OK)
        ret = uqm_statement_parse(&c->statement, c->bundle.payload, c->bundle.payload_len,
                                  c->place.path, v->err);
    if (ret == UQM_OK)
        ret = describe(c);
    if (ret < 0)
        return ret;
    remember_manifest(c);
    if (!v->signed_manifest.text[0] && (v->params->tensors.n > 0 || v->params->inputs))
        return uqm_fail(v->err, UQM_ERR_ARG, "%s: no " UQM_MANIFEST_NAME " is among what it signs",
                        c->place.path);
    return v->params->tensors.n > 0 ? UQM_OK : compare_files(c);
}

int uqm_verify_signature(struct uqm_verify *v, bool *holds)
{
    struct check c = { .v = v };
    *holds = false;
    int ret = run(&c, holds);
    uqm_key_destroy(&c.key);
    uqm_signed_files_finish(&c.there);
    uqm_statement_finish(&c.statement);
    uqm_bundle_finish(&c.bundle);
    uqm_signature_place_finish(&c.place);
    return ret;
}
