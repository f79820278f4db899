#include "compute/vk/vk_info.h"
#include "tests/unit/test.h"

/* Made-up devices: what a machine with all of them would list. */
enum { INTEGRATED, DISCRETE, OTHER_DRIVER, SOFTWARE, OLD, N_DEVICES };

static void make(struct uqm_vk_info *info, uint32_t n, const char *name, VkPhysicalDeviceType type,
                 VkDriverId driver, uint64_t gib, uint8_t uuid)
{
    *info = (struct uqm_vk_info){
        .n = n, .type = type, .driver_id = driver, .local_bytes = gib << 30, .free_bytes = gib << 30
    };
    snprintf(info->name, sizeof info->name, "%s", name);
    memset(info->uuid, uuid, sizeof info->uuid);
}

static void make_all(struct uqm_vk_info *infos)
{
    make(&infos[INTEGRATED], 0, "Intel(R) Iris(R) Xe Graphics (TGL GT2)",
         VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU, VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA, 24, 1);
    make(&infos[DISCRETE], 1, "AMD Radeon RX 6800 (RADV NAVI21)",
         VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, VK_DRIVER_ID_MESA_RADV, 16, 2);
    make(&infos[OTHER_DRIVER], 2, "AMD Radeon RX 6800", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU,
         VK_DRIVER_ID_AMD_OPEN_SOURCE, 17, 2);
    make(&infos[SOFTWARE], 3, "llvmpipe (LLVM 15.0.6, 256 bits)", VK_PHYSICAL_DEVICE_TYPE_CPU,
         VK_DRIVER_ID_MESA_LLVMPIPE, 64, 3);
    make(&infos[OLD], 4, "Old Discrete", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU,
         VK_DRIVER_ID_NVIDIA_PROPRIETARY, 80, 4);
    snprintf(infos[OLD].unusable, sizeof infos[OLD].unusable, "it has no timeline semaphores");
    uqm_vk_info_rank(infos, N_DEVICES);
}

static uint32_t chosen(const struct uqm_vk_info *infos, size_t n, const char *spec)
{
    struct uqm_err err = { 0 };
    const struct uqm_vk_info *info;
    assert_ok(uqm_vk_info_choose(&info, infos, n, spec, &err), err);
    return info ? info->n : UINT32_MAX;
}

static void a_usable_discrete_card_comes_first(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    (void) state;
    make_all(infos);
    assert_int_equal(chosen(infos, N_DEVICES, "auto"), DISCRETE);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan"), DISCRETE);
    assert_int_equal(chosen(infos, 1, "auto"), INTEGRATED);
}

static void of_equal_types_more_memory_comes_first(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    (void) state;
    make_all(infos);
    infos[OTHER_DRIVER].uuid[0] = 9; /* another card now */
    infos[OTHER_DRIVER].driver_id = VK_DRIVER_ID_NVIDIA_PROPRIETARY;
    uqm_vk_info_rank(infos, N_DEVICES);
    assert_int_equal(chosen(infos, N_DEVICES, "auto"), OTHER_DRIVER);
    infos[OTHER_DRIVER].driver_id =
        VK_DRIVER_ID_AMD_PROPRIETARY; /* of another card it says little */
    assert_int_equal(chosen(infos, N_DEVICES, "auto"), OTHER_DRIVER);
}

static void a_second_driver_of_one_card_is_passed_over(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    (void) state;
    make_all(infos);
    assert_string_equal(infos[DISCRETE].passed_over, "");
    assert_non_null(strstr(infos[OTHER_DRIVER].passed_over, "same GPU as vulkan:1"));
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:radeon"), DISCRETE);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:2"), OTHER_DRIVER);

    infos[OTHER_DRIVER].uuid[0] = 9;
    infos[DISCRETE].has_luid = infos[OTHER_DRIVER].has_luid = true;
    uqm_vk_info_rank(infos, N_DEVICES);
    assert_non_null(strstr(infos[OTHER_DRIVER].passed_over, "same GPU as vulkan:1"));

    infos[OTHER_DRIVER].driver_id = VK_DRIVER_ID_MOLTENVK; /* its ids say nothing */
    uqm_vk_info_rank(infos, N_DEVICES);
    assert_string_equal(infos[OTHER_DRIVER].passed_over, "");
}

