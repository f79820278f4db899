#include "src/base/hash.h"
#include "tests/unit/test.h"

/* FIPS 180-4's example, and the empty digests of SHA-256 and XXH3-128. */
static void digests_agree_with_the_published_ones(void **state)
{
    (void) state;
    struct uqm_sha256 *s = uqm_sha256_create();
    uqm_sha256_update(s, "a", 1);
    uqm_sha256_update(s, "bc", 2);
    assert_string_equal(uqm_sha256_hex(s).text,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    uqm_sha256_reset(s);
    assert_string_equal(uqm_sha256_hex(s).text,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    uqm_sha256_destroy(&s);
    assert_null(s);

    struct uqm_xxh3 *x = uqm_xxh3_create();
    assert_string_equal(uqm_xxh3_hex(x).text, "99aa06d3014798d86001c324468d497f");
    uqm_xxh3_destroy(&x);
}

static void pieces_hash_as_the_whole(void **state)
{
    (void) state;
    unsigned char data[5000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char) (i * 131 >> 3);
    struct uqm_xxh3 *a = uqm_xxh3_create(), *b = uqm_xxh3_create();
    uqm_xxh3_update(a, data, sizeof data);
    for (size_t i = 0; i < sizeof data; i += 7)
        uqm_xxh3_update(b, data + i, sizeof data - i < 7 ? sizeof data - i : 7);
    assert_string_equal(uqm_xxh3_hex(a).text, uqm_xxh3_hex(b).text);
    uqm_xxh3_reset(b);
    uqm_xxh3_update(b, data, sizeof data - 1);
    assert_string_not_equal(uqm_xxh3_hex(a).text, uqm_xxh3_hex(b).text);
    uqm_xxh3_destroy(&a);
    uqm_xxh3_destroy(&b);
}

static void a_stream_set_aside_goes_on_as_if_it_had_not_been(void **state)
{
    (void) state;
    enum { N = 5000 };
    unsigned char data[N];
    uint8_t saved[UQM_XXH3_STATE_BYTES];
    for (size_t i = 0; i < N; i++)
        data[i] = (unsigned char) (i * 131 >> 3);
    struct uqm_xxh3 *whole = uqm_xxh3_create(), *first = uqm_xxh3_create();
    for (size_t end = 1; end < N; end += end < 2200 ? 1 : 997) {
        uqm_xxh3_reset(whole);
        uqm_xxh3_update(whole, data, end);
        const struct uqm_xxh3_hex want = uqm_xxh3_hex(whole);
        for (size_t at = 0; at <= end; at += at < 300 ? 61 : 733) {
            struct uqm_xxh3 *second = uqm_xxh3_create();
            uqm_xxh3_reset(first);
            uqm_xxh3_update(first, data, at);
            assert_true(uqm_xxh3_save(first, saved));
            uqm_xxh3_update(second, data, 999); /* what it was before does not matter */
            assert_true(uqm_xxh3_load(second, saved));
            uqm_xxh3_update(second, data + at, end - at);
            assert_string_equal(uqm_xxh3_hex(second).text, want.text);
            uqm_xxh3_destroy(&second);
        }
    }
    saved[4] = 1;
    saved[5] = 1; /* 257 bytes buffered */
    assert_false(uqm_xxh3_load(first, saved));
    uqm_xxh3_destroy(&whole);
    uqm_xxh3_destroy(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_agree_with_the_published_ones),
        cmocka_unit_test(pieces_hash_as_the_whole),
        cmocka_unit_test(a_stream_set_aside_goes_on_as_if_it_had_not_been),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
