/* The logical device and all that hangs on it; every result of Vulkan's calls. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/shader_table.h"
#include "compute/vk/vk_core.h"
#include "src/base/hash.h"

/* What the driver knows of the loss, behind what was tried: its words, the first address. */
static void add_fault(const struct uqm_vk *vk, char *what, size_t size)
{
    const struct uqm_vk_core *core = vk->core;
    VkDeviceFaultCountsEXT counts = { .sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT };
    VkDeviceFaultAddressInfoEXT address = { 0 };
    VkDeviceFaultInfoEXT info = { .sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT };
    struct uqm_printable text;
    size_t used = strlen(what);
    if (!core->info.device_fault || !core->api.GetDeviceFaultInfoEXT ||
        core->api.GetDeviceFaultInfoEXT(core->device, &counts, NULL) < 0)
        return;
    counts.addressInfoCount = counts.addressInfoCount > 0;
    counts.vendorInfoCount = 0;
    counts.vendorBinarySize = 0;
    info.pAddressInfos = &address;
    if (core->api.GetDeviceFaultInfoEXT(core->device, &counts, &info) < 0)
        return;
    const char *words = uqm_printable(&text, info.description, strnlen(info.description, 256));
    snprintf(what + used, size - used, " (%.100s)", words);
    used = strlen(what);
    if (counts.addressInfoCount)
        snprintf(what + used, size - used, " at %#llx",
                 (unsigned long long) address.reportedAddress);
}

int uqm_vk_check(struct uqm_vk *vk, VkResult result, struct uqm_err *err, const char *fmt, ...)
{
    if (result == VK_SUCCESS)
        return UQM_OK;
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    enum uqm_status code = UQM_ERR_IO;
    if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
        result == VK_ERROR_FRAGMENTED_POOL || result == VK_ERROR_FRAGMENTATION ||
        result == VK_ERROR_OUT_OF_POOL_MEMORY || result == VK_ERROR_TOO_MANY_OBJECTS ||
        result == VK_ERROR_MEMORY_MAP_FAILED)
        code = UQM_ERR_NOMEM;
    if (result == VK_ERROR_DEVICE_LOST)
        code = UQM_ERR_DEVICE;
    if (result == VK_ERROR_DEVICE_LOST && !vk->lost) {
        vk->lost = true;
        if (vk->core->api.DeviceWaitIdle) /* nothing runs any more: all may be destroyed */
            vk->core->api.DeviceWaitIdle(vk->core->device);
        add_fault(vk, what, sizeof what);
        snprintf(vk->core->lost_message, sizeof vk->core->lost_message, "%s", what);
    }
    return uqm_fail(err, code, "%s (%.100s): %s: %s", vk->device.id, vk->device.name, what,
                    uqm_vk_result_name(result));
}

int uqm_vk_alive(const struct uqm_vk *vk, struct uqm_err *err)
{
    if (!vk->lost)
        return UQM_OK;
    return uqm_fail(err, UQM_ERR_DEVICE, "%s (%.100s): the device was lost: %s", vk->device.id,
                    vk->device.name, vk->core ? vk->core->lost_message : "and did not come back");
}

/* ---- the logical device ---- */

struct features {
    VkPhysicalDeviceFeatures2 base;
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline;
    VkPhysicalDeviceShaderFloat16Int8Features float16;
    VkPhysicalDeviceSubgroupSizeControlFeatures size_control;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coop;
    VkPhysicalDeviceFaultFeaturesEXT fault;
};

/* What kernels may use, and nothing else. */
static void want_features(struct features *f, const struct uqm_vk_info *info, bool robust)
{
    *f = (struct features){
        .base = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f->timeline },
        .timeline = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
                      .pNext = &f->float16,
                      .timelineSemaphore = VK_TRUE },
        .float16 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES,
                     .shaderFloat16 = info->limits.shader_f16 },
        .size_control = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
                          .subgroupSizeControl = VK_TRUE,
                          .computeFullSubgroups = VK_TRUE },
        .memory_model = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES,
                          .pNext = &f->coop,
                          .vulkanMemoryModel = VK_TRUE },
        .coop = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
                  .cooperativeMatrix = VK_TRUE },
    };
    f->base.features.robustBufferAccess = robust && info->robust;
    f->base.features.shaderFloat64 = info->limits.shader_f64;
    f->fault = (VkPhysicalDeviceFaultFeaturesEXT){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT,
        .deviceFault = VK_TRUE,
    };
    if (info->device_fault)
        f->float16.pNext = &f->fault;
    if (info->limits.coop_f16) {
        f->coop.pNext = f->float16.pNext;
        f->float16.pNext = &f->memory_model;
    }
    if (info->size_control) {
        f->size_control.pNext = f->float16.pNext;
        f->float16.pNext = &f->size_control;
    }
}

static bool switched_on(const char *variable)
{
    const char *s = getenv(variable);
    return s && *s && strcmp(s, "0") != 0;
}

