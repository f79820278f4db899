#include "io/file_hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "io/engine_impl.h"

/* Pieces below this are hashed quicker than a thread is woken. */
enum { SIDE_BY_SIDE_BYTES = 128 << 10 };

struct uqm_file_hash {
    char *name;
    struct uqm_sha256 *sha256;
    struct uqm_tree *tree;
    pthread_t thread; /* the tree's, from the first long piece on */
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under lock: */
    const void *piece; /* NULL: nothing to do */
    size_t n_bytes;
    bool stopping;
};

static void *grow_tree(void *arg)
{
    struct uqm_file_hash *h = arg;
    pthread_mutex_lock(&h->lock);
    while (!h->stopping) {
        if (!h->piece) {
            pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        pthread_mutex_unlock(&h->lock);
        uqm_tree_update(h->tree, h->piece, h->n_bytes);
        pthread_mutex_lock(&h->lock);
        h->piece = NULL;
        pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static int no_memory(const char *name, struct uqm_err *err)
{
    return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to hash it", name);
}

int uqm_file_hash_create(struct uqm_file_hash **out, const char *name, struct uqm_err *err)
{
    struct uqm_file_hash *h = calloc(1, sizeof *h);
    if (!h)
        return no_memory(name, err);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    h->name = strdup(name);
    h->sha256 = uqm_sha256_create();
    h->tree = uqm_tree_create();
    if (!h->name || !h->sha256 || !h->tree) {
        uqm_file_hash_destroy(&h);
        return no_memory(name, err);
    }
    *out = h;
    return UQM_OK;
}

void uqm_file_hash_destroy(struct uqm_file_hash **hash)
{
    struct uqm_file_hash *h = *hash;
    if (!h)
        return;
    if (h->running)
        uqm_io_stop_thread(h->thread, &h->lock, &h->changed, &h->stopping);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    uqm_tree_destroy(&h->tree);
    uqm_sha256_destroy(&h->sha256);
    free(h->name);
    free(h);
    *hash = NULL;
}

/* Without a thread the same is done here, one after the other. */
static bool give_to_thread(struct uqm_file_hash *h, const void *data, size_t n_bytes)
{
    if (n_bytes < SIDE_BY_SIDE_BYTES)
        return false;
    if (!h->running)
        h->running = uqm_io_thread(&h->thread, grow_tree, h) == 0;
    if (!h->running)
        return false;
    pthread_mutex_lock(&h->lock);
    h->piece = data;
    h->n_bytes = n_bytes;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    return true;
}

void uqm_file_hash_update(struct uqm_file_hash *h, const void *data, size_t n_bytes)
{
    bool given = give_to_thread(h, data, n_bytes);
    uqm_sha256_update(h->sha256, data, n_bytes);
    if (!given) {
        uqm_tree_update(h->tree, data, n_bytes);
        return;
    }
    pthread_mutex_lock(&h->lock);
    while (h->piece)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static int take_digest(struct uqm_file_digest *out, struct uqm_sha256 *sha, struct uqm_tree *tree,
                       const char *name, struct uqm_err *err)
{
    size_t n = 0;
    const struct uqm_sha256_digest *leaves = uqm_tree_finish(tree, &n);
    struct uqm_sha256_digest *copy = leaves ? reallocarray(NULL, n + 1, sizeof *copy) : NULL;
    if (!copy)
        return no_memory(name, err);
    memcpy(copy, leaves, n * sizeof *copy);
    out->sha256 = uqm_sha256_hex(sha);
    struct uqm_sha256_digest root = uqm_tree_root(sha, copy, n);
    out->root = uqm_sha256_digest_hex(&root);
    out->leaves = copy;
    out->n_leaves = n;
    return UQM_OK;
}

int uqm_file_hash_finish(struct uqm_file_hash *h, struct uqm_file_digest *out, struct uqm_err *err)
{
    return take_digest(out, h->sha256, h->tree, h->name, err);
}

void uqm_file_digest_finish(struct uqm_file_digest *digest)
{
    free(digest->leaves);
    *digest = (struct uqm_file_digest){ .n_leaves = 0 };
}

int uqm_file_hash_bytes(struct uqm_file_digest *out, const void *data, size_t n_bytes,
                        const char *name, struct uqm_err *err)
{
    struct uqm_sha256 *sha = uqm_sha256_create();
    struct uqm_tree *tree = uqm_tree_create();
    int ret = sha && tree ? UQM_OK : no_memory(name, err);
    if (ret == UQM_OK) {
        uqm_sha256_update(sha, data, n_bytes);
        uqm_tree_update(tree, data, n_bytes);
        ret = take_digest(out, sha, tree, name, err);
    }
    uqm_sha256_destroy(&sha);
    uqm_tree_destroy(&tree);
    return ret;
}
