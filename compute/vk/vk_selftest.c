/* Small odd shapes through the device's own table, against sums in double. */
#include "compute/vk/vk_selftest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/kernels.h"
#include "compute/vk/vk_core.h"
#include "compute/vk/vk_ops.h"

enum {
    M = 65, /* rows */
    N = 67, /* results a row */
    K = 129,
    HEADS = 2,
    HEAD = 32, /* elements of a head */
    TOKENS = 37,
    N_X = M * K + 256 * K, /* with the rows that products may read past m */
    N_W = N * K,
    N_Y = M * N,
    N_QKV = TOKENS * HEADS * HEAD,
};

/* Where everything lies in one memory, in words. */
enum {
    AT_X = 0,
    AT_Y = AT_X + N_X,
    AT_NORM = AT_Y + N_Y,
    AT_Q = AT_NORM + K,
    AT_K = AT_Q + N_QKV,
    AT_V = AT_K + N_QKV,
    AT_OUT = AT_V + N_QKV,
    N_WORDS = AT_OUT + N_QKV,
};

struct bench {
    struct uqm_vk *vk;
    struct uqm_memory *memory;
    float *host; /* as in the memory */
    uint16_t *half;
    float *w, *got;
    float *x; /* (M, K) of products as they are to be multiplied */
};

/* In [-1, 1), the same everywhere. */
static void scatter(float *dst, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        dst[i] = (float) (int32_t) seed * 0x1p-31f;
    }
}

static struct uqm_place at(const struct bench *b, uint64_t word)
{
    return (struct uqm_place){ b->memory, word };
}

static int differs(const struct bench *b, struct uqm_err *err, const char *what, size_t i,
                   double got, double want)
{
    return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                    "%s (%.100s): self-test: %s, value %zu is %.9g, not %.9g", b->vk->device.id,
                    b->vk->device.name, what, i, got, want);
}

/* Weights as stored and as f32: every 11th a subnormal of F16, every 97th huge. */
static void make_weights(struct bench *b, enum uqm_dtype dtype)
{
    struct uqm_kernels kernels;
    uqm_kernels_init(&kernels, 0);
    scatter(b->w, N_W, 7);
    for (size_t i = 0; i < N_W; i++) {
        b->w[i] *= 0.05f;
        if (i % 11 == 0)
            b->w[i] = (float) (i % 1023 + 1) * 0x1p-24f;
        if (i % 97 == 0)
            b->w[i] = i % 2 ? -60000.0f : 65504.0f;
    }
    if (dtype == UQM_F32)
        return;
    uqm_narrow(&kernels, b->half, dtype, b->w, N_W);
    uqm_widen(&kernels, b->w, b->half, dtype, N_W);
}

static int test_linear(struct bench *b, enum uqm_dtype dtype, bool skinny, size_t m,
                       struct uqm_err *err)
{
    struct uqm_device *device = &b->vk->device;
    make_weights(b, dtype);
    struct uqm_linear args = {
        .y = at(b, AT_Y),
        .x = at(b, AT_X),
        .ldy = N,
        .ldx = K,
        .m = m,
        .n = N,
        .k = K,
        .w = dtype == UQM_F32 ? (const void *) b->w : b->half,
        .w_dtype = dtype,
        .epilogue = UQM_EPI_STORE,
        .skinny = skinny,
    };
    int ret = device->ops->linear(device, &args, err);
    if (ret == UQM_OK)
        ret = device->ops->download(device, b->got, args.y, m * N, err);
    for (size_t i = 0; i < m * N && ret == UQM_OK; i++) {
        const float *x = b->x + i / N * K, *w = b->w + i % N * K;
        double sum = 0, size = 0;
        for (size_t k = 0; k < K; k++) {
            sum += (double) x[k] * (double) w[k];
            size += fabs((double) x[k] * (double) w[k]);
        }
        /* Four times the bound of ordinary data: one huge product leaves every later sum its
         * rounding. */
        if (!(fabs((double) b->got[i] - sum) <= sqrt((double) K) * 0x1p-22 * size))
            ret =
                differs(b, err, skinny ? "skinny product" : "product", i, (double) b->got[i], sum);
    }
    return ret;
}