static int create_device(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    const struct uqm_vk_info *info = &core->info;
    const float priorities[2] = { 1, 1 };
    const char *extensions[8];
    uint32_t n = 0;
    struct features features;
    bool same_family = info->transfer_family == info->compute_family;
    bool second = core->own_transfer && same_family && info->transfer_queue > 0;
    VkDeviceQueueCreateInfo queues[2] = {
        { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
          .queueFamilyIndex = info->compute_family,
          .queueCount = second ? 2 : 1,
          .pQueuePriorities = priorities },
        { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
          .queueFamilyIndex = info->transfer_family,
          .queueCount = 1,
          .pQueuePriorities = priorities },
    };
    if (info->portability)
        extensions[n++] = "VK_KHR_portability_subset";
    if (info->memory_budget)
        extensions[n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (info->host_import_align)
        extensions[n++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    if (info->size_control && info->api_version < VK_API_VERSION_1_3)
        extensions[n++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    if (info->limits.coop_f16)
        extensions[n++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    if (info->device_fault)
        extensions[n++] = VK_EXT_DEVICE_FAULT_EXTENSION_NAME;
    want_features(&features, info, vk->instance->validating);
    VkDeviceCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features.base,
        .queueCreateInfoCount = core->own_transfer && !same_family ? 2 : 1,
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = n,
        .ppEnabledExtensionNames = extensions,
    };
    int ret = uqm_vk_check(vk, core->api.CreateDevice(info->handle, &create, NULL, &core->device),
                           err, "the device could not be opened");
    if (ret < 0) {
        core->device = VK_NULL_HANDLE;
        return ret;
    }
    ret = uqm_vk_api_load_device(&core->api, core->device, err);
    if (ret == UQM_OK && core->hooks.api)
        core->hooks.api(&core->api, core->hooks.ctx);
    return ret;
}

/* ---- what is kept between runs ---- */

static uint64_t identity_of(const struct uqm_vk_info *info)
{
    uint64_t h = 0;
    for (size_t i = 0; i < uqm_vk_n_shaders; i++)
        h = uqm_xxh3_64(uqm_vk_shaders[i].code, uqm_vk_shaders[i].n_bytes, h);
    h = uqm_xxh3_64(info->uuid, sizeof info->uuid, h);
    h = uqm_xxh3_64(info->driver_uuid, sizeof info->driver_uuid, h);
    h = uqm_xxh3_64(&info->driver_version, sizeof info->driver_version, h);
    h = uqm_xxh3_64(info->driver, strlen(info->driver), h);
    /* What else kernels are chosen by: quirks, the width that llvmpipe is told. */
    h = uqm_xxh3_64(info->quirks, strlen(info->quirks), h);
    h = uqm_xxh3_64(&info->limits.subgroup_size, sizeof info->limits.subgroup_size, h);
    const uint8_t coop = info->limits.coop_f16; /* asked for or not: it has been tested, or not */
    h = uqm_xxh3_64(&coop, sizeof coop, h);
    return uqm_xxh3_64(info->name, strlen(info->name), h);
}

static int load_cache(struct uqm_vk *vk, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    core->cache.identity = identity_of(&core->info);
    core->cache_path = core->info.faked ? NULL : uqm_vk_cache_path(core->cache.identity);
    if (core->cache_path &&
        !uqm_vk_cache_load(&core->cache, core->cache_path, core->cache.identity))
        core->cache_changed = true;
    return uqm_vk_pipelines_init(vk, core->cache.pipelines, core->cache.n_pipelines, err);
}

/* A file that cannot be written costs the next run a second: no error. */
static void store_cache(struct uqm_vk *vk)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_err err = { 0 };
    size_t n = 0;
    if (!core->cache_path || !core->pipelines.cache || vk->lost)
        return;
    if (core->api.GetPipelineCacheData(core->device, core->pipelines.cache, &n, NULL) !=
            VK_SUCCESS ||
        n > UQM_VK_CACHE_MAX_BYTES || (n == core->cache.n_pipelines && !core->cache_changed))
        return;
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes)
        return;
    if (core->api.GetPipelineCacheData(core->device, core->pipelines.cache, &n, bytes) !=
        VK_SUCCESS)
        n = 0;
    free(core->cache.pipelines);
    core->cache.pipelines = bytes;
    core->cache.n_pipelines = n;
    if (uqm_vk_cache_store(&core->cache, core->cache_path, &err) < 0)
        uqm_log(vk->device.env, UQM_LOG_DEBUG, "%s: %s", vk->device.id, err.msg);
}

bool uqm_vk_tuned_get(uint32_t *value, const struct uqm_vk *vk, const char *key)
{
    const struct uqm_vk_cache *cache = &vk->core->cache;
    for (size_t i = 0; i < cache->n_tuned; i++)
        if (strcmp(cache->tuned[i].key, key) == 0) {
            *value = cache->tuned[i].value;
            return true;
        }
    return false;
}

void uqm_vk_tuned_set(struct uqm_vk *vk, const char *key, uint32_t value)
{
    struct uqm_vk_cache *cache = &vk->core->cache;
    size_t i = 0;
    assert(strlen(key) < UQM_VK_CACHE_KEY);
    while (i < cache->n_tuned && strcmp(cache->tuned[i].key, key) != 0)
        i++;
    if (i == UQM_VK_CACHE_TUNED)
        return;
    cache->n_tuned += i == cache->n_tuned;
    memset(&cache->tuned[i], 0, sizeof cache->tuned[i]);
    memcpy(cache->tuned[i].key, key, strlen(key));
    cache->tuned[i].value = value;
    vk->core->cache_changed = true;
}

/* ---- all of it ---- */

/* Cooperative matrices, if our shaders for them were compiled; a software device's cost more than
 * they save. UQMERGE_VK_COOP decides against both the device and the rule. */
static bool wants_coop(const struct uqm_vk_info *info)
{
    const char *asked = getenv("UQMERGE_VK_COOP");
    if (!info->limits.coop_f16 || !uqm_vk_has_shader("gemm_coop") ||
        (asked && strcmp(asked, "0") == 0))
        return false;
    return asked || info->type != VK_PHYSICAL_DEVICE_TYPE_CPU;
}

static void take_switches(struct uqm_vk_core *core)
{
    const char *import = getenv("UQMERGE_VK_IMPORT");
    core->import = core->info.host_import_align && !core->info.portability &&
                   core->api.GetMemoryHostPointerPropertiesEXT &&
                   !(import && strcmp(import, "0") == 0);
    core->sync = switched_on("UQMERGE_VK_SYNC");
    core->profiling = switched_on("UQMERGE_VK_PROFILE") && core->info.timestamp_bits;
    core->work_limit = UINT64_C(2000000000);
    core->work_ceiling = UINT64_C(10000000000000);
    core->watch_ns = UINT64_C(30000000000);
}

int uqm_vk_core_create(struct uqm_vk *vk, const struct uqm_vk_info *info,
                       const struct uqm_vk_hooks *hooks, struct uqm_err *err)
{
    struct uqm_vk_core *core = calloc(1, sizeof *core);
    if (!core)
        return uqm_fail(err, UQM_ERR_NOMEM, "vulkan:%u: no memory", info->n);
    vk->core = core;
    core->hooks = hooks ? *hooks : (struct uqm_vk_hooks){ 0 };
    core->info = *info;
    core->api = vk->instance->api;
    core->info.limits.coop_f16 = wants_coop(info);
    vk->limits = core->info.limits;
    const char *queues = getenv("UQMERGE_VK_QUEUES");
    core->own_transfer = info->own_transfer && !(queues && strcmp(queues, "1") == 0);

    int ret = create_device(vk, err);
    take_switches(core);
    if (ret == UQM_OK)
        ret = uqm_vk_queue_init(vk, UQM_VK_COMPUTE, info->compute_family, 0, err);
    if (ret == UQM_OK && core->own_transfer)
        ret = uqm_vk_queue_init(vk, UQM_VK_TRANSFER, info->transfer_family, info->transfer_queue,
                                err);
    if (ret == UQM_OK)
        ret = uqm_vk_memory_init(vk, err);
    if (ret == UQM_OK)
        ret = load_cache(vk, err);
    core->profile = core->profiling ? calloc(UQM_VK_MAX_PROFILE, sizeof *core->profile) : NULL;
    core->profiling = core->profile;
    if (ret < 0)
        uqm_vk_core_destroy(vk);
    return ret;
}

static void report_profile(const struct uqm_vk *vk)
{
    const struct uqm_vk_core *core = vk->core;
    for (size_t i = 0; i < core->n_profile; i++) {
        const struct uqm_vk_profile *p = &core->profile[i];
        double seconds = (double) p->ns * 1e-9;
        uqm_log(vk->device.env, UQM_LOG_INFO,
                "%s: %-40s %8llu calls %10.3f ms %9.2f GFLOP/s %8.2f GB/s", vk->device.id, p->what,
                (unsigned long long) p->calls, seconds * 1e3,
                seconds > 0 ? (double) p->work * 1e-9 / seconds : 0,
                seconds > 0 ? (double) p->bytes * 1e-9 / seconds : 0);
    }
}

void uqm_vk_core_destroy(struct uqm_vk *vk)
{
    struct uqm_vk_core *core = vk->core;
    if (!core)
        return;
    if (core->device && core->api.DeviceWaitIdle) {
        core->api.DeviceWaitIdle(core->device); /* also of a lost device: it returns */
        store_cache(vk);
        uqm_vk_pipelines_finish(vk);
        for (int i = 0; i < UQM_VK_N_QUEUES; i++)
            uqm_vk_queue_finish(vk, (enum uqm_vk_queue_id) i);
        uqm_vk_memory_finish(vk);
    }
    if (core->profile)
        report_profile(vk);
    if (core->device && core->api.DestroyDevice)
        core->api.DestroyDevice(core->device, NULL);
    uqm_vk_cache_finish(&core->cache);
    free(core->cache_path);
    free(core->profile);
    free(core);
    vk->core = NULL;
}
