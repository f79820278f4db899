#include <sys/stat.h>
#include <unistd.h>

#include "compute/vk/vk_cache.h"
#include "src/base/fs.h"
#include "src/base/hash.h"
#include "tests/unit/test.h"

enum { IDENTITY = 0x1234567 };

static void fill(struct uqm_vk_cache *cache, size_t n_pipelines)
{
    *cache = (struct uqm_vk_cache){ .identity = IDENTITY, .tested = true, .off = 4, .n_tuned = 2 };
    snprintf(cache->tuned[0].key, UQM_VK_CACHE_KEY, "gemm 4096x11008");
    cache->tuned[0].value = 3;
    snprintf(cache->tuned[1].key, UQM_VK_CACHE_KEY, "skinny");
    cache->tuned[1].value = UINT32_MAX;
    cache->n_pipelines = n_pipelines;
    cache->pipelines = malloc(n_pipelines + 1);
    assert_non_null(cache->pipelines);
    for (size_t i = 0; i < n_pipelines; i++)
        cache->pipelines[i] = (uint8_t) (i * 7);
}

static void what_was_stored_is_read_back(void **state)
{
    struct uqm_vk_cache cache, back = { 0 };
    struct uqm_err err = { 0 };
    uint8_t *bytes;
    size_t n;
    (void) state;
    for (size_t n_pipelines = 0; n_pipelines < 3000; n_pipelines += 1001) {
        fill(&cache, n_pipelines);
        assert_ok(uqm_vk_cache_encode(&bytes, &n, &cache, &err), err);
        assert_ok(uqm_vk_cache_decode(&back, bytes, n, IDENTITY, &err), err);
        assert_true(back.tested);
        assert_int_equal(back.off, 4);
        assert_int_equal(back.n_tuned, 2);
        assert_string_equal(back.tuned[0].key, "gemm 4096x11008");
        assert_int_equal(back.tuned[1].value, UINT32_MAX);
        assert_int_equal(back.n_pipelines, n_pipelines);
        if (n_pipelines)
            assert_memory_equal(back.pipelines, cache.pipelines, n_pipelines);
        free(bytes);
        uqm_vk_cache_finish(&back);
        uqm_vk_cache_finish(&cache);
    }
}

static void every_changed_byte_and_every_cut_is_seen(void **state)
{
    struct uqm_vk_cache cache, back = { 0 };
    struct uqm_err err = { 0 };
    uint8_t *bytes;
    size_t n;
    (void) state;
    fill(&cache, 100);
    assert_ok(uqm_vk_cache_encode(&bytes, &n, &cache, &err), err);
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x41;
        assert_fails(uqm_vk_cache_decode(&back, bytes, n, IDENTITY, &err), err, UQM_ERR_FORMAT,
                     "the pipeline cache: ");
        bytes[i] ^= 0x41;
        assert_fails(uqm_vk_cache_decode(&back, bytes, i, IDENTITY, &err), err, UQM_ERR_FORMAT,
                     "the pipeline cache: ");
    }
    assert_fails(uqm_vk_cache_decode(&back, bytes, n, IDENTITY + 1, &err), err, UQM_ERR_FORMAT,
                 "another device's");
    assert_null(back.pipelines);
    free(bytes);
    uqm_vk_cache_finish(&cache);
}

/* Counts that lie, with a checksum that does not. */
static void counts_beyond_the_file_are_refused(void **state)
{
    static const uint64_t lies[] = { UINT64_MAX, UINT64_MAX / 64, UINT64_C(1) << 58, 257, 1 << 20 };
    struct uqm_vk_cache cache, back = { 0 };
    struct uqm_err err = { 0 };
    uint8_t *bytes;
    size_t n;
    (void) state;
    fill(&cache, 100);
    assert_ok(uqm_vk_cache_encode(&bytes, &n, &cache, &err), err);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++)
        for (size_t at = 32; at <= 40; at += 8) { /* n_tuned, n_pipelines */
            uint64_t kept;
            uint64_t sum;
            memcpy(&kept, bytes + at, 8);
            memcpy(bytes + at, &lies[i], 8);
            sum = uqm_xxh3_64(bytes + 16, n - 16, 0);
            memcpy(bytes + 8, &sum, 8);
            assert_fails(uqm_vk_cache_decode(&back, bytes, n, IDENTITY, &err), err, UQM_ERR_FORMAT,
                         at == 32 ? "its counts are wrong" : "its size is not what it says");
            memcpy(bytes + at, &kept, 8);
        }
    assert_null(back.pipelines);
    free(bytes);
    uqm_vk_cache_finish(&cache);
}

