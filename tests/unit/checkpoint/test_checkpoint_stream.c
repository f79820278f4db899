#include "src/checkpoint/checkpoint_stream.h"

#include "tests/unit/checkpoint/checkpoint_test.h"

/* Ranges from a list. */
struct list {
    const struct uqm_range *ranges;
    size_t n, next;
};

static int next_of_list(void *ctx, struct uqm_range *range)
{
    struct list *l = ctx;
    if (l->next == l->n)
        return 0;
    *range = l->ranges[l->next++];
    return 1;
}

/* Ranges of every tensor in turn. */
static int next_of_all(void *ctx, struct uqm_range *range)
{
    struct uqm_tensor_walk *w = ctx;
    for (; w->tensor < w->source->n_tensors; w->tensor++, w->first_elem = 0)
        if (uqm_tensor_walk_next(w, range))
            return 1;
    return 0;
}

static void read_all(const char *path, enum uqm_io_kind io, size_t tile_bytes)
{
    struct uqm_checkpoint *cp = NULL;
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(TEST_MEMORY, 1);
    struct uqm_checkpoint_params params = { .path = path };
    uint64_t n_read = 0, n_total = 0;
    uint8_t *expected = malloc(tile_bytes);
    int ret;

    env->io = io;
    assert_non_null(expected);
    assert_ok(uqm_checkpoint_open(&cp, env, &params, &err), err);
    struct uqm_source *s = &cp->source;
    struct uqm_tensor_walk walk = { .source = s, .tile_bytes = tile_bytes };
    assert_ok(uqm_source_open(&stream, s, NULL, tile_bytes, uqm_source_min_memory(s, tile_bytes),
                              next_of_all, &walk, &err),
              err);
    while ((ret = uqm_tile_next(stream, &tile, &err)) > 0) {
        const struct uqm_tensor *t = &s->tensors[tile.range.tensor];
        const struct uqm_location *at = &cp->locations[tile.range.tensor];
        size_t bytes = uqm_dtype_bits(t->dtype) / 8;
        assert_int_equal(tile.n_bytes, tile.range.n_elem * bytes);
        assert_true(tile.n_bytes <= tile_bytes);
        assert_ok(uqm_file_read(cp->files[at->file], expected, tile.n_bytes,
                                at->off_bytes + tile.range.first_elem * bytes, &err),
                  err);
        assert_memory_equal(tile.data, expected, tile.n_bytes);
        n_read += tile.n_bytes;
        uqm_tile_release(stream, &tile);
    }
    assert_ok(ret, err);
    for (size_t i = 0; i < s->n_tensors; i++)
        n_total += s->tensors[i].n_bytes;
    assert_true(n_read == n_total);
    assert_true(atomic_load(&env->bytes_read) == n_total);
    uqm_tile_stream_destroy(&stream);
    assert_null(stream);
    assert_int_equal(atomic_load(&env->budget.used_bytes), 0);
    uqm_checkpoint_close(&cp);
    free(expected);
}

static void tiles_hold_the_bytes_of_the_files(void **state)
{
    (void) state;
    read_all(zoo_path("models/knowmc"), UQM_IO_AUTO, 4096);
    read_all(zoo_path("models/knowmc"), UQM_IO_PREAD, 100000);
    read_all(zoo_path("models/textonly"), UQM_IO_AUTO, 1 << 20);
    read_all(zoo_path("models-original/llava-mini-know"), UQM_IO_AUTO, 65536);
}

