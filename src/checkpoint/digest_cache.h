/*
 * Digests of vision towers that were read once in this run. `select` opens the same checkpoints for
 * every step, and models may share a tower: its gigabyte is not to be read each time.
 */
#ifndef UQM_CHECKPOINT_DIGEST_CACHE_H
#define UQM_CHECKPOINT_DIGEST_CACHE_H

#include "src/checkpoint/checkpoint.h"

/* Zero-initialised. One thread at a time. */
struct uqm_digest_cache {
    struct uqm_digest_entry *head;
};

/*
 * The digest of the checkpoint's vision part. Known ones are told by the files that hold the part
 * (device, inode, size and times as they were at open): a file that has changed is read again.
 * *read_bytes: NULL, or grows by what had to be read. `cache` NULL: always read.
 */
int uqm_digest_vision(struct uqm_xxh3_hex *out, struct uqm_digest_cache *cache,
                      struct uqm_checkpoint *checkpoint, uint64_t *read_bytes, struct uqm_err *err);
void uqm_digest_cache_finish(struct uqm_digest_cache *cache);

#endif
