/* Result documents to pages: charts and tables hold the documents' numbers, and whatever a stranger
 * writes into them the page stays one page. */
#include <math.h>

#include "src/study/chart.h"
#include "src/study/page.h"
#include "tests/unit/study/xml_check.h"

#define EVIL "<script>alert(1)</script>\\u0001&\\\"'\\u202e"

static json_t *parse(const char *text)
{
    json_error_t why;
    json_t *root = json_loads(text, JSON_DECODE_ANY, &why);
    if (!root)
        fail_msg("%s in %s", why.text, text);
    return root;
}

static char *page_of(const char *const *texts, size_t n)
{
    struct uqm_page_document documents[8] = { 0 };
    struct uqm_err err = { 0 };
    char *page;
    size_t len;
    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++)
        documents[i] = (struct uqm_page_document){ .name = "run <1>", .root = parse(texts[i]) };
    assert_ok(uqm_page_make(&page, &len, "a & b", documents, n, &err), err);
    for (size_t i = 0; i < n; i++)
        json_decref((json_t *) (uintptr_t) documents[i].root);
    return page;
}

static const char uq[] =
    "{\"config\":{\"seed\":7,\"perturb\":[\"image\",\"text\"],\"datasets\":[{\"data\":\"mmb\","
    "\"path\":\"p\",\"records\":9,\"digest\":\"d1935\"}]},\"models\":[{\"model\":\"m" EVIL
    "\",\"uq\":0.12345,\"stderr\":0.01,\"datasets\":[{\"data\":\"mmb\",\"uq\":0.5,"
    "\"stderr\":0.02,\"samples\":8,\"skipped\":1}]},{\"model\":\"n\",\"uq\":null}]}";
static const char selection[] =
    "{\"config\":{},\"models\":[{\"model\":\"a\",\"uq\":0.3,\"stderr\":0.1}],"
    "\"steps\":[{\"step\":1,\"added\":\"a\",\"uq\":0.3,\"stderr\":0.1,\"improved\":true},"
    "{\"step\":2,\"added\":\"b" EVIL "\",\"uq\":0.4,\"stderr\":0.1,\"improved\":false,"
    "\"diff\":0.1,\"diff_stderr\":0.05,\"accuracy\":0.25}],\"stopped_at\":2,\"selected\":[\"a\"],"
    "\"seconds\":12.5,\"bytes_read\":4096}";
static const char eval[] =
    "{\"models\":[{\"model\":\"a\",\"average\":0.5,\"datasets\":[{\"data\":\"x\",\"metric\":"
    "\"accuracy\",\"value\":0.5,\"samples\":4,\"skipped\":0}]},{\"model\":\"b\",\"average\":1,"
    "\"datasets\":[{\"data\":\"y\",\"metric\":\"accuracy\",\"value\":1,\"samples\":4}]}]}";
static const char diff[] =
    "{\"identical\":1,\"changed\":2,\"only_a\":[],\"only_b\":[\"q\"],\"tensors\":["
    "{\"name\":\"model.layers.0.a\",\"status\":\"changed\",\"rel_l2\":0.3},"
    "{\"name\":\"model.layers.0.b\",\"status\":\"changed\",\"rel_l2\":0.4},"
    "{\"name\":\"lm_head.weight\",\"status\":\"identical\",\"rel_l2\":0}]}";
static const char merge_report[] =
    "{\"version\":1,\"method\":\"linear\",\"inputs\":[{\"path\":\"x/first\",\"rel_l2\":0.1},"
    "{\"path\":\"x/second\",\"rel_l2\":0.2}],\"tensors\":[{\"name\":\"model.layers.11.q\","
    "\"inputs\":[{\"input\":1,\"rel_l2\":0.75},{\"input\":0,\"rel_l2\":0.5},"
    "{\"input\":99,\"rel_l2\":1}]}]}";

