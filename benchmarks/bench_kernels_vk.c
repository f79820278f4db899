/* The Vulkan cases of bench_kernels: products of LLaVA-7B's shapes in every kernel that the device
 * can run, beside one sgemm call, in CPU time. On a software device that is a fair race: both have
 * the same cores. On a GPU look at gflop_per_s. */
#include <cblas.h>

#include "benchmarks/bench.h"
#include "benchmarks/bench_kernels_vk.h"
#include "compute/blas.h"
#include "compute/vk/vk_gemm.h"
#include "compute/vk/vk_launch.h"

struct bench_vk {
    struct uqm_env env;
    struct uqm_threads *threads;
    struct uqm_device *device;
    struct uqm_vk *vk;
};

static void fail(const struct uqm_err *err)
{
    fprintf(stderr, "bench_kernels: %s\n", err->msg);
    exit(1);
}

static double cpu_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

static float *numbers(size_t n)
{
    float *p = malloc(n * sizeof *p);
    uint64_t s = 1;
    for (size_t i = 0; p && i < n; i++) {
        s = s * UINT64_C(6364136223846793005) + 1;
        p[i] = (float) (s >> 40) * 0x1p-23f - 1;
    }
    return p;
}

struct product {
    size_t m, n, k;
    float *x, *w, *y;
    uint16_t *h; /* w in F16 */
    struct uqm_memory *dx, *dy;
};

static struct product product_make(struct bench_vk *b, size_t m, size_t n, size_t k)
{
    struct uqm_err err = { 0 };
    struct product p = { .m = m, .n = n, .k = k };
    const struct uqm_device_ops *ops = b->device->ops;
    const struct uqm_device_needs needs = { .tile_bytes = 2 * n * k,
                                            .tile_elem = n * k,
                                            .max_k = k };
    p.x = numbers(m * k);
    p.w = numbers(n * k);
    p.y = numbers(m * n);
    p.h = malloc(n * k * sizeof *p.h);
    if (!p.x || !p.w || !p.y || !p.h) {
        fprintf(stderr, "bench_kernels: no memory\n");
        exit(1);
    }
    for (size_t i = 0; i < n * k; i++)
        p.h[i] = uqm_f16_of_f32(p.w[i]);
    if (ops->reserve(b->device, &needs, &err) < 0 ||
        ops->alloc(&p.dx, b->device, m * k, "x", &err) < 0 ||
        ops->alloc(&p.dy, b->device, m * n, "y", &err) < 0 ||
        ops->upload(b->device, (struct uqm_place){ p.dx, 0 }, p.x, m * k, &err) < 0)
        fail(&err);
    return p;
}

static void product_finish(struct bench_vk *b, struct product *p)
{
    const struct uqm_device_ops *ops = b->device->ops;
    ops->free(b->device, &p->dx);
    ops->free(b->device, &p->dy);
    ops->release(b->device);
    free(p->x);
    free(p->w);
    free(p->y);
    free(p->h);
}

struct seconds {
    double wall, cpu;
};

/* Packing W into its slot is part of it. */
static struct seconds time_linear(struct bench_vk *b, struct product *p,
                                  const struct uqm_vk_gemm *gemm)
{
    struct uqm_err err = { 0 };
    const struct uqm_linear args = {
        .y = { p->dy, 0 },
        .x = { p->dx, 0 },
        .ldy = p->n,
        .ldx = p->k,
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .w = p->h,
        .w_dtype = UQM_F16,
    };
    double wall = bench_now(), cpu = cpu_now();
    if (uqm_vk_linear_by(b->vk, &args, gemm, &err) < 0 ||
        b->device->ops->finish(b->device, &err) < 0)
        fail(&err);
    return (struct seconds){ bench_now() - wall, cpu_now() - cpu };
}

