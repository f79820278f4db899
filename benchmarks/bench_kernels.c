/*
 * Kernels: GB/s of every element-wise and reducing one in every tier that runs here, GFLOP/s of the
 * products beside those through OpenBLAS in blocks, as tiers without a product kernel do them, and
 * beside one sgemm call of the whole on as many threads; and of attention. One JSON line a case;
 * medians, with the best round beside them.
 *
 *   --case PREFIX   only cases whose name begins so     --elem N     elements of an array (65536)
 *   --m M --n N --k K   one product of this shape       --threads T  of products and attention (1)
 *   --rounds R      of each case (7)                --device D   of the cases vk_* (vulkan:0)
 *   --vk all        every kernel of a product that the device can run, not the chosen one alone
 *   --fast 1        these kernels with x in F16, beside the same with x in F32 (of_default)
 */
#include <cblas.h>
#include <math.h>

#include "benchmarks/bench.h"
#ifdef UQM_VULKAN
#include "benchmarks/bench_kernels_vk.h"
#endif
#include "compute/attention.h"
#include "compute/blas.h"
#include "compute/gemm.h"

struct options {
    const char *only; /* "": all cases */
    size_t n_elem;
    size_t m, n, k; /* m 0: the built-in shapes */
    int n_threads, n_rounds;
};

static bool wanted(const struct options *o, const char *name)
{
    return strncmp(name, o->only, strlen(o->only)) == 0;
}

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "bench_kernels: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

static float *numbers(size_t n)
{
    float *p = allocate(n * sizeof *p);
    uint64_t s = 1;
    for (size_t i = 0; i < n; i++) {
        s = s * UINT64_C(6364136223846793005) + 1;
        p[i] = (float) (s >> 40) * 0x1p-23f - 1;
    }
    return p;
}

/* One kernel on arrays a and b (floats) and h (16-bit); bytes: moved for an element. */
struct arrays {
    float *a, *b, *c;
    uint16_t *h;
    size_t n;
};

static volatile float sink; /* what nobody reads must be computed all the same */

