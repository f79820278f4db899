#include "src/merge/plan.h"

#include <math.h>

#include "compute/kernels.h"
#include "compute/threads.h"
#include "tests/unit/merge/merge_test.h"

/* A recipe of golden/merge, its models looked up there. */
static struct uqm_recipe *golden_recipe(const char *name)
{
    char *text;
    size_t len;
    char path[256];
    struct uqm_err err = { 0 };
    snprintf(path, sizeof path, "golden/merge/recipes/%s.yml", name);
    assert_ok(uqm_read_file(&text, &len, data_path(path), 1 << 16, &err), err);
    struct uqm_recipe *r = make_recipe(data_path("golden/merge/x.yml"), text);
    free(text);
    return r;
}

static struct uqm_source *open_in(enum uqm_numerics numerics, struct uqm_env *env,
                                  const struct uqm_recipe *r)
{
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    struct uqm_open_params params = { .numerics = numerics };
    assert_ok(uqm_recipe_open(&s, env, r, &params, &err), err);
    return s;
}

static struct uqm_source *open_recipe(struct uqm_env *env, const struct uqm_recipe *r)
{
    return open_in(UQM_NUMERICS_ACCURATE, env, r);
}

static void assert_same_tensors(struct uqm_source *a, struct uqm_source *b, size_t tile_bytes)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    uint8_t **x = read_all(a, tile_bytes), **y = read_all(b, 1 << 16);
    for (size_t i = 0; i < a->n_tensors; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_int_equal(a->tensors[i].dtype, b->tensors[i].dtype);
        assert_int_equal(a->tensors[i].n_bytes, b->tensors[i].n_bytes);
        if (memcmp(x[i], y[i], a->tensors[i].n_bytes) != 0)
            fail_msg("tensor %s differs", a->tensors[i].name);
    }
    free_all(x, a->n_tensors);
    free_all(y, b->n_tensors);
}

static void compare_with_golden(struct uqm_recipe *r, const char *expected)
{
    struct uqm_env *env = test_env(256 << 20, 2);
    struct uqm_err err = { 0 };
    struct uqm_checkpoint *want = NULL;
    char path[256];
    snprintf(path, sizeof path, "golden/merge/expected/%s/model.safetensors", expected);
    struct uqm_checkpoint_params params = { .path = data_path(path) };
    assert_ok(uqm_checkpoint_open(&want, env, &params, &err), err);
    struct uqm_source *s = open_in(UQM_NUMERICS_MERGEKIT, env, r);
    assert_same_tensors(s, &want->source, 4096);
    assert_same_tensors(s, &want->source, 1 << 20);
    uqm_source_destroy(&s);
    uqm_checkpoint_close(&want);
    uqm_recipe_free(&r);
    assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
}

