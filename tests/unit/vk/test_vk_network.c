/* The network of a made-up model on a Vulkan device: as on the CPU; the same bits in every plan;
 * and with every allocation and every submit of a run failing once. */
#include "compute/vk/vk_fault.h"
#include "src/model/pass_plan.h"
#include "tests/unit/model/network_fixture.h"

static const char *vulkan_name(void)
{
    const char *name = getenv("UQMERGE_DEVICE");
    return name ? name : "vulkan";
}

/* Another device under the fixture's network; false: this machine has none. */
static bool open_vulkan(struct fixture *f, const struct uqm_vk_hooks *hooks, bool named)
{
    struct uqm_err err = { 0 };
    struct uqm_device *device = NULL;
    struct uqm_machine *m = &f->machine;
    if (uqm_vk_open_hooked(&device, f->env, m->threads, vulkan_name(), hooks, &err) < 0)
        return false;
    uqm_device_destroy(&m->device);
    uqm_device_destroy(&m->cpu);
    m->device = device;
    if (!named)
        assert_ok(uqm_device_cpu_create(&m->cpu, f->env, m->threads, &err), err);
    return true;
}

/* Few and short prompts: every fault is a run of its own. */
static struct fixture *small(void)
{
    struct uqm_model_config config = odd_config();
    config.text.n_layers = 2;
    struct fixture *f = setup_with(&config, UQM_F16);
    add_prompt(f, 40, 4);
    add_prompt(f, 5, -1);
    add_prompt(f, 70, 60);
    f->prompts[2].dropout = 0.1;
    f->prompts[2].dataset = "set";
    f->prompts[2].sample = "two";
    return f;
}

static int ask(struct fixture *f, const struct uqm_plan_wish *wish, struct uqm_err *err)
{
    struct uqm_llm_job job = job_of(f);
    job.wish = wish;
    memset(f->logits, 0, sizeof f->logits);
    return uqm_network_logits(f->network, &job, err);
}

static void assert_within(struct fixture *f, float (*expected)[VOCAB], float most)
{
    assert_int_equal(f->n_delivered, f->n_prompts);
    for (size_t p = 0; p < f->n_prompts; p++)
        for (size_t i = 0; i < VOCAB; i++)
            if (!(fabsf(f->logits[p][i] - expected[p][i]) <= most))
                fail_msg("prompt %zu: logit %zu is %.9g, not %.9g", p, i, (double) f->logits[p][i],
                         (double) expected[p][i]);
}

static void assert_near(struct fixture *f, float (*expected)[VOCAB])
{
    assert_within(f, expected, 1e-4f);
}

static void assert_same(struct fixture *f, float (*expected)[VOCAB])
{
    assert_int_equal(f->n_delivered, f->n_prompts);
    for (size_t p = 0; p < f->n_prompts; p++)
        assert_memory_equal(f->logits[p], expected[p], sizeof *expected);
}

/* ---- as on the CPU, in every plan ---- */

static void check_plans(struct fixture *f, float (*cpu)[VOCAB])
{
    float vulkan[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };
    const struct uqm_plan_wish tiles = { .kind = UQM_PLAN_TILES };
    assert_ok(ask(f, &tiles, &err), err);
    assert_within(f, cpu, f->machine.device->fast ? 2e-2f : 1e-4f);
    memcpy(vulkan, f->logits, sizeof vulkan);
    for (unsigned i = 0; i < 12; i++) {
        const struct uqm_plan_wish wish = {
            .kind = UQM_PLAN_LAYERS,
            .groups_a_layer = i % 2 + 1,
            .n_slots = i / 2 % 2 + 1,
            .batch_rows = i % 3 ? 100 : 2000,
            .has_states = true,
            .states = (enum uqm_states_kind)(i / 4),
        };
        if (wish.states == UQM_STATES_HOST && f->machine.device->limits.on_host)
            continue;
        assert_ok(ask(f, &wish, &err), err);
        assert_same(f, vulkan);
    }
}

static void every_plan_gives_the_logits_of_the_cpu(void **state)
{
    (void) state;
    struct fixture *f = setup();
    float cpu[MAX_PROMPTS][VOCAB];
    f->n_prompts = 5;
    run(f);
    memcpy(cpu, f->logits, sizeof cpu);
    if (!open_vulkan(f, NULL, true)) {
        teardown(f);
        test_skip("no Vulkan device");
    }
    check_plans(f, cpu);
    teardown(f);
}