static void run_f32_of_f16(const struct uqm_kernels *k, const struct arrays *x)
{
    k->f32_of_f16(x->a, x->h, x->n);
}
static void run_f32_of_bf16(const struct uqm_kernels *k, const struct arrays *x)
{
    k->f32_of_bf16(x->a, x->h, x->n);
}
static void run_f16_of_f32(const struct uqm_kernels *k, const struct arrays *x)
{
    k->f16_of_f32(x->h, x->b, x->n);
}
static void run_bf16_of_f32(const struct uqm_kernels *k, const struct arrays *x)
{
    k->bf16_of_f32(x->h, x->b, x->n);
}
static void run_fma_f16(const struct uqm_kernels *k, const struct arrays *x)
{
    k->fma_f16(x->a, x->h, 0.1f, x->n);
}
static void run_fma_bf16(const struct uqm_kernels *k, const struct arrays *x)
{
    k->fma_bf16(x->a, x->h, 0.1f, x->n);
}
static void run_fma_f32(const struct uqm_kernels *k, const struct arrays *x)
{
    k->fma_f32(x->a, x->b, 0.1f, x->n);
}
static void run_div(const struct uqm_kernels *k, const struct arrays *x)
{
    k->div_f32(x->a, 1.0f, x->n);
}
static void run_add(const struct uqm_kernels *k, const struct arrays *x)
{
    k->add_f32(x->a, x->b, x->n);
}
static void run_silu_mul(const struct uqm_kernels *k, const struct arrays *x)
{
    k->silu_mul_f32(x->a, x->b, x->n);
}
static void run_quick_gelu(const struct uqm_kernels *k, const struct arrays *x)
{
    k->quick_gelu_f32(x->a, x->n);
}
static void run_gelu(const struct uqm_kernels *k, const struct arrays *x)
{
    k->gelu_f32(x->a, x->n);
}
static void run_rmsnorm(const struct uqm_kernels *k, const struct arrays *x)
{
    k->rmsnorm_f32(x->a, x->b, x->c, 1e-5f, x->n);
}
static void run_layernorm(const struct uqm_kernels *k, const struct arrays *x)
{
    k->layernorm_f32(x->a, x->b, x->c, x->c, 1e-5f, x->n);
}
static void run_rope(const struct uqm_kernels *k, const struct arrays *x)
{
    k->rope_f32(x->a, x->b, x->c, x->n);
}
static void run_softmax(const struct uqm_kernels *k, const struct arrays *x)
{
    k->softmax_f32(x->a, 0.1f, x->n);
}
static void run_dropout(const struct uqm_kernels *k, const struct arrays *x)
{
    k->dropout_f32(x->a, (struct uqm_rng_key){ { 1, 2 } }, 3, 4, 0x1999999A, 1.0f, x->n);
}
static void run_dot_f32(const struct uqm_kernels *k, const struct arrays *x)
{
    sink = k->dot_f32(x->a, x->b, x->n);
}
static void run_dot_f16(const struct uqm_kernels *k, const struct arrays *x)
{
    sink = k->dot_f16(x->h, x->b, x->n);
}
static const struct {
    const char *name;
    void (*run)(const struct uqm_kernels *k, const struct arrays *x);
    double bytes; /* read and written for an element, each array once */
} simple_cases[] = {
    { "f32_of_f16", run_f32_of_f16, 6 },
    { "f32_of_bf16", run_f32_of_bf16, 6 },
    { "f16_of_f32", run_f16_of_f32, 6 },
    { "bf16_of_f32", run_bf16_of_f32, 6 },
    { "fma_f16", run_fma_f16, 10 },
    { "fma_bf16", run_fma_bf16, 10 },
    { "fma_f32", run_fma_f32, 12 },
    { "div_f32", run_div, 8 },
    { "add_f32", run_add, 12 },
    { "silu_mul_f32", run_silu_mul, 12 },
    { "quick_gelu_f32", run_quick_gelu, 8 },
    { "gelu_f32", run_gelu, 8 },
    { "rmsnorm_f32", run_rmsnorm, 12 },
    { "layernorm_f32", run_layernorm, 16 },
    { "rope_f32", run_rope, 12 },
    { "softmax_f32", run_softmax, 8 },
    { "dropout_f32", run_dropout, 8 },
    { "dot_f32", run_dot_f32, 8 },
    { "dot_f16", run_dot_f16, 6 },
};

/*
 * Each call by itself, on the same numbers every time: kernels that work in place would otherwise
 * end in denormals. A round is as many calls as take about a millisecond.
 */
static void bench_simple(const struct options *o, size_t c, const struct uqm_kernels *k,
                         const struct arrays *x)
{
    struct bench_times t = { .n = 0 };
    for (int r = -1; r < o->n_rounds; r++) { /* the first one warms up */
        double sum = 0;
        int calls = 0;
        while (sum < 1e-3) {
            memcpy(x->a, x->b, x->n * sizeof *x->a);
            double start = bench_now();
            simple_cases[c].run(k, x);
            sum += bench_now() - start;
            calls++;
        }
        if (r >= 0)
            bench_add(&t, sum / calls);
    }
    double bytes = simple_cases[c].bytes * (double) x->n;
    bench_begin("kernels", simple_cases[c].name);
    bench_text("tier", k->tier);
    bench_number("n_elem", (double) x->n);
    bench_number("rounds", t.n);
    bench_number("us", 1e6 * bench_median(&t));
    bench_number("gb_per_s", bytes / bench_median(&t) / 1e9);
    bench_number("best_gb_per_s", bytes / bench_min(&t) / 1e9);
    bench_number("gelem_per_s", (double) x->n / bench_median(&t) / 1e9);
    bench_end();
}

