/* The statement of a model signature; the bundle round it is signature.c's. */
#include <stdlib.h>
#include <string.h>

#include "src/format/json.h"
#include "src/format/signature.h"

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define PREDICATE_TYPE "https://model_signing/signature/v1.0"

enum { MAX_FILES = 1 << 20 };

struct reader {
    struct uqm_statement *s;
    const char *where;
    struct uqm_err *err;
};

static int bad(const struct reader *r, const char *what)
{
    return uqm_fail(r->err, UQM_ERR_FORMAT, "%s: the signed statement: %s", r->where, what);
}

static int no_memory(const struct reader *r)
{
    return uqm_fail(r->err, UQM_ERR_NOMEM, "%s: no memory for the signed statement", r->where);
}

static bool is_text(const json_t *v, const char *text)
{
    return json_is_string(v) && strcmp(json_string_value(v), text) == 0;
}

/* --- names --- */

/* A path below the folder, whose components are names. */
static bool is_relative(const char *path)
{
    for (;;) {
        size_t n = strcspn(path, "/");
        if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        if (path[n] == '\0')
            return true;
        path += n + 1;
    }
}

/* By the list of components: the separator counts less than any byte of a name. */
static int compare_paths(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    int x = *a == '\0' ? -2 : *a == '/' ? -1 : (unsigned char) *a;
    int y = *b == '\0' ? -2 : *b == '/' ? -1 : (unsigned char) *b;
    return (x > y) - (x < y);
}

static int compare_files(const void *a, const void *b)
{
    const struct uqm_statement_file *x = a, *y = b;
    return compare_paths(x->name, y->name);
}

static int compare_pointers(const void *a, const void *b)
{
    const struct uqm_statement_file *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int check_unique(const struct reader *r)
{
    size_t n = r->s->n_files;
    const struct uqm_statement_file **v = uqm_arena_alloc(&r->s->arena, n + 1, sizeof *v);
    struct uqm_printable shown;
    if (!v)
        return no_memory(r);
    for (size_t i = 0; i < n; i++)
        v[i] = &r->s->files[i];
    if (n > 1)
        qsort(v, n, sizeof *v, compare_pointers);
    for (size_t i = 1; i < n; i++)
        if (strcmp(v[i - 1]->name, v[i]->name) == 0)
            return uqm_fail(r->err, UQM_ERR_FORMAT,
                            "%s: the signed statement: %s stands there twice", r->where,
                            uqm_printable(&shown, v[i]->name, strlen(v[i]->name)));
    return UQM_OK;
}

/* SHA-256 of all digests, one after the other. */
static bool root_of(struct uqm_sha256_digest *out, const struct uqm_statement *s)
{
    struct uqm_sha256 *sha = uqm_sha256_create();
    if (!sha)
        return false;
    for (size_t i = 0; i < s->n_files; i++)
        uqm_sha256_update(sha, s->files[i].digest.bytes, sizeof s->files[i].digest.bytes);
    *out = uqm_sha256_digest(sha);
    uqm_sha256_destroy(&sha);
    return true;
}

/* --- reading --- */

static const char *keep(const struct reader *r, const json_t *string)
{
    return uqm_arena_strndup(&r->s->arena, json_string_value(string), json_string_length(string));
}

static int read_serialization(const struct reader *r, const json_t *how)
{
    const json_t *list = json_object_get(how, "ignore_paths");
    if (!json_is_object(how))
        return bad(r, "serialization is no object");
    if (!is_text(json_object_get(how, "method"), "files") ||
        !is_text(json_object_get(how, "hash_type"), "sha256"))
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "%s: signed otherwise than by the SHA-256 of whole files (serialization: "
                        "method, hash_type)",
                        r->where);
    if (json_is_true(json_object_get(how, "allow_symlinks")))
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "%s: signed with symbolic links followed (allow_symlinks)", r->where);
    if (list && !json_is_array(list))
        return bad(r, "ignore_paths is no list");
    r->s->ignored = uqm_arena_alloc(&r->s->arena, json_array_size(list) + 1, sizeof(char *));
    if (!r->s->ignored)
        return no_memory(r);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *path = json_array_get(list, i);
        if (!json_is_string(path) || !is_relative(json_string_value(path)))
            return bad(r, "ignore_paths holds what is no path below the folder");
        r->s->ignored[r->s->n_ignored] = keep(r, path);
        if (!r->s->ignored[r->s->n_ignored++])
            return no_memory(r);
    }
    return UQM_OK;
}

