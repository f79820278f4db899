/*
 * Archives: as a whole by their own checksums and digests, single tensors through the hash trees of
 * their index. A manifest or a signature among their files is read as a folder's is; what they say
 * of a file has to be what the index says before the index is believed.
 */
#include <stdlib.h>
#include <string.h>

#include "src/archive/archive.h"
#include "src/archive/archive_verify.h"
#include "src/base/checked.h"
#include "src/base/tree.h"
#include "src/merge/verify_impl.h"

static int differs(void *ctx, const char *file, const char *tensor, uint64_t begin, uint64_t end,
                   const char *what)
{
    return uqm_verify_differs(ctx, file, tensor, begin, end, what);
}

static int verify_whole(struct uqm_verify *v)
{
    struct uqm_archive_check check = {
        .env = v->env, .path = v->path, .differs = differs, .ctx = v
    };
    int ret = uqm_archive_verify(&check, v->err);
    v->n_files += check.n_files;
    v->n_tensors += check.n_tensors;
    v->n_bytes += check.n_bytes;
    return ret;
}

/* --- single tensors --- */

struct in_archive {
    struct uqm_archive *archive;
    const struct uqm_archive_index *ix;
    const struct uqm_archive_tensor *tensor;
    size_t file;
};

static bool find_tensor(struct in_archive *a, const char *name)
{
    for (a->file = 0; a->file < a->ix->n_files; a->file++) {
        const struct uqm_archive_file *f = &a->ix->files[a->file];
        for (size_t i = 0; i < f->n_tensors; i++) {
            a->tensor = &a->ix->tensors[f->first_tensor + i];
            if (strcmp(a->tensor->name, name) == 0)
                return true;
        }
    }
    return false;
}

static uint64_t header_end(const struct in_archive *a)
{
    const struct uqm_archive_file *f = &a->ix->files[a->file];
    for (size_t i = 0; i < f->n_tensors; i++)
        if (a->ix->tensors[f->first_tensor + i].n_bytes > 0)
            return a->ix->tensors[f->first_tensor + i].off_bytes;
    return f->n_bytes;
}

/* The index's root vouches for its leaves; and a manifest that was signed, for the root. */
static int check_root(struct uqm_verify *v, const struct in_archive *a, bool *good)
{
    const struct uqm_archive_file *f = &a->ix->files[a->file];
    struct uqm_sha256_digest root = uqm_tree_root(v->sha256, f->leaves, f->n_leaves);
    const char *why = NULL;
    if (memcmp(root.bytes, f->root.bytes, sizeof root.bytes) != 0)
        why = "the leaves do not lead to the file's root in the archive's index";
    if (!why && v->signed_manifest.text[0]) {
        const struct uqm_manifest_file *m = v->m.files, *end = m + v->m.n_files;
        while (m < end && strcmp(m->name, f->path) != 0)
            m++;
        if (m == end || !m->root || strcmp(m->root, uqm_sha256_digest_hex(&root).text) != 0)
            why = "the file's root is not the one in the manifest that was signed";
    }
    *good = !why;
    return why ? uqm_verify_differs(v, f->path, NULL, 0, f->n_bytes, why) : UQM_OK;
}

/* Whether the tensor's own bytes unpack: what it shares chunks with may be damaged instead. */
static bool unpacks(struct uqm_file *file, const struct uqm_archive_tensor *t)
{
    uint8_t *buf = malloc(UQM_TREE_CHUNK_BYTES);
    bool good = buf != NULL;
    for (uint64_t at = 0; good && at < t->n_bytes; at += UQM_TREE_CHUNK_BYTES) {
        size_t n = (size_t) uqm_min_u64(UQM_TREE_CHUNK_BYTES, t->n_bytes - at);
        good = uqm_file_read(file, buf, n, t->off_bytes + at, NULL) == UQM_OK;
    }
    free(buf);
    return good;
}

static int check_chunks(struct uqm_verify *v, const struct in_archive *a)
{
    const struct uqm_archive_file *f = &a->ix->files[a->file];
    const struct uqm_archive_tensor *t = a->tensor;
    const struct uqm_manifest_file said = { .name = f->path, .bytes = f->n_bytes };
    const struct uqm_manifest_tensor tensor = { .name = t->name,
                                                .offset = t->off_bytes,
                                                .bytes = t->n_bytes };
    struct uqm_file *file = NULL;
    int ret = uqm_archive_file(&file, a->archive, a->file, v->err);
    if (ret < 0)
        return ret;
    const struct uqm_verify_chunks chunks = {
        .tensor = &tensor,
        .said = &said,
        .file = file,
        .leaves = f->leaves,
        .n_leaves = f->n_leaves,
        .header_end = header_end(a),
    };
    ret = uqm_verify_chunks(v, &chunks);
    if (ret == UQM_ERR_FORMAT) { /* a block that does not unpack to its checksum */
        const struct uqm_err why = *v->err;
        *v->err = (struct uqm_err){ 0 };
        ret = uqm_verify_differs(v, f->path, unpacks(file, t) ? NULL : t->name, t->off_bytes,
                                 t->off_bytes + t->n_bytes, why.msg);
    }
    uqm_file_close(&file);
    return ret;
}

static int verify_tensors(struct uqm_verify *v)
{
    const struct uqm_archive_params params = { .path = v->path };
    const struct uqm_strings *names = &v->params->tensors;
    struct in_archive a = { .archive = NULL };
    int ret = uqm_archive_open(&a.archive, v->env, &params, v->err);
    if (ret == UQM_OK)
        a.ix = uqm_archive_index(a.archive);
    for (size_t k = 0; k < names->n && ret == UQM_OK; k++) {
        struct uqm_printable shown;
        bool good = false;
        if (!find_tensor(&a, names->v[k])) {
            ret = uqm_fail(v->err, UQM_ERR_ARG, "%s: the archive has no tensor %s", v->path,
                           uqm_printable(&shown, names->v[k], strlen(names->v[k])));
            break;
        }
        ret = check_root(v, &a, &good);
        if (ret == UQM_OK && good)
            ret = check_chunks(v, &a);
        v->n_files++;
        v->n_tensors++;
    }
    uqm_archive_close(&a.archive);
    return ret;
}

/* --- the archive --- */

int uqm_verify_archive(struct uqm_verify *v)
{
    const struct uqm_verify_params *p = v->params;
    const bool is_signed = p->public_key || p->certificate_chain;
    bool holds = true, trusted = true;
    int ret = is_signed ? uqm_verify_signature(v, &holds) : UQM_OK;
    if (ret < 0 || !holds)
        return ret;
    if (p->inputs || (is_signed && p->tensors.n > 0))
        ret = uqm_verify_manifest(v, &trusted);
    if (ret < 0 || !trusted)
        return ret;
    if (p->tensors.n > 0)
        ret = verify_tensors(v);
    else if (!is_signed)
        ret = verify_whole(v);
    return ret == UQM_OK && p->inputs ? uqm_verify_inputs(v) : ret;
}
