/* The CPU as a device: its operations against plain loops, and its memory against the budget. */
#include "compute/device.h"
#include "compute/kernels.h"
#include "tests/kernels/buffers.h"

struct fixture {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_device *device;
    struct uqm_memory *memory;
    struct random random;
};

enum { N_WORDS = 1 << 18, MAX_KV = 100, MAX_ELEM = 1 << 14, MAX_K = 300 };

static struct fixture fixture_make(int n_threads)
{
    struct fixture f = { .env = test_env(64 << 20, n_threads), .random = { 3 } };
    struct uqm_err err = { 0 };
    const struct uqm_device_needs needs = {
        .tile_bytes = 2 * MAX_ELEM, .tile_elem = MAX_ELEM, .max_k = MAX_K, .max_kv = MAX_KV
    };
    assert_ok(uqm_threads_create(&f.threads, n_threads, &err), err);
    assert_ok(uqm_device_open(&f.device, f.env, f.threads, "cpu", &err), err);
    assert_ok(f.device->ops->reserve(f.device, &needs, &err), err);
    assert_int_equal(f.device->ops->reserve_bytes(f.device, &needs).host,
                     atomic_load(&f.env->budget.used_bytes));
    assert_ok(f.device->ops->alloc(&f.memory, f.device, N_WORDS, "the test", &err), err);
    return f;
}

static void fixture_finish(struct fixture *f)
{
    struct uqm_err err = { 0 };
    assert_ok(f->device->ops->finish(f->device, &err), err);
    f->device->ops->free(f->device, &f->memory);
    f->device->ops->release(f->device);
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
    uqm_device_destroy(&f->device);
    assert_null(f->device);
    uqm_threads_destroy(&f->threads);
}

static struct uqm_place at(const struct fixture *f, uint64_t word)
{
    return (struct uqm_place){ f->memory, word };
}

static float *random_array(struct fixture *f, size_t n)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    random_fill(&f->random, p, n, 1);
    return p;
}

static void put(struct fixture *f, uint64_t word, const void *src, size_t n_words)
{
    struct uqm_err err = { 0 };
    assert_ok(f->device->ops->upload(f->device, at(f, word), src, n_words, &err), err);
}

static float *get(struct fixture *f, uint64_t word, size_t n_words)
{
    struct uqm_err err = { 0 };
    float *p = malloc(n_words * sizeof *p);
    assert_non_null(p);
    assert_ok(f->device->ops->download(f->device, p, at(f, word), n_words, &err), err);
    return p;
}

/* ---- operations ---- */

static void check_linear(bool skinny)
{
    enum { M = 21, N = 40, K = 70, X = 0, Y = 256 * K, B = Y + M * N };
    struct fixture f = fixture_make(2);
    struct uqm_err err = { 0 };
    float *x = random_array(&f, M * K), *w = random_array(&f, N * K), *b = random_array(&f, N);
    put(&f, X, x, M * K);
    put(&f, B, b, N);
    const struct uqm_linear args = {
        .y = at(&f, Y),
        .x = at(&f, X),
        .ldy = N,
        .ldx = K,
        .m = M,
        .n = N,
        .k = K,
        .w = w,
        .w_dtype = UQM_F32,
        .bias = at(&f, B),
        .epilogue = UQM_EPI_STORE,
        .skinny = skinny,
    };
    assert_ok(f.device->ops->linear(f.device, &args, &err), err);
    float *y = get(&f, Y, M * N);
    for (size_t r = 0; r < M; r++)
        for (size_t i = 0; i < N; i++) {
            double want = (double) b[i];
            for (size_t k = 0; k < K; k++)
                want += (double) x[r * K + k] * (double) w[i * K + k];
            if (!(fabs((double) y[r * N + i] - want) < 1e-4))
                fail_msg("y[%zu, %zu] is %g, not %g", r, i, (double) y[r * N + i], want);
        }
    free(x);
    free(w);
    free(b);
    free(y);
    fixture_finish(&f);
}

static void products_agree_with_double_many_rows_or_few(void **state)
{
    (void) state;
    check_linear(false);
    check_linear(true);
}

