/* The device layer on whatever device there is, as it is and as worse ones would be. */
#include "tests/unit/vk/device_fixture.h"

static const char *const profiles[] = { NULL, "non-coherent", "staged",
                                        "staged,non-coherent,align=256",
                                        "staged,two-queues,non-coherent" };
enum { N_PROFILES = sizeof profiles / sizeof profiles[0] };

static uint32_t *numbers(struct random *r, size_t n)
{
    uint32_t *p = malloc((n + 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = random_u32(r);
    return p;
}

static void what_is_uploaded_comes_back(void **state)
{
    static const size_t sizes[] = { 1, 7, 63, 65, 4097, 3 * UQM_VK_CHUNK_BYTES / 4 + 5 };
    struct random r = { 1 };
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    for (size_t p = 0; p < N_PROFILES; p++) {
        open_or_skip(&f, profiles[p]);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t n = sizes[i];
            uint32_t *src = numbers(&r, n), *dst = numbers(&r, n);
            struct uqm_place place = uqm_place_add(words_of(&f, n + 3), 3);
            assert_ok(f.ops->upload(f.device, place, src, n, &err), err);
            assert_ok(f.ops->download(f.device, dst, place, n, &err), err);
            assert_memory_equal(src, dst, n * sizeof *src);
            f.ops->free(f.device, &place.memory);
            assert_null(place.memory);
            free(src);
            free(dst);
        }
        if (p == 1)
            assert_true(uqm_vk_fault_counts().flushes > 0 && uqm_vk_fault_counts().invalidates > 0);
        fixture_close(&f);
    }
}

/* How many of the blocks that staging lies in are the host's own pages. */
static void count_staging(const struct fixture *f, unsigned *n, unsigned *n_imported)
{
    *n = *n_imported = 0;
    for (const struct uqm_vk_block *b = f->vk->core->blocks; b; b = b->next)
        if (b->role == UQM_VK_ROLE_STAGING) {
            *n += 1;
            *n_imported += b->imported != NULL;
        }
}

static VKAPI_ATTR VkResult VKAPI_CALL refuse_pointer(VkDevice device,
                                                     VkExternalMemoryHandleTypeFlagBits type,
                                                     const void *pointer,
                                                     VkMemoryHostPointerPropertiesEXT *p)
{
    (void) device;
    (void) type;
    (void) pointer;
    (void) p;
    return VK_ERROR_INVALID_EXTERNAL_HANDLE;
}

/* Imported, switched off, refused by the driver: what is uploaded arrives. */
static void staging_is_the_hosts_own_memory_where_the_device_takes_it(void **state)
{
    enum { N = UQM_VK_CHUNK_BYTES / 4 + 77 };
    struct random r = { 5 };
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    for (int way = 0; way < 3; way++) {
        unsigned n, n_imported;
        setenv("UQMERGE_VK_IMPORT", way == 1 ? "0" : "1", 1);
        open_or_skip(&f, "staged");
        if (way == 2)
            f.vk->core->api.GetMemoryHostPointerPropertiesEXT = refuse_pointer;
        uint32_t *src = numbers(&r, N), *dst = numbers(&r, N);
        struct uqm_place place = words_of(&f, N);
        assert_ok(f.ops->upload(f.device, place, src, N, &err), err);
        assert_ok(f.ops->download(f.device, dst, place, N, &err), err);
        assert_memory_equal(src, dst, N * sizeof *src);
        count_staging(&f, &n, &n_imported);
        assert_true(n > 0);
        assert_int_equal(n_imported, way == 0 && f.vk->core->info.host_import_align ? n : 0);
        f.ops->free(f.device, &place.memory);
        free(src);
        free(dst);
        fixture_close(&f);
    }
    unsetenv("UQMERGE_VK_IMPORT");
}

/* Every kernel's calls, time, work and bytes, by operation and shader. */
static void kernels_are_timed_one_by_one_when_asked(void **state)
{
    enum { M = 40, N = 24, K = 64, N_CALLS = 2 * UQM_VK_N_BATCHES };
    const struct uqm_device_needs needs = { .tile_bytes = N * K * 4,
                                            .tile_elem = N * K,
                                            .max_k = K };
    static float w[N * K];
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    setenv("UQMERGE_VK_PROFILE", "1", 1);
    open_or_skip(&f, NULL);
    unsetenv("UQMERGE_VK_PROFILE");
    if (!f.vk->core->info.timestamp_bits) {
        fixture_close(&f);
        test_skip("the device has no timestamps");
    }
    assert_ok(f.ops->reserve(f.device, &needs, &err), err);
    struct uqm_place x = words_of(&f, M * K), y = words_of(&f, M * N), weight = words_of(&f, K);
    const struct uqm_linear linear = {
        .y = y, .x = x, .ldy = N, .ldx = K, .m = M, .n = N, .k = K, .w = w, .w_dtype = UQM_F32
    };
    const struct uqm_norm norm = {
        .y = x, .x = x, .weight = weight, .eps = 1e-5f, .n_rows = M, .width = K
    };
    for (size_t i = 0; i < N_CALLS; i++) {
        assert_ok(f.ops->norm(f.device, &norm, &err), err);
        assert_ok(f.ops->linear(f.device, &linear, &err), err);
        assert_ok(f.ops->finish(f.device, &err), err);
    }
    unsigned found = 0;
    for (size_t i = 0; i < f.vk->core->n_profile; i++) {
        const struct uqm_vk_profile *p = &f.vk->core->profile[i];
        const bool is_linear = strncmp(p->what, "linear gemm_", 12) == 0;
        if (!is_linear && strncmp(p->what, "rmsnorm norm", 12) != 0)
            continue;
        assert_int_equal(p->calls, N_CALLS);
        assert_true(p->ns > 0 && p->bytes > 0);
        if (is_linear)
            assert_int_equal(p->work, (uint64_t) N_CALLS * 2 * M * N * K);
        found++;
    }
    assert_int_equal(found, 2);
    f.ops->free(f.device, &x.memory);
    f.ops->free(f.device, &y.memory);
    f.ops->free(f.device, &weight.memory);
    fixture_close(&f);
}

/* A few memories on the device, the same in the host's own arrays, and uploads, copies and
 * downloads between them at random. */
enum { N_MEMORIES = 4, N_WORDS = 3000, N_STEPS = 400 };

static void step(struct fixture *f, struct random *r, struct uqm_place *places,
                 uint32_t model[][N_WORDS])
{
    struct uqm_err err = { 0 };
    uint32_t a = random_u32(r) % N_MEMORIES, b = (a + 1 + random_u32(r) % (N_MEMORIES - 1)) % 4;
    uint32_t n = 1 + random_u32(r) % 500, i = random_u32(r) % (N_WORDS - n),
             k = random_u32(r) % (N_WORDS - n), what = random_u32(r) % 8;
    if (what < 3) {
        uint32_t *src = numbers(r, n);
        assert_ok(f->ops->upload(f->device, uqm_place_add(places[a], i), src, n, &err), err);
        memcpy(&model[a][i], src, n * sizeof *src);
        free(src);
    } else if (what < 7) {
        assert_ok(f->ops->copy(f->device, uqm_place_add(places[a], i), uqm_place_add(places[b], k),
                               n, &err),
                  err);
        memcpy(&model[a][i], &model[b][k], n * sizeof model[0][0]);
    } else {
        uint32_t *dst = numbers(r, n);
        assert_ok(f->ops->download(f->device, dst, uqm_place_add(places[a], i), n, &err), err);
        assert_memory_equal(dst, &model[a][i], n * sizeof *dst);
        free(dst);
    }
}

static void uploads_copies_and_downloads_keep_the_order_of_the_calls(void **state)
{
    static uint32_t model[N_MEMORIES][N_WORDS];
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    for (size_t p = 0; p < N_PROFILES; p++) {
        struct uqm_place places[N_MEMORIES];
        struct random r = { p };
        open_or_skip(&f, profiles[p]);
        for (int i = 0; i < N_MEMORIES; i++) {
            places[i] = words_of(&f, N_WORDS);
            memset(model[i], i, sizeof model[i]);
            assert_ok(f.ops->upload(f.device, places[i], model[i], N_WORDS, &err), err);
        }
        for (int i = 0; i < N_STEPS; i++)
            step(&f, &r, places, model);
        assert_true(f.vk->core->n_barriers > 0);
        for (int i = 0; i < N_MEMORIES; i++) {
            uint32_t *dst = numbers(&r, N_WORDS);
            assert_ok(f.ops->download(f.device, dst, places[i], N_WORDS, &err), err);
            assert_memory_equal(dst, model[i], sizeof model[i]);
            free(dst);
            f.ops->free(f.device, &places[i].memory);
        }
        fixture_close(&f);
    }
}

static void small_memories_share_an_allocation(void **state)
{
    struct uqm_place places[200];
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    unsigned before = f.vk->core->n_allocations;
    for (int i = 0; i < 200; i++)
        places[i] = words_of(&f, (uint64_t) i * 7);
    assert_int_equal(f.vk->core->n_allocations, before + 1);
    for (int i = 0; i < 200; i++)
        for (int k = 0; k < i; k++) {
            const struct uqm_memory *a = places[i].memory, *b = places[k].memory;
            assert_true(a->block != b->block || a->offset + a->bytes <= b->offset ||
                        b->offset + b->bytes <= a->offset);
        }
    for (int i = 0; i < 200; i += 2)
        f.ops->free(f.device, &places[i].memory);
    for (int i = 0; i < 200; i += 2) /* into the gaps */
        places[i] = words_of(&f, (uint64_t) i * 7);
    assert_int_equal(f.vk->core->n_allocations, before + 1);
    for (int i = 0; i < 200; i++)
        f.ops->free(f.device, &places[i].memory);
    assert_int_equal(f.vk->core->n_allocations, before);
    fixture_close(&f);
}

static void more_memory_than_there_is_is_refused_with_the_figures(void **state)
{
    struct uqm_memory *memory;
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, "budget=67108864");
    assert_fails(f.ops->alloc(&memory, f.device, 20 << 20, "hidden states", &err), err,
                 UQM_ERR_NOMEM, "hidden states need 80.0 MiB, 64.0 MiB are left");
    assert_null(memory);
    assert_fails(f.ops->alloc(&memory, f.device, UINT64_MAX / 2, "hidden states", &err), err,
                 UQM_ERR_NOMEM, "too many");
    fixture_close(&f);

    int ret = fixture_try(&f, 64 << 20, NULL, NULL, &err);
    assert_ok(ret, err);
    if (f.device->limits.on_host) /* its memory is the host's */
        assert_fails(f.ops->alloc(&memory, f.device, 20 << 20, "hidden states", &err), err,
                     UQM_ERR_NOMEM, "--memory: hidden states need 80.0 MiB");
    f.vk->core->info.max_allocation = 1 << 20;
    assert_fails(f.ops->alloc(&memory, f.device, 1 << 20, "hidden states", &err), err,
                 UQM_ERR_NOMEM, "one allocation may have 1.0 MiB");
    fixture_close(&f);
}

