/*
 * What is kept of a device between runs: the driver's compiled pipelines, the self-test's result,
 * the tuner's choices. A file per device, driver version and set of shaders in
 * $XDG_CACHE_HOME/uqmerge (else ~/.cache/uqmerge), at most 64 MiB.
 *
 * The file is nobody's truth: one that is missing, damaged or another device's is no error, only a
 * slower start. It is hostile input all the same.
 */
#ifndef UQM_COMPUTE_VK_VK_CACHE_H
#define UQM_COMPUTE_VK_VK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

enum {
    UQM_VK_CACHE_KEY = 60,   /* characters of a key, with the NUL */
    UQM_VK_CACHE_TUNED = 256 /* choices at most */
};
#define UQM_VK_CACHE_MAX_BYTES (UINT64_C(64) << 20)

struct uqm_vk_tuned {
    char key[UQM_VK_CACHE_KEY];
    uint32_t value;
};

struct uqm_vk_cache {
    uint64_t identity; /* of device, driver and shaders */
    bool tested;       /* the self-test ran */
    uint32_t off;      /* what it switched off (vk_selftest.h) */
    struct uqm_vk_tuned tuned[UQM_VK_CACHE_TUNED];
    size_t n_tuned;
    uint8_t *pipelines; /* the driver's, opaque; malloc'ed */
    size_t n_pipelines;
};

/* Bytes of a file. malloc'ed. */
int uqm_vk_cache_encode(uint8_t **out, size_t *n_bytes, const struct uqm_vk_cache *cache,
                        struct uqm_err *err);
/* *out is filled when all of it is right, and `identity` is what it says; else untouched.
 * UQM_ERR_FORMAT. */
int uqm_vk_cache_decode(struct uqm_vk_cache *out, const uint8_t *bytes, size_t n_bytes,
                        uint64_t identity, struct uqm_err *err);
void uqm_vk_cache_finish(struct uqm_vk_cache *cache);

/* The file's path, malloc'ed; its folder is made. NULL: there is no place for it. */
char *uqm_vk_cache_path(uint64_t identity);
/* Read it, and delete it when it is wrong. Returns whether there was one. */
bool uqm_vk_cache_load(struct uqm_vk_cache *out, const char *path, uint64_t identity);
/* Replace it as a whole. What is too large is written without pipelines. */
int uqm_vk_cache_store(const struct uqm_vk_cache *cache, const char *path, struct uqm_err *err);

#endif
