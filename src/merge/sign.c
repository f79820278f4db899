/* uqm_sign(): list a folder's files, hash them, sign the statement over them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "src/archive/archive.h"
#include "src/base/fs.h"
#include "src/base/part.h"
#include "src/base/utf8.h"
#include "src/format/json.h"
#include "src/merge/signature_place.h"
#include "src/merge/signed_files.h"

static int no_memory(const char *path, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to sign it", path);
}

/* --- the place --- */

/* Path `below` the folder `dir`, both real: what follows dir's slash; NULL: it is not below. */
static const char *part_below(const char *dir, const char *path)
{
    size_t n = strlen(dir);
    if (n == 1) /* the root folder */
        return path + 1;
    return strncmp(dir, path, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

/* An archive is not changed: its own signature lies beside it, its folder's is packed in it. */
static int find_of_archive(struct uqm_signature_place *out, const char *archive,
                           const char *signature, bool is_new, struct uqm_err *err)
{
    out->model = uqm_path_base(archive);
    if (signature)
        out->path = strdup(signature);
    else if (asprintf(&out->path, "%s.sig", archive) < 0)
        out->path = NULL;
    if (!out->model || !out->path)
        return no_memory(archive, err);
    if (signature || is_new || access(out->path, F_OK) == 0)
        return UQM_OK;
    free(out->path);
    out->path = uqm_path_join(archive, UQM_SIGNATURE_NAME);
    out->below = strdup(UQM_SIGNATURE_NAME);
    return out->path && out->below ? UQM_OK : no_memory(archive, err);
}

int uqm_signature_place_find(struct uqm_signature_place *out, const char *dir,
                             const char *signature, bool is_new, struct uqm_err *err)
{
    *out = (struct uqm_signature_place){ .path = NULL };
    if (uqm_archive_is_name(dir) && !uqm_is_dir(dir))
        return find_of_archive(out, dir, signature, is_new, err);
    if (!uqm_is_dir(dir))
        return uqm_fail(err, UQM_ERR_ARG, "%s: not a folder; a signature is over a folder's files",
                        dir);
    out->path = signature ? strdup(signature) : uqm_path_join(dir, UQM_SIGNATURE_NAME);
    char *real_dir = realpath(dir, NULL), *home = out->path ? uqm_path_dir(out->path) : NULL;
    char *name = out->path ? uqm_path_base(out->path) : NULL;
    char *real_home = home ? realpath(home, NULL) : NULL;
    char *full = real_home && name ? uqm_path_join(real_home, name) : NULL;
    const char *below = real_dir && full ? part_below(real_dir, full) : NULL;
    int ret = UQM_OK;
    if (home && !real_home)
        ret = uqm_fail_errno(err, "%s", home);
    else if (!real_dir || !full || (below && !(out->below = strdup(below))) ||
             !(out->model = uqm_path_base(real_dir)))
        ret = no_memory(dir, err);
    free(real_dir);
    free(home);
    free(name);
    free(real_home);
    free(full);
    return ret;
}

void uqm_signature_place_finish(struct uqm_signature_place *place)
{
    free(place->path);
    free(place->below);
    free(place->model);
    *place = (struct uqm_signature_place){ .path = NULL };
}

/* --- the signature --- */

struct sign {
    struct uqm_env env;
    const struct uqm_sign_params *params;
    struct uqm_signature_place place;
    struct uqm_signed_files files;
    struct uqm_key *key;
    struct uqm_sha256_hex hint;
    uint64_t n_bytes;
    int lock_fd; /* the folder, where the signature goes into it; or -1 */
    struct uqm_err *err;
};

/* Nothing but a signature is replaced. What a run that was killed left where this one will write is
 * not to be signed: it is gone before the files are listed. */
static int clear_place(const struct sign *s)
{
    const char *path = s->place.path;
    char *part = NULL;
    int ret =
        uqm_check_replaceable(path, "application/vnd.dev.sigstore.bundle", "a signature", s->err);
    if (ret == UQM_OK && asprintf(&part, "%s.part", path) < 0)
        return no_memory(s->params->path, s->err);
    if (ret == UQM_OK)
        ret = uqm_part_clear(part, path, true, s->err);
    free(part);
    return ret;
}

/* The bundle's text. */
static int make_bundle(char **text, struct sign *s, const char *statement)
{
    size_t len = strlen(statement), message_len = 0, sig_len = 0;
    uint8_t *sig = NULL;
    char *message = uqm_bundle_message(&message_len, statement, len);
    int ret = message ? uqm_key_sign(&sig, &sig_len, s->key, message, message_len, s->err)
                      : no_memory(s->params->path, s->err);
    if (ret == UQM_OK && !(*text = uqm_bundle_dump(statement, len, sig, sig_len, s->hint.text)))
        ret = no_memory(s->params->path, s->err);
    free(message);
    free(sig);
    return ret;
}

/* Two runs that put their signatures into the folder would sign each other's halves. */
static int lock_folder(struct sign *s)
{
    const char *path = s->params->path;
    if (!s->place.below)
        return UQM_OK;
    s->lock_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock_fd < 0)
        return uqm_fail_errno(s->err, "%s", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return uqm_fail(s->err, UQM_ERR_IO, "%s: another run is signing it", path);
    return UQM_OK;
}

static int sign_files(struct sign *s, const char **ignored, size_t n_ignored)
{
    const char *path = s->params->path;
    char *bundle = NULL;
    int ret = lock_folder(s);
    if (ret == UQM_OK)
        ret = clear_place(s);
    if (ret == UQM_OK)
        ret = uqm_signed_files_list(&s->files, path, ignored, n_ignored, s->err);
    if (ret == UQM_OK)
        ret = uqm_signed_files_hash(s->files.v, s->files.n, &s->env, path, "signing", &s->n_bytes,
                                    s->err);
    if (ret < 0)
        return ret;
    struct uqm_statement statement = {
        .model = s->place.model,
        .n_files = s->files.n,
        .n_ignored = n_ignored,
        .files = s->files.v,
        .ignored = ignored,
    };
    char *text = uqm_statement_dump(&statement);
    ret = text ? make_bundle(&bundle, s, text) : no_memory(path, s->err);
    if (ret == UQM_OK)
        ret = uqm_replace_file(s->place.path, bundle, strlen(bundle), s->err);
    free(bundle);
    free(text);
    return ret;
}

static int run(struct sign *s)
{
    const struct uqm_sign_params *p = s->params;
    const char *ignored[5];
    size_t n_ignored = 0;
    if (!p->key)
        return uqm_fail(s->err, UQM_ERR_USAGE, "%s: no key to sign it with", p->path);
    int ret = uqm_env_init(&s->env, &p->common, s->err);
    if (ret == UQM_OK)
        ret = uqm_signature_place_find(&s->place, p->path, p->signature, true, s->err);
    if (ret == UQM_OK)
        ret = uqm_key_load_private(&s->key, p->key, s->err);
    if (ret == UQM_OK)
        ret = uqm_key_hint(&s->hint, s->key, s->err);
    if (ret < 0)
        return ret;
    if (!uqm_utf8_valid((const uint8_t *) s->place.model, strlen(s->place.model)) ||
        (s->place.below &&
         !uqm_utf8_valid((const uint8_t *) s->place.below, strlen(s->place.below))))
        return uqm_fail(s->err, UQM_ERR_UNSUPPORTED, "%s: a name that is not UTF-8", p->path);
    if (s->place.below)
        ignored[n_ignored++] = s->place.below;
    for (size_t i = 0; i < 4; i++)
        ignored[n_ignored++] = uqm_unsigned_paths[i];
    return sign_files(s, ignored, n_ignored);
}

UQM_API int uqm_sign(char **json, const struct uqm_sign_params *params, struct uqm_err *err)
{
    struct sign s = { .params = params, .err = err, .lock_fd = -1 };
    *json = NULL;
    int ret = run(&s);
    if (ret == UQM_OK) {
        json_t *doc = json_pack("{s:s, s:s, s:I, s:I, s:s}", "path", params->path, "signature",
                                s.place.path, "files", (json_int_t) s.files.n, "bytes",
                                (json_int_t) s.n_bytes, "key", s.hint.text);
        *json = doc ? uqm_json_dump(doc) : NULL;
        json_decref(doc);
        if (!*json)
            ret = no_memory(params->path, err);
    }
    if (s.lock_fd >= 0)
        close(s.lock_fd);
    uqm_key_destroy(&s.key);
    uqm_signed_files_finish(&s.files);
    uqm_signature_place_finish(&s.place);
    return ret;
}
