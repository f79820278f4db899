/*
 * The file: magic, checksum (XXH3 of all that follows), identity, tested, off, n_tuned,
 * n_pipelines, then the choices and the pipelines. Numbers are in the machine's own byte order: a
 * file does not travel.
 */
#include "compute/vk/vk_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/base/hash.h"

struct header {
    char magic[8];
    uint64_t checksum;
    uint64_t identity;
    uint32_t tested, off;
    uint64_t n_tuned, n_pipelines;
};
static const char magic[8] = "uqmvk\n\0\1";

enum { UNSUMMED = offsetof(struct header, identity) };

int uqm_vk_cache_encode(uint8_t **out, size_t *n_bytes, const struct uqm_vk_cache *cache,
                        struct uqm_err *err)
{
    size_t tuned = cache->n_tuned * sizeof cache->tuned[0];
    struct header h = {
        .identity = cache->identity,
        .tested = cache->tested,
        .off = cache->off,
        .n_tuned = cache->n_tuned,
        .n_pipelines = cache->n_pipelines,
    };
    if (cache->n_pipelines > UQM_VK_CACHE_MAX_BYTES - sizeof h - tuned)
        h.n_pipelines = 0;
    size_t n = sizeof h + tuned + h.n_pipelines;
    uint8_t *bytes = malloc(n);
    if (!bytes)
        return uqm_fail(err, UQM_ERR_NOMEM, "the pipeline cache: no memory");
    memcpy(h.magic, magic, sizeof magic);
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, cache->tuned, tuned);
    if (h.n_pipelines)
        memcpy(bytes + sizeof h + tuned, cache->pipelines, h.n_pipelines);
    h.checksum = uqm_xxh3_64(bytes + UNSUMMED, n - UNSUMMED, 0);
    memcpy(bytes, &h, sizeof h);
    *out = bytes;
    *n_bytes = n;
    return UQM_OK;
}

static int wrong(struct uqm_err *err, const char *what)
{
    return uqm_fail(err, UQM_ERR_FORMAT, "the pipeline cache: %s", what);
}

int uqm_vk_cache_decode(struct uqm_vk_cache *out, const uint8_t *bytes, size_t n_bytes,
                        uint64_t identity, struct uqm_err *err)
{
    struct header h;
    if (n_bytes < sizeof h || n_bytes > UQM_VK_CACHE_MAX_BYTES)
        return wrong(err, "its size is wrong");
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic) != 0)
        return wrong(err, "it is another kind of file");
    if (h.identity != identity)
        return wrong(err, "it is another device's");
    if (h.n_tuned > UQM_VK_CACHE_TUNED || h.tested > 1)
        return wrong(err, "its counts are wrong");
    size_t tuned = (size_t) h.n_tuned * sizeof out->tuned[0];
    if (n_bytes - sizeof h < tuned || n_bytes - sizeof h - tuned != h.n_pipelines)
        return wrong(err, "its size is not what it says");
    if (h.checksum != uqm_xxh3_64(bytes + UNSUMMED, n_bytes - UNSUMMED, 0))
        return wrong(err, "its checksum is wrong");
    for (size_t i = 0; i < h.n_tuned; i++) {
        const uint8_t *key = bytes + sizeof h + i * sizeof out->tuned[0];
        if (!memchr(key, 0, UQM_VK_CACHE_KEY))
            return wrong(err, "a key does not end");
    }
    uint8_t *pipelines = NULL;
    if (h.n_pipelines) {
        pipelines = malloc(h.n_pipelines);
        if (!pipelines)
            return uqm_fail(err, UQM_ERR_NOMEM, "the pipeline cache: no memory");
        memcpy(pipelines, bytes + sizeof h + tuned, h.n_pipelines);
    }
    *out = (struct uqm_vk_cache){
        .identity = identity,
        .tested = h.tested,
        .off = h.off,
        .n_tuned = (size_t) h.n_tuned,
        .pipelines = pipelines,
        .n_pipelines = (size_t) h.n_pipelines,
    };
    memcpy(out->tuned, bytes + sizeof h, tuned);
    return UQM_OK;
}

void uqm_vk_cache_finish(struct uqm_vk_cache *cache)
{
    free(cache->pipelines);
    *cache = (struct uqm_vk_cache){ 0 };
}

static bool make_dir(const char *path)
{
    return mkdir(path, 0700) == 0 || (errno == EEXIST && uqm_is_dir(path));
}

char *uqm_vk_cache_path(uint64_t identity)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[4000], file[4096];
    if (base && base[0] == '/')
        snprintf(folder, sizeof folder, "%s", base);
    else if (home && home[0] == '/')
        snprintf(folder, sizeof folder, "%s/.cache", home);
    else
        return NULL;
    if (strlen(folder) + sizeof "/uqmerge" > sizeof folder || !make_dir(folder))
        return NULL;
    strcat(folder, "/uqmerge");
    if (!make_dir(folder))
        return NULL;
    snprintf(file, sizeof file, "%s/vulkan-%016llx.bin", folder, (unsigned long long) identity);
    return strdup(file);
}

bool uqm_vk_cache_load(struct uqm_vk_cache *out, const char *path, uint64_t identity)
{
    char *bytes = NULL;
    size_t n;
    struct stat st;
    if (lstat(path, &st) < 0)
        return false;
    int ret = S_ISREG(st.st_mode) ? uqm_read_file(&bytes, &n, path, UQM_VK_CACHE_MAX_BYTES, NULL)
                                  : UQM_ERR_FORMAT;
    if (ret == UQM_OK)
        ret = uqm_vk_cache_decode(out, (const uint8_t *) bytes, n, identity, NULL);
    free(bytes);
    if (ret == UQM_ERR_FORMAT && S_ISREG(st.st_mode))
        unlink(path);
    return ret == UQM_OK;
}

int uqm_vk_cache_store(const struct uqm_vk_cache *cache, const char *path, struct uqm_err *err)
{
    uint8_t *bytes;
    size_t n;
    int ret = uqm_vk_cache_encode(&bytes, &n, cache, err);
    if (ret < 0)
        return ret;
    ret = uqm_replace_file(path, bytes, n, err);
    free(bytes);
    return ret;
}