static const char conformal[] =
    "{\"config\":{\"method\":\"cp\",\"alpha\":0.2},\"models\":[{\"model\":\"a\",\"uq\":2.25,"
    "\"stderr\":0.1,\"accuracy\":0.625,\"uacc\":0.6875,\"e_rate\":0.03125,\"f_rate\":0.0625,"
    "\"ece\":0.171875,\"mce\":0.3125,\"lac\":{\"set_size\":2.0625,\"coverage\":0.8125},"
    "\"aps\":{\"set_size\":2.4375,\"coverage\":0.9375},\"datasets\":[{\"data\":\"mmb\",\"uq\":2.25,"
    "\"stderr\":0.1,\"samples\":43,\"skipped\":0,\"calibration\":41,\"lac\":{\"qhat\":0.7301,"
    "\"set_size\":2.0626,\"coverage\":0.8126},\"aps\":{\"qhat\":0.8011,\"set_size\":2.4376,"
    "\"coverage\":0.9376},\"accuracy\":0.6251,\"uacc\":0.6876,\"e_rate\":0.0311,\"f_rate\":0.0621,"
    "\"ece\":0.1711,\"mce\":0.3121}]}]}";

static const char table[] =
    "{\"experiment\":\"t8\",\"title\":\"T8\",\"about\":\"\",\"columns\":[{\"key\":\"m\",\"title\":"
    "\"measure\",\"unit\":null},{\"key\":\"v\",\"title\":\"value\",\"unit\":\"fraction\",\"error\":"
    "\"e\"}],\"rows\":[{\"m\":\"a\",\"v\":0.5,\"e\":0.1},{\"m\":[\"b\",\"c\"],\"v\":0}],\"charts\":"
    "[{"
    "\"title\":\"a "
    "chart\",\"label\":\"m\",\"value\":\"v\",\"error\":\"e\",\"rule\":0.9,\"rule_name\":"
    "\"promised\"}],\"notes\":[\"n\"],\"more\":[{\"title\":\"what belongs to "
    "it\",\"columns\":[{\"key\":"
    "\"x\",\"title\":\"x\",\"unit\":\"nats\"}],\"rows\":[{\"x\":0.4321}],\"more\":[{\"title\":"
    "\"and to "
    "that\",\"columns\":[],\"rows\":[]}]}]}";

