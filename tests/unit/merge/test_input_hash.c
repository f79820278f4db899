#include "src/merge/input_hash.h"

#include "tests/unit/merge/merge_test.h"

static float numbers[40000];

struct pass {
    struct uqm_source *source;
    const struct uqm_write_plan *plan;
    size_t shard, tensor;
};

/* Whole tensors, in the order in which they are written. */
static int next_range(void *ctx, struct uqm_range *range)
{
    struct pass *p = ctx;
    if (p->shard < p->plan->n_shards && p->tensor == p->plan->shards[p->shard].n_tensors) {
        p->shard++;
        p->tensor = 0;
    }
    if (p->shard == p->plan->n_shards)
        return 0;
    size_t i = p->plan->shards[p->shard].tensors[p->tensor++];
    *range = (struct uqm_range){ i, 0, (size_t) p->source->tensors[i].n_elem };
    return 1;
}

static void stream_all(struct uqm_source *source, const struct uqm_write_plan *plan,
                       struct uqm_threads *threads)
{
    struct pass pass = { .source = source, .plan = plan };
    struct uqm_tile_stream *stream = NULL;
    struct uqm_tile tile;
    struct uqm_err err = { 0 };
    int ret;
    assert_ok(uqm_source_open(&stream, source, threads, 1 << 18,
                              uqm_source_min_memory(source, 1 << 18), next_range, &pass, &err),
              err);
    while ((ret = uqm_tile_next(stream, &tile, &err)) > 0)
        uqm_tile_release(stream, &tile);
    assert_int_equal(ret, 0);
    uqm_tile_stream_destroy(&stream);
}

static void assert_hash_of_file(const struct uqm_input_hash *h, size_t input, const char *path)
{
    char *text;
    size_t len;
    struct uqm_err err = { 0 };
    struct uqm_xxh3 *x = uqm_xxh3_create();
    assert_ok(uqm_read_file(&text, &len, path, 1 << 26, &err), err);
    uqm_xxh3_update(x, text, len);
    struct uqm_xxh3_hex want = uqm_xxh3_hex(x), got = uqm_input_hash_of(h, input, 0);
    assert_string_equal(want.text, got.text);
    uqm_xxh3_destroy(&x);
    free(text);
}

/* One merge of a and b; what had to be read a second time. */
static uint64_t hash_both(const char *dir, const char *extra)
{
    struct uqm_env *env = test_env(64 << 20, 2);
    struct uqm_err err = { 0 };
    struct uqm_threads *threads = NULL;
    struct uqm_open_params none = { 0 };
    struct uqm_write_params params = { .out_dir = "unused" };
    struct uqm_write_plan plan;
    struct uqm_input_hash *h = NULL;
    struct uqm_source *s = NULL;
    char text[512];
    snprintf(text, sizeof text,
             "merge_method: linear\nparameters: {weight: 1}\nmodels:\n"
             "  - model: %s/a\n  - model: %s/b\n%s",
             dir, dir, extra);
    struct uqm_recipe *r = make_recipe(in_dir(dir, "r.yml"), text);
    assert_ok(uqm_threads_create(&threads, 2, &err), err);
    assert_ok(uqm_recipe_open(&s, env, r, &none, &err), err);
    struct uqm_recipe_source *rs = uqm_recipe_source_of(s);
    assert_ok(uqm_write_plan_layout(&plan, rs, &params, &err), err);
    assert_ok(uqm_input_hash_create(&h, rs, &plan, threads, &err), err);
    uint64_t left = uqm_input_hash_left(h);
    stream_all(s, &plan, threads);
    assert_int_equal(uqm_input_hash_left(h), left);
    assert_ok(uqm_input_hash_finish(h, &err), err);
    assert_hash_of_file(h, 0, in_dir(dir, "a/model.safetensors"));
    assert_hash_of_file(h, 1, in_dir(dir, "b/model.safetensors"));
    uqm_input_hash_destroy(&h);
    assert_null(rs->seen);
    uqm_write_plan_finish(&plan);
    uqm_source_destroy(&s);
    uqm_recipe_free(&r);
    uqm_threads_destroy(&threads);
    return left;
}

static void files_in_the_order_of_writing_are_hashed_as_they_stream_by(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct made_tensor t[] = {
        { "b", UQM_F32, 1, { 30000 }, numbers },
        { "a", UQM_F32, 1, { 1001 }, numbers },
        { "c", UQM_F16, 1, { 7 }, numbers },
    };
    make_model(dir, "a", NULL, t, 3);
    make_model(dir, "b", NULL, t, 3);
    assert_int_equal(hash_both(dir, ""), 0);
    test_rm(dir);
}

static void tensors_that_are_not_read_are_filled_in(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct made_tensor t[] = {
        { "a", UQM_F16, 1, { 1001 }, numbers },
        { "vision_tower.vision_model.w", UQM_F16, 1, { 30000 }, numbers },
        { "z", UQM_F16, 1, { 7 }, numbers },
    };
    make_model(dir, "a", NULL, t, 3);
    make_model(dir, "b", NULL, t, 3); /* its tower lies between two tensors and is not merged */
    assert_int_equal(hash_both(dir, ""), 0);
    make_model(dir, "a", NULL, t, 2);
    make_model(dir, "b", NULL, t, 2); /* and at the end */
    assert_int_equal(hash_both(dir, ""), 60000);
    test_rm(dir);
}

static void files_in_another_order_are_read_again(void **state)
{
    (void) state;
    char *dir = test_mkdtemp();
    struct made_tensor t[] = {
        { "a", UQM_F16, 1, { 1001 }, numbers }, /* behind b in the file, before it in the merge */
        { "b", UQM_F32, 1, { 30000 }, numbers },
    };
    make_model(dir, "a", NULL, t, 2);
    make_model(dir, "b", NULL, t, 2);
    struct stat st;
    assert_int_equal(stat(in_dir(dir, "a/model.safetensors"), &st), 0);
    assert_int_equal(hash_both(dir, "out_dtype: float32\n"), 2 * st.st_size);
    test_rm(dir);
}

static int setup(void **state)
{
    (void) state;
    for (size_t i = 0; i < 40000; i++)
        numbers[i] = (float) i / 7;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_in_the_order_of_writing_are_hashed_as_they_stream_by),
        cmocka_unit_test(tensors_that_are_not_read_are_filled_in),
        cmocka_unit_test(files_in_another_order_are_read_again),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
