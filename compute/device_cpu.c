/* The device of compute/device.h that every machine has: its operations are done when the call
 * returns, in the order of the calls; its memory is the budget's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "compute/attention.h"
#include "compute/device.h"
#include "src/base/checked.h"

enum {
    BLOCK_ROWS = 32, /* rows of one task */
    NARROW_ELEM = 1 << 15,
    ATTEND_PROMPTS = 64, /* prompts that are handed on together */
};

struct uqm_memory {
    float *words;
    size_t bytes;
};

struct cpu {
    struct uqm_device device;
    struct uqm_threads *threads;
    struct uqm_kernels kernels;
    struct uqm_gemm *gemm;
    struct uqm_attention_scratch *attention;
};

static struct cpu *cpu_of(struct uqm_device *device)
{
    return (struct cpu *) (void *) device;
}

static float *floats(struct uqm_place place)
{
    return place.memory ? place.memory->words + place.at : NULL;
}

static uint32_t *words(struct uqm_place place)
{
    return (void *) floats(place);
}

static size_t n_blocks(size_t n_rows)
{
    return n_rows / BLOCK_ROWS + (n_rows % BLOCK_ROWS != 0);
}

static size_t block_end(size_t item, size_t n_rows)
{
    return (size_t) uqm_min_u64((item + 1) * BLOCK_ROWS, n_rows);
}

/* ---- memory ---- */

static struct uqm_device_bytes cpu_reserve_bytes(const struct uqm_device *device,
                                                 const struct uqm_device_needs *needs)
{
    const struct cpu *cpu = (const struct cpu *) (const void *) device;
    const int n_threads = uqm_threads_count(cpu->threads);
    return (struct uqm_device_bytes){
        .host = uqm_gemm_memory(needs->tile_elem, needs->max_k, n_threads) +
                uqm_attention_memory(needs->max_kv, n_threads),
    };
}

static void cpu_release(struct uqm_device *device)
{
    struct cpu *cpu = cpu_of(device);
    uqm_gemm_destroy(&cpu->gemm);
    uqm_attention_scratch_destroy(&cpu->attention);
}

static int cpu_reserve(struct uqm_device *device, const struct uqm_device_needs *needs,
                       struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    assert(!cpu->gemm && !cpu->attention);
    device->limits.memory_bytes = uqm_budget_left(device->env);
    device->limits.largest_bytes = device->limits.memory_bytes;
    int ret = uqm_gemm_create(&cpu->gemm, device->env, cpu->threads, &cpu->kernels,
                              needs->tile_elem, needs->max_k, err);
    if (ret == UQM_OK)
        ret = uqm_attention_scratch_create(&cpu->attention, device->env, cpu->threads,
                                           needs->max_kv, err);
    if (ret < 0)
        cpu_release(device);
    return ret;
}

static int cpu_alloc(struct uqm_memory **out, struct uqm_device *device, uint64_t n_words,
                     const char *what, struct uqm_err *err)
{
    struct uqm_memory *m = calloc(1, sizeof *m);
    if (!m || n_words > SIZE_MAX / sizeof *m->words) {
        free(m);
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", what);
    }
    void *block;
    m->bytes = (size_t) n_words * sizeof *m->words;
    int ret = uqm_budget_alloc(&block, device->env, m->bytes, 64, what, err);
    if (ret < 0) {
        free(m);
        return ret;
    }
    m->words = block;
    *out = m;
    return UQM_OK;
}

static void cpu_free(struct uqm_device *device, struct uqm_memory **memory)
{
    struct uqm_memory *m = *memory;
    if (!m)
        return;
    void *block = m->words;
    uqm_budget_free(&block, device->env, m->bytes);
    free(m);
    *memory = NULL;
}

static int cpu_upload(struct uqm_device *device, struct uqm_place dst, const void *src,
                      size_t n_words, struct uqm_err *err)
{
    (void) device;
    (void) err;
    memcpy(floats(dst), src, n_words * sizeof(float));
    return UQM_OK;
}

static int cpu_download(struct uqm_device *device, void *dst, struct uqm_place src, size_t n_words,
                        struct uqm_err *err)
{
    (void) device;
    (void) err;
    memcpy(dst, floats(src), n_words * sizeof(float));
    return UQM_OK;
}

