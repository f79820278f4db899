#include "compute/gemm.h"

#include "tests/kernels/buffers.h"

struct fixture {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    struct uqm_gemm *gemm;
    struct random random;
};

static struct fixture fixture_of_tier(uint32_t cpu_flags, size_t tile_elem, size_t max_k,
                                      int n_threads)
{
    struct fixture f = { .env = test_env(256 << 20, n_threads), .random = { 1 } };
    struct uqm_err err = { 0 };
    assert_ok(uqm_threads_create(&f.threads, n_threads, &err), err);
    uqm_kernels_init(&f.kernels, cpu_flags);
    assert_ok(uqm_gemm_create(&f.gemm, f.env, f.threads, &f.kernels, tile_elem, max_k, &err), err);
    return f;
}

static struct fixture fixture_make(size_t tile_elem, size_t max_k, int n_threads)
{
    return fixture_of_tier(uqm_cpu_flags(), tile_elem, max_k, n_threads);
}

static void fixture_finish(struct fixture *f)
{
    uqm_gemm_destroy(&f->gemm);
    uqm_threads_destroy(&f->threads);
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
}

static size_t padded(size_t m)
{
    return (m + UQM_GEMM_ROWS - 1) / UQM_GEMM_ROWS * UQM_GEMM_ROWS;
}

static float *random_array(struct random *r, size_t n, float scale)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    random_fill(r, p, n, scale);
    return p;
}

static size_t elem_bytes(enum uqm_dtype dtype)
{
    return uqm_dtype_bits(dtype) / 8;
}

/* Rounds v to the dtype in place and returns it stored so, at an odd address where that is the
 * harder case. */
static struct buffer stored(const struct uqm_kernels *k, float *v, size_t n, enum uqm_dtype dtype)
{
    struct buffer b = buffer_make(n * elem_bytes(dtype), 1);
    uqm_narrow(k, b.p, dtype, v, n);
    uqm_widen(k, v, b.p, dtype, n);
    return b;
}

static double activation(enum uqm_epilogue e, double v, double y)
{
    switch (e) {
    case UQM_EPI_ADD: return y + v;
    case UQM_EPI_SILU_MUL: return y / (1 + exp(-y)) * v;
    case UQM_EPI_QUICK_GELU: return v / (1 + exp(-1.702 * v));
    case UQM_EPI_GELU: return v / 2 * (1 + erf(v / sqrt(2)));
    default: return v;
    }
}

struct shape {
    size_t m, n, k;
    enum uqm_dtype dtype;
    enum uqm_epilogue epilogue;
    bool bias;
};

typedef void (*product_fn)(struct uqm_gemm *, const struct uqm_product *);

/* Against double, element by element: the error of the dot product is held to
 * sqrt(K) 2^-24 sum |x w|; activations have slope at most 1.2 and errors of their own. */