struct folder {
    char path[64], *file;
};

static void make_folder(struct folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/uqm-vk-cache-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    setenv("XDG_CACHE_HOME", f->path, 1);
    f->file = uqm_vk_cache_path(IDENTITY);
    assert_non_null(f->file);
    assert_int_equal(strncmp(f->file, f->path, strlen(f->path)), 0);
}

static void remove_folder(struct folder *f)
{
    struct uqm_err err = { 0 };
    free(f->file);
    assert_ok(uqm_remove_tree(f->path, &err), err);
    unsetenv("XDG_CACHE_HOME");
}

static void a_file_is_kept_and_a_wrong_one_is_deleted(void **state)
{
    struct uqm_vk_cache cache, back = { 0 };
    struct uqm_err err = { 0 };
    struct folder f;
    (void) state;
    make_folder(&f);
    fill(&cache, 5000);
    assert_false(uqm_vk_cache_load(&back, f.file, IDENTITY));
    assert_ok(uqm_vk_cache_store(&cache, f.file, &err), err);
    assert_true(uqm_vk_cache_load(&back, f.file, IDENTITY));
    assert_int_equal(back.n_pipelines, 5000);
    uqm_vk_cache_finish(&back);

    FILE *file = fopen(f.file, "r+b");
    assert_non_null(file);
    fseek(file, 200, SEEK_SET);
    fputc('!', file);
    fclose(file);
    assert_false(uqm_vk_cache_load(&back, f.file, IDENTITY));
    assert_false(uqm_is_file(f.file));

    /* Neither a folder nor a link in its place is touched. */
    assert_int_equal(mkdir(f.file, 0700), 0);
    assert_false(uqm_vk_cache_load(&back, f.file, IDENTITY));
    assert_true(uqm_is_dir(f.file));
    assert_int_equal(rmdir(f.file), 0);
    assert_int_equal(symlink("/etc/passwd", f.file), 0);
    assert_false(uqm_vk_cache_load(&back, f.file, IDENTITY));
    assert_int_equal(unlink(f.file), 0);
    uqm_vk_cache_finish(&cache);
    remove_folder(&f);
}

static void too_many_pipelines_are_left_out_of_the_file(void **state)
{
    struct uqm_vk_cache cache, back = { 0 };
    struct uqm_err err = { 0 };
    uint8_t *bytes;
    size_t n;
    (void) state;
    fill(&cache, UQM_VK_CACHE_MAX_BYTES);
    assert_ok(uqm_vk_cache_encode(&bytes, &n, &cache, &err), err);
    assert_true(n < 1000);
    assert_ok(uqm_vk_cache_decode(&back, bytes, n, IDENTITY, &err), err);
    assert_int_equal(back.n_pipelines, 0);
    assert_int_equal(back.n_tuned, 2);
    free(bytes);
    uqm_vk_cache_finish(&back);
    uqm_vk_cache_finish(&cache);
}

static void without_a_place_nothing_is_kept(void **state)
{
    const char *home = getenv("HOME");
    char *kept = home ? strdup(home) : NULL;
    (void) state;
    setenv("XDG_CACHE_HOME", "relative/folder", 1); /* such a value is to be ignored */
    unsetenv("HOME");
    assert_null(uqm_vk_cache_path(IDENTITY));
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    assert_null(uqm_vk_cache_path(IDENTITY));
    unsetenv("XDG_CACHE_HOME");
    if (kept)
        setenv("HOME", kept, 1);
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_read_back),
        cmocka_unit_test(every_changed_byte_and_every_cut_is_seen),
        cmocka_unit_test(counts_beyond_the_file_are_refused),
        cmocka_unit_test(a_file_is_kept_and_a_wrong_one_is_deleted),
        cmocka_unit_test(too_many_pipelines_are_left_out_of_the_file),
        cmocka_unit_test(without_a_place_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
