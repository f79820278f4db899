/* Weights mixed on the device: to the bit what the host mixes, packed as the host would have. */
#include "compute/kernels.h"
#include "compute/merge_scalar.h"
#include "compute/vk/vk_gemm.h"
#include "compute/vk/vk_pack.h"
#include "compute/wide.h"
#include "src/merge/methods/draws.h"
#include "tests/kernels/vk/vk_fixture.h"

enum { MOST_INPUTS = 5, MOST_RUNS = 64 };

static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16, UQM_F32 };

struct mixture {
    size_t n, k;
    enum uqm_dtype out;
    struct uqm_mix_input inputs[MOST_INPUTS], base;
    struct uqm_mix mix;
    /* In one piece, where the mixture's lie in runs. */
    struct uqm_stored whole[MOST_INPUTS + 1]; /* the base's last */
    const void *runs[MOST_INPUTS + 1][MOST_RUNS];
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
    m->base = (struct uqm_mix_input){ .w = random_elements(r, m->n * m->k, dtypes[c % 3], any),
                                      .dtype = dtypes[c % 3] };
    for (size_t i = 0; i < m->mix.n_inputs; i++) {
        const enum uqm_dtype dtype = dtypes[(c + i / 2) % 3];
        m->inputs[i] =
            (struct uqm_mix_input){ .w = random_elements(r, m->n * m->k, dtype, any),
                                    .dtype = dtype,
                                    .weight = c % 4 ? (double) random_f32(r, 1) + 0x1p-30 : 1 };
    }
    assert_true(uqm_mix_is_safe(&m->mix));
}

static struct uqm_mix_input *operand(struct mixture *m, size_t i)
{
    return i == MOST_INPUTS ? &m->base : i < m->mix.n_inputs ? &m->inputs[i] : NULL;
}

/* Elements [from, from + n) of an operand on their own. */
static void *copy_of(const struct uqm_stored *x, size_t from, size_t n)
{
    const size_t bytes = uqm_dtype_bits(x->dtype) / 8;
    void *copy = malloc(n * bytes);
    assert_non_null(copy);
    memcpy(copy, (const char *) x->x + from * bytes, n * bytes);
    return copy;
}

/* run_elem > 0: cut every operand. */
static void mixture_cut(struct mixture *m, size_t run_first, size_t run_elem)
{
    const size_t n = m->n * m->k;
    if (run_elem == 0 || run_first >= n)
        run_elem = run_first = 0;
    m->mix.run_first = run_first;
    m->mix.run_elem = run_elem;
    for (size_t i = 0; i <= MOST_INPUTS; i++) {
        struct uqm_mix_input *in = operand(m, i);
        if (!in)
            continue;
        m->whole[i] = (struct uqm_stored){ in->w, in->dtype };
        if (run_elem == 0)
            continue;
        in->w = copy_of(&m->whole[i], 0, run_first);
        in->later = m->runs[i];
        for (size_t at = run_first, k = 0; at < n; at += run_elem, k++) {
            assert_true(k < MOST_RUNS);
            m->runs[i][k] = copy_of(&m->whole[i], at, n - at < run_elem ? n - at : run_elem);
        }
    }
}

static void mixture_finish(struct mixture *m)
{
    for (size_t i = 0; i <= MOST_INPUTS; i++) {
        if (!operand(m, i))
            continue;
        for (size_t k = 0; k < MOST_RUNS; k++)
            free((void *) (uintptr_t) m->runs[i][k]);
        if (m->mix.run_elem > 0)
            free((void *) (uintptr_t) operand(m, i)->w);
        free((void *) (uintptr_t) m->whole[i].x);
    }
}

static uint32_t key_at(const struct mixture *m, size_t i, size_t e)
{
    const struct uqm_stored x = { m->inputs[i].w, m->inputs[i].dtype };
    const struct uqm_stored base = { m->base.w, m->base.dtype };
    return uqm_delta_key_1(uqm_stored_1(x, e), uqm_stored_1(base, e));
}

/* Shares that cancel those of the input before to the bit. */
static void cancel(struct mixture *m, size_t i)
{
    const struct uqm_mix_input *before = &m->inputs[i - 1];
    struct uqm_mix_input *in = &m->inputs[i];
    assert_int_equal(in->dtype, before->dtype);
    memcpy((void *) (uintptr_t) in->w, before->w, uqm_dtype_bytes(in->dtype, m->n * m->k));
    in->sieve = before->sieve;
    in->weight = -before->weight;
}