static void with_profile(struct uqm_vk_info *info, void *ctx)
{
    uqm_vk_fake_apply(info, ctx);
}

/* A card with little memory of its own, whose largest binding and allocation are small. */
static void devices_with_memory_of_their_own_spill_to_the_host(void **state)
{
    (void) state;
    struct fixture *f = small();
    float cpu[MAX_PROMPTS][VOCAB];
    char profile[] = "discrete,range=1048576,budget=33554432";
    const struct uqm_vk_hooks hooks = { .info = with_profile, .ctx = profile };
    run(f);
    memcpy(cpu, f->logits, sizeof cpu);
    if (!open_vulkan(f, &hooks, true)) {
        teardown(f);
        test_skip("no Vulkan device");
    }
    check_plans(f, cpu);
    teardown(f);
}

/* Rows are rounded each by itself: neither batches nor tiles, nor a loss on the way, show. */
static void fast_passes_give_the_same_bits_in_every_plan_and_after_a_loss(void **state)
{
    (void) state;
    struct fixture *f = small();
    float cpu[MAX_PROMPTS][VOCAB], fast[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };
    const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install };
    const struct uqm_plan_wish saving = { .save_every = 1 };
    run(f);
    memcpy(cpu, f->logits, sizeof cpu);
    uqm_vk_fault_plan(NULL);
    if (!open_vulkan(f, &hooks, true)) {
        teardown(f);
        test_skip("no Vulkan device");
    }
    assert_ok(uqm_machine_make_fast(&f->machine, &err), err);
    check_plans(f, cpu);
    memcpy(fast, f->logits, sizeof fast);
    assert_true(memcmp(fast, cpu, sizeof *fast * f->n_prompts) != 0);
    uqm_vk_fault_plan("submit-lost:2");
    assert_ok(ask(f, &saving, &err), err);
    uqm_vk_fault_plan(NULL);
    assert_int_equal(((struct uqm_vk *) (void *) f->machine.device)->n_renewed, 1);
    assert_true(f->machine.device->fast);
    assert_same(f, fast);
    teardown(f);
}

/* However many batches go through a layer, its weights go to the device once a pass; and as often
 * as there are batches where the device has no memory to keep them in. */
static void held_weights_are_sent_to_the_device_once_a_pass(void **state)
{
    (void) state;
    char profiles[][64] = { "", "staged", "staged,two-queues" };
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        const struct uqm_vk_hooks hooks = { .info = with_profile, .ctx = profiles[i] };
        struct fixture *f = small();
        struct uqm_err err = { 0 };
        uint64_t sent[3];
        float first[MAX_PROMPTS][VOCAB];
        if (!open_vulkan(f, profiles[i][0] ? &hooks : NULL, true)) {
            teardown(f);
            test_skip("no Vulkan device");
        }
        struct uqm_vk *vk = (struct uqm_vk *) (void *) f->machine.device;
        for (int run = 0; run < 3; run++) {
            /* one batch; a batch a prompt; that again, without memory for more than the ring */
            const struct uqm_plan_wish wish = { .kind = UQM_PLAN_LAYERS,
                                                .batch_rows = run ? 1 : 2000 };
            const uint64_t before = vk->core->slots.n_filled;
            setenv("UQMERGE_VK_KEEP", run == 2 ? "0" : "1000", 1);
            assert_ok(ask(f, &wish, &err), err);
            sent[run] = vk->core->slots.n_filled - before;
            if (run == 0)
                memcpy(first, f->logits, sizeof first);
            assert_same(f, first);
        }
        unsetenv("UQMERGE_VK_KEEP");
        /* the projector is not a layer's: a prompt with a picture sends it */
        assert_int_equal(sent[1] - sent[0], 0);
        assert_true(sent[2] > 2 * sent[1]);
        teardown(f);
    }
}

/* ---- faults ---- */

enum {
    MOST_FAULTS = 400,
#ifdef __SANITIZE_ADDRESS__
    FAULT_STEP = 3, /* each in the plain build; here a run takes three times as long */
#else
    FAULT_STEP = 1,
#endif
};

