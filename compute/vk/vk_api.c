#include "compute/vk/vk_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int missing(struct uqm_err *err, const char *where, const char *name)
{
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "Vulkan: %s has no %s", where, name);
}

int uqm_vk_api_open(struct uqm_vk_api *api, struct uqm_err *err)
{
    const char *named = getenv("UQMERGE_VK_LOADER");
    const char *names[] = { "libvulkan.so.1", "libvulkan.so", "libvulkan.1.dylib" };
    char reason[256] = "";

    *api = (struct uqm_vk_api){ 0 };
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !api->library; i++) {
        api->library = dlopen(named ? named : names[i], RTLD_NOW | RTLD_LOCAL);
        if (!api->library && i == 0) {
            const char *said = dlerror();
            snprintf(reason, sizeof reason, "%s", said ? said : names[i]);
        }
    }
    if (!api->library)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "Vulkan: no loader is installed (%s)", reason);

    void *entry = dlsym(api->library, "vkGetInstanceProcAddr");
    if (!entry) {
        uqm_vk_api_close(api);
        return missing(err, "the loader", "vkGetInstanceProcAddr");
    }
    memcpy(&api->GetInstanceProcAddr, &entry, sizeof entry);
#define LOAD(name)                                                                                 \
    api->name = (PFN_vk##name) api->GetInstanceProcAddr(VK_NULL_HANDLE, "vk" #name);               \
    if (!api->name) {                                                                              \
        uqm_vk_api_close(api);                                                                     \
        return missing(err, "the loader", "vk" #name " (Vulkan 1.2 is needed)");                   \
    }
    UQM_VK_GLOBAL_ENTRIES(LOAD)
#undef LOAD
    return UQM_OK;
}

int uqm_vk_api_load_instance(struct uqm_vk_api *api, VkInstance instance, struct uqm_err *err)
{
#define LOAD(name)                                                                                 \
    api->name = (PFN_vk##name) api->GetInstanceProcAddr(instance, "vk" #name);                     \
    if (!api->name)                                                                                \
        return missing(err, "the instance", "vk" #name);
    UQM_VK_INSTANCE_ENTRIES(LOAD)
#undef LOAD
#define LOAD(name) api->name = (PFN_vk##name) api->GetInstanceProcAddr(instance, "vk" #name);
    UQM_VK_OPTIONAL_ENTRIES(LOAD)
#undef LOAD
    return UQM_OK;
}

int uqm_vk_api_load_device(struct uqm_vk_api *api, VkDevice device, struct uqm_err *err)
{
#define LOAD(name)                                                                                 \
    api->name = (PFN_vk##name) api->GetDeviceProcAddr(device, "vk" #name);                         \
    if (!api->name)                                                                                \
        return missing(err, "the device", "vk" #name);
    UQM_VK_DEVICE_ENTRIES(LOAD)
#undef LOAD
    return UQM_OK;
}

void uqm_vk_api_close(struct uqm_vk_api *api)
{
    if (api->library)
        dlclose(api->library);
    *api = (struct uqm_vk_api){ 0 };
}

const char *uqm_vk_result_name(VkResult result)
{
    switch (result) {
#define NAME(r)                                                                                    \
    case r: return #r;
        NAME(VK_SUCCESS)
        NAME(VK_NOT_READY)
        NAME(VK_TIMEOUT)
        NAME(VK_INCOMPLETE)
        NAME(VK_ERROR_OUT_OF_HOST_MEMORY)
        NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        NAME(VK_ERROR_INITIALIZATION_FAILED)
        NAME(VK_ERROR_DEVICE_LOST)
        NAME(VK_ERROR_MEMORY_MAP_FAILED)
        NAME(VK_ERROR_LAYER_NOT_PRESENT)
        NAME(VK_ERROR_EXTENSION_NOT_PRESENT)
        NAME(VK_ERROR_FEATURE_NOT_PRESENT)
        NAME(VK_ERROR_INCOMPATIBLE_DRIVER)
        NAME(VK_ERROR_TOO_MANY_OBJECTS)
        NAME(VK_ERROR_FRAGMENTED_POOL)
        NAME(VK_ERROR_FRAGMENTATION)
        NAME(VK_ERROR_OUT_OF_POOL_MEMORY)
        NAME(VK_ERROR_INVALID_EXTERNAL_HANDLE)
        NAME(VK_ERROR_INVALID_SHADER_NV)
        NAME(VK_ERROR_UNKNOWN)
#undef NAME
    default: return "an unknown VkResult";
    }
}