static void norms_are_the_kernels_row_by_row_and_in_place(void **state)
{
    (void) state;
    enum { ROWS = 67, WIDTH = 37, X = 5, Y = X + ROWS * WIDTH, W = Y + ROWS * WIDTH };
    struct fixture f = fixture_make(3);
    struct uqm_kernels k;
    struct uqm_err err = { 0 };
    float *x = random_array(&f, ROWS * WIDTH), *w = random_array(&f, 2 * WIDTH), want[WIDTH];
    uqm_kernels_init(&k, uqm_cpu_flags());
    put(&f, W, w, 2 * WIDTH);
    for (int in_place = 0; in_place < 2; in_place++)
        for (int bias = 0; bias < 2; bias++) {
            put(&f, X, x, ROWS * WIDTH);
            struct uqm_norm args = {
                .y = at(&f, in_place ? X : Y),
                .x = at(&f, X),
                .weight = at(&f, W),
                .eps = 1e-5f,
                .n_rows = ROWS,
                .width = WIDTH,
            };
            if (bias)
                args.bias = at(&f, W + WIDTH);
            assert_ok(f.device->ops->norm(f.device, &args, &err), err);
            float *y = get(&f, in_place ? X : Y, ROWS * WIDTH);
            for (size_t r = 0; r < ROWS; r++) {
                if (bias)
                    k.layernorm_f32(want, x + r * WIDTH, w, w + WIDTH, 1e-5f, WIDTH);
                else
                    k.rmsnorm_f32(want, x + r * WIDTH, w, 1e-5f, WIDTH);
                assert_memory_equal(y + r * WIDTH, want, sizeof want);
            }
            free(y);
        }
    free(x);
    free(w);
    fixture_finish(&f);
}

static void rotation_takes_each_rows_own_position(void **state)
{
    (void) state;
    enum { ROWS = 45, HEADS = 3, DIM = 8, POS = 20, C = 0, S = C + POS * 4, P = S + POS * 4 };
    enum { X = P + ROWS, WIDTH = HEADS * DIM };
    struct fixture f = fixture_make(2);
    struct uqm_err err = { 0 };
    float *table = random_array(&f, 2 * POS * 4), *x = random_array(&f, ROWS * WIDTH);
    uint32_t positions[ROWS];
    for (uint32_t r = 0; r < ROWS; r++)
        positions[r] = r * 7 % POS;
    put(&f, C, table, 2 * POS * 4);
    put(&f, P, positions, ROWS);
    put(&f, X, x, ROWS * WIDTH);
    const struct uqm_rotate args = { .x = at(&f, X),
                                     .cos = at(&f, C),
                                     .sin = at(&f, S),
                                     .positions = at(&f, P),
                                     .n_rows = ROWS,
                                     .n_heads = HEADS,
                                     .head_dim = DIM };
    assert_ok(f.device->ops->rotate(f.device, &args, &err), err);
    float *y = get(&f, X, ROWS * WIDTH);
    for (size_t i = 0; i < ROWS * HEADS; i++)
        for (size_t p = 0; p < DIM / 2; p++) {
            const size_t t = positions[i / HEADS] * (DIM / 2) + p, a = i * DIM + p, b = a + DIM / 2;
            const float c = table[t], s = table[POS * 4 + t];
            assert_true(fabsf(y[a] - (x[a] * c - x[b] * s)) < 1e-5f);
            assert_true(fabsf(y[b] - (x[b] * c + x[a] * s)) < 1e-5f);
        }
    free(table);
    free(x);
    free(y);
    fixture_finish(&f);
}

static void gathering_copies_or_adds_and_leaves_rows_without_a_source(void **state)
{
    (void) state;
    enum { ROWS = 70, FROM = 9, WIDTH = 13, LDX = 15, LDY = 17 };
    enum { X = 3, Y = X + FROM * LDX, I = Y + ROWS * LDY };
    struct fixture f = fixture_make(2);
    struct uqm_err err = { 0 };
    float *x = random_array(&f, FROM * LDX), *y = random_array(&f, ROWS * LDY);
    uint32_t index[ROWS];
    for (uint32_t r = 0; r < ROWS; r++)
        index[r] = r % 10 == 9 ? UQM_NO_ROW : r * 5 % FROM;
    put(&f, X, x, FROM * LDX);
    put(&f, I, index, ROWS);
    for (int add = 0; add < 2; add++) {
        put(&f, Y, y, ROWS * LDY);
        const struct uqm_gather args = { .y = at(&f, Y),
                                         .x = at(&f, X),
                                         .ldy = LDY,
                                         .ldx = LDX,
                                         .index = at(&f, I),
                                         .n_rows = ROWS,
                                         .width = WIDTH,
                                         .add = add };
        assert_ok(f.device->ops->gather(f.device, &args, &err), err);
        float *got = get(&f, Y, ROWS * LDY);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t i = 0; i < LDY; i++) {
                const float old = y[r * LDY + i];
                float want = old;
                if (index[r] != UQM_NO_ROW && i < WIDTH)
                    want = x[index[r] * LDX + i] + (add ? old : 0);
                assert_true(got[r * LDY + i] == want);
            }
        free(got);
    }
    free(x);
    free(y);
    fixture_finish(&f);
}

