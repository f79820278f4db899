/*
 * The one place that submits. Each queue has a timeline; batch i of a queue signals value i.
 *
 * Invariants: a value above `submitted` is being recorded or was never; a batch is recorded again
 * only when the timeline has passed its value; a submit waits for `waited` of the other queue,
 * which was submitted before, so that no wait can hang on the host.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"
#include "src/base/clock.h"

enum { FIRST_QUERY = 0, LAST_QUERY = 1, QUERIES = 2 + 2 * UQM_VK_BATCH_DISPATCHES };

/* ---- queues ---- */

static int init_batch(struct uqm_vk *vk, enum uqm_vk_queue_id id, struct uqm_vk_batch *batch,
                      struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = core->queues[id].family,
    };
    int ret = uqm_vk_check(vk, core->api.CreateCommandPool(core->device, &pool, NULL, &batch->pool),
                           err, "a command pool");
    if (ret < 0)
        return ret;
    VkCommandBufferAllocateInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = batch->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    ret = uqm_vk_check(vk,
                       core->api.AllocateCommandBuffers(core->device, &commands, &batch->commands),
                       err, "a command buffer");
    if (ret < 0 || id != UQM_VK_COMPUTE)
        return ret;
    VkDescriptorPoolSize sizes[] = {
        { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, UQM_VK_BATCH_DISPATCHES * UQM_VK_MAX_BINDINGS },
        { VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, UQM_VK_BATCH_DISPATCHES * UQM_VK_MAX_BINDINGS },
    };
    VkDescriptorPoolCreateInfo sets = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = UQM_VK_BATCH_DISPATCHES,
        .poolSizeCount = 2,
        .pPoolSizes = sizes,
    };
    ret = uqm_vk_check(vk, core->api.CreateDescriptorPool(core->device, &sets, NULL, &batch->sets),
                       err, "a descriptor pool");
    batch->views =
        calloc((size_t) UQM_VK_BATCH_DISPATCHES * UQM_VK_MAX_BINDINGS, sizeof(VkBufferView));
    if (ret == UQM_OK && !batch->views)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", vk->device.id);
    if (ret < 0 || core->info.timestamp_bits == 0)
        return ret;
    VkQueryPoolCreateInfo times = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = QUERIES,
    };
    return uqm_vk_check(vk, core->api.CreateQueryPool(core->device, &times, NULL, &batch->times),
                        err, "a query pool");
}

int uqm_vk_queue_init(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint32_t family, uint32_t index,
                      struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    VkSemaphoreCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
        .pNext = &type,
    };
    *queue = (struct uqm_vk_queue){ .family = family };
    core->api.GetDeviceQueue(core->device, family, index, &queue->handle);
    int ret =
        uqm_vk_check(vk, core->api.CreateSemaphore(core->device, &create, NULL, &queue->timeline),
                     err, "a timeline semaphore");
    for (unsigned i = 0; i < UQM_VK_N_BATCHES && ret == UQM_OK; i++)
        ret = init_batch(vk, id, &queue->batches[i], err);
    return ret;
}

static void drop_views(struct uqm_vk_core *core, struct uqm_vk_batch *batch)
{
    for (size_t i = 0; i < batch->n_views; i++)
        core->api.DestroyBufferView(core->device, batch->views[i], NULL);
    batch->n_views = 0;
}

/* ---- what was measured ---- */

static double query_seconds(const struct uqm_vk_core *core, const uint64_t *ticks)
{
    uint64_t mask = core->info.timestamp_bits >= 64
                        ? UINT64_MAX
                        : (UINT64_C(1) << core->info.timestamp_bits) - 1;
    return (double) ((ticks[1] - ticks[0]) & mask) * (double) core->info.timestamp_ns * 1e-9;
}