static void linear_merges_equal_mergekits_to_the_bit(void **state)
{
    (void) state;
    static const char *const names[] = {
        "linear-f32",    "linear-f16",      "linear-bf16",        "linear-uniform",
        "linear-nonorm", "linear-out-bf16", "linear-mixed-dtype",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        compare_with_golden(golden_recipe(names[i]), names[i]);
}

static void ramps_over_the_layers_equal_mergekits_to_the_bit(void **state)
{
    (void) state;
    compare_with_golden(make_recipe(data_path("golden/merge/x.yml"),
                                    "merge_method: linear\n"
                                    "models:\n"
                                    "  - model: models/a-f32\n"
                                    "    parameters: {weight: [1.0, 0.0]}\n"
                                    "  - model: models/c-f32\n"
                                    "    parameters: {weight: [0.0, 0.6, 1.0]}\n"
                                    "dtype: float32\n"),
                        "slices-linear-gradient");
}

static const char *const zoo_ten[] = { "reason", "know",    "knowmc",   "chat",   "ocr",
                                       "dense",  "general", "textonly", "region", "textcap" };

static struct uqm_recipe *zoo_recipe(const char *extra)
{
    char text[4096];
    size_t n = (size_t) snprintf(text, sizeof text, "merge_method: linear\nmodels:\n");
    for (size_t i = 0; i < 10; i++)
        n += (size_t) snprintf(text + n, sizeof text - n,
                               "  - model: models/%s\n    parameters: {weight: 1}\n", zoo_ten[i]);
    snprintf(text + n, sizeof text - n, "%s", extra);
    return make_recipe(zoo_path("ten.yml"), text);
}

/* double to f16, nearest even, written apart from the library's own rounding. */
static uint16_t f16_of_double(double x)
{
    uint16_t sign = (uint16_t) (__builtin_signbit(x) ? 0x8000 : 0);
    x = __builtin_fabs(x);
    assert_true(x < 65520);
    int e;
    __builtin_frexp(x, &e); /* x = m * 2^e, m in [1/2, 1) */
    int ulp = e - 11 < -24 ? -24 : e - 11;
    double q = __builtin_ldexp(x, -ulp), low = __builtin_floor(q), rest = q - low;
    if (rest > 0.5 || (rest == 0.5 && __builtin_fmod(low, 2) != 0))
        low += 1;
    x = __builtin_ldexp(low, ulp);
    if (x == 0)
        return sign;
    __builtin_frexp(x, &e);
    if (e < -13) /* subnormal */
        return (uint16_t) (sign | (uint16_t) __builtin_ldexp(x, 24));
    double mantissa = __builtin_ldexp(x, 11 - e) - 1024;
    return (uint16_t) (sign | (unsigned) (e + 14) << 10 | (unsigned) mantissa);
}

static void every_element_of_the_zoos_ten_is_the_f64_mean_rounded_once(void **state)
{
    (void) state;
    struct uqm_env *env = test_env(256 << 20, 2);
    struct uqm_err err = { 0 };
    struct uqm_recipe *r = zoo_recipe("");
    struct uqm_source *s = open_recipe(env, r);
    struct uqm_checkpoint *in[10] = { NULL };
    uint8_t **data[10], **merged = read_all(s, 1 << 20);
    size_t n_merged = 0, n_copied = 0;

    for (size_t k = 0; k < 10; k++) {
        char path[64];
        snprintf(path, sizeof path, "models/%s", zoo_ten[k]);
        struct uqm_checkpoint_params params = { .path = zoo_path(path) };
        assert_ok(uqm_checkpoint_open(&in[k], env, &params, &err), err);
        assert_int_equal(in[k]->source.n_tensors, s->n_tensors);
        data[k] = read_all(&in[k]->source, 1 << 20);
    }
    for (size_t i = 0; i < s->n_tensors; i++) {
        const uint16_t *got = (const uint16_t *) (const void *) merged[i];
        assert_int_equal(s->tensors[i].dtype, UQM_F16);
        for (size_t e = 0; e < s->tensors[i].n_elem; e++) {
            double sum = 0;
            for (size_t k = 0; k < 10; k++) {
                assert_string_equal(in[k]->source.tensors[i].canonical, s->tensors[i].canonical);
                sum += (double) uqm_f32_of_f16(((const uint16_t *) (const void *) data[k][i])[e]);
            }
            if (s->tensors[i].part == UQM_PART_VISION) {
                assert_int_equal(got[e], ((const uint16_t *) (const void *) data[0][i])[e]);
                n_copied++;
            } else {
                if (got[e] != f16_of_double(sum / 10))
                    fail_msg("%s, element %zu: %04x, not %04x", s->tensors[i].name, e, got[e],
                             f16_of_double(sum / 10));
                n_merged++;
            }
        }
    }
    assert_int_equal(n_merged, 1496960);
    assert_true(n_copied > 0);
    for (size_t k = 0; k < 10; k++) {
        free_all(data[k], s->n_tensors);
        uqm_checkpoint_close(&in[k]);
    }
    free_all(merged, s->n_tensors);
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
}

static void tile_size_and_threads_change_no_byte(void **state)
{
    (void) state;
    struct uqm_env *env = test_env(256 << 20, 3);
    struct uqm_err err = { 0 };
    struct uqm_recipe *r = zoo_recipe("dtype: bfloat16\nout_dtype: float32\n"
                                      "parameters: {normalize: false}\n");
    struct uqm_source *s = open_recipe(env, r);
    struct uqm_threads *threads = NULL;
    assert_ok(uqm_threads_create(&threads, 3, &err), err);
    uint8_t **a = read_all(s, 1 << 20), **b = NULL;
    static const size_t tiles[] = { 1028, 65536, 300000 };
    for (size_t k = 0; k < 3; k++) {
        assert_ok(try_read_all(&b, s, threads, tiles[k], &err), err);
        for (size_t i = 0; i < s->n_tensors; i++)
            assert_memory_equal(a[i], b[i], s->tensors[i].n_bytes);
        free_all(b, s->n_tensors);
    }
    free_all(a, s->n_tensors);
    uqm_threads_destroy(&threads);
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
}

/* --- methods with statistics over whole tensors --- */

static const struct {
    const char *name, *params; /* of every model */
    const char *settings;
    size_t n_models;
} statistical[] = {
    { "ties", "weight: .4, density: .3", "rescale: true", 3 },
    { "dare_ties", "weight: .4, density: .3", "rescale: true", 3 },
    { "della_linear", "weight: .4, density: .3, epsilon: .2", "rescale: true", 3 },
    { "breadcrumbs", "weight: .4, density: .3, gamma: .05", "rescale: true", 3 },
    { "model_stock", "", "filter_wise: false", 3 },
    { "sce", "", "select_topk: .3", 3 },
    { "slerp", "", "t: .3", 1 },
    { "nuslerp", "weight: .4", "nuslerp_flatten: false", 2 },
    { "multislerp", "weight: .4", "eps: 1.0e-8", 3 },
    { "karcher", "", "max_iter: 3", 3 },
    { "arcee_fusion", "", "x: 1", 1 },
};

/* ThreadSanitizer is after threads, and slow: some of the methods show it as many. */
#ifdef __SANITIZE_THREAD__
enum { STEP = 4 };
#else
enum { STEP = 1 };
#endif

static struct uqm_recipe *statistical_recipe(size_t i)
{
    char text[2048];
    size_t n = (size_t) snprintf(text, sizeof text,
                                 "merge_method: %s\nbase_model: models/base\nparameters: {%s}\n"
                                 "dtype: bfloat16\nmodels:\n",
                                 statistical[i].name, statistical[i].settings);
    for (size_t k = 0; k < statistical[i].n_models; k++)
        n += (size_t) snprintf(text + n, sizeof text - n,
                               "  - {model: models/%s, parameters: {%s}}\n", zoo_ten[k],
                               statistical[i].params);
    return make_recipe(zoo_path("some.yml"), text);
}

static struct uqm_source *open_with(struct uqm_env *env, const struct uqm_recipe *r,
                                    enum uqm_numerics numerics)
{
    struct uqm_source *s = NULL;
    struct uqm_err err = { 0 };
    struct uqm_open_params params = { .numerics = numerics };
    assert_ok(uqm_recipe_open(&s, env, r, &params, &err), err);
    return s;
}

/* Read once or once a pass, in any tiles, on any threads, forgetting or not. */
static void whether_a_tensor_is_kept_changes_no_byte(void **state)
{
    (void) state;
    struct uqm_env *env = test_env(256 << 20, 3);
    struct uqm_err err = { 0 };
    struct uqm_threads *threads = NULL;
    assert_ok(uqm_threads_create(&threads, 3, &err), err);
    for (size_t i = 0; i < sizeof statistical / sizeof *statistical; i += STEP) {
        struct uqm_recipe *r = statistical_recipe(i);
        enum uqm_numerics numerics = i % 2 ? UQM_NUMERICS_MERGEKIT : UQM_NUMERICS_ACCURATE;
        struct uqm_source *s = open_with(env, r, numerics);
        uint8_t **kept = NULL, **again = NULL, **reread = NULL;
        uint64_t before = atomic_load(&env->bytes_read);
        assert_ok(try_read_all_in(&kept, s, threads, 1 << 16, 100 << 20, &err), err);
        uint64_t once = atomic_load(&env->bytes_read) - before;
        before += once;
        assert_ok(try_read_all(&again, s, NULL, 5000, &err), err); /* with what was found */
        assert_int_equal(atomic_load(&env->bytes_read) - before >= once, true);
        uqm_source_destroy(&s);

        s = open_with(env, r, numerics);
        uqm_recipe_source_of(s)->states_once = true;
        before = atomic_load(&env->bytes_read);
        assert_ok(try_read_all(&reread, s, threads, 12288, &err), err);
        assert_true(atomic_load(&env->bytes_read) - before > once);
        for (size_t k = 0; k < s->n_tensors; k++)
            if (memcmp(kept[k], again[k], s->tensors[k].n_bytes) != 0 ||
                memcmp(kept[k], reread[k], s->tensors[k].n_bytes) != 0)
                fail_msg("%s: tensor %s", statistical[i].name, s->tensors[k].name);
        free_all(kept, s->n_tensors);
        free_all(again, s->n_tensors);
        free_all(reread, s->n_tensors);
        uqm_source_destroy(&s);
        uqm_recipe_free(&r);
    }
    uqm_threads_destroy(&threads);
    assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
}

/* Rows of tensors here and there, as a network asks for. */
struct scattered {
    const struct uqm_source *source;
    size_t n;
    uint64_t random;
};

static int scattered_next(void *ctx, struct uqm_range *range)
{
    struct scattered *w = ctx;
    if (w->n-- == 0)
        return 0;
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    size_t i = (size_t) (w->random >> 33) % w->source->n_tensors;
    const struct uqm_tensor *t = &w->source->tensors[i];
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    uint64_t first = (w->random >> 20) % t->n_elem;
    uint64_t most = uqm_min_u64(t->n_elem - first, 700);
    *range = (struct uqm_range){ i, first, (size_t) most };
    return 1;
}

static void ranges_in_any_order_are_those_of_the_whole(void **state)
{
    (void) state;
    struct uqm_env *env = test_env(256 << 20, 2);
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 4; i += STEP) {
        struct uqm_recipe *r = statistical_recipe(i);
        for (int numerics = 0; numerics < 2; numerics++) {
            struct uqm_source *s = open_with(env, r, (enum uqm_numerics) numerics);
            struct uqm_tile_stream *stream = NULL;
            struct uqm_tile tile;
            uint8_t **all = read_all(s, 1 << 16);
            uqm_source_destroy(&s);
            s = open_with(env, r, (enum uqm_numerics) numerics);
            struct scattered w = { .source = s, .n = 150, .random = 1 };
            uint64_t memory = uqm_source_min_memory(s, 4096) + (numerics ? 8 << 20 : 0);
            assert_ok(uqm_source_open(&stream, s, NULL, 4096, memory, scattered_next, &w, &err),
                      err);
            size_t n = 0;
            while (uqm_tile_next(stream, &tile, &err) > 0) {
                size_t size = uqm_dtype_bits(s->tensors[tile.range.tensor].dtype) / 8;
                assert_memory_equal(
                    tile.data, all[tile.range.tensor] + tile.range.first_elem * size, tile.n_bytes);
                uqm_tile_release(stream, &tile);
                n++;
            }
            assert_int_equal(n, 150);
            uqm_tile_stream_destroy(&stream);
            free_all(all, s->n_tensors);
            uqm_source_destroy(&s);
        }
        uqm_recipe_free(&r);
    }
    assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
}