/* A driver whose first wait is over in vain, however quick the device is, and which tells of no
 * progress but by the end of a wait. */
static struct {
    PFN_vkWaitSemaphores wait;
    unsigned n_waits;
    uint64_t timeout_ns;
} slow;

static VKAPI_ATTR VkResult VKAPI_CALL wait_in_vain(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                   uint64_t timeout_ns)
{
    if (slow.n_waits++ > 0)
        return slow.wait(device, info, UINT64_MAX);
    slow.timeout_ns = timeout_ns;
    return VK_TIMEOUT;
}

static VKAPI_ATTR VkResult VKAPI_CALL tell_no_progress(VkDevice device, VkSemaphore semaphore,
                                                       uint64_t *value)
{
    (void) device;
    (void) semaphore;
    *value = 0;
    return VK_SUCCESS;
}

static void a_wait_without_progress_says_what_is_pending(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, "staged");
    struct uqm_place a = words_of(&f, 100), b = words_of(&f, 100);
    slow.wait = f.vk->core->api.WaitSemaphores;
    slow.n_waits = 0;
    f.vk->core->api.WaitSemaphores = wait_in_vain;
    f.vk->core->api.GetSemaphoreCounterValue = tell_no_progress;
    f.vk->core->watch_ns = 123456789;
    for (int i = 0; i < 8; i++)
        assert_ok(f.ops->copy(f.device, i % 2 ? a : b, i % 2 ? b : a, 100, &err), err);
    assert_ok(f.ops->finish(f.device, &err), err);
    assert_int_equal(slow.timeout_ns, 123456789);
    assert_int_equal(slow.n_waits, 2);
    double seconds = -1;
    const char *said = strstr(f.warnings, "no progress for ");
    assert_non_null(said);
    assert_int_equal(sscanf(said, "no progress for %lf s", &seconds), 1);
    assert_true(seconds >= 0);
    assert_non_null(strstr(said,
                           " s: waiting for compute 1; compute is at 0 of 1, transfer at 0 of "
                           "0; pending: copy"));
    assert_null(strstr(said + 1, "no progress")); /* once is enough */
    f.ops->free(f.device, &a.memory);
    f.ops->free(f.device, &b.memory);
    fixture_close(&f);
}