static void bench_all_simple(const struct options *o)
{
    static const uint32_t tiers[] = { 0, UQM_CPU_AVX2, UQM_CPU_AVX2 | UQM_CPU_AVX512 };
    struct arrays x = { .n = o->n_elem };
    x.a = numbers(x.n);
    x.b = numbers(x.n);
    x.c = numbers(x.n);
    x.h = allocate(2 * x.n);
    for (size_t i = 0; i < x.n; i++)
        x.h[i] = uqm_f16_of_f32(x.b[i]);

    for (size_t c = 0; c < sizeof simple_cases / sizeof *simple_cases; c++) {
        for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
            if ((uqm_cpu_flags() & tiers[t]) != tiers[t] || !wanted(o, simple_cases[c].name))
                continue;
            struct uqm_kernels k;
            uqm_kernels_init(&k, tiers[t]);
            bench_simple(o, c, &k, &x);
        }
    }
    free(x.a);
    free(x.b);
    free(x.c);
    free(x.h);
}

struct machine {
    struct uqm_env env;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
};

static void fail(const struct uqm_err *err)
{
    fprintf(stderr, "bench_kernels: %s\n", err->msg);
    exit(1);
}

struct product {
    size_t m, n, k;
    float *x, *w, *y;
    uint16_t *h; /* w in F16 */
    struct uqm_gemm *gemm;
    struct uqm_gemm *blas; /* without the tier's product kernel */
};

static struct product product_make(struct machine *mc, size_t m, size_t n, size_t k)
{
    struct uqm_err err = { 0 };
    size_t rows = (m + UQM_GEMM_ROWS - 1) / UQM_GEMM_ROWS * UQM_GEMM_ROWS;
    struct product p = { .m = m, .n = n, .k = k };
    p.x = numbers(rows * k);
    p.w = numbers(n * k);
    p.y = numbers(m * n);
    p.h = allocate(2 * n * k);
    mc->kernels.f16_of_f32(p.h, p.w, n * k);
    struct uqm_kernels plain = mc->kernels;
    plain.product = NULL;
    if (uqm_gemm_create(&p.gemm, &mc->env, mc->threads, &mc->kernels, n * k, k, &err) < 0 ||
        uqm_gemm_create(&p.blas, &mc->env, mc->threads, &plain, n * k, k, &err) < 0)
        fail(&err);
    return p;
}

static void product_finish(struct product *p)
{
    uqm_gemm_destroy(&p->gemm);
    uqm_gemm_destroy(&p->blas);
    free(p->x);
    free(p->w);
    free(p->y);
    free(p->h);
}

typedef void (*product_fn)(struct uqm_gemm *, const struct uqm_product *);

static double time_ours(struct product *p, struct uqm_gemm *gemm, product_fn run)
{
    const struct uqm_product of = {
        .y = p->y,
        .ldy = p->n,
        .x = p->x,
        .ldx = p->k,
        .m = p->m,
        .w = p->h,
        .w_dtype = UQM_F16,
        .n = p->n,
        .k = p->k,
    };
    double start = bench_now();
    run(gemm, &of);
    return bench_now() - start;
}

/* The same product in one call, OpenBLAS's own threads at work, from weights already wide. */
static double time_sgemm(struct product *p, int n_threads)
{
    openblas_set_num_threads(n_threads);
    double start = bench_now();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) p->m, (int) p->n, (int) p->k, 1,
                p->x, (int) p->k, p->w, (int) p->k, 0, p->y, (int) p->n);
    double t = bench_now() - start;
    openblas_set_num_threads(1);
    return t;
}

