#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/vk_core.h"

static const char *const validation_layer = "VK_LAYER_KHRONOS_validation";

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user)
{
    struct uqm_vk_instance *instance = user;
    const char *text = data && data->pMessage ? data->pMessage : "(no text)";
    (void) severity;
    (void) types;
    pthread_mutex_lock(&instance->lock);
    if (atomic_fetch_add(&instance->n_messages, 1) == 0)
        snprintf(instance->first_message, sizeof instance->first_message, "%s", text);
    if (instance->env)
        uqm_log(instance->env, UQM_LOG_ERROR, "Vulkan validation: %s", text);
    pthread_mutex_unlock(&instance->lock);
    return VK_FALSE;
}

static bool has_extension(const VkExtensionProperties *list, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(list[i].extensionName, name) == 0)
            return true;
    return false;
}

static VkExtensionProperties *list_extensions(const struct uqm_vk_api *api, const char *layer,
                                              uint32_t *n)
{
    VkExtensionProperties *list = NULL;
    *n = 0;
    if (api->EnumerateInstanceExtensionProperties(layer, n, NULL) == VK_SUCCESS && *n)
        list = calloc(*n, sizeof *list);
    if (!list || api->EnumerateInstanceExtensionProperties(layer, n, list) < 0)
        *n = 0;
    return list;
}

static bool has_layer(const struct uqm_vk_api *api, const char *name)
{
    VkLayerProperties *list = NULL;
    uint32_t n = 0;
    bool found = false;
    if (api->EnumerateInstanceLayerProperties(&n, NULL) == VK_SUCCESS && n)
        list = calloc(n, sizeof *list);
    if (list && api->EnumerateInstanceLayerProperties(&n, list) >= 0)
        for (uint32_t i = 0; i < n && !found; i++)
            found = strcmp(list[i].layerName, name) == 0;
    free(list);
    return found;
}

/* "1": validation with its synchronization checks; "gpu": also checks inside shaders. */
static const char *validation_wanted(void)
{
    const char *s = getenv("UQMERGE_VK_VALIDATE");
    return s && *s && strcmp(s, "0") != 0 ? s : NULL;
}

/* New enough, and with the layer that is asked for. */
static int check_loader(uint32_t *version, const struct uqm_vk_api *api, const char *validate,
                        struct uqm_err *err)
{
    if (validate && !has_layer(api, validation_layer))
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "UQMERGE_VK_VALIDATE: %s is not installed",
                        validation_layer);
    if (api->EnumerateInstanceVersion(version) != VK_SUCCESS || *version < VK_API_VERSION_1_2)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "Vulkan: the loader is older than Vulkan 1.2");
    return UQM_OK;
}

static int create_handle(struct uqm_vk_instance *instance, struct uqm_err *err)
{
    struct uqm_vk_api *api = &instance->api;
    const char *validate = validation_wanted();
    const char *extensions[4];
    uint32_t n_extensions = 0, n_known, version = VK_API_VERSION_1_0;
    VkExtensionProperties *known = list_extensions(api, NULL, &n_known);
    VkInstanceCreateFlags flags = 0;

    if (has_extension(known, n_known, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) {
        extensions[n_extensions++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
        flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    }
    free(known);
    if (validate) {
        extensions[n_extensions++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
        extensions[n_extensions++] = VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME;
    }
    int ret = check_loader(&version, api, validate, err);
    if (ret < 0)
        return ret;
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = instance,
    };
    VkValidationFeatureEnableEXT enables[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT,
    };
    VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger,
        .enabledValidationFeatureCount = validate && strcmp(validate, "gpu") == 0 ? 3 : 1,
        .pEnabledValidationFeatures = enables,
    };
    VkApplicationInfo app = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "uqmerge",
        .apiVersion = version < VK_API_VERSION_1_3 ? VK_API_VERSION_1_2 : VK_API_VERSION_1_3,
    };
    VkInstanceCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = validate ? &features : NULL,
        .flags = flags,
        .pApplicationInfo = &app,
        .enabledLayerCount = validate ? 1 : 0,
        .ppEnabledLayerNames = &validation_layer,
        .enabledExtensionCount = n_extensions,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = api->CreateInstance(&create, NULL, &instance->handle);
    if (result != VK_SUCCESS) {
        instance->handle = VK_NULL_HANDLE;
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "Vulkan: no instance could be made: %s%s",
                        uqm_vk_result_name(result),
                        result == VK_ERROR_INCOMPATIBLE_DRIVER ? " (no driver is installed)" : "");
    }
    ret = uqm_vk_api_load_instance(api, instance->handle, err);
    if (ret < 0 || !validate)
        return ret;
    instance->validating = true;
    if (!api->CreateDebugUtilsMessengerEXT ||
        api->CreateDebugUtilsMessengerEXT(instance->handle, &messenger, NULL,
                                          &instance->messenger) != VK_SUCCESS)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "UQMERGE_VK_VALIDATE: no messenger could be made");
    return UQM_OK;
}