static void check_against_double(product_fn product, const struct shape *s, int n_threads)
{
    struct fixture f = fixture_make(s->n * s->k, s->k, n_threads);
    const size_t ldx = s->k + 3, ldy = s->n + 5;
    float *x = random_array(&f.random, padded(s->m) * ldx, 1);
    float *w = random_array(&f.random, s->n * s->k, 0.3f);
    float *bias = random_array(&f.random, s->n, 1);
    float *before = random_array(&f.random, s->m * ldy, 1);
    struct buffer y = buffer_make(s->m * ldy * sizeof(float), 4);
    struct buffer ws = stored(&f.kernels, w, s->n * s->k, s->dtype);

    memcpy(y.p, before, y.n_bytes);
    const struct uqm_product of = {
        .y = y.p,
        .ldy = ldy,
        .x = x,
        .ldx = ldx,
        .m = s->m,
        .w = ws.p,
        .w_dtype = s->dtype,
        .n = s->n,
        .k = s->k,
        .bias = s->bias ? bias : NULL,
        .epilogue = s->epilogue,
    };
    product(f.gemm, &of);

    const float *out = y.p;
    for (size_t r = 0; r < s->m; r++) {
        for (size_t i = 0; i < s->n; i++) {
            double v = s->bias ? (double) bias[i] : 0, sum = fabs(v);
            for (size_t j = 0; j < s->k; j++) {
                double t = (double) x[r * ldx + j] * (double) w[i * s->k + j];
                v += t;
                sum += fabs(t);
            }
            double y0 = (double) before[r * ldy + i];
            double bound = sqrt((double) s->k) * 0x1p-24 * sum;
            if (s->epilogue == UQM_EPI_SILU_MUL)
                bound *= fabs(y0) + 1;
            bound = 1.2 * bound + 0x1p-21 * (1 + fabs(v) + fabs(y0));
            double want = activation(s->epilogue, v, y0);
            double got = (double) out[r * ldy + i];
            if (!(fabs(got - want) <= bound))
                fail_msg("m %zu n %zu k %zu %s: [%zu, %zu] is %.9g, not %.9g (bound %.3g)", s->m,
                         s->n, s->k, uqm_dtype_name(s->dtype), r, i, got, want, bound);
        }
        for (size_t i = s->n; i < ldy; i++)
            assert_true(out[r * ldy + i] == before[r * ldy + i]);
    }
    buffer_check_and_free(&y);
    buffer_check_and_free(&ws);
    free(before);
    free(bias);
    free(w);
    free(x);
    fixture_finish(&f);
}

