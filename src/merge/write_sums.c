/* What vouches for the written files beside the manifest: leaves of hash trees, SHA256SUMS. */
#include <stdlib.h>
#include <string.h>

#include "src/base/fs.h"
#include "src/format/sha256sums.h"
#include "src/merge/writer.h"

static int put(struct uqm_writer *w, const char *name, const void *data, size_t len,
               struct uqm_err *err)
{
    char *path = uqm_path_join(w->dir, name);
    int ret = path ? uqm_write_file(path, data, len, err) : uqm_writer_no_memory(w, err);
    if (ret == UQM_OK)
        atomic_fetch_add(&w->env->bytes_written, len);
    free(path);
    return ret;
}

/* The last file of the manifest, and the one that has no tree. */
int uqm_writer_leaves(struct uqm_writer *w, struct uqm_err *err)
{
    struct uqm_file_digest digest = { .n_leaves = 0 };
    size_t len = w->n_leaves * sizeof *w->leaves;
    int ret = put(w, UQM_LEAVES_NAME, w->leaves, len, err);
    if (ret == UQM_OK)
        ret = uqm_file_hash_bytes(&digest, w->leaves, len, UQM_LEAVES_NAME, err);
    if (ret == UQM_OK)
        ret = uqm_writer_note(w, UQM_LEAVES_NAME, len, &digest, err);
    if (ret == UQM_OK)
        w->files[w->n_files - 1].root = NULL;
    uqm_file_digest_finish(&digest);
    return ret;
}

int uqm_writer_sums(struct uqm_writer *w, const char *manifest, size_t len, struct uqm_err *err)
{
    struct uqm_file_digest digest = { .n_leaves = 0 };
    struct uqm_sum *sums = calloc(w->n_files + 1, sizeof *sums);
    char *text = NULL;
    int ret = sums ? uqm_file_hash_bytes(&digest, manifest, len, UQM_MANIFEST_NAME, err)
                   : uqm_writer_no_memory(w, err);
    if (ret == UQM_OK) {
        for (size_t i = 0; i < w->n_files; i++)
            sums[i] = (struct uqm_sum){ w->files[i].name, w->files[i].digest };
        sums[w->n_files] = (struct uqm_sum){ UQM_MANIFEST_NAME, digest.sha256.text };
        text = uqm_sha256sums_dump(sums, w->n_files + 1);
        ret = text ? put(w, UQM_SUMS_NAME, text, strlen(text), err) : uqm_writer_no_memory(w, err);
    }
    uqm_file_digest_finish(&digest);
    free(text);
    free(sums);
    return ret;
}