static void too_little_memory_is_refused_before_reading(void **state)
{
    (void) state;
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    struct uqm_recipe *r = zoo_recipe("");
    struct uqm_source *s = open_recipe(env, r);
    struct uqm_tile_stream *stream = NULL;
    struct walk_all w = { .source = s, .tile_bytes = 4 << 20 };
    assert_fails(uqm_source_open(&stream, s, NULL, 4 << 20, 64 << 20, walk_next, &w, &err), err,
                 UQM_ERR_NOMEM, "merging 10 models");
    assert_null(stream);
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
}

static void buffers_that_differ_are_named_while_they_stream(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    struct uqm_err err = { 0 };
    float w[4] = { 1, 2, 3, 4 }, inv_a[4] = { 1, 0.5F, 0.25F, 0.125F };
    float inv_b[4] = { 1, 0.5F, 0.25F, 0.126F };
    int64_t ids[2] = { 7, 8 };
    struct made_tensor a[] = {
        { "model.norm.weight", UQM_F32, 1, { 4 }, w },
        { "model.layers.0.self_attn.rotary_emb.inv_freq", UQM_F32, 1, { 4 }, inv_a },
        { "ids", UQM_I64, 1, { 2 }, ids },
        { "empty", UQM_F32, 2, { 0, 5 }, w },
    };
    struct made_tensor b[] = { a[0], a[1], a[2], a[3] };
    b[1].data = inv_b;
    make_model(dir, "a", NULL, a, 4);
    make_model(dir, "b", NULL, b, 4);
    make_model(dir, "c", NULL, a, 4);
    static const char text[] = "merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
                               "  - model: a\n  - model: %s\n";
    char yaml[256];
    snprintf(yaml, sizeof yaml, text, "c");
    struct uqm_recipe *r = make_recipe(in_dir(dir, "r.yml"), yaml);
    struct uqm_source *s = open_recipe(env, r);
    uint8_t **all = read_all(s, 64);
    assert_memory_equal(all[uqm_source_find(s, "ids")], ids, sizeof ids);
    free_all(all, s->n_tensors);
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);

    snprintf(yaml, sizeof yaml, text, "b");
    r = make_recipe(in_dir(dir, "r.yml"), yaml);
    s = open_recipe(env, r);
    assert_fails(try_read_all(&all, s, NULL, 64, &err), err, UQM_ERR_FORMAT,
                 "rotary_emb.inv_freq: a and b differ from byte 12 on");
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
    test_rm(dir);
}

