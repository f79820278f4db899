/* Products in every kernel that the device can run, against double. */
#include "compute/kernels.h"
#include "compute/vk/vk_gemm.h"
#include "tests/kernels/vk/vk_fixture.h"

static const enum uqm_dtype dtypes[] = { UQM_F16, UQM_BF16, UQM_F32 };

struct shape {
    size_t m, n, k;
};

/* A product with everything it points to, in the host's memory and the device's. */
struct product {
    struct shape s;
    enum uqm_dtype dtype;
    enum uqm_epilogue epilogue;
    size_t ldx, ldy;
    float *x, *y, *bias, *wide; /* wide: W as f32 */
    double slack;               /* times sum |x w|: what the product may be off besides */
    void *w;
    struct vk_array dx, dy, dbias;
};

static float half_way_numbers(struct random *r)
{
    return random_f32(r, 1);
}

static struct product product_make(struct vk_fixture *f, struct shape s, enum uqm_dtype dtype,
                                   enum uqm_epilogue epilogue, bool bias, bool quads, uint64_t seed)
{
    struct random r = { seed };
    struct uqm_kernels kernels;
    uqm_kernels_init(&kernels, 0);
    struct product p = { .s = s, .dtype = dtype, .epilogue = epilogue };
    p.ldx = quads ? (s.k + 7) / 4 * 4 : s.k + 3;
    p.ldy = s.n + 5;
    p.x = random_floats(&r, s.m * p.ldx, 1);
    p.y = random_floats(&r, s.m * p.ldy, 1);
    p.bias = bias ? random_floats(&r, s.n, 1) : NULL;
    p.wide = malloc(s.n * s.k * sizeof(float));
    p.w = malloc(s.n * s.k * sizeof(float));
    assert_true(p.wide && p.w);
    for (size_t i = 0; i < s.n * s.k; i++)
        p.wide[i] = half_way_numbers(&r) * 0.05f;
    uqm_narrow(&kernels, p.w, dtype, p.wide, s.n * s.k);
    uqm_widen(&kernels, p.wide, p.w, dtype, s.n * s.k);
    p.dx = vk_array_make(f, s.m * p.ldx, quads ? 4 : 1, p.x);
    p.dy = vk_array_make(f, s.m * p.ldy, 3, p.y);
    p.dbias = bias ? vk_array_make(f, s.n, 2, p.bias) : (struct vk_array){ 0 };
    return p;
}

static void product_finish(struct vk_fixture *f, struct product *p)
{
    vk_array_free(f, &p->dx);
    vk_array_free(f, &p->dy);
    if (p->bias)
        vk_array_free(f, &p->dbias);
    free(p->x);
    free(p->y);
    free(p->bias);
    free(p->wide);
    free(p->w);
}

static struct uqm_linear linear_of(const struct product *p, bool skinny)
{
    return (struct uqm_linear){
        .y = p->dy.place,
        .x = p->dx.place,
        .ldy = p->ldy,
        .ldx = p->ldx,
        .m = p->s.m,
        .n = p->s.n,
        .k = p->s.k,
        .w = p->w,
        .w_dtype = p->dtype,
        .bias = p->bias ? p->dbias.place : (struct uqm_place){ 0 },
        .epilogue = p->epilogue,
        .skinny = skinny,
    };
}

static double silu(double v)
{
    return v / (1 + exp(-v));
}

static double finish(enum uqm_epilogue epilogue, double v, double y)
{
    switch (epilogue) {
    case UQM_EPI_ADD: return y + v;
    case UQM_EPI_SILU_MUL: return silu(y) * v;
    case UQM_EPI_QUICK_GELU: return v / (1 + exp(-1.702 * v));
    case UQM_EPI_GELU: return v / 2 * (1 + erf(v / sqrt(2)));
    default: return v;
    }
}

/* |y - ref| <= sqrt(K) 2^-24 sum |x w|, and what bias and epilogue round; every activation's slope
 * is below 1.2. */