static void products_agree_with_double(void **state)
{
    (void) state;
    static const struct shape shapes[] = {
        { 1, 1, 1, UQM_F32, UQM_EPI_STORE, false },
        { 3, 7, 5, UQM_F16, UQM_EPI_STORE, true },
        { 65, 129, 33, UQM_BF16, UQM_EPI_ADD, false },
        { 100, 300, 128, UQM_F16, UQM_EPI_SILU_MUL, false },
        { 257, 65, 128, UQM_F16, UQM_EPI_QUICK_GELU, true },
        { 256, 256, 64, UQM_BF16, UQM_EPI_GELU, true },
        { 300, 513, 352, UQM_F32, UQM_EPI_ADD, true },
        { 40, 20, 2049, UQM_F16, UQM_EPI_STORE, false },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_against_double(uqm_gemm_run, &shapes[i], 1 + (int) i % 3);
}

static void products_of_few_rows_agree_with_double(void **state)
{
    (void) state;
    static const struct shape shapes[] = {
        { 1, 1, 1, UQM_F32, UQM_EPI_STORE, false },
        { 1, 300, 2049, UQM_F16, UQM_EPI_STORE, true },
        { 2, 65, 352, UQM_BF16, UQM_EPI_ADD, false },
        { 8, 31, 129, UQM_F16, UQM_EPI_SILU_MUL, true },
        { 5, 33, 64, UQM_F32, UQM_EPI_QUICK_GELU, true },
        { 3, 97, 100, UQM_BF16, UQM_EPI_GELU, false },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_against_double(uqm_gemv_run, &shapes[i], 1 + (int) i % 3);
}

/* y (m, n) = x (m, k) W, all packed. */
static void multiply(struct uqm_gemm *gemm, float *y, const float *x, const float *w, size_t m,
                     size_t n, size_t k)
{
    const struct uqm_product of = {
        .y = y, .ldy = n, .x = x, .ldx = k, .m = m, .w = w, .w_dtype = UQM_F32, .n = n, .k = k
    };
    uqm_gemm_run(gemm, &of);
}

/* One row of x put at every place of a block, alone and in company. */
static void check_row_at_every_place(size_t n, size_t k)
{
    struct fixture f = fixture_make(n * k, k, 2);
    const size_t m = 2 * UQM_GEMM_ROWS + 17;
    float *x = random_array(&f.random, padded(m) * k, 1);
    float *w = random_array(&f.random, n * k, 0.3f);
    float *row = random_array(&f.random, k, 1), *keep = malloc(k * sizeof *keep);
    float *y = malloc(m * n * sizeof *y), *want = malloc(n * sizeof *want);
    assert_true(keep && y && want);

    memcpy(x, row, k * sizeof *x);
    multiply(f.gemm, want, x, w, 1, n, k);
    for (size_t i = 0; i < m; i++)
        memcpy(x + i * k, row, k * sizeof *x);
    multiply(f.gemm, y, x, w, m, n, k);
    for (size_t i = 0; i < m; i++)
        assert_memory_equal(y + i * n, want, n * sizeof *y);

    random_fill(&f.random, x, padded(m) * k, 2);
    for (size_t i = 0; i < m; i += 37) {
        memcpy(keep, x + i * k, k * sizeof *x);
        memcpy(x + i * k, row, k * sizeof *x);
        multiply(f.gemm, y, x, w, i + 1, n, k);
        assert_memory_equal(y + i * n, want, n * sizeof *y);
        memcpy(x + i * k, keep, k * sizeof *x);
    }
    free(want);
    free(y);
    free(keep);
    free(row);
    free(w);
    free(x);
    fixture_finish(&f);
}

/* Small, odd and large shapes: OpenBLAS has several ways through, by size. */
static void a_row_has_one_result_wherever_it_stands(void **state)
{
    (void) state;
    static const size_t shapes[][2] = { { 1, 1 },     { 1, 7 },     { 6, 4 },     { 16, 16 },
                                        { 17, 100 },  { 33, 128 },  { 128, 128 }, { 352, 128 },
                                        { 100, 352 }, { 257, 352 }, { 300, 449 }, { 61, 1000 },
                                        { 256, 640 }, { 40, 2049 }, { 64, 4097 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_row_at_every_place(shapes[i][0], shapes[i][1]);
}

/* y (m, n) with W cut into tiles of tile_n rows. */
static float *tiled_product(const float *x, const uint16_t *w, size_t m, size_t n, size_t k,
                            size_t tile_n, int n_threads)
{
    struct fixture f = fixture_make(tile_n * k, k, n_threads);
    float *y = malloc(m * n * sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < n; i += tile_n) {
        const struct uqm_product of = {
            .y = y + i,
            .ldy = n,
            .x = x,
            .ldx = k,
            .m = m,
            .w = w + i * k,
            .w_dtype = UQM_F16,
            .n = n - i < tile_n ? n - i : tile_n,
            .k = k,
        };
        uqm_gemm_run(f.gemm, &of);
    }
    fixture_finish(&f);
    return y;
}

static void tiles_and_threads_change_no_bit(void **state)
{
    (void) state;
    const size_t m = 301, n = 4 * UQM_GEMM_COLS + 77, k = 300;
    struct random r = { 5 };
    float *x = random_array(&r, padded(m) * k, 1), *wf = random_array(&r, n * k, 1);
    uint16_t *w = malloc(n * k * sizeof *w);
    assert_non_null(w);
    for (size_t i = 0; i < n * k; i++)
        w[i] = uqm_f16_of_f32(wf[i]);

    float *want = tiled_product(x, w, m, n, k, n, 1);
    for (size_t tiles = 1; tiles <= 3; tiles++) {
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            float *y = tiled_product(x, w, m, n, k, tiles * UQM_GEMM_COLS, n_threads);
            assert_memory_equal(y, want, m * n * sizeof *y);
            free(y);
        }
    }
    free(want);
    free(w);
    free(wf);
    free(x);
}

/*
 * y = epilogue(fma chain over k in ascending order + bias): what every tier with a product kernel
 * shall give to the bit. The activations are the tier's own and agree with the reference's.
 */
static void chain(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                  const struct shape *s, const float *bias)
{
    struct uqm_kernels ref;
    float *v = malloc(s->n * sizeof *v);
    assert_non_null(v);
    uqm_kernels_init(&ref, 0);
    for (size_t r = 0; r < s->m; r++, y += ldy, x += ldx) {
        for (size_t i = 0; i < s->n; i++) {
            v[i] = 0;
            for (size_t j = 0; j < s->k; j++)
                v[i] = fmaf(x[j], w[i * s->k + j], v[i]);
        }
        if (bias)
            ref.add_f32(v, bias, s->n);
        switch (s->epilogue) {
        case UQM_EPI_ADD: ref.add_f32(y, v, s->n); continue;
        case UQM_EPI_SILU_MUL: ref.silu_mul_f32(y, v, s->n); continue;
        case UQM_EPI_QUICK_GELU: ref.quick_gelu_f32(v, s->n); break;
        case UQM_EPI_GELU: ref.gelu_f32(v, s->n); break;
        case UQM_EPI_STORE: break;
        }
        memcpy(y, v, s->n * sizeof *y);
    }
    free(v);
}

/* x has exactly m rows, the last cut at k; x, w and y lie between canaries, w at an odd address. */
static void check_against_chain(uint32_t flags, const struct shape *s, int n_threads)
{
    struct fixture f = fixture_of_tier(flags, s->n * s->k, s->k, n_threads);
    const size_t ldx = s->k + 3, ldy = s->n + 5;
    float *w = random_array(&f.random, s->n * s->k, 0.3f);
    float *bias = random_array(&f.random, s->n, 1);
    struct buffer x = buffer_make(((s->m - 1) * ldx + s->k) * sizeof(float), 4);
    struct buffer y = buffer_make(((s->m - 1) * ldy + s->n) * sizeof(float), 4);
    struct buffer ws = stored(&f.kernels, w, s->n * s->k, s->dtype);
    float *want = malloc(y.n_bytes);
    assert_non_null(want);

    random_fill(&f.random, x.p, x.n_bytes / sizeof(float), 1);
    random_fill(&f.random, want, y.n_bytes / sizeof(float), 1);
    memcpy(y.p, want, y.n_bytes);
    chain(want, ldy, x.p, ldx, w, s, s->bias ? bias : NULL);
    const struct uqm_product product = {
        .y = y.p,
        .ldy = ldy,
        .x = x.p,
        .ldx = ldx,
        .m = s->m,
        .w = ws.p,
        .w_dtype = s->dtype,
        .n = s->n,
        .k = s->k,
        .bias = s->bias ? bias : NULL,
        .epilogue = s->epilogue,
    };
    uqm_gemm_run(f.gemm, &product);
    for (size_t i = 0; i < y.n_bytes / sizeof(float); i++)
        if (uqm_bits_of_f32(want[i]) != uqm_bits_of_f32(((const float *) y.p)[i]))
            fail_msg("%s: m %zu n %zu k %zu %s: [%zu, %zu] is %a, not %a", f.kernels.tier, s->m,
                     s->n, s->k, uqm_dtype_name(s->dtype), i / ldy, i % ldy,
                     (double) ((const float *) y.p)[i], (double) want[i]);
    buffer_check_and_free(&x);
    buffer_check_and_free(&y);
    buffer_check_and_free(&ws);
    free(want);
    free(bias);
    free(w);
    fixture_finish(&f);
}

/* The tiers that have a product kernel and run here. */
static const uint32_t own_tiers[] = { UQM_CPU_AVX2, UQM_CPU_AVX2 | UQM_CPU_AVX512 };
enum { N_OWN_TIERS = sizeof own_tiers / sizeof *own_tiers };

static bool runs_here(uint32_t flags)
{
    return (uqm_cpu_detect() & flags) == flags;
}

static void every_tier_is_one_chain_of_fma_to_the_bit(void **state)
{
    (void) state;
    static const size_t sizes[] = { 1, 6, 7, 14, 31, 63, 65, 129 };
    static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16, UQM_F32 };
    enum { N_SIZES = sizeof sizes / sizeof *sizes, N_EPILOGUES = UQM_EPI_GELU + 1 };
    for (size_t t = 0; t < N_OWN_TIERS; t++) {
        for (size_t i = 0; runs_here(own_tiers[t]) && i < N_SIZES * N_SIZES * N_SIZES; i++) {
            struct shape s = {
                .m = sizes[i % N_SIZES],
                .n = sizes[i / N_SIZES % N_SIZES],
                .k = sizes[i / N_SIZES / N_SIZES],
                .dtype = dtypes[i % 3],
                .epilogue = (enum uqm_epilogue)(i % N_EPILOGUES),
                .bias = i % 4 == 1,
            };
            check_against_chain(own_tiers[t], &s, 1 + (int) i % 3);
        }
    }
}

/* Beyond one block in each direction: partial sums wait in y, or in scratch where y is read. */
static void blocks_of_k_continue_the_chain_to_the_bit(void **state)
{
    (void) state;
    static const struct shape shapes[] = {
        { 15, 33, 385, UQM_F16, UQM_EPI_STORE, true },
        { 29, 65, 771, UQM_BF16, UQM_EPI_ADD, true },
        { 13, 31, 2049, UQM_F32, UQM_EPI_SILU_MUL, false },
        { 227, 300, 400, UQM_F16, UQM_EPI_ADD, false },
        { 97, 1100, 390, UQM_BF16, UQM_EPI_QUICK_GELU, true },
        { 3, 1, 5000, UQM_F16, UQM_EPI_GELU, false },
    };
    for (size_t t = 0; t < N_OWN_TIERS; t++)
        for (size_t i = 0; runs_here(own_tiers[t]) && i < sizeof shapes / sizeof *shapes; i++)
            check_against_chain(own_tiers[t], &shapes[i], 1 + (int) i % 3);
}

/* What overflowed in one row of x, or stands in one row of W, stays in its row or column of y. */
static void nan_and_infinity_stay_in_their_row_and_column(void **state)
{
    (void) state;
    const size_t m = 45, n = 75, k = 401, bad_row = 13, bad_col = 40;
    for (size_t t = 0; t < N_OWN_TIERS; t++) {
        if (!runs_here(own_tiers[t]))
            continue;
        struct fixture f = fixture_of_tier(own_tiers[t], n * k, k, 2);
        float *x = random_array(&f.random, m * k, 1), *w = random_array(&f.random, n * k, 1);
        float *y = malloc(m * n * sizeof *y), *want = malloc(m * n * sizeof *want);
        assert_true(y && want);
        struct uqm_product product = { .y = want,
                                       .ldy = n,
                                       .x = x,
                                       .ldx = k,
                                       .m = m,
                                       .w = w,
                                       .w_dtype = UQM_F32,
                                       .n = n,
                                       .k = k };
        uqm_gemm_run(f.gemm, &product);
        x[bad_row * k + 3] = INFINITY;
        x[(m - 1) * k + 400] = NAN;
        w[bad_col * k + 399] = NAN;
        w[(n - 1) * k] = -INFINITY;
        product.y = y;
        uqm_gemm_run(f.gemm, &product);
        for (size_t i = 0; i < m * n; i++) {
            size_t r = i / n, c = i % n;
            if (r == bad_row || r == m - 1 || c == bad_col || c == n - 1)
                assert_true(isnan(y[i]) || isinf(y[i]));
            else
                assert_int_equal(uqm_bits_of_f32(y[i]), uqm_bits_of_f32(want[i]));
        }
        free(want);
        free(y);
        free(w);
        free(x);
        fixture_finish(&f);
    }
}

static void too_little_memory_is_refused_and_leaks_nothing(void **state)
{
    (void) state;
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_kernels kernels;
    struct uqm_gemm *gemm = NULL;
    struct uqm_err err = { 0 };
    uqm_kernels_init(&kernels, 0);
    assert_fails(uqm_gemm_create(&gemm, env, NULL, &kernels, 17 << 20, 4096, &err), err,
                 UQM_ERR_NOMEM, "matrix products");
    assert_null(gemm);
    assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree_with_double),
        cmocka_unit_test(products_of_few_rows_agree_with_double),
        cmocka_unit_test(a_row_has_one_result_wherever_it_stands),
        cmocka_unit_test(tiles_and_threads_change_no_bit),
        cmocka_unit_test(every_tier_is_one_chain_of_fma_to_the_bit),
        cmocka_unit_test(blocks_of_k_continue_the_chain_to_the_bit),
        cmocka_unit_test(nan_and_infinity_stay_in_their_row_and_column),
        cmocka_unit_test(too_little_memory_is_refused_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
