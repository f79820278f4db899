#include "src/base/tree.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

static const uint8_t leaf_prefix = 0x00, node_prefix = 0x01;

struct uqm_sha256_digest uqm_tree_leaf(struct uqm_sha256 *sha, const void *chunk, size_t n_bytes)
{
    uqm_sha256_reset(sha);
    uqm_sha256_update(sha, &leaf_prefix, 1);
    uqm_sha256_update(sha, chunk, n_bytes);
    struct uqm_sha256_digest leaf = uqm_sha256_digest(sha);
    uqm_sha256_reset(sha);
    return leaf;
}

static struct uqm_sha256_digest node(struct uqm_sha256 *sha, const struct uqm_sha256_digest *left,
                                     const struct uqm_sha256_digest *right)
{
    uqm_sha256_reset(sha);
    uqm_sha256_update(sha, &node_prefix, 1);
    uqm_sha256_update(sha, left->bytes, sizeof left->bytes);
    uqm_sha256_update(sha, right->bytes, sizeof right->bytes);
    return uqm_sha256_digest(sha);
}

/*
 * Leaves come from the left; a stack holds the roots of the perfect trees that the leaves so far
 * make, largest first: one for every bit of their number. At the end they join from the right.
 */
struct uqm_sha256_digest uqm_tree_root(struct uqm_sha256 *sha,
                                       const struct uqm_sha256_digest *leaves, size_t n_leaves)
{
    struct uqm_sha256_digest stack[64];
    size_t n = 0;
    uqm_sha256_reset(sha);
    if (n_leaves == 0)
        return uqm_sha256_digest(sha);
    for (size_t i = 0; i < n_leaves; i++) {
        stack[n++] = leaves[i];
        for (size_t bit = i; bit & 1; bit >>= 1, n--)
            stack[n - 2] = node(sha, &stack[n - 2], &stack[n - 1]);
    }
    for (; n > 1; n--)
        stack[n - 2] = node(sha, &stack[n - 2], &stack[n - 1]);
    return stack[0];
}

struct uqm_tree {
    struct uqm_sha256 *sha;
    struct uqm_sha256_digest *leaves;
    size_t n, cap;
    size_t fill; /* bytes in the current chunk */
    bool no_memory;
};

struct uqm_tree *uqm_tree_create(void)
{
    struct uqm_tree *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->cap = 16;
    t->sha = uqm_sha256_create();
    t->leaves = calloc(t->cap, sizeof *t->leaves);
    if (!t->sha || !t->leaves)
        uqm_tree_destroy(&t);
    return t;
}

static void end_chunk(struct uqm_tree *t)
{
    if (t->n == t->cap) {
        size_t cap = 2 * t->cap;
        struct uqm_sha256_digest *grown = reallocarray(t->leaves, cap, sizeof *grown);
        if (!grown) {
            t->no_memory = true;
            return;
        }
        t->leaves = grown;
        t->cap = cap;
    }
    t->leaves[t->n++] = uqm_sha256_digest(t->sha);
    t->fill = 0;
}

void uqm_tree_update(struct uqm_tree *t, const void *data, size_t n_bytes)
{
    const uint8_t *p = data;
    while (n_bytes > 0 && !t->no_memory) {
        size_t room = UQM_TREE_CHUNK_BYTES - t->fill, n = n_bytes < room ? n_bytes : room;
        if (t->fill == 0) {
            uqm_sha256_reset(t->sha);
            uqm_sha256_update(t->sha, &leaf_prefix, 1);
        }
        uqm_sha256_update(t->sha, p, n);
        t->fill += n;
        p += n;
        n_bytes -= n;
        if (t->fill == UQM_TREE_CHUNK_BYTES)
            end_chunk(t);
    }
}

const struct uqm_sha256_digest *uqm_tree_finish(struct uqm_tree *t, size_t *n_leaves)
{
    if (t->fill > 0 && !t->no_memory)
        end_chunk(t);
    *n_leaves = t->n;
    return t->no_memory ? NULL : t->leaves;
}

void uqm_tree_destroy(struct uqm_tree **tree)
{
    struct uqm_tree *t = *tree;
    if (!t)
        return;
    uqm_sha256_destroy(&t->sha);
    free(t->leaves);
    free(t);
    *tree = NULL;
}
