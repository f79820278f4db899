/* norm, rotate, gather and narrow against plain C, at odd sizes, whole and cut by small bindings.
 */
#include "compute/kernels.h"
#include "tests/kernels/vk/vk_fixture.h"

static const size_t widths[] = { 2, 8, 30, 64, 130, 4098 };
enum { N_WIDTHS = sizeof widths / sizeof *widths, N_ROWS = 7 };

/* Both reductions: by subgroups, and by the tree in shared memory. */
static void with_reductions(struct vk_fixture *f, void (*check)(struct vk_fixture *f))
{
    const struct uqm_vk_limits limits = f->vk->limits;
    check(f);
    f->vk->limits.slow_shared = false; /* workgroups of several subgroups */
    check(f);
    f->vk->limits.subgroup_arithmetic = false;
    check(f);
    f->vk->limits.shared_bytes = 4096;
    f->vk->limits.max_invocations = 128;
    check(f);
    f->vk->limits = limits;
}

static void check_norm(struct vk_fixture *f, size_t width, bool bias, bool in_place)
{
    struct random r = { width + bias };
    struct uqm_err err = { 0 };
    const size_t n = N_ROWS * width;
    float *x = random_floats(&r, n, 2), *w = random_floats(&r, width, 1);
    float *b = random_floats(&r, width, 1);
    for (size_t i = 0; i < n; i++)
        x[i] += 0.5f;
    struct vk_array dx = vk_array_make(f, n, 1, x), dy = vk_array_make(f, n, 2, NULL);
    struct vk_array dw = vk_array_make(f, width, 3, w), db = vk_array_make(f, width, 5, b);
    const struct uqm_norm args = {
        .y = in_place ? dx.place : dy.place,
        .x = dx.place,
        .weight = dw.place,
        .bias = bias ? db.place : (struct uqm_place){ 0 },
        .eps = 1e-5f,
        .n_rows = N_ROWS,
        .width = width,
    };
    assert_ok(f->ops->norm(f->device, &args, &err), err);
    float *got = vk_array_get(f, in_place ? &dx : &dy);
    for (size_t row = 0; row < N_ROWS; row++) {
        const float *v = x + row * width;
        double mean = 0, var = 0;
        for (size_t i = 0; i < width && bias; i++)
            mean += (double) v[i] / (double) width;
        for (size_t i = 0; i < width; i++)
            var += ((double) v[i] - mean) * ((double) v[i] - mean) / (double) width;
        for (size_t i = 0; i < width; i++) {
            double u = ((double) v[i] - mean) / sqrt(var + 1e-5);
            double want = u * (double) w[i] + (bias ? (double) b[i] : 0);
            double near = fabs(u * (double) w[i]) + (bias ? fabs((double) b[i]) : 0) +
                          fabs(mean) / sqrt(var + 1e-5) * fabs((double) w[i]);
            double y = (double) got[row * width + i];
            if (!(fabs(y - want) <= near * 0x1p-20))
                fail_msg("%s of %zu: y[%zu, %zu] is %.9g, not %.9g", bias ? "layernorm" : "rmsnorm",
                         width, row, i, y, want);
        }
    }
    free(got);
    vk_array_free(f, &dx);
    vk_array_free(f, &dy);
    vk_array_free(f, &dw);
    vk_array_free(f, &db);
    free(x);
    free(w);
    free(b);
}

static void check_norms(struct vk_fixture *f)
{
    for (size_t i = 0; i < N_WIDTHS * 2; i++)
        check_norm(f, widths[i / 2], i % 2, i % 3 == 0);
}

static void norms_agree_with_double(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    with_reductions(&f, check_norms);
    f.vk->limits.max_range = 32 << 10; /* a row or two at a time */
    check_norms(&f);
    vk_fixture_close(&f);
}

/* Multiply, then subtract: the same bits as the CPU's kernel. */
static void check_rotate(struct vk_fixture *f, size_t n_rows, size_t n_heads, size_t d, bool apart)
{
    enum { N_POSITIONS = 50 };
    struct random r = { n_rows * d };
    struct uqm_err err = { 0 };
    struct uqm_kernels kernels;
    uqm_kernels_init(&kernels, 0);
    const size_t n = n_rows * n_heads * d, h = d / 2;
    float *x = random_floats(&r, n, 1), *tables = random_floats(&r, 2 * N_POSITIONS * h, 1);
    uint32_t *positions = malloc(n_rows * sizeof *positions);
    assert_non_null(positions);
    for (size_t i = 0; i < n_rows; i++)
        positions[i] = random_u32(&r) % N_POSITIONS;
    struct vk_array dx = vk_array_make(f, n, 1, x), dp = vk_array_make(f, n_rows, 3, positions);
    struct vk_array both = vk_array_make(f, 2 * N_POSITIONS * h, 0, tables);
    struct vk_array sin = vk_array_make(f, N_POSITIONS * h, 7, tables + N_POSITIONS * h);
    const struct uqm_rotate args = {
        .x = dx.place,
        .cos = both.place,
        .sin = apart ? sin.place : uqm_place_add(both.place, N_POSITIONS * h),
        .positions = dp.place,
        .n_rows = n_rows,
        .n_heads = n_heads,
        .head_dim = d,
    };
    assert_ok(f->ops->rotate(f->device, &args, &err), err);
    float *got = vk_array_get(f, &dx);
    for (size_t i = 0; i < n_rows * n_heads; i++) {
        const float *c = tables + positions[i / n_heads] * h;
        kernels.rope_f32(x + i * d, c, c + N_POSITIONS * h, d);
    }
    assert_memory_equal(got, x, n * sizeof *x);
    free(got);
    vk_array_free(f, &dx);
    vk_array_free(f, &dp);
    vk_array_free(f, &both);
    vk_array_free(f, &sin);
    free(x);
    free(tables);
    free(positions);
}

