/*
 * uqm_verify() without a signature: everything a manifest names is read again. A weight file's
 * bytes go into the SHA-256 of the whole and into the XXH3-128 of the tensor that they belong to,
 * in one pass; a file whose digest is wrong while all its tensors are right differs between them,
 * so in its header.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/stream.h"
#include "src/archive/archive.h"
#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/checkpoint/model_file.h"
#include "src/format/json.h"
#include "src/merge/verify_impl.h"

enum {
    PIECE_BYTES = 1 << 20,
    MOST_STREAM_BYTES = 64 << 20,
    MAX_MANIFEST_BYTES = 1 << 28,
};

int uqm_verify_no_memory(const struct uqm_verify *v)
{
    return uqm_fail(v->err, UQM_ERR_NOMEM, "%s: no memory to verify it", v->path);
}

int uqm_verify_differs(struct uqm_verify *v, const char *file, const char *tensor, uint64_t begin,
                       uint64_t end, const char *what)
{
    json_t *d = json_pack("{s:s, s:s?, s:I, s:I, s:s}", "file", file, "tensor", tensor, "begin",
                          (json_int_t) begin, "end", (json_int_t) end, "what", what);
    return d && json_array_append_new(v->differences, d) == 0 ? UQM_OK : uqm_verify_no_memory(v);
}

/* --- one file, front to back --- */

/* Called with each stretch of the file in turn. */
typedef int (*bytes_fn)(void *ctx, const uint8_t *data, size_t n);

static int read_through(struct uqm_verify *v, struct uqm_file *file, bytes_fn fn, void *ctx)
{
    struct uqm_file_pass pass = { file, PIECE_BYTES, 0 };
    struct uqm_stream *stream = NULL;
    struct uqm_view view;
    uint64_t memory = uqm_min_u64(uqm_budget_left(v->env), MOST_STREAM_BYTES);
    int ret = uqm_stream_create(&stream, v->env, PIECE_BYTES, 2, memory, uqm_next_piece_of_file,
                                &pass, v->err);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, v->err)) > 0) {
        ret = fn(ctx, view.data, view.n_bytes);
        v->n_bytes += view.n_bytes;
        uqm_stream_release(stream, &view);
        uqm_report(v->env, "verifying", "bytes", v->n_bytes, v->n_planned);
    }
    uqm_stream_destroy(&stream);
    return ret < 0 ? ret : UQM_OK;
}

/* --- files of the output --- */

struct weights {
    struct uqm_verify *v;
    const struct uqm_manifest_file *file;
    const size_t *tensors; /* of this file, by offset */
    size_t n_tensors, next;
    uint64_t at; /* in the file */
    bool any_bad;
};

/* The tensor's last byte has passed. */
static int end_tensor(struct weights *w, const struct uqm_manifest_tensor *t)
{
    struct uqm_xxh3_hex hex = uqm_xxh3_hex(w->v->xxh3);
    uqm_xxh3_reset(w->v->xxh3);
    w->next++;
    w->v->n_tensors++;
    if (strcmp(hex.text, t->digest) == 0)
        return UQM_OK;
    w->any_bad = true;
    return uqm_verify_differs(w->v, w->file->name, t->name, t->offset, t->offset + t->bytes,
                              "the tensor's bytes have changed");
}

static int take_bytes(void *ctx, const uint8_t *data, size_t n)
{
    struct weights *w = ctx;
    uint64_t end = w->at + n;
    int ret = UQM_OK;
    uqm_sha256_update(w->v->sha256, data, n);
    while (w->next < w->n_tensors && ret == UQM_OK) {
        const struct uqm_manifest_tensor *t = &w->v->m.tensors[w->tensors[w->next]];
        uint64_t from = uqm_max_u64(t->offset, w->at);
        uint64_t to = uqm_min_u64(t->offset + t->bytes, end);
        if (t->offset + t->bytes > end && t->offset >= end)
            break;
        if (to > from)
            uqm_xxh3_update(w->v->xxh3, data + (from - w->at), (size_t) (to - from));
        if (t->offset + t->bytes > end)
            break;
        ret = end_tensor(w, t);
    }
    w->at = end;
    return ret;
}