static void every_kind_makes_a_well_formed_page_without_script_or_network(void **state)
{
    (void) state;
    const char *const texts[] = { uq, selection, eval, diff, merge_report };
    char *page = page_of(texts, 5);
    const struct xml_seen seen = xml_check(page);
    assert_int_equal(seen.n_scripts, 0);
    /* uq 2, select 2 + 1, eval 1 + 2 sets, merge 1, heat 1, work 2 */
    assert_int_equal(seen.n_svg, 12);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "href=\"http"));
    assert_null(strstr(page, "src="));
    assert_non_null(strstr(page, "m&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_non_null(strstr(page, "prefers-color-scheme:dark"));
    assert_non_null(strstr(page, "@media print"));
    free(page);
}

static void numbers_stand_with_their_units_and_errors(void **state)
{
    (void) state;
    const char *const texts[] = { uq, selection, eval };
    char *page = page_of(texts, 3);
    assert_non_null(strstr(page, "0.1235<small> \u00b1 0.0100</small>"));
    assert_non_null(strstr(page, "uncertainty<small> nats</small>"));
    assert_non_null(strstr(page, "<td class=\"num\">25.00</td>")); /* an accuracy, in % */
    assert_non_null(strstr(page, "Stopped at step 2; 1 model is selected"));
    assert_non_null(strstr(page, "; dashed: the stop</text>"));
    assert_non_null(strstr(page, "d1935"));
    assert_non_null(strstr(page, "1 records skipped, 8 counted"));
    assert_non_null(strstr(page, "4.1 kB"));
    assert_non_null(strstr(page, "<tr class=\"selected\"><th scope=\"row\" class=\"text\">1 a<"));
    free(page);
}

/* Every number of the document, in a cell of its own. */
static void conformal_sets_stand_with_their_coverage_and_calibration(void **state)
{
    (void) state;
    static const char *const cells[] = {
        "62.50",  "68.75",  "2.062", "81.25", "2.438", "93.75", "17.19", "31.25",
        "3.12",   "6.25",   "41",    "43",    "62.51", "68.76", "2.063", "81.26",
        "0.7301", "0.8011", "2.438", "93.76", "17.11", "31.21", "3.11",  "6.21",
    };
    const char *const texts[] = { conformal };
    char *page = page_of(texts, 1), cell[64];
    const char *section = strstr(page, "<h3>Conformal prediction: each model</h3>");
    assert_non_null(section);
    assert_non_null(strstr(section, "<h3>Conformal prediction: each model on each set</h3>"));
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        snprintf(cell, sizeof cell, "<td class=\"num\">%s</td>", cells[i]);
        if (!strstr(section, cell))
            fail_msg("no cell has %s", cells[i]);
    }
    assert_non_null(strstr(section, "alpha 0.2: the sets promise to hold the truth of 80 %"));
    assert_null(strstr(section, "too few records"));
    /* uq's mean and its set, then sizes, UAcc, coverages, ECE; the coverages with their promise */
    assert_int_equal(xml_check(page).n_svg, 8);
    size_t n = 0;
    for (const char *at = page; (at = strstr(at, "%; dashed: promised</text>")); at++)
        n++;
    assert_int_equal(n, 2);
    free(page);

    /* Of 3 records the level would be ceil(4 * 0.8) / 3. */
    char few[sizeof conformal], *at = strstr(strcpy(few, conformal), "\"calibration\":41");
    assert_non_null(at);
    memcpy(at, "\"calibration\":3 ", 16);
    page = page_of((const char *const[]){ few }, 1);
    assert_non_null(strstr(page, "In 1 of these 1 rows too few records calibrate for alpha 0.2"));
    free(page);

    const char *const others[] = { uq, selection };
    page = page_of(others, 2);
    assert_null(strstr(page, "Conformal"));
    free(page);
}

static void a_table_has_what_belongs_to_it_below(void **state)
{
    (void) state;
    const char *const texts[] = { table };
    char *page = page_of(texts, 1);
    assert_int_equal(xml_check(page).n_svg, 1);
    const char *more = strstr(page, "<h3>what belongs to it</h3>");
    assert_non_null(more);
    assert_non_null(strstr(more, "<th scope=\"row\" class=\"num\">0.4321</th>"));
    assert_null(strstr(page, "and to that")); /* one level, whatever a stranger nests */
    assert_non_null(strstr(page, "%; bars: standard error; dashed: promised</text>"));
    assert_non_null(strstr(page, "<bdi>b</bdi>, <bdi>c</bdi>"));
    free(page);
}

static void a_layers_distance_is_the_root_mean_square_of_its_tensors(void **state)
{
    (void) state;
    const char *const texts[] = { diff, merge_report };
    char *page = page_of(texts, 2);
    const double rms = sqrt((0.3 * 0.3 + 0.4 * 0.4) / 2);
    char cell[64];
    snprintf(cell, sizeof cell, "<td class=\"num\">%.4f</td>", rms);
    const char *row = strstr(page, ">layer 0</th>");
    assert_non_null(row);
    const char *at = strstr(row, cell);
    assert_non_null(at);
    assert_true(at < strstr(row, "</tr>"));
    row = strstr(page, ">layer 11</th>");
    assert_non_null(row);
    const char *first = strstr(row, "0.5000"), *second = strstr(row, "0.7500");
    assert_true(first && second && first < second);
    assert_non_null(strstr(page, ">head</th><td class=\"num\">0.0000</td>"));
    free(page);
}

