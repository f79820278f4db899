#include "src/uq/question.h"
#include "tests/unit/test.h"

static const char *const four[] = { "a", "b", "c", "d" };
static struct uqm_dataset set = { .path = "set.jsonl", .name = "set" };
static const struct uqm_task task = {
    .suffix = "\nAnswer with the option's letter from the given choices directly.",
    .extra = { "I don't know", "None of the above" },
    .n_extra = 2,
};

static void asked_as(const struct uqm_record *r, const char *expected)
{
    char *text = uqm_question_text(r, &task);
    assert_string_equal(text, expected);
    free(text);
}

static void the_text_is_hint_question_letters_and_suffix(void **state)
{
    (void) state;
    struct uqm_record r = { .question = "Why?", .hint = "H", .choices = four, .n_choices = 4 };
    asked_as(&r, "H\nWhy?\nA. a\nB. b\nC. c\nD. d\nE. I don't know\nF. None of the above"
                 "\nAnswer with the option's letter from the given choices directly.");
}

static void an_empty_hint_is_a_blank_line_and_no_hint_is_none(void **state)
{
    (void) state;
    struct uqm_record r = { .question = "Why?", .hint = "", .choices = four, .n_choices = 4 };
    char *text = uqm_question_text(&r, &task);
    assert_int_equal(strncmp(text, "\nWhy?\nA. a", 10), 0);
    free(text);
    r.hint = NULL;
    text = uqm_question_text(&r, &task);
    assert_int_equal(strncmp(text, "Why?\nA. a", 9), 0);
    free(text);
}

static void fewer_choices_move_the_two_extra_ones_up(void **state)
{
    (void) state;
    struct uqm_record r = { .question = "Why?", .choices = four, .n_choices = 2 };
    asked_as(&r, "Why?\nA. a\nB. b\nC. I don't know\nD. None of the above"
                 "\nAnswer with the option's letter from the given choices directly.");
}

static void a_generation_record_is_asked_in_its_tasks_form(void **state)
{
    (void) state;
    struct uqm_task t = { 0 };
    struct uqm_record r = { .question = " what IS this? ", .hint = "", .choices = four };
    assert_true(uqm_task_known(&t, "textvqa"));
    r.hint = NULL;
    char *text = uqm_question_text(&r, &t);
    assert_string_equal(text,
                        " what is this? \nAnswer the question using a single word or phrase.");
    free(text);
    assert_true(uqm_task_known(&t, "pope"));
    text = uqm_question_text(&r, &t);
    assert_string_equal(text, "what IS this?\nAnswer the question using a single word or phrase.");
    free(text);

    t = (struct uqm_task){ 0 };
    assert_true(uqm_task_known(&t, "mmmu"));
    r.question = "Q";
    text = uqm_question_text(&r, &t);
    assert_string_equal(text, "Q\n\nAnswer the question using a single word or phrase.");
    free(text);
    r.n_choices = 2;
    text = uqm_question_text(&r, &t);
    assert_string_equal(text, "Q\nA. a\nB. b\n\nAnswer with the option's letter from the given "
                              "choices directly.");
    free(text);
}

static void a_choice_that_is_a_picture_is_asked_as_its_place(void **state)
{
    (void) state;
    static const char *const choices[] = { "red", "7_2.png" };
    struct uqm_task t = { 0 };
    const struct uqm_record r = { .question = "Q", .choices = choices, .n_choices = 2 };
    assert_true(uqm_task_known(&t, "seedbench-2-plus"));
    char *text = uqm_question_text(&r, &t);
    assert_int_equal(strncmp(text, "Q\nA. red\nB. <image>\nAnswer", 26), 0);
    free(text);
    t = (struct uqm_task){ 0 };
    assert_true(uqm_task_known(&t, "seedbench-gen"));
    text = uqm_question_text(&r, &t);
    assert_int_equal(strncmp(text, "Q\nA. red\nB. 7_2.png\nAnswer", 26), 0);
    free(text);
}

