/* A machine without Vulkan: no loader, or a loader without drivers. */
#include "compute/device_list.h"
#include "tests/unit/vk/device_fixture.h"

static void without_drivers(void)
{
    unsetenv("UQMERGE_VK_LOADER");
    setenv("VK_DRIVER_FILES", "", 1);
    setenv("VK_ICD_FILENAMES", "", 1);
}

static void without_loader(void)
{
    setenv("UQMERGE_VK_LOADER", "/nowhere/libvulkan.so.1", 1);
}

static void (*const machines[])(void) = { without_drivers, without_loader };
enum { N_MACHINES = 2 };

static int restore(void **state)
{
    (void) state;
    unsetenv("UQMERGE_VK_LOADER");
    unsetenv("UQMERGE_DEVICE");
    return 0;
}

static int open_device(struct fixture *f, const char *spec, struct uqm_err *err)
{
    *f = (struct fixture){ 0 };
    const struct uqm_common common = {
        .memory = UINT64_C(1) << 30, .n_threads = 1, .log = fixture_log, .ctx = f
    };
    assert_ok(uqm_env_init(&f->env, &common, err), *err);
    assert_ok(uqm_threads_create(&f->threads, 1, err), *err);
    int ret = uqm_device_open(&f->device, &f->env, f->threads, spec, err);
    if (ret < 0)
        assert_null(f->device);
    return ret;
}

static void close_device(struct fixture *f)
{
    uqm_device_destroy(&f->device);
    uqm_threads_destroy(&f->threads);
    assert_int_equal(atomic_load(&f->env.budget.used_bytes), 0);
}

static void auto_takes_the_cpu_quietly(void **state)
{
    static const char *const specs[] = { NULL, "auto", "cpu" };
    (void) state;
    for (int m = 0; m < N_MACHINES; m++)
        for (int i = 0; i < 3; i++) {
            struct uqm_err err = { 0 };
            struct fixture f;
            machines[m]();
            assert_ok(open_device(&f, specs[i], &err), err);
            assert_string_equal(f.device->id, "cpu");
            assert_string_equal(f.warnings, "");
            assert_string_equal(err.msg, "");
            close_device(&f);
        }
}

static void a_named_device_is_an_error_with_the_reason(void **state)
{
    static const char *const specs[] = { "vulkan", "vulkan:0", "vulkan:llvm" };
    static const char *const reasons[] = { "Vulkan: ", "Vulkan: no loader is installed (/nowhere" };
    (void) state;
    for (int m = 0; m < N_MACHINES; m++)
        for (int i = 0; i < 3; i++) {
            struct uqm_err err = { 0 };
            struct fixture f;
            machines[m]();
            int ret = open_device(&f, specs[i], &err);
            assert_fails(ret, err, UQM_ERR_UNSUPPORTED, reasons[m]);
            close_device(&f);
        }
}

static void the_list_says_why_there_is_none(void **state)
{
    (void) state;
    for (int m = 0; m < N_MACHINES; m++) {
        struct uqm_device_list list;
        struct uqm_err err = { 0 };
        machines[m]();
        assert_ok(uqm_device_list_init(&list, &err), err);
        assert_int_equal(list.n, 0);
        assert_non_null(strstr(list.no_vulkan, m ? "no loader" : "driver"));
        uqm_device_list_finish(&list);
    }
}

static void the_environment_names_a_device_and_the_flag_wins(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    without_loader();
    setenv("UQMERGE_DEVICE", "vulkan:3", 1);
    assert_fails(open_device(&f, NULL, &err), err, UQM_ERR_UNSUPPORTED, "no loader");
    close_device(&f);
    assert_ok(open_device(&f, "auto", &err), err);
    close_device(&f);
    assert_ok(open_device(&f, "cpu", &err), err);
    close_device(&f);
    setenv("UQMERGE_DEVICE", "", 1);
    assert_ok(open_device(&f, NULL, &err), err);
    close_device(&f);
}

static void other_words_are_refused(void **state)
{
    static const char *const specs[] = { "gpu", "Vulkan", "vulkan:", "cpu:0", "vulkan0", "\n" };
    (void) state;
    without_loader();
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct uqm_err err = { 0 };
        struct fixture f;
        assert_fails(open_device(&f, specs[i], &err), err, UQM_ERR_USAGE,
                     "give auto, cpu, vulkan, vulkan:N");
        assert_null(strchr(err.msg, '\n'));
        close_device(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(auto_takes_the_cpu_quietly, restore),
        cmocka_unit_test_teardown(a_named_device_is_an_error_with_the_reason, restore),
        cmocka_unit_test_teardown(the_list_says_why_there_is_none, restore),
        cmocka_unit_test_teardown(the_environment_names_a_device_and_the_flag_wins, restore),
        cmocka_unit_test_teardown(other_words_are_refused, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
