#include "src/checkpoint/digest_cache.h"

#include <stdlib.h>
#include <string.h>

struct uqm_digest_entry {
    struct uqm_digest_entry *next;
    struct uqm_xxh3_hex files, digest;
};

static void feed_file(struct uqm_xxh3 *h, const struct uqm_file *file)
{
    const struct stat *st = &file->stat;
    const uint64_t identity[] = {
        (uint64_t) st->st_dev,          (uint64_t) st->st_ino,
        (uint64_t) st->st_size,         (uint64_t) st->st_mtim.tv_sec,
        (uint64_t) st->st_mtim.tv_nsec, (uint64_t) st->st_ctim.tv_sec,
        (uint64_t) st->st_ctim.tv_nsec,
    };
    uqm_xxh3_update(h, identity, sizeof identity);
}

/* The files that hold the part, in the order of its tensors, and where each tensor lies. */
static int identify(struct uqm_xxh3_hex *out, const struct uqm_checkpoint *cp, uint64_t *n_bytes,
                    struct uqm_err *err)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for a digest", cp->source.name);
    *n_bytes = 0;
    for (size_t i = 0; i < cp->source.n_tensors; i++) {
        if (cp->source.tensors[i].part != UQM_PART_VISION)
            continue;
        feed_file(h, cp->files[cp->locations[i].file]);
        uqm_xxh3_update(h, &cp->locations[i].off_bytes, sizeof cp->locations[i].off_bytes);
        if (cp->locations[i].made) /* of this opening alone: another may have other strides */
            uqm_xxh3_update(h, &cp->locations[i].made, sizeof cp->locations[i].made);
        *n_bytes += cp->source.tensors[i].n_bytes;
    }
    *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return UQM_OK;
}

int uqm_digest_vision(struct uqm_xxh3_hex *out, struct uqm_digest_cache *cache,
                      struct uqm_checkpoint *checkpoint, uint64_t *read_bytes, struct uqm_err *err)
{
    struct uqm_xxh3_hex files;
    uint64_t n_bytes;
    int ret = identify(&files, checkpoint, &n_bytes, err);
    if (ret < 0)
        return ret;
    for (const struct uqm_digest_entry *e = cache ? cache->head : NULL; e; e = e->next)
        if (strcmp(e->files.text, files.text) == 0) {
            *out = e->digest;
            return UQM_OK;
        }
    ret = uqm_checkpoint_part_digest(out, checkpoint, UQM_PART_VISION, err);
    if (ret < 0)
        return ret;
    if (read_bytes)
        *read_bytes += n_bytes;
    struct uqm_digest_entry *entry = cache ? malloc(sizeof *entry) : NULL;
    if (entry) { /* without memory for it, it is read again */
        *entry = (struct uqm_digest_entry){ .next = cache->head, .files = files, .digest = *out };
        cache->head = entry;
    }
    return UQM_OK;
}

void uqm_digest_cache_finish(struct uqm_digest_cache *cache)
{
    while (cache->head) {
        struct uqm_digest_entry *next = cache->head->next;
        free(cache->head);
        cache->head = next;
    }
}
