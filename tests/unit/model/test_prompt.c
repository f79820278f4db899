#include "src/model/tokenizer.h"
#include "tests/unit/test.h"

#define SYSTEM                                                                                     \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives " \
    "helpful, detailed, and polite answers to the user's questions."

static void assert_prompt(const char *expected, const char *prefix, const char *system,
                          size_t n_images, const char *text)
{
    char *prompt = uqm_prompt_vicuna(prefix, system, n_images, text);
    assert_non_null(prompt);
    assert_string_equal(prompt, expected);
    free(prompt);
}

static void one_picture_stands_on_a_line_before_the_question(void **state)
{
    (void) state;
    assert_prompt(SYSTEM " USER: <image>\nWhat?\nA. x ASSISTANT:", "", NULL, 1, "What?\nA. x");
}

static void a_text_only_question_has_no_mark(void **state)
{
    (void) state;
    assert_prompt(SYSTEM " USER: What? ASSISTANT:", NULL, NULL, 0, "What?");
}

static void several_pictures_are_joined_by_spaces(void **state)
{
    (void) state;
    assert_prompt(SYSTEM " USER: <image> <image> <image>\nWhat? ASSISTANT:", NULL, NULL, 3,
                  "What?");
}

static void a_prefix_stands_before_the_system_sentence_with_nothing_between(void **state)
{
    (void) state;
    assert_prompt("you are a nice assistant" SYSTEM " USER: <image>\nWhat? ASSISTANT:",
                  "you are a nice assistant", NULL, 1, "What?");
}

static void another_system_sentence_takes_the_place_of_the_usual_one(void **state)
{
    (void) state;
    assert_prompt("Be brief. USER:  ASSISTANT:", "", "Be brief.", 0, "");
    assert_prompt(" USER: q ASSISTANT:", "", "", 0, "q");
}

static void more_pictures_than_memory_are_refused(void **state)
{
    (void) state;
    assert_null(uqm_prompt_vicuna("", NULL, SIZE_MAX, "q"));
    assert_null(uqm_prompt_vicuna("", NULL, SIZE_MAX / 9, "q"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_picture_stands_on_a_line_before_the_question),
        cmocka_unit_test(a_text_only_question_has_no_mark),
        cmocka_unit_test(several_pictures_are_joined_by_spaces),
        cmocka_unit_test(a_prefix_stands_before_the_system_sentence_with_nothing_between),
        cmocka_unit_test(another_system_sentence_takes_the_place_of_the_usual_one),
        cmocka_unit_test(more_pictures_than_memory_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
