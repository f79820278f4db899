#include "src/uq/dataset.h"
#include "tests/unit/uq/workdir.h"

static struct uqm_dataset load(const char *arg)
{
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    assert_ok(uqm_dataset_load(&set, test_env(64 << 20, 1), arg, &err), err);
    return set;
}

static void refused(const char *text, const char *why)
{
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    const char *path = put_file("bad.jsonl", text);
    assert_fails(uqm_dataset_load(&set, test_env(64 << 20, 1), path, &err), err, UQM_ERR_FORMAT,
                 why);
    assert_non_null(strstr(err.msg, "bad.jsonl"));
    uqm_dataset_finish(&set);
}

static void the_zoos_records_are_read(void **state)
{
    (void) state;
    struct uqm_dataset set = load(zoo_path("data/heldin/mmb.jsonl"));
    assert_string_equal(set.name, "mmb");
    assert_int_equal(set.n_records, 150);
    const struct uqm_record *r = &set.records[0];
    assert_string_equal(r->id, "mmb-0000");
    assert_string_equal(r->question, "What is the digit on the right?");
    assert_string_equal(r->hint, "Look closely at the picture.");
    assert_int_equal(r->n_choices, 4);
    assert_string_equal(r->choices[3], "five");
    assert_int_equal(r->answer, 0);
    assert_true(uqm_is_file(r->image));
    assert_null(set.records[1].hint);
    uqm_dataset_finish(&set);

    set = load(zoo_path("data/heldin/sci.jsonl"));
    size_t n_without = 0;
    for (size_t i = 0; i < set.n_records; i++)
        n_without += !set.records[i].image;
    assert_int_equal(n_without, 17);
    uqm_dataset_finish(&set);

    set = load(zoo_path("data/heldin/ai2d.jsonl"));
    size_t n_unlabelled = 0;
    for (size_t i = 0; i < set.n_records; i++)
        n_unlabelled += set.records[i].answer < 0;
    assert_int_equal(n_unlabelled, 2);
    uqm_dataset_finish(&set);
}

static void records_without_choices_are_no_multiple_choice(void **state)
{
    (void) state;
    struct uqm_dataset set = load(zoo_path("data/heldout/vqav2.jsonl"));
    assert_int_equal(set.n_records, 100);
    assert_int_equal(set.records[0].n_choices, 0);
    assert_int_equal(set.records[0].answer, -1);
    assert_int_equal(set.records[0].n_answers, 10);
    assert_string_equal(set.records[0].answers[9], "black");
    uqm_dataset_finish(&set);
}

static void answers_are_texts_numbers_or_objects_in_a_list_or_alone(void **state)
{
    (void) state;
    struct uqm_dataset set = load(put_file(
        "gen.jsonl",
        "{\"question\":\"a\",\"answers\":[\"x\",7,{\"answer\":\"nan\",\"answer_id\":1}]}\n"
        "{\"question\":\"b\",\"answer\":\"one\",\"dataset\":\"HME100k\"}\n"
        "{\"question\":\"c\",\"answer\":[\"p\",\"q\"],\"category\":\"k\",\"dataset\":\"d\"}\n"
        "{\"question\":\"d\",\"answers\":[],\"category\":3}\n"
        "{\"question\":\"e\",\"choices\":[\"x\",\"y\"],\"answer\":\"B\",\"answers\":[\"y\"]}\n"
        "{\"question\":\"f\",\"choices\":[\"x\",\"y\"],\"answer\":1}\n"));
    const struct uqm_record *r = set.records;
    assert_int_equal(r[0].n_answers, 3);
    assert_string_equal(r[0].answers[1], "7");
    assert_string_equal(r[0].answers[2], "nan");
    assert_int_equal(r[1].n_answers, 1);
    assert_string_equal(r[1].answers[0], "one");
    assert_string_equal(r[1].category, "HME100k");
    assert_string_equal(r[2].answers[1], "q");
    assert_string_equal(r[2].category, "k");
    assert_int_equal(r[3].n_answers, 0);
    assert_null(r[3].category);
    assert_int_equal(r[4].answer, 1);
    assert_string_equal(r[4].answers[0], "y");
    assert_int_equal(r[5].n_answers, 0); /* the label is none of the texts */
    uqm_dataset_finish(&set);

    refused("{\"id\":\"z\",\"question\":\"a\",\"answers\":[[]]}", "record z: an answer is neither");
    refused("{\"question\":\"a\",\"answers\":{\"a\":1}}", "an answer is neither");
    refused("{\"question\":\"a\",\"answer\":1.5}", "an answer is neither");
}