/* merge.md 3.3 */
static const uint16_t vector_a[8] = {
    0x3F88, 0xBF08, 0x3EB3, 0x3FE6, 0xBF9A, 0x3E0A, 0x3F2E, 0xBD70
};
static const uint16_t vector_b[8] = {
    0x3F7B, 0xBEE6, 0x3EB8, 0x3FEF, 0xBFAD, 0x3DE7, 0x3F54, 0xBD67
};
static const uint16_t vector_c[8] = {
    0x3F84, 0xBF0F, 0x3E24, 0x3FE0, 0xBFCD, 0x3E14, 0x3F4A, 0xBD86
};

static void the_specs_test_vectors_come_out(void **state)
{
    (void) state;
    static const uint16_t normalised[8] = { 0x3F82, 0xBEFF, 0x3EA1, 0x3FE9,
                                            0xBFAE, 0x3E01, 0x3F46, 0xBD72 };
    static const uint16_t plain[8] = { 0x3F77, 0xBEF2, 0x3E99, 0x3FDD,
                                       0xBFA5, 0x3DF6, 0x3F3C, 0xBD66 };
    char *dir = test_mkdtemp();
    struct uqm_env *env = test_env(64 << 20, 1);
    const uint16_t *const in[3] = { vector_a, vector_b, vector_c };
    for (int k = 0; k < 3; k++) {
        struct made_tensor t = { "w", UQM_BF16, 2, { 2, 4 }, in[k] };
        char name[2] = { (char) ('a' + k), 0 };
        make_model(dir, name, NULL, &t, 1);
    }
    for (int normalize = 0; normalize < 2; normalize++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml,
                 "merge_method: linear\nmodels:\n"
                 "  - {model: a, parameters: {weight: .3}}\n"
                 "  - {model: b, parameters: {weight: .45}}\n"
                 "  - {model: c, parameters: {weight: .2}}\n"
                 "parameters: {normalize: %s}\n",
                 normalize ? "true" : "false");
        struct uqm_recipe *r = make_recipe(in_dir(dir, "r.yml"), yaml);
        struct uqm_source *s = open_recipe(env, r);
        uint8_t **all = read_all(s, 16);
        assert_memory_equal(all[0], normalize ? normalised : plain, 16);
        free_all(all, s->n_tensors);
        uqm_source_destroy(&s);
        uqm_recipe_free(&r);
    }
    test_rm(dir);
}

