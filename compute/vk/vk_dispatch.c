/* What is recorded into a batch: dispatches and copies, with the barriers between them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"

static struct uqm_vk_binding bind(struct uqm_place place, uint64_t n_rows, uint64_t width,
                                  uint64_t stride, enum uqm_vk_access access)
{
    assert(n_rows > 0 && width > 0);
    return (struct uqm_vk_binding){
        .slice = { .place = place,
                   .n_words = (n_rows - 1) * stride + width,
                   .width = width,
                   .stride = n_rows > 1 && stride > width ? stride : 0 },
        .access = access,
    };
}

struct uqm_vk_binding uqm_vk_read(struct uqm_place place, uint64_t n_rows, uint64_t width,
                                  uint64_t stride)
{
    return bind(place, n_rows, width, stride, UQM_VK_READ);
}

struct uqm_vk_binding uqm_vk_write(struct uqm_place place, uint64_t n_rows, uint64_t width,
                                   uint64_t stride)
{
    return bind(place, n_rows, width, stride, UQM_VK_WRITE);
}

uint32_t uqm_vk_lead(const struct uqm_vk *vk, const struct uqm_vk_binding *binding)
{
    const struct uqm_place *p = &binding->slice.place;
    return (uint32_t) ((p->memory->offset / 4 + p->at) % (vk->limits.offset_align / 4));
}

uint64_t uqm_vk_range_words(const struct uqm_vk *vk)
{
    return (vk->limits.max_range - vk->limits.offset_align) / 4;
}

uint64_t uqm_vk_work_limit(const struct uqm_vk *vk)
{
    return vk->core->work_limit;
}

/* ---- barriers ---- */

/* All of it, both ways: drivers make nothing finer of a buffer's barrier. */
static void barrier(struct uqm_vk_core *core, VkCommandBuffer commands, bool host)
{
    const VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = host ? VK_ACCESS_HOST_READ_BIT
                              : VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                    VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
    };
    core->api.CmdPipelineBarrier(commands, stages, host ? VK_PIPELINE_STAGE_HOST_BIT : stages, 0, 1,
                                 &all, 0, NULL, 0, NULL);
    core->n_barriers++;
}

/* The compute queue must not run ahead of a copy on the other one: what is recorded already does
 * not need to wait for it and goes first. */
static int await_transfers(struct uqm_vk *vk, const struct uqm_vk_binding *bindings, size_t n,
                           struct uqm_err *err)
{
    struct uqm_vk_queue *queue = &vk->core->queues[UQM_VK_COMPUTE];
    uint64_t value = queue->waited;
    for (size_t i = 0; i < n; i++)
        if (bindings[i].slice.place.memory->used[UQM_VK_TRANSFER] > value)
            value = bindings[i].slice.place.memory->used[UQM_VK_TRANSFER];
    if (value == queue->waited)
        return UQM_OK;
    int ret = queue->recording ? uqm_vk_submit(vk, UQM_VK_COMPUTE, err) : UQM_OK;
    queue->waited = value;
    return ret;
}

/* The batch, and what must come before a command with these bindings in it. */
static int begin_command(struct uqm_vk_batch **batch, struct uqm_vk *vk,
                         const struct uqm_vk_binding *bindings, size_t n, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    for (size_t i = 0; i < n; i++) {
        const struct uqm_vk_slice *s = &bindings[i].slice;
        assert(s->place.memory && s->n_words > 0);
        assert(s->place.at + s->n_words <= s->place.memory->bytes / 4);
    }
    assert(uqm_vk_bindings_agree(bindings, n));
    int ret = await_transfers(vk, bindings, n, err);
    if (ret == UQM_OK)
        ret = uqm_vk_batch_begin(batch, vk, UQM_VK_COMPUTE, err);
    if (ret < 0)
        return ret;
    if (uqm_vk_hazards_next(&core->hazards, bindings, n))
        barrier(core, (*batch)->commands, false);
    uint64_t value = core->queues[UQM_VK_COMPUTE].submitted + 1;
    for (size_t i = 0; i < n; i++)
        bindings[i].slice.place.memory->used[UQM_VK_COMPUTE] = value;
    return UQM_OK;
}