static void a_usable_driver_comes_before_an_unusable_one_of_the_same_card(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    (void) state;
    make_all(infos);
    snprintf(infos[DISCRETE].unusable, sizeof infos[DISCRETE].unusable, "it is broken");
    uqm_vk_info_rank(infos, N_DEVICES);
    assert_int_equal(chosen(infos, N_DEVICES, "auto"), OTHER_DRIVER);
}

static void software_is_used_only_when_it_is_named(void **state)
{
    struct uqm_vk_info infos[N_DEVICES], alone;
    (void) state;
    make_all(infos);
    alone = infos[SOFTWARE];
    alone.n = 0;
    assert_int_equal(chosen(&alone, 1, "auto"), UINT32_MAX);
    assert_int_equal(chosen(&alone, 1, "vulkan"), 0);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:3"), SOFTWARE);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:LLVMpipe"), SOFTWARE);
    assert_non_null(strstr(infos[SOFTWARE].passed_over, "software"));
}

static void a_device_is_named_by_number_uuid_or_part_of_its_name(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    (void) state;
    make_all(infos);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:0"), INTEGRATED);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:iris"), INTEGRATED);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:6800 (RADV"), DISCRETE);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:6800"), DISCRETE); /* no sixthousandth */
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:01010101-0101-0101-0101-010101010101"),
                     INTEGRATED);
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:03030303030303030303030303030303"), SOFTWARE);
    /* One card's two drivers share the UUID. */
    assert_int_equal(chosen(infos, N_DEVICES, "vulkan:02020202-0202-0202-0202-020202020202"),
                     DISCRETE);
}

static void an_ambiguous_part_of_a_name_lists_the_candidates(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    const struct uqm_vk_info *info;
    struct uqm_err err = { 0 };
    (void) state;
    make_all(infos);
    assert_fails(uqm_vk_info_choose(&info, infos, N_DEVICES, "vulkan:r", &err), err, UQM_ERR_ARG,
                 "several devices match: vulkan:0 (Intel(R) Iris(R)");
    assert_non_null(strstr(err.msg, "vulkan:1 (AMD Radeon RX 6800 (RADV NAVI21))"));
    assert_null(info);
}

static void an_unknown_name_lists_what_there_is(void **state)
{
    static const char *const specs[] = { "vulkan:5",  "vulkan:99999999999999999999",
                                         "vulkan:-1", "vulkan:matrox",
                                         "vulkan:",   "vulkan:0202020202020202020202020202020" };
    struct uqm_vk_info infos[N_DEVICES];
    const struct uqm_vk_info *info;
    struct uqm_err err = { 0 };
    (void) state;
    make_all(infos);
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        assert_fails(uqm_vk_info_choose(&info, infos, N_DEVICES, specs[i], &err), err, UQM_ERR_ARG,
                     "no such device");
        assert_non_null(strstr(err.msg, specs[i]));
        assert_non_null(strstr(err.msg, "vulkan:0 (Intel"));
        assert_null(info);
    }
    assert_fails(uqm_vk_info_choose(&info, NULL, 0, "vulkan:0", &err), err, UQM_ERR_ARG,
                 "there is none");
}