static int cpu_copy(struct uqm_device *device, struct uqm_place dst, struct uqm_place src,
                    size_t n_words, struct uqm_err *err)
{
    (void) device;
    (void) err;
    memcpy(floats(dst), floats(src), n_words * sizeof(float));
    return UQM_OK;
}

/* ---- products ---- */

static int cpu_linear(struct uqm_device *device, const struct uqm_linear *args, struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    struct uqm_product p = {
        .y = floats(args->y),
        .ldy = args->ldy,
        .x = floats(args->x),
        .ldx = args->ldx,
        .m = args->m,
        .w = args->w,
        .w_dtype = args->w_dtype,
        .n = args->n,
        .k = args->k,
        .bias = floats(args->bias),
        .epilogue = args->epilogue,
    };
    (void) err;
    if (!args->skinny) {
        uqm_gemm_run(cpu->gemm, &p);
        return UQM_OK;
    }
    for (size_t r = 0; r < args->m; r += UQM_GEMV_ROWS) {
        p.y = floats(args->y) + r * args->ldy;
        p.x = floats(args->x) + r * args->ldx;
        p.m = (size_t) uqm_min_u64(UQM_GEMV_ROWS, args->m - r);
        uqm_gemv_run(cpu->gemm, &p);
    }
    return UQM_OK;
}

/* ---- row by row ---- */

struct norm_task {
    const struct uqm_kernels *kernels;
    const struct uqm_norm *args;
};

static void norm_block(void *ctx, size_t item, int worker)
{
    const struct norm_task *t = ctx;
    const struct uqm_norm *a = t->args;
    const float *w = floats(a->weight), *b = floats(a->bias);
    (void) worker;
    for (size_t r = item * BLOCK_ROWS; r < block_end(item, a->n_rows); r++) {
        float *y = floats(a->y) + r * a->width;
        const float *x = floats(a->x) + r * a->width;
        if (b)
            t->kernels->layernorm_f32(y, x, w, b, a->eps, a->width);
        else
            t->kernels->rmsnorm_f32(y, x, w, a->eps, a->width);
    }
}

static int cpu_norm(struct uqm_device *device, const struct uqm_norm *args, struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    struct norm_task t = { &cpu->kernels, args };
    (void) err;
    uqm_parallel(cpu->threads, n_blocks(args->n_rows), norm_block, &t);
    return UQM_OK;
}

struct rotate_task {
    const struct uqm_kernels *kernels;
    const struct uqm_rotate *args;
};

static void rotate_block(void *ctx, size_t item, int worker)
{
    const struct rotate_task *t = ctx;
    const struct uqm_rotate *a = t->args;
    const uint32_t *positions = words(a->positions);
    (void) worker;
    for (size_t r = item * BLOCK_ROWS; r < block_end(item, a->n_rows); r++) {
        const size_t at = positions[r] * (a->head_dim / 2);
        float *x = floats(a->x) + r * a->n_heads * a->head_dim;
        for (size_t h = 0; h < a->n_heads; h++)
            t->kernels->rope_f32(x + h * a->head_dim, floats(a->cos) + at, floats(a->sin) + at,
                                 a->head_dim);
    }
}

static int cpu_rotate(struct uqm_device *device, const struct uqm_rotate *args, struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    struct rotate_task t = { &cpu->kernels, args };
    (void) err;
    uqm_parallel(cpu->threads, n_blocks(args->n_rows), rotate_block, &t);
    return UQM_OK;
}

struct gather_task {
    const struct uqm_kernels *kernels;
    const struct uqm_gather *args;
};

static void gather_block(void *ctx, size_t item, int worker)
{
    const struct gather_task *t = ctx;
    const struct uqm_gather *a = t->args;
    const uint32_t *index = words(a->index);
    (void) worker;
    for (size_t r = item * BLOCK_ROWS; r < block_end(item, a->n_rows); r++) {
        if (index[r] == UQM_NO_ROW)
            continue;
        float *y = floats(a->y) + r * a->ldy;
        const float *x = floats(a->x) + index[r] * a->ldx;
        if (a->add)
            t->kernels->add_f32(y, x, a->width);
        else
            memcpy(y, x, a->width * sizeof *y);
    }
}