static void ranges_without_elements_take_their_turn(void **state)
{
    struct folder *f = *state;
    static const struct uqm_range ranges[] = { { 1, 0, 0 }, { 1, 0, 0 }, { 0, 2, 3 }, { 1, 0, 0 },
                                               { 0, 8, 0 }, { 0, 0, 8 }, { 1, 0, 0 } };
    enum { N = sizeof ranges / sizeof *ranges };
    struct uqm_checkpoint *cp = NULL;
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    struct uqm_err err = { 0 };
    put_safetensors(below(f, "x.safetensors"),
                    "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
                    "\"b\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[8,8]}}",
                    8, 40);
    assert_ok(open_path(&cp, below(f, "x.safetensors"), &err), err);
    for (size_t n = 0; n <= N; n++) { /* every cut of the list, the empty one too */
        struct list list = { ranges, n, 0 };
        uint64_t memory = uqm_source_min_memory(&cp->source, 8);
        assert_ok(uqm_source_open(&stream, &cp->source, NULL, 8, memory, next_of_list, &list, &err),
                  err);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(uqm_tile_next(stream, &tile, &err), 1);
            assert_memory_equal(&tile.range, &ranges[i], sizeof tile.range);
            assert_int_equal(tile.n_bytes, ranges[i].n_elem);
            assert_non_null(tile.data);
            if (tile.n_bytes)
                assert_int_equal(*(const uint8_t *) tile.data, 40 + ranges[i].first_elem);
            uqm_tile_release(stream, &tile);
        }
        assert_int_equal(uqm_tile_next(stream, &tile, &err), 0);
        assert_int_equal(uqm_tile_next(stream, &tile, &err), 0);
        uqm_tile_stream_destroy(&stream);
    }
    uqm_checkpoint_close(&cp);
}

static void too_little_memory_is_refused_before_reading(void **state)
{
    (void) state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_tile_stream *stream = NULL;
    struct uqm_err err = { 0 };
    struct list none = { 0 };
    assert_ok(open_path(&cp, zoo_path("models/know"), &err), err);
    uint64_t least = uqm_source_min_memory(&cp->source, 1 << 20);
    assert_true(least >= 2 << 20);
    assert_fails(
        uqm_source_open(&stream, &cp->source, NULL, 1 << 20, least - 1, next_of_list, &none, &err),
        err, UQM_ERR_NOMEM, "--memory: reading know");
    assert_null(stream);
    assert_ok(
        uqm_source_open(&stream, &cp->source, NULL, 1 << 20, least, next_of_list, &none, &err),
        err);
    uqm_tile_stream_destroy(&stream);
    uqm_checkpoint_close(&cp);
}

/* A stream may be left before its end, with reads under way. */
static void a_stream_may_be_abandoned(void **state)
{
    (void) state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    struct uqm_err err = { 0 };
    assert_ok(open_path(&cp, zoo_path("models/know"), &err), err);
    struct uqm_tensor_walk walk = { .source = &cp->source, .tile_bytes = 4096 };
    assert_ok(uqm_source_open(&stream, &cp->source, NULL, 4096, 1 << 20, next_of_all, &walk, &err),
              err);
    assert_int_equal(uqm_tile_next(stream, &tile, &err), 1);
    uqm_tile_release(stream, &tile);
    uqm_tile_stream_destroy(&stream);
    uqm_checkpoint_close(&cp);
}

static void tiles_of_half_bytes_end_on_whole_bytes(void **state)
{
    (void) state;
    static const enum uqm_dtype types[] = { UQM_F4, UQM_F6_E2M3, UQM_F16, UQM_F64 };
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        struct uqm_tensor t = { .dtype = types[k], .n_elem = 1000 };
        struct uqm_source source = { .n_tensors = 1, .tensors = &t };
        struct uqm_tensor_walk walk = { .source = &source, .tile_bytes = 101 };
        struct uqm_range r;
        uint64_t n = 0;
        while (uqm_tensor_walk_next(&walk, &r)) {
            assert_int_equal(r.first_elem, n);
            assert_int_equal(r.first_elem * uqm_dtype_bits(t.dtype) % 8, 0);
            assert_true(r.n_elem * uqm_dtype_bits(t.dtype) / 8 <= 101);
            n += r.n_elem;
        }
        assert_int_equal(n, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_hold_the_bytes_of_the_files),
        cmocka_unit_test_setup_teardown(ranges_without_elements_take_their_turn, make_folder,
                                        remove_folder),
        cmocka_unit_test(too_little_memory_is_refused_before_reading),
        cmocka_unit_test(a_stream_may_be_abandoned),
        cmocka_unit_test(tiles_of_half_bytes_end_on_whole_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
