/*
 * Vulkan's entry points in one table. The loader is opened at run time, so that the program starts
 * where no Vulkan is installed; a test may replace any entry.
 */
#ifndef UQM_COMPUTE_VK_API_H
#define UQM_COMPUTE_VK_API_H

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES 1
#endif
#include <vulkan/vulkan.h>

#include "src/base/err.h"

/* Found without an instance. vkEnumerateInstanceVersion is Vulkan 1.1's. */
#define UQM_VK_GLOBAL_ENTRIES(X)                                                                   \
    X(CreateInstance)                                                                              \
    X(EnumerateInstanceExtensionProperties)                                                        \
    X(EnumerateInstanceLayerProperties)                                                            \
    X(EnumerateInstanceVersion)

#define UQM_VK_INSTANCE_ENTRIES(X)                                                                 \
    X(CreateDevice)                                                                                \
    X(DestroyInstance)                                                                             \
    X(EnumerateDeviceExtensionProperties)                                                          \
    X(EnumeratePhysicalDevices)                                                                    \
    X(GetDeviceProcAddr)                                                                           \
    X(GetPhysicalDeviceFeatures2)                                                                  \
    X(GetPhysicalDeviceFormatProperties)                                                           \
    X(GetPhysicalDeviceMemoryProperties2)                                                          \
    X(GetPhysicalDeviceProperties2)                                                                \
    X(GetPhysicalDeviceQueueFamilyProperties)

#define UQM_VK_DEVICE_ENTRIES(X)                                                                   \
    X(AllocateCommandBuffers)                                                                      \
    X(AllocateDescriptorSets)                                                                      \
    X(AllocateMemory)                                                                              \
    X(BeginCommandBuffer)                                                                          \
    X(BindBufferMemory)                                                                            \
    X(CmdBindDescriptorSets)                                                                       \
    X(CmdBindPipeline)                                                                             \
    X(CmdCopyBuffer)                                                                               \
    X(CmdDispatch)                                                                                 \
    X(CmdPipelineBarrier)                                                                          \
    X(CmdPushConstants)                                                                            \
    X(CmdResetQueryPool)                                                                           \
    X(CmdWriteTimestamp)                                                                           \
    X(CreateBuffer)                                                                                \
    X(CreateBufferView)                                                                            \
    X(CreateCommandPool)                                                                           \
    X(CreateComputePipelines)                                                                      \
    X(CreateDescriptorPool)                                                                        \
    X(CreateDescriptorSetLayout)                                                                   \
    X(CreatePipelineCache)                                                                         \
    X(CreatePipelineLayout)                                                                        \
    X(CreateQueryPool)                                                                             \
    X(CreateSemaphore)                                                                             \
    X(CreateShaderModule)                                                                          \
    X(DestroyBuffer)                                                                               \
    X(DestroyBufferView)                                                                           \
    X(DestroyCommandPool)                                                                          \
    X(DestroyDescriptorPool)                                                                       \
    X(DestroyDescriptorSetLayout)                                                                  \
    X(DestroyDevice)                                                                               \
    X(DestroyPipeline)                                                                             \
    X(DestroyPipelineCache)                                                                        \
    X(DestroyPipelineLayout)                                                                       \
    X(DestroyQueryPool)                                                                            \
    X(DestroySemaphore)                                                                            \
    X(DestroyShaderModule)                                                                         \
    X(DeviceWaitIdle)                                                                              \
    X(EndCommandBuffer)                                                                            \
    X(FlushMappedMemoryRanges)                                                                     \
    X(FreeMemory)                                                                                  \
    X(GetBufferMemoryRequirements)                                                                 \
    X(GetDeviceQueue)                                                                              \
    X(GetPipelineCacheData)                                                                        \
    X(GetQueryPoolResults)                                                                         \
    X(GetSemaphoreCounterValue)                                                                    \
    X(InvalidateMappedMemoryRanges)                                                                \
    X(MapMemory)                                                                                   \
    X(QueueSubmit)                                                                                 \
    X(ResetCommandPool)                                                                            \
    X(ResetDescriptorPool)                                                                         \
    X(UpdateDescriptorSets)                                                                        \
    X(WaitSemaphores)

/* NULL where the instance or device lacks the extension. */
#define UQM_VK_OPTIONAL_ENTRIES(X)                                                                 \
    X(CreateDebugUtilsMessengerEXT)                                                                \
    X(DestroyDebugUtilsMessengerEXT)                                                               \
    X(GetDeviceFaultInfoEXT)                                                                       \
    X(GetMemoryHostPointerPropertiesEXT)                                                           \
    X(GetPhysicalDeviceCooperativeMatrixPropertiesKHR)

/* Headers before 1.3.255 do not know cooperative matrices: the few words of them that are asked. */
#ifndef VK_KHR_cooperative_matrix
#define VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME "VK_KHR_cooperative_matrix"
#define VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR                          \
    ((VkStructureType) 1000506000)
#define VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR ((VkStructureType) 1000506001)
#define VK_SCOPE_SUBGROUP_KHR                               3
#define VK_COMPONENT_TYPE_FLOAT16_KHR                       0
#define VK_COMPONENT_TYPE_FLOAT32_KHR                       1
typedef struct VkPhysicalDeviceCooperativeMatrixFeaturesKHR {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix;
    VkBool32 cooperativeMatrixRobustBufferAccess;
} VkPhysicalDeviceCooperativeMatrixFeaturesKHR;
typedef struct VkCooperativeMatrixPropertiesKHR {
    VkStructureType sType;
    void *pNext;
    uint32_t MSize, NSize, KSize;
    int AType, BType, CType, ResultType;
    VkBool32 saturatingAccumulation;
    int scope;
} VkCooperativeMatrixPropertiesKHR;
typedef VkResult(VKAPI_PTR *PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)(
    VkPhysicalDevice physicalDevice, uint32_t *pPropertyCount,
    VkCooperativeMatrixPropertiesKHR *pProperties);
#endif

struct uqm_vk_api {
#define UQM_VK_FIELD(name) PFN_vk##name name;
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
    UQM_VK_GLOBAL_ENTRIES(UQM_VK_FIELD)
    UQM_VK_INSTANCE_ENTRIES(UQM_VK_FIELD)
    UQM_VK_DEVICE_ENTRIES(UQM_VK_FIELD)
    UQM_VK_OPTIONAL_ENTRIES(UQM_VK_FIELD)
#undef UQM_VK_FIELD
    void *library; /* dlopen's */
};

/* Open the loader and fill the global entries. UQM_ERR_UNSUPPORTED: there is none, and why. */
int uqm_vk_api_open(struct uqm_vk_api *api, struct uqm_err *err);
int uqm_vk_api_load_instance(struct uqm_vk_api *api, VkInstance instance, struct uqm_err *err);
int uqm_vk_api_load_device(struct uqm_vk_api *api, VkDevice device, struct uqm_err *err);
/* Close the library; every handle made through it must be gone. */
void uqm_vk_api_close(struct uqm_vk_api *api);

/* "VK_ERROR_DEVICE_LOST" */
const char *uqm_vk_result_name(VkResult result);

#endif