static void documents_of_no_kind_are_refused_by_name(void **state)
{
    (void) state;
    static const char *const texts[] = { "{}", "[]", "3", "{\"models\":[]}", "{\"models\":3}" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct uqm_err err = { 0 };
        const struct uqm_page_document d = { .name = "odd", .root = parse(texts[i]) };
        char *page = NULL;
        size_t len;
        assert_fails(uqm_page_make(&page, &len, NULL, &d, 1, &err), err, UQM_ERR_FORMAT, "odd: ");
        assert_null(page);
        json_decref((json_t *) (uintptr_t) d.root);
    }
}

/* Every value of a good document replaced in turn by every kind of wrong one. */
static void replace_all(json_t *root, json_t *node, const json_t *wrong, size_t *n)
{
    size_t i;
    json_t *v;
    const char *key;
    void *next;
    struct uqm_page_document d = { .name = "x", .root = root };
    json_object_foreach_safe(node, next, key, v)
    {
        json_incref(v);
        char *kept = strdup(key);
        replace_all(root, v, wrong, n);
        json_object_set(node, kept, (json_t *) (uintptr_t) wrong);
        struct uqm_err err = { 0 };
        char *page = NULL;
        size_t len;
        if (uqm_page_make(&page, &len, NULL, &d, 1, &err) == UQM_OK) {
            xml_check(page);
            if (strstr(page, "nan ") || strstr(page, "inf "))
                fail_msg("a page without its %s shows no number, but nan or inf", kept);
        }
        free(page);
        json_object_set_new(node, kept, v);
        free(kept);
        ++*n;
    }
    json_array_foreach (node, i, v)
        replace_all(root, v, wrong, n);
}

static void wrong_types_and_sizes_anywhere_leave_a_page_whole(void **state)
{
    (void) state;
    static const char *const wrong[] = { "null",    "1e308", "-1e300",
                                         "[]",      "{}",    "\"\"",
                                         "\"x<y\"", "true",  "[[1],{\"a\":2},null]" };
    const char *const texts[] = { uq, conformal, selection, eval, diff, merge_report, table };
    size_t n = 0;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
            json_error_t why;
            json_t *bad = json_loads(wrong[w], JSON_DECODE_ANY, &why), *root = parse(texts[t]);
            replace_all(root, root, bad, &n);
            json_decref(root);
            json_decref(bad);
        }
    assert_true(n > 500);
}

static size_t count(const char *text, char c)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == c;
    return n;
}

/* On paper a heading may be broken within a word only where nothing else fits. */
static void headings_of_long_words_alone_may_be_broken_anywhere(void **state)
{
    (void) state;
    static const char text[] =
        "{\"models\":[{\"model\":\"a\",\"average\":1,\"datasets\":[{\"data\":\"some words in a "
        "row\","
        "\"metric\":\"m\",\"value\":1},{\"data\":\"one-of-twenty-bytes\",\"metric\":\"m\","
        "\"value\":1}]}]}";
    const char *const texts[] = { text };
    char *page = page_of(texts, 1);
    assert_non_null(strstr(page, "<th scope=\"col\" class=\"num\">some words in a row<"));
    assert_non_null(strstr(page, "<th scope=\"col\" class=\"num long\">one-of-twenty-bytes<"));
    assert_null(strstr(page, "class=\"many\""));
    free(page);
    /* Twenty sets, a name and an average are more columns than paper has room for. */
    json_t *many = parse(text), *set;
    json_t *sets = json_object_get(json_array_get(json_object_get(many, "models"), 0), "datasets");
    for (int i = 0; i < 18; i++) {
        set = json_pack("{s:s++, s:f}", "data", "s", i < 9 ? "" : "x", &"123456789"[i % 9], "value",
                        0.5);
        assert_int_equal(json_array_append_new(sets, set), 0);
    }
    char *wide = json_dumps(many, 0);
    page = page_of((const char *const[]){ wide }, 1);
    assert_non_null(strstr(page, "<table class=\"many\">"));
    free(page);
    free(wide);
    json_decref(many);
}