/* Element i of a tile's mixture as it would be stored. */
static void assert_element(const struct uqm_tile *tile, enum uqm_dtype dtype, size_t i,
                           const uint8_t *want, const char *name)
{
    struct uqm_kernels k;
    uint16_t half;
    uqm_kernels_init(&k, 0);
    const float f = uqm_mix_element(tile->mix, dtype, i);
    uqm_narrow(&k, &half, dtype, &f, dtype == UQM_F32 ? 0 : 1);
    if (memcmp(dtype == UQM_F32 ? (const void *) &f : &half, want + i * uqm_dtype_bytes(dtype, 1),
               (size_t) uqm_dtype_bytes(dtype, 1)) != 0)
        fail_msg("tensor %s: element %zu of the tile at %llu", name, i,
                 (unsigned long long) tile->range.first_elem);
}

/* Every other mixture is made by the stream after all. Returns how many there were, *n_cut of them
 * not in one piece. */
static size_t check_deferred(size_t *n_cut, struct uqm_source *s, uint8_t **whole, size_t more)
{
    enum { TILE = 5000 };
    struct walk_all w = { .source = s, .tile_bytes = TILE };
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    struct uqm_err err = { 0 };
    size_t n_mixes = 0;
    int ret = uqm_source_open(&stream, s, NULL, TILE, uqm_source_min_memory(s, TILE) + more,
                              walk_next, &w, &err);
    assert_ok(ret, err);
    *n_cut = 0;
    uqm_tile_defer(stream);
    while ((ret = uqm_tile_next(stream, &tile, &err)) == 1) {
        const struct uqm_tensor *t = &s->tensors[tile.range.tensor];
        const uint8_t *want =
            whole[tile.range.tensor] + uqm_dtype_bytes(t->dtype, tile.range.first_elem);
        const bool deferred = tile.mix;
        assert_true(deferred == !tile.data);
        *n_cut += deferred && tile.mix->run_elem > 0;
        if (deferred && n_mixes++ % 2)
            for (size_t i = 0; i < tile.range.n_elem; i++)
                assert_element(&tile, t->dtype, i, want, t->name);
        else
            uqm_tile_settle(stream, &tile);
        if (tile.data)
            assert_memory_equal(tile.data, want, tile.n_bytes);
        uqm_tile_release(stream, &tile);
    }
    assert_ok(ret, err);
    uqm_tile_stream_destroy(&stream);
    return n_mixes;
}

