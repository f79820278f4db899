#include "tests/unit/checkpoint/checkpoint_test.h"

/* Two shards of one tensor of four bytes each. */
#define SHARD(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"
#define INDEX_NAME  "model.safetensors.index.json"

static int make_shards(void **state)
{
    if (make_folder(state) != 0)
        return -1;
    struct folder *f = *state;
    put_safetensors(below(f, "m-1.safetensors"), SHARD("a"), 4, 0);
    put_safetensors(below(f, "m-2.safetensors"), SHARD("b"), 4, 4);
    return 0;
}

static void put_index(const struct folder *f, const char *map, const char *total)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":%s},\"weight_map\":{%s}}",
                     total, map);
    put_file(below(f, INDEX_NAME), text, (size_t) n);
}

#define GOOD_MAP "\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\""

static void shards_are_one_checkpoint(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    size_t len;
    put_index(f, GOOD_MAP, "8");
    assert_ok(open_path(&cp, f->path, &err), err);
    assert_int_equal(cp->source.n_tensors, 2);
    assert_int_equal(cp->n_files, 2);
    uint8_t *b = tensor_bytes(cp, "b", &len);
    assert_int_equal(len, 4);
    assert_memory_equal(b, "\4\5\6\7", 4);
    free(b);
    uqm_checkpoint_close(&cp);
}