int uqm_vk_record_host_read(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_batch *batch;
    int ret = uqm_vk_batch_begin(&batch, vk, UQM_VK_COMPUTE, err);
    if (ret == UQM_OK)
        barrier(vk->core, batch->commands, true);
    return ret;
}

/* ---- copies ---- */

static void say_what(struct uqm_vk_batch *batch, const char *what)
{
    snprintf(batch->last, sizeof batch->last, "%s", what);
    if (!batch->first[0])
        memcpy(batch->first, batch->last, sizeof batch->first);
}

int uqm_vk_record_copy(struct uqm_vk *vk, enum uqm_vk_queue_id id, struct uqm_memory *dst,
                       uint64_t dst_bytes, struct uqm_memory *src, uint64_t src_bytes,
                       uint64_t n_bytes, const char *what, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_batch *batch;
    int ret;
    if (id == UQM_VK_COMPUTE) {
        struct uqm_vk_binding bindings[2] = {
            uqm_vk_read((struct uqm_place){ src, src_bytes / 4 }, 1, n_bytes / 4, 0),
            uqm_vk_write((struct uqm_place){ dst, dst_bytes / 4 }, 1, n_bytes / 4, 0),
        };
        ret = begin_command(&batch, vk, bindings, 2, err);
    } else {
        ret = uqm_vk_batch_begin(&batch, vk, id, err);
        dst->used[id] = src->used[id] = core->queues[id].submitted + 1;
    }
    if (ret < 0)
        return ret;
    say_what(batch, what);
    VkBufferCopy region = {
        .srcOffset = src->offset + src_bytes,
        .dstOffset = dst->offset + dst_bytes,
        .size = n_bytes,
    };
    core->api.CmdCopyBuffer(batch->commands, src->block->buffer, dst->block->buffer, 1, &region);
    return UQM_OK;
}

/* ---- dispatches ---- */

static int fill_set(VkDescriptorSet *set, struct uqm_vk *vk, struct uqm_vk_batch *batch,
                    const struct uqm_vk_pipeline *pipeline, const struct uqm_vk_dispatch *d,
                    struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    VkDescriptorBufferInfo buffers[UQM_VK_MAX_BINDINGS];
    VkWriteDescriptorSet writes[UQM_VK_MAX_BINDINGS];
    VkDescriptorSetAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = batch->sets,
        .descriptorSetCount = 1,
        .pSetLayouts = &pipeline->layout->set,
    };
    int ret = uqm_vk_check(vk, core->api.AllocateDescriptorSets(core->device, &allocate, set), err,
                           "%s: descriptors", d->what);
    for (uint32_t i = 0; i < d->kernel->n_bindings && ret == UQM_OK; i++) {
        const struct uqm_vk_binding *b = &d->bindings[i];
        const struct uqm_memory *m = b->slice.place.memory;
        uint64_t lead = (uint64_t) uqm_vk_lead(vk, b) * 4;
        uint64_t offset = m->offset + b->slice.place.at * 4 - lead;
        uint64_t range = b->slice.n_words * 4 + lead;
        writes[i] = (VkWriteDescriptorSet){
            .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            .dstSet = *set,
            .dstBinding = i,
            .descriptorCount = 1,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .pBufferInfo = &buffers[i],
        };
        assert((b->texel != VK_FORMAT_UNDEFINED) == (d->kernel->texel_mask >> i & 1));
        if (b->texel == VK_FORMAT_UNDEFINED) {
            assert(range <= vk->limits.max_range);
            buffers[i] = (VkDescriptorBufferInfo){ m->block->buffer, offset, range };
            continue;
        }
        VkBufferViewCreateInfo view = {
            .sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
            .buffer = m->block->buffer,
            .format = b->texel,
            .offset = offset,
            .range = (range + 15) & ~UINT64_C(15), /* whole texels; memories are a multiple */
        };
        VkBufferView *slot = &batch->views[batch->n_views];
        assert(b->access == UQM_VK_READ);
        ret = uqm_vk_check(vk, core->api.CreateBufferView(core->device, &view, NULL, slot), err,
                           "%s: a texel view", d->what);
        if (ret < 0)
            break;
        batch->n_views++;
        writes[i].descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
        writes[i].pTexelBufferView = slot;
    }
    if (ret == UQM_OK)
        core->api.UpdateDescriptorSets(core->device, d->kernel->n_bindings, writes, 0, NULL);
    return ret;
}