static void bench_product(const struct options *o, struct machine *mc, size_t m, size_t n, size_t k)
{
    struct product p = product_make(mc, m, n, k);
    struct bench_times ours = { .n = 0 }, blas = { .n = 0 }, sgemm = { .n = 0 };
    for (int r = -1; r < o->n_rounds; r++) {
        double a = time_ours(&p, p.gemm, uqm_gemm_run);
        double b = time_ours(&p, p.blas, uqm_gemm_run);
        double c = time_sgemm(&p, o->n_threads);
        if (r >= 0) {
            bench_add(&ours, a);
            bench_add(&blas, b);
            bench_add(&sgemm, c);
        }
    }
    double flop = 2.0 * (double) m * (double) n * (double) k / 1e9;
    bench_begin("kernels", "gemm_f16");
    bench_number("m", (double) m);
    bench_number("n", (double) n);
    bench_number("k", (double) k);
    bench_number("threads", o->n_threads);
    bench_text("tier", mc->kernels.tier);
    bench_text("core", uqm_blas_core());
    bench_number("rounds", ours.n);
    bench_number("ms", 1e3 * bench_median(&ours));
    bench_number("gflop_per_s", flop / bench_median(&ours));
    bench_number("blas_gflop_per_s", flop / bench_median(&blas));
    bench_number("sgemm_gflop_per_s", flop / bench_median(&sgemm));
    bench_number("best_gflop_per_s", flop / bench_min(&ours));
    bench_number("best_blas_gflop_per_s", flop / bench_min(&blas));
    bench_number("best_sgemm_gflop_per_s", flop / bench_min(&sgemm));
    bench_number("ratio", bench_min(&sgemm) / bench_min(&ours));
    bench_end();
    product_finish(&p);
}

/* One token: bound by the reading of W, so GB/s of stored weights. */
static void bench_gemv(const struct options *o, struct machine *mc, size_t n, size_t k)
{
    struct product p = product_make(mc, 1, n, k);
    struct bench_times t = { .n = 0 };
    for (int r = 0; r < o->n_rounds; r++)
        bench_add(&t, time_ours(&p, p.gemm, uqm_gemv_run));
    double bytes = 2.0 * (double) n * (double) k;
    bench_begin("kernels", "gemv_f16");
    bench_text("tier", mc->kernels.tier);
    bench_number("n", (double) n);
    bench_number("k", (double) k);
    bench_number("threads", o->n_threads);
    bench_number("us", 1e6 * bench_median(&t));
    bench_number("gb_per_s", bytes / bench_median(&t) / 1e9);
    bench_number("best_gb_per_s", bytes / bench_min(&t) / 1e9);
    bench_end();
    product_finish(&p);
}

struct attention_case {
    size_t n_tokens, n_heads, head_dim, n_prompts;
    bool dropout;
};

static struct uqm_attention *make_prompts(const struct attention_case *c, float *const arrays[4])
{
    const size_t ld = c->n_heads * c->head_dim;
    struct uqm_attention *a = allocate(c->n_prompts * sizeof *a);
    for (size_t i = 0; i < c->n_prompts; i++) {
        size_t at = i * c->n_tokens * ld;
        a[i] = (struct uqm_attention){
            .q = arrays[0] + at,
            .k = arrays[1] + at,
            .v = arrays[2] + at,
            .out = arrays[3] + at,
            .ldq = ld,
            .ldk = ld,
            .ldv = ld,
            .ldo = ld,
            .n_q = c->n_tokens,
            .n_kv = c->n_tokens,
            .n_heads = c->n_heads,
            .n_kv_heads = c->n_heads,
            .head_dim = c->head_dim,
            .scale = 1 / sqrtf((float) c->head_dim),
            .causal = true,
            .dropout = c->dropout,
            .drop_threshold = 0x1999999A,
            .keep_scale = 1 / 0.9f,
        };
    }
    return a;
}

static void report_attention(const struct options *o, const struct machine *mc,
                             const struct attention_case *c, const struct bench_times *t)
{
    double seen = (double) c->n_tokens * (double) (c->n_tokens + 1) / 2; /* causality's share */
    double flop = 4 * seen * (double) (c->head_dim * c->n_heads * c->n_prompts) / 1e9;
    bench_begin("kernels", "attention");
    bench_text("tier", mc->kernels.tier);
    bench_number("tokens", (double) c->n_tokens);
    bench_number("heads", (double) c->n_heads);
    bench_number("head_dim", (double) c->head_dim);
    bench_number("prompts", (double) c->n_prompts);
    bench_flag("dropout", c->dropout);
    bench_number("threads", o->n_threads);
    bench_number("ms", 1e3 * bench_median(t));
    bench_number("gflop_per_s", flop / bench_median(t));
    bench_number("best_gflop_per_s", flop / bench_min(t));
    bench_end();
}