static void a_missing_barrier_is_reported_and_fails_the_run(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    if (!f.vk->instance->validating) {
        fixture_close(&f);
        test_skip("not under validation");
    }
    struct uqm_place a = words_of(&f, 100), b = words_of(&f, 100);
    assert_ok(f.ops->copy(f.device, a, b, 100, &err), err);
    f.vk->core->hazards.n = 0; /* forget what was just written */
    assert_ok(f.ops->copy(f.device, b, a, 100, &err), err);
    assert_fails(f.ops->finish(f.device, &err), err, UQM_ERR_IO, "validation");
    assert_non_null(strstr(err.msg, "SYNC-HAZARD"));
    assert_non_null(strstr(f.warnings, "Vulkan validation: "));
    f.warnings[0] = 0;
    f.ops->free(f.device, &a.memory);
    f.ops->free(f.device, &b.memory);
    fixture_close(&f);
}

/* ---- slots ---- */

enum { M = 5, N = 12, K = 40, N_TILES = 9 };

/* N_TILES tiles of one weight matrix, one after the other, through the slots. */
static void multiply(struct fixture *f, float *y, const float *x, const float *w)
{
    const struct uqm_device_needs needs = { .tile_bytes = N * K * 4,
                                            .tile_elem = N * K,
                                            .max_k = K };
    struct uqm_err err = { 0 };
    const size_t ldy = N * N_TILES;
    assert_ok(f->ops->reserve(f->device, &needs, &err), err);
    struct uqm_place px = words_of(f, UQM_GEMM_ROWS * K), py = words_of(f, M * ldy);
    assert_ok(f->ops->upload(f->device, px, x, M * K, &err), err);
    for (size_t i = 0; i < N_TILES; i++) {
        float tile[N * K];
        memcpy(tile, w + i * N * K, sizeof tile);
        const struct uqm_linear args = {
            .y = uqm_place_add(py, i * N),
            .x = px,
            .ldy = ldy,
            .ldx = K,
            .m = M,
            .n = N,
            .k = K,
            .w = tile,
            .w_dtype = UQM_F32,
            .epilogue = UQM_EPI_STORE,
        };
        assert_ok(f->ops->linear(f->device, &args, &err), err);
        memset(tile, 0xFF, sizeof tile); /* it was borrowed for the call alone */
    }
    assert_ok(f->ops->download(f->device, y, py, M * ldy, &err), err);
    f->ops->free(f->device, &px.memory);
    f->ops->free(f->device, &py.memory);
    f->ops->release(f->device);
}