static void names_are_cut_in_their_middle_by_what_their_letters_take(void **state)
{
    (void) state;
    struct uqm_short_text buf;
    assert_string_equal(uqm_shorten(&buf, "abcd", 256, false), "abcd");
    assert_string_equal(uqm_shorten(&buf, "abcdx", 256, false), "a\u2026x");
    assert_string_equal(uqm_shorten(&buf, "abcde0123456", 612, false), "abcd\u20263456");
    assert_string_equal(uqm_shorten(&buf, "\u00e4\u00f6\u00fcabcdef\u00e4", 600, false),
                        "\u00e4\u00f6\u00fc\u2026def\u00e4");
    assert_string_equal(uqm_shorten(&buf, "\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57", 550, false),
                        "\u6f22\u5b57\u2026\u6f22\u5b57");
    char long_name[2000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const size_t usual = count(uqm_shorten(&buf, long_name, 1130, false), 'x');
    assert_in_range(usual, 15, 17);
    memset(long_name, 'W', sizeof long_name - 1);
    assert_in_range(count(uqm_shorten(&buf, long_name, 1130, false), 'W'), 8, 10);
    memset(long_name, 'i', sizeof long_name - 1);
    assert_true(count(uqm_shorten(&buf, long_name, 1130, false), 'i') > usual);
    memset(long_name, 'b', sizeof long_name - 1);
    assert_in_range(count(uqm_shorten(&buf, long_name, 1130, true), 'b'), 13, usual - 1);
    assert_string_equal(uqm_shorten(&buf, "UQ-Merge (7 of 10)", 1165, true), "UQ-Merge (7 of 10)");
}

/* WCAG's relative luminance of a mark at an opacity over a background. */
static double luminance(const int mark[3], const int back[3], double opacity)
{
    static const double part[] = { 0.2126, 0.7152, 0.0722 };
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        const double v = (mark[i] * opacity + back[i] * (1 - opacity)) / 255;
        sum += part[i] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

/* The colours are those of the style: --mark and --bg, in light and in dark. */
static void numbers_in_a_heat_map_stand_out_whatever_their_cell(void **state)
{
    (void) state;
    static const int mark[2][3] = { { 0x0b, 0x62, 0xa8 }, { 0x6c, 0xb6, 0xf5 } };
    static const int back[2][3] = { { 0xff, 0xff, 0xff }, { 0x15, 0x18, 0x1b } };
    static const char *const label[] = { "row" }, *const head[] = { "a", "b" };
    assert_non_null(strstr(uqm_page_style, "--bg:#fff;"));
    assert_non_null(strstr(uqm_page_style, "--mark:#0b62a8;"));
    assert_non_null(strstr(uqm_page_style, "--bg:#15181b;"));
    assert_non_null(strstr(uqm_page_style, "--mark:#6cb6f5;"));
    for (int step = 0; step <= 100; step++) {
        const double values[] = { step / 100.0, 1 };
        const struct uqm_heat_chart c = { .title = "t",
                                          .what = "w",
                                          .row_labels = label,
                                          .column_labels = head,
                                          .n_rows = 1,
                                          .n_columns = 2,
                                          .values = values };
        struct uqm_html h;
        struct uqm_err err = { 0 };
        char *text, name[32] = "";
        size_t len;
        assert_ok(uqm_html_init(&h, &err), err);
        uqm_chart_heat(&h, &c);
        assert_ok(uqm_html_finish(&text, &len, &h, &err), err);
        const char *at = strstr(text, "fill-opacity=\""), *class_name = strstr(text, "\"heattext");
        assert_true(at && class_name);
        const double opacity = strtod(at + 14, NULL);
        sscanf(class_name, "\"%31[^\"]", name);
        for (int dark = 0; dark < 2; dark++) {
            const bool white =
                !strcmp(name, "heattext") ? dark : !strcmp(name, "heattext over") && !dark;
            const double l = luminance(mark[dark], back[dark], opacity);
            const double contrast = white ? 1.05 / (l + 0.05) : (l + 0.05) / 0.05;
            if (contrast < 4.4)
                fail_msg("%s at %g, %s: %g", name, opacity, dark ? "dark" : "light", contrast);
        }
        free(text);
    }
}

static void axes_hold_equal_negative_and_huge_values(void **state)
{
    (void) state;
    static const double values[][2] = { { 1, 1 },     { 0, 0 },          { -3, 5 },
                                        { 1e-9, 0 },  { 1e14, -1e14 },   { 5, (double) NAN },
                                        { 1e300, 1 }, { 0.1, 0.1000001 } };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int bars = 0; bars < 2; bars++) {
            const struct uqm_chart_row rows[] = { { "a", values[i][0], 0.5, false },
                                                  { "b", values[i][1], (double) NAN, true } };
            const struct uqm_row_chart c = { .title = "t",
                                             .rows = rows,
                                             .n = 2,
                                             .error = "e",
                                             .bars = bars,
                                             .line = true,
                                             .stop_row = 2 };
            struct uqm_html h;
            struct uqm_err err = { 0 };
            char *text;
            size_t len;
            assert_ok(uqm_html_init(&h, &err), err);
            uqm_chart_rows(&h, &c);
            assert_ok(uqm_html_finish(&text, &len, &h, &err), err);
            assert_int_equal(xml_check(text).n_svg, 1);
            assert_null(strstr(text, "nan\""));
            assert_null(strstr(text, "inf\""));
            /* Few ticks. */
            size_t n = 0;
            for (const char *p = text; (p = strstr(p, "class=\"grid\"")); p++)
                n++;
            assert_in_range(n, 2, 8);
            free(text);
        }
}

/* A single value with a small error: "0.1584", "0.1585", ... need more room than the steps have. */
static void long_numbers_below_an_axis_leave_each_other_room(void **state)
{
    (void) state;
    const struct uqm_chart_row row = { "a", 0.1585, 0.0002, false };
    const struct uqm_row_chart c = {
        .title = "t", .unit = UQM_UNIT_NATS, .rows = &row, .n = 1, .error = "e"
    };
    struct uqm_html h;
    struct uqm_err err = { 0 };
    char *text;
    size_t len, n = 0;
    double last = -100;
    assert_ok(uqm_html_init(&h, &err), err);
    uqm_chart_rows(&h, &c);
    assert_ok(uqm_html_finish(&text, &len, &h, &err), err);
    for (const char *p = text; (p = strstr(p, "class=\"grid\" x1=\"")); n++) {
        p += strlen("class=\"grid\" x1=\"");
        const double x = strtod(p, NULL);
        assert_true(x - last >= 6 * 7);
        last = x;
    }
    assert_in_range(n, 2, 6);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_makes_a_well_formed_page_without_script_or_network),
        cmocka_unit_test(numbers_stand_with_their_units_and_errors),
        cmocka_unit_test(conformal_sets_stand_with_their_coverage_and_calibration),
        cmocka_unit_test(a_table_has_what_belongs_to_it_below),
        cmocka_unit_test(a_layers_distance_is_the_root_mean_square_of_its_tensors),
        cmocka_unit_test(documents_of_no_kind_are_refused_by_name),
        cmocka_unit_test(wrong_types_and_sizes_anywhere_leave_a_page_whole),
        cmocka_unit_test(headings_of_long_words_alone_may_be_broken_anywhere),
        cmocka_unit_test(names_are_cut_in_their_middle_by_what_their_letters_take),
        cmocka_unit_test(numbers_in_a_heat_map_stand_out_whatever_their_cell),
        cmocka_unit_test(axes_hold_equal_negative_and_huge_values),
        cmocka_unit_test(long_numbers_below_an_axis_leave_each_other_room),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
