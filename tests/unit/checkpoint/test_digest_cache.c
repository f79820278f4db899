#include <fcntl.h>
#include <unistd.h>

#include "src/checkpoint/digest_cache.h"
#include "tests/unit/checkpoint/checkpoint_test.h"

static uint64_t read_bytes;

static struct uqm_xxh3_hex digest_of(const char *path, struct uqm_digest_cache *cache)
{
    struct uqm_checkpoint *cp = NULL;
    struct uqm_xxh3_hex digest;
    struct uqm_err err = { 0 };
    read_bytes = 0;
    assert_ok(open_path(&cp, path, &err), err);
    assert_ok(uqm_digest_vision(&digest, cache, cp, &read_bytes, &err), err);
    uqm_checkpoint_close(&cp);
    return digest;
}

static void a_tower_is_read_once_a_run(void **state)
{
    (void) state;
    struct uqm_digest_cache cache = { 0 };
    struct uqm_xxh3_hex base = digest_of(zoo_path("models/base"), &cache);
    assert_true(read_bytes > 1000000);
    assert_string_equal(digest_of(zoo_path("models/base"), &cache).text, base.text);
    assert_int_equal(read_bytes, 0);
    /* Another file, though with the same tower: only reading it can tell. */
    assert_string_equal(digest_of(zoo_path("models/know"), &cache).text, base.text);
    assert_true(read_bytes > 1000000);
    assert_string_equal(digest_of(zoo_path("models/base"), NULL).text, base.text);
    assert_true(read_bytes > 1000000);
    uqm_digest_cache_finish(&cache);
    assert_null(cache.head);
}

static void a_changed_file_is_read_again(void **state)
{
    const char *path = below(*state, "model.safetensors");
    char *bytes;
    size_t len;
    struct uqm_err err = { 0 };
    struct uqm_digest_cache cache = { 0 };
    assert_ok(uqm_read_file(&bytes, &len, zoo_path("models/base/model.safetensors"), 8 << 20, &err),
              err);
    put_file(path, bytes, len);
    struct uqm_xxh3_hex before = digest_of(path, &cache);

    /* One byte of the tower, which stands last in the file; the time moves with it. */
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    char byte = (char) (bytes[len - 1] ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t) len - 1), 1);
    const struct timespec times[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    assert_string_not_equal(digest_of(path, &cache).text, before.text);
    assert_true(read_bytes > 1000000);

    uqm_digest_cache_finish(&cache);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tower_is_read_once_a_run),
        cmocka_unit_test(a_changed_file_is_read_again),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
