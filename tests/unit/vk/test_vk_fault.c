/* Every fault ends in the right answer or a clear error, and leaves nothing behind. */
#include "tests/unit/vk/device_fixture.h"

enum { M = 5, N = 12, K = 40, N_TILES = 6, LDY = N * N_TILES };

static float x[M * K], w[N_TILES * N * K], weight[LDY], wanted[M * LDY];

/* Uploads, products through slots, norms and a download, on memory of its own. */
struct work {
    struct uqm_place x, y, weight;
    float got[M * LDY];
};

static int allocate(struct fixture *f, struct work *work, struct uqm_err *err)
{
    const struct uqm_device_needs needs = {
        .tile_bytes = N * K * 4, .tile_elem = N * K, .max_k = LDY, .max_kv = 8
    };
    *work = (struct work){ 0 };
    int ret = f->ops->reserve(f->device, &needs, err);
    if (ret == UQM_OK)
        ret = f->ops->alloc(&work->x.memory, f->device, UQM_GEMM_ROWS * K, "rows", err);
    if (ret == UQM_OK)
        ret = f->ops->alloc(&work->y.memory, f->device, (1 << 20) / 4, "results", err);
    if (ret == UQM_OK)
        ret = f->ops->alloc(&work->weight.memory, f->device, LDY, "weights", err);
    return ret;
}

static int compute(struct fixture *f, struct work *work, struct uqm_err *err)
{
    int ret = f->ops->upload(f->device, work->x, x, M * K, err);
    if (ret == UQM_OK)
        ret = f->ops->upload(f->device, work->weight, weight, LDY, err);
    for (size_t i = 0; i < N_TILES && ret == UQM_OK; i++) {
        const struct uqm_linear args = {
            .y = uqm_place_add(work->y, i * N),
            .x = work->x,
            .ldy = LDY,
            .ldx = K,
            .m = M,
            .n = N,
            .k = K,
            .w = w + i * N * K,
            .w_dtype = UQM_F32,
            .epilogue = UQM_EPI_STORE,
        };
        ret = f->ops->linear(f->device, &args, err);
    }
    const struct uqm_norm norm = {
        .y = work->y, .x = work->y, .weight = work->weight, .eps = 1e-5f, .n_rows = M, .width = LDY
    };
    if (ret == UQM_OK)
        ret = f->ops->norm(f->device, &norm, err);
    return ret == UQM_OK ? f->ops->download(f->device, work->got, work->y, M * LDY, err) : ret;
}

static void give_back(struct fixture *f, struct work *work)
{
    f->ops->free(f->device, &work->x.memory);
    f->ops->free(f->device, &work->y.memory);
    f->ops->free(f->device, &work->weight.memory);
    f->ops->release(f->device);
}

static int run(struct fixture *f, struct work *work, struct uqm_err *err)
{
    int ret = allocate(f, work, err);
    return ret == UQM_OK ? compute(f, work, err) : ret;
}

static void assert_right(const struct work *work)
{
    for (size_t i = 0; i < M * LDY; i++)
        assert_true(fabsf(work->got[i] - wanted[i]) <= 1e-5f);
}

static int fill(void **state)
{
    struct random r = { 11 };
    (void) state;
    random_fill(&r, x, M * K, 1);
    random_fill(&r, w, N_TILES * N * K, 1);
    random_fill(&r, weight, LDY, 1);
    for (size_t row = 0; row < M; row++) {
        double y[LDY], squares = 0;
        for (size_t i = 0; i < LDY; i++) {
            y[i] = 0;
            for (size_t k = 0; k < K; k++)
                y[i] += (double) x[row * K + k] * (double) w[i * K + k];
            squares += y[i] * y[i];
        }
        for (size_t i = 0; i < LDY; i++)
            wanted[row * LDY + i] =
                (float) ((double) weight[i] * y[i] / sqrt(squares / LDY + 1e-5));
    }
    return 0;
}

