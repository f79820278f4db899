/* Attention against double: by blocks of queries and by parts of the keys, f32 and f16, dropout. */
#include "tests/kernels/vk/vk_fixture.h"

struct shape {
    size_t n_q, n_kv, n_heads, n_kv_heads, head_dim;
    bool causal, dropout, half;
};

/* One prompt with everything it points to. k and v as the device sees them, rounded where half. */
struct prompt {
    struct shape s;
    struct uqm_attend a;
    float *q, *k, *v;
    struct vk_array dq, dk, dv, dout;
};

static const struct uqm_rng_key drop_key = { { 77, 88 } };

static struct vk_array upload_kv(struct vk_fixture *f, float *v, size_t n, bool half)
{
    if (!half)
        return vk_array_make(f, n, 0, v);
    uint16_t *h = malloc(n * sizeof *h);
    assert_non_null(h);
    for (size_t i = 0; i < n; i++) {
        h[i] = uqm_f16_of_f32(v[i]);
        v[i] = uqm_f32_of_f16(h[i]);
    }
    struct vk_array a = vk_array_make(f, n / 2, 1, h);
    free(h);
    return a;
}

static struct prompt prompt_make(struct vk_fixture *f, const struct shape *s, uint64_t seed)
{
    struct random r = { seed };
    /* every other prompt lies as texel loads demand it */
    const bool quads = seed % 2 && s->head_dim % 4 == 0;
    const size_t ldq = s->n_heads * s->head_dim + (quads ? 4 : 3);
    const size_t ldk = s->n_kv_heads * s->head_dim + (quads ? 8 : 2);
    struct prompt p = { .s = *s,
                        .q = random_floats(&r, s->n_q * ldq, 1),
                        .k = random_floats(&r, s->n_kv * ldk, 1),
                        .v = random_floats(&r, s->n_kv * ldk, 1) };
    p.dq = vk_array_make(f, s->n_q * ldq, quads ? 4 : 1, p.q);
    p.dk = upload_kv(f, p.k, s->n_kv * ldk, s->half);
    p.dv = upload_kv(f, p.v, s->n_kv * ldk, s->half);
    p.dout = vk_array_make(f, s->n_q * ldq, 2, NULL);
    p.a = (struct uqm_attend){
        .q = p.dq.place,
        .k = p.dk.place,
        .v = p.dv.place,
        .out = p.dout.place,
        .ldq = ldq,
        .ldk = ldk,
        .ldv = ldk,
        .ldo = ldq,
        .half_kv = s->half,
        .n_q = s->n_q,
        .n_kv = s->n_kv,
        .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads,
        .head_dim = s->head_dim,
        .scale = 1 / sqrtf((float) s->head_dim),
        .causal = s->causal,
        .dropout = s->dropout,
        .drop_threshold = 0x1999999A,
        .keep_scale = 1 / 0.9f,
        .drop_key = drop_key,
    };
    return p;
}

static void prompt_finish(struct vk_fixture *f, struct prompt *p)
{
    vk_array_free(f, &p->dq);
    vk_array_free(f, &p->dk);
    vk_array_free(f, &p->dv);
    vk_array_free(f, &p->dout);
    free(p->q);
    free(p->k);
    free(p->v);
}

static bool is_kept(const struct uqm_attend *a, size_t head, size_t query, size_t key)
{
    const uint32_t counter[4] = { (uint32_t) (key / 4), (uint32_t) query, (uint32_t) head, 0 };
    uint32_t words[4];
    uqm_philox4x32(words, counter, a->drop_key);
    return !a->dropout || words[key % 4] >= a->drop_threshold;
}

/* One query of one head in double; returns sum_j P |v|, what the error is measured by. */
static void naive(double *out, double *size, const struct prompt *pr, size_t head, size_t i)
{
    const struct uqm_attend *a = &pr->a;
    const size_t kv = head / (a->n_heads / a->n_kv_heads), d = a->head_dim;
    const size_t query = a->n_kv - a->n_q + i, seen = a->causal ? query + 1 : a->n_kv;
    const float *q = pr->q + i * a->ldq + head * d;
    double *p = malloc(seen * sizeof *p), max = -HUGE_VAL, sum = 0;
    assert_non_null(p);

    for (size_t j = 0; j < seen; j++) {
        p[j] = 0;
        for (size_t c = 0; c < d; c++)
            p[j] += (double) q[c] * (double) pr->k[j * a->ldk + kv * d + c];
        p[j] *= (double) a->scale;
        max = fmax(max, p[j]);
    }
    for (size_t j = 0; j < seen; j++)
        sum += p[j] = exp(p[j] - max);
    for (size_t c = 0; c < d; c++)
        out[c] = size[c] = 0;
    for (size_t j = 0; j < seen; j++) {
        double w = p[j] / sum * (a->dropout ? (double) a->keep_scale : 1);
        for (size_t c = 0; c < d && is_kept(a, head, query, j); c++) {
            double t = w * (double) pr->v[j * a->ldv + kv * d + c];
            out[c] += t;
            size[c] += fabs(t);
        }
    }
    free(p);
}