/* Subnormal weights alone: what flushes them answers 0. */
static int test_subnormals(struct bench *b, struct uqm_err *err)
{
    struct uqm_device *device = &b->vk->device;
    for (size_t i = 0; i < N_W; i++)
        b->half[i] = (uint16_t) (1 + i % 1023);
    struct uqm_linear args = {
        .y = at(b, AT_Y),
        .x = at(b, AT_X),
        .ldy = N,
        .ldx = K,
        .m = M,
        .n = N,
        .k = K,
        .w = b->half,
        .w_dtype = UQM_F16,
        .epilogue = UQM_EPI_STORE,
    };
    int ret = device->ops->linear(device, &args, err);
    if (ret == UQM_OK)
        ret = device->ops->download(device, b->got, args.y, N_Y, err);
    for (size_t i = 0; i < N_Y && ret == UQM_OK; i++) {
        double sum = 0, size = 0;
        for (size_t k = 0; k < K; k++) {
            double p = (double) b->host[AT_X + i / N * K + k] *
                       (double) (1 + (i % N * K + k) % 1023) * 0x1p-24;
            sum += p;
            size += fabs(p);
        }
        if (!(fabs((double) b->got[i] - sum) <= sqrt((double) K) * 0x1p-24 * size))
            ret = differs(b, err, "product of subnormal weights", i, (double) b->got[i], sum);
    }
    return ret;
}

static int test_norm(struct bench *b, struct uqm_err *err)
{
    struct uqm_device *device = &b->vk->device;
    struct uqm_norm args = {
        .y = at(b, AT_Y),
        .x = at(b, AT_X),
        .weight = at(b, AT_NORM),
        .eps = 1e-5f,
        .n_rows = N_Y / K,
        .width = K,
    };
    int ret = device->ops->norm(device, &args, err);
    if (ret == UQM_OK)
        ret = device->ops->download(device, b->got, args.y, args.n_rows * K, err);
    for (size_t i = 0; i < args.n_rows * K && ret == UQM_OK; i++) {
        const float *x = b->host + AT_X + i / K * K;
        double sum = 0;
        for (size_t k = 0; k < K; k++)
            sum += (double) x[k] * (double) x[k];
        double want = (double) b->host[AT_NORM + i % K] * (double) x[i % K] /
                      sqrt(sum / K + (double) args.eps);
        if (!(fabs((double) b->got[i] - want) <= 4e-6 * fabs(want) + 1e-30))
            ret = differs(b, err, "RMSNorm", i, (double) b->got[i], want);
    }
    return ret;
}

/* One result of causal attention, in double. */
static double attended(const float *host, size_t query, size_t head, size_t element, double scale)
{
    const size_t width = HEADS * HEAD;
    const float *q = host + AT_Q + query * width + head * HEAD;
    double score[TOKENS], top = -1e300, sum = 0, out = 0;
    for (size_t j = 0; j <= query; j++) {
        const float *k = host + AT_K + j * width + head * HEAD;
        score[j] = 0;
        for (size_t d = 0; d < HEAD; d++)
            score[j] += (double) q[d] * (double) k[d] * scale;
        top = score[j] > top ? score[j] : top;
    }
    for (size_t j = 0; j <= query; j++) {
        double p = exp(score[j] - top);
        sum += p;
        out += p * (double) host[AT_V + j * width + head * HEAD + element];
    }
    return out / sum;
}