static void a_labelled_hint_is_left_out_where_it_is_empty(void **state)
{
    (void) state;
    struct uqm_task t = { 0 };
    struct uqm_record r = { .question = "Q", .hint = "", .choices = four, .n_choices = 1 };
    assert_true(uqm_task_known(&t, "scienceqa-gen"));
    char *text = uqm_question_text(&r, &t);
    assert_int_equal(strncmp(text, "Q\nA. a\nAnswer", 13), 0);
    free(text);
    r.hint = "H";
    text = uqm_question_text(&r, &t);
    assert_int_equal(strncmp(text, "Context: H\nQ\nA. a\n", 18), 0);
    free(text);
}

static void the_prefix_stands_straight_before_the_conversation(void **state)
{
    (void) state;
    struct uqm_record r = {
        .id = "x", .question = "Why?", .choices = four, .n_choices = 1, .image = "p.png"
    };
    struct uqm_err err = { 0 };
    char *prompt;
    assert_ok(uqm_question_prompt(&prompt, &set, &r, &task, "you are a helpful assistant", &err),
              err);
    assert_string_equal(
        prompt, "you are a helpful assistantA chat between a curious user and an artificial "
                "intelligence assistant. The assistant gives helpful, detailed, and polite answers "
                "to the user's questions. USER: <image>\nWhy?\nA. a\nB. I don't know\nC. None of "
                "the above\nAnswer with the option's letter from the given choices directly. "
                "ASSISTANT:");
    free(prompt);

    r.image = NULL;
    assert_ok(uqm_question_prompt(&prompt, &set, &r, &task, "", &err), err);
    assert_null(strstr(prompt, "<image>"));
    assert_int_equal(prompt[0], 'A');
    free(prompt);
}

static void a_mark_in_the_text_is_the_pictures_place(void **state)
{
    (void) state;
    struct uqm_record r = { .id = "x",
                            .question = "In <image>, why?",
                            .choices = four,
                            .n_choices = 1,
                            .image = "p.png",
                            .line = 3 };
    struct uqm_err err = { 0 };
    char *prompt = NULL;
    assert_ok(uqm_question_prompt(&prompt, &set, &r, &task, "", &err), err);
    assert_int_equal(uqm_question_marks(prompt), 1);
    free(prompt);

    static const char *const more[] = { "q.png" };
    r.more_images = more;
    r.n_more_images = 1;
    assert_ok(uqm_question_prompt(&prompt, &set, &r, &task, "", &err), err);
    assert_non_null(strstr(prompt, "USER: <image>\nIn <image>, why?"));
    free(prompt);
    r.question = "Why?";
    assert_ok(uqm_question_prompt(&prompt, &set, &r, &task, "", &err), err);
    assert_non_null(strstr(prompt, "USER: <image> <image>\nWhy?"));
    free(prompt);
    r.question = "In <image>, why?";
    r.n_more_images = 0;

    r.image = NULL;
    assert_fails(uqm_question_prompt(&prompt, &set, &r, &task, "", &err), err, UQM_ERR_FORMAT,
                 "set.jsonl:3: record x: its text has 1 <image> marks for 0 pictures");
    r.image = "p.png";
    r.hint = "<image>";
    assert_fails(uqm_question_prompt(&prompt, &set, &r, &task, "", &err), err, UQM_ERR_FORMAT,
                 "2 <image> marks for 1 picture");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_hint_question_letters_and_suffix),
        cmocka_unit_test(an_empty_hint_is_a_blank_line_and_no_hint_is_none),
        cmocka_unit_test(fewer_choices_move_the_two_extra_ones_up),
        cmocka_unit_test(a_generation_record_is_asked_in_its_tasks_form),
        cmocka_unit_test(a_choice_that_is_a_picture_is_asked_as_its_place),
        cmocka_unit_test(a_labelled_hint_is_left_out_where_it_is_empty),
        cmocka_unit_test(the_prefix_stands_straight_before_the_conversation),
        cmocka_unit_test(a_mark_in_the_text_is_the_pictures_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
