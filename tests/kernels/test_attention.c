#include "compute/attention.h"

#include "tests/kernels/buffers.h"

struct shape {
    size_t n_q, n_kv, n_heads, n_kv_heads, head_dim;
    bool causal, dropout;
};

/* One prompt and everything it points to. */
struct prompt {
    struct uqm_attention a;
    float *q, *k, *v, *out;
};

static const struct uqm_rng_key drop_key = { { 77, 88 } };

static float *random_array(struct random *r, size_t n)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    random_fill(r, p, n, 1);
    return p;
}

static struct prompt prompt_make(const struct shape *s, uint64_t seed)
{
    struct random r = { seed };
    const size_t ldq = s->n_heads * s->head_dim + 3, ldk = s->n_kv_heads * s->head_dim + 1;
    struct prompt p = { .q = random_array(&r, s->n_q * ldq),
                        .k = random_array(&r, s->n_kv * ldk),
                        .v = random_array(&r, s->n_kv * ldk),
                        .out = random_array(&r, s->n_q * ldq) };
    p.a = (struct uqm_attention){
        .q = p.q,
        .k = p.k,
        .v = p.v,
        .out = p.out,
        .ldq = ldq,
        .ldk = ldk,
        .ldv = ldk,
        .ldo = ldq,
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

static void prompt_finish(struct prompt *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->out);
}

static bool is_kept(const struct uqm_attention *a, size_t head, size_t query, size_t key)
{
    const uint32_t counter[4] = { (uint32_t) (key / 4), (uint32_t) query, (uint32_t) head, 0 };
    uint32_t words[4];
    uqm_philox4x32(words, counter, a->drop_key);
    return !a->dropout || words[key % 4] >= a->drop_threshold;
}

/* One query of one head in double; returns sum_j P |v|, what the error is measured by. */
static void naive(double *out, double *size, const struct uqm_attention *a, size_t head, size_t i)
{
    const size_t kv = head / (a->n_heads / a->n_kv_heads), d = a->head_dim;
    const size_t query = a->n_kv - a->n_q + i, seen = a->causal ? query + 1 : a->n_kv;
    const float *q = a->q + i * a->ldq + head * d;
    double *p = malloc(seen * sizeof *p), max = -HUGE_VAL, sum = 0;
    assert_non_null(p);

    for (size_t j = 0; j < seen; j++) {
        p[j] = 0;
        for (size_t c = 0; c < d; c++)
            p[j] += (double) q[c] * (double) a->k[j * a->ldk + kv * d + c];
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
            double t = w * (double) a->v[j * a->ldv + kv * d + c];
            out[c] += t;
            size[c] += fabs(t);
        }
    }
    free(p);
}

struct fixture {
    struct uqm_env *env;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    struct uqm_attention_scratch *scratch;
};

static struct fixture fixture_make(size_t max_kv, int n_threads)
{
    struct fixture f = { .env = test_env(64 << 20, n_threads) };
    struct uqm_err err = { 0 };
    assert_ok(uqm_threads_create(&f.threads, n_threads, &err), err);
    uqm_kernels_init(&f.kernels, uqm_cpu_flags());
    assert_ok(uqm_attention_scratch_create(&f.scratch, f.env, f.threads, max_kv, &err), err);
    return f;
}

static void fixture_finish(struct fixture *f)
{
    uqm_attention_scratch_destroy(&f->scratch);
    uqm_threads_destroy(&f->threads);
    assert_int_equal(atomic_load(&f->env->budget.used_bytes), 0);
}

static const struct shape shapes[] = {
    { 1, 1, 1, 1, 4, true, false },      { 9, 9, 2, 2, 32, true, false },
    { 64, 64, 4, 2, 32, true, true },    { 65, 65, 4, 2, 16, true, true },
    { 130, 130, 2, 1, 64, true, false }, { 197, 197, 3, 3, 16, false, false },
    { 1, 150, 4, 2, 32, true, true },    { 7, 71, 6, 2, 8, true, true },
    { 20, 90, 2, 2, 128, true, true },   { 5, 5, 2, 2, 24, false, false },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, MAX_KV = 200, MAX_D = 128 };