static int test_attend(struct bench *b, size_t n_q, struct uqm_err *err)
{
    struct uqm_device *device = &b->vk->device;
    const size_t width = HEADS * HEAD, first = TOKENS - n_q;
    struct uqm_attend args = {
        .q = at(b, AT_Q + first * width),
        .k = at(b, AT_K),
        .v = at(b, AT_V),
        .out = at(b, AT_OUT),
        .ldq = width,
        .ldk = width,
        .ldv = width,
        .ldo = width,
        .n_q = n_q,
        .n_kv = TOKENS,
        .n_heads = HEADS,
        .n_kv_heads = HEADS,
        .head_dim = HEAD,
        .scale = 4.0f,
        .causal = true,
    };
    int ret = device->ops->attend(device, &args, 1, err);
    if (ret == UQM_OK)
        ret = device->ops->download(device, b->got, args.out, n_q * width, err);
    for (size_t i = 0; i < n_q * width && ret == UQM_OK; i++) {
        double want = attended(b->host, first + i / width, i % width / HEAD, i % HEAD, 4.0);
        if (!(fabs((double) b->got[i] - want) <= 3e-5))
            ret = differs(b, err, "attention", i, (double) b->got[i], want);
    }
    return ret;
}

enum { N_MIXES = 4 };

/* The mean of three, a third of the way from a base; and the elections of two trimmed models, and
 * of two drawn from. inputs: three, and twice two that have sieves. */
static void make_mixes(struct uqm_mix mixes[N_MIXES], struct uqm_mix_input inputs[7],
                       const struct bench *b)
{
    static const double weights[] = { 1, 0.3, 1.7 };
    const struct uqm_key_limit none = uqm_key_limit_none();
    for (size_t i = 0; i < 7; i++) {
        const size_t from = i < 3 ? i : 1 + (i - 3) % 2;
        inputs[i] = (struct uqm_mix_input){ .w = b->half + from,
                                            .dtype = UQM_F16,
                                            .weight = weights[from] };
        if (i >= 3)
            inputs[i].sieve =
                (struct uqm_mix_sieve){ .counts = i < 5 ? UQM_MIX_LIMITS : UQM_MIX_DRAWN,
                                        .ratio = 1.25,
                                        .keep = { 0x3C800000, false, 100 * i },
                                        .drop = none,
                                        .key = { { 7, (uint32_t) i } },
                                        .density = 0.6 };
    }
    mixes[0] = (struct uqm_mix){ .n_inputs = 3, .inputs = inputs, .divisor = 3 };
    for (size_t i = 1; i < N_MIXES; i++)
        mixes[i] = (struct uqm_mix){ .base = inputs,
                                     .n_inputs = 2,
                                     .inputs = inputs + 2 * i - 1,
                                     .divisor = 1,
                                     .lambda = 0.33,
                                     .consensus = i > 1,
                                     .normalize = i > 1 };
}

/* The host's own mixture as W gives the same bits. Rows of x are unit vectors: what comes out are
 * elements of W. */
static int test_mix(struct bench *b, struct uqm_err *err)
{
    struct uqm_device *device = &b->vk->device;
    struct uqm_kernels kernels;
    struct uqm_mix_input inputs[7];
    struct uqm_mix mixes[N_MIXES];
    struct uqm_linear args = { .y = at(b, AT_Y), .x = at(b, AT_X), .ldy = N, .ldx = K, .m = M };
    int ret = UQM_OK;
    args.n = N - 1;
    args.k = K;
    args.w_dtype = UQM_BF16;
    args.epilogue = UQM_EPI_STORE;
    uqm_kernels_init(&kernels, 0);
    make_weights(b, UQM_F16);
    make_mixes(mixes, inputs, b);
    memset(b->got, 0, (size_t) M * K * sizeof *b->got);
    for (size_t r = 0; r < M; r++)
        b->got[r * K + 2 * r % K] = 1;
    ret = device->ops->upload(device, args.x, b->got, (size_t) M * K, err);
    for (size_t k = 0; ret == UQM_OK && k < N_MIXES; k++) {
        args.mix = &mixes[k];
        ret = device->ops->linear(device, &args, err);
        if (ret == UQM_OK)
            ret = device->ops->download(device, b->got, args.y, N_Y, err);
        for (size_t i = 0; ret == UQM_OK && i < (size_t) M * (N - 1); i++) {
            const size_t r = i / (N - 1), c = i % (N - 1);
            const float got = b->got[r * N + c];
            const float want = uqm_mix_element(&mixes[k], UQM_BF16, c * K + 2 * r % K);
            if (got != want)
                ret = differs(b, err, "mixture of weights", i, (double) got, (double) want);
        }
    }
    return ret;
}