static int read_resources(const struct reader *r, const json_t *list)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MAX_FILES)
        return bad(r, "resources is no list, or too long");
    r->s->files = uqm_arena_alloc(&r->s->arena, n + 1, sizeof *r->s->files);
    if (!r->s->files)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i), *name = json_object_get(item, "name");
        const json_t *digest = json_object_get(item, "digest");
        struct uqm_statement_file *f = &r->s->files[i];
        if (!is_text(json_object_get(item, "algorithm"), "sha256"))
            return bad(r, "a resource's algorithm is not sha256");
        if (!json_is_string(name) || !is_relative(json_string_value(name)))
            return bad(r, "a resource's name is no path below the folder");
        if (!json_is_string(digest) ||
            !uqm_sha256_digest_parse(&f->digest, json_string_value(digest),
                                     json_string_length(digest)))
            return bad(r, "a resource's digest is not one");
        f->name = keep(r, name);
        if (!f->name)
            return no_memory(r);
    }
    r->s->n_files = n;
    return check_unique(r);
}

static int read_statement(const struct reader *r, const json_t *doc)
{
    const json_t *subjects = json_object_get(doc, "subject"),
                 *subject = json_array_get(subjects, 0);
    const json_t *name = json_object_get(subject, "name");
    const json_t *root = json_object_get(json_object_get(subject, "digest"), "sha256");
    const json_t *predicate = json_object_get(doc, "predicate");
    struct uqm_sha256_digest said, is;
    if (!is_text(json_object_get(doc, "_type"), STATEMENT_TYPE))
        return bad(r, "_type is not " STATEMENT_TYPE);
    if (!is_text(json_object_get(doc, "predicateType"), PREDICATE_TYPE))
        return uqm_fail(r->err, UQM_ERR_UNSUPPORTED,
                        "%s: the signed statement: predicateType is not " PREDICATE_TYPE, r->where);
    if (json_array_size(subjects) != 1 || !json_is_string(name))
        return bad(r, "subject is not a list of one with a name");
    if (!json_is_string(root) ||
        !uqm_sha256_digest_parse(&said, json_string_value(root), json_string_length(root)))
        return bad(r, "the subject's digest is not one");
    r->s->model = keep(r, name);
    int ret = r->s->model ? read_serialization(r, json_object_get(predicate, "serialization"))
                          : no_memory(r);
    if (ret == UQM_OK)
        ret = read_resources(r, json_object_get(predicate, "resources"));
    if (ret < 0)
        return ret;
    if (!root_of(&is, r->s))
        return no_memory(r);
    return memcmp(said.bytes, is.bytes, sizeof is.bytes) == 0
               ? UQM_OK
               : bad(r, "the subject's digest is not that of its resources");
}

int uqm_statement_parse(struct uqm_statement *out, const char *text, size_t len, const char *where,
                        struct uqm_err *err)
{
    struct uqm_statement s = { 0 };
    struct reader r = { &s, where, err };
    json_t *doc = uqm_json_parse(text, len, where, false, err);
    if (!doc)
        return UQM_ERR_FORMAT;
    int ret = read_statement(&r, doc);
    json_decref(doc);
    if (ret < 0)
        uqm_statement_finish(&s);
    else
        *out = s;
    return ret;
}

void uqm_statement_finish(struct uqm_statement *statement)
{
    uqm_arena_finish(&statement->arena);
    *statement = (struct uqm_statement){ 0 };
}

/* --- writing --- */

static json_t *dump_resources(const struct uqm_statement *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_files; i++) {
        struct uqm_sha256_hex hex = uqm_sha256_digest_hex(&s->files[i].digest);
        json_t *item = json_pack("{s:s, s:s, s:s}", "name", s->files[i].name, "algorithm", "sha256",
                                 "digest", hex.text);
        if (!item || json_array_append_new(list, item) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *dump_ignored(const struct uqm_statement *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_ignored; i++)
        if (json_array_append_new(list, json_string(s->ignored[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

char *uqm_statement_dump(const struct uqm_statement *s)
{
    struct uqm_sha256_digest root;
    if (s->n_files > 1)
        qsort(s->files, s->n_files, sizeof *s->files, compare_files);
    if (!root_of(&root, s))
        return NULL;
    struct uqm_sha256_hex hex = uqm_sha256_digest_hex(&root);
    json_t *doc = json_pack(
        "{s:s, s:[{s:s, s:{s:s}}], s:s, s:{s:{s:s, s:s, s:b, s:o}, s:o}}", "_type", STATEMENT_TYPE,
        "subject", "name", s->model, "digest", "sha256", hex.text, "predicateType", PREDICATE_TYPE,
        "predicate", "serialization", "method", "files", "hash_type", "sha256", "allow_symlinks", 0,
        "ignore_paths", dump_ignored(s), "resources", dump_resources(s));
    char *text = doc ? uqm_json_dump(doc) : NULL;
    json_decref(doc);
    return text;
}