static void take_profile(struct uqm_vk_core *core, struct uqm_vk_batch *batch)
{
    for (unsigned i = 0; i < batch->n_dispatches; i++) {
        uint64_t ticks[2];
        if (core->api.GetQueryPoolResults(core->device, batch->times, 2 + 2 * i, 2, sizeof ticks,
                                          ticks, sizeof ticks[0],
                                          VK_QUERY_RESULT_64_BIT) == VK_SUCCESS)
            core->profile[batch->profile[i]].ns += (uint64_t) (query_seconds(core, ticks) * 1e9);
    }
}

/* Submits aim at 50 ms: far below the watchdogs of drivers, far above what a submit costs. The rate
 * follows slowly, so that one odd batch does not decide. */
static void take_times(struct uqm_vk_core *core, struct uqm_vk_batch *batch)
{
    uint64_t ticks[2];
    if (!batch->times || !batch->n_dispatches ||
        core->api.GetQueryPoolResults(core->device, batch->times, FIRST_QUERY, 2, sizeof ticks,
                                      ticks, sizeof ticks[0], VK_QUERY_RESULT_64_BIT) != VK_SUCCESS)
        return;
    if (core->profiling)
        take_profile(core, batch);
    double seconds = query_seconds(core, ticks);
    if (batch->work < core->work_limit / 8 || !(seconds > 1e-6))
        return;
    double wanted = (double) batch->work / seconds * 0.05;
    double ceiling = (double) core->work_limit * 2, floor = (double) core->work_limit / 4;
    wanted = wanted > ceiling ? ceiling : wanted < floor ? floor : wanted;
    wanted = wanted > 1e13 ? 1e13 : wanted < 5e7 ? 5e7 : wanted;
    if (wanted > (double) core->work_ceiling)
        wanted = (double) core->work_ceiling;
    core->work_limit = (uint64_t) wanted;
}

static void retire(struct uqm_vk *vk, struct uqm_vk_batch *batch)
{
    if (!batch->value)
        return;
    take_times(vk->core, batch);
    drop_views(vk->core, batch);
    batch->value = 0;
}

void uqm_vk_queue_finish(struct uqm_vk *vk, enum uqm_vk_queue_id id)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    for (unsigned i = 0; i < UQM_VK_N_BATCHES; i++) {
        struct uqm_vk_batch *batch = &queue->batches[i];
        if (!vk->lost)
            retire(vk, batch);
        drop_views(core, batch);
        free(batch->views);
        if (batch->times)
            core->api.DestroyQueryPool(core->device, batch->times, NULL);
        if (batch->sets)
            core->api.DestroyDescriptorPool(core->device, batch->sets, NULL);
        if (batch->pool)
            core->api.DestroyCommandPool(core->device, batch->pool, NULL);
    }
    if (queue->timeline)
        core->api.DestroySemaphore(core->device, queue->timeline, NULL);
    *queue = (struct uqm_vk_queue){ 0 };
}

/* ---- waiting ---- */

static int lost(struct uqm_vk *vk, VkResult result, const char *doing, struct uqm_err *err)
{
    const struct uqm_vk_queue *queue = &vk->core->queues[UQM_VK_COMPUTE];
    const struct uqm_vk_batch *oldest = NULL;
    for (unsigned i = 0; i < UQM_VK_N_BATCHES; i++) {
        const struct uqm_vk_batch *b = &queue->batches[i];
        if (b->value > queue->done && b->first[0] && (!oldest || b->value < oldest->value))
            oldest = b;
    }
    bool several = oldest && strcmp(oldest->first, oldest->last) != 0;
    return uqm_vk_check(vk, result, err, "%s%s%s%s%s", doing, oldest ? ", running " : "",
                        oldest ? oldest->first : "", several ? " ... " : "",
                        several ? oldest->last : "");
}