static void close_and_count(struct fixture *f)
{
    fixture_close(f);
    struct uqm_vk_fault_counts counts = uqm_vk_fault_counts();
    assert_int_equal(counts.frees, counts.allocs);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
    static const char *const profiles[] = { NULL, "staged,two-queues" };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    for (size_t p = 0; p < 2; p++) {
        unsigned n_failed = 0;
        for (unsigned at = 1; at < 100; at++) {
            struct uqm_err err = { 0 };
            struct work work;
            char plan[32];
            snprintf(plan, sizeof plan, "alloc:%u", at);
            assert_ok(fixture_try(&f, UINT64_C(1) << 30, profiles[p], plan, &err), err);
            int ret = run(&f, &work, &err);
            unsigned n_allocs = uqm_vk_fault_counts().allocs;
            if (ret < 0) {
                assert_int_equal(ret, UQM_ERR_NOMEM);
                assert_non_null(strstr(err.msg, "VK_ERROR_OUT_OF_DEVICE_MEMORY"));
                assert_non_null(strstr(err.msg, " MiB for "));
                n_failed++;
                give_back(&f, &work);
                assert_ok(run(&f, &work, &err), err); /* the same again, with memory now */
            }
            assert_right(&work);
            give_back(&f, &work);
            fixture_close(&f);
            if (n_allocs < at)
                break;
            assert_int_equal(uqm_vk_fault_counts().frees, uqm_vk_fault_counts().allocs - 1);
        }
        assert_true(n_failed >= 2);
    }
}

static void submissions_that_memory_is_short_for_are_tried_again(void **state)
{
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    for (unsigned at = 1; at < 100; at++) {
        struct uqm_err err = { 0 };
        struct work work;
        char plan[32];
        snprintf(plan, sizeof plan, "submit-oom:%u", at);
        assert_ok(fixture_try(&f, UINT64_C(1) << 30, "staged,two-queues", plan, &err), err);
        assert_ok(run(&f, &work, &err), err);
        assert_right(&work);
        give_back(&f, &work);
        unsigned n_submits = uqm_vk_fault_counts().submits;
        close_and_count(&f);
        if (n_submits < at)
            return;
    }
    fail_msg("the run never ended");
}

static void submissions_that_fail_twice_are_an_error_and_the_device_goes_on(void **state)
{
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    for (unsigned at = 1; at < 100; at++) {
        struct uqm_err err = { 0 };
        struct work work;
        char plan[32];
        snprintf(plan, sizeof plan, "submit-oom:%u:2", at);
        assert_ok(fixture_try(&f, UINT64_C(1) << 30, "staged,two-queues", plan, &err), err);
        int ret = run(&f, &work, &err);
        unsigned n_submits = uqm_vk_fault_counts().submits;
        if (ret < 0) {
            assert_fails(ret, err, UQM_ERR_NOMEM, "submitting");
            give_back(&f, &work);
            assert_ok(run(&f, &work, &err), err);
        }
        assert_right(&work);
        give_back(&f, &work);
        close_and_count(&f);
        if (n_submits < at) {
            assert_true(at > 3);
            return;
        }
    }
    fail_msg("the run never ended");
}

/* ---- loss ---- */

static void a_lost_device_is_renewed_once(void **state)
{
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    for (unsigned at = 1; at < 100; at++) {
        struct uqm_err err = { 0 };
        struct work work;
        char plan[32];
        snprintf(plan, sizeof plan, "submit-lost:%u", at);
        assert_ok(fixture_try(&f, UINT64_C(1) << 30, "staged,two-queues", plan, &err), err);
        int ret = run(&f, &work, &err);
        if (ret == UQM_OK) { /* it was over before */
            assert_true(at > 3);
            give_back(&f, &work);
            fixture_close(&f);
            return;
        }
        assert_fails(ret, err, UQM_ERR_DEVICE, "VK_ERROR_DEVICE_LOST");
        uint64_t before = f.vk->core->work_limit;
        assert_fails(f.ops->finish(f.device, &err), err, UQM_ERR_DEVICE, "the device was lost: ");
        assert_fails(f.ops->upload(f.device, work.x, x, 1, &err), err, UQM_ERR_DEVICE, "was lost");
        give_back(&f, &work);
        assert_ok(f.ops->renew(f.device, &err), err);
        assert_true(uqm_vk_work_limit(f.vk) <= before / 4);
        assert_non_null(strstr(f.warnings, "starting it anew"));
        assert_ok(run(&f, &work, &err), err);
        assert_right(&work);
        give_back(&f, &work);
        close_and_count(&f);
    }
    fail_msg("the run never ended");
}