static double time_sgemm(struct product *p)
{
    double cpu = cpu_now();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) p->m, (int) p->n, (int) p->k, 1,
                p->x, (int) p->k, p->w, (int) p->k, 0, p->y, (int) p->n);
    return cpu_now() - cpu;
}

static void bench_gemm(struct bench_vk *b, struct product *p, const struct uqm_vk_gemm *gemm,
                       int n_rounds)
{
    static const char *const paths[] = { "shuffle", "texel", "panel", "tile", "skinny", "coop" };
    struct bench_times wall = { .n = 0 }, cpu = { .n = 0 }, sgemm = { .n = 0 };
    struct bench_times default_wall = { .n = 0 }, default_cpu = { .n = 0 };
    struct uqm_vk_gemm plain = *gemm;
    plain.halves = false;
    for (int r = -1; r < n_rounds; r++) {
        struct seconds s = time_linear(b, p, gemm);
        double blas = time_sgemm(p);
        const struct seconds other = gemm->halves ? time_linear(b, p, &plain) : s;
        if (r < 0)
            continue;
        bench_add(&default_wall, other.wall);
        bench_add(&default_cpu, other.cpu);
        bench_add(&wall, s.wall);
        bench_add(&cpu, s.cpu);
        bench_add(&sgemm, blas);
    }
    double gflop = 2 * (double) p->m * (double) p->n * (double) p->k / 1e9;
    bench_begin("kernels", gemm->halves ? "vk_gemm_f16_fast" : "vk_gemm_f16");
    bench_text("device", b->device->name);
    bench_text("path", paths[gemm->path]);
    bench_number("rows", (double) uqm_vk_gemm_rows(gemm));
    bench_number("cols", gemm->bn);
    bench_number("m", (double) p->m);
    bench_number("n", (double) p->n);
    bench_number("k", (double) p->k);
    bench_number("ms", 1e3 * bench_median(&wall));
    bench_number("gflop_per_s", gflop / bench_median(&wall));
    bench_number("gflop_per_cpu_s", gflop / bench_median(&cpu));
    bench_number("sgemm_gflop_per_cpu_s", gflop / bench_median(&sgemm));
    bench_number("of_sgemm", bench_median(&sgemm) / bench_median(&cpu));
    if (gemm->halves) {
        bench_number("of_default", bench_median(&default_cpu) / bench_median(&cpu));
        bench_number("of_default_wall", bench_median(&default_wall) / bench_median(&wall));
    }
    bench_end();
}

/* What is far slower than the best is timed once only. */
static void bench_shape(struct bench_vk *b, size_t m, size_t n, size_t k, bool all, int n_rounds)
{
    struct product p = product_make(b, m, n, k);
    struct uqm_vk_gemm gemms[UQM_VK_MAX_GEMMS];
    const bool skinny = m <= 8;
    const struct uqm_vk_gemm_shape shape = {
        m, n, k, UQM_F16, true, skinny, b->device->fast && !skinny
    };
    size_t n_gemms = uqm_vk_gemm_candidates(gemms, b->vk, &shape);
    for (size_t i = 0; i < n_gemms && (all || i == 0); i++)
        bench_gemm(b, &p, &gemms[i], i == 0 ? n_rounds : 1);
    product_finish(b, &p);
}