static void products_are_the_same_with_any_number_of_slots_and_queues(void **state)
{
    static const char *const counts[] = { "1", "2", "3", "4" };
    static float x[M * K], w[N_TILES * N * K], first[M * N * N_TILES], y[M * N * N_TILES];
    struct random r = { 5 };
    struct fixture f;
    (void) state;
    random_fill(&r, x, M * K, 1);
    random_fill(&r, w, N_TILES * N * K, 1);
    for (size_t p = 0; p < N_PROFILES; p++)
        for (size_t i = 0; i < 4; i++) {
            setenv("UQMERGE_VK_SLOTS", counts[i], 1);
            open_or_skip(&f, profiles[p]);
            bool reference = p == 0 && i == 0;
            multiply(&f, reference ? first : y, x, w);
            if (!reference)
                assert_memory_equal(y, first, sizeof y);
            fixture_close(&f);
        }
    unsetenv("UQMERGE_VK_SLOTS");
    for (size_t i = 0; i < M * N * N_TILES; i++) {
        const size_t row = i / (N * N_TILES), col = i % (N * N_TILES);
        double sum = 0, size = 0;
        for (size_t k = 0; k < K; k++) {
            sum += (double) x[row * K + k] * (double) w[col * K + k];
            size += fabs((double) x[row * K + k] * (double) w[col * K + k]);
        }
        assert_true(fabs((double) first[i] - sum) <= sqrt(K) * 0x1p-24 * size);
    }
}

