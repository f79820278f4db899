/* Tables with pictures in them. */
#include <jansson.h>

#include "src/format/base64.h"
#include "src/uq/dataset_tsv.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_dataset load(const char *text)
{
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    assert_ok(uqm_dataset_load(&set, test_env(64 << 20, 1), put_file("t.tsv", text), &err), err);
    return set;
}

static void columns_are_found_by_name_and_empty_fields_are_none(void **state)
{
    (void) state;
    struct uqm_dataset set =
        load("question\tl2-category\tindex\tA\tB\tC\tD\tanswer\thint\timage\tcategory\n"
             "which?\tx\t7\tone\ttwo\t\t\tB\t\tAAAA\tshape\n"
             "\"say \"\"it\"\",\ttwice\nor not\"\ty\t8\ta\tb\tnan\td\t\tlook\t7\tcolour\r\n");
    assert_string_equal(set.name, "t");
    assert_int_equal(set.n_records, 2);
    const struct uqm_record *r = &set.records[0];
    assert_string_equal(r->id, "7");
    assert_string_equal(r->question, "which?");
    assert_null(r->hint);
    assert_int_equal(r->n_choices, 2);
    assert_int_equal(r->answer, 1);
    assert_string_equal(r->category, "shape");
    assert_int_equal(r->image_bytes, 4);
    assert_int_equal(r->line, 2);
    r++;
    assert_string_equal(r->question, "say \"it\",\ttwice\nor not");
    assert_string_equal(r->hint, "look");
    assert_int_equal(r->n_choices, 2);
    assert_int_equal(r->answer, -1);
    assert_int_equal(r->line, 3);
    assert_true(r->image_at == set.records[0].image_at); /* row 7's */
    assert_int_equal(r->image_bytes, 4);
    assert_int_equal(strlen(set.digest.text), 32);
    uqm_dataset_finish(&set);
}

static void a_picture_is_read_where_it_lies(void **state)
{
    (void) state;
    uint8_t bytes[1000], *data;
    size_t len;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) (i * 37 ^ i >> 3);
    char *base64 = uqm_base64_encode(bytes, sizeof bytes), *text;
    assert_true(asprintf(&text, "index\timage\tquestion\n1\t%s\tq\n2\t\"%s\"\tr", base64, base64) >
                0);
    struct uqm_dataset set = load(text);
    struct uqm_err err = { 0 };
    for (size_t i = 0; i < 2; i++) {
        const struct uqm_record *r = &set.records[i];
        assert_ok(uqm_tsv_picture(&data, &len, r->image, r->image_at, r->image_bytes, &err), err);
        assert_int_equal(len, sizeof bytes);
        assert_memory_equal(data, bytes, len);
        free(data);
    }
    assert_fails(uqm_tsv_picture(&data, &len, set.path, 5, 4, &err), err, UQM_ERR_FORMAT,
                 "no base64");
    assert_null(data);
    assert_fails(uqm_tsv_picture(&data, &len, set.path, 1 << 20, 4, &err), err, UQM_ERR_IO,
                 "cannot be read");
    uqm_dataset_finish(&set);
    free(text);
    free(base64);
}

static void a_byte_order_mark_and_empty_lines_do_no_harm(void **state)
{
    (void) state;
    struct uqm_dataset set = load("\xef\xbb\xbf\"index\"\t\"question\"\n\n7\tq\n\r\n8\tr\n\n\r\n");
    assert_int_equal(set.n_records, 2);
    assert_string_equal(set.records[0].id, "7");
    assert_int_equal(set.records[0].line, 3);
    assert_string_equal(set.records[1].id, "8");
    assert_int_equal(set.records[1].line, 5);
    uqm_dataset_finish(&set);
}

static void refused(const char *text, const char *says)
{
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    assert_fails(uqm_dataset_load(&set, test_env(64 << 20, 1), put_file("t.tsv", text), &err), err,
                 UQM_ERR_FORMAT, says);
    uqm_dataset_finish(&set);
}

static void a_zero_byte_is_refused_in_quotes_and_out(void **state)
{
    (void) state;
    static const char tables[2][18] = { "question\n\"a\0b\"\n", "question\na\0b\n" };
    for (size_t i = 0; i < 2; i++) {
        struct uqm_dataset set;
        struct uqm_err err = { 0 };
        const char *path = in_workdir("zero.tsv");
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(tables[i], 1, i ? 13 : 15, f), i ? 13 : 15);
        assert_int_equal(fclose(f), 0);
        assert_fails(uqm_dataset_load(&set, test_env(64 << 20, 1), path, &err), err, UQM_ERR_FORMAT,
                     "zero.tsv:2: a zero byte");
        uqm_dataset_finish(&set);
    }
}

static void what_is_no_table_is_refused_by_line(void **state)
{
    (void) state;
    refused("", "question");
    refused("index\timage\n1\tAAAA\n", "t.tsv:1: no column is called question");
    refused("question\tA\tquestion\n", "stands twice");
    refused("question\tA\n", "holds no record");
    refused("question\tA\nq\n", "t.tsv:2: the row has fewer fields");
    refused("question\tA\nq\ta\tb\n", "t.tsv:2: the row has more fields");
    refused("question\tA\n\"q\ta\n", "t.tsv:2: a field in quotes does not end");
    refused("question\tA\nq\ra\n", "carriage return");
    refused("question\tA\nq\t\xff\n", "no UTF-8");
    refused("question\timage\nq\t9\n", "names a row that has none");
    refused("question\timage\nq\t\"AAAA\n", "does not end as it begins");
    refused("index\tquestion\n1\tq\n1\tr\n", "same id");
    refused("question\n\tq\n", "more fields");
}

static void a_table_that_is_larger_than_the_memory_is_read_all_the_same(void **state)
{
    (void) state;
    enum { N = 6, PICTURE = 4 << 20 };
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    const char *path = in_workdir("large.tsv");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("index\tquestion\timage\n", f);
    for (int i = 0; i < N; i++) {
        fprintf(f, "%d\tq\t", i);
        for (int k = 0; k < PICTURE; k++)
            fputc('A', f);
        fputc('\n', f);
    }
    assert_int_equal(fclose(f), 0);
    assert_ok(uqm_dataset_load(&set, test_env(64 << 20, 1), path, &err), err);
    assert_int_equal(set.n_records, N);
    assert_int_equal(set.records[N - 1].image_bytes, PICTURE);
    uqm_dataset_finish(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_found_by_name_and_empty_fields_are_none),
        cmocka_unit_test(a_picture_is_read_where_it_lies),
        cmocka_unit_test(a_byte_order_mark_and_empty_lines_do_no_harm),
        cmocka_unit_test(a_zero_byte_is_refused_in_quotes_and_out),
        cmocka_unit_test(what_is_no_table_is_refused_by_line),
        cmocka_unit_test(a_table_that_is_larger_than_the_memory_is_read_all_the_same),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