static void an_array_of_lettered_choices_is_read_with_pythons_nan(void **state)
{
    (void) state;
    const char *path =
        put_file("array.json", "[{\"id\": 7, \"question\": \"q\", \"A\": \"a\", \"B\": \"b\","
                               " \"C\": \"NaN\", \"D\": \"d\", \"answer\": \"B\", \"hint\": NaN,"
                               " \"image_path\": null, \"situation\": {\"x\": 1}},\n"
                               " {\"question\": \"r\", \"A\": \"a\", \"B\": NaN, \"C\": \"c\","
                               " \"D\": \"d\", \"answer\": null, \"hint\": \"\"}]");
    struct uqm_dataset set = load(path);
    assert_string_equal(set.name, "array");
    assert_int_equal(set.n_records, 2);
    assert_string_equal(set.records[0].id, "7");
    assert_int_equal(set.records[0].n_choices, 2); /* the list ends at the hole */
    assert_int_equal(set.records[0].answer, 1);
    assert_null(set.records[0].hint);
    assert_null(set.records[0].image);
    assert_string_equal(set.records[1].id, "2"); /* its place */
    assert_int_equal(set.records[1].n_choices, 1);
    assert_string_equal(set.records[1].hint, ""); /* empty is present */
    uqm_dataset_finish(&set);
}

static void a_byte_order_mark_blank_lines_and_carriage_returns_do_no_harm(void **state)
{
    (void) state;
    struct uqm_dataset set =
        load(put_file("dos.jsonl", "\xef\xbb\xbf{\"question\":\"a\"}\r\n\r\n  \n"
                                   "{\"question\":\"b\"}"));
    assert_int_equal(set.n_records, 2);
    assert_string_equal(set.records[0].id, "1");
    assert_string_equal(set.records[1].id, "4"); /* the line's number */
    uqm_dataset_finish(&set);
}

static void a_picture_is_looked_for_in_the_folder_and_then_in_its_parents(void **state)
{
    (void) state;
    const char *line = "{\"id\":\"x\",\"image\":\"img/p.png\",\"question\":\"q\"}";
    const char *path = put_file("deep/er/set.jsonl", line);
    struct uqm_dataset set = load(path);
    assert_string_equal(set.records[0].image, in_workdir("deep/er/img/p.png")); /* nowhere */
    uqm_dataset_finish(&set);

    put_file("img/p.png", "far");
    set = load(path);
    assert_non_null(strstr(set.records[0].image, "/img/p.png"));
    assert_null(strstr(set.records[0].image, "/deep/"));
    uqm_dataset_finish(&set);

    put_file("deep/img/p.png", "near");
    set = load(path);
    assert_non_null(strstr(set.records[0].image, "/deep/img/p.png"));
    uqm_dataset_finish(&set);
}

static void a_record_can_have_several_pictures(void **state)
{
    (void) state;
    struct uqm_dataset set = load(
        put_file("many.jsonl", "{\"question\":\"q\",\"image\":[\"a.png\",\"b.png\",\"c.png\"]}\n"
                               "{\"question\":\"q\",\"images\":[\"b.png\"]}\n"
                               "{\"question\":\"q\",\"images\":[]}\n"
                               "{\"question\":\"<image 3> or <image 1>, <image 3>?\",\"images\":"
                               "[\"a.png\",\"b.png\",\"c.png\"]}\n"
                               "{\"question\":\"an <image of>\",\"images\":[\"a.png\",\"b.png\"],"
                               "\"choices\":[\"<image 2>\",\"no\"]}\n"
                               "{\"question\":\"<image 2>\",\"image\":\"a.png\"}\n"
                               "{\"question\":\"q\",\"image\":null,\"images\":[\"b.png\"],"
                               "\"image_path\":\"c.png\"}\n"
                               "{\"question\":\"q\",\"images\":NaN,\"image_path\":\"c.png\"}"));
    static const struct {
        size_t n;
        const char *names[3];
    } expected[8] = {
        { 3, { "/a.png", "/b.png", "/c.png" } },
        { 1, { "/b.png" } },
        { 0, { NULL } },
        { 2, { "/a.png", "/c.png" } },
        { 1, { "/b.png" } },
        { 1, { "/a.png" } },
        { 1, { "/b.png" } },
        { 1, { "/c.png" } },
    };
    assert_int_equal(set.n_records, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(uqm_record_n_images(&set.records[i]), expected[i].n);
        for (size_t k = 0; k < expected[i].n; k++)
            assert_string_equal(strrchr(uqm_record_image(&set.records[i], k), '/'),
                                expected[i].names[k]);
    }
    uqm_dataset_finish(&set);
}

static void pictures_that_are_none_or_too_many_are_refused(void **state)
{
    (void) state;
    static const char *const bad[][2] = {
        { "[\"a.png\",7]", "an image is no text" },
        { "[\"a.png\",\"\"]", "the image's path is empty" },
        { "[\"a.png\",\"/etc/b.png\"]", "absolute" },
        { "[\"a.png\"]", "names an <image N> that the list has not" },
        { "{}", "\"images\" is no text" },
    };
    struct uqm_err err = { 0 };
    struct uqm_dataset set;
    char text[1024];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"question\":\"<image 2>\",\"images\":%s}", bad[i][0]);
        assert_fails(
            uqm_dataset_load(&set, test_env(64 << 20, 1), put_file("bad.jsonl", text), &err), err,
            UQM_ERR_FORMAT, bad[i][1]);
        uqm_dataset_finish(&set);
    }
    int at = snprintf(text, sizeof text, "{\"question\":\"q\",\"images\":[\"a\"");
    for (size_t i = 0; i < UQM_MAX_IMAGES; i++)
        at += snprintf(text + at, sizeof text - (size_t) at, ",\"a\"");
    snprintf(text + at, sizeof text - (size_t) at, "]}");
    assert_fails(uqm_dataset_load(&set, test_env(64 << 20, 1), put_file("bad.jsonl", text), &err),
                 err, UQM_ERR_FORMAT, "more than 64 images");
    uqm_dataset_finish(&set);
}