static void a_device_lost_twice_stays_lost(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    struct work work;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    assert_ok(fixture_try(&f, UINT64_C(1) << 30, NULL, "submit-lost:1:100", &err), err);
    assert_int_equal(run(&f, &work, &err), UQM_ERR_DEVICE);
    give_back(&f, &work);
    assert_ok(f.ops->renew(f.device, &err), err);
    assert_int_equal(run(&f, &work, &err), UQM_ERR_DEVICE);
    give_back(&f, &work);
    assert_fails(f.ops->renew(f.device, &err), err, UQM_ERR_DEVICE, "the device was lost: ");
    assert_fails(allocate(&f, &work, &err), err, UQM_ERR_DEVICE, "was lost");
    give_back(&f, &work);
    close_and_count(&f);
}

static void a_loss_names_what_ran(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    assert_ok(fixture_try(&f, UINT64_C(1) << 30, "staged", "submit-lost:2", &err), err);
    struct uqm_place a = words_of(&f, 100), b = words_of(&f, 100);
    assert_ok(uqm_vk_copy(f.vk, a, b, 100, &err), err);
    assert_ok(uqm_vk_submit(f.vk, UQM_VK_COMPUTE, &err), err);
    f.vk->core->queues[UQM_VK_COMPUTE].done = 0; /* as if it had not been seen to be over */
    assert_ok(uqm_vk_copy(f.vk, b, a, 100, &err), err);
    assert_fails(uqm_vk_submit(f.vk, UQM_VK_COMPUTE, &err), err, UQM_ERR_DEVICE,
                 "submitting, running copy: VK_ERROR_DEVICE_LOST");
    f.ops->free(f.device, &a.memory);
    f.ops->free(f.device, &b.memory);
    fixture_close(&f);
}

/* ---- pipelines ---- */

static VKAPI_ATTR VkResult VKAPI_CALL tell_fault(VkDevice device, VkDeviceFaultCountsEXT *counts,
                                                 VkDeviceFaultInfoEXT *info)
{
    (void) device;
    if (!info) {
        counts->addressInfoCount = 2;
        counts->vendorInfoCount = 1;
        counts->vendorBinarySize = 100;
        return VK_SUCCESS;
    }
    assert_int_equal(counts->addressInfoCount, 1);
    assert_int_equal(counts->vendorInfoCount, 0);
    assert_int_equal(counts->vendorBinarySize, 0);
    snprintf(info->description, sizeof info->description, "page\tfault");
    info->pAddressInfos[0].reportedAddress = 0xABC000;
    return VK_INCOMPLETE;
}

static void a_loss_says_what_the_driver_knows(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    struct work work;
    (void) state;
    if (fixture_try(&f, UINT64_C(1) << 30, NULL, NULL, &err) < 0)
        test_skip("no Vulkan device");
    f.vk->core->api.GetDeviceFaultInfoEXT = tell_fault;
    f.vk->core->info.device_fault = true;
    assert_ok(allocate(&f, &work, &err), err);
    uqm_vk_fault_plan("submit-lost:1");
    assert_true(compute(&f, &work, &err) < 0);
    assert_non_null(strstr(f.vk->core->lost_message, "page"));
    assert_null(strchr(f.vk->core->lost_message, '\t'));
    assert_non_null(strstr(f.vk->core->lost_message, "fault) at 0xabc000"));
    give_back(&f, &work);
    fixture_close(&f);
}

static void pipelines_that_memory_is_short_for_are_made_later(void **state)
{
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    for (unsigned at = 1; at < 50; at++) {
        struct uqm_err err = { 0 };
        struct work work;
        char plan[32];
        snprintf(plan, sizeof plan, "pipeline:%u", at);
        assert_ok(fixture_try(&f, UINT64_C(1) << 30, NULL, plan, &err), err);
        int ret = run(&f, &work, &err);
        unsigned n_pipelines = uqm_vk_fault_counts().pipelines;
        if (ret < 0) {
            assert_fails(ret, err, UQM_ERR_NOMEM, "a pipeline of ");
            give_back(&f, &work);
            assert_ok(run(&f, &work, &err), err);
        }
        assert_right(&work);
        give_back(&f, &work);
        close_and_count(&f);
        if (n_pipelines < at) {
            assert_true(at > 2);
            return;
        }
    }
    fail_msg("the run never ended");
}

