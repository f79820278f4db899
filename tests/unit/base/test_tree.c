#include "src/base/tree.h"
#include "tests/unit/test.h"

/* The test leaves of Certificate Transparency and the roots over the first n of them. */
static const struct {
    const char *bytes;
    size_t len;
} leaf_input[] = {
    { "", 0 },
    { "\x00", 1 },
    { "\x10", 1 },
    { "\x20\x21", 2 },
    { "\x30\x31", 2 },
    { "\x40\x41\x42\x43", 4 },
    { "\x50\x51\x52\x53\x54\x55\x56\x57", 8 },
    { "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16 },
};
static const char *const root_of_first[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static void the_shape_is_that_of_rfc_6962(void **state)
{
    (void) state;
    struct uqm_sha256 *sha = uqm_sha256_create();
    struct uqm_sha256_digest leaves[8];
    for (size_t i = 0; i < 8; i++)
        leaves[i] = uqm_tree_leaf(sha, leaf_input[i].bytes, leaf_input[i].len);
    for (size_t n = 0; n <= 8; n++) {
        struct uqm_sha256_digest root = uqm_tree_root(sha, leaves, n);
        assert_string_equal(uqm_sha256_digest_hex(&root).text, root_of_first[n]);
    }
    uqm_sha256_destroy(&sha);
}

/* Node over [0, n) by the definition's recursion. */
static struct uqm_sha256_digest root_by_definition(struct uqm_sha256 *sha,
                                                   const struct uqm_sha256_digest *leaves, size_t n)
{
    if (n == 1)
        return leaves[0];
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    uint8_t joined[65] = { 1 };
    struct uqm_sha256_digest left = root_by_definition(sha, leaves, k);
    struct uqm_sha256_digest right = root_by_definition(sha, leaves + k, n - k);
    memcpy(joined + 1, left.bytes, 32);
    memcpy(joined + 33, right.bytes, 32);
    uqm_sha256_reset(sha);
    uqm_sha256_update(sha, joined, sizeof joined);
    return uqm_sha256_digest(sha);
}

static void the_root_is_the_definitions_for_any_number_of_leaves(void **state)
{
    (void) state;
    struct uqm_sha256 *sha = uqm_sha256_create();
    static struct uqm_sha256_digest leaves[300];
    for (size_t i = 0; i < 300; i++)
        leaves[i] = uqm_tree_leaf(sha, &i, sizeof i);
    for (size_t n = 1; n <= 300; n++) {
        struct uqm_sha256_digest a = uqm_tree_root(sha, leaves, n);
        struct uqm_sha256_digest b = root_by_definition(sha, leaves, n);
        assert_memory_equal(a.bytes, b.bytes, 32);
    }
    uqm_sha256_destroy(&sha);
}

/* Roots of bytes ((i + 1) * 2654435761 mod 2^32) >> 24, by Python's hashlib. */
static const struct {
    size_t n_bytes;
    const char *root;
} streams[] = {
    { 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { 1, "58fe7f64eb18129d249a9079a86ac69522137605d4ba96d8713fd2d8a0affc9e" },
    { 1048575, "ca6073392ee71dbd1a2d356c3caa233f8f828ae17f8f8ba8570ee3491be128ab" },
    { 1048576, "dcb817e18265785736568cf5c70d34a3dbb83af4b943e2af23eb3aa28c4c2eaf" },
    { 1048577, "4ed05285a8e1bf287700c8debd2b08fa8d359d7a662219216b6667f9309849a4" },
    { 3145728, "89b182e855a2267c6fa98f46f9e95829bd58ed7ec87e4d792d9b5a2803daef34" },
    { 3145729, "3135f8d970de95584831c11bd459c995144bddb345ffcf5c4611dadd09f1491a" },
    { 5242881, "8fa0fe2e7bc1eab3d1bb196dbd58e4cd35e33e76b8a0d2f7d53a10fbaf0f3caf" },
};

static void a_stream_in_pieces_of_any_length_has_one_tree(void **state)
{
    (void) state;
    static const size_t pieces[] = { SIZE_MAX, 1 << 20, 1000003, 65537 };
    static uint8_t data[5242881];
    struct uqm_sha256 *sha = uqm_sha256_create();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t) ((uint32_t) (i + 1) * UINT32_C(2654435761) >> 24);
    for (size_t s = 0; s < sizeof streams / sizeof *streams; s++)
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            struct uqm_tree *tree = uqm_tree_create();
            size_t n = streams[s].n_bytes, n_leaves;
            for (size_t at = 0; at < n; at += pieces[p] < n - at ? pieces[p] : n - at)
                uqm_tree_update(tree, data + at, pieces[p] < n - at ? pieces[p] : n - at);
            const struct uqm_sha256_digest *leaves = uqm_tree_finish(tree, &n_leaves);
            assert_non_null(leaves);
            assert_int_equal(n_leaves, uqm_tree_n_leaves(n));
            struct uqm_sha256_digest root = uqm_tree_root(sha, leaves, n_leaves);
            assert_string_equal(uqm_sha256_digest_hex(&root).text, streams[s].root);
            uqm_tree_destroy(&tree);
            assert_null(tree);
        }
    uqm_sha256_destroy(&sha);
}

static void a_table_outgrows_its_first_allocation(void **state)
{
    (void) state;
    static const uint8_t chunk[UQM_TREE_CHUNK_BYTES];
    struct uqm_sha256 *sha = uqm_sha256_create();
    struct uqm_sha256_digest leaf = uqm_tree_leaf(sha, chunk, sizeof chunk);
    struct uqm_tree *tree = uqm_tree_create();
    size_t n;
    for (size_t i = 0; i < 40; i++)
        uqm_tree_update(tree, chunk, sizeof chunk);
    const struct uqm_sha256_digest *leaves = uqm_tree_finish(tree, &n);
    assert_int_equal(n, 40);
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(leaves[i].bytes, leaf.bytes, 32);
    uqm_tree_destroy(&tree);
    uqm_sha256_destroy(&sha);
}

static void digests_are_read_back_from_their_text(void **state)
{
    (void) state;
    struct uqm_sha256_digest d;
    static const char text[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_true(uqm_sha256_digest_parse(&d, text, 64));
    assert_string_equal(uqm_sha256_digest_hex(&d).text, text);
    assert_false(uqm_sha256_digest_parse(&d, text, 63));
    for (size_t i = 0; i < 64; i++) {
        char bad[65];
        memcpy(bad, text, 65);
        bad[i] = i % 2 ? 'A' : 'g';
        assert_false(uqm_sha256_digest_parse(&d, bad, 64));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shape_is_that_of_rfc_6962),
        cmocka_unit_test(the_root_is_the_definitions_for_any_number_of_leaves),
        cmocka_unit_test(a_stream_in_pieces_of_any_length_has_one_tree),
        cmocka_unit_test(a_table_outgrows_its_first_allocation),
        cmocka_unit_test(digests_are_read_back_from_their_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