static void a_name_can_be_given_to_a_set(void **state)
{
    (void) state;
    char arg[1100];
    const char *path = put_file("dir=x/set.v1.jsonl", "{\"question\":\"q\"}");
    snprintf(arg, sizeof arg, "other=%s", path);
    struct uqm_dataset set = load(arg);
    assert_string_equal(set.name, "other");
    assert_string_equal(set.path, path);
    uqm_dataset_finish(&set);

    set = load(path); /* the = is in the path, not after a name */
    assert_string_equal(set.name, "set.v1");
    uqm_dataset_finish(&set);

    set = load(put_file("s\xfft.jsonl", "{\"question\":\"q\"}")); /* results are JSON */
    assert_string_equal(set.name, "s\\xFFt");
    uqm_dataset_finish(&set);
}

static void hostile_records_are_refused_by_name_and_line(void **state)
{
    (void) state;
    refused("", "no record");
    refused("[]", "no record");
    refused("{\"id\":\"a\"}", "bad.jsonl:1: record a: it has no question");
    refused("{\"id\":\"a\",\"question\":\"\"}", "record a: it has no question");
    refused("{\"id\":\"a\",\"question\":null}", "record a: it has no question");
    refused("{\"id\":\"a\",\"question\":[1]}", "\"question\" is no text");
    refused("{\"id\":\"a\",\"question\":\"q\"}\n{\"id\":\"a\",\"question\":\"r\"}",
            "bad.jsonl:2: record a: the record at 1 has the same id");
    refused("{\"id\":\"2\",\"question\":\"q\"}\n{\"question\":\"r\"}", "the same id");
    refused("{\"id\":[],\"question\":\"q\"}", "\"id\"");
    refused("7", "bad.jsonl:1");
    refused("[7]", "no JSON object");
    refused("{\"id\":\"a\",\"question\":\"q\"\n", "bad.jsonl:1");
    refused("{\"question\":\"q\",\"choices\":\"abc\"}", "no list");
    refused("{\"question\":\"q\",\"choices\":[]}", "1 to 26");
    refused("{\"question\":\"q\",\"choices\":[null]}", "no choice");
    refused("{\"question\":\"q\",\"choices\":[1,2]}", "no text");
    refused("{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":2}", "beyond");
    refused("{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":-1}", "neither an index");
    refused("{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":\"cat\"}",
            "neither an index");
    refused("{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":1.5}", "neither an index");
    refused("{\"question\":\"q\",\"A\":null}", "choice \"A\"");
    refused("{\"question\":\"q\",\"image\":\"/etc/passwd\"}", "absolute");
    refused("{\"question\":\"q\",\"image\":\"\"}", "empty");
    refused("{\"question\":\"q\",\"image\":5}", "\"image\" is no text");
    refused("[{\"id\":\"k\",\"question\":\"q\"},{\"id\":\"l\"}]", "bad.jsonl[2]: record l");
}

static void a_file_that_is_not_there_or_too_large_is_refused(void **state)
{
    (void) state;
    struct uqm_dataset set;
    struct uqm_err err = { 0 };
    assert_fails(uqm_dataset_load(&set, test_env(64 << 20, 1), in_workdir("none.jsonl"), &err), err,
                 UQM_ERR_IO, "none.jsonl");
    uqm_dataset_finish(&set);

    const char *path = put_file("big.jsonl", "");
    assert_int_equal(truncate(path, (8 << 20) + 1), 0);
    assert_fails(uqm_dataset_load(&set, test_env(64 << 20, 1), path, &err), err, UQM_ERR_FORMAT,
                 "allowed");
    uqm_dataset_finish(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_zoos_records_are_read),
        cmocka_unit_test(records_without_choices_are_no_multiple_choice),
        cmocka_unit_test(answers_are_texts_numbers_or_objects_in_a_list_or_alone),
        cmocka_unit_test(an_array_of_lettered_choices_is_read_with_pythons_nan),
        cmocka_unit_test(a_byte_order_mark_blank_lines_and_carriage_returns_do_no_harm),
        cmocka_unit_test(a_picture_is_looked_for_in_the_folder_and_then_in_its_parents),
        cmocka_unit_test(a_record_can_have_several_pictures),
        cmocka_unit_test(pictures_that_are_none_or_too_many_are_refused),
        cmocka_unit_test(a_name_can_be_given_to_a_set),
        cmocka_unit_test(hostile_records_are_refused_by_name_and_line),
        cmocka_unit_test(a_file_that_is_not_there_or_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, make_workdir, drop_workdir);
}
