#include "io/record_check.h"
#include "tests/unit/test.h"

/* Two records in the file "..123456789.....abc", as zip's checksums of them. */
static const char file[] = "..123456789.....abc";
enum { FIRST = 2, FIRST_BYTES = 9, SECOND = 16, SECOND_BYTES = 3 };
#define FIRST_CRC  0xCBF43926u
#define SECOND_CRC 0x352441C2u

static struct uqm_record_check *make(uint32_t first_crc)
{
    struct uqm_record_check *c = NULL;
    struct uqm_err err = { 0 };
    assert_ok(uqm_record_check_create(&c, 3, &err), err);
    assert_ok(uqm_record_check_add(c, "data/1", SECOND, SECOND_BYTES, SECOND_CRC, &err), err);
    assert_ok(uqm_record_check_add(c, "data/0", FIRST, FIRST_BYTES, first_crc, &err), err);
    assert_ok(uqm_record_check_add(c, "data/2", SECOND, 0, 1, &err), err);
    return c;
}

static int feed(struct uqm_record_check *c, size_t at, size_t len, struct uqm_err *err)
{
    return uqm_record_check_feed(c, "x.bin", file + at, len, at, err);
}

static void a_record_read_in_pieces_of_any_size_is_checked(void **state)
{
    (void) state;
    for (size_t piece = 1; piece <= FIRST_BYTES; piece++) {
        struct uqm_record_check *good = make(FIRST_CRC), *bad = make(FIRST_CRC + 1);
        struct uqm_err err = { 0 };
        for (size_t at = 0; at < FIRST_BYTES; at += piece) {
            size_t len = at + piece < FIRST_BYTES ? piece : FIRST_BYTES - at;
            assert_ok(feed(good, FIRST + at, len, &err), err);
            int ret = feed(bad, FIRST + at, len, &err);
            if (at + len == FIRST_BYTES)
                assert_fails(ret, err, UQM_ERR_FORMAT, "x.bin: record data/0: its CRC-32 is not");
            else
                assert_ok(ret, err);
        }
        assert_ok(feed(good, SECOND, SECOND_BYTES, &err), err);
        uqm_record_check_destroy(&good);
        uqm_record_check_destroy(&bad);
        assert_null(bad);
    }
}

static void every_pass_over_a_record_is_checked(void **state)
{
    (void) state;
    struct uqm_record_check *bad = make(0);
    struct uqm_err err = { 0 };
    for (int pass = 0; pass < 2; pass++) {
        assert_ok(feed(bad, FIRST, 4, &err), err);
        assert_ok(feed(bad, SECOND, SECOND_BYTES, &err), err); /* another between is no matter */
        assert_fails(feed(bad, FIRST + 4, 5, &err), err, UQM_ERR_FORMAT, "record data/0");
    }
    uqm_record_check_destroy(&bad);
}

static void what_is_not_read_whole_is_not_judged(void **state)
{
    (void) state;
    struct uqm_record_check *bad = make(0);
    struct uqm_err err = { 0 };
    assert_ok(feed(bad, 0, FIRST, &err), err);               /* before it */
    assert_ok(feed(bad, FIRST + 4, 5, &err), err);           /* its end alone */
    assert_ok(feed(bad, FIRST, 4, &err), err);               /* its begin */
    assert_ok(feed(bad, FIRST + 5, 4, &err), err);           /* a byte was left out */
    assert_ok(feed(bad, FIRST + FIRST_BYTES, 3, &err), err); /* behind it */
    assert_ok(feed(bad, FIRST, 2, &err), err);               /* once more from its begin */
    assert_fails(feed(bad, FIRST + 2, 7, &err), err, UQM_ERR_FORMAT, "record data/0");
    uqm_record_check_destroy(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_read_in_pieces_of_any_size_is_checked),
        cmocka_unit_test(every_pass_over_a_record_is_checked),
        cmocka_unit_test(what_is_not_read_whole_is_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