/* What a tensor's statistics and draws may have said of input i. A limit's key is that of one of
 * the elements, or of several, and a draw's density lies beside what decides over one. */
static void sift(struct mixture *m, struct random *r, size_t c, size_t i)
{
    static const double ratios[] = { 1, 1.9, 1e-3 };
    const uint64_t n = m->n * m->k, first = m->mix.first_elem;
    uint64_t e = random_u32(r) % n, other = random_u32(r) % n;
    for (size_t tries = 0; c % 4 == 2 && tries < n && key_at(m, i, e) <= 0x7F800000; tries++)
        e = (e + 1) % n; /* so many are no numbers that the limit lies among them */
    const uint32_t keys[] = { key_at(m, i, e), key_at(m, i, other) };
    struct uqm_mix_sieve *s = &m->inputs[i].sieve;
    *s = (struct uqm_mix_sieve){ .counts = (enum uqm_mix_counts)((c / 2 + i / 3) % 3),
                                 .ratio = ratios[random_u32(r) % 3],
                                 .keep = uqm_key_limit_all(),
                                 .drop = uqm_key_limit_none(),
                                 .key = { { random_u32(r), random_u32(r) } } };
    if (random_u32(r) % 8 == 0) {
        s->keep = uqm_key_limit_none(); /* density 0 */
        return;
    }
    s->keep = (struct uqm_key_limit){ keys[0], c % 5 == 0, first + e + random_u32(r) % 2 };
    if (c % 3 == 0)
        s->drop = (struct uqm_key_limit){ keys[1], c % 2, first + other };
    uint16_t halves[8];
    uqm_merge_kernels_ref.philox_halves(halves, s->key, (first + e) / 8, 1);
    const double half = (double) halves[(first + e) % 8];
    const double lower = (double) uqm_draw_lower_bits(s->key, first + e);
    s->density = random_u32(r) % 2
                     ? (half + (lower + (random_u32(r) % 2 ? 0.5 : -0.5)) * 0x1p-32) / 65536
                     : 1 - 0x1p-53;
    s->density = s->density < 0 ? 0 : s->density;
}

/* Trimmed or drawn from, with or without a consensus, from a base. */
static void mixture_sift(struct mixture *m, struct random *r, size_t c)
{
    static const uint64_t firsts[] = { 0, 12345, UINT64_C(0xFFFFFFFF) - 40, UINT64_C(3) << 33 };
    m->mix.base = &m->base;
    m->mix.first_elem = firsts[c % 4];
    m->mix.consensus = c % 4 != 1;
    m->mix.normalize = c % 3 != 0;
    m->mix.divisor = m->mix.consensus || !m->mix.normalize ? 1 : m->mix.divisor;
    for (size_t i = 0; i < m->mix.n_inputs; i++) {
        sift(m, r, c, i);
        if (c % 7 == 0 && i % 2) /* weights that add up to 0 */
            m->inputs[i].weight = -m->inputs[i - 1].weight;
        if (c % 7 == 3 && i % 2)
            cancel(m, i);
    }
    assert_true(uqm_mix_is_safe(&m->mix));
}

/* Whether element e counts, from what the sparsifiers themselves ask. */
static bool counts(const struct mixture *m, const struct uqm_mix_sieve *s, uint32_t key, size_t e)
{
    const uint64_t index = m->mix.first_elem + e;
    if (s->counts == UQM_MIX_ALL)
        return true;
    if (s->counts == UQM_MIX_LIMITS) {
        const bool kept =
            key > s->keep.key ||
            (key == s->keep.key && (s->keep.last ? index >= s->keep.cut : index < s->keep.cut));
        const bool dropped =
            key > s->drop.key ||
            (key == s->drop.key && (s->drop.last ? index >= s->drop.cut : index < s->drop.cut));
        return kept && !dropped;
    }
    uint16_t halves[8];
    uqm_merge_kernels_ref.philox_halves(halves, s->key, index / 8, 1);
    return uqm_draw_is_below(halves[index % 8], s->key, index, s->density);
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
    const struct uqm_stored *base = &m->whole[MOST_INPUTS];
    for (size_t i = 0; i < m->mix.n_inputs; i++) {
        const struct uqm_mix_input *in = &m->inputs[i];
        const struct uqm_stored x = m->whole[i];
        const uint32_t key = uqm_delta_key_1(uqm_stored_1(x, e), uqm_stored_1(*base, e));
        linear[i] = (struct uqm_linear_input){ x, in->weight };
        task[i] = (struct uqm_task_input){
            .x = x,
            .most = counts(m, &in->sieve, key, e) ? INT32_MAX : -1,
            .ratio = in->sieve.counts == UQM_MIX_ALL ? 1 : in->sieve.ratio,
            .weight = in->weight,
        };
    }
    const struct uqm_linear_mix sum = { m->mix.n_inputs, linear, m->mix.divisor, 0 };
    const struct uqm_task_mix change = { .base = *base,
                                         .n_inputs = m->mix.n_inputs,
                                         .inputs = task,
                                         .consensus = m->mix.consensus,
                                         .normalize = m->mix.normalize || m->mix.divisor != 1,
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
            const bool any_nan = !m->mix.base && is_nan(m->out, is) && is_nan(m->out, want);
            if (is != want && !any_nan)
                fail_msg("mixture %zu, %zu inputs%s to %s, (%zu, %zu): %#x, not %#x", c,
                         m->mix.n_inputs, m->mix.base ? " and a base" : "", uqm_dtype_name(m->out),
                         row, j, is, want);
        }
    free(got);
}