static int run_all(struct bench *b, struct uqm_err *err)
{
    static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16, UQM_F32 };
    struct uqm_device *device = &b->vk->device;
    int ret = device->ops->upload(device, at(b, 0), b->host, N_WORDS, err);
    for (size_t i = 0; i < 3 && ret == UQM_OK; i++)
        ret = test_linear(b, dtypes[i], false, M, err);
    for (size_t i = 0; i < 3 && ret == UQM_OK; i++)
        ret = test_linear(b, dtypes[i], true, 3, err);
    if (ret == UQM_OK)
        ret = test_subnormals(b, err);
    if (ret == UQM_OK)
        ret = test_norm(b, err);
    if (ret == UQM_OK)
        ret = test_attend(b, TOKENS, err);
    if (ret == UQM_OK)
        ret = test_attend(b, 1, err);
    return ret == UQM_OK && b->vk->limits.shader_f64 ? test_mix(b, err) : ret;
}

/* With one choice of what is off: from the operations' beginning to their end. */
static int run_with(struct bench *b, uint32_t off, struct uqm_err *err)
{
    struct uqm_vk *vk = b->vk;
    const struct uqm_device_needs needs = {
        .tile_bytes = N_W * 4,
        .tile_elem = N_W,
        .max_k = K,
        .max_kv = TOKENS,
        .mixes = vk->limits.shader_f64 ? UQM_MIXES_ELECTIONS : UQM_MIXES_NONE,
    };
    uqm_vk_ops_finish(vk);
    vk->limits = vk->core->info.limits;
    uqm_vk_switch_off(&vk->limits, off);
    int ret = uqm_vk_ops_init(vk, err);
    if (ret == UQM_OK)
        ret = vk->device.ops->reserve(&vk->device, &needs, err);
    if (ret == UQM_OK)
        ret = vk->device.ops->alloc(&b->memory, &vk->device, N_WORDS, "the self-test", err);
    if (ret == UQM_OK)
        ret = run_all(b, err);
    vk->device.ops->free(&vk->device, &b->memory);
    vk->device.ops->release(&vk->device);
    return ret;
}

void uqm_vk_switch_off(struct uqm_vk_limits *limits, uint32_t off)
{
    if (off & UQM_VK_OFF_UNPACK_HALF)
        limits->unpack_half = false;
    if (off & UQM_VK_OFF_COOP)
        limits->coop_f16 = false;
    if (off & UQM_VK_OFF_F64)
        limits->shader_f64 = false;
    if (off & UQM_VK_OFF_TEXELS)
        limits->max_texels = 0;
    if (off & UQM_VK_OFF_SUBGROUPS) {
        limits->subgroup_arithmetic = limits->subgroup_broadcast = false;
        limits->subgroup_min = limits->subgroup_max = 0;
    }
}

static void say_what_is_off(const struct uqm_vk *vk, const struct uqm_err *why, uint32_t off)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } features[] = {
        { UQM_VK_OFF_UNPACK_HALF, "unpacking of halves" },
        { UQM_VK_OFF_COOP, "cooperative matrices" },
        { UQM_VK_OFF_F64, "64-bit floats" },
        { UQM_VK_OFF_TEXELS, "texel buffers" },
        { UQM_VK_OFF_SUBGROUPS, "subgroup arithmetic" },
    };
    char list[160] = "";
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        if (off & features[i].bit) {
            const size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", features[i].name);
        }
    uqm_log(vk->device.env, UQM_LOG_WARN, "%s; it passes without %s, and goes on so", why->msg,
            list);
}