static void index_and_shards_must_agree(void **state)
{
    struct folder *f = *state;
    put_index(f, "\"a\":\"m-1.safetensors\",\"b\":\"m-3.safetensors\"", "8");
    assert_open_fails(f->path, UQM_ERR_IO, "m-3.safetensors: No such file");
    put_index(f, "\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"", "8");
    assert_open_fails(f->path, UQM_ERR_FORMAT,
                      "m-1.safetensors: tensor a: the index says it is in m-2.safetensors");
    put_index(f, "\"a\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"", "8");
    assert_open_fails(f->path, UQM_ERR_FORMAT, "tensor b: the index does not name it");
    put_index(f, GOOD_MAP ",\"c\":\"m-2.safetensors\"", "8");
    assert_open_fails(f->path, UQM_ERR_FORMAT, "tensor c: not in m-2.safetensors");
    put_index(f, GOOD_MAP, "8");
    put_safetensors(below(f, "m-2.safetensors"), SHARD("a"), 4, 0); /* in two shards */
    assert_open_fails(f->path, UQM_ERR_FORMAT, "m-2.safetensors: tensor a: the index says");
    put_index(f, "\"a\":\"../m-1.safetensors\"", "8");
    assert_open_fails(f->path, UQM_ERR_FORMAT, "is not a bare file name");
}

/* 60000 tensors of nothing, 3 MB of header, would take 80 MB. */
static void headers_and_indices_are_held_to_the_memory(void **state)
{
    enum { N = 60000, EACH = 64 };
    struct folder *f = *state;
    char *text = malloc((size_t) N * EACH);
    assert_non_null(text);
    size_t n = 8;
    for (int i = 0; i < N; i++)
        n += (size_t) snprintf(text + n, EACH,
                               "%c\"%05d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                               i ? ',' : '{', i);
    text[n++] = '}';
    const uint64_t header = n - 8;
    for (int i = 0; i < 8; i++)
        text[i] = (char) (header >> 8 * i);
    put_file(below(f, "model.safetensors"), text, n);
    assert_open_fails(f->path, UQM_ERR_NOMEM, "model.safetensors: its JSON may take");
    n = (size_t) snprintf(text, EACH, "{\"weight_map\":{\"a\":\"m-1.safetensors\"");
    for (int i = 0; i < 4 * N; i++)
        n += (size_t) snprintf(text + n, EACH, ",\"%d\":\"m\"", i);
    n += (size_t) snprintf(text + n, EACH, "}}");
    put_file(below(f, INDEX_NAME), text, n);
    free(text);
    assert_open_fails(f->path, UQM_ERR_NOMEM, INDEX_NAME ": its JSON may take");
}

static void a_wrong_total_is_a_warning(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    struct uqm_checkpoint_params params = { .path = f->path };
    struct uqm_env *env = test_env(TEST_MEMORY, 1);
    put_index(f, GOOD_MAP, "9");
    assert_ok(uqm_checkpoint_open(&cp, env, &params, &err), err);
    uqm_checkpoint_close(&cp);
    env->strict = true;
    assert_fails(uqm_checkpoint_open(&cp, env, &params, &err), err, UQM_ERR_FORMAT,
                 "total_size is 9, the tensors have 8 bytes");
}

static void links_stay_in_the_folder_or_in_the_caches_blobs(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    char blob[512];
    assert_int_equal(mkdir(below(f, "snapshots"), 0700), 0);
    assert_int_equal(mkdir(below(f, "blobs"), 0700), 0);
    assert_int_equal(mkdir(below(f, "snapshots/rev"), 0700), 0);
    snprintf(blob, sizeof blob, "%s", below(f, "blobs/0123"));
    copy_file(blob, below(f, "m-1.safetensors"));
    copy_file(below(f, "snapshots/rev/m-2.safetensors"), below(f, "m-2.safetensors"));
    put_index(f, GOOD_MAP, "8");
    copy_file(below(f, "snapshots/rev/" INDEX_NAME), below(f, INDEX_NAME));

    assert_int_equal(symlink("../../blobs/0123", below(f, "snapshots/rev/m-1.safetensors")), 0);
    assert_ok(open_path(&cp, below(f, "snapshots/rev"), &err), err);
    uqm_checkpoint_close(&cp);

    unlink(below(f, "snapshots/rev/m-1.safetensors"));
    assert_int_equal(symlink("../../m-1.safetensors", below(f, "snapshots/rev/m-1.safetensors")),
                     0);
    assert_open_fails(below(f, "snapshots/rev"), UQM_ERR_FORMAT, "leaves the model's folder");

    unlink(below(f, "snapshots/rev/m-1.safetensors"));
    assert_int_equal(symlink("m-2.safetensors", below(f, "snapshots/rev/m-1.safetensors")), 0);
    assert_open_fails(below(f, "snapshots/rev"), UQM_ERR_FORMAT, "tensor b: the index says");
}

static void safetensors_come_before_pytorch_and_an_index_before_a_file(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    put_file(below(f, "pytorch_model.bin"), "damaged", 7);
    put_safetensors(below(f, "model.safetensors"), SHARD("single"), 4, 0);
    assert_ok(open_path(&cp, f->path, &err), err);
    assert_true(uqm_source_find(&cp->source, "single") >= 0);
    uqm_checkpoint_close(&cp);
    put_index(f, GOOD_MAP, "8");
    assert_ok(open_path(&cp, f->path, &err), err);
    assert_true(uqm_source_find(&cp->source, "a") >= 0);
    uqm_checkpoint_close(&cp);
}

/* --- the tower beside the model --- */

static void put_original(const struct folder *f, const char *folder, const char *tower)
{
    char path[128], config[256];
    assert_int_equal(mkdir(below(f, folder), 0700), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    put_safetensors(below(f, path), SHARD("model.mm_projector.0.bias"), 4, 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    int n = snprintf(config, sizeof config, "{\"mm_vision_tower\":\"%s\"}", tower);
    put_file(below(f, path), config, (size_t) n);
}

static void put_tower(const struct folder *f, const char *folder, int first)
{
    char path[128];
    assert_int_equal(mkdir(below(f, folder), 0700), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    put_safetensors(below(f, path),
                    "{\"vision_model.w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                    "\"text_model.w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
                    8, first);
}

static int open_with(struct uqm_checkpoint **cp, const char *path, const char *tower,
                     struct uqm_err *err)
{
    struct uqm_checkpoint_params params = { .path = path,
                                            .vision_tower = tower,
                                            .need_vision = true };
    return uqm_checkpoint_open(cp, test_env(TEST_MEMORY, 1), &params, err);
}

static void assert_tower_begins_with(struct uqm_checkpoint **cp, int first)
{
    size_t len;
    uint8_t *w = tensor_bytes(*cp, "vision_tower.vision_model.w", &len);
    assert_int_equal(w[0], first);
    assert_int_equal((*cp)->source.n_tensors, 2); /* the text tower stays out */
    assert_int_equal((*cp)->n_own_files, 1);
    assert_non_null((*cp)->vision_tower_path);
    free(w);
    uqm_checkpoint_close(cp);
}

static void a_tower_is_found_beside_the_model(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    put_original(f, "relative", "../tower");
    put_original(f, "published", "openai/tower");
    put_original(f, "lost", "openai/absent");
    put_tower(f, "tower", 10);
    put_tower(f, "other", 20);
    assert_ok(open_with(&cp, below(f, "relative"), NULL, &err), err);
    assert_tower_begins_with(&cp, 10);
    assert_ok(open_with(&cp, below(f, "published"), NULL, &err), err);
    assert_tower_begins_with(&cp, 10);
    assert_ok(open_with(&cp, below(f, "published"), below(f, "other"), &err), err);
    assert_tower_begins_with(&cp, 20);

    assert_fails(open_with(&cp, below(f, "lost"), NULL, &err), err, UQM_ERR_FORMAT,
                 "openai/absent, which its config.json names, is not beside it; name the tower's "
                 "folder with --vision-tower");
    assert_ok(open_path(&cp, below(f, "lost"), &err), err); /* it need not be there */
    assert_null(cp->vision_tower_path);
    uqm_checkpoint_close(&cp);
    assert_fails(open_with(&cp, below(f, "lost"), below(f, "lost"), &err), err, UQM_ERR_FORMAT,
                 "has no vision tensors");
    assert_fails(open_with(&cp, below(f, "lost"), below(f, "nowhere"), &err), err, UQM_ERR_IO,
                 "nowhere");
}

static void a_tower_that_is_named_replaces_the_models_own(void **state)
{
    struct folder *f = *state;
    struct uqm_checkpoint *cp = NULL;
    struct uqm_err err = { 0 };
    put_tower(f, "tower", 10);
    put_safetensors(below(f, "model.safetensors"), SHARD("vision_tower.vision_model.w"), 4, 50);
    assert_ok(open_with(&cp, f->path, NULL, &err), err);
    assert_null(cp->vision_tower_path);
    uqm_checkpoint_close(&cp);
    assert_ok(open_with(&cp, f->path, below(f, "tower"), &err), err);
    assert_int_equal(cp->source.n_tensors, 1);
    assert_int_equal(cp->locations[0].file, 1);
    uqm_checkpoint_close(&cp);
}

#define in_folder(test, make) cmocka_unit_test_setup_teardown(test, make, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_folder(shards_are_one_checkpoint, make_shards),
        in_folder(index_and_shards_must_agree, make_shards),
        in_folder(headers_and_indices_are_held_to_the_memory, make_shards),
        in_folder(a_wrong_total_is_a_warning, make_shards),
        in_folder(links_stay_in_the_folder_or_in_the_caches_blobs, make_shards),
        in_folder(safetensors_come_before_pytorch_and_an_index_before_a_file, make_shards),
        in_folder(a_tower_is_found_beside_the_model, make_folder),
        in_folder(a_tower_that_is_named_replaces_the_models_own, make_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