/* The entry of the profile for the kernel's name: `what` up to its first blank, and the shader. */
static size_t profile_entry(struct uqm_vk_core *core, const struct uqm_vk_dispatch *d)
{
    char name[sizeof core->profile[0].what];
    snprintf(name, sizeof name, "%.*s %s", (int) strcspn(d->what, " "), d->what, d->kernel->shader);
    size_t i = 0;
    while (i + 1 < UQM_VK_MAX_PROFILE && i < core->n_profile &&
           strcmp(core->profile[i].what, name) != 0)
        i++;
    if (i == core->n_profile) {
        memcpy(core->profile[i].what, name, sizeof name);
        core->n_profile++;
    }
    return i;
}

static void record(struct uqm_vk_core *core, struct uqm_vk_batch *batch,
                   const struct uqm_vk_pipeline *pipeline, VkDescriptorSet set,
                   const struct uqm_vk_dispatch *d)
{
    VkCommandBuffer c = batch->commands;
    unsigned query = 2 + 2 * batch->n_dispatches;
    core->api.CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->handle);
    core->api.CmdBindDescriptorSets(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->layout->pipeline,
                                    0, 1, &set, 0, NULL);
    if (d->kernel->push_bytes)
        core->api.CmdPushConstants(c, pipeline->layout->pipeline, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                   d->kernel->push_bytes, d->push);
    bool timed = core->profiling && batch->times;
    if (timed) {
        struct uqm_vk_profile *p = &core->profile[profile_entry(core, d)];
        batch->profile[batch->n_dispatches] = (size_t) (p - core->profile);
        p->calls++;
        p->work += d->work;
        p->bytes += d->bytes;
        core->api.CmdWriteTimestamp(c, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, batch->times, query);
    }
    core->api.CmdDispatch(c, d->groups[0], d->groups[1], d->groups[2]);
    if (timed)
        core->api.CmdWriteTimestamp(c, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, batch->times,
                                    query + 1);
    core->n_dispatches++;
    batch->n_dispatches++;
    batch->work += d->work;
}

int uqm_vk_dispatch(struct uqm_vk *vk, const struct uqm_vk_dispatch *d, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    const struct uqm_vk_pipeline *pipeline;
    struct uqm_vk_batch *batch;
    VkDescriptorSet set;
    for (int i = 0; i < 3; i++)
        assert(d->groups[i] >= 1 && d->groups[i] <= vk->limits.max_groups[i]);
    int ret = uqm_vk_alive(vk, err);
    if (ret == UQM_OK)
        ret = uqm_vk_pipeline_get(&pipeline, vk, d->kernel, err);
    if (ret == UQM_OK)
        ret = begin_command(&batch, vk, d->bindings, d->kernel->n_bindings, err);
    if (ret == UQM_OK)
        ret = fill_set(&set, vk, batch, pipeline, d, err);
    if (ret < 0)
        return ret;
    record(core, batch, pipeline, set, d);
    say_what(batch, d->what);
    if (batch->work >= core->work_limit || batch->n_dispatches == UQM_VK_BATCH_DISPATCHES)
        return uqm_vk_submit(vk, UQM_VK_COMPUTE, err);
    return UQM_OK;
}