static void slots_that_memory_is_short_for_are_done_without(void **state)
{
    static float x[M * K], w[N_TILES * N * K], y[M * N * N_TILES];
    struct random r = { 5 };
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    random_fill(&r, x, M * K, 1);
    random_fill(&r, w, N_TILES * N * K, 1);
    open_or_skip(&f, "budget=67108864");
    const struct uqm_device_needs needs = { .tile_bytes = 40 << 20,
                                            .tile_elem = 10 << 20,
                                            .max_k = 1024 };
    const struct uqm_device_bytes bytes = f.ops->reserve_bytes(f.device, &needs);
    assert_true(bytes.host + bytes.own > 67108864);
    assert_ok(f.ops->reserve(f.device, &needs, &err), err);
    assert_int_equal(f.vk->core->slots.n, 1);
    f.ops->release(f.device);
    multiply(&f, y, x, w);
    fixture_close(&f);
}

/* Of a card's memory nothing is taken from the budget, and what is not free is not planned with. */
static void reserving_takes_what_was_announced(void **state)
{
    static const char *const kinds[] = { "discrete,budget=268435456", NULL };
    (void) state;
    for (int i = 0; i < 2; i++) {
        struct uqm_err err = { 0 };
        struct fixture f;
        open_or_skip(&f, kinds[i]);
        const struct uqm_device_needs needs = {
            .tile_bytes = 8 << 20, .tile_elem = 4 << 20, .max_k = 1024, .max_kv = 100
        };
        const uint64_t most = 1 << 20, left = f.device->limits.memory_bytes;
        const uint64_t before = atomic_load(&f.env.budget.used_bytes);
        const struct uqm_device_bytes bytes = f.ops->reserve_bytes(f.device, &needs);
        const uint64_t later = (uint64_t) 2 * UQM_VK_N_CHUNKS * UQM_VK_CHUNK_BYTES;
        assert_ok(f.ops->reserve(f.device, &needs, &err), err);
        const uint64_t taken = atomic_load(&f.env.budget.used_bytes) - before;
        assert_in_range(taken + later, bytes.host - most, bytes.host + most);
        assert_int_equal(bytes.own > 0, !f.device->limits.on_host);
        if (bytes.own > 0)
            assert_in_range(left - f.device->limits.memory_bytes, bytes.own - most,
                            bytes.own + most);
        fixture_close(&f);
    }
}

