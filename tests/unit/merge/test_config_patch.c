#include "src/merge/config_patch.h"

#include "tests/unit/test.h"

static void check(const char *before, const char *after, enum uqm_dtype dtype,
                  enum uqm_dtype vision, bool has_head)
{
    struct uqm_config_change change = { .dtype = dtype,
                                        .vision_dtype = vision,
                                        .has_head = has_head };
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

static void restack(const char *before, const char *after, const struct uqm_config_stack *stack)
{
    struct uqm_config_change change = {
        .dtype = UQM_F16, .vision_dtype = UQM_F16, .n_stacks = 1, .stacks = stack
    };
    char *got = uqm_config_patch(before, &change);
    assert_non_null(got);
    assert_string_equal(got, after);
    free(got);
}

static void the_number_of_layers_changes_where_it_is_counted(void **state)
{
    (void) state;
    const struct uqm_config_layer layers[3] = { { NULL, 0 }, { NULL, 1 }, { NULL, 0 } };
    struct uqm_config_stack stack = { UQM_CONFIG_MAIN, 3, layers };
    restack("{\"num_hidden_layers\": 2, \"vision_config\": {\"num_hidden_layers\": 2}}",
            "{\"num_hidden_layers\": 3, \"vision_config\": {\"num_hidden_layers\": 2}}", &stack);
    restack("{\"text_config\":{\"num_hidden_layers\":12},\"num_hidden_layers\":12}",
            "{\"text_config\":{\"num_hidden_layers\":3},\"num_hidden_layers\":3}", &stack);
    restack("{\"n_layer\": 2}", "{\"n_layer\": 3}", &stack);
    restack("{\"n_layer\": null, \"n\": 2}", "{\"n_layer\": null, \"n\": 2}", &stack);
    assert_false(uqm_config_counts_layers("{\"n_layer\": null}", UQM_CONFIG_MAIN));
    assert_true(uqm_config_counts_layers("{\"num_layers\": 1}", UQM_CONFIG_MAIN));
    stack.role = UQM_CONFIG_VISION;
    restack("{\"num_hidden_layers\": 2, \"vision_config\": {\"depth\": 2}}",
            "{\"num_hidden_layers\": 2, \"vision_config\": {\"depth\": 3}}", &stack);
    stack.role = UQM_CONFIG_DECODER;
    restack("{\"num_layers\": 2, \"num_decoder_layers\": 2}",
            "{\"num_layers\": 2, \"num_decoder_layers\": 3}", &stack);
    stack.role = UQM_CONFIG_ENCODER;
    restack("{\"num_layers\": 2, \"num_decoder_layers\": 2}",
            "{\"num_layers\": 3, \"num_decoder_layers\": 2}", &stack);
}

static void lists_of_layers_are_stacked_with_them(void **state)
{
    (void) state;
    static const char other[] = "{\"layer_types\": [\"x\", [1, 2], {\"y\": \"],\"}]}";
    struct uqm_config_layer layers[3] = { { other, 2 }, { other, 1 }, { NULL, 1 } };
    const struct uqm_config_stack stack = { UQM_CONFIG_MAIN, 3, layers };
    static const char before[] =
        "{\"num_hidden_layers\": 2, \"layer_types\": [\"full\", \"slid, ing\" ], "
        "\"layer_ids\": [1, 2, 3], \"eos_token_id\": [7, 8]}";
    restack(before,
            "{\"num_hidden_layers\": 3, \"layer_types\": [{\"y\": \"],\"}, [1, 2], \"slid, ing\"], "
            "\"layer_ids\": [1, 2, 3], \"eos_token_id\": [7, 8]}",
            &stack);
    layers[1].layer = 9; /* nobody knows of what kind it is: the list stays */
    restack(before,
            "{\"num_hidden_layers\": 3, \"layer_types\": [\"full\", \"slid, ing\" ], "
            "\"layer_ids\": [1, 2, 3], \"eos_token_id\": [7, 8]}",
            &stack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_change_is_the_same_text),
        cmocka_unit_test(types_change_where_they_stand_and_nothing_else),
        cmocka_unit_test(a_written_head_unties_the_embeddings),
        cmocka_unit_test(the_number_of_layers_changes_where_it_is_counted),
        cmocka_unit_test(lists_of_layers_are_stacked_with_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
