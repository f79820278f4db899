/* A Vulkan device as a profile would have it, with faults as planned, and what it logged. */
#ifndef UQM_TESTS_UNIT_VK_DEVICE_FIXTURE_H
#define UQM_TESTS_UNIT_VK_DEVICE_FIXTURE_H

#include "compute/vk/vk_core.h"
#include "compute/vk/vk_fault.h"
#include "tests/kernels/buffers.h"

struct fixture {
    struct uqm_env env;
    struct uqm_threads *threads;
    struct uqm_device *device;
    struct uqm_vk *vk;
    const struct uqm_device_ops *ops;
    char warnings[2000]; /* and errors, a line each */
    const char *profile;
};

static inline void fixture_log(void *ctx, enum uqm_log_level level, const char *line)
{
    struct fixture *f = ctx;
    size_t used = strlen(f->warnings);
    if (level <= UQM_LOG_WARN)
        snprintf(f->warnings + used, sizeof f->warnings - used, "%s\n", line);
}

static inline void fixture_info(struct uqm_vk_info *info, void *ctx)
{
    uqm_vk_fake_apply(info, ((struct fixture *) ctx)->profile);
}

/* The device with faults planned before it is opened. */
static inline int fixture_try(struct fixture *f, uint64_t memory, const char *profile,
                              const char *plan, struct uqm_err *err)
{
    const char *spec = getenv("UQMERGE_DEVICE");
    *f = (struct fixture){ .profile = profile };
    const struct uqm_common common = {
        .memory = memory, .n_threads = 2, .log = fixture_log, .ctx = f
    };
    const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install,
                                        .info = fixture_info,
                                        .ctx = f };
    assert_ok(uqm_env_init(&f->env, &common, err), *err);
    assert_ok(uqm_threads_create(&f->threads, 2, err), *err);
    uqm_vk_fault_plan(plan);
    setenv("UQMERGE_VK_SELFTEST", "0", 0); /* calls are counted from the test's own */
    int ret =
        uqm_vk_open_hooked(&f->device, &f->env, f->threads, spec ? spec : "vulkan", &hooks, err);
    if (ret < 0) {
        assert_null(f->device);
        uqm_threads_destroy(&f->threads);
        assert_int_equal(atomic_load(&f->env.budget.used_bytes), 0);
        return ret;
    }
    f->vk = (struct uqm_vk *) (void *) f->device;
    f->ops = f->device->ops;
    return UQM_OK;
}

/* false: this machine has no device, or not what validation takes. */
static inline bool fixture_open(struct fixture *f, const char *profile)
{
    struct uqm_err err = { 0 };
    int ret = fixture_try(f, UINT64_C(1) << 30, profile, NULL, &err);
    if (ret == UQM_ERR_UNSUPPORTED) {
        printf("# %s\n", err.msg);
        return false;
    }
    assert_ok(ret, err);
    return true;
}
#define open_or_skip(f, profile)                                                                   \
    do {                                                                                           \
        if (!fixture_open((f), (profile)))                                                         \
            test_skip("no Vulkan device");                                                         \
    } while (0)

/* Nothing may be left, and validation must have been silent. */
static inline void fixture_close(struct fixture *f)
{
    f->ops->release(f->device);
    uqm_device_destroy(&f->device);
    uqm_threads_destroy(&f->threads);
    if (strstr(f->warnings, "validation"))
        fail_msg("%s", f->warnings);
    assert_int_equal(atomic_load(&f->env.budget.used_bytes), 0);
}

static inline struct uqm_place words_of(struct fixture *f, uint64_t n_words)
{
    struct uqm_err err = { 0 };
    struct uqm_place place = { 0 };
    assert_ok(f->ops->alloc(&place.memory, f->device, n_words, "a test's words", &err), err);
    return place;
}

#endif
