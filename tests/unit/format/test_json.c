#include <malloc.h>

#include "src/format/json.h"
#include "tests/unit/test.h"

static json_t *parse(const char *text, bool python, struct uqm_err *err)
{
    return uqm_json_parse(text, strlen(text), "x.json", python, err);
}

static void errors_name_the_file_and_the_line(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_null(parse("{\"a\": 1,\n\"b\": }", false, &err));
    assert_int_equal(err.code, UQM_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "x.json:2: "));
    assert_null(parse("{\"a\": 1, \"a\": 2}", false, &err));
    assert_non_null(strstr(err.msg, "duplicate"));
    assert_null(parse("", false, &err));
    assert_non_null(strstr(err.msg, "x.json:1: "));
}

static void pythons_literals_become_null_outside_strings(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    const char *text = "{\"a\":NaN,\"b\":[Infinity,-Infinity,1],\"c\":\"NaN \\\"NaN\",\"d\":NaN}";
    assert_null(parse(text, false, &err));
    json_t *v = parse(text, true, &err);
    assert_non_null(v);
    assert_true(json_is_null(json_object_get(v, "a")));
    assert_true(json_is_null(json_array_get(json_object_get(v, "b"), 1)));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(v, "b"), 2)), 1);
    assert_string_equal(json_string_value(json_object_get(v, "c")), "NaN \"NaN");
    json_decref(v);
    assert_null(parse("{\"a\":NaNa}", true, &err));
    assert_null(parse("{\"a\":\"NaN", true, &err));
    assert_null(parse("{\"a\":\"\\", true, &err));
    v = parse("[NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN]", true, &err);
    assert_int_equal(json_array_size(v), 8);
    json_decref(v);
}

static void members_are_typed_and_may_be_absent(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    json_t *v = parse("{\"u\":4294967295,\"big\":4294967296,\"neg\":-1,\"d\":0.5,\"i\":3,"
                      "\"t\":true,\"s\":\"x\",\"null\":null}",
                      false, &err);
    uint32_t u = 7;
    double d = 7;
    bool b = false;
    const char *s = "default";
    assert_non_null(v);
    assert_ok(uqm_json_u32(&u, v, "absent", false, "c", &err), err);
    assert_ok(uqm_json_u32(&u, v, "null", false, "c", &err), err);
    assert_int_equal(u, 7);
    assert_ok(uqm_json_u32(&u, v, "u", true, "c", &err), err);
    assert_int_equal(u, UINT32_MAX);
    assert_fails(uqm_json_u32(&u, v, "absent", true, "c", &err), err, UQM_ERR_FORMAT,
                 "c: key absent: is missing");
    assert_fails(uqm_json_u32(&u, v, "null", true, "c", &err), err, UQM_ERR_FORMAT, "is null");
    assert_fails(uqm_json_u32(&u, v, "big", true, "c", &err), err, UQM_ERR_FORMAT,
                 "4294967296 is outside");
    assert_fails(uqm_json_u32(&u, v, "neg", true, "c", &err), err, UQM_ERR_FORMAT, "-1 is outside");
    assert_fails(uqm_json_u32(&u, v, "d", true, "c", &err), err, UQM_ERR_FORMAT, "a fraction");
    assert_ok(uqm_json_double(&d, v, "d", true, "c", &err), err);
    assert_true(d == 0.5);
    assert_ok(uqm_json_double(&d, v, "i", true, "c", &err), err);
    assert_true(d == 3);
    assert_fails(uqm_json_double(&d, v, "s", true, "c", &err), err, UQM_ERR_FORMAT, "a string");
    assert_ok(uqm_json_bool(&b, v, "t", true, "c", &err), err);
    assert_true(b);
    assert_fails(uqm_json_bool(&b, v, "i", true, "c", &err), err, UQM_ERR_FORMAT, "true or false");
    assert_ok(uqm_json_string(&s, v, "absent", false, "c", &err), err);
    assert_string_equal(s, "default");
    assert_ok(uqm_json_string(&s, v, "s", true, "c", &err), err);
    assert_string_equal(s, "x");
    assert_fails(uqm_json_string(&s, v, "t", true, "c", &err), err, UQM_ERR_FORMAT, "key t");
    assert_fails(uqm_json_u32(&u, NULL, "u", false, "c", &err), err, UQM_ERR_FORMAT, "object");
    json_decref(v);
}

/* What it says is compared with what jansson takes. */
static size_t taken;

static void *count_malloc(size_t n)
{
    void *p = malloc(n);
    taken += malloc_usable_size(p) + 8;
    return p;
}

static void the_room_that_a_tree_needs_is_never_said_too_small(void **state)
{
    (void) state;
    static const char *const items[] = { "0",
                                         "[]",
                                         "{}",
                                         "\"\"",
                                         "1.5",
                                         "{\"\":\"\"}",
                                         "[[0],{}]",
                                         "\"abcdefghijklmnopq\"",
                                         "{\"a\":{\"b\":[]}}",
                                         "null" };
    struct uqm_err err = { 0 };
    struct uqm_env *env = test_env(64 << 20, 1);
    json_set_alloc_funcs(count_malloc, free);
    for (size_t k = 0; k < sizeof items / sizeof *items; k++)
        for (size_t n = 1; n < 20000; n = n * 5 + 1) {
            size_t size = strlen(items[k]) + 1;
            char *text = malloc(n * size + 1);
            assert_non_null(text);
            for (size_t i = 0; i < n; i++) {
                text[i * size] = i ? ',' : '[';
                memcpy(text + i * size + 1, items[k], size - 1);
            }
            text[n * size] = ']';
            taken = 0;
            json_t *v = uqm_json_parse(text, n * size + 1, "x", false, &err);
            assert_non_null(v);
            json_decref(v);
            env->budget.limit_bytes = taken - 1;
            assert_fails(uqm_json_check_room(env, text, n * size + 1, "x", &err), err,
                         UQM_ERR_NOMEM, "x: its JSON may take");
            env->budget.limit_bytes = 12 * taken + 500;
            assert_ok(uqm_json_check_room(env, text, n * size + 1, "x", &err), err);
            free(text);
        }
    json_set_alloc_funcs(malloc, free);
}

static void numbers_are_written_so_that_they_read_back_equal(void **state)
{
    (void) state;
    static const double values[] = { 0.1, 1.0 / 3, 6.02214076e23, 5e-324, 1.7976931348623157e308 };
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *list = json_pack("[f]", values[i]);
        char *text = uqm_json_dump(list);
        assert_non_null(text);
        assert_int_equal(text[strlen(text) - 1], '\n');
        json_t *back = parse(text, false, &err);
        assert_true(json_real_value(json_array_get(back, 0)) == values[i]);
        json_decref(back);
        json_decref(list);
        free(text);
    }
}

static void a_file_above_its_limit_is_not_read(void **state)
{
    (void) state;
    struct uqm_err err = { 0 };
    assert_null(uqm_json_load(zoo_path("zoo.json"), 100, &err));
    assert_non_null(strstr(err.msg, "more than the 100 allowed"));
    json_t *v = uqm_json_load(zoo_path("zoo.json"), 1 << 20, &err);
    assert_int_equal(json_array_size(json_object_get(v, "models")), 11);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_file_and_the_line),
        cmocka_unit_test(pythons_literals_become_null_outside_strings),
        cmocka_unit_test(members_are_typed_and_may_be_absent),
        cmocka_unit_test(the_room_that_a_tree_needs_is_never_said_too_small),
        cmocka_unit_test(numbers_are_written_so_that_they_read_back_equal),
        cmocka_unit_test(a_file_above_its_limit_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