static void a_table_lives_as_long_as_its_operation(void **state)
{
    static uint32_t words[UQM_VK_MAX_TABLE], back[UQM_VK_MAX_TABLE];
    struct uqm_place places[UQM_VK_TABLE_CHUNKS], one_more, out;
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    open_or_skip(&f, NULL);
    out = words_of(&f, UQM_VK_MAX_TABLE);
    for (uint32_t round = 0; round < 3; round++) {
        f.vk->core->operation++;
        for (uint32_t i = 0; i < UQM_VK_TABLE_CHUNKS; i++) {
            for (uint32_t k = 0; k < UQM_VK_MAX_TABLE; k++)
                words[k] = round * 1000003 + i * 65537 + k;
            assert_ok(uqm_vk_table(&places[i], f.vk, words, UQM_VK_MAX_TABLE, &err), err);
        }
        assert_fails(uqm_vk_table(&one_more, f.vk, words, 1, &err), err, UQM_ERR_UNSUPPORTED,
                     "tables");
        for (uint32_t i = 0; i < UQM_VK_TABLE_CHUNKS; i++) {
            assert_ok(uqm_vk_copy(f.vk, out, places[i], UQM_VK_MAX_TABLE, &err), err);
            assert_ok(uqm_vk_download(f.vk, back, out, UQM_VK_MAX_TABLE, &err), err);
            for (uint32_t k = 0; k < UQM_VK_MAX_TABLE; k++)
                assert_int_equal(back[k], round * 1000003 + i * 65537 + k);
        }
    }
    f.ops->free(f.device, &out.memory);
    fixture_close(&f);
}

static void submissions_are_waited_for_one_by_one_when_asked(void **state)
{
    struct uqm_err err = { 0 };
    struct fixture f;
    (void) state;
    setenv("UQMERGE_VK_SYNC", "1", 1);
    open_or_skip(&f, "staged");
    unsetenv("UQMERGE_VK_SYNC");
    struct uqm_place a = words_of(&f, 100), b = words_of(&f, 100);
    assert_ok(f.ops->copy(f.device, a, b, 100, &err), err);
    assert_ok(uqm_vk_submit(f.vk, UQM_VK_COMPUTE, &err), err);
    assert_int_equal(f.vk->core->queues[UQM_VK_COMPUTE].done, 1);
    f.ops->free(f.device, &a.memory);
    f.ops->free(f.device, &b.memory);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_uploaded_comes_back),
        cmocka_unit_test(kernels_are_timed_one_by_one_when_asked),
        cmocka_unit_test(staging_is_the_hosts_own_memory_where_the_device_takes_it),
        cmocka_unit_test(uploads_copies_and_downloads_keep_the_order_of_the_calls),
        cmocka_unit_test(small_memories_share_an_allocation),
        cmocka_unit_test(more_memory_than_there_is_is_refused_with_the_figures),
        cmocka_unit_test(a_wait_without_progress_says_what_is_pending),
        cmocka_unit_test(a_missing_barrier_is_reported_and_fails_the_run),
        cmocka_unit_test(products_are_the_same_with_any_number_of_slots_and_queues),
        cmocka_unit_test(slots_that_memory_is_short_for_are_done_without),
        cmocka_unit_test(reserving_takes_what_was_announced),
        cmocka_unit_test(a_table_lives_as_long_as_its_operation),
        cmocka_unit_test(submissions_are_waited_for_one_by_one_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