static void heads_are_rotated_as_on_the_cpu(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    const uint32_t bindings = f.vk->limits.max_bindings;
    for (unsigned c = 0; c < 4; c++) {
        f.vk->limits.max_bindings = c % 2 ? 4 : bindings;
        check_rotate(&f, 9, 3, 10, c == 0);
        check_rotate(&f, 33, 4, 128, c == 2);
        if (c == 1) /* rows in pieces; the tables are 32 KB apart */
            f.vk->limits.max_range = 80 << 10;
    }
    vk_fixture_close(&f);
}

static void check_gather(struct vk_fixture *f, size_t width, bool add)
{
    enum { N_Y = 23, N_X = 40 };
    struct random r = { width };
    struct uqm_err err = { 0 };
    const size_t ldy = width + 3, ldx = width + 1;
    float *y = random_floats(&r, N_Y * ldy, 1), *x = random_floats(&r, N_X * ldx, 1);
    uint32_t index[N_Y];
    for (size_t i = 0; i < N_Y; i++)
        index[i] = i % 5 == 3 ? UQM_NO_ROW : random_u32(&r) % N_X;
    struct vk_array dy = vk_array_make(f, N_Y * ldy, 1, y), dx = vk_array_make(f, N_X * ldx, 2, x);
    struct vk_array di = vk_array_make(f, N_Y, 3, index);
    const struct uqm_gather args = {
        .y = dy.place,
        .x = dx.place,
        .ldy = ldy,
        .ldx = ldx,
        .index = di.place,
        .n_rows = N_Y,
        .width = width,
        .add = add,
    };
    assert_ok(f->ops->gather(f->device, &args, &err), err);
    float *got = vk_array_get(f, &dy);
    for (size_t i = 0; i < N_Y; i++)
        for (size_t c = 0; c < width && index[i] != UQM_NO_ROW; c++)
            y[i * ldy + c] = (add ? y[i * ldy + c] : 0) + x[index[i] * ldx + c];
    assert_memory_equal(got, y, N_Y * ldy * sizeof *y);
    free(got);
    vk_array_free(f, &dy);
    vk_array_free(f, &dx);
    vk_array_free(f, &di);
    free(y);
    free(x);
}

static void rows_are_gathered_and_added(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    for (size_t i = 0; i < N_WIDTHS * 2; i++)
        check_gather(&f, widths[i / 2], i % 2);
    f.vk->limits.max_range = 40 << 10; /* x in many windows */
    for (size_t i = 0; i < N_WIDTHS * 2; i++)
        check_gather(&f, widths[i / 2], i % 2);
    vk_fixture_close(&f);
}

/* Every f16, every halfway case between two of them, and what lies beside those. */
static void narrowing_rounds_as_the_cpu_does(void **state)
{
    (void) state;
    enum { N = 65536 * 4 };
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    float *src = malloc(N * sizeof *src);
    uint16_t *want = malloc(N * sizeof *want);
    assert_true(src && want);
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t bits = uqm_bits_of_f32(uqm_f32_of_f16((uint16_t) h));
        src[4 * h] = uqm_f32_of_bits(bits);
        src[4 * h + 1] = uqm_f32_of_bits(bits + 0x1000);
        src[4 * h + 2] = uqm_f32_of_bits(bits + 0xFFF);
        src[4 * h + 3] = uqm_f32_of_bits(bits - 1);
    }
    for (size_t i = 0; i < N; i++)
        want[i] = uqm_f16_of_f32(src[i]);
    struct vk_array ds = vk_array_make(&f, N, 1, src), dd = vk_array_make(&f, N / 2, 3, NULL);
    for (int cut = 0; cut < 2; cut++) {
        assert_ok(f.ops->narrow(f.device, dd.place, ds.place, N, &err), err);
        uint16_t *got = vk_array_get(&f, &dd);
        for (size_t i = 0; i < N; i++)
            if (got[i] != want[i])
                fail_msg("%a became %04x, not %04x", (double) src[i], got[i], want[i]);
        free(got);
        f.vk->limits.max_range = 100 << 10;
    }
    vk_array_free(&f, &ds);
    vk_array_free(&f, &dd);
    free(src);
    free(want);
    vk_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_agree_with_double),
        cmocka_unit_test(heads_are_rotated_as_on_the_cpu),
        cmocka_unit_test(rows_are_gathered_and_added),
        cmocka_unit_test(narrowing_rounds_as_the_cpu_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
