#include "compute/vk/vk_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* Everything that is asked of a driver. Which structures are chained depends on its version and
 * extensions; those that are not stay zero. */
struct answers {
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceIDProperties id;
    VkPhysicalDeviceSubgroupProperties subgroup;
    VkPhysicalDeviceMaintenance3Properties maintenance3;
    VkPhysicalDeviceDriverProperties driver;
    VkPhysicalDeviceSubgroupSizeControlProperties size_control;
    VkPhysicalDeviceMaintenance4Properties maintenance4;
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT import;

    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline;
    VkPhysicalDeviceShaderFloat16Int8Features float16;
    VkPhysicalDeviceSubgroupSizeControlFeatures size_control_on;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coop;
    VkPhysicalDeviceFaultFeaturesEXT fault;

    VkExtensionProperties *extensions;
    uint32_t n_extensions;
};

static bool lists(const struct answers *a, const char *name)
{
    for (uint32_t i = 0; i < a->n_extensions; i++)
        if (strcmp(a->extensions[i].extensionName, name) == 0)
            return true;
    return false;
}

#define CHAIN(head, entry, type)                                                                   \
    do {                                                                                           \
        (entry).sType = (type);                                                                    \
        (entry).pNext = (head).pNext;                                                              \
        (head).pNext = &(entry);                                                                   \
    } while (0)