static void bench_attention(const struct options *o, struct machine *mc,
                            const struct attention_case *c)
{
    struct uqm_err err = { 0 };
    struct uqm_attention_scratch *scratch = NULL;
    struct bench_times t = { .n = 0 };
    float *arrays[4];
    for (int i = 0; i < 4; i++)
        arrays[i] = numbers(c->n_prompts * c->n_tokens * c->n_heads * c->head_dim);
    struct uqm_attention *prompts = make_prompts(c, arrays);

    if (uqm_attention_scratch_create(&scratch, &mc->env, mc->threads, c->n_tokens, &err) < 0)
        fail(&err);
    for (int r = -1; r < o->n_rounds; r++) {
        double start = bench_now();
        uqm_attention_run(scratch, &mc->kernels, prompts, c->n_prompts);
        if (r >= 0)
            bench_add(&t, bench_now() - start);
    }
    report_attention(o, mc, c, &t);
    uqm_attention_scratch_destroy(&scratch);
    for (int i = 0; i < 4; i++)
        free(arrays[i]);
    free(prompts);
}

static void bench_products(const struct options *o)
{
    /* LLaVA-7B's projections, and those of a small model with many prompts */
    static const size_t shapes[][3] = {
        { 2048, 4096, 4096 }, { 2048, 11008, 4096 }, { 4096, 128, 128 }, { 4096, 352, 128 }
    };
    struct uqm_common common = { .memory = UINT64_C(4) << 30, .n_threads = o->n_threads };
    struct uqm_err err = { 0 };
    struct machine mc = { .threads = NULL };

    if (uqm_env_init(&mc.env, &common, &err) < 0 ||
        uqm_threads_create(&mc.threads, o->n_threads, &err) < 0)
        fail(&err);
    uqm_kernels_init(&mc.kernels, uqm_cpu_flags());
    if (wanted(o, "gemm_f16") && o->m) {
        bench_product(o, &mc, o->m, o->n, o->k);
    } else if (wanted(o, "gemm_f16")) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            bench_product(o, &mc, shapes[s][0], shapes[s][1], shapes[s][2]);
    }
    if (wanted(o, "gemv_f16"))
        bench_gemv(o, &mc, o->n, o->k);
    for (size_t c = 0; c < 4 && wanted(o, "attention"); c++) {
        struct attention_case ac = c % 2 ? (struct attention_case){ 100, 4, 32, 64, false }
                                         : (struct attention_case){ 640, 32, 128, 1, false };
        ac.dropout = c >= 2;
        bench_attention(o, &mc, &ac);
    }
    uqm_threads_destroy(&mc.threads);
}

int main(int argc, char **argv)
{
    struct options o = {
        .only = bench_option_text(argc, argv, "--case", ""),
        .n_elem = (size_t) bench_option(argc, argv, "--elem", 65536),
        .m = (size_t) bench_option(argc, argv, "--m", 0),
        .n = (size_t) bench_option(argc, argv, "--n", 4096),
        .k = (size_t) bench_option(argc, argv, "--k", 4096),
        .n_threads = (int) bench_option(argc, argv, "--threads", 1),
        .n_rounds = (int) bench_option(argc, argv, "--rounds", 7),
    };
    bench_all_simple(&o);
    bench_products(&o);
#ifdef UQM_VULKAN
    const struct bench_vk_options vk = {
        .device = bench_option_text(argc, argv, "--device", "vulkan:0"),
        .products = wanted(&o, "vk_gemm_f16"),
        .attention = wanted(&o, "vk_attention"),
        .m = o.m,
        .n = o.n,
        .k = o.k,
        .all = strcmp(bench_option_text(argc, argv, "--vk", ""), "all") == 0,
        .fast = bench_option(argc, argv, "--fast", 0) > 0,
        .n_threads = o.n_threads,
        .n_rounds = o.n_rounds,
    };
    if (vk.products || vk.attention)
        bench_kernels_vk(&vk);
#endif
    return 0;
}
