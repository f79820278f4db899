/* Weights mixed on the device: to the bit what the host mixes, packed as the host would have. */
#include "compute/kernels.h"
#include "compute/merge_scalar.h"
#include "compute/vk/vk_gemm.h"
#include "compute/vk/vk_pack.h"
#include "compute/wide.h"
#include "tests/kernels/vk/vk_fixture.h"

enum { MOST_INPUTS = 5 };

static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16, UQM_F32 };

struct mixture {
    size_t n, k;
    enum uqm_dtype out;
    struct uqm_mix_input inputs[MOST_INPUTS], base;
    struct uqm_mix mix;
};

/* Any bits at all, or numbers near each other: where roundings and cancellation are. */
static void *random_elements(struct random *r, size_t n, enum uqm_dtype dtype, bool any)
{
    struct uqm_kernels kernels;
    uqm_kernels_init(&kernels, 0);
    uint32_t *words = malloc(n * sizeof *words);
    float *numbers = random_floats(r, n, 0.05f);
    assert_non_null(words);
    for (size_t i = 0; i < n; i++)
        words[i] = random_u32(r);
    if (!any && dtype == UQM_F32)
        memcpy(words, numbers, n * sizeof *words);
    else if (!any)
        uqm_narrow(&kernels, words, dtype, numbers, n);
    free(numbers);
    return words;
}

static void mixture_make(struct mixture *m, struct random *r, size_t c, bool any)
{
    static const double divisors[] = { 1, 3, 0.7, 1.0 + 0x1p-40, 5 };
    m->mix = (struct uqm_mix){ .base = c % 2 ? &m->base : NULL,
                               .n_inputs = 1 + c % MOST_INPUTS,
                               .inputs = m->inputs,
                               .divisor = divisors[c / 2 % 5],
                               .lambda = c % 3 ? 1 : 0.3 };
    m->base = (struct uqm_mix_input){ random_elements(r, m->n * m->k, dtypes[c % 3], any),
                                      dtypes[c % 3], 0 };
    for (size_t i = 0; i < m->mix.n_inputs; i++) {
        const enum uqm_dtype dtype = dtypes[(c + i / 2) % 3];
        m->inputs[i] = (struct uqm_mix_input){ random_elements(r, m->n * m->k, dtype, any), dtype,
                                               c % 4 ? (double) random_f32(r, 1) + 0x1p-30 : 1 };
    }
    assert_true(uqm_mix_is_safe(&m->mix));
}

static void mixture_finish(struct mixture *m)
{
    free((void *) (uintptr_t) m->base.w);
    for (size_t i = 0; i < m->mix.n_inputs; i++)
        free((void *) (uintptr_t) m->inputs[i].w);
}

/* Element e as the host's merges compute it; bits of the output type. */
static uint32_t host_bits(const struct mixture *m, size_t e)
{
    struct uqm_linear_input linear[MOST_INPUTS];
    struct uqm_task_input task[MOST_INPUTS];
    struct uqm_kernels k;
    uint32_t bits = 0;
    uint16_t half;
    float f;
    uqm_kernels_init(&k, 0);
    for (size_t i = 0; i < m->mix.n_inputs; i++) {
        const struct uqm_mix_input *in = &m->inputs[i];
        const struct uqm_stored x = { in->w, in->dtype };
        linear[i] = (struct uqm_linear_input){ x, in->weight };
        task[i] =
            (struct uqm_task_input){ .x = x, .most = INT32_MAX, .ratio = 1, .weight = in->weight };
    }
    const struct uqm_linear_mix sum = { m->mix.n_inputs, linear, m->mix.divisor, 0 };
    const struct uqm_task_mix change = { .base = { m->base.w, m->base.dtype },
                                         .n_inputs = m->mix.n_inputs,
                                         .inputs = task,
                                         .normalize = m->mix.divisor != 1,
                                         .divisor = m->mix.divisor,
                                         .lambda = m->mix.lambda };
    double v = m->mix.base ? uqm_task_mix_1(&change, e) : uqm_linear_mix_1(&sum, e);
    if (m->out == UQM_F32) {
        k.wide->to_f32(&f, &v, 1);
        memcpy(&bits, &f, sizeof f);
        return bits;
    }
    k.wide->to_odd_f32(&f, &v, 1);
    uqm_narrow(&k, &half, m->out, &f, 1);
    return half;
}

static bool is_nan(enum uqm_dtype dtype, uint32_t bits)
{
    const uint32_t infinity = dtype == UQM_F16 ? 0x7C00 : dtype == UQM_BF16 ? 0x7F80 : 0x7F800000;
    const uint32_t sign = dtype == UQM_F32 ? 0x80000000 : 0x8000;
    return (bits & ~sign) > infinity;
}

static uint32_t element(const void *all, enum uqm_dtype dtype, size_t i)
{
    return dtype == UQM_F32 ? ((const uint32_t *) all)[i] : ((const uint16_t *) all)[i];
}

