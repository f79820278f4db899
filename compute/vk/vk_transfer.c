/* Activations between host and device. */
#include <string.h>

#include "compute/vk/vk_core.h"

static int chunk(struct uqm_memory **out, struct uqm_vk *vk, enum uqm_vk_role role, unsigned i,
                 struct uqm_err *err)
{
    struct uqm_memory **kept =
        role == UQM_VK_ROLE_STAGING ? &vk->core->upload[i] : &vk->core->download[i];
    int ret = UQM_OK;
    if (!*kept)
        ret = uqm_vk_memory_create(kept, vk, role, UQM_VK_CHUNK_BYTES, "copies to the device", err);
    *out = *kept;
    return ret;
}

/* Straight into the memory where the host sees it and nothing uses it, else through staging. */
int uqm_vk_upload(struct uqm_vk *vk, struct uqm_place dst, const void *src, size_t n_words,
                  struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    const uint8_t *from = src;
    uint64_t at = dst.at * 4, left = (uint64_t) n_words * 4;
    int ret = uqm_vk_alive(vk, err);
    if (ret < 0 || n_words == 0)
        return ret;
    assert(dst.at + n_words <= dst.memory->bytes / 4);
    uint8_t *host = uqm_vk_memory_host(dst.memory);
    if (host && uqm_vk_memory_idle(vk, dst.memory)) {
        memcpy(host + at, src, left);
        return uqm_vk_memory_flush(vk, dst.memory, at, left, err);
    }
    while (left && ret == UQM_OK) {
        uint64_t n = left < UQM_VK_CHUNK_BYTES ? left : UQM_VK_CHUNK_BYTES;
        struct uqm_memory *staging;
        ret = chunk(&staging, vk, UQM_VK_ROLE_STAGING, core->next_upload, err);
        core->next_upload = (core->next_upload + 1) % UQM_VK_N_CHUNKS;
        if (ret == UQM_OK)
            ret = uqm_vk_wait_memory(vk, staging, err);
        if (ret < 0)
            break;
        memcpy(uqm_vk_memory_host(staging), from, n);
        ret = uqm_vk_memory_flush(vk, staging, 0, n, err);
        if (ret == UQM_OK)
            ret = uqm_vk_record_copy(vk, UQM_VK_COMPUTE, dst.memory, at, staging, 0, n, "upload",
                                     err);
        from += n;
        at += n;
        left -= n;
    }
    return ret;
}

