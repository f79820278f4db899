/*
 * The hash tree of a file: SHA-256 over chunks of 1 MiB, in the shape of RFC 6962 (section 2.1).
 *
 *   leaf = SHA-256(0x00 | chunk)            node = SHA-256(0x01 | left | right)
 *
 * with the largest power of two below n leaves on the left; the prefixes keep leaves and nodes
 * apart. A file without bytes has no leaf, and the root SHA-256 of nothing. Chunks can be hashed
 * in any order, and a part of the file is checked by the chunks that cover it and the table of
 * leaves, which the root vouches for.
 */
#ifndef UQM_BASE_TREE_H
#define UQM_BASE_TREE_H

#include "src/base/hash.h"

enum { UQM_TREE_CHUNK_BYTES = 1 << 20 };

/* Chunks, thus leaves, of a file of so many bytes. */
static inline uint64_t uqm_tree_n_leaves(uint64_t n_bytes)
{
    return n_bytes / UQM_TREE_CHUNK_BYTES + (n_bytes % UQM_TREE_CHUNK_BYTES != 0);
}

/* One chunk's leaf. `sha` is reset before and after; chunks of any length. */
struct uqm_sha256_digest uqm_tree_leaf(struct uqm_sha256 *sha, const void *chunk, size_t n_bytes);

struct uqm_sha256_digest uqm_tree_root(struct uqm_sha256 *sha,
                                       const struct uqm_sha256_digest *leaves, size_t n_leaves);

/*
 * The leaves of a stream of bytes, in pieces of any length. Create returns NULL when out of
 * memory; destroy nulls, takes NULL. Finish ends the last chunk; after it the table, borrowed
 * until destroy, is whole: *n_leaves of them; NULL when a leaf found no memory on the way.
 */
struct uqm_tree;
struct uqm_tree *uqm_tree_create(void);
void uqm_tree_update(struct uqm_tree *tree, const void *data, size_t n_bytes);
const struct uqm_sha256_digest *uqm_tree_finish(struct uqm_tree *tree, size_t *n_leaves);
void uqm_tree_destroy(struct uqm_tree **tree);

#endif