static const struct shape shapes[] = {
    { 1, 1, 1, 1, 4, true, false, false },      { 9, 9, 2, 2, 32, true, false, false },
    { 64, 64, 4, 2, 32, true, true, false },    { 65, 65, 4, 2, 16, true, true, false },
    { 130, 130, 2, 1, 64, true, false, false }, { 197, 197, 3, 3, 16, false, false, false },
    { 1, 150, 4, 2, 32, true, true, false },    { 7, 71, 6, 2, 8, true, true, true },
    { 20, 90, 2, 2, 128, true, true, true },    { 9, 9, 2, 2, 24, false, false, false },
    { 1, 700, 4, 4, 128, true, false, true },   { 3, 513, 2, 1, 64, true, true, true },
    { 11, 40, 1, 1, 256, true, false, false },  { 17, 17, 2, 1, 33, false, true, false },
    { 77, 77, 4, 2, 32, true, true, false },    { 2, 4097, 2, 1, 32, true, true, false },
    { 1, 4097, 2, 2, 64, true, false, true },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, MAX_D = 256 };

static const struct uqm_device_needs needs = {
    .tile_bytes = 4096, .tile_elem = 1024, .max_k = 64, .max_kv = 4097
};

static void check_prompt(struct vk_fixture *f, const struct prompt *p, size_t s)
{
    float *got = vk_array_get(f, &p->dout);
    for (size_t i = 0; i < p->a.n_q * p->a.n_heads; i++) {
        size_t row = i / p->a.n_heads, head = i % p->a.n_heads;
        double want[MAX_D], size[MAX_D];
        naive(want, size, p, head, row);
        for (size_t c = 0; c < p->a.head_dim; c++) {
            double y = (double) got[row * p->a.ldo + head * p->a.head_dim + c];
            if (!(fabs(y - want[c]) <= 4e-6 * size[c] + 1e-30))
                fail_msg("shape %zu, query %zu, head %zu, column %zu: %.9g, not %.9g", s, row, head,
                         c, y, want[c]);
        }
        for (size_t c = p->a.n_heads * p->a.head_dim; c < p->a.ldo && row + 1 < p->a.n_q; c++)
            assert_int_equal(uqm_bits_of_f32(got[row * p->a.ldo + c]), VK_CANARY);
    }
    free(got);
}

/* Every step-th shape from `first` on. */
static void check_shapes(struct vk_fixture *f, size_t first, size_t step)
{
    struct uqm_err err = { 0 };
    vk_fixture_reserve(f, &needs);
    for (size_t s = first; s < N_SHAPES; s += step) {
        if (vk_left_out(s, 5))
            continue;
        struct prompt p = prompt_make(f, &shapes[s], s + 1);
        assert_ok(f->ops->attend(f->device, &p.a, 1, &err), err);
        check_prompt(f, &p, s);
        prompt_finish(f, &p);
    }
    f->ops->release(f->device);
}

static void attention_agrees_with_double(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    check_shapes(&f, 0, 2);
    check_shapes(&f, 3, 4); /* not as texel loads demand it */
    vk_fixture_close(&f);
}

static void so_it_does_with_shared_memory_and_without_subgroup_arithmetic(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    f.vk->limits.slow_shared = f.vk->limits.vector_texel_loads = false;
    f.vk->limits.subgroup_arithmetic = false;
    f.vk->limits.shared_bytes = 16 << 10;
    f.vk->limits.max_invocations = 128;
    check_shapes(&f, 2, 4);
    vk_fixture_close(&f);
}

static void four_kibibytes_of_shared_memory_are_enough(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    f.vk->limits.slow_shared = f.vk->limits.vector_texel_loads = false;
    f.vk->limits.shared_bytes = 4096;
    check_shapes(&f, 1, 4);
    vk_fixture_close(&f);
}

