#include "compute/vk/vk_info.h"
#include "tests/unit/test.h"

/* Made-up devices: what a machine with all of them would list. */
enum { INTEGRATED, DISCRETE, OTHER_DRIVER, SOFTWARE, OLD, N_DEVICES };

static void make(struct uqm_vk_info *info, uint32_t n, const char *name, VkPhysicalDeviceType type,
                 VkDriverId driver, uint64_t gib, uint8_t uuid)
{
    *info =
        (struct uqm_vk_info){ .n = n, .type = type, .driver_id = driver, .local_bytes = gib << 30 };
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
