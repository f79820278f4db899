/* Entries of a function table have no context: what they need stands in one static structure. */
#include "compute/vk/vk_fault.h"

#include <stdlib.h>
#include <string.h>

enum kind { ALLOC, SUBMIT_OOM, SUBMIT_LOST, PIPELINE, PIPELINE_REFUSED, N_KINDS };
static const char *const kind_names[N_KINDS] = { "alloc", "submit-oom", "submit-lost", "pipeline",
                                                 "pipeline-refused" };

static struct {
    struct {
        unsigned first, count;
    } faults[N_KINDS];
    _Atomic unsigned allocs, frees, submits, pipelines, flushes, invalidates;
    _Atomic bool lost;
    PFN_vkCreateDevice create_device;
    PFN_vkAllocateMemory allocate;
    PFN_vkFreeMemory free_memory;
    PFN_vkQueueSubmit submit;
    PFN_vkWaitSemaphores wait;
    PFN_vkGetSemaphoreCounterValue counter;
    PFN_vkCreateComputePipelines pipelines_of;
    PFN_vkFlushMappedMemoryRanges flush;
    PFN_vkInvalidateMappedMemoryRanges invalidate;
} state;

static bool falls_on(enum kind kind, unsigned call)
{
    unsigned first = state.faults[kind].first;
    return first && call >= first && call - first < state.faults[kind].count;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical,
                                                    const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkDevice *device)
{
    state.lost = false;
    return state.create_device(physical, info, callbacks, device);
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *callbacks,
                                               VkDeviceMemory *memory)
{
    if (falls_on(ALLOC, ++state.allocs))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return state.allocate(device, info, callbacks, memory);
}

static VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory,
                                              const VkAllocationCallbacks *callbacks)
{
    state.frees++;
    state.free_memory(device, memory, callbacks);
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo *infos,
                                             VkFence fence)
{
    unsigned call = ++state.submits;
    if (falls_on(SUBMIT_LOST, call))
        state.lost = true;
    if (state.lost)
        return VK_ERROR_DEVICE_LOST;
    if (falls_on(SUBMIT_OOM, call))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return state.submit(queue, n, infos, fence);
}

static VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice device, const VkSemaphoreWaitInfo *info,
                                           uint64_t timeout)
{
    return state.lost ? VK_ERROR_DEVICE_LOST : state.wait(device, info, timeout);
}

static VKAPI_ATTR VkResult VKAPI_CALL counter(VkDevice device, VkSemaphore semaphore,
                                              uint64_t *value)
{
    return state.lost ? VK_ERROR_DEVICE_LOST : state.counter(device, semaphore, value);
}

static VKAPI_ATTR VkResult VKAPI_CALL pipelines_of(VkDevice device, VkPipelineCache cache,
                                                   uint32_t n,
                                                   const VkComputePipelineCreateInfo *infos,
                                                   const VkAllocationCallbacks *callbacks,
                                                   VkPipeline *pipelines)
{
    unsigned call = ++state.pipelines;
    if (falls_on(PIPELINE, call))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (falls_on(PIPELINE_REFUSED, call))
        return VK_ERROR_UNKNOWN;
    return state.pipelines_of(device, cache, n, infos, callbacks, pipelines);
}

static VKAPI_ATTR VkResult VKAPI_CALL flush(VkDevice device, uint32_t n,
                                            const VkMappedMemoryRange *ranges)
{
    state.flushes++;
    return state.flush(device, n, ranges);
}

static VKAPI_ATTR VkResult VKAPI_CALL invalidate(VkDevice device, uint32_t n,
                                                 const VkMappedMemoryRange *ranges)
{
    state.invalidates++;
    return state.invalidate(device, n, ranges);
}

/* The loader's own functions are kept, once each: a table may pass here several times. */
#define REPLACE(entry, ours, kept)                                                                 \
    do {                                                                                           \
        if (api->entry && api->entry != (ours)) {                                                  \
            (kept) = api->entry;                                                                   \
            api->entry = (ours);                                                                   \
        }                                                                                          \
    } while (0)

void uqm_vk_fault_install(struct uqm_vk_api *api, void *ctx)
{
    (void) ctx;
    REPLACE(CreateDevice, create_device, state.create_device);
    REPLACE(AllocateMemory, allocate, state.allocate);
    REPLACE(FreeMemory, free_memory, state.free_memory);
    REPLACE(QueueSubmit, submit, state.submit);
    REPLACE(WaitSemaphores, wait, state.wait);
    REPLACE(GetSemaphoreCounterValue, counter, state.counter);
    REPLACE(CreateComputePipelines, pipelines_of, state.pipelines_of);
    REPLACE(FlushMappedMemoryRanges, flush, state.flush);
    REPLACE(InvalidateMappedMemoryRanges, invalidate, state.invalidate);
}