static void attention_agrees_with_double(void **state)
{
    (void) state;
    struct fixture f = fixture_make(MAX_KV, 2);
    for (size_t s = 0; s < N_SHAPES; s++) {
        struct prompt p = prompt_make(&shapes[s], s + 1);
        uqm_attention_run(f.scratch, &f.kernels, &p.a, 1);
        for (size_t i = 0; i < p.a.n_q * p.a.n_heads; i++) {
            size_t row = i / p.a.n_heads, head = i % p.a.n_heads;
            double want[MAX_D], size[MAX_D];
            naive(want, size, &p.a, head, row);
            for (size_t c = 0; c < p.a.head_dim; c++) {
                double got = (double) p.out[row * p.a.ldo + head * p.a.head_dim + c];
                if (!(fabs(got - want[c]) <= 4e-6 * size[c] + 1e-30))
                    fail_msg("shape %zu, query %zu, head %zu: %.9g, not %.9g", s, row, head, got,
                             want[c]);
            }
        }
        prompt_finish(&p);
    }
    fixture_finish(&f);
}

/* With v_j the j-th unit vector the output is the row of probabilities itself. */
static void the_dropout_mask_is_philox_to_the_bit(void **state)
{
    (void) state;
    enum { T = 90 };
    const struct shape s = { T, T, 2, 2, T, true, true };
    struct fixture f = fixture_make(T, 2);
    struct prompt p = prompt_make(&s, 5);
    for (size_t j = 0; j < T; j++)
        for (size_t c = 0; c < 2 * T; c++)
            p.v[j * p.a.ldv + c] = c % T == j;
    uqm_attention_run(f.scratch, &f.kernels, &p.a, 1);

    size_t n_dropped = 0;
    for (size_t i = 0; i < (size_t) T * 2 * T; i++) {
        size_t query = i / (2 * T), head = i / T % 2, key = i % T;
        bool want = key <= query && is_kept(&p.a, head, query, key);
        assert_int_equal(p.out[query * p.a.ldo + head * T + key] > 0, want);
        n_dropped += key <= query && !want;
    }
    double share = (double) n_dropped / (T * (T + 1));
    assert_true(share > 0.08 && share < 0.12);
    prompt_finish(&p);
    fixture_finish(&f);
}

/* Later keys and values are poisoned: no query before them may change. */
static void no_query_sees_a_later_key(void **state)
{
    (void) state;
    const struct shape s = { 150, 150, 2, 1, 16, true, false };
    struct fixture f = fixture_make(150, 1);
    struct prompt p = prompt_make(&s, 6), q = prompt_make(&s, 6);
    uqm_attention_run(f.scratch, &f.kernels, &p.a, 1);
    for (size_t cut = 1; cut < 150; cut += 29) {
        for (size_t i = cut * q.a.ldk; i < 150 * q.a.ldk; i++) {
            q.k[i] = 1e4f;
            q.v[i] = -1e4f;
        }
        uqm_attention_run(f.scratch, &f.kernels, &q.a, 1);
        assert_memory_equal(q.out, p.out, cut * q.a.ldo * sizeof(float));
        prompt_finish(&q);
        q = prompt_make(&s, 6);
    }
    prompt_finish(&q);
    prompt_finish(&p);
    fixture_finish(&f);
}

static void batches_and_threads_change_no_bit(void **state)
{
    (void) state;
    struct prompt alone[N_SHAPES];
    struct fixture one = fixture_make(MAX_KV, 1);
    for (size_t s = 0; s < N_SHAPES; s++) {
        alone[s] = prompt_make(&shapes[s], s + 1);
        uqm_attention_run(one.scratch, &one.kernels, &alone[s].a, 1);
    }
    fixture_finish(&one);

    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct fixture f = fixture_make(MAX_KV + 13, n_threads);
        struct prompt p[N_SHAPES];
        struct uqm_attention batch[N_SHAPES];
        for (size_t s = 0; s < N_SHAPES; s++) {
            p[s] = prompt_make(&shapes[s], s + 1);
            batch[N_SHAPES - 1 - s] = p[s].a;
        }
        uqm_attention_run(f.scratch, &f.kernels, batch, N_SHAPES);
        for (size_t s = 0; s < N_SHAPES; s++) {
            assert_memory_equal(p[s].out, alone[s].out, p[s].a.n_q * p[s].a.ldo * sizeof(float));
            prompt_finish(&p[s]);
        }
        fixture_finish(&f);
    }
    for (size_t s = 0; s < N_SHAPES; s++)
        prompt_finish(&alone[s]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees_with_double),
        cmocka_unit_test(the_dropout_mask_is_philox_to_the_bit),
        cmocka_unit_test(no_query_sees_a_later_key),
        cmocka_unit_test(batches_and_threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