/* Few queries against K and V as they are, and against the same values in F16. */
static void attention_to_halves_is_attention_to_their_values(void **state)
{
    (void) state;
    enum { N_Q = 2, N_KV = 90, HEADS = 4, KV_HEADS = 2, D = 10 };
    enum { LD = KV_HEADS * D, KV = N_KV * LD, Q = 0, K = Q + N_Q * HEADS * D, V = K + KV };
    enum { KH = V + KV, VH = KH + KV / 2, OUT = VH + KV / 2, OUT_HALF = OUT + N_Q * HEADS * D };
    struct fixture f = fixture_make(2);
    struct uqm_err err = { 0 };
    float *q = random_array(&f, N_Q * HEADS * D), *kv = random_array(&f, 2 * KV);
    uint16_t *half = malloc(2 * KV * sizeof *half);
    assert_non_null(half);
    for (size_t i = 0; i < 2 * KV; i++) {
        half[i] = uqm_f16_of_f32(kv[i]);
        kv[i] = uqm_f32_of_f16(half[i]);
    }
    put(&f, Q, q, N_Q * HEADS * D);
    put(&f, K, kv, 2 * KV);
    assert_ok(f.device->ops->narrow(f.device, at(&f, KH), at(&f, K), KV, &err), err);
    assert_ok(f.device->ops->narrow(f.device, at(&f, VH), at(&f, V), KV, &err), err);
    float *narrowed = get(&f, KH, KV);
    assert_memory_equal(narrowed, half, 2 * KV * sizeof *half);

    struct uqm_attend a[70];
    for (size_t i = 0; i < 70; i++)
        a[i] = (struct uqm_attend){ .q = at(&f, Q),
                                    .k = at(&f, K),
                                    .v = at(&f, V),
                                    .out = at(&f, OUT + i * (N_Q * HEADS * D)),
                                    .ldq = HEADS * D,
                                    .ldk = LD,
                                    .ldv = LD,
                                    .ldo = HEADS * D,
                                    .n_q = N_Q,
                                    .n_kv = N_KV - i,
                                    .n_heads = HEADS,
                                    .n_kv_heads = KV_HEADS,
                                    .head_dim = D,
                                    .scale = 0.3f,
                                    .causal = true };
    assert_ok(f.device->ops->attend(f.device, a, 70, &err), err);
    float *want = get(&f, OUT, (size_t) 70 * N_Q * HEADS * D);
    for (size_t i = 0; i < 70; i++) {
        a[i].half_kv = true;
        a[i].k = at(&f, KH);
        a[i].v = at(&f, VH);
    }
    assert_ok(f.device->ops->attend(f.device, a, 70, &err), err);
    float *got = get(&f, OUT, (size_t) 70 * N_Q * HEADS * D);
    assert_memory_equal(got, want, (size_t) 70 * N_Q * HEADS * D * sizeof *got);
    assert_true(isfinite(got[0]) && got[0] != 0);
    free(q);
    free(kv);
    free(half);
    free(narrowed);
    free(want);
    free(got);
    fixture_finish(&f);
}

/* ---- memory ---- */

static void memory_comes_from_the_budget_and_goes_back(void **state)
{
    (void) state;
    struct fixture f = fixture_make(1);
    struct uqm_err err = { 0 };
    struct uqm_memory *more = NULL;
    assert_true(f.device->limits.on_host);
    assert_string_equal(f.device->id, "cpu");
    assert_fails(f.device->ops->alloc(&more, f.device, 1 << 25, "the rows", &err), err,
                 UQM_ERR_NOMEM, "the rows need 128.0 MiB");
    assert_fails(f.device->ops->alloc(&more, f.device, UINT64_MAX / 2, "the rows", &err), err,
                 UQM_ERR_NOMEM, "the rows");
    assert_null(more);
    const uint64_t before = atomic_load(&f.env->budget.used_bytes);
    assert_ok(f.device->ops->alloc(&more, f.device, 1000, "the rows", &err), err);
    assert_int_equal(atomic_load(&f.env->budget.used_bytes), before + 4000);
    f.device->ops->free(f.device, &more);
    assert_null(more);
    f.device->ops->free(f.device, &more);
    assert_int_equal(atomic_load(&f.env->budget.used_bytes), before);
    fixture_finish(&f);
}

static void places_of_one_memory_are_copied_between(void **state)
{
    (void) state;
    struct fixture f = fixture_make(1);
    struct uqm_err err = { 0 };
    float *x = random_array(&f, 100);
    put(&f, 7, x, 100);
    assert_ok(f.device->ops->copy(f.device, at(&f, 1001), at(&f, 8), 99, &err), err);
    float *y = get(&f, 1000, 101);
    assert_memory_equal(y + 1, x + 1, 99 * sizeof *x);
    assert_true(y[0] == 0 && y[100] == 0);
    free(x);
    free(y);
    fixture_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree_with_double_many_rows_or_few),
        cmocka_unit_test(norms_are_the_kernels_row_by_row_and_in_place),
        cmocka_unit_test(rotation_takes_each_rows_own_position),
        cmocka_unit_test(gathering_copies_or_adds_and_leaves_rows_without_a_source),
        cmocka_unit_test(attention_to_halves_is_attention_to_their_values),
        cmocka_unit_test(memory_comes_from_the_budget_and_goes_back),
        cmocka_unit_test(places_of_one_memory_are_copied_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