bool uqm_vk_reached(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint64_t value)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    if (value <= queue->done || vk->lost)
        return true;
    uint64_t seen = 0;
    if (value <= queue->submitted &&
        core->api.GetSemaphoreCounterValue(core->device, queue->timeline, &seen) == VK_SUCCESS &&
        seen > queue->done)
        queue->done = seen < queue->submitted ? seen : queue->submitted;
    return value <= queue->done;
}

/* Submissions of both queues that are done. */
static uint64_t progress(struct uqm_vk *vk)
{
    uint64_t n = 0;
    for (int i = 0; i < UQM_VK_N_QUEUES; i++) {
        struct uqm_vk_queue *queue = &vk->core->queues[i];
        if (queue->timeline)
            uqm_vk_reached(vk, (enum uqm_vk_queue_id) i, queue->submitted);
        n += queue->done;
    }
    return n;
}

static void complain(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint64_t value, uint64_t since)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *q = core->queues;
    const struct uqm_vk_batch *next = NULL;
    for (unsigned i = 0; i < UQM_VK_N_BATCHES; i++)
        if (q[id].batches[i].value == q[id].done + 1)
            next = &q[id].batches[i];
    uqm_log(vk->device.env, UQM_LOG_WARN,
            "%s (%s): no progress for %.1f s: waiting for %s %" PRIu64 "; compute is at %" PRIu64
            " of %" PRIu64 ", transfer at %" PRIu64 " of %" PRIu64 "%s%s",
            vk->device.id, vk->device.name, (double) (uqm_clock_ns() - since) * 1e-9,
            id == UQM_VK_COMPUTE ? "compute" : "transfer", value, q[UQM_VK_COMPUTE].done,
            q[UQM_VK_COMPUTE].submitted, q[UQM_VK_TRANSFER].done, q[UQM_VK_TRANSFER].submitted,
            next ? "; pending: " : "", next ? next->first : "");
}

/* The semaphore alone: `value` was submitted. */
static int wait_value(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint64_t value,
                      struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    uint64_t since = uqm_clock_ns(), seen = progress(vk);
    while (!uqm_vk_reached(vk, id, value)) {
        VkSemaphoreWaitInfo wait = {
            .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
            .semaphoreCount = 1,
            .pSemaphores = &queue->timeline,
            .pValues = &value,
        };
        VkResult result = core->api.WaitSemaphores(core->device, &wait, core->watch_ns);
        if (result == VK_TIMEOUT && progress(vk) != seen) {
            seen = progress(vk);
            since = uqm_clock_ns();
        } else if (result == VK_TIMEOUT)
            complain(vk, id, value, since);
        else if (result == VK_SUCCESS)
            queue->done = queue->done < value ? value : queue->done;
        else
            return lost(vk, result, "waiting", err);
    }
    return uqm_vk_alive(vk, err);
}

int uqm_vk_wait(struct uqm_vk *vk, enum uqm_vk_queue_id id, uint64_t value, struct uqm_err *err)
{
    struct uqm_vk_queue *queue = &vk->core->queues[id];
    int ret = UQM_OK;
    if (value > queue->submitted && queue->recording)
        ret = uqm_vk_submit(vk, id, err);
    if (ret < 0)
        return ret;
    /* What could not be submitted is not waited for. */
    return wait_value(vk, id, value < queue->submitted ? value : queue->submitted, err);
}

int uqm_vk_wait_memory(struct uqm_vk *vk, const struct uqm_memory *memory, struct uqm_err *err)
{
    int ret = UQM_OK;
    for (int i = 0; i < UQM_VK_N_QUEUES && ret == UQM_OK; i++)
        if (memory->used[i])
            ret = uqm_vk_wait(vk, (enum uqm_vk_queue_id) i, memory->used[i], err);
    return ret;
}

bool uqm_vk_memory_idle(struct uqm_vk *vk, const struct uqm_memory *memory)
{
    for (int i = 0; i < UQM_VK_N_QUEUES; i++)
        if (memory->used[i] && !uqm_vk_reached(vk, (enum uqm_vk_queue_id) i, memory->used[i]))
            return false;
    return true;
}