static void ask(struct answers *a, const struct uqm_vk_api *api, VkPhysicalDevice handle)
{
    *a = (struct answers){ 0 };
    if (api->EnumerateDeviceExtensionProperties(handle, NULL, &a->n_extensions, NULL) ==
            VK_SUCCESS &&
        a->n_extensions)
        a->extensions = calloc(a->n_extensions, sizeof *a->extensions);
    if (!a->extensions ||
        api->EnumerateDeviceExtensionProperties(handle, NULL, &a->n_extensions, a->extensions) < 0)
        a->n_extensions = 0;

    a->properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    a->features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    api->GetPhysicalDeviceProperties2(handle, &a->properties);
    uint32_t version = a->properties.properties.apiVersion;
    if (version < VK_API_VERSION_1_2)
        return;

    CHAIN(a->properties, a->id, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES);
    CHAIN(a->properties, a->subgroup, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES);
    CHAIN(a->properties, a->maintenance3,
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES);
    CHAIN(a->properties, a->driver, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES);
    CHAIN(a->features, a->timeline, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES);
    CHAIN(a->features, a->float16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES);
    if (version >= VK_API_VERSION_1_3 || lists(a, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) {
        CHAIN(a->properties, a->size_control,
              VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES);
        CHAIN(a->features, a->size_control_on,
              VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES);
    }
    if (version >= VK_API_VERSION_1_3 || lists(a, VK_KHR_MAINTENANCE_4_EXTENSION_NAME))
        CHAIN(a->properties, a->maintenance4,
              VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES);
    if (lists(a, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
        CHAIN(a->properties, a->import,
              VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT);
    CHAIN(a->features, a->memory_model,
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES);
    if (lists(a, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME))
        CHAIN(a->features, a->coop,
              VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR);
    if (lists(a, VK_EXT_DEVICE_FAULT_EXTENSION_NAME))
        CHAIN(a->features, a->fault, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT);
    api->GetPhysicalDeviceProperties2(handle, &a->properties);
    api->GetPhysicalDeviceFeatures2(handle, &a->features);
}

static void copy_text(char *dst, size_t size, const char *src)
{
    struct uqm_printable p;
    snprintf(dst, size, "%s", uqm_printable(&p, src, strnlen(src, 256)));
}

static void take_identity(struct uqm_vk_info *info, const struct answers *a)
{
    const VkPhysicalDeviceProperties *p = &a->properties.properties;
    struct uqm_printable name, about;
    copy_text(info->name, sizeof info->name, p->deviceName);
    snprintf(info->driver, sizeof info->driver, "%.100s %.150s",
             uqm_printable(&name, a->driver.driverName, strnlen(a->driver.driverName, 256)),
             uqm_printable(&about, a->driver.driverInfo, strnlen(a->driver.driverInfo, 256)));
    info->type = p->deviceType;
    info->driver_id = a->driver.driverID;
    info->vendor = p->vendorID;
    info->device = p->deviceID;
    info->api_version = p->apiVersion;
    info->driver_version = p->driverVersion;
    memcpy(info->uuid, a->id.deviceUUID, sizeof info->uuid);
    memcpy(info->driver_uuid, a->id.driverUUID, sizeof info->driver_uuid);
    memcpy(info->luid, a->id.deviceLUID, sizeof info->luid);
    info->has_luid = a->id.deviceLUIDValid;
    info->timestamp_ns = p->limits.timestampPeriod;
}

static uint32_t smaller(uint64_t a, uint64_t b)
{
    uint64_t least = a < b ? a : b;
    return least < UINT32_MAX ? (uint32_t) least : UINT32_MAX;
}

static bool texel_format(const struct uqm_vk_api *api, VkPhysicalDevice handle, VkFormat format)
{
    VkFormatProperties p;
    api->GetPhysicalDeviceFormatProperties(handle, format, &p);
    return p.bufferFeatures & VK_FORMAT_FEATURE_UNIFORM_TEXEL_BUFFER_BIT;
}

static bool divides_32(uint32_t n)
{
    return n >= 4 && n <= 32 && (n & (n - 1)) == 0;
}

/* Whether our shader works with these fragments: f16 into f32, whole ones in a subgroup's 32 x 32,
 * no more numbers than its shared memory holds. */
static bool is_coop_shape(const VkCooperativeMatrixPropertiesKHR *p)
{
    return divides_32(p->MSize) && divides_32(p->NSize) && divides_32(p->KSize) &&
           p->MSize * p->NSize <= 256 && (int) p->AType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           (int) p->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           (int) p->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           (int) p->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           (int) p->scope == VK_SCOPE_SUBGROUP_KHR;
}

/* The device's largest fragments, of like size those that it names first. */
static void take_coop(struct uqm_vk_limits *l, const struct answers *a,
                      const struct uqm_vk_api *api, VkPhysicalDevice handle)
{
    uint32_t n = 0;
    if (!a->coop.cooperativeMatrix || !a->memory_model.vulkanMemoryModel ||
        !a->float16.shaderFloat16 || !api->GetPhysicalDeviceCooperativeMatrixPropertiesKHR ||
        api->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(handle, &n, NULL) != VK_SUCCESS)
        return;
    VkCooperativeMatrixPropertiesKHR *list = calloc(n ? n : 1, sizeof *list);
    for (uint32_t i = 0; list && i < n; i++)
        list[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (list && api->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(handle, &n, list) >= 0)
        for (uint32_t i = 0; i < n; i++)
            if (is_coop_shape(&list[i]) &&
                list[i].MSize * list[i].NSize * list[i].KSize > l->coop_m * l->coop_n * l->coop_k) {
                l->coop_m = list[i].MSize;
                l->coop_n = list[i].NSize;
                l->coop_k = list[i].KSize;
            }
    l->coop_f16 = l->coop_m > 0;
    free(list);
}

static void take_subgroups(struct uqm_vk_info *info, const struct answers *a)
{
    struct uqm_vk_limits *l = &info->limits;
    if (!(a->subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
        return;
    const VkSubgroupFeatureFlags lanes =
        VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    l->subgroup_size = a->subgroup.subgroupSize;
    l->subgroup_arithmetic = a->subgroup.supportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    l->subgroup_broadcast = (a->subgroup.supportedOperations & lanes) == lanes;
    info->size_control = a->size_control_on.subgroupSizeControl &&
                         a->size_control_on.computeFullSubgroups &&
                         (a->size_control.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
    if (info->size_control) {
        l->subgroup_min = a->size_control.minSubgroupSize;
        l->subgroup_max = a->size_control.maxSubgroupSize;
    }
}

static void take_limits(struct uqm_vk_info *info, const struct answers *a,
                        const struct uqm_vk_api *api)
{
    const VkPhysicalDeviceLimits *v = &a->properties.properties.limits;
    struct uqm_vk_limits *l = &info->limits;
    uint64_t align = v->minStorageBufferOffsetAlignment;
    if (align < v->minTexelBufferOffsetAlignment)
        align = v->minTexelBufferOffsetAlignment;

    l->max_range = v->maxStorageBufferRange;
    l->offset_align = smaller(align < 16 ? 16 : align, UINT32_MAX);
    l->max_bindings = smaller(v->maxPerStageDescriptorStorageBuffers, UQM_VK_MAX_BINDINGS);
    l->max_bindings = smaller(v->maxPerStageResources, l->max_bindings);
    l->max_texel_bindings = smaller(v->maxPerStageDescriptorSampledImages, UQM_VK_MAX_BINDINGS);
    for (int i = 0; i < 3; i++) {
        l->max_groups[i] = v->maxComputeWorkGroupCount[i];
        l->max_local[i] = v->maxComputeWorkGroupSize[i];
    }
    l->max_invocations = v->maxComputeWorkGroupInvocations;
    l->shared_bytes = v->maxComputeSharedMemorySize;
    l->texel_f16 = texel_format(api, info->handle, VK_FORMAT_R16G16B16A16_SFLOAT);
    l->texel_f32 = texel_format(api, info->handle, VK_FORMAT_R32G32B32A32_SFLOAT);
    l->texel_u32 = texel_format(api, info->handle, VK_FORMAT_R32G32B32A32_UINT);
    l->max_texels = v->maxTexelBufferElements;
    l->unpack_half = true; /* until the self-test says otherwise */
    l->shader_f16 = a->float16.shaderFloat16;
    l->shader_f64 = a->features.features.shaderFloat64;
    take_coop(l, a, api, info->handle);
    l->discrete = info->type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    take_subgroups(info, a);

    info->non_coherent_atom = v->nonCoherentAtomSize ? v->nonCoherentAtomSize : 1;
    info->host_import_align = a->import.minImportedHostPointerAlignment;
    info->max_allocation = GIB;
    if (a->maintenance3.maxMemoryAllocationSize &&
        a->maintenance3.maxMemoryAllocationSize < info->max_allocation)
        info->max_allocation = a->maintenance3.maxMemoryAllocationSize;
    if (a->maintenance4.maxBufferSize && a->maintenance4.maxBufferSize < info->max_allocation)
        info->max_allocation = a->maintenance4.maxBufferSize;
    info->memory_budget = lists(a, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    info->portability = lists(a, "VK_KHR_portability_subset");
    info->bfloat16 = lists(a, "VK_KHR_shader_bfloat16");
    info->integer_dot =
        lists(a, "VK_KHR_shader_integer_dot_product") || info->api_version >= VK_API_VERSION_1_3;
    info->device_fault = a->fault.deviceFault;
    info->robust = a->features.features.robustBufferAccess;
}

static void take_memory(struct uqm_vk_info *info, const struct uqm_vk_api *api)
{
    const VkMemoryPropertyFlags shared =
        VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT,
    };
    VkPhysicalDeviceMemoryProperties2 m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = info->memory_budget ? &budget : NULL,
    };
    uint32_t largest = 0;
    bool visible = false;
    api->GetPhysicalDeviceMemoryProperties2(info->handle, &m);
    info->memory = m.memoryProperties;
    for (uint32_t i = 0; i < info->memory.memoryHeapCount; i++)
        if ((info->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            info->memory.memoryHeaps[i].size > info->local_bytes) {
            info->local_bytes = info->memory.memoryHeaps[i].size;
            largest = i;
        }
    info->free_bytes = budget.heapBudget[largest] ? budget.heapBudget[largest] : info->local_bytes;
    for (uint32_t i = 0; i < info->memory.memoryTypeCount; i++)
        visible |= (info->memory.memoryTypes[i].propertyFlags & shared) == shared &&
                   info->memory.memoryTypes[i].heapIndex == largest;
    info->on_host = info->type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ||
                    info->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    info->limits.unified = visible;
}

/* A family for compute, graphics-free where there is one; one for copies and nothing else: those of
 * video engines can copy, too, but are not made for it. */
static void take_queues(struct uqm_vk_info *info, const struct uqm_vk_api *api)
{
    const VkQueueFlags for_copies =
        VK_QUEUE_TRANSFER_BIT | VK_QUEUE_SPARSE_BINDING_BIT | VK_QUEUE_PROTECTED_BIT;
    VkQueueFamilyProperties f[32];
    uint32_t n = 32, copies = UQM_VK_NO_FAMILY;
    info->compute_family = UQM_VK_NO_FAMILY;
    api->GetPhysicalDeviceQueueFamilyProperties(info->handle, &n, f);
    for (uint32_t i = 0; i < n; i++) {
        VkQueueFlags flags = f[i].queueFlags;
        if (!f[i].queueCount)
            continue;
        if ((flags & VK_QUEUE_COMPUTE_BIT) &&
            (info->compute_family == UQM_VK_NO_FAMILY ||
             (!(flags & VK_QUEUE_GRAPHICS_BIT) &&
              (f[info->compute_family].queueFlags & VK_QUEUE_GRAPHICS_BIT))))
            info->compute_family = i;
        if ((flags & VK_QUEUE_TRANSFER_BIT) && !(flags & ~for_copies) && copies == UQM_VK_NO_FAMILY)
            copies = i;
    }
    if (info->compute_family == UQM_VK_NO_FAMILY)
        return;
    info->timestamp_bits = f[info->compute_family].timestampValidBits;
    info->transfer_family = copies != UQM_VK_NO_FAMILY ? copies : info->compute_family;
    info->transfer_queue = copies == UQM_VK_NO_FAMILY && f[info->compute_family].queueCount > 1;
    info->own_transfer = copies != UQM_VK_NO_FAMILY || info->transfer_queue;
}

static void check_required(struct uqm_vk_info *info, const struct answers *a)
{
    const VkPhysicalDeviceLimits *v = &a->properties.properties.limits;
    char *why = info->unusable;
    size_t size = sizeof info->unusable;
    if (info->api_version < VK_API_VERSION_1_2)
        snprintf(why, size, "it is older than Vulkan 1.2");
    else if (info->compute_family == UQM_VK_NO_FAMILY)
        snprintf(why, size, "it has no compute queue");
    else if (!a->timeline.timelineSemaphore)
        snprintf(why, size, "it has no timeline semaphores");
    else if (info->limits.max_bindings < 4)
        snprintf(why, size, "it has %u storage buffers a stage, 4 are needed",
                 info->limits.max_bindings);
    else if (v->maxPushConstantsSize < UQM_VK_MAX_PUSH)
        snprintf(why, size, "it has %u bytes of push constants, %d are needed",
                 v->maxPushConstantsSize, UQM_VK_MAX_PUSH);
    else if (info->limits.max_invocations < 128)
        snprintf(why, size, "it has %u invocations a workgroup, 128 are needed",
                 info->limits.max_invocations);
    else if (info->limits.shared_bytes < 16 << 10)
        snprintf(why, size, "it has %u bytes of shared memory, 16384 are needed",
                 info->limits.shared_bytes);
    else if (info->limits.max_range < 128 * MIB - 1)
        snprintf(why, size, "its storage buffers are bound to at most %u bytes, 128 MiB are needed",
                 v->maxStorageBufferRange);
    else if (info->local_bytes == 0)
        snprintf(why, size, "it has no memory of its own");
}

void uqm_vk_info_query(struct uqm_vk_info *info, const struct uqm_vk_api *api,
                       VkPhysicalDevice handle, uint32_t n)
{
    struct answers *a = calloc(1, sizeof *a);
    *info = (struct uqm_vk_info){ .handle = handle, .n = n };
    if (!a) {
        snprintf(info->unusable, sizeof info->unusable, "there was no memory to ask it");
        return;
    }
    ask(a, api, handle);
    take_identity(info, a);
    take_limits(info, a, api);
    take_memory(info, api);
    take_queues(info, api);
    check_required(info, a);
    uqm_vk_quirks_apply(info, getenv("UQMERGE_VK_QUIRKS"));
    free(a->extensions);
    free(a);
}