/* The first byte that belongs to a tensor; the file's end when none does. */
static uint64_t header_end(const struct weights *w)
{
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct uqm_manifest_tensor *t = &w->v->m.tensors[w->tensors[i]];
        if (t->bytes > 0)
            return t->offset;
    }
    return w->file->bytes;
}

static int end_file(struct weights *w)
{
    struct uqm_sha256_hex hex = uqm_sha256_hex(w->v->sha256);
    if (strcmp(hex.text, w->file->digest) == 0 || w->any_bad)
        return UQM_OK;
    return uqm_verify_differs(w->v, w->file->name, NULL, 0, header_end(w),
                              w->n_tensors ? "the header has changed" : "the file has changed");
}

/* A file of another size: the tensors that are whole are compared all the same. */
static int wrong_size(struct weights *w, uint64_t size)
{
    uint64_t begin = uqm_min_u64(size, w->file->bytes), end = uqm_max_u64(size, w->file->bytes);
    w->any_bad = true;
    return uqm_verify_differs(w->v, w->file->name, NULL, begin, end,
                              size < w->file->bytes ? "the file is shorter than it was"
                                                    : "the file is longer than it was");
}

static int cut_tensors(struct weights *w)
{
    for (; w->next < w->n_tensors; w->next++) {
        const struct uqm_manifest_tensor *t = &w->v->m.tensors[w->tensors[w->next]];
        int ret = uqm_verify_differs(w->v, w->file->name, t->name, uqm_max_u64(t->offset, w->at),
                                     t->offset + t->bytes, "the tensor's bytes are missing");
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

static int verify_open_file(struct weights *w, struct uqm_file *file)
{
    struct uqm_verify *v = w->v;
    int ret = file->size_bytes == w->file->bytes ? UQM_OK : wrong_size(w, file->size_bytes);
    uqm_sha256_reset(v->sha256);
    uqm_xxh3_reset(v->xxh3);
    if (ret == UQM_OK)
        ret = read_through(v, file, take_bytes, w);
    while (ret == UQM_OK && w->next < w->n_tensors && /* tensors without bytes at the end */
           v->m.tensors[w->tensors[w->next]].bytes == 0)
        ret = end_tensor(w, &v->m.tensors[w->tensors[w->next]]);
    if (ret == UQM_OK)
        ret = cut_tensors(w);
    return ret == UQM_OK ? end_file(w) : ret;
}

static int verify_file(struct uqm_verify *v, size_t index, const size_t *tensors, size_t n_tensors)
{
    struct weights w = {
        .v = v, .file = &v->m.files[index], .tensors = tensors, .n_tensors = n_tensors
    };
    struct uqm_file *file = NULL;
    struct stat st;
    char *path = uqm_path_join(v->path, w.file->name);
    if (!path)
        return uqm_verify_no_memory(v);
    int ret;
    if (lstat(path, &st) != 0)
        ret = uqm_verify_differs(v, w.file->name, NULL, 0, w.file->bytes, "the file is missing");
    else if (!S_ISREG(st.st_mode))
        ret = uqm_verify_differs(v, w.file->name, NULL, 0, w.file->bytes, "no regular file");
    else {
        ret = uqm_file_open(&file, v->env, path, v->err);
        if (ret == UQM_OK)
            ret = verify_open_file(&w, file);
        v->n_files++;
    }
    uqm_file_close(&file);
    free(path);
    return ret;
}

/* --- the folder --- */

static int by_place(const void *a, const void *b, void *ctx)
{
    const struct uqm_manifest *m = ctx;
    const struct uqm_manifest_tensor *x = &m->tensors[*(const size_t *) a];
    const struct uqm_manifest_tensor *y = &m->tensors[*(const size_t *) b];
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* A manifest from strangers may claim tensors that overlap: bytes belong to one. */
static int check_overlap(const struct uqm_verify *v, const size_t *order)
{
    for (size_t i = 1; i < v->m.n_tensors; i++) {
        const struct uqm_manifest_tensor *a = &v->m.tensors[order[i - 1]];
        const struct uqm_manifest_tensor *b = &v->m.tensors[order[i]];
        struct uqm_printable x, y;
        if (a->file == b->file && a->offset + a->bytes > b->offset)
            return uqm_fail(v->err, UQM_ERR_FORMAT, "%s/%s: tensors %s and %s overlap", v->path,
                            UQM_MANIFEST_NAME, uqm_printable(&x, a->name, strlen(a->name)),
                            uqm_printable(&y, b->name, strlen(b->name)));
    }
    return UQM_OK;
}

static int verify_files(struct uqm_verify *v)
{
    size_t n = v->m.n_tensors;
    size_t *order = uqm_arena_alloc(&v->m.arena, n + 1, sizeof *order);
    if (!order)
        return uqm_verify_no_memory(v);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof *order, by_place, &v->m);
    int ret = check_overlap(v, order);
    for (size_t f = 0, t = 0; f < v->m.n_files && ret == UQM_OK; f++) {
        size_t first = t;
        while (t < n && v->m.tensors[order[t]].file == f)
            t++;
        ret = verify_file(v, f, order + first, t - first);
    }
    return ret;
}

static bool is_listed(const struct uqm_verify *v, const char *name)
{
    if (strcmp(name, UQM_MANIFEST_NAME) == 0)
        return true;
    for (size_t i = 0; i < v->m.n_files; i++)
        if (strcmp(v->m.files[i].name, name) == 0)
            return true;
    return false;
}

/* What signing and version control leave beside a model is no difference (spec formats.md 5). */
static int is_candidate(const struct dirent *e)
{
    static const char *const ignored[] = { ".",       "..",         ".git",      ".gitattributes",
                                           ".github", ".gitignore", "model.sig", "SHA256SUMS" };
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (strcmp(e->d_name, ignored[i]) == 0)
            return 0;
    return 1;
}

static int verify_nothing_else(struct uqm_verify *v)
{
    struct dirent **names = NULL;
    int n = scandir(v->path, &names, is_candidate, alphasort);
    int ret = n < 0 ? uqm_fail_errno(v->err, "%s", v->path) : UQM_OK;
    for (int i = 0; i < n; i++) {
        if (ret == UQM_OK && !is_listed(v, names[i]->d_name)) {
            struct stat st;
            char *path = uqm_path_join(v->path, names[i]->d_name);
            bool is_file = path && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
            struct uqm_printable p;
            ret = uqm_verify_differs(
                v, uqm_printable(&p, names[i]->d_name, strlen(names[i]->d_name)), NULL, 0,
                is_file ? (uint64_t) st.st_size : 0, "not in the manifest");
            free(path);
        }
        free(names[i]);
    }
    free(names);
    return ret;
}

/* --- inputs --- */

static int hash_bytes(void *ctx, const uint8_t *data, size_t n)
{
    uqm_xxh3_update(ctx, data, n);
    return UQM_OK;
}

static int verify_input_file(struct uqm_verify *v, const char *path,
                             const struct uqm_manifest_file *want)
{
    struct uqm_file *file = NULL;
    int ret = uqm_find_model_file(path, NULL, v->err);
    if (ret == 0)
        return uqm_verify_differs(v, path, NULL, 0, want->bytes, "the input file is missing");
    if (ret > 0)
        ret = uqm_model_file_open(&file, v->env, path, v->err);
    if (ret == UQM_OK && file->size_bytes != want->bytes) {
        ret = uqm_verify_differs(v, path, NULL, 0, want->bytes, "the input file has another size");
    } else if (ret == UQM_OK) {
        uqm_xxh3_reset(v->xxh3);
        ret = read_through(v, file, hash_bytes, v->xxh3);
        struct uqm_xxh3_hex hex = uqm_xxh3_hex(v->xxh3);
        if (ret == UQM_OK && strcmp(hex.text, want->digest) != 0)
            ret = uqm_verify_differs(v, path, NULL, 0, want->bytes, "the input file has changed");
    }
    v->n_files++;
    uqm_file_close(&file);
    return ret;
}

int uqm_verify_inputs(struct uqm_verify *v)
{
    for (size_t k = 0; k < v->m.n_inputs; k++) {
        const struct uqm_manifest_input *in = &v->m.inputs[k];
        /* one weight file rather than a folder or an archive */
        bool lone = uqm_is_file(in->path) && !uqm_archive_is_name(in->path);
        for (size_t f = 0; f < in->n_files; f++) {
            char *path = lone ? strdup(in->path) : uqm_path_join(in->path, in->files[f].name);
            int ret = path ? verify_input_file(v, path, &in->files[f]) : uqm_verify_no_memory(v);
            free(path);
            if (ret < 0)
                return ret;
        }
    }
    return UQM_OK;
}

/* --- the whole --- */

static void count_bytes(struct uqm_verify *v, bool inputs)
{
    for (size_t i = 0; i < v->m.n_files; i++)
        v->n_planned += v->m.files[i].bytes;
    for (size_t k = 0; k < v->m.n_inputs && inputs; k++)
        for (size_t f = 0; f < v->m.inputs[k].n_files; f++)
            v->n_planned += v->m.inputs[k].files[f].bytes;
}

/* The manifest itself. *trusted: it is as it was written, so the rest can be checked against it. */
static int read_manifest(struct uqm_verify *v, bool *trusted)
{
    char *path = uqm_path_join(v->path, UQM_MANIFEST_NAME), *text = NULL;
    size_t len = 0;
    struct uqm_err parse = { 0 };
    int ret, parsed;
    *trusted = false;
    if (!path)
        return uqm_verify_no_memory(v);
    const bool is_model = uqm_is_dir(v->path) || uqm_archive_is_name(v->path);
    const int there = is_model ? uqm_find_model_file(path, NULL, v->err) : 0;
    if (!is_model)
        ret = uqm_fail(v->err, UQM_ERR_ARG, "%s: neither a folder nor an archive (.uqz)", v->path);
    else if (there < 0)
        ret = there;
    else if (there == 0)
        ret = uqm_fail(v->err, UQM_ERR_FORMAT,
                       "%s: holds no %s, so there is nothing to verify it against", v->path,
                       UQM_MANIFEST_NAME);
    else
        ret = uqm_read_model_file(&text, &len, path,
                                  (size_t) uqm_min_u64(MAX_MANIFEST_BYTES, uqm_budget_left(v->env)),
                                  v->err);
    if (ret == UQM_OK)
        ret = uqm_json_check_room(v->env, text, len, path, v->err);
    if (ret == UQM_OK) {
        parsed = uqm_manifest_parse(&v->m, trusted, text, len, path, &parse);
        uqm_sha256_reset(v->sha256);
        uqm_sha256_update(v->sha256, text, len);
        v->manifest_sha256 = uqm_sha256_hex(v->sha256);
        v->n_bytes += len;
        v->n_planned += len;
        if (parsed == UQM_ERR_NOMEM || (*trusted && parsed < 0)) {
            *v->err = parse;
            ret = parsed;
        } else if (!*trusted) {
            ret = uqm_verify_differs(
                v, UQM_MANIFEST_NAME, NULL, 0, len,
                "the manifest has changed, so nothing can be checked against it");
        }
    }
    free(text);
    free(path);
    return ret;
}

/* What was signed is the manifest that was read. */
static int check_signed(struct uqm_verify *v, bool *trusted)
{
    if (!*trusted || !v->signed_manifest.text[0] ||
        strcmp(v->signed_manifest.text, v->manifest_sha256.text) == 0)
        return UQM_OK;
    *trusted = false;
    return uqm_verify_differs(v, UQM_MANIFEST_NAME, NULL, 0, 0,
                              "the manifest is not the one that was signed");
}

int uqm_verify_manifest(struct uqm_verify *v, bool *trusted)
{
    int ret = read_manifest(v, trusted);
    return ret == UQM_OK ? check_signed(v, trusted) : ret;
}

static int verify_everything(struct uqm_verify *v)
{
    count_bytes(v, v->params->inputs);
    int ret = verify_files(v);
    if (ret == UQM_OK)
        ret = verify_nothing_else(v);
    return ret == UQM_OK ? uqm_verify_sums(v) : ret;
}

static int run(struct uqm_verify *v)
{
    const struct uqm_verify_params *p = v->params;
    if (uqm_archive_is_name(v->path) && !uqm_is_dir(v->path))
        return uqm_verify_archive(v);
    const bool is_signed = p->public_key || p->certificate_chain;
    bool holds = true, trusted;
    int ret = is_signed ? uqm_verify_signature(v, &holds) : UQM_OK;
    if (ret < 0 || !holds || (is_signed && !p->inputs && p->tensors.n == 0))
        return ret;
    ret = uqm_verify_manifest(v, &trusted);
    if (ret < 0 || !trusted)
        return ret;
    if (p->tensors.n > 0)
        ret = uqm_verify_tensors(v);
    else if (!is_signed)
        ret = verify_everything(v);
    if (ret == UQM_OK && p->inputs)
        ret = uqm_verify_inputs(v);
    return ret;
}

static int summarise(const struct uqm_verify *v)
{
    size_t n = json_array_size(v->differences);
    const json_t *first = json_array_get(v->differences, 0);
    const char *tensor = json_string_value(json_object_get(first, "tensor"));
    struct uqm_printable shown;
    if (n == 0)
        return UQM_OK;
    return uqm_fail(v->err, UQM_ERR_CHECK,
                    "%s: %zu difference%s; the first: %s%s%s, bytes [%" JSON_INTEGER_FORMAT
                    ", %" JSON_INTEGER_FORMAT "): %s",
                    v->path, n, n > 1 ? "s" : "", json_string_value(json_object_get(first, "file")),
                    tensor ? ", tensor " : "",
                    tensor ? uqm_printable(&shown, tensor, strlen(tensor)) : "",
                    json_integer_value(json_object_get(first, "begin")),
                    json_integer_value(json_object_get(first, "end")),
                    json_string_value(json_object_get(first, "what")));
}

UQM_API int uqm_verify(char **json, const struct uqm_verify_params *params, struct uqm_err *err)
{
    struct uqm_env env;
    struct uqm_verify v = { .env = &env, .params = params, .path = params->path, .err = err };
    *json = NULL;
    int ret = uqm_check_path_text(params->path, false, err);
    if (ret == UQM_OK)
        ret = uqm_env_init(&env, &params->common, err);
    if (ret < 0)
        return ret;
    v.differences = json_array();
    v.xxh3 = uqm_xxh3_create();
    v.sha256 = uqm_sha256_create();
    ret = v.differences && v.xxh3 && v.sha256 ? run(&v) : uqm_verify_no_memory(&v);
    if (ret == UQM_OK) {
        ret = summarise(&v);
        json_t *doc =
            json_pack("{s:s, s:b, s:I, s:I, s:I, s:O, s:O*}", "path", params->path, "ok",
                      ret == UQM_OK, "files_checked", (json_int_t) v.n_files, "tensors_checked",
                      (json_int_t) v.n_tensors, "bytes", (json_int_t) v.n_bytes, "differences",
                      v.differences, "signature", v.signature);
        *json = doc ? uqm_json_dump(doc) : NULL;
        json_decref(doc);
        if (!*json)
            ret = uqm_verify_no_memory(&v);
    }
    json_decref(v.differences);
    json_decref(v.signature);
    uqm_xxh3_destroy(&v.xxh3);
    uqm_sha256_destroy(&v.sha256);
    uqm_manifest_finish(&v.m);
    return ret;
}