static void a_kernel_that_the_driver_refuses_is_named(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    struct work work;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    assert_ok(fixture_try(&f, UINT64_C(1) << 30, NULL, "pipeline-refused:1:100", &err), err);
    assert_fails(run(&f, &work, &err), err, UQM_ERR_UNSUPPORTED, "the driver refuses the kernel ");
    give_back(&f, &work);
    close_and_count(&f);
}

/* ---- the self-test ---- */

static VKAPI_ATTR void VKAPI_CALL no_dispatch(VkCommandBuffer c, uint32_t gx, uint32_t gy,
                                              uint32_t gz)
{
    (void) c;
    (void) gx;
    (void) gy;
    (void) gz;
}

static void break_dispatch(struct uqm_vk_api *api, void *ctx)
{
    (void) ctx;
    if (api->CmdDispatch)
        api->CmdDispatch = no_dispatch;
}

static void a_device_that_computes_wrongly_is_not_used(void **state)
{
    const struct uqm_vk_hooks hooks = { .api = break_dispatch, .info = fixture_info };
    struct uqm_vk_hooks with = hooks;
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    f = (struct fixture){ .profile = "one-queue" };
    with.ctx = &f;
    const struct uqm_common common = { .memory = UINT64_C(1) << 30, .log = fixture_log, .ctx = &f };
    assert_ok(uqm_env_init(&f.env, &common, &err), err);
    setenv("UQMERGE_VK_SELFTEST", "1", 1);
    assert_fails(uqm_vk_open_hooked(&f.device, &f.env, NULL, "vulkan", &with, &err), err,
                 UQM_ERR_UNSUPPORTED, "self-test: product, value 0 is ");
    setenv("UQMERGE_VK_SELFTEST", "0", 1);
    assert_null(f.device);
    assert_int_equal(atomic_load(&f.env.budget.used_bytes), 0);
}

/* Which products a broken driver would get wrong is found when they are asked for. */
static void the_mode_fast_is_tested_when_it_is_asked_for(void **state)
{
    (void) state;
    for (int broken = 0; broken < 2; broken++) {
        struct fixture f = { .profile = "one-queue" };
        const struct uqm_vk_hooks hooks = { .api = broken ? break_dispatch : NULL,
                                            .info = fixture_info,
                                            .ctx = &f };
        const struct uqm_common common = { .memory = 1 << 30, .log = fixture_log, .ctx = &f };
        struct uqm_err err = { 0 };
        assert_ok(uqm_env_init(&f.env, &common, &err), err);
        setenv("UQMERGE_VK_SELFTEST", "0", 1);
        if (uqm_vk_open_hooked(&f.device, &f.env, NULL, "vulkan", &hooks, &err) < 0)
            test_skip("no Vulkan device");
        setenv("UQMERGE_VK_SELFTEST", "1", 1);
        if (broken)
            assert_fails(f.device->ops->make_fast(f.device, &err), err, UQM_ERR_UNSUPPORTED,
                         "self-test: product, value 0 is ");
        else
            assert_ok(f.device->ops->make_fast(f.device, &err), err);
        setenv("UQMERGE_VK_SELFTEST", "0", 1);
        uqm_device_destroy(&f.device);
        assert_null(strstr(f.warnings, "validation"));
        assert_int_equal(atomic_load(&f.env.budget.used_bytes), 0);
    }
}

/* Others may have taken all of a card's memory, or it breaks down at once. */
static void auto_takes_the_cpu_where_a_card_cannot_be_opened(void **state)
{
    static const struct {
        const char *plan, *warning;
    } cases[] = {
        { NULL, "" },
        { "alloc:1:1000", "the CPU is used: vulkan:0" },
        { "submit-oom:1:1000", "submitting: VK_ERROR_OUT_OF_DEVICE_MEMORY" },
        { "pipeline:1:1000", "VK_ERROR_OUT_OF_HOST_MEMORY" },
        { "submit-lost:1", "submitting: VK_ERROR_DEVICE_LOST" },
    };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    fixture_close(&f);
    setenv("UQMERGE_VK_SELFTEST", "1", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uqm_err err = { 0 };
        f = (struct fixture){ .profile = "discrete" };
        const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install,
                                            .info = fixture_info,
                                            .ctx = &f };
        const struct uqm_common common = { .memory = 1 << 30, .log = fixture_log, .ctx = &f };
        assert_ok(uqm_env_init(&f.env, &common, &err), err);
        uqm_vk_fault_plan(cases[i].plan);
        assert_ok(uqm_vk_open_hooked(&f.device, &f.env, NULL, "auto", &hooks, &err), err);
        assert_int_equal(f.device == NULL, cases[i].plan != NULL);
        assert_non_null(strstr(f.warnings, cases[i].warning));
        uqm_device_destroy(&f.device);
        assert_int_equal(atomic_load(&f.env.budget.used_bytes), 0);
    }
    uqm_vk_fault_plan(NULL);
    setenv("UQMERGE_VK_SELFTEST", "0", 1);
}