/* One prompt of LLaVA's, every head of one layer. */
static void bench_attention(struct bench_vk *b, size_t n_tokens, bool dropout, int n_rounds)
{
    enum { HEADS = 32, DIM = 128, WIDTH = HEADS * DIM };
    const struct uqm_device_ops *ops = b->device->ops;
    const struct uqm_device_needs needs = {
        .tile_bytes = 4096, .tile_elem = 1024, .max_k = 64, .max_kv = n_tokens
    };
    struct uqm_err err = { 0 };
    struct uqm_memory *q = NULL, *out = NULL;
    struct bench_times wall = { .n = 0 }, cpu = { .n = 0 };
    float *host = numbers(n_tokens * WIDTH);
    if (!host || ops->reserve(b->device, &needs, &err) < 0 ||
        ops->alloc(&q, b->device, n_tokens * WIDTH, "q", &err) < 0 ||
        ops->alloc(&out, b->device, n_tokens * WIDTH, "out", &err) < 0 ||
        ops->upload(b->device, (struct uqm_place){ q, 0 }, host, n_tokens * WIDTH, &err) < 0)
        fail(&err);
    const struct uqm_place in = { q, 0 };
    const struct uqm_attend args = { .q = in,
                                     .k = in,
                                     .v = in,
                                     .out = { out, 0 },
                                     .ldq = WIDTH,
                                     .ldk = WIDTH,
                                     .ldv = WIDTH,
                                     .ldo = WIDTH,
                                     .n_q = n_tokens,
                                     .n_kv = n_tokens,
                                     .n_heads = HEADS,
                                     .n_kv_heads = HEADS,
                                     .head_dim = DIM,
                                     .scale = 0.088f,
                                     .causal = true,
                                     .dropout = dropout,
                                     .drop_threshold = 0x1999999A,
                                     .keep_scale = 1 / 0.9f };
    for (int r = -1; r < n_rounds; r++) {
        double t = bench_now(), c = cpu_now();
        if (ops->attend(b->device, &args, 1, &err) < 0 || ops->finish(b->device, &err) < 0)
            fail(&err);
        if (r < 0)
            continue;
        bench_add(&wall, bench_now() - t);
        bench_add(&cpu, cpu_now() - c);
    }
    double gflop = 2 * (double) n_tokens * (double) (n_tokens + 1) * WIDTH / 1e9;
    bench_begin("kernels", "vk_attention");
    bench_text("device", b->device->name);
    bench_number("tokens", (double) n_tokens);
    bench_flag("dropout", dropout);
    bench_number("ms", 1e3 * bench_median(&wall));
    bench_number("gflop_per_s", gflop / bench_median(&wall));
    bench_number("gflop_per_cpu_s", gflop / bench_median(&cpu));
    bench_end();
    ops->free(b->device, &q);
    ops->free(b->device, &out);
    ops->release(b->device);
    free(host);
}

void bench_kernels_vk(const struct bench_vk_options *o)
{
    /* the projections, the MLP's, decoding */
    static const size_t shapes[][3] = { { 256, 4096, 4096 },
                                        { 256, 11008, 4096 },
                                        { 256, 4096, 11008 },
                                        { 8, 4096, 4096 },
                                        { 1, 4096, 4096 } };
    struct bench_vk b = { .threads = NULL };
    struct uqm_common common = { .memory = UINT64_C(4) << 30, .n_threads = o->n_threads };
    struct uqm_err err = { 0 };
    if (uqm_env_init(&b.env, &common, &err) < 0 ||
        uqm_threads_create(&b.threads, o->n_threads, &err) < 0)
        fail(&err);
    if (uqm_device_open(&b.device, &b.env, b.threads, o->device, &err) < 0) {
        fprintf(stderr, "bench_kernels: Vulkan's cases are left out: %s\n", err.msg);
        uqm_threads_destroy(&b.threads);
        return;
    }
    if (o->fast && (!b.device->ops->make_fast || b.device->ops->make_fast(b.device, &err) < 0))
        fail(&err);
    b.vk = (struct uqm_vk *) (void *) b.device;
    uqm_blas_setup();
    openblas_set_num_threads(1);
    if (o->attention)
        for (int dropout = 0; dropout < 2; dropout++)
            bench_attention(&b, 640, dropout, o->n_rounds);
    if (o->m && o->products)
        bench_shape(&b, o->m, o->n, o->k, o->all, o->n_rounds);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !o->m && o->products; i++)
        bench_shape(&b, shapes[i][0], shapes[i][1], shapes[i][2], o->all, o->n_rounds);
    uqm_device_destroy(&b.device);
    uqm_threads_destroy(&b.threads);
}