static void a_device_that_cannot_be_used_is_refused_with_the_reason(void **state)
{
    struct uqm_vk_info infos[N_DEVICES];
    const struct uqm_vk_info *info;
    struct uqm_err err = { 0 };
    (void) state;
    make_all(infos);
    assert_fails(uqm_vk_info_choose(&info, infos, N_DEVICES, "vulkan:old", &err), err,
                 UQM_ERR_UNSUPPORTED,
                 "vulkan:4 (Old Discrete) cannot be used: it has no timeline semaphores");
    assert_null(info);
    assert_fails(uqm_vk_info_choose(&info, &infos[OLD], 1, "vulkan", &err), err,
                 UQM_ERR_UNSUPPORTED, "it has no timeline semaphores");
    assert_int_equal(chosen(&infos[OLD], 1, "auto"), UINT32_MAX);
    assert_fails(uqm_vk_info_choose(&info, NULL, 0, "vulkan", &err), err, UQM_ERR_UNSUPPORTED,
                 "lists no device");
}

static void quirks_follow_driver_and_vendor_and_can_be_switched(void **state)
{
    struct uqm_vk_info info = { .driver_id = VK_DRIVER_ID_MOLTENVK, .vendor = 0x1002 };
    (void) state;
    info.host_import_align = 4096;
    info.limits.subgroup_arithmetic = true;
    uqm_vk_quirks_apply(&info, NULL);
    assert_int_equal(info.host_import_align, 0);
    assert_false(info.limits.subgroup_arithmetic);
    assert_non_null(strstr(info.quirks, "moltenvk-import"));

    info.host_import_align = 4096;
    info.limits.subgroup_arithmetic = true;
    uqm_vk_quirks_apply(&info, "-moltenvk-import");
    assert_int_equal(info.host_import_align, 4096);
    assert_false(info.limits.subgroup_arithmetic);

    info.vendor = 0x106b; /* Apple's own: its sums are right */
    info.limits.subgroup_arithmetic = true;
    uqm_vk_quirks_apply(&info, "-moltenvk-import,-unknown");
    assert_true(info.limits.subgroup_arithmetic);
    assert_string_equal(info.quirks, "");

    info.driver_id = VK_DRIVER_ID_MESA_RADV;
    uqm_vk_quirks_apply(&info, "+moltenvk-amd-subgroups");
    assert_false(info.limits.subgroup_arithmetic);
    info.driver_id = VK_DRIVER_ID_MOLTENVK;
    info.host_import_align = 4096;
    uqm_vk_quirks_apply(&info, "none");
    assert_int_equal(info.host_import_align, 4096);
}

/* ---- what is made of a driver's answers ---- */

/* A driver that answers as it is told here. */
static struct {
    VkPhysicalDeviceType type;
    uint32_t api_version, max_push, max_shared;
    VkBool32 timeline;
    VkQueueFamilyProperties families[4];
    uint32_t n_families;
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t heap_budget[VK_MAX_MEMORY_HEAPS];
    bool tells_budget;
} driver;

static void *chained(void *first, VkStructureType type)
{
    VkBaseOutStructure *s = first;
    while (s && s->sType != type)
        s = s->pNext;
    return s;
}