/* With v_j the j-th unit vector the output is the row of probabilities itself. */
static void check_mask(struct vk_fixture *f, size_t n_q)
{
    enum { T = 92 };
    struct uqm_err err = { 0 };
    const struct shape s = { n_q, T, 2, 2, T, true, true, false };
    struct prompt p = prompt_make(f, &s, 5);
    for (size_t j = 0; j < T; j++)
        for (size_t c = 0; c < 2 * T; c++)
            p.v[j * p.a.ldv + c] = c % T == j;
    assert_ok(f->ops->upload(f->device, p.dv.place, p.v, T * p.a.ldv, &err), err);
    assert_ok(f->ops->attend(f->device, &p.a, 1, &err), err);
    float *got = vk_array_get(f, &p.dout);
    size_t n_dropped = 0;
    for (size_t i = 0; i < n_q * 2 * T; i++) {
        size_t row = i / (2 * T), query = T - n_q + row, head = i / T % 2, key = i % T;
        bool want = key <= query && is_kept(&p.a, head, query, key);
        assert_int_equal(got[row * p.a.ldo + head * T + key] > 0, want);
        n_dropped += key <= query && !want;
    }
    assert_true(n_dropped > 0);
    free(got);
    prompt_finish(f, &p);
}

static void the_dropout_mask_is_philox_to_the_bit(void **state)
{
    (void) state;
    struct vk_fixture f;
    if (vk_left_out(1, 2))
        test_skip("it is a long one");
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    vk_fixture_reserve(&f, &needs);
    check_mask(&f, 92);
    check_mask(&f, 3);
    f.vk->limits.slow_shared = f.vk->limits.vector_texel_loads = false;
    check_mask(&f, 92);
    vk_fixture_close(&f);
}

/* Alone, in a batch, in a batch backwards; and cut into dispatches of few queries. */
static void batches_change_no_bit(void **state)
{
    (void) state;
    enum { N_BATCH = (N_SHAPES + 1) / 2 };
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    if (vk_left_out(1, 2))
        test_skip("it is a long one");
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    vk_fixture_reserve(&f, &needs);
    struct prompt p[N_BATCH];
    float *alone[N_BATCH];
    for (size_t s = 0; s < N_BATCH; s++) {
        p[s] = prompt_make(&f, &shapes[2 * s], 2 * s + 1);
        assert_ok(f.ops->attend(f.device, &p[s].a, 1, &err), err);
        alone[s] = vk_array_get(&f, &p[s].dout);
    }
    for (int round = 0; round < 2; round++) {
        struct uqm_attend batch[N_BATCH];
        for (size_t s = 0; s < N_BATCH; s++)
            batch[round ? N_BATCH - 1 - s : s] = p[s].a;
        assert_ok(f.ops->attend(f.device, batch, N_BATCH, &err), err);
        for (size_t s = 0; s < N_BATCH; s++) {
            float *got = vk_array_get(&f, &p[s].dout);
            assert_memory_equal(got, alone[s], p[s].a.n_q * p[s].a.ldo * sizeof(float));
            free(got);
        }
        f.vk->core->work_limit = 1; /* as few queries as a block has */
    }
    for (size_t s = 0; s < N_BATCH; s++) {
        free(alone[s]);
        prompt_finish(&f, &p[s]);
    }
    vk_fixture_close(&f);
}

/* Where slices are bound from multiples of 256 bytes on, one prompt's partial sums would be bound
 * with another's that are being read: validation tells. */
static void prompts_of_a_batch_are_bound_apart(void **state)
{
    (void) state;
    enum { N_BATCH = 3 };
    const struct shape s = {
        .n_q = 1, .n_kv = 110, .n_heads = 4, .n_kv_heads = 4, .head_dim = 32, .causal = true
    };
    struct vk_fixture f;
    struct prompt p[N_BATCH];
    struct uqm_attend batch[N_BATCH];
    struct uqm_err err = { 0 };
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    f.vk->limits.offset_align = 256;
    vk_fixture_reserve(&f, &needs);
    for (size_t i = 0; i < N_BATCH; i++) {
        p[i] = prompt_make(&f, &s, i);
        batch[i] = p[i].a;
    }
    assert_ok(f.ops->attend(f.device, batch, N_BATCH, &err), err);
    assert_ok(f.ops->finish(f.device, &err), err);
    for (size_t i = 0; i < N_BATCH; i++) {
        check_prompt(&f, &p[i], i);
        prompt_finish(&f, &p[i]);
    }
    vk_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees_with_double),
        cmocka_unit_test(so_it_does_with_shared_memory_and_without_subgroup_arithmetic),
        cmocka_unit_test(four_kibibytes_of_shared_memory_are_enough),
        cmocka_unit_test(the_dropout_mask_is_philox_to_the_bit),
        cmocka_unit_test(batches_change_no_bit),
        cmocka_unit_test(prompts_of_a_batch_are_bound_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