/* slots: how many; sifts: beside what is added up as it is. */
static void mix_all(const char *slots, bool any, bool sifts)
{
    static const struct {
        size_t n, k;
    } shapes[] = { { 67, 129 }, { 1, 1 }, { 2049, 1 }, { 7, 65 }, { 9, 63 } };
    static const size_t runs[][2] = { { 0, 0 }, { 1, 4096 }, { 997, 1031 }, { 64, 640 } };
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
    const struct uqm_device_needs needs = { .tile_bytes = 1 << 18,
                                            .tile_elem = 1 << 16,
                                            .max_k = 129,
                                            .mixes = sifts ? UQM_MIXES_ELECTIONS : UQM_MIXES_SUMS };
    vk_fixture_reserve(&f, &needs);
    for (size_t c = 0; c < (sifts ? 60 : 30); c++) {
        struct mixture m = { .n = shapes[c % 5].n, .k = shapes[c % 5].k, .out = dtypes[c / 5 % 3] };
        mixture_make(&m, &r, c, any);
        if (sifts)
            mixture_sift(&m, &r, c);
        mixture_cut(&m, runs[c / 5 % 4][0], runs[c / 5 % 4][1]);
        if (!vk_left_out(c, 5))
            check_mixture(&f, &m, c);
        mixture_finish(&m);
    }
    vk_fixture_close(&f);
}

static void numbers_are_mixed_to_the_bit(void **state)
{
    (void) state;
    mix_all("3", false, false);
}

static void any_bits_are_mixed_to_the_bit_through_a_single_slot(void **state)
{
    (void) state;
    mix_all("1", true, false);
}

static void elections_of_sparse_differences_are_made_to_the_bit(void **state)
{
    (void) state;
    mix_all("3", false, true);
}

static void elections_of_any_bits_are_made_to_the_bit_through_a_single_slot(void **state)
{
    (void) state;
    mix_all("1", true, true);
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
        .tile_bytes = 1 << 13, .tile_elem = 1 << 12, .max_k = K, .mixes = UQM_MIXES_ELECTIONS
    };
    vk_fixture_reserve(&f, &needs);
    for (size_t i = 0; i < K; i++)
        x[i * K + i] = 1;
    struct vk_array dx = vk_array_make(&f, K * K, 0, x), dy = vk_array_make(&f, K * N, 0, NULL);
    for (size_t c = 3; c < 6; c++) {
        struct mixture m = { .n = N, .k = K, .out = UQM_BF16 };
        mixture_make(&m, &r, c, false);
        if (c > 3)
            mixture_sift(&m, &r, c);
        mixture_cut(&m, 3000, c == 5 ? 4096 : 0);
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
        mixture_finish(&m);
    }
    free(x);
    vk_array_free(&f, &dx);
    vk_array_free(&f, &dy);
    vk_fixture_close(&f);
}

static void factors_out_of_the_ordinary_are_left_to_the_host(void **state)
{
    (void) state;
    struct uqm_mix_input input = { .dtype = UQM_F32, .weight = 1 };
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
        cmocka_unit_test(elections_of_sparse_differences_are_made_to_the_bit),
        cmocka_unit_test(elections_of_any_bits_are_made_to_the_bit_through_a_single_slot),
        cmocka_unit_test(a_product_takes_a_mixture_in_pieces),
        cmocka_unit_test(factors_out_of_the_ordinary_are_left_to_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
