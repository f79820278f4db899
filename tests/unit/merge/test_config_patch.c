#include "src/merge/config_patch.h"

#include "tests/unit/test.h"

static void check(const char *before, const char *after, enum uqm_dtype dtype,
                  enum uqm_dtype vision, bool has_head)
{
    struct uqm_config_change change = { dtype, vision, has_head };
    char *got = uqm_config_patch(before, &change);
    assert_non_null(got);
    assert_string_equal(got, after);
    free(got);
}

static void nothing_to_change_is_the_same_text(void **state)
{
    (void) state;
    const char *text = "{ \"torch_dtype\" : \"float16\",\n\t\"a\": [1e-05, {\"dtype\": \"int8\"}],"
                       "\"tie_word_embeddings\": false }\n";
    check(text, text, UQM_F16, UQM_F16, true);
    check("{}", "{}", UQM_F32, UQM_F32, true);
    check(" {\"x\":\"torch_dtype\"} ", " {\"x\":\"torch_dtype\"} ", UQM_F32, UQM_F32, true);
}

static void types_change_where_they_stand_and_nothing_else(void **state)
{
    (void) state;
    check("{\"s\": \"a \\\"dtype\\\": \\\\\", \"vision_config\": {\"torch_dtype\": \"float16\"},\n"
          "\"torch_dtype\": \"float16\", \"eps\": 1e-05, \"text_config\": {\"q\": {\"dtype\": "
          "\"float16\"}, \"dtype\": \"float16\"}, \"dtype\": null}",
          "{\"s\": \"a \\\"dtype\\\": \\\\\", \"vision_config\": {\"torch_dtype\": \"float32\"},\n"
          "\"torch_dtype\": \"bfloat16\", \"eps\": 1e-05, \"text_config\": {\"q\": {\"dtype\": "
          "\"float16\"}, \"dtype\": \"bfloat16\"}, \"dtype\": null}",
          UQM_BF16, UQM_F32, false);
}

static void a_written_head_unties_the_embeddings(void **state)
{
    (void) state;
    check("{\"tie_word_embeddings\":true,\"text_config\":{\"tie_word_embeddings\":true}}",
          "{\"tie_word_embeddings\":false,\"text_config\":{\"tie_word_embeddings\":false}}",
          UQM_F16, UQM_F16, true);
    check("{\"tie_word_embeddings\":true}", "{\"tie_word_embeddings\":true}", UQM_F16, UQM_F16,
          false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_change_is_the_same_text),
        cmocka_unit_test(types_change_where_they_stand_and_nothing_else),
        cmocka_unit_test(a_written_head_unties_the_embeddings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