static VKAPI_ATTR VkResult VKAPI_CALL list_extensions(VkPhysicalDevice handle, const char *layer,
                                                      uint32_t *n, VkExtensionProperties *list)
{
    (void) handle;
    (void) layer;
    *n = driver.tells_budget;
    if (list && *n)
        snprintf(list[0].extensionName, sizeof list[0].extensionName, "%s",
                 VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL tell_properties(VkPhysicalDevice handle,
                                                  VkPhysicalDeviceProperties2 *p)
{
    (void) handle;
    p->properties.apiVersion = driver.api_version;
    p->properties.deviceType = driver.type;
    p->properties.limits = (VkPhysicalDeviceLimits){
        .maxStorageBufferRange = 1 << 27,
        .minStorageBufferOffsetAlignment = 64,
        .minTexelBufferOffsetAlignment = 256,
        .maxPerStageDescriptorStorageBuffers = 4,
        .maxPerStageResources = 128,
        .maxPushConstantsSize = driver.max_push,
        .maxComputeWorkGroupInvocations = 128,
        .maxComputeSharedMemorySize = driver.max_shared,
    };
}

static VKAPI_ATTR void VKAPI_CALL tell_features(VkPhysicalDevice handle,
                                                VkPhysicalDeviceFeatures2 *f)
{
    VkPhysicalDeviceTimelineSemaphoreFeatures *timeline =
        chained(f, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES);
    (void) handle;
    if (timeline)
        timeline->timelineSemaphore = driver.timeline;
}

static VKAPI_ATTR void VKAPI_CALL tell_format(VkPhysicalDevice handle, VkFormat format,
                                              VkFormatProperties *p)
{
    (void) handle;
    (void) format;
    *p = (VkFormatProperties){ 0 };
}

static VKAPI_ATTR void VKAPI_CALL tell_memory(VkPhysicalDevice handle,
                                              VkPhysicalDeviceMemoryProperties2 *m)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget =
        chained(m, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
    (void) handle;
    m->memoryProperties = driver.memory;
    assert_true(!budget || driver.tells_budget);
    if (budget)
        memcpy(budget->heapBudget, driver.heap_budget, sizeof driver.heap_budget);
}

static VKAPI_ATTR void VKAPI_CALL tell_families(VkPhysicalDevice handle, uint32_t *n,
                                                VkQueueFamilyProperties *list)
{
    (void) handle;
    *n = driver.n_families;
    memcpy(list, driver.families, driver.n_families * sizeof *list);
}

static struct uqm_vk_info asked(void)
{
    const struct uqm_vk_api api = {
        .EnumerateDeviceExtensionProperties = list_extensions,
        .GetPhysicalDeviceProperties2 = tell_properties,
        .GetPhysicalDeviceFeatures2 = tell_features,
        .GetPhysicalDeviceFormatProperties = tell_format,
        .GetPhysicalDeviceMemoryProperties2 = tell_memory,
        .GetPhysicalDeviceQueueFamilyProperties = tell_families,
    };
    struct uqm_vk_info info;
    uqm_vk_info_query(&info, &api, VK_NULL_HANDLE, 0);
    return info;
}

static void add_family(VkQueueFlags flags, uint32_t n_queues)
{
    driver.families[driver.n_families++] =
        (VkQueueFamilyProperties){ .queueFlags = flags, .queueCount = n_queues };
}

static void add_heap(uint64_t mib, VkMemoryHeapFlags flags)
{
    VkPhysicalDeviceMemoryProperties *m = &driver.memory;
    m->memoryHeaps[m->memoryHeapCount++] = (VkMemoryHeap){ mib << 20, flags };
}

static void add_type(uint32_t heap, VkMemoryPropertyFlags flags)
{
    VkPhysicalDeviceMemoryProperties *m = &driver.memory;
    m->memoryTypes[m->memoryTypeCount++] = (VkMemoryType){ flags, heap };
}

enum {
    GRAPHICS = VK_QUEUE_GRAPHICS_BIT,
    COMPUTE = VK_QUEUE_COMPUTE_BIT,
    COPIES = VK_QUEUE_TRANSFER_BIT,
    SPARSE = VK_QUEUE_SPARSE_BINDING_BIT,
    VIDEO = 0x20,
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
};

/* A card of 8 GiB with one family of queues. */
static void make_driver(void)
{
    memset(&driver, 0, sizeof driver);
    driver.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    driver.api_version = VK_API_VERSION_1_2;
    driver.max_push = 128;
    driver.max_shared = 16384;
    driver.timeline = VK_TRUE;
    add_family(GRAPHICS | COMPUTE | COPIES, 1);
    add_heap(8192, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT);
    add_heap(16384, 0);
    add_type(0, LOCAL);
    add_type(1, VISIBLE);
}

static void copies_get_a_queue_that_is_made_for_them(void **state)
{
    (void) state;
    make_driver();
    struct uqm_vk_info info = asked();
    assert_string_equal(info.unusable, "");
    assert_false(info.own_transfer);

    add_family(VIDEO | COPIES | SPARSE, 1); /* a decoder's */
    info = asked();
    assert_int_equal(info.compute_family, 0);
    assert_false(info.own_transfer);

    add_family(COMPUTE | COPIES, 2);
    info = asked();
    assert_int_equal(info.compute_family, 2);
    assert_true(info.own_transfer); /* the family's second */
    assert_int_equal(info.transfer_family, 2);
    assert_int_equal(info.transfer_queue, 1);

    add_family(COPIES | SPARSE, 2);
    info = asked();
    assert_int_equal(info.compute_family, 2);
    assert_int_equal(info.transfer_family, 3);
    assert_int_equal(info.transfer_queue, 0);
}

/* Resizable BAR is; the window of 256 MiB is not. */
static void weights_are_written_in_place_where_all_of_the_memory_is_seen(void **state)
{
    (void) state;
    make_driver();
    assert_false(asked().limits.unified);
    add_heap(256, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT);
    add_type(2, LOCAL | VISIBLE);
    assert_false(asked().limits.unified);
    add_type(0, LOCAL | VISIBLE);
    assert_true(asked().limits.unified);
    assert_false(asked().on_host);
    driver.type = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    assert_true(asked().on_host);
}

static void of_two_cards_the_one_with_more_memory_left_comes_first(void **state)
{
    struct uqm_vk_info infos[2];
    (void) state;
    make_driver();
    infos[1] = asked();
    driver.tells_budget = true;
    driver.heap_budget[0] = UINT64_C(3) << 30;
    infos[0] = asked(); /* somebody else uses most of it */
    infos[1].n = 1;
    assert_int_equal(infos[0].local_bytes >> 20, 8192);
    assert_int_equal(infos[0].free_bytes >> 20, 3072);
    uqm_vk_info_rank(infos, 2); /* neither tells a UUID: they are two */
    assert_string_equal(infos[0].passed_over, "");
    assert_int_equal(chosen(infos, 2, "auto"), 1);
}

static void what_a_device_lacks_is_said(void **state)
{
    (void) state;
    make_driver();
    driver.timeline = VK_FALSE;
    assert_non_null(strstr(asked().unusable, "no timeline semaphores"));
    make_driver();
    driver.api_version = VK_API_VERSION_1_1;
    assert_non_null(strstr(asked().unusable, "older than Vulkan 1.2"));
    make_driver();
    driver.max_push = 124;
    assert_non_null(strstr(asked().unusable, "124 bytes of push constants"));
    make_driver();
    driver.max_shared = 8192;
    assert_non_null(strstr(asked().unusable, "8192 bytes of shared memory"));
    make_driver();
    driver.families[0].queueFlags = GRAPHICS;
    assert_non_null(strstr(asked().unusable, "no compute queue"));
    make_driver();
    driver.memory.memoryHeaps[0].flags = 0;
    assert_non_null(strstr(asked().unusable, "no memory of its own"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usable_discrete_card_comes_first),
        cmocka_unit_test(of_equal_types_more_memory_comes_first),
        cmocka_unit_test(a_second_driver_of_one_card_is_passed_over),
        cmocka_unit_test(a_usable_driver_comes_before_an_unusable_one_of_the_same_card),
        cmocka_unit_test(software_is_used_only_when_it_is_named),
        cmocka_unit_test(a_device_is_named_by_number_uuid_or_part_of_its_name),
        cmocka_unit_test(an_ambiguous_part_of_a_name_lists_the_candidates),
        cmocka_unit_test(an_unknown_name_lists_what_there_is),
        cmocka_unit_test(a_device_that_cannot_be_used_is_refused_with_the_reason),
        cmocka_unit_test(quirks_follow_driver_and_vendor_and_can_be_switched),
        cmocka_unit_test(copies_get_a_queue_that_is_made_for_them),
        cmocka_unit_test(weights_are_written_in_place_where_all_of_the_memory_is_seen),
        cmocka_unit_test(of_two_cards_the_one_with_more_memory_left_comes_first),
        cmocka_unit_test(what_a_device_lacks_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