/* ---- recording and submitting ---- */

int uqm_vk_batch_begin(struct uqm_vk_batch **out, struct uqm_vk *vk, enum uqm_vk_queue_id id,
                       struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    struct uqm_vk_batch *batch = &queue->batches[queue->current];
    int ret = uqm_vk_alive(vk, err);
    *out = batch;
    if (ret < 0 || queue->recording)
        return ret;

    if (batch->value && (ret = wait_value(vk, id, batch->value, err)) < 0)
        return ret;
    retire(vk, batch);
    ret = uqm_vk_check(vk, core->api.ResetCommandPool(core->device, batch->pool, 0), err,
                       "resetting a command pool");
    if (ret == UQM_OK && batch->sets)
        ret = uqm_vk_check(vk, core->api.ResetDescriptorPool(core->device, batch->sets, 0), err,
                           "resetting a descriptor pool");
    VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    if (ret == UQM_OK)
        ret = uqm_vk_check(vk, core->api.BeginCommandBuffer(batch->commands, &begin), err,
                           "recording");
    if (ret < 0)
        return ret;
    batch->work = 0;
    batch->n_dispatches = 0;
    batch->first[0] = batch->last[0] = 0;
    if (batch->times) {
        core->api.CmdResetQueryPool(batch->commands, batch->times, 0, QUERIES);
        core->api.CmdWriteTimestamp(batch->commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT,
                                    batch->times, FIRST_QUERY);
    }
    queue->recording = true;
    return UQM_OK;
}

static VkResult queue_submit(struct uqm_vk *vk, enum uqm_vk_queue_id id, struct uqm_vk_batch *batch)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    struct uqm_vk_queue *other =
        &core->queues[id == UQM_VK_COMPUTE ? UQM_VK_TRANSFER : UQM_VK_COMPUTE];
    uint64_t signal = queue->submitted + 1;
    VkPipelineStageFlags stage =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    if (id == UQM_VK_TRANSFER)
        stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = queue->waited ? 1 : 0,
        .pWaitSemaphoreValues = &queue->waited,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &signal,
    };
    VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .waitSemaphoreCount = queue->waited ? 1 : 0,
        .pWaitSemaphores = &other->timeline,
        .pWaitDstStageMask = &stage,
        .commandBufferCount = 1,
        .pCommandBuffers = &batch->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &queue->timeline,
    };
    core->n_submits++;
    return core->api.QueueSubmit(queue->handle, 1, &submit, VK_NULL_HANDLE);
}

int uqm_vk_submit(struct uqm_vk *vk, enum uqm_vk_queue_id id, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_queue *queue = &core->queues[id];
    struct uqm_vk_batch *batch = &queue->batches[queue->current];
    int ret = uqm_vk_alive(vk, err);
    if (ret < 0 || !queue->recording)
        return ret;
    if (batch->times)
        core->api.CmdWriteTimestamp(batch->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                    batch->times, LAST_QUERY);
    queue->recording = false;
    VkResult result = core->api.EndCommandBuffer(batch->commands);
    const bool whole = result == VK_SUCCESS; /* or what was recorded is lost */
    if (whole)
        result = queue_submit(vk, id, batch);
    if (whole &&
        (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY)) {
        /* What runs may be holding what is missing: once more when all of it is done. */
        ret = wait_value(vk, id, queue->submitted, err);
        if (ret == UQM_OK)
            result = queue_submit(vk, id, batch);
    }
    if (ret == UQM_OK && result != VK_SUCCESS)
        ret = lost(vk, result, "submitting", err);
    if (ret < 0) {
        drop_views(core, batch);
        return ret;
    }
    batch->value = ++queue->submitted;
    queue->current = (queue->current + 1) % UQM_VK_N_BATCHES;
    return core->sync ? wait_value(vk, id, queue->submitted, err) : UQM_OK;
}