static void add_fault(const char *s, size_t n)
{
    char word[64], *colon;
    assert(n < sizeof word);
    memcpy(word, s, n);
    word[n] = 0;
    colon = strchr(word, ':');
    assert(colon);
    *colon++ = 0;
    for (int kind = 0; kind < N_KINDS; kind++)
        if (strcmp(word, kind_names[kind]) == 0) {
            const char *count = strchr(colon, ':');
            state.faults[kind].first = (unsigned) strtoul(colon, NULL, 10);
            state.faults[kind].count = count ? (unsigned) strtoul(count + 1, NULL, 10) : 1;
            return;
        }
    assert(false && "a fault that is known");
}

void uqm_vk_fault_plan(const char *plan)
{
    memset(state.faults, 0, sizeof state.faults);
    state.allocs = state.frees = state.submits = state.pipelines = 0;
    state.flushes = state.invalidates = 0;
    state.lost = false;
    while (plan && *plan) {
        size_t n = strcspn(plan, ",");
        add_fault(plan, n);
        plan += n + (plan[n] == ',');
    }
}

struct uqm_vk_fault_counts uqm_vk_fault_counts(void)
{
    return (struct uqm_vk_fault_counts){
        .allocs = state.allocs,
        .frees = state.frees,
        .submits = state.submits,
        .pipelines = state.pipelines,
        .flushes = state.flushes,
        .invalidates = state.invalidates,
    };
}

/* ---- profiles ---- */

static void no_coherence(struct uqm_vk_info *info)
{
    for (uint32_t i = 0; i < info->memory.memoryTypeCount; i++)
        info->memory.memoryTypes[i].propertyFlags &=
            ~(VkMemoryPropertyFlags) VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    if (info->non_coherent_atom < 64)
        info->non_coherent_atom = 64;
}

static void share_one_queue(struct uqm_vk_info *info, bool two)
{
    info->own_transfer = two;
    info->transfer_family = info->compute_family;
    info->transfer_queue = 0;
}

/* Memory of its own, what only GPUs do, and `auto` takes it. */
static void be_a_card(struct uqm_vk_info *info)
{
    info->type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    info->on_host = false;
    info->limits.unified = false;
    info->limits.discrete = true;
}

static void apply_word(struct uqm_vk_info *info, const char *word, uint64_t value)
{
    struct uqm_vk_limits *l = &info->limits;
    if (strcmp(word, "range") == 0)
        l->max_range = value;
    else if (strcmp(word, "shared") == 0)
        l->shared_bytes = (uint32_t) value;
    else if (strcmp(word, "align") == 0)
        l->offset_align = (uint32_t) value;
    else if (strcmp(word, "budget") == 0)
        info->budget_bytes = value;
    else if (strcmp(word, "invocations") == 0)
        l->max_invocations = (uint32_t) value;
    else if (strcmp(word, "groups") == 0)
        l->max_groups[0] = l->max_groups[1] = l->max_groups[2] = (uint32_t) value;
    else if (strcmp(word, "one-queue") == 0)
        share_one_queue(info, false);
    else if (strcmp(word, "two-queues") == 0)
        share_one_queue(info, true);
    else if (strcmp(word, "non-coherent") == 0)
        no_coherence(info);
    else if (strcmp(word, "no-subgroups") == 0)
        l->subgroup_arithmetic = l->subgroup_broadcast = false;
    else if (strcmp(word, "no-texels") == 0)
        l->max_texels = 0;
    else if (strcmp(word, "no-unpack") == 0)
        l->unpack_half = false;
    else if (strcmp(word, "staged") == 0)
        l->unified = false;
    else if (strcmp(word, "discrete") == 0)
        be_a_card(info);
    else if (strcmp(word, "integrated") == 0)
        info->type = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    else
        assert(false && "a word of a profile that is known");
}

void uqm_vk_fake_apply(struct uqm_vk_info *info, const char *profile)
{
    while (profile && *profile) {
        char word[64];
        size_t n = strcspn(profile, ",");
        assert(n < sizeof word);
        memcpy(word, profile, n);
        word[n] = 0;
        char *equals = strchr(word, '=');
        if (equals)
            *equals = 0;
        apply_word(info, word, equals ? strtoull(equals + 1, NULL, 10) : 0);
        profile += n + (profile[n] == ',');
    }
    if (profile)
        info->faked = true;
}

/* ---- from the environment ---- */

static void fake_info(struct uqm_vk_info *info, void *ctx)
{
    (void) ctx;
    uqm_vk_fake_apply(info, getenv("UQMERGE_VK_FAKE"));
}

const struct uqm_vk_hooks *uqm_vk_fault_hooks(void)
{
    static const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install, .info = fake_info };
    const char *plan = getenv("UQMERGE_VK_FAULT");
    if (!plan && !getenv("UQMERGE_VK_FAKE"))
        return NULL;
    uqm_vk_fault_plan(plan);
    return &hooks;
}