static void check_product(const struct product *p, const float *got, const char *variant)
{
    for (size_t r = 0; r < p->s.m; r++) {
        for (size_t i = 0; i < p->ldy; i++) {
            double before = (double) p->y[r * p->ldy + i], y = (double) got[r * p->ldy + i];
            if (i >= p->s.n) {
                assert_true(y == before); /* between the rows */
                continue;
            }
            double v = p->bias ? (double) p->bias[i] : 0, size = 0;
            for (size_t j = 0; j < p->s.k; j++) {
                double t = (double) p->x[r * p->ldx + j] * (double) p->wide[i * p->s.k + j];
                v += t;
                size += fabs(t);
            }
            double want = finish(p->epilogue, v, before);
            double gate = p->epilogue == UQM_EPI_SILU_MUL ? fabs(silu(before)) : 1.2;
            double bound = (sqrt((double) p->s.k) * size + 2 * fabs(v)) * gate +
                           8 * (fabs(want) + fabs(before)) + 2 + p->slack * 0x1p24 * size * gate;
            if (!(fabs(y - want) <= bound * 0x1p-24))
                fail_msg("%s, %zux%zux%zu %s, epilogue %d: y[%zu, %zu] is %.9g, not %.9g (%.2f of "
                         "the bound)",
                         variant, p->s.m, p->s.n, p->s.k, uqm_dtype_name(p->dtype),
                         (int) p->epilogue, r, i, y, want, fabs(y - want) / (bound * 0x1p-24));
        }
    }
}

static const char *name_of(const struct uqm_vk_gemm *g)
{
    static const char *const paths[] = { "shuffle", "texel", "panel", "tile", "skinny", "coop" };
    static char text[64];
    snprintf(text, sizeof text, "%s%s %ux%ux%u", g->halves ? "fast " : "", paths[g->path],
             (unsigned) uqm_vk_gemm_rows(g), g->bn, g->bk);
    return text;
}

/* The chosen kernel and every sixth of the others, from the turn-th on: a driver compiles each for
 * every type, and that is what takes time; over all shapes each kernel has its turn. The ones that
 * are not skinny agree to the bit. */
static void run_kernels(struct vk_fixture *f, struct product *p, bool skinny, size_t turn)
{
    const struct uqm_linear args = linear_of(p, skinny);
    const struct uqm_vk_binding x = uqm_vk_read(args.x, 1, args.k, args.k);
    const struct uqm_vk_gemm_shape shape = {
        .m = args.m,
        .n = args.n,
        .k = args.k,
        .w_dtype = args.w_dtype,
        .x_quads = args.k % 4 == 0 && args.ldx % 4 == 0 && uqm_vk_lead(f->vk, &x) % 4 == 0,
        .skinny = skinny,
        .halves = f->device->fast && args.w_dtype == UQM_F16 && !skinny,
    };
    struct uqm_vk_gemm all[UQM_VK_MAX_GEMMS];
    struct uqm_err err = { 0 };
    size_t n = uqm_vk_gemm_candidates(all, f->vk, &shape);
    float *first = NULL;
    for (size_t c = 0; c < n; c++) {
        if (c > 0 && !skinny && c % 6 != turn % 6)
            continue;
        assert_ok(f->ops->upload(f->device, args.y, p->y, p->s.m * p->ldy, &err), err);
        assert_ok(uqm_vk_linear_by(f->vk, &args, &all[c], &err), err);
        float *got = vk_array_get(f, &p->dy);
        check_product(p, got, name_of(&all[c]));
        const bool in_one_chain =
            all[c].path != UQM_VK_GEMM_SKINNY && all[c].path != UQM_VK_GEMM_COOP;
        if (first && in_one_chain)
            assert_memory_equal(got, first, p->s.m * p->ldy * sizeof *got);
        if (first || !in_one_chain)
            free(got);
        else
            first = got;
    }
    free(first);
}

static const struct uqm_device_needs needs = {
    .tile_bytes = 4 << 20, .tile_elem = 1 << 20, .max_k = 4100, .max_kv = 0
};
#define open_or_skip(f)                                                                            \
    do {                                                                                           \
        if (!vk_fixture_open((f), NULL))                                                           \
            test_skip("no Vulkan device");                                                         \
        vk_fixture_reserve((f), &needs);                                                           \
    } while (0)