/* One fault a run, its n-th call: the right answer or a clear error. Whether it ever struck. */
static bool fail_once(struct fixture *f, const char *kind, unsigned n,
                      const struct uqm_plan_wish *wish, float (*cpu)[VOCAB])
{
    const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install };
    struct uqm_err err = { 0 };
    char plan[64];
    uqm_vk_fault_plan(NULL);
    assert_true(open_vulkan(f, &hooks, true));
    snprintf(plan, sizeof plan, "%s:%u", kind, n);
    uqm_vk_fault_plan(plan);
    int ret = ask(f, wish, &err);
    const struct uqm_vk_fault_counts counts = uqm_vk_fault_counts();
    if (ret == UQM_OK)
        assert_near(f, cpu);
    else
        fail_msg("%s %u of %u allocations and %u submits: %s", kind, n, counts.allocs,
                 counts.submits, err.msg);
    uqm_vk_fault_plan(NULL);
    return n <= (strcmp(kind, "alloc") == 0 ? counts.allocs : counts.submits);
}

/* `each`: every one, or one in so many. */
static void fail_each(const char *kind, unsigned each, const struct uqm_plan_wish *wish)
{
    struct fixture *f = small();
    float cpu[MAX_PROMPTS][VOCAB];
    run(f);
    memcpy(cpu, f->logits, sizeof cpu);
    if (!open_vulkan(f, NULL, true)) {
        teardown(f);
        test_skip("no Vulkan device");
    }
    unsigned n = 1;
    while (n < MOST_FAULTS && fail_once(f, kind, n, wish, cpu))
        n += each * FAULT_STEP;
    assert_in_range(n, 2, MOST_FAULTS - 1);
    teardown(f);
}

static void every_allocation_of_a_run_may_fail_once(void **state)
{
    (void) state;
    const struct uqm_plan_wish wish = { .kind = UQM_PLAN_LAYERS, .batch_rows = 60 };
    fail_each("alloc", 1, NULL);
    fail_each("alloc", 1, &wish);
}

static void every_submit_of_a_run_may_run_out_of_memory_once(void **state)
{
    (void) state;
    fail_each("submit-oom", 1, NULL);
}

static void every_submit_of_a_run_may_lose_the_device_once(void **state)
{
    (void) state;
    const struct uqm_plan_wish tiles = { .save_every = 1 };
    const struct uqm_plan_wish layers = { .kind = UQM_PLAN_LAYERS,
                                          .batch_rows = 60,
                                          .save_every = 1 };
    const struct uqm_plan_wish spilled = { .kind = UQM_PLAN_LAYERS,
                                           .batch_rows = 60,
                                           .has_states = true,
                                           .states = UQM_STATES_FILE,
                                           .save_every = 1 };
    fail_each("submit-lost", 1, &tiles);
    fail_each("submit-lost", 2, &layers);
    fail_each("submit-lost", 3, &spilled);
}

/* ---- going on from saved states ---- */

struct losing {
    struct fixture f; /* first: the job's callbacks want it */
    unsigned n_embedded;
    bool lost;
};

/* The device is lost at the first submit behind the last layer. */
static void lose_at_the_end(void *ctx, size_t prompt, uint32_t layer, const float *hidden,
                            size_t n_rows)
{
    struct losing *l = ctx;
    (void) prompt;
    (void) hidden;
    (void) n_rows;
    l->n_embedded += layer == 0;
    if (layer == l->f.config.text.n_layers && !l->lost) {
        uqm_vk_fault_plan("submit-lost:1");
        l->lost = true;
    }
}

/* The bits are those of a run that nothing has broken, and no prompt is embedded twice. */
static void lose_late(struct fixture *f, const struct uqm_plan_wish *wish)
{
    const struct uqm_vk *vk = (const struct uqm_vk *) (const void *) f->machine.device;
    const unsigned n_renewed = vk->n_renewed;
    struct losing *l = calloc(1, sizeof *l);
    struct uqm_err err = { 0 };
    float whole[MAX_PROMPTS][VOCAB];
    assert_non_null(l);
    assert_ok(ask(f, wish, &err), err);
    memcpy(whole, f->logits, sizeof whole);
    struct uqm_llm_job job = job_of(f);
    l->f = *f;
    job.wish = wish;
    job.observe = lose_at_the_end;
    job.ctx = l;
    assert_ok(uqm_network_logits(f->network, &job, &err), err);
    assert_same(&l->f, whole);
    assert_int_equal(vk->n_renewed, n_renewed + 1);
    assert_int_equal(l->n_embedded, f->n_prompts);
    free(l);
}