/* Reading uncached memory is slow: such memory goes through staging too. */
static bool host_reads(const struct uqm_vk *vk, const struct uqm_memory *memory)
{
    uint32_t type = vk->core->type_of[memory->block->role];
    return uqm_vk_memory_host(memory) && (vk->core->info.memory.memoryTypes[type].propertyFlags &
                                          VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
}

static int read_mapped(struct uqm_vk *vk, void *dst, const struct uqm_memory *memory, uint64_t at,
                       uint64_t n, struct uqm_err *err)
{
    int ret = uqm_vk_wait_memory(vk, memory, err);
    if (ret == UQM_OK)
        ret = uqm_vk_memory_invalidate(vk, memory, at, n, err);
    if (ret == UQM_OK)
        memcpy(dst, (const uint8_t *) uqm_vk_memory_host(memory) + at, n);
    return ret;
}

/* Copy chunk i + 1 while the host takes chunk i. */
static int read_staged(struct uqm_vk *vk, uint8_t *dst, struct uqm_place src, uint64_t n_bytes,
                       struct uqm_err *err)
{
    uint64_t n_chunks = (n_bytes + UQM_VK_CHUNK_BYTES - 1) / UQM_VK_CHUNK_BYTES;
    int ret = UQM_OK;
    for (uint64_t i = 0; i <= n_chunks && ret == UQM_OK; i++) {
        struct uqm_memory *staging;
        uint64_t at = i * UQM_VK_CHUNK_BYTES;
        if (i < n_chunks) {
            uint64_t n = n_bytes - at < UQM_VK_CHUNK_BYTES ? n_bytes - at : UQM_VK_CHUNK_BYTES;
            ret = chunk(&staging, vk, UQM_VK_ROLE_READBACK, i % UQM_VK_N_CHUNKS, err);
            if (ret == UQM_OK)
                ret = uqm_vk_record_copy(vk, UQM_VK_COMPUTE, staging, 0, src.memory,
                                         src.at * 4 + at, n, "download", err);
            if (ret == UQM_OK)
                ret = uqm_vk_record_host_read(vk, err);
            if (ret == UQM_OK)
                ret = uqm_vk_submit(vk, UQM_VK_COMPUTE, err);
        }
        if (i > 0 && ret == UQM_OK) {
            uint64_t before = at - UQM_VK_CHUNK_BYTES;
            uint64_t n =
                n_bytes - before < UQM_VK_CHUNK_BYTES ? n_bytes - before : UQM_VK_CHUNK_BYTES;
            staging = vk->core->download[(i - 1) % UQM_VK_N_CHUNKS];
            ret = read_mapped(vk, dst + before, staging, 0, n, err);
        }
    }
    return ret;
}

int uqm_vk_download(struct uqm_vk *vk, void *dst, struct uqm_place src, size_t n_words,
                    struct uqm_err *err)
{
    int ret = uqm_vk_alive(vk, err);
    if (ret < 0)
        return ret;
    if (n_words) {
        assert(src.at + n_words <= src.memory->bytes / 4);
        if (!host_reads(vk, src.memory))
            ret = read_staged(vk, dst, src, (uint64_t) n_words * 4, err);
        else if (uqm_vk_memory_idle(vk, src.memory) ||
                 (ret = uqm_vk_record_host_read(vk, err)) == UQM_OK)
            ret = read_mapped(vk, dst, src.memory, src.at * 4, (uint64_t) n_words * 4, err);
    }
    return ret == UQM_OK ? uqm_vk_finish(vk, err) : ret;
}

int uqm_vk_copy(struct uqm_vk *vk, struct uqm_place dst, struct uqm_place src, size_t n_words,
                struct uqm_err *err)
{
    if (n_words == 0)
        return uqm_vk_alive(vk, err);
    return uqm_vk_record_copy(vk, UQM_VK_COMPUTE, dst.memory, dst.at * 4, src.memory, src.at * 4,
                              (uint64_t) n_words * 4, "copy", err);
}

/* A chunk that may be filled anew: one that is free, a new one, the first that becomes free. */
static int next_chunk(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_tables *t = &vk->core->tables;
    unsigned found = UQM_VK_TABLE_CHUNKS;
    int ret = UQM_OK;
    for (unsigned i = 0; i < t->n && found == UQM_VK_TABLE_CHUNKS; i++)
        if (t->operation[i] != vk->core->operation && uqm_vk_memory_idle(vk, t->chunk[i]))
            found = i;
    if (found == UQM_VK_TABLE_CHUNKS && t->n < UQM_VK_TABLE_CHUNKS) {
        ret = uqm_vk_memory_create(&t->chunk[t->n], vk, UQM_VK_ROLE_STAGING, UQM_VK_MAX_TABLE * 4,
                                   "small tables", err);
        if (ret == UQM_OK)
            found = t->n++;
    }
    for (unsigned i = 0; i < t->n && found == UQM_VK_TABLE_CHUNKS && !vk->lost; i++)
        if (t->operation[i] != vk->core->operation) {
            ret = uqm_vk_wait_memory(vk, t->chunk[i], err);
            found = i;
        }
    if (found == UQM_VK_TABLE_CHUNKS)
        return ret < 0 ? ret
                       : uqm_fail(err, UQM_ERR_UNSUPPORTED,
                                  "%s: more prompts at once than its tables hold", vk->device.id);
    t->current = found;
    t->used = 0;
    return ret;
}

int uqm_vk_table(struct uqm_place *out, struct uqm_vk *vk, const void *src, size_t n_words,
                 struct uqm_err *err)
{
    struct uqm_vk_tables *t = &vk->core->tables;
    uint64_t align = vk->limits.offset_align, n = (n_words * 4 + align - 1) / align * align;
    int ret = uqm_vk_alive(vk, err);
    assert(n_words > 0 && n_words <= UQM_VK_MAX_TABLE);
    if (ret == UQM_OK && (t->n == 0 || UQM_VK_MAX_TABLE * 4 - t->used < n))
        ret = next_chunk(vk, err);
    if (ret < 0)
        return ret;
    struct uqm_memory *chunk = t->chunk[t->current];
    *out = (struct uqm_place){ chunk, t->used / 4 };
    memcpy((uint8_t *) uqm_vk_memory_host(chunk) + t->used, src, n_words * 4);
    t->used += n;
    t->operation[t->current] = vk->core->operation;
    return uqm_vk_memory_flush(vk, chunk, out->at * 4, n_words * 4, err);
}

int uqm_vk_finish(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    int ret = uqm_vk_alive(vk, err);
    for (int i = UQM_VK_N_QUEUES - 1; i >= 0 && ret == UQM_OK; i--)
        if (core->queues[i].timeline)
            ret = uqm_vk_wait(vk, (enum uqm_vk_queue_id) i, core->queues[i].submitted + 1, err);
    if (ret == UQM_OK && atomic_load(&vk->instance->n_messages))
        ret = uqm_fail(err, UQM_ERR_IO, "%s: %u messages of Vulkan's validation, the first: %s",
                       vk->device.id, atomic_load(&vk->instance->n_messages),
                       vk->instance->first_message);
    return ret;
}