static int cpu_gather(struct uqm_device *device, const struct uqm_gather *args, struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    struct gather_task t = { &cpu->kernels, args };
    (void) err;
    uqm_parallel(cpu->threads, n_blocks(args->n_rows), gather_block, &t);
    return UQM_OK;
}

struct narrow_task {
    const struct uqm_kernels *kernels;
    uint16_t *dst;
    const float *src;
    size_t n_elem;
};

static void narrow_block(void *ctx, size_t item, int worker)
{
    const struct narrow_task *t = ctx;
    const size_t first = item * NARROW_ELEM;
    (void) worker;
    t->kernels->f16_of_f32(t->dst + first, t->src + first,
                           (size_t) uqm_min_u64(NARROW_ELEM, t->n_elem - first));
}

static int cpu_narrow(struct uqm_device *device, struct uqm_place dst, struct uqm_place src,
                      size_t n_elem, struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    struct narrow_task t = { &cpu->kernels, (void *) floats(dst), floats(src), n_elem };
    (void) err;
    assert(n_elem % 2 == 0);
    uqm_parallel(cpu->threads, (n_elem + NARROW_ELEM - 1) / NARROW_ELEM, narrow_block, &t);
    return UQM_OK;
}

/* ---- attention ---- */

static struct uqm_attention attention_of(const struct uqm_attend *a)
{
    return (struct uqm_attention){
        .q = floats(a->q),
        .k = a->half_kv ? NULL : floats(a->k),
        .v = a->half_kv ? NULL : floats(a->v),
        .k_half = a->half_kv ? (const void *) floats(a->k) : NULL,
        .v_half = a->half_kv ? (const void *) floats(a->v) : NULL,
        .out = floats(a->out),
        .ldq = a->ldq,
        .ldk = a->ldk,
        .ldv = a->ldv,
        .ldo = a->ldo,
        .n_q = a->n_q,
        .n_kv = a->n_kv,
        .n_heads = a->n_heads,
        .n_kv_heads = a->n_kv_heads,
        .head_dim = a->head_dim,
        .scale = a->scale,
        .causal = a->causal,
        .dropout = a->dropout,
        .drop_threshold = a->drop_threshold,
        .keep_scale = a->keep_scale,
        .drop_key = a->drop_key,
    };
}

static int cpu_attend(struct uqm_device *device, const struct uqm_attend *prompts, size_t n_prompts,
                      struct uqm_err *err)
{
    struct cpu *cpu = cpu_of(device);
    struct uqm_attention some[ATTEND_PROMPTS];
    (void) err;
    for (size_t first = 0; first < n_prompts; first += ATTEND_PROMPTS) {
        const size_t n = (size_t) uqm_min_u64(ATTEND_PROMPTS, n_prompts - first);
        for (size_t i = 0; i < n; i++)
            some[i] = attention_of(&prompts[first + i]);
        uqm_attention_run(cpu->attention, &cpu->kernels, some, n);
    }
    return UQM_OK;
}

/* ---- the device ---- */

static int cpu_finish(struct uqm_device *device, struct uqm_err *err)
{
    (void) device;
    (void) err;
    return UQM_OK;
}

static void cpu_destroy(struct uqm_device *device)
{
    cpu_release(device);
    free(device);
}

static const struct uqm_device_ops ops = {
    .reserve_bytes = cpu_reserve_bytes,
    .reserve = cpu_reserve,
    .release = cpu_release,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .copy = cpu_copy,
    .linear = cpu_linear,
    .norm = cpu_norm,
    .rotate = cpu_rotate,
    .attend = cpu_attend,
    .gather = cpu_gather,
    .narrow = cpu_narrow,
    .finish = cpu_finish,
    .destroy = cpu_destroy,
};

int uqm_device_cpu_create(struct uqm_device **out, struct uqm_env *env, struct uqm_threads *threads,
                          struct uqm_err *err)
{
    struct cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the CPU as a device");
    cpu->device = (struct uqm_device){
        .ops = &ops,
        .env = env,
        .limits = { .on_host = true,
                    .memory_bytes = env->budget.limit_bytes,
                    .largest_bytes = uqm_budget_left(env) },
        .id = "cpu",
    };
    uqm_cpu_name(cpu->device.name, sizeof cpu->device.name);
    cpu->threads = threads;
    uqm_kernels_init(&cpu->kernels, uqm_cpu_flags());
    *out = &cpu->device;
    return UQM_OK;
}