static void a_lost_device_goes_on_behind_the_layer_that_was_saved(void **state)
{
    (void) state;
    const struct uqm_plan_wish wishes[] = {
        { .kind = UQM_PLAN_TILES, .save_every = 1 },
        { .kind = UQM_PLAN_LAYERS,
          .groups_a_layer = 2,
          .batch_rows = 60,
          .has_states = true,
          .states = UQM_STATES_DEVICE,
          .save_every = 1 },
        { .kind = UQM_PLAN_LAYERS,
          .groups_a_layer = 1,
          .batch_rows = 60,
          .has_states = true,
          .states = UQM_STATES_HOST,
          .save_every = 1 },
        { .kind = UQM_PLAN_LAYERS,
          .groups_a_layer = 2,
          .batch_rows = 60,
          .has_states = true,
          .states = UQM_STATES_FILE,
          .save_every = 1 },
        { .kind = UQM_PLAN_LAYERS,
          .groups_a_layer = 1,
          .batch_rows = 60,
          .has_states = true,
          .states = UQM_STATES_FILE,
          .save_every = 1 },
    };
    char profile[] = "staged";
    const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install,
                                        .info = with_profile,
                                        .ctx = profile };
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct fixture *f = small();
        uqm_vk_fault_plan(NULL);
        if (!open_vulkan(f, &hooks, true)) {
            teardown(f);
            test_skip("no Vulkan device");
        }
        lose_late(f, &wishes[i]);
        uqm_vk_fault_plan(NULL);
        teardown(f);
    }
}

/* ---- answers ---- */

enum { MOST_NEW = 9 };

struct answers {
    struct fixture *f;
    int32_t ids[MAX_PROMPTS][MOST_NEW];
    size_t n[MAX_PROMPTS], n_first, n_delivered;
};

static int features_of_answers(void *ctx, size_t prompt, size_t k, float *dst, struct uqm_err *err)
{
    return give_features(((struct answers *) ctx)->f, prompt, k, dst, err);
}

static int keep_answer(void *ctx, size_t prompt, const int32_t *ids, size_t n_ids,
                       struct uqm_err *err)
{
    struct answers *a = ctx;
    (void) err;
    assert_int_equal(prompt, a->n_delivered++);
    assert_true(n_ids <= MOST_NEW);
    memcpy(a->ids[prompt], ids, n_ids * sizeof *ids);
    a->n[prompt] = n_ids;
    return UQM_OK;
}

static int count_first(void *ctx, size_t prompt, const float *logits, struct uqm_err *err)
{
    (void) prompt;
    (void) logits;
    (void) err;
    ((struct answers *) ctx)->n_first++;
    return UQM_OK;
}

static int answer(struct answers *a, struct fixture *f, uint32_t save_every, struct uqm_err *err)
{
    static const uint32_t most[] = { MOST_NEW, MOST_NEW - 1, MOST_NEW };
    const struct uqm_generate_job job = {
        .n_prompts = f->n_prompts,
        .prompts = f->prompts,
        .max_tokens = most,
        .features = features_of_answers,
        .answer = keep_answer,
        .first_logits = count_first,
        .ctx = a,
        .save_every = save_every,
    };
    *a = (struct answers){ .f = f };
    return uqm_network_generate(f->network, &job, err);
}

static void assert_same_answers(const struct answers *a, const struct answers *expected)
{
    assert_int_equal(a->n_delivered, a->f->n_prompts);
    assert_memory_equal(a->n, expected->n, sizeof a->n);
    assert_memory_equal(a->ids, expected->ids, sizeof a->ids);
}

/* What is recorded goes to the device when that has nothing to do, so that the number of submits
 * follows its speed. Here it is busy until somebody waits for it: every run submits the same. */
static VKAPI_ATTR VkResult VKAPI_CALL tell_no_progress(VkDevice device, VkSemaphore semaphore,
                                                       uint64_t *value)
{
    (void) device;
    (void) semaphore;
    *value = 0;
    return VK_SUCCESS;
}

static void install_without_progress(struct uqm_vk_api *api, void *ctx)
{
    uqm_vk_fault_install(api, ctx);
    if (api->GetSemaphoreCounterValue)
        api->GetSemaphoreCounterValue = tell_no_progress;
}

/* The first and the last submits of a run and some between: the same answers, nothing leaks, and a
 * loss that comes late reads no prompt again. */