/* A driver whose subgroup kernels do not compile. */
static PFN_vkCreateShaderModule create_module;
static VKAPI_ATTR VkResult VKAPI_CALL no_subgroup_modules(VkDevice device,
                                                          const VkShaderModuleCreateInfo *info,
                                                          const VkAllocationCallbacks *callbacks,
                                                          VkShaderModule *module)
{
    const uint32_t capability_word = 0x00020011; /* OpCapability, two words long */
    for (size_t i = 5; i + 1 < info->codeSize / 4 && info->pCode[i] == capability_word; i += 2)
        if (info->pCode[i + 1] == 63) /* GroupNonUniformArithmetic */
            return VK_ERROR_UNKNOWN;
    return create_module(device, info, callbacks, module);
}

static void break_subgroups(struct uqm_vk_api *api, void *ctx)
{
    (void) ctx;
    if (api->CreateShaderModule && api->CreateShaderModule != no_subgroup_modules) {
        create_module = api->CreateShaderModule;
        api->CreateShaderModule = no_subgroup_modules;
    }
}

static void a_feature_that_fails_is_switched_off(void **state)
{
    struct uqm_vk_hooks hooks = { .api = break_subgroups, .info = fixture_info };
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    bool had = f.vk->limits.subgroup_arithmetic;
    fixture_close(&f);
    if (!had)
        test_skip("no subgroup arithmetic");
    f = (struct fixture){ .profile = "one-queue" };
    hooks.ctx = &f;
    const struct uqm_common common = { .memory = UINT64_C(1) << 30, .log = fixture_log, .ctx = &f };
    assert_ok(uqm_env_init(&f.env, &common, &err), err);
    assert_ok(uqm_threads_create(&f.threads, 2, &err), err);
    setenv("UQMERGE_VK_SELFTEST", "1", 1);
    assert_ok(uqm_vk_open_hooked(&f.device, &f.env, f.threads, "vulkan", &hooks, &err), err);
    setenv("UQMERGE_VK_SELFTEST", "0", 1);
    f.vk = (struct uqm_vk *) (void *) f.device;
    f.ops = f.device->ops;
    assert_false(f.vk->limits.subgroup_arithmetic);
    assert_true(f.vk->limits.unpack_half);
    assert_non_null(strstr(f.warnings, "refuses the kernel"));
    assert_non_null(strstr(f.warnings, "it passes without subgroup arithmetic"));
    struct work work;
    assert_ok(run(&f, &work, &err), err);
    assert_right(&work);
    give_back(&f, &work);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(submissions_that_memory_is_short_for_are_tried_again),
        cmocka_unit_test(submissions_that_fail_twice_are_an_error_and_the_device_goes_on),
        cmocka_unit_test(a_lost_device_is_renewed_once),
        cmocka_unit_test(a_loss_says_what_the_driver_knows),
        cmocka_unit_test(a_device_lost_twice_stays_lost),
        cmocka_unit_test(a_loss_names_what_ran),
        cmocka_unit_test(pipelines_that_memory_is_short_for_are_made_later),
        cmocka_unit_test(a_kernel_that_the_driver_refuses_is_named),
        cmocka_unit_test(a_device_that_computes_wrongly_is_not_used),
        cmocka_unit_test(the_mode_fast_is_tested_when_it_is_asked_for),
        cmocka_unit_test(auto_takes_the_cpu_where_a_card_cannot_be_opened),
        cmocka_unit_test(a_feature_that_fails_is_switched_off),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
