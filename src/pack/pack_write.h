/* The bytes of an archive, from its plan: blocks read, packed and written, batch after batch. */
#ifndef UQM_PACK_PACK_WRITE_H
#define UQM_PACK_PACK_WRITE_H

#include "compute/threads.h"
#include "io/publish.h"
#include "src/pack/pack_plan.h"

struct uqm_pack_result {
    uint64_t archive_bytes;
    uint64_t resumed_bytes; /* of the files, that an earlier run had packed */
};

/*
 * Write the archive to uqm_publish_path(), finished and synced. Goes on from
 * what the publish's journal says, and keeps it. Fills in what of the plan's index
 * was open: digests and blocks. What is written depends on the plan and the files alone.
 */
int uqm_pack_write(struct uqm_pack_result *result, struct uqm_pack_plan *plan,
                   struct uqm_publish *publish, struct uqm_threads *threads, struct uqm_err *err);

/* pack_base.c: the SHA-256 of the base's files; reads them. */
int uqm_pack_hash_base(struct uqm_pack_plan *plan, struct uqm_err *err);

/* The most bytes the archive can have: when nothing packs. */
uint64_t uqm_pack_most_bytes(const struct uqm_pack_plan *plan);

#endif
