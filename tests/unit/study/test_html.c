#include "src/study/html.h"
#include "tests/unit/study/xml_check.h"

static char *finish(struct uqm_html *h)
{
    struct uqm_err err = { 0 };
    char *text;
    size_t len;
    assert_ok(uqm_html_finish(&text, &len, h, &err), err);
    assert_int_equal(len, strlen(text));
    return text;
}

static void begin(struct uqm_html *h)
{
    struct uqm_err err = { 0 };
    assert_ok(uqm_html_init(h, &err), err);
}

static void text_and_attributes_are_escaped(void **state)
{
    (void) state;
    struct uqm_html h;
    begin(&h);
    uqm_html_open(&h, "p");
    uqm_html_attr(&h, "title", "a\"b<c>&d");
    uqm_html_text(&h, "<script>alert('1')</script> & \"q\"");
    uqm_html_close(&h);
    char *text = finish(&h);
    assert_string_equal(text, "<p title=\"a&quot;b&lt;c&gt;&amp;d\">&lt;script&gt;alert('1')"
                              "&lt;/script&gt; &amp; &quot;q&quot;</p>\n");
    xml_check(text);
    free(text);
}

static void what_no_page_may_hold_becomes_a_replacement(void **state)
{
    (void) state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "a\001b", "a\xef\xbf\xbd"
                    "b" },
        { "\x7f", "\xef\xbf\xbd" },
        { "a\xff", "a\xef\xbf\xbd" },
        { "\xc3", "\xef\xbf\xbd" },
        { "\xc2\x85", "\xef\xbf\xbd" },                             /* C1 */
        { "x\xe2\x80\xaey", "x\xef\xbf\xbdy" },                     /* right-to-left override */
        { "\xe2\x81\xa6", "\xef\xbf\xbd" },                         /* isolate */
        { "\xef\xbf\xbf", "\xef\xbf\xbd" },                         /* U+FFFF */
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* a surrogate */
        { "\xc3\xa4 \xe6\xbc\xa2 \xf0\x9f\x8d\x8a\n\t",
          "\xc3\xa4 \xe6\xbc\xa2 \xf0\x9f\x8d\x8a\n\t" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_html h;
        begin(&h);
        uqm_html_text(&h, cases[i].in);
        char *text = finish(&h);
        assert_string_equal(text, cases[i].out);
        free(text);
    }
}

static void formatted_text_is_escaped_too(void **state)
{
    (void) state;
    struct uqm_html h;
    begin(&h);
    uqm_html_open(&h, "i");
    uqm_html_attrf(&h, "x", "%s%d", "<", 1);
    uqm_html_textf(&h, "%s%d", "&", 2);
    uqm_html_close(&h);
    char *text = finish(&h);
    assert_string_equal(text, "<i x=\"&lt;1\">&amp;2</i>");
    free(text);
}

static void elements_close_in_order_with_or_without_content(void **state)
{
    (void) state;
    struct uqm_html h;
    begin(&h);
    uqm_html_open(&h, "a");
    uqm_html_open(&h, "b");
    uqm_html_end(&h);
    uqm_html_open(&h, "c");
    uqm_html_close(&h);
    uqm_html_element(&h, "d", "e", "");
    uqm_html_close(&h);
    char *text = finish(&h);
    assert_string_equal(text, "<a><b/><c></c><d class=\"e\"></d></a>");
    free(text);
}

static void a_page_can_be_given_up_half_made(void **state)
{
    (void) state;
    struct uqm_html h = { 0 };
    uqm_html_drop(&h);
    begin(&h);
    uqm_html_open(&h, "a");
    uqm_html_drop(&h);
    assert_null(h.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_attributes_are_escaped),
        cmocka_unit_test(what_no_page_may_hold_becomes_a_replacement),
        cmocka_unit_test(formatted_text_is_escaped_too),
        cmocka_unit_test(elements_close_in_order_with_or_without_content),
        cmocka_unit_test(a_page_can_be_given_up_half_made),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
