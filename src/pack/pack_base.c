/* The digests of the base's files, for whoever has to find the right base years later. */
#include <stdlib.h>
#include <string.h>

#include "io/file_hash.h"
#include "io/stream.h"
#include "src/archive/archive.h"
#include "src/base/checked.h"
#include "src/pack/pack_write.h"

enum { PIECE_BYTES = 1 << 20, MOST_STREAM_BYTES = 16 << 20 };

static int hash_file(struct uqm_sha256_digest *out, struct uqm_env *env, struct uqm_file *file,
                     struct uqm_err *err)
{
    struct uqm_file_pass r = { file, PIECE_BYTES, 0 };
    struct uqm_stream *stream = NULL;
    struct uqm_view view;
    uint64_t memory = uqm_min_u64(uqm_budget_left(env) / 2, MOST_STREAM_BYTES);
    struct uqm_sha256 *sha = uqm_sha256_create();
    int ret = sha ? uqm_stream_create(&stream, env, PIECE_BYTES, 2, memory, uqm_next_piece_of_file,
                                      &r, err)
                  : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its digest", file->name);
    while (ret >= 0 && (ret = uqm_stream_next(stream, &view, err)) > 0) {
        uqm_sha256_update(sha, view.data, view.n_bytes);
        uqm_stream_release(stream, &view);
        uqm_report(env, "hashing the base", "bytes", r.at, file->size_bytes);
    }
    if (ret == 0)
        *out = uqm_sha256_digest(sha);
    uqm_stream_destroy(&stream);
    uqm_sha256_destroy(&sha);
    return ret;
}

int uqm_pack_hash_base(struct uqm_pack_plan *plan, struct uqm_err *err)
{
    struct uqm_archive_index *ix = &plan->index;
    int ret = UQM_OK;
    for (size_t i = 0; i < ix->n_base_files && ret == UQM_OK; i++)
        ret = hash_file(&ix->base_files[i].sha256, plan->env, plan->base_files[i], err);
    return ret;
}