/* Once with those tensors kept that have passes, and once more when what these find is known, so
 * that ranges are read. Returns how many mixtures there were that did not lie in one piece. */
static size_t defer_all(const struct uqm_recipe *r, enum uqm_numerics numerics, bool defers,
                        const char *name)
{
    struct uqm_env *env = test_env(256 << 20, 2);
    struct uqm_source *s = open_in(numerics, env, r);
    uint8_t **whole = read_all(s, 1 << 16);
    size_t n_cut = 0, none;
    uqm_source_destroy(&s);
    s = open_in(numerics, env, r);
    if ((s->gives_mixes != UQM_MIXES_NONE) != defers)
        fail_msg("%s gives mixtures or none", name);
    const size_t n = check_deferred(&n_cut, s, whole, 8 << 20);
    const size_t n_again = check_deferred(&none, s, whole, 0);
    if ((n > 1) != defers || n != n_again || none > 0)
        fail_msg("%s: %zu mixtures, then %zu, %zu of them cut", name, n, n_again, none);
    free_all(whole, s->n_tensors);
    uqm_source_destroy(&s);
    assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
    return n_cut;
}

static void a_deferred_tile_is_the_mixture_that_the_merge_would_have_been(void **state)
{
    (void) state;
    static const struct {
        const char *recipe;
        enum uqm_numerics numerics;
        bool defers;
    } cases[] = {
        { "linear-f16", UQM_NUMERICS_ACCURATE, true },
        { "linear-bf16", UQM_NUMERICS_ACCURATE, true },
        { "linear-nonorm", UQM_NUMERICS_ACCURATE, true },
        { "linear-uniform", UQM_NUMERICS_MERGEKIT, false },
        { "task_arithmetic-bf16", UQM_NUMERICS_ACCURATE, true },
        { "task_arithmetic-lambda", UQM_NUMERICS_ACCURATE, true },
        { "ties-f16", UQM_NUMERICS_ACCURATE, true },
        { "ties-filters", UQM_NUMERICS_ACCURATE, true },
        { "ties-count", UQM_NUMERICS_ACCURATE, true },
        { "ties-bf16", UQM_NUMERICS_MERGEKIT, false },
        { "dare_ties-d1", UQM_NUMERICS_ACCURATE, true },
        { "breadcrumbs", UQM_NUMERICS_ACCURATE, true },
        { "breadcrumbs_ties", UQM_NUMERICS_ACCURATE, true },
        { "della-d1", UQM_NUMERICS_ACCURATE, false },
        { "sce", UQM_NUMERICS_ACCURATE, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_recipe *r = golden_recipe(cases[i].recipe);
        defer_all(r, cases[i].numerics, cases[i].defers, cases[i].recipe);
        uqm_recipe_free(&r);
    }
}

/* Differences to the base of few sizes, many of them 0; in "x" some elements are no numbers, so
 * that what is rescaled has no mixture. */
static void make_sparse_models(const char *dir, const char *dtype_name, enum uqm_dtype dtype)
{
    enum { N = 3 * 6701 };
    static float x[N];
    static uint32_t stored[2][N];
    struct uqm_kernels kernels;
    uqm_kernels_init(&kernels, 0);
    for (uint32_t k = 0; k < 4; k++) {
        for (uint32_t e = 0; e < N; e++) {
            const uint32_t h = (e + 1) * 2654435761U ^ (e * 7 + k) * 40503U << 11;
            const float size = (float) (h >> 9 & 7) - (float) (h >> 13 & 7);
            x[e] = (float) (e % 61) * 0.0625f + (k == 0 ? 0 : size * 0.03125f);
        }
        uqm_narrow(&kernels, stored[0], dtype, x, N);
        for (uint32_t e = k; e < N; e += 997)
            x[e] = e % 2 ? NAN : -INFINITY;
        uqm_narrow(&kernels, stored[1], dtype, x, N);
        const struct made_tensor t[] = { { "w", dtype, 2, { 3, 6701 }, stored[0] },
                                         { "x", dtype, 2, { 6701, 3 }, stored[1] } };
        char name[16];
        snprintf(name, sizeof name, "%c-%s", "zabc"[k], dtype_name);
        make_model(dir, name, NULL, t, 2);
    }
}

static void a_deferred_tile_of_a_sparse_merge_has_what_the_passes_found(void **state)
{
    (void) state;
    static const char *const methods[] = { "ties", "dare_ties", "dare_linear", "breadcrumbs",
                                           "breadcrumbs_ties" };
    static const char *const densities[] = { "0", "0.0001", "0.37", "1" };
    static const struct {
        const char *name, *long_name;
        enum uqm_dtype dtype;
    } types[] = { { "f16", "float16", UQM_F16 },
                  { "bf16", "bfloat16", UQM_BF16 },
                  { "f32", "float32", UQM_F32 } };
    char *dir = test_mkdtemp();
    size_t n_cut = 0;
    for (size_t i = 0; i < 3; i++)
        make_sparse_models(dir, types[i].name, types[i].dtype);
    for (size_t i = 0; i < 2 * 5 * 4; i += STEP) {
        const char *method = methods[i / 2 % 5], *density = densities[i / 10];
        const char *type = types[i % 3].name;
        char text[1024];
        snprintf(text, sizeof text,
                 "merge_method: %s\nbase_model: z-%s\n"
                 "parameters: {rescale: %s, normalize: %s, lambda: 0.9}\nmodels:\n"
                 "  - {model: a-%s, parameters: {weight: .4, density: %s}}\n"
                 "  - {model: b-%s, parameters: {weight: -.3, density: .5}}\n"
                 "  - {model: c-%s, parameters: {weight: .9, density: %s}}\n"
                 "dtype: %s\n",
                 method, type, i % 2 ? "true" : "false", i % 5 ? "true" : "false", type, density,
                 type, type, density, types[i % 3].long_name);
        struct uqm_recipe *r = make_recipe(in_dir(dir, "r.yml"), text);
        n_cut += defer_all(r, UQM_NUMERICS_ACCURATE, true, text);
        uqm_recipe_free(&r);
    }
    assert_true(n_cut > 40);
    test_rm(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_merges_equal_mergekits_to_the_bit),
        cmocka_unit_test(ramps_over_the_layers_equal_mergekits_to_the_bit),
        cmocka_unit_test(the_specs_test_vectors_come_out),
        cmocka_unit_test(every_element_of_the_zoos_ten_is_the_f64_mean_rounded_once),
        cmocka_unit_test(tile_size_and_threads_change_no_byte),
        cmocka_unit_test(whether_a_tensor_is_kept_changes_no_byte),
        cmocka_unit_test(ranges_in_any_order_are_those_of_the_whole),
        cmocka_unit_test(too_little_memory_is_refused_before_reading),
        cmocka_unit_test(a_deferred_tile_is_the_mixture_that_the_merge_would_have_been),
        cmocka_unit_test(a_deferred_tile_of_a_sparse_merge_has_what_the_passes_found),
        cmocka_unit_test(buffers_that_differ_are_named_while_they_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
