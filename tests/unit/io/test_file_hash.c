#include "io/file_hash.h"
#include "tests/unit/io/io_test.h"

/* What the modules below say of the same bytes, one after the other. */
static void assert_digest(const struct uqm_file_digest *d, const uint8_t *data, size_t n)
{
    struct uqm_sha256 *sha = uqm_sha256_create();
    size_t n_leaves = 0;
    struct uqm_sha256_digest leaves[16];
    uqm_sha256_update(sha, data, n);
    assert_string_equal(d->sha256.text, uqm_sha256_hex(sha).text);
    for (size_t at = 0; at < n; at += UQM_TREE_CHUNK_BYTES) {
        size_t len = n - at < UQM_TREE_CHUNK_BYTES ? n - at : UQM_TREE_CHUNK_BYTES;
        leaves[n_leaves++] = uqm_tree_leaf(sha, data + at, len);
    }
    assert_int_equal(d->n_leaves, n_leaves);
    assert_memory_equal(d->leaves, leaves, n_leaves * sizeof *leaves);
    struct uqm_sha256_digest root = uqm_tree_root(sha, leaves, n_leaves);
    assert_string_equal(d->root.text, uqm_sha256_digest_hex(&root).text);
    uqm_sha256_destroy(&sha);
}

static void pieces_long_and_short_hash_as_the_whole(void **state)
{
    (void) state;
    static const size_t sizes[] = { 0, 1, 131071, 131072, 1048576, 1048577, 9000001 };
    static const size_t pieces[] = { SIZE_MAX, 131071, 131072, 4 << 20, 3000017 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        uint8_t *data = known_bytes(n);
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            struct uqm_file_hash *h = NULL;
            struct uqm_file_digest d = { .n_leaves = 0 };
            struct uqm_err err = { 0 };
            assert_ok(uqm_file_hash_create(&h, "a file", &err), err);
            for (size_t at = 0; at < n;) {
                size_t len = pieces[p] < n - at ? pieces[p] : n - at;
                uqm_file_hash_update(h, data + at, len);
                at += len;
            }
            assert_ok(uqm_file_hash_finish(h, &d, &err), err);
            uqm_file_hash_destroy(&h);
            assert_null(h);
            assert_digest(&d, data, n);
            uqm_file_digest_finish(&d);
            assert_null(d.leaves);
        }
        free(data);
    }
}

static void bytes_in_memory_hash_alike(void **state)
{
    (void) state;
    uint8_t *data = known_bytes(2500000);
    struct uqm_file_digest d = { .n_leaves = 0 };
    struct uqm_err err = { 0 };
    assert_ok(uqm_file_hash_bytes(&d, data, 2500000, "a file", &err), err);
    assert_digest(&d, data, 2500000);
    uqm_file_digest_finish(&d);
    free(data);
}

static void a_hash_that_is_given_up_leaves_nothing(void **state)
{
    (void) state;
    uint8_t *data = known_bytes(1 << 20);
    struct uqm_err err = { 0 };
    struct uqm_file_hash *h = NULL;
    uqm_file_hash_destroy(&h);
    assert_ok(uqm_file_hash_create(&h, "a file", &err), err);
    uqm_file_hash_update(h, data, 1 << 20);
    uqm_file_hash_destroy(&h);
    assert_null(h);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_long_and_short_hash_as_the_whole),
        cmocka_unit_test(bytes_in_memory_hash_alike),
        cmocka_unit_test(a_hash_that_is_given_up_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