static int bench_init(struct bench *b, struct uqm_vk *vk, struct uqm_err *err)
{
    *b = (struct bench){
        .vk = vk,
        .host = calloc(N_WORDS, sizeof *b->host),
        .half = calloc(N_W, sizeof *b->half),
        .w = calloc(N_W, sizeof *b->w),
        .got = calloc(N_WORDS, sizeof *b->got),
        .x = calloc((size_t) M * K, sizeof *b->x),
    };
    if (!b->host || !b->half || !b->w || !b->got || !b->x)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for the self-test", vk->device.id);
    scatter(b->host, N_WORDS, 1);
    memcpy(b->x, b->host + AT_X, (size_t) M * K * sizeof *b->x);
    return UQM_OK;
}

static void bench_finish(struct bench *b)
{
    free(b->host);
    free(b->half);
    free(b->w);
    free(b->got);
    free(b->x);
}

int uqm_vk_selftest(uint32_t *off, struct uqm_vk *vk, struct uqm_err *err)
{
    static const uint32_t choices[] = { 0,
                                        UQM_VK_OFF_UNPACK_HALF,
                                        UQM_VK_OFF_COOP,
                                        UQM_VK_OFF_F64,
                                        UQM_VK_OFF_TEXELS,
                                        UQM_VK_OFF_SUBGROUPS,
                                        UQM_VK_OFF_ALL };
    struct bench b;
    struct uqm_err first = { 0 }, last = { 0 };
    int ret = bench_init(&b, vk, &last);
    if (ret == UQM_OK)
        ret = UQM_ERR_UNSUPPORTED;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0] && ret == UQM_ERR_UNSUPPORTED; i++) {
        ret = run_with(&b, choices[i], &last);
        *off = choices[i];
        if (i == 0)
            first = last;
    }
    if (ret == UQM_OK && *off)
        say_what_is_off(vk, &first, *off);
    if (ret < 0 && err)
        *err = ret == UQM_ERR_UNSUPPORTED ? first : last;
    bench_finish(&b);
    return ret;
}

/* Rows of all sizes, one with numbers beyond F16's range; what their products are made of: each
 * rounded at its row's scale (vk_halves.h). */
static void make_fast_rows(struct bench *b)
{
    float *x = b->host + AT_X;
    for (size_t i = 0; i < (size_t) M * K; i++)
        x[i] = ldexpf(x[i], (int) (i / K % 41) - 20);
    x[3 * K + 5] = -68706.0f;
    x[3 * K + 6] = 1e30f;
    for (size_t r = 0; r < M; r++) {
        float most = 0;
        int exponent;
        for (size_t k = 0; k < K; k++)
            most = fmaxf(most, fabsf(x[r * K + k]));
        frexpf(most, &exponent);
        for (size_t k = 0; k < K; k++) {
            const float scaled = ldexpf(x[r * K + k], 15 - exponent);
            b->x[r * K + k] = ldexpf(uqm_f32_of_f16(uqm_f16_of_f32(scaled)), exponent - 15);
        }
    }
}

int uqm_vk_selftest_fast(struct uqm_vk *vk, struct uqm_err *err)
{
    const struct uqm_device_needs needs = { .tile_bytes = N_W * 2, .tile_elem = N_W, .max_k = K };
    const struct uqm_device_ops *ops = vk->device.ops;
    struct bench b;
    int ret = bench_init(&b, vk, err);
    if (ret == UQM_OK) {
        make_fast_rows(&b);
        ret = ops->reserve(&vk->device, &needs, err);
    }
    if (ret == UQM_OK)
        ret = ops->alloc(&b.memory, &vk->device, N_WORDS, "the self-test", err);
    if (ret == UQM_OK)
        ret = ops->upload(&vk->device, at(&b, 0), b.host, N_WORDS, err);
    if (ret == UQM_OK)
        ret = test_linear(&b, UQM_F16, false, M, err);
    ops->free(&vk->device, &b.memory);
    ops->release(&vk->device);
    bench_finish(&b);
    return ret;
}