static int list_devices(struct uqm_vk_instance *instance, const struct uqm_vk_hooks *hooks,
                        struct uqm_err *err)
{
    const struct uqm_vk_api *api = &instance->api;
    uint32_t n = 0;
    VkResult result = api->EnumeratePhysicalDevices(instance->handle, &n, NULL);
    if (result != VK_SUCCESS)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "Vulkan: devices could not be listed: %s",
                        uqm_vk_result_name(result));
    if (n == 0)
        return UQM_OK;
    VkPhysicalDevice *handles = calloc(n, sizeof *handles);
    instance->infos = calloc(n, sizeof *instance->infos);
    if (!handles || !instance->infos) {
        free(handles);
        return uqm_fail(err, UQM_ERR_NOMEM, "Vulkan: the list of devices: no memory");
    }
    result = api->EnumeratePhysicalDevices(instance->handle, &n, handles);
    if (result >= 0)
        instance->n_infos = n;
    for (uint32_t i = 0; i < instance->n_infos; i++) {
        uqm_vk_info_query(&instance->infos[i], api, handles[i], i);
        if (hooks && hooks->info)
            hooks->info(&instance->infos[i], hooks->ctx);
    }
    free(handles);
    uqm_vk_info_rank(instance->infos, instance->n_infos);
    return UQM_OK;
}

int uqm_vk_instance_create(struct uqm_vk_instance **out, const struct uqm_env *env,
                           const struct uqm_vk_hooks *hooks, struct uqm_err *err)
{
    struct uqm_vk_instance *instance = calloc(1, sizeof *instance);
    *out = NULL;
    if (!instance)
        return uqm_fail(err, UQM_ERR_NOMEM, "Vulkan: no memory");
    instance->env = env;
    pthread_mutex_init(&instance->lock, NULL);

    int ret = uqm_vk_api_open(&instance->api, err);
    if (ret == UQM_OK && hooks && hooks->api)
        hooks->api(&instance->api, hooks->ctx);
    if (ret == UQM_OK)
        ret = create_handle(instance, err);
    if (ret == UQM_OK && hooks && hooks->api)
        hooks->api(&instance->api, hooks->ctx);
    if (ret == UQM_OK)
        ret = list_devices(instance, hooks, err);
    if (ret < 0) {
        uqm_vk_instance_destroy(&instance);
        return ret;
    }
    *out = instance;
    return UQM_OK;
}

void uqm_vk_instance_destroy(struct uqm_vk_instance **instance)
{
    struct uqm_vk_instance *in = *instance;
    *instance = NULL;
    if (!in)
        return;
    if (in->messenger)
        in->api.DestroyDebugUtilsMessengerEXT(in->handle, in->messenger, NULL);
    if (in->handle)
        in->api.DestroyInstance(in->handle, NULL); /* its own messages still come */
    uqm_vk_api_close(&in->api);
    pthread_mutex_destroy(&in->lock);
    free(in->infos);
    free(in);
}