static void lose_answers(struct fixture *f, uint32_t save_every)
{
    struct answers expected, a;
    struct uqm_err err = { 0 };
    uqm_vk_fault_plan("submit-lost:1000000");
    assert_ok(answer(&expected, f, save_every, &err), err);
    const unsigned n_submits = uqm_vk_fault_counts().submits;
    size_t n_went_on = 0;
    assert_true(n_submits > 20);
    const uint64_t used = atomic_load(&f->env->budget.used_bytes);
    const unsigned step = 7 * FAULT_STEP;
    for (unsigned at = 1; at <= n_submits; at += at > 3 && at + 4 < n_submits ? step : 1) {
        char plan[32];
        const struct uqm_vk_hooks hooks = { .api = install_without_progress };
        uqm_vk_fault_plan(NULL);
        assert_true(open_vulkan(f, &hooks, true));
        snprintf(plan, sizeof plan, "submit-lost:%u", at);
        uqm_vk_fault_plan(plan);
        assert_ok(answer(&a, f, save_every, &err), err);
        assert_same_answers(&a, &expected);
        const struct uqm_vk *vk = (const struct uqm_vk *) (const void *) f->machine.device;
        assert_int_equal(vk->n_renewed, 1);
        assert_true(atomic_load(&f->env->budget.used_bytes) <= used);
        n_went_on += a.n_first == f->n_prompts;
        if (at + 1 >= n_submits)
            assert_int_equal(a.n_first, f->n_prompts);
    }
    assert_true(n_went_on > 4);
    uqm_vk_fault_plan(NULL);
}

static void answers_go_on_behind_the_token_that_was_saved(void **state)
{
    (void) state;
    const struct uqm_vk_hooks hooks = { .api = install_without_progress };
    for (uint32_t every = 1; every <= 3; every += 2) {
        struct fixture *f = small();
        uqm_vk_fault_plan(NULL);
        if (!open_vulkan(f, &hooks, true)) {
            teardown(f);
            test_skip("no Vulkan device");
        }
        lose_answers(f, every);
        teardown(f);
    }
}

/* What fails for good: the CPU where nobody named the device, else an error that says what. */
static void fail_for_good(const char *plan, enum uqm_status code, const char *text)
{
    const struct uqm_vk_hooks hooks = { .api = uqm_vk_fault_install };
    struct fixture *f = small();
    float cpu[MAX_PROMPTS][VOCAB];
    struct uqm_err err = { 0 };
    run(f);
    memcpy(cpu, f->logits, sizeof cpu);
    uqm_vk_fault_plan(NULL);
    if (!open_vulkan(f, &hooks, true)) {
        teardown(f);
        test_skip("no Vulkan device");
    }
    uqm_vk_fault_plan(plan);
    assert_fails(ask(f, NULL, &err), err, code, text);
    uqm_vk_fault_plan(NULL);
    assert_true(open_vulkan(f, &hooks, false));
    uqm_vk_fault_plan(plan);
    err = (struct uqm_err){ 0 };
    assert_ok(ask(f, NULL, &err), err);
    assert_same(f, cpu);
    assert_string_equal(f->machine.device->id, "cpu");
    uqm_vk_fault_plan(NULL);
    teardown(f);
}

static void a_device_that_fails_for_good_is_an_error_or_the_cpu_goes_on(void **state)
{
    (void) state;
    fail_for_good("alloc:1:1000000", UQM_ERR_NOMEM, "vulkan:0");
    fail_for_good("submit-lost:1:1000000", UQM_ERR_DEVICE, "vulkan:0");
    fail_for_good("submit-lost:3:1000000", UQM_ERR_DEVICE, "vulkan:0");
    fail_for_good("submit-oom:2:1000000", UQM_ERR_NOMEM, "");
    fail_for_good("pipeline-refused:1:1000000", UQM_ERR_UNSUPPORTED, "the driver refuses");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plan_gives_the_logits_of_the_cpu),
        cmocka_unit_test(devices_with_memory_of_their_own_spill_to_the_host),
        cmocka_unit_test(fast_passes_give_the_same_bits_in_every_plan_and_after_a_loss),
        cmocka_unit_test(held_weights_are_sent_to_the_device_once_a_pass),
        cmocka_unit_test(every_allocation_of_a_run_may_fail_once),
        cmocka_unit_test(every_submit_of_a_run_may_run_out_of_memory_once),
        cmocka_unit_test(every_submit_of_a_run_may_lose_the_device_once),
        cmocka_unit_test(a_lost_device_goes_on_behind_the_layer_that_was_saved),
        cmocka_unit_test(answers_go_on_behind_the_token_that_was_saved),
        cmocka_unit_test(a_device_that_fails_for_good_is_an_error_or_the_cpu_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
