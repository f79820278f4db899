#include "src/base/utf8.h"
#include "tests/unit/test.h"

/* By arithmetic, where the code goes by the table of RFC 3629. */
static size_t encode(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t) c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (uint8_t) (0x80 | (c & 0x3F));
    out[0] = (uint8_t) ((0xF00 >> n & 0xFF) | c);
    return n;
}

static bool is_surrogate(uint32_t c)
{
    return c >= 0xD800 && c <= 0xDFFF;
}

static void every_character_has_the_length_of_its_encoding(void **state)
{
    (void) state;
    uint8_t s[4];
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        size_t n = encode(s, c);
        assert_int_equal(uqm_utf8_len(s, sizeof s), is_surrogate(c) ? 0 : n);
        assert_int_equal(uqm_utf8_len(s, n), is_surrogate(c) ? 0 : n);
    }
}

static void a_character_cut_off_is_malformed(void **state)
{
    (void) state;
    static const char euro[] = "\xE2\x82\xAC", clef[] = "\xF0\x9D\x84\x9E";
    for (size_t left = 0; left < 3; left++)
        assert_int_equal(uqm_utf8_len((const uint8_t *) euro, left), 0);
    for (size_t left = 0; left < 4; left++)
        assert_int_equal(uqm_utf8_len((const uint8_t *) clef, left), 0);
}

/* All pairs of first bytes, continued as well as can be. */
static void only_the_encoding_of_a_character_has_a_length(void **state)
{
    (void) state;
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        for (unsigned second = 0; second < 0x100; second++) {
            uint8_t s[4] = { (uint8_t) lead, (uint8_t) second, 0x80, 0x80 }, again[4];
            size_t n = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
            uint32_t c = lead & (0x7FU >> n);
            for (size_t i = 1; i < n; i++)
                c = c << 6 | (s[i] & 0x3FU);
            bool is_it = c <= 0x10FFFF && !is_surrogate(c) && encode(again, c) == n &&
                         memcmp(again, s, n) == 0;
            assert_int_equal(uqm_utf8_len(s, sizeof s), is_it ? n : 0);
        }
    }
}

static void one_bad_byte_spoils_a_text(void **state)
{
    (void) state;
    static const char text[] = "a \xE2\x82\xAC \xF0\x9D\x84\x9E";
    const uint8_t *s = (const uint8_t *) text;
    assert_true(uqm_utf8_valid(s, 0));
    assert_true(uqm_utf8_valid(s, sizeof text - 1));
    assert_false(uqm_utf8_valid(s, sizeof text - 2));
    assert_false(uqm_utf8_valid(s + 3, sizeof text - 4));
    assert_false(uqm_utf8_valid((const uint8_t *) "a\xFFz", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_has_the_length_of_its_encoding),
        cmocka_unit_test(a_character_cut_off_is_malformed),
        cmocka_unit_test(only_the_encoding_of_a_character_has_a_length),
        cmocka_unit_test(one_bad_byte_spoils_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