#define open_fast_or_skip(f)                                                                       \
    do {                                                                                           \
        struct uqm_err why = { 0 };                                                                \
        if (!vk_fixture_open((f), NULL))                                                           \
            test_skip("no Vulkan device");                                                         \
        assert_ok((f)->ops->make_fast((f)->device, &why), why);                                    \
        vk_fixture_reserve((f), &needs);                                                           \
    } while (0)

/* y as it is after the product, malloc'd. */
static float *run_once(struct vk_fixture *f, const struct product *p, const struct uqm_linear *args)
{
    struct uqm_err err = { 0 };
    assert_ok(f->ops->upload(f->device, args->y, p->y, p->s.m * p->ldy, &err), err);
    assert_ok(f->ops->linear(f->device, args, &err), err);
    return vk_array_get(f, &p->dy);
}

static void every_kernel_agrees_with_double(void **state)
{
    (void) state;
    static const struct shape shapes[] = {
        { 1, 1, 1 },    { 7, 63, 65 },   { 65, 67, 129 }, { 9, 129, 7 },   { 63, 65, 64 },
        { 3, 4097, 8 }, { 4097, 5, 12 }, { 5, 9, 4097 },  { 70, 130, 68 }, { 2, 7, 4096 },
    };
    struct vk_fixture f;
    open_or_skip(&f);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        if (vk_left_out(s + 1, 9)) /* keeps 70x130x68 */
            continue;
        enum uqm_dtype dtype = dtypes[s % 3];
        bool quads = shapes[s].k % 4 == 0;
        struct product p = product_make(&f, shapes[s], dtype, UQM_EPI_STORE, false, quads, s + 1);
        run_kernels(&f, &p, false, s);
        if (s % 4 == 0)
            run_kernels(&f, &p, true, s);
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

/* Every kernel in every type, at a shape that fits no tile; the skinny one at every height that it
 * has a variant for. */
static void every_kernel_takes_every_type(void **state)
{
    (void) state;
    const struct shape odd = { 17, 70, 68 };
    struct vk_fixture f;
    open_or_skip(&f);
    for (size_t d = 0; d < 3; d++) {
        if (vk_left_out(d, 3))
            continue;
        struct product p = product_make(&f, odd, dtypes[d], UQM_EPI_STORE, false, true, d + 60);
        for (size_t turn = 0; turn < 6; turn++)
            run_kernels(&f, &p, false, turn);
        product_finish(&f, &p);
        for (size_t m = 1; m <= 8; m += m < 4 ? 1 : 2) {
            const struct shape few = { m, 19, 68 };
            p = product_make(&f, few, dtypes[d], UQM_EPI_STORE, false, m % 2, d + 70);
            run_kernels(&f, &p, true, 0);
            product_finish(&f, &p);
        }
    }
    vk_fixture_close(&f);
}

/* A row with a NaN, one with an infinity: theirs are the only results that show it. */
static void what_is_no_number_stays_in_its_row(void **state)
{
    (void) state;
    const struct shape s = { 20, 21, 40 };
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    open_or_skip(&f);
    for (int skinny = 0; skinny < 2; skinny++) {
        struct product p = product_make(&f, s, UQM_F16, UQM_EPI_STORE, false, true, 90);
        struct uqm_linear args = linear_of(&p, skinny);
        p.x[3 * p.ldx + 17] = NAN;
        p.x[8 * p.ldx + 39] = INFINITY;
        assert_ok(f.ops->upload(f.device, args.x, p.x, s.m * p.ldx, &err), err);
        float *got = run_once(&f, &p, &args);
        for (size_t i = 0; i < s.n; i++) {
            assert_true(isnan(got[3 * p.ldy + i]));
            assert_true(!isfinite(got[8 * p.ldy + i]));
            for (size_t r = 0; r < s.m; r++)
                if (r != 3 && r != 8)
                    assert_true(isfinite(got[r * p.ldy + i]));
        }
        free(got);
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

static void every_type_and_epilogue_agrees_with_double(void **state)
{
    (void) state;
    const struct shape s = { 19, 77, 36 };
    struct vk_fixture f;
    open_or_skip(&f);
    for (unsigned c = 0; c < 5; c++) {
        if (vk_left_out(c, 4))
            continue;
        struct product p =
            product_make(&f, s, dtypes[c % 3], (enum uqm_epilogue) c, c % 2, true, c + 100);
        struct uqm_linear args = linear_of(&p, false);
        for (int skinny = 0; skinny < 2; skinny++) {
            args.skinny = skinny;
            float *got = run_once(&f, &p, &args);
            check_product(&p, got, skinny ? "chosen skinny" : "chosen");
            free(got);
        }
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

/* Weights that arithmetic trips over, one column of W each; x is 1 there and 0 elsewhere, so the
 * result is the weight itself. */
static void odd_weights_come_through(void **state)
{
    (void) state;
    static const uint16_t halves[] = { 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF,
                                       0x7C00, 0xFC00, 0x7E01, 0x0000, 0x8000, 0x3C01, 0x0200 };
    enum { N = sizeof halves / sizeof *halves };
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    open_or_skip(&f);
    for (int integers = 0; integers < 2; integers++) {
        f.vk->limits.unpack_half = !integers && f.vk->limits.unpack_half;
        for (size_t d = 0; d < (integers ? 1 : 3); d++) {
            struct product p = product_make(&f, (struct shape){ 4, N, 4 }, dtypes[d], UQM_EPI_STORE,
                                            false, true, d + 7);
            struct uqm_kernels kernels;
            uqm_kernels_init(&kernels, 0);
            for (size_t i = 0; i < (size_t) N * 4; i++) {
                p.wide[i] = i % 4 ? 0 : uqm_f32_of_f16(halves[i / 4]);
                if (dtypes[d] == UQM_F16)
                    ((uint16_t *) p.w)[i] = i % 4 ? 0 : halves[i / 4];
            }
            if (dtypes[d] != UQM_F16)
                uqm_narrow(&kernels, p.w, dtypes[d], p.wide, (size_t) N * 4);
            uqm_widen(&kernels, p.wide, p.w, dtypes[d], (size_t) N * 4);
            for (size_t i = 0; i < 4 * p.ldx; i++)
                p.x[i] = i % p.ldx == 0;
            assert_ok(f.ops->upload(f.device, p.dx.place, p.x, 4 * p.ldx, &err), err);
            const struct uqm_linear args = linear_of(&p, false);
            float *got = run_once(&f, &p, &args);
            for (size_t i = 0; i < (size_t) 4 * N; i++) {
                float want = p.wide[i % N * 4], y = got[i / N * p.ldy + i % N];
                /* two products a weight: what is not finite may become NaN */
                const bool lost = f.vk->limits.coop_f16 && !isfinite(want) && !isfinite(y);
                if (!(y == want || (isnan(y) && isnan(want)) || lost))
                    fail_msg("%s weight %zu came out as %.9g, not %.9g", uqm_dtype_name(dtypes[d]),
                             i % N, (double) y, (double) want);
            }
            free(got);
            product_finish(&f, &p);
        }
    }
    vk_fixture_close(&f);
}

/* One row alone, nine rows, the nine in another order: the same bits. */
static void a_row_does_not_know_its_batch(void **state)
{
    (void) state;
    const struct shape s = { 9, 100, 132 };
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    open_fast_or_skip(&f);
    for (int mode = 0; mode < 3; mode++) { /* default, skinny, fast */
        struct product p = product_make(&f, s, UQM_F16, UQM_EPI_STORE, true, true, 9);
        struct uqm_linear args = linear_of(&p, mode == 1);
        f.device->fast = mode == 2;
        float *nine = run_once(&f, &p, &args);
        for (size_t r = 0; r < s.m; r++) /* row r of x to place 4 r + 2 mod 9 */
            assert_ok(f.ops->upload(f.device, uqm_place_add(args.x, (4 * r + 2) % s.m * p.ldx),
                                    p.x + r * p.ldx, p.ldx, &err),
                      err);
        assert_ok(f.ops->linear(f.device, &args, &err), err);
        float *shuffled = vk_array_get(&f, &p.dy);
        for (size_t r = 0; r < s.m; r++)
            assert_memory_equal(shuffled + (4 * r + 2) % s.m * p.ldy, nine + r * p.ldy,
                                s.n * sizeof *nine);
        args.m = 1;
        for (size_t r = 0; r < s.m; r += 4) {
            assert_ok(f.ops->upload(f.device, args.x, p.x + r * p.ldx, p.ldx, &err), err);
            assert_ok(f.ops->linear(f.device, &args, &err), err);
            float *alone = vk_array_get(&f, &p.dy);
            assert_memory_equal(alone, nine + r * p.ldy, s.n * sizeof *nine);
            free(alone);
        }
        free(nine);
        free(shuffled);
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

static void cut_in_pieces(struct shape s, bool fast)
{
    struct uqm_err err = { 0 };
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    if (fast)
        assert_ok(f.ops->make_fast(f.device, &err), err);
    struct product p = product_make(&f, s, fast ? UQM_F16 : UQM_BF16, UQM_EPI_ADD, true, true, 21);
    const struct uqm_linear args = linear_of(&p, false);
    vk_fixture_reserve(&f, &needs);
    f.vk->core->work_limit = f.vk->core->work_ceiling = UINT64_MAX;
    const uint64_t before = f.vk->core->n_dispatches;
    float *whole = run_once(&f, &p, &args);
    assert_int_equal(f.vk->core->n_dispatches - before, fast ? 2 : 1);

    f.vk->core->work_limit = f.vk->core->work_ceiling = 1000000;
    float *pieces = run_once(&f, &p, &args);
    assert_true(f.vk->core->n_dispatches - before > 5);
    assert_memory_equal(pieces, whole, s.m * p.ldy * sizeof *whole);
    free(pieces);
    f.ops->release(f.device);

    const struct uqm_device_needs small = { .tile_bytes = 4000, .tile_elem = 2000, .max_k = 132 };
    f.vk->limits.max_range = 64 << 10;
    vk_fixture_reserve(&f, &small);
    pieces = run_once(&f, &p, &args);
    assert_memory_equal(pieces, whole, s.m * p.ldy * sizeof *whole);
    free(pieces);
    free(whole);
    product_finish(&f, &p);
    vk_fixture_close(&f);
}

/* Slots of a few rows of W, bindings of a few rows of x, dispatches of few of both: the same bits
 * as in one piece. */
static void cutting_changes_no_bit(void **state)
{
    (void) state;
    const struct shape s = { 300, 200, 132 };
    for (int fast = 0; fast < 2; fast++)
        cut_in_pieces(s, fast);
}

/* The winner is kept, gives the table's bits, and is not looked for a second time, which the number
 * of dispatches tells: a slow machine must not cut them up. */
static void the_tuner_changes_no_bit(void **state)
{
    (void) state;
    const struct shape s = { 70, 1030, 1024 };
    struct vk_fixture f;
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    f.vk->limits.coop_f16 = false; /* they go by the table */
    struct uqm_vk_cache *cache = &f.vk->core->cache;
    struct product p = product_make(&f, s, UQM_F16, UQM_EPI_ADD, true, true, 31);
    const struct uqm_linear args = linear_of(&p, false);
    cache->n_tuned = 0;
    f.vk->core->work_limit = f.vk->core->work_ceiling = UINT64_MAX;
    vk_fixture_reserve(&f, &needs);
    setenv("UQMERGE_VK_TUNE", "0", 1);
    float *table = run_once(&f, &p, &args);
    assert_int_equal(cache->n_tuned, 0);
    setenv("UQMERGE_VK_TUNE", "1", 1);
    for (int again = 0; again < 2; again++) {
        const uint64_t before = f.vk->core->n_dispatches;
        float *tuned = run_once(&f, &p, &args);
        assert_int_equal(cache->n_tuned, 1);
        const uint64_t dispatches = f.vk->core->n_dispatches - before;
        assert_true(again ? dispatches == 1 : dispatches >= 8);
        assert_memory_equal(tuned, table, s.m * p.ldy * sizeof *table);
        free(tuned);
    }
    /* a choice that this program does not know: the table's */
    cache->tuned[0].value = UINT32_MAX;
    float *unknown = run_once(&f, &p, &args);
    assert_memory_equal(unknown, table, s.m * p.ldy * sizeof *table);
    unsetenv("UQMERGE_VK_TUNE");
    free(unknown);
    free(table);
    cache->n_tuned = 0;
    product_finish(&f, &p);
    vk_fixture_close(&f);
}

/* ---- the mode `fast` ---- */

/* x as the product is to take it: each row's largest finite number goes to [2^14, 2^15), and all
 * are rounded to F16 there, nearest even. In double, by no code of the library. */
static void round_x(struct product *p)
{
    for (size_t r = 0; r < p->s.m; r++) {
        float *x = p->x + r * p->ldx;
        double most = 0;
        int top = 15;
        for (size_t j = 0; j < p->s.k; j++)
            if (isfinite(x[j]))
                most = fmax(most, fabs((double) x[j]));
        frexp(most, &top);
        for (size_t j = 0; j < p->s.k; j++) {
            int e;
            const double v = ldexp((double) x[j], 15 - top);
            if (!isfinite(v) || most == 0)
                continue;
            frexp(v, &e);
            const int last = e - 11 > -24 ? e - 11 : -24;
            x[j] = (float) ldexp(nearbyint(ldexp(v, -last)), last + top - 15);
        }
    }
}

/* Of the rounded x to f32's own bound, of x itself within half of 2^-10. */
static void every_fast_kernel_agrees_with_double(void **state)
{
    (void) state;
    static const struct shape shapes[] = {
        { 70, 130, 68 }, { 1, 1, 1 },    { 7, 63, 65 },   { 65, 67, 129 }, { 9, 129, 7 },
        { 63, 65, 64 },  { 3, 4097, 8 }, { 4097, 5, 12 }, { 5, 9, 4097 },  { 17, 70, 68 },
        { 17, 70, 68 },  { 17, 70, 68 }, { 17, 70, 68 },  { 17, 70, 68 },  { 17, 70, 68 },
    };
    struct vk_fixture f;
    open_fast_or_skip(&f);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        if (vk_left_out(s, 15))
            continue;
        const bool quads = s % 2;
        struct product p =
            product_make(&f, shapes[s], UQM_F16, UQM_EPI_STORE, false, quads, s + 200);
        p.slack = 0x1p-11;
        run_kernels(&f, &p, false, s);
        round_x(&p);
        p.slack = 0;
        run_kernels(&f, &p, false, s);
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

static void every_epilogue_takes_fast_products(void **state)
{
    (void) state;
    struct vk_fixture f;
    open_fast_or_skip(&f);
    for (unsigned c = 0; c < 5; c++) {
        if (vk_left_out(c, 4))
            continue;
        struct product p = product_make(&f, (struct shape){ 19, 77, 36 }, UQM_F16,
                                        (enum uqm_epilogue) c, c % 2, true, c + 300);
        const struct uqm_linear args = linear_of(&p, false);
        round_x(&p);
        float *got = run_once(&f, &p, &args);
        check_product(&p, got, "chosen fast");
        free(got);
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

/* What F16 cannot hold by itself: beyond 65504, below its subnormals, rows that are nothing but
 * that. And rows with what is no number. */
static void fast_rows_keep_their_range(void **state)
{
    (void) state;
    enum { M = 12, K = 40 };
    static const float scales[M] = { 1,     65504,  68706,     1e30f, 0x1p100f, 1e-5f,
                                     1e-8f, 1e-30f, 0x1p-126f, 0,     1,        1 };
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    open_fast_or_skip(&f);
    struct product p =
        product_make(&f, (struct shape){ M, 21, K }, UQM_F16, UQM_EPI_STORE, false, true, 310);
    for (size_t i = 0; i < (size_t) M * p.ldx; i++)
        p.x[i] *= scales[i / p.ldx];
    p.x[2 * p.ldx + 3] = -68706.0f;
    p.x[10 * p.ldx + 17] = NAN;
    p.x[11 * p.ldx + 39] = INFINITY;
    const struct uqm_linear args = linear_of(&p, false);
    assert_ok(f.ops->upload(f.device, args.x, p.x, M * p.ldx, &err), err);
    round_x(&p);
    assert_true(p.x[2 * p.ldx + 3] == -68736.0f); /* to a multiple of 2^6 */
    float *got = run_once(&f, &p, &args);
    p.s.m = 8; /* what is below is smaller than check_product's absolute part */
    check_product(&p, got, "fast");
    for (size_t i = 0; i < p.s.n; i++) {
        double want = 0, size = 0;
        for (size_t j = 0; j < K; j++) {
            const double t = (double) p.x[7 * p.ldx + j] * (double) p.wide[i * K + j];
            want += t;
            size += fabs(t);
        }
        assert_true(fabs((double) got[7 * p.ldy + i] - want) <= 7 * 0x1p-24 * size);
        assert_true(got[9 * p.ldy + i] == 0);
        assert_true(isnan(got[10 * p.ldy + i]));
        assert_true(!isfinite(got[11 * p.ldy + i]));
        for (size_t r = 0; r < 10; r++)
            assert_true(isfinite(got[r * p.ldy + i]));
    }
    free(got);
    product_finish(&f, &p);
    vk_fixture_close(&f);
}

/* Weights of other types, and skinny products, are the default's to the bit. */
static void what_is_not_fast_is_the_default(void **state)
{
    (void) state;
    struct vk_fixture f;
    open_fast_or_skip(&f);
    for (size_t c = 0; c < 4; c++) { /* F16 skinny, BF16, F32, F16 */
        const enum uqm_dtype dtype = dtypes[c % 3];
        struct product p = product_make(&f, (struct shape){ 9, 40, 68 }, dtype, UQM_EPI_STORE,
                                        false, true, c + 320);
        const struct uqm_linear args = linear_of(&p, c == 0);
        float *fast = run_once(&f, &p, &args);
        f.device->fast = false;
        float *plain = run_once(&f, &p, &args);
        f.device->fast = true;
        assert_int_equal(memcmp(fast, plain, p.s.m * p.ldy * sizeof *fast) != 0, c == 3);
        free(fast);
        free(plain);
        product_finish(&f, &p);
    }
    vk_fixture_close(&f);
}

static void four_bindings_are_enough_for_a_residual_with_a_bias(void **state)
{
    (void) state;
    struct vk_fixture f;
    struct uqm_err err = { 0 };
    if (!vk_fixture_open(&f, NULL))
        test_skip("no Vulkan device");
    f.vk->limits.max_bindings = 4;
    vk_fixture_reserve(&f, &needs);
    struct product p =
        product_make(&f, (struct shape){ 20, 30, 40 }, UQM_F16, UQM_EPI_ADD, true, true, 3);
    struct uqm_linear args = linear_of(&p, false);
    float *got = run_once(&f, &p, &args);
    check_product(&p, got, "four bindings");
    free(got);
    args.epilogue = UQM_EPI_SILU_MUL;
    assert_fails(f.ops->linear(f.device, &args, &err), err, UQM_ERR_UNSUPPORTED, "binds 4 buffers");
    product_finish(&f, &p);
    vk_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_agrees_with_double),
        cmocka_unit_test(every_kernel_takes_every_type),
        cmocka_unit_test(what_is_no_number_stays_in_its_row),
        cmocka_unit_test(every_type_and_epilogue_agrees_with_double),
        cmocka_unit_test(odd_weights_come_through),
        cmocka_unit_test(a_row_does_not_know_its_batch),
        cmocka_unit_test(cutting_changes_no_bit),
        cmocka_unit_test(the_tuner_changes_no_bit),
        cmocka_unit_test(every_fast_kernel_agrees_with_double),
        cmocka_unit_test(every_epilogue_takes_fast_products),
        cmocka_unit_test(fast_rows_keep_their_range),
        cmocka_unit_test(what_is_not_fast_is_the_default),
        cmocka_unit_test(four_bindings_are_enough_for_a_residual_with_a_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
