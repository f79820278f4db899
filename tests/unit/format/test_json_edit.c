#include "src/format/json_edit.h"
#include "tests/unit/json_faults.h"
#include "tests/unit/test.h"

static void members_are_replaced_put_in_and_taken_out(void **state)
{
    (void) state;
    static const struct {
        const char *text, *key, *value, *wanted;
    } cases[] = {
        { "{\"a\": 1e400, \"b\" : [ 2 ]}", "b", "{}", "{\"a\": 1e400, \"b\" : {}}" },
        { "{ }", "a", "1", "{\n  \"a\": 1 }" },
        { "{\"b\": 2}", "a", "1", "{\n  \"a\": 1,\"b\": 2}" },
        { "{\"a\": 1 , \"b\": 2}", "a", NULL, "{ \"b\": 2}" },
        { "{\"a\": 1, \"b\": 2, \"c\": 3}", "b", NULL, "{\"a\": 1, \"c\": 3}" },
        { "{\"a\": 1}", "a", NULL, "{}" },
        { "{\"a\": {\"b\": 1}}", "b", NULL, "{\"a\": {\"b\": 1}}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_err err = { 0 };
        char *text = strdup(cases[i].text);
        size_t len = strlen(text);
        assert_true(uqm_json_set(&text, &len, cases[i].key, cases[i].value, "t", &err) >= 0);
        assert_string_equal(text, cases[i].wanted);
        assert_int_equal(len, strlen(text));
        free(text);
    }
}

static void a_member_that_stands_there_twice_is_refused(void **state)
{
    (void) state;
    static const char text[] = "{\"a\": 1, \"b\": {\"c\": 0, \"c\": 0}, \"\\u0061\": 2}";
    struct uqm_json_span value, member;
    struct uqm_err err = { 0 };
    assert_fails(uqm_json_find(&value, &member, text, strlen(text), "a", "t.json", &err), err,
                 UQM_ERR_FORMAT, "a stands there twice");
    assert_non_null(strstr(err.msg, "t.json"));
    err = (struct uqm_err){ 0 };
    assert_int_equal(uqm_json_find(&value, &member, text, strlen(text), "b", "t.json", &err), 1);
}

/* A text with an escape, so that what is lost would show. */
static void every_allocation_may_fail_once(void **state)
{
    (void) state;
    static const char text[] = "a \"b\" \\ c";
    long n = 0;
    for (bool failed = true; failed; n++) {
        json_fail_at(n);
        char *quoted = uqm_json_quote(text, strlen(text));
        failed = json_has_failed();
        if (failed)
            assert_null(quoted);
        else
            assert_string_equal(quoted, "\"a \\\"b\\\" \\\\ c\"");
        free(quoted);
    }
    assert_true(n > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_replaced_put_in_and_taken_out),
        cmocka_unit_test(a_member_that_stands_there_twice_is_refused),
        cmocka_unit_test(every_allocation_may_fail_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