static void check_mixture(struct vk_fixture *f, const struct mixture *m, size_t c)
{
    struct uqm_err err = { 0 };
    struct uqm_vk_slot slot;
    const uint64_t bytes = uqm_vk_packed_bytes(m->out, m->n, m->k);
    const size_t n_blocks = (m->k + 7) / 8;
    uint32_t *got = malloc(bytes);
    assert_non_null(got);
    const struct uqm_linear args = { .n = m->n, .k = m->k, .w_dtype = m->out, .mix = &m->mix };
    assert_ok(uqm_vk_linear_fill(&slot, f->vk, &args, &err), err);
    assert_ok(f->ops->download(f->device, got, slot.place, bytes / 4, &err), err);
    for (size_t row = 0; row < (m->n + 7) / 8 * 8; row++)
        for (size_t j = 0; j < n_blocks * 8; j++) {
            const bool inside = row < m->n && j < m->k;
            const uint32_t want = inside ? host_bits(m, row * m->k + j) : 0;
            const uint32_t is =
                element(got, m->out, (row / 8 * n_blocks + j / 8) * 64 + row % 8 * 8 + j % 8);
            if (is != want && !(is_nan(m->out, is) && is_nan(m->out, want)))
                fail_msg("mixture %zu, %zu inputs%s to %s, (%zu, %zu): %#x, not %#x", c,
                         m->mix.n_inputs, m->mix.base ? " and a base" : "", uqm_dtype_name(m->out),
                         row, j, is, want);
        }
    free(got);
}

static void mix_all(const char *slots, bool any)
{
    static const struct {
        size_t n, k;
    } shapes[] = { { 67, 129 }, { 1, 1 }, { 2049, 1 }, { 7, 65 }, { 9, 63 } };
    struct vk_fixture f;
    struct random r = { 11 };
    setenv("UQMERGE_VK_SLOTS", slots, 1);
    bool opened = vk_fixture_open(&f, NULL);
    unsetenv("UQMERGE_VK_SLOTS");
    if (!opened)
        test_skip("no Vulkan device");
    if (!f.vk->limits.shader_f64) {
        vk_fixture_close(&f);
        test_skip("the device has no f64");
    }
    const struct uqm_device_needs needs = {
        .tile_bytes = 1 << 18, .tile_elem = 1 << 16, .max_k = 129, .mixes = true
    };
    vk_fixture_reserve(&f, &needs);
    for (size_t c = 0; c < 30; c++) {
        struct mixture m = { .n = shapes[c % 5].n, .k = shapes[c % 5].k, .out = dtypes[c / 5 % 3] };
        mixture_make(&m, &r, c, any);
        if (!vk_left_out(c, 5))
            check_mixture(&f, &m, c);
        mixture_finish(&m);
    }
    vk_fixture_close(&f);
}

static void numbers_are_mixed_to_the_bit(void **state)
{
    (void) state;
    mix_all("3", false);
}

static void any_bits_are_mixed_to_the_bit_through_a_single_slot(void **state)
{
    (void) state;
    mix_all("1", true);
}

/* W larger than a slot: in rows; x of unit vectors shows its elements. */
static void a_product_takes_a_mixture_in_pieces(void **state)
{
    (void) state;
    enum { N = 301, K = 40 };
    struct vk_fixture f;
    struct random r = { 12 };
    struct uqm_err err = { 0 };
    float *x = calloc(K * K, sizeof *x);
    assert_non_null(x);
    if (!vk_fixture_open(&f, NULL) || !f.vk->limits.shader_f64)
        test_skip("no Vulkan device with f64");
    const struct uqm_device_needs needs = {
        .tile_bytes = 1 << 13, .tile_elem = 1 << 12, .max_k = K, .mixes = true
    };
    vk_fixture_reserve(&f, &needs);
    for (size_t i = 0; i < K; i++)
        x[i * K + i] = 1;
    struct vk_array dx = vk_array_make(&f, K * K, 0, x), dy = vk_array_make(&f, K * N, 0, NULL);
    struct mixture m = { .n = N, .k = K, .out = UQM_BF16 };
    mixture_make(&m, &r, 3, false);
    const struct uqm_linear args = { .y = dy.place,
                                     .x = dx.place,
                                     .ldy = N,
                                     .ldx = K,
                                     .m = K,
                                     .n = N,
                                     .k = K,
                                     .w_dtype = m.out,
                                     .mix = &m.mix,
                                     .epilogue = UQM_EPI_STORE };
    assert_ok(f.ops->linear(f.device, &args, &err), err);
    float *y = vk_array_get(&f, &dy);
    for (size_t row = 0; row < K; row++)
        for (size_t i = 0; i < N; i++) {
            const float want = uqm_f32_of_bf16((uint16_t) host_bits(&m, i * K + row));
            assert_true(y[row * N + i] == want);
            assert_true(uqm_mix_element(&m.mix, m.out, i * K + row) == want);
        }
    free(y);
    free(x);
    mixture_finish(&m);
    vk_array_free(&f, &dx);
    vk_array_free(&f, &dy);
    vk_fixture_close(&f);
}

static void factors_out_of_the_ordinary_are_left_to_the_host(void **state)
{
    (void) state;
    struct uqm_mix_input input = { NULL, UQM_F32, 1 };
    struct uqm_mix mix = { .n_inputs = 1, .inputs = &input, .divisor = 1, .lambda = 1 };
    assert_true(uqm_mix_is_safe(&mix));
    input.weight = 1e300;
    assert_false(uqm_mix_is_safe(&mix));
    input.weight = 0;
    assert_true(uqm_mix_is_safe(&mix));
    mix.divisor = 0;
    assert_false(uqm_mix_is_safe(&mix));
    mix.divisor = (double) NAN;
    assert_false(uqm_mix_is_safe(&mix));
    mix.divisor = 2;
    mix.base = &input;
    mix.lambda = 1e-300;
    assert_false(uqm_mix_is_safe(&mix));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_mixed_to_the_bit),
        cmocka_unit_test(any_bits_are_mixed_to_the_bit_through_a_single_slot),
        cmocka_unit_test(a_product_takes_a_mixture_in_pieces),
        cmocka_unit_test(factors_out_of_the_ordinary_are_left_to_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
