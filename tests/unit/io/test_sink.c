#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/io/io_test.h"

/* Append known bytes in chunks of a changing size, as a producer does. */
static int write_known(struct uqm_sink *sink, size_t n, struct uqm_err *err)
{
    static const size_t chunks[] = { 1, 4095, 70001, 4096, 333, 262144, 13 };
    uint8_t *p = known_bytes(n);
    int ret = UQM_OK;
    for (size_t at = 0, k = 0; at < n && ret == UQM_OK; k++) {
        size_t len = chunks[k % 7] < n - at ? chunks[k % 7] : n - at;
        ret = uqm_sink_write(sink, p + at, len, err);
        at += len;
    }
    free(p);
    return ret;
}

static void assert_file_is_known(const char *path, size_t n)
{
    struct uqm_err err = { 0 };
    char *text;
    size_t len;
    assert_ok(uqm_read_file(&text, &len, path, n, &err), err);
    assert_int_equal(len, n);
    assert_known((const uint8_t *) text, n, 0);
    free(text);
}

static struct uqm_sha256_hex digest_of_known(size_t n)
{
    uint8_t *p = known_bytes(n);
    struct uqm_sha256 *h = uqm_sha256_create();
    uqm_sha256_update(h, p, n);
    struct uqm_sha256_hex hex = uqm_sha256_hex(h);
    uqm_sha256_destroy(&h);
    free(p);
    return hex;
}

static void write_whole(enum uqm_io_kind kind, enum uqm_direct direct, size_t n, uint64_t memory)
{
    struct uqm_err err = { 0 };
    struct uqm_env *env = io_env(kind, direct);
    struct uqm_sink *sink = NULL;
    struct uqm_sha256_hex hex;
    const char *path = in_dir("whole");
    assert_ok(uqm_sink_create(&sink, env, path, n, memory, &err), err);
    assert_ok(write_known(sink, n, &err), err);
    assert_ok(uqm_sink_finish(sink, &hex, &err), err);
    uqm_sink_destroy(&sink);
    assert_null(sink);
    assert_string_equal(hex.text, digest_of_known(n).text);
    assert_file_is_known(path, n);
    assert_int_equal(env->bytes_written, n);
    assert_int_equal(env->io_used, kind);
    assert_int_equal(uqm_budget_left(env), env->budget.limit_bytes);
    assert_int_equal(unlink(path), 0);
}

static void any_size_is_written_and_hashed_by_every_engine(void **state)
{
    (void) state;
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 65536, 131071, 1000003 };
    for_each_engine(kind)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            write_whole(kind, UQM_DIRECT_OFF, sizes[i], 0);
            write_whole(kind, UQM_DIRECT_ON, sizes[i], 0);
            write_whole(kind, UQM_DIRECT_ON, sizes[i], 1 << 20);
        }
}

static void a_large_file_goes_past_the_cache_by_itself(void **state)
{
    (void) state;
    for_each_engine(kind)
        write_whole(kind, UQM_DIRECT_AUTO, (17 << 20) + 77, 4 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_size_is_written_and_hashed_by_every_engine),
        cmocka_unit_test(a_large_file_goes_past_the_cache_by_itself),
    };
    return cmocka_run_group_tests(tests, make_io_dir, drop_io_dir);
}
