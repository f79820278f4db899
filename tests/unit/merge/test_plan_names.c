#include "src/merge/plan_names.h"

#include "tests/unit/test.h"

static void layers_are_found_whatever_a_family_calls_them(void **state)
{
    (void) state;
    static const struct {
        const char *name;
        int layer; /* -1: none */
        const char *prefix;
    } cases[] = {
        { "model.layers.12.mlp.up_proj.weight", 12, "model.layers." },
        { "layers.0.w", 0, "layers." },
        { "visual.blocks.3.norm1.weight", 3, "visual.blocks." },
        { "swin.layers.1.blocks.2.w", 2, "swin.layers.1.blocks." }, /* the longest */
        { "transformer.h.7.attn.c_attn.weight", 7, "transformer.h." },
        { "bert.encoder.layer.4.output.dense.bias", 4, "bert.encoder.layer." },
        { "encoder.block.5.layer.0.SelfAttention.q.weight", 5, "encoder.block." },
        { "model.layers.3.block_sparse_moe.experts.1.w1.weight", 3, "model.layers." },
        { "model.norm.weight", -1, "" },
        { "players.3.w", -1, "" },
        { "x.layers.1a.w", -1, "" },
        { "x.layers.1", -1, "" },
        { "layers.1000001.w", -1, "" },
        { "layers.99999999999999999999.w", -1, "" },
        { "", -1, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqm_layer_name at = { 0 };
        bool found = uqm_name_layer(&at, cases[i].name);
        if (found != (cases[i].layer >= 0))
            fail_msg("%s", cases[i].name);
        if (!found)
            continue;
        assert_int_equal(at.layer, cases[i].layer);
        assert_int_equal(at.prefix_len, strlen(cases[i].prefix));
        assert_true(at.rest[0] == '.');
    }
}

static void embeddings_come_before_the_layers_and_heads_behind(void **state)
{
    (void) state;
    static const char *const before[] = {
        "model.embed_tokens.weight",      "transformer.wte.weight",
        "transformer.wpe.weight",         "bert.embeddings.LayerNorm.weight",
        "gpt_neox.embed_in.weight",       "shared.weight",
        "visual.patch_embed.proj.weight", "class_embedding",
        "model.tok_embeddings.weight",    "conv1.weight",
    };
    static const char *const behind[] = {
        "model.norm.weight",      "lm_head.weight",
        "transformer.ln_f.bias",  "embed_out.weight",
        "score.weight",           "classifier.out_proj.bias",
        "bert.pooler.dense.bias", "vision.post_layernorm.weight",
        "what_nobody_knows",
    };
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        if (!uqm_name_is_before(before[i]))
            fail_msg("%s", before[i]);
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
        if (uqm_name_is_before(behind[i]))
            fail_msg("%s", behind[i]);
}

static void vocabularies_run_through_embeddings_and_heads_alone(void **state)
{
    (void) state;
    static const struct {
        const char *name;
        enum uqm_part part;
        enum uqm_vocabulary_role role;
    } cases[] = {
        { "language_model.model.embed_tokens.weight", UQM_PART_LANGUAGE, UQM_EMBEDDING },
        { "language_model.lm_head.weight", UQM_PART_LANGUAGE, UQM_HEAD },
        { "lm_head.bias", UQM_PART_OTHER, UQM_HEAD_BIAS },
        { "transformer.wte.weight", UQM_PART_OTHER, UQM_EMBEDDING },
        { "bert.embeddings.word_embeddings.weight", UQM_PART_OTHER, UQM_EMBEDDING },
        { "bert.embeddings.position_embeddings.weight", UQM_PART_OTHER, UQM_NO_VOCABULARY },
        { "bert.encoder.layer.0.attention.output.weight", UQM_PART_OTHER, UQM_NO_VOCABULARY },
        { "my_lm_head.weight", UQM_PART_OTHER, UQM_NO_VOCABULARY },
        { "vision_tower.embed_tokens.weight", UQM_PART_VISION, UQM_NO_VOCABULARY },
        { "model.norm.weight", UQM_PART_LANGUAGE, UQM_NO_VOCABULARY },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (uqm_name_vocabulary(cases[i].name, cases[i].part) != cases[i].role)
            fail_msg("%s", cases[i].name);
}

static void modules_match_parts_prefixes_and_the_rest(void **state)
{
    (void) state;
    const struct uqm_tensor text = { .name = "model.layers.0.w", .part = UQM_PART_LANGUAGE };
    const struct uqm_tensor tower = { .name = "model.vision_tower.w", .part = UQM_PART_VISION };
    const struct uqm_tensor coder = { .name = "model.encoder.w", .part = UQM_PART_OTHER };
    assert_true(uqm_name_in_module(&text, "text_decoder") > uqm_name_in_module(&text, "default"));
    assert_true(uqm_name_in_module(&text, "model.layers") >
                uqm_name_in_module(&text, "text_decoder"));
    assert_true(uqm_name_in_module(&text, "model") > 0);
    assert_int_equal(uqm_name_in_module(&text, "mod"), 0);
    assert_int_equal(uqm_name_in_module(&text, "vision_tower"), 0);
    assert_true(uqm_name_in_module(&tower, "vision_tower") > 0);
    assert_true(uqm_name_in_module(&tower, "vision") > 0);
    assert_int_equal(uqm_name_in_module(&tower, "adapter"), 0);
    assert_true(uqm_name_in_module(&coder, "encoder") > uqm_name_in_module(&coder, "default"));
    assert_int_equal(uqm_name_in_module(&coder, "decoder"), 0);
    assert_true(uqm_name_in_module(&coder, "default") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_found_whatever_a_family_calls_them),
        cmocka_unit_test(embeddings_come_before_the_layers_and_heads_behind),
        cmocka_unit_test(vocabularies_run_through_embeddings_and_heads_alone),
        cmocka_unit_test(modules_match_parts_prefixes_and_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
