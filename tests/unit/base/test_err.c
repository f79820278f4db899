#include <errno.h>

#include "src/base/err.h"
#include "tests/unit/test.h"

static void the_system_s_reason_follows_the_message(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    errno = ENOSPC;
    assert_int_equal(uqm_fail_errno(&err, "%s", "out"), UQM_ERR_IO);
    assert_string_equal(err.msg, "out: No space left on device");
    assert_int_equal(err.sys_errno, ENOSPC);
    errno = ENOMEM;
    assert_int_equal(uqm_fail_errno(&err, "out"), UQM_ERR_NOMEM);
    assert_int_equal(uqm_fail(&err, UQM_ERR_ARG, "x"), UQM_ERR_ARG);
    assert_int_equal(err.sys_errno, 0);
    assert_int_equal(uqm_fail(NULL, UQM_ERR_ARG, "x"), UQM_ERR_ARG);
}

static void a_long_message_is_cut_not_overrun(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    char big[4096];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    errno = EIO;
    uqm_fail_errno(&err, "%s", big);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void strange_names_are_printed_escaped(void **state)
{
    (void) state;
    struct uqm_printable p;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "w", "w" },
        { "a\nb", "a\\x0Ab" },
        { "\"\\", "\\x22\\x5C" },
        { "\xE2\x96\x81w", "\xE2\x96\x81w" },
        { "\xED\xA0\x80", "\\xED\\xA0\\x80" }, /* a surrogate */
        { "\xC0\xAF", "\\xC0\\xAF" },          /* overlong */
        { "\x1B[2J", "\\x1B[2J" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(uqm_printable(&p, cases[i].in, strlen(cases[i].in)), cases[i].out);

    char big[1000];
    memset(big, 1, sizeof big);
    assert_true(strlen(uqm_printable(&p, big, sizeof big)) < sizeof p.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_s_reason_follows_the_message),
        cmocka_unit_test(a_long_message_is_cut_not_overrun),
        cmocka_unit_test(strange_names_are_printed_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
